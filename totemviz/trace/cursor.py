"""The cursor: a place in a timeline and the view there. Stepping back is moving the cursor.

Copies of the view are kept on the way, so going anywhere costs little: every ``COARSE_EVENTS`` for the whole timeline,
and every ``FINE_EVENTS`` in the stretch the cursor is in, where people step back and forth.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from enum import StrEnum

from totemviz.totem import effects as totem
from totemviz.trace.deliveries import Deliveries
from totemviz.trace.events import Event
from totemviz.trace.idle import is_idle
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView

COARSE_EVENTS = 20_000
FINE_EVENTS = 1_000


class Step(StrEnum):
    """The units a person steps by."""

    EVENT = "event"
    STAGE = "stage"
    HOP = "token hop"
    ROTATION = "rotation"
    DELIVERED = "message delivered everywhere"
    MEMBERSHIP = "membership change"
    EVENTFUL = "end of the idle rounds"


STAGE_TYPES = (totem.TokenReceived, totem.RetransmitChecked, totem.MessagesMulticast, totem.TokenPassed)
"""The observations that end the four stages of a token visit, in order."""


class Cursor:
    """Position in a timeline: the id of the last event applied, -1 before the first."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.view = ClusterView()
        self._coarse: list[ClusterView] = [ClusterView()]
        self._fine: dict[int, ClusterView] = {}
        self._deliveries = Deliveries()

    def forked(self, timeline: Timeline, position: int) -> Cursor:
        """A cursor at ``position`` of a timeline that is the same as this one's up to there."""
        twin = Cursor(timeline)
        twin._coarse = self._coarse[: (position + 1) // COARSE_EVENTS + 1]
        twin.move_to(position)
        return twin

    @property
    def position(self) -> int:
        """Id of the event the view includes last, -1 for none."""
        return self.view.event_id

    @property
    def event(self) -> Event | None:
        """The event at the cursor."""
        return self.view.last

    @property
    def at_end(self) -> bool:
        """Whether nothing lies ahead in the timeline as it is now."""
        return self.position == len(self.timeline) - 1

    def move_to(self, position: int) -> None:
        """Go to an event; positions outside the timeline are clamped to its ends."""
        position = max(-1, min(position, len(self.timeline) - 1))
        if position == self.position:
            return
        stretch = (position + 1) // COARSE_EVENTS
        if (self.position + 1) // COARSE_EVENTS != stretch:
            self._fine.clear()
        kept = self._kept_before(position)
        if position < self.position or kept.event_id > self.position:
            self.view = kept.copy()
        for index in range(self.position + 1, position + 1):
            self.view.apply(self.timeline[index])
            done = index + 1
            if done % FINE_EVENTS == 0:
                self._keep(done, stretch)

    def _kept_before(self, position: int) -> ClusterView:
        """The latest kept view that is not later than ``position``."""
        fine = (position + 1) // FINE_EVENTS
        first = (position + 1) // COARSE_EVENTS * COARSE_EVENTS // FINE_EVENTS
        for number in range(fine, first, -1):
            if number in self._fine:
                return self._fine[number]
        return self._coarse[min((position + 1) // COARSE_EVENTS, len(self._coarse) - 1)]

    def _keep(self, done: int, stretch: int) -> None:
        if done % COARSE_EVENTS == 0:
            if done // COARSE_EVENTS == len(self._coarse):
                self._coarse.append(self.view.copy())
        elif done // COARSE_EVENTS == stretch and done // FINE_EVENTS not in self._fine:
            self._fine[done // FINE_EVENTS] = self.view.copy()

    def find(self, step: Step, *, backward: bool = False) -> int | None:
        """Id of the event where the next (or previous) such step ends; None if the timeline holds none."""
        if step is Step.DELIVERED:
            return self._find_delivered(backward)
        wanted = self.predicate(step)
        return self.find_event(wanted, backward=backward)

    def find_event(self, wanted: Callable[[Event], bool], *, backward: bool = False) -> int | None:
        """Id of the nearest event after (or before) the cursor that is ``wanted``; None if there is none."""
        ahead = range(self.position + 1, len(self.timeline))
        indices = range(self.position - 1, -1, -1) if backward else ahead
        for index in indices:
            if wanted(self.timeline[index]):
                return index
        return None

    def _find_delivered(self, backward: bool) -> int | None:
        ids = self._deliveries.sync(self.timeline)
        at = bisect_left(ids, self.position) - 1 if backward else bisect_right(ids, self.position)
        return ids[at] if 0 <= at < len(ids) else None

    def seek_time(self, time_ns: int) -> None:
        """Go to the last event not later than ``time_ns``."""
        self.move_to(self.timeline.position_at(time_ns))

    def predicate(self, step: Step) -> Callable[[Event], bool]:
        """Whether an event ends such a step that begins here (a rotation ends at the node it began at)."""
        if step is Step.EVENT:
            return lambda event: True
        if step is Step.STAGE:
            return lambda event: isinstance(event.body, STAGE_TYPES)
        if step is Step.HOP:
            return lambda event: isinstance(event.body, totem.TokenReceived)
        if step is Step.MEMBERSHIP:
            return lambda event: isinstance(event.body, totem.MembershipInstalled)
        if step is Step.EVENTFUL:
            return lambda event: not is_idle(event)
        if step is Step.DELIVERED:
            deliveries = self._deliveries
            return lambda event: deliveries.includes(self.timeline, event.id)
        visit = self.view.visit
        node = visit.node if visit is not None else None
        return lambda event: isinstance(event.body, totem.TokenReceived) and node in (None, event.node)
