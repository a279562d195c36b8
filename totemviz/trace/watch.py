"""The invariants, checked while a run grows."""

from __future__ import annotations

from totemviz.trace.checks import Checker, Violation, unexpected
from totemviz.trace.timeline import Timeline

BUDGET_EVENTS = 20_000
"""Events looked at in one go if so many have been added since the last one: about 130 ms of work at worst."""

CATCH_UP_EVENTS = 1_000
"""… and so many of those for which there was no time before: about 10 ms, which a key press can bear."""


class Watch:
    """Feeds a checker with what it has not seen, and tells of each new violation once.

    Failures that the faithful machine is known for are kept to itself (``checks.unexpected``). When the timeline is
    another one (a branch), the checker starts over.
    """

    def __init__(self) -> None:
        self._timeline: Timeline | None = None
        self._checker = Checker()
        self._seen = 0
        self._position = -1
        self._told = 0
        self.violations: list[Violation] = []

    def look(self, timeline: Timeline, position: int, budget: int | None = None) -> Violation | None:
        """Check the events up to ``position``, ``budget`` of them at most; returns the first new violation.

        Without a budget: as many as were added since the last look, within limits, and some of what was left over.
        """
        if timeline is not self._timeline:
            self.__init__()  # type: ignore[misc]
            self._timeline = timeline
        if budget is None:
            budget = min(BUDGET_EVENTS, max(0, position - self._position)) + CATCH_UP_EVENTS
        self._position = max(self._position, position)
        last = min(position + 1, self._seen + budget, len(timeline))
        for index in range(self._seen, last):
            self.violations += self._checker.feed(timeline[index])
        self._seen = max(self._seen, last)
        told, found = self._told, unexpected(self.violations)
        self._told = len(found)
        return found[told] if len(found) > told else None

    @property
    def behind(self) -> int:
        """Events not looked at yet."""
        return len(self._timeline) - self._seen if self._timeline is not None else 0
