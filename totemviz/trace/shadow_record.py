"""What a recording shows of one node: what reached it, what it sent, and which daemons were it, one after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from totemviz.totem.config import MS, RING_SEQ_STEP, Transport
from totemviz.totem.effects import MembershipInstalled, RingId
from totemviz.totem.wire import ORDINARY, CommitToken, Join, Mcast, MergeDetect, Message, Token, decode
from totemviz.trace.events import DatagramReceived, DatagramSent
from totemviz.trace.timeline import Timeline

EXCLUDED = ("target", "backlog")
"""Fields that are never compared on UDP and UDPU; on knet the target is set and compared."""

LAG_NS = 20 * MS
"""A running daemon answers within this time of the capture's time stamp, and its timers are late by no more."""

EARLY_NS = MS
"""The capture's time stamp of what a timer made a node send may be this much before our timer."""

PAUSE_NS = 250 * MS
"""A node that owes an answer and stays silent this long was not running."""

SILENT_START_NS = 1000 * MS
"""A daemon on knet says nothing for at least this long after its start: its links need three pongs."""


TokenKey: TypeAlias = tuple[RingId, int]
"""What tells tokens apart: ring and token_seq."""


class NothingToShadow(ValueError):  # noqa: N818 - an answer about the recording
    """The recording does not show a whole life of the node from its start; one line."""


class Outbound(msgspec.Struct, gc=False):
    """A datagram one side sent, and what of it is compared."""

    time_ns: int
    kind: str
    message: Message
    determined: tuple[Any, ...]


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A datagram that reached the node's socket."""

    time_ns: int
    source: int
    data: bytes


class Life(msgspec.Struct, frozen=True):
    """One process that was the node's daemon: its first and last datagram, and the ring seq in its file.

    On knet nothing is sent before a link is up, so the ring of one that comes first is not seen. ``unseen_packets`` is
    how many packets were ordered in it (-1: the life begins with a join that was seen). ``older`` marks a process that
    was running when the capture began.
    """

    start_ns: int
    end_ns: int
    stored: int
    unseen_packets: int = -1
    first_merge_detect_ns: int = -1
    older: bool = False


