"""The detectors of a daemon that does not run, one millisecond to either side of their thresholds (sheet §1.7), and
that of a ring that does not come about.

Three nodes with a token timeout of 3650 ms: not scheduled above 2920 ms, token warning at 2737 ms, pause above 1825 ms.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corosync.bus import Bus
from tests.totem.cluster import Cluster, config
from totemviz.corosync.conf import load
from totemviz.corosync.daemon import DaemonOutput
from totemviz.corosync.watches import FORMATION_WATCH, NO_RING, SCHEDULER_WATCH
from totemviz.totem.effects import Level, Log, RingId, SetTimer, StateEntered, TokenReceived, TotemTimer
from totemviz.totem.states import Gather, State
from totemviz.totem.wire import Join

LAB = load(Path(__file__).parent / "data" / "lab-3-nodes-udpu.conf")
MS = 1_000_000
NODES = 3


@pytest.mark.parametrize(("late_ms", "said"), [(2919, False), (2920, False), (2921, True)])
def test_not_scheduled(late_ms: int, said: bool) -> None:
    bus = Bus(LAB)
    outputs = bus.daemons[1].expire(late_ms * MS, SCHEDULER_WATCH)
    lines = [out.text for out in outputs if isinstance(out, Log)]
    text = (
        f"Corosync main process was not scheduled (@{late_ms}) for {late_ms}.0000 ms (threshold is 2920.0000 ms). "
        "Consider token timeout increase."
    )
    assert lines == ([text] if said else [])


def enters(bus: Bus, now_ms: int, *entered: Gather | State) -> list[DaemonOutput]:
    """Node 1 enters GATHER for these reasons, or another state."""
    bus.rings[1].pending = [
        StateEntered("GATHER", what, what.text, RingId(1, 1), (), ())
        if isinstance(what, Gather)
        else StateEntered(what, -1, "", RingId(1, 1), (), ())
        for what in entered
    ]
    outputs = bus.daemons[1].receive(now_ms * MS, b"")
    return [out for out in outputs if not isinstance(out, StateEntered)]


def test_no_ring_comes_about() -> None:
    """Said every 1.5 s from the fourth agreement without a ring on, until a ring is being formed."""
    bus, fruitless = Bus(LAB), Gather.CONSENSUS_EXPIRED
    said = [Log(Level.WARNING, "MAIN", NO_RING), SetTimer(FORMATION_WATCH, 1500 * MS)]
    assert enters(bus, 2000, fruitless, fruitless, fruitless) == []
    assert enters(bus, 4000, Gather.MERGE_JOIN, fruitless) == [SetTimer(FORMATION_WATCH, 500 * MS)]
    assert bus.daemons[1].expire(4500 * MS, FORMATION_WATCH) == said
    assert enters(bus, 4600, fruitless) == []
    assert bus.daemons[1].expire(6000 * MS, FORMATION_WATCH) == said
    assert enters(bus, 6100, State.COMMIT, Gather.TOKEN_LOST_COMMIT, fruitless) == []
    assert bus.daemons[1].expire(7500 * MS, FORMATION_WATCH) == []


def silent_ring() -> tuple[Cluster, int]:
    """A ring in which nobody sends any more, and when node 2 accepted its last token."""
    cluster = Cluster(NODES, config(NODES, token=3000, token_coefficient=650))
    cluster.form()
    cluster.run(3 * MS)
    cluster.hooks.append(lambda source, target, message: [])
    last_ns = max(
        event.time_ns for event in cluster.timeline if event.node == 2 and isinstance(event.body, TokenReceived)
    )
    return cluster, last_ns


@pytest.mark.parametrize(("age_ms", "said"), [(2736, False), (2737, True), (2738, True)])
def test_token_warning(age_ms: int, said: bool) -> None:
    cluster, last_ns = silent_ring()
    assert cluster.config.token_warning_ms == 2737
    cluster.run(last_ns + age_ms * MS - cluster.now_ns)
    lines = [body.text for body in cluster.bodies(Log, 2) if body.text.startswith("Token has not")]
    assert lines == (["Token has not been received in 2737 ms "] if said else [])


@pytest.mark.parametrize(("late_ms", "said"), [(1825, False), (1826, True)])
def test_pause_is_seen_when_a_join_comes(late_ms: int, said: bool) -> None:
    cluster = Cluster(NODES, config(NODES, token=3000, token_coefficient=650))
    ring_id: RingId = cluster.form()
    ring = cluster.rings[2]
    ring.expire(cluster.now_ns, TotemTimer.PAUSE)  # its clock is read for the last time
    join = Join(3, 0, 3, ring_id.seq, (1, 2, 3), ())
    outputs = ring.receive(cluster.now_ns + late_ms * MS, join.encode())
    lines = [out.text for out in outputs if isinstance(out, Log) and "pause" in out.text]
    assert lines == ([f"Process pause detected for {late_ms} ms, flushing membership messages."] if said else [])
