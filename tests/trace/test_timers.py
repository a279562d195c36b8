"""The timers derived from the timeline are the timers that the simulated daemons really had running."""

from __future__ import annotations

from collections import Counter
from random import Random

from tests.trace.test_trees import busy_world
from totemviz.totem.effects import TotemTimer
from totemviz.trace.cursor import Cursor
from totemviz.trace.timers import timers_of

NAMES = (
    TotemTimer.TOKEN_LOSS,
    TotemTimer.TOKEN_RETRANSMIT,
    TotemTimer.HOLD_RETRANSMIT,
    TotemTimer.JOIN,
    TotemTimer.CONSENSUS,
)
UNTIL_NS = 20_000_000_000


def test_every_timer_has_the_deadline_it_really_has():
    world = busy_world()
    cursor, seen, chance, now_ns = Cursor(world.timeline), Counter(), Random(1), 0
    while now_ns < UNTIL_NS:
        now_ns += chance.randrange(1_000_000, 40_000_000)
        world.run_until(now_ns)
        cursor.move_to(len(world.timeline) - 1)
        for nodeid, host in world.hosts.items():
            told = {
                timer.name: timer.deadline_ns
                for timer in timers_of(cursor.view.nodes[nodeid], cursor.view, world.timeline)
            }
            for name in NAMES:
                real = host.processes.timers.deadline_ns("corosync", name) if host.daemon is not None else None
                assert told.get(name.value) == real, (now_ns, nodeid, name)
                seen[name.value] += real is not None
    assert min(seen[name.value] for name in NAMES) > 20
