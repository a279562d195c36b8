"""Messages cut into packets and put together again: what a client gets is what somebody sent (41)."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.corosync.effects import CpgDelivered, CpgPartDelivered
from totemviz.corosync.libcpg import FIRST, LAST
from totemviz.corosync.wire import CPG, CpgMcast, PartialMcast
from totemviz.totem.effects import PacketDelivered, RingId
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event


class Reassembly(Invariant):
    """Invariant 41, for the messages of CPG clients, whose bytes the timeline shows."""

    number = 41
    name = "reassembly"
    sentence = (
        "Every message that is delivered was sent as it is by its originator, ending in that packet: no fragment of "
        "another message is in it."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._ring: dict[int, RingId] = {}
        self._parts: dict[tuple[int, ...], list[bytes]] = {}
        self._whole: dict[tuple[int, ...], bytes] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            PacketDelivered: self._packet,
            CpgDelivered: self._delivered,
            CpgPartDelivered: self._part,
        }

    def _packet(self, event: Event, body: PacketDelivered) -> None:
        self._ring[event.node] = body.ring_id

    def _part(self, event: Event, body: CpgPartDelivered) -> None:
        """Put the parts of a large message together as the client's library will, when the client reads them."""
        self._delivered(event, body)
        sender = (event.node, body.client, body.nodeid, body.pid)
        if body.part == FIRST:
            self._parts[sender] = []
        parts = self._parts.get(sender)
        if parts is None:
            return
        parts.append(body.fragment)
        if body.part == LAST:
            self._whole[*sender, body.seq] = b"".join(self._parts.pop(sender))

    def _is_whole(self, event: Event, body: CpgDelivered) -> bool:
        """Is it a large message that the client's library has put together right?"""
        key = (event.node, body.client, body.nodeid, body.pid, body.seq)
        if self._whole.get(key) != body.payload:
            return False
        del self._whole[key]
        return True

    def _delivered(self, event: Event, body: CpgDelivered | CpgPartDelivered) -> None:
        if isinstance(body, CpgDelivered) and self._whole and self._is_whole(event, body):
            return
        ring_id = self._ring.get(event.node)
        if ring_id is None or not self.facts.traffic.knows(ring_id, body.seq):
            return
        data = body.payload if isinstance(body, CpgDelivered) else body.fragment
        for sent in self.facts.traffic.ending_in(ring_id, body.seq):
            if sent.source != body.nodeid or sent.service != CPG:
                continue
            message = sent.decoded()
            if isinstance(message, CpgMcast) and (message.pid, message.payload) == (body.pid, data):
                return
            if isinstance(message, PartialMcast) and (message.pid, message.fragment) == (body.pid, data):
                return
        what = f"delivers {len(data)} bytes of {body.nodeid}/{body.pid} with packet {body.seq:x} of ring {ring_id}"
        self.fail(event, f"{what} that nobody sent so")
