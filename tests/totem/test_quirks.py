"""Quirks of the ring, each from both sides: what corosync does, and what it would do without.

Those that need more than a ring are tested where they live; ``test_every_quirk_is_shown_from_both_sides`` sees to it
that none is left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.totem.cluster import MS, Cluster, config
from tests.totem.test_token import token_for
from totemviz.corosync.quirks import Quirks as AllQuirks
from totemviz.totem.config import Quirks
from totemviz.totem.effects import PacketDelivered, StateEntered, TokenPassed, TokenReleased
from totemviz.totem.pg import Packet, Reassembler
from totemviz.totem.states import State
from totemviz.totem.wire import ORDINARY, SAFE, HoldCancel, Join, Mcast, Message


def cluster_with(nodes: int = 3, *, quirks: Quirks, **keys: Any) -> Cluster:
    return Cluster(nodes, config(nodes, quirks=quirks, **keys))


def test_every_quirk_is_shown_from_both_sides() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    shown = set(re.findall(r"(\w+)=faithful\b", sources))
    assert set(AllQuirks.__struct_fields__) - shown == set()
    assert AllQuirks() == AllQuirks(**dict.fromkeys(AllQuirks.__struct_fields__, True)), "faithful by default"


@pytest.mark.parametrize("faithful", [True, False])
def test_who_gives_up_on_a_node_that_does_not_receive(faithful: bool) -> None:
    """The node itself; in the paper the others. Either way it is outside, and all merge when it can hear again."""
    cluster = cluster_with(quirks=Quirks(failing_node_expels_itself=faithful), fail_recv_const=8)
    ring_id = cluster.form()

    def deaf(_: int, target: int, message: Message) -> list[int] | None:
        return [] if target == 3 and isinstance(message, Mcast) and message.ring_id == ring_id else None

    cluster.hooks.append(deaf)
    cluster.submit(1, b"never heard by 3")
    start = len(cluster.timeline)
    cluster.until(lambda: any(ring.state is State.GATHER for ring in cluster.rings.values()))
    first = next(e for e in cluster.timeline[start:] if isinstance(e.body, StateEntered))
    assert (first.node == 3) is faithful
    assert (first.body.reason, first.body.failed) == (6, (3,))
    cluster.until(lambda: cluster.rings[1].state is State.OPERATIONAL and 3 not in cluster.rings[1].members)
    cluster.hooks.clear()
    cluster.run(5000 * MS)
    assert cluster.is_whole()
    assert cluster.check() == []


@pytest.mark.parametrize("faithful", [True, False])
def test_an_idle_token_is_held_or_turns_for_ever(faithful: bool) -> None:
    cluster = cluster_with(quirks=Quirks(idle_token_is_held=faithful))
    cluster.form()
    cluster.run(20 * MS)
    start = len(cluster.timeline)
    cluster.run(100 * MS)
    passes = [e.body for e in cluster.timeline[start:] if isinstance(e.body, TokenPassed) and e.node == 1]
    assert any(body.held for body in passes) is faithful
    assert (len(passes) <= 3) is faithful, "46 ms a rotation, or 0.15"
    assert [v for v in cluster.check() if v.invariant != 24] == []


@pytest.mark.parametrize("faithful", [True, False])
def test_the_hold_timer_after_a_hold_cancel(faithful: bool) -> None:
    """A token with a new seq stops it; when it expires on the way of that token, there are two copies."""
    cluster = cluster_with(quirks=Quirks(hold_timer_outlives_cancel=faithful))
    ring_id = cluster.form(idle=True)
    visits = len(cluster.bodies(TokenPassed, 1))
    cluster.until(lambda: len(cluster.bodies(TokenPassed, 1)) > visits)
    cluster.run(cluster.config.hold_ms * MS - cluster.delay_ns)
    start = len(cluster.timeline)
    cluster.inject(1, HoldCancel(2, 0, ring_id))
    cluster.run(2 * cluster.delay_ns)
    reasons = [e.body.reason for e in cluster.timeline[start:] if isinstance(e.body, TokenReleased)]
    assert reasons[0] == "hold cancelled"
    assert ("hold time over" in reasons) is faithful


@pytest.mark.parametrize("faithful", [True, False])
def test_the_ring_seq_of_a_node_that_starts(faithful: bool) -> None:
    """Without the step the first join says what the file says, and the first ring is that plus 4."""
    cluster = cluster_with(1, quirks=Quirks(ring_seq_one_on_at_start=faithful))
    cluster.stored[1] = 8
    cluster.start()
    cluster.until(lambda: cluster.rings[1].state is State.OPERATIONAL and cluster.is_whole())
    joins = [message for _, message in cluster.sent() if isinstance(message, Join)]
    assert joins[0].ring_seq == (9 if faithful else 8)
    assert cluster.rings[1].ring_id.seq == (13 if faithful else 12)


@pytest.mark.parametrize("faithful", [True, False])
def test_when_a_safe_message_is_delivered(faithful: bool) -> None:
    """Corosync: when it is contiguous. The paper: when the token says on two visits that everybody has it."""
    cluster = cluster_with(quirks=Quirks(safe_is_agreed=faithful))
    ring_id = cluster.form(idle=True)
    node = cluster.rings[2].instance
    seq = node.aru + 1
    safe = Mcast(1, 0, 1, seq, 0, ring_id, Packet(0, 0, (b"\x01\x00\x01\x00asafe",)).encode(), ORDINARY, guarantee=SAFE)

    def delivered(outputs: list[Any]) -> list[int]:
        return [output.seq for output in outputs if isinstance(output, PacketDelivered)]

    assert delivered(cluster.inject(2, safe)) == ([seq] if faithful else [])
    one = delivered(cluster.inject(2, token_for(cluster, 2, seq=seq, aru=seq)))
    two = delivered(cluster.inject(2, token_for(cluster, 2, seq=seq, aru=seq)))
    assert (one, two) == (([], []) if faithful else ([], [seq]))


@pytest.mark.parametrize("faithful", [True, False])
def test_complete_messages_beside_one_without_beginning(faithful: bool) -> None:
    packets = Reassembler(throw_away_loses_packets=faithful)
    assert packets.receive(1, Packet(2, 1, (b"middle",)).encode()) == []
    assert packets.receive(1, Packet(3, 2, (b"end", b"whole", b"begin ")).encode()) == ([] if faithful else [b"whole"])
    last = packets.receive(1, Packet(0, 3, (b"and end", b"whole too")).encode())
    assert last == ([] if faithful else [b"begin and end", b"whole too"])
    assert packets.receive(1, Packet(0, 0, (b"clean",)).encode()) == [b"clean"]
