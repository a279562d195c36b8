"""The lesson "The domino effect" can really be taken, and shows what it says it shows."""

from __future__ import annotations

import pytest

from tests.lessons.learner import Learner
from totemviz.lessons import LessonRun
from totemviz.sim.interventions import StallDisk, Write
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND, Duration
from totemviz.totem.effects import MembershipInstalled, StateEntered, TotemTimer
from totemviz.trace.cursor import Step as Unit
from totemviz.trace.events import FsyncStarted, Intervened, TimerExpired, WriteFinished, kind_of


@pytest.mark.parametrize("wrong", [False, True])
def test_whole_lesson(wrong: bool) -> None:
    learner = Learner(wrong=wrong)
    run = learner.run
    titles = [step.title for step in run.lesson.steps]
    learner.up_to(len(titles))
    assert run.finished
    assert learner.done == titles
    assert run.told  # the last word
    with pytest.raises(ValueError, match="nothing is asked"):
        run.answer(0)


def test_numbers_and_chain_of_the_texts() -> None:
    """3650 ms, 4380 ms, the chain of causes, and the 8 s the writer waits are what the timeline shows."""
    learner = Learner()
    learner.up_to(6)
    timeline = learner.session.timeline
    verdict = learner.session.cursor.event
    assert verdict is not None and isinstance(verdict.body, StateEntered) and verdict.body.failed == (3,)
    chain = timeline.chain(verdict.id)
    assert [kind_of(event.body) for event in chain] == [
        "state_entered",
        "timer_expired",
        "state_entered",
        "timer_expired",
        "datagram_queued",
        "process_blocked",
        "fsync_started",
        "disk_changed",
        "intervened",
    ]
    consensus, loss, blocked, asked = chain[1], chain[3], chain[5], chain[6]
    assert consensus.time_ns - loss.time_ns == 4380 * 10**6
    assert isinstance(asked.body, FsyncStarted) and asked.node == 3
    assert 3.64e9 < loss.time_ns - blocked.time_ns < 3.66e9
    learner.session.advance(SECOND)
    took = [event.body.took_ns for event in timeline if isinstance(event.body, WriteFinished)]
    assert took and 8.0e9 < took[0] < 8.3e9


def test_measured_model_has_no_trouble() -> None:
    learner = Learner()
    learner.up_to(8)
    session = learner.session
    assert session.scenario.host_model is HostModel.MEASURED
    acts = [event.body.action for event in session.timeline if isinstance(event.body, Intervened)]
    assert acts == ["stall_disk", "write"]
    seen = [event.body for event in session.timeline if event.time_ns > 2 * SECOND]
    assert not [
        b for b in seen if isinstance(b, TimerExpired) and b.timer in (TotemTimer.TOKEN_LOSS, TotemTimer.CONSENSUS)
    ]
    assert not [b for b in seen if isinstance(b, MembershipInstalled)]
    assert [b.took_ns < 2_000_000 for b in seen if isinstance(b, WriteFinished)] == [True]


def test_the_model_is_part_of_the_step() -> None:
    """A learner who changes the host model by himself is asked back before anything counts."""
    learner = Learner()
    learner.up_to(1)
    learner.run.attach(learner.session.with_host_model(HostModel.MEASURED))
    assert learner.run.wants_model is HostModel.ARTICLE
    learner.session.advance(5 * SECOND)
    assert learner.run.update() == []
    learner.run.switch()
    assert learner.run.wants_model is None


def test_prediction_is_asked_before_its_answer_is_seen() -> None:
    learner = Learner()
    learner.up_to(3)
    learner.session.forward(Unit.MEMBERSHIP)
    learner.run.update()
    assert learner.run.held
    here = learner.session.cursor.position
    learner.run.advance(SECOND)
    assert learner.session.cursor.position == here
    learner.bet()
    learner.run.advance(SECOND)
    after = list(learner.session.timeline)[here + 1 : learner.session.cursor.position]
    assert isinstance(after[0].body, TimerExpired) and after[0].body.timer == TotemTimer.TOKEN_RETRANSMIT


