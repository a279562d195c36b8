"""The stack on a stand-in ring: order of sync, CPG views, quorum, and what clients are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corosync.bus import Bus
from totemviz.corosync import wire
from totemviz.corosync.conf import CorosyncConf, load, parse
from totemviz.corosync.decoders import decode_message
from totemviz.corosync.effects import (
    ConfchgReason,
    CpgConfchg,
    CpgDelivered,
    CpgError,
    CpgMember,
    DaemonExited,
    QuorumChanged,
    SyncCompleted,
)
from totemviz.corosync.service import SyncService
from totemviz.totem.effects import Log, MembershipInstalled, RingId, StoreRingId

DATA = Path(__file__).parent / "data"
LAB = load(DATA / "lab-3-nodes-udpu.conf")
FIVE = load(DATA / "proxmox-5-nodes.conf")
GROUP = "pve_dcdb_v1\0"


def joined_cluster(group: str = GROUP) -> Bus:
    """Three nodes in one ring, each with client 1, pid 100 * node, in one group."""
    bus = Bus(LAB)
    bus.settle(1, 2, 3)
    for node in (1, 2, 3):
        error, outputs = bus.daemons[node].cpg_join(0, 1, 100 * node, group)
        assert error is CpgError.OK
        bus.outputs[node].extend(outputs)
    bus.rotate(1, 2, 3)
    return bus


def members_of(event: object) -> list[tuple[int, int]]:
    assert isinstance(event, CpgConfchg)
    return [(member.nodeid, member.pid) for member in event.members]


def test_sync_runs_the_services_in_order_of_their_ids() -> None:
    bus = Bus(LAB)
    bus.settle(1, 2, 3)
    committed = [line for line in bus.lines(2, "SYNC") if "Committing" in line]
    assert [line.rpartition(" for ")[2] for line in committed] == [
        "corosync configuration map access",
        "corosync cluster closed process group service v1.01",
        "corosync cluster quorum service v0.1",
        "corosync vote quorum service v1.0",
    ]


def test_no_service_is_activated_before_all_members_processed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 35, with one node that needs a second call to finish its part."""
    bus = Bus(LAB)
    history: list[tuple[str, int, int]] = []

    def spy(node: int, service: SyncService) -> None:
        process, activate = service.sync_process, service.sync_activate
        calls = 0

        def slow_process() -> bool:
            nonlocal calls
            calls += 1
            if node == 3 and calls == 1:
                return False
            history.append(("process", service.service_id, node))
            return process()

        def seen_activate() -> None:
            history.append(("activate", service.service_id, node))
            activate()

        monkeypatch.setattr(service, "sync_process", slow_process)
        monkeypatch.setattr(service, "sync_activate", seen_activate)

    for node, daemon in bus.daemons.items():
        for service in (daemon.cmap, daemon.cpg, daemon.quorum, daemon.votequorum):
            spy(node, service)
    bus.settle(1, 2, 3)
    for service_id in (0, 2, 3, 5):
        kinds = [kind for kind, of, _ in history if of == service_id]
        assert kinds == ["process"] * 3 + ["activate"] * 3
    for node in (1, 2, 3):
        assert [of for kind, of, where in history if kind == "activate" and where == node] == [0, 2, 3, 5]


def test_sync_messages_of_a_boot() -> None:
    bus = Bus(LAB)
    bus.settle(1, 2, 3)
    kinds = [type(decode_message(message)[1]).__name__ for message in bus.rings[1].submitted]
    assert kinds == [
        "NodeInfo",
        "ServiceBuild",
        "CmapMcast",
        "Barrier",
        "DownList",
        "Barrier",
        "Barrier",
        "NodeInfo",
        "NodeInfo",
        "Barrier",
    ]


