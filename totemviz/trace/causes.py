"""What led to an event: the graph of causes, and the way through it that explains most.

Every event names the one event that made it happen. That is true and often says little: a token is there because
another node passed it on. So some kinds of events also have a *reason*, found by rules: a node that looks for members
because it heard another ring could hear it only since a link was mended or since somebody runs again; a quorum changed
because a ring did; a message was sent again because it was lost. ``Causes.of`` gives all of an event's causes, the one
that explains it first; ``chain`` follows those; ``graph`` holds all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.states import Gather
from totemviz.totem.wire import Mcast, WireError, decode
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline

if TYPE_CHECKING:
    import networkx as nx

HEARD = (
    Gather.FOREIGN_MESSAGE_OPERATIONAL,
    Gather.FOREIGN_MESSAGE_GATHER,
    Gather.MERGE_OPERATIONAL,
    Gather.MERGE_GATHER,
)
"""Reasons to gather that say: I heard somebody I did not hear before."""

MEMBERSHIP_REASONS = (corosync.ConfchgReason.NODEDOWN, corosync.ConfchgReason.NODEUP)
CHAIN_MAX = 100_000


class Cause(NamedTuple):
    """An earlier event that led to one, and how: ``because`` is the cause the event itself names."""

    event_id: int
    relation: str = "because"


class Causes:
    """Finds causes in one timeline, which may grow but not change its past."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._seen = 0
        self._links: dict[tuple[int, int], int] = {}
        self._mended: dict[tuple[int, int], list[int]] = {}
        self._resumed: dict[int, list[int]] = {}
        self._rings: dict[int, list[int]] = {}
        self._queued: dict[tuple[int, int], int] = {}
        self._lost_messages: dict[int, list[int]] = {}
        self._lost_tokens: dict[int, list[int]] = {}
        self._expired_locks: dict[str, list[int]] = {}

    # ------------------------------------------------------------------------------------------------------ questions

    def of(self, event: Event) -> list[Cause]:
        """All causes of an event, the one that explains it first; none for a beginning."""
        self._sync()
        found: list[Cause] = []
        rule = _RULES.get(type(event.body))
        reason = rule(self, event, event.body) if rule is not None else None
        if reason is not None and 0 <= reason.event_id < event.id:
            found.append(reason)
        for cause in (Cause(event.cause), Cause(getattr(event.body, "sent", -1), "sent")):
            if 0 <= cause.event_id < event.id and all(cause.event_id != other.event_id for other in found):
                found.append(cause)
        return found

    def chain(self, event_id: int, links_max: int = CHAIN_MAX) -> list[tuple[Event, str]]:
        """The event and what explains it, nearest first, back to a beginning; with how each led to the one before.

        At most ``links_max`` of them.
        """
        found: list[tuple[Event, str]] = []
        relation = ""
        while len(found) < links_max and 0 <= event_id < len(self.timeline):
            event = self.timeline[event_id]
            found.append((event, relation))
            causes = self.of(event)
            if not causes:
                break
            event_id, relation = causes[0]
        return found

    def graph(self, event_id: int, *, events_max: int = 2000) -> nx.DiGraph[int]:
        """All causes of an event as a graph of event ids, edges from cause to effect with their ``relation``.

        The nearest come first; at most ``events_max`` events are in it.
        """
        # here, not above: its import takes a quarter of the time in which the cockpit starts, and many runs ask no why
        import networkx as nx  # noqa: PLC0415

        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_node(event_id)
        waiting = [event_id]
        while waiting and len(graph) < events_max:
            effect = waiting.pop(0)
            for cause in self.of(self.timeline[effect]):
                if cause.event_id not in graph:
                    waiting.append(cause.event_id)
                graph.add_edge(cause.event_id, effect, relation=cause.relation)
        return graph

    # ----------------------------------------------------------------------------------------------------- the tables

    def _sync(self) -> None:
        timeline = self.timeline
        for index in range(self._seen, len(timeline)):
            note = _NOTES.get(type(timeline[index].body))
            if note is not None:
                note(self, timeline[index], timeline[index].body)
        self._seen = len(timeline)

    def _note_link(self, event: Event, body: ev.LinkChanged) -> None:
        pair = (body.source, body.target)
        before = self._links.get(pair)
        if before is not None and self.timeline[before].body.cut and not body.cut:
            self._mended.setdefault(pair, []).append(event.id)
        self._links[pair] = event.id

    def _note_resumed(self, event: Event, body: ev.ProcessResumed) -> None:
        self._resumed.setdefault(event.node, []).append(event.id)

    def _note_ring(self, event: Event, body: totem.MembershipInstalled) -> None:
        self._rings.setdefault(event.node, []).append(event.id)

    def _note_queued(self, event: Event, body: ev.DatagramQueued) -> None:
        if event.cause >= 0 and isinstance(self.timeline[event.cause].body, ev.ProcessBlocked):  # long enough to tell
            self._queued[body.sent, event.node] = event.id

    def _note_dropped(self, event: Event, body: ev.DatagramDropped) -> None:
        if body.kind == "orf_token":
            self._lost_tokens.setdefault(body.source, []).append(event.id)
        elif body.kind == "mcast" and 0 <= body.sent < len(self.timeline):
            message = _mcast(self.timeline[body.sent].body)
            if message is not None:
                self._lost_messages.setdefault(message.seq, []).append(event.id)

    def _note_lock(self, event: Event, body: pmxcfs.LockExpired) -> None:
        self._expired_locks.setdefault(body.path, []).append(event.id)

    # ------------------------------------------------------------------------------------------------------ the rules

    def _why_received(self, event: Event, body: ev.DatagramReceived) -> Cause | None:
        queued = self._queued.get((body.sent, event.node))
        if queued is None:
            return None
        resumed = _last(self._resumed.get(event.node, ()), event.id)
        return Cause(max(queued, resumed), "it had waited there")

    def _why_sent(self, event: Event, body: ev.DatagramSent) -> Cause | None:
        """A message sent again: the one that was lost."""
        message = _mcast(body) if body.kind == "mcast" and self._lost_messages else None
        if message is None:
            return None
        lost = _last(self._lost_messages.get(message.seq, ()), event.id)
        first = _mcast(self.timeline[self.timeline[lost].body.sent].body) if lost >= 0 else None
        return Cause(lost, "it was lost") if first is not None and first.ring_id == message.ring_id else None

    def _why_gathering(self, event: Event, body: totem.StateEntered) -> Cause | None:
        """Why a node hears of a ring it did not hear of before: the latest mended link or resumed process."""
        if body.reason not in HEARD or event.cause < 0:
            return None
        heard = self.timeline[event.cause].body
        if not isinstance(heard, ev.DatagramReceived):
            return None
        here, there = event.node, heard.source
        since = min(_last(self._rings.get(node, ()), event.id) for node in (here, there))
        candidates = [
            _last(self._mended.get((there, here), ()), event.id),
            _last(self._mended.get((here, there), ()), event.id),
            _last(self._resumed.get(here, ()), event.id),
            _last(self._resumed.get(there, ()), event.id),
        ]
        latest = max(candidates)
        return Cause(latest, "only since then can it hear the other ring") if latest > since else None

    def _why_ring(self, event: Event, ring_id: totem.RingId) -> Cause | None:
        for ring in reversed(self._rings.get(event.node, [])):
            if ring < event.id and self.timeline[ring].body.ring_id == ring_id:
                return Cause(ring, "in this ring")
        return None

    def _why_quorum(self, event: Event, body: corosync.QuorumChanged) -> Cause | None:
        return self._why_ring(event, body.ring_id)

    def _why_synchronised(self, event: Event, body: corosync.SyncCompleted) -> Cause | None:
        return self._why_ring(event, body.ring_id)

    def _why_group(self, event: Event, body: corosync.CpgConfchg) -> Cause | None:
        if not any(member.reason in MEMBERSHIP_REASONS for member in (*body.left, *body.joined)):
            return None
        ring = _last(self._rings.get(event.node, ()), event.id)
        return Cause(ring, "in this ring") if ring >= 0 else None

    def _why_checked(self, event: Event, body: totem.RetransmitChecked) -> Cause | None:
        seqs = (*body.resent, *body.requested, *(seq for seq, _ in body.missing))
        lost = max((_last(self._lost_messages.get(seq, ()), event.id) for seq in seqs), default=-1)
        return Cause(lost, "somebody misses it") if lost >= 0 else None

    def _why_expired(self, event: Event, body: ev.TimerExpired) -> Cause | None:
        """A token sent again: the one that was lost."""
        if body.timer != totem.TotemTimer.TOKEN_RETRANSMIT.value:
            return None
        lost = _last(self._lost_tokens.get(event.node, ()), event.id)
        return Cause(lost, "nobody has it") if lost > event.cause else None

    def _why_applied(self, event: Event, body: pmxcfs.ChangeApplied) -> Cause | None:
        """A lock taken from its holder: the judgement."""
        if body.operation != "unlock":
            return None
        judged = _last(self._expired_locks.get(body.path, ()), event.id)
        return Cause(judged, "so it tells everybody") if judged >= 0 else None


