"""Long work shows how far it is, and escape gives it up."""

from __future__ import annotations

import pytest
from textual.widgets import Label

from tests.tui.test_keys import SIZE
from tests.tui.test_travel import press, warm
from totemviz.sim import instalments
from totemviz.sim.interventions import Kill
from totemviz.trace.conditions import compile_condition
from totemviz.trace.cursor import Step
from totemviz.tui import progress
from totemviz.tui.progress import Progress

S = 1_000_000_000


@pytest.fixture
def slow(patience, monkeypatch):
    """Every instalment is one event, and a frame does none until a test lets it."""
    monkeypatch.setattr(progress, "AT_ONCE_S", 0.0)
    monkeypatch.setattr(progress, "INSTALMENT_S", 0.0)
    monkeypatch.setattr(instalments, "INSTALMENT_EVENTS", 1)


async def begun(pilot, app):
    """Change the past, and see the bar."""
    app.session.advance(3 * S)
    app.session.retreat(S)
    app.refresh_panels()
    app.do(Kill(node=2))
    await pilot.pause()
    assert isinstance(app.screen, Progress)


async def test_a_change_of_the_past_can_be_given_up(slow):
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await begun(pilot, app)
        digest, position = app.session.timeline.digest(), app.session.cursor.position
        await press(pilot, "escape")
        assert app.notice == "Given up: nothing is changed."
        assert len(app.session.family) == 1
        assert (app.session.timeline.digest(), app.session.cursor.position) == (digest, position)


async def test_the_bar_goes_to_its_end_and_the_change_is_made(slow, monkeypatch):
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await begun(pilot, app)
        bar = app.screen.query_one("#bar", Label)
        seen = str(bar.render())
        assert "░" in seen
        monkeypatch.setattr(progress, "INSTALMENT_S", 5.0)
        for _ in range(500):
            if not isinstance(app.screen, Progress):
                break
            await pilot.pause(0.02)
        await pilot.pause()
        assert "On a branch of its own" in app.notice
        assert len(app.session.family) == 2


async def test_a_mistake_is_told_after_the_bar_too(slow, monkeypatch):
    def wrong():
        yield 0.5
        raise ValueError("no such thing")

    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        monkeypatch.setattr(app.session, "intervening", lambda intervention: wrong())
        app.do(Kill(node=2))
        monkeypatch.setattr(progress, "INSTALMENT_S", 5.0)
        for _ in range(500):
            if app.notice:
                break
            await pilot.pause(0.02)
        assert app.notice == "That cannot be done: no such thing."


@pytest.mark.parametrize("stop", [False, True], ids=["free", "with a stop"])
async def test_a_long_way_forward_can_be_stopped_where_it_is(slow, stop, monkeypatch):
    monkeypatch.setattr(progress, "INSTALMENT_S", 0.001)
    app = warm()
    if stop:
        app.session.stops.add(compile_condition("quorum_changed", ()))
    async with app.run_test(size=SIZE) as pilot:
        begin_ns = app.session.cursor_time_ns
        await press(pilot, "m")
        assert isinstance(app.screen, Progress)
        assert "the run goes on" in str(app.screen.query_one(".box").border_title)
        for _ in range(20):
            await pilot.pause(0.02)
        await press(pilot, "escape")
        assert app.notice == "Stopped: so far the run has come."
        assert app.session.cursor.at_end
        assert begin_ns < app.session.cursor_time_ns < begin_ns + 120 * S
        app.do(Kill(node=2))
        for _ in range(500):
            if not isinstance(app.screen, Progress):
                break
            await pilot.pause(0.02)
        assert len(app.session.family) == 1, "what is done where the run stands is no change of the past"


async def test_a_long_way_forward_ends_where_it_should(slow, monkeypatch):
    app, straight = warm(), warm()
    for each in (app, straight):
        each.session.intervene(Kill(node=2))
    straight.session.forward(Step.MEMBERSHIP)
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "m")
        assert isinstance(app.screen, Progress)
        monkeypatch.setattr(progress, "INSTALMENT_S", 5.0)
        for _ in range(500):
            if not isinstance(app.screen, Progress):
                break
            await pilot.pause(0.02)
        assert app.session.cursor.position == straight.session.cursor.position
        assert app.session.timeline.digest() == straight.session.timeline.digest()
