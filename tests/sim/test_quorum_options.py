"""votequorum's options, the quorum device and the operator in whole clusters: timers and messages on a real ring."""

from __future__ import annotations

import msgspec
import pytest

from totemviz.corosync.conf import CorosyncConf, parse
from totemviz.corosync.effects import DaemonExited, QuorumChanged
from totemviz.corosync.quirks import Quirks
from totemviz.sim.interventions import (
    AnyIntervention,
    Cut,
    ExpectedVotes,
    Heal,
    Kill,
    Leave,
    QuorumDevice,
    Restart,
    StallDisk,
)
from totemviz.sim.possible import check_intervention
from totemviz.sim.scenario import Scenario
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import Log
from totemviz.trace.events import ExpectedVotesStored, ProcessBlocked, ToolAnswered

from tests.sim.runs import found, seconds  # isort: skip


def cluster(nodes: int, *options: str) -> CorosyncConf:
    listed = "".join(f"node {{\nnodeid: {n}\nname: n{n}\nring0_addr: 192.0.2.{n}\n}}\n" for n in range(1, nodes + 1))
    quorum = "\n".join(["provider: corosync_votequorum", *options])
    return parse(f"totem {{\nversion: 2\n}}\nnodelist {{\n{listed}}}\nquorum {{\n{quorum}\n}}\n", "cluster")


def run(conf: CorosyncConf, until_s: float, *interventions: AnyIntervention) -> World:
    world = World(Scenario(host_model=HostModel.MEASURED, interventions=interventions), conf)
    world.run_until(int(seconds(until_s)))
    return world


def test_five_nodes_shrink_to_two_if_there_is_time_between_the_losses() -> None:
    conf = cluster(5, "last_man_standing: 1", "wait_for_all: 1")
    kills = [Kill(at=seconds(5 + 40 * index), node=node) for index, node in enumerate((5, 4, 3))]
    world = run(conf, 125, *kills)
    last = [body for _, body in found(world.timeline, QuorumChanged, node=1)][-1]
    assert (last.members, last.quorate, last.expected_votes, last.quorum) == ((1, 2), True, 3, 2)
    votequorum = world.hosts[1].daemon.votequorum  # type: ignore[union-attr]
    assert (votequorum.quorum, votequorum.us.expected_votes) == (2, 2)


def test_the_same_losses_at_once_cost_quorum() -> None:
    kills = [Kill(at=seconds(5), node=node) for node in (5, 4, 3)]
    world = run(cluster(5, "last_man_standing: 1", "wait_for_all: 1"), 60, *kills)
    assert not world.hosts[1].daemon.votequorum.quorate  # type: ignore[union-attr]


def test_a_node_says_that_it_leaves_and_is_no_longer_expected() -> None:
    conf = cluster(4, "allow_downscale: 1", "expected_votes: 2")
    world = run(conf, 15, Leave(at=seconds(5), node=4))
    assert [event.node for event, _ in found(world.timeline, DaemonExited)] == [4]
    rows = [world.hosts[node].daemon.votequorum for node in (1, 2, 3)]  # type: ignore[union-attr]
    assert {(row.quorate, row.us.expected_votes, row.quorum) for row in rows} == {(True, 3, 3)}


# -------------------------------------------------------------------------------------------------- the quorum device


def with_device(*keys: str, nodes: int = 2) -> CorosyncConf:
    return cluster(nodes, "device {", "model: net", "votes: 1", *keys, "}")


def device(at_s: float, node: int, vote: str = "granted") -> QuorumDevice:
    return QuorumDevice(at=seconds(at_s), node=node, vote=vote)


def verdicts(world: World, node: int, after_s: float = 0) -> list[tuple[float, bool, int, int]]:
    """(seconds, quorate, votes, quorum) of what a node was told."""
    return [
        (event.time_ns / 1e9, body.quorate, body.votes, body.quorum)
        for event, body in found(world.timeline, QuorumChanged, node=node)
        if event.time_ns > seconds(after_s)
    ]


def test_the_half_with_the_devices_vote_goes_on() -> None:
    run_ = run(
        with_device(),
        25,
        device(4, 1),
        device(4, 2),
        device(5.9, 2, "withdrawn"),
        Cut(at=seconds(6), nodes=(2,)),
    )
    (_, ours, votes, quorum), (_, theirs, left, _) = verdicts(run_, 1, 6)[-1], verdicts(run_, 2, 6)[-1]
    assert (ours, votes, quorum) == (True, 2, 2)
    assert (theirs, left) == (False, 1)
    said = [body.text for _, body in found(run_.timeline, Log, node=1) if "quorum device" in body.text]
    assert said == ["waiting for quorum device Qdevice poll (but maximum for 30000 ms)"]


