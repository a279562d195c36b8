"""What can be read of a pmxcfs process without asking the cluster: the tree as its node has it."""

from __future__ import annotations

import msgspec

from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.plugs import Attributes, FileSystem, Plugs
from totemviz.pmxcfs.process import Process


class FileInfo(msgspec.Struct, frozen=True):
    """One line of a listing. ``size`` in bytes, ``mtime`` in seconds."""

    path: str
    directory: bool
    size: int
    version: int
    writer: int
    mtime: int


class Shown:
    """Everything that looks at the tree and changes nothing. A part of ``machine.Pmxcfs``."""

    memdb: Memdb
    _plugs: Plugs
    _process: Process
    _running: bool

    def listing(self) -> tuple[FileInfo, ...]:
        """The tree, each directory before its content, names sorted."""
        return tuple(
            FileInfo(path, entry.is_directory, entry.size, entry.version, entry.writer, entry.mtime)
            for path, entry in self.memdb.walk()
        )

    def read(self, path: str) -> bytes:
        """The bytes of a file as this node has them; never waits for the cluster. Raises FileNotFoundError."""
        path = self.resolved(path)
        if (text := self._plugs.text(path)) is not None:
            return text.encode()
        data = self.memdb.read(path)
        if data is None:
            raise FileNotFoundError(path)
        return data

    def stat(self, path: str) -> Attributes:
        """``lstat`` below /etc/pve. Raises FileNotFoundError."""
        found = self._plugs.attributes(self.resolved(path))
        if found is None:
            raise FileNotFoundError(path)
        return found

    def names(self, path: str) -> list[str]:
        """The names in a directory, those made on the fly included; empty for anything else."""
        return self._plugs.names(self.resolved(path))

    def link(self, path: str) -> str | None:
        """Where a symbolic link of /etc/pve points, None for anything else."""
        return self._plugs.link(path.strip("/"))

    def file_system(self) -> FileSystem:
        """``statfs`` of /etc/pve."""
        return self._plugs.file_system()

    @property
    def version(self) -> int:
        """The version of the tree."""
        return self.memdb.version

    @property
    def quorate(self) -> bool:
        """Whether writes are allowed, as far as this process knows."""
        return self._process.quorate

    def resolved(self, path: str) -> str:
        """The path without slashes around it, and through the symbolic links that every node shows differently.

        A link itself is not followed: what is done to it is done to the link.
        """
        first, slash, rest = path.strip("/").partition("/")
        target = self._plugs.link(first) if slash and self._running else None
        return (first if target is None else target) + slash + rest
