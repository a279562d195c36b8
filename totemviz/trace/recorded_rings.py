"""What the whole recording says about each ring: facts that do not change during the ring's life."""

from __future__ import annotations

import msgspec

from totemviz.totem import wire
from totemviz.totem.effects import RingId
from totemviz.trace.events import UNKNOWN


def newer(token_seq: int, than: int) -> bool:
    """Whether a token counter is ahead of another, around the end of 32 bits."""
    return 0 < token_seq - than & 0xFFFFFFFF < 0x80000000


def at_most(seq: int, limit: int) -> bool:
    """Corosync's comparison of message numbers; 0xffffffff counts as -1 (``sq.h: sq_lte_compare``, sheet §0.4)."""
    if seq > 0x80000000 or limit > 0x80000000:
        seq, limit = seq - 0x10000 & 0xFFFFFFFF, limit - 0x10000 & 0xFFFFFFFF
    return seq <= limit


class _Ring(msgspec.Struct):
    committed: tuple[int, ...] = ()
    actors: set[int] = msgspec.field(default_factory=set)
    size: int = 0
    on_wire: bool = False


class RingFacts:
    """Members of every ring, from its commit token or, for rings older than the capture, from its tokens.

    ``token_seq`` grows by one per hop, so two visits at the same node tell the number of members; the members are
    known when as many nodes were seen acting in the ring. Rings of one node keep their tokens to themselves.
    """

    def __init__(self) -> None:
        self._rings: dict[RingId, _Ring] = {}
        self._last_token: dict[tuple[int, RingId], int] = {}
        self._alone_join_seq: dict[int, int] = {}
        self._old_rings: set[RingId] = set()

    def learn(self, message: wire.Message, source: int, target: int) -> None:
        """Take in one message of any node, in order of time."""
        if isinstance(message, wire.Join):
            if message.proc == (source,):
                self._alone_join_seq[source] = message.ring_seq
            return
        ring = self._rings.get(message.ring_id)
        if ring is None:
            ring = self._rings[message.ring_id] = _Ring()
        if isinstance(message, wire.CommitToken):
            ring.committed = message.addr
            ring.on_wire = True
            for node, entry in zip(message.addr, message.entries, strict=True):
                if entry.ring_id.rep == node and self._was_operational(node, entry):
                    self._old_rings.add(entry.ring_id)
            return
        ring.actors.add(source)
        if isinstance(message, wire.Token):
            ring.on_wire = True
            if target != UNKNOWN:
                ring.actors.add(target)
            key = target, message.ring_id
            last = self._last_token.get(key)
            if last is None or newer(message.token_seq, last):
                self._last_token[key] = message.token_seq
                if last is not None:
                    hops = message.token_seq - last & 0xFFFFFFFF
                    ring.size = min(ring.size or hops, hops)

    def _was_operational(self, node: int, entry: wire.CommitEntry) -> bool:
        """A line in the commit token names the last operational ring, or the id the process started with.

        It is the former if something was delivered in it, or if the process sent joins with a smaller number before.
        """
        return entry.high_delivered > 0 or entry.ring_id.seq > self._alone_join_seq.get(node, entry.ring_id.seq)

    def on_wire(self, ring_id: RingId) -> bool:
        """Whether a token of this ring was seen."""
        ring = self._rings.get(ring_id)
        return ring is not None and ring.on_wire

    def members(self, ring_id: RingId) -> tuple[int, ...] | None:
        """The members in ring order, None if the recording does not tell."""
        ring = self._rings.get(ring_id)
        if ring is None or not ring.on_wire:
            return None
        if ring.committed:
            return ring.committed
        return tuple(sorted(ring.actors)) if len(ring.actors) == ring.size else None

    def was_alone(self, ring_id: RingId) -> bool:
        """Whether ``ring_id`` was an operational ring of one node, proved by its line in a later commit token.

        It may have left no other trace: it can be short, and with knet nothing is sent before a link is up.
        """
        return ring_id in self._old_rings and not self.on_wire(ring_id)
