"""The cursor: a place in a timeline and the view there. Stepping back is moving the cursor.

Every ``CHECKPOINT_EVENTS`` events a copy of the view is kept, so going anywhere costs at most that many events.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from totemviz.totem import effects as totem
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView

CHECKPOINT_EVENTS = 2000


class Step(StrEnum):
    """The units a person steps by."""

    EVENT = "event"
    STAGE = "stage"
    HOP = "token hop"
    ROTATION = "rotation"
    MEMBERSHIP = "membership change"


STAGE_TYPES = (totem.TokenReceived, totem.RetransmitChecked, totem.MessagesMulticast, totem.TokenPassed)
"""The observations that end the four stages of a token visit, in order."""


class Cursor:
    """Position in a timeline: the id of the last event applied, -1 before the first."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.view = ClusterView()
        self._checkpoints: list[ClusterView] = [ClusterView()]

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
        if position < self.position:
            self.view = self._checkpoints[(position + 1) // CHECKPOINT_EVENTS].copy()
        elif (best := min((position + 1) // CHECKPOINT_EVENTS, len(self._checkpoints) - 1)) and (
            best * CHECKPOINT_EVENTS - 1 > self.position
        ):
            self.view = self._checkpoints[best].copy()
        for index in range(self.position + 1, position + 1):
            self.view.apply(self.timeline[index])
            if (index + 1) % CHECKPOINT_EVENTS == 0 and (index + 1) // CHECKPOINT_EVENTS == len(self._checkpoints):
                self._checkpoints.append(self.view.copy())

    def find(self, step: Step, *, backward: bool = False) -> int | None:
        """Id of the event where the next (or previous) such step ends; None if the timeline holds none."""
        wanted = self.predicate(step)
        ahead = range(self.position + 1, len(self.timeline))
        indices = range(self.position - 1, -1, -1) if backward else ahead
        for index in indices:
            if wanted(self.timeline[index]):
                return index
        return None

    def seek_time(self, time_ns: int) -> None:
        """Go to the last event not later than ``time_ns``."""
        low, high = 0, len(self.timeline)
        while low < high:
            middle = (low + high) // 2
            if self.timeline[middle].time_ns <= time_ns:
                low = middle + 1
            else:
                high = middle
        self.move_to(low - 1)

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
        visit = self.view.visit
        node = visit.node if visit is not None else None
        return lambda event: isinstance(event.body, totem.TokenReceived) and node in (None, event.node)
