"""What survives what: page cache, syncs, process death, power cut."""

import sqlite3
from random import Random

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from totemviz.pmxcfs.effects import DiskIo
from totemviz.sim.disk import Disk
from totemviz.sim.profiles import PROFILES

SCHEMA = """
CREATE TABLE IF NOT EXISTS tree (
    inode INTEGER PRIMARY KEY NOT NULL,
    parent INTEGER NOT NULL CHECK (typeof(parent) = 'integer'),
    version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
    writer INTEGER NOT NULL CHECK (typeof(writer) = 'integer'),
    mtime INTEGER NOT NULL CHECK (typeof(mtime) = 'integer'),
    type INTEGER NOT NULL CHECK (typeof(type) = 'integer'),
    name TEXT NOT NULL,
    data BLOB)
"""
DB = "config.db"
SECOND = 1_000_000_000


def disk_of(profile="hdd-2.5", seed="disk/1", files=None):
    return Disk(PROFILES[profile], Random(seed), files)


def opened(disk, synchronous="normal"):
    """The database as pmxcfs opens it: WAL, synchronous, the table."""
    connection = disk.connect(DB)
    assert connection.pragma("journal_mode", "wal") == "wal"
    connection.pragma("synchronous", synchronous)
    connection.execute(SCHEMA)
    return connection


def commit(connection, inode, data=b"x"):
    """One change as pmxcfs writes it: the row and the version row, in one transaction."""
    with connection:
        row = (inode, 0, inode, 1, 1_700_000_000, 8, f"file{inode}", data)
        connection.execute("REPLACE INTO tree VALUES (?,?,?,?,?,?,?,?)", row)
        connection.execute("REPLACE INTO tree VALUES (0,0,?,1,1700000000,8,'__version__',NULL)", (inode,))


def complete_all(disk):
    drained = disk.drain_io()
    for io in drained:
        disk.complete(io)
    return drained


def inodes(disk):
    """Open the database as a restarted pmxcfs does, check it, and list its files' inodes."""
    connection = opened(disk)
    assert connection.pragma("integrity_check") == "ok"
    rows = [inode for (inode,) in connection.execute("SELECT inode FROM tree WHERE inode > 0 ORDER BY inode")]
    version = connection.execute("SELECT version FROM tree WHERE inode = 0").get
    assert version == (rows[-1] if rows else None)  # both rows of a transaction or neither
    connection.close()
    disk.drain_io()
    return rows


def vfs_count():
    return sum(name.startswith("totemviz-") for name in apsw.vfs_names())


# ------------------------------------------------------------------------------------------- what SQLite asks for


@pytest.mark.parametrize(("synchronous", "syncs"), [("normal", (3, 4)), ("full", (1000, 1010))])
def test_syncs_of_a_thousand_transactions(synchronous, syncs):
    disk = disk_of()
    connection = opened(disk, synchronous)
    complete_all(disk)
    before = disk.syncs
    connection.execute("CREATE TABLE one (a)")
    for row in range(1000):
        connection.execute("INSERT INTO one VALUES (?)", (row,))
    drained = complete_all(disk)
    assert syncs[0] <= disk.syncs - before <= syncs[1]
    assert disk.syncs - before == sum(io.op == "sync" for io in drained)
    assert disk.writes >= 2000
    assert disk.written_bytes >= sum(io.length for io in drained) > 1000 * 4096
    disk.close()


@pytest.mark.parametrize(("size", "real_syncs"), [(500, 12), (20_000, 66)])
def test_a_busy_database_syncs_about_as_often_as_a_real_one(size, real_syncs):
    """The real figures are strace's on pmxcfs, for 2000 writes to some 50 files (pmxcfs sheet §3.4).

    The exact number depends on how many commits a client's write makes, hence the factor.
    """
    disk = disk_of()
    connection = opened(disk)
    for inode in range(1, 51):
        commit(connection, inode, b"x" * size)
    complete_all(disk)
    before = disk.syncs
    for write in range(2000):
        commit(connection, write % 50 + 1, b"y" * size)
        complete_all(disk)
    assert real_syncs / 2 <= disk.syncs - before <= real_syncs * 2
    disk.close()


