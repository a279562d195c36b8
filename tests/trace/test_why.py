"""Why something happened: the sentences of ten stories, and the rules behind them.

``UPDATE_GOLDEN=1 pytest tests/trace/test_why.py`` writes the stories anew. Their times are cut to
tenths of a second, so that a microsecond more in some model of delays does not change them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

from tests.sim.runs import SCENARIOS, run_file
from totemviz.pmxcfs.effects import ChangeApplied
from totemviz.sim.interventions import Cut, DropMessage, Heal, Loss, StallDisk, Write
from totemviz.sim.interventions.base import Intervention
from totemviz.sim.scenario import Scenario, cluster_conf, load_scenario
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.sim.world import World
from totemviz.trace import events as ev
from totemviz.trace.causes import Causes
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import Event, kind_of
from totemviz.trace.timeline import Timeline
from totemviz.trace.why import Story, lines, story

GOLDEN = Path(__file__).parent / "golden"


def at(seconds: float) -> Duration:
    return Duration(round(seconds * SECOND))


def ran(*actions: Intervention, seconds: float) -> Timeline:
    scenario = Scenario(interventions=actions)  # type: ignore[arg-type]
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    world.run_until(round(seconds * SECOND))
    return world.timeline


def last(timeline: Timeline, wanted: Callable[[Event], bool]) -> int:
    return next(event.id for event in reversed(timeline) if wanted(event))


def of_kind(kind: str, node: int = 0) -> Callable[[Event], bool]:
    return lambda event: kind_of(event.body) == kind and node in (0, event.node)


def domino() -> tuple[Timeline, int]:
    scenario, conf = load_scenario(SCENARIOS / "domino-article.toml")
    world = World(scenario, conf)
    world.run_until(16 * SECOND)
    return world.timeline, last(world.timeline, of_kind("membership_installed"))


def lost_message() -> tuple[Timeline, int]:
    timeline = ran(DropMessage(target=2, at=at(5)), Write(node=1, at=at(5)), seconds=6)
    return timeline, last(timeline, of_kind("change_applied", 2))


def partition() -> tuple[Timeline, int]:
    timeline = ran(Cut(nodes=(3,), at=at(5)), seconds=14)
    return timeline, last(timeline, of_kind("quorum_changed", 3))


def merge() -> tuple[Timeline, int]:
    timeline = ran(Cut(nodes=(3,), at=at(5)), Heal(at=at(15)), seconds=20)
    return timeline, last(timeline, of_kind("quorum_changed", 3))


def woken() -> tuple[Timeline, int]:
    stall = StallDisk(node=3, duration=at(12), at=at(5))
    timeline = ran(stall, Write(node=1, at=at(6)), seconds=20)
    return timeline, last(timeline, of_kind("membership_installed", 1))


def clock_and_watchdog() -> tuple[Timeline, int]:
    timeline = run_file("clock-ahead").timeline
    return timeline, last(timeline, of_kind("membership_installed"))


def clock_and_lock() -> tuple[Timeline, int]:
    timeline = run_file("clock-lock").timeline
    return timeline, last(
        timeline, lambda event: isinstance(event.body, ChangeApplied) and event.body.operation == "unlock"
    )


def cascade(name: str, kind: str) -> tuple[Timeline, int]:
    timeline = run_file(f"cascade-{name}").timeline
    return timeline, last(timeline, of_kind(kind))


STORIES = {
    "cascade-article": lambda: cascade("article", "node_fenced"),
    "cascade-ring": lambda: cascade("ring", "membership_installed"),
    "cascade-watchdog": lambda: cascade("watchdog", "node_fenced"),
    "domino": domino,
    "lost-message": lost_message,
    "partition": partition,
    "merge": merge,
    "woken": woken,
    "clock-watchdog": clock_and_watchdog,
    "clock-lock": clock_and_lock,
}


def tell(timeline: Timeline, event_id: int) -> tuple[Story, str]:
    cursor = Cursor(timeline)
    cursor.move_to(event_id)
    tale = story(Causes(timeline), event_id)
    told = "\n".join(line.rstrip() for line in lines(tale, cursor.view)) + "\n"
    return tale, re.sub(r"^( *\d+\.\d)\d{5} s", r"\1 s", told, flags=re.MULTILINE)


@pytest.mark.parametrize("name", STORIES)
def test_the_sentences(name: str) -> None:
    tale, text = tell(*STORIES[name]())
    assert tale.begin == "done"
    assert isinstance(tale.first.body, ev.Intervened)
    times = [link.event.time_ns for link in tale.links]
    assert times == sorted(times)
    golden = GOLDEN / f"why-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_chance_is_a_beginning() -> None:
    """A message that the dice took: nobody did that, though somebody set the percentage."""
    timeline = ran(Loss(percent=20, at=at(3)), Write(node=1, count=30, every=Duration(20 * MS), at=at(3)), seconds=8)
    causes = Causes(timeline)
    resent = [e.id for e in timeline if isinstance(e.body, ev.TimerExpired) and e.body.timer == "token retransmit"]
    assert "chance" in {story(causes, event_id).begin for event_id in resent}
    lost = last(timeline, lambda event: isinstance(event.body, ev.DatagramDropped))
    tale, text = tell(timeline, lost)
    assert (tale.begin, len(tale.links)) == ("chance", 1)
    assert "that was chance" in text


def test_a_cluster_that_starts_is_a_beginning() -> None:
    timeline = ran(seconds=0.3)
    tale, text = tell(timeline, last(timeline, of_kind("membership_installed")))
    assert tale.begin == "start"
    assert "so the cluster began" in text


def test_the_graph_holds_all_causes_and_leads_only_forward() -> None:
    timeline, end = merge()
    causes = Causes(timeline)
    graph = causes.graph(end, events_max=10**6)
    assert nx.is_directed_acyclic_graph(graph)
    assert all(cause < effect for cause, effect in graph.edges)
    chain = [event.id for event, _ in causes.chain(end)]
    assert chain == nx.shortest_path(graph.reverse(), end, chain[-1])[: len(chain)] or set(chain) <= set(graph)
    raw = {event.id for event in timeline.chain(end)}
    assert raw <= set(graph), "what an event names as its cause is in the graph, whatever a rule prefers"
    assert len(causes.graph(end, events_max=10)) <= 12


def test_a_growing_timeline_gives_the_same_answers() -> None:
    timeline, end = partition()
    grown = Timeline()
    early, late = Causes(grown), Causes(timeline)
    for event in timeline[: end + 1]:
        grown.append(event.time_ns, event.node, event.cause, event.body)
        if event.id % 500 == 0:
            early.chain(event.id)
    assert [link.event.id for link in story(early, end).links] == [link.event.id for link in story(late, end).links]
