"""What a whole process does and logs, in the order it happens (sheet §5, §9.2, §10)."""

from __future__ import annotations

import apsw

from tests.pmxcfs.bus import Bus, S, deliver, mark, started, state_message
from totemviz.corosync.effects import CpgMember
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.effects import (
    ChangeApplied,
    ChangeCommitted,
    ChangeQueued,
    CpgMcast,
    DiskIo,
    FuseCalled,
    FuseReply,
)
from totemviz.pmxcfs.machine import DCDB_CLIENT, Pmxcfs
from totemviz.pmxcfs.messages import DCDB_GROUP, NormalMessage, encode_message
from totemviz.pmxcfs.modes import Mode
from totemviz.totem.effects import Log

CONF = b"totem {\n  cluster_name: demo\n  config_version: 3\n}\n"
FAILED = "CS_ERR_LIBRARY (failed to connect to corosync)"
NOT_CONNECTED = [
    f"[quorum] crit: quorum_initialize failed: {FAILED}",
    f"[confdb] crit: cmap_initialize failed: {FAILED}",
    f"[dcdb] crit: cpg_initialize failed: {FAILED}",
    f"[status] crit: cpg_initialize failed: {FAILED}",
]
EXCHANGE = ["starting data syncronisation", "received sync request (epoch {epoch})", "received all states"]
DONE = "all data is up to date"


def with_lines_after(lines: list[str]) -> list[str]:
    """Each failure followed by its "can't initialize service"."""
    return [text for line in lines for text in (line, f"{line.split(' ')[0]} crit: can't initialize service")]


def exchange(epoch: str) -> list[str]:
    return [line.format(epoch=epoch) for line in EXCHANGE]


# ------------------------------------------------------------------------------------------------------- boot and join


def test_boot_with_corosync_later(tmp_path):
    bus = Bus(tmp_path, 1, corosync_conf=CONF)
    bus.start(corosync=False)
    host = bus.hosts[1]
    assert bus.machine(1).version == 3, "create and write of the imported corosync.conf"
    bus.run(17)
    assert host.log()[1:] == with_lines_after(NOT_CONNECTED) + 2 * NOT_CONNECTED
    since = len(host.outputs)
    bus._handle(host, bus.machine(1).corosync_available(bus.now_ns))
    bus.tell_quorum()
    assert not bus.machine(1).quorate, "nobody is connected yet"
    bus.run(6)
    assert host.log(since=since) == [
        "[status] notice: update cluster info (cluster name  demo, version = 3)",
        "[status] notice: node has quorum",
        "[dcdb] notice: members: 1/1001",
        "[dcdb] notice: all data is up to date",
        "[status] notice: members: 1/1001",
        "[status] notice: all data is up to date",
    ]
    assert bus.machine(1).status.mode is Mode.SYNCED


