"""Every deliberate fault in the ring room is noticed, by a checker or by what a story expects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.totem.mutants import MUTANTS, Mutant, applied
from tests.totem.stories import STORIES, trouble


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_true_ring_tells_the_story_well(story: Callable[[], None]) -> None:
    story()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_fault_is_noticed(mutant: Mutant) -> None:
    with applied(mutant):
        assert trouble(), f"nobody notices that {mutant.name}"


def test_a_fault_is_taken_back() -> None:
    before = MUTANTS[0].function.__code__
    with applied(MUTANTS[0]):
        assert MUTANTS[0].function.__code__ is not before
    assert MUTANTS[0].function.__code__ is before