def test_checkpoint_syncs_log_then_database_then_log():
    disk = disk_of()
    connection = opened(disk)
    complete_all(disk)
    for inode in range(1, 1200):
        commit(connection, inode)
    synced = [io.file for io in disk.drain_io() if io.op == "sync"]
    assert synced == [f"{DB}-wal", DB, f"{DB}-wal"] * 2  # two pages a commit, a checkpoint every thousand pages
    disk.close()


# ------------------------------------------------------------------------------------------- power cut


def history(synchronous, transactions, data=b"x" * 300):
    """A disk with a workload issued and not completed; the records; and how many records each commit had behind it."""
    disk = disk_of()
    connection = opened(disk, synchronous)
    connection.pragma("wal_autocheckpoint", 20)
    complete_all(disk)
    records, acknowledged_at = [], []
    for inode in range(1, transactions + 1):
        commit(connection, inode, data)
        records += disk.drain_io()
        acknowledged_at.append(len(records))
    return disk, records, acknowledged_at


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_power_cut_at_every_few_operations(synchronous, torn):
    total = len(history(synchronous, 40)[1])
    lost_something = False
    for cut in range(0, total + 1, 5):
        disk, records, acknowledged_at = history(synchronous, 40)
        for io in records[:cut]:
            disk.complete(io)
        acknowledged = sum(at <= cut for at in acknowledged_at)
        survivor = disk.crash(Random(cut) if torn else None)
        found = inodes(survivor)
        assert found == list(range(1, len(found) + 1))  # a prefix: nothing from the middle is missing
        assert len(found) <= acknowledged + 1  # the transaction under way may have made it
        if synchronous == "full":
            assert len(found) >= acknowledged
        lost_something |= len(found) < acknowledged
        survivor.close()
    assert lost_something == (synchronous == "normal")


@pytest.mark.parametrize("seed", range(20))
def test_power_cut_while_the_database_is_created(seed):
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    records = disk.drain_io()
    for io in records[: len(records) * seed // 19]:
        disk.complete(io)
    survivor = disk.crash(Random(seed))
    assert inodes(survivor) in ([], [1])
    survivor.close()


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 120), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_a_life_of_power_cuts_never_loses_an_acknowledged_full_commit(cuts, seed):
    rng = Random(seed)
    disk = disk_of()
    promised = 0
    for cut in cuts:
        connection = opened(disk, "full")
        connection.pragma("wal_autocheckpoint", 7)
        assert connection.pragma("integrity_check") == "ok"
        count = connection.execute("SELECT count(*) FROM tree WHERE inode > 0").get
        assert count >= promised
        budget = cut
        for inode in range(count + 1, count + 21):
            commit(connection, inode)
            drained = disk.drain_io()
            for io in drained[: max(0, budget)]:
                disk.complete(io)
            budget -= len(drained)
            if budget < 0:
                break
            promised = inode
        disk = disk.crash(rng)
    assert len(inodes(disk)) >= promised
    disk.close()


def test_unsynced_commits_survive_once_the_kernel_wrote_them_back():
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    complete_all(disk)
    assert disk.next_write_back_ns() == 35 * SECOND  # dirty since 0: the flusher wakes at 30 s and finds it too young
    assert disk.write_back(30 * SECOND) == []
    assert disk.write_back(35 * SECOND) == [f"{DB}-wal"]
    assert disk.next_write_back_ns() is None
    commit(connection, 2)
    complete_all(disk)
    disk = disk.crash()
    assert inodes(disk) == [1]
    disk.close()


