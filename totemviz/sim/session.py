"""A session: a timeline somebody looks at, with a cursor, and what makes it longer if anything does.

The cockpit and the lessons talk to a ``Session`` only; a simulation and a recording differ in whether it can grow and
be intervened in.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from totemviz.corosync.conf import CorosyncConf
from totemviz.sim.branches import Branch, Family
from totemviz.sim.instalments import Instalments, Pace, finish, running
from totemviz.sim.interventions import AnyIntervention, DeliverLost
from totemviz.sim.possible import check_intervention, programs_of
from totemviz.sim.scenario import Scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND
from totemviz.sim.world import World
from totemviz.totem.effects import TokenReceived
from totemviz.trace.conditions import Condition
from totemviz.trace.cursor import Cursor, Step
from totemviz.trace.events import DatagramDropped, Event
from totemviz.trace.stops import Halt, Stops
from totemviz.trace.timeline import Timeline
from totemviz.trace.watch import Watch
from totemviz.trace.why import is_chance

LOOK_AHEAD_NS = 120 * SECOND
"""How far a step may let the world run before it gives up finding what it was asked for."""

WARM_NS = 2 * SECOND
"""By then three nodes have booted and pmxcfs is in sync on all of them."""

WARM_SLICE_NS = MS
"""So much of a boot takes a few milliseconds to run, also with sixteen nodes."""

ROUND_NS = SECOND
"""An idle ring of five nodes turns once in this time: so long before an intervention a token visit is looked for."""

FAR_STEPS = (Step.ROTATION, Step.DELIVERED, Step.MEMBERSHIP, Step.EVENTFUL)
"""Steps on whose way a stop is heeded; a shorter one is asked for event by event anyway."""


class Session:
    """A finished timeline: a recording, or a run loaded from a file."""

    can_intervene = False

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.cursor = Cursor(timeline)
        self.stops = Stops()
        self.halt: Halt | None = None
        self._clock = (self.cursor.position, 0)

    # ----------------------------------------------------------------------------------------------------------- time

    def forward(self, step: Step) -> bool:
        """Move the cursor to where the next such step ends; False if there is none.

        On a far way a stop may hold it earlier: then ``halt`` says why.
        """
        self.halt = None
        found = self.cursor.find(step)
        if found is None:
            return False
        self._go(found, heed=step in FAR_STEPS)
        return True

    def going_forward(self, step: Step) -> Instalments[bool]:
        """As ``forward``, in instalments. Given up halfway, the run is as far as it is."""
        yield 0.0
        return self.forward(step)

    def back(self, step: Step) -> bool:
        """Move the cursor to where the previous such step ended; False if there was none."""
        self.halt = None
        found = self.cursor.find(step, backward=True)
        if found is None:
            return False
        self.cursor.move_to(found)
        return True

    def advance(self, duration_ns: int) -> bool:
        """Let virtual time pass from the cursor; False at the timeline's end or where a stop held it (``halt``)."""
        self.halt = None
        until_ns = self.cursor_time_ns + duration_ns
        if self._go(self.timeline.position_at(until_ns), until_ns, heed=True):
            return False
        self._clock = (self.cursor.position, until_ns)
        return not self.cursor.at_end

    def advancing(self, duration_ns: int) -> Instalments[bool]:
        """As ``advance``, in instalments. Given up halfway, the run is as far as it is."""
        yield 0.0
        return self.advance(duration_ns)

    def run_until(self, condition: Condition, duration_ns: int) -> bool:
        """Advance until a condition becomes true, ``duration_ns`` at most; False if it did not. No other stop holds."""
        return finish(self.running_until(condition, duration_ns))

    def running_until(self, condition: Condition, duration_ns: int) -> Instalments[bool]:
        """As ``run_until``, in instalments. Given up halfway, the run is as far as it is."""
        kept, self.stops = self.stops, Stops()
        self.stops.check_invariants = False
        self.stops.add(condition)
        try:
            yield from self.advancing(duration_ns)
            return self.halt is not None
        finally:
            self.stops = kept

    def retreat(self, duration_ns: int) -> bool:
        """Go back by so much virtual time; False at the beginning."""
        self.halt = None
        until_ns = max(0, self.cursor_time_ns - duration_ns)
        self.cursor.seek_time(until_ns)
        self._clock = (self.cursor.position, until_ns)
        return until_ns > 0

    def come_to_end(self) -> None:
        """Put the cursor where a run has come to that was given up; a finished timeline stays where it is."""

    @property
    def cursor_time_ns(self) -> int:
        """Virtual time at the cursor: also between two events, while nothing happens."""
        position, time_ns = self._clock
        return time_ns if position == self.cursor.position else self.cursor.view.time_ns

    def _go(self, target: int, until_ns: int | None = None, *, heed: bool) -> bool:
        """Move the cursor forward, up to ``until_ns`` after the last event; True if a stop held it on the way."""
        if not heed or not self.stops.active:
            self.cursor.move_to(target)
            return False
        begin_ns = self.cursor_time_ns
        self.halt = self.stops.walk(self.cursor, target, begin_ns, until_ns)
        if self.halt is None:
            return False
        self._clock = (self.cursor.position, self.halt.time_ns)
        return True

    # ---------------------------------------------------------------------------------------------------- changing it

    def intervene(self, intervention: AnyIntervention) -> None:
        """Do something to the cluster at the cursor. Raises RuntimeError where nothing can be done (recordings)."""
        raise RuntimeError("this is a recording: nothing in it can be changed")

    def intervening(self, intervention: AnyIntervention) -> Instalments[None]:
        """As ``intervene``, in instalments."""
        self.intervene(intervention)
        yield 1.0


