"""The token: one at a time, from neighbour to neighbour, with numbers that make sense."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.totem.effects import (
    MessageOrdered,
    MessagesMulticast,
    PacketDelivered,
    RetransmitChecked,
    RingId,
    StateEntered,
    TokenIgnored,
    TokenPassed,
    TokenReceived,
)
from totemviz.totem.seq import U32, lt, lte
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import DatagramReceived, DatagramSent, Event, TimerExpired

RTR_MAX = 30


class OneToken(Invariant):
    """Invariant 16."""

    number = 16
    name = "one effective token"
    sentence = (
        "Every token seq of a ring is processed by at most one node; consecutive ones by ring neighbours, in order."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._received: dict[RingId, tuple[int, int]] = {}
        self._passed: dict[RingId, tuple[int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {TokenReceived: self._token_received, TokenPassed: self._token_passed}

    def _token_received(self, event: Event, body: TokenReceived) -> None:
        last = self._received.get(body.ring_id)
        self._received[body.ring_id] = (body.token_seq, event.node)
        members = self.facts.rings.get(body.ring_id, ())
        if members and event.node not in members:
            self.fail(event, f"processes a token of ring {body.ring_id}, of which it is no member")
        if last is not None and not lt(last[0], body.token_seq):
            self.fail(
                event, f"processes token {body.token_seq} of ring {body.ring_id} after node {last[1]} had {last[0]}"
            )
            return
        passed = self._passed.get(body.ring_id)
        if passed is None:
            neighbour = _next_member(members, body.ring_id.rep)
            if members and event.node != neighbour:
                self.fail(event, f"is not the representative's neighbour (node {neighbour}), but gets the first token")
        elif passed != (body.token_seq, event.node):
            self.fail(event, f"processes token {body.token_seq}, but token {passed[0]} went to node {passed[1]}")

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        ring_id = self.facts.node(event.node).ring_id
        if ring_id is None:
            return
        self._passed[ring_id] = (body.token_seq, body.successor)
        members = self.facts.rings.get(ring_id, ())
        if members and body.successor != _next_member(members, event.node):
            self.fail(event, f"passes the token to node {body.successor}, not to its neighbour in {list(members)}")
        visit = self.facts.node(event.node).visit
        if visit is not None and body.token_seq != (visit.token_seq + 1) & U32:
            self.fail(event, f"token {visit.token_seq} leaves with number {body.token_seq}")


def _next_member(members: tuple[int, ...], nodeid: int) -> int:
    if nodeid not in members:
        return 0
    return members[(members.index(nodeid) + 1) % len(members)]


class SeqMonotonic(Invariant):
    """Invariant 17."""

    number = 17
    name = "seq is monotonic"
    sentence = "The token's seq never goes down, and every seq is assigned by exactly one node."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._seq: dict[RingId, int] = {}
        self._assigned: dict[tuple[RingId, int], int] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            TokenReceived: self._token_received,
            MessageOrdered: self._ordered,
            MessagesMulticast: self._multicast,
            TokenPassed: self._token_passed,
        }

    def _token_received(self, event: Event, body: TokenReceived) -> None:
        last = self._seq.get(body.ring_id)
        if last is not None and lt(body.seq, last):
            self.fail(event, f"the token of ring {body.ring_id} says seq {body.seq:x} after {last:x}")
        self._seq[body.ring_id] = body.seq

    def _ordered(self, event: Event, body: MessageOrdered) -> None:
        ring_id = self.facts.node(event.node).ring_id
        if ring_id is None:
            return
        if (ring_id, body.seq) in self._assigned:
            other = self._assigned[ring_id, body.seq]
            self.fail(event, f"seq {body.seq:x} of ring {ring_id} is assigned again, node {other} had it")
        self._assigned[ring_id, body.seq] = event.node

    def _multicast(self, event: Event, body: MessagesMulticast) -> None:
        visit = self.facts.node(event.node).visit
        if visit is not None and body.first_seq != (visit.seq + 1) & U32:
            self.fail(event, f"new messages begin at {body.first_seq:x}, but the token's seq was {visit.seq:x}")
        elif visit is not None:
            self._seq[visit.ring_id] = (visit.seq + body.count) & U32

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        visit = self.facts.node(event.node).visit
        if visit is not None and body.seq != self._seq.get(visit.ring_id, body.seq):
            self.fail(event, f"the token leaves with seq {body.seq:x}, not {self._seq[visit.ring_id]:x}")


class AruBelowSeq(Invariant):
    """Invariant 19. The first token's aru counts as -1."""

    number = 19
    name = "aru ≤ seq"
    sentence = "The token's aru is never above its seq."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {TokenReceived: self._token, TokenPassed: self._token}

    def _token(self, event: Event, body: TokenReceived | TokenPassed) -> None:
        if not lte(body.aru, body.seq):
            self.fail(event, f"the token says aru {body.aru:x} and seq {body.seq:x}")


