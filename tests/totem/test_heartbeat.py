"""The heartbeat: a node that passed a token on and gets no other in time gathers before the token timeout."""

from __future__ import annotations

import pytest

from tests.totem.cluster import MS, Cluster, config
from totemviz.totem.effects import CancelTimer, Log, Send, SetTimer, StateEntered, TotemTimer
from totemviz.totem.states import State
from totemviz.totem.wire import Token


def ring_of(nodes: int = 3, **keys: int) -> Cluster:
    cluster = Cluster(nodes, config(nodes, heartbeat_failures_allowed=2, **keys))
    cluster.form()
    return cluster


def gathered_ns(cluster: Cluster, since_ns: int) -> int:
    return next(
        event.time_ns
        for event in cluster.timeline
        if event.time_ns > since_ns and isinstance(event.body, StateEntered) and event.body.state == "GATHER"
    )


def beats(outputs: list) -> list[type]:
    """What is done to the heartbeat timer."""
    kinds = (SetTimer, CancelTimer)
    return [type(o) for o in outputs if isinstance(o, kinds) and o.timer == TotemTimer.HEARTBEAT]


def visit(cluster: Cluster, nodeid: int, **fields: object) -> list:
    node = cluster.rings[nodeid].instance
    token = Token(1, nodeid, node.aru, node.token_seq + 1, node.aru, 0, node.ring_id)
    for name, value in fields.items():
        setattr(token, name, value)
    return cluster.rings[nodeid].receive(cluster.now_ns, token.encode())


@pytest.mark.parametrize(
    ("failures_allowed", "delay_ms", "heartbeat_ms"), [(0, 50, 0), (1, 50, 121), (2, 100, 242), (3, 100, 0)]
)
def test_its_timeout(failures_allowed: int, delay_ms: int, heartbeat_ms: int) -> None:
    conf = config(3, heartbeat_failures_allowed=failures_allowed, max_network_delay=delay_ms)
    assert conf.token_retransmit_ms == 71
    assert conf.heartbeat_ms == heartbeat_ms  # off when it is not below the token timeout of 300 ms


def test_a_silent_death_is_noticed_before_the_token_timeout() -> None:
    found = []
    for failures_allowed in (0, 2):
        cluster = Cluster(3, config(3, heartbeat_failures_allowed=failures_allowed, seqno_unchanged_const=1_000_000))
        cluster.form()
        died_ns = cluster.now_ns
        cluster.kill(3)
        cluster.run(400 * MS)
        found.append((gathered_ns(cluster, died_ns) - died_ns) // MS)
    assert found[0] == pytest.approx(300, abs=1)
    assert found[1] == pytest.approx(2 * 71 + 50, abs=1)


def test_it_says_so() -> None:
    cluster = ring_of()
    outputs = cluster.expire(2, TotemTimer.HEARTBEAT)
    lines = [output.text for output in outputs if isinstance(output, Log)]
    assert lines[0] == "HeartBeat Timer expired Invoking token loss mechanism in state 1 "
    assert lines[1] == "The token was lost in the OPERATIONAL state."
    assert cluster.rings[2].state is State.GATHER
    again = [output.text for output in cluster.expire(2, TotemTimer.HEARTBEAT) if isinstance(output, Log)]
    assert again[0].endswith("in state 2 ")


def test_which_tokens_count() -> None:
    cluster = ring_of()
    assert beats(visit(cluster, 2)) == [SetTimer]
    node = cluster.rings[2].instance
    assert beats(visit(cluster, 2, token_seq=node.token_seq)) == []  # a copy
    assert beats(visit(cluster, 2, ring_id=type(node.ring_id)(1, 1))) == [SetTimer]  # another ring's
    rep = cluster.rings[1].instance
    rep.seq_unchanged = 1000
    rep.last_seq = rep.aru
    outputs = visit(cluster, 1)
    assert not [output for output in outputs if isinstance(output, Send)]
    assert beats(outputs) == [CancelTimer]  # a token that is held


def test_an_idle_ring_survives_it() -> None:
    cluster = ring_of()
    cluster.run(3000 * MS)
    assert cluster.config.hold_ms < cluster.config.heartbeat_ms
    assert cluster.is_whole()
    assert cluster.rings[1].instance.token_held


def test_a_reload_leaves_its_timeout_alone() -> None:
    """``totemsrp_initialize`` computes it once; the retransmit timeout it was made of follows the reload."""
    cluster = ring_of()
    node = cluster.rings[2].instance
    changed = config(3, heartbeat_failures_allowed=0, token_retransmit=100)
    node.reconfigure(changed)
    outputs = visit(cluster, 2)
    delays_ns = {output.timer: output.delay_ns for output in outputs if isinstance(output, SetTimer)}
    assert delays_ns[TotemTimer.HEARTBEAT] == (2 * 71 + 50) * MS
    assert delays_ns[TotemTimer.TOKEN_RETRANSMIT] == 100 * MS
