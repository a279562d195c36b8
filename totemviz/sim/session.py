"""A session: one timeline somebody looks at, with a cursor, and what makes the timeline longer if anything does.

The cockpit and the lessons talk to a ``Session`` only; a simulation and a recording differ in whether it can grow and
be intervened in.
"""

from __future__ import annotations

import msgspec

from totemviz.corosync.conf import CorosyncConf
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.scenario import Scenario, check_intervention
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND
from totemviz.sim.world import World
from totemviz.trace.cursor import Cursor, Step
from totemviz.trace.timeline import Timeline

LOOK_AHEAD_NS = 120 * SECOND
"""How far a step may let the world run before it gives up finding what it was asked for."""

WARM_NS = 2 * SECOND
"""By then three nodes have booted and pmxcfs is in sync on all of them."""


class Session:
    """A finished timeline: a recording, or a run loaded from a file."""

    can_intervene = False

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.cursor = Cursor(timeline)
        self._clock = (self.cursor.position, 0)

    def forward(self, step: Step) -> bool:
        """Move the cursor to where the next such step ends; False if there is none."""
        found = self.cursor.find(step)
        if found is None:
            return False
        self.cursor.move_to(found)
        return True

    def back(self, step: Step) -> bool:
        """Move the cursor to where the previous such step ended; False if there was none."""
        found = self.cursor.find(step, backward=True)
        if found is None:
            return False
        self.cursor.move_to(found)
        return True

    def advance(self, duration_ns: int) -> bool:
        """Let virtual time pass from the cursor; False at the end of the timeline."""
        until_ns = self.cursor_time_ns + duration_ns
        self.cursor.seek_time(until_ns)
        self._clock = (self.cursor.position, until_ns)
        return not self.cursor.at_end

    @property
    def cursor_time_ns(self) -> int:
        """Virtual time at the cursor: also between two events, while nothing happens."""
        position, time_ns = self._clock
        return time_ns if position == self.cursor.position else self.cursor.view.time_ns

    def intervene(self, intervention: AnyIntervention) -> None:
        """Do something to the cluster at the cursor. Raises RuntimeError where nothing can be done (recordings)."""
        raise RuntimeError("this is a recording: nothing in it can be changed")


class Simulation(Session):
    """A run that goes on as far as somebody looks, and can be changed.

    Changing the past opens a branch: the run up to the cursor is made again (it is deterministic, so it is the same)
    and goes on from there; what was its future is left behind.
    """

    can_intervene = True

    def __init__(self, scenario: Scenario, conf: CorosyncConf) -> None:
        self.scenario = scenario
        self.conf = conf
        self.world = World(scenario, conf)
        super().__init__(self.world.timeline)

    def warm_up(self) -> None:
        """Begin with a cluster that is up: after its boot, at a token visit, but before the first intervention."""
        limit_ns = min(
            [WARM_NS, *(int(action.at) - 1 for action in self.scenario.interventions if action.after_event < 0)]
        )
        self.world.run_until(max(0, limit_ns))
        self.cursor.move_to(len(self.timeline) - 1)
        self.back(Step.HOP)

    def forward(self, step: Step) -> bool:
        """Move on to where the next such step ends, letting the world run as far as needed."""
        if super().forward(step):
            return True
        world, wanted = self.world, self.cursor.predicate(step)
        limit_ns = world.now_ns + LOOK_AHEAD_NS
        looked_at = len(self.timeline)
        while (next_ns := world.next_ns) is not None and next_ns <= limit_ns and world.step():
            for index in range(looked_at, len(self.timeline)):
                if wanted(self.timeline[index]):
                    self.cursor.move_to(index)
                    return True
            looked_at = len(self.timeline)
        return False

    def advance(self, duration_ns: int) -> bool:
        """Let virtual time pass from the cursor, letting the world run as far as needed."""
        self.world.run_until(self.cursor_time_ns + duration_ns)
        super().advance(duration_ns)
        return True

    def intervene(self, intervention: AnyIntervention) -> None:
        """Do something at the cursor; in the past this opens a branch.

        Raises ValueError, one line with the mend, if it cannot be done in this cluster.
        """
        problem = check_intervention(intervention, [node.nodeid for node in self.conf.nodes])
        if problem is not None:
            raise ValueError(problem[1])
        if not self.cursor.at_end:
            self._replay(self.scenario_until(self.cursor.position), self.cursor.position)
        self.world.intervene(intervention)
        self.cursor.move_to(len(self.timeline) - 1)

    def scenario_until(self, position: int) -> Scenario:
        """The scenario with everything that was done up to an event, so that running it gives the same run."""
        before = [done for done in self.world.done if done.intervention.after_event < position]
        scripted = sum(done.scripted for done in before)
        interventions = (*(done.intervention for done in before), *self.world.script[scripted:])
        return msgspec.structs.replace(self.scenario, interventions=interventions)

    def saved(self) -> Scenario:
        """The scenario that gives this run again."""
        return self.scenario_until(len(self.timeline))

    def with_host_model(self, model: HostModel) -> Simulation:
        """The same cluster with the same interventions under another host model, from the beginning."""
        interventions = tuple(msgspec.structs.replace(action, after_event=-1) for action in self.saved().interventions)
        scenario = msgspec.structs.replace(self.scenario, host_model=model, interventions=interventions)
        return Simulation(scenario, self.conf)

    def _replay(self, scenario: Scenario, position: int) -> None:
        self.scenario = scenario
        self.world = World(scenario, self.conf)
        self.timeline = self.world.timeline
        while len(self.timeline) <= position and self.world.step():
            pass
        self.cursor = Cursor(self.timeline)
        self.cursor.move_to(position)