def test_the_views_are_logged_before_the_membership_and_the_completion_comes_last() -> None:
    bus = Bus(LAB)
    bus.settle(1, 2, 3)
    told = [
        output.text if isinstance(output, Log) else type(output).__name__
        for output in bus.outputs[1]
        if (isinstance(output, Log) and output.subsystem in ("QUORUM", "MAIN") and output.level == "notice")
        or isinstance(output, MembershipInstalled | QuorumChanged | SyncCompleted)
    ]
    assert told == [
        "Corosync Cluster Engine 3.1.7 starting up",
        "Using quorum provider corosync_votequorum",
        "Sync members[3]: 1 2 3",
        "Sync joined[3]: 1 2 3",
        "MembershipInstalled",
        "This node is within the primary component and will provide service.",
        "Members[3]: 1 2 3",
        "QuorumChanged",
        "Completed service synchronization, ready to provide service.",
        "SyncCompleted",
    ]


def test_join_reaches_every_member_in_the_same_order() -> None:
    bus = joined_cluster()
    for node in (1, 2, 3):
        views = [members_of(event) for event in bus.of(node, CpgConfchg)]
        assert views[-1] == [(1, 100), (2, 200), (3, 300)]
        assert all(view == sorted(view) for view in views)
    order = [event.joined for event in bus.of(2, CpgConfchg) if isinstance(event, CpgConfchg)]
    assert order == [
        (CpgMember(2, 200, ConfchgReason.JOIN),),
        (CpgMember(3, 300, ConfchgReason.JOIN),),
        (CpgMember(1, 100, ConfchgReason.JOIN),),
    ]


def test_messages_arrive_everywhere_in_one_order_and_at_the_sender() -> None:
    bus = joined_cluster()
    for round_ in range(3):
        for node in (3, 1, 2):
            error, outputs = bus.daemons[node].cpg_mcast(0, 1, b"%d-%d" % (node, round_))
            assert error is CpgError.OK
            assert not [output for output in outputs if isinstance(output, CpgDelivered)]
    bus.rotate(1, 2, 3)
    histories = [
        [(event.nodeid, event.pid, event.payload, event.seq) for event in bus.of(node, CpgDelivered)]  # type: ignore[attr-defined]
        for node in (1, 2, 3)
    ]
    assert len(histories[0]) == 9
    assert histories[0] == histories[1] == histories[2]
    assert [seq for *_, seq in histories[0]] == sorted(seq for *_, seq in histories[0])


def test_a_dead_node_leaves_with_nodedown_and_comes_back_with_nodeup() -> None:
    bus = joined_cluster()
    bus.kill(3)
    bus.forget()
    bus.settle(1, 2)
    (down,) = bus.of(1, CpgConfchg)
    assert down == CpgConfchg(
        1, "pve_dcdb_v1", (CpgMember(1, 100), CpgMember(2, 200)), (CpgMember(3, 300, ConfchgReason.NODEDOWN),), ()
    )
    bus.boot(3)
    bus.settle(3)
    bus.daemons[3].cpg_join(0, 1, 333, GROUP)
    bus.rotate(3)
    bus.forget()
    bus.settle(1, 2, 3)
    (up,) = bus.of(2, CpgConfchg)
    assert isinstance(up, CpgConfchg)
    assert up.joined == (CpgMember(3, 333, ConfchgReason.NODEUP),)
    assert not up.left
    (mine,) = bus.of(3, CpgConfchg)
    assert isinstance(mine, CpgConfchg)
    assert {(member.nodeid, member.reason) for member in mine.joined} == {(1, 4), (2, 4)}
    assert members_of(mine) == [(1, 100), (2, 200), (3, 333)]


def test_a_quick_restart_is_down_and_up_in_one_sync() -> None:
    """A node that is back before its absence was noticed shows in both lists (sheet §8.4)."""
    bus = joined_cluster()
    bus.kill(3)
    bus.boot(3)
    bus.settle(3)
    bus.daemons[3].cpg_join(0, 1, 333, GROUP)
    bus.rotate(3)
    bus.forget()
    bus.settle(1, 2, 3)
    first, second = bus.of(1, CpgConfchg)
    assert isinstance(first, CpgConfchg)
    assert isinstance(second, CpgConfchg)
    assert first.left == (CpgMember(3, 300, ConfchgReason.NODEDOWN),)
    assert second.joined == (CpgMember(3, 333, ConfchgReason.NODEUP),)
    assert [line for line in bus.lines(1, "QUORUM") if "Sync" in line] == [
        "notice QUORUM Sync members[3]: 1 2 3",
        "notice QUORUM Sync joined[1]: 3",
        "notice QUORUM Sync left[1]: 3",
    ]


