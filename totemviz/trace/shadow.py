"""Shadowing: our ring machine in the place of one recorded node, compared with what the real node sent.

The machine is fed exactly the datagrams the node received, at the recorded times, plus its own multicasts. What only
the real node's programs knew is taken from the recording: a message is submitted at the token visit at which the real
node multicast it, a hold is cancelled when the real node cancelled one (it had something to send), a leave is sent
when the real node said goodbye. A process that the recording shows not running (it answers late, all at once) gets
its inputs late, too. Everything else the machine must find out itself.

Not compared, because the protocol does not determine it (``EXCLUDED``): target ids on UDP and UDPU, which senders leave
uninitialised, and the token's backlog, which counts a queue that cannot be seen.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any

import msgspec

from totemviz.totem import token as token_visit
from totemviz.totem.config import MS, TotemConfig, Transport
from totemviz.totem.effects import CancelTimer, Output, RingId, Send, SetTimer, TotemTimer
from totemviz.totem.instance import Queued
from totemviz.totem.pg import Packed
from totemviz.totem.ring import Ring
from totemviz.totem.seq import U32
from totemviz.totem.states import State
from totemviz.totem.wire import ORDINARY, CommitToken, HoldCancel, Join, Mcast, MergeDetect, Message, Token, decode
from totemviz.trace.events import DatagramReceived, DatagramSent, RunStarted
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

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


class Difference(msgspec.Struct, frozen=True):
    """One datagram that does not agree: expected (recorded), got (ours). ``field`` is empty if one is missing."""

    time_ns: int
    type: str
    field: str
    expected: str
    got: str


class TypeCount(msgspec.Struct):
    """Datagrams of one type the real node sent, and how many of them ours sent too."""

    outbound: int = 0
    matched: int = 0


class ShadowResult(msgspec.Struct, frozen=True):
    """How one node compares. ``outbound`` counts a multicast once; ``extra``: datagrams only ours sent."""

    node: int
    outbound: int
    matched: int
    extra: int
    by_type: dict[str, TypeCount]
    mismatches: list[Difference]
    pauses: list[tuple[int, int]]
    not_compared: int


class _Outbound(msgspec.Struct, gc=False):
    """A datagram one side sent, and what of it is compared."""

    time_ns: int
    kind: str
    message: Message
    determined: tuple[Any, ...]


class NothingToShadow(ValueError):  # noqa: N818 - an answer about the recording
    """The recording does not show a whole life of the node from its start; one line."""


def shadow(timeline: Timeline, nodeid: int, config: TotemConfig | None = None) -> ShadowResult:
    """Put our machine in the place of node ``nodeid`` of a recorded (or simulated) timeline.

    ``config`` is derived from the number of nodes if not given. Raises NothingToShadow if the node's start is not in
    the recording.
    """
    run = next((event.body for event in timeline if isinstance(event.body, RunStarted)), None)
    transport = Transport(run.transport) if run is not None and run.transport else Transport.UDPU
    if config is None:
        config = TotemConfig.derive(len(run.nodes) if run is not None else 1, transport=transport)
    record = _Record(timeline, nodeid, config.transport)
    ours: list[_Outbound] = []
    theirs: list[_Outbound] = []
    pauses: list[tuple[int, int]] = []
    for life in record.lives():
        stage = _best_start(record, config, life)
        stage.run(life.end_ns)
        ours += stage.sent
        theirs += record.sent_between(life.start_ns, life.end_ns)
        pauses += stage.pauses
    if not theirs:
        raise NothingToShadow(f"node {nodeid}: its start is not in the recording; begin the capture before corosync")
    return _compare(nodeid, theirs, ours, pauses, len(record.sent) - len(theirs))


class _Life(msgspec.Struct, frozen=True):
    """One process that was the node's daemon: its first join, its last datagram, the ring seq in its file."""

    start_ns: int
    end_ns: int
    stored: int


class _Order(StrEnum):
    """In which order the main loop reads its two sockets when both have something (epoll decides, nobody records)."""

    OWN_FIRST = "own, network, own, …"
    NETWORK_FIRST = "network, own, network, …"
    NETWORK = "all from the network, then its own"


