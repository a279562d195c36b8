"""The checkers of the services: silent about true runs of whole clusters, and loud about doctored ones."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from tests.sim.runs import run, seconds
from totemviz.corosync.effects import ConfchgReason, CpgConfchg, QuorumChanged
from totemviz.sim.interventions import Cut, Heal, Kill, Restart
from totemviz.sim.threads import HostModel
from totemviz.trace.checks import check
from totemviz.trace.events import Event

NUMBERS = (37, 38)


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
    return [violation.invariant for violation in check(events, numbers=NUMBERS)]


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
