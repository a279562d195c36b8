"""What a daemon that was stopped says when it runs again, and what the others say meanwhile.

The table is that of the real cluster (three nodes, token timeout 3650 ms): pve2's corosync gets SIGSTOP for a while.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim.interventions import Kill, Pause
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import MembershipInstalled, StateEntered, TokenReceived
from totemviz.trace import events as ev
from totemviz.trace.logs import COROSYNC, log_lines

NOT_SCHEDULED = re.compile(
    r"Corosync main process was not scheduled \(@(\d+)\) for (\d+\.\d{4}) ms \(threshold is 2920\.0000 ms\)\. "
    r"Consider token timeout increase\."
)
TICK_S = 3650 // 3 / 1000
LOADED_S = 0.104  # pve2 starts 4 ms after the first node and loads its services 100 ms later
STOP_S = LOADED_S + 5 * TICK_S + 1.1  # 1.1 s after the timer's latest run, so that 1.1 s count as well


@cache
def stopped(for_s: float) -> World:
    return run(30, Pause(at=seconds(STOP_S), node=2, duration=seconds(for_s)), host_model=HostModel.MEASURED)


def lines(for_s: float, node: str) -> list[str]:
    world = stopped(for_s)
    return [
        line.log.text
        for line in log_lines(world.timeline)
        if line.process == COROSYNC and line.node == node and line.time_ns >= seconds(STOP_S)
    ]


@pytest.mark.parametrize("for_s", [0.3, 0.5, 1.0])
def test_up_to_a_second_nobody_says_anything(for_s: float) -> None:
    assert [lines(for_s, node) for node in ("pve1", "pve2", "pve3")] == [[], [], []]


@pytest.mark.parametrize(("for_s", "late_ms"), [(2.0, 3100), (3.0, 4100), (3.5, 4600), (5.0, 6100), (10.0, 11100)])
def test_the_stopped_node_says_for_how_long_it_did_not_run(for_s: float, late_ms: float) -> None:
    said = [match for line in lines(for_s, "pve2") if (match := NOT_SCHEDULED.fullmatch(line))]
    (match,) = said
    assert float(match[2]) == pytest.approx(late_ms, abs=1)
    assert int(match[1]) == EPOCH_S * 1000 + round((STOP_S + for_s) * 1000)
    assert lines(for_s, "pve2")[0] == match[0], "the first thing it does"
    assert not any(NOT_SCHEDULED.fullmatch(line) for line in lines(for_s, "pve1"))


def test_two_seconds_cost_nobody_a_word() -> None:
    assert len(lines(2.0, "pve2")) == 1
    assert lines(2.0, "pve1") == []


def test_three_seconds_worry_the_others_and_the_ring_survives() -> None:
    assert [line.strip() for line in lines(3.0, "pve1")] == ["Token has not been received in 2737 ms"]
    assert not found(stopped(3.0).timeline, MembershipInstalled, after_s=STOP_S)


def test_five_seconds_give_a_new_ring_of_the_same_three() -> None:
    failed = [line for node in ("pve1", "pve3") for line in lines(5.0, node) if line.startswith("A processor failed")]
    assert failed, "the token was lost for those who run"
    installed = found(stopped(5.0).timeline, MembershipInstalled, after_s=STOP_S)
    assert {body.members for _, body in installed} == {(1, 2, 3)}
    (formed,) = [line for line in lines(5.0, "pve1") if line.startswith("A new membership")]
    assert formed.rstrip().endswith("was formed. Members")


def test_ten_seconds_put_it_out_and_both_sides_are_left_and_joined() -> None:
    formed = [line for line in lines(10.0, "pve2") if line.startswith("A new membership")]
    assert formed[-1].endswith("Members joined: 1 3 left: 1 3")


@cache
def after_token(behind_s: float, for_s: float) -> list[str]:
    """What pve2 logs that is stopped ``behind_s`` after a token, from the stop on."""
    probe = run(7, host_model=HostModel.MEASURED)
    visit = next(event.time_ns for event, _ in found(probe.timeline, TokenReceived, node=2, after_s=6))
    stop_s = visit / 1e9 + behind_s
    world = run(30, Pause(at=seconds(stop_s), node=2, duration=seconds(for_s)), host_model=HostModel.MEASURED)
    return [
        line.log.text.strip()
        for line in log_lines(world.timeline)
        if line.process == COROSYNC and line.node == "pve2" and line.time_ns >= seconds(stop_s)
    ]


@pytest.mark.parametrize(("for_s", "age_ms"), [(3.5, 3572), (10.0, 10072)])
def test_the_token_counts_as_late_if_another_datagram_came_before_it(for_s: float, age_ms: int) -> None:
    """In the lab at 3.5 s: 3572 ms, so 72 ms behind a token; the next datagram was a merge detect."""
    order = after_token(0.072, for_s)
    assert NOT_SCHEDULED.fullmatch(order[0]), "the first thing it says"
    assert order[1] == f"Token has not been received in {age_ms} ms"
    assert (len(order) > 2 and order[2].startswith("A processor failed")) == (for_s > 3.65)


@pytest.mark.parametrize("for_s", [2.9, 3.0])
def test_a_token_that_waited_is_read_before_the_timers_that_would_miss_it(for_s: float) -> None:
    """In the lab at 3 s: not a word about the token on the node that was stopped."""
    order = after_token(0.3, for_s)
    assert len(order) == 1
    assert NOT_SCHEDULED.fullmatch(order[0])


# ------------------------------------------------------------------------------------------------- at the thresholds


@pytest.mark.parametrize(("passed_ms", "said"), [(2919, False), (2920, False), (2921, True)])
def test_threshold_of_the_scheduler_watch(passed_ms: int, said: bool) -> None:
    """More than 80 % of the token timeout since the timer's last run."""
    ran_s = LOADED_S + 5 * TICK_S
    stop = Pause(at=seconds(ran_s + 0.5), node=2, duration=seconds(passed_ms / 1000 - 0.5))
    world = run(ran_s + 4, stop, host_model=HostModel.MEASURED)
    lines = [line.log.text for line in log_lines(world.timeline) if "was not scheduled" in line.log.text]
    assert [f"for {passed_ms}.0000 ms" in line for line in lines] == [True] * said


