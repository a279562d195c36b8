"""A stretch of a run as *instants*: what happened at one time, in the order it happened, each with the rows it needs.

Virtual time is far too uneven for a ruler (a token hop takes 50 µs, a lost token three seconds), so the space-time
diagram counts instants: everything at one time is one instant, the next time is the next instant, and a silence longer
than ``GAP_NS`` is a row that says how long it was. Rotations in which nothing was sent, resent or asked for are folded
into one row, except those next to something worth seeing or to the cursor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.words import span
from totemviz.tui.paint import DIM, GOOD, HEAD, PLAIN, TOKEN, TROUBLE, YOU, Span

GAP_NS = 2 * MS
SLOW_FSYNC_NS = 20 * MS
LABELS_MAX = 4
_SEQ, _RTR_ENTRIES = slice(13, 17), slice(53, 57)


Keep = Callable[[Event], bool]


class Zoom(IntEnum):
    """How much of the run a screen shows. ``STORY`` leaves the token and the messages out; the rest give rows."""

    STORY = 0
    FOLDED = 1
    WIDE = 2
    EVERYTHING = 3

    @property
    def rows(self) -> int:
        """Rows from one instant to the next."""
        return (1, 1, 2, 3)[self]

    @property
    def words(self) -> str:
        """For the line that tells."""
        return ("the story only", "idle rotations folded", "wider, idle rotations folded", "everything")[self]


class Instant(NamedTuple):
    """What happened at one time: events in order, where the labels stand, and the rows from here to the next instant.

    ``gap_ns``: the silence before it, if that is worth a row; ``folded``: idle token hops left out before it.
    """

    time_ns: int
    events: list[Event]
    labels: dict[int, list[Span]]
    gap_ns: int
    folded: int
    told: list[Span]

    @property
    def last_id(self) -> int:
        """Id of its last event."""
        return self.events[-1].id

    def rows(self, zoom: Zoom) -> int:
        """Rows it takes."""
        tallest = max((len(lines) for lines in self.labels.values()), default=0)
        return max(zoom.rows, len(self.told) + tallest)


def cut(events: Iterable[Event], zoom: Zoom, position: int, nodes: int, keep: Keep | None) -> list[Instant]:
    """Cut a stretch of events (in order) into instants. ``nodes``: how many hops a rotation has."""
    shown = [event for event in events if is_shown(event, zoom) and (keep is None or keep(event))]
    folded = _folded(shown, position, nodes) if zoom in (Zoom.FOLDED, Zoom.WIDE) else set()
    found: list[Instant] = []
    skipped = 0
    before_ns = shown[0].time_ns if shown else 0
    for event in shown:
        if event.id in folded:
            skipped += isinstance(event.body, ev.DatagramSent)
            continue
        if not found or event.time_ns != found[-1].time_ns or skipped:
            silence_ns = event.time_ns - before_ns
            found.append(Instant(event.time_ns, [], {}, silence_ns if silence_ns >= GAP_NS else 0, skipped, []))
            skipped = 0
        instant = found[-1]
        before_ns = event.time_ns
        instant.events.append(event)
        _label(instant, event)
    return found


def is_shown(event: Event, zoom: Zoom) -> bool:
    """Whether an event is a part of the picture."""
    body = event.body
    kind = type(body)
    if kind in _DATAGRAMS:
        return zoom is not Zoom.STORY or body.kind in _STORY_KINDS or kind is ev.DatagramDropped  # type: ignore[union-attr]
    if kind in _MARKS:
        return zoom is not Zoom.STORY
    maker = _LABELS.get(kind)
    return maker is not None and maker(body) is not None


_DATAGRAMS = frozenset({ev.DatagramSent, ev.DatagramReceived, ev.DatagramDropped, ev.DatagramQueued})
_MARKS = frozenset({totem.TokenReceived})
_STORY_KINDS = frozenset({"memb_join", "memb_commit_token"})


# ------------------------------------------------------------------------------------------------- idle rotations


def _folded(shown: Sequence[Event], position: int, nodes: int) -> set[int]:
    """Ids of the events of idle token hops that are left out.

    A rotation at either end of an idle stretch stays, and one on either side of the cursor.
    """
    out: set[int] = set()
    stretch: list[Event] = []

    def close() -> None:
        sends = [event.id for event in stretch if isinstance(event.body, ev.DatagramSent)]
        here = bisect_right(sends, position)
        hop = 0
        for event in stretch:
            hop += isinstance(event.body, ev.DatagramSent)
            at_edge = hop <= nodes or hop > len(sends) - nodes
            if not at_edge and not (here and abs(hop - here) <= nodes):
                out.add(event.id)
        stretch.clear()

    seq = b""
    for event in shown:
        body = event.body
        if isinstance(body, ev.DatagramSent) and body.kind == "orf_token":
            idle = body.data[_SEQ] == seq and not any(body.data[_RTR_ENTRIES])
            seq = body.data[_SEQ]
        else:
            idle = isinstance(body, totem.TokenReceived) or (
                isinstance(body, ev.DatagramReceived) and body.kind == "orf_token"
            )
        if idle:
            stretch.append(event)
        else:
            close()
    close()
    return out


# ---------------------------------------------------------------------------------------------------------- labels


def _label(instant: Instant, event: Event) -> None:
    maker = _LABELS.get(type(event.body))
    if maker is None:
        return
    label = maker(event.body)
    if label is None:
        return
    lines = instant.told if event.node == 0 else instant.labels.setdefault(event.node, [])
    if label not in lines and len(lines) < LABELS_MAX:
        lines.append(label)


def _state(body: totem.StateEntered) -> Span:
    return {"GATHER": ("GATHER", TROUBLE), "OPERATIONAL": ("operational", DIM)}.get(body.state, (body.state, PLAIN))


def _timer(body: ev.TimerExpired) -> Span | None:
    return (f"{body.timer} timer", TROUBLE) if body.timer in ("token loss", "consensus") else None


def _quorum(body: corosync.QuorumChanged) -> Span:
    if body.quorate:
        return f"quorum {body.votes}/{body.expected_votes} ✓", GOOD
    return f"quorum lost {body.votes}/{body.expected_votes}", TROUBLE


def _applied(body: pmxcfs.ChangeApplied) -> Span:
    return (
        (f"{body.operation} → v{body.version}", PLAIN) if body.result >= 0 else (f"{body.operation} refused", TROUBLE)
    )


def _written(body: ev.WriteFinished) -> Span:
    if body.result is None:
        return f"w{body.write} ✖ dies", TROUBLE
    if body.result < 0:
        return f"w{body.write} ✖ failed", TROUBLE
    return f"w{body.write} ✓ {span(body.took_ns)}", GOOD


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _multicast(body: totem.MessageOrdered) -> Span:
    return f"seq {body.seq}", PLAIN


_LABELS: dict[type, Callable[[Any], Span | None]] = {
    ev.Intervened: lambda body: (f"▲ {body.text}", YOU),
    ev.ProcessStarted: lambda body: (f"{body.process} starts", PLAIN),
    ev.ProcessKilled: lambda body: (f"✖ {body.process} dies", TROUBLE),
    ev.ProcessBlocked: lambda body: (f"⏳ {body.why}", TROUBLE),
    ev.ProcessResumed: lambda body: (f"goes on after {span(body.blocked_ns)}", PLAIN),
    ev.FsyncFinished: lambda body: (f"fsync {span(body.took_ns)}", TROUBLE) if body.took_ns > SLOW_FSYNC_NS else None,
    ev.TimerExpired: _timer,
    ev.WriteStarted: lambda body: (f"w{body.write} ✎ {_name(body.path)}", YOU),
    ev.WriteFinished: _written,
    totem.StateEntered: _state,
    totem.MembershipInstalled: lambda body: (f"ring {body.ring_id} of {len(body.members)}", HEAD),
    totem.MessageOrdered: _multicast,
    totem.TokenReleased: lambda body: (f"token again: {body.reason}", TOKEN) if "hold" not in body.reason else None,
    corosync.QuorumChanged: _quorum,
    corosync.DaemonExited: lambda body: ("corosync ends", TROUBLE),
    pmxcfs.ChangeApplied: _applied,
    pmxcfs.DfsmModeChanged: lambda body: (
        (f"pmxcfs {body.mode.lower()}", DIM) if body.machine == "dcdb" and body.mode in ("SYNCED", "ERROR") else None
    ),
}