class _Start(msgspec.Struct, frozen=True):
    """What is not recorded of a start: how many datagrams waited in the socket before the first join, how long the
    daemon was busy after it before it read anything, and which socket it read first.
    """

    waiting: int = 0
    busy_until_ns: int = 0
    order: _Order = _Order.OWN_FIRST


def _best_start(record: _Record, config: TotemConfig, life: _Life) -> _Stage:
    """The start that explains the first second best, of all that the arrivals around the first join allow."""
    before = [time_ns for time_ns, _ in record.received if 0 < life.start_ns - time_ns <= BUSY_NS]
    second = record.next_sent_ns(life.start_ns + 1) or life.end_ns
    after = [
        time_ns for time_ns, _ in record.received if life.start_ns <= time_ns <= min(second, life.start_ns + BUSY_NS)
    ]
    real = [sent.determined for sent in record.sent_between(life.start_ns, life.start_ns + START_NS)]
    best, best_count = _Start(), -1
    for busy_until_ns, waiting, order in product((0, *after), range(len(before) + 1), _Order):
        start = _Start(waiting, busy_until_ns, order)
        stage = _Stage(record, config, life, start)
        stage.run(min(life.end_ns, life.start_ns + START_NS))
        matcher = SequenceMatcher(None, real, [sent.determined for sent in stage.sent], autojunk=False)
        count = sum(block.size for block in matcher.get_matching_blocks())
        if count > best_count:
            best, best_count = start, count
    return _Stage(record, config, life, best)


class _Record:
    """What the recording shows of one node."""

    def __init__(self, timeline: Timeline, nodeid: int, transport: Transport) -> None:
        self.nodeid = nodeid
        self._visit_began_ns: int | None = None
        self.excluded = ("backlog",) if transport is Transport.KNET else EXCLUDED
        self.received: list[tuple[int, bytes]] = []
        self.sent: list[_Outbound] = []
        self.tokens: dict[tuple[RingId, int], Token] = {}
        self.answers_ns: dict[tuple[RingId, int], int] = {}
        self.mcasts: dict[RingId, dict[int, _Outbound]] = {}
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
            self._visit_began_ns = None
        elif isinstance(message, Mcast):
            if self._visit_began_ns is None or time_ns - self._visit_began_ns > LAG_NS:
                self._visit_began_ns = time_ns
            if message.system_from == self.nodeid and message.encapsulated == ORDINARY:
                self.mcasts.setdefault(message.ring_id, {}).setdefault(message.seq, outbound)

    def outbound(self, time_ns: int, data: bytes) -> _Outbound:
        """Decode a datagram and pick what is compared."""
        message = decode(data)
        fields = tuple(getattr(message, field) for field in message.__struct_fields__ if field not in self.excluded)
        return _Outbound(time_ns, str(message.__struct_config__.tag), message, (type(message), *fields))

    def sent_between(self, start_ns: int, end_ns: int) -> list[_Outbound]:
        """What the real node sent in a span, both ends included."""
        first = bisect_left(self.sent, start_ns, key=_time_ns)
        return self.sent[first : bisect_right(self.sent, end_ns, lo=first, key=_time_ns)]

    def lives(self) -> Iterator[_Life]:
        """The processes that were the node's daemon, one after the other."""
        starts: list[tuple[int, int]] = []
        ring_seq = -1
        for outbound in self.sent:
            message = outbound.message
            if isinstance(message, Join) and not message.is_leave:
                alone = message.proc == (self.nodeid,) and not message.failed
                if alone and (not starts or message.ring_seq == ring_seq + 1):
                    starts.append((outbound.time_ns, message.ring_seq - 1))
                ring_seq = message.ring_seq
            elif isinstance(message, Token):
                ring_seq = message.ring_id.seq
        for index, (start_ns, stored) in enumerate(starts):
            until = starts[index + 1][0] if index + 1 < len(starts) else None
            last = max(s.time_ns for s in self.sent if until is None or s.time_ns < until)
            yield _Life(start_ns, last, stored)

    def next_sent_ns(self, time_ns: int) -> int | None:
        """When the real node next sent something, at or after a moment."""
        index = bisect_left(self.sent, time_ns, key=_time_ns)
        return self.sent[index].time_ns if index < len(self.sent) else None