def test_power_loss_protection_tears_nothing():
    for profile, spread in (("ssd-plp", 1), ("hdd-2.5", 2)):
        images = set()
        for seed in range(8):
            disk = disk_of(profile, files={"f": b"old!" * 1024})
            for io in disk.write_file("f", b"new!" * 1024):
                disk.complete(io)
            survivor = disk.crash(Random(seed))
            images.add(survivor.read_file("f"))
            survivor.close()
        assert len(images) >= spread
        if profile == "ssd-plp":
            assert images == {b"old!" * 1024}


def test_same_seed_same_wreck():
    def wreck(seed):
        disk, records, _ = history("normal", 15)
        for io in records:
            disk.complete(io)
        survivor = disk.crash(Random(seed))
        survivor.close()
        return survivor.read_file(f"{DB}-wal")

    assert wreck(1) == wreck(1)
    assert wreck(1) != wreck(2)


def content(disk, name):
    """The file's content, None if there is none."""
    try:
        return disk.read_file(name)
    except FileNotFoundError:
        return None


def test_a_deleted_file_comes_back_whole_or_not_at_all():
    seen = set()
    for seed in range(100):
        disk = disk_of(files={"f": b"old"})
        disk._vfs.xDelete("f", False)
        records = disk.drain_io() + disk.write_file("f", b"n")
        for io in records:
            disk.complete(io)
        survivor = disk.crash(Random(seed))
        seen.add(content(survivor, "f"))
        survivor.close()
    assert seen == {b"old", None, b"", b"n"}  # and not "nld"


@pytest.mark.parametrize(("sync", "left"), [(False, b"old"), (True, None)])
def test_a_sync_of_any_file_commits_earlier_deletes(sync, left):
    disk = disk_of(files={"f": b"old"})
    disk._vfs.xDelete("f", False)
    records = disk.drain_io() + disk.write_file("g", b"1", sync=sync)
    for io in records:
        disk.complete(io)
    survivor = disk.crash()
    assert content(survivor, "f") == left
    survivor.close()


def test_a_delete_with_directory_sync_is_durable():
    disk = disk_of(files={"f": b"old"})
    disk._vfs.xDelete("f", True)
    assert [io.op for io in complete_all(disk)] == ["delete", "sync"]
    survivor = disk.crash()
    assert content(survivor, "f") is None
    survivor.close()


def test_a_crashed_disk_is_gone_and_its_open_connection_reaches_nothing():
    disk = disk_of()
    connection = opened(disk, "full")
    commit(connection, 1)
    complete_all(disk)
    commit(connection, 2)  # under way
    registered = vfs_count()
    survivor = disk.crash()
    assert vfs_count() == registered  # one out, one in
    with pytest.raises(apsw.ConnectionClosedError):
        commit(connection, 3)
    with pytest.raises(ValueError, match="gone"):
        disk.connect(DB)
    assert inodes(survivor) == [1]
    assert survivor.drain_io() == []
    survivor.close()
    assert vfs_count() == registered - 1


def test_a_connection_left_open_on_a_dead_view_cannot_write():
    """Even SQLite itself, still holding the dead process's file handles, changes nothing."""
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    complete_all(disk)
    dead = disk._vfs
    disk.process_died()
    before = (disk.read_file(DB), disk.read_file(f"{DB}-wal"))
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
    handle = dead.xOpen(DB, flags)
    handle.xWrite(b"garbage", 0)
    handle.xSync(2)
    dead.xDelete(f"{DB}-wal", False)
    assert (disk.read_file(DB), disk.read_file(f"{DB}-wal")) == before
    assert disk.drain_io() == []
    assert inodes(disk) == [1]
    disk.close()


# ------------------------------------------------------------------------------------------- process death


def test_process_death_keeps_every_completed_write():
    disk = disk_of()
    connection = opened(disk)
    for inode in range(1, 51):
        commit(connection, inode)
    complete_all(disk)
    wal = disk.read_file(f"{DB}-wal")
    disk.process_died()
    assert disk.read_file(f"{DB}-wal") == wal  # closing did not checkpoint
    with pytest.raises(apsw.ConnectionClosedError):
        commit(connection, 51)
    assert inodes(disk) == list(range(1, 51))
    disk.close()


