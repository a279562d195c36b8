"""Between a client and the daemon: libqb's rings, the backlog behind a reader, and when a client may send.

A connection is three ring buffers of 1 MiB in memory that both sides share, a word by which the daemon stops a sender,
and a socket over which each side wakes the other, one byte for a message (libqb: ``ipcs.c``, ``ringbuffer.c``).

    client ── requests ──► daemon     read 50, 5 or 1 at a time, not at all while the word is set
    client ◄── events ──── daemon     a full ring sends the rest into a list on the daemon's heap, without limit

Back-pressure on senders comes from two things only: a sync in progress, and this node's own send queue
(``FlowControl``). A reader that is slow, here or on another node, never holds up a sender; it costs its own node's
daemon memory (sheet §1.6).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

import msgspec

from totemviz.corosync.effects import CpgError

RING_SIZE = 1024 * 1024
"""What corosync's libraries ask for, per ring (``lib/util.h``: IPC_REQUEST_SIZE and its sisters)."""

ATOMIC_MESSAGE_SIZE_MAX = RING_SIZE - 1024
"""The largest CPG message that goes in one piece (``lib/cpg.c: cpg_max_atomic_msgsize_get``)."""

PAGE_SIZE = 4096
WORD_SIZE = 4
CHUNK_HEADER_WORDS = 2
CHUNK_MARGIN = (CHUNK_HEADER_WORDS + 1) * WORD_SIZE

SOCKET_WAKE_UPS = 278
"""Wake-ups that fit into the connection's socket: Linux' 212,992 bytes at 768 for a buffer that holds one byte."""

SOCKET_WRITABLE = SOCKET_WAKE_UPS // 4
"""Linux calls such a socket writable again when three quarters of it are free."""

MALLOC_ALIGN = 16
MALLOC_HEADER = 8
QUEUE_ITEM_SIZE = 32

RESERVED_SLOTS = 1
SLOT_OVERHEAD = 8 + 16
GROUP_NAME_LENGTH = 1
CPG_JOIN_REQUEST_SIZE = 168
CPG_LEAVE_REQUEST_SIZE = 160
CPG_MCAST_REQUEST_SIZE = 40
CPG_PARTIAL_REQUEST_SIZE = 56

RECHECK_TIMER = "send_queue_recheck"
"""While the send queue is CRITICAL it is looked at every millisecond (``main.c: corosync_recheck_the_q_level``)."""

RECHECK_MS = 1

FLUSH_TIMER = "event_queue_flush"
"""While a client has a backlog the main loop waits for nothing longer than this (``loop.c: qb_loop_run``)."""

FLUSH_MS = 50


class QueueLevel(IntEnum):
    """How full the send queue is (``totempg.c: check_q_level``)."""

    LOW = 0
    GOOD = 1
    HIGH = 2
    CRITICAL = 3


REQUESTS_PER_EVENT = {QueueLevel.LOW: 50, QueueLevel.GOOD: 5, QueueLevel.HIGH: 1, QueueLevel.CRITICAL: 0}
"""Requests the daemon reads when a connection is readable; a fuller queue also lowers the connections' priority in the
main loop (``ipc_glue.c: cs_ipcs_check_for_flow_control``, ``ipcs.c: _request_q_len_get``).
"""


class FlowControl:
    """Level of the send queue, with the gaps between the bands that keep it from flapping (sheet §7.4)."""

    def __init__(self, net_mtu: int) -> None:
        self._slot_size = net_mtu - SLOT_OVERHEAD
        self.level = QueueLevel.GOOD
        self.percent = 0

    def slots(self, size: int) -> int:
        """Send queue slots that are reserved for a request of ``size`` bytes."""
        return (size + GROUP_NAME_LENGTH) // self._slot_size + 1

    def has_room(self, size: int, free: int) -> bool:
        """May a request of ``size`` bytes go into a queue with ``free`` slots?"""
        return free >= self.slots(size)

    def check(self, free: int, queue_size: int, reserved: int = 0) -> QueueLevel:
        """Look at the queue again, ``reserved`` slots being set aside, and return the level."""
        self.percent = percent = 100 - (free - RESERVED_SLOTS - reserved) * 100 // queue_size
        if percent >= 75:
            self.level = QueueLevel.CRITICAL
        elif percent < 30:
            self.level = QueueLevel.LOW
        elif 40 < percent < 50:
            self.level = QueueLevel.GOOD
        elif 60 < percent < 70:
            self.level = QueueLevel.HIGH
        return self.level


