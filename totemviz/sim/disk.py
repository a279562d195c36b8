"""A virtual disk: what processes wrote, what a power cut would leave, and what every sync costs.

An operation goes through three stations:

1. *issued*: SQLite (or a plain file write) made the call. `drain_io` hands the records out; the process sees its own
   writes at once.
2. *completed*: the world reached the operation's virtual time and called `complete`. A write is now in the page cache:
   it survives the death of the process, not a power cut.
3. *durable*: a sync of the same file completed after it. It survives a power cut.

    for io in disk.drain_io():                # what the commit issued; at each one's virtual time:
        cost_ns = disk.cost_ns(io, now_ns)    # the process is blocked so long (None: for ever),
        disk.complete(io, now_ns)             # then it is done
    disk.process_died()                       # kill -9: stations 2 and 3 are left
    disk = disk.crash(rng)                    # power cut: station 3 is left, by chance a little of 2
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque
from collections.abc import Mapping
from random import Random

import apsw

from totemviz.pmxcfs.effects import DiskIo
from totemviz.sim.device import Device
from totemviz.sim.image import Image
from totemviz.sim.profiles import DiskProfile
from totemviz.sim.vfs import DiskVfs, Files, Operation

_PAGE_BYTES = 4096
_SECTOR_BYTES = 512
FLUSHER_WAKES_NS = 5_000_000_000
DIRTY_EXPIRE_NS = 30_000_000_000


class Disk:
    """One disk of one host, empty or holding ``files``. ``rng`` is the disk's own stream, for latencies only.

    Faults are plain fields, to be set at any time: ``full`` (a write that needs new space fails, ENOSPC; overwriting
    still works), ``io_error`` (the file system has given up and is read-only: every change and every sync fails, EIO)
    and ``lies`` (the drive acknowledges a sync at once and has done nothing: what was "synced" is lost with the power,
    unless the kernel's write-back came before). What delays an answer is the ``device``'s. Counters: ``writes``,
    ``syncs``, ``written_bytes``, of completed operations.
    """

    def __init__(
        self,
        profile: DiskProfile,
        rng: Random,
        files: Mapping[str, bytes | Image] | None = None,
        device: Device | None = None,
    ) -> None:
        self.device = device if device is not None else Device(profile, Random(0))
        self.full = False
        self.io_error = False
        self.lies = False
        self.writes = 0
        self.syncs = 0
        self.written_bytes = 0
        self._rng = rng
        self._durable: Files = _copy(files or {})
        self._unsynced: list[Operation] = []  # completed, oldest first
        self._dirty_since_ns: dict[str, int] = {}  # per file: when its oldest unsynced operation completed
        self._issued: deque[Operation] = deque()  # not completed, oldest first
        self._undrained: list[DiskIo] = []
        self._vfs = DiskVfs(_copy(self._durable), self._issue)
        self._closed = False

    @property
    def profile(self) -> DiskProfile:
        """What kind of device it is; may be replaced, the content stays."""
        return self.device.profile

    @profile.setter
    def profile(self, profile: DiskProfile) -> None:
        self.device.profile = profile

    # ------------------------------------------------------------------------------------- for processes

    def connect(self, name: str) -> apsw.Connection:
        """Open the SQLite database ``name`` (created if absent) in locking mode EXCLUSIVE, so that WAL works.

        Assert what ``journal_mode=WAL`` answers: SQLite refuses without an error. Raises `apsw.BusyError` if the
        database is open already, `ValueError` if this disk is closed.
        """
        if self._closed:
            raise ValueError("this disk is gone: a crash returns a new one")
        return self._vfs.connect(name)

    def read_file(self, name: str) -> bytes:
        """A file's content as processes see it. Raises `FileNotFoundError`."""
        if name not in self._vfs.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return bytes(self._vfs.files[name])

    def write_file(self, name: str, data: bytes, *, sync: bool = False) -> list[DiskIo]:
        """Replace a small file: truncate, write and, if asked, sync. Returns the records, for the caller to complete.

        They are not handed out by `drain_io`: another process than SQLite's does this. Without sync it is what corosync
        does with its ring-id file (main.c: corosync_ring_id_store). Raises `OSError` if the disk is full or broken.
        """
        operations = [
            Operation(DiskIo("truncate", name, 0, 0)),
            Operation(DiskIo("write", name, 0, len(data)), data),
            Operation(DiskIo("sync", name, 0, 0)),
        ]
        for operation in operations:
            if refusal := self._refusal(operation.io):
                raise OSError(refusal, os.strerror(refusal), name)
        if not sync:
            operations.pop()
        for operation in operations:
            self._issued.append(operation)
            operation.apply(self._vfs.files)
        return [operation.io for operation in operations]

    def export(self, name: str) -> bytes:
        """The database as one complete file (no WAL needed), as it stands in the page cache now.

        It is what ``sqlite3 config.db`` on the host would read at this moment: operations issued but not completed are
        not in it. Raises `FileNotFoundError`.
        """
        cache = self._page_cache()
        if name not in cache:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        scratch = Disk(self.profile, Random(0), cache)
        connection = scratch.connect(name)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        busy, frames, folded = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        if busy or frames != folded:
            raise RuntimeError("SQLite did not fold the WAL into the database")
        connection.close()
        exported = scratch.read_file(name)
        scratch.close()
        return exported

    # ------------------------------------------------------------------------------------- for the world

    def drain_io(self) -> list[DiskIo]:
        """The operations SQLite issued since the last call, oldest first."""
        drained, self._undrained = self._undrained, []
        return drained

    def cost_ns(self, io: DiskIo, now_ns: int) -> int | None:
        """How long ``io``, begun at ``now_ns``, blocks its process. Draws from the disk's stream if ``io`` is a sync.

        A write only fills the page cache and is cheap even on a stalled disk. A sync stands in the device's queue.
        Truncate and delete go through the file system's journal: they wait with it while the device hangs. None: the
        device is stuck and will not answer.
        """
        pages = max(1, -(-io.length // _PAGE_BYTES))
        if io.op == "write":
            return pages * self.profile.write_ns
        if io.op == "sync":
            drawn_ns = self.profile.draw_sync_ns(self._rng)
            return self.device.serve_ns(now_ns, self.profile.write_ns if self.lies else drawn_ns)
        if not self.device.hangs(now_ns):
            return self.profile.write_ns
        return self.device.serve_ns(now_ns, self.profile.write_ns)

    def complete(self, io: DiskIo, now_ns: int = 0) -> None:
        """Virtual time has passed ``io``: it is in the page cache or, for a sync, what preceded it is durable.

        Operations of one file complete in the order they were issued. Raises `ValueError` otherwise.
        """
        issued = self._issued  # as a rule one process alone uses the disk, and the oldest is meant
        operation = issued.popleft() if issued and issued[0].io is io else self._take(io)
        if io.op == "sync":
            self.syncs += 1
            if not self.lies:
                self._sync(io.file)
            return
        self._unsynced.append(operation)
        if io.file not in self._dirty_since_ns:
            self._dirty_since_ns[io.file] = now_ns
        if io.op == "write":
            self.writes += 1
            self.written_bytes += io.length

    def _take(self, io: DiskIo) -> Operation:
        """The oldest issued operation of this file, which must be ``io``."""
        index = next((index for index, issued in enumerate(self._issued) if issued.io.file == io.file), None)
        if index is None or self._issued[index].io != io:
            raise ValueError(f"not the next operation of its file: {io}")
        operation = self._issued[index]
        del self._issued[index]
        return operation

    def next_write_back_ns(self) -> int | None:
        """When the kernel will next write something out of itself; None if nothing is dirty.

        Its flusher wakes every 5 s and takes the files that have been dirty for more than 30 s (Linux:
        ``dirty_writeback_centisecs`` 500, ``dirty_expire_centisecs`` 3000).
        """
        if not self._dirty_since_ns:
            return None
        expired_ns = min(self._dirty_since_ns.values()) + DIRTY_EXPIRE_NS
        return (expired_ns // FLUSHER_WAKES_NS + 1) * FLUSHER_WAKES_NS

    def write_back(self, now_ns: int) -> list[str]:
        """The kernel's flusher wakes: what it writes out becomes durable. The names of these files, oldest first.

        Nothing happens while the device is stuck, stalls, or answers with errors.
        """
        if self.io_error or self.device.stuck or self.device.stalled_until_ns > now_ns:
            return []
        expired = [name for name, since_ns in self._dirty_since_ns.items() if since_ns + DIRTY_EXPIRE_NS < now_ns]
        for name in expired:
            self.device.serve_ns(now_ns, self.profile.sync_median_ns)
            self._sync(name)
        return expired

    def stall(self, until_ns: int) -> None:
        """The device answers nothing before ``until_ns``."""
        self.device.stalled_until_ns = until_ns

    def process_died(self) -> None:
        """The process with the databases was killed. Its completed writes stay, the others were never made.

        Its connections are closed, without the checkpoint of an orderly close, and can write no more.
        """
        self._issued = deque(operation for operation in self._issued if operation.io.file not in self._vfs.touched)
        self._undrained.clear()
        self._vfs.abandon()
        files = self._page_cache()
        for operation in self._issued:  # what other processes issued they still see
            operation.apply(files)
        self._vfs = DiskVfs(files, self._issue)

    def surviving(self, rng: Random | None = None) -> Files:
        """What a power cut at this moment would leave: copies of the files.

        With ``rng`` the kernel was writing back at that moment: each unsynced operation is, by chance, lost, kept or
        (a write) torn between 512-byte sectors. A drive with power-loss protection tears nothing; it is modelled as
        keeping exactly what was synced.
        """
        files = _copy(self._durable)
        if rng is not None and not self.profile.power_loss_protection:
            _write_back_some(self._unsynced, files, rng)
        return files

    def crash(self, rng: Random | None = None) -> Disk:
        """Cut the power: a new disk with what is `surviving`, on the same device. This one is closed."""
        self.close()
        files = self.surviving(rng)
        self.device.power_cut()
        disk = Disk(self.profile, self._rng, files, self.device)
        disk.full, disk.io_error, disk.lies = self.full, self.io_error, self.lies
        disk.writes, disk.syncs, disk.written_bytes = self.writes, self.syncs, self.written_bytes
        return disk

    def close(self) -> None:
        """Close all connections, without effect on the content, and unregister the VFS. May be called twice."""
        if not self._closed:
            self._closed = True
            self._vfs.abandon()

    # ------------------------------------------------------------------------------------- inside

    def _issue(self, operation: Operation) -> int:
        if (self.full or self.io_error) and (refusal := self._refusal(operation.io)):
            return refusal
        self._issued.append(operation)
        self._undrained.append(operation.io)
        return 0

    def _refusal(self, io: DiskIo) -> int:
        """The errno with which the disk's faults answer ``io``, or 0."""
        if self.io_error:
            return errno.EIO
        grows = io.op == "write" and io.offset + io.length > len(self._vfs.files.get(io.file, b""))
        return errno.ENOSPC if self.full and grows else 0

    def _page_cache(self) -> Files:
        files = _copy(self._durable)
        for operation in self._unsynced:
            operation.apply(files)
        return files

    def _sync(self, file: str) -> None:
        """Make ``file`` durable, and every earlier delete: a file system's journal commits names in order.

        SQLite relies on it: it does not sync the directory after it deleted a journal, and a rollback journal that came
        back after later syncs would undo a database that has moved on.
        """
        last_delete = {done.io.file: index for index, done in enumerate(self._unsynced) if done.io.op == "delete"}
        remaining = []
        for index, operation in enumerate(self._unsynced):
            if operation.io.file == file or index <= last_delete.get(operation.io.file, -1):
                operation.apply(self._durable)
            else:
                remaining.append(operation)
        self._unsynced = remaining
        dirty = {operation.io.file for operation in remaining}
        self._dirty_since_ns = {name: ns for name, ns in self._dirty_since_ns.items() if name in dirty}


def _copy(files: Mapping[str, bytes | Image]) -> Files:
    return {name: content.copy() if isinstance(content, Image) else Image(content) for name, content in files.items()}


def _write_back_some(operations: list[Operation], files: Files, rng: Random) -> None:
    """Apply by chance some of ``operations``: a quarter whole, a quarter torn, half not at all."""
    undeleted: set[str] = set()  # the old file is back, so nothing written to its successor can show
    for operation in operations:
        fate = rng.getrandbits(2)
        io = operation.io
        if io.file in undeleted:
            continue
        if fate == 0:
            operation.apply(files)
        elif io.op == "delete":
            undeleted.add(io.file)
        elif fate == 1 and io.op == "write":
            for piece in _sectors(operation):
                if rng.getrandbits(1):
                    piece.apply(files)


def _sectors(operation: Operation) -> list[Operation]:
    """The write cut at sector boundaries of its file."""
    io, data = operation.io, operation.data
    end = io.offset + io.length
    cuts = [io.offset, *range((io.offset // _SECTOR_BYTES + 1) * _SECTOR_BYTES, end, _SECTOR_BYTES), end]
    return [
        Operation(DiskIo("write", io.file, start, stop - start), data[start - io.offset : stop - io.offset])
        for start, stop in itertools.pairwise(cuts)
    ]
