"""In which order corosync's main loop takes what waited while it did not run (libqb, ``loop.c: qb_loop_run``).

While it runs, everything is handled at the moment it happens and there is nothing to order. After a stop there is: the
loop has three levels and takes at most four items of each in a pass, from the highest level down to one that changes
from pass to pass. A pass first looks for timers that are due, then for descriptors that are readable; a descriptor is
one item, however much there is to read, and one datagram is read from a socket at a time.

A process that is stopped sleeps in epoll_wait, behind the place where timers are looked at. So after SIGCONT the first
pass finds descriptors only, and one datagram is read before any timer. Over knet it is the same although knet's socket
has a higher level than timers: knet's own threads were stopped too, and hand over one datagram after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from functools import partial

from totemviz.corosync.ipc import QueueLevel
from totemviz.sim.threads import Job, Thread

ITEMS_PER_PASS = 4


class LoopLevel(IntEnum):
    """Priority of an item."""

    LOW = 0
    MED = 1
    HIGH = 2


IPC_LEVELS = {
    QueueLevel.LOW: LoopLevel.HIGH,
    QueueLevel.GOOD: LoopLevel.MED,
    QueueLevel.HIGH: LoopLevel.LOW,
    QueueLevel.CRITICAL: LoopLevel.LOW,
}
"""Level of the clients' connections, by how full the send queue is (``ipcs.c: qb_ipcs_request_rate_limit``)."""


class MainLoop:
    """Takes a thread's due timers and inputs in libqb's order; ``expire`` runs a timer of a process."""

    def __init__(self, thread: Thread, expire: Callable[[str, str], None]) -> None:
        self._thread = thread
        self._expire = expire
        self._lowest = LoopLevel.HIGH
        self._ready: dict[LoopLevel, deque[Job]] = {level: deque() for level in LoopLevel}

    def __len__(self) -> int:
        """Items that were found ready and not handled yet."""
        return sum(map(len, self._ready.values()))

    def forget(self, process: str) -> None:
        """The process is gone."""
        for level, jobs in self._ready.items():
            self._ready[level] = deque(job for job in jobs if job.process != process)

    def catch_up(self, ipc_level: LoopLevel, *, slept: bool) -> None:
        """Run passes until nothing is left or the thread waits again; ``slept``: it was stopped in epoll_wait."""
        thread = self._thread
        while not thread.blocked and (thread.due_timers or thread.inbox or len(self)):
            self._lowest = LoopLevel.HIGH if self._lowest is LoopLevel.LOW else LoopLevel(self._lowest - 1)
            if not slept:
                self._find_timers()
            slept = False
            self._find_inputs(ipc_level)
            for level in (LoopLevel.HIGH, LoopLevel.MED, LoopLevel.LOW):
                if level >= self._lowest:
                    self._run(level)

    def _find_timers(self) -> None:
        for process, timer in self._thread.due_timers:
            self._ready[LoopLevel.MED].append(Job(process, partial(self._expire, process, timer)))
        self._thread.due_timers.clear()

    def _find_inputs(self, ipc_level: LoopLevel) -> None:
        """Every readable descriptor that is not in a list already: the socket once, and each client."""
        socket_is_listed = any(job.waits is not None for job in self._ready[LoopLevel.MED])
        stay: deque[Job] = deque()
        for job in self._thread.inbox:
            if job.waits is None:
                self._ready[ipc_level].append(job)
            elif socket_is_listed:
                stay.append(job)
            else:
                self._ready[LoopLevel.MED].append(job)
                socket_is_listed = True
        self._thread.inbox = stay

    def _run(self, level: LoopLevel) -> None:
        jobs = self._ready[level]
        for _ in range(ITEMS_PER_PASS):
            if not jobs or self._thread.blocked:
                return
            jobs.popleft().run()
