"""config.db: rows, transactions, loading, the synchronisation's commit (sheet §3)."""

from __future__ import annotations

import apsw
import msgspec
import pytest

from tests.pmxcfs.bus import open_database
from totemviz.pmxcfs.database import Database, DatabaseError
from totemviz.pmxcfs.index import Entry, EntryType, decode_index, encode_index, new_root
from totemviz.pmxcfs.memdb import Memdb

T = 1_700_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.db"


def rows(path) -> list[tuple]:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(
            "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree ORDER BY inode"
        ).fetchall()
    finally:
        connection.close()


def loaded(path) -> dict[int, Entry]:
    database = open_database(path)
    entries, fresh = database.open(T)
    assert not fresh
    database.close()
    return entries


def test_v8_fresh_row_and_the_time_that_memory_does_not_know(path):
    database = open_database(path)
    entries, fresh = database.open(T)
    assert fresh
    assert entries == {0: new_root(1, 0, 0)}
    database.close()
    assert rows(path) == [(0, 0, 1, 0, T, 8, "__version__", None)]
    assert loaded(path) == {0: new_root(1, 0, T)}  # quirk Q14


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_pragmas(path, synchronous, level):
    database = open_database(path, synchronous)
    database.open(T)
    connection = database._opened()
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    assert connection.execute("PRAGMA locking_mode").get == "exclusive"
    assert connection.execute("PRAGMA synchronous").get == level
    assert connection.execute("PRAGMA page_size").get == 4096
    assert connection.execute("PRAGMA user_version").get == 0


def test_without_write_ahead_log_there_is_no_start():
    database = Database(lambda: apsw.Connection(":memory:"), list)
    with pytest.raises(DatabaseError, match="journal_mode=WAL"):
        database.open(T)


def test_one_change_is_one_transaction(path):
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    statements: list[str] = []
    connection = database._opened()
    connection.exec_trace = lambda _, statement, bindings: statements.append(statement.split(" ")[0]) or True
    database.write(memdb.create("a", 1, T).change)
    database.write(memdb.create("b", 1, T).change)
    database.write(memdb.rename("a", "b", 1, T).change)
    database.write(memdb.delete("b", 1, T).change)
    assert statements == [
        *("BEGIN", "REPLACE", "REPLACE", "COMMIT"),
        *("BEGIN", "REPLACE", "REPLACE", "COMMIT"),
        *("BEGIN", "DELETE", "REPLACE", "REPLACE", "COMMIT"),
        *("BEGIN", "DELETE", "REPLACE", "COMMIT"),
    ]
    database.close()
    assert encode_index(loaded(path)) == memdb.index()
    assert rows(path) == [(0, 0, 5, 1, T, 8, "__version__", None)]


def test_a_folder_that_was_touched_or_moved_has_an_empty_blob(path):
    """As found in the database of a real node."""
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    for outcome in (memdb.mkdir("a", 1, T), memdb.mkdir("b", 1, T), memdb.mkdir("c", 1, T), memdb.create("f", 1, T)):
        database.write(outcome.change)
    for outcome in (memdb.mtime("a", 1, T), memdb.rename("b", "d", 1, T), memdb.mtime("f", 1, T)):
        database.write(outcome.change)
    database.close()
    assert [(row[6], row[7]) for row in rows(path)[1:]] == [("a", b""), ("d", b""), ("c", None), ("f", None)]
    assert encode_index(loaded(path)) == memdb.index()


def test_rows_of_files_and_directories(path):
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    for outcome in (
        memdb.mkdir("d", 1, T + 1),
        memdb.create("d/f", 1, T + 2),
        memdb.create("d/empty", 2, T + 3),
        memdb.write("d/f", b"hi", 3, T + 4),
    ):
        database.write(outcome.change)
    database.close()
    assert rows(path) == [
        (0, 0, 5, 3, T + 4, 8, "__version__", None),
        (2, 0, 2, 1, T + 1, 4, "d", None),
        (3, 2, 5, 3, T + 4, 8, "f", b"hi"),
        (4, 2, 4, 2, T + 3, 8, "empty", None),
    ]
    assert loaded(path) == memdb.entries


