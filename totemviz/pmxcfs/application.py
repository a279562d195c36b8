"""What a dfsm needs from the data it replicates, and what it tells it in return (the callbacks of sheet §4.6, §6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

import msgspec

from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.messages import MessageType, NormalMessage
from totemviz.pmxcfs.process import ProcessId
from totemviz.pmxcfs.threads import Blocking

SendState: TypeAlias = Callable[[MessageType, bytes], Blocking[CpgError]]
"""Multicast a message of the state machine in the current epoch."""


class LeaveGroupError(Exception):
    """Something happened after which this node must leave the group, rejoin and synchronise; text for the log."""


class SeriousError(Exception):
    """A local failure that no synchronisation can cure: leave the group for good.

    ``result`` is what the caller of the message gets, if the message was carried out all the same.
    """

    def __init__(self, result: int | None = None) -> None:
        super().__init__()
        self.result = result


class SyncMember(msgspec.Struct):
    """One member in a state exchange: the state it sent, and whether it needs no update."""

    identity: ProcessId
    state: bytes | None = None
    synced: bool = False


class SyncInfo:
    """The members of the present configuration, sorted by node id and pid, and how far their exchange has come."""

    def __init__(self, members: Iterable[ProcessId], local: ProcessId) -> None:
        self.members = [SyncMember(identity) for identity in sorted(members)]
        self._by_identity = {member.identity: member for member in self.members}
        self.local = self._by_identity.get(local, SyncMember(local))

    def member(self, identity: ProcessId) -> SyncMember | None:
        """The member with this identity, or None."""
        return self._by_identity.get(identity)

    @property
    def complete(self) -> bool:
        """Whether every member's state is here."""
        return all(member.state is not None for member in self.members)

    def release_states(self) -> None:
        """Drop the collected states."""
        for member in self.members:
            member.state = None

    def mark_all_synced(self) -> None:
        """Nobody needs an update any more."""
        for member in self.members:
            member.synced = True


class Application(Protocol):
    """The data behind one state machine; ``verified``: whether its members compare checksums."""

    verified: bool

    def state(self) -> bytes:
        """The state of this node, for the exchange."""

    def process_states(self, sync: SyncInfo, send: SendState) -> Blocking[None]:
        """All states are there: mark the synced members; the leader sends its updates. May raise LeaveGroupError."""

    def process_update(self, payload: bytes) -> None:
        """One update from the leader. Raises MalformedMessageError."""

    def commit(self) -> None:
        """All updates are there: take them over. Raises LeaveGroupError if that fails."""

    def cleanup(self) -> None:
        """The exchange was broken off."""

    def deliver(self, sender: ProcessId, message: NormalMessage) -> Blocking[int]:
        """Apply one message in its place in the order; the result for its caller, if it is ours.

        Raises LeaveGroupError or MalformedMessageError, and the caller gets EPERM, or SeriousError.
        """

    def configuration(self, members: list[ProcessId]) -> None:
        """The group has new members."""

    def synced(self) -> None:
        """The state machine reached SYNCED from another mode."""

    def checksum(self) -> bytes:
        """32 bytes over the whole data, for the hourly verification."""
