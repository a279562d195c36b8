"""What the services above the ring promise: CPG views that add up, one quorate partition."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.corosync.effects import ConfchgReason, CpgConfchg, DaemonExited, QuorumChanged
from totemviz.corosync.votes import majority
from totemviz.pmxcfs.effects import PmxcfsExited
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event, ProcessKilled

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
