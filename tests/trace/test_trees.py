"""The trees told by the timeline are the trees that the pmxcfs processes had, at any time of a run."""

from __future__ import annotations

from pathlib import Path

from totemviz.sim import interventions as do
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.units import SECOND, Duration
from totemviz.sim.world import World
from totemviz.trace.timeline import Timeline
from totemviz.trace.trees import Trees

STRIDE_NS, UNTIL_NS = SECOND // 3, 24 * SECOND


def busy_world() -> World:
    """Files made, renamed and deleted, some while C is dead: it fetches them when it is back."""

    def at(second: float) -> Duration:
        return Duration(round(second * SECOND))

    scenario = Scenario(
        interventions=(
            do.Write(at=at(2), node=1),
            do.MakeDirectory(at=at(2.2), node=2, path="new"),
            do.Kill(at=at(3), node=3),
            do.Write(at=at(12), node=2, path="new/{n}", count=3),
            do.Delete(at=at(13), node=1, path="datacenter.cfg"),
            do.Rename(at=at(14), node=1, path="new/1", to="new/2"),
            do.Restart(at=at(15), node=3),
        )
    )
    return World(scenario, cluster_conf(scenario, "busy", Path()))


def test_every_tree_is_the_one_in_memory():
    world, trees = busy_world(), Trees()
    compared, trees_seen = 0, set()
    for now_ns in range(STRIDE_NS, UNTIL_NS, STRIDE_NS):
        world.run_until(now_ns)
        assert trees.sync(world.timeline)
        for nodeid, host in world.hosts.items():
            told = trees.at(nodeid, len(world.timeline) - 1)
            if host.pmxcfs is None:
                assert told is None
                continue
            real = dict(host.pmxcfs.memdb.walk())
            assert told == real
            assert list(told) == list(real)
            compared += 1
            trees_seen.add(tuple(real))
    assert compared > 100
    assert len(trees_seen) > 4
    assert trees.at(3, len(world.timeline) - 1) == trees.at(1, len(world.timeline) - 1)


def test_an_earlier_event_has_the_earlier_tree():
    world = busy_world()
    world.run_until(UNTIL_NS)
    trees = Trees()
    trees.sync(world.timeline)
    sizes = [len(trees.at(1, position) or ()) for position in range(0, len(world.timeline), 50)]
    assert sizes[0] == 0
    assert len(set(sizes)) > 2
    trees.sync(Timeline())
    assert trees.at(1, len(world.timeline)) is None
