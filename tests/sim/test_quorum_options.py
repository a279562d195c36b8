"""Options that let quorum fall, in whole clusters: their timers and messages on a real ring."""

from __future__ import annotations

from totemviz.corosync.conf import CorosyncConf, parse
from totemviz.corosync.effects import DaemonExited, QuorumChanged
from totemviz.sim.interventions import AnyIntervention, Kill, Leave
from totemviz.sim.scenario import Scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World

from tests.sim.runs import found, seconds  # isort: skip


def cluster(nodes: int, *options: str) -> CorosyncConf:
    listed = "".join(f"node {{\nnodeid: {n}\nname: n{n}\nring0_addr: 192.0.2.{n}\n}}\n" for n in range(1, nodes + 1))
    quorum = "\n".join(["provider: corosync_votequorum", *options])
    return parse(f"totem {{\nversion: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\n{quorum}\n}}\n", "cluster")


def run(conf: CorosyncConf, until_s: float, *interventions: AnyIntervention) -> World:
    world = World(Scenario(host_model=HostModel.MEASURED, interventions=interventions), conf)
    world.run_until(int(seconds(until_s)))
    return world


def test_five_nodes_shrink_to_two_if_there_is_time_between_the_losses() -> None:
    conf = cluster(5, "last_man_standing: 1", "wait_for_all: 1")
    kills = [Kill(at=seconds(5 + 40 * index), node=node) for index, node in enumerate((5, 4, 3))]
    world = run(conf, 125, *kills)
    last = [body for _, body in found(world.timeline, QuorumChanged, node=1)][-1]
    assert (last.members, last.quorate, last.expected_votes, last.quorum) == ((1, 2), True, 3, 2)
    votequorum = world.hosts[1].daemon.votequorum  # type: ignore[union-attr]
    assert (votequorum.quorum, votequorum.us.expected_votes) == (2, 2)


def test_the_same_losses_at_once_cost_quorum() -> None:
    kills = [Kill(at=seconds(5), node=node) for node in (5, 4, 3)]
    world = run(cluster(5, "last_man_standing: 1", "wait_for_all: 1"), 60, *kills)
    assert not world.hosts[1].daemon.votequorum.quorate  # type: ignore[union-attr]


def test_a_node_says_that_it_leaves_and_is_no_longer_expected() -> None:
    conf = cluster(4, "allow_downscale: 1", "expected_votes: 2")
    world = run(conf, 15, Leave(at=seconds(5), node=4))
    assert [event.node for event, _ in found(world.timeline, DaemonExited)] == [4]
    rows = [world.hosts[node].daemon.votequorum for node in (1, 2, 3)]  # type: ignore[union-attr]
    assert {(row.quorate, row.us.expected_votes, row.quorum) for row in rows} == {(True, 3, 2)}
