"""The checkers of the services: silent about true runs of whole clusters, and loud about doctored ones."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec
import pytest

from tests.sim.runs import run, seconds
from totemviz.corosync.effects import ConfchgReason, CpgConfchg, CpgDelivered, QuorumChanged
from totemviz.corosync.quirks import Quirks
from totemviz.sim.interventions import (
    AnyIntervention,
    CpgFlood,
    CpgRead,
    Cut,
    ExpectedVotes,
    Heal,
    Kill,
    Pause,
    Restart,
)
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.totem.effects import Log, PacketDelivered
from totemviz.trace.checks import check
from totemviz.trace.checks.isolation import difference
from totemviz.trace.events import DatagramSent, Event, ProcessBlocked

NUMBERS = (35, 36, 37, 38, 39, 41)


@cache
def true_run() -> tuple[Event, ...]:
    world = run(
        60,
        Cut(at=seconds(5), nodes=(3,)),
        Heal(at=seconds(20)),
        Kill(at=seconds(30), node=2),
        Restart(at=seconds(45), node=2),
        host_model=HostModel.MEASURED,
    )
    return tuple(world.timeline)


def doctored(index: int, **fields: object) -> list[int]:
    """The invariants that a run breaks in which one event's body says something else."""
    events = list(true_run())
    event = events[index]
    events[index] = msgspec.structs.replace(event, body=msgspec.structs.replace(event.body, **fields))
    return broken(events)


def broken(events: Iterable[Event]) -> list[int]:
    return [violation.invariant for violation in check(events, numbers=NUMBERS)]


def swapped(first: int, second: int) -> list[int]:
    """The same of a run in which two events have changed places."""
    events = list(true_run())
    one, other = events[first], events[second]
    events[first] = msgspec.structs.replace(one, body=other.body, node=other.node)
    events[second] = msgspec.structs.replace(other, body=one.body, node=one.node)
    return broken(events)


def commits(node: int) -> list[int]:
    """Where a node activates the services, in the ring of three after the cut is healed."""
    return [
        event.id
        for event in true_run()
        if isinstance(event.body, Log)
        and event.node == node
        and event.body.text.startswith("Committing")
        and 20e9 < event.time_ns < 30e9
    ]


def last(body: type, node: int, before_s: float = 60.0) -> int:
    return max(
        event.id
        for event in true_run()
        if isinstance(event.body, body) and event.node == node and event.time_ns < before_s * 1e9
    )


def test_a_true_run_has_splits_and_merges_and_breaks_nothing() -> None:
    kinds = {member.reason for event in true_run() if isinstance(event.body, CpgConfchg) for member in event.body.left}
    assert ConfchgReason.NODEDOWN in kinds
    assert check(true_run(), numbers=NUMBERS) == []


def test_a_member_that_appears_from_nowhere() -> None:
    index = last(CpgConfchg, 1, 20)  # the view after the cut
    body = true_run()[index].body
    assert isinstance(body, CpgConfchg)
    extra = msgspec.structs.replace(body.members[0], pid=4711)
    assert 37 in doctored(index, members=(*body.members, extra))


@pytest.mark.parametrize("reason", [ConfchgReason.NONE, ConfchgReason.NODEUP])
def test_a_leave_without_a_reason(reason: ConfchgReason) -> None:
    index = last(CpgConfchg, 1, 20)
    body = true_run()[index].body
    assert isinstance(body, CpgConfchg)
    assert 37 in doctored(index, left=tuple(msgspec.structs.replace(member, reason=reason) for member in body.left))


def test_a_minority_that_believes_in_its_quorum() -> None:
    index = last(QuorumChanged, 3, 20)
    body = true_run()[index].body
    assert isinstance(body, QuorumChanged)
    assert body.members == (3,)
    assert 38 in doctored(index, quorate=True, votes=2)
    assert doctored(index, quorate=True) == [], "a tie breaker may go on below quorum"


# ------------------------------------------------------------------------------------------------------- sync (35, 36)


def test_services_activated_in_the_wrong_order() -> None:
    first, second, *_ = commits(1)
    assert 35 in swapped(first, second)


def test_a_service_activated_before_the_last_barrier_has_come() -> None:
    index = commits(2)[1]
    packets = [event.id for event in true_run()[:index] if isinstance(event.body, PacketDelivered) and event.node == 2]
    assert 35 in swapped(packets[-1], index)


