"""CPG clients of a scenario: programs that read a group's messages, or flood it.

Each is a process of its own that can be stopped and killed, with one connection to the corosync of its host. What it
does when corosync turns it away is what most clients do: it tries again a little later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from totemviz.corosync.effects import CpgError
from totemviz.sim.cpg_handle import ClientEvent, CpgHandle
from totemviz.sim.processes import IPC_NS
from totemviz.sim.threads import Job
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host

JOIN_RETRY_NS = 100_000_000
SECOND_NS = 1_000_000_000


class Program:
    """One CPG client: it joins a group and reads; ``flood`` makes it send as well."""

    def __init__(self, host: Host, name: str, pid: int, client: int, group: str) -> None:
        self.name = name
        self.group = group
        self.received = 0
        self._host = host
        self._world = host.world
        self._pid = pid
        self._joined = False
        self._flood: Flood | None = None
        self.handle = CpgHandle(host, name, client, self._event)
        self._event_id = -1

    def start(self, cause: int) -> None:
        """Begin: connect and join."""
        self._event_id = self._host.record(cause, ev.ProcessStarted(self.name, self._pid))
        self._join()

    def flood(self, count: int, size: int, rate: float, retry_ns: int, cause: int) -> None:
        """Send ``count`` messages of ``size`` bytes, ``rate`` a second (0: as fast as it goes), once it is a member."""
        every_ns = max(round(SECOND_NS / rate), IPC_NS) if rate else IPC_NS
        self._flood = Flood(self, self._host, count, size, every_ns, retry_ns, cause)
        if self._joined:
            self._flood.send()

    def _join(self) -> None:
        self.handle.join(self._pid, self.group, self._event_id, self._join_answered)

    def _join_answered(self, error: CpgError) -> None:
        if error is CpgError.TRY_AGAIN:
            self.later(JOIN_RETRY_NS, self._join)
        elif error is not CpgError.OK:
            self._host.local_ipc.end_program(self.name, self._event_id)

    def _event(self, body: ClientEvent, event: int) -> None:
        self.received += 1
        if (
            not self._joined
        ):  # its own join is the first thing it hears of; before, a large message would be interrupted
            self._joined = True
            if self._flood is not None:
                self._flood.send()

    def later(self, delay_ns: int, run: Callable[[], None]) -> None:
        """Sleep, then go on if the program still lives, and when it is not stopped."""
        self._world.scheduler.after(delay_ns, self._wake, run)

    def _wake(self, run: Callable[[], None]) -> None:
        if self._host.local_ipc.programs.get(self.name) is self:
            self._host.processes.post(Job(self.name, run))


class Flood:
    """Messages that a program sends, one call after the other."""

    def __init__(
        self, program: Program, host: Host, count: int, size: int, every_ns: int, retry_ns: int, cause: int
    ) -> None:
        self._program = program
        self._host = host
        self._count = count
        self._size = size
        self._every_ns = every_ns
        self._retry_ns = retry_ns
        self._cause = cause
        self._sent = 0
        self._retries = 0
        self._started_ns = host.world.now_ns
        self._refused_since_ns = -1
        self._longest_refusal_ns = 0

    def send(self) -> None:
        """The next message."""
        number = self._sent + 1
        payload = number.to_bytes(8, "little")[: self._size].ljust(self._size, b"\0")
        self._program.handle.mcast(payload, self._cause, self._answered)

    def _answered(self, error: CpgError) -> None:
        if error is CpgError.TRY_AGAIN:
            self._refused()
            return
        if error is not CpgError.OK:
            self._finish()
            return
        self._accepted()
        self._sent += 1
        if self._sent == self._count:
            self._finish()
        else:
            self._program.later(self._every_ns, self.send)

    def _refused(self) -> None:
        self._retries += 1
        if self._refused_since_ns < 0:
            self._refused_since_ns = self._host.world.now_ns
            self._host.record(self._cause, ev.CpgRefused(self._program.name, self._program.handle.client))
        self._program.later(self._retry_ns, self.send)

    def _accepted(self) -> None:
        if self._refused_since_ns >= 0:
            took_ns = self._host.world.now_ns - self._refused_since_ns
            self._longest_refusal_ns = max(self._longest_refusal_ns, took_ns)
            self._refused_since_ns = -1

    def _finish(self) -> None:
        took_ns = self._host.world.now_ns - self._started_ns
        body = ev.FloodFinished(self._program.name, self._sent, self._retries, self._longest_refusal_ns, took_ns)
        self._host.record(self._cause, body)
