"""What a corosync daemon tells its local clients (over IPC) and its world, above the ring.

The daemon also passes through the ring's own effects and observations (``totemviz.totem.effects``), in order.
A *client* is one CPG connection of one local process, named by a number that the host chooses.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from totemviz.totem.effects import RingId


class ConfchgReason(IntEnum):
    """Why a process is in the joined or left list of a CPG configuration change (sheet §8.5)."""

    NONE = 0
    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


class CpgError(IntEnum):
    """The results of calls that a client of CPG or votequorum can meet here (corosync's cs_error_t)."""

    OK = 1
    LIBRARY = 2
    TRY_AGAIN = 6
    INVALID_PARAM = 7
    BAD_HANDLE = 9
    BUSY = 10
    NOT_EXIST = 12
    NAME_TOO_LONG = 13
    EXIST = 14
    INTERRUPT = 16
    MESSAGE_ERROR = 22


class CpgMember(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One process in a group; ``reason`` is set in joined and left lists only."""

    nodeid: int
    pid: int
    reason: ConfchgReason = ConfchgReason.NONE


class CpgConfchg(msgspec.Struct, frozen=True, tag="cpg_confchg"):
    """Configuration change event to a client; members sorted by (nodeid, pid), left and joined in corosync's order.

    ``group`` is text, one character per byte (latin-1), without a final NUL.
    """

    client: int
    group: str
    members: tuple[CpgMember, ...]
    left: tuple[CpgMember, ...]
    joined: tuple[CpgMember, ...]


class CpgDelivered(msgspec.Struct, frozen=True, gc=False, tag="cpg_delivered"):
    """Message event to a client, in total order. ``seq`` is the ring seq of the packet that completed it."""

    client: int
    group: str
    nodeid: int
    pid: int
    payload: bytes
    seq: int


class CpgPartDelivered(msgspec.Struct, frozen=True, gc=False, tag="cpg_part_delivered"):
    """One part of a message above the atomic size, to a client; its library puts the parts together.

    ``part`` is 1 for the first, 2 for one in the middle, 3 for the last; ``total`` the whole message's size in bytes.
    """

    client: int
    group: str
    nodeid: int
    pid: int
    part: int
    total: int
    fragment: bytes
    seq: int


class QueueLevelChanged(msgspec.Struct, frozen=True, gc=False, tag="queue_level_changed"):
    """The send queue's level (LOW, GOOD, HIGH, CRITICAL); at CRITICAL no client may send. ``percent`` of it is used."""

    level: str
    percent: int


class IpcBacklog(msgspec.Struct, frozen=True, gc=False, tag="ipc_backlog"):
    """How much waits for a client that does not read.

    ``queued`` events on the daemon's heap take ``queued_bytes``; its ring is ``ring_bytes`` full. Reported when events
    begin to queue, every 50 ms while the queue changes, and when it is empty again.
    """

    client: int
    queued: int
    queued_bytes: int
    ring_bytes: int


class WakeClient(msgspec.Struct, frozen=True, gc=False):
    """Effect: the client has something to read that was not announced with an event of its own."""

    client: int


class Response(msgspec.Struct, frozen=True, gc=False):
    """Effect: the answer to the client's oldest request that waits for one."""

    client: int
    error: CpgError


class QuorumChanged(msgspec.Struct, frozen=True, tag="quorum_changed"):
    """Quorum notification to every tracking client: also the daemon's own view of the vote sum."""

    quorate: bool
    votes: int
    expected_votes: int
    quorum: int
    ring_id: RingId
    members: tuple[int, ...]


class StoreExpectedVotes(msgspec.Struct, frozen=True, gc=False):
    """Write the highest expected votes to their file and sync it, on the main thread (expected_votes_tracking)."""

    votes: int


class SyncCompleted(msgspec.Struct, frozen=True, tag="sync_completed"):
    """All services are synchronised in this ring; client messages flow again (sheet §8.2 step 5)."""

    ring_id: RingId


class ConfigReloaded(msgspec.Struct, frozen=True, tag="config_reloaded"):
    """The daemon has read its corosync.conf again, as a client of ``asked_by`` wanted (``corosync-cfgtool -R``).

    ``config_version`` is that of the file in force from now on. ``problem``: why the new one was refused, in one line.
    """

    asked_by: int
    config_version: int
    problem: str = ""


class DaemonExited(msgspec.Struct, frozen=True, tag="daemon_exited"):
    """The daemon is gone, by its own decision or on request (``reason``); every client loses its connection."""

    reason: str


class DeviceAsked(msgspec.Struct, frozen=True, tag="device_asked"):
    """The quorum device's daemon hears of a ring before its sync is over, and must say whether its votes are here."""

    ring_id: RingId
    members: tuple[int, ...]


Observation: TypeAlias = (
    CpgConfchg
    | CpgDelivered
    | CpgPartDelivered
    | QueueLevelChanged
    | IpcBacklog
    | QuorumChanged
    | DeviceAsked
    | SyncCompleted
    | ConfigReloaded
    | DaemonExited
)

IpcEffect: TypeAlias = WakeClient | Response
Output: TypeAlias = Observation | IpcEffect | StoreExpectedVotes
