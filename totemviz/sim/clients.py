"""Programs that work below /etc/pve, one system call after the other, each waiting for its answer.

What they do stands in ``tools``. Here they are run: every call, its answer and the program's end are events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from totemviz.pmxcfs.effects import FuseReply
from totemviz.pmxcfs.errors import Errno
from totemviz.sim import tools
from totemviz.sim.threads import PMXCFS
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.world import World


Then = Callable[[int, int], None]
"""Told the program's result and the event with which it ended."""


class _Running:
    """A program on its way."""

    def __init__(self, write: int, node: int, program: tools.Program, started_ns: int, then: Then | None) -> None:
        self.write = write
        self.node = node
        self.program = program
        self.started_ns = started_ns
        self.then = then
        self.result: int | None = None
        self.over = False


class Clients:
    """All programs of the cluster."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._writes = 0
        self._call_ids = 0
        self._in_call: dict[int, _Running] = {}
        self._running: dict[int, _Running] = {}

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
        path, look = self._in_tree(node, path), self.look(node)
        if replace:
            program = tools.replace_file(look, path, f"{path}.tmp.{self._writes + 1}", content)
        else:
            program = tools.shell_write(look, path, content)
        self.run(node, path, program, cause, size=len(content), then=then)

    def call(self, node: int, operation: str, path: str, cause: int, then: Then, **arguments: Any) -> None:
        """Make one system call, and tell ``then`` what it returned."""
        path = self._in_tree(node, path)
        self.run(node, path, tools.one_call(tools.Call(operation, path, **arguments)), cause, then=then)

    def change(self, node: int, operation: str, path: str, to: str, cause: int) -> None:
        """Begin a change of a single system call: mkdir, rename or delete."""
        path = self._in_tree(node, path)
        call = tools.Call(operation, path, self._in_tree(node, to) if to else "")
        self.run(node, path, tools.one_call(call), cause)

    def run(
        self,
        node: int,
        path: str,
        program: tools.Program,
        cause: int,
        *,
        size: int = 0,
        then: Then | None = None,
    ) -> None:
        """Run a program on a node; ``path`` and ``size`` in bytes say what it is about."""
        self._writes += 1
        event = self._world.record(node, cause, ev.WriteStarted(self._writes, path, size))
        self._running[self._writes] = running = _Running(self._writes, node, program, self._world.now_ns, then)
        self._step(running, event)

    def look(self, node: int) -> tools.Look:
        """How a program on this node sees its tree."""

        def look(path: str) -> bytes | None:
            pmxcfs = self._world.hosts[node].pmxcfs
            entry = None if pmxcfs is None else pmxcfs.memdb.lookup(path)
            return None if entry is None else entry.data

        return look

    def process(self, node: int) -> tools.Process:
        """A new process on a node that is going to run a tool."""
        host = self._world.hosts[node]
        now_ns = self._world.now_ns
        return tools.Process(host.next_pid(), host.info.name, host.wall_s, now_ns)

    def _in_tree(self, node: int, path: str) -> str:
        """The path inside the tree, the node's symbolic links followed."""
        path = path.removeprefix("/etc/pve").strip("/")
        pmxcfs = self._world.hosts[node].pmxcfs
        return path if pmxcfs is None else pmxcfs.resolved(path)

    def reply(self, node: int, reply: FuseReply, event: int) -> None:
        """A system call returned."""
        running = self._in_call.pop(reply.call_id, None)
        if running is not None:
            running.result = reply.result
            if reply.result < 0:
                self._step(running, event)
            else:
                pause_ns = int(self._world.scenario.programs.between_calls)
                self._world.scheduler.after(pause_ns, self._step, running, event)

    def pmxcfs_died(self, node: int, event: int) -> None:
        """The kernel breaks off what a dead FUSE daemon has not answered (Linux, fs/fuse/dev.c: fuse_abort_conn)."""
        for call_id, running in list(self._in_call.items()):
            if running.node == node:
                del self._in_call[call_id]
                running.result = -Errno.ECONNABORTED
                self._step(running, event)

    def power_off(self, node: int, cause: int) -> None:
        """Programs die with their host, whether they wait in a call or sleep."""
        self._in_call = {call_id: running for call_id, running in self._in_call.items() if running.node != node}
        for running in [running for running in self._running.values() if running.node == node]:
            running.then = None
            self._finish(running, None, cause)

    def _step(self, running: _Running, cause: int) -> None:
        """Let a program do what comes next, to the call or sleep it waits in."""
        host = self._world.hosts[running.node]
        while not running.over:
            result, running.result = running.result, None
            try:
                step = next(running.program) if result is None else running.program.send(result)
            except StopIteration as end:
                self._finish(running, end.value, cause)
                return
            if isinstance(step, tools.Call):
                refused = self._call(running, host, step, cause)
                if refused is None:
                    return
                cause, running.result = refused, -Errno.ENOTCONN
                continue
            if isinstance(step, tools.Sleep):
                self._world.scheduler.after(step.delay_ns, self._step, running, cause)
                return
            self._say(running, host, step, cause)

    def _call(self, running: _Running, host: Host, call: tools.Call, cause: int) -> int | None:
        """Make a system call; its event if the kernel refuses it at once, for want of a daemon behind /etc/pve."""
        self._call_ids += 1
        body = ev.SystemCalled(running.write, self._call_ids, call.operation, call.path)
        event = self._world.record(running.node, cause, body)
        if host.pmxcfs is None:
            return event
        self._in_call[self._call_ids] = running
        host.system_call(self._call_ids, event, call)
        return None

    def _say(self, running: _Running, host: Host, step: tools.Say, cause: int) -> None:
        if host.pmxcfs is not None:
            outputs = host.pmxcfs.add_log(self._world.now_ns, "root@pam", step.tag, running.write, step.message)
            host.carry_out(PMXCFS, outputs, cause)

    def _finish(self, running: _Running, result: int | None, cause: int) -> None:
        world = self._world
        running.over = True
        del self._running[running.write]
        took_ns = world.now_ns - running.started_ns
        event = world.record(running.node, cause, ev.WriteFinished(running.write, result, took_ns))
        if running.then is not None and result is not None:
            running.then(result, event)
