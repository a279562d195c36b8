"""Which events a list shows, kept up to date while the timeline grows; never a widget or a string per event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from totemviz.trace.events import Event
from totemviz.trace.follower import BUDGET_EVENTS, Follower
from totemviz.trace.timeline import Timeline


class EventIndex(Follower):
    """Row number ↔ event id of the events that ``keep`` accepts (None: of all)."""

    def __init__(self, keep: Callable[[Event], bool] | None = None) -> None:
        self._keep = keep
        super().__init__()

    def _restart(self) -> None:
        self._ids: list[int] = []

    def sync(self, timeline: Timeline, budget: int = BUDGET_EVENTS) -> bool:  # noqa: D102
        return super().sync(timeline, budget if self._keep is not None else len(timeline))

    def _look(self, timeline: Timeline, first: int, end: int) -> None:
        if (keep := self._keep) is not None:
            self._ids += (number for number in range(first, end) if keep(timeline[number]))

    def __len__(self) -> int:
        return self._seen if self._keep is None else len(self._ids)

    def event_id(self, row: int) -> int:
        """Id of the event in a row."""
        return row if self._keep is None else self._ids[row]

    def row_of(self, event_id: int) -> int:
        """Row of the event, or of the last one shown before it; -1 if there is none."""
        return min(event_id, self._seen - 1) if self._keep is None else bisect_right(self._ids, event_id) - 1
