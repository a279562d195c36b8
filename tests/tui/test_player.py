"""Playing: it keeps the speed, falls behind rather than freezing, and the speed shown is the one achieved."""

from __future__ import annotations

import pytest

from tests.tui.synthetic import Session, domino, recording
from totemviz.tui.header import playing_text
from totemviz.tui.moment import Moment
from totemviz.tui.player import BACK_EVENTS, BUDGET_S, FASTEST, INSTALMENT_MAX_NS, SPEEDS, Player


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Slow(Session):
    """Every advance takes a while."""

    can_intervene = True
    clock: Clock
    cost_s = 0.0
    total_ns = 0

    def advance(self, duration_ns):
        self.clock.now_s += self.cost_s
        self.total_ns += duration_ns
        return True


def test_player_keeps_the_speed_through_silence():
    story = domino()
    session, clock = Session(story.timeline), Clock()
    session.cursor.move_to(story.marks["waiting"])
    player = Player(clock)
    player.start(session.cursor.view.time_ns)
    begin = player.time_ns
    for _ in range(12):
        clock.now_s += 0.1
        assert player.frame(session)
    assert player.time_ns - begin == pytest.approx(1.2e9, rel=1e-6)
    assert session.cursor.position > story.marks["waiting"]


def test_player_falls_behind_rather_than_freezing():
    session, clock = Slow(domino().timeline), Clock()
    session.clock, session.cost_s = clock, 0.02
    player = Player(clock)
    player.change_speed(99)
    player.start(0)
    for _ in range(20):
        clock.now_s += 0.1
        before = clock.now_s
        player.frame(session)
        assert clock.now_s - before < BUDGET_S + 0.03


def test_player_stops_at_the_end_of_a_recording():
    story = recording()
    session, clock = Session(story.timeline), Clock()
    player = Player(clock)
    player.start(0)
    clock.now_s += 0.2
    assert not player.frame(session)
    assert session.cursor.at_end


def test_the_speed_shown_is_the_one_achieved():
    session, clock = Slow(domino().timeline), Clock()
    session.clock, session.cost_s = clock, 0.02
    player = Player(clock)
    player.change_speed(99)
    player.change_speed(-1)
    assert player.speed == 1000.0
    assert player.achieved == 0.0
    player.start(0)
    for _ in range(40):
        clock.now_s += 0.1
        begin_ns = player.time_ns
        player.frame(session)
    assert player.time_ns > begin_ns
    in_a_second = player.achieved
    assert 0 < in_a_second < 1  # far behind: an advance takes most of a frame
    text = playing_text(Moment(session, 0, playing=True, speed=player.speed, achieved=in_a_second))
    assert text.endswith("of 1000×")


def test_a_machine_that_keeps_up_shows_the_speed_asked_for():
    session, clock = Slow(domino().timeline), Clock()
    session.clock = clock
    player = Player(clock, 2.0)
    player.start(0)
    for _ in range(20):
        clock.now_s += 0.1
        player.frame(session)
    assert player.achieved == pytest.approx(2.0, rel=1e-6)
    assert playing_text(Moment(session, 0, playing=True, speed=2.0, achieved=player.achieved)) == "2×"
    assert playing_text(Moment(session, 0, playing=True, speed=2.0, achieved=20.0)) == "20× with skips"
    assert playing_text(Moment(session, 0, playing=True, speed=FASTEST, achieved=1234.0)) == "max 1 200×"


def test_as_fast_as_possible_is_bounded_by_the_frame_only():
    session, clock = Slow(domino().timeline), Clock()
    session.clock, session.cost_s = clock, BUDGET_S / 20
    player = Player(clock)
    player.change_speed(99)
    assert player.speed == FASTEST == SPEEDS[-1]
    player.start(0)
    for _ in range(60):
        before, before_ns = clock.now_s, player.time_ns
        player.frame(session)
        assert clock.now_s - before <= BUDGET_S + session.cost_s
    # an instalment grows to its limit, then a frame pays a full one for each twentieth
    assert 20 <= (player.time_ns - before_ns) // INSTALMENT_MAX_NS <= 21


def test_backwards_as_fast_as_possible_ends_at_the_begin():
    session, clock = Session(domino().timeline), Clock()
    session.cursor.move_to(len(session.timeline) - 1)
    player = Player(clock)
    player.change_speed(99)
    player.start(session.cursor_time_ns, backward=True)
    frames = 0
    while player.frame(session):
        clock.now_s += 0.1
        frames += 1
    assert player.time_ns == 0
    assert frames == (len(session.timeline) - 2) // BACK_EVENTS


def test_idle_rounds_are_skipped_backwards_too():
    story = domino()
    session, clock = Session(story.timeline), Clock()
    session.cursor.move_to(len(session.timeline) - 1)
    places_ns = []
    for skips in (False, True):
        session.cursor.move_to(story.marks["gather"])
        player = Player(clock, 0.01)
        player.skips_idle = skips
        player.start(session.cursor_time_ns, backward=True)
        for _ in range(20):
            clock.now_s += 0.1
            player.frame(session)
        places_ns.append(player.time_ns)
    begin_ns = session.timeline[story.marks["gather"]].time_ns
    assert begin_ns - places_ns[0] == pytest.approx(20_000_000, abs=100)  # 20 frames of 1 ms
    assert begin_ns - places_ns[1] > 1_000_000_000  # and the silences between the tokens that were sent again
