"""Every page, dialog and state at every size in the light theme and without colours.

Pictures of the dark theme are kept (``test_snapshots``). The other looks may change nothing but colour, so nothing of
them is kept: each is drawn, and compared with the picture of the dark one. The characters must be the same; cells of
one dark style must be of one style in the other look, wherever they stand (so that nothing keeps the colours of
another theme, and no second meaning hides in a colour); and what a person reads must stand out from its ground on the
screen as it is composed.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from string import ascii_letters, digits
from typing import NamedTuple

import pytest
from rich.style import Style
from textual.filter import monochrome_style
from textual.geometry import Region

from tests.tui.conftest import cockpit_after, cockpit_at, cockpit_on
from tests.tui.picture import Rows, describe, screen_rows
from tests.tui.synthetic import domino
from tests.tui.test_snapshots import (
    DIALOGS,
    IN_SIGHT_WHEN_WIDE,
    PAGES,
    SIMULATED,
    SIZES,
    STATES,
    STORIES,
    STRING,
    each_size,
)
from tests.tui.test_theme import contrast
from totemviz.sim.session import Simulation
from totemviz.tui import branching, paint
from totemviz.tui.app import Cockpit
from totemviz.tui.settings import Settings
from totemviz.tui.theme import DARK, LIGHT, look

KEPT = Path(__file__).parent / "__snapshots__" / "test_snapshots"
TEXT, MARK = 4.5, 3.0
FRAMES = re.compile("[\u2500-\u257f\u2581-\u258f\u2594\u2595]")
"""Lines that only frame or part: box drawing, and the thin blocks."""

each_look = pytest.mark.parametrize("theme", ["light", "monochrome"])


class Cell(NamedTuple):
    """One cell of a kept picture, or of a screen."""

    text: str
    style: str


def kept(path: Path) -> list[list[Cell]]:
    """The cells of a picture, from its text, its style runs and its legend."""
    text, runs, legend = path.read_text(encoding="utf-8").split("\n\n")[:3]
    styles = dict(line.split(": ", 1) for line in legend.splitlines())
    rows: list[str] = []
    for line in runs.splitlines():
        times, _, rest = line.rpartition("× ")
        rows += [rest] * int(times or 1)
    found = []
    for characters, row in zip(text.splitlines(), rows, strict=True):
        row_styles = [styles[run.rstrip(digits)] for run in row.split() for _ in range(int(run.lstrip(ascii_letters)))]
        found.append(list(map(Cell, _by_cell(characters[1:-1]), row_styles)))
    return found


def _by_cell(text: str) -> Iterator[str]:
    """The characters, a wide one followed by nothing in its second cell."""
    for character in text:
        yield character
        if unicodedata.east_asian_width(character) == "W":
            yield ""


def seen(rows: Rows) -> list[list[Cell]]:
    """The cells of a screen."""
    described: dict[Style | None, str] = {None: describe(None)}
    found = []
    for row in rows:
        cells: list[Cell] = []
        for segment in row:
            if segment.style not in described:
                described[segment.style] = describe(segment.style)
            cells += [Cell(character, described[segment.style]) for character in _by_cell(segment.text)]
        found.append(cells)
    return found


class Screen(NamedTuple):
    """What was on the screen, the place of the dialog if one was, and the picture that is kept of it in dark."""

    rows: Rows
    dialog: Region | None
    kept: Path


class Run(NamedTuple):
    """A cockpit, and what to look at in it: keys → the picture that is kept; before each the cursor may be moved."""

    app: Cockpit
    steps: list[tuple[str, tuple[str, ...], str]]


def runs(theme: str, size: tuple[int, int], two_branches: Simulation) -> Iterator[Run]:
    """Every state and page, links, writes, branches and a recording; at the smallest size also every dialog."""
    by_size = f"{size[0]}x{size[1]}"
    settings = Settings(theme=LIGHT.name if theme == "light" else DARK.name)
    steps = [(mark, keys, f"test_main_states[{state}-{by_size}]") for state, (mark, keys) in STATES.items()]
    if size == SIZES[0]:
        steps += [("flying", keys, f"test_dialogs[{by_size}][{dialog}]") for dialog, keys in DIALOGS.items()]
    for page, keys in PAGES.items():
        if size != SIZES[-1] or page not in IN_SIGHT_WHEN_WIDE:
            steps.append(("gather", keys, f"test_pages[{by_size}][{page}]"))
    yield Run(cockpit_at("gather", settings=settings), steps)
    for story in STORIES:
        kept_as = f"test_links_and_writes[{story.__name__}-{by_size}]"
        yield Run(cockpit_after(story(), settings), [("", (), kept_as)])
    yield Run(cockpit_at(40, "recording", settings), [("", (), f"test_recording[{by_size}]")])
    simulated = [("", keys, f"test_files_and_branches[{by_size}][{what}]") for what, keys in SIMULATED.items()]
    yield Run(cockpit_on(two_branches, settings), simulated)


def screens(run: Run, size: tuple[int, int]) -> list[Screen]:
    """What is seen in one run of the cockpit."""
    found: list[Screen] = []
    marks = domino().marks

    async def look_at() -> None:
        app = run.app
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for mark, keys, name in run.steps:
                if mark:
                    app.jump(marks[mark])
                await pilot.press(*keys)
                await pilot.wait_for_scheduled_animations()
                await pilot.pause()
                depth = len(app.screen_stack)
                dialog = app.screen.children[0].region if depth > 1 else None
                found.append(Screen(screen_rows(app), dialog, KEPT / f"{name}.txt"))
                for _ in range(max(1, depth - 1)):
                    await pilot.press("escape")

    asyncio.run(look_at())
    return found


def unreadable(screen: Screen, faint: str) -> set[tuple[str, str, float]]:
    """What does not stand out: (words, style, contrast); of a dialog only what is in its box."""
    found = set()
    for y, row in enumerate(screen.rows):
        x = 0
        for segment in row:
            inside = screen.dialog is None or screen.dialog.contains(x, y)
            x += segment.cell_length
            words = FRAMES.sub("", segment.text).strip()
            if not inside or not words or segment.style is None:
                continue
            colour, ground = segment.style.color, segment.style.bgcolor
            assert colour is not None and ground is not None, segment
            ratio = contrast(colour, ground)
            is_mark = not any(map(str.isalnum, words)) or colour.get_truecolor().hex == faint
            if ratio < (MARK if is_mark else TEXT):
                found.add((words, describe(segment.style), round(ratio, 2)))
    return found


def faint_of(theme: str) -> str:
    """The colour of what stands back."""
    style = look(paint.FAINT, LIGHT if theme == "light" else DARK)
    style = style if theme == "light" else monochrome_style(style)
    return style.color.get_truecolor().hex


@each_size
@each_look
def test_only_colours_differ_from_the_dark_pictures(monkeypatch, two_branches, theme, size):
    monkeypatch.setattr(branching, "share_string", lambda kept: STRING)
    if theme == "monochrome":
        monkeypatch.setenv("NO_COLOR", "1")
    other_styles: dict[str, set[str]] = defaultdict(set)
    for screen in chain.from_iterable(screens(run, size) for run in runs(theme, size, two_branches)):
        here, there = seen(screen.rows), kept(screen.kept)
        assert list(map(letters, here)) == list(map(letters, there)), screen.kept
        if screen.dialog is None:
            for cell, other in zip(chain.from_iterable(there), chain.from_iterable(here), strict=True):
                other_styles[cell.style].add(other.style)
        assert unreadable(screen, faint_of(theme)) == set(), screen.kept
    assert {dark: styles for dark, styles in other_styles.items() if len(styles) > 1} == {}
    if theme == "monochrome":
        assert {colour for styles in other_styles.values() for colour in coloured(styles)} == set()


def letters(row: list[Cell]) -> str:
    return "".join(cell.text for cell in row)


def coloured(styles: set[str]) -> set[str]:
    """The colours among them that are no grey."""
    found = set(re.findall("#[0-9a-f]{6}", " ".join(styles)))
    return {colour for colour in found if not colour[1:3] == colour[3:5] == colour[5:7]}
