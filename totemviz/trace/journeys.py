"""The journeys of writes below /etc/pve so far: FUSE → queue → ordered → delivered → applied → durable.

A run may hold thousands of writes and a cursor keeps many moments of it, so moments share what they have in common:
``copy`` copies two tables, and a journey is only duplicated when one of the two moments goes on with it.
"""

from __future__ import annotations

import msgspec

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event

DCDB_GROUP = "pve_dcdb_v1"


class Change(msgspec.Struct):
    """One replicated operation of a write: where it has got to. The dicts map node id to the time it happened."""

    call_id: int
    operation: str
    queued_ns: int = -1
    seq: int = -1
    ordered_ns: int = -1
    version: int = -1
    result: int | None = None
    delivered: dict[int, int] = {}
    applied: dict[int, int] = {}
    durable: dict[int, int] = {}


class WriteView(msgspec.Struct):
    """The journey of one write below /etc/pve (FUSE → CPG queue → ordered → delivered → applied → durable)."""

    write: int
    node: int
    path: str
    size: int
    started_ns: int
    finished_ns: int = -1
    result: int | None = None
    changes: list[Change] = []

    @property
    def failed(self) -> bool:
        """Whether its program is done, but not with success; without any result it died with its host."""
        return self.finished_ns >= 0 and (self.result is None or self.result < 0)


Place = tuple[int, int]
"""Number of a write, and which of its changes."""


class Journeys:
    """All writes so far, and what their messages are known by at each stage of their way."""

    def __init__(self) -> None:
        self.writes: dict[int, WriteView] = {}
        self._own: set[int] = set()
        self._by_call: dict[tuple[int, int], Place] = {}
        self._by_count: dict[tuple[int, int], Place] = {}
        self._by_event: dict[int, Place] = {}
        self._by_number: dict[tuple[int, int], Place] = {}
        self._not_durable: dict[int, tuple[Place, ...]] = {}

    def copy(self) -> Journeys:
        """An independent twin of the same moment; until one goes on, both share every journey."""
        twin = Journeys.__new__(Journeys)
        twin.writes = dict(self.writes)
        twin._own, self._own = set(), set()
        twin._by_call = dict(self._by_call)
        twin._by_count = dict(self._by_count)
        twin._by_event = dict(self._by_event)
        twin._by_number = dict(self._by_number)
        twin._not_durable = dict(self._not_durable)
        return twin

    def _write(self, number: int) -> WriteView:
        """A write to be changed: this moment's own copy of it."""
        write = self.writes[number]
        if number not in self._own:
            self._own.add(number)
            changes = [
                msgspec.structs.replace(
                    change,
                    delivered=dict(change.delivered),
                    applied=dict(change.applied),
                    durable=dict(change.durable),
                )
                for change in write.changes
            ]
            write = self.writes[number] = msgspec.structs.replace(write, changes=changes)
        return write

    def _change(self, place: Place | None) -> Change | None:
        return self._write(place[0]).changes[place[1]] if place is not None else None

    # ------------------------------------------------------------------------------------------------------ the fold

    def write_started(self, event: Event, body: ev.WriteStarted) -> None:
        """A program begins."""
        self.writes[body.write] = WriteView(body.write, event.node, body.path, body.size, event.time_ns, changes=[])
        self._own.add(body.write)

    def system_called(self, event: Event, body: ev.SystemCalled) -> None:
        """It makes a system call."""
        changes = self._write(body.write).changes
        self._by_call[event.node, body.call_id] = (body.write, len(changes))
        changes.append(Change(body.call_id, body.operation, delivered={}, applied={}, durable={}))

    def change_queued(self, event: Event, body: pmxcfs.ChangeQueued) -> None:
        """Pmxcfs multicasts the change."""
        place = self._by_call.get((event.node, body.call_id))
        if place is not None and (change := self._change(place)) is not None:
            change.queued_ns = event.time_ns
            self._by_count[event.node, body.count] = place
            self._by_event[event.id] = place

    def message_submitted(self, event: Event, body: totem.MessageSubmitted) -> None:
        """Its message waits for the token."""
        place = self._by_event.pop(event.cause, None)
        if place is not None:
            self._by_number[event.node, body.number] = place

    def message_ordered(self, event: Event, body: totem.MessageOrdered) -> None:
        """A packet with the end of the message got its place in the order."""
        for number in body.numbers:
            change = self._change(self._by_number.pop((event.node, number), None))
            if change is not None:
                change.seq = body.seq
                change.ordered_ns = event.time_ns

    def delivered(self, event: Event, body: corosync.CpgDelivered) -> None:
        """Corosync hands the message to a node's pmxcfs."""
        if body.group != DCDB_GROUP or body.payload[:2] != b"\0\0":
            return
        count = int.from_bytes(body.payload[16:24], "little")
        change = self._change(self._by_count.get((body.nodeid, count)))
        if change is not None:
            change.delivered[event.node] = event.time_ns

    def applied(self, event: Event, body: pmxcfs.ChangeApplied) -> None:
        """The change is in a node's tree."""
        place = self._by_count.get((body.nodeid, body.count))
        if place is not None and (change := self._change(place)) is not None:
            change.applied[event.node] = event.time_ns
            change.version = body.version
            change.result = body.result
            if body.result >= 0:
                self._not_durable[event.node] = (*self._not_durable.get(event.node, ()), place)

    def synced(self, event: Event) -> None:
        """A node's disk has made durable what pmxcfs wrote."""
        for place in self._not_durable.pop(event.node, ()):
            change = self._change(place)
            assert change is not None
            change.durable[event.node] = event.time_ns

    def replied(self, event: Event, body: pmxcfs.FuseReply) -> None:
        """The system call returns."""
        place = self._by_call.pop((event.node, body.call_id), None)
        if place is not None and self.writes[place[0]].changes[place[1]].result is None:
            change = self._change(place)
            assert change is not None
            change.result = body.result

    def write_finished(self, event: Event, body: ev.WriteFinished) -> None:
        """The program is done."""
        write = self._write(body.write)
        write.finished_ns = event.time_ns
        write.result = body.result
