"""The language of conditions: what it means, and what it says of a mistake."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from totemviz.sim.interventions import Kill, StallDisk, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.sim.world import World
from totemviz.trace.conditions import Condition, ConditionError, compile_condition
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import NodeInfo, kind_of
from totemviz.trace.stops import Halt, Stops
from totemviz.trace.timeline import Timeline

NODES = [NodeInfo(1, "pve1", letter="A"), NodeInfo(2, "pve2", letter="B"), NodeInfo(3, "pve3", letter="C")]


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    actions = (
        Write(node=1, at=Duration(2 * SECOND)),
        StallDisk(node=3, duration=Duration(900 * MS), at=Duration(2500 * MS)),
        Write(node=1, path="x.conf", at=Duration(2600 * MS)),
        Kill(node=2, at=Duration(5 * SECOND)),
    )
    scenario = Scenario(interventions=actions)
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    world.run_until(16 * SECOND)
    return world.timeline


def first(timeline: Timeline, text: str, begin_ns: int = 0) -> tuple[Halt | None, Cursor]:
    cursor = Cursor(timeline)
    cursor.seek_time(begin_ns)
    stops = Stops()
    stops.add(compile_condition(text, NODES))
    return stops.walk(cursor, len(timeline) - 1, begin_ns), cursor


@pytest.mark.parametrize(
    ("text", "begin_s", "expected_ms"),
    [
        ("node(2).state == DOWN", 4, 5000),
        ('node("pve2").state in (DOWN, GATHER)', 4, 5000),
        ("not quorate(B) and time > 4s", 4, None),
        ("token.age > 2s", 5, None),
        ("token.lost and node(A).state == OPERATIONAL", 5, None),
        ("fsync(3) > 500ms", 2, 3100),
        ("fsync(C) > 0.5 s", 2, 3100),
        ("time >= 3s", 2, 3000),
        ("time - 1s >= 2s", 2, 3000),
        ("happened(process_killed, B)", 3, 5000),
        ("some(state == DOWN)", 3, 5000),
        ('log("A processor failed")', 4, None),
        ("every(members == 2 or state == DOWN)", 6, None),
        ("write(1).applied == 3", 2, None),
        ("write(1).done and write(1).age > 0ms", 2, None),
        ("membership_installed", 4, None),
        ("rings == 1 and node(1).members == 2", 4, None),
        ("kind == write_started and where == A", 1, None),
        ("node(1).blocked > 10s", 2, -1),
        ("node(1).aru > node(1).seq", 0, -1),
        ("node(7 - 6).seq > 3", 0, -2),
    ],
)
def test_what_conditions_mean(timeline: Timeline, text: str, begin_s: int, expected_ms: int | None) -> None:
    if expected_ms == -2:
        with pytest.raises(ConditionError):
            first(timeline, text)
        return
    halt, cursor = first(timeline, text, begin_s * SECOND)
    if expected_ms == -1:
        assert halt is None
        return
    assert halt is not None
    assert halt.why == text
    if expected_ms is not None:
        assert halt.time_ns == pytest.approx(expected_ms * MS, abs=2 * MS)
    assert cursor.view.time_ns <= halt.time_ns


def test_time_alone_is_found_to_the_nanosecond(timeline: Timeline) -> None:
    halt, cursor = first(timeline, "token.age > 2s", 5 * SECOND)
    assert halt is not None
    assert cursor.view.visit is not None
    assert halt.time_ns == cursor.view.visit.started_ns + 2 * SECOND + 1
    later = next(event for event in timeline if event.id == cursor.position + 1)
    assert cursor.view.time_ns < halt.time_ns < later.time_ns


def test_a_stop_holds_where_it_becomes_true_and_not_again(timeline: Timeline) -> None:
    cursor = Cursor(timeline)
    cursor.seek_time(4 * SECOND)
    stops = Stops()
    stops.add(compile_condition("node(2).state == DOWN", NODES))
    assert stops.walk(cursor, len(timeline) - 1, 4 * SECOND) is not None
    assert stops.walk(cursor, len(timeline) - 1, cursor.view.time_ns) is None
    assert cursor.at_end


def test_each_event_of_a_kind_holds(timeline: Timeline) -> None:
    cursor = Cursor(timeline)
    stops = Stops()
    stops.add(compile_condition("membership_installed", NODES))
    held = 0
    while stops.walk(cursor, len(timeline) - 1, cursor.view.time_ns) is not None:
        held += 1
        assert cursor.event is not None and kind_of(cursor.event.body) == "membership_installed"
    assert held == sum(kind_of(event.body) == "membership_installed" for event in timeline)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty condition"),
        ("node(2).state = GATHER", "column 15"),
        ("node(9).state == GATHER", "column 6: there is no such node; the cluster has 1 (A), 2 (B), 3 (C)"),
        ("node(2).stat == GATHER", "no part “stat”; known are state"),
        ("node(2).state == GATHR", "column 18: unknown word “GATHR”"),
        ("  token.colour == 1", "column 3: no part “colour”"),
        ("fsync(3) > 500 parsecs", "cannot be read"),
        ("__import__('os').system('true')", "unknown call"),
        ("token.__class__ == 1", "no part “__class__”"),
        ("time.real > 1", "only node(…), write(…) and token"),
        ("open('x')", "unknown call"),
        ("().__class__", "only node(…)"),
        ("[x for x in (1,)]", "does not belong"),
        ("lambda: 1", "does not belong"),
        ("node(2)", "alone is no value"),
        ("log(3)", "words in quotes"),
        ("happened(nothing)", "no such kind"),
        ("fsync()", "takes 1 values"),
        ("time * 2 > 1s", "only + and -"),
        ("time is 3", "compare with"),
        ("~time", "use not"),
        ("1 +", "cannot be read"),
        ("time > None", "only numbers"),
        ("state == GATHER", "unknown word “state”"),
    ],
)
def test_mistakes_are_one_line_with_the_place(text: str, words: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text, NODES)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nonsense_never_does_more_than_complain(timeline: Timeline) -> None:
    chance = random.Random(5)
    bits = ["node(", "2", ")", ".state", "==", "GATHER", "and", "(", "token", ".age", "5s", "not", "some", "log", '"a"']
    cursor = Cursor(timeline)
    cursor.seek_time(3 * SECOND)
    good = 0
    for _ in range(1500):
        text = " ".join(chance.choices(bits, k=chance.randrange(1, 9)))
        if chance.random() < 0.3:
            text += chance.choice(string.printable)
        try:
            condition = compile_condition(text, NODES)
        except ConditionError:
            continue
        good += 1
        assert isinstance(condition, Condition)
        condition.holds(cursor.view, cursor.event, cursor.view.time_ns)
    assert good > 20
    with pytest.raises(ConditionError):
        compile_condition("not " * 5000 + "True", NODES)
