"""Whatever happens to a cluster, the invariants of the ring hold."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.sim.search import CORRECTED, GENERATE, PROFILE, Trouble, report, trouble
from totemviz.sim.scenario import Scenario, cluster_conf, dump_scenario, load_scenario, parse_scenario
from totemviz.trace.checks import unexpected

FOUND = Path(__file__).parent / "found"
DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"


class Corrected(Trouble):
    """The same cluster without its known faults: nothing is excused."""

    quirks = CORRECTED

    def judge(self, scenario: Scenario) -> None:
        violations = trouble(scenario)
        assert not violations, report(scenario, violations)


def test_faithful_ring_breaks_no_invariant_but_the_known_ones() -> None:
    run_state_machine_as_test(Trouble, settings=PROFILE)


def test_corrected_ring_breaks_none() -> None:
    run_state_machine_as_test(Corrected, settings=PROFILE)


@pytest.mark.parametrize(
    ("number", "limit"), [(18, 60), pytest.param(29, 3000, marks=[pytest.mark.skipif(not DEEP, reason="deep search")])]
)
def test_the_search_finds_the_known_failures_by_itself(number: int, limit: int) -> None:
    class FoundError(Exception):
        """A case that breaks the invariant."""

    class Search(Trouble):
        sizes = (3, 4, 5)

        def judge(self, scenario: Scenario) -> None:
            violations = [violation for violation in trouble(scenario) if violation.invariant == number]
            if violations:
                raise FoundError(report(scenario, violations))

    with pytest.raises(FoundError) as caught:
        run_state_machine_as_test(seed(2)(Search), settings=settings(GENERATE, max_examples=limit))
    again = parse_scenario(str(caught.value), "case.toml")
    assert any(violation.invariant == number for violation in trouble(again)), "what is printed can be run"
    corrected = msgspec.structs.replace(again, quirks=CORRECTED)
    assert not trouble(corrected)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.toml")), ids=lambda path: path.stem)
def test_what_was_found_and_corrected_stays_so(path: Path) -> None:
    scenario, _ = load_scenario(path)
    assert unexpected(trouble(scenario)) == []


def test_every_case_can_be_written_to_a_file_and_read_back() -> None:
    class Written(Trouble):
        def judge(self, scenario: Scenario) -> None:
            again = parse_scenario(dump_scenario(scenario), "case.toml")
            assert again == scenario
            assert cluster_conf(again, "case.toml", Path()).totem.quirks == scenario.quirks

    run_state_machine_as_test(Written, settings=PROFILE)
