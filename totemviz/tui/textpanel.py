"""A panel of lines that may be longer than its window: up and down scroll, the first ``pinned`` of them stay."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, Drawing, Hit, Line
from totemviz.tui.panel import Panel


class TextPanel(Panel, can_focus=True):
    """Subclasses give all their lines in ``content``; this shows a window of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", "up", show=False),
        Binding("down,j", "scroll_lines(1)", "down", show=False),
        Binding("pageup", "scroll_lines(-10)", "page up", show=False),
        Binding("pagedown", "scroll_lines(10)", "page down", show=False),
    ]

    tells_above = False
    """Whether a line says how many are above: where there may be some before anybody has scrolled."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pinned = 0
        self.top = 0
        self._position = -2

    def content(self, moment: Moment, width: int) -> Drawing:
        """All lines."""
        raise NotImplementedError

    def first_row(self, moment: Moment, lines: list[Line], height: int) -> int:
        """The first line in sight after a step; then the user scrolls."""
        return 0

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        lines, hits = self.content(moment, width)
        head, lines = lines[: self.pinned], lines[self.pinned :]
        height -= len(head)
        if moment.position != self._position:
            self._position = moment.position
            self.top = self.first_row(moment, lines, height)
        self.top = max(0, min(self.top, len(lines) - height))
        visible = lines[self.top : self.top + height]
        if self.tells_above and self.top > 0 and len(visible) > 2:
            visible[0] = [(f" … {self.top + 1} more lines above: {self._how('↑')}", DIM)]
        below = len(lines) - self.top - len(visible)
        if below > 0:
            visible[-1] = [(f" … {below + 1} more lines: {self._how('↓')}", DIM)]
        moved = (Hit(hit.x, hit.y - self.top, hit.width, hit.kind, hit.value) for hit in hits)
        shown = tuple(hit for hit in moved if len(head) <= hit.y < len(head) + height)
        return Drawing([*head, *visible], shown)

    def _how(self, key: str) -> str:
        return f"press {key}" if self.has_focus else f"click here and press {key}"

    def on_focus(self) -> None:
        """The keys are for this panel now."""
        self.redraw()

    def on_blur(self) -> None:
        """The keys are for another."""
        self.redraw()

    def action_scroll_lines(self, lines: int) -> None:
        """Move the window."""
        self.top = max(0, self.top + lines)
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further down."""
        event.stop()
        self.action_scroll_lines(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Further up."""
        event.stop()
        self.action_scroll_lines(-3)
