"""Drawings as plain data: lines of (text, role) pairs, so that what a panel shows can be tested without a terminal.

A *role* says what a piece of text means (``token``, ``trouble``, ``you``, ``changed``, …); the theme decides how a
role looks, and shape or letter always says the same thing too. A *hit* is a part of a drawing that can be clicked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]

PLAIN, DIM, FAINT, HEAD = "plain", "dim", "faint", "head"
TOKEN, TROUBLE, YOU, GOOD, CHANGED = "token", "trouble", "you", "good", "changed"
NOW, KEY, CURSOR, CURSOR_DIM, CHOSEN = "now", "key", "cursor", "cursor-dim", "chosen"
ON_CURSOR, ON_TROUBLE, ON_FORMING, ON_BLOCKED = "@cursor", "@trouble", "@forming", "@blocked"
"""Grounds: added to a role, they say what lies under the text."""

OPERATIONAL_MARK, GATHER_MARK, TOKEN_MARK, BLOCKED_MARK, DOWN_MARK = "○", "◌", "◆", "⏳", "✖"
YES, PENDING, UNKNOWN_MARK = "✓", "·", "?"


LINK_BASE = 1 << 32
"""A link is told to a menu as source × this + target: node ids have 32 bits."""


class Hit(NamedTuple):
    """A clickable stretch of one line; ``kind`` names what ``value`` is.

    ``node`` (its id), ``event`` (its id), ``flight`` (the event that sent a datagram), ``link`` (see ``LINK_BASE``).
    """

    x: int
    y: int
    width: int
    kind: str
    value: int


class Drawing(NamedTuple):
    """What a panel shows."""

    lines: list[Line]
    hits: tuple[Hit, ...] = ()


def fit(text: str, width: int, align: str = "<") -> str:
    """Exactly ``width`` cells: cut with ``…``, or padded on the right (``<``), left (``>``) or both (``^``)."""
    if width <= 0:
        return ""
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…"
    room = width - cells
    if align == ">":
        return " " * room + text
    if align == "^":
        return " " * (room // 2) + text + " " * (room - room // 2)
    return text + " " * room


def line_width(line: Iterable[Span]) -> int:
    """Cells a line takes."""
    return sum(cell_len(text) for text, _ in line)


def clip(line: Line, width: int) -> Line:
    """The line cut to ``width`` cells, the last one ``…`` if anything was cut."""
    out: Line = []
    left = width
    for text, role in line:
        cells = cell_len(text)
        if cells > left:
            if left > 0:
                out.append((fit(text, left), role))
            return out
        out.append((text, role))
        left -= cells
    return out


def cell(spans: Line, width: int) -> Line:
    """A table cell: the spans clipped and padded to exactly ``width`` cells."""
    clipped = clip(spans, width)
    room = width - line_width(clipped)
    return [*clipped, (" " * room, PLAIN)] if room > 0 else clipped


def wrap(text: str, width: int, rows: int) -> list[str]:
    """The text in at most ``rows`` lines of ``width`` cells, broken at spaces; what does not fit ends in ``…``."""
    lines: list[str] = []
    current = ""
    words = text.split(" ")
    for index, word in enumerate(words):
        longer = f"{current} {word}" if current else word
        if cell_len(longer) <= width:
            current = longer
            continue
        if len(lines) == rows - 1:
            lines.append(fit(" ".join([current, *words[index:]]), width))
            return lines
        lines.append(current)
        current = word
    return [*lines, current]


def clock(time_ns: int) -> str:
    """``12.345 678 s``: seconds, milliseconds and microseconds since the run began."""
    micros = time_ns // 1000
    return f"{micros // 1_000_000}.{micros // 1000 % 1000:03} {micros % 1000:03} s"


def number(value: int) -> str:
    """The number; ``?`` for one that a recording cannot show."""
    return str(value) if value >= 0 else UNKNOWN_MARK
