"""The checkers of /etc/pve: silent about true runs, and loud about doctored ones."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from tests.sim.runs import run, seconds
from totemviz.corosync.effects import CpgDelivered
from totemviz.pmxcfs.effects import ChangeApplied, ChangeCommitted, DfsmModeChanged, FuseReply
from totemviz.pmxcfs.messages import MessageType
from totemviz.sim.interventions import CreateGuest, Cut, Heal, Kill, MakeDirectory, Restart, Write
from totemviz.sim.threads import HostModel
from totemviz.totem.effects import Log
from totemviz.trace.checks import check, unexpected
from totemviz.trace.checks.replica import dcdb_message
from totemviz.trace.events import Event

NUMBERS = (103, 113, 114, 117, 118, 119, 123, 124, 126, 135)


@cache
def true_run() -> tuple[Event, ...]:
    """Writes, a cut with writes on both sides, a merge, a dead node, and a lock that expires."""
    world = run(
        150,
        Write(at=seconds(4), node=1, path="a", count=5, every=seconds(0.2), replace=True),
        MakeDirectory(at=seconds(5), node=3, path="priv/lock/storage-x"),
        Cut(at=seconds(6), nodes=(3,)),
        Write(at=seconds(16), node=2, path="storage.cfg"),
        Write(at=seconds(16), node=3, path="storage.cfg"),
        Heal(at=seconds(18)),
        Write(at=seconds(20), node=3, path="b", count=3, every=seconds(0.2)),
        Kill(at=seconds(22), node=3),
        Restart(at=seconds(35), node=3),
        # The lock's time began anew on nobody who would judge it: node 1 was never updated.
        CreateGuest(at=seconds(140), node=2, storage="x"),
        host_model=HostModel.MEASURED,
    )
    return tuple(world.timeline)


def found(events: list[Event]) -> set[int]:
    return {violation.invariant for violation in check(events, numbers=NUMBERS)}


def doctored(event: Event, **fields: object) -> set[int]:
    """The invariants that a run breaks in which one event's body says something else."""
    events = list(true_run())
    events[event.id] = msgspec.structs.replace(event, body=msgspec.structs.replace(event.body, **fields))
    return found(events)


def of(body: type, node: int, after_s: float = 0.0, **fields: object) -> Event:
    """The first such event of a node."""
    return next(
        event
        for event in true_run()
        if isinstance(event.body, body)
        and event.node == node
        and event.time_ns >= after_s * 1e9
        and all(getattr(event.body, name) == value for name, value in fields.items())
    )


def state(type_: MessageType, node: int, after_s: float) -> Event:
    return next(
        event
        for event in true_run()
        if isinstance(event.body, CpgDelivered)
        and event.node == node
        and event.time_ns >= after_s * 1e9
        and (message := dcdb_message(event.body)) is not None
        and message[0] == type_
    )


def test_a_true_run_breaks_nothing() -> None:
    assert check(true_run(), numbers=NUMBERS) == []
    operations = {event.body.operation for event in true_run() if isinstance(event.body, ChangeApplied)}
    assert {"create", "write", "rename", "mkdir", "delete", "unlock"} <= operations
    assert any(isinstance(e.body, DfsmModeChanged) and e.body.mode == "UPDATE" for e in true_run())


def test_a_version_that_jumps() -> None:
    event = of(ChangeApplied, 2, 4.3)
    assert 103 in doctored(event, version=event.body.version + 1)
    assert 103 in doctored(event, result=-2)


def test_a_result_of_its_own() -> None:
    event = of(ChangeApplied, 3, 4.3, operation="write")
    assert doctored(event, result=event.body.result - 1) == {113}
    violations = check(true_run(), numbers=NUMBERS)
    assert unexpected(violations) == violations == []


def test_an_answer_nobody_applied() -> None:
    event = of(FuseReply, 1, 4.3)
    assert doctored(event, result=99) == {114}
    assert doctored(event, result=-16) == set(), "busy: it may have been carried out or not"


def test_a_message_applied_twice() -> None:
    event = of(ChangeApplied, 2, 4.3)
    events = list(true_run())
    assert 117 in found([*events[: event.id + 1], event, *events[event.id + 1 :]])


def test_a_message_applied_in_the_wrong_mode() -> None:
    event = of(DfsmModeChanged, 2, machine="dcdb", mode="SYNCED")
    later = of(ChangeApplied, 2, 4.3)
    last = max(
        e.id
        for e in true_run()
        if e.id < later.id and e.node == 2 and isinstance(e.body, DfsmModeChanged) and e.body.machine == "dcdb"
    )
    assert event.id <= last
    assert 118 in doctored(true_run()[last], mode="UPDATE")


def test_a_message_applied_without_quorum() -> None:
    event = next(e for e in true_run() if isinstance(e.body, Log) and e.node == 1 and e.body.text == "node has quorum")
    assert 119 in doctored(event, text="node lost quorum")


def test_two_leaders() -> None:
    event = next(
        e for e in true_run() if isinstance(e.body, Log) and e.time_ns > 18e9 and e.body.text.startswith("leader is 1/")
    )
    assert 123 in doctored(event, text="leader is 3/3002")
    event = next(
        e
        for e in true_run()
        if isinstance(e.body, Log) and e.time_ns > 18e9 and e.body.text.startswith("synced members")
    )
    assert 123 in doctored(event, text="synced members: 1/1002")


def test_another_tree_than_the_leaders() -> None:
    update = of(DfsmModeChanged, 3, 18, mode="UPDATE")
    event = of(ChangeCommitted, 3, update.time_ns / 1e9)
    assert 124 in doctored(event, version=event.body.version + 5)


@pytest.mark.parametrize("type_", [MessageType.STATE, MessageType.UPDATE_COMPLETE])
def test_one_too_many(type_: MessageType) -> None:
    event = state(type_, 2, 18)
    events = list(true_run())
    assert 126 in found([*events[: event.id + 1], event, *events[event.id + 1 :]])


def test_the_wrong_one_ends_the_updates() -> None:
    assert 126 in doctored(state(MessageType.UPDATE_COMPLETE, 2, 18), nodeid=2, pid=2002)


def test_a_lock_removed_too_early() -> None:
    unlock = next(e for e in true_run() if isinstance(e.body, ChangeApplied) and e.body.operation == "unlock")
    taken = of(ChangeApplied, unlock.node, path="priv/lock/storage-x", operation="mkdir")
    assert unlock.time_ns - taken.time_ns > 120e9
    events = [msgspec.structs.replace(e, time_ns=e.time_ns // 2) if e.id > taken.id else e for e in true_run()]
    assert 135 in found(events)
