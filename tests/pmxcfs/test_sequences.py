"""What a whole process does and logs, in the order it happens (sheet §5, §9.2, §10)."""

from __future__ import annotations

import apsw
import pytest

from tests.pmxcfs.bus import DCDB_CLIENT, Bus, S, open_database, started
from totemviz.corosync.effects import CpgDelivered, CpgError, CpgMember
from totemviz.pmxcfs.application import SyncMember
from totemviz.pmxcfs.database import Database, DatabaseError
from totemviz.pmxcfs.dcdb import select_leader
from totemviz.pmxcfs.dfsm import Mode
from totemviz.pmxcfs.effects import (
    ChangeApplied,
    ChangeCommitted,
    ChangeQueued,
    CpgMcast,
    DiskIo,
    FuseCalled,
    FuseReply,
)
from totemviz.pmxcfs.index import Index, decode_index, new_root
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.messages import DCDB_GROUP, Epoch, MessageType, NormalMessage, StateMessage, encode_message
from totemviz.pmxcfs.process import ProcessId, Quirks
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


def mark(bus: Bus) -> dict[int, int]:
    return {nodeid: len(host.outputs) for nodeid, host in bus.hosts.items()}


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
    assert bus.machine(2)._status.values[1]["nodeip"] == b"192.0.2.1\0"
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

    machine = Pmxcfs(1, 4242, "pve1", Recorded(connect, drain))
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
        ChangeApplied(1, 4242, 2, "mkdir", "nodes", 0, 2),
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
        assert applied == [ChangeApplied(2, 2001, 1, "create", "f", 0, 2)]
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


# -------------------------------------------------------------------------------------------------------- verification


def test_hourly_verification_finds_and_heals_a_divergence(tmp_path):
    bus = started(tmp_path, 3)
    bus.result(1, "create", "f")
    since = mark(bus)
    bus.run(3600)
    for nodeid in (1, 2, 3):
        assert bus.hosts[nodeid].log("dcdb", since[nodeid]) == ["data verification successful"]
    memdb = bus.machine(3).memdb
    change = memdb._stamp(memdb.lookup("f"), 3, 7, data=b"flipped")
    memdb.entries[0] = bus.machine(1).memdb.root
    bus.machine(3)._database.write(type(change)(memdb.root, change.entry))
    assert len(bus.indices()) == 2
    since = mark(bus)
    bus.run(3610)
    assert any(line.startswith("wrong checksum ") for line in bus.hosts[3].log("dcdb", since[3]))
    assert "leaving CPG group" not in bus.hosts[2].log("dcdb", since[2])
    assert len(bus.indices()) == 1
    assert bus.machine(3).read("f") == b""


def race_in_the_update_window(tmp_path, quirks):
    """Messages M2 of the outdated node 2 and M1 of node 1 fall between the last STATE and the updates."""
    bus = Bus(tmp_path, 2, quirks=quirks)
    bus.start(1)
    bus.quorum(1, True)
    bus.run(1)
    bus.result(1, "create", "f")
    bus.start(2)
    bus.fire(2, "service start")
    while bus.machine(1).dcdb.mode is not Mode.START_SYNC or len(_states(bus)) != 1:
        assert bus.step()
    while _states(bus) != [0]:
        queue = bus.queues[0]
        queue.append(queue.popleft()) if not _is_dcdb(queue[0]) else bus.step()
    calls = bus.call(2, "create", "m2"), bus.call(1, "create", "m1")
    bus.run(1)
    assert [bus.hosts[2].results[calls[0]], bus.hosts[1].results[calls[1]]] == [0, 0]
    return bus


def _is_dcdb(item) -> bool:
    return item[0].group == DCDB_GROUP


def _states(bus) -> list[int]:
    """Positions of STATE messages of dcdb that are not delivered yet."""
    return [
        number
        for number, (call, _) in enumerate(bus.queues[0])
        if isinstance(call, CpgMcast) and call.group == DCDB_GROUP and call.payload[0] == MessageType.STATE
    ]


def test_the_ordering_hole(tmp_path):
    """Quirk Q8: both writers succeed, the versions are equal, the trees are not; the verification notices."""
    bus = race_in_the_update_window(tmp_path, Quirks())
    assert bus.machine(1).version == bus.machine(2).version == 4
    assert len(bus.indices()) == 2
    assert bus.machine(1).memdb.lookup("m1").inode == bus.machine(2).memdb.lookup("m2").inode
    bus.run(3620)
    assert len(bus.indices()) == 1


def test_the_ordering_hole_closed(tmp_path):
    bus = race_in_the_update_window(tmp_path, Quirks(synced_applies_unsynced_messages=False))
    assert bus.machine(1).version == bus.machine(2).version == 4
    assert len(bus.indices()) == 1


# -------------------------------------------------------------------------------------------------- trouble, by message

EPOCH = Epoch(1, 2, 3, 4)


