"""The causes of an event as a small graph: a lane per node, time flowing down, an arrow from each cause to its effect.

The story's main line is drawn strongly. Beside it stand the causes a rule has put aside, with a fainter arrow, and if
the main line leads to one of those too, so far as the graph of causes was followed, that is drawn as well. Ordinary
steps are folded into one row. To the right of the lanes each event is told in its sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.causes import Causes
from totemviz.trace.events import Event
from totemviz.trace.sentences import sentence
from totemviz.trace.view import ClusterView
from totemviz.trace.why import Link, Story
from totemviz.trace.words import folded_words, span, who
from totemviz.tui.canvas import Canvas
from totemviz.tui.eventlist import TOKEN_TYPES, role_of, stamp
from totemviz.tui.paint import (
    CHOSEN,
    CURSOR,
    DIM,
    DOWN_MARK,
    FAINT,
    GATHER_MARK,
    HEAD,
    OPERATIONAL_MARK,
    PLAIN,
    TOKEN,
    TOKEN_MARK,
    TROUBLE,
    YOU,
    Drawing,
    Hit,
    Line,
    clip,
    fit,
)

GUTTER = 15
LANES_WIDE, LANE_WIDE, LANE_NARROW = 6, 6, 4
SENTENCE_MIN = 56
"""Below this the sentences have no room beside the lanes, and a list tells more."""

JOINED_EVENTS = 400
"""Causes of a cause beside the main line that are looked at to see whether the main line leads there too."""

ROUTINE = ("", "because", "sent")


class _Row(NamedTuple):
    """A row: an event, or ordinary steps that are folded. ``aside``: not on the main line; ``prefix``: how it came."""

    event: Event | None
    lane: int
    aside: bool = False
    folded: int = 0
    prefix: str = ""


class _Edge(NamedTuple):
    """An arrow from a row to a later one."""

    start: int
    end: int
    role: str
    dotted: bool = False


def besides(link: Link, tale: Story, causes: Causes) -> list[Event]:
    """Causes of an event that a rule has put aside for a better one: those the main line does not come through."""
    told = {other.event.id for other in tale.links}
    relations = {cause.event_id: cause.relation for cause in causes.of(link.event)}
    if all(relation in ROUTINE for relation in relations.values()):
        return []
    return [causes.timeline[cause] for cause, how in sorted(relations.items()) if how in ROUTINE and cause not in told]


def lanes_of(tale: Story, aside: Sequence[Event]) -> list[int]:
    """The nodes something of the story happens on, the world (0) first."""
    return sorted({event.node for event in (*(link.event for link in tale.links), *aside)})


def draw_graph(tale: Story, causes: Causes, view: ClusterView, words: str, width: int) -> Drawing | None:
    """The graph, its first line the names of the lanes; None if ``width`` has no room for it.

    ``words`` are said of the beginning.
    """
    aside = {event.id: event for link in tale.links for event in besides(link, tale, causes)}
    lanes = lanes_of(tale, list(aside.values()))
    lane_width = LANE_WIDE if len(lanes) <= LANES_WIDE else LANE_NARROW
    first = GUTTER + lane_width * len(lanes)
    if width - first < SENTENCE_MIN:
        return None
    columns = {node: GUTTER + lane_width * index + 1 for index, node in enumerate(lanes)}
    rows = _rows(tale, list(aside.values()))
    canvas = Canvas(first, len(rows))
    for edge in sorted(_edges(rows, tale, causes), key=lambda edge: edge.role != FAINT):
        _draw_edge(canvas, columns, rows, edge)
    lines: list[Line] = [_head(columns, view, first, words)]
    hits: list[Hit] = []
    before_ns = -1
    for y, row in enumerate(rows):
        if row.event is not None:
            mark, role = _mark(row, tale)
            canvas.text(columns[row.lane], y, mark, role)
            _draw_time(canvas, y, row.event, before_ns, row.event is tale.last)
            before_ns = row.event.time_ns
            hits.append(Hit(0, y + 1, width, "event", row.event.id))
        elif row.folded:
            canvas.text(columns[row.lane], y, "⋮", DIM)
    for y, line in enumerate(canvas.lines()):
        lines.append(clip([*line, *_sentence(rows[y], tale, view, width - first)], width))
    return Drawing([clip(line, width) for line in lines], tuple(hits))


# ------------------------------------------------------------------------------------------------------------- rows


def _rows(tale: Story, aside: list[Event]) -> list[_Row]:
    """Events in their order, folded steps before the one they lead to."""
    found: list[tuple[int, int, _Row]] = [(event.id, 1, _Row(event, event.node, aside=True)) for event in aside]
    before: Link | None = None
    for link in tale.links:
        event, how = link.event, before.relation if before is not None else ""
        if before is not None and link.folded:
            found.append((event.id, 0, _Row(None, before.event.node, folded=link.folded)))
        prefix = "" if how in ROUTINE or link.folded else f"{how}: "
        found.append((event.id, 1, _Row(event, event.node, prefix=prefix)))
        before = link
    return [row for _, _, row in sorted(found, key=lambda entry: entry[:2])]


def _edges(rows: list[_Row], tale: Story, causes: Causes) -> list[_Edge]:
    place = {row.event.id: y for y, row in enumerate(rows) if row.event is not None}
    main = [link.event.id for link in tale.links]
    found = [_Edge(place[cause], place[effect], PLAIN) for cause, effect in pairwise(main)]
    for link in tale.links:
        for event in besides(link, tale, causes):
            found.append(_Edge(place[event.id], place[link.event.id], FAINT))
            joined = causes.graph(event.id, events_max=JOINED_EVENTS)
            earlier = [cause for cause in main if cause in joined and cause < event.id]
            if earlier:
                found.append(_Edge(place[max(earlier)], place[event.id], FAINT, dotted=True))
    return found


# ---------------------------------------------------------------------------------------------------------- drawing


def _draw_edge(canvas: Canvas, columns: dict[int, int], rows: list[_Row], edge: _Edge) -> None:
    """Down the lane of the cause, then over to the effect."""
    x, end = columns[rows[edge.start].lane], columns[rows[edge.end].lane]
    for y in range(edge.start + 1, edge.end):
        canvas.text(x, y, "┆" if edge.dotted else "│", edge.role)
    if x == end:
        return
    y, step = edge.end, 1 if end > x else -1
    canvas.text(x, y, "└" if step > 0 else "┘", edge.role)
    for column in range(x + step, end - step, step):
        canvas.text(column, y, "╌" if edge.dotted else "─", edge.role)
    canvas.text(end - step, y, "▸" if step > 0 else "◂", edge.role)


def _draw_time(canvas: Canvas, y: int, event: Event, before_ns: int, is_last: bool) -> None:
    """The time at both ends of the story, between them how long it took."""
    if before_ns < 0 or is_last:
        canvas.text(0, y, f"{'▸' if is_last else ' '}{stamp(event.time_ns)}", CURSOR if is_last else DIM)
    elif event.time_ns > before_ns:
        text = f"+{span(event.time_ns - before_ns)}"
        canvas.text(0, y, f"{text:>{GUTTER - 1}}", DIM)


def _head(columns: dict[int, int], view: ClusterView, first: int, words: str) -> Line:
    canvas = Canvas(first, 1)
    for node, column in columns.items():
        canvas.text(column, 0, who(view, node) if node else "all", HEAD)
    return [*canvas.lines()[0], (words, YOU)]


def _mark(row: _Row, tale: Story) -> tuple[str, str]:
    """The shape of an event: what the same thing looks like everywhere."""
    event = row.event
    assert event is not None
    role = DIM if row.aside else role_of(event)
    match event.body:
        case ev.Intervened():
            return "▲", YOU
        case ev.DatagramDropped() | ev.ProcessKilled() | ev.NodeFenced() | corosync.DaemonExited():
            mark, role = DOWN_MARK, TROUBLE
        case totem.StateEntered(state="OPERATIONAL") | totem.MembershipInstalled():
            mark = OPERATIONAL_MARK
        case totem.StateEntered():
            mark = GATHER_MARK
        case ev.ProcessBlocked() | ev.FsyncStarted() | ev.DiskChanged() | ev.DiskFaulted() | ev.DiskLoaded():
            mark, role = "▒", TROUBLE
        case body if isinstance(body, TOKEN_TYPES):
            mark, role = TOKEN_MARK, TOKEN
        case _:
            mark = "●"
    return mark, CHOSEN if event is tale.last else role


def _sentence(row: _Row, tale: Story, view: ClusterView, width: int) -> Line:
    if row.event is None:
        return [(folded_words(row.folded), FAINT)]
    text = sentence(row.event, view)
    if row.event is tale.last:
        return [(fit(f"{row.prefix}{text}", width), CURSOR)]
    if row.aside:
        return [("also ", FAINT), (text, DIM)]
    return [(row.prefix, DIM), (text, role_of(row.event))]
