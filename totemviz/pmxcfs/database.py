"""config.db: the copy of the tree in a real SQLite database (sheet §3).

It is read at start and inside a synchronisation, and written at every change: one transaction each. Commits append
to the write-ahead log; with ``synchronous=NORMAL``, as pmxcfs runs it, they do not wait for the disk. ``FULL`` syncs
the log at every commit, which is how popular articles describe pmxcfs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal

import apsw
import msgspec

from totemviz.pmxcfs.effects import DiskIo
from totemviz.pmxcfs.index import (
    ROOT_INODE,
    Entry,
    EntryType,
    Index,
    decode_index,
    encode_index,
    name_bytes,
    name_text,
    new_root,
)
from totemviz.pmxcfs.memdb import Change

VERSION_NAME = "__version__"
_VERSION_NAME_BYTES, _VERSION_TYPE = VERSION_NAME.encode(), int(EntryType.FILE)
_BUSY_TIMEOUT_MS = 10_000
_MASK_32 = 2**32 - 1
_MASK_64 = 2**64 - 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tree (
    inode   INTEGER PRIMARY KEY NOT NULL,
    parent  INTEGER NOT NULL CHECK (typeof(parent)  = 'integer'),
    version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
    writer  INTEGER NOT NULL CHECK (typeof(writer)  = 'integer'),
    mtime   INTEGER NOT NULL CHECK (typeof(mtime)   = 'integer'),
    type    INTEGER NOT NULL CHECK (typeof(type)    = 'integer'),
    name    TEXT    NOT NULL,
    data    BLOB
)
"""
# As sqlite3_column_int64, _text and _blob read a column, whatever somebody put into it; names are bytes to pmxcfs.
_SELECT = "SELECT {}, CAST(name AS BLOB), CAST(data AS BLOB) FROM tree".format(
    ", ".join(
        f"IFNULL(CAST({column} AS INTEGER), 0)" for column in ("inode", "parent", "version", "writer", "mtime", "type")
    )
)
_REPLACE = (
    "REPLACE INTO tree (inode, parent, version, writer, mtime, type, name, data) "
    "VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?)"
)
_DELETE = "DELETE FROM tree WHERE inode = ?"

_Row = tuple[int, int, int, int, int, int, bytes, bytes | None]


class DatabaseError(Exception):
    """config.db cannot be used: SQLite failed, or the rows make no tree. The text is pmxcfs' log line."""


class LoadError(DatabaseError):
    """The rows of a config.db make no tree; pmxcfs adds "DB load failed"."""


class Database:
    """One open config.db.

    ``connect`` opens the connection (the world's virtual disk stands behind it), ``drain_io`` gives what SQLite asked
    of the disk since the last call, ``synchronous`` is the pragma: NORMAL is pmxcfs.
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        drain_io: Callable[[], list[DiskIo]],
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self._connect = connect
        self.drain_io = drain_io
        self.synchronous = synchronous
        self._connection: apsw.Connection | None = None

    def set_synchronous(self, synchronous: Literal["NORMAL", "FULL"]) -> None:
        """Another ``PRAGMA synchronous`` from the next transaction on."""
        self.synchronous = synchronous
        if self._connection is not None:
            self._connection.execute(f"PRAGMA synchronous={synchronous}").fetchall()

    def open(self, wall_s: int) -> tuple[dict[int, Entry], bool]:
        """Open and load: the tree by inode, and whether the database is a fresh one. Raises DatabaseError.

        A fresh database gets its version row with the current time, while the tree's mtime in memory stays 0: the
        index changes across the first restart (sheet §2.1, quirk Q14).
        """
        try:
            self._connection = connection = self._connect()
            connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
            # A file system without shared memory can do WAL only under an exclusive lock, set before the mode.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchall()
            if mode != [("wal",)]:
                raise DatabaseError(f"journal_mode=WAL refused: {mode}")
            connection.execute(f"PRAGMA synchronous={self.synchronous}").fetchall()
            connection.execute(_SCHEMA)
            entries = self._load()
            if entries[ROOT_INODE].version:
                return entries, False
            root = msgspec.structs.replace(entries[ROOT_INODE], version=1)
            connection.execute(_REPLACE, _version_row(new_root(mtime=wall_s)))
        except apsw.Error as error:
            raise DatabaseError(f"init database failed: {error}") from error
        entries[ROOT_INODE] = root
        return entries, True

    def write(self, change: Change) -> None:
        """One change as one transaction (``database.c: bdb_backend_write``). Raises DatabaseError, rolled back."""
        cursor = self._opened().cursor()
        step = "begin transaction"
        try:
            cursor.execute("BEGIN")
            if change.deleted_inode is not None:
                step = "delete_inode"
                cursor.execute(_DELETE, (change.deleted_inode,))
            step = "sqlite3_step"
            if change.entry is not None:
                cursor.execute(_REPLACE, _changed_row(change.entry))
            cursor.execute(_REPLACE, _version_row(change.root))
            step = "commit transaction"
            cursor.execute("COMMIT")
        except apsw.Error as error:
            self._rollback()
            raise DatabaseError(f"{step} failed: {error}") from error

    def commit_update(self, master: bytes, own: Index, updates: Iterable[Entry]) -> dict[int, Entry]:
        """Become the leader's tree (``database.c: bdb_backend_commit_update``): the new tree by inode.

        ``master`` is the leader's index, ``own`` this node's as it was sent, ``updates`` the received entries in order
        of arrival. The whole tree is read back inside the transaction and must give the master's index byte for byte.
        Raises DatabaseError, with the database as before.
        """
        # Deletions are never sent: what the master does not list is gone.
        kept = decode_index(master).digests.keys()
        connection = self._opened()
        step = "begin transaction"
        try:
            connection.execute("BEGIN")
            step = "delete_inode"
            for inode in sorted(own.digests.keys() - kept):
                connection.execute(_DELETE, (inode,))
            step = "sqlite3_step"
            for entry in updates:
                connection.execute(_REPLACE, _row(entry))
            entries = self._load()
            if encode_index(entries) != master:
                raise DatabaseError("new index does not match master index - internal error")
            step = "commit transaction"
            connection.execute("COMMIT")
        except apsw.Error as error:
            self._rollback()
            raise DatabaseError(f"{step} failed: {error}") from error
        except DatabaseError:
            self._rollback()
            raise
        return entries

    def close(self) -> None:
        """Close the connection: SQLite checkpoints and removes the write-ahead log."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            raise DatabaseError("database is not open")
        return self._connection

    def _rollback(self) -> None:
        with suppress(apsw.Error):
            self._opened().execute("ROLLBACK")

    def _load(self) -> dict[int, Entry]:
        """All rows as a checked tree; a missing version row gives a root of version 0 (sheet §3.6)."""
        loading = _Loading()
        for row in self._opened().execute(_SELECT):
            loading.add(_entry(*row))
        return loading.finished()


