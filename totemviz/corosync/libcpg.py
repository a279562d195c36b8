"""What the CPG library does in a client: it cuts large messages into parts, and puts parts together (``lib/cpg.c``).

A message above the atomic size goes as *parts*, each a request that the daemon answers. While the daemon has stopped
senders a part is tried again every 10 ms, 100 times at most. The client is blocked all that time.
"""

from __future__ import annotations

from collections.abc import Iterable

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError, CpgMember, CpgPartDelivered
from totemviz.corosync.ipc import ATOMIC_MESSAGE_SIZE_MAX, PartialMcast

FIRST, CONTINUED, LAST = 1, 2, 3
PART_RETRY_NS = 10_000_000
PART_RETRIES_MAX = 100


class PartSender:
    """One large message on its way out (``send_fragments``).

    Send ``request``; tell ``refused`` if the ring does not take it, ``answered`` when the daemon has answered.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._sent = 0
        self._retries = 0

    @property
    def request(self) -> PartialMcast:
        """The part whose turn it is."""
        total, sent = len(self._payload), self._sent
        piece = self._payload[sent : sent + ATOMIC_MESSAGE_SIZE_MAX]
        part = FIRST if sent == 0 else LAST if sent + len(piece) == total else CONTINUED
        return PartialMcast(total, part, piece)

    def refused(self) -> bool:
        """The daemon has stopped senders: True if the part is to be tried again, ``PART_RETRY_NS`` later."""
        self._retries += 1
        return self._retries <= PART_RETRIES_MAX

    def answered(self, error: CpgError) -> bool:
        """The daemon has taken the part, or refused the message as a whole; True if another part is to follow."""
        self._retries = 0
        self._sent += ATOMIC_MESSAGE_SIZE_MAX
        return error is CpgError.OK and self._sent < len(self._payload)


class PartAssembler:
    """The large messages on their way in to one client (``cpg_dispatch``)."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], list[bytes]] = {}

    def event(self, event: CpgConfchg | CpgDelivered | CpgPartDelivered) -> CpgConfchg | CpgDelivered | None:
        """What the client gets to see of an event: None for all parts of a message but its last."""
        if isinstance(event, CpgPartDelivered):
            return self._part(event)
        if isinstance(event, CpgConfchg) and self._parts:
            self._forget(event.left)
        return event

    def _part(self, event: CpgPartDelivered) -> CpgDelivered | None:
        sender = (event.nodeid, event.pid)
        if event.part == FIRST:
            self._parts[sender] = []
        parts = self._parts.get(sender)
        if parts is None:  # the first part was sent before this client joined
            return None
        parts.append(event.fragment)
        if event.part != LAST:
            return None
        del self._parts[sender]
        return CpgDelivered(event.client, event.group, event.nodeid, event.pid, b"".join(parts), event.seq)

    def _forget(self, left: Iterable[CpgMember]) -> None:
        """Half messages of those that left never become whole."""
        for member in left:
            self._parts.pop((member.nodeid, member.pid), None)
