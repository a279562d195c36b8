"""What goes wrong and how it ends: divergence, races, bad messages, failing disks (sheet §5.5 to §5.9, §14)."""

from __future__ import annotations

import pytest

from tests.pmxcfs.bus import Bus, deliver, mark, open_database, started, state_message
from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.application import SyncMember
from totemviz.pmxcfs.database import DatabaseError
from totemviz.pmxcfs.dcdb import select_leader
from totemviz.pmxcfs.effects import (
    CpgMcast,
    FuseReply,
)
from totemviz.pmxcfs.index import Index, decode_index, new_root
from totemviz.pmxcfs.machine import DCDB_CLIENT, Pmxcfs
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.messages import DCDB_GROUP, MessageType, NormalMessage, encode_message
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import ProcessId, Quirks
from totemviz.totem.effects import Log

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


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (b"short", ["received short message (5 bytes)", "leaving CPG group"]),
        (
            state_message(2)[:31],
            ["received short state message (type = 2, subtype = 0, 31 bytes)", "leaving CPG group"],
        ),
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
        (3, (2, 2001), "received unknown state message type (type = 3, 0 bytes)"),
        (9, (2, 2001), "received unknown state message type (type = 9, 0 bytes)"),
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
    assert bus.result(2, "create", "f") == -5
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
        "[main] exit proxmox configuration filesystem (-1)",
    ]
    assert FuseReply(7, -107) in machine.fuse(1, 7, "create", "x")


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
