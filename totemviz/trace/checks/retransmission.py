"""When a hole is asked for: not before the fifth visit, and not never."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.totem.effects import RetransmitChecked, RingId, TokenPassed, TokenReceived
from totemviz.totem.seq import U32, lte
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.checks.token import RTR_MAX
from totemviz.trace.events import Event


class MissDelay(Invariant):
    """Invariant 23, and its other half: from that visit on the first hole is in the list."""

    number = 23
    name = "miss delay"
    sentence = (
        "A hole is asked for no earlier than at the fifth visit of the token that finds it, and from then on it is."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._visits: dict[int, list[int]] = {}
        self._ring: dict[int, RingId] = {}
        self._stuck: dict[int, tuple[int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            TokenReceived: self._token_received,
            RetransmitChecked: self._checked,
            TokenPassed: self._token_passed,
        }

    def _token_received(self, event: Event, body: TokenReceived) -> None:
        if self._ring.get(event.node) != body.ring_id:
            self._ring[event.node] = body.ring_id
            self._visits[event.node] = []
            self._stuck.pop(event.node, None)
        visits = self._visits[event.node]
        visits.append(body.seq)
        del visits[: -self.facts.limits["miss_count_const"]]
        if body.my_aru == body.seq:
            self._stuck.pop(event.node, None)
            return
        hole, count = self._stuck.get(event.node, (-1, 0))
        following = (body.my_aru + 1) & U32
        self._stuck[event.node] = (following, count + 1 if hole == following else 1)

    def _checked(self, event: Event, body: RetransmitChecked) -> None:
        limit = self.facts.limits["miss_count_const"]
        visits = self._visits.get(event.node, [])
        for seq in body.requested:
            seen = sum(lte(seq, at_visit) for at_visit in visits)
            if seen < limit:
                self.fail(event, f"asks for {seq:x} at visit {seen} that could see the hole, not at visit {limit}")

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        hole, count = self._stuck.get(event.node, (-1, 0))
        full = len(body.rtr) >= RTR_MAX
        if count >= self.facts.limits["miss_count_const"] and hole not in body.rtr and not full:
            self.fail(event, f"lacks {hole:x} at its visit {count} in a row and does not ask for it")