def test_a_barrier_that_was_never_sent() -> None:
    """Node 3's barriers are lost from the ring of three: everybody activated without them."""
    events = list(true_run())
    for event in events[: commits(1)[0]]:
        body = event.body
        if isinstance(body, DatagramSent) and body.kind == "mcast" and event.node == 3 and b"sync" in body.data:
            events[event.id] = msgspec.structs.replace(
                event, body=msgspec.structs.replace(body, data=body.data.replace(b"sync", b"sink"))
            )
    assert 35 in broken(events)


def test_a_member_that_no_joinlist_names() -> None:
    index = [
        event.id
        for event in true_run()[: commits(1)[-1]]
        if isinstance(event.body, CpgConfchg) and event.node == 1 and event.time_ns > 20e9
    ][-1]
    body = true_run()[index].body
    assert isinstance(body, CpgConfchg)
    extra = msgspec.structs.replace(body.members[0], pid=4711)
    assert 36 in doctored(index, members=(*body.members, extra))
    assert 36 in doctored(index, members=body.members[:-1])


@cache
def heard_ns() -> int:
    """When node 1 hears node 3's joinlist after the merge."""
    return next(
        event.time_ns
        for event in true_run()
        if isinstance(event.body, Log) and event.node == 1 and event.time_ns > 20e9 and GHOST in event.body.text
    )


GHOST = "got joinlist message from node 3"


@pytest.mark.parametrize("faithful", [True, False])
def test_the_ghost_of_a_newcomer_that_is_gone_before_the_barrier(faithful: bool) -> None:
    """Node 1 has node 3's joinlist when it is cut off, and not yet node 2's barrier: it never was in a view with 3."""
    world = run(
        32,
        Cut(at=seconds(5), nodes=(3,)),
        Heal(at=seconds(20)),
        Cut(at=Duration(heard_ns() + 10_000), nodes=(1,)),
        host_model=HostModel.MEASURED,
        quirks=Quirks(barrier_abort_keeps_joinlists=faithful),
    )
    ghosts = check(world.timeline, numbers=NUMBERS)
    assert {(ghost.invariant, ghost.node) for ghost in ghosts} == ({(36, 1)} if faithful else set())


# ------------------------------------------------------------------------------------------------------- quorum (39)


def test_a_quorum_that_falls_for_no_reason() -> None:
    index = last(QuorumChanged, 1, 19)
    assert doctored(index, quorum=2) == []
    assert 39 in doctored(index, quorum=1, expected_votes=1)


def test_a_quorum_that_an_operator_lowers() -> None:
    world = run(40, Cut(at=seconds(5), nodes=(3,)), ExpectedVotes(at=seconds(20), node=3, votes=1))
    told = [event.body.quorum for event in world.timeline if isinstance(event.body, QuorumChanged) and event.node == 3]
    assert told[-2:] == [2, 1]
    assert broken(world.timeline) == []
    silent = [event for event in world.timeline if not isinstance(event.body, PacketDelivered)]
    assert 39 in broken(silent)


# --------------------------------------------------------------------------------------------------- reassembly (41)


def test_a_message_with_a_byte_of_another() -> None:
    index = last(CpgDelivered, 2, 25)
    body = true_run()[index].body
    assert isinstance(body, CpgDelivered)
    assert doctored(index, payload=bytes(body.payload)) == []
    assert 41 in doctored(index, payload=body.payload[:-1] + b"?")
    assert 41 in doctored(index, pid=1)


# ---------------------------------------------------------------------------------------------------- isolation (40)


def test_a_stopped_client_disturbs_nobody() -> None:
    pause = Pause(at=seconds(3.3), node=2, process="reader", duration=seconds(0.5))
    run_, twin = flooded(pause), flooded()
    assert any(isinstance(event.body, ProcessBlocked) for event in run_.timeline)
    reader = {
        event.body.client
        for event in run_.timeline
        if isinstance(event.body, CpgDelivered) and event.node == 2 and event.body.group == "flood"
    }
    assert len(reader) == 1
    assert difference(run_.timeline, twin.timeline, 2, reader) == ""


def test_a_disturbance_is_seen() -> None:
    pause = Pause(at=seconds(3.3), node=2, process="corosync", duration=seconds(0.1))
    assert "in one run" in difference(flooded(pause).timeline, flooded().timeline, 2, ())


@cache
def flooded(*others: AnyIntervention) -> World:
    """A reader on nodes 2 and 3, and messages from node 1 at a steady pace."""
    return run(
        4.2,
        CpgRead(at=seconds(3), node=2, program="reader", group="flood"),
        CpgRead(at=seconds(3), node=3, program="other", group="flood"),
        CpgFlood(at=seconds(3.2), node=1, program="flood", group="flood", count=120, size=1000, rate=200.0),
        *others,
        host_model=HostModel.MEASURED,
    )
