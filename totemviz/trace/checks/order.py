"""One order for all: total order across nodes, causality, and each sender's own order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from totemviz.corosync.effects import SyncCompleted
from totemviz.totem.effects import ConfigurationChange, MessageOrdered, MessageSubmitted, PacketDelivered, RingId
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event, ProcessStarted

Label: TypeAlias = tuple[object, ...]
"""What a node sees happen: a packet, or a configuration."""


class TotalOrder(Invariant):
    """Invariant 6.

    All nodes' sequences form one graph, an edge from each happening to the next one on the same node. A new edge that
    leads back closes a cycle: two nodes disagree. Edges that are there already, nearly all, cost nothing.
    """

    number = 6
    name = "total order across nodes"
    sentence = "Deliveries and configurations at all nodes can be merged into one order."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._next: dict[Label, set[Label]] = {}
        self._last: dict[int, Label] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            ProcessStarted: self._process_started,
            PacketDelivered: self._delivered,
            ConfigurationChange: self._configuration_change,
        }

    def _process_started(self, event: Event, body: ProcessStarted) -> None:
        if body.process == "corosync":
            self._last.pop(event.node, None)

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        self._happens(event, ("packet", body.ring_id, body.seq), f"packet {body.seq:x} of ring {body.ring_id}")

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        if body.transitional:
            label: Label = ("transitional", body.ring_id, body.members, body.left)
            self._happens(event, label, f"the transitional configuration before ring {body.ring_id}")
        else:
            self._happens(event, ("regular", body.ring_id), f"the configuration of ring {body.ring_id}")

    def _happens(self, event: Event, label: Label, what: str) -> None:
        last = self._last.get(event.node)
        self._last[event.node] = label
        known = label in self._next
        if not known:
            self._next[label] = set()
        if last is None or label in self._next[last]:
            return
        if known and self._leads(label, last):
            self.fail(event, f"{what} comes here after what some other node sees only later")
            return
        self._next[last].add(label)

    def _leads(self, start: Label, goal: Label) -> bool:
        seen, todo = {start}, [start]
        while todo:
            label = todo.pop()
            if label == goal:
                return True
            fresh = self._next[label] - seen
            seen |= fresh
            todo.extend(fresh)
        return False


class Causality(Invariant):
    """Invariant 7.

    Corosync sends what it queues while a new ring synchronises (sync's own messages) before what was queued earlier by
    clients; each of the two queues keeps its order.
    """

    number = 7
    name = "FIFO and causality"
    sentence = (
        "A sender's messages keep their order; and if a node delivers m1 and then sends m2, nobody who delivers both "
        "delivers m2 first."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._synchronising: dict[int, bool] = {}
        self._class_of: dict[tuple[int, int, int], bool] = {}
        self._latest: dict[tuple[int, int, bool], int] = {}
        self._last_delivered: dict[int, tuple[RingId, int]] = {}
        self._seen_before: dict[tuple[int, int, int], tuple[RingId, int]] = {}
        self._prior: dict[tuple[RingId, int], tuple[RingId, int]] = {}
        self._delivered: dict[int, set[tuple[RingId, int]]] = {}
        self._too_late: dict[int, dict[tuple[RingId, int], tuple[RingId, int]]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            ProcessStarted: self._process_started,
            ConfigurationChange: self._configuration_change,
            SyncCompleted: self._sync_completed,
            MessageSubmitted: self._submitted,
            MessageOrdered: self._ordered,
            PacketDelivered: self._packet_delivered,
        }

    def _process_started(self, event: Event, body: ProcessStarted) -> None:
        if body.process == "corosync":
            self._synchronising.pop(event.node, None)
            for by_node in (self._last_delivered, self._delivered, self._too_late):
                by_node.pop(event.node, None)

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        self._synchronising[event.node] = True

    def _sync_completed(self, event: Event, body: SyncCompleted) -> None:
        self._synchronising[event.node] = False

    def _submitted(self, event: Event, body: MessageSubmitted) -> None:
        key = (event.node, self.facts.node(event.node).life, body.number)
        self._class_of[key] = self._synchronising.get(event.node, True)
        before = self._last_delivered.get(event.node)
        if before is not None:
            self._seen_before[key] = before

    def _ordered(self, event: Event, body: MessageOrdered) -> None:
        node = self.facts.node(event.node)
        for number in body.numbers:
            key = (event.node, node.life, number)
            queue = (event.node, node.life, self._class_of.pop(key, False))
            if (latest := self._latest.get(queue, 0)) >= number:
                self.fail(event, f"message {number} of this node is ordered after its later message {latest}")
            self._latest[queue] = number
            before = self._seen_before.pop(key, None)
            if before is not None and node.ring_id is not None:
                self._prior[node.ring_id, body.seq] = before

    def _packet_delivered(self, event: Event, body: PacketDelivered) -> None:
        label = (body.ring_id, body.seq)
        self._last_delivered[event.node] = label
        delivered = self._delivered.setdefault(event.node, set())
        delivered.add(label)
        too_late = self._too_late.setdefault(event.node, {})
        effect = too_late.get(label)
        if effect is not None:
            self.fail(
                event,
                f"packet {body.seq:x} of ring {body.ring_id} is delivered after packet {effect[1]:x} of ring "
                f"{effect[0]}, whose sender had delivered it before it sent",
            )
        prior = self._prior.get(label)
        if prior is not None and prior not in delivered:
            too_late[prior] = label
