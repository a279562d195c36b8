"""What the services above the ring promise: CPG views that add up, one quorate partition, a quorum that stays."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.corosync.effects import ConfchgReason, CpgConfchg, DaemonExited, QuorumChanged
from totemviz.corosync.votequorum import VotequorumTimer
from totemviz.corosync.votes import NodeFlag, majority
from totemviz.corosync.wire import VOTEQUORUM, NodeInfo, Reconfigure, ServiceMessage
from totemviz.pmxcfs.effects import PmxcfsExited
from totemviz.totem.effects import PacketDelivered
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event, ProcessKilled, ProcessStarted, TimerExpired

_LEFT = frozenset({ConfchgReason.LEAVE, ConfchgReason.NODEDOWN, ConfchgReason.PROCDOWN})
_JOINED = frozenset({ConfchgReason.JOIN, ConfchgReason.NODEUP})
_Process = tuple[int, int]


class ConfchgBalance(Invariant):
    """Invariant 37. A view in which the client's own node joins begins anew: the client has just come."""

    number = 37
    name = "CPG views add up"
    sentence = (
        "For each client the members after a configuration change are those before it, without the left and with the "
        "joined; who joins or leaves has a reason for it."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._members: dict[tuple[int, int], frozenset[_Process]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            CpgConfchg: self._confchg,
            ProcessKilled: self._gone,
            DaemonExited: self._gone,
            PmxcfsExited: self._gone,
        }

    def _confchg(self, event: Event, body: CpgConfchg) -> None:
        members, left, joined = (
            frozenset((member.nodeid, member.pid) for member in view) for view in (body.members, body.left, body.joined)
        )
        client = (event.node, body.client)
        before = self._members.get(client)
        self._members[client] = members
        begins = any(member.nodeid == event.node for member in body.joined)
        if before is not None and not begins and members != (before - left) | joined:
            expected = sorted((before - left) | joined)
            self.fail(event, f"group {body.group} has {sorted(members)}, but what changed leads to {expected}")
        for view, reasons, word in ((body.left, _LEFT, "leaves"), (body.joined, _JOINED, "joins")):
            for member in view:
                if member.reason not in reasons:
                    self.fail(event, f"{member.nodeid}/{member.pid} {word} group {body.group} with {member.reason!r}")

    def _gone(self, event: Event, _: object) -> None:
        """The node's clients lose their connections, or are dead themselves: what they see next begins anew."""
        for client in [client for client in self._members if client[0] == event.node]:
            del self._members[client]


class OneQuoratePartition(Invariant):
    """Invariant 38: silent about nodes whose quorum is no majority (two_node) or that go on below it (tie breaker)."""

    number = 38
    name = "one quorate partition"
    sentence = "Two partitions without a common member that expect the same votes are not quorate at the same time."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._quorate: dict[int, QuorumChanged] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {QuorumChanged: self._changed, ProcessKilled: self._killed, DaemonExited: self._gone}

    def _changed(self, event: Event, body: QuorumChanged) -> None:
        self._quorate.pop(event.node, None)
        if not body.quorate or body.votes < body.quorum or body.quorum < majority(body.expected_votes):
            return
        for node, other in self._quorate.items():
            if body.expected_votes == other.expected_votes and not set(body.members) & set(other.members):
                here, there = list(body.members), list(other.members)
                self.fail(event, f"{here} are quorate, and so are {there} at node {node}, who have nobody in common")
        self._quorate[event.node] = body

    def _killed(self, event: Event, body: ProcessKilled) -> None:
        if body.process == "corosync":
            self._gone(event, body)

    def _gone(self, event: Event, _: object) -> None:
        self._quorate.pop(event.node, None)


class QuorumStays(Invariant):
    """Invariant 39. Silent about two_node, whose quorum is no majority."""

    number = 39
    name = "quorum stays"
    sentence = (
        "Quorum does not fall without an operator's word, a node that says it leaves, last_man_standing, or the "
        "expected votes of a quorate node that an inquorate one takes over."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._told: dict[int, QuorumChanged] = {}
        self._excused: set[int] = set()

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            QuorumChanged: self._changed,
            PacketDelivered: self._delivered,
            TimerExpired: self._timer,
            ProcessStarted: self._started,
        }

    def _started(self, event: Event, body: ProcessStarted) -> None:
        if body.process == "corosync":
            self._told.pop(event.node, None)
            self._excused.discard(event.node)

    def _timer(self, event: Event, body: TimerExpired) -> None:
        if body.timer == VotequorumTimer.LAST_MAN_STANDING:
            self._excused.add(event.node)

    def _delivered(self, event: Event, body: PacketDelivered) -> None:
        if not self.facts.traffic.knows(body.ring_id, body.seq):
            self._excused.add(event.node)  # whatever it was
        for sent in self.facts.traffic.ending_in(body.ring_id, body.seq):
            if sent.service == VOTEQUORUM and self._excuses(event.node, sent.decoded()):
                self._excused.add(event.node)

    def _excuses(self, node: int, message: ServiceMessage) -> bool:
        if isinstance(message, Reconfigure):
            return True
        if not isinstance(message, NodeInfo) or not message.nodeid:
            return False
        told = self._told.get(node)
        adopts = message.flags & NodeFlag.QUORATE and message.nodeid != node and told is not None and not told.quorate
        return bool(message.flags & NodeFlag.LEAVING or adopts)

    def _changed(self, event: Event, body: QuorumChanged) -> None:
        before = self._told.get(event.node)
        self._told[event.node] = body
        excused = event.node in self._excused or body.quorum < majority(body.expected_votes)
        self._excused.discard(event.node)
        if before is not None and body.quorum < before.quorum and not excused:
            self.fail(event, f"its quorum falls from {before.quorum} to {body.quorum} for no reason")