def test_a_silent_device_is_missed_after_its_timeout_and_holds_up_the_next_sync() -> None:
    run_ = run(
        with_device("timeout: 2000", "sync_timeout: 4000"),
        25,
        device(4, 1),
        device(4, 2),
        device(6, 1, "silent"),
        Kill(at=seconds(12), node=2),
    )
    lost = [event.time_ns / 1e9 for event, body in found(run_.timeline, Log, node=1) if "lost contact" in body.text]
    assert len(lost) == 1
    assert 7 <= lost[0] <= 8  # its last poll was up to half the timeout before it fell silent
    _, quorate, votes, _ = verdicts(run_, 1, 12)[-1]
    assert (quorate, votes) == (False, 1)


def test_a_device_that_falls_silent_at_the_break_holds_up_the_sync() -> None:
    conf = with_device("timeout: 20000", "sync_timeout: 4000")
    speaks = run(conf, 30, device(4, 1), device(4, 2), Kill(at=seconds(6), node=2))
    silent = run(conf, 30, device(4, 1), device(4, 2), device(6, 1, "silent"), Kill(at=seconds(6), node=2))
    (soon, quorate, votes, _), (late, *lost) = verdicts(speaks, 1, 6)[-1], verdicts(silent, 1, 6)[-1]
    assert (quorate, votes) == (True, 2)
    assert lost[:2] == [False, 1]
    assert late - soon == pytest.approx(4, abs=0.01)


def test_the_device_comes_back_with_corosync() -> None:
    run_ = run(
        with_device(), 25, device(4, 1), device(4, 2), Kill(at=seconds(6), node=1), Restart(at=seconds(9), node=1)
    )
    assert verdicts(run_, 1, 9)[-1][1:] == (True, 3, 2)


def test_a_device_wants_to_be_configured() -> None:
    problem = check_intervention(QuorumDevice(node=1), cluster(3))
    assert problem is not None and problem[0] == "action"
    problem = check_intervention(QuorumDevice(node=1, vote="maybe"), with_device())
    assert problem == ("vote", "unknown vote 'maybe'; use granted, withdrawn or silent")
    session = Simulation(Scenario(), cluster(3))
    with pytest.raises(ValueError, match="no quorum device"):
        session.intervene(QuorumDevice(node=1))


# ------------------------------------------------------------------------------------------------------- the operator


def test_pvecm_expected_makes_a_lonely_node_quorate_and_cannot_take_quorum_away() -> None:
    run_ = run(
        cluster(3),
        60,
        ExpectedVotes(at=seconds(4), node=1, votes=9),
        Cut(at=seconds(5), nodes=(3,)),
        ExpectedVotes(at=seconds(20), node=3, votes=1),
        Heal(at=seconds(25)),
    )
    answers = [(event.node, body.answer) for event, body in found(run_.timeline, ToolAnswered)]
    assert answers == [(1, "INVALID_PARAM"), (3, "OK")]
    assert [row[1:] for row in verdicts(run_, 3, 6)] == [(False, 1, 2), (True, 1, 1), (True, 3, 2)]


def test_a_tool_without_corosync_gets_no_answer() -> None:
    run_ = run(cluster(2), 8, Kill(at=seconds(4), node=2), ExpectedVotes(at=seconds(5), node=2, votes=1))
    assert [body.answer for _, body in found(run_.timeline, ToolAnswered)] == ["LIBRARY"]


# ---------------------------------------------------------------------------------------------- expected_votes_tracking


def tracking(*, faithful: bool, interventions: tuple[AnyIntervention, ...]) -> World:
    conf = cluster(3, "expected_votes_tracking: 1")
    conf = msgspec.structs.replace(conf, quirks=Quirks(ev_tracking_never_saved=faithful))
    world = World(Scenario(host_model=HostModel.MEASURED, interventions=interventions), conf)
    world.run_until(int(seconds(30)))
    return world


def test_the_file_of_the_tracked_votes_survives_a_restart() -> None:
    again = (Kill(at=seconds(8), node=1), Restart(at=seconds(20), node=1))
    world = tracking(faithful=False, interventions=again)
    assert [body.votes for _, body in found(world.timeline, ExpectedVotesStored, node=1)] == [0, 3, 3]
    assert world.hosts[1].disk.read_file("ev_tracking") == (3).to_bytes(4, "little")
    assert not found(tracking(faithful=True, interventions=again).timeline, ExpectedVotesStored)


def test_saving_the_tracked_votes_stops_the_main_thread_for_as_long_as_the_disk_takes() -> None:
    """The daemon of node 3 starts on a stalled disk: votequorum waits for it before there is a ring."""
    stalled = (
        Kill(at=seconds(8), node=3),
        StallDisk(at=seconds(19), node=3, duration=seconds(4)),
        Restart(at=seconds(20), node=3),
    )

    def blocks(faithful: bool) -> list[str]:
        timeline = tracking(faithful=faithful, interventions=stalled).timeline
        return [
            body.why
            for event, body in found(timeline, ProcessBlocked, node=3)
            if event.time_ns >= seconds(20) and "corosync" in body.processes
        ]

    assert blocks(faithful=False)[0] == "fsync of ev_tracking"
    assert blocks(faithful=True)[0].startswith("writing the ring-id file")