class RingBuffer:
    """How full a ring is; messages are only sizes here (``ringbuffer.c``)."""

    def __init__(self, size: int = RING_SIZE) -> None:
        wanted = size + CHUNK_MARGIN + 1
        self._words = -(-wanted // PAGE_SIZE) * PAGE_SIZE // WORD_SIZE
        self._used_words = 0
        self._chunks: deque[int] = deque()

    def __len__(self) -> int:
        """Messages in the ring."""
        return len(self._chunks)

    @property
    def used_bytes(self) -> int:
        """Bytes taken, headers included."""
        return self._used_words * WORD_SIZE

    def fits(self, size: int) -> bool:
        """Is there room for a message of ``size`` bytes?"""
        free_words = self._words - self._used_words - 1 if self._used_words else self._words
        return free_words * WORD_SIZE >= size + CHUNK_MARGIN

    def put(self, size: int) -> None:
        """Write a message that fits."""
        words = CHUNK_HEADER_WORDS + -(-size // WORD_SIZE)
        self._chunks.append(words)
        self._used_words += words

    def take(self) -> None:
        """Read the oldest message."""
        self._used_words -= self._chunks.popleft()


class WakeUps:
    """The bytes in the socket that tell a client how many events to read.

    What does not fit is owed, and sent as one piece as soon as there is room (``ipcs.c: new_event_notification``). A
    client sees no event whose byte it has not got.
    """

    def __init__(self) -> None:
        self._buffers: deque[int] = deque()
        self._owed = 0

    @property
    def readable(self) -> bool:
        """Does the client see that there is something to read?"""
        return bool(self._buffers)

    @property
    def daemon_may_send(self) -> bool:
        """Is something owed, and the socket writable, so that the daemon's main loop wakes?"""
        return self._owed > 0 and len(self._buffers) <= SOCKET_WRITABLE

    def send(self) -> None:
        """One more event."""
        self._owed += 1
        self.send_owed()

    def send_owed(self) -> None:
        """Send what is owed if the socket takes it."""
        if self._owed and len(self._buffers) < SOCKET_WAKE_UPS:
            self._buffers.append(self._owed)
            self._owed = 0

    def take(self) -> None:
        """The client reads one byte."""
        self._buffers[0] -= 1
        if self._buffers[0] == 0:
            self._buffers.popleft()


class Join(msgspec.Struct, frozen=True, gc=False):
    """Request cpg_join; ``group`` is text, one character per byte."""

    pid: int
    group: str

    @property
    def size(self) -> int:
        """Bytes in the ring."""
        return CPG_JOIN_REQUEST_SIZE


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Request cpg_leave."""

    @property
    def size(self) -> int:
        """Bytes in the ring."""
        return CPG_LEAVE_REQUEST_SIZE


class Mcast(msgspec.Struct, frozen=True, gc=False):
    """Request cpg_mcast_joined, the only one that nobody answers."""

    payload: bytes

    @property
    def size(self) -> int:
        """Bytes in the ring."""
        return CPG_MCAST_REQUEST_SIZE + len(self.payload)


class PartialMcast(msgspec.Struct, frozen=True, gc=False):
    """One part of a message above the atomic size; ``total`` is the size of the whole in bytes."""

    total: int
    part: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes in the ring."""
        return CPG_PARTIAL_REQUEST_SIZE + len(self.payload)


Request = Join | Leave | Mcast | PartialMcast


class Connection:
    """One client's connection: what lies in its rings, and what waits for room on the daemon's heap.

    The client's side are ``send`` and ``take_event``, the daemon's ``take_request``, ``put_event`` and ``flush``.
    """

    def __init__(self, client: int) -> None:
        self.client = client
        self.stopped = False
        self.queuing = False
        self.sent = 0
        self.queue_bytes = 0
        self.events = RingBuffer()
        self._wake_ups = WakeUps()
        self._queue: deque[int] = deque()
        self._requests: deque[Request] = deque()
        self._request_ring = RingBuffer()

    # client

    def send(self, request: Request) -> CpgError:
        """Put a request into the ring; TRY_AGAIN if the daemon has stopped senders or there is no room.

        The library minds the daemon's word only for messages; other calls go into the ring and wait for their answer
        (``ipcc.c: qb_ipcc_sendv``, ``lib/cpg.c``: the limit is raised to 2 around mcast calls).
        """
        if self.stopped and isinstance(request, (Mcast, PartialMcast)):
            return CpgError.TRY_AGAIN
        if not self._request_ring.fits(request.size):
            return CpgError.TRY_AGAIN
        self._request_ring.put(request.size)
        self._requests.append(request)
        return CpgError.OK

    @property
    def readable(self) -> bool:
        """Is there an event the client knows of?"""
        return self._wake_ups.readable

    def take_event(self) -> bool:
        """Read the oldest event out of the ring; True if that wakes the daemon, which owes wake-ups."""
        self.events.take()
        self._wake_ups.take()
        return self._wake_ups.daemon_may_send

    # daemon

    @property
    def requests(self) -> int:
        """Requests that wait in the ring."""
        return len(self._requests)

    @property
    def queued(self) -> int:
        """Events that wait on the heap."""
        return len(self._queue)

    def take_request(self) -> Request:
        """Read the oldest request."""
        self._request_ring.take()
        return self._requests.popleft()

    def put_event(self, size: int) -> None:
        """An event for the client, into the ring or, once that was full, behind the others on the heap.

        Source: ``ipc_glue.c: msg_send_or_queue``.
        """
        if not self.queuing and self.events.fits(size):
            self.events.put(size)
            self._wake_ups.send()
            return
        if not self.queuing:
            self.queuing = True
            self.sent = 0
        self._queue.append(size)
        self.queue_bytes += heap_bytes(size)

    def flush(self) -> int:
        """Move events from the heap to the ring while there is room; returns how many (``ipc_glue.c: outq_flush``)."""
        moved = 0
        queue, events = self._queue, self.events
        while queue and events.fits(queue[0]):
            size = queue.popleft()
            self.queue_bytes -= heap_bytes(size)
            events.put(size)
            self._wake_ups.send()
            moved += 1
        self._wake_ups.send_owed()
        self.sent += moved
        self.queuing = bool(queue)
        return moved


def heap_bytes(size: int) -> int:
    """Bytes that malloc takes for one event of the list: a copy of the message, and the list's item."""
    return sum(-(-(part + MALLOC_HEADER) // MALLOC_ALIGN) * MALLOC_ALIGN for part in (size, QUEUE_ITEM_SIZE))
