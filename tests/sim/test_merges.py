"""Divergence and merge: who leads, what is sent, whose tree is everybody's in the end (sheet §5.6, §7).

The transcripts of these runs are golden (``test_golden``); here stands what they must end with.
"""

from __future__ import annotations

import pytest

from tests.sim.runs import run_file
from totemviz.sim.world import World
from totemviz.totem.effects import Log

REFUSED, FORCED, FIVE = "split-refused", "split-forced", "split-five"


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {name: run_file(name) for name in (REFUSED, FORCED, FIVE)}


def lines(world: World, node: int, start: str) -> list[str]:
    """What dcdb of a node logged last that begins so."""
    bodies = [event.body for event in world.timeline if event.node == node and isinstance(event.body, Log)]
    return [body.text for body in bodies if body.subsystem == "dcdb" and body.text.startswith(start)]


@pytest.mark.parametrize(
    ("name", "leader", "synced", "updates"),
    [
        (REFUSED, "1/1002", "1/1002, 2/2002", {1: 2, 3: 2}),  # the root and the one file
        (FORCED, "3/3002", "3/3002", {3: 3, 1: 3, 2: 3}),  # root, the forced file, and storage.cfg as it was before
        (FIVE, "2/2002", "2/2002, 5/5002", {2: 4, 1: 4, 3: 4, 4: 4}),
    ],
)
def test_who_leads_and_what_is_sent(worlds, name, leader, synced, updates):
    world = worlds[name]
    for node in world.hosts:
        assert lines(world, node, "leader is ")[-1] == f"leader is {leader}"
        assert lines(world, node, "synced members: ")[-1] == f"synced members: {synced}"
        if node == int(leader[0]):
            assert lines(world, node, "sent all ")[-1] == f"sent all ({updates[node]}) updates"
        elif node in updates:
            text = f"update complete - trying to commit (got {updates[node]} inode updates)"
            assert lines(world, node, "update complete")[-1] == text


@pytest.mark.parametrize("name", [REFUSED, FORCED, FIVE])
def test_all_trees_are_one(worlds, name):
    assert len({host.pmxcfs.memdb.index() for host in worlds[name].hosts.values()}) == 1


def test_what_the_minority_may_not_write_is_lost_for_nobody(worlds):
    assert worlds[REFUSED].hosts[3].pmxcfs.read("storage.cfg") == b"majority\n"


def test_what_the_majority_wrote_is_lost_if_the_minority_was_forced_and_wrote_more(worlds):
    """A merge is no merge of files: the higher version wins as a whole."""
    pmxcfs = worlds[FORCED].hosts[1].pmxcfs
    assert pmxcfs.read("datacenter.cfg") == b"minority 3\n"
    assert pmxcfs.read("storage.cfg").startswith(b"dir: local"), "the majority's write, answered with success, is gone"


def test_numbers_of_nodes_do_not_count(worlds):
    pmxcfs = worlds[FIVE].hosts[1].pmxcfs
    assert [name for name in pmxcfs.names("priv") if name != "lock"] == [f"from-the-minority-{n}" for n in (1, 2, 3)]
