"""How fast one goes anywhere in a long run, and changes its past.

``pytest tests/bench --benchmark-only`` measures; ``TOTEMVIZ_SEARCH=deep`` on a run of a million events, and its memory.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from totemviz.sim.interventions import Kill, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.units import MS, SECOND, Duration

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
EVENTS = 1_000_000 if DEEP else 20_000
PAST = 50_000 if DEEP else 10_000
EVENT_BYTES_MAX = 300


def memory_bytes() -> int:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def long_run() -> tuple[Simulation, int]:
    """A run of some length that writes now and then; with the memory it took."""
    write = Write(node=1, path="qemu-server/{n}.conf", count=800, every=Duration(20 * MS), at=Duration(3 * SECOND))
    scenario = Scenario(interventions=(write,))
    session = Simulation(scenario, cluster_conf(scenario, "benchmark", Path()))
    before = memory_bytes()
    while len(session.timeline) < EVENTS:
        session.world.step()
    session.cursor.move_to(EVENTS - 1)
    return session, memory_bytes() - before


def test_jump_anywhere(benchmark: Any) -> None:
    session, taken = long_run()
    chance = Random(1)

    def jump() -> int:
        place = chance.randrange(EVENTS)
        session.cursor.move_to(place)
        return place - session.cursor.position

    assert benchmark.pedantic(jump, rounds=50, iterations=1) == 0
    benchmark.extra_info["bytes_per_event"] = round(taken / EVENTS)
    if DEEP:
        assert taken / EVENTS < EVENT_BYTES_MAX


def test_change_the_past(benchmark: Any) -> None:
    session, _ = long_run()
    main = session.family.branches[0]

    def change() -> int:
        session.switch(main)
        session.cursor.move_to(PAST)
        session.intervene(Kill(node=2))
        return session.family.current.forked_at

    assert benchmark.pedantic(change, rounds=3, iterations=1) >= PAST
