"""When may a client send? The level machine between send queue and IPC (sheet §1.6, §7.4).

Back-pressure on senders comes from two things only: a sync in progress, and this node's own send queue. A reader
that is slow, here or on another node, never holds up a sender.
"""

from __future__ import annotations

from enum import IntEnum

ATOMIC_MESSAGE_SIZE_MAX = 1024 * 1024 - 1024
RESERVED_SLOTS = 1
SLOT_OVERHEAD = 8 + 16
GROUP_NAME_LENGTH = 1
CPG_JOIN_REQUEST_SIZE = 168
CPG_LEAVE_REQUEST_SIZE = 160
CPG_MCAST_REQUEST_SIZE = 40


class QueueLevel(IntEnum):
    """How full the send queue is (``totempg.c: check_q_level``)."""

    LOW = 0
    GOOD = 1
    HIGH = 2
    CRITICAL = 3


class FlowControl:
    """Level of the send queue, with the gaps between the bands that keep it from flapping."""

    def __init__(self, net_mtu: int) -> None:
        self._slot_size = net_mtu - SLOT_OVERHEAD
        self.level = QueueLevel.GOOD

    def slots(self, size: int) -> int:
        """Send queue slots that are reserved for a request of ``size`` bytes."""
        return (size + GROUP_NAME_LENGTH) // self._slot_size + 1

    def has_room(self, size: int, free: int) -> bool:
        """May a request of ``size`` bytes go into a queue with ``free`` slots?"""
        return free >= self.slots(size)

    def check(self, free: int, queue_size: int, reserved: int = 0) -> QueueLevel:
        """Look at the queue again, ``reserved`` slots being set aside, and return the level."""
        percent = 100 - (free - RESERVED_SLOTS - reserved) * 100 // queue_size
        if percent >= 75:
            self.level = QueueLevel.CRITICAL
        elif percent < 30:
            self.level = QueueLevel.LOW
        elif 40 < percent < 50:
            self.level = QueueLevel.GOOD
        elif 60 < percent < 70:
            self.level = QueueLevel.HIGH
        return self.level
