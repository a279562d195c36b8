"""Clients of votequorum on a host: the quorum device's daemon (corosync-qdevice) and the operator's tool.

What the device decides is the scenario's business; here is only how a node hears of it. The daemon registers once, then
polls: at half of the device's timeout, and at once when votequorum tells it of a new ring. If corosync is gone it tries
to come back every second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from totemviz.corosync import effects as cs
from totemviz.corosync.effects import CpgError
from totemviz.corosync.votequorum import Votequorum
from totemviz.sim.processes import IPC_NS
from totemviz.sim.threads import COROSYNC, Actions, Job
from totemviz.totem.config import MS
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.processes import Processes

GRANTED, WITHDRAWN, SILENT = "granted", "withdrawn", "silent"
VOTES = (GRANTED, WITHDRAWN, SILENT)
NAME = "Qdevice"
RETRY_NS = 1_000_000_000
REGISTRATION_NS = 100_000_000


class QuorumTools:
    """Both clients of one host."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self._host = host
        self._world = host.world
        self._processes = processes
        self._vote = SILENT
        self._life = 0  # of the loop that polls: a newer one makes the older end
        self.actions: Actions = {cs.DeviceAsked: self._device_asked}

    # ------------------------------------------------------------------------------------------------ quorum device

    def set_device(self, vote: str, event: int) -> None:
        """From now on the device grants its votes to this node, withholds them, or does not poll any more."""
        self._vote = vote
        self._poll_anew(event)

    def _device_asked(self, process: str, body: cs.DeviceAsked, cause: int) -> int:
        event = self._host.record(cause, body)
        self._poll_anew(event)
        return event

    def _poll_anew(self, cause: int) -> None:
        self._life += 1
        if self._vote != SILENT:
            self._after(IPC_NS, self._life, cause)

    def _after(self, delay_ns: int, life: int, cause: int) -> None:
        self._world.scheduler.after(delay_ns, self._poll, life, cause)

    def _poll(self, life: int, cause: int) -> None:
        """Ask for the poll; what comes of it decides when the next one is due."""
        if life != self._life or not self._host.powered:
            return
        if self._host.daemon is None:
            self._after(RETRY_NS, life, cause)
            return
        granted = self._vote == GRANTED
        options = self._world.conf.quorum

        def answered(error: CpgError) -> None:
            if error is CpgError.NOT_EXIST:
                self._ask(cause, lambda votequorum: votequorum.device.register(NAME), lambda _: None)
                self._after(REGISTRATION_NS, life, cause)
            elif error is CpgError.OK:
                if options.device_master_wins:
                    self._ask(cause, lambda votequorum: votequorum.device.set_master_wins(True, NAME), lambda _: None)
                self._after(options.device_timeout_ms * MS // 2, life, cause)
            else:  # it spoke of a ring that is gone, or corosync is not ready
                self._after(RETRY_NS, life, cause)

        self._ask(cause, lambda votequorum: votequorum.poll_device(votequorum.ring_id, granted, NAME), answered)

    # --------------------------------------------------------------------------------------------------- the operator

    def expect(self, votes: int, event: int) -> None:
        """``pvecm expected VOTES``, which is ``corosync-quorumtool -e VOTES``; the answer is an event."""

        def answered(error: CpgError) -> None:
            self._host.record(event, ev.ToolAnswered(f"pvecm expected {votes}", error.name))

        if self._host.daemon is None:
            answered(CpgError.LIBRARY)
            return
        self._ask(event, lambda votequorum: votequorum.set_expected(votes), answered)

    def _ask(self, cause: int, request: Callable[[Votequorum], CpgError], answered: Callable[[CpgError], None]) -> None:
        """A request to the daemon, which handles it when its thread is free."""
        self._world.scheduler.after(
            IPC_NS,
            self._processes.post,
            Job(COROSYNC, partial(self._run, cause, request, answered)),
        )

    def _run(self, cause: int, request: Callable[[Votequorum], CpgError], answered: Callable[[CpgError], None]) -> None:
        if self._host.daemon is None:
            answered(CpgError.LIBRARY)
            return
        error, outputs = self._host.daemon.ask_votequorum(self._world.now_ns, request)
        answered(error)
        self._host.carry_out(COROSYNC, outputs, cause)
