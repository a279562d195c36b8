"""A scripted learner: takes the domino lesson by what a session offers, stepping and intervening, and nothing else."""

from __future__ import annotations

from totemviz.lessons import LessonRun, Step, find_lesson
from totemviz.sim.interventions import StallDisk, Write
from totemviz.sim.session import Simulation
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.trace.cursor import Step as Unit

PATIENCE = 20_000


class Learner:
    """Takes the lesson step by step; ``wrong``: bets wrong every time."""

    def __init__(self, *, wrong: bool = False, run: LessonRun | None = None) -> None:
        self.run = run if run is not None else LessonRun.open(find_lesson("domino"))
        self.wrong = wrong
        self.done: list[str] = []

    @property
    def session(self) -> Simulation:
        session = self.run.session
        assert isinstance(session, Simulation)
        return session

    def note(self, steps: list[Step]) -> None:
        self.done += [step.title for step in steps]

    def up_to(self, index: int) -> None:
        """Do the steps before the one of that index (from 0)."""
        while self.run.index < index:
            before = self.run.index
            TURNS[before](self)
            assert self.run.index > before, f"step {before + 1} does not become done"

    def forward_until_done(self, unit: Unit) -> None:
        index = self.run.index
        for _ in range(PATIENCE):
            if self.run.index > index or self.run.held:
                return
            assert self.session.forward(unit)
            self.note(self.run.update())
        raise AssertionError(f"no end in sight of step {index + 1}")

    def stall(self) -> None:
        self.session.intervene(StallDisk(node=3, duration=Duration(20 * SECOND)))
        self.note(self.run.update())

    def write(self) -> None:
        self.note(self.run.advance(500 * MS))
        self.session.intervene(Write(node=1))
        self.forward_until_done(Unit.EVENT)

    def step_to_the_waiting_token(self) -> None:
        self.forward_until_done(Unit.EVENT)

    def bet(self) -> None:
        step = self.run.step
        assert step is not None and step.predict is not None
        choices = step.predict.choices
        index = next(i for i, choice in enumerate(choices) if choice.right is not self.wrong)
        assert self.run.answer(index) is choices[index]
        assert self.run.was_right is not self.wrong
        self.done.append(step.title)

    def bet_at_the_gate(self) -> None:
        self.run_into_the_gate()
        self.bet()

    def run_into_the_gate(self) -> None:
        self.session.forward(Unit.MEMBERSHIP)
        self.note(self.run.update())
        assert self.run.held

    def let_time_run(self) -> None:
        index = self.run.index
        while self.run.index == index:
            self.note(self.run.advance(100 * MS))

    def find_the_verdict(self) -> None:
        self.session.forward(Unit.MEMBERSHIP)
        self.note(self.run.update())
        while self.run.index == 5:
            assert self.session.back(Unit.EVENT)
            self.note(self.run.update())

    def switch_and_watch(self) -> None:
        self.run.switch()
        self.let_time_run()


TURNS = (
    Learner.stall,
    Learner.write,
    Learner.step_to_the_waiting_token,
    Learner.bet_at_the_gate,
    Learner.let_time_run,
    Learner.find_the_verdict,
    Learner.bet,
    Learner.switch_and_watch,
    Learner.bet,
)
