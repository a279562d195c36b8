"""The checkers: silent about a true run, and each one speaks up when a run is doctored."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.totem.cluster import MS, Cluster
from totemviz.corosync.effects import SyncCompleted
from totemviz.totem.effects import (
    ConfigurationChange,
    Level,
    Log,
    MessageOrdered,
    MessagesMulticast,
    PacketDelivered,
    RetransmitChecked,
    RingId,
    StateEntered,
    TokenIgnored,
    TokenPassed,
    TokenReceived,
)
from totemviz.totem.wire import CommitToken, Mcast, decode
from totemviz.trace.checks import CHECKERS, Checker, Violation, check, unexpected
from totemviz.trace.events import DatagramSent, Event, Intervened
from totemviz.trace.timeline import Timeline

NOTHING = Log(Level.DEBUG, "TOTEM", "")
CPG_MCAST = (2 << 16 | 3).to_bytes(4, "little")


@cache
def true_run() -> tuple[tuple[Event, ...], int]:
    """A life: boot, messages, one lost on its way, a death, a return; then quiet."""
    cluster = Cluster(3)
    ring_id = cluster.form(idle=True)
    lost = [1]

    def once(_source: int, target: int, message: object) -> list[int] | None:
        if target == 3 and isinstance(message, Mcast) and message.ring_id == ring_id and lost:
            lost.pop()
            return []
        return None

    cluster.hooks.append(once)
    for number in range(9):
        cluster.submit(1 + number % 3, CPG_MCAST, b"message %d" % number)
        cluster.run(2 * MS)
    cluster.hooks.clear()
    cluster.run(100 * MS)
    cluster.kill(3)
    cluster.run(1500 * MS)
    cluster.start(3)
    cluster.run(1000 * MS)
    cluster.submit(2, CPG_MCAST, b"to all three again")
    cluster.run(6000 * MS)
    return tuple(cluster.timeline), cluster.now_ns


class Doctor:
    """A run whose events can be changed."""

    def __init__(self) -> None:
        events, self.end_ns = true_run()
        self.events = list(events)

    def find(self, kind: type, which: Callable[[Event], bool] = lambda _: True, *, at: int = -1) -> Event:
        return [event for event in self.events if type(event.body) is kind and which(event)][at]

    def change(self, event: Event, **fields: Any) -> None:
        self.put(event, msgspec.structs.replace(event.body, **fields))

    def put(self, event: Event, body: Any) -> None:
        self.events[event.id] = msgspec.structs.replace(event, body=body)

    def swap(self, a: Event, b: Event) -> None:
        self.put(a, b.body)
        self.put(b, a.body)

    def add(self, node: int, body: Any, cause: int = -1) -> None:
        self.events.append(Event(len(self.events), self.end_ns, node, cause, body))

    def check(self) -> list[Violation]:
        return check(self.events, end_ns=self.end_ns)


def of_node(node: int) -> Callable[[Event], bool]:
    return lambda event: event.node == node


def invention(d: Doctor) -> None:
    d.change(d.find(PacketDelivered), source=1)


def duplication(d: Doctor) -> None:
    d.add(2, d.find(PacketDelivered, of_node(2)).body)


def disagreement(d: Doctor) -> None:
    d.change(d.find(PacketDelivered, of_node(3)), checksum=1)


def disorder(d: Doctor) -> None:
    d.swap(*[e for e in d.events if type(e.body) is PacketDelivered and e.node == 2][3:5])


def hole(d: Doctor) -> None:
    d.put(d.find(PacketDelivered, of_node(2), at=3), NOTHING)


def cross_order(d: Doctor) -> None:
    transitional = d.find(ConfigurationChange, lambda e: e.node == 2 and e.body.transitional and e.body.left == (3,))
    packets = [e for e in d.events[: transitional.id] if type(e.body) is PacketDelivered and e.node == 2]
    d.swap(packets[-1], transitional)


def acausal(d: Doctor) -> None:
    d.swap(*[e for e in d.events if type(e.body) is MessageOrdered and e.node == 2 and e.body.numbers][:2])


def own_not_delivered(d: Doctor) -> None:
    d.put(d.find(PacketDelivered, lambda e: e.node == 2 and e.body.source == 2, at=0), NOTHING)


def asymmetric(d: Doctor) -> None:
    d.change(d.find(ConfigurationChange, lambda e: e.node == 2 and e.body.transitional), members=(2,))


def no_transitional(d: Doctor) -> None:
    d.put(d.find(ConfigurationChange, lambda e: e.node == 2 and e.body.transitional), NOTHING)


def without_itself(d: Doctor) -> None:
    d.change(d.find(ConfigurationChange, lambda e: e.node == 2 and not e.body.transitional), members=(1, 3))


def old_number(d: Doctor) -> None:
    d.change(d.find(ConfigurationChange, lambda e: e.node == 2 and not e.body.transitional), ring_id=RingId(1, 5))


def wrong_rep(d: Doctor) -> None:
    d.change(d.find(ConfigurationChange, lambda e: e.node == 2 and not e.body.transitional), ring_id=RingId(3, 500))


def never_synchronised(d: Doctor) -> None:
    d.put(d.find(SyncCompleted, of_node(2)), NOTHING)


def two_tokens(d: Doctor) -> None:
    d.add(1, d.find(TokenReceived).body)


def wrong_neighbour(d: Doctor) -> None:
    d.change(d.find(TokenPassed, of_node(1)), successor=3)


def seq_twice(d: Doctor) -> None:
    d.add(3, d.find(MessageOrdered).body)


def freed_too_early(d: Doctor) -> None:
    d.change(d.find(TokenReceived), freed=3)


def unfounded_aru(d: Doctor) -> None:
    last = d.find(TokenReceived, of_node(1))
    d.change(d.find(TokenPassed, lambda e: e.node == 3 and e.id < last.id), my_aru=0)


def aru_above_seq(d: Doctor) -> None:
    passed = d.find(TokenPassed)
    d.change(passed, aru=passed.body.seq + 1)


def too_many(d: Doctor) -> None:
    d.change(d.find(MessagesMulticast), count=18)


def fcc_off(d: Doctor) -> None:
    d.change(d.find(TokenPassed), fcc=1)


def asks_for_the_future(d: Doctor) -> None:
    d.change(d.find(RetransmitChecked), requested=(999,))


def asks_too_early(d: Doctor) -> None:
    check = d.find(RetransmitChecked, lambda e: e.body.missing and e.body.missing[0][1] == 2)
    d.change(check, missing=(), requested=(check.body.missing[0][0],))


def asks_too_late(d: Doctor) -> None:
    asked = d.find(RetransmitChecked, lambda e: bool(e.body.requested), at=0)
    passed = next(e for e in d.events[asked.id :] if type(e.body) is TokenPassed)
    d.change(passed, rtr=())


def held_too_early(d: Doctor) -> None:
    for a, b in pairwise(e for e in d.events if type(e.body) is TokenPassed and e.node == 1):
        if not a.body.held and not b.body.held:
            d.change(b, held=True)
            return


def not_held(d: Doctor) -> None:
    d.change(d.find(TokenPassed, lambda e: e.body.held), held=False)


def duplicate_has_effect(d: Doctor) -> None:
    passed = d.find(TokenPassed)
    d.add(1, TokenIgnored(RingId(1, 9), 1, "duplicate"), cause=5)
    d.add(1, passed.body, cause=5)


def delivered_too_early(d: Doctor) -> None:
    own = d.find(PacketDelivered, lambda e: e.node == 2 and e.body.source == 2)
    passed = [e for e in d.events[: own.id] if type(e.body) is TokenPassed and e.node == 2][-1]
    d.swap(own, passed)


def other_candidates(d: Doctor) -> None:
    d.change(d.find(StateEntered, lambda e: e.body.state == "COMMIT"), failed=(1,))


def unfilled(d: Doctor) -> None:
    sent = d.find(DatagramSent, lambda e: e.body.kind == "memb_commit_token" and e.node == 3)
    token = decode(sent.body.data)
    assert isinstance(token, CommitToken)
    token.memb_index = 1
    d.change(sent, data=token.encode())


def not_yet_operational(d: Doctor) -> None:
    d.put(d.find(StateEntered, lambda e: e.body.state == "OPERATIONAL" and e.node == 1), NOTHING)


def for_ever(d: Doctor) -> None:
    d.put(d.find(StateEntered, lambda e: e.body.state == "OPERATIONAL" and e.node == 3), NOTHING)


def for_no_reason(d: Doctor) -> None:
    d.add(2, StateEntered("GATHER", 2, "", RingId(1, 9), (1, 2, 3), ()))


def death_unnoticed(d: Doctor) -> None:
    for event in d.events:
        if type(event.body) is ConfigurationChange and event.node == 2 and 3 not in event.body.members:
            d.put(event, NOTHING)


def failed_remains(d: Doctor) -> None:
    d.change(d.find(StateEntered, lambda e: e.body.state == "OPERATIONAL"), failed=(9,))


CASES: list[tuple[int, Callable[[Doctor], None]]] = [
    (1, invention),
    (2, duplication),
    (3, disagreement),
    (4, disorder),
    (5, hole),
    (6, cross_order),
    (7, acausal),
    (8, own_not_delivered),
    (9, hole),
    (10, asymmetric),
    (11, no_transitional),
    (12, without_itself),
    (13, old_number),
    (13, without_itself),
    (14, wrong_rep),
    (15, never_synchronised),
    (16, two_tokens),
    (16, wrong_neighbour),
    (17, seq_twice),
    (18, freed_too_early),
    (18, unfounded_aru),
    (19, aru_above_seq),
    (20, too_many),
    (21, fcc_off),
    (22, asks_for_the_future),
    (23, asks_too_early),
    (23, asks_too_late),
    (24, held_too_early),
    (24, not_held),
    (25, duplicate_has_effect),
    (26, delivered_too_early),
    (27, other_candidates),
    (28, unfilled),
    (29, not_yet_operational),
    (30, for_ever),
    (31, for_no_reason),
    (32, death_unnoticed),
    (33, failed_remains),
    (34, hole),
]


def test_there_is_a_checker_for_every_invariant() -> None:
    ring = [number for number in CHECKERS if number < 100]
    assert ring == [*range(1, 40), 41], "40 compares two runs: checks.isolation"
    assert all(invariant.name and invariant.sentence.endswith(".") for invariant in CHECKERS.values())
    assert {n for n in ring if CHECKERS[n].known_failure} == {13, 18, 29, 36}
    assert {number for number, _ in CASES} == set(ring) - {35, 36, 37, 38, 39, 41}, "see test_services"


def test_a_true_run_breaks_nothing() -> None:
    events, end_ns = true_run()
    assert check(events, end_ns=end_ns) == []


@pytest.mark.parametrize(("number", "doctor"), CASES, ids=lambda case: getattr(case, "__name__", str(case)))
def test_a_doctored_run_is_found_out(number: int, doctor: Callable[[Doctor], None]) -> None:
    run = Doctor()
    doctor(run)
    found = [violation for violation in run.check() if violation.invariant == number]
    assert found, f"invariant {number} does not see it"
    assert found[0].why
    assert f"invariant {number}" in str(found[0])


def test_chosen_checkers_only_and_one_event_at_a_time() -> None:
    run = Doctor()
    hole(run)
    checker = Checker([5])
    found = [violation for event in run.events for violation in checker.feed(event)] + checker.finish()
    assert {violation.invariant for violation in found} == {5}
    assert check(run.events, numbers=[5]) == found


def test_no_end_no_verdict() -> None:
    """Liveness is not judged before the quiet time is over."""
    run = Doctor()
    for_ever(run)
    last = run.find(StateEntered, lambda e: e.body.state == "COMMIT")
    assert not [v for v in check(run.events[: last.id]) if v.invariant == 30]


def test_an_empty_timeline() -> None:
    assert check(Timeline()) == []


def test_what_follows_from_a_known_failure_is_not_unexpected() -> None:
    freed = Violation(18, 5, 0, 1, "", "token_copy_frees_messages")
    violations = [Violation(9, 7, 0, 1, ""), freed, Violation(4, 9, 0, 1, "")]
    assert unexpected(violations) == [violations[2]]
    assert unexpected(violations[:1]) == violations[:1]
    for number, quirk in ((29, "recovery_counters_survive"), (13, "ring_id_not_synced")):
        mixed = [Violation(number, 8, 0, 1, "", quirk), Violation(4, 9, 0, 1, ""), Violation(3, 2, 0, 1, "")]
        assert unexpected(mixed) == [mixed[2]]
    assert unexpected([Violation(13, 8, 0, 1, "")]), "without a power cut nothing excuses it"


def test_a_ring_id_used_twice_is_excused_by_a_power_cut_only() -> None:
    run = Doctor()
    old_number(run)
    assert {v.quirk for v in run.check() if v.invariant == 13} == {""}
    run.put(run.events[5], Intervened("power_cut", ""))
    run.events[5] = msgspec.structs.replace(run.events[5], node=2)
    assert {v.quirk for v in run.check() if v.invariant == 13} == {"ring_id_not_synced"}