def test_a_process_that_vanished_during_a_partition_is_procdown() -> None:
    bus = joined_cluster()
    bus.settle(1, 2)
    bus.settle(3)
    # node 2 is cut off from node 1's view while its client goes
    bus.daemons[2].cpg_disconnect(0, 1)
    bus.rings[2].new_queue.clear()
    bus.daemons[2].cpg.processes = [known for known in bus.daemons[2].cpg.processes if known.nodeid != 2]
    bus.forget()
    bus.settle(1, 2)
    (event,) = bus.of(1, CpgConfchg)
    assert isinstance(event, CpgConfchg)
    assert event.left == (CpgMember(2, 200, ConfchgReason.PROCDOWN),)


def test_disconnect_is_procdown_and_leave_is_leave() -> None:
    bus = joined_cluster()
    bus.forget()
    bus.daemons[2].cpg_disconnect(0, 1)
    bus.daemons[3].cpg_leave(0, 1)
    bus.rotate(1, 2, 3)
    reasons = [event.left for event in bus.of(1, CpgConfchg) if isinstance(event, CpgConfchg)]
    assert reasons == [
        (CpgMember(2, 200, ConfchgReason.PROCDOWN),),
        (CpgMember(3, 300, ConfchgReason.LEAVE),),
    ]
    assert not bus.of(2, CpgConfchg)
    assert len(bus.of(3, CpgConfchg)) == 2


def test_a_connection_that_left_stays_spent() -> None:
    """Joining again on it answers EXIST; a new connection works once the leave was delivered."""
    bus = joined_cluster()
    daemon = bus.daemons[3]
    assert daemon.cpg_leave(0, 1)[0] is CpgError.OK
    assert daemon.cpg_join(0, 1, 300, GROUP)[0] is CpgError.EXIST
    bus.rotate(1, 2, 3)
    assert daemon.cpg_join(0, 1, 300, GROUP)[0] is CpgError.EXIST
    assert daemon.cpg_leave(0, 1)[0] is CpgError.NOT_EXIST
    daemon.cpg_disconnect(0, 1)
    assert daemon.cpg_join(0, 2, 300, GROUP)[0] is CpgError.OK


def test_joining_again_before_the_leave_is_delivered_has_to_wait() -> None:
    bus = joined_cluster()
    daemon = bus.daemons[3]
    daemon.cpg_disconnect(0, 1)
    assert daemon.cpg_join(0, 2, 300, GROUP)[0] is CpgError.TRY_AGAIN
    bus.rotate(1, 2, 3)
    assert daemon.cpg_join(0, 2, 300, GROUP)[0] is CpgError.OK


def test_a_stranger_s_message_is_not_delivered() -> None:
    bus = joined_cluster()
    bus.daemons[1].cpg.processes = [known for known in bus.daemons[1].cpg.processes if known.nodeid != 2]
    bus.forget()
    bus.daemons[2].cpg_mcast(0, 1, b"?")
    bus.rotate(1, 2, 3)
    assert not bus.of(1, CpgDelivered)
    assert bus.lines(1, "CPG") == ["warning CPG Unknown node -> we will not deliver message"]
    assert len(bus.of(3, CpgDelivered)) == 1


def test_clients_wait_while_a_sync_runs() -> None:
    bus = joined_cluster()
    bus.daemons[1].cpg_mcast(0, 1, b"queued before the ring broke")
    bus.form(1, 2)
    assert bus.daemons[1].cpg_mcast(0, 1, b"during sync")[0] is CpgError.TRY_AGAIN
    bus.forget()
    bus.rotate(1, 2)
    assert bus.daemons[1].cpg_mcast(0, 1, b"after sync")[0] is CpgError.OK
    bus.rotate(1, 2)
    kinds = [type(output).__name__ for output in bus.outputs[2] if not isinstance(output, Log)]
    assert kinds == ["CpgConfchg", "QuorumChanged", "SyncCompleted", "CpgDelivered", "CpgDelivered"]
    assert [event.payload for event in bus.of(2, CpgDelivered)] == [b"queued before the ring broke", b"after sync"]  # type: ignore[attr-defined]


