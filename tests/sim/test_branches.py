"""Branches: the past is changed on a branch, what is shared is shared, and every way back leads where it came from."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest

from tests.trace.test_cursor import state
from totemviz.sim import branches as branches_module
from totemviz.sim import instalments
from totemviz.sim import world as world_module
from totemviz.sim.interventions import Cut, Heal, Kill, Loss, Pause, Restart, StallDisk, Write
from totemviz.sim.scenario import ClusterSpec, Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.sim.world import World
from totemviz.totem.effects import TokenReceived
from totemviz.trace import events as ev
from totemviz.trace.checks import check
from totemviz.trace.conditions import compile_condition
from totemviz.trace.cursor import Step
from totemviz.trace.why import is_chance


def opened(scenario: Scenario | None = None) -> Simulation:
    scenario = scenario or Scenario()
    return Simulation(scenario, cluster_conf(scenario, "test", Path()))


def done(session: Simulation) -> list[str]:
    return [event.body.text for event in session.timeline if isinstance(event.body, ev.Intervened)]


def fresh_digest(session: Simulation) -> str:
    again = opened(session.saved())
    while len(again.timeline) < len(session.timeline):
        assert again.world.step()
    return again.timeline.digest()


def test_the_past_is_changed_on_a_branch_of_that_name() -> None:
    session = opened()
    session.advance(4 * SECOND)
    main, digest, events = session.timeline, session.timeline.digest(), len(session.timeline)
    session.retreat(1500 * MS)
    position = session.cursor.position
    session.intervene(Kill(node=2))
    branch = session.family.current
    assert branch.name == "kill corosync and pmxcfs on node 2"
    assert branch.parent is session.family.named("main")
    assert position <= branch.forked_at < events
    assert all(a is b for a, b in zip(session.timeline[: position + 1], main[: position + 1], strict=True))
    assert session.timeline[branch.forked_at + 1].time_ns == 2500 * MS
    session.advance(5 * SECOND)
    assert session.timeline.digest() == fresh_digest(session)
    session.switch(session.family.named("main"))
    assert session.timeline is main
    assert main.digest() == digest


def test_a_branch_that_slept_goes_on_as_if_it_had_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches_module, "WORLDS_KEPT", 1)
    session, awake = opened(), opened()
    for each in (session, awake):
        each.advance(3 * SECOND)
        each.intervene(Write(node=1))
        each.advance(700 * MS)
    session.back(Step.HOP)
    session.intervene(Kill(node=3))
    main = session.family.named("main")
    assert not main.awake
    session.switch(main)
    session.cursor.move_to(len(session.timeline) - 1)
    for each in (session, awake):
        each.intervene(StallDisk(node=2, duration=Duration(SECOND)))
        each.advance(2 * SECOND)
    assert session.timeline.digest() == awake.timeline.digest()


def test_undo_and_redo() -> None:
    session = opened()
    with pytest.raises(ValueError, match="nothing was done"):
        session.undo()
    session.advance(3 * SECOND)
    session.intervene(Write(node=1))
    session.advance(SECOND)
    session.intervene(Kill(node=2))
    session.advance(SECOND)
    there = (session.family.current, session.cursor.position)
    assert session.undo().startswith("kill")
    assert done(session) == ["write /etc/pve/qemu-server/100.conf on node 1"]
    assert session.cursor_time_ns == pytest.approx(4 * SECOND, abs=200 * MS)
    assert session.undo().startswith("write")
    assert done(session) == []
    session.advance(5 * SECOND)
    assert done(session) == []
    session.redo()
    session.redo()
    assert (session.family.current, session.cursor.position) == there
    with pytest.raises(ValueError, match="nothing was undone"):
        session.redo()


def test_undo_of_a_branch_returns_to_its_parent() -> None:
    session = opened()
    session.advance(4 * SECOND)
    session.retreat(SECOND)
    session.intervene(Kill(node=2))
    session.advance(SECOND)
    session.undo()
    assert session.family.current.name == "main"
    assert session.cursor.view.time_ns <= 3 * SECOND


def test_what_if_not_keeps_what_was_done_besides() -> None:
    session = opened(Scenario(interventions=(Write(node=1, path="a", at=Duration(7 * SECOND)),)))
    session.advance(3 * SECOND)
    session.intervene(Cut(nodes=(3,)))
    cut = session.cursor.view.event_id
    cut = next(event.id for event in session.timeline if isinstance(event.body, ev.Intervened))
    session.advance(2 * SECOND)
    session.intervene(Pause(node=1, duration=Duration(100 * MS)))
    session.advance(5 * SECOND)
    session.without(cut)
    assert session.cursor_time_ns == 10 * SECOND
    assert [text.split()[0] for text in done(session)] == ["stop", "write"]
    assert not session.cursor.view.cut_links
    assert session.timeline.digest() == fresh_digest(session)
    with pytest.raises(ValueError, match="not something that was done"):
        session.without(5)


def test_the_other_host_model_is_a_branch() -> None:
    session = opened()
    session.advance(3 * SECOND)
    session.branch_under(HostModel.MEASURED)
    assert session.scenario.host_model is HostModel.MEASURED
    assert session.cursor_time_ns == 3 * SECOND
    assert session.family.current.forked_at == -1


def test_back_and_forward_again_is_the_same_everywhere() -> None:
    """Any way through branches and times leads to the same views and digests."""
    session = opened()
    chance = Random(11)
    session.advance(2 * SECOND)
    session.intervene(Write(node=1))
    session.advance(SECOND)
    session.back(Step.MEMBERSHIP)
    for action in (Kill(node=3), Cut(nodes=(1,)), Restart(node=3), Heal()):
        session.retreat(chance.randrange(400) * MS)
        session.intervene(action)
        session.advance(1200 * MS)
    known = {}
    for branch in list(session.family):
        session.switch(branch)
        marks = sorted(chance.sample(range(len(session.timeline)), 6))
        seen = []
        for mark in marks:
            session.cursor.move_to(mark)
            seen.append(state(session.cursor.view))
        known[branch.name] = (session.timeline.digest(), marks, seen)
    assert len(known) >= 4
    for name in chance.sample(sorted(known), len(known)):
        session.switch(session.family.named(name))
        digest, marks, seen = known[name]
        assert session.timeline.digest() == digest
        for index in chance.sample(range(len(marks)), len(marks)):
            session.cursor.move_to(marks[index])
            assert state(session.cursor.view) == seen[index]
            for step in (Step.EVENT, Step.EVENT, Step.STAGE):
                session.back(step)
            session.cursor.move_to(marks[index])
            assert state(session.cursor.view) == seen[index]


@pytest.mark.parametrize(("step", "most"), [(Step.EVENT, 600), (Step.STAGE, 10**6), (Step.MEMBERSHIP, 10**6)])
def test_n_steps_back_and_n_forward(step: Step, most: int) -> None:
    session = opened()
    session.advance(1100 * MS)
    session.intervene(Write(node=2))
    session.advance(300 * MS)
    session.back(step)
    before, end = state(session.cursor.view), session.cursor.position
    steps = 0
    while steps < most and session.back(step):
        steps += 1
    assert steps == most or session.cursor.find(step, backward=True) is None
    for _ in range(steps):
        assert session.forward(step)
    assert session.cursor.position == end
    assert state(session.cursor.view) == before


def test_a_stop_holds_the_world_itself() -> None:
    """So that doing something at a stop does not need a branch."""
    session = opened()
    session.advance(2 * SECOND)
    nodes = [node.info for node in session.cursor.view.nodes.values()]
    session.stops.add(compile_condition("write_started", nodes))
    session.intervene(Write(node=1, count=3, every=Duration(SECOND)))
    assert not session.advance(10 * SECOND)
    assert session.halt is not None and session.halt.why == "write_started"
    assert isinstance(session.cursor.event.body, ev.WriteStarted)  # type: ignore[union-attr]
    assert session.timeline[-1].time_ns == session.cursor.view.time_ns
    held = 1
    while not session.advance(10 * SECOND):
        held += 1
    assert held == 3


def test_a_stop_holds_a_far_step_and_a_violation_holds_a_run() -> None:
    session = opened()
    session.advance(2 * SECOND)
    nodes = [node.info for node in session.cursor.view.nodes.values()]
    stop = session.stops.add(compile_condition("token.age > 2s", nodes))
    session.intervene(Kill(node=2))
    assert session.forward(Step.MEMBERSHIP)
    assert session.halt is not None and session.cursor_time_ns == session.halt.time_ns
    stop.enabled = False
    assert session.forward(Step.MEMBERSHIP)
    assert session.halt is None
    assert session.cursor.view.nodes[1].members == (1, 3) or session.cursor.view.nodes[3].members == (1, 3)


@pytest.mark.parametrize(
    ("nodes", "first_ms", "at_visit"), [(3, None, True), (5, None, True), (3, 1500, True), (3, 0, False)]
)
def test_a_session_begins_with_one_boot_at_a_visit_before_anything_is_done(
    nodes: int, first_ms: int | None, at_visit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots: list[World] = []
    begin = World.__init__
    monkeypatch.setattr(World, "__init__", lambda self, *args: boots.append(self) or begin(self, *args))
    given = () if first_ms is None else (Kill(node=1, at=Duration(first_ms * MS)),)
    scenario = Scenario(cluster=ClusterSpec(nodes=nodes), interventions=given)
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.warm_up()
    assert len(boots) == 1
    assert session.world.done == []
    assert session.world.now_ns == session.cursor_time_ns
    assert not at_visit or isinstance(session.cursor.event.body, TokenReceived)
    modes = [node.dcdb_mode for node in session.cursor.view.nodes.values()]
    assert modes == ["SYNCED"] * nodes or given


def test_a_storm_holds_the_run_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened()
    session.advance(SECOND)
    monkeypatch.setattr(world_module, "STORM_EVENTS", 50)
    assert not session.advance(SECOND)
    assert session.halt is not None and session.halt.why.startswith("50 events within one millisecond")
    stormy = session.cursor_time_ns
    assert session.cursor.at_end and stormy == session.world.now_ns < 2 * SECOND
    assert session.forward(Step.MEMBERSHIP)
    assert session.halt is not None and session.cursor_time_ns == stormy
    assert session.back(Step.EVENT) and session.halt is None


def test_the_first_thing_done_after_the_start_opens_no_branch() -> None:
    scenario = Scenario()
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.warm_up()
    session.intervene(Write(node=1))
    assert [branch.name for branch in session.family.branches] == ["main"]
    session.advance(SECOND)
    session.back(Step.ROTATION)
    session.intervene(Write(node=2))
    assert len(session.family.branches) == 2


def test_what_if_chance_had_not_lost_it() -> None:
    """The token is lost on a lossy link: on the branch it arrives, and all other dice fall as before."""
    session = opened(Scenario(seed=3, interventions=(Write(node=1, path="a", at=Duration(12 * SECOND)),)))
    session.advance(3 * SECOND)
    session.intervene(Loss(percent=8))
    lost = None
    while lost is None:
        session.advance(500 * MS)
        lost = next((e for e in session.timeline if is_chance(e) and e.body.kind == "orf_token"), None)
    session.advance(10 * SECOND)
    end_ns = session.cursor_time_ns
    asked_at = session.cursor.position
    branch = session.without(lost.id)
    assert session.cursor_time_ns == end_ns and branch.forked_at >= lost.id
    spared = next(e for e in session.timeline[lost.id :] if isinstance(e.body, ev.Intervened))
    assert spared.body.action == "deliver_lost" and spared.time_ns == lost.time_ns
    arrived = next(
        e
        for e in session.timeline[spared.id :]
        if isinstance(e.body, ev.DatagramReceived) and e.body.sent == lost.body.sent
    )
    assert arrived.node == lost.body.target and arrived.time_ns - lost.time_ns < MS
    assert [text.split()[0] for text in done(session)] == ["lose", "do", "write"]
    assert check(session.timeline) == []
    assert session.timeline.digest() == fresh_digest(session)
    session.redo()
    assert session.family.current is session.family.branches[0] and session.cursor.position == asked_at


@pytest.mark.parametrize("what", ["intervening", "leaving_out", "undoing", "branching_under"])
def test_long_work_can_be_given_up_and_nothing_is_changed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(instalments, "INSTALMENT_EVENTS", 50)
    session = opened()
    session.advance(3 * SECOND)
    session.intervene(Pause(node=2, duration=Duration(100 * MS)))
    paused = session.cursor.position
    session.advance(SECOND)
    session.intervene(Pause(node=3, duration=Duration(100 * MS)))
    session.advance(SECOND)
    session.retreat(500 * MS)
    event = next(e.id for e in session.timeline[paused - 5 :] if isinstance(e.body, ev.Intervened))

    def work() -> Generator[float, None, object]:
        return {
            "intervening": lambda: session.intervening(Kill(node=1)),
            "leaving_out": lambda: session.leaving_out(event),
            "undoing": session.undoing,
            "branching_under": lambda: session.branching_under(HostModel.ARTICLE),
        }[what]()

    def seen() -> tuple[object, ...]:
        family = session.family
        return (family.current, list(family), session.timeline.digest(), session.cursor.position, list(session._undone))

    before = seen()
    for instalments_done in (1, 2, 5):
        begun = work()
        shares = [next(begun) for _ in range(instalments_done)]
        assert shares == sorted(shares)
        assert 0 < shares[-1] < 1
        assert seen() == before
        begun.close()
        assert seen() == before
    instalments.finish(work())
    assert session.family.current is not before[0]
    assert session.timeline.digest() == fresh_digest(session)