def test_start_attempts_come_every_six_seconds(tmp_path):
    bus = Bus(tmp_path, 1)
    bus.start(corosync=False)
    times = []
    for _ in range(200):
        before = len(bus.hosts[1].log("quorum"))
        bus.run(0.1)
        if len(bus.hosts[1].log("quorum")) > before:
            times.append(bus.now_ns // S)
    assert times == [0, 6, 12, 18]


def test_second_node_joins_with_an_empty_database(tmp_path):
    bus = Bus(tmp_path, 2)
    bus.start(1)
    bus.quorum(1, True)
    bus.run(1)
    assert bus.result(1, "mkdir", "d") == 0
    assert bus.result(1, "create", "d/f") == 0
    assert bus.result(1, "write", "d/f", data=b"hello") == 5
    since = mark(bus)
    bus.start(2)
    bus.run(1)
    members, epoch = "members: 1/1001, 2/2001", "1/1001/00000002"
    assert bus.hosts[1].log("dcdb", since[1]) == [
        members,
        *exchange(epoch),
        "leader is 1/1001",
        "synced members: 1/1001",
        "start sending inode updates",
        "sent all (3) updates",
        DONE,
    ]
    assert bus.hosts[2].log("dcdb") == [
        members,
        *exchange(epoch),
        "leader is 1/1001",
        "synced members: 1/1001",
        "waiting for updates from leader",
        "update complete - trying to commit (got 3 inode updates)",
        DONE,
    ]
    for nodeid in (1, 2):
        log = [line for line in bus.hosts[nodeid].log("status", since[nodeid]) if "quorum" not in line]
        log = [line for line in log if "cluster info" not in line]
        assert log == [members, *exchange(epoch), DONE]
    assert len(bus.indices()) == 1
    assert bus.machine(2).read("d/f") == b"hello"
    assert bus.machine(2)._status.online == (1, 2)
    assert bus.machine(2)._status.addresses == {"pve1": "192.0.2.1", "pve2": "192.0.2.2"}
    assert [entry.node for entry in bus.machine(2)._status.log.entries] == ["pve1", "pve2"]


def test_a_node_crashes_and_two_remain(tmp_path):
    bus = started(tmp_path, 3)
    since = mark(bus)
    bus.crash(3)
    bus.settle()
    common = [
        "members: 1/1001, 2/2001",
        *exchange("1/1001/00000004"),
        "leader is 1/1001",
        "synced members: 1/1001, 2/2001",
    ]
    assert bus.hosts[1].log("dcdb", since[1])[:6] == common
    assert bus.hosts[1].log("dcdb", since[1])[6:] == ["start sending inode updates", "sent all (0) updates", DONE]
    assert bus.hosts[2].log("dcdb", since[2]) == [*common, DONE]
    assert "node lost quorum" not in bus.hosts[1].log("status")


def test_one_node_remains_and_refuses_writes(tmp_path):
    bus = started(tmp_path, 3)
    bus.result(1, "create", "f")
    since = mark(bus)
    bus.partition([1], [2, 3])
    bus.settle()
    assert bus.hosts[1].log("dcdb", since[1]) == ["members: 1/1001"], "the mode stays SYNCED"
    assert bus.hosts[1].log("status", since[1]) == ["node lost quorum", "members: 1/1001"]
    sent = sum(isinstance(output, CpgMcast) for output in bus.hosts[1].outputs)
    assert bus.result(1, "write", "f", data=b"x") == -13
    assert sum(isinstance(output, CpgMcast) for output in bus.hosts[1].outputs) == sent, "nothing was sent"
    assert bus.machine(1).read("f") == b"", "reading goes on"
    assert bus.result(2, "write", "f", data=b"majority") == 8
    since = mark(bus)
    bus.heal()
    bus.settle()
    assert "leader is 2/2001" in bus.hosts[1].log("dcdb", since[1])
    assert bus.machine(1).read("f") == b"majority"
    assert len(bus.indices()) == 1


# ------------------------------------------------------------------------------------------------ the way of one write


def test_order_of_one_write(tmp_path):
    io: list[DiskIo] = []

    def connect() -> apsw.Connection:
        io.append(DiskIo("write", "config.db", 0, 0))
        return apsw.Connection(str(tmp_path / "config.db"))

    def drain() -> list[DiskIo]:
        drained = io.copy()
        io.clear()
        return drained

    class Recorded(Database):
        def write(self, change):
            io.append(DiskIo("write", "config.db-wal", 0, 4096))
            super().write(change)

    machine = Pmxcfs(1, 4242, "pve1", Recorded(connect, drain), local=False)
    bus = Bus(tmp_path, 1)
    host = bus.hosts[1]
    host.machine, host.pid = machine, 4242
    bus._handle(host, machine.start(0))
    bus._handle(host, machine.corosync_available(0))
    bus.tell_quorum()
    bus.run(1)
    since = len(host.outputs)
    call_id = bus.call(1, "create", "/local/x")
    assert bus.result(1, "mkdir", "nodes") == 0
    got = [output for output in host.outputs[since:] if not isinstance(output, Log)]
    assert got == [
        FuseCalled(call_id, "create", "nodes/pve1/x", "", 0),
        ChangeQueued(call_id, 1, "create", "nodes/pve1/x"),
        got[2],
        FuseCalled(call_id + 1, "mkdir", "nodes", "", 0),
        ChangeQueued(call_id + 1, 2, "mkdir", "nodes"),
        got[5],
        ChangeApplied(1, 4242, 1, "create", "nodes/pve1/x", -2, 1),
        FuseReply(call_id, -2),
        ChangeApplied(1, 4242, 2, "mkdir", "nodes", 0, 2, machine.memdb.lookup("nodes")),
        DiskIo("write", "config.db-wal", 0, 4096),
        ChangeCommitted(2),
        FuseReply(call_id + 1, 0),
    ]
    assert isinstance(got[2], CpgMcast)
    assert isinstance(got[5], CpgMcast)


def test_all_members_apply_and_only_the_writer_is_answered(tmp_path):
    bus = started(tmp_path, 3)
    assert bus.result(2, "create", "f") == 0
    for nodeid in (1, 2, 3):
        applied = [o for o in bus.hosts[nodeid].outputs if isinstance(o, ChangeApplied)]
        made = bus.hosts[nodeid].machine.memdb.lookup("f")
        assert applied == [ChangeApplied(2, 2001, 1, "create", "f", 0, 2, made)]
        assert len(bus.hosts[nodeid].results) == (nodeid == 2)


def test_congestion_delays_and_then_fails(tmp_path):
    bus = started(tmp_path, 1)
    host = bus.hosts[1]
    since = len(host.outputs)
    host.busy = 37
    first = bus.call(1, "create", "a")
    second = bus.call(1, "create", "b")
    bus.run(3.65)
    assert host.results == {}, "the second waits behind the first"
    bus.run(0.1)
    assert host.results == {first: 0, second: 0}
    assert host.log("dcdb", since) == [
        *(f"cpg_send_message retry {n}" for n in (10, 20, 30)),
        "cpg_send_message retried 37 times",
    ]
    since = len(host.outputs)
    host.busy = 100
    third = bus.call(1, "create", "c")
    bus.run(10.5)
    assert host.results[third] == -16
    assert host.log("dcdb", since) == [
        *(f"cpg_send_message retry {n}" for n in range(10, 101, 10)),
        "cpg_send_message retried 100 times",
        "cpg_send_message failed: CS_ERR_TRY_AGAIN",
    ]


def test_congestion_of_the_event_loop_holds_up_everything_else(tmp_path):
    bus = started(tmp_path, 2)
    host = bus.hosts[1]
    host.busy = 25
    bus.crash(2)
    bus.start(2)
    bus.run(1)
    assert bus.machine(1).dcdb.mode is Mode.START_SYNC
    since = len(host.outputs)
    assert deliver(bus, 1, state_message(1, version=0)) == [], "the loop sleeps and reads nothing"
    bus.quorum(1, False)
    bus.quorum(1, True)
    assert host.log("status", since) == []
    bus.run(5)
    log = host.log(since=since)
    lost, back = (log.index(f"[status] notice: node {text}") for text in ("lost quorum", "has quorum"))
    assert lost + 1 == back < log.index("[dcdb] notice: ignore message with wrong protocol version 0")
    assert bus.machine(1).quorate
    assert bus.machine(1).dcdb.mode is bus.machine(2).dcdb.mode is Mode.SYNCED


def test_a_write_waits_for_the_exchange(tmp_path):
    bus = started(tmp_path, 3)
    bus.crash(3)
    bus.start(3)
    call_id = bus.call(2, "create", "f")
    since = mark(bus)
    for _ in range(3):
        bus.step()
    assert call_id not in bus.hosts[2].results
    bus.run(1)
    assert bus.hosts[2].results[call_id] == 0
    assert "dfsm_deliver_queue: queue length 1" in bus.hosts[2].log("dcdb", since[2])
    assert len(bus.indices()) == 1


def test_queued_messages_are_sent_again_when_somebody_joins(tmp_path):
    bus = started(tmp_path, 4)
    bus.crash(4)
    call_id = bus.call(2, "create", "f")
    since = mark(bus)
    bus.start(4)
    bus.fire(4, "service start")  # its join comes before the states that the crash asks for
    bus.run(2)
    for nodeid in (1, 2, 3):
        assert "queue not emtpy - resening 1 messages" in bus.hosts[nodeid].log("dcdb", since[nodeid])
        applied = [o for o in bus.hosts[nodeid].outputs if isinstance(o, ChangeApplied)]
        assert len(applied) == 1, "and applied once"
    assert bus.hosts[2].results[call_id] == 0
    assert len(bus.indices()) == 1


def test_delivered_without_quorum(tmp_path):
    """Quirks Q4 and Q7: the writer gets EPERM, the first rejoin fails, six seconds later all is well."""
    bus = started(tmp_path, 3)
    bus.run(10)
    call_id = bus.call(1, "create", "f")
    bus.partition([1], [2, 3])
    since = mark(bus)
    bus.settle()
    assert bus.hosts[1].results[call_id] == -1
    bus.run(9)
    assert bus.hosts[1].log("dcdb", since[1]) == [
        "received write while not quorate - trigger resync",
        "leaving CPG group",
        "start cluster connection",
        "cpg_join failed: CS_ERR_EXIST",
        "can't initialize service",
        "members: 1/1001",
        DONE,
    ]
    assert bus.machine(1).version == 1


def test_writers_that_wait_when_the_node_rejoins_get_ebusy(tmp_path):
    bus = started(tmp_path, 2)
    bus.run(10)
    bad = NormalMessage(99, 1, 0, 1, b"")
    bus.queues[0].append((CpgMcast(DCDB_CLIENT, DCDB_GROUP, encode_message(bad)), CpgMember(2, 2001)))
    call_id = bus.call(1, "create", "f")
    bus.settle()
    assert "received unknown message type (msg_type == 99)" in bus.hosts[1].log("dcdb")
    assert call_id not in bus.hosts[1].results, "it waits"
    bus.run(1)
    assert bus.hosts[1].results[call_id] == -16
    bus.run(8)
    assert len(bus.indices()) == 1
    assert bus.machine(1).dcdb.mode is Mode.SYNCED


def test_corosync_dies(tmp_path):
    bus = started(tmp_path, 1)
    bus.run(10)
    host = bus.hosts[1]
    since = len(host.outputs)
    waiting = bus.call(1, "create", "f")
    bus.queues[0].clear()
    bus.groups[0].clear()
    bus._handle(host, bus.machine(1).corosync_lost(bus.now_ns))
    assert host.log(since=since) == [
        "[confdb] crit: cmap_dispatch failed: 2",
        "[status] crit: cpg_dispatch failed: CS_ERR_LIBRARY",
        "[status] crit: cpg_leave failed: CS_ERR_LIBRARY",
        "[quorum] crit: quorum_dispatch failed: CS_ERR_LIBRARY",
        "[status] notice: node lost quorum",
        "[dcdb] crit: cpg_dispatch failed: CS_ERR_LIBRARY",
        "[dcdb] crit: cpg_leave failed: CS_ERR_LIBRARY",
    ]
    assert host.results[waiting] == -16
    since = len(host.outputs)
    bus.run(1)
    expected = with_lines_after(NOT_CONNECTED)
    expected.insert(4, "[dcdb] notice: start cluster connection")
    expected.insert(7, "[status] notice: start cluster connection")
    assert host.log(since=since) == expected
    assert bus.result(1, "create", "f") == -13
    bus._handle(host, bus.machine(1).corosync_available(bus.now_ns))
    bus.tell_quorum()
    bus.run(6)
    assert bus.result(1, "create", "f") == 0