def test_a_disconnect_during_sync_still_goes_out() -> None:
    bus = joined_cluster()
    bus.form(1, 2)
    assert bus.daemons[2].cpg_disconnect(0, 1)[0] is CpgError.OK
    bus.rotate(1, 2)
    lefts = [event.left for event in bus.of(1, CpgConfchg) if isinstance(event, CpgConfchg)]
    assert (CpgMember(2, 200, ConfchgReason.PROCDOWN),) in lefts


def test_before_the_first_sync_no_client_gets_in() -> None:
    bus = Bus(LAB, [])
    bus.boot(1)
    assert bus.daemons[1].cpg_join(0, 1, 100, GROUP)[0] is CpgError.TRY_AGAIN
    bus.form(1)
    assert bus.daemons[1].cpg_join(0, 1, 100, GROUP)[0] is CpgError.TRY_AGAIN
    bus.rotate(1)
    assert bus.daemons[1].cpg_join(0, 1, 100, GROUP)[0] is CpgError.OK
    assert bus.daemons[1].cpg_mcast(0, 2, b"")[0] is CpgError.BAD_HANDLE


def test_nobody_listens_before_start_and_after_exit() -> None:
    bus = joined_cluster()
    outputs = bus.daemons[1].shutdown(0)
    assert [type(output) for output in outputs if not isinstance(output, Log)] == [DaemonExited]
    assert bus.rings[1].left
    texts = [output.text for output in outputs if isinstance(output, Log) and output.level == "notice"]
    assert texts[:2] == ["Node was shut down by a signal", "Unloading all Corosync service engines."]
    assert texts[2] == "Service engine unloaded: corosync vote quorum service v1.0"
    assert texts[-1] == "Corosync Cluster Engine exiting normally"
    assert bus.daemons[1].cpg_join(0, 9, 1, GROUP)[0] is CpgError.LIBRARY
    assert bus.daemons[1].receive(0, b"") == []
    assert bus.daemons[1].shutdown(0) == []


def test_a_break_during_sync_starts_over() -> None:
    bus = joined_cluster()
    bus.form(1, 2)
    bus.hop(2)
    bus.hop(1)
    bus.hop(2)
    bus.forget()
    bus.settle(1, 2, 3)
    for node in (1, 2, 3):
        assert len(bus.of(node, SyncCompleted)) == 1
        assert bus.daemons[node].cpg.processes == bus.daemons[1].cpg.processes
    assert len(bus.daemons[1].cpg.processes) == 3


def test_barriers_of_an_old_ring_are_discarded() -> None:
    bus = Bus(LAB)
    bus.form(1, 2, 3)
    old = bus.daemons[1].sync.ring_id
    bus.form(1, 2, 3)
    bus.rings[2].trans_queue.insert(0, wire.PREFIX_SYNC + wire.Barrier(old).encode())
    bus.rotate(1, 2, 3)
    assert "debug SYNC barrier for old ring - discarding" in bus.lines(1, "SYNC")
    assert "debug SYNC service build for old ring - discarding" in bus.lines(1, "SYNC")
    assert len(bus.of(1, SyncCompleted)) == 1


def test_the_send_queue_level_turns_senders_away() -> None:
    bus = joined_cluster()
    daemon = bus.daemons[1]
    accepted = 0
    while daemon.cpg_mcast(0, 1, b"x")[0] is CpgError.OK:
        accepted += 1
        assert accepted < 100
    assert accepted == 45  # the one that leaves 18 free slots, less 1 kept and 1 of its own, is at 75 percent
    bus.hop(1)
    assert daemon.cpg_mcast(0, 1, b"x")[0] is CpgError.OK


