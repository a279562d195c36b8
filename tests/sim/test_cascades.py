"""Cascades as they really happen, and as articles tell them: the cause of every link is the link before."""

from __future__ import annotations

from functools import cache

import pytest

from tests.sim.runs import found, run_file, seconds
from totemviz.sim.world import World
from totemviz.totem.effects import MembershipInstalled, StateEntered
from totemviz.trace.checks import check
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import (
    Event,
    FsyncStarted,
    NodeFenced,
    ProcessBlocked,
    TimerExpired,
    WatchdogFed,
    kind_of,
)
from totemviz.trace.headline import headline
from totemviz.trace.why import last_of_kind, tell

ON_THEIR_WAY = {"datagram_sent", "datagram_received", "token_received", "token_passed", "message_ordered"}


@cache
def cascade(name: str) -> World:
    return run_file(f"cascade-{name}")


def chain(name: str, kind: str, *, last: int = -1) -> list[Event]:
    """The causes of an event of a kind, the first first, without messages on their way."""
    timeline = cascade(name).timeline
    events = [event for event in timeline if kind_of(event.body) == kind]
    links = list(reversed(timeline.chain(events[last].id)))
    return [event for event in links if kind_of(event.body) not in ON_THEIR_WAY]


def kinds(links: list[Event]) -> list[str]:
    return [f"{kind_of(event.body)} {event.node}" for event in links]


def test_ring_pressure_on_the_host_blocks_corosync_again_and_again() -> None:
    """A: not scheduled → token lost → COMMIT → ring-id file → the new ring's token lost → a ring without → COMMIT …"""
    links = chain("ring", "process_blocked")
    assert kinds(links) == [
        "intervened 3",
        "disk_loaded 3",
        "process_blocked 3",
        "datagram_queued 3",
        "timer_expired 1",
        "state_entered 1",
        "state_entered 3",
        "ring_id_stored 3",
        "process_blocked 3",
        "timer_expired 1",
        "state_entered 1",
        "timer_expired 1",
        "state_entered 1",
        "state_entered 2",
        "state_entered 3",
        "state_entered 1",
        "state_entered 3",
        "ring_id_stored 3",
        "process_blocked 3",
    ]
    blocks = [event.body.why for event in links if isinstance(event.body, ProcessBlocked)]
    assert blocks[0].startswith("not scheduled")
    assert blocks[1:] == ["writing the ring-id file: the disk's queue is full"] * 2
    lost = [event.body for event in links if isinstance(event.body, StateEntered) and event.node == 1][1]
    assert lost.text == "The token was lost in the RECOVERY state."
    timeline = cascade("ring").timeline
    assert not found(timeline, FsyncStarted, 3, after_s=5), "pmxcfs has no part in it"
    rings = [body.members for _, body in found(timeline, MembershipInstalled, 1, after_s=5)]
    assert rings == [(1, 2), (1, 2, 3)] or rings[-1] == (1, 2, 3)
    assert (1, 2) in rings


def test_a_checkpoint_kills_a_node_while_the_ring_is_healthy() -> None:
    """B: the disk hangs → checkpoint → pmxcfs stands still → no renewal → watchdog → reset; no membership changes."""
    links = chain("watchdog", "node_fenced")
    assert kinds(links) == [
        "intervened 3",
        "disk_faulted 3",
        "fsync_started 3",
        "process_blocked 3",
        "watchdog_warned 3",
        "watchdog_expired 3",
        "node_fenced 3",
    ]
    timeline, fenced = cascade("watchdog").timeline, links[-1]
    fed = [event for event, _ in found(timeline, WatchdogFed, 3)]
    assert fenced.time_ns - fed[-1].time_ns == seconds(72)
    hanging = [event for event, _ in found(timeline, TimerExpired, after_s=8) if event.time_ns < fenced.time_ns]
    assert not [event for event in hanging if event.body.timer in ("token_loss", "consensus")]  # type: ignore[union-attr]
    installed = found(timeline, MembershipInstalled, after_s=8)
    assert all(event.time_ns > fenced.time_ns for event, _ in installed)
    after = chain("watchdog", "membership_installed")
    assert kinds(after)[:8] == [*kinds(links), "process_killed 3"]
    assert {body.members for _, body in installed} == {(1, 2)}


