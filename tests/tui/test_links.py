"""Loss and delay of links by slider: arrows, mouse, what is told of it, and what is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Static

from tests.tui.test_keys import SIZE, words
from tests.tui.test_travel import click, opens, press, warm
from totemviz.sim import interventions as do
from totemviz.sim.scenario import NetworkSpec, Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.tui.linkdialog import DELAYS_NS, EVERY, LOSSES, LinkDialog, changes, effect
from totemviz.tui.links import link_words, links_of
from totemviz.tui.moment import Moment
from totemviz.tui.paint import LINK_BASE
from totemviz.tui.ring import RingPanel
from totemviz.tui.slider import Slider

MS = 1_000_000


def links(session):
    return {pair: (link.loss_percent, link.delay_ns, link.cut) for pair, link in session.world.network.links.items()}


def done(session):
    return [entry.intervention.text for entry in session.world.done]


async def opened(pilot, app, *keys: str) -> LinkDialog:
    await press(pilot, *keys, "K")
    await opens(pilot, app, LinkDialog)
    return app.screen


def said(screen, selector: str) -> str:
    return str(screen.query_one(selector, Static).render())


async def test_arrows_set_the_loss_of_every_link_and_the_effect_is_told():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, app)
        assert screen.focused.id == "loss"
        assert "no token is lost" in said(screen, "#effect")
        await press(pilot, "right", "right", "right", "left")
        assert "2% 50 µs" in said(screen, "#table")
        assert "about one turn of the token in 17" in said(screen, "#effect")  # 1 / (1 - 0.98³) = 17.0
        assert not app.session.world.done  # nothing yet
        await press(pilot, "enter")
        assert set(links(app.session).values()) == {(2.0, 50_000, False)}
        assert done(app.session) == ["lose 2 % of all datagrams"]
        assert "loss 2 %" in words(app, "#ring")


async def test_one_link_one_way_and_the_sliders_begin_where_it_is():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        before = links(app.session)
        screen = await opened(pilot, app, "n")  # A is chosen
        await press(pilot, "up", "right", "right")  # to B
        assert screen.chosen == (1, 2)
        await press(pilot, "down", "end", "down", "home", "right", "enter")
        after = links(app.session)
        assert after.pop((1, 2)) == (100.0, DELAYS_NS[1], False)
        assert after == {pair: state for pair, state in before.items() if pair != (1, 2)}
        assert len(done(app.session)) == 2
        screen = await opened(pilot, app)
        await press(pilot, "up", "right", "right")
        assert screen.query_one("#loss", Slider).value == 100
        assert screen.query_one("#delay", Slider).value == DELAYS_NS[1]
        await press(pilot, "enter")
        assert app.notice == "The links are as they were."


async def test_the_mouse_drags_the_knob():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot, app)
        slider = screen.query_one("#loss", Slider)
        track = slider.size.width - 28
        await pilot.mouse_down(slider, offset=(11 + track // 4, 0))
        quarter = slider.index
        await pilot.hover(slider, offset=(11 + track // 2, 0))
        half = slider.index
        await pilot.mouse_up(slider, offset=(11 + track // 2, 0))
        await pilot.hover(slider, offset=(12, 0))
        assert quarter == pytest.approx(len(LOSSES) / 4, abs=1.5)
        assert half == pytest.approx(len(LOSSES) / 2, abs=1.5)
        assert slider.index == half  # the last hover moves nothing: the knob was let go


async def test_escape_leaves_the_links_alone():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        before = links(app.session)
        await opened(pilot, app)
        await press(pilot, "end", "down", "end", "escape")
        assert links(app.session) == before
        assert not app.session.world.done


async def test_the_way_of_the_token_on_the_ring_opens_its_link():
    app = warm()
    async with app.run_test(size=SIZE) as pilot:
        panel = app.base.query_one(RingPanel)
        hit = next(hit for hit in panel.drawing.hits if (hit.kind, hit.value) == ("link", 2 * LINK_BASE + 3))
        await click(pilot, panel, hit)
        await opens(pilot, app, LinkDialog)
        assert app.screen.chosen == (2, 3)
        await press(pilot, "down", "down", "right", "enter")  # cut it
        assert done(app.session) == ["cut the way from node 2 to node 3"]
        await opened(pilot, app, "escape")
        await press(pilot, "up", "up", "right", "right", "down", "right", "right", "right")
        assert app.screen.chosen == (2, 3)
        await press(pilot, "down", "down", "down", "left", "enter")  # and mend it
        assert links(app.session)[2, 3] == (0.0, 50_000, False)


def test_effects_and_changes_of_a_ring():
    session = warm().session
    view = session.cursor.view
    states = links_of(view, NetworkSpec())
    turn = ((1, 2), (2, 3), (3, 1))
    assert effect(view, states) == ["ring 1.d: no token is lost; a turn takes 150 µs on the wires."]
    slow = states | {pair: states[pair]._replace(delay_ns=300 * MS) for pair in turn}
    assert "tokens are sent again that were not lost" in effect(view, slow)[0]  # 900 ms > 869 ms
    dead = states | {pair: states[pair]._replace(delay_ns=1300 * MS) for pair in turn}
    assert "longer than the token timeout of 3.65 s" in effect(view, dead)[0]
    cut = states | {(1, 2): states[1, 2]._replace(cut=True)}
    assert "no token comes round" in effect(view, cut)[0]
    assert changes(states, states, EVERY, EVERY) == []
    assert changes(states, cut, 1, EVERY) == [do.CutOneWay(source=1, target=2)]
    assert changes(cut, states, 1, 2) == [do.Heal(source=1, target=2)]


def test_slow_links_are_told():
    session = warm().session
    session.intervene(do.Delay(delay=do.Delay(delay=20 * MS).delay, source=1, target=2))
    assert [text for text, _ in link_words(session.cursor.view)] == [" delay 20 ms A→B "]
    session.intervene(do.Delay(delay=50_000))
    assert [text for text, _ in link_words(session.cursor.view)] == [" all links work"]


def test_what_the_scenario_makes_of_the_links_is_told_too():
    scenario = Scenario(network=NetworkSpec(loss_percent=3.0))
    session = Simulation(scenario, cluster_conf(scenario, "lossy", Path()))
    session.advance(50 * MS)
    moment = Moment(session, session.cursor_time_ns)
    assert [text for text, _ in link_words(moment.view, moment.network)] == [" loss 3 % "]
    lines = RingPanel().draw(moment, 40, 12).lines
    assert "loss 3 %" in "".join(text for text, _ in lines[-1])
    session.intervene(do.Loss(percent=0.0, source=1))
    words = [text for text, _ in link_words(session.cursor.view, moment.network)]
    assert words == [" loss 3 % B→A B–C C→A "]
