"""Votes and majorities, by table: who is quorate when a cluster shrinks, splits and grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.corosync.bus import Bus, StandInReassembler, StandInRing
from totemviz.corosync.conf import CorosyncConf, load, parse
from totemviz.corosync.daemon import Daemon
from totemviz.corosync.decoders import decode_message
from totemviz.corosync.effects import CpgError, QuorumChanged, StoreExpectedVotes
from totemviz.corosync.quirks import Quirks
from totemviz.corosync.quorum import view_lines
from totemviz.corosync.votequorum import Votequorum, VotequorumTimer
from totemviz.corosync.votes import NodeFlag, majority
from totemviz.corosync.wire import NodeInfo, QdeviceRegister, QdeviceRename
from totemviz.totem.effects import Level, Log, RingId, SetTimer, TotemTimer

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
        (["allow_downscale: 1"], (True, 4, 4)),
        (["allow_downscale: 1", "expected_votes: 3"], (True, 4, 4)),
    ],
)
def test_clean_leaves_under_allow_downscale(options: list[str], after: tuple[bool, int, int]) -> None:
    """Seven nodes, three leave one after the other.

    Fewer votes are expected, but quorum stays at the majority of the nodelist: allow_downscale implies
    expected_votes_tracking, and that makes quorum.expected_votes, which should be the floor, count for nothing.
    """
    bus = Bus(cluster([1] * 7, *options))
    leave(bus, 7, 6, 5)
    assert verdicts(bus, 1, 2, 3, 4) == [after]


def leave(bus: Bus, *leavers: int) -> None:
    """The last nodes leave, one after the other."""
    bus.settle(*range(1, leavers[0] + 1))
    for leaver in leavers:
        bus.outputs[leaver].extend(bus.daemons[leaver].shutdown(0))
        bus.rotate(*range(1, leaver + 1))
        assert bus.daemons[leaver].exited
        bus.settle(*range(1, leaver))


def test_a_crash_does_not_downscale() -> None:
    bus = Bus(cluster([1] * 5, "allow_downscale: 1", "expected_votes: 3"))
    bus.settle(1, 2, 3, 4, 5)
    bus.settle(1, 2, 3, 4)
    assert verdicts(bus, 1, 2, 3, 4) == [(True, 5, 3)]


# ------------------------------------------------------------------------------------------------- the quorum device


def with_device(votes: list[int], *keys: str) -> Bus:
    bus = Bus(cluster(votes, "device {", "model: net", "votes: 1", *keys, "}"))
    everybody = range(1, len(votes) + 1)
    bus.settle(*everybody)
    for node in everybody:
        assert ask(bus, node, lambda votequorum: votequorum.device.register("Qdevice")) is CpgError.OK
    bus.rotate(*everybody)
    grant(bus, True, *everybody)
    return bus


def ask(bus: Bus, node: int, request: Callable[[Votequorum], CpgError]) -> CpgError:
    error, outputs = bus.daemons[node].ask_votequorum(bus.now_ns, request)
    bus.outputs[node].extend(outputs)
    return error


def grant(bus: Bus, cast_vote: bool, *nodes: int) -> None:
    for node in nodes:
        ring_id = bus.rings[node].ring_id
        assert ask(bus, node, lambda v, r=ring_id: v.poll_device(r, cast_vote, "Qdevice")) is CpgError.OK  # type: ignore[misc]
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


def test_without_a_device_daemon_its_votes_are_expected_and_missing() -> None:
    bus = Bus(cluster([1, 1, 1, 1], "device {", "model: net", "votes: 1", "}"))
    assert verdicts(bus, 1) == [(False, 4, 3)]  # at the start they are not in the sum
    bus.settle(1, 2, 3, 4)
    assert verdicts(bus, 1, 2, 3, 4) == [(True, 5, 3)]
    assert bus.daemons[1].votequorum.total_votes == 4


def test_a_vote_that_is_withdrawn_and_granted_again() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    grant(bus, True, 1)
    grant(bus, False, 1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
    grant(bus, True, 1)
    assert verdicts(bus, 1) == [(True, 3, 2)]


def test_a_silent_device_is_lost_after_its_timeout() -> None:
    bus = with_device([1, 1], "timeout: 4000")
    timers = [out.delay_ns for out in bus.of(1, SetTimer) if out.timer == VotequorumTimer.QDEVICE]  # type: ignore[attr-defined]
    assert timers == [4_000_000_000]
    bus.form(1)
    grant(bus, True, 1)
    bus.expire(VotequorumTimer.QDEVICE, 1)
    bus.rotate(1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
    assert "info VOTEQ lost contact with quorum device Qdevice" in bus.lines(1, "VOTEQ")


def test_sync_waits_for_the_device_and_not_for_ever() -> None:
    bus = with_device([1, 1], "sync_timeout: 7000")
    bus.forget()
    bus.form(1)
    for _ in range(20):
        bus.hop(1)
    assert bus.daemons[1].sync_in_process
    timers = [out.delay_ns for out in bus.of(1, SetTimer) if out.timer == VotequorumTimer.QDEVICE]  # type: ignore[attr-defined]
    assert timers == [7_000_000_000]
    bus.expire(VotequorumTimer.QDEVICE, 1)
    bus.hop(1)
    bus.rotate(1)
    assert not bus.daemons[1].sync_in_process
    assert verdicts(bus, 1) == [(False, 3, 2)]  # a device that was not heard of has no votes
    assert "info VOTEQ lost contact with quorum device Qdevice" in bus.lines(1, "VOTEQ")


def test_the_rows_are_sent_before_the_wait_and_once() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    bus.rings[1].submitted.clear()
    for _ in range(20):
        bus.hop(1)
    sent = [decode_message(message)[1] for message in bus.rings[1].submitted]
    rows = [one.nodeid for one in sent if isinstance(one, NodeInfo)]
    assert rows == [1, 0]
    assert [one.operation for one in sent if isinstance(one, QdeviceRegister)] == [1]


def test_requests_of_a_device_that_do_not_fit() -> None:
    bus = with_device([1, 1])
    votequorum = bus.daemons[1].votequorum
    ring_id = bus.rings[1].ring_id
    assert votequorum.poll_device(RingId(1, 9999), False, "Qdevice") is CpgError.MESSAGE_ERROR
    assert votequorum.us.flags & NodeFlag.QDEVICE_CAST_VOTE
    assert votequorum.poll_device(ring_id, False, "other") is CpgError.INVALID_PARAM
    assert votequorum.device.register("Qdevice") is CpgError.OK
    assert votequorum.device.register("other") is CpgError.EXIST
    assert votequorum.device.unregister("other") is CpgError.INVALID_PARAM
    bare = Bus(LAB).daemons[1].votequorum
    assert bare.poll_device(ring_id, True, "Qdevice") is CpgError.NOT_EXIST
    assert bare.device.unregister("Qdevice") is CpgError.NOT_EXIST
    assert bare.device.set_master_wins(True, "Qdevice") is CpgError.NOT_EXIST
    assert bare.device.register("Qdevice") is CpgError.OK
    assert bare.device.register("Qdevice") is CpgError.TRY_AGAIN


def test_an_unregistered_device_takes_its_vote_along() -> None:
    bus = with_device([1, 1])
    bus.form(1)
    grant(bus, True, 1)
    assert ask(bus, 1, lambda votequorum: votequorum.device.unregister("Qdevice")) is CpgError.OK
    bus.rotate(1)
    assert verdicts(bus, 1) == [(False, 3, 2)]
    assert bus.daemons[1].votequorum.device.name == ""


def test_the_device_may_be_renamed() -> None:
    bus = with_device([1, 1])
    rename = QdeviceRename(b"Qdevice".ljust(255, b"\0"), b"Other".ljust(255, b"\0"))
    bus.daemons[1].multicast(rename.encode())
    bus.rotate(1, 2)
    assert {bus.daemons[node].votequorum.device.name for node in (1, 2)} == {"Other"}


def test_master_wins_lets_the_side_with_the_device_go_on_alone() -> None:
    """Five nodes with a device of one vote; one node is cut off with the device's vote."""
    bus = with_device([1, 1, 1, 1, 1])
    assert verdicts(bus, 1) == [(True, 6, 4)]
    bus.form(1)
    grant(bus, True, 1)
    assert verdicts(bus, 1) == [(False, 6, 4)]
    assert ask(bus, 1, lambda votequorum: votequorum.device.set_master_wins(True, "Qdevice")) is CpgError.OK
    bus.rotate(1)
    assert verdicts(bus, 1) == [(True, 6, 4)]
    assert "debug VOTEQ node is quorate as part of master_wins partition" in bus.lines(1, "VOTEQ")
    grant(bus, False, 1)
    assert verdicts(bus, 1) == [(False, 6, 4)]