def _mcast(body: ev.Body) -> Mcast | None:
    """The ordered message in a datagram that was sent, None if there is none."""
    try:
        message = decode(body.data) if isinstance(body, ev.DatagramSent) else None
    except WireError:
        return None
    return message if isinstance(message, Mcast) else None


def _last(ids: list[int] | tuple[int, ...], before: int) -> int:
    """The latest of ascending ids that is smaller than ``before``, -1 if there is none."""
    return next((number for number in reversed(ids) if number < before), -1)


_NOTES: dict[type, Callable[[Causes, Event, Any], None]] = {
    ev.LinkChanged: Causes._note_link,
    ev.ProcessResumed: Causes._note_resumed,
    totem.MembershipInstalled: Causes._note_ring,
    ev.DatagramQueued: Causes._note_queued,
    ev.DatagramDropped: Causes._note_dropped,
    pmxcfs.LockExpired: Causes._note_lock,
}

_RULES: dict[type, Callable[[Causes, Event, Any], Cause | None]] = {
    ev.DatagramSent: Causes._why_sent,
    ev.DatagramReceived: Causes._why_received,
    totem.StateEntered: Causes._why_gathering,
    corosync.QuorumChanged: Causes._why_quorum,
    corosync.SyncCompleted: Causes._why_synchronised,
    corosync.CpgConfchg: Causes._why_group,
    totem.RetransmitChecked: Causes._why_checked,
    ev.TimerExpired: Causes._why_expired,
    pmxcfs.ChangeApplied: Causes._why_applied,
}
