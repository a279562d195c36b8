"""Two runs or two nodes side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from totemviz.sim.interventions import Kill, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.units import SECOND
from totemviz.trace import events as ev
from totemviz.trace.compare import compare_nodes, compare_runs, first_difference


@pytest.fixture(scope="module")
def session() -> Simulation:
    scenario = Scenario()
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.advance(3 * SECOND)
    session.intervene(Write(node=1))
    session.advance(12 * SECOND)
    session.retreat(11 * SECOND)
    session.intervene(Kill(node=3))
    session.advance(11 * SECOND)
    return session


def test_two_runs(session: Simulation) -> None:
    main, branch = session.family
    at = first_difference(main.timeline, branch.timeline)
    assert at == branch.forked_at + 1
    places = (main.cursor.position, branch.cursor.position)
    found = compare_runs(main.cursor, branch.cursor, 15 * SECOND)
    assert (main.cursor.position, branch.cursor.position) == places
    assert found.first_difference is not None
    assert isinstance(found.first_difference[1].body, ev.Intervened)  # type: ignore[union-attr]
    rows = {row.what: row for row in found.rows}
    assert rows["writes"].first == rows["writes"].second == "1 of 1 done"
    assert not rows["writes"].differs
    assert rows["C"].differs and rows["C"].second == "down"
    assert rows["A"].first.endswith("of A, B and C, quorum")
    assert rows["A"].second.endswith("of A and B, quorum")
    assert rows["longest time without a token"].differs


def test_before_they_part_they_are_the_same(session: Simulation) -> None:
    main, branch = session.family
    found = compare_runs(main.cursor, branch.cursor, 3 * SECOND)
    assert not any(row.differs for row in found.rows)
    assert first_difference(main.timeline, main.timeline) is None


def test_two_nodes(session: Simulation) -> None:
    rows = {row.what: row for row in compare_nodes(session.cursor.view, 1, 3)}
    assert (rows["state"].first, rows["state"].second) == ("operational", "down")
    assert rows["members"].first == "A and B"
    assert rows["disk"].first == rows["disk"].second
