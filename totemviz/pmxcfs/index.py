"""Entries of the tree, their digests, and the index that two nodes compare (sheet §2.1, §2.9, §2.10).

Every entry is an immutable value: a change makes a new entry with the same inode. So a snapshot of the tree is a
shallow copy of one dictionary, and an entry that was handed out can never change behind the reader's back.

All integers in digests and in the index are little-endian. A field keeps its exact width and nothing separates one
from the next, so equal trees give equal bytes on every node.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from enum import IntEnum

import msgspec

ROOT_INODE = 0

_INODE = struct.Struct("<Q")
_FIELDS = struct.Struct("<QIIIBQ")  # version, writer, mtime, size, type, parent
_INDEX_HEADER = struct.Struct("<QQIIII")  # version, last inode, writer, mtime, size in entries, bytes
_INDEX_ENTRY = struct.Struct("<Q32s")


def name_bytes(name: str) -> bytes:
    """The bytes of a file name. A name is any bytes but NUL and ``/``; what is no UTF-8 in it survives as it is."""
    return name.encode(errors="surrogateescape")


def name_text(name: bytes) -> str:
    """The inverse of ``name_bytes``."""
    return name.decode(errors="surrogateescape")


class EntryType(IntEnum):
    """What an entry is, in the numbers of ``readdir``: nothing else exists in /etc/pve."""

    DIRECTORY = 4
    FILE = 8


_DIRECTORY = EntryType.DIRECTORY


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One file or directory. ``mtime`` is in seconds; ``version`` is the tree's version at its last change.

    ``inode`` is the tree's version at its creation and never changes, not even by a rename. The root has inode 0, no
    name, and carries the version, writer and mtime of the last change to the whole tree. ``hole``: the size of an
    empty file that was made longer: it has bytes in no digest, no database and no message (quirk Q1).
    """

    inode: int
    parent: int
    version: int
    writer: int
    mtime: int
    type: EntryType
    name: str
    data: bytes = b""
    hole: int = 0

    @property
    def size(self) -> int:
        """Length in bytes; 0 for directories."""
        return len(self.data) + self.hole

    @property
    def is_directory(self) -> bool:
        """Whether other entries may live under this one."""
        return self.type is _DIRECTORY


def new_root(version: int = 1, writer: int = 0, mtime: int = 0) -> Entry:
    """The root of a tree; by default that of a fresh database (sheet §2.1)."""
    return Entry(ROOT_INODE, ROOT_INODE, version, writer, mtime, _DIRECTORY, "")


def _digest_input(entry: Entry) -> bytes:
    fields = _FIELDS.pack(entry.version, entry.writer, entry.mtime, entry.size, entry.type, entry.parent)
    return fields + name_bytes(entry.name) + entry.data


def index_digest(entry: Entry) -> bytes:
    """The 32 bytes that stand for an entry in the index; the inode itself is not in it (sheet §2.9)."""
    return hashlib.sha256(_digest_input(entry)).digest()


def entry_checksum(entry: Entry) -> bytes:
    """The 32 bytes by which nodes recognise one state of a lock directory (sheet §2.9)."""
    return hashlib.sha256(_INODE.pack(entry.inode) + _digest_input(entry)).digest()


def tree_checksum(entries: Mapping[int, Entry]) -> bytes:
    """The 32 bytes of the hourly verification, over all entries by rising inode (sheet §2.9)."""
    checksum = hashlib.sha256()
    for inode in sorted(entries):
        checksum.update(_INODE.pack(inode) + _digest_input(entries[inode]))
    return checksum.digest()


class Index(msgspec.Struct, frozen=True):
    """A decoded index: what one node says about its whole tree. ``digests`` maps inode to index digest."""

    version: int
    last_inode: int
    writer: int
    mtime: int
    digests: dict[int, bytes]


class MalformedIndexError(ValueError):
    """The bytes are no index."""


def encode_index(entries: Mapping[int, Entry]) -> bytes:
    """The index of a tree, as nodes exchange it: 32 bytes, then 40 for each entry by rising inode (sheet §2.10).

    Two databases are in sync if and only if these bytes are equal.
    """
    root = entries[ROOT_INODE]
    inodes = sorted(entries)
    length = _INDEX_HEADER.size + _INDEX_ENTRY.size * len(inodes)
    header = _INDEX_HEADER.pack(root.version, inodes[-1], root.writer, root.mtime, len(inodes), length)
    return header + b"".join(_INDEX_ENTRY.pack(inode, index_digest(entries[inode])) for inode in inodes)


def decode_index(data: bytes) -> Index:
    """Read an index. Raises MalformedIndexError with the text that pmxcfs logs."""
    if len(data) < _INDEX_HEADER.size:
        raise MalformedIndexError("received short memdb index (len < sizeof(memdb_index_t))")
    version, last_inode, writer, mtime, size, length = _INDEX_HEADER.unpack_from(data)
    if length != len(data) or length != _INDEX_HEADER.size + _INDEX_ENTRY.size * size:
        raise MalformedIndexError("received mailformed memdb index (len != idx->bytes)")
    digests = dict(_INDEX_ENTRY.iter_unpack(data[_INDEX_HEADER.size :]))
    return Index(version, last_inode, writer, mtime, digests)
