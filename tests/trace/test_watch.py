"""The invariants, checked while a run grows: a violation is told once, and holds the run where it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from totemviz.sim.interventions import Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.units import MS, SECOND
from totemviz.totem.effects import PacketDelivered
from totemviz.trace import watch as watch_module
from totemviz.trace.timeline import Timeline
from totemviz.trace.watch import Watch


def opened() -> Simulation:
    scenario = Scenario()
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.advance(2 * SECOND)
    session.intervene(Write(node=1))
    return session


@pytest.fixture(scope="module")
def doctored() -> tuple[Timeline, int]:
    """A run in which a packet is delivered twice; and the event at which that shows."""
    session = opened()
    session.advance(50 * MS)
    timeline = Timeline()
    for event in session.timeline:
        timeline.append(event.time_ns, event.node, event.cause, event.body)
        if isinstance(event.body, PacketDelivered):
            twice = event
    shows = timeline.append(timeline[-1].time_ns, twice.node, twice.cause, twice.body)
    return timeline, shows


def test_a_violation_is_told_once(doctored: tuple[Timeline, int]) -> None:
    timeline, shows = doctored
    watch = Watch()
    assert watch.look(timeline, shows - 1) is None
    found = watch.look(timeline, shows)
    assert found is not None
    assert found.event_id == shows
    while found is not None:  # one event may break several invariants
        found = watch.look(timeline, shows)
    assert watch.behind == 0


def test_what_there_was_no_time_for_is_caught_up_with(doctored: tuple[Timeline, int]) -> None:
    timeline, shows = doctored
    watch = Watch()
    looks = 0
    while (found := watch.look(timeline, shows, budget=700)) is None:
        looks += 1
    assert found.event_id == shows
    assert looks == shows // 700


def test_a_short_step_does_not_pay_for_a_long_boot(
    monkeypatch: pytest.MonkeyPatch, doctored: tuple[Timeline, int]
) -> None:
    monkeypatch.setattr(watch_module, "BUDGET_EVENTS", 500)
    monkeypatch.setattr(watch_module, "CATCH_UP_EVENTS", 100)
    timeline, shows = doctored
    watch = Watch()
    watch.look(timeline, 4000)
    assert watch.behind == len(timeline) - 600
    watch.look(timeline, 4010)
    assert watch.behind == len(timeline) - 710
    found = None
    for _ in range(shows // 100):
        found = found or watch.look(timeline, shows)
    assert found is not None, "it catches up in the end"


def test_a_violation_holds_the_run(monkeypatch: pytest.MonkeyPatch, doctored: tuple[Timeline, int]) -> None:
    session = opened()
    watch, (timeline, shows) = Watch(), doctored
    session.advance(60 * MS)
    place = session.cursor.position

    def look(seen: Timeline, position: int) -> object:
        assert seen is session.timeline
        return watch.look(timeline, shows)

    monkeypatch.setattr(session.watch, "look", look)
    assert not session.advance(SECOND)
    assert session.halt is not None
    assert session.halt.why.startswith("invariant ")
    assert session.cursor.position == shows or session.cursor.position > place
    session.stops.check_invariants = False
    assert session.advance(SECOND)
