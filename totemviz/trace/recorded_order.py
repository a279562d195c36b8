"""What a recorded node handed to the layer above its ring, in order: configurations and ordered packets.

A capture shows every multicast that reached a node or left it, wrapped copies of a recovery included, and
``recorded_node`` has inferred which rings became operational there. That is enough: within a ring messages are
delivered in the order of their numbers, and what is left of a ring when the next one is installed is delivered around
the transitional configuration (``ordering.deliver``, sheet §4.5). When exactly each delivery happened is not needed.

Not in any capture: what a node multicast in a ring of which it was the only member.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from totemviz.totem import wire
from totemviz.totem.effects import ConfigurationChange, Deliver, MembershipInstalled, RingId
from totemviz.trace.events import DatagramReceived, DatagramSent, ProcessStarted
from totemviz.trace.timeline import Timeline

Step: TypeAlias = ConfigurationChange | Deliver


class DaemonLife(msgspec.Struct):
    """One life of a node's corosync: the rings it installed, and every multicast it knew, by ring and number."""

    rings: list[MembershipInstalled] = msgspec.field(default_factory=list)
    mcasts: dict[RingId, dict[int, wire.Mcast]] = msgspec.field(default_factory=dict)

    def learn(self, mcast: wire.Mcast) -> None:
        """Take in a multicast that reached the node or left it, and the old ring's one that it may carry."""
        self.mcasts.setdefault(mcast.ring_id, {}).setdefault(mcast.seq, mcast)
        if mcast.encapsulated == wire.ENCAPSULATED:
            try:
                inner = wire.decode(mcast.payload)
            except wire.WireError:
                return
            if isinstance(inner, wire.Mcast):
                self.learn(inner)

    def steps(self) -> Iterator[Step]:
        """Configurations and packets in the order in which the layer above got them."""
        before: MembershipInstalled | None = None
        for ring in self.rings:
            stayed = tuple(node for node in ring.members if node not in ring.joined)
            rest: list[wire.Mcast] = []
            if before is not None:
                contiguous, rest = self._of(before.ring_id)
                yield from map(_delivery, contiguous)
            yield ConfigurationChange(True, ring.ring_id, stayed, ring.left, ())
            yield from (_delivery(mcast) for mcast in rest if mcast.system_from in stayed)
            yield ConfigurationChange(False, ring.ring_id, ring.members, (), ring.joined)
            before = ring
        if before is not None:
            yield from map(_delivery, self._of(before.ring_id)[0])

    def _of(self, ring_id: RingId) -> tuple[list[wire.Mcast], list[wire.Mcast]]:
        """The ordinary messages of a ring: those before the first gap, and those behind it.

        Recovery messages take numbers of their own ring but are never delivered themselves.
        """
        known = self.mcasts.get(ring_id, {})
        seqs = sorted(known)
        end = next((index for index, seq in enumerate(seqs) if seq != seqs[0] + index), len(seqs))
        parts = ([known[seq] for seq in part] for part in (seqs[:end], seqs[end:]))
        contiguous, rest = ([mcast for mcast in part if mcast.encapsulated == wire.ORDINARY] for part in parts)
        return contiguous, rest


def _delivery(mcast: wire.Mcast) -> Deliver:
    return Deliver(mcast.ring_id, mcast.seq, mcast.nodeid, mcast.payload, not mcast.little)


def daemon_lives(timeline: Timeline, nodeid: int) -> list[DaemonLife]:
    """The lives of a node's corosync in a recorded timeline, oldest first; empty if no ring of it is known."""
    lives: list[DaemonLife] = []
    for event in timeline:
        body = event.body
        if event.node != nodeid:
            continue
        if isinstance(body, ProcessStarted) and body.process == "corosync":
            lives.append(DaemonLife())
        elif isinstance(body, MembershipInstalled):
            lives[-1].rings.append(body)
        else:
            data = _mcast_bytes(timeline, event.cause, body)
            if data is not None and lives:
                mcast = wire.decode(data)
                assert isinstance(mcast, wire.Mcast)
                lives[-1].learn(mcast)
    return [life for life in lives if life.rings]


def _mcast_bytes(timeline: Timeline, cause: int, body: object) -> bytes | None:
    """The datagram, if the event is a multicast that left or reached the node."""
    if isinstance(body, DatagramReceived) and cause >= 0:
        body = timeline[cause].body
    if isinstance(body, DatagramSent) and body.data[3] == wire.MCAST:
        return body.data
    return None