class _Loading:
    """The tree while its rows come in, by rising inode (``database.c: bdb_backend_load_index``).

    A directory may come after its content, so a missing one is owed until the end. Nobody checks for directories
    that are each other's parent, for versions above the root's, or for a file in the place of an owed directory.
    """

    def __init__(self) -> None:
        self._entries = {ROOT_INODE: new_root(version=0)}
        self._children: dict[int, dict[str, Entry]] = {ROOT_INODE: {}}

    def add(self, entry: Entry) -> None:
        """One more row. Raises LoadError."""
        if entry.inode == ROOT_INODE:
            self._entries[ROOT_INODE] = entry
            return
        parent = self._entries.get(entry.parent)
        if parent is not None and not parent.is_directory:
            where = f"(inode = {entry.inode:016X}, parent = {entry.parent:016X}, name = '{entry.name}')"
            raise LoadError(f"parent is not a directory {where}")
        names = self._children.setdefault(entry.parent, {})
        if entry.is_directory and entry.parent == entry.inode:
            names = {}  # its own parent: it ends up in no directory at all
        other = names.setdefault(entry.name, entry)
        if other is not entry:
            raise LoadError(
                f"found entry with duplicate name '{entry.name}' - A:{_described(other)} vs. B:{_described(entry)}"
            )
        self._entries[entry.inode] = entry

    def finished(self) -> dict[int, Entry]:
        """The tree by inode. Raises LoadError."""
        missing = self._children.keys() - self._entries.keys()
        if missing:
            raise LoadError(f"missing directory inode (inode = {min(missing):016X})")
        return self._entries


def _described(entry: Entry) -> str:
    return (
        f"(inode = 0x{entry.inode:016X}, parent = 0x{entry.parent:016X}, "
        f"v./mtime = 0x{entry.version:X}/0x{_signed(entry.mtime, 32)})"
    )


def _signed(value: int, bits: int) -> int:
    """The number that C prints from the lowest ``bits`` of ``value``."""
    half = 1 << bits - 1
    return (value + half) % (2 * half) - half


def _row(entry: Entry) -> _Row:
    """The row of an entry. A received root keeps its type 4 here, until the next change writes 8 (sheet §3.2)."""
    name = VERSION_NAME if entry.inode == ROOT_INODE else entry.name
    return (
        entry.inode,
        entry.parent,
        entry.version,
        entry.writer,
        entry.mtime,
        entry.type,
        name_bytes(name),
        entry.data or None,
    )


def _changed_row(entry: Entry) -> _Row:
    """The row after a change of this node's own: a folder that was moved or touched has an empty blob, and no NULL.

    It is the address of its table of names that SQLite is given, with length 0 (``database.c: backend_write_inode``).
    """
    row = _row(entry)
    return (*row[:-1], b"") if entry.is_directory and entry.version != entry.inode else row


def _version_row(root: Entry) -> _Row:
    return (
        ROOT_INODE,
        ROOT_INODE,
        root.version,
        root.writer,
        root.mtime,
        _VERSION_TYPE,
        _VERSION_NAME_BYTES,
        None,
    )


def _entry(
    inode: int,
    parent: int,
    version: int,
    writer: int,
    mtime: int,
    type_: int,
    raw_name: bytes | None,
    data: bytes | None,
) -> Entry:
    """One row as an entry, with the checks that need no other row."""
    inode, parent, version = inode & _MASK_64, parent & _MASK_64, version & _MASK_64
    if not raw_name:
        raise LoadError(f"inode has no name (inode = {inode:016X})")
    name = name_text(raw_name.partition(b"\0")[0])
    if type_ & 0xFF not in (EntryType.DIRECTORY, EntryType.FILE):
        raise LoadError(f"inode has unknown type (inode = {inode:016X}, type = {_signed(type_, 8)})")
    kind = EntryType(type_ & 0xFF)
    if kind is EntryType.DIRECTORY and data:
        raise LoadError(f"directory inode contains data (inode = {inode:016X})")
    if inode == ROOT_INODE:
        if name != VERSION_NAME:
            raise LoadError(f"root inode has unexpected name '{name}'")
        return new_root(version, writer & _MASK_32, mtime & _MASK_32)
    return Entry(inode, parent, version, writer & _MASK_32, mtime & _MASK_32, kind, name, data or b"")
