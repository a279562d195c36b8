"""The space-time diagram: nodes as columns, time downwards, messages as slanted lines, states as shading.

Rows are instants, not microseconds (``stretch.py`` says why and cuts a stretch of the run into them); what state a
column is in comes from ``lifelines.py``. The row of the cursor is the event list's cursor, and a click or enter on any
row goes to its event. What lies ahead of the cursor is drawn faintly.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline
from totemviz.trace.words import span
from totemviz.tui import marks
from totemviz.tui.canvas import Canvas
from totemviz.tui.index import EventIndex
from totemviz.tui.lifelines import Life, Lifelines
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    BLOCKED_MARK,
    CHOSEN,
    CURSOR,
    CURSOR_DIM,
    DIM,
    DOWN_MARK,
    FAINT,
    HEAD,
    ON_BLOCKED,
    ON_CURSOR,
    ON_FORMING,
    ON_TROUBLE,
    PLAIN,
    TOKEN,
    TOKEN_MARK,
    TROUBLE,
    Drawing,
    Hit,
    Line,
    clip,
    fit,
    line_width,
)
from totemviz.tui.panel import Panel
from totemviz.tui.stretch import Instant, Keep, Zoom, cut, is_shown

GUTTER = 13
FIRST_STRETCH, LONGEST_STRETCH = 400, 12_000
TALL_FROM = 26
MORE_SECONDS = 0.02

MESSAGE_ROLES = {
    "orf_token": TOKEN,
    "mcast": HEAD,
    "memb_join": TROUBLE,
    "memb_commit_token": TOKEN,
    "memb_merge_detect": DIM,
    "token_hold_cancel": DIM,
}
LINES = {"OPERATIONAL": "│", "GATHER": "┊", "COMMIT": "╎", "RECOVERY": "╏", "STARTING": "·", "DOWN": " ", "": "│"}
GROUNDS = {"GATHER": ON_TROUBLE, "COMMIT": ON_FORMING, "RECOVERY": ON_FORMING}


class Row(NamedTuple):
    """One row of the picture: a silence, folded rotations, or the ``part``-th row of an instant."""

    instant: Instant
    part: int
    kind: str = ""


class SpaceTime(Panel, can_focus=True):
    """Follows the cursor; with the focus, up and down look around, enter goes there, i and o zoom."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "look(-1)", "look at the instant before", show=False),
        Binding("down,j", "look(1)", "look at the next instant", show=False),
        Binding("pageup", "look(-10)", "look further up", show=False),
        Binding("pagedown", "look(10)", "look further down", show=False),
        Binding("enter", "go", "put the cursor here", show=False),
        Binding("i", "zoom(1)", "see more of less", show=False),
        Binding("o", "zoom(-1)", "see less of more", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.zoom: Zoom | None = None
        self.keep: Keep | None = None
        self.looking: int | None = None
        self._place = (-2, -1)
        self._lives = Lifelines()
        self._story = EventIndex(lambda event: is_shown(event, Zoom.STORY))
        self._instants: list[Instant] = []

    def title(self, moment: Moment) -> str:  # noqa: D102
        return f"space-time · {self._zoom().words}"

    def set_filter(self, keep: Keep | None) -> None:
        """Show only the events that ``keep`` accepts."""
        self.keep = keep
        self.looking = None
        self.redraw()

    # ---------------------------------------------------------------------------------------------- which stretch

    def _zoom(self) -> Zoom:
        return self.zoom if self.zoom is not None else Zoom.WIDE if self.size.height >= TALL_FROM else Zoom.FOLDED

    def _stretch(self, moment: Moment, height: int) -> tuple[list[Instant], bool]:
        """Enough instants around the place looked at, and whether the last of them is the last there is."""
        timeline, zoom = moment.timeline, self._zoom()
        ready = self._story.sync(timeline) if zoom is Zoom.STORY else True
        centre = moment.position if self.looking is None else self.looking
        length = FIRST_STRETCH
        while True:
            some, whole, is_end = _slice(timeline, self._story if zoom is Zoom.STORY else None, centre, length)
            instants = cut(some, zoom, moment.position, len(moment.nodes), self.keep)
            above = sum(instant.rows(zoom) for instant in instants if instant.last_id <= centre)
            if whole or above >= 2 * height or length >= LONGEST_STRETCH:
                return instants, is_end and ready
            length *= 3

    # ---------------------------------------------------------------------------------------------------- drawing

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        if not self._lives.sync(moment.timeline):
            self.set_timer(MORE_SECONDS, self.redraw)
        if (moment.position, moment.looked) != self._place:
            self._place = moment.position, moment.looked
            self.looking = moment.looked if moment.looked >= 0 else None
        nodes = [node.info.nodeid for node in moment.nodes]
        self._instants, is_end = self._stretch(moment, height)
        if not self._instants or not nodes or height < 2 or width < GUTTER + 3 * len(nodes):
            text = "nothing like that near here" if self.keep else "nothing yet"
            return Drawing([[(f" {text}", DIM)]])
        picture = _Picture(self._instants, self._zoom(), moment, self._lives, width, height - 1, self.looking)
        picture.draw(is_end and self.keep is None)
        head = _head(moment, picture, width)
        hits = [Hit(picture.columns[nodeid], 0, 4, "node", nodeid) for nodeid in nodes]
        return Drawing([head, *picture.lines()], (*hits, *picture.hits()))

    # ----------------------------------------------------------------------------------------------------- moving

    def action_look(self, instants: int) -> None:
        """Look at another instant; the cursor stays."""
        if self.moment is None or not self._instants:
            return
        centre = self.moment.position if self.looking is None else self.looking
        here = max((i for i, instant in enumerate(self._instants) if instant.events[0].id <= centre), default=0)
        self.looking = self._instants[max(0, min(len(self._instants) - 1, here + instants))].last_id
        self.redraw()
        self.post_message(self.Looked(self.looking))

    def action_go(self) -> None:
        """Put the cursor on the instant looked at."""
        if self.looking is not None:
            self.post_message(self.EventChosen(self.looking))

    def action_zoom(self, steps: int) -> None:
        """Another scale."""
        self.zoom = Zoom(max(Zoom.STORY, min(Zoom.EVERYTHING, self._zoom() + steps)))
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look further down."""
        event.stop()
        self.action_look(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look further up."""
        event.stop()
        self.action_look(-3)


def _slice(timeline: Timeline, index: EventIndex | None, centre: int, length: int) -> tuple[list[Event], bool, bool]:
    """Some events around ``centre``; whether these are all there are before it; whether the last is the last."""
    if index is None:
        low, high = max(0, centre - length), min(len(timeline), centre + 1 + length // 2)
        return timeline[low:high], low == 0, high == len(timeline)
    row = index.row_of(centre)
    low, high = max(0, row - length), min(len(index), row + 1 + length // 2)
    return [timeline[index.event_id(i)] for i in range(low, high)], low == 0, high == len(index)


def _head(moment: Moment, picture: _Picture, width: int) -> Line:
    """The names of the columns."""
    line: Line = [(" i o zoom ", DIM), (f"{picture.zoom.value}", PLAIN)]
    for node in moment.nodes:
        room = picture.columns[node.info.nodeid] - line_width(line)
        line.append((" " * room, PLAIN))
        role = CHOSEN if moment.chosen == node.info.nodeid else TOKEN if marks.has_token(moment.view, node) else HEAD
        line += [(marks.letter(node), role), *marks.marks(moment.view, node)]
        if picture.column_width > 12 and node.info.name != marks.letter(node):
            line.append((f" {node.info.name}", DIM))
    return clip(line, width)


def _lets_go(event: Event) -> bool:
    """Whether a node that has the token has it no more."""
    match event.body:
        case ev.DatagramSent(kind="orf_token") | ev.ProcessKilled():
            return True
        case totem.StateEntered(state=state):
            return state != "OPERATIONAL"
    return False


class _Picture:
    """One drawing of a stretch of instants around the cursor."""

    def __init__(
        self,
        instants: list[Instant],
        zoom: Zoom,
        moment: Moment,
        lives: Lifelines,
        width: int,
        height: int,
        looking: int | None,
    ) -> None:
        self.zoom, self.moment, self.lives, self.looking = zoom, moment, lives, looking
        nodes = moment.nodes
        self.column_width = max(3, (width - GUTTER - 1) // max(1, len(nodes)))
        self.columns = {node.info.nodeid: GUTTER + 1 + i * self.column_width for i, node in enumerate(nodes)}
        self.rows: list[Row] = []
        self.first_row: dict[int, int] = {}
        for instant in instants:
            if instant.folded:
                self.rows.append(Row(instant, 0, "folded"))
            elif instant.gap_ns:
                self.rows.append(Row(instant, 0, "gap"))
            self.first_row[instant.last_id] = len(self.rows)
            self.rows += [Row(instant, part) for part in range(instant.rows(zoom))]
        self.instants = instants
        self.before = {later.last_id: earlier for earlier, later in pairwise(instants)}
        self.top = self._top(height)
        self.height = min(height, max(1, len(self.rows) - self.top + zoom.rows))
        self.canvas = Canvas(width, self.height)

    def _top(self, height: int) -> int:
        """The first row in sight: the place looked at stands at two thirds, or lower if little lies ahead."""
        centre = self.moment.position if self.looking is None else self.looking
        current = max((row for last, row in self.first_row.items() if self._begin(row) <= centre), default=0)
        self.current = current
        return max(0, min(current - height * 2 // 3, len(self.rows) + self.zoom.rows - height))

    def _begin(self, row: int) -> int:
        return self.rows[row].instant.events[0].id

    def lines(self) -> list[Line]:
        """The rows in sight."""
        return self.canvas.lines()

    def is_ahead(self, event_id: int) -> bool:
        """Whether the cursor has not got there."""
        return event_id > self.moment.position

    def draw(self, is_end: bool) -> None:
        """Everything: grounds and lifelines, then messages, then words."""
        self._draw_lifelines()
        self._draw_messages(is_end)
        for y in range(self.height):
            if self.top + y < len(self.rows):
                self._draw_words(y, self.rows[self.top + y])

    # ------------------------------------------------------------------------------------------------- lifelines

    def _draw_lifelines(self) -> None:
        holder = self._holders()
        for y in range(self.height):
            at = min(self.top + y, len(self.rows) - 1)
            row = self.rows[at]
            is_late = self.top + y >= len(self.rows)
            before = row.kind != "" and not is_late
            event_id = row.instant.events[0].id - 1 if before else row.instant.last_id
            ahead = self.is_ahead(row.instant.events[0].id) or is_late
            if at == self.current and not is_late and row.kind == "":
                self.canvas.shade(0, y, self.canvas.width, ON_CURSOR)
            for nodeid, x in self.columns.items():
                life = self.lives.at(nodeid, event_id)
                has_token = holder.get(event_id, 0) == nodeid if not before else self._held_before(holder, at, nodeid)
                self._draw_life(x, y, life, ahead, has_token, row.kind != "")

    def _draw_life(self, x: int, y: int, life: Life, ahead: bool, has_token: bool, silent: bool) -> None:
        mark = LINES.get(life.state, "│")
        role = TROUBLE if life.state == "GATHER" else DIM if life.state in ("OPERATIONAL", "") else PLAIN
        ground = GROUNDS.get(life.state, "")
        if life.blocked and life.state != "DOWN":
            mark, role, ground = "▒", TROUBLE, ON_BLOCKED
        elif has_token:
            mark, role = "┃", TOKEN
        elif silent and life.state == "OPERATIONAL":
            mark = "┆"
        if ahead:
            role = FAINT
        if ground and not ahead:
            self.canvas.shade(x - 1, y, 3, ground)
        self.canvas.text(x, y, mark, role)

    def _holders(self) -> dict[int, int]:
        """Who has the token after each instant, 0 for nobody; by the instant's last event."""
        holder, found = 0, {}
        for instant in self.instants:
            for event in instant.events:
                body = event.body
                if isinstance(body, totem.TokenReceived):
                    holder = event.node
                elif event.node == holder and _lets_go(event):
                    holder = 0
            found[instant.last_id] = holder
        return found

    def _held_before(self, holder: dict[int, int], at: int, nodeid: int) -> bool:
        earlier = self.before.get(self.rows[at].instant.last_id)
        return earlier is not None and holder[earlier.last_id] == nodeid

    # -------------------------------------------------------------------------------------------------- messages

    def _draw_messages(self, is_end: bool) -> None:
        sent: dict[int, tuple[Event, int]] = {}
        missing: dict[int, set[int]] = {}
        for instant in self.instants:
            row = self.first_row[instant.last_id]
            for event in instant.events:
                body = event.body
                if isinstance(body, ev.DatagramSent):
                    sent[event.id] = event, row
                    missing[event.id] = {body.target} if body.target else set(self.columns) - {event.node}
                elif isinstance(body, ev.DatagramReceived | ev.DatagramDropped | ev.DatagramQueued):
                    missing.get(body.sent, set()).discard(event.node)
                    if body.sent in sent and event.node != body.source:
                        self._draw_message(*sent[body.sent], event, row)
                elif isinstance(body, totem.TokenReceived) and self._is_in_sight(row):
                    role = FAINT if self.is_ahead(event.id) else TOKEN
                    self.canvas.text(self.columns[event.node], row - self.top, TOKEN_MARK, role)
        if is_end:
            for event_id, targets in missing.items():
                for target in sorted(targets):
                    self._draw_flight(*sent[event_id], target)

    def _is_in_sight(self, row: int) -> bool:
        return self.top <= row < self.top + self.height

    def _dot(self, nodeid: int, row: int, towards: int) -> tuple[float, float]:
        """Where a line touches a lifeline: a little beside it."""
        x = self.columns[nodeid]
        aside = 2.0 if towards > x else -2.0
        return x * 2 + 1 + aside, (row - self.top) * 4 + 1.5

    def _draw_message(self, start: Event, start_row: int, end: Event, end_row: int) -> None:
        if end_row < self.top or start_row >= self.top + self.height or end.node not in self.columns:
            return
        source, target = start.node, end.node
        x1, x2 = self.columns.get(source, 0), self.columns[target]
        first, last = self._dot(source, start_row, x2), self._dot(target, end_row, x1)
        kind = end.body.kind  # type: ignore[union-attr]
        role = MESSAGE_ROLES.get(kind, PLAIN)
        lost = isinstance(end.body, ev.DatagramDropped)
        if lost:
            role = TROUBLE
        if self.is_ahead(start.id):
            self.canvas.line(first, last, FAINT, 0.6 if lost else 1.0)
        elif self.is_ahead(end.id):
            self.canvas.line(first, last, FAINT)
            self.canvas.line(first, last, role, 0.5)
            self._put(first, last, 0.5, TOKEN_MARK if kind == "orf_token" else "•", role)
            return
        else:
            self.canvas.line(first, last, role, 0.6 if lost else 1.0)
        role = FAINT if self.is_ahead(start.id) else role
        if lost:
            self._put(first, last, 0.6, DOWN_MARK, role)
        elif self._is_in_sight(end_row):
            self.canvas.text(x2 + (-1 if x1 < x2 else 1), end_row - self.top, "▸" if x1 < x2 else "◂", role)
            if isinstance(end.body, ev.DatagramQueued):
                self.canvas.text(x2 + 1, end_row - self.top, BLOCKED_MARK, role)

    def _draw_flight(self, start: Event, row: int, target: int) -> None:
        """A message whose arrival nobody knows yet."""
        if target not in self.columns or start.node not in self.columns or not self._is_in_sight(row):
            return
        x1, x2 = self.columns[start.node], self.columns[target]
        first, last = self._dot(start.node, row, x2), self._dot(target, row + max(2, self.zoom.rows), x1)
        kind = start.body.kind  # type: ignore[union-attr]
        role = FAINT if self.is_ahead(start.id) else MESSAGE_ROLES.get(kind, PLAIN)
        self.canvas.line(first, last, role, 0.5)
        self._put(first, last, 0.5, TOKEN_MARK if kind == "orf_token" else "•", role)

    def _put(self, start: tuple[float, float], end: tuple[float, float], share: float, mark: str, role: str) -> None:
        x, y = (a + (b - a) * share for a, b in zip(start, end, strict=True))
        if 0 <= y < self.height * 4:
            self.canvas.text(int(x) // 2, int(y) // 4, mark, role)

    # ----------------------------------------------------------------------------------------------------- words

    def _draw_words(self, y: int, row: Row) -> None:
        instant = row.instant
        ahead = self.is_ahead(instant.events[0].id)
        if row.kind:
            self._draw_silence(y, row, ahead)
            return
        if row.part == 0:
            self._draw_time(y, instant, ahead)
        if row.part < len(instant.told):
            text, role = instant.told[row.part]
            text = marks.with_letters(text, self.moment.nodes)
            self.canvas.text(GUTTER + 1, y, fit(text, min(len(text), self.canvas.width - GUTTER - 1)), role)
        line = row.part - len(instant.told)  # what happened to the world stands above what happened to nodes
        ids = list(self.columns)
        for index, nodeid in enumerate(ids):
            lines = instant.labels.get(nodeid, [])
            if 0 <= line < len(lines):
                text, role = lines[line]
                following = ids[index + 1 : index + 2]
                free = following and line >= len(instant.labels.get(following[0], []))
                room = (self.column_width * 2 if free else self.column_width) - 3
                x = self.columns[nodeid] + 1
                room = min(room if following else self.canvas.width, self.canvas.width - x - 2)
                self.canvas.text(x, y, f" {fit(text, min(len(text), room))} ", FAINT if ahead else role)

    def _draw_time(self, y: int, instant: Instant, ahead: bool) -> None:
        position = self.moment.position
        micros = instant.time_ns // 1000
        full = f"{micros // 1_000_000}.{micros // 1000 % 1000:03} {micros % 1000:03}"
        here = self.first_row[instant.last_id] == self.current
        if here:
            mark = "▸" if self.looking is None else "›"
            role = CURSOR if self.looking is None else CURSOR_DIM
            self.canvas.text(0, y, fit(f"{mark}{full:>{GUTTER - 2}}", GUTTER - 1), role)
            return
        earlier = self.before.get(instant.last_id)
        delta = instant.time_ns - earlier.time_ns if earlier is not None else -1
        text = full if delta < 0 or instant.gap_ns or instant.folded or y == 0 else f"+{span(delta)}"
        role = FAINT if ahead else DIM
        if instant.events[0].id <= position < instant.last_id:
            role = PLAIN
        self.canvas.text(0, y, f"{text:>{GUTTER - 1}}", role)

    def _draw_silence(self, y: int, row: Row, ahead: bool) -> None:
        instant = row.instant
        role = FAINT if ahead else DIM
        self.canvas.text(0, y, f"{'⋯ ' + span(instant.gap_ns) if instant.gap_ns else '⋯':>{GUTTER - 1}}", role)
        if row.kind == "folded":
            rotations = instant.folded / max(1, len(self.columns))
            count = f"{rotations:.0f} idle rotations" if rotations >= 1.5 else f"{instant.folded} idle token hops"
            at = GUTTER + 3
            self.canvas.text(at, y, fit(count, min(len(count), self.canvas.width - at)), role)

    def hits(self) -> list[Hit]:
        """Every row leads to its events: beside a lifeline to that node's, in the gutter to the last."""
        found: list[Hit] = []
        for y in range(self.height):
            if self.top + y >= len(self.rows):
                break
            instant = self.rows[self.top + y].instant
            own = {event.node: event.id for event in instant.events}
            for nodeid, x in self.columns.items():
                if nodeid in own:
                    found.append(Hit(x - 1, y + 1, self.column_width, "event", own[nodeid]))
            found.append(Hit(0, y + 1, self.canvas.width, "event", instant.last_id))
        return found
