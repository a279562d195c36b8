"""The HA manager's lock and its watchdog, against pve-ha-manager's sources: when a node dies, and when it does not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim.interventions import AnyIntervention, Cut, Heal, Kill, Pause, Restart
from totemviz.sim.scenario import HaSpec, ScenarioError, check, cluster_conf, parse_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.trace.events import (
    LrmStateChanged,
    NodeFenced,
    ProcessStarted,
    SystemCalled,
    WatchdogExpired,
    WatchdogFed,
    WatchdogWarned,
    kind_of,
)
from totemviz.trace.logs import log_lines, text

NEVER = Duration(0)


def ha_run(until_s: float, *script: AnyIntervention, boot: float = 0, nodes: tuple[int, ...] = (3,)) -> World:
    return run(until_s, *script, host_model=HostModel.MEASURED, ha=HaSpec(nodes, seconds(boot)))


def lines(world: World, process: str, node: str = "pve3") -> list[str]:
    said = [line for line in log_lines(world.timeline) if line.process == process and line.node == node]
    return [line.log.text for line in said]


def states(world: World, node: int = 3) -> list[str]:
    return [body.new for _, body in found(world.timeline, LrmStateChanged, node)]


def times(world: World, body: type, node: int = 3) -> list[float]:
    return [event.time_ns / 1e9 for event, _ in found(world.timeline, body, node)]


@pytest.fixture(scope="module")
def partitioned() -> World:
    """Node 3 loses quorum for good 20 s after the start, and is reset; it boots, still alone."""
    return ha_run(280, Cut(at=seconds(20), nodes=(3,)), Heal(at=seconds(150)), boot=60)


def test_a_manager_takes_its_lock_and_feeds_its_watchdog_every_ten_seconds() -> None:
    world = ha_run(45)
    fed = times(world, WatchdogFed)
    assert [round(later - earlier) for earlier, later in itertools.pairwise(fed)] == [10, 10, 10, 10]
    assert states(world) == ["wait_for_agent_lock", "active"]
    assert lines(world, "pve-ha-lrm") == [
        "status change startup => wait_for_agent_lock",
        "successfully acquired lock 'ha_agent_pve3_lock'",
        "watchdog active",
        "status change wait_for_agent_lock => active",
    ]
    pmxcfs = world.hosts[1].pmxcfs
    assert pmxcfs is not None
    lock = pmxcfs.memdb.lookup("priv/lock/ha_agent_pve3_lock")
    assert lock is not None and lock.writer == 3
    assert lock.mtime == EPOCH_S + int(fed[-1])
    assert b'"state":"active"' in pmxcfs.read("nodes/pve3/lrm_status")


def test_without_quorum_the_lock_is_lost_and_the_node_reset(partitioned: World) -> None:
    fed, warned = times(partitioned, WatchdogFed), times(partitioned, WatchdogWarned)
    expired, fenced = times(partitioned, WatchdogExpired), times(partitioned, NodeFenced)
    last = max(time for time in fed if time < expired[0])
    assert states(partitioned)[:3] == ["wait_for_agent_lock", "active", "lost_agent_lock"]
    said = lines(partitioned, "pve-ha-lrm")
    # the renewal was on its way when the ring broke: it is delivered without quorum, and its caller told EPERM
    assert "lost lock 'ha_agent_pve3_lock - cfs lock update failed - Operation not permitted" in said
    assert round(warned[0] - last, 3) == 51
    assert round(expired[0] - last, 3) == 61
    assert fenced[0] - expired[0] == pytest.approx(11, abs=1e-6), "one more second until the process ends, then ten"
    assert len(fenced) == 1


def test_why_leads_back_to_the_cut(partitioned: World) -> None:
    fenced = found(partitioned.timeline, NodeFenced)[0][0]
    kinds = [kind_of(event.body) for event in reversed(partitioned.timeline.chain(fenced.id))]
    assert kinds[:2] == ["intervened", "link_changed"]
    tail = ["quorum_changed", "lrm_state_changed", "watchdog_warned", "watchdog_expired", "node_fenced"]
    assert [kind for kind in kinds if kind in tail] == tail


def test_the_log_is_watchdog_muxs_own(partitioned: World) -> None:
    pid = next(body.pid for _, body in found(partitioned.timeline, ProcessStarted, 3) if body.process == "pve-ha-lrm")
    assert lines(partitioned, "watchdog-mux")[:4] == [
        f"added new client (PID {pid}) to watch",
        f"client (PID {pid}) watchdog is about to expire",
        f"client (PID {pid}) watchdog expired - disable watchdog updates",
        "exit watchdog-mux with active connections",
    ]
    assert lines(partitioned, "kernel") == [
        "watchdog: watchdog0: watchdog did not stop!",
        "softdog: Initiating system reboot",
    ]
    line = next(line for line in log_lines(partitioned.timeline) if line.process == "watchdog-mux")
    assert text(line, EPOCH_S).startswith("Nov 14 22:13:23 pve3 watchdog-mux[300")


def test_a_reset_node_comes_back_and_takes_its_old_lock_only_after_its_lifetime(partitioned: World) -> None:
    """Its lock lies there since before the reset; 120 s after the first who asks it is free (sheet §2.8)."""
    fenced = times(partitioned, NodeFenced)[0]
    started = [time for time in times(partitioned, ProcessStarted) if time > fenced]
    assert started[0] == pytest.approx(fenced + 60)
    active = [
        event.time_ns / 1e9
        for event, body in found(partitioned.timeline, LrmStateChanged, 3, after_s=fenced)
        if body.new == "active"
    ]
    assert active and active[0] > 150


def test_a_short_hang_is_survived_and_said() -> None:
    """55 s without a word: warned, then fed again."""
    world = ha_run(
        90,
        Pause(at=seconds(14), node=3, process="pmxcfs", duration=seconds(55)),
    )
    assert times(world, WatchdogWarned) and not times(world, WatchdogExpired)
    assert lines(world, "watchdog-mux")[-1].endswith("watchdog was updated before expiring")
    assert any(line.startswith("loop took too long (") for line in lines(world, "pve-ha-lrm"))


def test_stopping_pmxcfs_under_an_active_manager_costs_the_node() -> None:
    world = ha_run(110, Kill(at=seconds(20), node=3, process="pmxcfs"))
    assert len(times(world, NodeFenced)) == 1
    assert round(times(world, NodeFenced)[0] - times(world, WatchdogFed)[-1], 3) == 72


def test_a_refused_renewal_is_tried_again_for_five_seconds() -> None:
    """Without quorum from before the round on: six tries, a second apart (``get_protected_ha_agent_lock``)."""
    world = ha_run(40, Cut(at=seconds(14), nodes=(3,)))
    pairs = found(world.timeline, SystemCalled, 3, after_s=22)
    tries = [event.time_ns / 1e9 for event, body in pairs if body.operation == "mtime"]
    assert [round(later - earlier) for earlier, later in itertools.pairwise(tries[:6])] == [1] * 5
    assert "lost lock 'ha_agent_pve3_lock - cfs lock update failed - Permission denied" in lines(world, "pve-ha-lrm")


def test_nobody_is_fenced_who_protects_nothing() -> None:
    world = run(110, Cut(at=seconds(10), nodes=(3,)), host_model=HostModel.MEASURED)
    assert not found(world.timeline, NodeFenced)
    assert not found(world.timeline, LrmStateChanged)


def test_a_scenario_names_nodes_that_exist() -> None:
    scenario = parse_scenario("[ha]\nnodes = [1, 9]\n", "x.toml")
    with pytest.raises(ScenarioError, match="there is no node 9"):
        check(scenario, cluster_conf(scenario, "x.toml", Path()), "x.toml", "[ha]\nnodes = [1, 9]\n")


def test_without_pmxcfs_the_manager_says_so_and_has_its_lock_back_in_time() -> None:
    world = ha_run(50, Kill(at=seconds(20), node=3, process="pmxcfs"), Restart(at=seconds(34), node=3))
    said = lines(world, "pve-ha-lrm")
    refused = "cluster file system update failed - ipcc_send_rec[1] failed: Connection refused"
    assert said[4:] == [
        refused,
        "lost lock 'ha_agent_pve3_lock - cfs lock update failed - Transport endpoint is not connected",
        "status change active => lost_agent_lock",
        refused,
        "successfully acquired lock 'ha_agent_pve3_lock'",
        "status change lost_agent_lock => active",
    ]
    assert not times(world, WatchdogWarned)
