"""Going anywhere in a timeline shows what a fold from the beginning shows there."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from totemviz.sim.interventions import Kill, Write
from totemviz.sim.scenario import NetworkSpec, Scenario, cluster_conf
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.sim.world import World
from totemviz.totem.effects import MembershipInstalled, PacketDelivered
from totemviz.totem.states import State
from totemviz.trace import cursor as cursor_module
from totemviz.trace.cursor import Cursor, Step
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView


def state(view: ClusterView) -> dict[str, object]:
    """Everything a view says, down to the journeys."""
    hidden = {"journeys", "nodes"}
    said: dict[str, object] = {key: repr(value) for key, value in vars(view).items() if key not in hidden}
    said["nodes"] = repr(view.nodes)
    said["journeys"] = repr({key: value for key, value in vars(view.journeys).items() if key != "_own"})
    return said


def folded(timeline: Timeline, position: int) -> ClusterView:
    view = ClusterView()
    for index in range(position + 1):
        view.apply(timeline[index])
    return view


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    write = Write(node=1, path="qemu-server/{n}.conf", count=20, every=Duration(40 * MS), at=Duration(2 * SECOND))
    scenario = Scenario(interventions=(write, Kill(node=2, at=Duration(2 * SECOND + 500 * MS))))
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    world.run_until(9 * SECOND)
    return world.timeline


def test_anywhere_as_from_the_beginning(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor_module, "COARSE_EVENTS", 400)
    monkeypatch.setattr(cursor_module, "FINE_EVENTS", 50)
    cursor = Cursor(timeline)
    chance = Random(4)
    position = -1
    for _ in range(60):
        leap = chance.choice((1, -1, 7, -7, 60, -60, 10**6, -(10**6), chance.randrange(-3000, 3000)))
        position = max(-1, min(len(timeline) - 1, position + leap))
        cursor.move_to(position)
        assert cursor.position == position
        assert state(cursor.view) == state(folded(timeline, position))


def test_a_fork_sees_the_same_and_disturbs_nothing(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cursor_module, "COARSE_EVENTS", 400)
    cursor = Cursor(timeline)
    cursor.move_to(len(timeline) - 1)
    before = state(cursor.view)
    middle = len(timeline) // 2
    fork = cursor.forked(timeline.forked(middle + 1), middle)
    assert fork.at_end
    assert state(fork.view) == state(folded(timeline, middle))
    assert state(cursor.view) == before


def test_delivered_everywhere_is_the_last_delivery_of_a_packet(timeline: Timeline) -> None:
    cursor = Cursor(timeline)
    cursor.seek_time(2 * SECOND)
    ends = []
    while (found := cursor.find(Step.DELIVERED)) is not None:
        ends.append(found)
        cursor.move_to(found)
    members: dict[object, int] = {}
    left: dict[tuple[object, int], int] = {}
    expected = []
    for event in timeline:
        if isinstance(event.body, MembershipInstalled):
            members[event.body.ring_id] = len(event.body.members)
        elif isinstance(event.body, PacketDelivered):
            key = (event.body.ring_id, event.body.seq)
            left[key] = left.get(key, members.get(event.body.ring_id, 0)) - 1
            if not left[key] and event.time_ns > 2 * SECOND:
                expected.append(event.id)
    assert len(expected) > 20
    assert ends == expected
    for end in reversed(ends[:-1]):
        found = cursor.find(Step.DELIVERED, backward=True)
        assert found == end
        cursor.move_to(found)


def test_nothing_stays_in_flight(timeline: Timeline) -> None:
    """Every copy is read, queued or lost; so what is in flight at any moment was sent a moment ago."""
    view = ClusterView()
    most = 0
    for event in timeline:
        view.apply(event)
        most = max(most, len(view.flights))
        assert all(event.time_ns - flight.since_ns <= MS for flight in view.flights.values())
    assert most > 2


def test_the_view_knows_the_aru_of_every_node_at_every_moment() -> None:
    write = Write(node=1, path="f{n}", count=40, every=Duration(5 * MS), at=Duration(2 * SECOND))
    loss = NetworkSpec(loss_percent=3.0)
    scenario = Scenario(seed=3, network=loss, interventions=(write,))
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    view, compared = ClusterView(), 0
    while (next_ns := world.next_ns) is not None and next_ns < 3 * SECOND and world.step():
        for index in range(view.event_id + 1, len(world.timeline)):
            view.apply(world.timeline[index])
        for nodeid, host in world.hosts.items():
            node = view.nodes[nodeid]
            if host.ring is not None and host.ring.state is State.OPERATIONAL and node.aru >= 0:
                assert node.aru == host.ring.instance.aru, (world.now_ns, nodeid)
                compared += 1
    assert compared > 3_000
