"""Our ring machine on the stage: one life of a recorded node, played with the recording's cues (see ``shadow``)."""

from __future__ import annotations

import copy
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from enum import StrEnum
from functools import partial
from itertools import product

import msgspec

from totemviz.totem import token as token_visit
from totemviz.totem.config import MS, TotemConfig
from totemviz.totem.effects import CancelTimer, Output, Send, SetTimer, TotemTimer
from totemviz.totem.instance import Queued
from totemviz.totem.pg import Packed
from totemviz.totem.ring import Ring
from totemviz.totem.seq import U32
from totemviz.totem.states import State
from totemviz.totem.wire import HOLD_CANCEL, ORDINARY, CommitToken, HoldCancel, Join, Mcast, MergeDetect, Token, decode
from totemviz.trace.shadow_record import LAG_NS, Life, Outbound, Record

LOOP_NS = 20_000
"""One turn of a ring of one node, whose token never meets the wire."""

PAUSE_NS = 250 * MS
"""A node that owes an answer and stays silent this long was not running."""

BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


PAUSE_NS = 250 * MS
"""A node that owes an answer and stays silent this long was not running."""

BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


class SocketOrder(StrEnum):
    """In which order the main loop reads its two sockets when both have something (epoll decides, nobody records)."""

    OWN_FIRST = "own, network, own, …"
    NETWORK_FIRST = "network, own, network, …"
    NETWORK = "all from the network, then its own"


class Start(msgspec.Struct, frozen=True):
    """What is not recorded of a start: how many datagrams waited in the socket before the first join, how long the
    daemon was busy after it before it read anything, and which socket it read first.
    """

    waiting: int = 0
    busy_until_ns: int = 0
    order: SocketOrder = SocketOrder.OWN_FIRST


def best_start(record: Record, config: TotemConfig, life: Life) -> Stage:
    """The start that explains the first second best, of all that the arrivals around the first join allow."""
    if life.unseen_packets >= 0:
        return Stage(record, config, life, Start())
    before = [time_ns for time_ns, _ in record.received if 0 < life.start_ns - time_ns <= BUSY_NS]
    second = record.next_sent_ns(life.start_ns + 1) or life.end_ns
    after = [
        time_ns for time_ns, _ in record.received if life.start_ns <= time_ns <= min(second, life.start_ns + BUSY_NS)
    ]
    real = [sent.determined for sent in record.sent_between(life.start_ns, life.start_ns + START_NS)]
    best, best_count = Start(), -1
    for busy_until_ns, waiting, order in product((0, *after), range(len(before) + 1), SocketOrder):
        start = Start(waiting, busy_until_ns, order)
        stage = Stage(record, config, life, start)
        stage.run(min(life.end_ns, life.start_ns + START_NS))
        matcher = SequenceMatcher(None, real, [sent.determined for sent in stage.sent], autojunk=False)
        count = sum(block.size for block in matcher.get_matching_blocks())
        if count > best_count:
            best, best_count = start, count
    return Stage(record, config, life, best)