def test_process_death_cancels_what_was_not_reached():
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    complete_all(disk)
    commit(connection, 2)
    records = disk.drain_io()
    disk.complete(records[0])  # half a frame
    ring_id = disk.write_file("ringid_1", b"\1" * 8)
    commit(connection, 3)
    disk.process_died()
    assert disk.drain_io() == []
    with pytest.raises(ValueError, match="not the next"):
        disk.complete(records[1])
    assert disk.read_file("ringid_1") == b"\1" * 8  # another process wrote it and lives on
    for io in ring_id:
        disk.complete(io)
    assert inodes(disk) == [1]
    disk.close()


# ------------------------------------------------------------------------------------------- files, export, isolation


def test_plain_files():
    disk = disk_of(files={"ringid_1": b"\0" * 8})
    with pytest.raises(FileNotFoundError):
        disk.read_file("ringid_2")
    first = disk.write_file("ringid_1", b"\1" * 8, sync=True)
    assert [io.op for io in first] == ["truncate", "write", "sync"]
    assert disk.drain_io() == []  # they belong to their writer
    assert disk.read_file("ringid_1") == b"\1" * 8
    for io in first:
        disk.complete(io)
    second = disk.write_file("ringid_1", b"\2" * 8)
    assert [io.op for io in second] == ["truncate", "write"]
    for io in second:
        disk.complete(io)
    disk = disk.crash()
    assert disk.read_file("ringid_1") == b"\1" * 8
    disk.close()


def test_operations_of_a_file_complete_in_order():
    disk = disk_of()
    truncate, write = disk.write_file("f", b"1")
    with pytest.raises(ValueError, match="not the next"):
        disk.complete(write)
    disk.complete(truncate)
    disk.complete(write)
    with pytest.raises(ValueError, match="not the next"):
        disk.complete(write)
    disk.close()


def test_exported_database_opens_elsewhere(tmp_path):
    disk = disk_of()
    connection = opened(disk)
    for inode in range(1, 31):
        commit(connection, inode, bytes([inode]) * inode * 100)
    complete_all(disk)
    rows = list(connection.execute("SELECT * FROM tree ORDER BY inode"))
    commit(connection, 31)  # issued, not yet on the disk
    registered = vfs_count()
    path = tmp_path / "config.db"
    path.write_bytes(disk.export(DB))
    assert vfs_count() == registered
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT * FROM tree ORDER BY inode").fetchall() == rows
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(rows) == 31
        # As pmxcfs opens it.
        assert database.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
        database.execute("REPLACE INTO tree VALUES (0,0,99,1,1,8,'__version__',NULL)")
    commit(connection, 32)  # the export disturbed nothing
    complete_all(disk)
    disk.process_died()
    assert inodes(disk) == list(range(1, 33))
    with pytest.raises(FileNotFoundError):
        disk.export("nothing.db")
    disk.close()


def test_an_exported_database_is_a_disk_to_start_from():
    disk = disk_of()
    commit(opened(disk), 1)
    complete_all(disk)
    other = disk_of("nvme", files={DB: disk.export(DB)})
    assert inodes(other) == [1]
    disk.close()
    other.close()


def test_two_disks_share_nothing():
    first, second = disk_of(), disk_of()
    one, two = opened(first), opened(second)
    for inode in range(1, 6):
        commit(one, inode)
        if inode < 3:
            commit(two, inode)
    complete_all(first)
    first = first.crash()
    complete_all(second)
    second.process_died()
    assert inodes(first) == []
    assert inodes(second) == [1, 2]
    first.close()
    second.close()


# ------------------------------------------------------------------------------------------- cost and faults


