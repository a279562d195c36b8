"""Programs that write below /etc/pve, one system call after the other, each waiting for its answer.

A write is what a shell's ``echo … > path`` does: open with O_CREAT and O_TRUNC, then write. So a new file is a CREATE
and a WRITE; an existing one a truncating WRITE and a WRITE (pmxcfs sheet §8.3). Proxmox' own tools write a temporary
file and rename it: CREATE, WRITE, RENAME, and readers never see half a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from totemviz.pmxcfs.effects import FuseReply
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.world import World

REQUEST_BYTES = 128 * 1024
"""FUSE splits a write into requests of at most this size; each is a message of its own."""

BETWEEN_CALLS_NS = 10_000
EIO = 5

Call = tuple[str, str, dict[str, Any]]
Then = Callable[[int, int], None]
"""Told the last call's result and the event with which the program ended."""


class _Program:
    """One write on its way."""

    def __init__(self, write: int, node: int, path: str, calls: list[Call], started_ns: int, then: Then | None) -> None:
        self.write = write
        self.node = node
        self.path = path
        self.calls = deque(calls)
        self.started_ns = started_ns
        self.then = then


class Clients:
    """All programs of the cluster."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._writes = 0
        self._call_ids = 0
        self._running: dict[int, _Program] = {}

    def write(
        self,
        node: int,
        path: str,
        content: bytes,
        cause: int,
        *,
        replace: bool = False,
        then: Then | None = None,
    ) -> None:
        """Begin to write a file on a node; ``replace``: through a temporary file."""
        path = self._in_tree(node, path)
        written = f"{path}.tmp.{self._writes + 1}" if replace else path
        exists = self._exists(node, written)
        calls: list[Call] = [("write", written, {"truncate": True})] if exists else [("create", written, {})]
        calls.extend(
            ("write", written, {"data": content[offset : offset + REQUEST_BYTES], "offset": offset})
            for offset in range(0, len(content), REQUEST_BYTES)
        )
        if replace:
            calls.append(("rename", written, {"to": path}))
        self._begin(node, path, len(content), calls, cause, then)

    def call(self, node: int, operation: str, path: str, cause: int, then: Then, **arguments: Any) -> None:
        """Make one system call, and tell ``then`` what it returned."""
        path = self._in_tree(node, path)
        self._begin(node, path, 0, [(operation, path, arguments)], cause, then)

    def change(self, node: int, operation: str, path: str, to: str, cause: int) -> None:
        """Begin a change of a single system call: mkdir, rename or delete."""
        arguments = {"to": self._in_tree(node, to)} if to else {}
        path = self._in_tree(node, path)
        self._begin(node, path, 0, [(operation, path, arguments)], cause)

    def _begin(self, node: int, path: str, size: int, calls: list[Call], cause: int, then: Then | None = None) -> None:
        self._writes += 1
        event = self._world.record(node, cause, ev.WriteStarted(self._writes, path, size))
        self._next(_Program(self._writes, node, path, calls, self._world.now_ns, then), event, 0)

    def _in_tree(self, node: int, path: str) -> str:
        """The path inside the tree, the node's symbolic links followed."""
        path = path.removeprefix("/etc/pve").strip("/")
        pmxcfs = self._world.hosts[node].pmxcfs
        return path if pmxcfs is None else pmxcfs.resolved(path)

    def _exists(self, node: int, path: str) -> bool:
        """Whether this node's tree has the file now, as open(2) would find."""
        pmxcfs = self._world.hosts[node].pmxcfs
        try:
            return pmxcfs is not None and pmxcfs.read(path) is not None
        except FileNotFoundError:
            return False

    def reply(self, node: int, reply: FuseReply, event: int) -> None:
        """A system call returned."""
        program = self._running.pop(reply.call_id, None)
        if program is None:
            return
        if reply.result < 0:
            self._finish(program, reply.result, event)
        else:
            self._world.scheduler.after(BETWEEN_CALLS_NS, self._next, program, event, reply.result)

    def pmxcfs_died(self, node: int, event: int) -> None:
        """Calls into a dead FUSE daemon fail."""
        for call_id, program in list(self._running.items()):
            if program.node == node:
                del self._running[call_id]
                self._finish(program, -EIO, event)

    def _next(self, program: _Program, cause: int, result: int) -> None:
        world = self._world
        if not program.calls:
            self._finish(program, result, cause)
            return
        host = world.hosts[program.node]
        operation, path, arguments = program.calls.popleft()
        self._call_ids += 1
        body = ev.SystemCalled(program.write, self._call_ids, operation, path)
        event = world.record(program.node, cause, body)
        if host.pmxcfs is None:
            self._finish(program, -EIO, event)
            return
        self._running[self._call_ids] = program
        host.system_call(self._call_ids, event, operation, path, **arguments)

    def _finish(self, program: _Program, result: int, cause: int) -> None:
        world = self._world
        took_ns = world.now_ns - program.started_ns
        event = world.record(program.node, cause, ev.WriteFinished(program.write, result, took_ns))
        if program.then is not None:
            program.then(result, event)
