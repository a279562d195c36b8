"""Forming rings: hops, ring ids, deaths, leaves, merges, recovery of lost messages, wrap-around."""

from __future__ import annotations

import pytest

from tests.totem.cluster import DELAY_NS, MS, Cluster, config
from tests.totem.stories import operational_hops
from totemviz.totem.config import Quirks
from totemviz.totem.effects import Log, MembershipInstalled, RingId, Send, StateEntered, TokenPassed, TokenReceived
from totemviz.totem.states import State
from totemviz.totem.wire import ENCAPSULATED, CommitToken, Join, Mcast, MergeDetect, Token, decode
from totemviz.trace.events import DatagramSent


@pytest.mark.parametrize(
    ("nodes", "hops"), [(1, {1: 4}), (3, {2: 10, 3: 11, 1: 12}), (5, {2: 16, 3: 17, 4: 18, 5: 19, 1: 20})]
)
def test_operational_at_the_fourth_visit(nodes: int, hops: dict[int, int]) -> None:
    cluster = Cluster(nodes)
    ring_id = cluster.form()
    assert {node: token_seq + 1 for node, token_seq in operational_hops(cluster, ring_id).items()} == hops


def test_first_ordinary_message_at_the_fifth_visit() -> None:
    cluster = Cluster(3)
    cluster.start()
    cluster.until(lambda: cluster.rings[2].state is State.OPERATIONAL and len(cluster.rings[2].members) == 3)
    cluster.submit(2, b"first of the ring")
    cluster.run(10 * MS)
    ring_id = cluster.rings[2].ring_id
    visits = [b.token_seq for b in cluster.bodies(TokenReceived, 2) if b.ring_id == ring_id]
    sends = [e for e in cluster.timeline if e.node == 2 and isinstance(e.body, DatagramSent) and e.body.kind == "mcast"]
    token_seqs = [
        e.body.token_seq for e in cluster.timeline[: sends[0].id] if e.node == 2 and type(e.body) is TokenReceived
    ]
    assert token_seqs[-1] == 12 == visits[4]


def test_the_commit_token_goes_round_twice() -> None:
    cluster = Cluster(3)
    ring_id = cluster.form()
    of_ring = [
        message for _, message in cluster.sent() if isinstance(message, CommitToken) and message.ring_id == ring_id
    ]
    assert [message.memb_index for message in of_ring] == [1, 2, 3, 3, 3, 3]
    assert [message.token_seq for message in of_ring] == [1, 2, 3, 4, 5, 6]
    assert of_ring[0].addr == (1, 2, 3)


# ----------------------------------------------------------------------------------------------------------- ring ids


def test_ring_ids_of_fresh_nodes() -> None:
    cluster = Cluster(1)
    assert str(cluster.form()) == "1.5"
    assert cluster.stored == {1: 5}
    cluster = Cluster(2)
    assert str(cluster.form()) == "1.9"
    assert cluster.stored == {1: 9, 2: 9}


def test_a_restarted_node_goes_on_from_its_file() -> None:
    cluster = Cluster(1)
    cluster.form()
    cluster.kill(1)
    cluster.start(1)
    cluster.until(cluster.is_whole)
    assert str(cluster.rings[1].ring_id) == "1.a"  # 5, one more at the start, four for the ring


def test_the_next_ring_is_four_above_the_highest_heard_of() -> None:
    cluster = Cluster(2)
    cluster.stored[2] = 1000
    assert cluster.form() == RingId(1, 1001 + 4 + 4), "node 2 was a ring of its own before, 2.3ed"
    assert cluster.check() == []


# ----------------------------------------------------------------------------------------------- deaths, leaves, merges


def test_silent_death() -> None:
    cluster = Cluster(3)
    cluster.form(idle=True)
    last = [e.time_ns for e in cluster.timeline if type(e.body) is TokenReceived and e.node == 1][-1]
    cluster.kill(3)
    cluster.until(cluster.is_whole)
    conf = cluster.config
    assert conf.silent_death_ms <= (cluster.now_ns - last) / MS <= conf.silent_death_ms + conf.hold_ms + 20
    installed = cluster.bodies(MembershipInstalled, 1)[-1]
    assert (installed.members, installed.left, installed.unannounced) == ((1, 2), (3,), (3,))
    lines = [body.text for body in cluster.bodies(Log, 1)]
    assert lines.index(
        "A processor failed, forming new configuration: token timed out (300ms), waiting 360ms for consensus."
    )
    assert f"A new membership ({cluster.rings[1].ring_id}) was formed. Members left: 3" in lines
    assert "Failed to receive the leave message. failed: 3" in lines
    cluster.run(5000 * MS)
    assert cluster.check() == []