def test_a_message_above_the_atomic_size_is_refused() -> None:
    bus = joined_cluster()
    assert bus.daemons[1].cpg_mcast(0, 1, bytes(1047553))[0] is CpgError.INVALID_PARAM


def test_storing_the_ring_id_is_logged_and_passed_on() -> None:
    bus = Bus(LAB)
    bus.forget()
    bus.push(1, StoreRingId(17))
    assert bus.outputs[1] == [Log("debug", "MAIN", "Storing new sequence id for ring 11"), StoreRingId(17)]  # type: ignore[arg-type]


def newer(text: str, version: int) -> CorosyncConf:
    return parse(text.replace("config_version: 9", f"config_version: {version}"), "corosync.conf")


def test_a_newcomer_with_an_old_file_leaves() -> None:
    text = (DATA / "proxmox-5-nodes.conf").read_text()
    bus = Bus(newer(text, 9), [1, 2, 3])
    bus.settle(1, 2, 3)
    bus.conf = newer(text, 8)
    bus.boot(5)
    bus.settle(5)
    bus.forget()
    bus.form(1, 2, 3, 5)
    for _ in range(6):
        for node in (2, 3, 5, 1):
            bus.hop(node)
    assert bus.lines(5, "CMAP")[-1] == (
        "error CMAP Received config version (9) is different than my config version (8)! Exiting"
    )
    assert len(bus.of(5, DaemonExited)) == 1
    assert not bus.of(1, DaemonExited)


@pytest.mark.parametrize("boot", [lambda bus: bus.settle(1, 2, 3, 5, 7), lambda bus: bus.form(1, 2, 3, 5, 7)])
def test_same_steps_give_the_same_outputs(boot: Callable[[Bus], RingId]) -> None:
    runs = []
    for _ in range(2):
        bus = Bus(FIVE)
        boot(bus)
        runs.append(bus.outputs)
    assert runs[0] == runs[1]


PARTITIONS = st.lists(
    st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=6
)  # side of every node, per step


@settings(max_examples=60, deadline=None)
@given(PARTITIONS, st.data())
def test_views_agree_whatever_the_partitions(steps: list[list[int]], data: st.DataObject) -> None:
    """Invariants 36 (equal lists after sync), 37 (balance of confchgs) and 38 (one quorate partition at most)."""
    bus = Bus(FIVE)
    nodes = (1, 2, 3, 5, 7)
    bus.settle(*nodes)
    for node in nodes:
        for client in (1, 2):
            bus.daemons[node].cpg_join(0, client, 100 * node + client, ("left", "right")[client - 1])
    bus.rotate(*nodes)
    for sides in [*steps, [0] * 5]:
        parts = [[node for node, side in zip(nodes, sides, strict=True) if side == wanted] for wanted in range(3)]
        for part in filter(None, parts):
            if data.draw(st.booleans()):  # a membership that does not live long enough to synchronise
                bus.form(*part)
                for _ in range(data.draw(st.integers(0, 4))):
                    bus.hop(data.draw(st.sampled_from(part)))
            bus.settle(*part)
            lists = [bus.daemons[node].cpg.processes for node in part]
            assert all(processes == lists[0] for processes in lists)
            assert {process.nodeid for process in lists[0]} == set(part)
            assert len({bus.daemons[node].votequorum.quorate for node in part}) == 1
        assert sum(bus.daemons[part[0]].votequorum.quorate for part in parts if part) <= 1
    for node in nodes:
        for client in (1, 2):
            check_balance([event for event in bus.of(node, CpgConfchg) if event.client == client])  # type: ignore[attr-defined]


def check_balance(events: list[CpgConfchg]) -> None:
    members: set[tuple[int, int]] = set()
    for event in events:
        left = {(member.nodeid, member.pid) for member in event.left}
        joined = {(member.nodeid, member.pid) for member in event.joined}
        if members:  # the first event tells who was there before
            assert set(members_of(event)) == (members - left) | joined
        members = set(members_of(event))
