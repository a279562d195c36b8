"""A token visit step by step (sheet §5): allowance, retransmission, aru, hold, duplicates, failing to receive."""

from __future__ import annotations

import msgspec
import pytest

from tests.totem.cluster import MS, Cluster, config
from totemviz.totem.config import Quirks, Transport
from totemviz.totem.effects import (
    Log,
    MessageOrdered,
    MessagesMulticast,
    RetransmitChecked,
    Send,
    SetTimer,
    StateEntered,
    TokenIgnored,
    TokenPassed,
    TokenReceived,
    TokenReleased,
    TotemTimer,
)
from totemviz.totem.states import State
from totemviz.totem.wire import HoldCancel, Mcast, Token, decode


def ring_of(nodes: int = 3, *, idle: bool = True, **keys: object) -> Cluster:
    conf = msgspec.structs.replace(config(nodes, **keys), transport=Transport.UDPU)
    cluster = Cluster(nodes, conf)
    cluster.form(idle=idle)
    return cluster


def token_for(cluster: Cluster, nodeid: int, **fields: object) -> Token:
    """The next token for a node, with fields changed; nothing else is on its way."""
    node = cluster.rings[nodeid].instance
    token = Token(1, nodeid, node.aru, node.token_seq + 1, node.aru, 0, node.ring_id)
    for name, value in fields.items():
        setattr(token, name, value)
    return token


def visit(cluster: Cluster, nodeid: int, **fields: object) -> list:
    return cluster.rings[nodeid].receive(cluster.now_ns, token_for(cluster, nodeid, **fields).encode())


def one(outputs: list, kind: type):
    (found,) = [output for output in outputs if type(output) is kind]
    return found


def fill(cluster: Cluster, nodeid: int, packets: int) -> None:
    for number in range(packets):
        cluster.rings[nodeid].submit(cluster.now_ns, b"\x01\x00\x01\x00a", b"%04d" % number + b"x" * 1391)


# --------------------------------------------------------------------------------------------------------- allowance


@pytest.mark.parametrize(
    ("fields", "pbl", "queued", "allowance"),
    [
        ({}, 0, 0, 17),
        ({}, 0, 40, 17),
        ({"fcc": 40}, 0, 40, 10),
        ({"fcc": 50}, 0, 40, 0),
        ({"fcc": 51}, 0, 40, 17),  # the subtraction wraps, max_messages is left
        ({"backlog": 100}, 20, 20, 10),  # 50 * 20 / (100 + 20 - 20)
        ({"backlog": 1000}, 10, 10, 17),  # a share of 0 does not limit
        ({"backlog": 1000, "fcc": 48}, 30, 30, 1),
    ],
)
def test_allowance(fields: dict[str, int], pbl: int, queued: int, allowance: int) -> None:
    cluster = ring_of()
    cluster.rings[2].instance.pbl = pbl
    fill(cluster, 2, queued)
    outputs = visit(cluster, 2, **fields)
    assert one(outputs, RetransmitChecked).allowance == allowance
    assert one(outputs, MessagesMulticast).count == min(allowance, queued)


def test_flow_control_fields() -> None:
    cluster = ring_of()
    fill(cluster, 2, 20)
    passed = one(visit(cluster, 2, fcc=5, backlog=7), TokenPassed)
    assert (passed.fcc, passed.backlog) == (5 + 17, 7 + 20)
    passed = one(visit(cluster, 2, fcc=passed.fcc, backlog=passed.backlog, seq=passed.seq, aru=passed.seq), TokenPassed)
    assert (passed.fcc, passed.backlog) == (5 + 3, 7 + 3)


def test_nothing_new_while_the_sort_queue_is_full() -> None:
    cluster = ring_of()
    node = cluster.rings[2].instance
    fill(cluster, 2, 3)
    node.last_released = 0
    node.aru = node.high_seq_received = node.high_delivered = node.last_aru = 0
    outputs = visit(cluster, 2, seq=16384 - 17 - 50 + 1, aru=0)
    assert one(outputs, MessagesMulticast).count == 0


