"""Every key does what the help says; wrong input is explained; a random walk never breaks anything."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import C
from totemviz.sim import interventions as do
from totemviz.sim.session import Simulation
from totemviz.totem import effects as totem
from totemviz.trace.cursor import STAGE_TYPES
from totemviz.tui.faults import FAULTS
from totemviz.tui.footer import KeyFooter
from totemviz.tui.keys import FOOTER, FOOTER_ALWAYS, KEYS
from totemviz.tui.panel import Panel
from totemviz.tui.player import SPEEDS
from totemviz.tui.scrubber import Scrubber
from totemviz.tui.tabs import PAGES, Tabs

SIZE = (120, 40)


def words(app, selector: str) -> str:
    return "\n".join("".join(text for text, _ in line) for line in app._base.query_one(selector, Panel).drawing.lines)


@pytest.mark.parametrize(
    ("key", "back", "kinds"),
    [
        ("right", "left", STAGE_TYPES),
        ("l", "h", STAGE_TYPES),
        ("right_square_bracket", "left_square_bracket", (totem.TokenReceived,)),
        ("right_curly_bracket", "left_curly_bracket", (totem.TokenReceived,)),
        ("m", "M", (totem.MembershipInstalled,)),
    ],
)
async def test_steps_end_at_their_events(open_at, key, back, kinds):
    app = open_at("multicast")
    async with app.run_test(size=SIZE) as pilot:
        start = app.session.cursor.position
        await pilot.press(key)
        there = app.session.cursor.position
        assert there > start
        assert isinstance(app.session.cursor.event.body, kinds)
        await pilot.press(back)
        assert app.session.cursor.position < there
        assert isinstance(app.session.cursor.event.body, kinds)


async def test_event_home_end(open_at):
    app = open_at("multicast")
    async with app.run_test(size=SIZE) as pilot:
        start = app.session.cursor.position
        await pilot.press("full_stop")
        assert app.session.cursor.position == start + 1
        await pilot.press("comma")
        assert app.session.cursor.position == start
        await pilot.press("end")
        assert app.session.cursor.at_end
        await pilot.press("right")
        assert "two minutes" in words(app, "#headline")
        await pilot.press("home")
        assert app.session.cursor.position == 0


async def test_back_and_forward_give_the_same_screen(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("right", "left")
        before = [words(app, name) for name in ("#ring", "#stages", "#nodes", "#writes")]
        await pilot.press("right", "right", "left", "left")
        assert [words(app, name) for name in ("#ring", "#stages", "#nodes", "#writes")] == before


async def test_only_the_step_lights_up_what_it_changed(open_at):
    app = open_at("gather")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()

        def lit() -> list[str]:
            lines = app.query_one("#nodes", Panel).drawing.lines
            return [text for line in lines for text, role in line if role == "changed"]

        assert lit() == []
        await pilot.press("m")
        assert "1.d" in lit()
        await pilot.press("full_stop")
        assert "1.d" not in lit()


async def test_playing_moves_time_and_stops(open_at):
    app = open_at("held", "domino")
    async with app.run_test(size=SIZE) as pilot:
        start = app.session.cursor.position
        await pilot.press("plus", "plus", "plus")
        assert app.player.speed == SPEEDS[SPEEDS.index(1.0) + 3]
        await pilot.press("space")
        assert app.player.playing
        for _ in range(100):
            await pilot.pause(0.02)
            if app.session.cursor.position > start:
                break
        await pilot.press("space")
        assert not app.player.playing
        assert app._frames is None
        assert app.session.cursor.position > start
        await pilot.press("minus")
        assert app.player.speed == SPEEDS[SPEEDS.index(1.0) + 2]


async def test_write_dialog(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("w", "enter")
        await pilot.pause()
        assert app.session.commands == [do.Write(node=1)]
        assert "Done" in words(app, "#headline")


async def test_write_dialog_explains_mistakes(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("w")
        app.screen.query_one("#node").value = "Z"
        await pilot.press("enter")
        assert "type one of A, B, C" in str(app.screen.query_one("#mistake").render())
        app.screen.query_one("#node").value = "b"
        app.screen.query_one("#path").value = "/etc/pve/../x"
        await pilot.press("enter")
        assert "not a plain path" in str(app.screen.query_one("#mistake").render())
        app.screen.query_one("#path").value = "/etc/pve/nodes/x"
        await pilot.press("enter")
        await pilot.pause()
        assert app.session.commands[0].path == "nodes/x"
        assert app.session.commands[0].node == 2


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
async def test_every_fault(open_at, fault):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("x", "left", fault.key)
        if fault.ask or fault.key == "d":
            await pilot.press("enter")
        await pilot.pause()
        assert len(app.session.commands) == 1
        assert getattr(app.session.commands[0], "node", C) in (C, 0)


async def test_fault_menu_explains_mistakes(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("x", "s")
        app.screen.query_one("#more").value = "ten"
        await pilot.press("enter")
        assert "is not a duration" in str(app.screen.query_one("#mistake").render())
        await pilot.press("escape")
        await pilot.pause()
        assert app.session.commands == []


async def test_recording_cannot_be_changed(open_at):
    app = open_at(20, "recording")
    async with app.run_test(size=SIZE) as pilot:
        for key in ("w", "x", "a"):
            await pilot.press(key)
            assert "recording" in words(app, "#headline")


@pytest.mark.parametrize(("key", "page"), list(zip("123456789", PAGES, strict=False)))
async def test_tabs(open_at, key, page):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert app.query_one(Tabs).page == page
        assert words(app, f"#page-{page}").strip()


async def test_why_ends_at_what_the_user_did(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("y")
        await pilot.pause()
        assert "you: stall the disk of C" in words(app, "#page-why")


async def test_bytes_name_the_fields(open_at):
    app = open_at("flying")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("4")
        await pilot.pause()
        text = words(app, "#page-bytes")
        assert "magic" in text
        app.query_one("#page-bytes").focus()
        await pilot.press("pagedown")
        text += words(app, "#page-bytes")
    for name in ("token_seq", "aru_addr", "rtr_list_entries"):
        assert name in text


async def test_filter(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2", "slash", *"fsync", "enter")
        await pilot.pause()
        lines = words(app, "#page-events").splitlines()
        assert lines
        assert all("disk" in line or "fsync" in line for line in lines)
        await pilot.press("escape")
        await pilot.pause()
        assert len(words(app, "#page-events").splitlines()) > len(lines)


async def test_choose_node_by_key_and_mouse(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n")
        assert app.chosen == 1
        await pilot.press("N")
        assert app.chosen == C
        await pilot.press("escape")
        assert app.chosen == 0
        hit = next(hit for hit in app.query_one("#ring", Panel).drawing.hits if hit.value == 2)
        await pilot.click("#ring", offset=(hit.x + 1, hit.y + 1))
        assert app.chosen == 2


async def test_click_an_event(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await pilot.pause()
        hit = app.query_one("#page-events", Panel).drawing.hits[0]
        await pilot.click("#page-events", offset=(20, 0))
        await pilot.pause()
        assert app.session.cursor.position == hit.value


async def test_look_around_in_the_list_and_go(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        start = app.session.cursor.position
        await pilot.press("2", "up", "up", "enter")
        await pilot.pause()
        assert app.session.cursor.position == start - 2


async def test_scrubber(open_at):
    app = open_at("late")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(Scrubber, offset=(2, 0))
        await pilot.pause()
        assert app.session.cursor.view.time_ns < 200_000_000
        await pilot.click(Scrubber, offset=(70, 0))
        await pilot.pause()
        assert app.session.cursor.view.time_ns > 8_000_000_000


async def test_footer_presses_keys(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        start = app.session.cursor.position
        await pilot.pause()
        await pilot.click(KeyFooter, offset=(4, 0))
        await pilot.pause()
        assert app.session.cursor.position > start


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (120, 40), (200, 60)])
async def test_help_and_quit_are_always_in_the_footer(open_at, size):
    app = open_at("held")
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = words(app, "#footer")
        assert "? help" in text
        assert "q quit" in text


async def test_theme_help_palette_quit(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("t")
        assert app.theme == "totemviz-light"
        await pilot.press("question_mark")
        assert type(app.screen).__name__ == "HelpScreen"
        await pilot.press("escape")
        await pilot.press("ctrl+p")
        assert type(app.screen).__name__ == "CommandPalette"
        await pilot.press("escape")
        await pilot.press("L")
        assert "No lesson" in words(app, "#headline")
        await pilot.press("q")
    assert app.return_code == 0


async def test_palette_offers_everything(open_at):
    app = open_at("held")
    async with app.run_test(size=SIZE):
        titles = {command.title for command in app.get_system_commands(app.screen)}
    assert {key.help for key in KEYS if key.id != "palette"} <= titles
    assert "kill corosync and pmxcfs on B" in titles


def test_keys_have_ids_and_no_two_share_a_key():
    keys = [name for key in KEYS for name in key.keys.split(",")]
    assert len(keys) == len(set(keys))
    ids = {key.id for key in KEYS}
    assert len(ids) == len(KEYS)
    for entry in (*FOOTER, *FOOTER_ALWAYS):
        assert entry[0] in ids
        assert not entry[1] or entry[1] in ids


async def test_the_other_host_model():
    app = Simulation_cockpit()
    async with app.run_test(size=SIZE) as pilot:
        app.session.advance(2_000_000_000)
        for model in ("measured", "article"):
            await pilot.press("a")
            for _ in range(100):  # the whole run is made again
                if app.session.cursor.view.run.host_model == model:
                    break
                await pilot.pause(0.02)
            assert app.session.cursor.view.run.host_model == model
            await pilot.pause()
            assert f"{model} model" in words(app, "#headline")


def Simulation_cockpit():
    from pathlib import Path

    from totemviz.sim.scenario import Scenario, cluster_conf
    from totemviz.tui.app import Cockpit

    scenario = Scenario()
    return Cockpit(Simulation(scenario, cluster_conf(scenario, "x", Path("."), "")))


async def test_the_log_explains_its_lines_and_leads_to_the_event(open_at):
    app = open_at("gather")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await pilot.pause()
        assert "totemsrp.c: timer_function_orf_token_timeout printed it" in words(app, "#page-log")
        assert "behind it:" in words(app, "#page-log")
        assert "entering GATHER" not in words(app, "#page-log")
        await pilot.press("n", "d")
        await pilot.pause()
        assert "[1001] pve1 corosync notice" in words(app, "#page-log")
        await pilot.press("up", "enter")
        await pilot.pause()
        assert isinstance(app.session.cursor.event.body, totem.Log)


async def test_looking_in_one_list_shows_the_place_in_the_others(open_at):
    app = open_at("late")
    async with app.run_test(size=(200, 60)) as pilot:
        start = app.session.cursor.position
        await pilot.press("2", "up", "up", "up")
        await pilot.pause()
        assert app.session.cursor.position == start
        assert app.looked == start - 3
        assert any(line.startswith("›") for line in words(app, "#side").splitlines())
        await pilot.press("escape")
        await pilot.pause()
        assert any(line.startswith("▸") for line in words(app, "#side").splitlines())
