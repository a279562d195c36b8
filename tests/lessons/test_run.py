"""The engine against small timelines made by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from totemviz.lessons import LessonRun
from totemviz.lessons.format import Check, Choice, Lesson, Predict, Step, parse_lesson
from totemviz.lessons.match import Matcher, Pattern, PatternError
from totemviz.sim.session import Session
from totemviz.sim.units import SECOND, Duration
from totemviz.trace import events as ev
from totemviz.trace.timeline import Timeline

from .test_format import GOOD

NODES = (ev.NodeInfo(1, "pve1"), ev.NodeInfo(2, "pve2"))


def timeline_of(*rows: tuple[Any, ...]) -> Timeline:
    """(seconds, node, cause, body) after a run_started."""
    timeline = Timeline()
    timeline.append(0, 0, -1, ev.RunStarted("recorded", "", NODES, {}))
    for seconds, node, cause, body in rows:
        timeline.append(round(seconds * SECOND), node, cause, body)
    return timeline


def started(name: str) -> ev.ProcessStarted:
    return ev.ProcessStarted(name, 1)


def killed(name: str) -> ev.ProcessKilled:
    return ev.ProcessKilled(name)


def task(*checks: Check) -> Step:
    return Step("t", "…", "do", checks)


def lesson_of(*steps: Step) -> Lesson:
    from pathlib import Path

    good = parse_lesson(GOOD, Path("x.toml"))
    return msgspec.structs.replace(good, steps=steps)


def run_of(timeline: Timeline, *steps: Step) -> LessonRun:
    return LessonRun(lesson_of(*steps), Session(timeline))


def see(run: LessonRun, position: int) -> list[str]:
    run.session.cursor.move_to(position)
    return [step.title for step in run.update()]


def test_pattern() -> None:
    event = ev.Event(1, 0, 3, 0, ev.ProcessBlocked(("corosync", "pmxcfs"), "fsync"))
    yes: list[dict[str, Any]] = [
        {},
        {"node": 3},
        {"where": {"why": "fsync"}},
        {"where": {"processes": ["corosync", "pmxcfs"]}},
        {"where": {"processes": {"contains": "corosync"}}},
        {"where": {"why": {"not": "x", "contains": "sy"}}},
    ]
    no: list[dict[str, Any]] = [
        {"node": 2},
        {"where": {"why": "x"}},
        {"where": {"processes": ["pmxcfs"]}},
        {"where": {"processes": {"contains": "x"}}},
        {"where": {"why": {"not": "fsync"}}},
    ]
    for fields in yes:
        assert Matcher(Pattern("process_blocked", **fields)).matches(event), fields
    for fields in no:
        assert not Matcher(Pattern("process_blocked", **fields)).matches(event), fields
    assert not Matcher(Pattern("process_killed")).matches(event)
    limits = Matcher(Pattern("process_resumed", where={"blocked_ns": {"at_least": "1s", "at_most": "2s"}}))
    for blocked_ns, expected in ((SECOND - 1, False), (SECOND, True), (2 * SECOND, True), (2 * SECOND + 1, False)):
        assert limits.matches(ev.Event(1, 0, 3, 0, ev.ProcessResumed((), blocked_ns, 0))) is expected


def test_pattern_errors_have_a_place() -> None:
    try:
        Matcher(Pattern("process_blocked", where={"whi": "x"}))
    except PatternError as error:
        assert error.place == ("where", "whi")
    else:
        raise AssertionError


def test_checks_are_met_in_their_order() -> None:
    steps = task(Check("process_started"), Check("process_killed"))
    wrong_order = timeline_of((1, 1, 0, killed("a")), (2, 1, 0, started("a")))
    assert see(run_of(wrong_order, steps), 2) == []
    right_order = timeline_of((1, 1, 0, started("a")), (2, 1, 0, killed("a")))
    assert see(run_of(right_order, steps), 2) == ["t"]


def test_a_step_counts_from_the_event_that_completed_the_one_before() -> None:
    timeline = timeline_of((1, 1, 0, started("a")), (2, 1, 0, started("b")), (3, 1, 0, killed("a")))
    run = run_of(timeline, task(Check("process_started", where={"process": "b"})), task(Check("process_started")))
    assert see(run, 3) == ["t"]
    assert run.place == (2, 2)
    both = run_of(
        timeline, task(Check("process_started")), task(Check("process_started")), task(Check("process_killed"))
    )
    assert see(both, 3) == ["t", "t", "t"]
    assert both.finished


def test_count() -> None:
    timeline = timeline_of((1, 1, 0, started("a")), (2, 2, 0, started("a")), (3, 1, 0, started("a")))
    run = run_of(timeline, task(Check("process_started", node=1, count=2)))
    assert see(run, 2) == []
    assert see(run, 3) == ["t"]


def test_caused_by_needs_a_chain() -> None:
    timeline = timeline_of(
        (1, 1, 0, started("a")), (2, 1, 1, killed("a")), (3, 2, 2, killed("b")), (4, 2, 0, killed("c"))
    )
    start = Pattern("process_started")
    assert see(run_of(timeline, task(Check("process_killed", where={"process": "b"}, caused_by=start))), 4) == ["t"]
    assert see(run_of(timeline, task(Check("process_killed", where={"process": "c"}, caused_by=start))), 4) == []
    itself = Check("process_killed", where={"process": "c"}, caused_by=Pattern("process_killed"))
    assert see(run_of(timeline, task(itself)), 4) == []


def test_no_event_spoils_a_check_but_only_before_it_is_met() -> None:
    check = Check("process_killed", no_event=Pattern("process_started"), spoiled="too late")
    run = run_of(timeline_of((1, 1, 0, started("a")), (2, 1, 0, killed("a"))), task(check))
    assert see(run, 2) == []
    assert run.spoiled == "too late"
    run = run_of(timeline_of((1, 1, 0, killed("a")), (2, 1, 0, started("a"))), task(check))
    assert see(run, 2) == ["t"]


def test_quiet_for_a_while() -> None:
    check = Check(no_event=Pattern("process_killed"), during=Duration(5 * SECOND))
    rows = [(1, 1, 0, started("a")), (3, 1, 0, killed("a")), (7.9, 1, 0, started("b")), (8, 1, 0, started("c"))]
    run = run_of(timeline_of(*rows), task(check))
    assert see(run, 3) == []
    assert see(run, 4) == ["t"]


def test_find_an_event_needs_the_cursor_on_it() -> None:
    timeline = timeline_of((1, 1, 0, started("a")), (2, 1, 0, killed("a")), (3, 1, 0, started("b")))
    run = run_of(timeline, task(Check("process_killed", at_cursor=True)))
    assert see(run, 3) == []
    assert see(run, 1) == []
    assert see(run, 2) == ["t"]


def test_gate_holds_until_there_is_an_answer() -> None:
    timeline = timeline_of((1, 1, 0, started("a")), (2, 1, 0, killed("a")), (3, 1, 0, started("b")))
    choices = (Choice("x", "no"), Choice("y", "yes", right=True))
    predict = Step("p", "…", predict=Predict("?", choices, Pattern("process_killed")))
    run = run_of(timeline, task(Check("process_started")), predict, task(Check("process_killed")))
    assert see(run, 3) == ["t"]
    assert run.session.cursor.position == 1
    assert run.held
    assert see(run, 0) == []
    assert not run.held
    assert see(run, 3) == []
    assert run.session.cursor.position == 1
    for bad in (-1, 2):
        try:
            run.answer(bad)
        except ValueError as error:
            assert "a, b" in str(error)
        else:
            raise AssertionError
    assert run.answer(0).because == "no"
    assert run.was_right is False
    assert see(run, 3) == ["t"]


KINDS = st.sampled_from([started("a"), started("b"), killed("a"), killed("b")])
ROWS = st.lists(st.tuples(st.integers(1, 2), KINDS), min_size=1, max_size=20)
MOVES = st.lists(st.integers(-1, 22), min_size=1, max_size=12)
STEPS = (
    task(Check("process_started", node=1)),
    task(Check("process_killed"), Check("process_started", node=2)),
    task(Check("process_killed", where={"process": "b"}, caused_by=Pattern("process_started"))),
)


@given(ROWS, MOVES)
def test_done_stays_done_and_only_what_was_seen_counts(rows: list[tuple[int, Any]], moves: list[int]) -> None:
    timeline = timeline_of(*((i + 1, node, i, body) for i, (node, body) in enumerate(rows)))
    run = run_of(timeline, *STEPS)
    seen = index = 0
    for move in moves:
        see(run, move)
        seen = max(seen, run.session.cursor.position)
        assert run.index >= index
        index = run.index
        # somebody who only ever saw the events up to the furthest cursor got at least as far
        short = timeline_of(*((e.time_ns / SECOND, e.node, e.cause, e.body) for e in list(timeline)[1 : seen + 1]))
        other = run_of(short, *STEPS)
        see(other, seen)
        assert run.index <= other.index
    see(run, len(timeline))
    straight = run_of(timeline, *STEPS)
    see(straight, len(timeline))
    assert run.index == straight.index