# ------------------------------------------------------------------------------------- the operator's expected votes


@pytest.mark.parametrize(
    ("members", "votes", "error", "after"),
    [
        ([1, 2], 2, CpgError.OK, (True, 2, 2)),
        ([1, 2], 3, CpgError.OK, (True, 3, 2)),
        ([1, 2], 1, CpgError.INVALID_PARAM, (False, 5, 3)),  # fewer than are here
        ([1, 2], 4, CpgError.OK, (False, 4, 3)),  # not enough to help, but it is not quorate anyhow
        ([1, 2, 3], 6, CpgError.INVALID_PARAM, (True, 5, 3)),  # would cost quorum
        ([1, 2, 3], 3, CpgError.OK, (True, 3, 2)),
    ],
)
def test_pvecm_expected(members: list[int], votes: int, error: CpgError, after: tuple[bool, int, int]) -> None:
    bus = Bus(cluster([1] * 5))
    bus.settle(1, 2, 3, 4, 5)
    bus.settle(*members)
    assert ask(bus, members[-1], lambda votequorum: votequorum.set_expected(votes)) is error
    bus.rotate(*members)
    assert verdicts(bus, *members) == [after]


def test_a_lowered_expectation_rises_again_with_the_nodes() -> None:
    bus = Bus(cluster([1] * 3))
    bus.settle(1, 2, 3)
    bus.settle(1)
    assert ask(bus, 1, lambda votequorum: votequorum.set_expected(1)) is CpgError.OK
    bus.rotate(1)
    assert verdicts(bus, 1) == [(True, 1, 1)]
    bus.settle(1, 2, 3)
    assert verdicts(bus, 1, 2, 3) == [(True, 3, 2)]


