"""What a recording shows of one node: what reached it, what it sent, and which daemons were it, one after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

import msgspec

from totemviz.totem.config import MS, RING_SEQ_STEP, Transport
from totemviz.totem.effects import RingId
from totemviz.totem.wire import ORDINARY, CommitToken, Join, Mcast, MergeDetect, Message, Token, decode
from totemviz.trace.events import DatagramReceived, DatagramSent
from totemviz.trace.timeline import Timeline

EXCLUDED = ("target", "backlog")
"""Fields that are never compared on UDP and UDPU; on knet the target is set and compared."""

LOOP_NS = 20_000
"""One turn of a ring of one node, whose token never meets the wire."""

LAG_NS = 20 * MS
"""A running daemon answers within this time of the capture's time stamp."""

PAUSE_NS = 250 * MS
"""A node that owes an answer and stays silent this long was not running."""

BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


LAG_NS = 20 * MS
"""A running daemon answers within this time of the capture's time stamp."""

PAUSE_NS = 250 * MS
"""A node that owes an answer and stays silent this long was not running."""

BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


class NothingToShadow(ValueError):  # noqa: N818 - an answer about the recording
    """The recording does not show a whole life of the node from its start; one line."""


class Outbound(msgspec.Struct, gc=False):
    """A datagram one side sent, and what of it is compared."""

    time_ns: int
    kind: str
    message: Message
    determined: tuple[Any, ...]


class Life(msgspec.Struct, frozen=True):
    """One process that was the node's daemon: its first and last datagram, and the ring seq in its file.

    On knet nothing is sent before a link is up, so the ring of one that comes first is not seen. ``unseen_packets`` is
    how many packets were ordered in it (-1: the life begins with a join that was seen).
    """

    start_ns: int
    end_ns: int
    stored: int
    unseen_packets: int = -1
    first_merge_detect_ns: int = -1


class Record:
    """What the recording shows of one node."""

    def __init__(self, timeline: Timeline, nodeid: int, transport: Transport) -> None:
        self.nodeid = nodeid
        self._visit_began_ns: int | None = None
        self._knet = transport is Transport.KNET
        self.excluded = ("backlog",) if transport is Transport.KNET else EXCLUDED
        self.received: list[tuple[int, bytes]] = []
        self.sent: list[Outbound] = []
        self.tokens: dict[tuple[RingId, int], Token] = {}
        self.answers_ns: dict[tuple[RingId, int], int] = {}
        self.resends_ns: list[int] = []
        self.mcasts: dict[RingId, dict[int, Outbound]] = {}
        for event in timeline:
            body = event.body
            if event.node != nodeid:
                continue
            if isinstance(body, DatagramSent) and not event.inferred:
                self._sent(event.time_ns, body)
            elif isinstance(body, DatagramReceived) and body.source != nodeid:
                cause = timeline[event.cause].body
                if isinstance(cause, DatagramSent):
                    self.received.append((event.time_ns, cause.data))

    def _sent(self, time_ns: int, body: DatagramSent) -> None:
        outbound = self.outbound(time_ns, body.data)
        message = outbound.message
        self.sent.append(outbound)
        if isinstance(message, Token):
            key = (message.ring_id, message.token_seq)
            if key not in self.tokens:
                self.tokens[key] = message
                visit = self._visit_began_ns
                self.answers_ns[key] = time_ns if visit is None else visit
            else:
                self.resends_ns.append(time_ns)
            self._visit_began_ns = None
        elif isinstance(message, Mcast):
            if self._visit_began_ns is None or time_ns - self._visit_began_ns > LAG_NS:
                self._visit_began_ns = time_ns
            if message.system_from == self.nodeid and message.encapsulated == ORDINARY:
                self.mcasts.setdefault(message.ring_id, {}).setdefault(message.seq, outbound)

    def outbound(self, time_ns: int, data: bytes) -> Outbound:
        """Decode a datagram and pick what is compared."""
        message = decode(data)
        fields = tuple(getattr(message, field) for field in message.__struct_fields__ if field not in self.excluded)
        return Outbound(time_ns, str(message.__struct_config__.tag), message, (type(message), *fields))

    def sent_between(self, start_ns: int, end_ns: int) -> list[Outbound]:
        """What the real node sent in a span, both ends included."""
        first = bisect_left(self.sent, start_ns, key=_time_ns)
        return self.sent[first : bisect_right(self.sent, end_ns, lo=first, key=_time_ns)]

    def lives(self) -> Iterator[Life]:
        """The processes that were the node's daemon, one after the other."""
        starts = self._seen_starts()
        if not starts and self._knet:
            starts = self._unseen_starts()
        for index, life in enumerate(starts):
            until = starts[index + 1].start_ns if index + 1 < len(starts) else None
            end_ns = max(sent.time_ns for sent in self.sent if until is None or sent.time_ns < until)
            yield msgspec.structs.replace(life, end_ns=end_ns)

    def _seen_starts(self) -> list[Life]:
        """UDP and UDPU: a daemon's first message is a join of a node that knows nobody."""
        starts: list[Life] = []
        ring_seq = -1
        for outbound in self.sent:
            message = outbound.message
            if isinstance(message, Join) and not message.is_leave:
                alone = message.proc == (self.nodeid,) and not message.failed
                if alone and (not starts or message.ring_seq == ring_seq + 1):
                    starts.append(Life(outbound.time_ns, 0, message.ring_seq - 1))
                ring_seq = message.ring_seq
            elif isinstance(message, Token):
                ring_seq = message.ring_id.seq
        return starts

    def _unseen_starts(self) -> list[Life]:
        """Knet: the first ring, of one, is 5 above what the file held; later rings go up by 4."""
        starts: list[Life] = []
        ring_seq = -1
        for outbound in self.sent:
            message = outbound.message
            if isinstance(message, Join) and not message.is_leave:
                seq = message.ring_seq
            elif isinstance(message, MergeDetect | Token):
                seq = message.ring_id.seq
            else:
                continue
            first = not starts and isinstance(message, Join | MergeDetect)
            if first or (starts and (seq - ring_seq) % RING_SEQ_STEP == 1):
                merge_ns = outbound.time_ns if isinstance(message, MergeDetect) else -1
                ring_id = RingId(self.nodeid, seq)
                starts.append(Life(outbound.time_ns, 0, seq - 1 - RING_SEQ_STEP, self._packets(ring_id), merge_ns))
            ring_seq = seq
        return starts

    def _packets(self, ring_id: RingId) -> int:
        """How many packets a ring of this node alone ordered: its line in a commit token says so."""
        for outbound in self.sent:
            if isinstance(outbound.message, CommitToken):
                for entry in outbound.message.entries:
                    if entry.ring_id == ring_id:
                        return entry.aru
        return 0

    def next_sent_ns(self, time_ns: int) -> int | None:
        """When the real node next sent something, at or after a moment."""
        index = bisect_left(self.sent, time_ns, key=_time_ns)
        return self.sent[index].time_ns if index < len(self.sent) else None


def _time_ns(outbound: Outbound) -> int:
    return outbound.time_ns
