"""Pictures of the screen as text: what stands where, and in which style. A person can read their differences.

A picture has the rows of the screen, then one line of style runs per row, then the legend of the styles. Rows whose
runs are those of the row above share a line. A picture takes a tenth of the same screen in SVG; to look at colours,
export a screenshot from the app (``^p``, screenshot).
"""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.pilot import Pilot

Rows = list[list[Segment]]
Before = Callable[[Pilot[Any]], Awaitable[None] | None]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def picture(
    app: App[Any], press: Iterable[str] = (), size: tuple[int, int] = (80, 24), before: Before | None = None
) -> str:
    """Run the app at a size (columns, rows), press keys, and draw what it shows as text."""

    async def run() -> str:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            waits = before(pilot) if before is not None else None
            if waits is not None:
                await waits
            await pilot.press(*press)
            await pilot.wait_for_scheduled_animations()
            await pilot.pause()
            return drawn(screen_rows(app))

    return asyncio.run(run())


def pictures(app: App[Any], steps: dict[str, tuple[str, ...]], size: tuple[int, int]) -> dict[str, str]:
    """One picture per step of one run: its keys are pressed and, once it is drawn, left again with escape."""

    async def run() -> dict[str, str]:
        drawings = {}
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for step, keys in steps.items():
                await pilot.press(*keys)
                await pilot.wait_for_scheduled_animations()
                await pilot.pause()
                drawings[step] = drawn(screen_rows(app))
                over_it = len(app.screen_stack)
                for _ in range(max(1, over_it - 1)):
                    await pilot.press("escape")
        return drawings

    return asyncio.run(run())


def screen_rows(app: App[Any]) -> Rows:
    """The screen of a running app, with everything that lies over and under it, row by row."""
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    segments = [segment for segment in console.render(update) if not segment.control]  # type: ignore[arg-type]
    return list(Segment.split_lines(segments))


def drawn(rows: Rows) -> str:
    """Rows of segments as text, style runs and legend."""
    legend: dict[str, str] = {}
    text, runs = [], []
    for row in rows:
        text.append("".join(segment.text for segment in row))
        cells = [(describe(segment.style), segment.cell_length) for segment in row if segment.cell_length]
        line = []
        for style, group in itertools.groupby(cells, key=lambda cell: cell[0]):
            letter = legend.setdefault(style, name(len(legend)))
            line.append(f"{letter}{sum(length for _, length in group)}")
        runs.append(" ".join(line))
    grouped = [(len(list(group)), line) for line, group in itertools.groupby(runs)]
    styles = [f"{times}× {line}" if times > 1 else line for times, line in grouped]
    meanings = [f"{letter}: {style}" for style, letter in legend.items()]
    return "\n".join(["\n".join(f"│{line}│" for line in text), "", *styles, "", *meanings, ""])


def name(number: int) -> str:
    """a, b, … Z, aa, ab, …"""
    more, last = divmod(number, len(LETTERS))
    return (name(more - 1) if more else "") + LETTERS[last]


def describe(style: Style | None) -> str:
    """Colours and attributes, in words that do not depend on how Rich stores them."""
    if style is None:
        return "plain"
    colours = [
        f"{preposition}{colour.get_truecolor(foreground=not preposition).hex if colour.triplet else colour.name}"
        for preposition, colour in (("", style.color), ("on ", style.bgcolor))
        if colour is not None
    ]
    attributes = ("bold", "dim", "italic", "underline", "reverse", "strike")
    return " ".join([*colours, *(word for word in attributes if getattr(style, word))]) or "plain"
