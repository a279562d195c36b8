"""Virtual synchrony: who goes together from one ring to the next, with what history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from totemviz.totem.effects import ConfigurationChange, PacketDelivered, RingId
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event, ProcessStarted

Move: TypeAlias = tuple[RingId | None, RingId]
"""From the old ring (None: just started) to the new one."""


class SameHistory(Invariant):
    """Invariant 9. The freeing anomaly of sheet §5.4 can break it too, where invariant 18 was broken before."""

    number = 9
    name = "same ring, same history"
    sentence = "Nodes that go together from one ring to the next have delivered the same packets of the old one."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._histories: dict[Move, dict[int, set[int]]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ConfigurationChange: self._configuration_change}

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        node = self.facts.node(event.node)
        if body.transitional or node.previous is None or node.transitional is None:
            return
        old = node.previous.ring_id
        mine = node.past_delivered
        histories = self._histories.setdefault((old, body.ring_id), {})
        for other, theirs in histories.items():
            if other in node.transitional.members and mine != theirs:
                only_mine = ", ".join(f"{seq:x}" for seq in sorted(mine - theirs)[:5])
                only_theirs = ", ".join(f"{seq:x}" for seq in sorted(theirs - mine)[:5])
                self.fail(
                    event,
                    f"comes from ring {old} to {body.ring_id} together with node {other}, but packets "
                    f"[{only_mine}] were delivered only here and [{only_theirs}] only there",
                )
        histories[event.node] = mine


class TransitionalSets(Invariant):
    """Invariant 10."""

    number = 10
    name = "transitional sets"
    sentence = "The transitional set is symmetric, and part of both the old and the new membership."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._sets: dict[RingId, dict[int, tuple[RingId | None, tuple[int, ...]]]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ConfigurationChange: self._configuration_change}

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        node = self.facts.node(event.node)
        trans = node.transitional
        if body.transitional or trans is None:
            return
        old_ring = node.previous.ring_id if node.previous else None
        old_members = node.previous.members if node.previous else ()
        strangers = [nodeid for nodeid in trans.members if nodeid not in old_members or nodeid not in body.members]
        if strangers:
            self.fail(event, f"the transitional set holds {strangers}, not in both the old and the new ring")
        sets = self._sets.setdefault(body.ring_id, {})
        for other, (their_ring, their_set) in sets.items():
            if (other in trans.members) != (event.node in their_set):
                self.fail(event, f"only one of this node and node {other} counts the other as coming along")
            elif other in trans.members and their_ring != old_ring:
                self.fail(event, f"comes along with node {other}, but from ring {old_ring}, not {their_ring}")
        sets[event.node] = (old_ring, trans.members)


class Alternation(Invariant):
    """Invariant 11."""

    number = 11
    name = "configuration alternation"
    sentence = (
        "Every regular configuration follows exactly one transitional one of the same ring; left and joined are what "
        "old and new members differ in."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._pending: dict[int, ConfigurationChange] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ProcessStarted: self._process_started, ConfigurationChange: self._configuration_change}

    def _process_started(self, event: Event, body: ProcessStarted) -> None:
        if body.process == "corosync":
            self._pending.pop(event.node, None)

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        node = self.facts.node(event.node)
        if body.transitional:
            if event.node in self._pending:
                self.fail(event, "a second transitional configuration without a regular one between them")
            self._pending[event.node] = body
            before = node.configuration.members if node.configuration else ()
            left = tuple(nodeid for nodeid in before if nodeid not in body.members)
            if body.left != left:
                self.fail(event, f"says that {list(body.left)} left, but those missing are {list(left)}")
            return
        trans = self._pending.pop(event.node, None)
        if trans is None or trans.ring_id != body.ring_id:
            self.fail(event, f"the configuration of ring {body.ring_id} comes without its transitional one")
            return
        joined = tuple(nodeid for nodeid in body.members if nodeid not in trans.members)
        if body.joined != joined:
            self.fail(event, f"says that {list(body.joined)} joined, but those new are {list(joined)}")


class SelfInclusion(Invariant):
    """Invariant 12. A node that has just started comes from nowhere: its first transitional set is empty."""

    number = 12
    name = "self inclusion"
    sentence = "A node is a member of every configuration it delivers."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ConfigurationChange: self._configuration_change}

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        first = body.transitional and self.facts.node(event.node).configuration is None
        if event.node not in body.members and not first:
            kind = "transitional" if body.transitional else "regular"
            self.fail(event, f"delivers a {kind} configuration {list(body.members)} without itself")


class NothingLost(Invariant):
    """Invariant 34: also after failed attempts, what was received of the old ring is delivered."""

    number = 34
    name = "old state survives failed attempts"
    sentence = (
        "Whatever a node had received of its old ring from somebody who comes along is delivered before the new ring, "
        "however many attempts that takes."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._delivered: dict[int, set[tuple[RingId, int]]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {PacketDelivered: self._packet_delivered, ConfigurationChange: self._configuration_change}

    def _packet_delivered(self, event: Event, body: PacketDelivered) -> None:
        self._delivered.setdefault(event.node, set()).add((body.ring_id, body.seq))

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        node = self.facts.node(event.node)
        if body.transitional or node.previous is None or node.transitional is None:
            return
        delivered = self._delivered.pop(event.node, set())
        ring_id = node.previous.ring_id
        recovery = self.facts.recovery_seqs.get(ring_id, set())
        lost = [
            seq
            for seq, originator in node.old_received.items()
            if originator in node.transitional.members and (ring_id, seq) not in delivered and seq not in recovery
        ]
        if lost:
            seqs = ", ".join(f"{seq:x}" for seq in sorted(lost)[:5])
            self.fail(
                event, f"had received packets {seqs} of ring {ring_id} from nodes that come along, and skips them"
            )
