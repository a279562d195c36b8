"""How fast a cluster runs: token hops per wall second, in a ring that never rests.

``pytest tests/bench --benchmark-only`` measures; in ordinary runs each is only executed once. Compare the rows with
each other (timeline against none, many nodes against few), not with another machine's.
"""

from __future__ import annotations

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
    start = StartSpec(stagger=Duration(0))
    scenario = Scenario(host_model=HostModel.MEASURED, cluster=cluster, start=start)
    world = World(scenario, cluster_conf(scenario, "benchmark", Path()), timeline)
    world.run_until(BOOT_NS)
    return world


@pytest.mark.parametrize("kind", [Timeline, NoTimeline])
@pytest.mark.parametrize("nodes", [3, 8, 16, 32])
def test_token_hops(benchmark: Any, nodes: int, kind: type[Timeline]) -> None:
    world = spinning(nodes, kind())

    def hops() -> int:
        before = world.token_hops
        world.run_until(world.now_ns + HOPS * HOP_NS)
        return world.token_hops - before

    done = benchmark.pedantic(hops, rounds=5, iterations=1, warmup_rounds=1)
    assert done == pytest.approx(HOPS, rel=0.05)
    if benchmark.stats is not None:
        benchmark.extra_info["hops_per_second"] = round(HOPS / benchmark.stats.stats.median)
