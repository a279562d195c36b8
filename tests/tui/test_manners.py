"""Key map, themes, the tour, one large panel, copying: what has nothing to do with clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.conftest import cockpit_at
from totemviz.sim.folders import last_session_file, state_folder
from totemviz.sim.interventions import Write
from totemviz.sim.scenario import Scenario, cluster_conf, load_scenario
from totemviz.sim.session import Simulation
from totemviz.sim.sharing import restore
from totemviz.trace.cursor import Step
from totemviz.tui.app import Cockpit, run_cockpit
from totemviz.tui.maximised import ALONE, ONE
from totemviz.tui.settings import Settings, SettingsError
from totemviz.tui.tour import LIT, STOPS, Tour

SIZES = [(80, 24), (120, 40), (200, 60)]


def shown(app: Cockpit, selector: str) -> bool:
    return bool(app.screen_stack[0].query_one(selector).region.area)


async def test_a_remapped_key_works_and_is_shown():
    app = cockpit_at("held", settings=Settings(keys={"event.next": "j", "play": "P"}))
    async with app.run_test(size=(120, 40)) as pilot:
        before = app.session.cursor.position
        await pilot.press("j")
        assert app.session.cursor.position == before + 1
        await pilot.press("full_stop")
        assert app.session.cursor.position == before + 1
        footer = "".join(text for line in app.query_one("#footer").drawing.lines for text, _ in line)
        assert " j event" in footer.replace(" , j event", " j event")
        assert "P run" in footer


async def test_the_theme_of_the_settings_and_the_next_one():
    app = cockpit_at("held", settings=Settings(theme="nord"))
    async with app.run_test() as pilot:
        assert app.theme == "nord"
        await pilot.press("t")
        assert app.theme == "totemviz-dark"
        await pilot.press("t")
        assert app.theme == "totemviz-light"


def test_an_unknown_theme_is_one_line():
    with pytest.raises(SettingsError, match=r"theme 'pink': there is no such theme; use one of .*totemviz-safe-dark"):
        cockpit_at("held", settings=Settings(theme="pink"))


@pytest.mark.parametrize("size", SIZES)
async def test_the_tour_lights_a_panel_at_each_stop_and_leaves_no_light(size):
    app = cockpit_at("held")
    async with app.run_test(size=size) as pilot:
        await pilot.press("T")
        for stop in STOPS:
            await pilot.pause()
            await pilot.pause()  # the box moves in the second
            assert isinstance(app.screen, Tour)
            (lit,) = app.screen_stack[0].query(f".{LIT}")
            assert f"#{lit.id}" in stop.selectors
            box = app.screen.query_one(".box").region
            assert not box.overlaps(lit.region) or lit.region.height > size[1] // 2, stop.title
            assert box.bottom <= size[1]
            assert "{" not in app.screen.words(stop)
            await pilot.press("right")
        await pilot.pause()
        assert not isinstance(app.screen, Tour)
        assert not app.screen.query(f".{LIT}")


async def test_the_tour_can_be_left_and_is_offered_once():
    app = cockpit_at("held")
    async with app.run_test() as pilot:
        app.offer_tour()
        await pilot.pause()
        assert isinstance(app.screen, Tour)
        await pilot.press("right", "escape")
        assert not isinstance(app.screen, Tour)
        assert not app.screen.query(f".{LIT}")
        app.offer_tour()
        await pilot.pause()
        assert not isinstance(app.screen, Tour)
    assert list(state_folder().iterdir())


async def test_settings_can_decline_the_tour():
    app = cockpit_at("held", settings=Settings(tour=False))
    async with app.run_test() as pilot:
        app.offer_tour()
        await pilot.pause()
        assert not isinstance(app.screen, Tour)


@pytest.mark.parametrize("panel", ["#ring", "#stages", "#writes", "#nodes", "#page-log"])
@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_any_panel_as_large_as_can_be(panel, size):
    app = cockpit_at("late")
    async with app.run_test(size=size) as pilot:
        if panel == "#page-log":
            app.action_tab("log")
            await pilot.pause()
        widget = app.query_one(panel)
        before = widget.region
        widget.focus()
        await pilot.press("f")
        await pilot.pause()
        assert app.screen.has_class(ONE)
        assert widget.region.width >= size[0] - 2
        assert widget.region.height > size[1] * 0.7
        assert shown(app, "#header")
        assert shown(app, "#scrubber")
        assert shown(app, "#footer")
        await pilot.press("f")
        await pilot.pause()
        assert widget.region == before
        assert not app.screen.query(f".{ALONE}")


async def test_escape_brings_everything_back():
    app = cockpit_at("late")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f", "escape")
        assert not app.screen.has_class(ONE)


async def test_copying_says_what_was_copied():
    app = cockpit_at("late")
    async with app.run_test(size=(120, 40)) as pilot:
        app.query_one("#nodes").focus()
        await pilot.press("c")
        assert "A ○" in app.clipboard
        assert app.notice.startswith("Copied 4 lines of “nodes")


async def test_help_begins_with_the_focused_panel():
    app = cockpit_at("late")
    async with app.run_test(size=(120, 40)) as pilot:
        app.query_one("#ring").focus()
        await pilot.press("question_mark")
        await pilot.pause()
        assert "where the token is" in str(app.screen.query_one("#about").render())


def test_leaving_keeps_the_session_and_resume_opens_it(monkeypatch):
    scenario = Scenario(seed=3)
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.warm_up()

    def played(app, *_, **__):
        app.session.intervene(Write(node=2))
        app.session.back(Step.HOP)

    monkeypatch.setattr(Cockpit, "run", played)
    run_cockpit(session)
    again = restore(*load_scenario(last_session_file()))
    assert again.cursor.position == session.cursor.position
    kept = len(session.timeline)  # what else happens at the same moment may have happened in the one made again
    assert [again.timeline[index] for index in range(kept)] == [session.timeline[index] for index in range(kept)]


async def test_control_c_says_how_to_leave(open_at):
    app = open_at("held")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert app.notice.startswith("q leaves")
        assert app.is_running
