"""Two widgets to set a value without typing: a slider over a row of values, and a choice of a few words.

Both follow the arrow keys and the mouse (click or drag), and say at once what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from totemviz.tui.paint import CHOSEN, DIM, FAINT, HEAD, KEY, PLAIN, YOU, Line, fit, line_width
from totemviz.tui.theme import look

LABEL = 10
WORDS = 16
FAR = 10
"""Values a page key goes over."""


class Slider(Widget, can_focus=True):
    """One of ``values``, told by ``words``; ``├━━━●────┤``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h,minus", "slide(-1)", "less", show=False),
        Binding("right,l,plus", "slide(1)", "more", show=False),
        Binding("pagedown", f"slide(-{FAR})", "much less", show=False),
        Binding("pageup", f"slide({FAR})", "much more", show=False),
        Binding("home", "slide(-1000000)", "the least", show=False),
        Binding("end", "slide(1000000)", "the most", show=False),
    ]
    DEFAULT_CSS = "Slider { height: 1; width: 100%; }"

    class Moved(Message):
        """Another value is chosen."""

        def __init__(self, slider: Slider) -> None:
            super().__init__()
            self.slider = slider

        @property
        def control(self) -> Slider:
            """The slider, for handlers that are about one of them."""
            return self.slider

    def __init__(self, label: str, values: Sequence[float], words: Callable[[float], str], *, id: str) -> None:
        super().__init__(id=id)
        self.label, self.values, self.words = label, values, words
        self.index = 0
        self._dragging = False

    @property
    def value(self) -> float:
        """The value chosen."""
        return self.values[self.index]

    def put(self, value: float) -> None:
        """Show the value nearest to this one; nobody is told."""
        self.index = min(range(len(self.values)), key=lambda index: abs(self.values[index] - value))
        self.refresh()

    def choose(self, index: int) -> None:
        """Choose by number, and tell."""
        index = max(0, min(len(self.values) - 1, index))
        if index != self.index:
            self.index = index
            self.refresh()
            self.post_message(self.Moved(self))

    def action_slide(self, steps: int) -> None:
        """So many values further."""
        self.choose(self.index + steps)

    # ---------------------------------------------------------------------------------------------------- drawing

    @property
    def _track(self) -> int:
        return max(4, self.size.width - LABEL - WORDS - 2)

    def line(self) -> Line:
        """What it looks like."""
        track = self._track
        at = round(self.index * (track - 1) / max(1, len(self.values) - 1))
        knob = CHOSEN if self.has_focus else YOU
        return [
            *self._head(),
            ("├", DIM),
            ("━" * at, YOU if self.index else DIM),
            ("●", knob),
            ("─" * (track - 1 - at), FAINT),
            ("┤", DIM),
            (fit(f" {self.words(self.value)}", WORDS), HEAD if self.has_focus else PLAIN),
        ]

    def _head(self) -> Line:
        return [(fit(f"{'▸' if self.has_focus else ' '} {self.label}", LABEL), KEY if self.has_focus else DIM)]

    def render(self) -> Text:  # noqa: D102
        theme = self.app.current_theme
        return Text.assemble(*((text, look(role, theme)) for text, role in self.line()), no_wrap=True)

    # ------------------------------------------------------------------------------------------------------ mouse

    def _at(self, x: int) -> int:
        """The number of the value under a column."""
        share = (x - LABEL - 1) / max(1, self._track - 1)
        return round(max(0.0, min(1.0, share)) * (len(self.values) - 1))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take the knob."""
        self._dragging = True
        self.capture_mouse()
        self.choose(self._at(event.x))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag it."""
        if self._dragging:
            self.choose(self._at(event.x))

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        """Let go."""
        self._dragging = False
        self.release_mouse()

    def on_focus(self) -> None:
        """The knob shows who has the arrows."""
        self.refresh()

    def on_blur(self) -> None:
        """Somebody else has them."""
        self.refresh()


class Choice(Slider):
    """One of a few values, all in sight: ``[every]  A   B``."""

    DEFAULT_CSS = "Choice { height: 1; width: 100%; }"

    def line(self) -> Line:  # noqa: D102
        spans = self._head()
        for index, value in enumerate(self.values):
            chosen = index == self.index
            text = f"[{self.words(value)}]" if chosen else f" {self.words(value)} "
            role = (CHOSEN if self.has_focus else HEAD) if chosen else DIM
            spans.append((text, role))
        return spans

    def _at(self, x: int) -> int:
        end = line_width(self._head())
        for index, value in enumerate(self.values):
            end += cell_len(self.words(value)) + 2
            if x < end:
                return index
        return len(self.values) - 1
