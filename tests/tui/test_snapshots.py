"""Pictures of the cockpit at the three sizes, in the dark theme; ``test_looks`` compares the other looks with them.

After ``--snapshot-update``, look at them.
"""

from __future__ import annotations

import pytest

from tests.tui.conftest import cockpit_after, cockpit_on
from tests.tui.test_parts import divided, lossy, several_writes
from totemviz.tui import branching

SIZES = [(80, 24), (120, 40), (200, 60)]
each_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")

STATES = {
    "token held": ("held", ()),
    "multicast": ("multicast", ()),
    "token in flight, one step": ("multicast", ("right", "full_stop")),
    "disk blocks the token": ("late", ()),
    "gather": ("gather", ()),
    "ring of two": ("end", ()),
    "two nodes marked": ("held", ("n", "e", "n", "e")),
}
PAGES = {
    "space-time": ("1",),
    "space-time, the story": ("1", "o"),
    "events": ("2",),
    "log": ("3",),
    "bytes": ("4",),
    "code": ("5",),
    "why": ("6",),
    "node": ("n", "8"),
    "one panel alone": ("1", "f"),
}
IN_SIGHT_WHEN_WIDE = ("space-time", "code")
DIALOGS = {
    "fault": ("x",),
    "stall a disk": ("x", "s"),
    "drop": ("x", "d"),
    "write": ("w",),
    "in flight": ("X",),
    "links": ("K", "right", "right", "down", "right"),
    "go to": ("g",),
    "stops": ("b",),
    "find": ("slash",),
    "everything": ("ctrl+p",),
    "help": ("question_mark",),
    "tour": ("T",),
}
STORIES = (divided, lossy, several_writes)
STRING = "totemviz:a-string-as-an-example"
SIMULATED = {
    "files": ("n", "n", "n", "7"),
    "branches": ("B",),
    "name of a branch": ("B", "r"),
    "compare": ("v",),
    "two branches": ("v", "enter"),
    "share": ("s",),
}


@each_size
@pytest.mark.parametrize("state", STATES)
def test_main_states(snap_compare, open_at, state, size):
    mark, keys = STATES[state]
    assert snap_compare(open_at(mark), press=keys, terminal_size=size)


@each_size
def test_recording(snap_compare, open_at, size):
    assert snap_compare(open_at(40, "recording"), terminal_size=size)


@each_size
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_links_and_writes(snap_compare, story, size):
    assert snap_compare(cockpit_after(story()), terminal_size=size)


@each_size
def test_pages(all_accepted, open_at, size):
    wide = size == SIZES[-1]
    steps = {page: keys for page, keys in PAGES.items() if not (wide and page in IN_SIGHT_WHEN_WIDE)}
    assert all_accepted(open_at("gather"), steps, size) == []


@each_size
def test_dialogs(all_accepted, open_at, size):
    assert all_accepted(open_at("flying"), DIALOGS, size) == []


@each_size
def test_files_and_branches(all_accepted, two_branches, monkeypatch, size):
    monkeypatch.setattr(branching, "share_string", lambda kept: STRING)
    assert all_accepted(cockpit_on(two_branches), SIMULATED, size) == []
