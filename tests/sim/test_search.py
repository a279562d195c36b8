"""Whatever happens to a cluster, the invariants of the ring hold."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, find, given, settings

from tests.sim.search import PROFILE, report, scenarios, trouble
from totemviz.corosync.quirks import Quirks
from totemviz.sim.scenario import Scenario, cluster_conf, dump_scenario, load_scenario, parse_scenario
from totemviz.trace.checks import unexpected

FOUND = Path(__file__).parent / "found"
DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
CORRECTED = Quirks(
    token_copy_frees_messages=False,
    recovery_counters_survive=False,
    barrier_abort_keeps_joinlists=False,
    join_list_outlives_leave=False,
)


@PROFILE
@given(scenarios())
def test_faithful_ring_breaks_no_invariant_but_the_known_ones(scenario: Scenario) -> None:
    violations = unexpected(trouble(scenario))
    assert not violations, report(scenario, violations)


@PROFILE
@given(scenarios(quirks=CORRECTED))
def test_corrected_ring_breaks_none(scenario: Scenario) -> None:
    violations = trouble(scenario)
    assert not violations, report(scenario, violations)


@pytest.mark.parametrize(
    ("number", "limit"), [(18, 300), pytest.param(29, 3000, marks=[pytest.mark.skipif(not DEEP, reason="deep search")])]
)
def test_the_search_finds_the_known_failures_by_itself(number: int, limit: int) -> None:
    def broken(scenario: Scenario) -> bool:
        return any(violation.invariant == number for violation in trouble(scenario))

    only_finding = settings(
        PROFILE, max_examples=limit, derandomize=True, database=None, phases=(Phase.generate,), print_blob=False
    )
    scenario = find(scenarios(nodes=(3, 5)), broken, settings=only_finding)
    text = report(scenario, [violation for violation in trouble(scenario) if violation.invariant == number])
    again = parse_scenario(text, "case.toml")
    assert broken(again), "what is printed can be run"
    corrected = msgspec.structs.replace(again, quirks=CORRECTED)
    assert not trouble(corrected)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.toml")), ids=lambda path: path.stem)
def test_what_was_found_and_corrected_stays_so(path: Path) -> None:
    scenario, _ = load_scenario(path)
    assert unexpected(trouble(scenario)) == []


@PROFILE
@given(scenarios())
def test_every_case_can_be_written_to_a_file_and_read_back(scenario: Scenario) -> None:
    again = parse_scenario(dump_scenario(scenario), "case.toml")
    assert again == scenario
    assert cluster_conf(again, "case.toml", Path()).totem.quirks == scenario.quirks