# ------------------------------------------------------------------------------------------------------ retransmission


def with_hole(*, lost: int = 1, **keys: object) -> tuple[Cluster, int]:
    """Node 2 sends, node 3 does not hear the first ``lost`` packets; the first seq of the hole."""
    cluster = ring_of(**keys)
    first = cluster.rings[3].instance.aru + 1
    seqs = range(first, first + lost)
    cluster.hooks.append(lambda _, target, m: [] if target == 3 and isinstance(m, Mcast) and m.seq in seqs else None)
    return cluster, first


def test_a_hole_is_asked_for_at_the_fifth_visit_and_served_by_the_next_holder() -> None:
    cluster, hole = with_hole()
    dropped = cluster.hooks.pop()
    cluster.hooks.append(dropped)
    cluster.submit(2, b"lost on its way to 3")
    cluster.until(lambda: any(body.requested for body in cluster.bodies(RetransmitChecked, 3)))
    cluster.hooks.clear()
    checks = cluster.bodies(RetransmitChecked, 3)
    counts = [count for body in checks for seq, count in body.missing if seq == hole]
    assert counts == [1, 2, 3, 4]
    assert checks[-1].requested == (hole,)
    assert cluster.bodies(TokenPassed, 3)[-1].rtr == (hole,)
    cluster.run(5 * MS)
    resent = [
        (e.node, e.body.resent) for e in cluster.timeline if isinstance(e.body, RetransmitChecked) and e.body.resent
    ]
    assert resent == [(1, (hole,))], "node 1 comes first on the token's way, though node 2 is the originator"
    lists = [body.text for body in cluster.bodies(Log) if body.text.startswith("Retransmit List: ")]
    assert lists == [f"Retransmit List: {hole:x} "]
    assert cluster.delivered[3][-1].endswith(b"lost on its way to 3")
    assert cluster.check() == []