class Stage:
    """One life of the node, played by our machine."""

    def __init__(self, record: Record, config: TotemConfig, life: Life, start: Start) -> None:
        self._record = record
        self._life = life
        self._start_ns = life.start_ns
        self._start = start
        self._end_ns = life.end_ns
        self._ring = Ring(record.nodeid, config, life.stored)
        self._mcasts = {ring_id: dict(known) for ring_id, known in record.mcasts.items()}
        self._timers: dict[str, int] = {}
        self._loop: list[tuple[int, bytes]] = []
        self._now_ns = life.start_ns
        self._paused_until_ns = -1
        self.sent: list[Outbound] = []
        self.pauses: list[tuple[int, int]] = []

    def run(self, end_ns: int) -> None:
        """From the first join to ``end_ns``."""
        start_ns, self._end_ns = self._start_ns, end_ns
        if self._life.unseen_packets >= 0:
            self._play_unseen_ring()
        else:
            self._start_daemon(start_ns)
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

    def _start_daemon(self, time_ns: int) -> None:
        self._do(time_ns, self._ring.start(time_ns))
        self._timers.pop(TotemTimer.STARTUP, None)
        self._do(time_ns, self._ring.expire(time_ns, TotemTimer.STARTUP))

    def _play_unseen_ring(self) -> None:
        """Knet: the node's ring of one, up to the first message that was seen.

        What was sent in it is unknown but for the number of packets; when its token is held follows from the merge
        detects, which are sent a fixed time after each visit.
        """
        begun_ns = self._start_ns - UNSEEN_NS
        trial = copy.deepcopy(self)
        trial._unseen(begun_ns, self._start_ns)
        probes = [sent.time_ns for sent in trial.sent if isinstance(sent.message, MergeDetect)]
        if self._life.first_merge_detect_ns >= 0 and probes:
            begun_ns += self._life.first_merge_detect_ns - probes[-1]
        self._unseen(begun_ns, self._start_ns)
        self.sent = [sent for sent in self.sent if sent.time_ns >= self._start_ns]

    def _unseen(self, begun_ns: int, until_ns: int) -> None:
        self._now_ns = begun_ns
        node = self._ring.instance
        for _ in range(self._life.unseen_packets):
            node.new_trans_queue.append(Queued(Packed(b"", ()), ORDINARY))
        self._start_daemon(begun_ns)
        self._catch_up(until_ns - 1)

    def _read_what_waited(self) -> None:
        """The main loop begins: one datagram per socket and pass, the socket first that was ready first."""
        start_ns, read_ns = self._start_ns, max(self._start.busy_until_ns, self._start_ns)
        before = [data for time_ns, data in self._record.received if time_ns < start_ns]
        waiting = deque(before[len(before) - self._start.waiting :])
        waiting.extend(
            data for time_ns, data in self._record.received if start_ns <= time_ns <= self._start.busy_until_ns
        )
        if self._start.order is SocketOrder.OWN_FIRST:
            self._read_own(read_ns)
        while waiting:
            self._feed(read_ns, waiting.popleft())
            if self._start.order is not SocketOrder.NETWORK:
                self._read_own(read_ns)

    def _arrivals(self) -> deque[tuple[int, bytes]]:
        """The datagrams that reached the node's socket after it began to read."""
        first_ns = max(self._start_ns, self._start.busy_until_ns + 1)
        if self._life.unseen_packets >= 0:
            first_ns -= UNSEEN_NS  # it was listening all the time
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
            _, data = self._loop.pop(0)
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
                    insort(self._loop, (self._back_ns(time_ns), output.datagram), key=_time)
                    continue
                if output.target == 0:
                    insort(self._loop, (self._heard_ns(time_ns, output.datagram), output.datagram), key=_time)
                self.sent.append(self._record.outbound(time_ns, output.datagram))

    def _heard_ns(self, time_ns: int, data: bytes) -> int:
        """When the node hears its own multicast: at once, or, if that made it send its token again, when it did."""
        if data[3] != HOLD_CANCEL or not self._ring.instance.is_rep:
            return time_ns
        resends = self._record.resends_ns
        index = bisect_left(resends, time_ns)
        if index < len(resends) and resends[index] - time_ns <= LAG_NS:
            return resends[index]
        return time_ns

    def _back_ns(self, time_ns: int) -> int:
        """When a token this node sent to itself comes back: unseen, except that its next multicast needs a visit."""
        node = self._ring.instance
        if node.state is State.OPERATIONAL and (known := self._mcasts.get(node.ring_id)):
            next_ns = min(outbound.time_ns for outbound in known.values())
            if next_ns - time_ns <= LAG_NS:
                return max(time_ns, next_ns)
        return time_ns + LOOP_NS


def _time(item: tuple[int, bytes]) -> int:
    return item[0]
