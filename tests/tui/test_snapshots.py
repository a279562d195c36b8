"""Pictures of the cockpit at the three sizes. After ``--snapshot-update``, look at them."""

from __future__ import annotations

import pytest

SIZES = [(80, 24), (120, 40), (200, 60)]
STATES = {
    "token held": ("held", ()),
    "multicast": ("multicast", ()),
    "token in flight, one step": ("multicast", ("right", "full_stop")),
    "disk blocks the token": ("late", ()),
    "gather": ("gather", ()),
    "ring of two": ("end", ()),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
def test_main_states(snap_compare, open_at, state, size):
    mark, keys = STATES[state]
    assert snap_compare(open_at(mark), press=keys, terminal_size=size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_recording(snap_compare, open_at, size):
    assert snap_compare(open_at(40, "recording"), terminal_size=size)


@pytest.mark.parametrize(
    "keys",
    [("x",), ("w",), ("question_mark",), ("3",), ("4",), ("5",), ("t",), ("x", "s"), ("x", "d"), ("2",)],
    ids="-".join,
)
def test_dialogs_and_pages_at_80_columns(snap_compare, open_at, keys):
    assert snap_compare(open_at("late"), press=keys, terminal_size=(80, 24))


def test_monochrome(snap_compare, open_at, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(open_at("late"), terminal_size=(120, 40))


@pytest.mark.parametrize("page", ["1", "3", "4", "5", "8"])
def test_pages_at_120_columns(snap_compare, open_at, page):
    assert snap_compare(open_at("gather"), press=("n", page), terminal_size=(120, 40))


def test_the_story_zoom(snap_compare, open_at):
    assert snap_compare(open_at("end"), press=("1", "o"), terminal_size=(120, 40))


def test_light(snap_compare, open_at):
    assert snap_compare(open_at("gather"), press=("t",), terminal_size=(120, 40))


def test_monochrome_at_80_columns(snap_compare, open_at, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(open_at("gather"), terminal_size=(80, 24))
