"""Nodes are marked by keys or clicks, and one key splits the marked ones off."""

from __future__ import annotations

from tests.tui.test_keys import SIZE, words
from tests.tui.test_travel import opens, press, type_line, warm
from totemviz.sim.interventions import Cut
from totemviz.tui.circle import partitions
from totemviz.tui.faults import FaultMenu
from totemviz.tui.nodes import NodesPanel
from totemviz.tui.ring import RingPanel


def node_hit(panel, nodeid: int):
    """The letter of a node in a drawing."""
    return next(hit for hit in panel.drawing.hits if (hit.kind, hit.value) == ("node", nodeid))


async def click_node(pilot, panel, nodeid: int, **modifiers: bool) -> None:
    inner = panel.content_region.offset - panel.region.offset
    hit = node_hit(panel, nodeid)
    await pilot.click(panel, offset=(inner.x + hit.x, inner.y + hit.y), **modifiers)
    await pilot.pause()


async def test_walking_and_space_mark_and_one_key_splits_off():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.base.query_one(NodesPanel).focus()
        await press(pilot, "down", "space", "down", "down", "space")
        assert app.marked == {1, 3}
        assert not app.player.playing
        assert "[A]" in words(app, "#nodes")
        assert "[C]" in words(app, "#nodes")
        assert "marked: A C" in words(app, "#ring")
        await press(pilot, "space")
        assert app.marked == {1}
        await press(pilot, "P")
        assert [done.intervention.nodes for done in app.session.world.done] == [(1,)]
        assert partitions(app.session.cursor.view) == [[1], [2, 3]]
        assert not app.marked


async def test_space_lets_time_run_unless_somebody_walked():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        panel = app.base.query_one(RingPanel)
        await click_node(pilot, panel, 2)
        assert app.chosen == 2
        assert app.base.focused is panel
        await press(pilot, "space")
        assert app.player.playing
        await press(pilot, "down", "space")  # stops what runs
        assert not app.player.playing
        assert not app.marked


async def test_shift_click_marks_then_plain_clicks_do_and_escape_forgets():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        panel = app.base.query_one(RingPanel)
        await click_node(pilot, panel, 1, shift=True)
        await click_node(pilot, panel, 3)
        assert app.marked == {1, 3}
        assert app.chosen == 0
        await click_node(pilot, app.base.query_one(NodesPanel), 1, control=True)
        assert app.marked == {3}
        await press(pilot, "escape")
        assert not app.marked


async def test_all_marked_is_no_partition():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        for nodeid in (1, 2, 3):
            app.mark(nodeid)
        await press(pilot, "P")
        assert "nobody would be left" in app.notice
        assert not app.session.world.done
        assert app.marked == {1, 2, 3}


async def test_without_marks_the_letters_are_asked_for():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "P")
        await opens(pilot, app, FaultMenu)
        await type_line(pilot, app, "b c")
        assert [done.intervention.nodes for done in app.session.world.done] == [(2, 3)]
        assert isinstance(app.session.world.done[0].intervention, Cut)


async def test_mark_key_needs_a_chosen_node_and_the_menu_offers_the_marked_ones():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "e")
        assert "Choose a node first" in app.notice
        await press(pilot, "n", "n", "e", "x")
        await opens(pilot, app, FaultMenu)
        await press(pilot, "g")
        assert app.screen.query_one("#more").value == "B"