def test_messages_behind_a_hole_wait_and_others_go_on() -> None:
    cluster, _ = with_hole()
    cluster.submit(2, b"first")
    cluster.run(MS // 4)
    cluster.submit(2, b"second")
    cluster.run(MS // 4)
    assert len(cluster.delivered[1]) == 2
    assert cluster.delivered[3] == []
    cluster.hooks.clear()
    cluster.run(20 * MS)
    assert cluster.delivered[3] == cluster.delivered[1]


def test_at_most_thirty_requests() -> None:
    cluster, _ = with_hole(lost=60)
    fill(cluster, 2, 50)
    cluster.run(0)
    cluster.inject(1, HoldCancel(2, 0, cluster.rings[1].ring_id))
    cluster.run(15 * MS)
    longest = max(len(body.rtr) for body in cluster.bodies(TokenPassed))
    assert longest == 30
    cluster.hooks.clear()
    cluster.run(500 * MS)
    assert len(cluster.delivered[3]) == 50
    assert cluster.check() == []


def test_requests_of_another_ring_are_left_alone() -> None:
    cluster = ring_of()
    strange = msgspec.structs.replace(cluster.rings[2].ring_id, seq=999)
    outputs = visit(cluster, 2, rtr=((strange, 1),))
    assert one(outputs, RetransmitChecked).resent == ()
    assert one(outputs, TokenPassed).rtr == (1,)


# ----------------------------------------------------------------------------------------------------------- aru rules


@pytest.mark.parametrize(
    ("mine", "aru", "addr", "expected"),
    [
        (10, 10, 0, (10, 0)),
        (8, 10, 0, (8, 2)),  # I lack something: lower it and put my name
        (8, 10, 3, (8, 2)),
        (8, 5, 3, (5, 3)),  # somebody lacks more: leave it
        (10, 5, 3, (5, 3)),
        (9, 5, 2, (9, 2)),  # I had lowered it: raise it to what I have now
        (10, 5, 2, (10, 0)),  # all there: nobody's name
    ],
)
def test_aru(mine: int, aru: int, addr: int, expected: tuple[int, int]) -> None:
    cluster = ring_of()
    node = cluster.rings[2].instance
    node.aru = node.high_seq_received = node.high_delivered = mine
    passed = one(visit(cluster, 2, seq=10, aru=aru, aru_addr=addr), TokenPassed)
    assert (passed.aru, passed.aru_addr) == expected


def test_failing_to_receive() -> None:
    cluster = Cluster(3, config(3, fail_recv_const=8))
    ring_id = cluster.form()
    cluster.hooks.append(
        lambda _, target, m: [] if target == 3 and isinstance(m, Mcast) and m.ring_id == ring_id else None
    )
    cluster.submit(1, b"never heard by 3")
    cluster.until(lambda: cluster.rings[3].state is State.GATHER)
    assert cluster.rings[3].instance.failed == [3]
    assert cluster.rings[3].instance.failed_to_recv
    assert "FAILED TO RECEIVE" in [body.text for body in cluster.bodies(Log, 3)]
    gather = [body for body in cluster.bodies(StateEntered, 3) if body.state == "GATHER"][-1]
    assert (gather.reason, gather.failed) == (6, (3,))
    cluster.until(lambda: cluster.rings[3].state is State.OPERATIONAL)
    assert cluster.rings[3].members == (3,), "the node that expels itself makes a ring of its own"
    cluster.hooks.clear()
    cluster.run(5000 * MS)
    assert cluster.is_whole()
    assert cluster.check() == []


# --------------------------------------------------------------------------------------------------------------- hold


def test_the_token_is_held_after_thirty_quiet_rotations_for_the_hold_time() -> None:
    cluster = ring_of(idle=False)
    visits = len(cluster.bodies(TokenPassed, 1))
    cluster.until(lambda: any(body.held for body in cluster.bodies(TokenPassed, 1)[visits:]))
    before = len(cluster.bodies(TokenReleased, 1))
    cluster.run(cluster.config.hold_ms * MS - 1)
    assert len(cluster.bodies(TokenReleased, 1)) == before
    cluster.run(1)
    assert cluster.bodies(TokenReleased, 1)[before].reason == "hold time over"


def test_seqs_unchanged_are_counted_with_duplicates_too() -> None:
    cluster = ring_of(idle=False)
    node = cluster.rings[1].instance
    node.seq_unchanged = 0
    token = token_for(cluster, 1, token_seq=node.token_seq, seq=node.last_seq)
    for _ in range(4):
        cluster.inject(1, token)
    assert node.seq_unchanged == 4


@pytest.mark.parametrize("sender", [1, 2, 3])
def test_a_send_ends_the_hold_within_a_rotation(sender: int) -> None:
    cluster = ring_of()
    cluster.until(lambda: cluster.rings[sender].instance.token_held)
    cluster.run(10 * MS)
    cluster.submit(sender, b"wake up")
    cancels = [e for e in cluster.timeline if getattr(e.body, "kind", "") == "token_hold_cancel" and e.node == sender]
    assert len(cancels) >= 1
    cluster.run(4 * cluster.delay_ns + 10_000)
    assert [len(cluster.delivered[nodeid]) for nodeid in (1, 2, 3)].count(1) >= 2
    assert cluster.check() == []


def test_only_one_hold_cancel_for_many_messages() -> None:
    cluster = ring_of()
    cluster.until(lambda: cluster.rings[2].instance.token_held)
    outputs = [output for n in range(3) for output in cluster.rings[2].submit(cluster.now_ns, b"%d" % n)]
    cancels = [o for o in outputs if isinstance(o, Send) and isinstance(decode(o.datagram), HoldCancel)]
    assert len(cancels) == 1


def test_a_retransmission_cancels_the_hold_only_if_configured() -> None:
    for option, held in ((False, True), (True, False)):
        cluster = ring_of()
        node = cluster.rings[1].instance
        node.config = msgspec.structs.replace(node.config, cancel_token_hold_on_retransmit=option)
        assert node.token_held
        passed = one(visit(cluster, 1, rtr=((node.ring_id, 7),), token_seq=node.token_seq + 9), TokenPassed)
        assert passed.held is held


# ------------------------------------------------------------------------------------------- duplicates, other rings


def test_a_duplicate_is_ignored() -> None:
    cluster = ring_of()
    token = token_for(cluster, 2)
    assert one(cluster.inject(2, token), TokenPassed)
    again = cluster.inject(2, token)
    assert one(again, TokenIgnored).reason == "duplicate"
    assert not [output for output in again if isinstance(output, Send | TokenPassed)]
    strange = msgspec.structs.replace(token_for(cluster, 2), ring_id=msgspec.structs.replace(token.ring_id, seq=1))
    assert one(cluster.inject(2, strange), TokenIgnored).reason == "other ring"


@pytest.mark.parametrize("faithful", [True, False])
def test_a_token_copy_frees_messages(faithful: bool) -> None:
    """Sheet §5.4: what the whole ring has seen once is freed at the second copy of that very token."""
    conf = config(3, quirks=Quirks(token_copy_frees_messages=faithful))
    cluster = Cluster(3, conf)
    cluster.form(idle=True)
    lost = [1]

    def copies(source: int, target: int, message: object) -> list[int] | None:
        if isinstance(message, Mcast) and target == 3 and lost:
            return []
        if isinstance(message, Token) and target == 2:
            return [cluster.delay_ns, cluster.delay_ns + 20_000]
        return None

    cluster.hooks.append(copies)
    cluster.submit(1, b"node 3 lacks this")
    cluster.run(2 * MS // 4)
    early = [violation for violation in cluster.check() if violation.invariant == 18]
    assert bool(early) is faithful
    if early:
        assert "a token arrived that it otherwise ignores (duplicate)" in early[0].why


def test_order_of_a_visit() -> None:
    """Receive, check, order, send, pass on, and only then deliver what is one's own."""
    cluster = ring_of()
    fill(cluster, 2, 1)
    outputs = visit(cluster, 2)
    kinds = [type(output).__name__ for output in outputs if not isinstance(output, SetTimer | Log)]
    wanted = [
        "TokenReceived",
        "RetransmitChecked",
        "MessageOrdered",
        "Send",
        "MessagesMulticast",
        "TokenPassed",
        "Send",
    ]
    wanted += ["PacketDelivered", "Deliver", "TokenSent"]
    assert [kind for kind in kinds if kind != "CancelTimer"] == wanted
    assert one(outputs, MessageOrdered).numbers == (cluster.rings[2].instance.submitted,)
    assert [o.timer for o in outputs if isinstance(o, SetTimer)][-3:] == [
        TotemTimer.TOKEN_LOSS,
        TotemTimer.TOKEN_WARNING,
        TotemTimer.TOKEN_RETRANSMIT,
    ]
    assert one(outputs, TokenReceived).seq + 1 == one(outputs, TokenPassed).seq


def test_a_lost_token_is_sent_again_and_nobody_notices() -> None:
    cluster = ring_of()
    budget = [1]

    def once(source: int, target: int, message: object) -> list[int] | None:
        if isinstance(message, Token) and target == 3 and budget:
            budget.pop()
            return []
        return None

    cluster.hooks.append(once)
    cluster.run(3000 * MS)
    assert "retransmit timeout" in [body.reason for body in cluster.bodies(TokenReleased)]
    assert cluster.is_whole()
    assert len(cluster.configurations[1]) <= 4
    assert cluster.check() == []


def test_the_packer_waits_for_room_in_the_send_queue() -> None:
    """Sheet §7.2 step 4: what is staged is flushed if a slot is free."""
    cluster = ring_of()
    ring = cluster.rings[2]
    node = ring.instance
    cluster.run(200 * MS)
    while ring.slots(1399) <= ring.send_queue_free:
        ring.submit(cluster.now_ns, b"x" * 1399)
    while ring.send_queue_free:
        node.new_queue.append(node.new_queue[-1])
    node.packer.add(10_000, [b"staged"])
    before = len(node.new_queue)
    visit(cluster, 2, fcc=50)
    assert len(node.new_queue) == before
    assert node.packer.staged == 1
