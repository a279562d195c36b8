"""Helpers for tests that run whole clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.scenario import Scenario, cluster_conf, load_scenario
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline

SCENARIOS = Path(__file__).parent / "scenarios"
GOLDEN = Path(__file__).parent / "golden"

Body = TypeVar("Body")


def seconds(value: float) -> Duration:
    """Virtual time."""
    return Duration(round(value * 1e9))


def run_file(name: str) -> World:
    """Run a scenario file to its end."""
    scenario, conf = load_scenario(SCENARIOS / f"{name}.toml")
    world = World(scenario, conf)
    world.run_until(int(scenario.stop_after))
    return world


def run(until_s: float, *interventions: AnyIntervention, **scenario: object) -> World:
    """Run a cluster with these interventions for so many virtual seconds."""
    made = Scenario(interventions=interventions, **scenario)  # type: ignore[arg-type]
    world = World(made, cluster_conf(made, "test", Path()))
    world.run_until(int(seconds(until_s)))
    return world


def found(
    timeline: Timeline, body: type[Body], node: int | None = None, after_s: float = 0.0
) -> list[tuple[Event, Body]]:
    """All events with this kind of body."""
    return [
        (event, event.body)
        for event in timeline
        if isinstance(event.body, body) and node in (None, event.node) and event.time_ns >= after_s * 1e9
    ]
