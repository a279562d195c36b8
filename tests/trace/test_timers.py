"""The timers derived from the timeline are the timers that the simulated daemons really had running."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.trace.test_trees import busy_world
from totemviz.corosync.daemon import SCHEDULER_WATCH
from totemviz.sim import interventions as do
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.sim.world import World
from totemviz.totem.effects import TotemTimer
from totemviz.trace.cursor import Cursor
from totemviz.trace.periodic import WATCH, Periodic
from totemviz.trace.timers import timers_of

NAMES = (
    TotemTimer.TOKEN_LOSS,
    TotemTimer.TOKEN_RETRANSMIT,
    TotemTimer.HOLD_RETRANSMIT,
    TotemTimer.JOIN,
    TotemTimer.CONSENSUS,
    TotemTimer.TOKEN_WARNING,
    TotemTimer.MERGE_DETECT,
    TotemTimer.PAUSE,
    TotemTimer.STARTUP,
    SCHEDULER_WATCH,
)
EXACT = [name for name in NAMES if name not in (TotemTimer.TOKEN_RETRANSMIT, TotemTimer.HOLD_RETRANSMIT)]
"""Those that are right even in the middle of a handler that waits for a disk, or in the rotation after a hold."""

TOLD = {SCHEDULER_WATCH: WATCH}
"""Names that differ from the daemon's own."""

UNTIL_NS = 20_000_000_000


def troubled_world(model: HostModel) -> World:
    """Disks that stall, processes that stand still, a reload, a node cut off: whatever makes timers late."""

    def at(second: float) -> Duration:
        return Duration(round(second * SECOND))

    scenario = Scenario(
        host_model=model,
        disks={"3": "usb-stick"},
        interventions=(
            do.Write(at=at(2), node=1, path="{n}", count=40, every=Duration(30 * MS)),
            do.StallDisk(at=at(2.5), node=3, duration=at(1.7)),
            do.Pause(at=at(5), node=2, duration=at(2.9)),
            do.SetTimeout(at=at(9), key="token", value=1300),
            do.Pause(at=at(11), node=1, process="host", duration=at(0.4)),
            do.Cut(at=at(12), nodes=(3,)),
            do.Heal(at=at(16)),
        ),
    )
    return World(scenario, cluster_conf(scenario, "troubled", Path()))


@pytest.mark.parametrize(
    ("world", "names", "least"),
    [
        pytest.param(busy_world, NAMES, 20, id="busy"),
        pytest.param(lambda: troubled_world(HostModel.MEASURED), EXACT, 4, id="troubled, measured"),
        pytest.param(lambda: troubled_world(HostModel.ARTICLE), EXACT, 4, id="troubled, article"),
    ],
)
def test_every_timer_has_the_deadline_it_really_has(world, names, least):
    world = world()
    cursor, seen, chance, now_ns = Cursor(world.timeline), Counter(), Random(1), 0
    periodic = Periodic()
    while now_ns < UNTIL_NS:
        now_ns += chance.randrange(1_000_000, 40_000_000)
        world.run_until(now_ns)
        cursor.move_to(len(world.timeline) - 1)
        assert periodic.sync(world.timeline)
        for nodeid, host in world.hosts.items():
            phases = periodic.at(nodeid, cursor.position)
            node = cursor.view.nodes[nodeid]
            told = {timer.name: timer for timer in timers_of(node, cursor.view, world.timeline, now_ns, phases)}
            for name in names:
                real = host.processes.timers.deadline_ns("corosync", name) if host.daemon is not None else None
                timer = told.pop(TOLD.get(name, name), None)
                assert (timer.deadline_ns if timer is not None else None) == real, (now_ns, nodeid, name)
                seen[name] += real is not None
            assert set(told) <= {*NAMES, *TOLD.values()}
    assert min(seen[name] for name in names) >= least


def test_an_earlier_event_has_the_earlier_phase():
    world = troubled_world(HostModel.MEASURED)
    world.run_until(UNTIL_NS)
    whole, piecewise = Periodic(), Periodic()
    assert whole.sync(world.timeline)
    assert not piecewise.sync(world.timeline, 100)
    phase = whole.at(2, 99).pause
    assert phase == piecewise.at(2, 99).pause
    assert phase != whole.at(2, len(world.timeline) - 1).pause
    assert piecewise.sync(world.timeline)
    assert piecewise.at(2, len(world.timeline) - 1) == whole.at(2, len(world.timeline) - 1)
