"""Recorded CPG messages through our pmxcfs give the database that the real pmxcfs left, row by row."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgMember
from totemviz.pmxcfs.dcdb import Dcdb
from totemviz.pmxcfs.index import Entry, EntryType, encode_index, index_digest
from totemviz.pmxcfs.messages import (
    DCDB_GROUP,
    DcdbType,
    Epoch,
    FuseMessage,
    MessageType,
    NormalMessage,
    StateMessage,
    encode_fuse,
    encode_message,
)
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import ProcessId
from totemviz.totem.effects import ConfigurationChange, Deliver, MembershipInstalled, RingId
from totemviz.totem.wire import ENCAPSULATED, Mcast
from totemviz.trace.recorded import load_recording
from totemviz.trace.recorded_evidence import Evidence, imported
from totemviz.trace.recorded_order import DaemonLife, daemon_lives
from totemviz.trace.recorded_pmxcfs import ALL_COLUMNS, Exported, Undetermined, _Replica, export_database
from totemviz.trace.recorded_services import NothingToExportError

DATA = Path(__file__).parent / "data"
CAPTURE = DATA / "partition-pmxcfs-pve3.pcap.gz"
CONF = (DATA / "partition-pmxcfs.conf").read_bytes()
TRACES = Path(__file__).parents[3] / "shared" / "traces"
RECORDINGS = ("b-writes", "e-partition", "e-partition-late-writes", "f-loss")

Row = tuple[int, int, int, int, int, int, str, bytes | None]


def rows(path: Path) -> list[Row]:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        columns = "parent, inode, version, writer, mtime, type, name, data"
        return connection.execute(f"SELECT {columns} FROM tree ORDER BY inode").fetchall()


def real_rows(database: Path, folder: Path) -> list[Row]:
    """Of a copy: SQLite changes what it opens, and a log beside it belongs to it."""
    copy = folder / "real.db"
    shutil.copy(database, copy)
    log = database.with_name(f"{database.name}-wal.gz")
    if log.exists():
        copy.with_name("real.db-wal").write_bytes(gzip.decompress(log.read_bytes()))
    return rows(copy)


def replayed(capture: Path, node: int, target: Path, *confs: bytes) -> Exported:
    return export_database(load_recording([capture]).timeline, node, target, confs)


def test_a_partitioned_node_ends_with_the_real_database(tmp_path: Path) -> None:
    """pve3 was alone without quorum for 15 s, left the group, came back outdated and was updated by the leader."""
    result = replayed(CAPTURE, 3, tmp_path / "config.db", CONF)
    assert rows(tmp_path / "config.db") == real_rows(DATA / "partition-pmxcfs-pve3.db", tmp_path)
    assert result == Exported(node=3, version=15, rows=8, states=3, undetermined=(), notes=())


def test_what_the_capture_does_not_show_is_named(tmp_path: Path) -> None:
    """Without the corosync.conf of that time its bytes are nowhere; its time stamp follows from the first state."""
    result = replayed(CAPTURE, 3, tmp_path / "config.db")
    assert result.undetermined == (Undetermined(2, "corosync.conf", ("data",)),)
    found = rows(tmp_path / "config.db")
    real = real_rows(DATA / "partition-pmxcfs-pve3.db", tmp_path)
    assert found[1] == (*real[1][:7], None)
    assert found[:1] + found[2:] == real[:1] + real[2:]


def test_a_wrong_corosync_conf_is_not_believed(tmp_path: Path) -> None:
    wrong = CONF.replace(b"lab", b"lob")
    assert wrong != CONF
    assert replayed(CAPTURE, 3, tmp_path / "config.db", wrong).undetermined[0].inode == 2
    assert replayed(CAPTURE, 3, tmp_path / "config.db", wrong, CONF).undetermined == ()


def test_a_machine_that_errs_is_found_out_by_the_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded states are a check: an update that changes on its way into our tree does not pass unnoticed."""
    process_update = Dcdb.process_update

    def err(self: Dcdb, payload: bytes) -> None:
        process_update(self, payload)
        entry: Entry = self._updates[-1]
        self._updates[-1] = msgspec.structs.replace(entry, mtime=entry.mtime + 1)

    monkeypatch.setattr(Dcdb, "process_update", err)
    result = replayed(CAPTURE, 3, tmp_path / "config.db", CONF)
    assert result.version != 15 or result.notes


