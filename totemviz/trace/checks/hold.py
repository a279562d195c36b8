"""Token hold: only when idle, always when idle, for the hold time, and over as soon as somebody sends."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.corosync.effects import IpcBacklog
from totemviz.totem.effects import MessageSubmitted, RetransmitChecked, StateEntered, TokenPassed, TokenReleased
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import MS, Facts, cancelled_ring, token_seq_of
from totemviz.trace.events import DatagramReceived, DatagramSent, Event, ProcessStarted

SLACK_NS = 1 * MS

LOOP_SLEEP_NS = 50 * MS
"""With a backlog to flush to a client, corosync's main loop minds timers only so often (``loop.c: qb_loop_run``)."""


class _Idle:
    """What one node knows about the ring being idle (sheet §5 steps 2 and 4), recomputed from what reached it."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.unchanged = 0
        self.believes_held = False
        self.served_retransmit = False
        self.held_since_ns = -1
        self.timed = True
        self.must_release: Event | None = None
        self.backlogs: set[int] = set()
        self.backlog_until_ns = -1


class Hold(Invariant):
    """Invariant 24."""

    number = 24
    name = "hold"
    sentence = (
        "The representative holds the token for the hold time per rotation once seq has stood still for more than "
        "seqno_unchanged_const of its visits, and not before; whoever has something to send ends it."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._idle: dict[int, _Idle] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            ProcessStarted: self._process_started,
            DatagramReceived: self._datagram_received,
            RetransmitChecked: self._checked,
            TokenPassed: self._token_passed,
            TokenReleased: self._token_released,
            StateEntered: self._state_entered,
            DatagramSent: self._datagram_sent,
            MessageSubmitted: self._submitted,
            IpcBacklog: self._backlog,
        }

    def _node(self, event: Event) -> _Idle:
        return self._idle.setdefault(event.node, _Idle())

    def _process_started(self, event: Event, body: ProcessStarted) -> None:
        if body.process == "corosync":
            self._idle[event.node] = _Idle()

    def _backlog(self, event: Event, body: IpcBacklog) -> None:
        idle = self._node(event)
        if body.queued:
            idle.backlogs.add(body.client)
        else:
            idle.backlogs.discard(body.client)
            idle.backlog_until_ns = event.time_ns

    def _datagram_received(self, event: Event, body: DatagramReceived) -> None:
        idle = self._node(event)
        self._check_released(event, idle)
        node = self.facts.node(event.node)
        data = self.facts.datagrams.get(body.sent)
        if data is None:
            return
        if body.kind == "orf_token" and node.state in ("OPERATIONAL", "RECOVERY"):
            seq = token_seq_of(data)
            if seq != idle.last_seq:
                idle.timed = False  # whatever token it is, the hold timer stops: the retransmit timer ends this hold
            idle.unchanged = idle.unchanged + 1 if seq == idle.last_seq else 0
            idle.last_seq = seq
            limit = self.facts.limits["seqno_unchanged_const"]
            is_rep = node.ring_id is not None and node.ring_id.rep == event.node
            idle.believes_held = idle.unchanged > limit if is_rep else idle.unchanged >= limit
        elif body.kind == "token_hold_cancel" and cancelled_ring(data) == node.ring_id:
            idle.unchanged = 0
            if node.ring_id.rep == event.node and idle.held_since_ns >= 0 and node.state != "GATHER":
                idle.must_release = event

    def _check_released(self, event: Event, idle: _Idle) -> None:
        if idle.must_release is not None:
            self.fail(event, "was told that somebody wants to send, and keeps the token")
            idle.must_release = None

    def _checked(self, event: Event, body: RetransmitChecked) -> None:
        visit = self.facts.node(event.node).visit
        self._node(event).served_retransmit = bool(body.resent or body.requested or (visit is not None and visit.rtr))

    def _token_passed(self, event: Event, body: TokenPassed) -> None:
        idle, node = self._node(event), self.facts.node(event.node)
        is_rep = node.ring_id is not None and node.ring_id.rep == event.node
        expected = is_rep and idle.unchanged > self.facts.limits["seqno_unchanged_const"]
        if body.held and not expected:
            self.fail(event, f"holds the token although seq stood still for only {idle.unchanged} visits")
        elif expected and not body.held and not idle.served_retransmit:
            self.fail(event, f"does not hold the token although seq stood still for {idle.unchanged} visits")
        if idle.held_since_ns >= 0:
            self._over(event, idle)
        idle.held_since_ns = event.time_ns if body.held else -1
        idle.timed = True

    def _token_released(self, event: Event, body: TokenReleased) -> None:
        idle = self._node(event)
        idle.must_release = None
        hold_ns = self.facts.hold_least_ms * MS
        if body.reason == "hold time over" and idle.held_since_ns >= 0 and event.time_ns - idle.held_since_ns < hold_ns:
            early_ms = (event.time_ns - idle.held_since_ns) / MS
            self.fail(event, f"ends the hold time after {early_ms:g} ms")
        if idle.held_since_ns >= 0:
            self._over(event, idle)
        idle.held_since_ns = -1

    def _over(self, event: Event, idle: _Idle) -> None:
        """However it ended, the hold must not have been longer than the hold time."""
        hold_ns = self.facts.timeouts_ms.get("hold", 0) * MS
        held_ns = event.time_ns - idle.held_since_ns
        stopped = self.facts.resumed_ns.get(event.node, -1) >= idle.held_since_ns
        flushed = idle.backlogs or idle.backlog_until_ns >= idle.held_since_ns
        slack_ns = SLACK_NS + (LOOP_SLEEP_NS if flushed else 0)
        if idle.timed and hold_ns and held_ns > hold_ns + slack_ns and not stopped:
            self.fail(event, f"has held the token for {held_ns / MS:g} ms")

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        idle = self._node(event)
        idle.held_since_ns = -1
        idle.must_release = None
        if body.state == "RECOVERY":
            idle.unchanged = 0

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        if body.kind == "token_hold_cancel":
            self._node(event).believes_held = False

    def _submitted(self, event: Event, body: MessageSubmitted) -> None:
        if self._node(event).believes_held:
            self.fail(event, f"has message {body.number} to send while the token is held, and does not say so")
