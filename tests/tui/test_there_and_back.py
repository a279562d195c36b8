"""N steps back and N forward: the whole screen reads the same, and the run is the same run.

Screens are compared that were reached by the same last step, for that is what a step lights up.
``TOTEMVIZ_SEARCH=deep`` walks whole runs event by event.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.tui.conftest import cockpit_at, cockpit_on
from tests.tui.picture import screen_rows
from totemviz.sim.interventions import Kill, Pause, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.tui.tabs import PAGES

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
SIZE = (120, 40)


async def screen(app, pilot) -> str:
    """Everything on the screen, as text with its styles."""
    await pilot.pause()
    return "\n".join("".join(f"{segment.text}\0{segment.style}" for segment in row) for row in screen_rows(app))


async def steps(app, pilot, key: str, count: int) -> list[str]:
    """The screens after each of some presses of a key."""
    found = []
    for _ in range(count):
        await pilot.press(key)
        found.append(await screen(app, pilot))
    return found


async def there_and_back(app, pilot, back: str, forward: str, count: int) -> None:
    """Two ways back and two forward, compared screen by screen."""
    first = app.session.cursor.position
    went_back = await steps(app, pilot, back, count)
    came = await steps(app, pilot, forward, count)
    assert app.session.cursor.position == first
    assert await steps(app, pilot, back, count) == went_back
    assert await steps(app, pilot, forward, count) == came
    assert len({*went_back, *came}) > count, "screens of different places differ"


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_reads_the_same(page):
    app = cockpit_at("late")
    number = [*PAGES].index(page) + 1
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("n", str(number), "left")
        await pilot.press("right")
        await there_and_back(app, pilot, "left", "right", 4 if DEEP else 2)


async def test_a_whole_run():
    """The hand-made run from its end to its begin and back: token hop by token hop, in the deep form event by event."""
    app = cockpit_at("end")
    back, forward = ("comma", "full_stop") if DEEP else ("left_square_bracket", "right_square_bracket")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("end")
        seen: dict[int, str] = {}
        await pilot.press(back)
        while (place := app.session.cursor.position) > 0 and place not in seen:
            seen[place] = await screen(app, pilot)
            await pilot.press(back)
        places = [*seen]
        assert len(places) > 10
        app.jump(places[-1])
        for place in reversed(places[:-1]):
            await pilot.press(forward)
            assert app.session.cursor.position == place
        await pilot.press("end")
        for place in places:
            await pilot.press(back)
            assert app.session.cursor.position == place
            assert await screen(app, pilot) == seen[place], place


@pytest.fixture
def branched():
    """A simulated run with a write and a kill; on a branch of its past something else happens."""
    scenario = Scenario(seed=3)
    session = Simulation(scenario, cluster_conf(scenario, "test", "."))
    session.warm_up()
    session.intervene(Write(node=1))
    session.advance(50 * MS)
    middle = session.cursor.position
    session.intervene(Kill(node=3))
    session.advance(9 * SECOND)
    session.cursor.move_to(middle)
    session.intervene(Pause(node=2, process="host", duration=Duration(SECOND)))
    session.advance(6 * SECOND)
    return session


async def test_anywhere_across_branches_and_interventions(branched):
    """From some places of each branch: away as far as the run goes, by any way, and back by one step."""
    chance = random.Random(5)
    app = cockpit_on(branched)
    digests = {branch.name: branch.timeline.digest() for branch in branched.family}
    lengths = {branch.name: len(branch.timeline) for branch in branched.family}
    async with app.run_test(size=SIZE) as pilot:

        async def come_to(branch, place: int) -> str:
            if branched.family.current is not branch:
                branched.switch(branch)
            app.jump(place - 1)
            await pilot.press("full_stop")
            assert app.session.cursor.position == place
            return await screen(app, pilot)

        places = []
        for branch in branched.family:
            last = len(branch.timeline) - 1
            done = [event.id for event in branch.timeline if type(event.body).__name__ == "Intervened"]
            chosen = [1, last, *done, *(event + 1 for event in done)]
            chosen += [chance.randrange(1, last) for _ in range(40 if DEEP else 2)]
            places += [(branch, place) for place in chosen if 1 <= place <= last]
        before = {place: await come_to(*place) for place in places}
        for _ in range(4 if DEEP else 1):
            chance.shuffle(places)
            for place in places:
                assert await come_to(*place) == before[place]
                away = [chance.choice(("home", "end", "comma", "left", "less_than_sign", "M", "I")) for _ in range(3)]
                await pilot.press(*away)
    assert {branch.name: branch.timeline.digest() for branch in branched.family} == digests
    assert {branch.name: len(branch.timeline) for branch in branched.family} == lengths


async def test_stepping_over_what_was_done(branched):
    """Event by event back over the intervention that opened the branch, and forward again."""
    app = cockpit_on(branched)
    fork = branched.family.current.forked_at
    async with app.run_test(size=SIZE) as pilot:
        app.jump(fork + 3)
        await pilot.press("full_stop")
        await there_and_back(app, pilot, "comma", "full_stop", 40 if DEEP else 5)