def deliver(bus: Bus, nodeid: int, payload: bytes, sender: tuple[int, int] = (2, 2001)) -> list[str]:
    """Deliver a message to one node only; the dcdb lines it causes."""
    host = bus.hosts[nodeid]
    since = len(host.outputs)
    bus._handle(host, bus.machine(nodeid).cpg_delivered(bus.now_ns, CpgDelivered(0, DCDB_GROUP, *sender, payload, 1)))
    return host.log("dcdb", since)


def state_message(type_: int, payload: bytes = b"", version: int = 1, epoch: Epoch = EPOCH) -> bytes:
    return encode_message(StateMessage(type_, version, 0, epoch, payload))


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (b"short", ["received short message (5 bytes)", "leaving CPG group"]),
        (state_message(2)[:31], ["received short state message (type = 2, 31 bytes)", "leaving CPG group"]),
        (
            state_message(1, version=2),
            ["received message with protocol version 2", "detected newer protocol - please update this node"],
        ),
        (state_message(1, version=0), ["ignore message with wrong protocol version 0"]),
        (state_message(3), []),
        (state_message(1), []),
        (encode_message(NormalMessage(1, 1, 0, 1, b"")), ["received short fuse message (0 < 20)", "leaving CPG group"]),
    ],
)
def test_messages_in_mode_synced(tmp_path, payload, lines):
    bus = started(tmp_path, 2)
    assert deliver(bus, 1, payload) == lines


def test_messages_in_mode_start_sync(tmp_path):
    bus = started(tmp_path, 3)
    bus.crash(3)
    assert bus.machine(1).dcdb.mode is Mode.START_SYNC
    assert deliver(bus, 1, state_message(3)) == [], "an epoch of nobody"
    assert deliver(bus, 1, state_message(1)) == [
        "ignore sync request from wrong member 2/2001",  # quirk Q6: and follows it
        "received sync request (epoch 3/4/00000001)",
    ]
    assert deliver(bus, 1, state_message(2, b"x")) == []
    assert deliver(bus, 1, state_message(2, b"x")) == [
        "received duplicate state for member 2/2001",
        "leaving CPG group",
    ]


@pytest.mark.parametrize(
    ("type_", "sender", "line"),
    [
        (2, (9, 9), "received state for non-member 9/9"),
        (3, (2, 2001), "received unknown state message type (type = 3, 32 bytes)"),
        (9, (2, 2001), "received unknown state message type (type = 9, 32 bytes)"),
    ],
)
def test_wrong_messages_in_mode_start_sync(tmp_path, type_, sender, line):
    bus = started(tmp_path, 3)
    bus.crash(3)
    deliver(bus, 1, state_message(1), (1, 1001))
    assert deliver(bus, 1, state_message(type_), sender) == [line, "leaving CPG group"]


def test_a_newer_protocol_is_never_rejoined(tmp_path):
    bus = started(tmp_path, 2)
    bus.run(10)
    deliver(bus, 1, state_message(1, version=2))
    since = len(bus.hosts[1].outputs)
    bus.run(60)
    assert bus.hosts[1].log("dcdb", since) == ["can't initialize service"]
    assert bus.machine(1).dcdb.mode is Mode.VERSION_ERROR


# ------------------------------------------------------------------------------------------------------- disk trouble


def fail_writes(bus: Bus, nodeid: int) -> None:
    def write(change):
        raise DatabaseError("disk I/O error")

    bus.machine(nodeid)._database.write = write


def test_a_failing_disk_stops_the_node_for_good(tmp_path):
    bus = started(tmp_path, 3)
    bus.run(10)
    fail_writes(bus, 2)
    since = mark(bus)
    assert bus.result(2, "create", "f") == -1
    bus.run(20)
    assert bus.hosts[2].log("dcdb", since[2]) == [
        "serious internal error - stop cluster connection",
        "can't initialize service",
    ]
    assert bus.machine(2).dcdb.mode is Mode.ERROR
    assert bus.machine(2).status.mode is Mode.SYNCED, "it still looks online"
    assert bus.machine(1).read("f") == b""
    assert bus.result(1, "create", "g") == 0
    assert bus.result(2, "create", "h") is None, "quirk Q11: this writer waits for ever"


def test_a_failed_commit_comes_back_and_stops_at_the_first_message(tmp_path):
    """Quirk Q15."""
    bus = started(tmp_path, 3)
    bus.run(10)
    bus.partition([1, 2], [3])
    bus.settle()
    bus.result(1, "create", "f")
    database = bus.machine(3)._database
    commit_update = database.commit_update

    def fail_once(*_):
        database.commit_update = commit_update
        raise DatabaseError("new index does not match master index - internal error")

    database.commit_update = fail_once
    since = mark(bus)
    bus.heal()
    bus.run(9)
    assert "[database] crit: new index does not match master index - internal error" in bus.hosts[3].log(since=since[3])
    assert "leaving CPG group" in bus.hosts[3].log("dcdb", since[3])
    assert bus.machine(3).dcdb.mode is Mode.SYNCED
    assert len(bus.indices()) == 1
    assert bus.result(1, "create", "g") == 0
    assert bus.machine(3).dcdb.mode is Mode.ERROR


