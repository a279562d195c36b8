"""What the token's aru promises, and that nobody frees what a member may still ask for."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.totem.effects import ConfigurationChange, RingId, TokenIgnored, TokenPassed, TokenReceived
from totemviz.totem.seq import U32, lt
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event


class AruSoundness(Invariant):
    """Invariant 18. The faithful machine breaks it: a token's second copy frees a rotation too early (sheet §5.4)."""

    number = 18
    name = "aru soundness"
    sentence = (
        "An aru seen on two consecutive visits has been received by every member; nothing is freed that some member "
        "still lacks."
    )
    known_failure = "token_copy_frees_messages"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._seen: dict[int, tuple[RingId, int]] = {}
        self._at_last_visit: dict[RingId, dict[int, int]] = {}
        self._released: dict[int, tuple[RingId, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            ConfigurationChange: self._configuration_change,
            TokenReceived: self._token_received,
            TokenIgnored: self._token_ignored,
            TokenPassed: self._token_passed,
        }

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        """What was spent on recovery is never delivered and freed at once."""
        if not body.transitional:
            node = self.facts.node(event.node)
            start = self.facts.limits["seqno_start_msg"]
            high = start
            for seq in node.received:
                high = seq if lt(high, seq) else high
            self._released[event.node] = (body.ring_id, high)

    def _token_received(self, event: Event, body: TokenReceived) -> None:
        if body.freed:
            self._freed(event, body.freed, "")
        seen = self._seen.get(event.node)
        self._seen[event.node] = (body.ring_id, body.aru)
        if seen is None or seen[0] != body.ring_id:
            return
        promised = body.aru if lt(body.aru, seen[1]) else seen[1]
        for member, aru in self._at_last_visit.get(body.ring_id, {}).items():
            if lt(aru, promised):
                self.fail(
                    event,
                    f"the token said aru {promised:x} on two visits, but node {member} had only received up to {aru:x} "
                    "when it passed the token on",
                )

    def _token_ignored(self, event: Event, body: TokenIgnored) -> None:
        if body.freed:
            self._freed(event, body.freed, f", because a token arrived that it otherwise ignores ({body.reason})")

    def _freed(self, event: Event, count: int, how: str) -> None:
        released = self._released.get(event.node)
        node = self.facts.node(event.node)
        if released is None or released[0] != node.ring_id:
            return
        ring_id, last = released
        last = (last + count) & U32
        self._released[event.node] = (ring_id, last)
        for member in self.facts.rings.get(ring_id, ()):
            other = self.facts.node(member)
            if other.running and other.ring_id == ring_id and lt(other.aru, last):
                self.fail(
                    event,
                    f"frees messages up to {last:x} of ring {ring_id}{how}, but node {member} has received only up to "
                    f"{other.aru:x}",
                )

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        ring_id = self.facts.node(event.node).ring_id
        if ring_id is not None:
            self._at_last_visit.setdefault(ring_id, {})[event.node] = body.my_aru
