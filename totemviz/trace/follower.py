"""Something made from the events of a timeline, each looked at once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Container
from typing import ClassVar

from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline

BUDGET_EVENTS = 50_000


class Follower:
    """Follows a timeline while it grows. Subclasses say what they make of an event, and how they forget it all.

    ``kinds``: the bodies they take; None: all.
    """

    kinds: ClassVar[Container[type] | None] = None

    def __init__(self) -> None:
        self._seen = 0
        self._last: Event | None = None
        self._restart()

    def _restart(self) -> None:
        """Nothing has been looked at."""
        raise NotImplementedError

    def _take(self, event: Event) -> None:
        """The next event of one of the kinds."""
        raise NotImplementedError

    def sync(self, timeline: Timeline, budget: int = BUDGET_EVENTS) -> bool:
        """Look at up to ``budget`` new events; True if nothing is left to look at. A changed past starts it over."""
        length = len(timeline)
        if self._seen > length or (self._seen and timeline[self._seen - 1] is not self._last):
            self._seen = 0
            self._restart()
        upto = min(length, self._seen + budget)
        self._look(timeline, self._seen, upto)
        self._seen = upto
        self._last = timeline[upto - 1] if upto else None
        return upto == length

    def _look(self, timeline: Timeline, first: int, end: int) -> None:
        kinds = self.kinds
        for number in range(first, end):
            event = timeline[number]
            if kinds is None or type(event.body) in kinds:
                self._take(event)
