"""Small pictures of numbers: a bar with what is left, a window of sequence numbers, a plot of a few values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from totemviz.tui.paint import CHANGED, DIM, FAINT, GOOD, PLAIN, TROUBLE, Line, Span

EIGHTHS = "▁▂▃▄▅▆▇█"


def bar(share: float, width: int, urgent: bool = False) -> Line:
    """``█████░░░``."""
    full = round(max(0.0, min(1.0, share)) * width)
    return [("█" * full, TROUBLE if urgent else DIM), ("░" * (width - full), FAINT)]


def plot(values: Sequence[int], slow_from: int) -> Line:
    """A column per value, as high as its logarithm; values from ``slow_from`` on stand out."""
    if not values:
        return [("none yet", DIM)]
    low, high = math.log(max(1, min(values))), math.log(max(2, *values))
    reach = max(high - low, 1e-9)
    spans: list[Span] = []
    for value in values:
        height = round((math.log(max(1, value)) - low) / reach * (len(EIGHTHS) - 1)) if reach > 1e-6 else 0
        spans.append((EIGHTHS[height], TROUBLE if value >= slow_from else PLAIN))
    return spans


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
