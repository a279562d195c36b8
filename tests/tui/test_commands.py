"""Every key of every command is pressed and does what the table of keys says: a command without an effect here fails.

One run with a write and a kill, looked at in its middle; before each key everything is as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from textual.command import CommandPalette

from tests.tui.conftest import cockpit_on
from tests.tui.test_keys import words
from totemviz.sim.interventions import Kill, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.units import MS, SECOND
from totemviz.totem import effects as totem
from totemviz.trace.cursor import STAGE_TYPES
from totemviz.trace.idle import is_idle
from totemviz.tui.ask import Ask, Menu, Table
from totemviz.tui.dialogs import WriteDialog
from totemviz.tui.faults import FaultMenu
from totemviz.tui.help import HelpScreen
from totemviz.tui.keys import KEYS
from totemviz.tui.tabs import PAGES, Tabs
from totemviz.tui.tour import Tour

Was = SimpleNamespace
Effect = Callable[..., bool]


def forward(*kinds: type) -> Effect:
    return lambda app, was: (
        app.session.cursor.position > was.position and (not kinds or isinstance(app.session.cursor.event.body, kinds))
    )


def back(*kinds: type) -> Effect:
    return lambda app, was: (
        app.session.cursor.position < was.position and (not kinds or isinstance(app.session.cursor.event.body, kinds))
    )


def opens(kind: type, title: str = "") -> Effect:
    return lambda app, was: isinstance(app.screen, kind) and title in getattr(app.screen, "_title", title)


def says(text: str) -> Effect:
    return lambda app, was: text in app.notice


def page(name: str) -> Effect:
    return lambda app, was: app.base.query_one(Tabs).page == name and app.focused.id == f"page-{name}"


RECEIVED = totem.TokenReceived
EFFECTS: dict[str, Effect] = {
    "stage.next": forward(*STAGE_TYPES),
    "stage.back": back(*STAGE_TYPES),
    "play": lambda app, was: app.player.playing and not app.player.backward,
    "play.back": lambda app, was: app.player.playing and app.player.backward,
    "event.next": lambda app, was: app.session.cursor.position == was.position + 1,
    "event.back": lambda app, was: app.session.cursor.position == was.position - 1,
    "hop.next": forward(RECEIVED),
    "hop.back": back(RECEIVED),
    "rotation.next": forward(RECEIVED),
    "rotation.back": back(RECEIVED),
    "membership.next": forward(totem.MembershipInstalled),
    "membership.back": back(totem.MembershipInstalled),
    "delivered.next": lambda app, was: app.session.cursor.position > was.position,
    "delivered.back": back(totem.PacketDelivered),
    "eventful.next": lambda app, was: forward()(app, was) and not is_idle(app.session.cursor.event),
    "eventful.back": lambda app, was: back()(app, was) and not is_idle(app.session.cursor.event),
    "time.next": lambda app, was: app.session.cursor_time_ns == was.time_ns + 100 * MS,
    "time.back": lambda app, was: app.session.cursor_time_ns == was.time_ns - 100 * MS,
    "idle": lambda app, was: app.player.skips_idle != was.skips_idle,
    "goto": opens(Ask, "where to?"),
    "stops": opens(Menu, "stops"),
    "start": lambda app, was: app.session.cursor.position == 0,
    "end": lambda app, was: app.session.cursor.at_end,
    "faster": lambda app, was: app.player.speed > was.speed,
    "slower": lambda app, was: app.player.speed < was.speed,
    "write": opens(WriteDialog),
    "fault": opens(FaultMenu),
    "flights": lambda app, was: isinstance(app.screen, FaultMenu | Menu) or "between two nodes" in app.notice,
    "links": lambda app, was: "Link" in type(app.screen).__name__,
    "mark": lambda app, was: "Choose a node first" in app.notice or app.marked == {app.chosen},
    "part": lambda app, was: len(app.screen_stack) > 1 or len(app.session.family) > was.branches,
    "undo": says("Undone: kill"),
    "redo": says("Done again"),
    "whatif": lambda app, was: isinstance(app.screen, Table) and len(app.session.family) == was.branches + 1,
    "branches": opens(Menu, "branches"),
    "share": opens(Ask, "save and share"),
    "model": lambda app, was: app.session.cursor.view.run.host_model != was.model,
    **{f"tab.{name}": page(name) for name in PAGES},
    "node.next": lambda app, was: app.chosen == 1,
    "node.back": lambda app, was: app.chosen == 3,
    "filter": lambda app, was: app.focused.id == "filter",
    "compare": opens(Menu, "compare"),
    "clear": lambda app, was: app.chosen == 0 and not app.notice and app.focused is None,
    "theme": lambda app, was: app.theme != was.theme,
    "lesson": says("No lesson is open"),
    "palette": opens(CommandPalette),
    "maximise": lambda app, was: app.base.has_class("-one"),
    "copy": lambda app, was: app.clipboard.count("\n") > 3 and "Copied" in app.notice,
    "picture": lambda app, was: bool(was.pictures),
    "tour": opens(Tour),
    "help": opens(HelpScreen),
    "quit": lambda app, was: was.left == 1,
}


@pytest.fixture(scope="module")
def session():
    scenario = Scenario()
    session = Simulation(scenario, cluster_conf(scenario, "test", "."))
    session.warm_up()
    session.intervene(Write(node=1))
    session.advance(50 * MS)
    session.intervene(Kill(node=3))
    session.middle = session.cursor.position
    session.advance(9 * SECOND)
    return session


def test_every_command_has_an_effect():
    assert {key.id for key in KEYS} == set(EFFECTS)


async def test_every_key_does_what_it_says(session, monkeypatch):
    app = cockpit_on(session)
    was = Was(left=0, pictures=[])
    monkeypatch.setattr(app, "deliver_screenshot", lambda: was.pictures.append(app.export_screenshot()))

    async def stay() -> None:
        was.left += 1

    monkeypatch.setattr(app, "action_quit", stay)
    failed = []
    main = session.family.branches[0]
    async with app.run_test(size=(80, 24)) as pilot:
        for key in KEYS:
            for name in key.keys.split(","):
                app.pause()
                while len(app.screen_stack) > 1:
                    await pilot.press("escape")
                    await pilot.pause()
                session.switch(main)
                app.action_clear()
                app.jump(session.middle)
                was.__dict__.update(
                    position=session.cursor.position,
                    time_ns=session.cursor_time_ns,
                    skips_idle=app.player.skips_idle,
                    speed=app.player.speed,
                    branches=len(session.family),
                    model=session.cursor.view.run.host_model,
                    theme=app.theme,
                    left=0,
                )
                await pilot.press(name)
                for _ in range(100):
                    await pilot.pause()
                    if EFFECTS[key.id](app, was):
                        break
                    await pilot.pause(0.02)
                else:
                    failed.append(
                        f"{key.id} by {name}: {app.notice} {type(app.screen).__name__} {words(app, '#header')}"
                    )
    assert failed == []
