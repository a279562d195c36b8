"""When a message had reached everybody: the moment its packet was delivered by the last member of its ring."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from totemviz.totem.effects import ConfigurationChange, PacketDelivered, RingId
from totemviz.trace.timeline import Timeline


class Deliveries:
    """Ids of the events that completed the delivery of a packet, kept up to date while the timeline grows.

    Only for timelines that do not change their past.
    """

    def __init__(self) -> None:
        self._ids = array("q")
        self._seen = 0
        self._members: dict[RingId, int] = {}
        self._counts: dict[tuple[RingId, int], int] = {}

    def sync(self, timeline: Timeline) -> array[int]:
        """Look at what is new; returns all ids, ascending."""
        for index in range(self._seen, len(timeline)):
            body = timeline[index].body
            if type(body) is PacketDelivered:
                key = (body.ring_id, body.seq)
                count = self._counts.pop(key, 0) + 1
                if count == self._members.get(body.ring_id):
                    self._ids.append(index)
                else:
                    self._counts[key] = count
            elif type(body) is ConfigurationChange and not body.transitional:
                self._members[body.ring_id] = len(body.members)
        self._seen = len(timeline)
        return self._ids

    def includes(self, timeline: Timeline, event_id: int) -> bool:
        """Whether a packet was delivered everywhere by this event."""
        ids = self.sync(timeline)
        at = bisect_left(ids, event_id)
        return at < len(ids) and ids[at] == event_id
