"""The synchronisation after a membership change: the same steps at the same places (35), and equal groups (36)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from totemviz.corosync.decoders import decode_sync
from totemviz.corosync.effects import CpgConfchg, DaemonExited, SyncCompleted
from totemviz.corosync.lines import SERVICE_IDS, SERVICES
from totemviz.corosync.wire import CPG, PREFIX_SYNC, Barrier, JoinList, ProcJoin, ProcLeave
from totemviz.totem.effects import ConfigurationChange, Log, PacketDelivered, RingId
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event, ProcessKilled

COMMITTING = "Committing synchronization for "
_ID_BY_NAME = {name: SERVICE_IDS[key] for key, name in SERVICES.items()}
_Place = tuple[RingId, int]
_Process = tuple[int, int]


class Barriers(Invariant):
    """Invariant 35. Activation is seen in the log line that goes with it, barriers in the packets."""

    number = 35
    name = "barrier"
    sentence = (
        "A service is activated when every member of the ring has passed its barrier, in the order of the services, "
        "and on all nodes at the same place of the total order."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._activated: dict[int, list[int]] = {}
        self._place: dict[int, _Place] = {}
        self._first: dict[tuple[RingId, int], tuple[int, int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ConfigurationChange: self._configuration, PacketDelivered: self._delivered, Log: self._log}

    def _configuration(self, event: Event, body: ConfigurationChange) -> None:
        if not body.transitional:
            self._activated[event.node] = []

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        self._place[event.node] = body.ring_id, body.seq

    def _log(self, event: Event, body: Log) -> None:
        if body.subsystem != "SYNC" or not body.text.startswith(COMMITTING):
            return
        configuration, place = self.facts.node(event.node).configuration, self._place.get(event.node)
        service = _ID_BY_NAME.get(body.text.removeprefix(COMMITTING))
        done = self._activated.setdefault(event.node, [])
        if configuration is None or place is None or service is None or place[0] != configuration.ring_id:
            return
        ring_id, seq = place
        if done and service <= done[-1]:
            self.fail(event, f"activates service {service} in ring {ring_id} after service {done[-1]}")
        done.append(service)
        node, elsewhere = self._first.setdefault((ring_id, service), (event.node, seq))
        if elsewhere != seq:
            what = f"activates service {service} of ring {ring_id} after packet {seq:x}"
            self.fail(event, f"{what}, node {node} after packet {elsewhere:x}")
        if self.facts.traffic.knows(ring_id, seq):
            self._barriers(event, service, len(done), place, configuration.members)

    def _barriers(self, event: Event, service: int, needed: int, place: _Place, members: tuple[int, ...]) -> None:
        passed: Counter[int] = Counter()
        for _, sent in self.facts.traffic.until(*place):
            if sent.message.startswith(PREFIX_SYNC):
                message = decode_sync(sent.message[len(PREFIX_SYNC) :])
                passed[sent.source] += isinstance(message, Barrier) and message.ring_id == place[0]
        behind = [member for member in members if passed[member] < needed]
        if behind:
            self.fail(event, f"activates service {service} of ring {place[0]} before {behind} passed its barrier")


class EqualGroups(Invariant):
    """Invariant 36. A client's view is compared if the client is in it itself: others have left the group."""

    number = 36
    name = "equal groups"
    sentence = (
        "When a ring is synchronised, every client sees in its group the processes that the members' joinlists name, "
        "without those that have left since."
    )
    known_failure = "barrier_abort_keeps_joinlists, join_list_outlives_leave"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._views: dict[tuple[int, int], CpgConfchg] = {}
        self._place: dict[int, _Place] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            CpgConfchg: self._confchg,
            PacketDelivered: self._delivered,
            SyncCompleted: self._completed,
            ProcessKilled: self._gone,
            DaemonExited: self._gone,
        }

    def _confchg(self, event: Event, body: CpgConfchg) -> None:
        self._views[event.node, body.client] = body

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        self._place[event.node] = body.ring_id, body.seq

    def _gone(self, event: Event, _: object) -> None:
        for client in [client for client in self._views if client[0] == event.node]:
            del self._views[client]

    def _completed(self, event: Event, body: SyncCompleted) -> None:
        place = self._place.get(event.node)
        if place is None or place[0] != body.ring_id or not self.facts.traffic.knows(*place):
            return
        groups = self._joinlists(place)
        for (node, _), view in self._views.items():
            if node != event.node or not any(member.nodeid == node for member in view.members):
                continue
            seen = {(member.nodeid, member.pid) for member in view.members}
            told = groups.get(view.group, set())
            if seen != told:
                what = f"sees {sorted(seen)} in group {view.group} after the sync of ring {body.ring_id}"
                self.fail(event, f"{what}, the joinlists say {sorted(told)}")

    def _joinlists(self, place: _Place) -> dict[str, set[_Process]]:
        groups: dict[str, set[_Process]] = {}
        for _, sent in self.facts.traffic.until(*place):
            if sent.service != CPG:
                continue
            message = sent.decoded()
            if isinstance(message, JoinList):
                for entry in message.entries:
                    groups.setdefault(_text(entry.group), set()).add((sent.source, entry.pid))
            elif isinstance(message, ProcJoin):
                groups.setdefault(_text(message.group), set()).add((sent.source, message.pid))
            elif isinstance(message, ProcLeave):
                groups.setdefault(_text(message.group), set()).discard((sent.source, message.pid))
        return groups


def _text(group: bytes) -> str:
    return group.rstrip(b"\0").decode("latin-1")
