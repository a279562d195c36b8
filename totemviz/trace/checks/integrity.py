"""What is delivered: invented, doubled, different, out of order or with holes, and whether one hears oneself."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from totemviz.totem.effects import (
    ConfigurationChange,
    MessageOrdered,
    MessageSubmitted,
    PacketDelivered,
    RingId,
)
from totemviz.totem.seq import U32, lt
from totemviz.totem.wire import MCAST
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import DatagramSent, Event

_MCAST_HEADER = 45


class NoInvention(Invariant):
    """Invariant 1."""

    number = 1
    name = "no invention"
    sentence = "Every delivered packet was sent by its originator, with the same bytes."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._sent: dict[tuple[RingId, int], tuple[int, int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {DatagramSent: self._datagram_sent, PacketDelivered: self._delivered}

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        packet = self.facts.packets.get(event.id)
        if packet is not None and not packet.encapsulated and packet.originator == event.node:
            assert body.data[3] == MCAST
            payload = body.data[_MCAST_HEADER:]
            self._sent.setdefault((packet.ring_id, packet.seq), (event.node, len(payload), crc32(payload)))

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        sent = self._sent.get((body.ring_id, body.seq))
        what = f"packet {body.seq:x} of ring {body.ring_id}"
        if sent is None:
            self.fail(event, f"{what} is delivered, but nobody ever sent it")
        elif sent[0] != body.source:
            self.fail(event, f"{what} is delivered as node {body.source}'s, but node {sent[0]} sent it")
        elif sent[1:] != (body.length, body.checksum):
            self.fail(event, f"{what} is delivered with other bytes than node {body.source} sent")


class NoDuplication(Invariant):
    """Invariant 2."""

    number = 2
    name = "no duplication"
    sentence = "No node delivers the same packet twice, and no message is given two places in the total order."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._delivered: dict[tuple[int, int], set[tuple[RingId, int]]] = {}
        self._ordered: dict[tuple[int, int], set[int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {PacketDelivered: self._packet_delivered, MessageOrdered: self._message_ordered}

    def _packet_delivered(self, event: Event, body: PacketDelivered) -> None:
        seen = self._delivered.setdefault((event.node, self.facts.node(event.node).life), set())
        label = (body.ring_id, body.seq)
        if label in seen:
            self.fail(event, f"packet {body.seq:x} of ring {body.ring_id} is delivered a second time")
        seen.add(label)

    def _message_ordered(self, event: Event, body: MessageOrdered) -> None:
        seen = self._ordered.setdefault((event.node, self.facts.node(event.node).life), set())
        for number in body.numbers:
            if number in seen:
                self.fail(event, f"message {number} of this node gets a second place in the order, at seq {body.seq:x}")
            seen.add(number)


class Agreement(Invariant):
    """Invariant 3."""

    number = 3
    name = "agreement on content"
    sentence = "Two nodes that deliver the same seq of the same ring deliver the same packet."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._content: dict[tuple[RingId, int], tuple[int, int, int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {PacketDelivered: self._delivered}

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        content = (body.source, body.length, body.checksum, event.node)
        first = self._content.setdefault((body.ring_id, body.seq), content)
        if first[:3] != content[:3]:
            self.fail(event, f"packet {body.seq:x} of ring {body.ring_id} is not what node {first[3]} delivered")


class RingOrder(Invariant):
    """Invariant 4."""

    number = 4
    name = "ring order"
    sentence = "A node delivers packets of its present ring only, and their seqs are strictly increasing."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._last: dict[int, tuple[int, RingId, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {PacketDelivered: self._delivered}

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        node = self.facts.node(event.node)
        life = node.life
        ring_id = node.configuration.ring_id if node.configuration is not None else None
        if body.ring_id != ring_id:
            self.fail(event, f"packet {body.seq:x} of ring {body.ring_id} is delivered, but this node is in {ring_id}")
        last = self._last.get(event.node)
        if last is not None and last[:2] == (life, body.ring_id) and not lt(last[2], body.seq):
            self.fail(event, f"packet {body.seq:x} of ring {body.ring_id} is delivered after {last[2]:x}")
        self._last[event.node] = (life, body.ring_id, body.seq)


class GapFree(Invariant):
    """Invariant 5."""

    number = 5
    name = "gap-free before the break"
    sentence = (
        "Until the transitional configuration, deliveries of a ring have no holes, apart from the recovery traffic at "
        "its beginning."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._recovery_end: dict[RingId, int] = {}
        self._last: dict[int, int] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            DatagramSent: self._datagram_sent,
            PacketDelivered: self._delivered,
            ConfigurationChange: self._configuration_change,
        }

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        packet = self.facts.packets.get(event.id)
        if packet is not None and packet.encapsulated:
            end = self._recovery_end.get(packet.ring_id, self.facts.limits["seqno_start_msg"])
            if lt(end, packet.seq):
                self._recovery_end[packet.ring_id] = packet.seq

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        if body.transitional:
            self._last.pop(event.node, None)
        else:
            start = self.facts.limits["seqno_start_msg"]
            self._last[event.node] = self._recovery_end.get(body.ring_id, start)

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        configuration = self.facts.node(event.node).configuration
        last = self._last.get(event.node)
        if last is None or configuration is None or configuration.ring_id != body.ring_id:
            return
        expected = (last + 1) & U32
        if body.seq != expected:
            self.fail(event, f"packet {body.seq:x} of ring {body.ring_id} is delivered where {expected:x} comes next")
        self._last[event.node] = body.seq


class SelfDelivery(Invariant):
    """Invariant 8. A message still queued when the ring breaks goes out in a later one; see also ``finish``."""

    number = 8
    name = "self delivery"
    sentence = "A node that sends a message and stays up delivers it, in the ring of sending or a later one."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._ordered: dict[int, set[tuple[int, RingId, int]]] = {}
        self._queued: dict[tuple[int, int], dict[int, Event]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            MessageSubmitted: self._submitted,
            MessageOrdered: self._message_ordered,
            PacketDelivered: self._delivered,
            ConfigurationChange: self._configuration_change,
        }

    def _submitted(self, event: Event, body: MessageSubmitted) -> None:
        key = (event.node, self.facts.node(event.node).life)
        self._queued.setdefault(key, {})[body.number] = event

    def _message_ordered(self, event: Event, body: MessageOrdered) -> None:
        node = self.facts.node(event.node)
        queued = self._queued.get((event.node, node.life), {})
        for number in body.numbers:
            queued.pop(number, None)
        if node.state == "OPERATIONAL" and node.ring_id is not None:
            self._ordered.setdefault(event.node, set()).add((node.life, node.ring_id, body.seq))

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        if body.source == event.node:
            label = (self.facts.node(event.node).life, body.ring_id, body.seq)
            self._ordered.get(event.node, set()).discard(label)

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        if body.transitional:
            return
        life = self.facts.node(event.node).life
        waiting = self._ordered.pop(event.node, set())
        for of_life, ring_id, seq in sorted(waiting):
            if of_life == life:
                self.fail(
                    event,
                    f"this node's own packet {seq:x} of ring {ring_id} is not delivered before ring {body.ring_id}",
                )

    def finish(self, last: Event, end_ns: int) -> None:
        """With the cluster quiet for long enough, nothing submitted before may still wait in a queue."""
        quiet_ns = self.facts.disturbed_ns + self.facts.settle_ns
        if not self.facts.token_ms or end_ns < quiet_ns:
            return
        for (nodeid, life), queued in self._queued.items():
            node = self.facts.node(nodeid)
            if not node.running or node.life != life or nodeid in self.facts.blocked:
                continue
            for number, event in queued.items():
                if event.time_ns < end_ns - self.facts.settle_ns:
                    self.fail(event, f"message {number} was submitted here and never got a place in the order")
