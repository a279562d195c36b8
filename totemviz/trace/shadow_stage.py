"""Our ring machine on the stage: one life of a recorded node, played with the recording's cues (see ``shadow``).

The machine's own timers run, but a process handles things a little later than they are due, and the recording shows
when: if the real node sent just what ours would send now, a few milliseconds later, then that is when it is handled.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from totemviz.totem import token as token_visit
from totemviz.totem.config import MS, SOCKET_DATAGRAMS, TotemConfig, Transport
from totemviz.totem.effects import CancelTimer, MembershipInstalled, Output, RingId, Send, SetTimer, TotemTimer
from totemviz.totem.instance import Queued
from totemviz.totem.pg import Packed
from totemviz.totem.ring import Ring
from totemviz.totem.seq import U32
from totemviz.totem.states import State
from totemviz.totem.wire import HOLD_CANCEL, ORDINARY, CommitToken, HoldCancel, Join, Mcast, MergeDetect, Token, decode
from totemviz.trace.shadow_links import FOREVER_NS, Links
from totemviz.trace.shadow_record import EARLY_NS, LAG_NS, PAUSE_NS, Arrival, Life, Outbound, Record
from totemviz.trace.shadow_start import SocketOrder, Start, Visit, adopted

LOOP_NS = 20_000
"""One turn of a ring of one node, whose token never meets the wire."""

UNSEEN_NS = 3000 * MS
"""How long a node on knet is given to be alone before its first message is seen; links take some two seconds."""

PROGRESS_ARRIVALS = 250

UNLOADING_NS = 1000 * MS
"""A daemon that stops says goodbye last; before, while it unloads its services, it handles nothing."""

TIE_NS = MS // 5
"""A datagram that arrives this little after a timer is due may be handled before it."""

Handle = Callable[[Ring, int], list[Output]]


class Stage:
    """One life of the node, played by our machine."""

    def __init__(self, record: Record, config: TotemConfig, life: Life, links: Links, start: Start) -> None:
        self._record = record
        self._life = life
        self._links = links
        self._start_ns = life.start_ns
        self._start = start
        self._end_ns = life.end_ns
        self._ring = Ring(record.nodeid, config, life.stored)
        self._bounded = config.transport is not Transport.KNET
        self._mcasts = {ring_id: dict(known) for ring_id, known in record.mcasts.items()}
        self._timers: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._loop: list[tuple[int, bytes]] = []
        self._now_ns = life.start_ns
        self._paused_until_ns = -FOREVER_NS  # an unseen ring may begin before the capture
        self._waiting = 0
        self._gone = self._unseen = False
        self._taken: set[int] = set()
        self._leave_ns = next(
            (
                sent.time_ns
                for sent in reversed(record.sent_between(life.start_ns, life.end_ns))
                if isinstance(sent.message, Join) and sent.message.is_leave
            ),
            None,
        )
        self.sent: list[Outbound] = []
        self.pauses: list[tuple[int, int]] = []

    def begin(self, visit: Visit | None = None) -> None:
        """Up to the first thing that is compared; ``visit`` is where a life that is already going on is taken up."""
        if visit is not None:
            self._adopt(visit)
        elif self._life.unseen_packets >= 0:
            self._play_unseen_ring()
        else:
            self._start_daemon(self._start_ns)
            self._read_what_waited()

    @property
    def first_ns(self) -> int:
        """From when on what the node sent is compared."""
        return self._start_ns

    def run(self, end_ns: int, progress: Callable[[int], None] | None = None) -> None:
        """From there to ``end_ns``; ``progress`` is told the time now and then."""
        self._end_ns = end_ns
        acts = deque(filter(_is_act, self._record.sent_between(self._start_ns, end_ns)))
        arrivals = self._arrivals()
        looked_at, handled_ns = None, end_ns + 1
        while acts or arrivals:
            if not arrivals:
                handled_ns = end_ns + 1
            elif looked_at is not arrivals[0]:
                looked_at, handled_ns = arrivals[0], self._handled_ns(arrivals[0])
                if progress is not None and len(arrivals) % PROGRESS_ARRIVALS == 0:
                    progress(self._now_ns)
            handled_ns = max(handled_ns, self._now_ns)
            if acts and acts[0].time_ns <= handled_ns:
                self._catch_up(acts[0].time_ns)
                if arrivals and self._must_hear_first(acts[0], arrivals[0]):
                    self._feed(acts[0].time_ns, arrivals.popleft())
                    continue
                act = acts.popleft()
                waits = bool(arrivals) and arrivals[0].time_ns <= act.time_ns
                self._act(act, handled_ns if waits else -FOREVER_NS)
                self._run_loop(act.time_ns)
            elif handled_ns > end_ns:
                break
            else:
                self._catch_up(handled_ns, arrivals[0])
                self._feed(max(handled_ns, self._paused_until_ns), arrivals.popleft())
                self._run_loop(handled_ns)
        self._catch_up(end_ns)
        if self._timer_spoke(end_ns, EARLY_NS):
            self._catch_up(end_ns + EARLY_NS)

    # -------------------------------------------------------------------------------------------------- beginnings

    def _start_daemon(self, time_ns: int) -> None:
        self._do(time_ns, self._ring.start(time_ns))
        self._timers.pop(TotemTimer.STARTUP, None)
        self._do(time_ns, self._ring.expire(time_ns, TotemTimer.STARTUP))

    def _adopt(self, visit: Visit) -> None:
        self._ring = adopted(self._record, self._ring.instance.config, visit)
        self._now_ns = visit.sent_ns
        node = self._ring.instance
        token_visit.arm_token_timers(node)
        if node.has_timer(TotemTimer.HEARTBEAT):
            node.set_timer(TotemTimer.HEARTBEAT)
        out, node.out = node.out, []
        self._do(visit.sent_ns, out)
        self._start_ns = visit.sent_ns + 1

    def _play_unseen_ring(self) -> None:
        """Knet: the node's ring of one, up to the first message that was seen.

        What was sent in it is unknown but for the number of packets; when its token is held follows from the merge
        detects, which are sent a fixed time after each visit.
        """
        begun_ns = self._start_ns - UNSEEN_NS
        trial = copy.deepcopy(self)
        trial._be_alone(begun_ns, self._start_ns)
        probes = [sent.time_ns for sent in trial.sent if isinstance(sent.message, MergeDetect)]
        if self._life.first_merge_detect_ns >= 0 and probes:
            begun_ns += self._life.first_merge_detect_ns - probes[-1]
        self._be_alone(begun_ns, self._start_ns)
        self.sent = [sent for sent in self.sent if sent.time_ns >= self._start_ns]

    def _be_alone(self, begun_ns: int, until_ns: int) -> None:
        self._unseen = True
        self._now_ns = begun_ns
        node = self._ring.instance
        for _ in range(self._life.unseen_packets):
            node.new_trans_queue.append(Queued(Packed(b"", ()), ORDINARY))
        self._start_daemon(begun_ns)
        self._catch_up(until_ns - 1)
        self._unseen = False

    def _read_what_waited(self) -> None:
        """The main loop begins: one datagram per socket and pass, the socket first that was ready first."""
        start_ns, read_ns = self._start_ns, max(self._start.busy_until_ns, self._start_ns)
        received = self._record.received
        before = [arrival for arrival in received if arrival.time_ns < start_ns]
        waiting = deque(before[len(before) - self._start.waiting :])
        waiting.extend(arrival for arrival in received if start_ns <= arrival.time_ns <= self._start.busy_until_ns)
        if self._start.order is SocketOrder.OWN_FIRST:
            self._read_own(read_ns)
        while waiting:
            self._feed(read_ns, waiting.popleft())
            if self._start.order is not SocketOrder.NETWORK:
                self._read_own(read_ns)

    # -------------------------------------------------------------------------------------------------- the cues

    def _arrivals(self) -> deque[Arrival]:
        """The datagrams that reached the node's socket after it began to read."""
        first_ns = max(self._start_ns, self._start.busy_until_ns + 1)
        if self._life.unseen_packets >= 0:
            first_ns -= UNSEEN_NS  # it was listening all the time
        received = self._record.received
        first = bisect_left(received, first_ns, key=_arrived_ns)
        last = bisect_left(received, self._end_ns + 1, key=_arrived_ns)
        return deque(arrival for arrival in received[first:last] if self._links.open(arrival.source, arrival.time_ns))

    def _act(self, outbound: Outbound, socket_ns: int) -> None:
        """What the node's programs and its operator made it do, as far as what it sent tells.

        ``socket_ns``: when the datagram that waits in its socket already will be handled, 0 if none does. The node
        hears its own multicast after that one.
        """
        message, node = outbound.message, self._ring.instance
        time_ns = max(outbound.time_ns, self._paused_until_ns)
        if isinstance(message, Join):
            self._do(time_ns, self._ring.leave(time_ns))
            self._gone = True
        elif isinstance(message, HoldCancel):
            for _ in range(node.config.seqno_unchanged_const + 2):
                if node.token_held or node.members != (node.nodeid,):
                    break
                self._read_own(time_ns)  # in a ring of one the token turns faster than here
            node.now_ns = time_ns
            token_visit.cancel_hold(node)
            out, node.out = node.out, []
            self._do(time_ns, out, heard_ns=socket_ns)
        elif isinstance(message, Mcast) and node.new_members == (node.nodeid,) and message.ring_id == node.ring_id:
            self._multicast_alone(time_ns, message)

    def _multicast_alone(self, time_ns: int, mcast: Mcast) -> None:
        """In a ring of one the token cannot be seen: a message is submitted when it was multicast."""
        node = self._ring.instance
        while node.state is not State.OPERATIONAL and self._loop:
            self._read_own(time_ns)
        if self._mcasts.get(mcast.ring_id, {}).pop(mcast.seq, None) is not None:
            node.send_queue().append(Queued(Packed(mcast.payload, ()), ORDINARY))
        if node.token_held and not self._loop:  # nobody cancelled a hold, so in reality there was none yet
            self._do(time_ns, self._ring.expire(time_ns, TotemTimer.HOLD_RETRANSMIT))
        while node.send_queue() and self._loop:
            self._read_own(time_ns)

    def _must_hear_first(self, act: Outbound, arrival: Arrival) -> bool:
        """Whether a hold that the node cancels began with a token that has arrived and got no answer yet."""
        held = self._ring.instance.token_held
        return isinstance(act.message, HoldCancel) and not held and arrival.time_ns <= act.time_ns

    def _handled_ns(self, arrival: Arrival) -> int:
        """When the node handled a datagram: it was captured a little before. Its answer, if there is one, tells.

        The socket is a queue, so nothing is handled before what arrived earlier.
        """
        arrived_ns = max(arrival.time_ns, self._now_ns)
        message = decode(arrival.data)
        if isinstance(message, Token):
            answer_ns = self._record.answers_ns.get((message.ring_id, (message.token_seq + 1) & U32))
        elif isinstance(message, Join | CommitToken | MergeDetect):
            answer = self._answer(copy.deepcopy(self._ring), arrived_ns, partial(Ring.receive, datagram=arrival.data))
            answer_ns = None if answer is None else self._record.find(answer, arrived_ns, arrived_ns + LAG_NS)
        elif isinstance(message, HoldCancel):
            return self._resend_ns(arrival.time_ns, message.ring_id)
        else:
            return arrived_ns
        if answer_ns is None or not 0 <= answer_ns - arrived_ns <= LAG_NS:
            return arrived_ns
        return answer_ns

    def _answer(self, ring: Ring, time_ns: int, handle: Handle) -> tuple[Any, ...] | None:
        """The first thing this machine sends to others when it handles an input."""
        for output in handle(ring, time_ns):
            if isinstance(output, Send) and self._on_wire(output.target, time_ns):
                return self._record.outbound(time_ns, output.datagram).determined
        return None

    def _on_wire(self, target: int, time_ns: int) -> bool:
        """Whether something sent to a node, or to all (0), is seen outside."""
        if target == 0:
            return self._unseen or self._links.any_open(time_ns)
        return target != self._record.nodeid and self._links.open(target, time_ns)

    # ----------------------------------------------------------------------------------------------------- inputs

    def _feed(self, time_ns: int, arrival: Arrival) -> None:
        if self._gone or self._overflows(arrival):
            return
        message = decode(arrival.data)
        if isinstance(message, Token):
            self._fill_queue(message)
        self._perhaps_late(time_ns, partial(Ring.receive, datagram=arrival.data))

    def _overflows(self, arrival: Arrival) -> bool:
        """Whether the socket of a stopped process was already full when this came. knet asks for a much larger one."""
        if arrival.time_ns >= self._paused_until_ns:
            return False
        self._waiting += 1
        return self._bounded and self._waiting > SOCKET_DATAGRAMS

    def _fill_queue(self, token: Token) -> None:
        """Hand over what the real node multicast at this visit, and how long its queue was."""
        node = self._ring.instance
        node.unseen_queue = 0
        left = self._record.tokens.get((token.ring_id, (token.token_seq + 1) & U32))
        if left is None or node.state is not State.OPERATIONAL or token.ring_id != node.ring_id:
            return
        queue = node.send_queue()
        known = self._mcasts.get(token.ring_id, {})
        seq = token.seq
        while seq != left.seq:
            seq = (seq + 1) & U32
            if seq in known:
                mcast = known.pop(seq).message
                assert isinstance(mcast, Mcast)
                queue.append(Queued(Packed(mcast.payload, ()), ORDINARY))
        waiting = (left.backlog - token.backlog + node.pbl) & U32
        node.unseen_queue = max(0, waiting - len(queue)) if waiting < 0x80000000 else 0

    # ------------------------------------------------------------------------------------------------------- time

    def _catch_up(self, time_ns: int, arrival: Arrival | None = None) -> None:
        """Let the machine's own timers and its own token come due before ``time_ns``, when ``arrival`` is handled.

        If both a timer and the arrival explain what was said at that moment, the one that came first said it.
        """
        while not self._gone:
            timer = min(self._timers, key=lambda name: self._timers[name], default=None)
            next_ns = min(time_ns, self._timers[timer]) if timer is not None else time_ns
            if self._loop and self._loop[0][0] < next_ns:
                self._run_loop(self._loop[0][0])
                continue
            if timer is None or self._timers[timer] > time_ns + EARLY_NS:
                return
            if self._settle(timer):
                continue
            if self._timers[timer] > time_ns:
                return
            if arrival is not None and self._timers[timer] == time_ns > arrival.time_ns:
                arrived_first = arrival.time_ns <= self._settled.get(timer, 0) + TIE_NS
                if arrived_first and not self._said_again(time_ns, timer):
                    return
            due_ns = max(self._timers[timer], self._paused_until_ns, self._now_ns)
            if due_ns > time_ns:
                return
            if self._perhaps_late(due_ns, partial(Ring.expire, timer=timer), timer):
                self._run_loop(due_ns)

    def _settle(self, timer: str) -> bool:
        """Move a timer that is due to where the real node shows that it handled it; whether that is another time.

        That may be a little earlier: what a node sends is captured a little after it has armed its timers.
        """
        due_ns = self._timers[timer]
        if self._unseen or due_ns < self._paused_until_ns or timer in self._settled or timer == TotemTimer.PAUSE:
            return False
        self._settled[timer] = due_ns
        answer = self._answer(copy.deepcopy(self._ring), due_ns, partial(Ring.expire, timer=timer))
        if answer is None:
            return False
        handled_ns = self._record.find(answer, due_ns - EARLY_NS, due_ns + LAG_NS)
        if handled_ns is None:  # not handled until then: something must have come first and cancelled it
            handled_ns = due_ns + LAG_NS
        handled_ns = max(handled_ns, self._now_ns)
        if handled_ns == due_ns:
            return False
        self._timers[timer] = handled_ns
        return True

    def _said_again(self, time_ns: int, timer: str) -> bool:
        """Whether the real node repeated right after this moment what a timer makes it say: then both were handled."""
        answer = self._answer(copy.deepcopy(self._ring), time_ns, partial(Ring.expire, timer=timer))
        return answer is not None and self._record.find(answer, time_ns + 1, time_ns + TIE_NS) is not None

    def _run_loop(self, time_ns: int) -> None:
        """Give the machine what it sent to itself."""
        while self._loop and self._loop[0][0] <= time_ns and not self._gone:
            self._read_own(self._loop[0][0])

    def _read_own(self, time_ns: int) -> None:
        if self._loop:
            _, data = self._loop.pop(0)
            at_ns = max(time_ns, self._now_ns)
            self._do(at_ns, self._ring.receive(at_ns, data))

    def _perhaps_late(self, time_ns: int, handle: Handle, timer: str | None = None) -> bool:
        """Handle an input. If the answer came much later in reality, the process was not running.

        A datagram is handled when it runs again, a timer (False is returned) is left to come after the first datagram
        that waited: libqb looks at its sockets once more before it looks at its clock.
        """
        if not self._was_silent(time_ns):
            if timer is not None:
                del self._timers[timer]
            self._do(time_ns, handle(self._ring, time_ns))
            return True
        answer = self._answer(copy.deepcopy(self._ring), time_ns, handle)
        if answer is not None and self._record.find(answer, time_ns - LAG_NS, time_ns + PAUSE_NS) is None:
            next_ns = self._record.next_sent_ns(time_ns)
            assert next_ns is not None
            if next_ns == self._leave_ns:
                self._gone = True
                return False
            self.pauses.append((time_ns, next_ns))
            self._paused_until_ns, self._waiting = next_ns, 0
            if timer is not None:
                return False
            if self._timer_spoke(next_ns):
                self._catch_up(next_ns)  # the datagram that waited first needed no answer
            time_ns = next_ns
        if timer is not None:
            del self._timers[timer]
        self._do(time_ns, handle(self._ring, time_ns))
        return True

    def _timer_spoke(self, time_ns: int, early_ns: int = 0) -> bool:
        """Whether what the real node said at this moment is what a timer, due soon at least, makes our machine say."""
        for timer, due_ns in self._timers.items():
            if due_ns <= time_ns + early_ns and timer != TotemTimer.PAUSE:
                answer = self._answer(copy.deepcopy(self._ring), time_ns, partial(Ring.expire, timer=timer))
                if answer is not None and self._record.find(answer, time_ns, time_ns) is not None:
                    return True
        return False

    def _was_silent(self, time_ns: int) -> bool:
        """Whether the real node said nothing for long from a moment on, or nothing but goodbye."""
        next_ns = self._record.next_sent_ns(time_ns)
        if next_ns is None or next_ns > self._end_ns or self._unseen:
            return False
        return next_ns - time_ns >= PAUSE_NS or (next_ns == self._leave_ns and next_ns - time_ns < UNLOADING_NS)

    def _do(self, time_ns: int, outputs: list[Output], heard_ns: int = -FOREVER_NS) -> None:
        self._now_ns = time_ns
        nodeid = self._record.nodeid
        for output in outputs:
            if isinstance(output, SetTimer):
                self._timers[output.timer] = time_ns + output.delay_ns
                self._settled.pop(output.timer, None)
            elif isinstance(output, CancelTimer):
                self._timers.pop(output.timer, None)
            elif isinstance(output, MembershipInstalled):
                self._fill_unseen_ring(output)
            elif isinstance(output, Send):
                if output.target == nodeid:
                    insort(self._loop, (time_ns + LOOP_NS, output.datagram), key=_time)
                    continue
                if output.target == 0:
                    cancel = output.datagram[3] == HOLD_CANCEL
                    loops_ns = self._resend_ns(time_ns, self._ring.ring_id) if cancel else time_ns
                    insort(self._loop, (max(loops_ns, heard_ns), output.datagram), key=_time)
                if self._on_wire(output.target, time_ns):
                    self.sent.append(self._record.outbound(time_ns, output.datagram))

    def _fill_unseen_ring(self, installed: MembershipInstalled) -> None:
        """Knet: a node that reaches nobody sends into the void; how many packets it ordered is told later."""
        node = self._ring.instance
        if self._unseen or installed.members != (node.nodeid,) or self._links.any_open(self._now_ns):
            return
        seen = len(self._mcasts.get(installed.ring_id, {}))
        for _ in range(self._record.packets(installed.ring_id) - seen):
            node.send_queue().append(Queued(Packed(b"", ()), ORDINARY))

    def _resend_ns(self, time_ns: int, ring_id: RingId) -> int:
        """When a hold cancel is heard: at once, or, if that made the node send its token again, when it did.

        Each time the real node sent its token is taken by one hold cancel.
        """
        node = self._ring.instance
        if not node.is_rep or ring_id != node.ring_id:
            return time_ns
        last = (ring_id, node.last_sent.token_seq) if isinstance(node.last_sent, Token) else None
        sends = [send for send in self._record.token_sends(time_ns, time_ns + LAG_NS) if send[0] not in self._taken]
        copies = [sent_ns for sent_ns, key, _ in sends if key == last] or [
            sent_ns for sent_ns, _, again in sends if again
        ]
        if not copies:
            return time_ns
        self._taken.add(copies[0])
        return copies[0]


def _is_act(outbound: Outbound) -> bool:
    """Whether a program or an operator made the node send this."""
    message = outbound.message
    ordinary = isinstance(message, Mcast) and message.encapsulated == ORDINARY
    return ordinary or isinstance(message, HoldCancel) or (isinstance(message, Join) and message.is_leave)


def _time(item: tuple[int, bytes]) -> int:
    return item[0]


def _arrived_ns(arrival: Arrival) -> int:
    return arrival.time_ns
