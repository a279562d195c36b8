"""Virtual time: one heap of (time, number). The number is the order of scheduling, so equal times have an order too.

Timers come last among what is due at the same time: libqb's loop, in which corosync and pmxcfs run, handles a datagram
at high and a timer at medium priority (``loop.c: qb_loop_run``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple


class Planned(NamedTuple):
    """An action that is going to be taken at a time; ``number`` is its place among those of the same time."""

    time_ns: int
    number: int
    action: Callable[..., None]
    args: tuple[Any, ...]


_AFTER_ALL_OTHERS = 1 << 62


class Scheduler:
    """Runs actions in order of virtual time; ``now_ns`` moves only when an action is taken.

    ``steps`` counts the actions taken.
    """

    __slots__ = ("_heap", "_number", "now_ns", "steps")

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self.steps = 0

    def at(self, time_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Run ``action(*args)`` at ``time_ns``, which must not lie in the past."""
        assert time_ns >= self.now_ns
        self._number += 1
        heappush(self._heap, (time_ns, self._number, action, args))

    def timer_at(self, time_ns: int, action: Callable[..., None], *args: Any) -> None:
        """The same for a timer: it waits for everything else that is due at ``time_ns``."""
        assert time_ns >= self.now_ns
        self._number += 1
        heappush(self._heap, (time_ns, _AFTER_ALL_OTHERS + self._number, action, args))

    def after(self, delay_ns: int, action: Callable[..., None], *args: Any) -> None:
        """Run ``action(*args)`` in ``delay_ns``, which must not be negative."""
        assert delay_ns >= 0
        self._number += 1
        heappush(self._heap, (self.now_ns + delay_ns, self._number, action, args))

    def planned(self) -> Iterator[Planned]:
        """What is going to happen, in no particular order."""
        return map(Planned._make, self._heap)

    def withdraw(self, planned: Planned) -> None:
        """Let something not happen. Raises ValueError if it is not planned."""
        self._heap.remove((planned.time_ns, planned.number, planned.action, planned.args))
        heapify(self._heap)

    @property
    def next_ns(self) -> int | None:
        """Time of the next action; None if nothing is left to happen."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Take the next action; False if there is none."""
        if not self._heap:
            return False
        self.steps += 1
        self.now_ns, _, action, args = heappop(self._heap)
        action(*args)
        return True
