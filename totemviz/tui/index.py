"""Which events a list shows, kept up to date while the timeline grows; never a widget or a string per event."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline

BUDGET_EVENTS = 50_000


class EventIndex:
    """Row number ↔ event id of the events that ``keep`` accepts (None: of all)."""

    def __init__(self, keep: Callable[[Event], bool] | None = None) -> None:
        self._keep = keep
        self._ids: list[int] = []
        self._seen = 0
        self._last: Event | None = None

    def sync(self, timeline: Timeline, budget: int = BUDGET_EVENTS) -> bool:
        """Look at up to ``budget`` new events; True if nothing is left to look at. A changed past starts it over."""
        length = len(timeline)
        if self._seen > length or (self._seen and timeline[self._seen - 1] is not self._last):
            self._ids.clear()
            self._seen = 0
        if self._keep is None:
            self._seen = length
        else:
            keep, ids = self._keep, self._ids
            upto = min(length, self._seen + budget)
            for number in range(self._seen, upto):
                if keep(timeline[number]):
                    ids.append(number)
            self._seen = upto
        self._last = timeline[self._seen - 1] if self._seen else None
        return self._seen == length

    def __len__(self) -> int:
        return self._seen if self._keep is None else len(self._ids)

    def event_id(self, row: int) -> int:
        """Id of the event in a row."""
        return row if self._keep is None else self._ids[row]

    def row_of(self, event_id: int) -> int:
        """Row of the event, or of the last one shown before it; -1 if there is none."""
        return min(event_id, self._seen - 1) if self._keep is None else bisect_right(self._ids, event_id) - 1
