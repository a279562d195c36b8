"""The file system SQLite sees: an APSW VFS over images in memory, which reports every operation SQLite issues.

A `DiskVfs` is one *process'* view of a disk. SQLite runs a whole transaction at one instant of virtual time, so its
view runs ahead of the disk: the view has every operation at once, the disk gets them one by one as virtual time passes
(`totemviz.sim.disk`). When the process dies its view is abandoned with it; a connection that is still open then
scribbles on an image nobody reads.

Two things are not what a real unix VFS does, and both are invisible to pmxcfs: APSW offers no shared memory, so WAL
needs exclusive locking (pmxcfs is the only process on its database anyway) and there is no ``-shm`` file; and there are
no locks: a database may be open once.
"""

# ruff: noqa: N802, D102 -- SQLite names the methods it calls, and documents them

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias, cast

import apsw
import msgspec

from totemviz.pmxcfs.effects import DiskIo
from totemviz.sim.image import Image

Files: TypeAlias = dict[str, Image]
"""File contents by name."""

_SQLITE_ERROR = {errno.EIO: apsw.SQLITE_IOERR, errno.ENOSPC: apsw.SQLITE_FULL}
_EPOCH_DAY = 2440587.5  # 1970-01-01 as a Julian day: no clock is read here
_serial = itertools.count(1)


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One I/O with the data it carries. A truncate's ``io.offset`` is the new size; a sync carries nothing."""

    io: DiskIo
    data: bytes = b""

    def apply(self, files: Files) -> None:
        """Do to ``files`` what this operation does to a disk; gaps read as zeros. A sync changes no content."""
        io = self.io
        op, file, offset = io.op, io.file, io.offset
        if op == "sync":
            return
        if op == "delete":
            files.pop(file, None)
            return
        image = files.get(file)
        if image is None:
            image = files[file] = Image()
        if op == "truncate":
            image.truncate(offset)
        else:
            image.write(offset, self.data)


class DiskVfs(apsw.VFS):
    """A registered VFS over ``files``. ``issue`` hears of each operation first and answers 0 or an errno."""

    def __init__(self, files: Files, issue: Callable[[Operation], int]) -> None:
        self.name = f"totemviz-disk-{next(_serial)}"
        self.files = files
        self.databases: set[str] = set()
        """Names of the databases open now."""
        self.touched: set[str] = set()
        """Names of all files SQLite ever opened here: databases, journals and WALs."""
        self._issue = issue
        self._connections: list[apsw.Connection] = []
        super().__init__(self.name)

    def connect(self, name: str) -> apsw.Connection:
        """Open database ``name``, creating it if absent, ready for WAL. Raises `apsw.BusyError` if it is open."""
        if name in self.databases:
            raise apsw.BusyError(f"{name} is open already: a virtual disk has no locks between connections")
        _seed_sqlite()
        connection = apsw.Connection(name, vfs=self.name)
        # Without it SQLite wants shared memory for WAL and quietly stays in journal_mode=delete.
        if connection.pragma("locking_mode", "exclusive") != "exclusive":  # pragma: no cover
            raise RuntimeError("SQLite refused locking_mode=exclusive")
        self._connections.append(connection)
        return connection

    def abandon(self) -> None:
        """The process is gone: report nothing any more, close what it left open and unregister."""
        self._issue = lambda _: 0
        for connection in self._connections:
            with suppress(apsw.ConnectionClosedError):  # its owner closed it in time
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(True)
        self.unregister()

    def perform(self, op: str, file: str, offset: int = 0, length: int = 0, data: bytes = b"") -> None:
        """Issue one operation and apply it to the view. Raises `apsw.IOError` or `apsw.FullError` if it is refused."""
        operation = Operation(DiskIo(op, file, offset, length), data)
        if refusal := self._issue(operation):
            raise apsw.exception_for(_SQLITE_ERROR[refusal])
        operation.apply(self.files)

    # ------------------------------------------------------------------------------------- what SQLite calls

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return cast(apsw.VFSFile, _TemporaryFile())
        file = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        self.files.setdefault(file, Image())
        self.touched.add(file)
        return cast(apsw.VFSFile, _DiskFile(self, file, bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)))

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.perform("delete", filename)
        if syncdir:  # the unix VFS syncs the directory; what it costs is a sync
            self.perform("sync", filename)

    def xAccess(self, pathname: str, flags: int) -> bool:
        return pathname in self.files

    def xFullPathname(self, name: str) -> str:
        return name

    def xGetLastError(self) -> tuple[int, str | None]:
        return 0, None

    def xRandomness(self, numbytes: int) -> bytes:
        return bytes(numbytes)

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xCurrentTime(self) -> float:
        return _EPOCH_DAY

    def xCurrentTimeInt64(self) -> int:
        return int(_EPOCH_DAY * 86_400_000)


class _MemoryFile:
    """What every open file answers; SQLite is told of the same device as by its unix VFS."""

    content: Image

    def xRead(self, amount: int, offset: int) -> bytes:
        return self.content.read(offset, amount)

    def xFileSize(self) -> int:
        return len(self.content)

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        # Without powersafe overwrite SQLite pads every commit to a sector: more than twice the writes of a real pmxcfs.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE | getattr(apsw, "SQLITE_IOCAP_SUBPAGE_READ", 0)


class _DiskFile(_MemoryFile):
    """An open file of a disk."""

    def __init__(self, vfs: DiskVfs, file: str, is_database: bool) -> None:
        self._vfs = vfs
        self._file = file
        if is_database:
            vfs.databases.add(file)

    @property
    def content(self) -> Image:  # type: ignore[override]
        return self._vfs.files.setdefault(self._file, Image())

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.perform("write", self._file, offset, len(data), bytes(data))

    def xTruncate(self, size: int) -> None:
        self._vfs.perform("truncate", self._file, size)

    def xSync(self, flags: int) -> None:
        self._vfs.perform("sync", self._file)

    def xClose(self) -> None:
        self._vfs.databases.discard(self._file)


class _TemporaryFile(_MemoryFile):
    """SQLite's own scratch file: unlinked at birth, never synced, never on the disk."""

    def __init__(self) -> None:
        self.content = Image()

    def xWrite(self, data: bytes, offset: int) -> None:
        self.content.write(offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self.content.truncate(size)

    def xSync(self, flags: int) -> None:
        pass

    def xClose(self) -> None:
        pass


class _Seed(apsw.VFS):
    """The default VFS for the moment in which SQLite seeds its generator."""

    def __init__(self) -> None:
        super().__init__("totemviz-seed", makedefault=True)

    def xRandomness(self, numbytes: int) -> bytes:
        return bytes(index & 0xFF for index in range(numbytes))


def _seed_sqlite() -> None:
    """Make SQLite's random numbers, and with them the salts in a WAL's header, the same in every run.

    SQLite has one generator per process and seeds it from the *default* VFS, whatever VFS a connection uses.
    """
    seed = _Seed()
    apsw.randomness(0)  # forget
    apsw.randomness(1)  # seed
    seed.unregister()
