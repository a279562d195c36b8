"""A small canvas of terminal cells: curves in braille dots (2 × 4 per cell), text over them."""

from __future__ import annotations

from rich.cells import cell_len

from totemviz.tui.paint import PLAIN, Line

BRAILLE = 0x2800
# bit of the dot at (x % 2, y % 4) in a braille character
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class Canvas:
    """``width`` × ``height`` cells; dots have coordinates up to 2·width × 4·height."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._dots: dict[tuple[int, int], int] = {}
        self._roles: dict[tuple[int, int], str] = {}
        self._text: dict[tuple[int, int], tuple[str, str]] = {}
        self._shades: dict[tuple[int, int], str] = {}

    def dot(self, x: float, y: float, role: str) -> None:
        """Set one dot; outside the canvas nothing happens."""
        column, row = int(x) // 2, int(y) // 4
        if 0 <= column < self.width and 0 <= row < self.height:
            self._dots[column, row] = self._dots.get((column, row), 0) | _BITS[int(x) % 2][int(y) % 4]
            self._roles[column, row] = role

    def text(self, column: int, row: int, text: str, role: str) -> int:
        """Write over whatever is there, moved inwards so that it fits; returns the column used."""
        column = max(0, min(column, self.width - cell_len(text)))
        if not 0 <= row < self.height:
            return column
        x = column
        for character in text:
            cells = cell_len(character)
            if x + cells > self.width:
                break
            self._text[x, row] = (character, role)
            for tail in range(1, cells):
                self._text[x + tail, row] = ("", role)
            x += cells
        return column

    def line(self, start: tuple[float, float], end: tuple[float, float], role: str, share: float = 1.0) -> None:
        """Draw a straight line between two dots, or its first part."""
        (x1, y1), (x2, y2) = start, end
        steps = max(1, int(max(abs(x2 - x1), abs(y2 - y1))))
        for step in range(int(steps * share) + 1):
            self.dot(x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps, role)

    def shade(self, column: int, row: int, width: int, ground: str) -> None:
        """Lay a ground under cells, whatever is drawn in them."""
        for x in range(max(0, column), min(self.width, column + width)):
            self._shades[x, row] = ground

    def is_free(self, column: int, row: int, width: int) -> bool:
        """Whether no text stands there yet."""
        return all((x, row) not in self._text for x in range(max(0, column), min(self.width, column + width)))

    def lines(self) -> list[Line]:
        """The canvas as lines, neighbours of one role joined."""
        lines = []
        for row in range(self.height):
            line: Line = []
            for column in range(self.width):
                at = (column, row)
                if at in self._text:
                    text, role = self._text[at]
                elif at in self._dots:
                    text, role = chr(BRAILLE + self._dots[at]), self._roles[at]
                else:
                    text, role = " ", PLAIN
                if (ground := self._shades.get(at)) is not None:
                    role = f"{role}{ground}"
                if line and (line[-1][1] == role or not text):
                    line[-1] = (line[-1][0] + text, line[-1][1])
                else:
                    line.append((text, role))
            lines.append(line)
        return lines
