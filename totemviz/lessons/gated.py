"""A simulation that stops before what its learner may not see yet.

The world is run one thing at a time. When what happened next may not be seen, the run is made again up to the cursor,
so that nothing beyond exists while the question is open: neither the time bar nor an event list can give the answer
away.
"""

from __future__ import annotations

from collections.abc import Callable

from totemviz.sim.instalments import Instalments
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.session import LOOK_AHEAD_NS, Simulation
from totemviz.sim.threads import HostModel
from totemviz.trace.cursor import Step
from totemviz.trace.events import Event


class GatedSimulation(Simulation):
    """A simulation whose cursor asks before every event it moves over; ``may_see`` answers."""

    may_see: Callable[[Event], bool] | None = None
    _refused: Event | None = None
    _fresh_from = 0

    def forward(self, step: Step) -> bool:
        """As in a simulation, but only up to the gate; True there too, for the step ended where it had to."""
        wanted = self.cursor.predicate(step)
        limit_ns = self.world.now_ns + LOOK_AHEAD_NS
        while (event := self._next(limit_ns)) is not None:
            if not self._pass(event):
                return True
            if wanted(event):
                return True
        return False

    def advance(self, duration_ns: int) -> bool:
        """As in a simulation, but only up to the gate."""
        until_ns = self.cursor_time_ns + duration_ns
        while (event := self._next(until_ns)) is not None and event.time_ns <= until_ns:
            if not self._pass(event):
                return True
        if self.cursor.at_end:
            self.world.run_until(until_ns)
        self._clock = (self.cursor.position, until_ns)
        return True

    def going_forward(self, step: Step) -> Instalments[bool]:
        """What a lesson asks for is near."""
        yield 0.0
        return self.forward(step)

    def advancing(self, duration_ns: int) -> Instalments[bool]:
        """What a lesson asks for is near."""
        yield 0.0
        return self.advance(duration_ns)

    def with_host_model(self, model: HostModel) -> GatedSimulation:
        """The same cluster with the same interventions under another host model; its gate is up to the lesson."""
        return GatedSimulation(super().with_host_model(model).scenario, self.conf)

    def intervening(self, intervention: AnyIntervention) -> Instalments[None]:
        """Do something at the cursor; in the past this opens a branch. Raises ValueError as ``Simulation`` does."""
        yield from super().intervening(intervention)
        self._refused = None

    def _pass(self, event: Event) -> bool:
        """Move over an event if it may be seen; else it is as if it had not happened yet."""
        if self.may_see is None or self.may_see(event):
            self._refused = None
            self.cursor.move_to(event.id)
            return True
        self._refused = event
        position = self.cursor.position
        if position + 1 >= self._fresh_from and not self.cursor.at_end:
            self._replay(self.scenario_until(position), position)
        return False

    def _next(self, limit_ns: int) -> Event | None:
        """The event after the cursor; the world is run for it, but not beyond ``limit_ns``."""
        index = self.cursor.position + 1
        if self._refused is not None and self._refused.id == index and self.may_see is not None:
            if not self.may_see(self._refused):
                return self._refused
            self._refused = None
        if index >= len(self.timeline):
            self._fresh_from = index
        while index >= len(self.timeline):
            if (next_ns := self.world.next_ns) is None or next_ns > limit_ns or not self.world.step():
                return None
        event: Event = self.timeline[index]
        return event