def test_the_articles_domino_to_its_end() -> None:
    """C: a sync stops the host → the token waits → declared dead; and no lock is renewed → the watchdog."""
    declared = chain("article", "membership_installed", last=_first_without_c("article"))
    assert kinds(declared) == [
        "intervened 3",
        "disk_changed 3",
        "fsync_started 3",
        "process_blocked 3",
        "datagram_queued 3",
        "timer_expired 1",
        "state_entered 1",
        "timer_expired 1",
        "state_entered 1",
        "membership_installed 1",
    ]
    fenced = chain("article", "node_fenced")
    assert kinds(fenced)[:4] == kinds(declared)[:4]
    assert kinds(fenced)[4:] == ["watchdog_warned 3", "watchdog_expired 3", "node_fenced 3"]
    blocked = declared[3].body
    assert isinstance(blocked, ProcessBlocked) and blocked.processes == ("corosync", "pmxcfs")


def _first_without_c(name: str) -> int:
    """Which of the memberships is the first on node 1 without node 3, after all were together."""
    installed = found(cascade(name).timeline, MembershipInstalled)
    together = next(index for index, (_, body) in enumerate(installed) if len(body.members) == 3)
    return next(
        index
        for index, (event, body) in enumerate(installed)
        if index > together and event.node == 1 and body.members == (1, 2)
    )


@pytest.mark.parametrize("name", ["ring", "watchdog", "article"])
def test_no_invariant_is_broken_on_the_way(name: str) -> None:
    assert [str(violation) for violation in check(cascade(name).timeline)] == []


def test_a_cascade_is_told_in_sentences_with_times() -> None:
    timeline = cascade("watchdog").timeline
    fenced = last_of_kind(timeline, "node_fenced")
    assert fenced is not None
    told = tell(timeline, fenced)
    assert len(told) == 7
    assert told[0].split() == ["8.000000", "s", "you:", "hang", "the", "disk", "of", "C", "for", "good"]
    assert told[-1].endswith("the watchdog resets C")
    assert last_of_kind(timeline, "node_fenced", (1, 2)) is None


def test_messages_on_their_way_are_told_as_one_link() -> None:
    timeline = cascade("ring").timeline
    blocked = last_of_kind(timeline, "process_blocked")
    assert blocked is not None
    told = tell(timeline, blocked)
    assert len(told) < 30 < len(timeline.chain(blocked))
    assert sum("ordinary step" in line for line in told) >= 3


def test_only_those_who_hold_a_lock_can_be_fenced() -> None:
    assert [event.node for event, _ in found(cascade("watchdog").timeline, NodeFenced)] == [3]


def test_the_headline_counts_down_to_the_reset() -> None:
    cursor = Cursor(cascade("watchdog").timeline)
    cursor.seek_time(seconds(60))
    told = headline(cursor.view, seconds(60))
    assert "The token does not wait for it. Its HA lock is not renewed: the watchdog resets C in 25.0 s." in told


def test_the_headline_lets_a_node_rest_that_the_others_have_left_behind() -> None:
    timeline = cascade("ring").timeline
    cursor = Cursor(timeline)
    installed, body = found(timeline, MembershipInstalled, node=1, after_s=10.0)[0]
    assert body.members == (1, 2)
    cursor.move_to(installed.id)
    assert cursor.view.nodes[3].state == "GATHER"
    told = headline(cursor.view)
    assert "C, no longer counted, is still blocked for 8.03 s so far" in told
    assert "looks for members" not in told
