"""The simulated cluster against figures of the real one (corosync 3.1.7 + pmxcfs, three nodes, default timeouts)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.corosync.effects import CpgDelivered
from totemviz.sim.interventions import Kill, Pause, Restart, StallDisk, Write
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import (
    Log,
    MembershipInstalled,
    StateEntered,
    TokenPassed,
    TokenReceived,
    TokenReleased,
)
from totemviz.trace import events as ev

MS = 1_000_000


def warm(times: list[int]) -> list[float]:
    """Gaps between moments, in milliseconds."""
    return [(later - earlier) / MS for earlier, later in pairwise(times)]


def test_idle_ring_turns_once_per_hold_time() -> None:
    """685.4 ms (n=14, sd 0.2 ms) on the real ring."""
    world = run(30, host_model=HostModel.MEASURED)
    visits = [event.time_ns for event, _ in found(world.timeline, TokenReceived, node=1, after_s=10)]
    assert len(visits) > 25
    assert warm(visits) == pytest.approx([685.4] * (len(visits) - 1), rel=0.002)


def test_thirty_free_rotations_follow_a_message_then_the_representative_holds() -> None:
    """33-36 token sends per node per isolated message on the real ring."""
    world = run(12, Write(at=seconds(5), node=2, path="lone.cfg", content=""), host_model=HostModel.MEASURED)
    ordered = [event.time_ns for event, _ in found(world.timeline, CpgDelivered, node=2, after_s=5)]
    assert len(ordered) == 1, "one system call, one message"
    passes = [body for event, body in found(world.timeline, TokenPassed, node=1) if event.time_ns > ordered[0]]
    assert [body.held for body in passes[:30]] == [False] * 30
    assert passes[31].held or passes[30].held
    free = [
        event
        for event, body in found(world.timeline, TokenPassed, node=2, after_s=5)
        if event.time_ns < ordered[0] + 100 * MS
    ]
    assert 31 <= len(free) <= 36


def killed_world() -> World:
    """Kill C 0.241 s after A last had the token: the phase of the recorded kill."""
    probe = run(6, host_model=HostModel.MEASURED)
    last = next(event.time_ns for event, _ in found(probe.timeline, TokenReceived, node=1, after_s=5))
    at = seconds(last / 1e9 + 0.241)
    return run(40, Kill(at=at, node=3), Restart(at=seconds(30), node=3), host_model=HostModel.MEASURED)


def test_kill_takes_as_long_as_on_the_real_cluster() -> None:
    """Retransmits every 869 ms, loss 3650 ms after the last token, joins every 50 ms, consensus 4380 ms, 7.79 s."""
    world = killed_world()
    timeline = world.timeline
    ((kill, _),) = [pair for pair in found(timeline, ev.Intervened) if pair[1].action == "kill"]
    last_token = max(
        event.time_ns for event, _ in found(timeline, TokenReceived, node=1) if event.time_ns < kill.time_ns
    )

    gathers = [(e, b) for e, b in found(timeline, StateEntered, node=1, after_s=4) if b.state == "GATHER"]
    lost, expired = gathers[0], gathers[1]
    assert (lost[1].reason, expired[1].reason) == (2, 0)
    assert (lost[0].time_ns - last_token) / MS == 3650
    assert (expired[0].time_ns - lost[0].time_ns) / MS == 4380
    assert expired[1].failed == (3,)

    outage = (lost[0].time_ns, expired[0].time_ns)
    repeats = [
        event.time_ns
        for event, body in found(timeline, TokenReleased, node=2)
        if body.reason == "retransmit timeout" and kill.time_ns < event.time_ns < outage[0]
    ]
    assert warm(repeats) == [869.0] * (len(repeats) - 1)
    assert len(repeats) >= 3
    joins = [
        event.time_ns
        for event, body in found(timeline, ev.DatagramSent, node=1)
        if body.kind == "memb_join" and outage[0] < event.time_ns < outage[1]
    ]
    assert warm(joins) == pytest.approx([50.0] * (len(joins) - 1), rel=0.01)

    before, after = [b for e, b in found(timeline, MembershipInstalled, node=1) if e.time_ns < outage[0]][-1], None
    event, after = next((e, b) for e, b in found(timeline, MembershipInstalled, node=1) if e.time_ns > outage[1])
    assert after.members == (1, 2)
    assert after.ring_id.seq == before.ring_id.seq + 4
    assert (event.time_ns - kill.time_ns) / 1e9 == pytest.approx(7.79, rel=0.02)


def test_log_of_a_kill_is_in_the_recorded_order() -> None:
    world = killed_world()
    lines = [
        body.text
        for event, body in found(world.timeline, Log, node=1, after_s=6)
        if body.subsystem == "TOTEM" and event.time_ns < 20e9
    ]
    wanted = [
        "Token has not been received in 2737 ms ",
        "The token was lost in the OPERATIONAL state.",
        "A processor failed, forming new configuration: token timed out (3650ms), waiting 4380ms for consensus.",
        "entering GATHER state from 2(The token was lost in the OPERATIONAL state.).",
        "entering GATHER state from 0(consensus timeout).",
        "entering COMMIT state.",
        "entering RECOVERY state.",
        "entering OPERATIONAL state.",
        "A new membership (1.11) was formed. Members left: 3",
        "Failed to receive the leave message. failed: 3",
    ]
    assert [line for line in lines if line in wanted] == wanted


def test_restarted_node_is_back_in_under_a_second() -> None:
    """0.17 s from exec to a ring of three on the real cluster: first a ring of its own, then the merge."""
    world = killed_world()
    rings = [(e.time_ns, b.members) for e, b in found(world.timeline, MembershipInstalled, node=3, after_s=29)]
    assert [members for _, members in rings] == [(3,), (1, 2, 3)]
    assert rings[-1][0] - 30e9 < 0.2e9


@pytest.mark.parametrize(
    ("stop_s", "lost"), [(0.5, False), (1, False), (2, False), (3, False), (3.5, False), (5, True)]
)
def test_stopped_daemon(stop_s: float, lost: bool) -> None:
    """measured.md §3: below the token timeout nothing happens; at 5 s the ring breaks and forms again with all."""
    probe = run(6, host_model=HostModel.MEASURED)
    visit = next(event.time_ns for event, _ in found(probe.timeline, TokenReceived, node=2, after_s=5))
    stop_at = seconds(visit / 1e9 + 0.001)
    world = run(20, Pause(at=stop_at, node=2, duration=seconds(stop_s)), host_model=HostModel.MEASURED)
    rings = found(world.timeline, MembershipInstalled, after_s=5)
    assert bool(rings) == lost
    if lost:
        assert {body.members for _, body in rings} == {(1, 2, 3)}
        assert all(body.left == () for _, body in rings)
        woken = stop_at + stop_s * 1e9
        assert max(event.time_ns for event, _ in rings) - woken < 10 * MS


def test_stalled_disk_does_not_delay_the_token_in_the_measured_model() -> None:
    stall = StallDisk(at=seconds(5), node=3, duration=seconds(12))
    writes = [
        Write(at=seconds(6), node=3, path="c.cfg"),
        Write(at=seconds(7), node=1, path="a.cfg"),
        Write(at=seconds(8), node=2, path="b.cfg"),
    ]
    world = run(30, stall, *writes, host_model=HostModel.MEASURED)
    assert found(world.timeline, MembershipInstalled, after_s=5) == []
    gaps = warm([event.time_ns for event, _ in found(world.timeline, TokenReceived, node=1, after_s=5)])
    assert max(gaps) < 686
    took = {event.node: body.took_ns / 1e9 for event, body in found(world.timeline, ev.WriteFinished)}
    assert took[3] == pytest.approx(11, abs=0.2), "the write on the node with the stalled disk waits"
    assert took[1] < 0.1
    assert took[2] < 0.1


def test_stalled_disk_breaks_the_ring_in_the_article_model_link_by_link() -> None:
    stall = StallDisk(at=seconds(5), node=3, duration=seconds(12))
    world = run(30, stall, Write(at=seconds(6), node=1, path="a.cfg"), host_model=HostModel.ARTICLE)
    timeline = world.timeline
    dead, _ = next((e, b) for e, b in found(timeline, MembershipInstalled, node=1, after_s=6) if b.left == (3,))
    chain = [(type(event.body), event.node) for event in timeline.chain(dead.id)]
    assert [kind for kind, _ in chain] == [
        MembershipInstalled,
        StateEntered,  # gave up on C
        ev.TimerExpired,  # consensus
        StateEntered,  # gather
        ev.TimerExpired,  # token loss
        ev.DatagramQueued,  # the token waits in C's socket
        ev.ProcessBlocked,  # because C's one loop waits
        ev.FsyncStarted,  # for its disk
        ev.DiskChanged,  # which stalls
        ev.Intervened,  # because somebody wanted it
    ]
    assert [node for _, node in chain[5:]] == [3] * 5
