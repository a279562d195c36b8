"""The simulated cluster must stay as close to the real one as assets/fidelity.md says."""

from __future__ import annotations

import pytest

from tests.sim.fidelity import FIGURES, TABLE, Figure, agrees, table


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.scenario}: {figure.what}")
def test_figure(figure: Figure) -> None:
    ours = figure.measure()
    assert agrees(figure, ours), f"real {figure.real:g} {figure.unit}, simulated {ours:g}"


def test_published_table_is_the_present_one() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run: python -m tests.sim.fidelity"