@pytest.mark.parametrize(("node", "words"), [(1, "add the capture made on it"), (7, "it has 1, 2, 3")])
def test_a_node_that_was_not_recorded(node: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(NothingToExportError, match=words):
        replayed(CAPTURE, node, tmp_path / "config.db")
    assert not (tmp_path / "config.db").exists()


@pytest.mark.skipif(not TRACES.is_dir(), reason="the full recordings of the lab are not here")
@pytest.mark.parametrize("node", [1, 2, 3])
@pytest.mark.parametrize("name", RECORDINGS)
def test_full_recordings(name: str, node: int, tmp_path: Path) -> None:
    folder = TRACES / name
    conf = (folder / "corosync.conf").read_bytes()
    result = replayed(folder / f"pve{node}.pcap.gz", node, tmp_path / "config.db", conf)
    assert rows(tmp_path / "config.db") == real_rows(folder / f"config-pve{node}.db", tmp_path)
    assert (result.undetermined, result.notes) == ((), ())
    assert result.states >= 2


# --------------------------------------------------------------------------------------------------------------- order

OLD, NEW = RingId(1, 8), RingId(1, 12)


def mcast(ring: RingId, seq: int, source: int = 1, payload: bytes = b"", encapsulated: int = 2) -> Mcast:
    return Mcast(source, 0, source, seq, 0, ring, payload, encapsulated)


def life(*mcasts: Mcast) -> DaemonLife:
    found = DaemonLife(
        [
            MembershipInstalled(OLD, (1, 2, 3), (1, 2, 3), (), ()),
            MembershipInstalled(NEW, (1, 2), (), (3,), (3,)),
        ]
    )
    for one in mcasts:
        found.learn(one)
    return found


def order(found: DaemonLife) -> list[object]:
    return [
        (step.ring_id.seq, step.seq)
        if isinstance(step, Deliver)
        else ("transitional" if step.transitional else "regular")
        for step in found.steps()
        if isinstance(step, Deliver | ConfigurationChange)
    ]


def test_the_rest_of_a_ring_is_delivered_around_the_transitional_configuration() -> None:
    """Up to the gap before it; behind the gap after it, and only from those who came along."""
    wrapped = mcast(NEW, 1, 2, mcast(OLD, 5, 2).encode(), ENCAPSULATED)
    arrived = [mcast(OLD, 2), mcast(OLD, 1), mcast(OLD, 4, 3), wrapped, mcast(NEW, 2), mcast(NEW, 4)]
    assert order(life(*arrived)) == [
        "transitional",
        "regular",
        (8, 1),
        (8, 2),
        "transitional",
        (8, 5),
        "regular",
        (12, 2),
    ]


def test_lives_follow_the_daemon(tmp_path: Path) -> None:
    timeline = load_recording([CAPTURE]).timeline
    (found,) = daemon_lives(timeline, 3)
    assert [str(ring.ring_id) for ring in found.rings] == ["1.9", "3.d", "1.11"]
    assert daemon_lives(timeline, 1) == []


# ------------------------------------------------------------------------------------- what the capture does not show


def test_unseen_changes_are_taken_from_the_state_and_named(tmp_path: Path) -> None:
    """A ring of one with forced quorum wrote three rows; one of them shows up later, one never, one is gone again."""
    evidence = Evidence([CONF])
    replica = _Replica(3, tmp_path / "config.db", evidence, 1_700_000_000)
    me, other = CpgMember(3, 70), CpgMember(1, 80)

    def deliver(sender: CpgMember, message: StateMessage) -> None:
        payload = encode_message(message)
        replica.dispatch(CpgDelivered(0, DCDB_GROUP, sender.nodeid, sender.pid, payload, 1))

    replica.join(70, quorate=True)
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (me,), (), (me,)))
    folder = Entry(4, 0, 4, 3, 1_700_000_100, EntryType.DIRECTORY, "nodes")
    lost = Entry(6, 4, 6, 3, 1_700_000_101, EntryType.FILE, "secret", b"never on the wire")
    root = Entry(0, 0, 7, 3, 1_700_000_102, EntryType.DIRECTORY, "")
    conf = imported(CONF, 1_700_000_007)
    state = encode_index({entry.inode: entry for entry in (root, conf, folder, lost)})
    evidence.entries[4, index_digest(folder)] = folder
    epoch = Epoch(1, 1_700_000_200, 1, 80)
    evidence.states[ProcessId(3, 70), epoch] = state
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (other, me), (), (other,)))
    deliver(other, StateMessage(MessageType.SYNC_START, 1, 0, epoch, b""))
    for sender in (other, me):
        deliver(sender, StateMessage(MessageType.STATE, 1, 0, epoch, state))
    assert replica._dfsm.mode is Mode.SYNCED  # the stand-in passes for the real row in both states
    result = replica.close()
    assert result.undetermined == (Undetermined(6, "undetermined-0000000000000006", ALL_COLUMNS),)
    assert len(result.notes) == 1
    assert "rows: 2, 4, 6" in result.notes[0]
    found = rows(tmp_path / "config.db")
    assert found[0] == (0, 0, 7, 3, 1_700_000_102, 8, "__version__", None)
    assert found[1] == (0, 2, 3, 0, 1_700_000_007, 8, "corosync.conf", CONF)
    assert found[2] == (0, 4, 4, 3, 1_700_000_100, 4, "nodes", None)


