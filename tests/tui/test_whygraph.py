"""The graph of causes: time flows down, every effect has an arrow from its cause, and nothing is left out."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import domino
from tests.tui.test_parts import moment_at
from tests.tui.test_travel import press, warm
from totemviz.sim.interventions import Cut, DiskFault, Heal, Write
from totemviz.sim.scenario import HaSpec, Scenario
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.trace.causes import Causes
from totemviz.trace.conditions import compile_condition
from totemviz.trace.events import kind_of
from totemviz.trace.sentences import sentence
from totemviz.trace.why import last_of_kind, story
from totemviz.tui import pictures
from totemviz.tui.moment import Moment
from totemviz.tui.paint import line_width
from totemviz.tui.why import WhyPanel
from totemviz.tui.whygraph import besides, draw_graph

S = 1_000_000_000
WIDE = 130


@pytest.fixture(scope="module")
def merged():
    """A was cut off and came back: its ring id has a chain with a cause beside it."""
    session = warm().session
    session.intervene(Cut(nodes=(1,)))
    session.advance(10 * S)
    session.intervene(Heal())
    session.advance(10 * S)
    return session


def fenced() -> Simulation:
    """C's disk hangs, its watchdog is not fed any more, and the node is reset while the ring is healthy."""
    scenario = Scenario(
        title="a disk that hangs, and the watchdog of C",
        seed=7,
        host_model=HostModel.MEASURED,
        ha=HaSpec(nodes=(1, 2, 3), boot=Duration(0)),
    )
    session = pictures.started(scenario)
    session.intervene(Write(node=1, path="files-{n}", content="memory: 2048\n", count=280, every=Duration(50 * MS)))
    session.advance(2 * SECOND)
    session.intervene(DiskFault(node=3, fault="stuck"))
    session.run_until(compile_condition("node_fenced", ()), 120 * SECOND)
    return session


def graph_of(session, kind):
    event_id = last_of_kind(session.timeline, kind)
    session.cursor.move_to(event_id)
    causes = Causes(session.timeline)
    tale = story(causes, event_id)
    drawing = draw_graph(tale, causes, session.cursor.view, "words", WIDE)
    return tale, causes, drawing, ["".join(text for text, _ in line) for line in drawing.lines]


@pytest.mark.parametrize("kind", ["membership_installed", "quorum_changed", "dfsm_mode_changed"])
def test_every_event_has_its_row_in_order_and_an_arrow_from_its_cause(merged, kind):
    tale, causes, drawing, rows = graph_of(merged, kind)
    place = {hit.value: hit.y for hit in drawing.hits}
    aside = {event.id for link in tale.links for event in besides(link, tale, causes)}
    assert set(place) == {link.event.id for link in tale.links} | aside
    assert sorted(place) == sorted(place, key=place.__getitem__)
    assert place[tale.last.id] == len(rows) - 1
    lanes = {letter: rows[0].index(f" {letter} ") + 1 for letter in "ABC" if f" {letter} " in rows[0]}
    letters = {0: "all", 1: "A", 2: "B", 3: "C"}
    lanes["all"] = rows[0].find("all")
    for cause, effect in zip(tale.links, tale.links[1:], strict=False):
        x, end = (lanes[letters[link.event.node]] for link in (cause, effect))
        start, y = place[cause.event.id], place[effect.event.id]
        assert all(rows[row][x] in "│⋮┆▸◂─└┘" or row in place.values() for row in range(start + 1, y))
        if x != end:
            assert rows[y][x] in "└┘"
            assert rows[y][end - 1 if end > x else end + 1] in "▸◂"
    folded = sum(link.folded > 0 for link in tale.links)
    assert len(rows) == 1 + len(place) + folded
    assert sum("ordinary step" in row for row in rows) == folded
    assert all(any(sentence(link.event, merged.cursor.view)[:20] in row for row in rows) for link in tale.links)


def test_a_cause_beside_the_main_line_hangs_on_it(merged):
    tale, causes, drawing, rows = graph_of(merged, "membership_installed")
    (event,) = [event for link in tale.links for event in besides(link, tale, causes)]
    assert kind_of(event.body) == "datagram_received"
    row = next(hit.y for hit in drawing.hits if hit.value == event.id)
    assert "also " in rows[row]
    assert "only since then can it hear the other ring: " in rows[row + 1]


def test_the_first_cause_and_the_whole_time_are_told():
    session = fenced()
    _, _, _, rows = graph_of(session, "node_fenced")
    assert "words" in rows[0]
    assert "▲" in rows[1]
    assert "hang the disk of C" in rows[1]
    assert any("+10.0 s" in row for row in rows)


def test_without_room_a_list_tells_the_same():
    session = pictures.partition()
    session.cursor.move_to(last_of_kind(session.timeline, "quorum_changed"))
    moment = Moment(session, session.cursor_time_ns)
    panel = WhyPanel()
    wide = panel.draw(moment, 120, 30)
    assert panel.pinned == 1
    narrow = panel.draw(moment, 78, 30)
    assert panel.pinned == 0
    assert narrow.lines != wide.lines
    assert {hit.value for hit in narrow.hits} == {hit.value for hit in wide.hits}
    assert "↑ because" in "".join(text for line in narrow.lines for text, _ in line)


@pytest.mark.parametrize(("width", "height"), [(40, 4), (78, 8), (118, 10), (134, 30)])
def test_it_stays_inside_its_size_at_every_event(width, height):
    told = domino()
    for position in range(0, len(told.timeline), 3):
        drawing = WhyPanel().draw(moment_at(told, position), width, height)
        assert len(drawing.lines) <= height
        assert all(line_width(line) <= width for line in drawing.lines)
        assert all(0 <= hit.y < height for hit in drawing.hits)


async def test_it_begins_at_its_end_and_scrolls_to_the_first_cause(merged):
    app = pictures.Cockpit(merged)
    merged.cursor.move_to(last_of_kind(merged.timeline, "dfsm_mode_changed"))
    async with app.run_test(size=(120, 34)) as pilot:
        await press(pilot, "y")

        def lines():
            panel = app.base.query_one("#page-why")
            return ["".join(text for text, _ in line) for line in panel.drawing.lines]

        assert "more lines above" in lines()[1]
        assert lines()[-1].startswith("▸")
        await press(pilot, *["up"] * 30)
        assert "▲" in "".join(lines())
        assert "more lines above" not in lines()[1]
