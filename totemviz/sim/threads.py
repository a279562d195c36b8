"""A host: its processes, the threads they run on, its disk. A thread that is blocked queues its input.

The two host models differ in one thing, how processes share threads:

* ``article``: one blocking loop per host. While the disk syncs a change, nothing else runs, the token included.
* ``measured``: corosync and pmxcfs are separate processes, as on a real node (``measured.md`` §4, §5); and a system
  call enters pmxcfs through its own FUSE thread even while pmxcfs' main loop waits for the disk.

A handler runs at one moment of virtual time; what it asked for is carried out in order, and an fsync in the middle
delays the rest until the disk has answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from totemviz.corosync.ipc import FLUSH_TIMER, RECHECK_TIMER
from totemviz.corosync.watches import FORMATION_WATCH, SCHEDULER_WATCH
from totemviz.totem.effects import TotemTimer

COROSYNC, PMXCFS = "corosync", "pmxcfs"

Actions: TypeAlias = dict[type, Callable[[str, Any, int], int]]
"""How to carry out an effect: (process, effect, cause) → the event it was recorded as, -1 if as none."""

NOTICEABLE_BLOCK_NS = 1_000_000
"""A thread busy for less than this is not announced as blocked; its fsync events tell."""


class HostModel(StrEnum):
    """How processes of one host share threads, and how SQLite is told to sync."""

    ARTICLE = "article"
    MEASURED = "measured"

    @property
    def threads(self) -> tuple[tuple[str, ...], ...]:
        """The processes on each thread."""
        return ((COROSYNC, PMXCFS),) if self is HostModel.ARTICLE else ((COROSYNC,), (PMXCFS,))

    @property
    def synchronous(self) -> Literal["FULL", "NORMAL"]:
        """SQLite's ``PRAGMA synchronous`` of config.db."""
        return "FULL" if self is HostModel.ARTICLE else "NORMAL"


class Job:
    """An input to a process: ``run`` handles it.

    A datagram has two more ends: ``waits`` records that it has to wait for a blocked thread, ``lose`` that it is thrown
    away unread, because of an event.
    """

    __slots__ = ("lose", "process", "run", "waits")

    def __init__(
        self,
        process: str,
        run: Callable[[], None],
        waits: Callable[[], None] | None = None,
        lose: Callable[[int], None] | None = None,
    ) -> None:
        self.process = process
        self.run = run
        self.waits = waits
        self.lose = lose


class Wait:
    """One wait of a process in the kernel, with the signals that reach it afterwards."""

    __slots__ = ("pending", "process")

    def __init__(self, process: str) -> None:
        self.process = process
        self.pending: list[Callable[[], None]] = []


class Thread:
    """One thread of control. ``blocked`` while it waits; jobs and due timers queue up meanwhile.

    It waits because it is ``paused``, or in the kernel: then ``wait`` says so.
    """

    def __init__(self, processes: tuple[str, ...]) -> None:
        self.processes = processes
        self.blocked = False
        self.paused = False
        self.wait: Wait | None = None
        self.announced_event = -1
        self.blocked_since_ns = 0
        self.inbox: deque[Job] = deque()
        self.due_timers: list[tuple[str, str]] = []
        self.rest: deque[tuple[str, tuple[Any, ...], int, int]] = deque()

    def post(self, job: Job) -> None:
        """Run the job now, or keep it until the thread is free."""
        if self.blocked:
            if job.waits is not None:
                job.waits()
            self.inbox.append(job)
        else:
            job.run()


class Timers:
    """The running timers of a host's processes, (process, timer) → deadline, with few entries on the heap.

    Restarting a timer only moves its deadline; the heap entry that is already there looks at the deadline when its time
    comes. A token resets three timers at every hop, so this matters.
    """

    def __init__(self, schedule_at: Callable[..., None], due: Callable[[str, str], None]) -> None:
        self._schedule_at = schedule_at
        self._due = due
        self._running: dict[tuple[str, str], tuple[int, int]] = {}
        """Deadline and cause of those that run."""
        self._on_heap: dict[tuple[str, str], int] = {}

    def set(self, process: str, timer: str, deadline_ns: int, cause: int) -> None:
        """(Re)start a timer; ``cause`` is the event it will name when it expires."""
        key = (process, timer)
        self._running[key] = deadline_ns, cause
        waiting = self._on_heap.get(key)
        if waiting is None or waiting > deadline_ns:
            self._on_heap[key] = deadline_ns
            self._schedule_at(deadline_ns, self._look, key, deadline_ns)

    def cancel(self, process: str, timer: str) -> None:
        """Stop a timer."""
        self._running.pop((process, timer), None)

    def cancel_all(self, process: str) -> None:
        """The process died."""
        for key in [key for key in self._running if key[0] == process]:
            del self._running[key]

    def take(self, process: str, timer: str, now_ns: int) -> tuple[int, int] | None:
        """Deadline and cause of a timer that is due, which stops it; None if it was moved or cancelled meanwhile."""
        running = self._running.get((process, timer))
        if running is None or running[0] > now_ns:
            return None
        del self._running[process, timer]
        return running

    def deadline_ns(self, process: str, timer: str) -> int | None:
        """When the timer will expire."""
        running = self._running.get((process, timer))
        return None if running is None else running[0]

    def _look(self, key: tuple[str, str], scheduled_ns: int) -> None:
        if self._on_heap.get(key) != scheduled_ns:
            return  # an earlier entry took over
        del self._on_heap[key]
        running = self._running.get(key)
        if running is None:
            return
        deadline_ns, _ = running
        if deadline_ns > scheduled_ns:
            self._on_heap[key] = deadline_ns
            self._schedule_at(deadline_ns, self._look, key, deadline_ns)
        else:
            self._due(*key)


QUIET_TIMERS: frozenset[str] = frozenset(
    {TotemTimer.PAUSE, SCHEDULER_WATCH, FORMATION_WATCH, RECHECK_TIMER, FLUSH_TIMER}
)
"""Timers whose expiry only rearms them: not worth an event, unless something is said."""
