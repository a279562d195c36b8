"""Search for trouble: random clusters to which random things happen, judged by all checkers.

``scenarios()`` draws a scenario: 2 to 7 nodes, a network with its faults, and up to a dozen things that happen to them.
At its end everything is mended and started, and there is quiet time, so that liveness can be judged too. ``trouble``
runs it; ``report`` writes a failing one as a scenario file for ``totemviz run``.

Timeouts are short (token 300 ms): a case is a few thousand events, and the protocol knows no absolute time.
``TOTEMVIZ_SEARCH=deep pytest tests/sim/test_search.py`` tries thousands of cases, plain pytest a few dozen.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from totemviz.corosync.quirks import Quirks
from totemviz.sim import interventions as do
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, Scenario, StartSpec, cluster_conf, dump_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, US, Duration
from totemviz.sim.world import World
from totemviz.trace.checks import Violation, check

TOKEN_MS = 300
CONSENSUS_MS = 360
MARGIN_NS = 2 * SECOND
BOOT_NS = 900 * MS
EVENTS_MAX = 150_000

_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large)
PROFILES = {
    "ci": settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=_QUIET),
    "deep": settings(
        max_examples=int(os.environ.get("TOTEMVIZ_SEARCH_EXAMPLES", "2000")),
        deadline=None,
        database=None,
        suppress_health_check=_QUIET,
        phases=(Phase.generate, Phase.shrink),
    ),
}
PROFILE = PROFILES[os.environ.get("TOTEMVIZ_SEARCH", "ci")]


def _milliseconds(low: int, high: int) -> st.SearchStrategy[Duration]:
    return st.integers(low, high).map(lambda ms: Duration(ms * MS))


def _actions(nodes: int) -> st.SearchStrategy[do.AnyIntervention]:
    node = st.integers(1, nodes)
    side = st.sets(node, min_size=1, max_size=max(1, nodes - 1)).map(lambda ids: tuple(sorted(ids)))
    burst = st.builds(
        do.Write,
        node=node,
        path=st.just("burst-{n}.cfg"),
        content=st.sampled_from(["x", "y" * 3000]),
        count=st.integers(1, 40),
        every=st.sampled_from([Duration(100 * US), Duration(1 * MS), Duration(20 * MS)]),
    )
    return st.one_of(
        burst,
        burst,
        st.builds(do.Kill, node=node, process=st.sampled_from(["", "corosync"])),
        st.builds(do.Restart, node=node),
        st.builds(do.Leave, node=node),
        st.builds(do.Pause, node=node, duration=_milliseconds(1, 900)),
        st.builds(do.DropToken, count=st.integers(1, 6)),
        st.builds(do.DropMessage, target=st.integers(0, nodes)),
        st.builds(do.Cut, nodes=side),
        st.builds(do.CutOneWay, source=node, target=node),
        st.builds(do.Heal),
        st.builds(do.Loss, percent=st.sampled_from([0.0, 1.0, 5.0, 20.0, 50.0])),
        st.builds(do.Duplicate, percent=st.sampled_from([0.0, 5.0, 50.0])),
        st.builds(
            do.Delay,
            delay=st.sampled_from([Duration(50 * US), Duration(1 * MS), Duration(4 * MS)]),
            jitter=st.sampled_from([Duration(0), Duration(200 * US), Duration(8 * MS)]),
        ),
    )


@st.composite
def scenarios(draw: st.DrawFn, *, nodes: tuple[int, int] = (2, 7), quirks: Quirks | None = None) -> Scenario:
    """A scenario with trouble in it, mended at its end."""
    size = draw(st.integers(*nodes))
    at_ns = BOOT_NS if draw(st.booleans()) else 2 * SECOND
    happening: list[do.AnyIntervention] = []
    for _ in range(draw(st.integers(1, 12))):
        at_ns += draw(st.sampled_from([0, 100 * US, 1 * MS, 20 * MS, 100 * MS, 350 * MS, 800 * MS]))
        action = draw(_actions(size))
        happening.append(_at(action, at_ns))
    return mended(size, happening, draw(st.integers(0, 10_000)), quirks or Quirks())


def _at(action: do.AnyIntervention, at_ns: int) -> do.AnyIntervention:
    return msgspec.structs.replace(action, at=Duration(at_ns))


def mended(size: int, happening: list[do.AnyIntervention], seed: int, quirks: Quirks) -> Scenario:
    """A scenario in which these things happen, and then everything is made good and left alone.

    The mended network is a little irregular. Where every datagram takes exactly as long as every other, two rings that
    have rejected each other can go on doing so for ever, in step.
    """
    end_ns = max((int(action.at) for action in happening), default=2 * SECOND) + SECOND
    mending: list[do.AnyIntervention] = [
        do.Heal(),
        do.Loss(percent=0.0),
        do.Duplicate(percent=0.0),
        do.Delay(delay=Duration(50 * US), jitter=Duration(200 * US)),
        *(do.Restart(node=nodeid) for nodeid in range(1, size + 1)),
    ]
    settle_ns = (TOKEN_MS + CONSENSUS_MS) * MS * (size + 1) + SECOND
    return Scenario(
        title=f"search: {size} nodes",
        seed=seed,
        host_model=HostModel.MEASURED,
        stop_after=Duration(end_ns + settle_ns + MARGIN_NS),
        cluster=ClusterSpec(nodes=size, totem={"token": TOKEN_MS, "token_coefficient": 0}),
        start=StartSpec(stagger=Duration(4 * MS), pmxcfs_after=Duration(100 * MS)),
        quirks=quirks,
        network=NetworkSpec(),
        interventions=(*happening, *(_at(action, end_ns) for action in mending)),
    )


def trouble(scenario: Scenario) -> list[Violation]:
    """Run a scenario to its end; what the checkers say.

    A one-way cut can make rings form and break as fast as the network allows, as it does in reality. Such a run is
    judged for what it was until there were enough events; nothing can be said then of what happens in the end.
    """
    world = World(scenario, cluster_conf(scenario, "search", Path()))
    end_ns = int(scenario.stop_after)
    while world.now_ns < end_ns and len(world.timeline) < EVENTS_MAX:
        world.run_until(min(end_ns, world.now_ns + 20 * MS))
    return check(world.timeline, end_ns=world.now_ns)


def report(scenario: Scenario, violations: list[Violation]) -> str:
    """A failing case: what is wrong, then the scenario file."""
    comments = "".join(f"# {violation}\n" for violation in violations[:10])
    return f"\n{comments}{dump_scenario(scenario)}"
