"""Wall clocks that are wrong: the ring must not notice, and what asks for the time of day must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.runs import found, run, run_file, seconds
from totemviz.pmxcfs.effects import LockExpired
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim.interventions import (
    CreateGuest,
    Kill,
    Restart,
    SetStatus,
    SkewClock,
    Write,
    WriteClusterLog,
)
from totemviz.sim.scenario import HaSpec, Scenario, ScenarioError, check, cluster_conf, dump_scenario, parse_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND, Offset
from totemviz.sim.world import World
from totemviz.totem.effects import Log, TokenReceived
from totemviz.trace.checks import check as check_timeline
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import ClockSet, LrmStateChanged, NodeFenced, WatchdogFed
from totemviz.trace.logs import log_lines, text
from totemviz.trace.wallclock import RIGHT, ClockSetting, WallClock


def skew(at_s: float, ahead_s: float, node: int = 3, drift_ppm: int = 0) -> SkewClock:
    return SkewClock(at=seconds(at_s), node=node, ahead=Offset(round(ahead_s * SECOND)), drift_ppm=drift_ppm)


def mtime(world: World, path: str, node: int = 1) -> int:
    pmxcfs = world.hosts[node].pmxcfs
    assert pmxcfs is not None
    entry = pmxcfs.memdb.lookup(path)
    assert entry is not None
    return entry.mtime - EPOCH_S


def cluster_log(world: World, node: int = 1) -> str:
    pmxcfs = world.hosts[node].pmxcfs
    assert pmxcfs is not None
    return pmxcfs.read(".clusterlog").decode()


# -------------------------------------------------------------------------------------------------------- the clock


def test_a_clock_shows_true_time_until_it_is_set_and_then_drifts() -> None:
    clock = WallClock(EPOCH_S)
    assert clock.at_s(5 * SECOND) == EPOCH_S + 5
    clock.set(ClockSetting(10 * SECOND, -60 * SECOND, 100_000), 7)
    assert clock.at_s(10 * SECOND) == EPOCH_S - 50
    assert clock.at_s(20 * SECOND) == EPOCH_S - 50 + 11
    assert (clock.event, clock.step_ns) == (7, -60 * SECOND)
    clock.set(ClockSetting(20 * SECOND), 8)
    assert (clock.at_s(20 * SECOND), clock.step_ns) == (EPOCH_S + 20, 59 * SECOND)


@pytest.mark.parametrize("ahead_s", [-1800, 0.5])
@pytest.mark.parametrize("model", HostModel)
def test_the_ring_does_not_notice(ahead_s: float, model: HostModel) -> None:
    """Timers run on CLOCK_MONOTONIC (libqb, ``util.c: qb_util_nano_current_get``): every token at the same moment."""

    def tokens(world: World) -> list[tuple[int, int, int]]:
        visits = found(world.timeline, TokenReceived)
        return [(event.time_ns, event.node, body.token_seq) for event, body in visits]

    skewed = run(5, skew(2, ahead_s, drift_ppm=500), skew(3, -ahead_s, node=1), host_model=model)
    assert len(found(skewed.timeline, ClockSet)) == 2
    plain = tokens(run(5, host_model=model))
    assert plain == tokens(skewed)


# ----------------------------------------------------------------------------------------------------------- pmxcfs


def test_a_file_has_the_time_of_who_wrote_it_and_log_lines_that_of_who_writes_them() -> None:
    killed = Kill(node=2, process="corosync", at=seconds(3))
    world = run(20, skew(2, 300), Write(node=3, at=seconds(2.5), path="f"), killed)
    assert [mtime(world, "f", node) for node in (1, 2, 3)] == [302, 302, 302]
    stamps = [(line.node, text(line, EPOCH_S)[:12]) for line in log_lines(world.timeline) if line.time_ns > 3 * SECOND]
    assert set(stamps) == {("pve1", "Nov 14 22:13"), ("pve2", "Nov 14 22:13"), ("pve3", "Nov 14 22:18")}


def test_what_a_node_says_with_its_clock_set_back_is_taken_for_a_duplicate() -> None:
    """``logger.c: dedup_lookup``: until the clock has caught up with the latest line, nobody sees a new one."""

    def say(at_s: float, message: str) -> WriteClusterLog:
        return WriteClusterLog(node=3, message=message, at=seconds(at_s))

    world = run(15, say(3, "one"), skew(4, -5), say(5, "two"), say(9, "three"))
    for node in (1, 3):
        assert "one" in cluster_log(world, node)
        assert "two" not in cluster_log(world, node)
        assert "three" in cluster_log(world, node)


def test_pmxcfs_reconnects_when_its_clock_has_caught_up() -> None:
    """``loop.c: service_start_job``: 5 s after the last attempt, by the wall clock."""

    def back_after_s(*clocks: SkewClock) -> float:
        away = Kill(node=3, process="corosync", at=seconds(4)), Restart(node=3, at=seconds(6))
        world = run(60, *away, *clocks)
        modes = [e for e, _ in found(world.timeline, Log, 3, 4) if "received all states" in e.body.text]  # type: ignore[union-attr]
        return modes[0].time_ns / SECOND

    right = back_after_s()
    assert 6 < right < 12
    assert back_after_s(skew(5, -30)) == pytest.approx(right + 30, abs=2)
    assert back_after_s(skew(6.5, 30)) < right + 0.01


def test_the_hourly_verification_goes_by_the_clock() -> None:
    def verified(*clocks: SkewClock) -> bool:
        world = run(8, *clocks)
        return any("data verification successful" in body.text for _, body in found(world.timeline, Log))

    assert not verified()
    assert verified(skew(3, 3700, node=1))


def test_rrd_text_stands_still_while_the_clock_is_behind() -> None:
    """``status.c: cfs_rrd_dump`` makes it anew when it is 2 s old."""
    world = World(scenario := Scenario(), cluster_conf(scenario, "test", Path()))
    world.run_until(3 * SECOND)
    pmxcfs = world.hosts[1].pmxcfs
    assert pmxcfs is not None

    def told(value: str) -> bool:
        world.intervene(SetStatus(node=1, key="rrd/pve-node-9.0/pve1", value=f"{value}\0"))
        world.run_until(world.now_ns + 3 * SECOND)
        return value in pmxcfs.read(".rrd").decode()

    assert told("1:2")
    world.intervene(SkewClock(node=1, ahead=Offset(-600 * SECOND)))
    assert not told("3:4")
    world.intervene(SkewClock(node=1))
    assert told("5:6")


@pytest.mark.parametrize(("ahead_s", "node", "stolen"), [(300, 1, True), (-300, 1, False), (300, 2, False)])
def test_the_lowest_node_judges_locks_by_its_own_clock(ahead_s: float, node: int, stolen: bool) -> None:
    first = CreateGuest(node=2, storage="nfs", takes=seconds(8), at=seconds(3))
    second = CreateGuest(node=3, vmid=101, storage="nfs", takes=seconds(1), at=seconds(5))
    world = run(14, first, second, skew(4, ahead_s, node))
    expired = found(world.timeline, LockExpired)
    assert [event.node for event, _ in expired] == ([1] if stolen else [])
    if stolen:
        blamed = world.timeline[expired[0][0].cause]
        assert isinstance(blamed.body, ClockSet)
    assert check_timeline(world.timeline) == []


# ------------------------------------------------------------------------------------------- the HA manager, watchdog


def test_a_clock_set_forward_resets_its_node() -> None:
    world = run_file("clock-ahead")
    fenced = found(world.timeline, NodeFenced)
    assert [event.node for event, _ in fenced] == [3]
    assert 35 < fenced[0][0].time_ns / SECOND < 36


def test_a_clock_set_back_hides_that_nobody_renews_the_lock() -> None:
    world = run_file("clock-behind")
    assert found(world.timeline, NodeFenced) == []
    assert found(world.timeline, WatchdogFed, 3, after_s=24) == []
    assert found(world.timeline, WatchdogFed, 1, after_s=170)
    assert mtime(world, "old.txt") == 26 - 600
    assert "before" in cluster_log(world)
    assert "after" not in cluster_log(world)


# ------------------------------------------------------------------------------------------------- saved, shown, asked


def test_the_view_knows_the_clock() -> None:
    world = run(3, skew(2, 5, drift_ppm=-7))
    cursor = Cursor(world.timeline)
    cursor.move_to(len(world.timeline) - 1)
    assert cursor.view.nodes[3].clock == ClockSetting(2 * SECOND, 5 * SECOND, -7)
    assert cursor.view.nodes[1].clock == RIGHT


@pytest.mark.parametrize("written", ["5min", "+5min", "-70s", "0s"])
def test_a_scenario_keeps_an_offset(written: str) -> None:
    scenario = parse_scenario(
        f'[[interventions]]\nat = "1s"\naction = "skew_clock"\nnode = 1\nahead = "{written}"\n', "s"
    )
    again = parse_scenario(dump_scenario(scenario), "t")
    assert again == scenario
    assert str(again.interventions[0].ahead) == {"0s": "0ns"}.get(written, written.removeprefix("+"))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ('ahead = "5"', "5: "),
        ("ahead = 5", "5: 5 needs a unit"),
        ('ahead = "--5s"', "5: "),
        ('ahead = "100000h"', "5: 100000h is too far"),
        ("drift_ppm = 1000000", "5: 1000000 is no drift"),
        ('node = 4\nahead = "5s"', "4: there is no node 4"),
    ],
)
def test_a_clock_that_cannot_be_set_is_refused_with_its_line(fields: str, told: str) -> None:
    node = "" if "node" in fields else "node = 1\n"
    toml = f'[[interventions]]\nat = "1s"\naction = "skew_clock"\n{node}{fields}\n'
    with pytest.raises(ScenarioError, match=f"^s:{told}"):
        scenario = parse_scenario(toml, "s")
        check(scenario, cluster_conf(scenario, "s", Path(), toml), "s", toml)


def test_a_clock_set_forward_by_more_than_a_lock_lives_makes_its_holder_lose_it() -> None:
    """``Env/PVE2.pm: get_pve_lock``: older than 120 s, it is not renewed but made, and it is there: EEXIST."""
    world = run(40, skew(25, 200), host_model=HostModel.MEASURED, ha=HaSpec(nodes=(1, 2, 3), boot=seconds(0)))
    lost = [event for event, body in found(world.timeline, LrmStateChanged, 3) if body.new == "lost_agent_lock"]
    assert len(lost) == 1
    assert isinstance(world.timeline[lost[0].cause].body, ClockSet)
    assert found(world.timeline, LockExpired) == []  # the lowest node's clock is right
