"""Nodes of both byte orders in one ring: what is converted, and what the original forgets to convert."""

from __future__ import annotations

import msgspec
import pytest

from tests.totem.cluster import MS, Cluster, config
from totemviz.totem.config import Quirks
from totemviz.totem.effects import TokenReleased
from totemviz.totem.wire import HoldCancel, Join, Mcast
from totemviz.trace.events import DatagramSent


def mixed(big: int = 2, *, quirks: Quirks | None = None, nodes: int = 3) -> Cluster:
    """A ring whose node ``big`` is a big-endian machine."""
    conf = config(nodes, quirks=quirks or Quirks())
    cluster = Cluster(nodes, conf)
    cluster.configs[big] = msgspec.structs.replace(conf, little=False)
    return cluster


def test_a_mixed_cluster_forms_one_ring_and_passes_one_token() -> None:
    cluster = mixed()
    assert cluster.form() == Cluster(3, config(3)).form()
    sent = {}
    for event in cluster.timeline:
        if isinstance(event.body, DatagramSent):
            sent.setdefault(event.node, set()).add(event.body.data[:2])
    assert sent == {1: {b"\x70\xc0"}, 2: {b"\xc0\x70"}, 3: {b"\x70\xc0"}}
    assert cluster.check() == []


def test_messages_of_both_orders_are_delivered_in_one_order() -> None:
    cluster = mixed()
    cluster.form()
    for number in range(9):
        cluster.submit(1 + number % 3, b"%d" % number)
    cluster.run(200 * MS)
    orders = {nodeid: [seq for _, seq, _ in cluster.packets[nodeid]] for nodeid in cluster.nodeids}
    assert orders[1] == orders[2] == orders[3]
    assert {source for _, _, source in cluster.packets[1]} == {1, 2, 3}


def test_a_lost_message_is_resent_as_its_originator_made_it() -> None:
    cluster = mixed()
    cluster.form()
    lost = []

    def lose_once(_: int, target: int, message: object) -> list[int] | None:
        if target == 3 and isinstance(message, Mcast) and message.system_from == 2 and not lost:
            lost.append(message)
            return []
        return None

    cluster.hooks.append(lose_once)
    cluster.submit(2, b"from the big-endian node")
    cluster.run(100 * MS)
    copies = [m for node, m in cluster.sent() if isinstance(m, Mcast) and m.seq == lost[0].seq]
    assert len(copies) == 2
    assert copies[0] == copies[1]
    assert not copies[0].little
    assert cluster.packets[3] == cluster.packets[1]


@pytest.mark.parametrize("faithful", [True, False])
def test_a_hold_cancel_of_the_other_order_is_not_understood(faithful: bool) -> None:
    cluster = mixed(quirks=Quirks(foreign_order_compared_raw=faithful))
    ring_id = cluster.form(idle=True)
    released = [
        isinstance(output, TokenReleased)
        for output in cluster.inject(1, HoldCancel(2, 0, ring_id, little=False))
        if isinstance(output, TokenReleased)
    ]
    assert bool(released) is not faithful
    assert cluster.inject(1, HoldCancel(3, 0, ring_id))  # one of its own order is


@pytest.mark.parametrize("faithful", [True, False])
def test_lost_messages_of_the_other_order_are_not_recovered(faithful: bool) -> None:
    """Node 2 dies; node 3 lacks its message, node 1 wraps it; node 3 compares its ring id without swapping."""
    cluster = mixed(quirks=Quirks(foreign_order_compared_raw=faithful))
    cluster.form()

    def lose(_: int, target: int, message: object) -> list[int] | None:
        return [] if target == 3 and isinstance(message, Mcast) and message.system_from == 2 else None

    cluster.hooks.append(lose)
    cluster.submit(2, b"its last words")
    heard = len(cluster.packets[1])
    cluster.until(lambda: len(cluster.packets[1]) > heard)
    cluster.kill(2)
    cluster.until(cluster.is_whole)
    recovered = any(source == 2 for _, _, source in cluster.packets[3])
    assert recovered is not faithful


def test_a_foreign_join_counts_like_any_other() -> None:
    cluster = Cluster(1)
    cluster.form()
    cluster.inject(1, Join(7, 0, 7, 1, (7,), (), little=False))
    (answer,) = [m for _, m in cluster.sent() if isinstance(m, Join) and m.proc == (1, 7)]
    assert answer.little


def test_packets_are_packed_in_their_senders_order() -> None:
    cluster = mixed()
    cluster.form()
    cluster.submit(2, b"abc")
    cluster.run(100 * MS)
    (mcast,) = [m for node, m in cluster.sent() if isinstance(m, Mcast)]
    assert mcast.payload[:10].hex(" ") == "00 00 00 00 00 00 00 01 00 08"
    assert cluster.delivered[1] == cluster.delivered[2] == [b"\x01\x00\x01\x00aabc"]
