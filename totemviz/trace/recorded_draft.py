"""Events of a recording before they have their numbers.

What a node did follows from what it sent *later*, but belongs *before* it on the timeline. So events are drafted in
any order, each in its place next to the datagram it belongs to, and numbered when everything is known.
"""

from __future__ import annotations

from totemviz.trace.events import NO_CAUSE, Body, DatagramReceived
from totemviz.trace.timeline import Timeline

_ROOM = 32  # places around a datagram: half before, half after


class Draft:
    """An event to be. Ordered by time, then by place."""

    __slots__ = ("_after", "_before", "body", "cause", "inferred", "node", "number", "place", "time_ns")

    def __init__(self, time_ns: int, place: int, node: int, body: Body, inferred: bool) -> None:
        self.time_ns = time_ns
        self.place = place
        self.node = node
        self.body = body
        self.inferred = inferred
        self.cause: Draft | None = None
        self.number = NO_CAUSE
        self._before = 0
        self._after = 0

    @property
    def key(self) -> tuple[int, int]:
        """Position in the timeline."""
        return self.time_ns, self.place

    def blame(self, cause: Draft | None) -> None:
        """Name the cause, unless the clocks of two captures put the effect first."""
        if cause is not None and cause.key < self.key:
            self.cause = cause


class Drafts:
    """All drafts of a recording."""

    def __init__(self) -> None:
        self._drafts: list[Draft] = []
        self._place = 0

    def add(self, time_ns: int, node: int, body: Body, cause: Draft | None = None, inferred: bool = False) -> Draft:
        """An event seen in the capture, with room for what is inferred from it."""
        self._place += _ROOM
        return self._keep(Draft(time_ns, self._place, node, body, inferred), cause)

    def before(self, main: Draft, node: int, body: Body, cause: Draft | None = None) -> Draft:
        """An inferred event right before ``main``, after what was put there earlier."""
        main._before += 1
        place = main.place - _ROOM // 2 + main._before
        return self._keep(Draft(main.time_ns, place, node, body, inferred=True), cause)

    def after(self, main: Draft, node: int, body: Body, cause: Draft | None = None) -> Draft:
        """An inferred event right after ``main`` and what was put there earlier."""
        main._after += 1
        draft = Draft(main.time_ns, main.place + main._after, node, body, inferred=True)
        draft._after = 0
        return self._keep(draft, cause)

    def _keep(self, draft: Draft, cause: Draft | None) -> Draft:
        draft.blame(cause)
        self._drafts.append(draft)
        return draft

    def write(self, timeline: Timeline, epoch_ns: int) -> None:
        """Number the drafts in order and append them; times become relative to ``epoch_ns``."""
        self._drafts.sort(key=lambda draft: draft.key)
        for draft in self._drafts:
            cause = NO_CAUSE if draft.cause is None else draft.cause.number
            body = draft.body
            if isinstance(body, DatagramReceived):
                body = DatagramReceived(body.source, cause, body.kind)
            draft.number = timeline.append(draft.time_ns - epoch_ns, draft.node, cause, body, draft.inferred)
