"""Lists of events that draw only the lines in sight, however long the run is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event, kind_of
from totemviz.trace.sentences import sentence
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView
from totemviz.trace.words import who
from totemviz.tui.index import EventIndex
from totemviz.tui.moment import Moment
from totemviz.tui.paint import CURSOR, CURSOR_DIM, DIM, HEAD, PLAIN, TOKEN, TROUBLE, YOU, Drawing, Hit, Line, clip, fit
from totemviz.tui.panel import Panel

MORE_SECONDS = 0.02
MEMORY_LINES = 4000

TROUBLE_TYPES = (ev.DatagramDropped, ev.ProcessKilled, ev.ProcessBlocked)
TOKEN_TYPES = (totem.TokenReceived, totem.TokenPassed, totem.TokenReleased)


def role_of(event: Event) -> str:
    """What kind of line an event is."""
    body = event.body
    if isinstance(body, ev.Intervened):
        return YOU
    if isinstance(body, ev.DatagramQueued):
        return TROUBLE if body.kind == "orf_token" else DIM
    if isinstance(body, TROUBLE_TYPES) or (isinstance(body, totem.StateEntered) and body.state == "GATHER"):
        return TROUBLE
    if isinstance(body, totem.MembershipInstalled):
        return HEAD
    return PLAIN


def stamp(time_ns: int) -> str:
    """``   12.345 678``: seconds with milliseconds and microseconds, 13 cells up to a day."""
    micros = time_ns // 1000
    return f"{micros // 1_000_000:>5}.{micros // 1000 % 1000:03} {micros % 1000:03}"


class EventList(Panel, can_focus=True):
    """Follows the cursor; with the focus, up and down look around and enter goes there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "look(-1)", "look one line up", show=False),
        Binding("down,j", "look(1)", "look one line down", show=False),
        Binding("pageup", "look_page(-1)", "look a page up", show=False),
        Binding("pagedown", "look_page(1)", "look a page down", show=False),
        Binding("enter", "go", "put the cursor here", show=False),
    ]

    def __init__(self, *, id: str | None = None, keep: Callable[[Event], bool] | None = None) -> None:
        super().__init__(id=id)
        self.index = EventIndex(keep)
        self.looking: int | None = None
        self._place = (-2, -1)
        self._texts: dict[int, str] = {}
        self._texts_of: Timeline | None = None

    # ------------------------------------------------------------------------------------------------- subclasses

    def text(self, event: Event, view: ClusterView) -> str:
        """The words of a line."""
        return sentence(event, view)

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "events"

    def nothing(self) -> str:
        """What an empty list says."""
        return "nothing yet"

    # ---------------------------------------------------------------------------------------------------- drawing

    def set_filter(self, keep: Callable[[Event], bool] | None) -> None:
        """Show only the events that ``keep`` accepts."""
        self.index = EventIndex(keep)
        self.looking = None
        self.redraw()

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        timeline = moment.timeline
        if not self.index.sync(timeline):
            self.set_timer(MORE_SECONDS, self.redraw)
        if (moment.position, moment.looked) != self._place:
            self._place = moment.position, moment.looked
            self.looking = self.index.row_of(moment.looked) if moment.looked >= 0 else None
        if timeline is not self._texts_of or len(self._texts) > MEMORY_LINES:
            self._texts = {}
            self._texts_of = timeline
        rows = len(self.index)
        if not rows:
            return Drawing([[(f" {self.nothing()}", DIM)]])
        current = self.index.row_of(moment.position)
        centre = current if self.looking is None else self.looking
        top = max(0, min(centre - height * 2 // 3, rows - height))
        lines: list[Line] = []
        hits = []
        for row in range(top, min(rows, top + height)):
            event = timeline[self.index.event_id(row)]
            lines.append(self._line(event, moment, width, row == current, row == self.looking))
            hits.append(Hit(0, row - top, width, "event", event.id))
        return Drawing(lines, tuple(hits))

    def _line(self, event: Event, moment: Moment, width: int, current: bool, looked_at: bool) -> Line:
        text = self._texts.get(event.id)
        if text is None:
            text = self._texts[event.id] = self.text(event, moment.view)
        name = who(moment.view, event.node) if event.node else " "
        ahead = event.id > moment.position
        role = DIM if ahead else role_of(event)
        if current and event.id == moment.position:
            whole = f"▸{stamp(event.time_ns)}  {fit(name, 3)}{text}"
            return [(fit(whole, width), CURSOR)]
        if looked_at:
            return [(fit(f"›{stamp(event.time_ns)}  {fit(name, 3)}{text}", width), CURSOR_DIM)]
        letter = DIM if ahead else TOKEN if isinstance(event.body, TOKEN_TYPES) else HEAD
        return clip([(f" {stamp(event.time_ns)}  ", DIM), (fit(name, 3), letter), (text, role)], width)

    # ------------------------------------------------------------------------------------------------------ moving

    def action_look(self, lines: int) -> None:
        """Look at another line; the cursor stays."""
        if self.moment is None or not len(self.index):
            return
        row = self.index.row_of(self.moment.position) if self.looking is None else self.looking
        self.looking = max(0, min(len(self.index) - 1, row + lines))
        self.redraw()
        self.post_message(self.Looked(self.index.event_id(self.looking)))

    def action_look_page(self, pages: int) -> None:
        """Look a page further."""
        self.action_look(pages * max(1, self.size.height - 1))

    def action_go(self) -> None:
        """Put the cursor on the line looked at."""
        if self.looking is not None and self.looking < len(self.index):
            self.post_message(self.EventChosen(self.index.event_id(self.looking)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look further down."""
        event.stop()
        self.action_look(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look further up."""
        event.stop()
        self.action_look(-3)


def matcher(words: str, view: ClusterView) -> Callable[[Event], bool] | None:
    """The filter for what was typed: a node's letter (capital) picks the node, all other words must occur.

    Words are looked for in the event's kind and in its sentence; None for an empty filter.
    """
    letters = {(node.info.letter or node.info.name): nodeid for nodeid, node in view.nodes.items()}
    nodes = {letters[word] for word in words.split() if word in letters}
    needles = [word.lower() for word in words.split() if word not in letters]
    if not nodes and not needles:
        return None

    def keep(event: Event) -> bool:
        if nodes and event.node not in nodes:
            return False
        kind = kind_of(event.body)
        missing = [needle for needle in needles if needle not in kind]
        if not missing:
            return True
        text = sentence(event, view).lower()
        return all(needle in text for needle in missing)

    return keep
