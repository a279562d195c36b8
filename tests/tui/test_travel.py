"""Branches, stops, undo, what if not, what is in flight, going anywhere: each by its keys, on a real cluster."""

from __future__ import annotations

import pytest
from textual.widgets import Input, Label

from tests.tui.test_keys import SIZE, Simulation_cockpit, words
from totemviz.sim import world as world_module
from totemviz.sim.interventions import Kill, Loss
from totemviz.sim.scenario import load_scenario
from totemviz.sim.sharing import load_share_string, restore
from totemviz.sim.threads import HostModel
from totemviz.totem.effects import TokenReleased
from totemviz.trace import events as ev
from totemviz.trace.cursor import Step
from totemviz.trace.why import is_chance
from totemviz.tui import travel
from totemviz.tui.ask import Ask, Menu, Table
from totemviz.tui.faults import FAULTS, FaultMenu
from totemviz.tui.linkdialog import LinkDialog
from totemviz.tui.paint import LINK_BASE

S = 1_000_000_000


def warm():
    """A cockpit on a cluster that is up."""
    app = Simulation_cockpit()
    app.session.warm_up()
    return app


async def press(pilot, *keys: str) -> None:
    """Keys, each when the screen of the one before is there."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def opens(pilot, app, kind) -> None:
    """Wait for a dialog."""
    for _ in range(100):
        if isinstance(app.screen, kind):
            break
        await pilot.pause(0.02)
    assert isinstance(app.screen, kind)
    await pilot.pause()


async def click(pilot, panel, hit, button: int = 1) -> None:
    """Click the first cell of a part of a drawing."""
    inner = panel.content_region.offset - panel.region.offset
    await pilot.click(panel, offset=(inner.x + hit.x, inner.y + hit.y), button=button)


async def type_line(pilot, app, text: str) -> None:
    await pilot.pause()
    app.screen.query_one(Input).value = text
    await press(pilot, "enter")
    await pilot.pause()
    await pilot.pause()


def shown(app) -> str:
    """The text of the table on top."""
    assert isinstance(app.screen, Table)
    return "\n".join(app.screen._lines)


async def test_the_past_opens_a_branch_and_the_tree_leads_back():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.session.advance(2 * S)
        app.session.retreat(S)
        await press(pilot, "x")
        await pilot.pause()
        await press(pilot, "k")
        await pilot.pause()
        assert "On a branch of its own: “kill corosync and pmxcfs on A”" in app.notice
        assert len(app.session.family) == 2
        await press(pilot, "B")
        await pilot.pause()
        assert isinstance(app.screen, Menu)
        texts = [text for _, text in app.screen._options]
        assert texts[0].startswith("○ main") and texts[1].startswith("└─ ● kill")
        await press(pilot, "r")
        await type_line(pilot, app, "A dies")
        await press(pilot, "up", "enter")
        await pilot.pause()
        assert app.session.family.current.name == "main"
        assert "main" in app.notice
        await press(pilot, "B", "down", "d")
        await pilot.pause()
        assert [branch.name for branch in app.session.family] == ["main"]
        await opens(pilot, app, Menu)
        await press(pilot, "d")
        assert "on screen" in app.notice


async def test_undo_redo_and_the_other_model():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "u")
        assert app.notice == "Nothing was done to the cluster before this moment."
        app.do(Kill(node=2))
        app.session.advance(S)
        await press(pilot, "u")
        assert app.notice.startswith("Undone: kill")
        assert not any(isinstance(e.body, ev.Intervened) for e in app.session.timeline)
        await press(pilot, "U")
        assert any(isinstance(e.body, ev.Intervened) for e in app.session.timeline)
        before = app.session.cursor_time_ns
        await press(pilot, "a")
        assert app.session.scenario.host_model is HostModel.MEASURED
        assert app.session.cursor_time_ns == before
        await press(pilot, "a")
        assert app.session.scenario.host_model is HostModel.ARTICLE


async def test_what_if_not_leaves_the_first_cause_out_and_compares():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "W")
        assert app.notice.startswith("Nobody did that")
        app.do(Kill(node=3))
        await press(pilot, "m")
        assert app.session.cursor.view.nodes[1].members == (1, 2) or app.session.cursor.view.nodes[2].members == (1, 2)
        asked_at = app.session.cursor.position
        await press(pilot, "W")
        await pilot.pause()
        text = shown(app)
        assert "the first event that differs:" in text
        assert "kill corosync and pmxcfs on C" in text
        assert "≠ rings installed" in text
        assert "≠ C " in text and "down" in text
        await press(pilot, "escape")
        await pilot.pause()
        assert app.notice.startswith("Now without: you: kill")
        assert app.session.cursor.view.nodes[1].members == (1, 2, 3)
        assert app.notice.endswith("U brings it back.")
        await press(pilot, "U")
        assert (app.session.family.current.name, app.session.cursor.position) == ("main", asked_at)


async def test_what_if_chance_had_not_lost_a_datagram():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.do(Loss(percent=10))
        while not is_chance(app.session.cursor.view.last):
            app.session.forward(Step.EVENT)
        lost = app.session.cursor.view.last
        app.session.advance(S)
        resent = next(
            event
            for event in app.session.timeline[lost.id :]
            if isinstance(event.body, TokenReleased) and event.node == lost.body.source
        )
        app.session.cursor.move_to(resent.id)
        await press(pilot, "W")
        await pilot.pause()
        assert "the first event that differs:" in shown(app)
        await press(pilot, "escape")
        assert app.notice.startswith("Now without: ") and "lost on the wire" in app.notice
        assert any(e.body.action == "deliver_lost" for e in app.session.timeline if isinstance(e.body, ev.Intervened))


async def test_a_stop_is_made_edited_and_holds_the_run():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "b", "n")
        await type_line(pilot, app, "node(9).state == GATHER")
        assert isinstance(app.screen, Ask), "a mistake is explained and can be mended"
        await type_line(pilot, app, "node(B).state == DOWN")
        await opens(pilot, app, Menu)
        assert app.screen._options[0][1] == "[x] node(B).state == DOWN"
        await press(pilot, "enter")
        assert not app.session.stops.active
        await opens(pilot, app, Menu)
        await press(pilot, "e")
        await type_line(pilot, app, "node(B).state == GATHER")
        await opens(pilot, app, Menu)
        await press(pilot, "escape")
        await pilot.pause()
        app.do(Kill(node=3))
        await press(pilot, "m")
        assert app.notice == "Held: node(B).state == GATHER."
        assert app.session.cursor.view.nodes[2].state == "GATHER"
        await press(pilot, "b", "d")
        await opens(pilot, app, Menu)
        await press(pilot, "escape")
        await pilot.pause()
        assert app.session.stops.items == []


async def test_run_until_a_stop():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.do(Kill(node=2))
        await press(pilot, "b", "n")
        await type_line(pilot, app, "token.age > 2s")
        await opens(pilot, app, Menu)
        await press(pilot, "u")
        await pilot.pause()
        assert app.notice == "Held: token.age > 2s."
        assert not app.player.playing


@pytest.mark.parametrize(
    ("place", "time_ns"), [("3s", 3 * S), ("+500ms", None), ("-500ms", None), ("#12", None), ("kill", None)]
)
async def test_going_anywhere(place, time_ns):
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.do(Kill(node=2))
        app.session.retreat(S)
        before = app.session.cursor_time_ns
        await press(pilot, "g")
        await type_line(pilot, app, "")
        assert isinstance(app.screen, Ask)
        await type_line(pilot, app, place)
        if time_ns is not None:
            assert app.session.cursor_time_ns == time_ns
        elif place == "#12":
            assert app.session.cursor.position == 11
        elif place == "kill":
            assert "kill" in app.session.cursor.event.body.text
        else:
            assert app.session.cursor_time_ns == before + (S // 2 if place[0] == "+" else -S // 2)


async def test_this_datagram_by_key_and_by_mouse():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(40):
            if [f.kind for f in app.session.cursor.view.flights.values()] == ["orf_token"]:
                break
            await press(pilot, "full_stop")
        (flight,) = app.session.cursor.view.flights.values()
        await press(pilot, "X")
        await pilot.pause()
        assert isinstance(app.screen, FaultMenu)
        await press(pilot, "d")
        await pilot.pause()
        dropped = app.session.timeline[-1].body
        assert isinstance(dropped, ev.DatagramDropped) and dropped.sent == flight.sent
        assert app.session.cursor.view.token.how == "lost"
        await press(pilot, "X")
        assert "Nothing is between two nodes" in app.notice


async def test_the_token_in_flight_and_a_cut_link_are_clicked():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        panel = app._base.query_one("#ring")
        for _ in range(60):
            if app.session.cursor.view.token.how == "flying":
                break
            await press(pilot, "full_stop")
        (hit,) = [hit for hit in panel.drawing.hits if hit.kind == "flight"]
        await click(pilot, panel, hit)
        await opens(pilot, app, FaultMenu)
        await press(pilot, "c")
        (cut,) = [pair for pair, link in app.session.world.network.links.items() if link.cut]
        hit = next(hit for hit in panel.drawing.hits if hit.kind == "link")
        assert cut == divmod(hit.value, LINK_BASE)
        await click(pilot, panel, hit)
        await opens(pilot, app, LinkDialog)
        await press(pilot, "down", "down", "left", "enter")
        assert not any(link.cut for link in app.session.world.network.links.values())


async def test_the_right_button_opens_the_menu_of_a_node():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        panel = app._base.query_one("#nodes")
        hit = next(hit for hit in panel.drawing.hits if hit.kind == "node" and hit.value == 2)
        await click(pilot, panel, hit, button=3)
        await pilot.pause()
        assert isinstance(app.screen, FaultMenu)
        assert app.screen.node == 2


async def test_nodes_are_marked_by_letters_to_part_the_cluster():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "x", "g")
        await type_line(pilot, app, "A B C")
        assert isinstance(app.screen, FaultMenu), "nobody would be left on the other side"
        await type_line(pilot, app, "a, C")
        cut = {pair for pair, link in app.session.world.network.links.items() if link.cut}
        assert cut == {(1, 2), (2, 1), (3, 2), (2, 3)}


async def test_time_runs_backwards_and_idle_rounds_are_skipped():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.session.advance(3 * S)
        start = app.session.cursor_time_ns
        await press(pilot, "p")
        await pilot.pause(0.4)
        await press(pilot, "p")
        assert not app.player.playing
        assert app.session.cursor_time_ns < start
        await press(pilot, "greater_than_sign")
        before = app.session.cursor_time_ns
        await press(pilot, "less_than_sign")
        assert before - app.session.cursor_time_ns == 100_000_000
        await press(pilot, "z", "space")
        await pilot.pause(0.4)
        await press(pilot, "space")
        assert app.player.skips_idle


async def test_nodes_and_branches_side_by_side():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "v", "enter")
        await pilot.pause()
        assert "has everything up to" in shown(app)
        await press(pilot, "escape")
        await pilot.pause()
        app.do(Kill(node=2))
        app.session.advance(S)
        app.session.retreat(S // 2)
        app.do(Kill(node=3))
        await press(pilot, "v", "enter")
        await pilot.pause()
        assert "the first event that differs:" in shown(app)


async def test_everything_is_shared_as_a_string_and_as_a_file(tmp_path):
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.do(Kill(node=2))
        app.session.advance(S)
        await press(pilot, "s")
        await type_line(pilot, app, str(tmp_path / "kept.toml"))
        assert "Saved" in app.notice
        for again in (restore(*load_share_string(app.clipboard)), restore(*load_scenario(tmp_path / "kept.toml"))):
            assert again.timeline.digest() == app.session.timeline.digest()
            assert again.cursor.position == app.session.cursor.position


async def test_saving_writes_over_no_other_file(tmp_path):
    app = warm()
    kept, own = tmp_path / "somebody-elses.toml", tmp_path / "own.toml"
    kept.write_text("precious")
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "s")
        await type_line(pilot, app, str(kept))
        assert "already" in str(app.screen.query_one("#mistake", Label).content)
        assert kept.read_text() == "precious"
        for _ in range(2):
            await type_line(pilot, app, str(own))
            assert "Saved" in app.notice
            await press(pilot, "s")
        assert own.read_text()


async def test_a_recording_says_what_it_cannot(open_at):
    app = open_at(40, "recording")
    async with app.run_test(size=SIZE) as pilot:
        for key in ("u", "U", "W", "B", "s", "X", "x"):
            app.notice = ""
            await press(pilot, key)
            await pilot.pause()
            assert "recording" in app.notice, key
        await press(pilot, "b", "n")
        await type_line(pilot, app, "membership_installed")
        await opens(pilot, app, Menu)
        await press(pilot, "escape")
        await pilot.pause()
        assert app.session.stops.active


def test_every_fault_has_a_letter_of_its_own():
    letters = [fault.key for fault in FAULTS] + ["g"]
    assert len(set(letters)) == len(letters)


async def test_the_header_names_the_branch():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        app.session.advance(S)
        app.session.retreat(S // 2)
        app.do(Kill(node=2))
        await pilot.pause()
        assert "▸ “kill corosync and pmxcfs" in words(app, "#header")


async def test_a_storm_is_told_and_stops_the_run(monkeypatch):
    monkeypatch.setattr(world_module, "STORM_EVENTS", 50)
    app = Simulation_cockpit()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "space")
        for _ in range(100):
            if not app.player.playing:
                break
            await pilot.pause(0.02)
        assert not app.player.playing
        assert app.notice.startswith("Held: 50 events within one millisecond, at 0.1")
        assert "50 events within one millisecond" in words(app, "#headline")


@pytest.fixture
def slow_boot(monkeypatch):
    """A cockpit whose cluster comes up a millisecond a frame."""
    monkeypatch.setattr(travel, "BOOT_BUDGET_S", 0.0)
    app = Simulation_cockpit()
    app.booting = app.session.warming()
    return app


async def test_the_cluster_comes_up_on_screen_as_it_does_without_one(slow_boot, monkeypatch):
    app, ready = slow_boot, warm().session
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert travel.BOOTING in words(app, "#headline")
        assert app.session.cursor_time_ns < ready.cursor_time_ns
        monkeypatch.setattr(travel, "BOOT_BUDGET_S", 10.0)
        for _ in range(100):
            if app.booting is None:
                break
            await pilot.pause(0.02)
        assert app.booting is None
        assert travel.BOOTING not in words(app, "#headline")
        assert app.session.timeline.digest() == ready.timeline.digest()
        assert (app.session.cursor.position, app.session.cursor_time_ns) == (
            ready.cursor.position,
            ready.cursor_time_ns,
        )


@pytest.mark.parametrize("key", ["full_stop", "space", "k"])
async def test_what_is_done_ends_the_boot(slow_boot, key):
    app = slow_boot
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, *(("x", "k") if key == "k" else (key,)))
        assert app.booting is None
        await press(pilot, "comma")
        here = app.session.cursor.position
        await pilot.pause(0.05)
        assert app.session.cursor.position == here