class Record:
    """What the recording shows of one node."""

    def __init__(self, timeline: Timeline, nodeid: int, transport: Transport) -> None:
        self.nodeid = nodeid
        self._visit_began_ns: int | None = None
        self._knet = transport is Transport.KNET
        self.excluded = ("backlog",) if transport is Transport.KNET else EXCLUDED
        self.received: list[Arrival] = []
        self.sent: list[Outbound] = []
        self.tokens: dict[TokenKey, Token] = {}
        self.answers_ns: dict[TokenKey, int] = {}
        self.first_sent_ns: dict[TokenKey, int] = {}
        self._token_sends: list[tuple[int, TokenKey, bool]] = []
        self.mcasts: dict[RingId, dict[int, Outbound]] = {}
        self.members: dict[RingId, tuple[int, ...]] = {}
        for event in timeline:
            body = event.body
            if event.node != nodeid:
                continue
            if isinstance(body, MembershipInstalled):
                self.members[body.ring_id] = body.members
            elif isinstance(body, DatagramSent) and not event.inferred:
                self._sent(event.time_ns, body)
            elif isinstance(body, DatagramReceived) and body.source != nodeid:
                cause = timeline[event.cause].body
                if isinstance(cause, DatagramSent):
                    self.received.append(Arrival(event.time_ns, body.source, cause.data))

    def _sent(self, time_ns: int, body: DatagramSent) -> None:
        outbound = self.outbound(time_ns, body.data)
        message = outbound.message
        self.sent.append(outbound)
        if isinstance(message, Token):
            key = (message.ring_id, message.token_seq)
            self._token_sends.append((time_ns, key, key in self.tokens))
            if key not in self.tokens:
                self.tokens[key] = message
                self.first_sent_ns[key] = time_ns
                visit = self._visit_began_ns
                self.answers_ns[key] = time_ns if visit is None else visit
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

    def token_sends(self, start_ns: int, end_ns: int) -> list[tuple[int, TokenKey, bool]]:
        """Tokens the node sent in a span, both ends included: when, which one, and whether not for the first time."""
        first = bisect_left(self._token_sends, start_ns, key=_first)
        return self._token_sends[first : bisect_right(self._token_sends, end_ns, lo=first, key=_first)]

    def find(self, determined: tuple[Any, ...], start_ns: int, end_ns: int) -> int | None:
        """When the real node first sent exactly this in a span, both ends included; None if it did not."""
        for index in range(bisect_left(self.sent, start_ns, key=_time_ns), len(self.sent)):
            outbound = self.sent[index]
            if outbound.time_ns > end_ns:
                break
            if outbound.determined == determined:
                return outbound.time_ns
        return None

    def lives(self) -> Iterator[Life]:
        """The processes that were the node's daemon, one after the other."""
        starts = self._seen_starts()
        if not starts and self._knet:
            starts = self._unseen_starts()
        first_ns = self.sent[0].time_ns if self.sent else 0
        if self.sent and (not starts or starts[0].start_ns > first_ns):
            starts.insert(0, Life(first_ns, 0, 0, older=True))
        for index, life in enumerate(starts):
            until = starts[index + 1].start_ns if index + 1 < len(starts) else None
            end_ns = max(sent.time_ns for sent in self.sent if until is None or sent.time_ns < until)
            yield msgspec.structs.replace(life, end_ns=end_ns)

    def _seen_starts(self) -> list[Life]:
        """UDP and UDPU: a daemon's first message is a join of a node that knows nobody, one above its ring-id file."""
        starts: list[Life] = []
        for outbound, ring_seq, _ in self._with_history():
            message = outbound.message
            if isinstance(message, Join) and message.proc == (self.nodeid,) and not message.failed:
                above = message.ring_seq - ring_seq
                if ring_seq < 0 or (above > 0 and above % RING_SEQ_STEP == 1):
                    starts.append(Life(outbound.time_ns, 0, message.ring_seq - 1))
        return starts

    def _unseen_starts(self) -> list[Life]:
        """Knet: links take seconds to come up; the first ring, of one, is 5 above what the file held, later ones 4."""
        starts: list[Life] = []
        for outbound, ring_seq, silence_ns in self._with_history():
            message = outbound.message
            if not isinstance(message, Join | MergeDetect) or (isinstance(message, Join) and message.is_leave):
                continue
            alone = RingId(self.nodeid, _ring_seq(message))
            above = alone.seq - ring_seq
            restarted = ring_seq >= 0 and above > 0 and above % RING_SEQ_STEP == 1 and silence_ns > SILENT_START_NS
            if restarted or (ring_seq < 0 and alone not in self._token_rings):
                merge_ns = outbound.time_ns if isinstance(message, MergeDetect) else -1
                stored = alone.seq - 1 - RING_SEQ_STEP
                starts.append(Life(outbound.time_ns, 0, stored, self.packets(alone), merge_ns))
        return starts

    def _with_history(self) -> Iterator[tuple[Outbound, int, int]]:
        """What the node sent, each with the ring seq it had before (-1: unknown) and how long it had been silent."""
        ring_seq, last_ns = -1, 0
        for outbound in self.sent:
            yield outbound, ring_seq, outbound.time_ns - last_ns
            ring_seq, last_ns = _ring_seq(outbound.message), outbound.time_ns

    @property
    def _token_rings(self) -> set[RingId]:
        return {ring_id for ring_id, _ in self.tokens}

    def packets(self, ring_id: RingId) -> int:
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


def _first(item: tuple[int, TokenKey, bool]) -> int:
    return item[0]


def _time_ns(outbound: Outbound) -> int:
    return outbound.time_ns


def _ring_seq(message: Message) -> int:
    return message.ring_seq if isinstance(message, Join) else message.ring_id.seq
