"""Ring ids, and when a ring may be used by clients."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.corosync.wire import PREFIX_SERVICES
from totemviz.totem.effects import ConfigurationChange, RingId, StateEntered
from totemviz.totem.pg import PacketError, decode_packet
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import DatagramSent, Event, Intervened

_MCAST_HEADER = 45
_CPG_MCAST = (2 << 16 | 3).to_bytes(4, "little")


class RingIds(Invariant):
    """Invariant 13, given that the ring-id file survives: a power cut may take it back to an older number."""

    number = 13
    name = "ring id agreement"
    sentence = (
        "Equal ring ids mean equal member lists in equal order; on one node ring seqs strictly increase, restarts "
        "included."
    )
    known_failure = "ring_id_not_synced"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._lost_power: set[int] = set()
        self._members: dict[RingId, tuple[tuple[int, ...], int]] = {}
        self._installed: dict[int, RingId] = {}
        self._attempted: dict[int, RingId] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            Intervened: self._intervened,
            ConfigurationChange: self._configuration_change,
            StateEntered: self._state_entered,
        }

    def _intervened(self, event: Event, body: Intervened) -> None:
        if body.action == "power_cut":
            self._lost_power.add(event.node)

    def _fail(self, event: Event, why: str, rep: int) -> None:
        self.fail(event, why, known=bool(self._lost_power & {event.node, rep}))

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        if body.transitional:
            return
        members, first = self._members.setdefault(body.ring_id, (body.members, event.node))
        if members != body.members:
            what = f"ring {body.ring_id} is {list(body.members)} here, but {list(members)} at node {first}"
            self._fail(event, what, body.ring_id.rep)
        last = self._installed.get(event.node)
        if last is not None and last.seq >= body.ring_id.seq:
            self._fail(event, f"ring {body.ring_id} follows ring {last}: the number does not grow", body.ring_id.rep)
        self._installed[event.node] = body.ring_id

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        if body.state != "COMMIT":
            return
        last = self._attempted.get(event.node)
        if last is not None and last.seq >= body.ring_id.seq:
            what = f"tries to form ring {body.ring_id} after ring {last}: the number does not grow"
            self._fail(event, what, body.ring_id.rep)
        self._attempted[event.node] = body.ring_id


class Representative(Invariant):
    """Invariant 14."""

    number = 14
    name = "representative"
    sentence = "The representative in the ring id is the lowest node id of the members."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ConfigurationChange: self._configuration_change}

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        if not body.transitional and body.ring_id.rep != min(body.members, default=0):
            self.fail(event, f"ring {body.ring_id} names node {body.ring_id.rep}, its members are {list(body.members)}")


class ClientsWaitForSync(Invariant):
    """Invariant 15: no CPG message of a client in a ring before its sender has synchronised in it."""

    number = 15
    name = "clients wait for sync"
    sentence = "No client message of a ring is sent before the ring's synchronisation is complete at its sender."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {DatagramSent: self._datagram_sent}

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        packet = self.facts.packets.get(event.id)
        if packet is None or packet.encapsulated or packet.originator != event.node:
            return
        node = self.facts.node(event.node)
        if packet.ring_id != node.ring_id or node.synced == packet.ring_id:
            return
        try:
            pieces = decode_packet(event.node, body.data[_MCAST_HEADER:]).pieces
        except PacketError:
            return
        if any(piece.startswith(PREFIX_SERVICES + _CPG_MCAST) for piece in pieces):
            self.fail(event, f"sends a client's message in ring {packet.ring_id} before sync is complete there")
