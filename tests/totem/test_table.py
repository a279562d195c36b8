"""Every cell of the event × state table (sheet §4.6): what the node does, and into which state it goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.totem.cluster import MS, Cluster
from totemviz.totem.effects import (
    CancelTimer,
    ConfigurationChange,
    Log,
    RingId,
    Send,
    StateEntered,
    StoreRingId,
    TokenIgnored,
    TokenReceived,
    TokenReleased,
    TotemTimer,
)
from totemviz.totem.states import Gather, State
from totemviz.totem.table import TABLE, Input
from totemviz.totem.wire import (
    EMPTY_ENTRY,
    ENCAPSULATED,
    CommitEntry,
    CommitToken,
    HoldCancel,
    Join,
    Mcast,
    MergeDetect,
    Token,
    decode,
)

OP, G, C, R = State.OPERATIONAL, State.GATHER, State.COMMIT, State.RECOVERY


def in_state(state: State, node: int = 2) -> Cluster:
    """Three nodes, one ring; the death of node 3 takes ``node`` as far as ``state``."""
    cluster = Cluster(3)
    cluster.form(idle=True)
    if state is not OP:
        cluster.kill(3)
        cluster.until(lambda: cluster.rings[node].state is state)
    return cluster


def entered(outputs: list) -> list[tuple[str, int]]:
    return [(body.state, body.reason) for body in outputs if isinstance(body, StateEntered)]


def sent(outputs: list, kind: type) -> list:
    messages = [decode(output.datagram) for output in outputs if isinstance(output, Send)]
    return [message for message in messages if isinstance(message, kind)]


def test_the_table_is_complete() -> None:
    assert all(set(row) == set(State) for row in TABLE.values())
    assert set(TABLE) == set(Input)
    assert all(cell.text for row in TABLE.values() for cell in row.values())


# ------------------------------------------------------------------------------------------------------------ timers


@pytest.mark.parametrize(
    ("state", "reasons"),
    [
        (OP, [Gather.TOKEN_LOST_OPERATIONAL]),
        (C, [Gather.TOKEN_LOST_COMMIT]),
        (R, [Gather.TOKEN_LOST_RECOVERY]),
    ],
)
def test_token_loss(state: State, reasons: list[Gather]) -> None:
    cluster = in_state(state)
    outputs = cluster.expire(2, TotemTimer.TOKEN_LOSS)
    assert entered(outputs) == [("GATHER", reason) for reason in reasons]
    assert len(sent(outputs, Join)) == 1
    lines = [body.text for body in outputs if isinstance(body, Log)]
    assert f"The token was lost in the {state.value} state." in lines
    assert any(line.startswith("A processor failed") for line in lines) is (state is OP)
    assert cluster.rings[2].instance.orf_token_discard


def test_token_loss_in_gather_ends_an_agreement_without_result() -> None:
    cluster = in_state(G)
    node = cluster.rings[2].instance
    node.consensus = set(node.proc)
    outputs = cluster.expire(2, TotemTimer.TOKEN_LOSS)
    assert entered(outputs) == [("GATHER", Gather.CONSENSUS_EXPIRED)]
    assert node.failed == []


def test_consensus_without_agreement_gives_up_on_the_silent() -> None:
    cluster = in_state(G)
    outputs = cluster.expire(2, TotemTimer.CONSENSUS)
    assert entered(outputs) == [("GATHER", Gather.CONSENSUS_TIMEOUT)]
    assert cluster.rings[2].instance.failed == [1, 3]
    assert sent(outputs, Join)[0].failed == (1, 3)


def test_consensus_with_agreement_waits_for_the_commit_token() -> None:
    cluster = in_state(G)
    node = cluster.rings[2].instance
    node.consensus = set(node.proc)
    outputs = cluster.expire(2, TotemTimer.CONSENSUS)
    assert entered(outputs) == []
    assert node.consensus == {2}
    assert {output.timer for output in outputs} == {TotemTimer.TOKEN_LOSS, TotemTimer.TOKEN_WARNING}


@pytest.mark.parametrize("state", [OP, C, R])
def test_consensus_is_for_gather_only(state: State) -> None:
    assert in_state(state).expire(2, TotemTimer.CONSENSUS) == []


@pytest.mark.parametrize(("state", "joins"), [(OP, 0), (G, 1), (C, 1), (R, 0)])
def test_join_timer(state: State, joins: int) -> None:
    assert len(sent(in_state(state).expire(2, TotemTimer.JOIN), Join)) == joins


# ------------------------------------------------------------------------------------------------------------ tokens


def next_token(cluster: Cluster, node: int) -> Token:
    ring = cluster.rings[node].instance
    token_seq = (ring.token_seq + 3) & 0xFFFFFFFF
    return Token(1, node, ring.aru, token_seq, ring.aru, 0, ring.ring_id)


def test_orf_token() -> None:
    for state, kind in ((OP, TokenReceived), (G, TokenIgnored), (R, TokenReceived)):
        cluster = in_state(state)
        outputs = cluster.inject(2, next_token(cluster, 2))
        assert any(isinstance(body, kind) for body in outputs), state
        assert bool(sent(outputs, Token)) is (kind is TokenReceived)
    cluster = in_state(C)
    assert not sent(cluster.inject(2, next_token(cluster, 2)), Token)


def commit_token(cluster: Cluster, ring_seq: int, addr: tuple[int, ...] = (1, 2), index: int = 1) -> CommitToken:
    filled = CommitEntry(RingId(1, 9), 0, 0, 1)
    entries = tuple(filled if i < index else EMPTY_ENTRY for i in range(len(addr)))
    return CommitToken(1, 2, 1, RingId(1, ring_seq), index, addr, entries)


def gathering_without(*failed: int) -> Cluster:
    cluster = in_state(G)
    cluster.rings[2].instance.failed = list(failed)
    return cluster


def test_commit_token_in_operational_is_ignored() -> None:
    assert entered(in_state(OP).inject(2, commit_token(in_state(OP), 1000))) == []


def test_commit_token_in_gather_for_my_candidates_and_a_newer_ring() -> None:
    cluster = gathering_without(3)
    outputs = cluster.inject(2, commit_token(cluster, 1000))
    assert entered(outputs) == [("COMMIT", -1)]
    forwarded = sent(outputs, CommitToken)[0]
    assert (forwarded.memb_index, forwarded.token_seq) == (2, 2)
    assert forwarded.entries[1].ring_id == RingId(1, 9)
    assert StoreRingId(1000) in outputs
    assert {output.timer for output in outputs if isinstance(output, CancelTimer)} >= {
        TotemTimer.JOIN,
        TotemTimer.CONSENSUS,
    }


@pytest.mark.parametrize(("ring_seq", "addr"), [(9, (1, 2)), (8, (1, 2)), (1000, (1, 2, 3)), (1000, (2,))])
def test_commit_token_in_gather_for_others_or_an_old_ring(ring_seq: int, addr: tuple[int, ...]) -> None:
    cluster = gathering_without(3)
    assert entered(cluster.inject(2, commit_token(cluster, ring_seq, addr))) == []


def test_commit_token_in_commit() -> None:
    cluster = in_state(C)
    seq = cluster.rings[2].ring_id.seq
    assert entered(cluster.inject(2, commit_token(cluster, seq, index=1))) == [], "it has not been everywhere"
    assert entered(cluster.inject(2, commit_token(cluster, seq + 4, index=2))) == [], "it is for another ring"
    assert entered(cluster.inject(2, commit_token(cluster, seq, index=2))) == [("RECOVERY", -1)]


def test_commit_token_in_recovery_starts_the_ring_once() -> None:
    cluster = in_state(R, node=1)
    token = commit_token(cluster, cluster.rings[1].ring_id.seq, index=2)
    first = sent(cluster.inject(1, token), Token)
    assert [(t.seq, t.token_seq, t.aru, t.aru_addr) for t in first] == [(0, 0, 0xFFFFFFFF, 1)]
    assert sent(cluster.inject(1, token), Token) == []
    other = in_state(R, node=2)
    assert sent(other.inject(2, token), Token) == []


# ---------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(("state", "delivered"), [(OP, 1), (G, 0)])
def test_own_mcast_is_stored(state: State, delivered: int) -> None:
    cluster = in_state(state)
    node = cluster.rings[2].instance
    mcast = Mcast(1, 0, 1, node.aru + 1, 0, node.ring_id, b"\0\0\0\0\0\0\1\0\1\0x")
    before = node.aru
    cluster.inject(2, mcast)
    assert node.aru == before + 1
    assert len(cluster.packets[2]) == delivered


def test_own_mcast_in_recovery_goes_where_its_encapsulation_says() -> None:
    cluster = in_state(R)
    node = cluster.rings[2].instance
    cluster.inject(2, Mcast(1, 0, 1, 1, 0, node.ring_id, b"", ENCAPSULATED))
    assert 1 in node.recovery
    assert node.aru == 1
    assert cluster.packets[2] == []


FOREIGN = RingId(9, 77)


@pytest.mark.parametrize(
    ("message", "operational", "gather"),
    [
        (
            lambda sender: Mcast(sender, 0, sender, 1, 0, FOREIGN, b""),
            Gather.FOREIGN_MESSAGE_OPERATIONAL,
            Gather.FOREIGN_MESSAGE_GATHER,
        ),
        (
            lambda sender: MergeDetect(sender, 0, sender, FOREIGN),
            Gather.MERGE_OPERATIONAL,
            Gather.MERGE_GATHER,
        ),
    ],
    ids=["mcast", "merge detect"],
)
def test_foreign(message: Callable[[int], Mcast | MergeDetect], operational: Gather, gather: Gather) -> None:
    cluster = in_state(OP)
    assert entered(cluster.inject(2, message(9))) == [("GATHER", operational)]
    assert 9 in cluster.rings[2].instance.proc
    cluster = in_state(G)
    assert entered(cluster.inject(2, message(1))) == [], "known already"
    assert entered(cluster.inject(2, message(9))) == [("GATHER", gather)]
    for state in (C, R):
        cluster = in_state(state)
        assert entered(cluster.inject(2, message(9))) == []
        assert 9 not in cluster.rings[2].instance.proc


def test_merge_detect_of_the_own_ring_is_nothing() -> None:
    cluster = in_state(OP)
    assert cluster.inject(2, MergeDetect(1, 0, 1, cluster.rings[2].ring_id)) == []


# ------------------------------------------------------------------------------------------------------------- joins


def join(
    sender: int, ring_seq: int, proc: tuple[int, ...], failed: tuple[int, ...] = (), *, leave: bool = False
) -> Join:
    return Join(0 if leave else sender, 0, sender, ring_seq, proc, failed)


@pytest.mark.parametrize(
    ("message", "reasons", "proc", "failed"),
    [
        (join(1, 9, (1, 2, 3)), [Gather.JOIN_OPERATIONAL], [1, 2, 3], []),
        (join(1, 9, (1, 2)), [Gather.JOIN_OPERATIONAL], [1, 2, 3], []),
        (join(4, 1, (4,)), [Gather.MERGE_JOIN], [1, 2, 3, 4], []),
        (join(1, 9, (1, 2, 3), (3,)), [Gather.MERGE_JOIN], [1, 2, 3], [3]),
        (join(4, 1, (4, 2), (3,)), [Gather.MERGE_JOIN], [1, 2, 3, 4], []),  # a stranger's failures are not believed
        (join(1, 9, (1, 2, 3), (2,)), [], [1, 2, 3], []),  # it names me: ignored while operational
        (join(1, 8, (1, 2, 3)), [], [1, 2, 3], []),  # stale
        (join(3, 9, (1, 2), (3,), leave=True), [Gather.MERGE_JOIN], [1, 2, 3], [3]),
    ],
)
def test_join_in_operational(message: Join, reasons: list[Gather], proc: list[int], failed: list[int]) -> None:
    cluster = in_state(OP)
    node = cluster.rings[2].instance
    assert entered(cluster.inject(2, message)) == [("GATHER", reason) for reason in reasons]
    assert (sorted(node.proc), node.failed) == (proc, failed)
    assert node.token_ring_id_seq >= message.ring_seq


@pytest.mark.parametrize(
    ("message", "reasons", "failed", "consenting"),
    [
        (join(1, 9, (1, 2, 3)), [], [], {1, 2}),
        (join(1, 9, (1, 2)), [], [], {2}),  # it is behind
        (join(1, 9, (1, 2, 3), (2,)), [Gather.MERGE_JOIN], [1], {2}),  # mutual rejection
        (join(1, 9, (1, 2, 3), (3,)), [Gather.MERGE_JOIN], [3], {2}),
    ],
)
def test_join_in_gather(message: Join, reasons: list[Gather], failed: list[int], consenting: set[int]) -> None:
    cluster = Cluster(3)
    cluster.form(idle=True)
    cluster.kill(3)
    cluster.kill(1)
    cluster.until(lambda: cluster.rings[2].state is G)
    node = cluster.rings[2].instance
    assert entered(cluster.inject(2, message)) == [("GATHER", reason) for reason in reasons]
    assert node.failed == failed
    assert node.consensus == consenting


def test_join_of_one_given_up_on_is_ignored() -> None:
    cluster = gathering_without(3)
    assert entered(cluster.inject(2, join(3, 9, (1, 2, 3, 9), ()))) == []
    assert 9 not in cluster.rings[2].instance.proc


def test_a_leave_is_no_consent() -> None:
    cluster = in_state(G)
    node = cluster.rings[2].instance
    cluster.inject(2, Join(0, 0, 1, 9, tuple(node.proc), tuple(node.failed)))
    assert node.consensus == {2}


@pytest.mark.parametrize(
    ("state", "reasons"), [(C, [Gather.JOIN_COMMIT]), (R, [Gather.TOKEN_LOST_RECOVERY, Gather.JOIN_RECOVERY])]
)
def test_join_in_commit_and_recovery(state: State, reasons: list[Gather]) -> None:
    cluster = in_state(state)
    seq = cluster.rings[2].ring_id.seq
    assert entered(cluster.inject(2, join(1, seq - 1, (1, 2, 3), (3,)))) == [], "older than this attempt"
    assert entered(cluster.inject(2, join(3, seq, (1, 2, 3), (3,)))) == [], "not a candidate"
    assert entered(cluster.inject(2, join(1, seq, (1, 2, 3), (3,)))) == [("GATHER", reason) for reason in reasons]


# ------------------------------------------------------------------------------------------------------- hold cancel


@pytest.mark.parametrize("state", [OP, G, C, R])
def test_hold_cancel(state: State) -> None:
    cluster = in_state(state, node=1)
    node = cluster.rings[1].instance
    node.seq_unchanged = 40
    assert cluster.inject(1, HoldCancel(2, 0, FOREIGN)) == []
    assert node.seq_unchanged == 40
    outputs = cluster.inject(1, HoldCancel(2, 0, node.ring_id))
    assert node.seq_unchanged == 0
    released = any(isinstance(body, TokenReleased) for body in outputs)
    # in GATHER the representative of a former ring stays silent: its token is gone
    assert released is (state is not G)


def test_only_the_representative_releases() -> None:
    cluster = in_state(OP)
    assert cluster.inject(2, HoldCancel(3, 0, cluster.rings[2].ring_id)) == []


def test_garbage_is_logged_and_nothing_else() -> None:
    cluster = in_state(OP)
    outputs = cluster.rings[2].receive(cluster.now_ns, b"garbage")
    assert [type(output) for output in outputs] == [Log]


def test_nothing_is_heard_before_the_links_are_up() -> None:
    cluster = Cluster(2)
    cluster.start()
    assert cluster.inject(2, MergeDetect(1, 0, 1, FOREIGN)) == []
    cluster.run(99 * MS)
    assert not any(isinstance(body, ConfigurationChange) for body in cluster.bodies(ConfigurationChange))
