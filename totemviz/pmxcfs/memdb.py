"""The tree in memory: every file operation of /etc/pve with its checks, in the order pmxcfs makes them (sheet §2).

All reads are served from here; SQLite only keeps a copy. An operation is a pure function of the tree, the message,
its sender and the sender's clock. That is the whole trick of replication: the same messages in the same order give
the same tree, so nodes never need to compare notes while all goes well.

An operation changes memory and returns an ``Outcome``: the errno or count for the caller, and, if something
changed, the ``Change`` that still has to reach the database.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from totemviz.pmxcfs.changes import ChangeCounters
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import GuestList, GuestPath, parse_guest_path
from totemviz.pmxcfs.index import (
    ROOT_INODE,
    Entry,
    EntryType,
    encode_index,
    new_root,
    tree_checksum,
)
from totemviz.pmxcfs.process import Quirks

FILE_SIZE_MAX_BYTES = 1024 * 1024
LOCK_DIRECTORY = "priv/lock"


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one operation changed, for one transaction: a row to delete, a row to replace, and always the root's."""

    root: Entry
    entry: Entry | None = None
    deleted_inode: int | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result of an operation: a count, 0 or a negative errno; ``change`` is set if the tree changed."""

    result: int
    change: Change | None = None


class _Refused(Exception):  # noqa: N818 - not an error of ours: an ordinary answer
    """A check failed; carries the errno."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


def _refused(refusal: _Refused) -> Outcome:
    return Outcome(-refusal.errno)


def split_path(path: str) -> tuple[str, str]:
    """Directory and last name of a path, trailing slashes ignored: ``dir/f`` is ``("dir", "f")`` (sheet §2.2)."""
    directory, _, name = path.rstrip("/").rpartition("/")
    return directory.rstrip("/"), name


def is_lockdir(path: str) -> bool:
    """Whether ``path`` lies below the lock directory, at any depth (``cfs-utils.c: path_is_lockdir``)."""
    prefix, _, rest = path.lstrip("/").partition(LOCK_DIRECTORY + "/")
    return not prefix and rest != ""


