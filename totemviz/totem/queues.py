"""The sort queue: ordered messages by sequence number, from the first one somebody may still need."""

from __future__ import annotations

import msgspec

from totemviz.totem.config import SORT_QUEUE_SLOTS
from totemviz.totem.seq import U32
from totemviz.totem.wire import Mcast


class Slot(msgspec.Struct, frozen=True, gc=False):
    """A stored message: its fields, and its datagram as it goes out again when somebody asks for it."""

    mcast: Mcast
    datagram: bytes


class SortQueue:
    """16384 slots relative to ``head``, the first seq not yet released (sheet §6; ``sq.h``)."""

    __slots__ = ("head", "misses", "slots")

    def __init__(self, head: int = 0) -> None:
        self.head = head
        self.slots: dict[int, Slot] = {}
        self.misses: dict[int, int] = {}

    def __deepcopy__(self, memo: object) -> SortQueue:
        """Messages never change, so a copy shares them."""
        made = SortQueue()
        made.copy_from(self)
        return made

    def __contains__(self, seq: int) -> bool:
        return seq in self.slots

    def in_range(self, seq: int) -> bool:
        """Whether the queue has a slot for ``seq``: not yet released and not too far ahead."""
        return ((seq - self.head) & U32) < SORT_QUEUE_SLOTS

    def insert(self, seq: int, slot: Slot) -> None:
        """Store a message; the hole is forgotten."""
        self.slots[seq] = slot
        self.misses.pop(seq, None)

    def miss(self, seq: int) -> int:
        """Count one more token visit at which ``seq`` is missing; returns the count."""
        count = self.misses.get(seq, 0) + 1
        self.misses[seq] = count
        return count

    def release(self, up_to: int) -> None:
        """Free everything up to and including ``up_to``."""
        seq = self.head
        while seq != (up_to + 1) & U32:
            self.slots.pop(seq, None)
            self.misses.pop(seq, None)
            seq = (seq + 1) & U32
        self.head = seq

    def reset(self, head: int = 0) -> None:
        """Empty the queue; it starts at ``head`` again."""
        self.head = head
        self.slots.clear()
        self.misses.clear()

    def copy_from(self, other: SortQueue) -> None:
        """Become an independent copy of ``other``."""
        self.head = other.head
        self.slots = dict(other.slots)
        self.misses = dict(other.misses)
