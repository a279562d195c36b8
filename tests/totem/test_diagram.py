"""The picture of the states is the table, drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from totemviz.totem.diagram import svg, transitions
from totemviz.totem.states import State
from totemviz.totem.table import TABLE, Input

PICTURE = Path(__file__).parents[2] / "assets" / "states.svg"


def test_published_picture_is_the_present_one() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(), "run: python -m totemviz.totem.diagram > assets/states.svg"


def test_every_input_has_a_cell_in_every_state() -> None:
    assert set(TABLE) == set(Input)
    assert all(set(row) == set(State) for row in TABLE.values())


def test_cells_that_name_a_state_lead_there() -> None:
    """The words of a cell and its arrows must not drift apart."""
    for kind, row in TABLE.items():
        for state, cell in row.items():
            named = {target for target in State if target.value in cell.text}
            assert named == set(cell.to), f"{kind} in {state}: says {cell.text!r}, leads to {cell.to}"


def test_the_way_to_a_new_ring() -> None:
    arrows = set(transitions())
    circle = [State.OPERATIONAL, State.GATHER, State.COMMIT, State.RECOVERY, State.OPERATIONAL]
    assert all(pair in arrows for pair in pairwise(circle))
    assert (State.COMMIT, State.OPERATIONAL) not in arrows
