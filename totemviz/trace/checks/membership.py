"""How rings come to be: agreement, the commit token, the common start, and clean lists afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from totemviz.totem.effects import ConfigurationChange, RingId, StateEntered
from totemviz.totem.wire import CommitToken, WireError, decode
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import DatagramSent, Event


class CommitAgreement(Invariant):
    """Invariant 27."""

    number = 27
    name = "agreement"
    sentence = "Nodes that enter COMMIT for the same ring have the same candidates at that moment."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._candidates: dict[RingId, tuple[list[int], int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {StateEntered: self._state_entered}

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        if body.state != "COMMIT":
            return
        candidates = sorted(set(body.proc) - set(body.failed))
        first, at = self._candidates.setdefault(body.ring_id, (candidates, event.node))
        if candidates != first:
            self.fail(event, f"commits to ring {body.ring_id} with candidates {candidates}, node {at} with {first}")


class CompleteCommitToken(Invariant):
    """Invariant 28."""

    number = 28
    name = "commit token"
    sentence = "At RECOVERY entry every entry of the commit token is filled, and its addresses are ascending."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._last: dict[int, CommitToken] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {DatagramSent: self._datagram_sent, StateEntered: self._state_entered}

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        if body.kind == "memb_commit_token":
            try:
                token = decode(body.data)
            except WireError:
                return
            if isinstance(token, CommitToken):
                self._last[event.node] = token

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        if body.state != "RECOVERY":
            return
        token = self._last.get(event.node)
        if token is None or token.ring_id != body.ring_id:
            self.fail(event, f"enters RECOVERY of ring {body.ring_id} without passing on its commit token")
            return
        if token.memb_index != len(token.addr):
            self.fail(event, f"the commit token has {token.memb_index} of {len(token.addr)} entries")
        if list(token.addr) != sorted(set(token.addr)):
            self.fail(event, f"the commit token's addresses are {list(token.addr)}, not ascending")
        empty = [nodeid for nodeid, entry in zip(token.addr, token.entries, strict=True) if entry.ring_id.rep == 0]
        if empty:
            self.fail(event, f"the commit token's entries of {empty} are not filled")


class Lockstep(Invariant):
    """Invariant 29. The faithful machine breaks it after a failed recovery, whose counters it keeps."""

    number = 29
    name = "lockstep install"
    sentence = "No ordinary message of a ring is sent before every member of it is OPERATIONAL."
    known_failure = "recovery_counters_survive"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._operational: dict[RingId, set[int]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {StateEntered: self._state_entered, DatagramSent: self._datagram_sent}

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        if body.state == "OPERATIONAL":
            self._operational.setdefault(body.ring_id, set()).add(event.node)

    def _datagram_sent(self, event: Event, body: DatagramSent) -> None:
        packet = self.facts.packets.get(event.id)
        if packet is None or packet.encapsulated or packet.originator != event.node:
            return
        members = self.facts.rings.get(packet.ring_id, ())
        waiting = [nodeid for nodeid in members if nodeid not in self._operational.get(packet.ring_id, ())]
        if waiting:
            self.fail(event, f"sends a message in ring {packet.ring_id} while {waiting} are not OPERATIONAL yet")


class CleanLists(Invariant):
    """Invariant 33."""

    number = 33
    name = "failed-list hygiene"
    sentence = "When a ring is OPERATIONAL, proc is its members and failed is empty."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {StateEntered: self._state_entered}

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        if body.state != "OPERATIONAL":
            return
        configuration: ConfigurationChange | None = self.facts.node(event.node).configuration
        members = configuration.members if configuration is not None else ()
        if body.failed or set(body.proc) != set(members):
            self.fail(
                event, f"is OPERATIONAL with {list(members)}, but proc {list(body.proc)} and failed {list(body.failed)}"
            )
