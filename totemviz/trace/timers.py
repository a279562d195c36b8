"""Which timers of a node's corosync are running at an event, and when they run out.

Timers are not recorded one by one (a token restarts three of them at every hop). What starts and stops them follows
from what the node says of itself; a test compares the result with the timers of a simulated daemon. The heartbeat's
timer is not among them: it runs only where ``heartbeat_failures_allowed`` is set, and no event tells that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from totemviz.totem import effects as totem
from totemviz.totem import wire
from totemviz.totem.config import MS, STARTUP_DELAY_MS
from totemviz.totem.effects import TotemTimer
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.node_view import NodeView
from totemviz.trace.periodic import PAUSE, WATCH, Phases
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView

LOOK_BACK_EVENTS = 4_000
AGAIN, CANCELLED = "retransmit timeout", "hold cancelled"
_UNKNOWN = Phases()


class Running(NamedTuple):
    """A running timer: its name as corosync's machine has it, its whole length, and when it runs out."""

    name: str
    length_ns: int
    deadline_ns: int


def timers_of(
    node: NodeView, view: ClusterView, timeline: Timeline, now_ns: int | None = None, phases: Phases = _UNKNOWN
) -> tuple[Running, ...]:
    """The timers of a node at the view's event. Empty for a node that is down or of which nothing is known.

    ``now_ns``: later than the event while nothing happens; ``phases`` of the timers that start themselves again.
    """
    run, now_ns = view.run, view.time_ns if now_ns is None else now_ns
    if run is None or not node.corosync_alive or node.state in ("", "DOWN"):
        return ()
    if node.state == "STARTING":
        ready_ns = STARTUP_DELAY_MS * MS
        starts = Running(TotemTimer.STARTUP.value, ready_ns, node.state_since_ns + ready_ns)
        return (starts, *_again(phases, now_ns)) if run.world == "simulated" else ()
    found: list[Running] = []

    def add(name: str, key: str, since_ns: int) -> None:
        before = since_ns <= node.reloaded_ns  # a timer that runs goes on as it is
        timeouts_ms = node.timeouts_before_ms if before else node.own_timeouts_ms or run.timeouts_ms
        length_ns = timeouts_ms.get(key, 0) * MS
        if since_ns >= 0 and length_ns:
            found.append(Running(name, length_ns, since_ns + length_ns))

    if node.token_deadline_ns >= 0:
        add(TotemTimer.TOKEN_LOSS.value, "token", node.token_since_ns)
        add(TotemTimer.TOKEN_WARNING.value, "token_warning", _warned(node, view, timeline))
    if node.state == "GATHER":
        join_ns, gather_ns = _gathering(node, view, timeline)
        add(TotemTimer.JOIN.value, "join", join_ns)
        add(TotemTimer.CONSENSUS.value, "consensus", gather_ns)
    elif node.state in ("OPERATIONAL", "RECOVERY"):
        sent_ns, held_ns = _passed(node, view, timeline)
        add(TotemTimer.TOKEN_RETRANSMIT.value, "token_retransmit", sent_ns)
        add(TotemTimer.HOLD_RETRANSMIT.value, "hold", held_ns)
        merge_ns = view.timeout_ms(node.info.nodeid, "merge") * MS
        since_ns = _idle_since(node, view, timeline, merge_ns)
        if phases.looked_ns(now_ns) < since_ns + merge_ns:
            add(TotemTimer.MERGE_DETECT.value, "merge", since_ns)
    return (*found, *_again(phases, now_ns))


def _again(phases: Phases, now_ns: int) -> Iterator[Running]:
    """The timers that start themselves again; one that has run out in a process that stands still waits for it."""
    looked_ns = phases.looked_ns(now_ns)
    for name, phase in ((PAUSE, phases.pause), (WATCH, phases.watch)):
        if phase is not None:
            yield Running(name, phase.period_ns, phase.deadline_ns(looked_ns))


def _warned(node: NodeView, view: ClusterView, timeline: Timeline) -> int:
    """When the token warning's timer was started: with the token timer, or when it last ran out."""
    for event in _backwards(node, view, timeline):
        if event.time_ns < node.token_since_ns:
            break
        if isinstance(event.body, ev.TimerExpired) and event.body.timer == TotemTimer.TOKEN_WARNING:
            return event.time_ns
    return node.token_since_ns


def _idle_since(node: NodeView, view: ClusterView, timeline: Timeline, merge_ns: int) -> int:
    """When the merge timer was last started, -1 if it was not since the ring was last busy (``token.py``).

    A token that brings nothing new starts it unless it runs, also one that is ignored. So it is enough to go back to a
    token that came so late after the one before that it cannot have been running.
    """
    idle: list[int] = []
    later, known = -1, False
    for event in _backwards(node, view, timeline):
        if isinstance(event.body, totem.StateEntered) and event.body.state == "GATHER":
            break
        if not isinstance(event.body, totem.TokenReceived | totem.TokenIgnored):
            continue
        seq = _seq(event, timeline)
        if idle:
            known = seq != later or idle[-1] - event.time_ns > merge_ns
            if seq != later:
                idle.pop()
            if known:
                break
        later = seq
        idle.append(event.time_ns)
    if not known:  # the first token of a ring, or too far back
        return -1
    since_ns = -1
    for time_ns in reversed(idle):
        if since_ns < 0 or since_ns + merge_ns <= time_ns:
            since_ns = time_ns
    return since_ns


def _gathering(node: NodeView, view: ClusterView, timeline: Timeline) -> tuple[int, int]:
    """When the join timer and the consensus timer were started."""
    join_ns = -1
    for event in _backwards(node, view, timeline):
        body = event.body
        if join_ns < 0 and isinstance(body, ev.DatagramSent) and body.kind == "memb_join":
            join_ns = event.time_ns
        if isinstance(body, totem.StateEntered):
            return (join_ns if join_ns >= 0 else event.time_ns), event.time_ns
    return join_ns, -1


def _passed(node: NodeView, view: ClusterView, timeline: Timeline) -> tuple[int, int]:
    """Since when this node waits for a sign that its token went on, and since when it holds an idle ring's token."""
    released = False
    for event in _backwards(node, view, timeline):
        body = event.body
        if isinstance(body, totem.TokenPassed):
            return event.time_ns, event.time_ns if body.held and not released else -1
        if isinstance(body, totem.TokenReleased):
            if body.reason == AGAIN:
                return event.time_ns, -1
            # out of the hold, which left the other timer alone; a cancelled hold lets its own run on, too (a quirk)
            released = body.reason != CANCELLED
        if isinstance(body, totem.TokenReceived | totem.StateEntered):
            return -1, -1
        if isinstance(body, ev.DatagramReceived) and body.kind == "mcast" and body.source != node.info.nodeid:
            return -1, -1
    return -1, -1


def _backwards(node: NodeView, view: ClusterView, timeline: Timeline) -> Iterator[Event]:
    """The node's own events, latest first."""
    for index in range(view.event_id, max(-1, view.event_id - LOOK_BACK_EVENTS), -1):
        if timeline[index].node == node.info.nodeid:
            yield timeline[index]


def _seq(event: Event, timeline: Timeline) -> int:
    """The seq of a token that a node has read; -1 if nobody knows it."""
    if isinstance(event.body, totem.TokenReceived):
        return event.body.seq
    read = timeline[event.cause].body if event.cause >= 0 else None
    sent = timeline[read.sent].body if isinstance(read, ev.DatagramReceived) and read.sent >= 0 else None
    token = wire.decode(sent.data) if isinstance(sent, ev.DatagramSent) else None
    return token.seq if isinstance(token, wire.Token) else -1
