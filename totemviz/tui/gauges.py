"""Small pictures of numbers: a bar with what is left, a window of sequence numbers, a plot of a few values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from totemviz.tui.paint import CHANGED, DIM, FAINT, GOOD, PLAIN, TROUBLE, Line, Span

EIGHTHS = "▁▂▃▄▅▆▇█"
CHART_ROWS = 3


def bar(share: float, width: int, urgent: bool = False) -> Line:
    """``█████░░░``."""
    full = round(max(0.0, min(1.0, share)) * width)
    return [("█" * full, TROUBLE if urgent else DIM), ("░" * (width - full), FAINT)]


def chart(values: Sequence[int], slow_from: int, words: Callable[[int], str], width: int) -> list[Line]:
    """A column per value over ``CHART_ROWS`` rows, on a logarithmic scale whose ends are told on the left.

    Values from ``slow_from`` on stand out. ``width``: cells there are; the latest values are shown.
    """
    top = words(max(values)) if max(values) > min(values) else ""
    labels = [top, *[""] * (CHART_ROWS - 2), words(min(values))]
    room = max(len(label) for label in labels)
    shown = values[-max(1, width - room - 2) :]
    low, high = math.log(max(1, min(values))), math.log(max(2, *values))
    steps = CHART_ROWS * len(EIGHTHS)
    heights = [
        1 + round((math.log(max(1, value)) - low) / max(high - low, 1e-9) * (steps - 1)) if high - low > 1e-6 else 1
        for value in shown
    ]
    lines = []
    for row, label in enumerate(labels):
        floor = (CHART_ROWS - 1 - row) * len(EIGHTHS)
        line: Line = [(f"{label:>{room}} ", DIM), ("┤", FAINT)]
        for value, height in zip(shown, heights, strict=True):
            part = max(0, min(len(EIGHTHS), height - floor))
            line.append((EIGHTHS[part - 1] if part else " ", TROUBLE if value >= slow_from else PLAIN))
        lines.append(line)
    return lines


def window(have: set[int], aru: int, high: int, width: int) -> Line:
    """The sort queue: ``…37█38█39·40█`` as one mark per sequence number, the last ``width`` up to ``high``.

    █ received and in order, ▓ received with a hole before it, · missing.
    """
    first = max(1, high - width + 1)
    spans: list[Span] = []
    for seq in range(first, high + 1):
        if seq <= aru:
            spans.append(("█", GOOD))
        elif seq in have:
            spans.append(("▓", CHANGED))
        else:
            spans.append(("·", TROUBLE))
    return spans or [("empty", DIM)]


def window_marks(marks: dict[str, int], aru: int, high: int, width: int) -> Line:
    """Marks under a window of the same arguments: where a sequence number stands, ``◂`` if it lies further back."""
    first = max(1, high - width + 1)
    cells = [" "] * max(1, high - first + 1)
    for mark, seq in marks.items():
        if seq >= first and seq - first < len(cells):
            cells[seq - first] = mark
        elif 0 <= seq < first:
            cells[0] = "◂"
    return [("".join(cells).rstrip() or " ", DIM)]
