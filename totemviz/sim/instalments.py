"""Long work in instalments, so that whoever waits can be told how far it is, and can give it up.

Such work is a generator: it yields the share that is done (0 to 1) and returns its result. It changes nothing anybody
sees before the last instalment, so closing it halfway leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

from totemviz.corosync.conf import CorosyncConf
from totemviz.sim.scenario import Scenario
from totemviz.sim.world import World
from totemviz.trace.timeline import NoTimeline

T = TypeVar("T")
Instalments: TypeAlias = Generator[float, None, T]

INSTALMENT_EVENTS = 1_000
"""Some 4 ms of work."""


def finish(work: Instalments[T]) -> T:
    """Do all of it at once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


class Pace:
    """Says when a world has done enough for one instalment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._due = world.events + INSTALMENT_EVENTS

    def ended(self) -> bool:
        """Whether an instalment ends here; the next one begins with that."""
        if self._world.events < self._due:
            return False
        self._due = self._world.events + INSTALMENT_EVENTS
        return True


def making_again(scenario: Scenario, conf: CorosyncConf, events: int) -> Instalments[World]:
    """The world of a scenario when it has written at least ``events`` events; its timeline keeps none of them."""
    world = World(scenario, conf, NoTimeline())
    pace = Pace(world)
    while world.events < events and world.step():
        if pace.ended():
            yield min(1.0, world.events / events)
    return world


def running(world: World, until_ns: int) -> Instalments[None]:
    """Let everything up to ``until_ns`` happen, as ``World.run_until`` does."""
    begin_ns, pace = world.now_ns, Pace(world)
    while not world.stopped and (next_ns := world.next_ns) is not None and next_ns <= until_ns:
        world.step()
        if pace.ended():
            yield (world.now_ns - begin_ns) / max(1, until_ns - begin_ns)
    world.run_until(until_ns)
