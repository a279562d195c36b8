"""The space-time diagram says what the timeline says: who sent what to whom, when, and what state everybody was in."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import A, B, C, Playable, Story, domino
from totemviz.totem.config import MS
from totemviz.trace import events as ev
from totemviz.trace.cursor import Cursor
from totemviz.trace.timeline import Timeline
from totemviz.tui.eventlist import matcher
from totemviz.tui.lifelines import Lifelines
from totemviz.tui.moment import Moment
from totemviz.tui.spacetime import SpaceTime
from totemviz.tui.stretch import Zoom, cut

WIDTH = 100


def panel_at(story: Story, position: int, zoom: Zoom, height: int = 30) -> tuple[SpaceTime, list[str]]:
    session = Playable(story.timeline)
    session.cursor.move_to(position)
    panel = SpaceTime()
    panel.zoom = zoom
    drawing = panel.draw(Moment(session, session.cursor.view.time_ns), WIDTH, height)
    return panel, ["".join(text for text, _ in line) for line in drawing.lines]


def test_lifelines_agree_with_the_fold_at_every_event():
    story = domino()
    lives = Lifelines()
    assert lives.sync(story.timeline)
    cursor = Cursor(story.timeline)
    for position in range(len(story.timeline)):
        cursor.move_to(position)
        for nodeid, node in cursor.view.nodes.items():
            life = lives.at(nodeid, position)
            assert life.state == node.state
            assert life.blocked == (node.blocked_since_ns >= 0)


def test_lifelines_start_over_when_the_past_changes():
    lives = Lifelines()
    lives.sync(domino().timeline)
    lives.sync(Timeline())
    assert lives.at(A, 10**6).state == ""


@pytest.mark.parametrize("zoom", list(Zoom))
@pytest.mark.parametrize("height", [3, 8, 30])
def test_the_cursor_is_in_sight_at_every_event(zoom, height):
    story = domino()
    for position in range(0, len(story.timeline), 9):
        _, lines = panel_at(story, position, zoom, height)
        assert len(lines) <= height
        assert all(len(line) <= WIDTH for line in lines)
        if any(char == "│" for char in "".join(lines)):
            assert sum(line.startswith("▸") for line in lines) == 1 or position < 12


def test_events_that_are_shown_are_in_order_and_none_is_lost():
    story = domino()
    events = list(story.timeline)
    instants = cut(events, Zoom.EVERYTHING, len(events) - 1, 3, None)
    ids = [event.id for instant in instants for event in instant.events]
    assert ids == sorted(ids)
    sent = {event.id for event in events if isinstance(event.body, ev.DatagramSent)}
    assert sent <= set(ids)


def test_idle_rotations_are_folded_but_not_at_the_cursor():
    story = Story()
    story.boot()
    story.rotate(20)
    story.wait(300 * MS)
    last = len(story.timeline) - 1
    instants = cut(list(story.timeline), Zoom.FOLDED, last, 3, None)
    folded = sum(instant.folded for instant in instants)
    assert folded >= 3 * 15
    middle = last - 200
    around = cut(list(story.timeline), Zoom.FOLDED, middle, 3, None)
    shown = [event.id for instant in around for event in instant.events]
    assert any(abs(event_id - middle) <= 8 for event_id in shown)
    assert sum(instant.folded for instant in around) < folded
    assert not any(instant.folded for instant in cut(list(story.timeline), Zoom.EVERYTHING, last, 3, None))


def test_a_silence_is_a_row_that_says_how_long():
    story = domino()
    _, lines = panel_at(story, story.marks["queued"], Zoom.FOLDED)
    assert any("⋯ 300 ms" in line for line in lines)


def test_who_has_the_token_and_who_is_blocked():
    story = domino()
    _, lines = panel_at(story, story.marks["late"], Zoom.FOLDED)
    column = lines[0].index("C")
    assert lines[-2][column] == "▒"
    _, lines = panel_at(story, story.marks["held"], Zoom.FOLDED)
    row = next(line for line in lines if line.startswith("▸"))
    assert row[lines[0].index("A")] in "┃◆"


def test_a_click_leads_to_the_event():
    story = domino()
    session = Playable(story.timeline)
    session.cursor.move_to(story.marks["applied"])
    panel = SpaceTime()
    panel.zoom = Zoom.FOLDED
    drawing = panel.draw(Moment(session, session.cursor.view.time_ns), WIDTH, 20)
    column = "".join(text for text, _ in drawing.lines[0]).index("B")
    row = next(y for y, line in enumerate(drawing.lines) if "".join(text for text, _ in line).startswith("▸"))
    hit = next(hit for hit in drawing.hits if hit.y == row and hit.x <= column < hit.x + hit.width)
    assert story.timeline[hit.value].node == B


def test_a_filter_leaves_only_what_it_names():
    story = domino()
    session = Playable(story.timeline)
    session.cursor.move_to(len(story.timeline) - 1)
    keep = matcher("C", session.cursor.view)
    instants = cut(list(story.timeline), Zoom.EVERYTHING, session.cursor.position, 3, keep)
    assert {event.node for instant in instants for event in instant.events} == {C}


@pytest.mark.parametrize("nodes", [1, 2, 5, 16])
@pytest.mark.parametrize("width", [40, 76, 118])
def test_it_stays_inside_its_size(nodes, width):
    story = Story(nodes)
    story.boot()
    story.rotate(2)
    session = Playable(story.timeline)
    for position in (0, 3, len(story.timeline) - 1):
        session.cursor.move_to(position)
        panel = SpaceTime()
        panel.zoom = Zoom.WIDE
        lines = panel.draw(Moment(session, session.cursor.view.time_ns), width, 12).lines
        assert all(sum(len(text) for text, _ in line) <= width for line in lines)
