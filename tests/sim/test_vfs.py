"""Does SQLite on the virtual file system do what it does on a real one?"""

import sqlite3

import apsw
import pytest

from totemviz.pmxcfs.effects import DiskIo
from totemviz.sim.image import Image
from totemviz.sim.vfs import DiskVfs, Operation


@pytest.fixture
def issued():
    return []


@pytest.fixture
def vfs(issued):
    def issue(operation):
        issued.append(operation)
        return 0

    vfs = DiskVfs({}, issue)
    yield vfs
    vfs.abandon()


def ops(issued):
    return [(operation.io.op, operation.io.file) for operation in issued]


def test_commit_in_wal_mode_issues_writes_and_no_sync(vfs, issued):
    connection = vfs.connect("config.db")
    assert connection.pragma("journal_mode", "wal") == "wal"
    connection.pragma("synchronous", "normal")
    connection.execute("CREATE TABLE t (a)")
    issued.clear()
    connection.execute("INSERT INTO t VALUES (1)")
    # One page: a frame header and the page, appended to the log.
    assert ops(issued) == [("write", "config.db-wal")] * 2
    assert [operation.io.length for operation in issued] == [24, 4096]
    assert [len(operation.data) for operation in issued] == [24, 4096]
    assert issued[0].io.offset + 24 == issued[1].io.offset


def test_closing_checkpoints_and_removes_the_wal(vfs, issued):
    connection = vfs.connect("config.db")
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (a)")
    issued.clear()
    connection.close()
    order = ops(issued)
    assert order[0] == ("sync", "config.db-wal")
    assert order[-1] == ("delete", "config.db-wal")
    assert order.index(("sync", "config.db")) > order.index(("write", "config.db"))
    assert set(vfs.files) == {"config.db"}


def test_a_dead_process_does_not_checkpoint(vfs, issued):
    connection = vfs.connect("config.db")
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE t (a)")
    files = {name: bytes(content) for name, content in vfs.files.items()}
    count = len(issued)
    vfs.abandon()
    assert vfs.files == files
    assert len(issued) == count
    with pytest.raises(apsw.ConnectionClosedError):
        connection.execute("SELECT 1")


def test_the_operations_alone_rebuild_the_image(vfs, issued):
    connection = vfs.connect("config.db")
    connection.pragma("journal_mode", "wal")
    connection.pragma("wal_autocheckpoint", 10)
    connection.execute("CREATE TABLE t (a)")
    for row in range(200):
        connection.execute("INSERT INTO t VALUES (?)", (b"x" * row * 40,))
    connection.execute("DELETE FROM t WHERE rowid % 3")
    connection.execute("VACUUM")
    connection.close()
    rebuilt = {}
    for operation in issued:
        operation.apply(rebuilt)
    assert rebuilt == vfs.files
    database = sqlite3.connect(":memory:")
    assert {operation.io.op for operation in issued} == {"write", "truncate", "sync", "delete"}
    rebuilt["config.db"].write(18, b"\1\1")  # read as a database without WAL: there is none any more
    database.deserialize(bytes(rebuilt["config.db"]))
    assert database.execute("SELECT count(*) FROM t").fetchone() == (66,)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("io", "data", "before", "after"),
    [
        (DiskIo("write", "f", 1, 2), b"XY", b"abcd", b"aXYd"),
        (DiskIo("write", "f", 6, 2), b"XY", b"abcd", b"abcd\0\0XY"),
        (DiskIo("write", "f", 3, 2), b"XY", b"abcd", b"abcXY"),
        (DiskIo("truncate", "f", 2, 0), b"", b"abcd", b"ab"),
        (DiskIo("truncate", "f", 6, 0), b"", b"abcd", b"abcd\0\0"),
        (DiskIo("delete", "f", 0, 0), b"", b"abcd", None),
        (DiskIo("sync", "f", 0, 0), b"", b"abcd", b"abcd"),
    ],
)
def test_operations(io, data, before, after):
    files = {"f": Image(before)}
    Operation(io, data).apply(files)
    assert files == ({} if after is None else {"f": after})


def test_the_device_looks_like_the_unix_one(vfs, tmp_path):
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE, 0]
    real = apsw.VFSFile("unix", str(tmp_path / "real.db"), list(flags))
    virtual = vfs.xOpen("virtual.db", list(flags))
    assert virtual.xSectorSize() == real.xSectorSize()
    assert virtual.xDeviceCharacteristics() & apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE
    assert virtual.xDeviceCharacteristics() == real.xDeviceCharacteristics()
    real.xClose()


def test_no_clock_and_no_chance():
    images = []
    for _ in range(2):
        vfs = DiskVfs({}, lambda _: 0)
        connection = vfs.connect("config.db")
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES (random(), datetime('now'))")
        assert connection.execute("SELECT b FROM t").get == "1970-01-01 00:00:00"
        images.append({name: bytes(content) for name, content in vfs.files.items()})
        vfs.abandon()
    assert images[0] == images[1]  # the log's random salts included
    assert len(images[0]["config.db-wal"]) > 0


def test_a_database_is_open_once(vfs):
    connection = vfs.connect("config.db")
    with pytest.raises(apsw.BusyError):
        vfs.connect("config.db")
    vfs.connect("other.db").close()
    connection.close()
    vfs.connect("config.db").close()


def test_names_are_unique_and_given_back():
    first, second = DiskVfs({}, lambda _: 0), DiskVfs({}, lambda _: 0)
    assert first.name != second.name
    assert {first.name, second.name} <= set(apsw.vfs_names())
    default = apsw.vfs_names()
    first.connect("a").close()
    assert apsw.vfs_names() == default  # seeding leaves the default file system in place
    first.abandon()
    second.abandon()
    assert not {first.name, second.name} & set(apsw.vfs_names())


def test_scratch_files_are_not_on_the_disk(vfs, issued):
    connection = vfs.connect("config.db")
    connection.pragma("temp_store", 1)  # in files
    connection.pragma("cache_size", 5)
    connection.execute("CREATE TABLE t (a)")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " INSERT INTO t SELECT i * 7919 % 3001 || hex(zeroblob(500)) FROM n"
    )
    issued.clear()
    rows = [row for (row,) in connection.execute("SELECT a FROM t ORDER BY a")]
    assert rows == sorted(rows)
    assert len(rows) == 3000
    assert issued == []
    assert set(vfs.files) <= {"config.db", "config.db-journal"}
