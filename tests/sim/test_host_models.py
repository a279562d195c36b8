"""Another host model while the cluster runs: from then on, and what has begun ends as it began."""

from __future__ import annotations

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.sim.interventions import ChangeHostModel, Pause, PowerCut, Restart, StallDisk, Write
from totemviz.sim.interventions.base import Intervention
from totemviz.sim.scenario import dump_scenario, parse_scenario
from totemviz.sim.threads import COROSYNC, PMXCFS, HostModel
from totemviz.sim.world import World
from totemviz.trace.checks import check
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import FsyncStarted, HostModelChanged, ProcessBlocked
from totemviz.trace.transcript import transcript

ARTICLE, MEASURED = HostModel.ARTICLE, HostModel.MEASURED


def change(model: HostModel, at_s: float) -> ChangeHostModel:
    return ChangeHostModel(model=model, at=seconds(at_s))


def write(at_s: float) -> Write:
    return Write(node=1, at=seconds(at_s))


def blocked_with_a_stall(model: HostModel, *interventions: Intervention) -> list[tuple[str, ...]]:
    """Which processes of node 3 wait together when its disk stalls at 6 s."""
    stall = StallDisk(node=3, duration=seconds(2), at=seconds(6))
    world = run(12, *interventions, stall, write(6.5), host_model=model)
    assert check(world.timeline) == []
    return [body.processes for _, body in found(world.timeline, ProcessBlocked, 3, 6)]


@pytest.mark.parametrize(("before", "after"), [(ARTICLE, MEASURED), (MEASURED, ARTICLE)])
def test_what_comes_after_follows_the_new_model(before: HostModel, after: HostModel) -> None:
    together = blocked_with_a_stall(before, change(after, 4))
    assert together == blocked_with_a_stall(after)
    assert together != blocked_with_a_stall(before)


def syncs(world: World, from_s: float, to_s: float) -> int:
    return sum(event.time_ns < to_s * 1e9 for event, _ in found(world.timeline, FsyncStarted, 2, from_s))


def test_commits_wait_for_the_disk_from_then_on() -> None:
    changes = change(ARTICLE, 4), change(MEASURED, 6)
    world = run(8, write(2), write(3), write(5), write(7), *changes, host_model=MEASURED)
    assert (syncs(world, 3, 4), syncs(world, 7, 8)) == (0, 0)
    assert syncs(world, 5, 6) > 0


def test_a_host_that_waits_changes_when_it_goes_on() -> None:
    world = run(10, Pause(node=2, duration=seconds(2), at=seconds(3)), change(MEASURED, 4), host_model=ARTICLE)
    changed = {event.node: event.time_ns / 1e9 for event, _ in found(world.timeline, HostModelChanged)}
    assert changed == {1: 4, 3: 4, 2: 5}
    cursor = Cursor(world.timeline)
    cursor.move_to(len(world.timeline) - 1)
    assert cursor.view.run is not None
    assert cursor.view.run.host_model == "measured"
    assert check(world.timeline) == []


def test_a_host_without_power_comes_up_in_the_new_model() -> None:
    stuck = StallDisk(node=3, duration=seconds(60), at=seconds(3))
    back = PowerCut(node=3, at=seconds(5)), Restart(node=3, at=seconds(6))
    world = run(9, stuck, write(3.5), change(MEASURED, 4), *back, host_model=ARTICLE)
    changed = {event.node: event.time_ns / 1e9 for event, _ in found(world.timeline, HostModelChanged)}
    assert changed == {1: 4, 2: 4, 3: 5}
    threads = world.hosts[3].processes.threads
    assert threads[COROSYNC] is not threads[PMXCFS]


def test_it_is_saved_with_the_run() -> None:
    world = run(6, change(ARTICLE, 3), write(4), change(MEASURED, 4.0001), host_model=MEASURED)
    saved = parse_scenario(dump_scenario(world.scenario_until(len(world.timeline))), "saved")
    assert [action.model for action in saved.interventions if isinstance(action, ChangeHostModel)] == [
        ARTICLE,
        MEASURED,
    ]
    again = World(saved, world.conf)
    again.run_until(6 * 10**9)
    assert list(transcript(again.timeline)) == list(transcript(world.timeline))
