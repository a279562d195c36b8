"""How fast a cluster runs: token hops per CPU second, in a ring that never rests.

``pytest tests/bench --benchmark-only`` measures, 64 nodes too. Compare the rows with each other (timeline against none,
many nodes against few), not with another machine's. What a hop costs beyond the speed of the machine is the number of
function calls it takes; that is the same everywhere, so an ordinary test watches it.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from pathlib import Path
from typing import Any

import pytest

from totemviz.sim.scenario import ClusterSpec, Scenario, StartSpec, cluster_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.trace.timeline import NoTimeline, Timeline

HOPS = 3000
BOOT_NS = 500_000_000
HOP_NS = 50_000


def spinning(nodes: int, timeline: Timeline) -> World:
    """A cluster whose representative never holds the token, after its boot."""
    totem = {"seqno_unchanged_const": 1_000_000_000}
    cluster = ClusterSpec(nodes=nodes, totem=totem)
    start = StartSpec(stagger=Duration(0), pmxcfs_after=Duration(3600 * 10**9))  # no pmxcfs joins meanwhile
    scenario = Scenario(host_model=HostModel.MEASURED, cluster=cluster, start=start)
    world = World(scenario, cluster_conf(scenario, "benchmark", Path()), timeline)
    world.run_until(BOOT_NS)
    return world


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", [Timeline, NoTimeline])
@pytest.mark.parametrize("nodes", [3, 8, 16, 32, 64])
def test_token_hops(benchmark: Any, nodes: int, kind: type[Timeline], request: pytest.FixtureRequest) -> None:
    if nodes == 64 and not request.config.getoption("--benchmark-only"):
        pytest.skip("the boot alone takes seconds: --benchmark-only")
    world = spinning(nodes, kind())

    def hops() -> int:
        before = world.token_hops
        world.run_until(world.now_ns + HOPS * HOP_NS)
        return world.token_hops - before

    done = benchmark.pedantic(hops, rounds=5, iterations=1, warmup_rounds=1)
    assert done == pytest.approx(HOPS, rel=0.05)
    if benchmark.stats is not None:
        benchmark.extra_info["hops_per_second"] = round(HOPS / benchmark.stats.stats.median)


@pytest.mark.parametrize(("kind", "limit"), [(NoTimeline, 150), (Timeline, 165)])
def test_calls_per_hop_do_not_grow_with_the_number_of_nodes(kind: type[Timeline], limit: int) -> None:
    """136 and 148 calls when this was written, with three nodes and with 32."""
    calls = {}
    for nodes in (3, 32):
        world = spinning(nodes, kind())
        before = world.token_hops
        with cProfile.Profile() as profile:
            world.run_until(world.now_ns + 1000 * HOP_NS)
        calls[nodes] = pstats.Stats(profile).total_calls / (world.token_hops - before)
    assert calls[3] < limit
    assert calls[32] < 1.05 * calls[3]