def test_a_process_may_have_died_before_it_read_all_that_had_reached_it(tmp_path: Path) -> None:
    """As recorded when a real pmxcfs was killed: the state of its next life lacks the last change."""
    evidence = Evidence([CONF])
    replica = _Replica(3, tmp_path / "config.db", evidence, 1_700_000_000)
    first, second, other = CpgMember(3, 70), CpgMember(3, 71), CpgMember(1, 80)
    replica.join(70, quorate=True)
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (first,), (), (first,)))
    for count, path in enumerate(("read", "late"), 1):
        before = encode_index(replica._memdb.entries)
        message = NormalMessage(DcdbType.MKDIR, 1, 1_700_000_009, count, encode_fuse(FuseMessage(path)))
        replica.dispatch(CpgDelivered(0, DCDB_GROUP, 3, 70, encode_message(message), count))
    replica.join(71, quorate=True)
    epoch = Epoch(1, 1_700_000_200, 1, 80)
    evidence.states[ProcessId(3, 71), epoch] = before
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (other, second), (), (second,)))
    payload = encode_message(StateMessage(MessageType.SYNC_START, 1, 0, epoch, b""))
    replica.dispatch(CpgDelivered(0, DCDB_GROUP, 1, 80, payload, 1))
    assert encode_index(replica._memdb.entries) == before
    (note,) = replica.close().notes
    assert "version 4 the tree of node 3 lacks changes" in note
    assert "(rows: 5)" in note


def test_after_a_crash_nothing_is_read_until_the_next_start(tmp_path: Path) -> None:
    """As recorded when a leader had to send a file with a size and no data: it died, and so did the next two."""
    replica = _Replica(1, tmp_path / "config.db", Evidence([CONF]), 1_700_000_000)
    me, other = CpgMember(1, 70), CpgMember(3, 80)
    replica.join(70, quorate=True)
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (me,), (), (me,)))
    fresh = encode_index(replica._memdb.entries)
    for count, (subtype, message) in enumerate(
        [
            (DcdbType.CREATE, FuseMessage("f")),
            (DcdbType.WRITE, FuseMessage("f", offset=9, truncate=True)),
        ],
        1,
    ):
        payload = encode_message(NormalMessage(subtype, 1, 1_700_000_009, count, encode_fuse(message)))
        replica.dispatch(CpgDelivered(0, DCDB_GROUP, 1, 70, payload, count))
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (me, other), (), (other,)))
    epoch = Epoch(2, 1_700_000_200, 1, 70)
    for sender, message_type, state in (
        (me, MessageType.SYNC_START, b""),
        (other, MessageType.STATE, fresh),
        (me, MessageType.STATE, encode_index(replica._memdb.entries)),
    ):
        payload = encode_message(StateMessage(message_type, 1, 0, epoch, state))
        replica.dispatch(CpgDelivered(0, DCDB_GROUP, sender.nodeid, sender.pid, payload, 1))
    assert replica._process is None
    late = encode_message(NormalMessage(DcdbType.MKDIR, 1, 1_700_000_010, 1, encode_fuse(FuseMessage("late"))))
    replica.dispatch(CpgDelivered(0, DCDB_GROUP, 3, 80, late, 1))
    assert replica._memdb.lookup("late") is None
    replica.join(71, quorate=True)
    assert replica._process is not None
    assert replica._memdb.lookup("f").size == 0


def test_a_node_that_never_exchanged_states_names_its_first_rows(tmp_path: Path) -> None:
    replica = _Replica(3, tmp_path / "config.db", Evidence([CONF]), 1_700_000_000)
    replica.join(70, quorate=True)
    me = CpgMember(3, 70)
    replica.dispatch(CpgConfchg(0, DCDB_GROUP, (me,), (), (me,)))
    assert replica.close().undetermined == (
        Undetermined(0, "__version__", ("mtime",)),
        Undetermined(2, "corosync.conf", ("mtime", "data")),
    )