@pytest.mark.parametrize(("age_ms", "said"), [(2736, False), (2738, True)])
def test_threshold_of_the_token_age_warning(age_ms: int, said: bool) -> None:
    """75 % of the token timeout, 2737 ms of 3650, since pve1 had the token."""
    probe = run(9, host_model=HostModel.MEASURED)
    visit = next(event.time_ns for event, _ in found(probe.timeline, TokenReceived, node=1, after_s=6))
    hops_s = 0.0001  # from pve2 over pve3 to pve1
    wake_s = visit / 1e9 + age_ms / 1000 - hops_s
    stop = Pause(at=seconds(visit / 1e9 + 0.01), node=2, duration=seconds(wake_s - visit / 1e9 - 0.01))
    world = run(12, stop, host_model=HostModel.MEASURED)
    lines = [line.log.text for line in log_lines(world.timeline) if line.node == "pve1" and line.time_ns >= visit]
    assert ["Token has not been received in 2737 ms" in line for line in lines] == [True] * said


def gathering(stopped_ms: int) -> list[str]:
    """Pve3 dies; while pve1 and pve2 look for members, pve2 stops just behind a run of its pause timer."""
    kill = Kill(at=seconds(5), node=3)
    probe = run(12, kill, host_model=HostModel.MEASURED)
    gather = next(e.time_ns for e, b in found(probe.timeline, StateEntered, node=2, after_s=6) if b.state == "GATHER")
    installed = [e.time_ns for e, _ in found(probe.timeline, MembershipInstalled, node=2) if e.time_ns < gather][-1]
    tick_ns = 730_000_000
    tick = installed + -(-(gather + 100_000_000 - installed) // tick_ns) * tick_ns
    stop = Pause(at=seconds(tick / 1e9 + 0.0001), node=2, duration=seconds(stopped_ms / 1000 - 0.0001))
    world = run(12, kill, stop, host_model=HostModel.MEASURED)
    return [
        line.log.text
        for line in log_lines(world.timeline)
        if line.node == "pve2" and "Process pause detected" in line.log.text
    ]


@pytest.mark.parametrize(("stopped_ms", "said"), [(1825, False), (1827, True)])
def test_threshold_of_the_pause_detector(stopped_ms: int, said: bool) -> None:
    """More than half the token timeout, seen only when a join is the first datagram after the stop."""
    assert [line.split(" for ")[1].split(",")[0] for line in gathering(stopped_ms)] == [f"{stopped_ms} ms"] * said


def test_after_a_pause_the_joins_in_the_socket_are_thrown_away() -> None:
    kill = Kill(at=seconds(5), node=3)
    world = run(20, kill, Pause(at=seconds(9), node=2, duration=seconds(3)), host_model=HostModel.MEASURED)
    flushed = [body for _, body in found(world.timeline, ev.DatagramDropped) if body.why == "flushed after a pause"]
    assert len(flushed) > 10
    assert {body.target for body in flushed} == {2}


def test_the_watch_leaves_no_trace_while_all_is_well() -> None:
    world = stopped(0.3)
    assert not [body for _, body in found(world.timeline, ev.TimerExpired) if body.timer == "scheduler_watch"]
    late = [body for _, body in found(stopped(5.0).timeline, ev.TimerExpired) if body.timer == "scheduler_watch"]
    assert [round(body.late_ns / 1e9, 1) for body in late] == [4.9]
