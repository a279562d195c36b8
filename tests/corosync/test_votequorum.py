"""Votes and majorities, by table: who is quorate when a cluster shrinks, splits and grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corosync.bus import Bus
from totemviz.corosync.conf import CorosyncConf, load, parse
from totemviz.corosync.effects import QuorumChanged
from totemviz.corosync.quorum import view_lines
from totemviz.corosync.votequorum import NodeFlag, VotequorumTimer, majority
from totemviz.totem.effects import RingId, SetTimer

DATA = Path(__file__).parent / "data"
LAB = load(DATA / "lab-3-nodes-udpu.conf")
FIVE = load(DATA / "proxmox-5-nodes.conf")


def cluster(votes: list[int], *options: str) -> CorosyncConf:
    nodes = "".join(
        f"node {{\nnodeid: {number}\nring0_addr: n{number}\nquorum_votes: {count}\n}}\n"
        for number, count in enumerate(votes, 1)
    )
    quorum = "\n".join(["provider: corosync_votequorum", *options])
    return parse(f"totem {{\nversion: 2\n}}\nnodelist {{\n{nodes}}}\nquorum {{\n{quorum}\n}}\n", "table")


@pytest.mark.parametrize(("votes", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (32, 17)])
def test_majority(votes: int, needed: int) -> None:
    assert majority(votes) == needed


FIVE_SPLITS = [  # echo (7) has two of the six votes
    ([1, 2, 3, 5, 7], True),
    ([1, 2, 3, 5], True),
    ([2, 3, 7], True),
    ([1, 7], False),
    ([1, 2, 3], False),
    ([7], False),
]


@pytest.mark.parametrize(("members", "quorate"), FIVE_SPLITS)
def test_uneven_votes(members: list[int], quorate: bool) -> None:
    bus = Bus(FIVE)
    bus.settle(1, 2, 3, 5, 7)
    bus.forget()
    rest = [node for node in (1, 2, 3, 5, 7) if node not in members]
    bus.settle(*members)
    if rest:
        bus.settle(*rest)
    (change,) = bus.of(members[0], QuorumChanged)
    assert isinstance(change, QuorumChanged)
    votes = sum(FIVE.node(node).votes for node in members)
    assert (change.quorate, change.votes, change.expected_votes, change.quorum) == (quorate, votes, 6, 4)
    assert change.members == tuple(members)


def test_three_two_one_and_back() -> None:
    bus = Bus(LAB)
    bus.settle(1, 2, 3)
    bus.settle(1, 2)
    bus.settle(1)
    bus.settle(1, 2)
    told = [
        (change.quorate, change.votes, change.quorum, len(change.members))  # type: ignore[attr-defined]
        for change in bus.of(1, QuorumChanged)
    ]
    assert told == [(True, 3, 2, 3), (True, 2, 2, 2), (False, 1, 2, 1), (True, 2, 2, 2)]
    verdicts = [line for line in bus.lines(1, "QUORUM") if "component" in line]
    assert [("non-primary" in line) for line in verdicts] == [False, True, False]


# ------------------------------------------------------------------------------ options, each as a list of memberships

OPTIONS = [
    ("even cluster split in half", [1, 1, 1, 1], [], [([1, 2, 3, 4], True), ([1, 2], False), ([3, 4], False)]),
    ("two nodes, plain", [1, 1], [], [([1, 2], True), ([1], False)]),
    ("two nodes, two_node", [1, 1], ["two_node: 1"], [([1, 2], True), ([1], True), ([2], True)]),
    ("two_node waits for all at boot", [1, 1], ["two_node: 1"], [([1], False), ([1, 2], True), ([1], True)]),
    (
        "two_node without waiting",
        [1, 1],
        ["two_node: 1", "wait_for_all: 0"],
        [([1], True), ([2], True), ([1, 2], True)],
    ),
    ("wait_for_all", [1, 1, 1], ["wait_for_all: 1"], [([1, 2], False), ([1, 2, 3], True), ([1, 2], True)]),
    ("wait_for_all again after losing quorum", [1, 1, 1], ["wait_for_all: 1"], [([1, 2, 3], True), ([1], False)]),
    (
        "tie breaker, lowest",
        [1, 1, 1, 1],
        ["auto_tie_breaker: 1"],
        [([1, 2, 3, 4], True), ([1, 2], True), ([3, 4], False)],
    ),
    (
        "tie breaker, highest",
        [1, 1, 1, 1],
        ["auto_tie_breaker: 1", "auto_tie_breaker_node: highest"],
        [([1, 2, 3, 4], True), ([1, 2], False), ([3, 4], True)],
    ),
    (
        "tie breaker, list",
        [1, 1, 1, 1],
        ["auto_tie_breaker: 1", "auto_tie_breaker_node: 3 1"],
        [([1, 2, 3, 4], True), ([1, 2], False), ([3, 4], True)],
    ),
    ("tie breaker needs half", [1, 1, 1, 1], ["auto_tie_breaker: 1"], [([1, 2, 3, 4], True), ([1], False)]),
    ("expected_votes above the sum", [1, 1, 1], ["expected_votes: 5"], [([1, 2], False), ([1, 2, 3], True)]),
    ("a node without a vote", [1, 1, 1, 0], [], [([1, 2, 3, 4], True), ([1, 2], True), ([3, 4], False)]),
]


@pytest.mark.parametrize(("votes", "options", "steps"), [row[1:] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_options(votes: list[int], options: list[str], steps: list[tuple[list[int], bool]]) -> None:
    bus = Bus(cluster(votes, *options))
    for members, quorate in steps:
        bus.settle(*members)
        assert [bus.daemons[node].votequorum.quorate for node in members] == [quorate] * len(members), members
        assert [bus.daemons[node].quorum.quorate for node in members] == [quorate] * len(members), members


def test_waiting_for_all_is_said() -> None:
    bus = Bus(cluster([1, 1, 1], "wait_for_all: 1"))
    bus.settle(1, 2)
    assert "notice VOTEQ Waiting for all cluster members. Current votes: 2 expected_votes: 3" in bus.lines(1, "VOTEQ")


def test_an_inquorate_node_adopts_the_expected_votes_of_a_quorate_one() -> None:
    bus = Bus(cluster([1, 1, 1]))
    bus.settle(1, 2)
    bus.conf = cluster([1, 1, 5])
    bus.kill(3)
    bus.boot(3)
    assert bus.daemons[3].votequorum.us.expected_votes == 7
    bus.settle(1, 2, 3)
    rows = [bus.daemons[node].votequorum for node in (1, 2, 3)]
    assert [row.total_votes for row in rows] == [7, 7, 7]
    assert {row.quorum for row in rows} == {4}


def test_long_views_are_cut_as_corosync_cuts_them() -> None:
    assert view_lines("Members", (1, 2, 3)) == ["Members[3]: 1 2 3"]
    nodes = tuple(range(1001, 1016))
    first, second = view_lines("Sync members", nodes)
    text = "".join(f" {node}" for node in nodes)
    assert first == f"Sync members[15]:{text[:63]}\\"
    assert second == "Sync members[15]: 1013 1014 1015"


def test_the_verdict_names_the_ring() -> None:
    bus = Bus(LAB)
    ring_id = bus.settle(1, 2, 3)
    (change,) = bus.of(3, QuorumChanged)
    assert isinstance(change, QuorumChanged)
    assert change.ring_id == ring_id == RingId(1, 5)


# ------------------------------------------------------------------------------------- options that let quorum fall


def verdicts(bus: Bus, *nodes: int) -> list[tuple[bool, int, int]]:
    """(quorate, expected votes, quorum) as each node sees it, which must be the same."""
    rows = [bus.daemons[node].votequorum for node in nodes]
    return sorted({(row.quorate, row.us.expected_votes, row.quorum) for row in rows})


SHRINKING = [  # members, and what they see after the window: quorate, expected votes, quorum
    ([1, 2, 3, 4, 5], (True, 5, 3)),
    ([1, 2, 3, 4], (True, 4, 3)),
    ([1, 2, 3], (True, 3, 2)),
    ([1, 2], (True, 2, 2)),
]


def shrink(bus: Bus, steps: list[tuple[list[int], tuple[bool, int, int]]]) -> None:
    for members, wanted in steps:
        bus.settle(*members)
        if len(members) < 5:
            bus.expire(VotequorumTimer.LAST_MAN_STANDING, *members)
        assert verdicts(bus, *members) == [wanted]


def test_last_man_standing_shrinks_to_two_and_not_to_one() -> None:
    bus = Bus(cluster([1] * 5, "last_man_standing: 1", "wait_for_all: 1"))
    shrink(bus, SHRINKING)
    bus.settle(1)
    assert verdicts(bus, 1) == [(False, 2, 2)]


def test_last_man_standing_with_a_tie_breaker_shrinks_to_one() -> None:
    bus = Bus(cluster([1] * 5, "last_man_standing: 1", "auto_tie_breaker: 1", "wait_for_all: 1"))
    shrink(bus, SHRINKING)
    bus.settle(1)
    bus.expire(VotequorumTimer.LAST_MAN_STANDING, 1)
    assert verdicts(bus, 1) == [(True, 1, 1)]


def test_last_man_standing_grows_again() -> None:
    bus = Bus(cluster([1] * 5, "last_man_standing: 1", "wait_for_all: 1"))
    shrink(bus, SHRINKING)
    bus.settle(1, 2, 3, 4, 5)
    assert verdicts(bus, 1, 2, 3, 4, 5) == [(True, 5, 3)]


def test_the_window_is_awaited_and_two_losses_within_it_cost_quorum() -> None:
    bus = Bus(cluster([1] * 5, "last_man_standing: 1", "last_man_standing_window: 20000"))
    bus.settle(1, 2, 3, 4, 5)
    bus.settle(1, 2, 3, 4)
    timers = [out for out in bus.of(1, SetTimer) if out.timer == VotequorumTimer.LAST_MAN_STANDING]  # type: ignore[attr-defined]
    assert [timer.delay_ns for timer in timers] == [20_000_000_000]  # type: ignore[attr-defined]
    bus.settle(1, 2)
    assert verdicts(bus, 1, 2) == [(False, 5, 3)]
    bus.expire(VotequorumTimer.LAST_MAN_STANDING, 1, 2)
    assert verdicts(bus, 1, 2) == [(False, 5, 3)]


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ([], (True, 7, 4)),
        (["allow_downscale: 1"], (True, 4, 3)),
        (["allow_downscale: 1", "expected_votes: 3"], (True, 4, 3)),
        (["allow_downscale: 1", "expected_votes: 6"], (True, 6, 4)),
    ],
)
def test_clean_leaves_under_allow_downscale(options: list[str], after: tuple[bool, int, int]) -> None:
    """Seven nodes, three leave one after the other; the configured expected votes are the floor."""
    floor = options if len(options) != 1 else [*options, "expected_votes: 4"]
    bus = Bus(cluster([1] * 7, *floor))
    bus.settle(*range(1, 8))
    for leaver in (7, 6, 5):
        bus.outputs[leaver].extend(bus.daemons[leaver].shutdown(0))
        bus.rotate(*range(1, leaver + 1))
        assert bus.daemons[leaver].exited
        bus.settle(*range(1, leaver))
    assert verdicts(bus, 1, 2, 3, 4) == [after]


def test_a_crash_does_not_downscale() -> None:
    bus = Bus(cluster([1] * 5, "allow_downscale: 1", "expected_votes: 3"))
    bus.settle(1, 2, 3, 4, 5)
    bus.settle(1, 2, 3, 4)
    assert verdicts(bus, 1, 2, 3, 4) == [(True, 5, 3)]


# ------------------------------------------------------------------------------------------------- the quorum device


def with_device(votes: list[int]) -> Bus:
    bus = Bus(cluster(votes, "device {", "model: net", "votes: 1", "}"))
    everybody = range(1, len(votes) + 1)
    bus.settle(*everybody)
    for node in everybody:
        bus.outputs[node].extend(bus.daemons[node].qdevice_register(0, "Qdevice"))
    bus.rotate(*everybody)
    grant(bus, True, *everybody)
    return bus


def grant(bus: Bus, cast_vote: bool, *nodes: int) -> None:
    for node in nodes:
        known, outputs = bus.daemons[node].qdevice_poll(0, bus.rings[node].ring_id, cast_vote)
        bus.outputs[node].extend(outputs)
        assert known
    bus.rotate(*nodes)


def test_the_side_that_gets_the_devices_vote_is_quorate() -> None:
    bus = with_device([1, 1])
    assert verdicts(bus, 1, 2) == [(True, 3, 2)]
    assert bus.daemons[1].votequorum.total_votes == 3
    bus.form(1)
    bus.form(2)
    grant(bus, True, 1)
    grant(bus, False, 2)
    assert verdicts(bus, 1) == [(True, 3, 2)]
    assert verdicts(bus, 2) == [(False, 3, 2)]
    waits = "info VOTEQ waiting for quorum device Qdevice poll (but maximum for 30000 ms)"
    assert waits in bus.lines(1, "VOTEQ")


def test_a_vote_that_is_withdrawn_and_granted_again() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    grant(bus, True, 1)
    grant(bus, False, 1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
    grant(bus, True, 1)
    assert verdicts(bus, 1) == [(True, 3, 2)]


def test_a_silent_device_is_lost_after_its_timeout() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    grant(bus, True, 1)
    bus.expire(VotequorumTimer.QDEVICE, 1)
    bus.rotate(1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
    assert "info VOTEQ lost contact with quorum device Qdevice" in bus.lines(1, "VOTEQ")


def test_sync_waits_for_the_device_and_not_for_ever() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    for _ in range(20):
        bus.hop(1)
    assert bus.daemons[1].sync_in_process
    bus.expire(VotequorumTimer.QDEVICE_SYNC, 1)
    bus.hop(1)
    bus.rotate(1)
    assert not bus.daemons[1].sync_in_process


def test_a_poll_about_another_ring_counts_for_nothing() -> None:
    bus = with_device([1, 1])
    known, _ = bus.daemons[1].qdevice_poll(0, RingId(1, 9999), cast_vote=False)
    assert not known
    assert bus.daemons[1].votequorum.us.flags & NodeFlag.QDEVICE_CAST_VOTE


def test_an_unregistered_device_takes_its_vote_along() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    grant(bus, True, 1)
    bus.outputs[1].extend(bus.daemons[1].qdevice_unregister(0))
    bus.rotate(1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
