"""Whatever happens to a cluster, the invariants of the ring hold."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given

from tests.sim.search import PROFILE, report, scenarios, trouble
from totemviz.sim.scenario import Scenario, cluster_conf, dump_scenario, parse_scenario
from totemviz.totem.config import Quirks
from totemviz.trace.checks import unexpected

CORRECTED = Quirks(token_copy_frees_messages=False, recovery_counters_survive=False)


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


@PROFILE
@given(scenarios())
def test_every_case_can_be_written_to_a_file_and_read_back(scenario: Scenario) -> None:
    again = parse_scenario(dump_scenario(scenario), "case.toml")
    assert again == scenario
    assert cluster_conf(again, "case.toml", Path()).totem.quirks == scenario.quirks
