"""The lesson "The domino effect" can really be taken, and shows what it says it shows."""

from __future__ import annotations

import pytest

from tests.lessons.learner import Learner
from totemviz.lessons import LessonRun
from totemviz.lessons.run import PORTION_NS
from totemviz.sim.interventions import StallDisk, Write
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
    seen = list(learner.session.timeline)[: learner.session.cursor.position + 1]
    assert not [e for e in seen if isinstance(e.body, TimerExpired) and e.body.timer == TotemTimer.TOKEN_RETRANSMIT]
    decisive = learner.session.timeline[learner.session.cursor.position + 1]
    assert not learner.run.may_pass(decisive)
    learner.run.advance(SECOND)
    assert learner.session.cursor.position == decisive.id - 1
    learner.bet()
    assert learner.run.may_pass(decisive)
    learner.run.advance(SECOND)
    assert learner.session.cursor.position > decisive.id


def test_time_alone_hardly_leaves_the_gate_behind() -> None:
    """Let alone with ``advance``, the world itself stops within one portion of the gate."""
    learner = Learner()
    learner.up_to(3)
    learner.run.advance(10 * SECOND)
    assert learner.run.held
    timeline = learner.session.timeline
    gate = timeline[learner.session.cursor.position + 1]
    assert timeline[-1].time_ns - gate.time_ns <= PORTION_NS


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