def _time_ns(outbound: _Outbound) -> int:
    return outbound.time_ns


class _Stage:
    """One life of the node, played by our machine."""

    def __init__(self, record: _Record, config: TotemConfig, life: _Life, start: _Start) -> None:
        self._record = record
        self._start_ns = life.start_ns
        self._start = start
        self._end_ns = life.end_ns
        self._ring = Ring(record.nodeid, config, life.stored)
        self._mcasts = {ring_id: dict(known) for ring_id, known in record.mcasts.items()}
        self._timers: dict[str, int] = {}
        self._loop: deque[tuple[int, bytes]] = deque()
        self._now_ns = life.start_ns
        self._paused_until_ns = -1
        self.sent: list[_Outbound] = []
        self.pauses: list[tuple[int, int]] = []

    def run(self, end_ns: int) -> None:
        """From the first join to ``end_ns``."""
        start_ns, self._end_ns = self._start_ns, end_ns
        self._do(start_ns, self._ring.start(start_ns))
        self._timers.pop(TotemTimer.STARTUP, None)
        self._do(start_ns, self._ring.expire(start_ns, TotemTimer.STARTUP))
        self._read_what_waited()
        acts = deque(self._acts())
        arrivals = self._arrivals()
        while acts or arrivals:
            handled_ns = self._handled_ns(*arrivals[0]) if arrivals else self._end_ns + 1
            if acts and acts[0][0] <= handled_ns:
                time_ns, act = acts.popleft()
                self._catch_up(time_ns)
                act(max(time_ns, self._paused_until_ns))
            elif handled_ns > self._end_ns:
                break
            else:
                time_ns = handled_ns
                self._catch_up(time_ns)
                self._feed(max(time_ns, self._paused_until_ns), arrivals.popleft()[1])
            self._run_loop(time_ns)
        self._catch_up(self._end_ns)

    def _read_what_waited(self) -> None:
        """The main loop begins: one datagram per socket and pass, the socket first that was ready first."""
        start_ns, read_ns = self._start_ns, max(self._start.busy_until_ns, self._start_ns)
        before = [data for time_ns, data in self._record.received if time_ns < start_ns]
        waiting = deque(before[len(before) - self._start.waiting :])
        waiting.extend(
            data for time_ns, data in self._record.received if start_ns <= time_ns <= self._start.busy_until_ns
        )
        if self._start.order is _Order.OWN_FIRST:
            self._read_own(read_ns)
        while waiting:
            self._feed(read_ns, waiting.popleft())
            if self._start.order is not _Order.NETWORK:
                self._read_own(read_ns)

    def _arrivals(self) -> deque[tuple[int, bytes]]:
        """The datagrams that reached the node's socket after it began to read."""
        first_ns = max(self._start_ns, self._start.busy_until_ns + 1)
        return deque(item for item in self._record.received if first_ns <= item[0] <= self._end_ns)

    def _acts(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        """What the node's programs and its operator made it do, as far as what it sent tells."""
        for outbound in self._record.sent_between(self._start_ns, self._end_ns):
            message = outbound.message
            if isinstance(message, HoldCancel):
                yield outbound.time_ns, self._cancel_hold
            elif isinstance(message, Join) and message.is_leave:
                yield outbound.time_ns, self._leave
            elif isinstance(message, Mcast) and message.encapsulated == ORDINARY:
                yield outbound.time_ns, self._submitter(message)

    def _handled_ns(self, arrived_ns: int, data: bytes) -> int:
        """When the node handled a datagram: it was captured a little before. Its answer, if there is one, tells.

        The socket is a queue, so nothing is handled before what arrived earlier.
        """
        arrived_ns = max(arrived_ns, self._now_ns)
        message = decode(data)
        if isinstance(message, Token):
            answer_ns = self._record.answers_ns.get((message.ring_id, (message.token_seq + 1) & U32))
        elif isinstance(message, Join | CommitToken | MergeDetect):
            answer_ns = self._answer_ns(arrived_ns, data)
        else:
            return arrived_ns
        if answer_ns is None or not 0 <= answer_ns - arrived_ns <= LAG_NS:
            return arrived_ns
        return answer_ns

    def _answer_ns(self, arrived_ns: int, data: bytes) -> int | None:
        """When the real node sent what our machine would answer now."""
        trial = copy.deepcopy(self._ring)
        for output in trial.receive(arrived_ns, data):
            if isinstance(output, Send) and output.target != self._record.nodeid:
                answer = self._record.outbound(arrived_ns, output.datagram).determined
                for sent in self._record.sent_between(arrived_ns, arrived_ns + LAG_NS):
                    if sent.determined == answer:
                        return sent.time_ns
                return None
        return None

    # ----------------------------------------------------------------------------------------------------- inputs

    def _feed(self, time_ns: int, data: bytes) -> None:
        message = decode(data)
        if isinstance(message, Token):
            self._fill_queue(message)
        self._perhaps_late(time_ns, partial(Ring.receive, datagram=data))

    def _fill_queue(self, token: Token) -> None:
        """Hand over what the real node multicast at this visit, and how long its queue was."""
        node = self._ring.instance
        node.unseen_queue = 0
        left = self._record.tokens.get((token.ring_id, (token.token_seq + 1) & U32))
        if left is None or node.state is not State.OPERATIONAL or token.ring_id != node.ring_id:
            return
        queue = node.send_queue()
        known = self._mcasts.get(token.ring_id, {})
        for seq in range(token.seq + 1, left.seq + 1):
            if seq in known:
                mcast = known.pop(seq).message
                assert isinstance(mcast, Mcast)
                queue.append(Queued(Packed(mcast.payload, ()), ORDINARY))
        waiting = (left.backlog - token.backlog + node.pbl) & U32
        node.unseen_queue = max(0, waiting - len(queue)) if waiting < 0x80000000 else 0

    def _submitter(self, mcast: Mcast) -> Callable[[int], None]:
        """In a ring of one the token cannot be seen: the message is submitted when it was multicast."""

        def submit(time_ns: int) -> None:
            node = self._ring.instance
            alone = node.state is State.OPERATIONAL and node.members == (node.nodeid,)
            if alone and self._mcasts.get(mcast.ring_id, {}).pop(mcast.seq, None) is not None:
                node.send_queue().append(Queued(Packed(mcast.payload, ()), ORDINARY))

        return submit

    def _cancel_hold(self, time_ns: int) -> None:
        node = self._ring.instance
        node.now_ns = time_ns
        token_visit.cancel_hold(node)
        out, node.out = node.out, []
        self._do(time_ns, out)

    def _leave(self, time_ns: int) -> None:
        self._do(time_ns, self._ring.leave(time_ns))

    # ------------------------------------------------------------------------------------------------------- time

    def _catch_up(self, time_ns: int) -> None:
        """Let the machine's own timers and its own token come due before ``time_ns``."""
        while True:
            timer = min(self._timers, key=lambda name: self._timers[name], default=None)
            next_ns = min(time_ns, self._timers[timer]) if timer is not None else time_ns
            if self._loop and self._loop[0][0] < next_ns:
                self._run_loop(self._loop[0][0])
                continue
            if timer is None or self._timers[timer] > time_ns:
                return
            due_ns = max(self._timers.pop(timer), self._paused_until_ns, self._now_ns)
            if due_ns > time_ns:
                self._timers[timer] = due_ns
                return
            self._perhaps_late(due_ns, partial(Ring.expire, timer=timer))
            self._run_loop(due_ns)

    def _run_loop(self, time_ns: int) -> None:
        """Give the machine what it sent to itself."""
        while self._loop and self._loop[0][0] <= time_ns:
            self._read_own(self._loop[0][0])

    def _read_own(self, time_ns: int) -> None:
        if self._loop:
            _, data = self._loop.popleft()
            at_ns = max(time_ns, self._now_ns)
            self._do(at_ns, self._ring.receive(at_ns, data))

    def _perhaps_late(self, time_ns: int, handle: Callable[[Ring, int], list[Output]]) -> None:
        """Handle an input; if the answer came much later in reality, the process was not running: handle it then."""
        next_ns = self._record.next_sent_ns(time_ns)
        if next_ns is None or next_ns - time_ns < PAUSE_NS or next_ns > self._end_ns:
            self._do(time_ns, handle(self._ring, time_ns))
            return
        before = copy.deepcopy(self._ring)
        outputs = handle(self._ring, time_ns)
        if any(isinstance(output, Send) and output.target != self._record.nodeid for output in outputs):
            self._ring = before
            self.pauses.append((time_ns, next_ns))
            self._paused_until_ns = time_ns = next_ns
            outputs = handle(self._ring, time_ns)
        self._do(time_ns, outputs)

    def _do(self, time_ns: int, outputs: list[Output]) -> None:
        self._now_ns = time_ns
        nodeid = self._record.nodeid
        for output in outputs:
            if isinstance(output, SetTimer):
                self._timers[output.timer] = time_ns + output.delay_ns
            elif isinstance(output, CancelTimer):
                self._timers.pop(output.timer, None)
            elif isinstance(output, Send):
                if output.target == nodeid:
                    self._loop.append((self._back_ns(time_ns), output.datagram))
                    continue
                if output.target == 0:
                    self._loop.append((time_ns, output.datagram))
                self.sent.append(self._record.outbound(time_ns, output.datagram))

    def _back_ns(self, time_ns: int) -> int:
        """When a token this node sent to itself comes back: unseen, except that its next multicast needs a visit."""
        node = self._ring.instance
        if node.state is State.OPERATIONAL and (known := self._mcasts.get(node.ring_id)):
            next_ns = min(outbound.time_ns for outbound in known.values())
            if next_ns - time_ns <= LAG_NS:
                return max(time_ns, next_ns)
        return time_ns + LOOP_NS


# ------------------------------------------------------------------------------------------------------------- compare


def _compare(
    nodeid: int, theirs: list[_Outbound], ours: list[_Outbound], pauses: list[tuple[int, int]], not_compared: int
) -> ShadowResult:
    """Align the two sequences of each type and count what agrees."""
    by_type: dict[str, TypeCount] = {}
    mismatches: list[Difference] = []
    extra = 0
    for kind in sorted({outbound.kind for outbound in theirs + ours}):
        real = [outbound for outbound in theirs if outbound.kind == kind]
        made = [outbound for outbound in ours if outbound.kind == kind]
        count = by_type[kind] = TypeCount(len(real))
        matcher = SequenceMatcher(
            None, [outbound.determined for outbound in real], [outbound.determined for outbound in made], autojunk=False
        )
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag == "equal":
                count.matched += i2 - i1
                continue
            extra += max(0, (j2 - j1) - (i2 - i1))
            for k in range(max(i2 - i1, j2 - j1)):
                mismatches += _difference(
                    kind, real[i1 + k] if i1 + k < i2 else None, made[j1 + k] if j1 + k < j2 else None
                )
    mismatches.sort(key=lambda difference: difference.time_ns)
    matched = sum(count.matched for count in by_type.values())
    return ShadowResult(nodeid, len(theirs), matched, extra, by_type, mismatches, pauses, not_compared)


def _difference(kind: str, real: _Outbound | None, made: _Outbound | None) -> Iterator[Difference]:
    if real is None or made is None:
        one = real or made
        assert one is not None
        shown = _short(one)
        yield Difference(one.time_ns, kind, "", shown if real else "nothing", shown if made else "nothing")
        return
    for field in real.message.__struct_fields__:
        expected, got = getattr(real.message, field), getattr(made.message, field)
        if expected != got and field not in EXCLUDED:
            yield Difference(real.time_ns, kind, field, _text(expected), _text(got))


def _short(outbound: _Outbound) -> str:
    message = outbound.message
    fields = (field for field in message.__struct_fields__ if field not in (*EXCLUDED, "payload", "little"))
    return " ".join(f"{field} {_text(getattr(message, field))}" for field in fields)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, tuple) and not isinstance(value, RingId):
        return "[" + " ".join(map(_text, value)) + "]"
    return str(value)
