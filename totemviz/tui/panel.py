"""The base of all panels: draws a moment as plain lines and repaints only the rows that became different."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from totemviz.tui.lit import Lit
from totemviz.tui.moment import Moment
from totemviz.tui.paint import Drawing, Hit, Line
from totemviz.tui.theme import look

RIGHT_BUTTON = 3


class Panel(Widget):
    """Shows one moment. Subclasses say how in ``draw`` and name themselves in ``title``."""

    class NodeChosen(Message):
        """A node was clicked."""

        def __init__(self, nodeid: int) -> None:
            super().__init__()
            self.nodeid = nodeid

    class NodeMarked(Message):
        """A node was clicked with shift or control."""

        def __init__(self, nodeid: int) -> None:
            super().__init__()
            self.nodeid = nodeid

    class EventChosen(Message):
        """An event was clicked or entered: the cursor should go there."""

        def __init__(self, event_id: int) -> None:
            super().__init__()
            self.event_id = event_id

    class Looked(Message):
        """Somebody looks at an event without going there: other panels may show where it is."""

        def __init__(self, event_id: int) -> None:
            super().__init__()
            self.event_id = event_id

    class MenuWanted(Message):
        """A part of a drawing was clicked with the right button: what can be done to it?"""

        def __init__(self, kind: str, value: int) -> None:
            super().__init__()
            self.kind = kind
            self.value = value

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moment: Moment | None = None
        self.drawing = Drawing([])
        self.lit = Lit()
        self._strips: dict[int, Strip] = {}
        self._drawn_theme: tuple[str, Style] | None = None

    # --------------------------------------------------------------------------------------------- for subclasses

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:
        """The lines to show, at most ``height`` of ``width`` cells."""
        raise NotImplementedError

    def title(self, moment: Moment) -> str:
        """What stands in the panel's frame."""
        return ""

    def subtitle(self, moment: Moment) -> str:
        """What stands at the bottom of its frame: keys that work in it."""
        return ""

    # ------------------------------------------------------------------------------------------------- the machine

    def show(self, moment: Moment) -> None:
        """Take a new moment; costs nothing while the panel is hidden."""
        self.moment = moment
        self.redraw()

    def redraw(self) -> None:
        """Draw again and repaint the rows that differ."""
        width, height = self.size
        if self.moment is None or not width or not height or not self.is_on_screen:
            return
        self.lit.begin(self.moment.position, self.moment.quiet)
        drawing = self.draw(self.moment, width, height)
        before, self.drawing = self.drawing.lines, drawing
        after = drawing.lines
        rows = max(len(before), len(after))
        changed = [y for y in range(rows) if self._row(before, y) != self._row(after, y)]
        for y in changed:
            self._strips.pop(y, None)
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))
        if self.border_title != (title := self.title(self.moment)):
            self.border_title = title
        if self.border_subtitle != (subtitle := self.subtitle(self.moment)):
            self.border_subtitle = subtitle

    @staticmethod
    def _row(lines: list[Line], y: int) -> Line | None:
        return lines[y] if y < len(lines) else None

    def render_line(self, y: int) -> Strip:
        """One row of the drawing."""
        width = self.size.width
        ground = self.visual_style.rich_style
        if (drawn := (self.app.theme, ground)) != self._drawn_theme:
            self._strips.clear()
            self._drawn_theme = drawn
        strip = self._strips.get(y)
        if strip is None or strip.cell_length != width:
            theme = self.app.current_theme
            line = self._row(self.drawing.lines, y) or []
            segments = [Segment(text, ground + look(role, theme)) for text, role in line]
            strip = Strip(segments).adjust_cell_length(width, ground)
            self._strips[y] = strip
        return strip

    @property
    def is_on_screen(self) -> bool:
        """Whether the layout gives this panel a place (parents included)."""
        return all(node.display for node in self.ancestors_with_self if isinstance(node, Widget))

    def on_resize(self, _event: events.Resize) -> None:
        """The layout gave the panel a size."""
        self.redraw()

    def on_show(self, _event: events.Show) -> None:
        """The panel came into view."""
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Find out what was hit."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        for hit in self.drawing.hits:
            if hit.y == offset.y and hit.x <= offset.x < hit.x + hit.width:
                if event.button == RIGHT_BUTTON or hit.kind in ("flight", "link"):
                    self.post_message(self.MenuWanted(hit.kind, hit.value))
                elif hit.kind == "node" and (event.shift or event.ctrl or event.meta):
                    self.post_message(self.NodeMarked(hit.value))
                else:
                    self.was_hit(hit)
                return

    def was_hit(self, hit: Hit) -> None:
        """A part of the drawing was clicked (Textual calls ``on_click`` of every base class, this only once)."""
        self.post_message(self.NodeChosen(hit.value) if hit.kind == "node" else self.EventChosen(hit.value))