def test_clean_leave_needs_no_timer() -> None:
    cluster = Cluster(3)
    cluster.form(idle=True)
    before = len(cluster.bodies(Log, 1))
    left_ns = cluster.now_ns
    cluster.leave(3)
    cluster.until(cluster.is_whole)
    assert cluster.now_ns - left_ns < 40 * DELAY_NS
    installed = cluster.bodies(MembershipInstalled, 1)[-1]
    assert (installed.left, installed.unannounced) == ((3,), ())
    lines = [body.text for body in cluster.bodies(Log, 1)[before:]]
    assert not any(
        line.startswith(("Failed to receive the leave", "A processor failed", "Token has not")) for line in lines
    )


def test_a_leave_names_the_leaver_last() -> None:
    cluster = Cluster(3)
    cluster.form()
    outputs = cluster.rings[2].leave(cluster.now_ns)
    (leave,) = [decode(output.datagram) for output in outputs if isinstance(output, Send)]
    assert isinstance(leave, Join)
    assert leave.is_leave
    assert (leave.system_from, leave.proc, leave.failed) == (2, (1, 3), (2,))


def test_idle_halves_find_each_other_by_merge_detect_of_the_representative() -> None:
    cluster = Cluster(4)
    cluster.form(idle=True)
    cluster.cut(1, 2)
    cluster.run(1500 * MS)
    assert [cluster.rings[node].members for node in (1, 2, 3, 4)] == [(1, 2), (1, 2), (3, 4), (3, 4)]
    cluster.heal()
    healed = len(cluster.timeline)
    cluster.until(cluster.is_whole)
    merging = {node for node, message in cluster.sent(healed) if isinstance(message, MergeDetect)}
    assert merging
    assert merging <= {1, 3}
    installed = {node: cluster.bodies(MembershipInstalled, node)[-1] for node in (1, 3)}
    assert installed[1].joined == (3, 4)
    assert installed[3].joined == (1, 2)
    assert installed[1].left == ()


# ------------------------------------------------------------------------------------------------------------ recovery