def costs(seed, profile="usb-stick"):
    disk = disk_of(profile, seed)
    connection = opened(disk, "full")
    now_ns, drawn = 0, []
    for inode in range(1, 30):
        commit(connection, inode)
        for io in disk.drain_io():
            drawn.append(disk.cost_ns(io, now_ns))
            now_ns += drawn[-1]
            disk.complete(io)
    disk.close()
    return drawn


def test_same_seed_same_costs():
    assert costs("disk/1") == costs("disk/1")
    assert costs("disk/1") != costs("disk/2")
    assert all(isinstance(cost, int) and cost > 0 for cost in costs("disk/1"))


def test_the_stream_of_latencies_goes_on_after_a_crash():
    sync = DiskIo("sync", "f", 0, 0)
    through, straight = disk_of(), disk_of()
    expected = [straight.cost_ns(sync, turn * SECOND) for turn in range(6)]
    drawn = [through.cost_ns(sync, turn * SECOND) for turn in range(3)]
    through = through.crash(Random(9))
    assert drawn + [through.cost_ns(sync, turn * SECOND) for turn in range(3, 6)] == expected
    through.close()
    straight.close()


def test_writes_cost_memory_speed_and_a_stall_delays_what_waits_for_the_device():
    disk = disk_of()
    write_ns = disk.profile.write_ns
    frame, header, blob = (DiskIo("write", "f", 0, length) for length in (4096, 24, 8193))
    truncate, sync = DiskIo("truncate", "f", 0, 0), DiskIo("sync", "f", 0, 0)
    assert [disk.cost_ns(io, 0) for io in (frame, header, blob)] == [write_ns, write_ns, 3 * write_ns]
    disk.stall(until_ns=5_000_000_000)
    assert disk.cost_ns(frame, 1_000_000_000) == write_ns
    assert disk.cost_ns(truncate, 1_000_000_000) == 4_000_000_000 + write_ns
    assert disk.cost_ns(truncate, 6_000_000_000) == write_ns
    reference = disk_of()
    assert disk.cost_ns(sync, 7_000_000_000) == reference.cost_ns(sync, 0)
    disk.stall(until_ns=12_000_000_000)
    assert disk.cost_ns(sync, 8_000_000_000) == 4_000_000_000 + reference.cost_ns(sync, 5_000_000_000)
    disk.close()
    reference.close()


def test_full_disk():
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    ring_id = disk.write_file("ringid_1", b"\1" * 8)
    complete_all(disk)
    disk.full = True
    with pytest.raises(apsw.FullError):
        commit(connection, 2)
    with pytest.raises(OSError, match="No space left"):
        disk.write_file("new", b"1")
    assert [io.op for io in disk.write_file("ringid_1", b"\2" * 8)] == [io.op for io in ring_id]  # overwriting works
    disk.full = False
    commit(connection, 3)
    complete_all(disk)
    disk.process_died()
    assert inodes(disk) == [1, 3]
    disk.close()


def test_io_error():
    disk = disk_of()
    connection = opened(disk)
    commit(connection, 1)
    complete_all(disk)
    disk.io_error = True
    with pytest.raises(apsw.IOError):
        commit(connection, 2)
    with pytest.raises(OSError, match="Input/output"):
        disk.write_file("ringid_1", b"\1" * 8)
    assert disk.drain_io() == []
    assert connection.execute("SELECT count(*) FROM tree WHERE inode > 0").get == 1  # reading works
    disk.process_died()
    disk.io_error = False
    assert inodes(disk) == [1]
    disk.close()


def test_faults_and_counters_belong_to_the_device():
    disk = disk_of()
    for io in disk.write_file("f", b"12345678", sync=True):
        disk.complete(io)
    disk.full, disk.io_error = True, True
    disk.stall(7)
    disk = disk.crash()
    assert (disk.full, disk.io_error, disk.device.stalled_until_ns) == (True, True, 7)
    assert (disk.writes, disk.syncs, disk.written_bytes) == (1, 1, 8)
    disk.close()