class Simulation(Session):
    """A run that goes on as far as somebody looks, and can be changed.

    Changing the past opens a branch: the run up to the cursor is made again (it is deterministic, so it is the same)
    and goes on from there; the run it began in stays as it was.
    """

    can_intervene = True

    def __init__(self, scenario: Scenario, conf: CorosyncConf) -> None:
        self.conf = conf
        self.watch = Watch()
        self._undone: list[tuple[Branch, int]] = []
        self.family = Family(Branch("main", self.conf, scenario))
        super().__init__(self.family.current.timeline)
        self.cursor = self.family.current.cursor

    @property
    def scenario(self) -> Scenario:
        """The scenario the branch on screen began with."""
        return self.family.current.scenario

    @property
    def world(self) -> World:
        """The world at the end of the branch on screen."""
        return self.family.current.world

    def warm_up(self) -> None:
        """Begin with a cluster that is up: after its boot, at a token visit, but before the first intervention.

        The world goes no further than that visit: else the first thing done would change a past.
        """
        for _ in self.warming():
            pass

    def warming(self) -> Iterator[int]:
        """``warm_up`` in slices; the cursor follows. Gives the virtual time reached; may be left at any of them."""
        given_ns = [int(action.at) for action in self.scenario.interventions if action.after_event < 0]
        limit_ns = min(given_ns, default=WARM_NS + LOOK_AHEAD_NS) - 1
        warm_ns = min(WARM_NS, limit_ns - ROUND_NS)
        while self.world.now_ns < warm_ns and not self.world.run_until(min(warm_ns, self.world.now_ns + WARM_SLICE_NS)):
            self._come_to_end()
            yield self.world.now_ns
        visited = self._step_to_visit(limit_ns)
        if visited is None:
            self.world.run_until(limit_ns)
        self._come_to_end(visited)
        self._is_storm()

    def _come_to_end(self, position: int | None = None) -> None:
        """Put the cursor where the world is, or on an event of its present moment."""
        self.cursor.move_to(len(self.timeline) - 1 if position is None else position)
        self._clock = (self.cursor.position, self.world.now_ns)

    def _step_to_visit(self, limit_ns: int) -> int | None:
        """Let the world run until a node receives the token; None if none does up to ``limit_ns``."""
        world, timeline = self.world, self.timeline
        while (next_ns := world.next_ns) is not None and next_ns <= limit_ns:
            looked_at = len(timeline)
            if not world.step():
                break
            for index in range(looked_at, len(timeline)):
                if isinstance(timeline[index].body, TokenReceived):
                    return index
        return None

    # ----------------------------------------------------------------------------------------------------------- time

    def forward(self, step: Step) -> bool:
        """Move on to where the next such step ends, letting the world run as far as needed."""
        return finish(self.going_forward(step))

    def going_forward(self, step: Step) -> Instalments[bool]:  # noqa: D102
        heed = step in FAR_STEPS
        if super().forward(step):
            self._judge(heed)
            return True
        world, wanted = self.world, self.cursor.predicate(step)
        begin_ns, pace = world.now_ns, Pace(world)
        looked_at = len(self.timeline)
        while (next_ns := world.next_ns) is not None and next_ns <= begin_ns + LOOK_AHEAD_NS and world.step():
            for index in range(looked_at, len(self.timeline)):
                if wanted(self.timeline[index]):
                    self._go(index, heed=heed)
                    self._judge(heed)
                    return True
            if heed and self._is_held():
                return True
            looked_at = len(self.timeline)
            if pace.ended():
                yield (world.now_ns - begin_ns) / LOOK_AHEAD_NS
        if self.world.storm:
            self.cursor.move_to(len(self.timeline) - 1)
        return self._is_storm()

    def advance(self, duration_ns: int) -> bool:
        """Let virtual time pass from the cursor, letting the world run as far as needed; False where it was held."""
        return finish(self.advancing(duration_ns))

    def advancing(self, duration_ns: int) -> Instalments[bool]:  # noqa: D102
        world, begin_ns = self.world, self.cursor_time_ns
        until_ns = begin_ns + duration_ns
        if self.stops.active and self.cursor.at_end:
            self.halt, pace = None, Pace(world)
            while (next_ns := world.next_ns) is not None and next_ns <= until_ns and world.step():
                if self._is_held():
                    return False
                if pace.ended():
                    yield (world.now_ns - begin_ns) / max(1, duration_ns)
        yield from running(world, until_ns)
        super().advance(max(0, until_ns - self.cursor_time_ns))
        if not self._is_storm():
            self._judge(True)
        return self.halt is None

    def come_to_end(self) -> None:  # noqa: D102
        self.halt = None
        self._come_to_end()

    def _is_storm(self) -> bool:
        """Whether the run has ended in a storm of events, here at its end; then ``halt`` says so."""
        world = self.world
        if not world.storm or not self.cursor.at_end:
            return False
        self._clock = (self.cursor.position, world.now_ns)
        self.halt = Halt(world.storm, world.now_ns)
        return True

    def _is_held(self) -> bool:
        """Look at what the world has just added; True if a stop holds the cursor there."""
        return self.stops.active and not self.cursor.at_end and self._go(len(self.timeline) - 1, heed=True)

    def _judge(self, heed: bool) -> None:
        """Check the invariants up to the cursor, as far as there is time; a violation that is new holds the run."""
        if not heed or not self.stops.check_invariants or self.halt is not None:
            return
        violation = self.watch.look(self.timeline, self.cursor.position)
        if violation is not None:
            self.cursor.move_to(violation.event_id)
            self.halt = Halt(f"invariant {violation.invariant} is false: {violation.why}", self.cursor.view.time_ns)

    # ------------------------------------------------------------------------------------------------------- branches

    def switch(self, branch: Branch) -> None:
        """Look at another branch, at the place it was left."""
        self.family.switch(branch)
        self._look_at_current()

    def _look_at_current(self) -> None:
        branch = self.family.current
        self.timeline, self.cursor = branch.timeline, branch.cursor
        self._clock = (self.cursor.position, self.cursor.view.time_ns)
        self.halt = None

    def branching_off(self, name: str) -> Instalments[Branch]:
        """Open a branch at the cursor and look at it."""
        position, now_ns = self.cursor.position, self.cursor_time_ns
        parent = self.family.current
        branch = yield from Branch.forking(name, parent, self.scenario_until(position), position)
        if now_ns > branch.cursor.view.time_ns and branch.cursor.at_end:
            branch.world.run_until(now_ns)
        self._look_at_new(branch)
        return branch

    def _look_at_new(self, branch: Branch) -> None:
        self.family.add(branch)
        self._look_at_current()

    def intervene(self, intervention: AnyIntervention) -> None:
        """Do something at the cursor; in the past this opens a branch named after it.

        What happens at one moment cannot be parted: an earlier event of the present moment is no past.

        Raises ValueError, one line with the mend, if it cannot be done in this cluster.
        """
        finish(self.intervening(intervention))

    def intervening(self, intervention: AnyIntervention) -> Instalments[None]:
        """As ``intervene``, in instalments: a past is made again first."""
        world = yield from self.family.current.waking()
        programs = programs_of(done.intervention for done in world.done)
        problem = check_intervention(intervention, world.conf, programs)
        if problem is not None:
            raise ValueError(problem[1])
        if not self.cursor.at_end and world.now_ns > self.cursor.view.time_ns:
            yield from self.branching_off(intervention.text)
        self._undone.clear()
        self.world.intervene(intervention)
        self.cursor.move_to(len(self.timeline) - 1)

    def undo(self) -> str:
        """Go to the moment before the last thing that was done before the cursor, on a branch where it was not done.

        Returns what is undone, in words. Raises ValueError if nothing was done.
        """
        return finish(self.undoing())

    def undoing(self) -> Instalments[str]:
        """As ``undo``, in instalments."""
        world = yield from self.family.current.waking()
        before = [done for done in world.done if done.intervention.after_event < self.cursor.position]
        if not before:
            raise ValueError("nothing was done to the cluster before this moment")
        last = before[-1].intervention
        here, position = self.family.current, self.cursor.position
        if here.parent is not None and here.forked_at == last.after_event and not before[-1].scripted:
            self.switch(here.parent)
            self.cursor.move_to(last.after_event)
        else:
            yield from self._making_without(f"without: {last.text}", last.after_event, keep_later=False)
        self._undone.append((here, position))
        self._clock = (self.cursor.position, self.cursor.view.time_ns)
        return last.text

    def redo(self) -> None:
        """Return to where the last ``undo`` or ``without`` was asked for. Raises ValueError if there was none."""
        if not self._undone:
            raise ValueError("nothing was undone since the last change")
        branch, position = self._undone.pop()
        self.switch(branch)
        self.cursor.move_to(position)

    def without(self, event_id: int) -> Branch:
        """The same run up to the same time without the intervention that wrote this event; on a branch, on screen.

        A datagram that was lost by chance can be left unlost in the same way. What was done later is done again, at its
        time. ``redo`` returns. Raises ValueError if the event is neither.
        """
        return finish(self.leaving_out(event_id))

    def leaving_out(self, event_id: int) -> Instalments[Branch]:
        """As ``without``, in instalments."""
        here, position, end_ns = self.family.current, self.cursor.position, self.cursor_time_ns
        event = self.timeline[event_id]
        yield from here.waking()
        if is_chance(event):
            branch = yield from self._sparing(event)
        else:
            done = next((d for d in self.world.done if d.intervention.after_event == event_id - 1), None)
            if done is None:
                raise ValueError(f"event {event_id} is not something that was done to the cluster")
            name = f"without: {done.intervention.text}"
            branch = yield from self._making_without(name, event_id - 1, keep_later=True, until_ns=end_ns)
        self._undone.append((here, position))
        self._seek(end_ns)
        return branch

    def _seek(self, time_ns: int) -> None:
        self.cursor.seek_time(time_ns)
        self._clock = (self.cursor.position, time_ns)

    def _sparing(self, event: Event) -> Instalments[Branch]:
        """The same run up to the same time, but this datagram arrives."""
        assert isinstance(event.body, DatagramDropped)
        spared = DeliverLost(sent=event.body.sent, target=event.body.target)
        world, end_ns = self.world, self.cursor_time_ns
        before = [done for done in world.done if done.intervention.after_event < event.id]
        scripted = sum(done.scripted for done in before)
        given = [done.intervention for done in world.done[len(before) :] if not done.scripted]
        # what was done at the moment of the loss keeps its exact place: its time alone might put it before the loss
        later = [a if a.at == event.time_ns else a.loosened() for a in (*given, *world.script[scripted:])]
        interventions = (*(done.intervention for done in before), *later)
        scenario = msgspec.structs.replace(self.scenario, interventions=interventions)
        branch = yield from Branch.forking(spared.text, self.family.current, scenario, event.id)
        branch.world.intervene(spared)
        yield from running(branch.world, end_ns)
        self._look_at_new(branch)
        return branch

    def _making_without(
        self, name: str, position: int, *, keep_later: bool, until_ns: int | None = None
    ) -> Instalments[Branch]:
        """A branch that is the same up to the event ``position``, and where what was done just after it is not."""
        world = self.world
        index = next(i for i, done in enumerate(world.done) if done.intervention.after_event == position)
        scripted = sum(done.scripted for done in world.done[: index + 1])
        given = [done.intervention for done in world.done[index + 1 :] if keep_later and not done.scripted]
        later = tuple(action.loosened() for action in (*given, *world.script[scripted:]))
        before = tuple(done.intervention for done in world.done[:index])
        scenario = msgspec.structs.replace(self.scenario, interventions=(*before, *later))
        branch = yield from Branch.forking(name, self.family.current, scenario, position)
        if until_ns is not None:
            yield from running(branch.world, until_ns)
        self._look_at_new(branch)
        return branch

    def scenario_until(self, position: int) -> Scenario:
        """The scenario with everything that was done up to an event, so that running it gives the same run."""
        return self.world.scenario_until(position)

    def saved(self) -> Scenario:
        """The scenario that gives the run on screen again."""
        return self.scenario_until(len(self.timeline))

    def with_host_model(self, model: HostModel) -> Simulation:
        """The same cluster with the same interventions under another host model, from the beginning."""
        return Simulation(self._under(model), self.conf)

    def branch_under(self, model: HostModel) -> Branch:
        """As ``with_host_model``, as a branch of its own in this session, up to the same time; on screen."""
        return finish(self.branching_under(model))

    def branching_under(self, model: HostModel) -> Instalments[Branch]:
        """As ``branch_under``, in instalments."""
        end_ns = self.cursor_time_ns
        branch = Branch(f"{model.value} model", self.conf, self._under(model), self.family.current)
        yield from running(branch.world, end_ns)
        self._look_at_new(branch)
        self._seek(end_ns)
        return branch

    def _under(self, model: HostModel) -> Scenario:
        interventions = tuple(action.loosened() for action in self.saved().interventions)
        return msgspec.structs.replace(self.scenario, host_model=model, interventions=interventions)

    def _replay(self, scenario: Scenario, position: int) -> None:
        """Make the run again up to an event, in the place of the one on screen."""
        here = self.family.current
        branch = Branch.forked(here.name, here, scenario, position)
        branch.parent, branch.forked_at = here.parent, here.forked_at
        self.family.replace(here, branch)
        self._look_at_current()
