"""What can be pressed next. Help and quit are always there, at any width."""

from __future__ import annotations

from collections.abc import Mapping

from textual.message import Message

from totemviz.tui.keys import FOOTER, FOOTER_ALWAYS, Key
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, KEY, Drawing, Hit, Line, line_width
from totemviz.tui.panel import Panel

GAP = "  "


class KeyFooter(Panel):
    """Keys in the order of their use, as many as fit; a click presses them."""

    class Pressed(Message):
        """A key of the footer was clicked."""

        def __init__(self, key_id: str) -> None:
            super().__init__()
            self.key_id = key_id

    def __init__(self, keys: Mapping[str, Key], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys = keys
        self._pressed: list[str] = []

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        self._pressed = []
        lines: list[Line] = [[] for _ in range(height)]
        hits: list[Hit] = []
        reserved = sum(line_width(self._words(entry, moment)) + 2 for entry in FOOTER_ALWAYS)
        row = 0
        for entry in FOOTER:
            if self._keys[entry[0]].needs_world and not moment.session.can_intervene:
                continue
            words = self._words(entry, moment)
            if line_width(lines[row]) + line_width(words) + 1 > width - (reserved if row == 0 else 0):
                if row == height - 1:
                    continue
                row += 1
            self._put(lines, hits, row, entry, words)
        lines[0].append((" " * (width - reserved - line_width(lines[0])), DIM))
        for entry in FOOTER_ALWAYS:
            self._put(lines, hits, 0, entry, self._words(entry, moment))
        return Drawing(lines, tuple(hits))

    def _words(self, entry: tuple[str, str, str], moment: Moment) -> Line:
        first, second, word = entry
        if first == "play":
            word = "stop" if moment.playing else "run"
        shown = self._keys[first].shown + (f" {self._keys[second].shown}" if second else "")
        return [(f" {shown}", KEY), (f" {word}", DIM)]

    def _put(self, lines: list[Line], hits: list[Hit], row: int, entry: tuple[str, str, str], words: Line) -> None:
        line = lines[row]
        x = line_width(line)
        if entry[1]:  # a pair: each key is its own button
            first = len(self._keys[entry[0]].shown) + 1
            hits.append(Hit(x, row, first, "key", len(self._pressed)))
            self._pressed.append(entry[0])
            hits.append(Hit(x + first, row, line_width(words) - first, "key", len(self._pressed)))
            self._pressed.append(entry[1])
        else:
            hits.append(Hit(x, row, line_width(words), "key", len(self._pressed)))
            self._pressed.append(entry[0])
        line.extend([*words, (GAP, DIM)])

    def was_hit(self, hit: Hit) -> None:
        """Press the key under the mouse."""
        self.post_message(self.Pressed(self._pressed[hit.value]))
