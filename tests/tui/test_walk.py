"""Keys and clicks at random: nothing is ever raised, and timeline, cursor and screen agree.

``TOTEMVIZ_SEARCH=deep`` walks some thousands of steps instead of some hundreds.
"""

from __future__ import annotations

import os
import random
import string
from collections import Counter

import pytest
from textual.geometry import Offset

from tests.trace.test_cursor import folded, state
from tests.tui.test_keys import SIZE, Simulation_cockpit, words
from totemviz.tui.keys import KEYS
from totemviz.tui.panel import Panel

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
STEPS = 1500 if DEEP else 120
SEEDS = range(1, 4) if DEEP else range(1, 3)
LEAVES = {"quit", "play", "play.back", "copy", "picture", "share", "tour"}
"""Commands left out: the end, files, and what goes on by itself."""

WALK = [name for key in KEYS if key.id not in LEAVES for name in key.keys.split(",")]
WALK += ["enter", "enter", "escape", "escape", "escape", "up", "down", "tab", "shift+tab"]
WALK += ["right", "right", "full_stop", *string.digits, *"krdluoscpg"]
SIZES = ((120, 40), (80, 24), (200, 60))


def consistent(app) -> None:
    session = app.session
    branch = session.family.current
    assert session.cursor is branch.cursor and session.timeline is branch.timeline
    assert session.cursor.timeline is session.timeline is session.world.timeline
    assert -1 <= session.cursor.position < len(session.timeline) == session.world.events
    assert session.cursor_time_ns >= session.cursor.view.time_ns
    assert app._base.query_one("#header", Panel).moment.position == session.cursor.position


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_walk(seed):
    chance = random.Random(seed)
    app = Simulation_cockpit()
    app.session.warm_up()
    done: Counter[str] = Counter()
    async with app.run_test(size=SIZE) as pilot:
        size = SIZE
        for count in range(STEPS):
            if chance.random() < 0.15:
                place = Offset(chance.randrange(size[0]), chance.randrange(size[1]))
                await pilot.click(offset=place, button=chance.choice((1, 1, 3)))
                done["click"] += 1
            else:
                key = chance.choice(WALK)
                await pilot.press(key)
                done[key] += 1
            if count % 60 == 59:
                size = chance.choice(SIZES)
                await pilot.resize_terminal(*size)
            consistent(app)
            if len(app.session.timeline) > 60_000:  # a walk, not an endurance test
                app.session.switch(app.session.family.branches[0])
                app.session.cursor.move_to(5000)
                app.refresh_panels()
        for _ in range(40):
            if len(app.screen_stack) == 1:
                break
            await pilot.press("escape")
            await pilot.pause()
        assert len(app.screen_stack) == 1
        consistent(app)
        session = app.session
        assert state(session.cursor.view) == state(folded(session.timeline, session.cursor.position))
        await pilot.resize_terminal(*SIZE)
        await pilot.pause()
        place = f"event {session.cursor.position + 1:,}".replace(",", " ")
        assert place in words(app, "#header")
    assert done["click"] > STEPS // 20
