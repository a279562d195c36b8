"""What a daemon that was stopped says when it runs again, and what the others say meanwhile.

The table is that of the real cluster (three nodes, token timeout 3650 ms): pve2's corosync gets SIGSTOP for a while.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.sim.interventions import Pause
from totemviz.sim.threads import HostModel
from totemviz.sim.world import EPOCH_S, World
from totemviz.totem.effects import MembershipInstalled
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
    order = lines(10.0, "pve2")
    assert NOT_SCHEDULED.fullmatch(order[0])
    assert order[1].startswith("Token has not been received in ")
    assert order[2].startswith("A processor failed, forming new configuration")


def test_the_watch_leaves_no_trace_while_all_is_well() -> None:
    world = stopped(0.3)
    assert not [body for _, body in found(world.timeline, ev.TimerExpired) if body.timer == "scheduler_watch"]
    late = [body for _, body in found(stopped(5.0).timeline, ev.TimerExpired) if body.timer == "scheduler_watch"]
    assert [round(body.late_ns / 1e9, 1) for body in late] == [4.9]
