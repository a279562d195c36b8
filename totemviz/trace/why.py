"""Why something happened, told: the turning points of the chain of causes, with times, in plain sentences.

Ordinary links of the chain (token hops, mostly) are folded; what remains are people, disks, processes, timers, losses
and memberships. A story has a beginning: what somebody did, chance, or the start of the cluster.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import msgspec

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.trace import events as ev
from totemviz.trace.causes import CHAIN_MAX, Causes
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import Event, kind_of
from totemviz.trace.sentences import sentence
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView
from totemviz.trace.words import folded_words, span, who

NEAR = 3
LATER_NS = 100 * MS
TURNING_POINTS = (
    ev.RunStarted,
    ev.Intervened,
    ev.ClockSet,
    ev.HostModelChanged,
    ev.WriteStarted,
    ev.DiskChanged,
    ev.DiskFaulted,
    ev.DiskLoaded,
    ev.DiskMended,
    ev.LrmStateChanged,
    ev.NodeFenced,
    ev.RingIdStored,
    ev.WatchdogExpired,
    ev.WatchdogWarned,
    ev.FsyncStarted,
    ev.FsyncFinished,
    ev.ProcessBlocked,
    ev.ProcessResumed,
    ev.ProcessKilled,
    ev.ProcessStarted,
    ev.DatagramDropped,
    ev.LinkChanged,
    totem.StateEntered,
    totem.MembershipInstalled,
    corosync.QuorumChanged,
    corosync.DaemonExited,
    corosync.ConfigReloaded,
    pmxcfs.DfsmModeChanged,
    pmxcfs.LockExpired,
)
LOUD_TIMERS = ("token loss", "consensus", "token warning", "token retransmit")


def is_turning_point(event: Event) -> bool:
    """Whether the event stays in the story when its neighbours are folded."""
    body = event.body
    if isinstance(body, ev.TimerExpired):
        return body.timer in LOUD_TIMERS
    if isinstance(body, ev.DatagramQueued):
        return body.kind == "orf_token"
    if isinstance(body, totem.RetransmitChecked):
        return bool(body.resent or body.requested)
    return isinstance(body, TURNING_POINTS)


class Link(msgspec.Struct, frozen=True):
    """One step of a story: an event, how it led to the next one, and how many ordinary steps came before it."""

    event: Event
    relation: str
    folded: int


class Story(msgspec.Struct, frozen=True):
    """A chain of causes, the first cause first; the last link is the event that was asked about.

    ``begin`` says what kind of thing the first cause is: ``done`` (somebody did it), ``chance`` (the dice of a lossy
    link), ``start`` (so the cluster began), ``unknown`` (a recording does not show it), ``far`` (not followed so far).
    """

    links: tuple[Link, ...]
    begin: str

    @property
    def first(self) -> Event:
        """The first cause."""
        return self.links[0].event

    @property
    def last(self) -> Event:
        """The event that was asked about."""
        return self.links[-1].event


def story(causes: Causes, event_id: int, links_max: int = CHAIN_MAX) -> Story:
    """Why an event happened, following at most ``links_max`` causes. Raises IndexError if there is no such event."""
    chain = causes.chain(event_id, links_max)
    if not chain:
        raise IndexError(event_id)
    chance = next((i for i, (event, _) in enumerate(chain) if is_chance(event)), None)
    if chance is not None:
        chain = chain[: chance + 1]
    kept: list[Link] = []
    folded = 0
    forward = chain[::-1]
    for index, (event, relation) in enumerate(forward):
        if 0 < index < len(forward) - 1 and _is_told_by(event, forward[index + 1][0]):
            continue
        near = index == 0 or index >= len(chain) - NEAR
        if near or is_turning_point(event) or (relation not in ("", "because", "sent")):
            kept.append(Link(event, relation, folded))
            folded = 0
        else:
            folded += 1
    begin = "far" if len(chain) == links_max and kept[0].event.cause >= 0 else _kind_of_beginning(kept[0].event)
    return Story(tuple(kept), begin)


def _is_told_by(event: Event, following: Event) -> bool:
    """Whether the next event says it all again: a timer that makes its node look for members."""
    return (
        isinstance(event.body, ev.TimerExpired)
        and isinstance(following.body, totem.StateEntered)
        and (event.node, event.time_ns) == (following.node, following.time_ns)
    )


def is_chance(event: Event) -> bool:
    """Whether the event is a datagram that the dice of a lossy link have lost."""
    return isinstance(event.body, ev.DatagramDropped) and event.body.why == "lost on the wire"


def _kind_of_beginning(event: Event) -> str:
    if isinstance(event.body, ev.Intervened):
        return "done"
    if is_chance(event):
        return "chance"
    return "start" if isinstance(event.body, ev.RunStarted | ev.ProcessStarted) else "unknown"


BEGINNINGS = {
    "done": "",
    "chance": "that was chance: the link loses datagrams",
    "start": "so the cluster began",
    "far": "further back it goes on in the same way",
    "unknown": "nothing earlier is known to have led to it",
}


def told(tale: Story, view: ClusterView) -> Iterator[tuple[Event | None, str]]:
    """The story line by line, the first cause first: (its event, what it says); folded steps have no event."""
    before_ns = tale.first.time_ns
    for index, link in enumerate(tale.links):
        if link.folded:
            steps = folded_words(link.folded)
            yield None, f"⋮ {steps}: the token and messages go their way"
        text = sentence(link.event, view)
        gap_ns = link.event.time_ns - before_ns
        later = f"{span(gap_ns)} later, " if gap_ns >= LATER_NS else ""
        before_ns = link.event.time_ns
        joint = _joint(tale.links[index - 1].event, link.event, view) if index else ""
        yield link.event, (f"→ {later}{joint}{text}" if index else text)
        if index == 0 and BEGINNINGS[tale.begin]:
            yield None, f"({BEGINNINGS[tale.begin]})"


def _joint(before: Event, event: Event, view: ClusterView) -> str:
    """What is between two links of a story and no event, since it is something that does not happen."""
    if isinstance(before.body, ev.ProcessBlocked) and isinstance(event.body, ev.WatchdogWarned):
        alone = before.body.processes == ("pmxcfs",)
        waited = "waited for pmxcfs" if alone else "stood still with them"
        return f"the HA manager on {who(view, event.node)} has {waited} all the while; "
    return ""


def last_of_kind(timeline: Timeline, kind: str, nodes: Container[int] | None = None) -> int | None:
    """The id of the latest event of a kind, on one of ``nodes`` if given; None if there is none."""
    return next(
        (e.id for e in reversed(timeline) if kind_of(e.body) == kind and (nodes is None or e.node in nodes)), None
    )


def tell(timeline: Timeline, event_id: int) -> list[str]:
    """Why an event happened: its first cause, what that led to, and so on to the event itself, a line each."""
    cursor = Cursor(timeline)
    cursor.move_to(event_id)
    return list(lines(story(Causes(timeline), event_id), cursor.view))


def lines(tale: Story, view: ClusterView) -> Iterator[str]:
    """The story as text, one step a line, with times."""
    for event, text in told(tale, view):
        stamp = f"{event.time_ns / 1e9:12.6f} s" if event is not None else ""
        yield f"{stamp:14}  {text}"
