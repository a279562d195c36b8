"""Pictures of the cockpit at the three sizes, in the dark theme; ``test_looks`` compares the other looks with them.

After ``--snapshot-update``, look at them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.conftest import cockpit_on
from tests.tui.synthetic import Playable
from tests.tui.test_parts import divided, lossy, several_writes
from totemviz.sim.interventions import Pause, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, Duration
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
@pytest.mark.parametrize("story", [divided, lossy, several_writes], ids=lambda story: story.__name__)
def test_links_and_writes(snap_compare, story, size):
    told = story()
    session = Playable(told.timeline)
    session.cursor.move_to(len(told.timeline) - 1)
    assert snap_compare(cockpit_on(session), terminal_size=size)


@each_size
def test_pages(all_accepted, open_at, size):
    wide = size == SIZES[-1]
    steps = {page: keys for page, keys in PAGES.items() if not (wide and page in IN_SIGHT_WHEN_WIDE)}
    assert all_accepted(open_at("gather"), steps, size) == []


@each_size
def test_dialogs(all_accepted, open_at, size):
    assert all_accepted(open_at("flying"), DIALOGS, size) == []


@pytest.fixture(scope="module")
def two_branches():
    """A run in which C's pmxcfs stands still while a file is written, and the same run without the pause."""
    scenario = Scenario(title="one write", seed=7, host_model=HostModel.MEASURED)
    session = Simulation(scenario, cluster_conf(scenario, "pictures", Path()))
    session.warm_up()
    before = session.cursor.position
    session.intervene(Write(node=1))
    session.advance(20 * MS)
    session.cursor.move_to(before)
    session.intervene(Pause(node=3, process="pmxcfs", duration=Duration(10 * SECOND)))
    session.intervene(Write(node=1))
    session.advance(400 * MS)
    return session


@each_size
def test_files_and_branches(all_accepted, two_branches, monkeypatch, size):
    monkeypatch.setattr(branching, "share_string", lambda kept: "totemviz:a-string-as-an-example")
    assert all_accepted(cockpit_on(two_branches), SIMULATED, size) == []