# ------------------------------------------------------------------------------------------- expected_votes_tracking


def tracking(saved: int, *, faithful: bool) -> tuple[Daemon, list[object]]:
    conf = cluster([1, 1, 1], "expected_votes_tracking: 1", "expected_votes: 2")
    conf = msgspec.structs.replace(conf, quirks=Quirks(ev_tracking_never_saved=faithful))
    daemon = Daemon(1, conf, StandInRing(1), StandInReassembler(), tracked_votes=saved)
    return daemon, [*daemon.start(0), *daemon.expire(0, TotemTimer.STARTUP)]


def test_tracked_votes_are_expected_from_the_start() -> None:
    daemon, outputs = tracking(7, faithful=False)
    assert (daemon.votequorum.us.expected_votes, daemon.votequorum.quorum) == (7, 4)
    assert [out.votes for out in outputs if isinstance(out, StoreExpectedVotes)] == [7]
    daemon, outputs = tracking(0, faithful=False)
    assert daemon.votequorum.us.expected_votes == 3  # the nodelist, not quorum.expected_votes
    assert [out.votes for out in outputs if isinstance(out, StoreExpectedVotes)] == [0, 3]


def test_the_real_one_never_saves_them() -> None:
    daemon, outputs = tracking(0, faithful=True)
    assert not any(isinstance(out, StoreExpectedVotes) for out in outputs)
    lines = [out for out in outputs if isinstance(out, Log) and "ev_tracking_barrier on disk" in out.text]
    assert [line.level for line in lines] == [Level.WARNING, Level.WARNING]
    assert daemon.votequorum.tracked_votes == 3


def test_last_man_standing_with_more_than_one_vote_is_disabled() -> None:
    bus = Bus(cluster([1, 1, 2], "last_man_standing: 1"))
    bus.settle(1, 2, 3)
    bus.forget()
    bus.settle(1, 3)
    assert not [out for out in bus.of(1, SetTimer) if out.timer == VotequorumTimer.LAST_MAN_STANDING]  # type: ignore[attr-defined]


def test_last_man_standing_with_a_tie_breaker_looks_at_the_lowest_node_whatever_the_list_says() -> None:
    bus = Bus(cluster([1] * 4, "last_man_standing: 1", "auto_tie_breaker: 1", "auto_tie_breaker_node: 4"))
    bus.settle(1, 2, 3, 4)
    bus.forget()
    bus.settle(1, 2)
    bus.settle(3, 4)

    def counts_anew(node: int) -> bool:
        return any(out.timer == VotequorumTimer.LAST_MAN_STANDING for out in bus.of(node, SetTimer))  # type: ignore[attr-defined]

    assert counts_anew(1)
    assert not counts_anew(3)


def test_what_votequorum_does_not_like_is_said_at_its_start() -> None:
    bus = Bus(cluster([1, 1], "two_node: 1", "auto_tie_breaker: 1"))
    said = [line for line in bus.lines(1, "VOTEQ") if line.startswith("crit")]
    assert said == [
        "crit VOTEQ two_node and auto_tie_breaker are both specified but are not compatible.",
        "crit VOTEQ two_node has been disabled, please fix your corosync.conf",
    ]
