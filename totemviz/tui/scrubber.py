"""The time bar: the whole run in one line, its marks, and the cursor, which can be dragged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from textual import events
from textual.message import Message

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.follower import Follower
from totemviz.trace.timeline import Timeline
from totemviz.trace.words import SECOND, span
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, FAINT, HEAD, PLAIN, TOKEN, TROUBLE, YOU, Drawing, Line, line_width
from totemviz.tui.panel import Panel

MARK_ROLES = {"▲": YOU, "✖": TROUBLE, "╂": HEAD}
LEGEND_FROM = 100


def mark_of(event: Event) -> str:
    """The tick an event leaves on the bar, empty for most."""
    body = event.body
    if isinstance(body, ev.Intervened):
        return "▲"
    if isinstance(body, totem.MembershipInstalled):
        return "╂"
    if isinstance(body, ev.ProcessKilled):
        return "✖"
    if isinstance(body, totem.StateEntered) and body.state == "GATHER" and "lost" in body.text:
        return "✖"
    if isinstance(body, ev.DatagramDropped) and body.kind == "orf_token":
        return "✖"
    return ""


def nice_end(time_ns: int) -> int:
    """The next round time: 1, 2 or 5 times a power of ten, so that the bar of a growing run is calm."""
    unit = SECOND // 10
    while True:
        for factor in (1, 2, 5):
            if factor * unit >= time_ns:
                return factor * unit
        unit *= 10


class Ticks(Follower):
    """Times of the marks, found once per event however often the bar is drawn."""

    def _restart(self) -> None:
        self.times: dict[str, list[int]] = {mark: [] for mark in MARK_ROLES}

    def sync(self, timeline: Timeline, budget: int | None = None) -> bool:
        """Look at all that is new, unless there is a ``budget``: the bar has no place for what is not known yet."""
        return super().sync(timeline, len(timeline) if budget is None else budget)

    def _take(self, event: Event) -> None:
        if mark := mark_of(event):
            self.times[mark].append(event.time_ns)

    def between(self, start_ns: int, end_ns: int) -> str:
        """The most telling mark in ``start_ns`` ≤ time < ``end_ns``: ▲ before ✖ before ╂."""
        for mark in MARK_ROLES:
            times = self.times[mark]
            index = bisect_left(times, start_ns)
            if index < len(times) and times[index] < end_ns:
                return mark
        return ""

    def count(self, time_ns: int) -> dict[str, int]:
        """How many of each mark there are up to a time."""
        return {mark: bisect_right(times, time_ns) for mark, times in self.times.items()}


class Scrubber(Panel):
    """A bar of time from 0 to the end; click or drag to go there."""

    class TimeChosen(Message):
        """The user wants to be at this time."""

        def __init__(self, time_ns: int) -> None:
            super().__init__()
            self.time_ns = time_ns

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.ticks = Ticks()
        self._start = 0
        self._width = 1
        self._end_ns = 1
        self._dragging = False

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        timeline = moment.timeline
        self.ticks.sync(timeline)
        known_ns = timeline[len(timeline) - 1].time_ns if len(timeline) else 0
        known_ns = max(known_ns, moment.now_ns)
        self._end_ns = max(1, nice_end(known_ns) if moment.session.can_intervene else known_ns)
        end = f" {span(self._end_ns)} "
        legend: Line = []
        if width >= LEGEND_FROM:
            for mark, words in (("▲", "you"), ("╂", "membership"), ("✖", "trouble"), ("●", "now")):
                legend += [(f" {mark}", MARK_ROLES.get(mark, TOKEN)), (f" {words} ", DIM)]
        self._start = 2
        self._width = max(10, width - 3 - len(end) - line_width(legend))
        now = self._column(moment.now_ns)
        lived = self._column(known_ns)
        line: Line = [(" ├", DIM)]
        for column in range(self._width):
            mark = self.ticks.between(self._time(column), self._time(column + 1))
            if column == now:
                line.append(("●", TOKEN))
            elif mark:
                line.append((mark, MARK_ROLES[mark]))
            elif column < now:
                line.append(("━", PLAIN))
            else:
                line.append(("─" if column <= lived else "┈", DIM if column <= lived else FAINT))
        return Drawing([[*_joined(line), ("┤", DIM), (end, DIM), *legend]])

    def _time(self, column: int) -> int:
        return column * self._end_ns // self._width

    def _column(self, time_ns: int) -> int:
        return max(0, min(self._width - 1, time_ns * self._width // self._end_ns))

    def _choose(self, x: int) -> None:
        column = max(0, min(self._width, x - self._start))
        self.post_message(self.TimeChosen(self._time(column + 1) - 1))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        self._dragging = True
        self.capture_mouse()
        self._choose(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag."""
        if self._dragging:
            self._choose(event.x)

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        """Let go."""
        self._dragging = False
        self.release_mouse()


def _joined(line: Line) -> Line:
    """Neighbours of one role as one span."""
    out: Line = []
    for text, role in line:
        if out and out[-1][1] == role:
            out[-1] = (out[-1][0] + text, role)
        else:
            out.append((text, role))
    return out