def broken_with_holes(**keys: object) -> tuple[Cluster, RingId]:
    """Node 3 lacks what node 2 sent; node 4 sent something only it has, and something more; then it dies."""
    cluster = Cluster(4, config(4, **keys))
    ring_id = cluster.form(idle=True)

    def faults(source: int, target: int, message: object) -> list[int] | None:
        if isinstance(message, Mcast) and message.ring_id == ring_id:
            only_at_4 = source == 4 and b"only 4 has this" in message.payload
            only_1_and_2 = target == 3 and b"3 lacks this" in message.payload
            return [] if only_at_4 or only_1_and_2 else None
        return None

    cluster.hooks.append(faults)
    cluster.submit(2, b"3 lacks this")
    cluster.run(3 * MS // 10)
    cluster.submit(4, b"only 4 has this")
    cluster.run(MS // 4)
    cluster.submit(1, b"behind the gap")
    cluster.submit(4, b"behind the gap too, of one who is gone")
    cluster.run(MS // 4)
    cluster.kill(4)
    return cluster, ring_id


def of_ring(cluster: Cluster, node: int, ring_id: RingId) -> list[tuple[int, int]]:
    return [(seq, source) for ring, seq, source in cluster.packets[node] if ring == ring_id]


@pytest.mark.parametrize(
    "keys",
    [{}, {"seqno_start_msg": 0xFFFFFFFE, "seqno_start_token": 0xFFFFFFF8}, {"seqno_start_msg": 0x7FFFFFFF}],
    ids=["from 0", "wrapping", "across the sign"],
)
def test_recovery_of_lost_messages(keys: dict[str, int]) -> None:
    cluster, ring_id = broken_with_holes(**keys)
    cluster.until(cluster.is_whole)
    cluster.run(50 * MS)
    histories = [of_ring(cluster, node, ring_id) for node in (1, 2, 3)]
    assert histories[0] == histories[1] == histories[2]
    texts = [message[5:] for message in cluster.delivered[3]]
    assert texts == [b"3 lacks this", b"behind the gap"], "the dead one's message behind the gap is left out"
    wrapped = [m for _, m in cluster.sent() if isinstance(m, Mcast) and m.encapsulated == ENCAPSULATED]
    assert wrapped
    assert all(m.ring_id != ring_id for m in wrapped)
    cluster.submit(3, b"and on it goes")
    cluster.run(100 * MS)
    assert all(cluster.delivered[node][-1].endswith(b"and on it goes") for node in (1, 2, 3))
    cluster.run(4000 * MS)
    assert cluster.check() == []


def test_order_of_what_a_member_is_told() -> None:
    cluster, _ = broken_with_holes()
    cluster.until(cluster.is_whole)
    transitional, regular = cluster.configurations[3][-2:]
    assert (transitional.transitional, transitional.members, transitional.left) == (True, (1, 2, 3), (4,))
    assert (regular.transitional, regular.members, regular.joined) == (False, (1, 2, 3), ())
    kinds = [type(event.body).__name__ for event in cluster.timeline if event.node == 3]
    last = len(kinds) - 1 - kinds[::-1].index("ConfigurationChange")
    first = last - 1 - kinds[:last][::-1].index("ConfigurationChange")
    assert kinds[first - 1] == "PacketDelivered", "up to the gap, before the transitional configuration"
    assert kinds[first + 1] in ("Log", "PacketDelivered")
    assert "PacketDelivered" in kinds[first:last], "behind the gap, before the regular one"


def test_a_failed_recovery_loses_nothing() -> None:
    cluster, ring_id = broken_with_holes()
    failed: list[RingId] = []

    def breaks(source: int, target: int, message: object) -> list[int] | None:
        if isinstance(message, Token) and message.ring_id != ring_id and len(failed) < 2:
            if message.seq > 0 and message.ring_id not in failed:
                failed.append(message.ring_id)
                cluster.rings[target].instance.orf_token_discard = True  # it never gets a token of this ring again
            return [] if message.ring_id in failed else None
        return [] if isinstance(message, Token) and message.ring_id in failed else None

    cluster.hooks.append(breaks)
    cluster.until(lambda: len(failed) == 2)
    cluster.until(cluster.is_whole)
    cluster.run(50 * MS)
    assert [body.reason for body in cluster.bodies(StateEntered, 2) if body.state == "GATHER"].count(5) >= 1
    assert of_ring(cluster, 1, ring_id) == of_ring(cluster, 2, ring_id) == of_ring(cluster, 3, ring_id)
    assert [message[5:] for message in cluster.delivered[3]] == [b"3 lacks this", b"behind the gap"]


def unsent_message() -> Cluster:
    cluster = Cluster(3)
    cluster.form(idle=True)
    cluster.kill(3)
    cluster.run(400 * MS)
    assert cluster.rings[1].state is State.GATHER
    cluster.submit(1, b"had no seq yet")
    cluster.until(cluster.is_whole)
    return cluster


def test_what_had_no_seq_yet_goes_out_in_the_new_ring_after_sync() -> None:
    cluster = unsent_message()
    assert cluster.delivered[1] == []
    cluster.run(100 * MS)
    assert [message[5:] for message in cluster.delivered[2]] == [b"had no seq yet"]
    assert cluster.packets[2][-1][0] == cluster.rings[2].ring_id


@pytest.mark.parametrize("faithful", [True, False])
def test_counters_of_a_failed_recovery(faithful: bool) -> None:
    """What a failed recovery counted is counted on in the next one, and the node is OPERATIONAL before the others."""
    cluster = Cluster(3, config(3, quirks=Quirks(recovery_counters_survive=faithful)))
    cluster.form(idle=True)
    cluster.kill(3)
    node = cluster.rings[2].instance
    cluster.until(lambda: node.state is State.RECOVERY and node.retrans_flg_count == 2)
    lost = node.ring_id
    cluster.hooks.append(lambda _s, _t, m: [] if isinstance(m, Token) and m.ring_id == lost else None)
    cluster.until(cluster.is_whole)
    hops = operational_hops(cluster, cluster.rings[1].ring_id)
    ordinary = {2: 6, 1: 7}
    assert (hops == ordinary) is not faithful
    assert hops[2] < ordinary[2] if faithful else hops[2] == ordinary[2]


# --------------------------------------------------------------------------------------------------------- wrap-around


def test_a_ring_whose_numbers_wrap() -> None:
    cluster = Cluster(3, config(3, seqno_start_msg=0xFFFFFFF0, seqno_start_token=0xFFFFFF80))
    ring_id = cluster.form()
    for number in range(60):
        cluster.submit(1 + number % 3, b"%d" % number)
        cluster.run(MS)
    cluster.run(5000 * MS)
    seqs = [seq for ring, seq, _ in cluster.packets[2] if ring == ring_id]
    assert seqs == [(0xFFFFFFF1 + n) & 0xFFFFFFFF for n in range(len(seqs))]
    assert len(seqs) > 30
    assert seqs[-1] < 100
    assert cluster.delivered[1] == cluster.delivered[2] == cluster.delivered[3]
    assert cluster.bodies(TokenPassed)[-1].token_seq < 5000
    assert cluster.check() == []
