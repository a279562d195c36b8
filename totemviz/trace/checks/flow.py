"""Flow control: how much may be sent, and whether the token's two sums stay sums."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from totemviz.totem.effects import MessagesMulticast, RetransmitChecked, RingId, TokenPassed
from totemviz.totem.seq import U32
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event


class _Sends(Invariant):
    """Counts what each visit sends: resends and new messages."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._resent: dict[int, int] = {}
        self._new: dict[int, tuple[int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {
            RetransmitChecked: self._checked,
            MessagesMulticast: self._multicast,
            TokenPassed: self._token_passed,
        }

    def _checked(self, event: Event, body: RetransmitChecked) -> None:
        self._resent[event.node] = len(body.resent)

    def _multicast(self, event: Event, body: MessagesMulticast) -> None:
        self._new[event.node] = (body.count, body.count + body.queued)

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        ring_id = self.facts.node(event.node).ring_id
        count, backlog = self._new.get(event.node, (0, 0))
        if ring_id is not None:
            self._visit(event, body, ring_id, self._resent.get(event.node, 0) + count, backlog)

    def _visit(self, event: Event, body: TokenPassed, ring_id: RingId, sent: int, backlog: int) -> None:
        raise NotImplementedError


class Window(_Sends):
    """Invariant 20."""

    number = 20
    name = "window"
    sentence = "A visit sends at most max_messages, a rotation at most window_size, retransmissions included."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._rotation: dict[RingId, deque[int]] = {}

    def _visit(self, event: Event, body: TokenPassed, ring_id: RingId, sent: int, backlog: int) -> None:
        limits = self.facts.limits
        if sent > limits["max_messages"]:
            self.fail(event, f"sends {sent} messages in one visit, {limits['max_messages']} are allowed")
        size = len(self.facts.rings.get(ring_id, ()))
        rotation = self._rotation.setdefault(ring_id, deque(maxlen=max(1, size)))
        rotation.append(sent)
        if sum(rotation) > limits["window_size"]:
            self.fail(event, f"{sum(rotation)} messages in one rotation, the window is {limits['window_size']}")


class Conservation(_Sends):
    """Invariant 21."""

    number = 21
    name = "fcc and backlog are conserved"
    sentence = "The token's fcc and backlog are the sums of what every member last put in."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._trc: dict[RingId, dict[int, int]] = {}
        self._pbl: dict[RingId, dict[int, int]] = {}

    def _visit(self, event: Event, body: TokenPassed, ring_id: RingId, sent: int, backlog: int) -> None:
        trc = self._trc.setdefault(ring_id, {})
        pbl = self._pbl.setdefault(ring_id, {})
        trc[event.node], pbl[event.node] = sent, backlog
        for name, value, parts in (("fcc", body.fcc, trc), ("backlog", body.backlog, pbl)):
            total = sum(parts.values()) & U32
            if value != total:
                self.fail(event, f"the token leaves with {name} {value}, but the members' shares add up to {total}")