ROOT = (0, 0, 9, 1, T, 8, "__version__", None)
DIRECTORY = (2, 0, 2, 1, T, 4, "d", None)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ([(3, 0, 3, 1, T, 8, "", None)], r"inode has no name \(inode = 0000000000000003\)"),
        ([(3, 0, 3, 1, T, 5, "x", None)], "inode has unknown type"),
        ([(3, 0, 3, 1, T, 4, "x", b"data")], "directory inode contains data"),
        ([(0, 0, 9, 1, T, 8, "root", None)], "root inode has unexpected name 'root'"),
        ([(3, 0, 3, 1, T, 8, "f", None), (4, 3, 4, 1, T, 8, "x", None)], "parent is not a directory"),
        ([(3, 0, 3, 1, T, 8, "d", None)], "found entry with duplicate name"),
        ([(3, 77, 3, 1, T, 8, "x", None)], r"missing directory inode \(inode = 000000000000004D\)"),
    ],
)
def test_load_refuses_what_is_no_tree(path, bad, text):
    database = open_database(path)
    database.open(T)
    for row in [ROOT, DIRECTORY, *bad]:
        database._opened().execute("REPLACE INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.close()
    with pytest.raises(DatabaseError, match=text):
        open_database(path).open(T)


def test_a_directory_may_have_a_larger_inode_than_its_content(path):
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    for outcome in (memdb.create("f", 1, T), memdb.mkdir("d", 1, T), memdb.rename("f", "d/f", 1, T)):
        database.write(outcome.change)
    database.close()
    assert Memdb(loaded(path)).lookup("d/f").inode == 2


def test_a_failing_transaction_is_rolled_back(path):
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    database.write(memdb.create("f", 1, T).change)
    change = memdb.write("f", b"x", 1, T).change
    bad_root = msgspec.structs.replace(change.root, mtime="now")  # the schema wants integers
    with pytest.raises(DatabaseError, match="CHECK constraint"):
        database.write(msgspec.structs.replace(change, root=bad_root))
    assert not database._opened().in_transaction
    database.close()
    assert loaded(path)[2].data == b""


@pytest.fixture
def outdated(path):
    """A database with files a, b, c, and the leader's tree: a changed, b gone, d new."""
    database = open_database(path)
    memdb = Memdb(database.open(T)[0])
    for name in "abc":
        database.write(memdb.create(name, 1, T).change)
    leader = Memdb(dict(memdb.entries))
    leader.write("a", b"new", 2, T + 1)
    leader.delete("b", 2, T + 2)
    leader.create("d", 2, T + 3)
    return database, memdb, leader


def test_v8_commit_of_an_update(path, outdated):
    database, memdb, leader = outdated
    updates = [leader.root, leader.lookup("a"), leader.lookup("d")]
    entries = database.commit_update(leader.index(), decode_index(memdb.index()), updates)
    assert entries == leader.entries
    database.close()
    assert rows(path)[0] == (0, 0, 7, 2, T + 3, 4, "__version__", None)  # type 4 until the next change
    assert loaded(path) == leader.entries


def test_a_commit_takes_over_all_or_nothing(path, outdated):
    database, memdb, leader = outdated
    updates = [leader.root, leader.lookup("a")]
    with pytest.raises(DatabaseError, match="new index does not match master index - internal error"):
        database.commit_update(leader.index(), decode_index(memdb.index()), updates)
    orphan = Entry(99, 98, 7, 2, T, EntryType.FILE, "orphan")
    with pytest.raises(DatabaseError, match="missing directory inode"):
        database.commit_update(leader.index(), decode_index(memdb.index()), [orphan])
    database.close()
    assert loaded(path) == memdb.entries
