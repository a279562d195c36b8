"""Random programs that read, flood, stop and die, together with daemons that do the same; every invariant must hold.

Each case is one number. ``TOTEMVIZ_SEARCH=deep`` runs some hundreds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.sim.search import mended, report, run_case, unexpected
from totemviz.sim import interventions as do
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, Scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, US, Duration
from totemviz.trace.checks import check

CASES = range(300 if os.environ.get("TOTEMVIZ_SEARCH") == "deep" else 12)
UDPU = Path(__file__).parents[1] / "corosync" / "data" / "lab-3-nodes-udpu.conf"
ATOMIC = 1_047_552

Make = Callable[[Random, int], do.AnyIntervention]


def _flood(rng: Random, node: int) -> do.AnyIntervention:
    count, size = rng.choice((1, 50, 400)), rng.choice((0, 10, 1000, 20_000))
    return do.CpgFlood(node=node, group="g", count=count, size=size)


def _large(rng: Random, node: int) -> do.AnyIntervention:
    return do.CpgFlood(node=node, program="large", group="g", count=1, size=rng.choice((ATOMIC, ATOMIC + 1, 2_500_000)))


def _pause(rng: Random, node: int) -> do.AnyIntervention:
    process = rng.choice(("reader", "reader", "pmxcfs", "corosync", "host"))
    return do.Pause(node=node, process=process, duration=Duration(rng.randint(1, 1500) * MS))


def _kill(rng: Random, node: int) -> do.AnyIntervention:
    return do.Kill(node=node, process=rng.choice(("reader", "flood", "large", "pmxcfs", "corosync", "")))


def _write(rng: Random, node: int) -> do.AnyIntervention:
    path, content, count = f"f{rng.randint(1, 3)}", "z" * rng.choice((1, 5000)), rng.choice((1, 5))
    return do.Write(node=node, path=path, content=content, count=count, every=Duration(10 * MS))


ACTIONS: tuple[Make, ...] = (
    _flood,
    _flood,
    _large,
    _pause,
    _pause,
    _kill,
    _write,
    lambda _, node: do.CpgRead(node=node, group="g"),
    lambda _, node: do.Restart(node=node),
    lambda _, node: do.Leave(node=node),
)


def case(number: int) -> Scenario:
    """The scenario of that number."""
    rng = Random(number)
    udpu = rng.random() < 0.4
    size = 3 if udpu else rng.choice((2, 3, 4))
    now_ns = 2 * SECOND
    happening: list[do.AnyIntervention] = []
    makes: list[Make] = [lambda _, node: do.CpgRead(node=node, group="g")] * size
    makes += rng.choices(ACTIONS, k=rng.randint(5, 14))
    for index, make in enumerate(makes):
        node = index + 1 if index < size else rng.randint(1, size)
        now_ns += rng.choice((0, 100 * US, MS, 20 * MS, 100 * MS, 350 * MS))
        happening.append(msgspec.structs.replace(make(rng, node), at=Duration(now_ns)))
    scenario = Scenario(
        seed=number,
        host_model=rng.choice((HostModel.MEASURED, HostModel.MEASURED, HostModel.ARTICLE)),
        cluster=ClusterSpec(conf=str(UDPU)) if udpu else ClusterSpec(nodes=size, totem={"token": 500}),
        network=NetworkSpec(delay=Duration(rng.choice((200 * US, MS)))),
    )
    made = mended(msgspec.structs.replace(scenario, cluster=ClusterSpec(nodes=size)), happening)
    return msgspec.structs.replace(made, cluster=scenario.cluster)


@pytest.mark.parametrize("number", CASES)
def test_clients_and_daemons_in_trouble(number: int) -> None:
    scenario = case(number)
    world = run_case(scenario)
    violations = unexpected(check(world.timeline, end_ns=world.now_ns))
    assert not violations, report(scenario, violations)
