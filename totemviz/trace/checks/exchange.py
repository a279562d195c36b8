"""The exchange of states after a change of the group: who leads, who sends what (pmxcfs sheet §12).

Numbers are those of that list plus 100. An exchange is known by its epoch. Which one a node is in tells its log, for
what corosync has delivered to it may still be waiting there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import ClassVar

from totemviz.corosync.effects import CpgDelivered
from totemviz.pmxcfs.effects import ChangeCommitted, DfsmModeChanged
from totemviz.pmxcfs.index import MalformedIndexError, decode_index
from totemviz.pmxcfs.messages import MessageType
from totemviz.totem.effects import Log
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.checks.replica import DCDB, dcdb_message
from totemviz.trace.events import Event

_EPOCH = struct.Struct("<IIII")  # counter, time, node id, pid, behind the base header
_BASE_BYTES = 16
_STATE_BYTES = _BASE_BYTES + _EPOCH.size
_REQUEST = re.compile(r"received sync request \(epoch (\d+/\d+/[0-9A-F]{8})\)")


def _epoch(body: CpgDelivered) -> str:
    """The epoch of a state message, as the log writes it."""
    counter, _, nodeid, pid = _EPOCH.unpack_from(body.payload, _BASE_BYTES)
    return f"{nodeid}/{pid}/{counter:08X}"


class _Exchange(Invariant):
    """Knows which exchange each node is in."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.epochs: dict[int, str] = {}

    def handlers(self) -> Mapping[type, Handler]:
        return {Log: self._log} | dict(self.more())

    def more(self) -> Mapping[type, Handler]:
        """Handlers for other kinds of events."""
        return {}

    def said(self, event: Event, text: str) -> None:
        """The node's dcdb logged this."""

    def _log(self, event: Event, body: Log) -> None:
        if body.subsystem != DCDB:
            return
        if (match := _REQUEST.match(body.text)) is not None:
            self.epochs[event.node] = match[1]
        self.said(event, body.text)


class OneLeader(_Exchange):
    """Pmxcfs 22 and 23. A state that is no index is a matter of tests."""

    number = 123
    name = "one leader"
    sentence = (
        "All members that have all states of an exchange name the same leader and the same synced members; the leader "
        "has the highest version, then the latest time, then the lowest id."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._states: dict[str, dict[tuple[int, int], bytes]] = {}
        self._named: dict[tuple[str, str], tuple[int, str]] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {CpgDelivered: self._delivered}

    def _delivered(self, event: Event, body: CpgDelivered) -> None:
        message = dcdb_message(body)
        if message is not None and message[0] == MessageType.STATE and len(body.payload) > _STATE_BYTES:
            states = self._states.setdefault(_epoch(body), {})
            states[body.nodeid, body.pid] = body.payload[_STATE_BYTES:]

    def said(self, event: Event, text: str) -> None:  # noqa: D102
        epoch = self.epochs.get(event.node, "")
        for start in ("leader is ", "synced members: "):
            if text.startswith(start) and epoch:
                node, other = self._named.setdefault((epoch, start), (event.node, text))
                if other != text:
                    self.fail(event, f"in exchange {epoch} this node says '{text}', node {node} said '{other}'")
        if text.startswith("leader is ") and epoch in self._states:
            self._judge(event, text.removeprefix("leader is "), self._states[epoch])

    def _judge(self, event: Event, leader: str, states: Mapping[tuple[int, int], bytes]) -> None:
        try:
            indices = {member: decode_index(state) for member, state in sorted(states.items())}
        except MalformedIndexError:
            return
        nodeid, pid = max(indices, key=lambda member: (indices[member].version, indices[member].mtime))
        if leader != f"{nodeid}/{pid}":
            shown = ", ".join(f"{n}/{p} has {index.version}" for (n, p), index in indices.items())
            self.fail(event, f"{leader} leads, but {nodeid}/{pid} should: {shown}")


class CommitsTheMaster(_Exchange):
    """Pmxcfs 24, as far as the version tells."""

    number = 124
    name = "commits the master"
    sentence = "A member that takes over the leader's tree is at the leader's version then."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._versions: dict[str, dict[str, int]] = {}
        self._leaders: dict[int, str] = {}
        self._updating: set[int] = set()

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {CpgDelivered: self._delivered, DfsmModeChanged: self._mode, ChangeCommitted: self._committed}

    def said(self, event: Event, text: str) -> None:  # noqa: D102
        if text.startswith("leader is "):
            self._leaders[event.node] = text.removeprefix("leader is ")

    def _delivered(self, event: Event, body: CpgDelivered) -> None:
        message = dcdb_message(body)
        if message is not None and message[0] == MessageType.STATE and len(body.payload) >= _STATE_BYTES + 8:
            version = int.from_bytes(body.payload[_STATE_BYTES : _STATE_BYTES + 8], "little")
            self._versions.setdefault(_epoch(body), {})[f"{body.nodeid}/{body.pid}"] = version

    def _mode(self, event: Event, body: DfsmModeChanged) -> None:
        if body.machine == DCDB:
            (self._updating.add if body.mode == "UPDATE" else self._updating.discard)(event.node)

    def _committed(self, event: Event, body: ChangeCommitted) -> None:
        if event.node not in self._updating:
            return
        versions = self._versions.get(self.epochs.get(event.node, ""), {})
        leader = self._leaders.get(event.node, "")
        if leader in versions and versions[leader] != body.version:
            self.fail(event, f"commits version {body.version}; its leader {leader} had {versions[leader]}")


class OneOfEach(_Exchange):
    """Pmxcfs 21 and 26: judged at each node by what it is delivered, and by whom it holds for the leader."""

    number = 126
    name = "one of each"
    sentence = (
        "In one exchange each member sends its state once, and the leader, nobody else, says once that it is over."
    )

    _types: ClassVar[Mapping[int, str]] = {
        MessageType.STATE: "state",
        MessageType.UPDATE_COMPLETE: "end of the updates",
    }

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._seen: set[tuple[int, str, str, str]] = set()
        self._leaders: dict[str, str] = {}
        self._enders: dict[str, tuple[str, Event]] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {CpgDelivered: self._delivered}

    def said(self, event: Event, text: str) -> None:  # noqa: D102
        epoch = self.epochs.get(event.node, "")
        if text.startswith("leader is ") and epoch:
            leader = self._leaders.setdefault(epoch, text.removeprefix("leader is "))
            ender, ended = self._enders.get(epoch, (leader, event))
            if ender != leader:
                self.fail(ended, f"{ender} ends the updates of exchange {epoch}, which {leader} leads")

    def _delivered(self, event: Event, body: CpgDelivered) -> None:
        message = dcdb_message(body)
        if message is None or message[0] not in self._types:
            return
        what, epoch, sender = self._types[message[0]], _epoch(body), f"{body.nodeid}/{body.pid}"
        key = event.node, epoch, what, sender if message[0] == MessageType.STATE else ""
        if key in self._seen:
            self.fail(event, f"a second {what} from {sender} in exchange {epoch}")
        self._seen.add(key)
        if message[0] == MessageType.UPDATE_COMPLETE:
            leader = self._leaders.get(epoch)
            if leader is not None and leader != sender:
                self.fail(event, f"{sender} ends the updates of exchange {epoch}, which {leader} leads")
            self._enders.setdefault(epoch, (sender, event))