class Memdb:
    """The tree of one node. ``entries`` maps inode to entry, the root included; nobody else may write to it.

    ``errors`` absorbs: once the database failed, every later operation is refused with EIO (sheet §3.5).
    """

    def __init__(self, entries: dict[int, Entry] | None = None, quirks: Quirks | None = None) -> None:
        self.guests = GuestList()
        self.changes = ChangeCounters()
        self._quirks = quirks or Quirks()
        self.errors = False
        self.entries: dict[int, Entry] = {}
        self._children: dict[int, dict[str, int]] = {}
        self.replace_tree(entries if entries is not None else {ROOT_INODE: new_root()})

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def root(self) -> Entry:
        """The root entry; its version is the version of the database."""
        return self.entries[ROOT_INODE]

    @property
    def version(self) -> int:
        """The version of the tree: it rises by one with every successful operation."""
        return self.root.version

    def lookup(self, path: str) -> Entry | None:
        """The entry at ``path``, or None. ``""``, ``"/"`` and ``"."`` are the root; no other name is special."""
        entry = self.root
        if path == ".":
            return entry
        for name in filter(None, path.split("/")):
            inode = self._children.get(entry.inode, {}).get(name)
            if inode is None:
                return None
            entry = self.entries[inode]
        return entry

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None where pmxcfs answers ENOENT: nothing there, or a directory."""
        entry = self.lookup(path)
        return None if entry is None or entry.is_directory else entry.data

    def children(self, inode: int) -> tuple[str, ...]:
        """The names in a directory, sorted; none for a file."""
        return tuple(sorted(self._children.get(inode, ())))

    def walk(self) -> Iterator[tuple[str, Entry]]:
        """All entries below the root with their paths, each directory before its content, names sorted."""
        pending = [("", ROOT_INODE)]
        while pending:
            directory, inode = pending.pop()
            if inode != ROOT_INODE:
                yield directory, self.entries[inode]
            names = self._children.get(inode, {})
            prefix = f"{directory}/" if directory else ""
            pending.extend((prefix + name, names[name]) for name in sorted(names, reverse=True))

    def index(self) -> bytes:
        """The encoded index of this tree (sheet §2.10)."""
        return encode_index(self.entries)

    def checksum(self) -> bytes:
        """The checksum of this tree for the hourly verification (sheet §2.9)."""
        return tree_checksum(self.entries)

    # ---------------------------------------------------------------------------------------------------- operations

    def mkdir(self, path: str, writer: int, mtime: int) -> Outcome:
        """Make a directory (``memdb.c: memdb_mkdir``)."""
        try:
            parent, name = self._target(path)
            if self._child(parent, name) is not None:
                raise _Refused(Errno.EEXIST)
        except _Refused as refusal:
            return _refused(refusal)
        return Outcome(0, self._add(parent, name, EntryType.DIRECTORY, writer, mtime))

    def create(self, path: str, writer: int, mtime: int) -> Outcome:
        """Make an empty file (``memdb.c: memdb_create``)."""
        guest = parse_guest_path(path)
        try:
            parent, name = self._target(path)
            self._check_vmid(guest)
            existing = self._child(parent, name)
            if existing is not None:
                raise _Refused(Errno.ENOTDIR if existing.is_directory else Errno.EEXIST)
        except _Refused as refusal:
            return _refused(refusal)
        change = self._add(parent, name, EntryType.FILE, writer, mtime)
        self.changes.changed(path)
        if guest is not None:
            self.guests.register(guest)
        return Outcome(0, change)

    def write(
        self, path: str, data: bytes, writer: int, mtime: int, *, offset: int = 0, truncate: bool = False
    ) -> Outcome:
        """Write ``data`` at ``offset``; with ``truncate`` the file ends there. Result: the number of bytes.

        Source: ``memdb.c: memdb_write``. A growing truncate of an empty file sets a size without any data (quirk Q1).
        """
        guest = parse_guest_path(path)
        try:
            parent, name = self._target(path, end=offset + len(data))
            self._check_vmid(guest)
            existing = self._child(parent, name)
            if existing is None:
                raise _Refused(Errno.ENOENT)
            if existing.is_directory:
                raise _Refused(Errno.ENOTDIR)
        except _Refused as refusal:
            return _refused(refusal)
        end = offset + len(data)
        hole = 0
        if not existing.data and not data and self._quirks.truncate_makes_size_without_data:
            content, hole = b"", offset
        else:
            tail = b"" if truncate else existing.data[end:]
            content = existing.data[:offset].ljust(offset, b"\0") + data + tail
        change = self._stamp(existing, writer, mtime, data=content, hole=hole)
        self.changes.changed(path)
        if guest is not None:
            self.guests.register(guest)
        return Outcome(len(data), change)

    def mtime(self, path: str, writer: int, mtime: int) -> Outcome:
        """Set the modification time; on a lock directory this is its renewal (``memdb.c: memdb_mtime``).

        The given time also becomes the root's mtime, so it can decide the choice of a leader (quirk Q10).
        """
        try:
            parent, name = self._target(path)
            entry = self._child(parent, name)
            if entry is None:
                raise _Refused(Errno.ENOENT)
            # A lock belongs to the node that took it, and its time may only rise.
            is_lock = entry.is_directory and split_path(path)[0] == LOCK_DIRECTORY
            if is_lock and (mtime < entry.mtime or writer != entry.writer):
                raise _Refused(Errno.EACCES)
        except _Refused as refusal:
            return _refused(refusal)
        change = self._stamp(entry, writer, mtime)
        self.changes.changed(path)
        return Outcome(0, change)

    def rename(self, path: str, to: str, writer: int, mtime: int) -> Outcome:
        """Move a file or an empty directory, replacing what is at ``to`` (``memdb.c: memdb_rename``).

        An existing target is removed from memory before the source is found to be a directory with content: the
        answer is ENOTEMPTY, the target is gone until the next start, the version is as before (quirk Q2).
        """
        old_guest, new_guest = parse_guest_path(path), parse_guest_path(to)
        try:
            entry = self._existing(path)
            if not entry.is_directory and not _is_migration(old_guest, new_guest):
                self._check_vmid(new_guest)
            if entry.is_directory and is_lockdir(path):
                raise _Refused(Errno.EACCES)
            parent, name, replaced = self._rename_target(to)
            if parent.inode == entry.inode:
                raise _Refused(Errno.EINVAL)  # a directory into itself: the kernel never lets this through
            if replaced is not None and replaced.inode != entry.inode and self._quirks.rename_forgets_target_early:
                self._forget(replaced)
            self.changes.changed(path)
            self.changes.changed(to)
            self._check_empty(entry)
        except _Refused as refusal:
            return _refused(refusal)
        replaced_inode = None
        if replaced is not None and replaced.inode != entry.inode:
            replaced_inode = replaced.inode
            if replaced_inode in self.entries:
                self._forget(replaced)
        change = self._stamp(entry, writer, mtime, parent=parent.inode, name=name)
        if not entry.is_directory:
            if old_guest is not None:
                self.guests.drop(old_guest.vmid)
            if new_guest is not None:
                self.guests.register(new_guest)
        return Outcome(0, msgspec.structs.replace(change, deleted_inode=replaced_inode))

    def delete(self, path: str, writer: int, mtime: int) -> Outcome:
        """Remove a file or an empty directory (``memdb.c: memdb_delete``, for unlink and rmdir alike).

        No trace remains but the higher version of the tree: deletions travel as missing inodes.
        """
        try:
            entry = self._existing(path)
            self._check_empty(entry)
        except _Refused as refusal:
            return _refused(refusal)
        self.changes.changed(path)
        self._forget(entry)
        root = self._bump(writer, mtime)
        guest = parse_guest_path(path)
        if guest is not None:  # by the path alone, a directory of such a name included
            self.guests.drop(guest.vmid)
        return Outcome(0, Change(root, deleted_inode=entry.inode))

    def replace_tree(self, entries: dict[int, Entry]) -> None:
        """Take over a whole tree, loaded or received. Raises DuplicateVmidError; the tree is in place all the same."""
        self.changes.reloaded()
        self.entries = entries
        self._children = {inode: {} for inode, entry in entries.items() if entry.is_directory}
        for inode, entry in entries.items():
            if inode != ROOT_INODE and entry.parent in self._children:  # else lost, as database.c loads it
                self._children[entry.parent][entry.name] = inode
        nodes = self.lookup("nodes")
        if nodes is not None and nodes.is_directory:
            self.guests.rebuild([path for path, entry in self.walk() if not entry.is_directory])

    # -------------------------------------------------------------------------------------------------------- checks

    def _check_errors(self) -> None:
        if self.errors:
            raise _Refused(Errno.EIO)

    def _target(self, path: str, *, end: int = 0) -> tuple[Entry, str]:
        """Directory and name for mkdir, create, write and mtime: the common checks of sheet §2.3, in its order."""
        self._check_errors()
        if end > FILE_SIZE_MAX_BYTES:
            raise _Refused(Errno.EFBIG)
        directory, name = split_path(path)
        parent = self.lookup(directory)
        if parent is None:
            raise _Refused(Errno.ENOENT)
        if not parent.is_directory:
            raise _Refused(Errno.ENOTDIR)
        if name in ("", ".", ".."):
            raise _Refused(Errno.EACCES)
        return parent, name

    def _existing(self, path: str) -> Entry:
        """The entry that rename and delete take away."""
        self._check_errors()
        entry = self.lookup(path)
        if entry is None:
            raise _Refused(Errno.ENOENT)
        if entry.inode == ROOT_INODE:
            raise _Refused(Errno.EACCES)
        return entry

    def _rename_target(self, to: str) -> tuple[Entry, str, Entry | None]:
        """Directory and name that a rename moves to, and the entry it replaces."""
        replaced = self.lookup(to)
        if replaced is not None:
            if replaced.inode == ROOT_INODE:
                raise _Refused(Errno.EACCES)
            self._check_empty(replaced)
            return self.entries[replaced.parent], replaced.name, replaced
        directory, name = split_path(to)
        parent = self.lookup(directory)
        if parent is None:
            raise _Refused(Errno.ENOENT)
        if not parent.is_directory:
            raise _Refused(Errno.ENOTDIR)
        return parent, name, None

    def _check_empty(self, entry: Entry) -> None:
        if self._children.get(entry.inode):
            raise _Refused(Errno.ENOTEMPTY)

    def _check_vmid(self, guest: GuestPath | None) -> None:
        if guest is not None and self.guests.exists_elsewhere(guest):
            raise _Refused(Errno.EEXIST)

    def _child(self, parent: Entry, name: str) -> Entry | None:
        inode = self._children[parent.inode].get(name)
        return None if inode is None else self.entries[inode]

    # ------------------------------------------------------------------------------------------------------- changes

    def _bump(self, writer: int, mtime: int) -> Entry:
        """Count one more change to the tree; its new root."""
        root = self.entries[ROOT_INODE] = new_root(self.version + 1, writer, mtime)
        return root

    def _add(self, parent: Entry, name: str, type_: EntryType, writer: int, mtime: int) -> Change:
        """A new entry: the tree's new version is its inode for ever."""
        root = self._bump(writer, mtime)
        version = root.version
        entry = Entry(version, parent.inode, version, writer, mtime, type_, name)
        self.entries[entry.inode] = entry
        self._children[parent.inode][name] = entry.inode
        if entry.is_directory:
            self._children[entry.inode] = {}
        return Change(root, entry)

    def _stamp(
        self,
        entry: Entry,
        writer: int,
        mtime: int,
        *,
        data: bytes | None = None,
        hole: int | None = None,
        parent: int | None = None,
        name: str | None = None,
    ) -> Change:
        """Put a changed copy in the place of ``entry``, stamped with the tree's new version."""
        root = self._bump(writer, mtime)
        changed = Entry(
            inode=entry.inode,
            parent=entry.parent if parent is None else parent,
            version=root.version,
            writer=writer,
            mtime=mtime,
            type=entry.type,
            name=entry.name if name is None else name,
            data=entry.data if data is None else data,
            hole=entry.hole if hole is None else hole,
        )
        del self._children[entry.parent][entry.name]
        self._children[changed.parent][changed.name] = changed.inode
        self.entries[changed.inode] = changed
        return Change(root, changed)

    def _forget(self, entry: Entry) -> None:
        del self.entries[entry.inode]
        del self._children[entry.parent][entry.name]
        self._children.pop(entry.inode, None)


def _is_migration(old: GuestPath | None, new: GuestPath | None) -> bool:
    """A guest that moves to another node or becomes another type keeps its VMID."""
    return old is not None and new is not None and old.vmid == new.vmid
