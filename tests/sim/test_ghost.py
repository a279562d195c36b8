"""The ghost member (corosync pull request 828): a node joins and dies inside one sync round, and /etc/pve freezes.

Its list of CPG members has reached the others, the end of the round never comes, and the next round takes the old list
for one of its own. So a process of a dead node is in the group of every survivor, pmxcfs waits for its state, and no
event will ever end that.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.corosync.effects import CpgConfchg
from totemviz.corosync.quirks import Quirks
from totemviz.sim.interventions import Cut, DropToken, Heal, Kill, Write
from totemviz.sim.scenario import ClusterSpec
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.trace.checks import check, unexpected
from totemviz.trace.events import WriteFinished

GHOST = 4
FOUR_NODES = {"cluster": ClusterSpec(nodes=4), "host_model": HostModel.MEASURED}
MERGE = (Cut(at=seconds(6), nodes=(GHOST,)), Heal(at=seconds(18)))
MICROSECOND = 1e-6


@cache
def merged_s() -> float:
    """When node 1 hears of node 4's return, if nothing goes wrong."""
    events = found(run(19, *MERGE, **FOUR_NODES).timeline, CpgConfchg, 1, 18)
    return events[0][0].time_ns / 1e9


def dies_after_its_list(moment_s: float, until_s: float = 32, **more: object) -> World:
    """Node 4 dies at this moment, and takes the token that it is passing on with it."""
    return run(
        until_s,
        *MERGE,
        DropToken(at=seconds(moment_s)),
        Kill(at=seconds(moment_s + 40 * MICROSECOND), node=GHOST),
        Write(at=seconds(30), node=1),
        **FOUR_NODES,
        **more,
    )


@cache
def moment_s() -> float:
    """In the round trip before that moment its list is out and the others' are not all there: one of these does it."""
    for earlier_us in range(100, 240, 20):
        at_s = merged_s() - earlier_us * MICROSECOND
        if any("4/" in str(member) for member in dies_after_its_list(at_s).hosts[1].pmxcfs.dcdb.members):
            return at_s
    raise AssertionError("no moment makes a ghost")


@pytest.mark.parametrize("faithful", [True, False])
def test_the_survivors_wait_for_a_ghost(faithful: bool) -> None:
    world = dies_after_its_list(moment_s(), quirks=Quirks(barrier_abort_keeps_joinlists=faithful))
    survivors = {node: host.pmxcfs for node, host in world.hosts.items() if node != GHOST}
    assert all(host.daemon.ring.members == (1, 2, 3) for node, host in world.hosts.items() if node != GHOST)
    for pmxcfs in survivors.values():
        assert pmxcfs.quorate
        assert (GHOST in [member.nodeid for member in pmxcfs.dcdb.members]) is faithful
        assert pmxcfs.dcdb.mode.name == ("START_SYNC" if faithful else "SYNCED")
    assert len(found(world.timeline, WriteFinished)) == (0 if faithful else 1), "the writer waits for ever"
    assert unexpected(check(world.timeline, numbers=[103, 113, 114, 118, 119, 123, 126])) == []
