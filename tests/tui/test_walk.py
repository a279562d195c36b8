"""Keys, clicks, drags and resizes at random: nothing is ever raised, and timeline, cursor and screen agree.

``TOTEMVIZ_SEARCH=deep`` takes some thousands of steps in one app instead of some hundreds.
"""

from __future__ import annotations

import os
import random
import string
from collections import Counter

import pytest
from textual.command import CommandPalette
from textual.geometry import Offset
from textual.widgets import Input

from tests.trace.test_cursor import folded, state
from tests.tui.picture import drawn, screen_rows
from tests.tui.test_keys import SIZE, Simulation_cockpit, words
from totemviz.sim.interventions import DropToken
from totemviz.tui import travel
from totemviz.tui.keys import KEYS
from totemviz.tui.paint import Drawing
from totemviz.tui.panel import Panel
from totemviz.tui.player import Player
from totemviz.tui.scrubber import Scrubber

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
STEPS = 4000 if DEEP else 100
SEEDS = range(1, 6) if DEEP else range(1, 3)
EVENTS_MAX = 40_000
RETURN_TO = 5000
FRAME_S = 1 / 12

WALK = [name for key in KEYS for name in key.keys.split(",")]
WALK += ["enter", "enter", "escape", "escape", "escape", "up", "down", "tab", "shift+tab", "backspace", "pageup"]
WALK += ["right", "right", "full_stop", *string.digits, *"krdluoscpg", "pagedown", "delete", "space"]
SIZES = ((120, 40), (80, 24), (200, 60), (60, 20), (100, 50), (181, 30))
BUTTONS = (1, 1, 3)


class Walker:
    """Does something to an app, chosen by a seed, and looks whether all is well."""

    def __init__(self, app, pilot, seed: int) -> None:
        self.app, self.pilot = app, pilot
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.size = SIZE
        self.time_s = 0.0
        self.last = ""
        self.steps = 0
        app.player = Player(self.clock)

    def clock(self) -> float:
        self.time_s += 0.0005  # a machine that takes its time
        return self.time_s

    def place(self) -> Offset:
        """Anywhere, but every fourth time on the time bar."""
        width, height = self.size
        bar = self.app._base.query_one(Scrubber).region
        y = bar.y if self.chance.random() < 0.25 else self.chance.randrange(height)
        return Offset(self.chance.randrange(width), min(y, height - 1))

    async def step(self) -> None:
        self.steps += 1
        what = self.chance.random()
        if self.steps % 50 == 0:
            self.size = self.chance.choice(SIZES)
            self.noted("resize", str(self.size))
            await self.pilot.resize_terminal(*self.size)
        elif what < 0.15:
            place, button = self.place(), self.chance.choice(BUTTONS)
            self.noted("click", f"{place} with {button}")
            await self.pilot.click(offset=place, button=button)
        elif what < 0.19:
            begin, *ways = (self.place() for _ in range(self.chance.randrange(2, 5)))
            self.noted("drag", f"{begin} to {ways}")
            await self.pilot.mouse_down(offset=begin)
            for way in ways:
                await self.pilot.hover(offset=way)
            await self.pilot.mouse_up(offset=ways[-1])
        else:
            key = self.chance.choice(WALK)
            self.noted(key, "pressed")
            await self.pilot.press(key)
        if self.app.player.playing and self.chance.random() < 0.5:
            self.time_s += FRAME_S
            self.done["frame"] += 1
            self.app._frame()
        self.turn_back()

    def noted(self, what: str, how: str) -> None:
        self.done[what] += 1
        self.last = f"{what}: {how}"

    def turn_back(self) -> None:
        """A walk, not an endurance test: a long run is left for a branch that begins early in it."""
        if len(self.app.session.timeline) > EVENTS_MAX and len(self.app.screen_stack) == 1:
            self.app.session.cursor.move_to(RETURN_TO)
            self.app.do(DropToken())
            self.done["turned back"] += 1

    def check(self) -> None:
        app, session = self.app, self.app.session
        branch = session.family.current
        assert session.cursor is branch.cursor and session.timeline is branch.timeline, self.last
        assert session.cursor.timeline is session.timeline is session.world.timeline, self.last
        assert -1 <= session.cursor.position < len(session.timeline) == session.world.events, self.last
        assert session.cursor_time_ns >= session.cursor.view.time_ns, self.last
        assert app._base.query_one("#header", Panel).moment.position == session.cursor.position, self.last
        assert (app._frames is not None) == app.player.playing, self.last

    async def check_screen(self) -> None:
        """What stands there is what would be drawn on an empty screen."""
        await self.pilot.pause()
        if isinstance(self.app.screen, CommandPalette):
            return  # it still searches
        before = drawn(screen_rows(self.app))
        for panel in self.app._panels:
            panel.drawing = Drawing([])
            panel._strips.clear()
            panel.redraw()
        self.app.screen.refresh(layout=True)
        await self.pilot.pause()
        assert drawn(screen_rows(self.app)) == before, self.last

    async def home(self) -> None:
        """Leave every dialog; whatever is asked, escape is an answer."""
        self.app.pause()
        for _ in range(40):
            if len(self.app.screen_stack) == 1:
                break
            await self.pilot.press("escape")
            await self.pilot.pause()
        assert len(self.app.screen_stack) == 1


@pytest.fixture
def walked(monkeypatch, tmp_path):
    """A cockpit whose frames are drawn by the walk, which nobody can leave, and whose files go to a folder."""
    monkeypatch.setattr(travel, "FRAMES_PER_SECOND", 1e-9)
    monkeypatch.setattr(Input, "_toggle_cursor", lambda _: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    app = Simulation_cockpit()
    app.animation_level = "none"
    app.session.warm_up()

    async def stay() -> None:
        return None

    monkeypatch.setattr(app, "action_quit", stay)
    return app


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_walk(walked, seed):
    app = walked
    async with app.run_test(size=SIZE) as pilot:
        walker = Walker(app, pilot, seed)
        for count in range(STEPS):
            await walker.step()
            walker.check()
            if count % 40 == 39:
                await walker.check_screen()
        await walker.home()
        walker.check()
        session = app.session
        assert state(session.cursor.view) == state(folded(session.timeline, session.cursor.position))
        await pilot.resize_terminal(*SIZE)
        await walker.check_screen()
        place = f"event {session.cursor.position + 1:,}".replace(",", " ")
        assert place in words(app, "#header")
    for what in ("click", "drag", "resize", "frame"):
        assert walker.done[what], what
