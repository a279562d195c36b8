"""The threads of pmxcfs, without threads (sheet §1.2, §1.4).

Real pmxcfs has code that *waits in the middle*: for libcpg, or for 100 ms because corosync is busy. Here such code is
a generator. It yields what it waits for, a CPG call or a ``Sleep``, and is resumed with the answer. So a handler
reads from top to bottom like the original, ``yield from`` marks every place where it can block, and what queues up
behind a blocked thread is exactly what queues up in reality.

    cfs_loop   one event after the other: CPG events, quorum, service starts
    writer     one for each state machine: whoever holds its sync_mutex; later writers wait behind
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

import msgspec

from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.effects import CpgCall
from totemviz.pmxcfs.process import Process, ProcessCrash
from totemviz.totem.effects import SetTimer

T = TypeVar("T")


class Sleep(msgspec.Struct, frozen=True):
    """Wait this long; everything behind this thread waits too."""

    delay_ns: int


Blocking: TypeAlias = Generator["CpgCall | Sleep", CpgError, T]
Job: TypeAlias = Callable[[], Blocking[None]]


class Thread:
    """Runs jobs one after the other. A job that waits keeps the thread; the jobs behind it stay in the queue."""

    def __init__(self, name: str, process: Process, answers: Answers) -> None:
        self.timer = f"{name} sleep"
        self._process = process
        self._answers = answers
        self._urgent: deque[Job] = deque()
        self._jobs: deque[Job] = deque()
        self._running: Blocking[None] | None = None

    def submit(self, job: Job, *, urgent: bool = False) -> None:
        """Run a job now if the thread is free, else later: all urgent ones before all others, each in their order."""
        (self._urgent if urgent else self._jobs).append(job)
        if self._running is None:
            self._run_queued()

    def resume(self, answer: CpgError = CpgError.OK) -> None:
        """Go on after a call or a sleep, then with the queue."""
        self._step(answer)
        if self._running is None:
            self._run_queued()

    def _run_queued(self) -> None:
        while self._running is None and (queue := self._urgent or self._jobs):
            self._running = queue.popleft()()
            self._step(None)

    def _step(self, answer: CpgError | None) -> None:
        """Run to the next wait or to the end of the job."""
        running = self._running
        assert running is not None, "a thread that does not wait was resumed"
        try:
            request = next(running) if answer is None else running.send(answer)
        except StopIteration:
            self._running = None
            return
        except ProcessCrash:
            return  # the job stays where it is, and no other follows
        if isinstance(request, Sleep):
            self._process.emit(SetTimer(self.timer, request.delay_ns))
        else:
            self._answers.expect(request.client, self)
            self._process.emit(request)


class Answers:
    """Which threads wait for libcpg, in the order of their calls: answers come back in that order."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Thread]] = {}

    def expect(self, client: int, thread: Thread) -> None:
        """Note that ``thread`` made a call on this connection."""
        self._waiting.setdefault(client, deque()).append(thread)

    def give(self, client: int, error: CpgError) -> None:
        """Resume the thread whose call was answered. An answer nobody waits for is dropped."""
        waiting = self._waiting.get(client)
        if waiting:
            waiting.popleft().resume(error)

    def fail_all(self) -> None:
        """Corosync is gone: calls it had not answered fail."""
        for client in sorted(self._waiting):
            for _ in range(len(self._waiting[client])):
                self.give(client, CpgError.LIBRARY)
