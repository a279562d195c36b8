"""The invariants as checkers: each looks at events and says where and why it is false (sheet §12).

A checker reads a timeline and nothing else, so it judges a simulated run, a run from a file, or the run on screen while
it grows. ``Facts`` gathers from the events what several checkers need (who is in which ring, what has reached whom);
each ``Invariant`` names the kinds of events it looks at and keeps the little state its sentence needs:

* ``integrity``: what is delivered is what was sent, once, in order, without holes (1-5, 8)
* ``order``: one order for all nodes, causality (6, 7)
* ``synchrony``: who goes together from ring to ring, with what history (9-12, 34)
* ``rings``: ring ids, representative, no client message before sync (13-15)
* ``token``: one token from neighbour to neighbour, its numbers, the retransmit list (16, 17, 19, 22, 25, 26)
* ``flow``, ``stability``, ``retransmission``, ``hold``: windows and sums (20, 21), aru (18), holes (23), hold (24)
* ``membership``: agreement, commit token, common start, clean lists (27-29, 33)
* ``liveness``: what must happen in the end, in time, or not at all (30-32); how quiet time is found is told there
* ``sync``: barriers (35), equal groups (36)
* ``services``: CPG views that add up (37), one quorate partition (38), a quorum that stays (39)
* ``reassembly``: what was cut into packets (41); ``traffic`` is what those of the services compare with
* ``isolation``: a stopped client (40). It compares two runs, so it is a function and not among the checkers
* ``replica``, ``exchange``: /etc/pve (103 to 135: pmxcfs sheet §12, its numbers plus 100)

Use ``check(timeline)`` for a finished run; a ``Checker`` fed event by event for a growing one. Numbers 13 (after
a power cut), 18, 29 and 36 are broken by the faithful machine: ``Violation.quirk`` names the quirk; ``unexpected``
leaves them out, and what follows from them.
A checker stays silent about what its timeline does not show: most have nothing to say on a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from totemviz.trace.checks import (
    exchange,
    flow,
    hold,
    integrity,
    liveness,
    membership,
    order,
    reassembly,
    replica,
    retransmission,
    rings,
    services,
    stability,
    sync,
    synchrony,
    token,
)
from totemviz.trace.checks.base import Invariant, Violation
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event

__all__ = ["CHECKERS", "Checker", "Invariant", "Violation", "check", "unexpected"]

_ALL: tuple[type[Invariant], ...] = (
    integrity.NoInvention,
    integrity.NoDuplication,
    integrity.Agreement,
    integrity.RingOrder,
    integrity.GapFree,
    order.TotalOrder,
    order.Causality,
    integrity.SelfDelivery,
    synchrony.SameHistory,
    synchrony.TransitionalSets,
    synchrony.Alternation,
    synchrony.SelfInclusion,
    rings.RingIds,
    rings.Representative,
    rings.ClientsWaitForSync,
    token.OneToken,
    token.SeqMonotonic,
    stability.AruSoundness,
    token.AruBelowSeq,
    flow.Window,
    flow.Conservation,
    token.RtrList,
    retransmission.MissDelay,
    hold.Hold,
    token.Idempotence,
    token.DeliveryAfterForward,
    membership.CommitAgreement,
    membership.CompleteCommitToken,
    membership.Lockstep,
    liveness.Liveness,
    liveness.Accuracy,
    liveness.CrashBound,
    membership.CleanLists,
    synchrony.NothingLost,
    sync.Barriers,
    sync.EqualGroups,
    services.ConfchgBalance,
    services.OneQuoratePartition,
    services.QuorumStays,
    reassembly.Reassembly,
    replica.VersionsCount,
    replica.SameResults,
    replica.AnswersAreApplied,
    replica.CountsRise,
    replica.AppliedWhenSynced,
    replica.AppliedWhenQuorate,
    exchange.OneLeader,
    exchange.CommitsTheMaster,
    exchange.OneOfEach,
    replica.LocksAreKept,
)

CHECKERS: Mapping[int, type[Invariant]] = {invariant.number: invariant for invariant in _ALL}
"""All checkers by the number of their invariant."""

_FREED_EARLY = "token_copy_frees_messages"
_MAY_FOLLOW_FROM_FREEING = frozenset({6, 9, 34})
_MIX_UP = frozenset({"recovery_counters_survive", "ring_id_not_synced"})


class Checker:
    """Runs checkers over a timeline, event by event."""

    def __init__(self, numbers: Iterable[int] | None = None) -> None:
        """``numbers``: the invariants to check; None = all."""
        self.facts = Facts()
        chosen = CHECKERS if numbers is None else numbers
        self.invariants = tuple(CHECKERS[number](self.facts) for number in chosen)
        self._found: list[Violation] = []
        self._handlers: dict[type, list[Callable[[Event, Any], None]]] = {}
        for invariant in self.invariants:
            invariant.found = self._found
            for kind, handler in invariant.handlers().items():
                self._handlers.setdefault(kind, []).append(handler)
        self._last: Event | None = None

    def feed(self, event: Event) -> list[Violation]:
        """Look at the next event; returns what it shows to be false."""
        self._last = event
        self.facts.apply(event)
        body = event.body
        handlers = self._handlers.get(type(body))
        if handlers is None:
            return []
        for handler in handlers:
            handler(event, body)
        return self._collect() if self._found else []

    def finish(self, end_ns: int | None = None) -> list[Violation]:
        """The timeline ends, at ``end_ns`` or with its last event: judge what needed an end to be judged."""
        if self._last is None:
            return []
        for invariant in self.invariants:
            invariant.finish(self._last, self._last.time_ns if end_ns is None else end_ns)
        return self._collect()

    def _collect(self) -> list[Violation]:
        found = self._found.copy()
        self._found.clear()
        return found


def check(
    timeline: Iterable[Event], *, end_ns: int | None = None, numbers: Iterable[int] | None = None
) -> list[Violation]:
    """All violations in a finished timeline, in order; ``end_ns`` if the run went on after the last event."""
    checker = Checker(numbers)
    found: list[Violation] = []
    for event in timeline:
        found += checker.feed(event)
    return found + checker.finish(end_ns)


def unexpected(violations: Sequence[Violation]) -> list[Violation]:
    """Those that are not known failures of the faithful machine, nor may follow from them.

    A message freed too early may be missing in a recovery (6, 9, 34). After an ordinary message in RECOVERY, two rings'
    messages are mixed up on some node; after a power cut two rings may have the same id. Nothing more can be expected
    then.
    """
    first_mixed = min((v.event_id for v in violations if v.quirk in _MIX_UP), default=None)
    freed = any(v.quirk == _FREED_EARLY for v in violations)
    return [
        v
        for v in violations
        if not v.quirk
        and not (freed and v.invariant in _MAY_FOLLOW_FROM_FREEING)
        and (first_mixed is None or v.event_id < first_mixed)
    ]
