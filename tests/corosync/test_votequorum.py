"""Votes and majorities, by table: who is quorate when a cluster shrinks, splits and grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corosync.bus import Bus
from totemviz.corosync.conf import CorosyncConf, load, parse
from totemviz.corosync.effects import QuorumChanged
from totemviz.corosync.quorum import view_lines
from totemviz.corosync.votequorum import majority
from totemviz.totem.effects import RingId

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
