"""What the services really sent: messages put together from the originators' own packets, by place in the total order.

The receiving machines do the same from what they receive; here it is done from what was sent, once, so that what a
machine makes of it can be compared. Only recent packets are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.corosync.decoders import decode
from totemviz.corosync.wire import PREFIX_SERVICES, ServiceMessage
from totemviz.totem.effects import RingId
from totemviz.totem.pg import PacketError, Reassembler
from totemviz.totem.wire import Mcast

RINGS_KEPT = 64
PACKETS_KEPT = 4096
"""No node is further behind: the window stops the ring first."""

_ID = slice(len(PREFIX_SERVICES), len(PREFIX_SERVICES) + 4)


class Sent:
    """One complete message: who sent it, and its bytes with the group address."""

    __slots__ = ("little", "message", "source")

    def __init__(self, source: int, message: bytes, little: bool) -> None:
        self.source = source
        self.message = message
        self.little = little

    @property
    def service(self) -> int:
        """Id of the service engine it is for, -1 if it is for none."""
        if not self.message.startswith(PREFIX_SERVICES):
            return -1
        return int.from_bytes(self.message[_ID], "little" if self.little else "big") >> 16

    def decoded(self) -> ServiceMessage:
        """Its body with named fields, if it is for a service engine."""
        return decode(self.message[len(PREFIX_SERVICES) :], self.little)


class Traffic:
    """Fed with every mcast datagram that its originator sends; retransmissions are recognised."""

    def __init__(self) -> None:
        self._reassemblers: dict[tuple[int, int], Reassembler] = {}
        self._rings: dict[RingId, dict[int, tuple[Sent, ...]]] = {}

    def sent(self, node: int, life: int, packet: Mcast, synced: bool) -> None:
        """Node ``node``, in this life of its daemon, sends its own packet; ``synced``: in this ring, at its sender."""
        ring = self._rings.get(packet.ring_id)
        if ring is None:
            ring = self._rings[packet.ring_id] = {}
            while len(self._rings) > RINGS_KEPT:
                del self._rings[next(iter(self._rings))]
        if packet.seq in ring:
            return
        reassembler = self._reassemblers.get((node, life))
        if reassembler is None:
            reassembler = self._reassemblers[node, life] = Reassembler()
        reassembler.waiting_trans_ack = not synced
        try:
            whole = reassembler.receive(node, packet.payload, not packet.little)
        except PacketError:
            whole = []
        ring[packet.seq] = tuple(Sent(node, message, packet.little) for message in whole)
        if len(ring) > PACKETS_KEPT:
            del ring[next(iter(ring))]

    def knows(self, ring_id: RingId, seq: int) -> bool:
        """Was this packet seen to be sent, and not long ago?"""
        return seq in self._rings.get(ring_id, ())

    def ending_in(self, ring_id: RingId, seq: int) -> tuple[Sent, ...]:
        """The messages that a packet completes; empty if it was not seen."""
        return self._rings.get(ring_id, {}).get(seq, ())

    def until(self, ring_id: RingId, seq: int) -> Iterator[tuple[int, Sent]]:
        """The messages of a ring up to a place in its order, each with the seq of the packet that completes it."""
        for number, messages in self._rings.get(ring_id, {}).items():  # sent, and so kept, in their order
            for message in messages:
                yield number, message
            if number == seq:
                return
