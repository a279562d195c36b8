"""The code page shows the function that really said it: the lines are looked up and compared with a real run."""

from __future__ import annotations

import pytest

from tests.sim.runs import run_file
from tests.tui.synthetic import Playable, domino
from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.table import TABLE
from totemviz.trace import events as ev
from totemviz.trace.events import kind_of
from totemviz.tui.code import CodePanel
from totemviz.tui.lifelines import Lifelines
from totemviz.tui.moment import Moment
from totemviz.tui.paint import ON_CURSOR
from totemviz.tui.source import counterpart_of, function_of, functions_of, handler_of, makers_of

PROTOCOL = (totem.Observation, corosync.Observation, pmxcfs.Observation)


@pytest.fixture(scope="module")
def run():
    return run_file("kill-restart").timeline


def one_of_each(timeline):
    found = {}
    for event in timeline:
        key = (kind_of(event.body), getattr(event.body, "kind", "") or getattr(event.body, "state", ""))
        found.setdefault(key, event)
    return list(found.values())


def test_the_four_stages_are_told_by_what_does_them():
    """A helper that only makes the struct would be shown instead: such structs are made where the work is done."""
    stages = ("TokenReceived", "RetransmitChecked", "MessagesMulticast", "TokenPassed")
    assert [[function.name for function in makers_of(stage)] for stage in stages] == [
        ["visit"],
        ["_retransmit_check"],
        ["_multicast"],
        ["_pass"],
    ]


def test_every_event_of_a_run_has_a_function_with_lit_lines(run):
    for event in one_of_each(run):
        functions = functions_of(event)
        assert functions, kind_of(event.body)
        assert all(function.marked for function in functions)
        assert all(function.first <= min(function.marked) <= function.last for function in functions)


def test_what_a_protocol_says_has_a_name_in_the_real_programs(run):
    for event in one_of_each(run):
        if isinstance(event.body, PROTOCOL):
            names = [counterpart_of(event, function) for function in functions_of(event)]
            assert any(names), (kind_of(event.body), functions_of(event))


def test_the_lit_lines_make_the_event(run):
    received = next(event for event in run if isinstance(event.body, totem.TokenReceived))
    (function,) = functions_of(received)
    assert (function.path, function.name) == ("totem/token.py", "visit")
    lines = function.lines()
    assert any("TokenReceived(" in lines[number - function.first] for number in function.marked)


def test_a_state_is_said_by_the_function_that_enters_it(run):
    for event in run:
        if isinstance(event.body, totem.StateEntered):
            names = [function.name for function in functions_of(event)]
            assert names == [f"enter_{event.body.state.lower()}"]


def test_a_log_line_is_found_by_its_text(run):
    lines = {event.body.text: event for event in run if isinstance(event.body, totem.Log)}
    found = [text for text, event in lines.items() if functions_of(event)]
    assert len(found) / len(lines) > 0.85
    formed = next(event for text, event in lines.items() if text.startswith("A new membership"))
    assert functions_of(formed)[0].name == "enter_operational"


def test_the_state_table_names_the_handler_that_ran(run):
    lives = Lifelines()
    lives.sync(run)
    checked = 0
    for event in run:
        if isinstance(event.body, ev.TimerExpired) and event.body.timer == "token loss":
            cell = handler_of(event, run, lives).cell
            later = [other for other in run[event.id :] if other.node == event.node]
            entered = next(other.body for other in later if isinstance(other.body, totem.StateEntered))
            assert f"({entered.reason})" in cell.text
            checked += 1
    assert checked


def test_every_handler_of_the_table_can_be_shown_and_has_a_name():
    for row in TABLE.values():
        for cell in row.values():
            if cell.handler is not None:
                assert function_of(cell.handler).counterpart.startswith("totemsrp.c: "), cell


@pytest.mark.parametrize("width", [40, 78, 118])
def test_the_page_shows_the_lit_lines_at_every_event(width):
    story = domino()
    session = Playable(story.timeline)
    panel = CodePanel()
    for position in range(0, len(story.timeline), 5):
        session.cursor.move_to(position)
        lines = panel.draw(Moment(session, session.cursor.view.time_ns), width, 12).lines
        assert all(sum(len(text) for text, _ in line) <= width for line in lines)
        if functions_of(session.cursor.event):
            assert any(ON_CURSOR in role for line in lines for _, role in line)
