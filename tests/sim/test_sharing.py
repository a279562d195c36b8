"""A session that is saved, as a file or as a string, is the same session when it is opened."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.trace.test_cursor import state
from totemviz.sim.interventions import Cut, Kill, Write
from totemviz.sim.scenario import Scenario, ScenarioError, cluster_conf, dump_scenario, load_scenario
from totemviz.sim.session import Simulation
from totemviz.sim.sharing import current_run, load_share_string, restore, saved_session, share_string
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND
from totemviz.sim.world import World
from totemviz.trace.conditions import compile_condition
from totemviz.trace.cursor import Step


@pytest.fixture(scope="module")
def session() -> Simulation:
    scenario = Scenario(title="shared", seed=5)
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.warm_up()
    session.intervene(Write(node=1))
    session.advance(2 * SECOND)
    session.back(Step.ROTATION)
    session.intervene(Kill(node=3))
    session.advance(SECOND)
    session.retreat(SECOND // 2)
    session.intervene(Cut(nodes=(2,)))
    session.advance(SECOND)
    session.branch_under(HostModel.MEASURED)
    session.back(Step.HOP)
    session.stops.add(compile_condition("token.age > 2s", [n.info for n in session.cursor.view.nodes.values()]))
    return session


def same(first: Simulation, second: Simulation) -> None:
    assert [branch.name for _, branch in first.family.tree()] == [branch.name for _, branch in second.family.tree()]
    assert first.family.current.name == second.family.current.name
    assert [stop.condition.text for stop in first.stops.items] == [stop.condition.text for stop in second.stops.items]
    for one, other in zip(first.family.tree(), second.family.tree(), strict=True):
        assert one[1].timeline.digest() == other[1].timeline.digest()
        assert one[1].forked_at == other[1].forked_at
        assert state(one[1].cursor.view) == state(other[1].cursor.view)


def test_as_a_string(session: Simulation) -> None:
    text = share_string(saved_session(session))
    assert len(text) < 2000
    assert text.isascii() and " " not in text
    same(session, restore(*load_share_string(text)))
    same(session, restore(*load_share_string(f"\n {text[:40]}\n{text[40:]} ")))


def test_as_a_file(session: Simulation, tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    path.write_text(dump_scenario(saved_session(session)), encoding="utf-8")
    same(session, restore(*load_scenario(path)))


def test_headless_runs_what_was_on_screen(session: Simulation) -> None:
    for branch in list(session.family):
        session.switch(branch)
        kept = saved_session(session)
        world = World(current_run(kept), session.conf)
        while len(world.timeline) < len(branch.timeline):
            assert world.step()
        assert world.timeline.digest() == branch.timeline.digest()


def test_a_conf_goes_along(tmp_path: Path) -> None:
    conf = (Path(__file__).parents[1] / "corosync" / "data").rglob("*.conf")
    (tmp_path / "corosync.conf").write_text(next(conf).read_text())
    (tmp_path / "scenario.toml").write_text('[cluster]\nconf = "corosync.conf"\n')
    scenario, cluster = load_scenario(tmp_path / "scenario.toml")
    session = Simulation(scenario, cluster)
    session.warm_up()
    text = share_string(saved_session(session))
    (tmp_path / "corosync.conf").unlink()
    same(session, restore(*load_share_string(text)))


def test_damaged_strings_get_one_line(session: Simulation) -> None:
    good = share_string(saved_session(session))
    chance = random.Random(3)
    texts = [good[:-1], good[: len(good) // 2], "totemviz1.", "totemviz1.AAAA", "totemviz1.????", good + "AAAA"]
    for _ in range(150):
        at = chance.randrange(10, len(good))
        texts.append(good[:at] + chance.choice("AZaz09-_~é") + good[at + 1 :])
    for text in texts:
        if text == good:
            continue
        try:
            found, _ = load_share_string(text)
        except ScenarioError as error:
            assert "\n" not in str(error)
            assert "share string" in str(error)
        else:  # the last character has bits that mean nothing
            assert found == load_share_string(good)[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"current": "elsewhere"}, "no branch “elsewhere”"),
        ({"stops": ("nonsense(",)}, "session.stops"),
    ],
)
def test_what_does_not_fit_gets_one_line(session: Simulation, change: dict[str, object], words: str) -> None:
    import msgspec

    kept = saved_session(session)
    assert kept.session is not None
    kept = msgspec.structs.replace(kept, session=msgspec.structs.replace(kept.session, **change))
    with pytest.raises(ScenarioError, match=words.split("(", maxsplit=1)[0]):
        restore(kept, session.conf)
