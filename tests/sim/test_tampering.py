"""What is done to one datagram, to one link, and to the timeouts of a running cluster."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from totemviz.sim.interventions import (
    AddNode,
    CutOneWay,
    Delay,
    DelayDatagram,
    DropDatagram,
    DuplicateDatagram,
    Heal,
    HoldDatagram,
    Intervention,
    Kill,
    Loss,
    SetTimeout,
    Write,
)
from totemviz.sim.possible import RELOADED_KEYS
from totemviz.sim.scenario import Scenario, ScenarioError, cluster_conf
from totemviz.sim.scenario import check as check_scenario
from totemviz.sim.session import Simulation
from totemviz.sim.sharing import load_share_string, restore, saved_session, share_string
from totemviz.sim.units import MS, SECOND, US, Duration
from totemviz.totem.config import KEYS
from totemviz.totem.effects import Log, StateEntered
from totemviz.trace import events as ev
from totemviz.trace.checks import check
from totemviz.trace.cursor import Step
from totemviz.trace.view import Flight


def opened() -> Simulation:
    scenario = Scenario()
    session = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    session.advance(3 * SECOND)
    return session


def in_flight(session: Simulation, kind: str) -> Flight:
    """Step on to where such a datagram is on its way."""
    for _ in range(3000):
        for flight in session.cursor.view.flights.values():
            if flight.kind == kind:
                return flight
        session.forward(Step.EVENT)
    raise AssertionError(kind)


def after(session: Simulation, flight: Flight, duration_ns: int = SECOND) -> list[ev.Event]:
    """What becomes of a datagram at its target."""
    session.advance(duration_ns)
    kinds = (ev.DatagramReceived, ev.DatagramDropped)
    return [e for e in session.timeline if isinstance(e.body, kinds) and e.body.sent == flight.sent
            and e.node == flight.target]  # fmt: skip


def test_this_token_is_dropped_and_no_other() -> None:
    session = opened()
    flight = in_flight(session, "orf_token")
    session.intervene(DropDatagram(sent=flight.sent, target=flight.target))
    (dropped,) = after(session, flight)
    assert isinstance(dropped.body, ev.DatagramDropped) and dropped.body.why == "dropped by hand"
    assert isinstance(session.timeline[dropped.cause].body, ev.Intervened)
    assert sum(isinstance(event.body, ev.DatagramDropped) for event in session.timeline) == 1


def test_a_copy_is_delayed_and_overtaken() -> None:
    session = opened()
    session.intervene(Write(node=1))
    flight = in_flight(session, "mcast")
    session.intervene(DelayDatagram(sent=flight.sent, target=flight.target, duration=Duration(5 * MS)))
    (read,) = after(session, flight)
    assert read.time_ns == flight.since_ns + 5 * MS + 50 * US
    assert check(session.timeline) == []


def test_a_copy_arrives_twice() -> None:
    session = opened()
    session.intervene(Write(node=1))
    flight = in_flight(session, "mcast")
    session.intervene(DuplicateDatagram(sent=flight.sent, target=flight.target, duration=Duration(MS)))
    first, second = after(session, flight)
    assert MS <= second.time_ns - first.time_ns < 2 * MS  # the node may be busy when the second comes
    assert check(session.timeline) == []


def test_a_held_copy_is_overtaken_by_the_next_on_its_link() -> None:
    session = opened()
    session.intervene(Write(node=1, content="x" * 4000))
    flight = in_flight(session, "mcast")
    session.intervene(HoldDatagram(sent=flight.sent, target=flight.target))
    (read,) = after(session, flight)
    order = [
        event.body.sent
        for event in session.timeline
        if isinstance(event.body, ev.DatagramReceived)
        and (event.body.source, event.node) == (flight.source, flight.target)
        and event.body.sent >= flight.sent
    ]
    overtaker = order[order.index(flight.sent) - 1]
    assert overtaker > next(event.id for event in session.timeline if isinstance(event.body, ev.Intervened)) + 1
    assert read.time_ns >= flight.since_ns + 50 * US
    assert check(session.timeline) == []


def test_what_has_arrived_is_out_of_reach() -> None:
    session = opened()
    flight = in_flight(session, "orf_token")
    session.advance(SECOND)
    session.intervene(DropDatagram(sent=flight.sent, target=flight.target))
    assert session.advance(SECOND)
    assert not any(isinstance(event.body, ev.DatagramDropped) for event in session.timeline)


def test_a_datagram_is_reached_in_the_past_too() -> None:
    session = opened()
    flight = in_flight(session, "orf_token")
    here = session.cursor.position
    session.advance(2 * SECOND)
    session.cursor.move_to(here)
    session.intervene(DropDatagram(sent=flight.sent, target=flight.target))
    assert session.family.current.parent is not None
    (dropped,) = after(session, flight)
    assert isinstance(dropped.body, ev.DatagramDropped)


def test_one_link_alone() -> None:
    session = opened()
    for action in (
        Loss(percent=50, source=1, target=2),
        Delay(delay=Duration(2 * MS), source=3),
        CutOneWay(source=2, target=3),
        CutOneWay(source=1, target=3),
        Heal(source=1, target=3),
    ):
        session.intervene(action)
    links = session.world.network.links
    assert [pair for pair, link in links.items() if link.loss_percent] == [(1, 2)]
    assert [pair for pair, link in links.items() if link.delay_ns == 2 * MS] == [(3, 1), (3, 2)]
    assert [pair for pair, link in links.items() if link.cut] == [(2, 3)]


def test_a_changed_timeout_is_in_effect_for_timers_that_start_later() -> None:
    session = opened()
    session.intervene(SetTimeout(key="token", value=1000))
    session.advance(2 * SECOND)
    assert session.cursor.view.nodes[1].token_ms == 1650  # with the coefficient for three nodes
    session.intervene(Kill(node=2))
    killed_ns = session.cursor_time_ns
    session.advance(6 * SECOND)
    lost = next(
        event for event in session.timeline
        if isinstance(event.body, StateEntered) and event.body.state == "GATHER" and event.time_ns > killed_ns
    )  # fmt: skip
    assert lost.time_ns - killed_ns <= 1650 * MS
    assert session.cursor.view.nodes[1].members == (1, 3)
    assert check(session.timeline) == []


@pytest.mark.parametrize(("after_ms", "said"), [(2000, 0), (2800, 1)])
def test_a_warning_that_a_reload_switches_off_is_not_said(after_ms: int, said: int) -> None:
    """The timer runs when the reload comes: ``timer_function_orf_token_warning`` looks at the percentage again."""
    session = opened()
    session.intervene(Kill(node=2))
    session.advance(after_ms * MS)
    session.intervene(SetTimeout(key="token_warning", value=0))
    session.advance(SECOND)
    lines = [event.body.text for event in session.timeline if isinstance(event.body, Log)]
    assert sum(line.startswith("Token has not been received") for line in lines) == 2 * said


def test_a_reload_changes_all_keys_but_those_of_the_heartbeat() -> None:
    heartbeat = {"heartbeat_failures_allowed", "max_network_delay"}
    assert set(RELOADED_KEYS) == set(KEYS) - heartbeat
    session = opened()
    session.intervene(SetTimeout(key="send_join", value=80))
    session.intervene(SetTimeout(key="token_coefficient", value=1000))
    assert {host.ring.instance.config.send_join_ms for host in session.world.hosts.values()} == {80}
    assert session.cursor.view.nodes[1].token_ms == 4000
    for key in heartbeat:
        with pytest.raises(ValueError, match="does not change at a reload"):
            session.intervene(SetTimeout(key=key, value=60))


def test_a_node_is_added_and_joins_with_its_vote() -> None:
    session = opened()
    session.intervene(AddNode(profile="sata-ssd"))
    session.advance(4 * SECOND)
    view = session.cursor.view
    assert list(view.nodes) == [1, 2, 3, 4]
    assert [node.members for node in view.nodes.values()] == [(1, 2, 3, 4)] * 4
    assert [(node.votes, node.expected_votes) for node in view.nodes.values()] == [(4, 4)] * 4
    assert view.nodes[4].info.letter == "D"
    assert {node.dcdb_mode for node in view.nodes.values()} == {"SYNCED"}
    assert view.nodes[1].token_ms == 4300  # one coefficient more
    session.intervene(Write(node=4, path="new.conf"))
    session.advance(SECOND)
    assert len(session.cursor.view.writes[1].changes[-1].applied) == 4
    session.intervene(AddNode())
    session.intervene(Kill(node=5))
    assert check(session.timeline) == []


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (SetTimeout(key="transport", value=1), "does not change at a reload; use one of token"),
        (SetTimeout(key="token", value=5), "token"),
        (DropDatagram(sent=1, target=9), "no node 9"),
        (CutOneWay(source=0, target=1), "no node 0"),
    ],
)
def test_what_cannot_be_done_is_one_line(action: Intervention, words: str) -> None:
    session = opened()
    with pytest.raises(ValueError, match=r"\w") as caught:
        session.intervene(action)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_done_to_an_added_node_is_saved_with_it() -> None:
    session = opened()
    session.intervene(AddNode())
    session.advance(SECOND)
    session.intervene(Kill(node=4))
    session.advance(SECOND)
    again, conf = load_share_string(share_string(saved_session(session)))
    assert restore(again, conf).timeline[-1] == session.timeline[-1]
    early = msgspec.structs.replace(again, session=None, interventions=again.interventions[1:])
    with pytest.raises(ScenarioError, match="there is no node 4"):
        check_scenario(early, conf, "early")


def test_timeouts_that_do_not_go_together_are_refused_at_the_second() -> None:
    actions = (SetTimeout(key="join", value=3000, at=Duration(SECOND)), SetTimeout(key="consensus", value=500))
    late = msgspec.structs.replace(actions[1], at=Duration(2 * SECOND))
    scenario = Scenario(interventions=(actions[0], late))
    with pytest.raises(ScenarioError, match="use 3000 or more"):
        check_scenario(scenario, cluster_conf(scenario, "test", Path()), "test")
    apart = Scenario(interventions=(late,))
    check_scenario(apart, cluster_conf(apart, "test", Path()), "test")
