"""Which timers of a node's ring are running at an event, and when they run out.

Timers are not recorded one by one (a token restarts three of them at every hop). What starts and stops them follows
from what the node says of itself; a test compares the result with the timers of a simulated daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.totem.effects import TotemTimer
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView, NodeView

LOOK_BACK_EVENTS = 4_000
AGAIN = "retransmit timeout"


class Running(NamedTuple):
    """A running timer: its name as corosync's machine has it, its whole length, and when it runs out."""

    name: str
    length_ns: int
    deadline_ns: int


def timers_of(node: NodeView, view: ClusterView, timeline: Timeline) -> tuple[Running, ...]:
    """The timers of a node at the view's event. Empty for a node that is down or of which nothing is known."""
    run = view.run
    if run is None or not node.corosync_alive or node.state in ("", "STARTING", "DOWN"):
        return ()
    lengths_ns = {name: value * MS for name, value in (node.own_timeouts_ms or run.timeouts_ms).items()}
    found: list[Running] = []

    def add(name: str, key: str, since_ns: int) -> None:
        if since_ns >= 0 and lengths_ns.get(key, 0):
            found.append(Running(name, lengths_ns[key], since_ns + lengths_ns[key]))

    if node.token_deadline_ns >= 0:
        found.append(Running(TotemTimer.TOKEN_LOSS.value, node.token_ms * MS, node.token_deadline_ns))
    if node.state == "GATHER":
        join_ns, gather_ns = _gathering(node, view, timeline)
        add(TotemTimer.JOIN.value, "join", join_ns)
        add(TotemTimer.CONSENSUS.value, "consensus", gather_ns)
    elif node.state in ("OPERATIONAL", "RECOVERY"):
        sent_ns, held_ns = _passed(node, view, timeline)
        add(TotemTimer.TOKEN_RETRANSMIT.value, "token_retransmit", sent_ns)
        add(TotemTimer.HOLD_RETRANSMIT.value, "hold", held_ns)
    return tuple(found)


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
            released = True  # out of the hold, which left the other timer alone
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
