"""One learner in one lesson: which step, which checks are met, what may not be seen yet."""

from __future__ import annotations

from itertools import takewhile

from totemviz.lessons.format import CHOICE_KEYS, Check, Choice, Lesson, Step
from totemviz.lessons.gated import GatedSimulation
from totemviz.lessons.match import Matcher
from totemviz.sim.session import Session, Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline


class _Wanted:
    """A check, compiled."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.event = Matcher(check.pattern) if check.event else None
        self.cause = Matcher(check.caused_by) if check.caused_by is not None else None
        self.never = Matcher(check.no_event) if check.no_event is not None else None

    def is_met_by(self, event: Event, timeline: Timeline) -> bool:
        """Whether this is an event the check counts."""
        if self.event is None or not self.event.matches(event):
            return False
        return self.cause is None or self.cause.in_causes_of(event, timeline)


class _Watch:
    """The checks of one step, fed with events in order. ``last`` is the event that met the latest check."""

    def __init__(self, checks: tuple[Check, ...], timeline: Timeline, anchor: int) -> None:
        self.wanted = [_Wanted(check) for check in checks]
        self.timeline = timeline
        self.last = anchor
        self.next = anchor + 1
        self.index = 0
        self.count = 0
        self.since_ns = timeline[anchor].time_ns if 0 <= anchor < len(timeline) else 0
        self.spoiled = ""

    @property
    def done(self) -> bool:
        """Whether all checks are met."""
        return self.index == len(self.wanted)

    def look(self, position: int) -> bool:
        """Look at everything new up to the cursor; True if the step is done."""
        while self.next <= position and not self.done and not self.spoiled:
            if self.wanted[self.index].check.at_cursor:
                break
            self._feed(self.timeline[self.next])
            self.next += 1
        if not self.done and position >= 0 and self.wanted[self.index].check.at_cursor:
            event = self.timeline[position]
            if self.wanted[self.index].is_met_by(event, self.timeline):
                self.index += 1
                return self.look(position)
        return self.done

    def _feed(self, event: Event) -> None:
        while not self.done:
            wanted = self.wanted[self.index]
            if wanted.event is None:
                if event.time_ns < self.since_ns + wanted.check.during:
                    if wanted.never is not None and wanted.never.matches(event):
                        self.since_ns = event.time_ns
                    return
                self._met(event.id - 1, self.since_ns + wanted.check.during)
                continue
            if wanted.is_met_by(event, self.timeline):
                self.count += 1
                if self.count == wanted.check.count:
                    self._met(event.id, event.time_ns)
            elif wanted.never is not None and wanted.never.matches(event):
                self.spoiled = wanted.check.spoiled or "That cannot succeed any more from here: go back and try again."
            return

    def _met(self, event_id: int, time_ns: int) -> None:
        self.last = max(self.last, event_id)
        self.since_ns = time_ns
        self.index += 1
        self.count = 0


class LessonRun:
    """A lesson being taken. Move the session as you like, then call ``update``."""

    def __init__(self, lesson: Lesson, session: Session) -> None:
        self.lesson = lesson
        self.index = 0
        self.left = False
        self.hints_shown = 0
        self.answers: dict[int, int] = {}
        self._fresh: list[Step] = []
        self.attach(session)

    @classmethod
    def open(cls, lesson: Lesson) -> LessonRun:
        """A fresh cluster at the virtual time where the lesson begins."""
        session = GatedSimulation(lesson.scenario, lesson.conf)
        session.advance(lesson.start)
        return cls(lesson, session)

    # ------------------------------------------------------------------------------------------------- where we are

    @property
    def step(self) -> Step | None:
        """The step to do now, None when the lesson is finished."""
        return self.lesson.steps[self.index] if self.index < len(self.lesson.steps) else None

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return self.step is None

    @property
    def place(self) -> tuple[int, int]:
        """(number of the step from 1, number of steps)."""
        total = len(self.lesson.steps)
        return min(self.index + 1, total), total

    @property
    def question_open(self) -> bool:
        """Whether the step asks something that has no answer yet."""
        return self.step is not None and self.step.predict is not None and self.wants_model is None

    @property
    def held(self) -> bool:
        """Whether the cursor stands before an event that may not be seen until the question is answered."""
        return self._held_at >= 0 and self.session.cursor.position == self._held_at - 1

    @property
    def spoiled(self) -> str:
        """What to tell a learner who cannot complete the step on this course of events; empty if all is well."""
        return self._watch.spoiled

    @property
    def wants_model(self) -> HostModel | None:
        """The host model the step plays in (else the step before, else the scenario), if the session runs another."""
        if self.step is None or not isinstance(self.session, Simulation):
            return None
        named = [step.host_model for step in self.lesson.steps[: self.index + 1] if step.host_model is not None]
        model = named[-1] if named else self.lesson.scenario.host_model
        return model if self.session.scenario.host_model is not model else None

    @property
    def told(self) -> str:
        """What the step before left to say: its ``done`` text, or the explanation of the choice taken."""
        if self.index == 0:
            return ""
        before = self.lesson.steps[self.index - 1]
        if before.predict is None:
            return before.done
        choice = before.predict.choices[self.answers[self.index - 1]]
        return "\n\n".join(filter(None, (choice.because, before.done)))

    @property
    def was_right(self) -> bool | None:
        """Whether the prediction just answered was right; None if the step before was a task."""
        if self.index == 0 or self.index - 1 not in self.answers:
            return None
        predict = self.lesson.steps[self.index - 1].predict
        return predict is not None and predict.choices[self.answers[self.index - 1]].right

    # --------------------------------------------------------------------------------------------- what happens now

    def update(self) -> list[Step]:
        """Look at what the learner has seen since the last call; returns the steps that became done.

        If the cursor went past an event that may not be seen yet, it is moved back to just before it.
        """
        self._look()
        done, self._fresh = self._fresh, []
        return done

    def _look(self) -> None:
        self._follow_timeline()
        if self.left:
            return
        while (step := self.step) is not None and self.wants_model is None:
            if step.predict is not None:
                self._hold(step)
                break
            if not self._watch.look(self.session.cursor.position):
                break
            self._fresh.append(step)
            self._next_step(self._watch.last)

    def _may_see(self, event: Event) -> bool:
        """Asked by the session before its cursor moves over an event."""
        self._look()
        if self.left or self.may_pass(event):
            return True
        self._held_at = event.id
        return False

    def answer(self, choice: int) -> Choice:
        """Answer the question by the index of a choice; returns it, with its explanation.

        Raises ValueError if nothing is asked or there is no such choice.
        """
        step = self.step
        if step is None or step.predict is None or not self.question_open:
            raise ValueError("nothing is asked at the moment")
        choices = step.predict.choices
        if not 0 <= choice < len(choices):
            raise ValueError(f"there is no such choice; answer with {', '.join(CHOICE_KEYS[: len(choices)])}")
        self.answers[self.index] = choice
        self._next_step(self._anchor)
        return choices[choice]

    def hint(self) -> tuple[str, ...]:
        """Give one hint more; returns all given so far, the most telling last."""
        hints = self.step.hints if self.step is not None else ()
        self.hints_shown = min(self.hints_shown + 1, len(hints))
        return hints[: self.hints_shown]

    def may_pass(self, event: Event) -> bool:
        """False for an event that may not be seen before the question is answered."""
        step = self.step
        if step is None or step.predict is None or step.predict.hold_before is None or event.id <= self._anchor:
            return True
        return not Matcher(step.predict.hold_before).matches(event)

    def advance(self, duration_ns: int) -> list[Step]:
        """Let virtual time pass, up to a gate; returns the steps that became done."""
        self.session.advance(duration_ns)
        return self.update()

    # ------------------------------------------------------------------------------------------------ other sessions

    def switch(self) -> Simulation:
        """Start the same cluster with the same interventions in the host model the step wants; returns the session.

        The cursor stands where the lesson began, before anything was done. Raises RuntimeError if no switch is wanted.
        """
        model, session = self.wants_model, self.session
        if model is None or not isinstance(session, Simulation):
            raise RuntimeError("this step plays in the model that runs already")
        other = session.with_host_model(model)
        first_ns = min((int(action.at) for action in other.scenario.interventions), default=int(self.lesson.start))
        other.advance(max(0, min(int(self.lesson.start), first_ns - MS)))
        self.attach(other)
        return other

    def attach(self, session: Session) -> None:
        """Go on with another session; what happened in it up to its cursor does not count for the present step."""
        self.session = session
        if isinstance(session, GatedSimulation):
            session.may_see = self._may_see
        self._timeline = session.timeline
        self._held_at = -1
        self._anchor = session.cursor.position
        self._watch = self._new_watch()

    def leave(self) -> None:
        """Free play: nothing counts and nothing is held back until ``come_back``."""
        self.left = True
        self._held_at = -1

    def come_back(self) -> None:
        """The lesson goes on; what happened meanwhile counts, but a question is still asked before its answer."""
        self.left = False

    def skip_to(self, index: int, answers: dict[int, int]) -> None:
        """Take up a lesson where it was left; the present step counts from the cursor on."""
        self.index = max(0, min(index, len(self.lesson.steps)))
        self.answers = dict(answers)
        self.attach(self.session)

    # ------------------------------------------------------------------------------------------------------- inside

    def _new_watch(self) -> _Watch:
        return _Watch(self.step.check if self.step is not None else (), self._timeline, self._anchor)

    def _next_step(self, anchor: int) -> None:
        self.index += 1
        self.hints_shown = 0
        self._held_at = -1
        self._anchor = anchor
        self._watch = self._new_watch()

    def _hold(self, step: Step) -> None:
        position = self.session.cursor.position
        while self._held_at < 0 and self._watch.next <= position:
            event = self._timeline[self._watch.next]
            if not self.may_pass(event):
                self._held_at = event.id
            else:
                self._watch.next += 1
        if 0 <= self._held_at <= position:
            self.session.cursor.move_to(self._held_at - 1)

    def _follow_timeline(self) -> None:
        """Intervening in the past made another future: look again from where the two part."""
        new, old = self.session.timeline, self._timeline
        if new is old:
            return
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
        self._timeline = self._watch.timeline = new
        if common == len(new):
            return  # only what was not seen yet is gone
        self._held_at = -1
        self._anchor = min(self._anchor, common - 1)
        self._watch = self._new_watch()