class RtrList(Invariant):
    """Invariant 22."""

    number = 22
    name = "retransmit list"
    sentence = (
        "At most 30 entries, none twice; a node asks only for what it lacks, between its my_aru and the token's seq."
    )

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {RetransmitChecked: self._checked, TokenPassed: self._token_passed}

    def _checked(self, event: Event, body: RetransmitChecked) -> None:
        node = self.facts.node(event.node)
        if node.visit is None:
            return
        for seq in body.requested:
            if not lt(node.visit.my_aru, seq) or not lte(seq, node.visit.seq):
                self.fail(event, f"asks for {seq:x}, outside of {node.visit.my_aru:x} … {node.visit.seq:x}")
            elif seq in node.received:
                self.fail(event, f"asks for {seq:x}, which it has received")
        for seq in body.resent:
            if seq not in node.visit.rtr:
                self.fail(event, f"sends {seq:x} again, which nobody asks for")
            elif seq not in node.received:
                self.fail(event, f"sends {seq:x} again, which it has never received")

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        if len(body.rtr) > RTR_MAX:
            self.fail(event, f"the token leaves with {len(body.rtr)} retransmit requests")
        if len(set(body.rtr)) != len(body.rtr):
            self.fail(event, "the token leaves with a retransmit request that is listed twice")


class Idempotence(Invariant):
    """Invariant 25. What such a token may still do (the merge-detect timer, and sheet §5.4) shows elsewhere."""

    number = 25
    name = "retransmit idempotence"
    sentence = "A token that is not accepted changes nothing one can see."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._ignored: dict[int, tuple[int, str]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        checked = (TokenReceived, TokenPassed, MessagesMulticast, StateEntered, DatagramSent, PacketDelivered)
        return {TokenIgnored: self._token_ignored, **dict.fromkeys(checked, self._follows)}

    def _token_ignored(self, event: Event, body: TokenIgnored) -> None:
        why = f"token {body.token_seq} of ring {body.ring_id} was ignored ({body.reason})"
        self._ignored[event.node] = (event.cause, why)

    def _follows(self, event: Event, body: object) -> None:
        ignored = self._ignored.get(event.node)
        if ignored is not None and event.cause == ignored[0]:
            self.fail(event, f"{ignored[1]} and acted upon all the same")


class DeliveryAfterForward(Invariant):
    """Invariant 26."""

    number = 26
    name = "delivery after forward"
    sentence = "A node delivers its own messages of a visit only after the token of that visit has left its hands."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._before_token: dict[int, set[int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            MessageOrdered: self._ordered,
            TokenPassed: self._free,
            StateEntered: self._free,
            DatagramReceived: self._free,
            TimerExpired: self._free,
            PacketDelivered: self._delivered,
        }

    def _ordered(self, event: Event, body: MessageOrdered) -> None:
        self._before_token.setdefault(event.node, set()).add(body.seq)

    def _free(self, event: Event, body: object) -> None:
        self._before_token.pop(event.node, None)

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        if body.source == event.node and body.seq in self._before_token.get(event.node, ()):
            self.fail(event, f"its own packet {body.seq:x} is delivered while it still has the token")