def test_free_play_lets_the_answer_be_seen_and_coming_back_asks_first() -> None:
    learner = Learner()
    learner.up_to(3)
    learner.run_into_the_gate()
    here = learner.session.cursor.position
    learner.run.leave()
    learner.run.advance(2 * SECOND)
    assert learner.session.cursor.position > here
    ahead = len(learner.session.timeline)
    learner.run.come_back()
    learner.run.update()
    assert learner.session.cursor.position == here
    learner.run.advance(SECOND)
    assert learner.session.cursor.position == here
    assert len(learner.session.timeline) == ahead  # what was played freely is not thrown away
    learner.bet()
    learner.up_to(9)


@pytest.mark.parametrize("unit", [*Unit, None])
def test_the_answer_does_not_exist_before_the_question_is_answered(unit: Unit | None) -> None:
    """Whatever the learner presses, the world stops at the gate: no list and no time bar can show what follows."""
    learner = Learner()
    learner.up_to(3)
    for _ in range(60):
        if unit is None:
            learner.session.advance(SECOND // 10)
        else:
            assert learner.session.forward(unit)
        learner.run.update()
        if learner.run.held:
            break
    assert learner.run.held
    assert learner.session.cursor.at_end
    resent = TotemTimer.TOKEN_RETRANSMIT
    timers = [event.body.timer for event in learner.session.timeline if isinstance(event.body, TimerExpired)]
    assert resent not in timers
    learner.session.forward(Unit.EVENT)
    assert learner.session.cursor.at_end
    learner.bet()
    learner.session.forward(Unit.EVENT)
    assert isinstance(decisive := learner.session.timeline[learner.session.cursor.position].body, TimerExpired)
    assert decisive.timer == resent


def test_a_gated_session_makes_the_same_run() -> None:
    """Stopping at gates and going on, in small steps or large, changes nothing in the timeline."""
    learner = Learner()
    learner.up_to(6)
    session = learner.session
    plain = Simulation(session.saved(), session.conf)
    plain.advance(30 * SECOND)
    known = list(session.timeline)
    assert list(plain.timeline)[: len(known)] == known


def test_time_passes_between_events_of_the_past() -> None:
    learner = Learner()
    session = learner.session
    session.advance(2 * SECOND)
    session.cursor.move_to(session.cursor.position - 30)
    for _ in range(2000):
        session.advance(SECOND // 1000)
    assert session.cursor_time_ns > 4 * SECOND


def test_too_short_a_stall_is_said_and_can_be_mended() -> None:
    learner = Learner()
    learner.session.intervene(StallDisk(node=3, duration=Duration(12 * SECOND)))
    before = learner.session.cursor.position - 2
    learner.run.update()
    learner.run.advance(9 * SECOND)
    learner.session.intervene(Write(node=1))
    learner.forward_until_done(Unit.EVENT)
    learner.up_to(4)
    learner.run.advance(8 * SECOND)
    assert learner.run.index == 4
    assert "20 s" in learner.run.spoiled
    learner.session.cursor.move_to(before)
    learner.session.intervene(StallDisk(node=3, duration=Duration(20 * SECOND)))
    learner.run.update()
    assert learner.run.spoiled == ""
    assert learner.run.index == 4  # what was done stays done
    learner.session.intervene(Write(node=1))
    learner.run.update()
    learner.up_to(9)
    assert learner.run.finished


def test_writing_first_is_said() -> None:
    learner = Learner()
    learner.session.intervene(Write(node=1))
    learner.run.advance(SECOND)
    assert "before the disk stalled" in learner.run.spoiled
    learner.session.intervene(StallDisk(node=3, duration=Duration(20 * SECOND)))
    assert learner.run.update() == []


def test_hints_are_graded() -> None:
    run = LessonRun.open(Learner().run.lesson)
    hints = run.lesson.steps[0].hints
    assert run.hint() == hints[:1]
    assert run.hint() == hints[:2]
    assert run.hint() == hints


def test_nobody_but_node_a_will_do() -> None:
    learner = Learner()
    learner.up_to(1)
    learner.session.intervene(Write(node=2))
    learner.run.advance(SECOND)
    assert learner.run.index == 1