def test_a_broken_database_prevents_the_start(tmp_path):
    database = open_database(tmp_path / "config.db")
    database.open(0)
    database._opened().execute("REPLACE INTO tree VALUES (5, 4, 5, 0, 0, 8, 'x', NULL)")
    database.close()
    machine = Pmxcfs(1, 1, "pve1", open_database(tmp_path / "config.db"))
    texts = [f"[{line.subsystem}] {line.text}" for line in machine.start(0) if isinstance(line, Log)]
    assert texts[1:] == [
        "[database] missing directory inode (inode = 0000000000000004)",
        "[database] DB load failed",
        "[main] memdb_open failed - unable to open database '/var/lib/pve-cluster/config.db'",
    ]
    assert FuseReply(7, -107) in machine.fuse(1, 7, "create", "x")


def test_offsets_beyond_32_bits_are_refused(tmp_path):
    """Quirk Q3 as a clean error."""
    bus = started(tmp_path, 1)
    bus.result(1, "create", "f")
    assert bus.result(1, "write", "f", data=b"x", offset=2**32) == -27
    assert bus.result(1, "rename", "f", "f") == 0
    assert bus.machine(1).version == 2


def test_an_answer_nobody_waits_for_is_dropped(tmp_path):
    bus = started(tmp_path, 1)
    assert bus.machine(1).cpg_result(bus.now_ns, DCDB_CLIENT, CpgError.OK) == []


# ------------------------------------------------------------------------------------------------- the choice of leader


def members_with(*trees: Memdb) -> tuple[list[SyncMember], list[Index]]:
    members = [SyncMember(ProcessId(n, 100), tree.index()) for n, tree in enumerate(trees, 1)]
    return members, [decode_index(member.state) for member in members]


def tree(version: int, mtime: int) -> Memdb:
    return Memdb({0: new_root(version, 1, mtime)})


@pytest.mark.parametrize(
    ("trees", "leader"),
    [
        ([(5, 9), (6, 1), (6, 1)], 2),  # the version first
        ([(5, 1), (5, 3), (5, 2)], 2),  # then the mtime of the root
        ([(5, 1), (5, 1), (5, 1)], 1),  # then the lowest node; majorities do not count
        ([(4, 1), (4, 1), (5, 1)], 3),
    ],
)
def test_leader(trees, leader):
    members, indices = members_with(*(tree(*numbers) for numbers in trees))
    assert select_leader(members, indices)[0].identity.nodeid == leader


def test_a_given_time_decides_between_equal_versions(tmp_path):
    """Quirk Q10: node 1 is lower, node 2 has the later root.mtime; both made one change without the other."""
    bus = started(tmp_path, 2)
    bus.partition([1], [2])
    bus.settle()
    for nodeid in (1, 2):
        bus.quorum(nodeid, True)  # as two people would with "pvecm expected 1"
        bus.result(nodeid, "mkdir", f"of-{nodeid}")
    bus.result(1, "mtime", "of-1", offset=5)
    bus.result(2, "mtime", "of-2", offset=2_000_000_000)
    since = mark(bus)
    bus.heal()
    bus.settle()
    assert "leader is 2/2001" in bus.hosts[1].log("dcdb", since[1])
    assert [info.path for info in bus.machine(1).listing()] == ["of-2"], "a directory of node 1 is lost"


def test_what_waited_for_a_commit_is_forgotten_with_the_configuration(tmp_path):
    """The new exchange brings it: applied twice it would be wrong (sheet §5.4 step 1)."""
    bus = started(tmp_path, 3)
    bus.partition([1, 2], [3])
    bus.settle()
    bus.result(1, "create", "f")
    bus.heal()
    while bus.machine(3).dcdb.mode is not Mode.UPDATE:
        if len([item for item in bus.queues[0] if item[0].group == DCDB_GROUP]) == 1 and len(_states(bus)) == 1:
            call_id = bus.call(1, "create", "g")
        assert bus.step()
    while call_id not in bus.hosts[1].results:
        assert bus.step()
    assert bus.machine(3).dcdb.mode is Mode.UPDATE
    bus.crash(2)
    since = mark(bus)
    bus.settle()
    assert not [line for line in bus.hosts[3].log("dcdb", since[3]) if "sync_queue" in line]
    assert len(bus.indices()) == 1
    assert bus.machine(3).read("g") == b""


def test_a_resend_that_fails_makes_the_node_leave(tmp_path):
    bus = started(tmp_path, 4)
    bus.crash(4)
    bus.call(2, "create", "f")
    bus.start(4)
    bus.fire(4, "service start")
    while not bus.machine(2).dcdb._message_queue:
        assert bus.step()
    bus.hosts[2].busy = 1000
    since = mark(bus)
    bus.settle()
    bus.run(10.5)
    bus.hosts[2].busy = 0
    log = bus.hosts[2].log("dcdb", since[2])
    failed = log.index("dfsm_resend_queue failed")
    assert log[failed - 1 : failed + 2 : 2] == ["cpg_send_message retried 100 times", "leaving CPG group"]
    bus.run(20)
    assert len(bus.indices()) == 1
