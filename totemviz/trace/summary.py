"""What a run comes to, in one object: the ``--json`` of a headless run."""

from __future__ import annotations

import msgspec

from totemviz.corosync.effects import CpgDelivered
from totemviz.totem.effects import MembershipInstalled
from totemviz.trace.events import DatagramSent, FsyncStarted
from totemviz.trace.timeline import Timeline


class Membership(msgspec.Struct, frozen=True):
    """A ring that became operational at a node; ``ring_id`` as corosync prints it."""

    time_ns: int
    node: int
    ring_id: str
    members: tuple[int, ...]


class RunSummary(msgspec.Struct, frozen=True):
    """Figures of one run. ``digest`` is the SHA-256 of its JSONL; times are seconds; ``violations`` are the broken
    invariants if they were checked, None if not.
    """

    digest: str
    events: int
    virtual_seconds: float
    wall_seconds: float
    token_hops: int
    memberships: tuple[Membership, ...]
    deliveries: int
    fsyncs: int
    violations: tuple[str, ...] | None = None


def memberships(timeline: Timeline) -> tuple[Membership, ...]:
    """Every membership of a timeline, in order."""
    return tuple(
        Membership(event.time_ns, event.node, str(event.body.ring_id), event.body.members)
        for event in timeline
        if isinstance(event.body, MembershipInstalled)
    )


def summarise(timeline: Timeline, virtual_ns: int, wall_seconds: float) -> RunSummary:
    """Count a finished run; ``virtual_ns`` is how long it ran in virtual time."""
    counts = {DatagramSent: 0, CpgDelivered: 0, FsyncStarted: 0}
    hops = 0
    for event in timeline:
        kind = type(event.body)
        if kind in counts:
            counts[kind] += 1
            if kind is DatagramSent and event.body.kind == "orf_token":  # type: ignore[union-attr]
                hops += 1
    return RunSummary(
        digest=timeline.digest(),
        events=len(timeline),
        virtual_seconds=virtual_ns / 1e9,
        wall_seconds=wall_seconds,
        token_hops=hops,
        memberships=memberships(timeline),
        deliveries=counts[CpgDelivered],
        fsyncs=counts[FsyncStarted],
    )
