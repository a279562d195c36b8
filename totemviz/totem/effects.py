"""What a Totem machine asks of its world, and what it lets the world see.

A machine never acts: it returns an ordered list of *effects* (send this, set that timer, deliver this packet) and
*observations* (what happened inside, for people to look at). Both are small frozen structs. The world carries the
effects out in order; observations go to the timeline unchanged, so their fields are the names used on screen.

Times are integer nanoseconds, node ids are corosync's 32-bit ids, sequence numbers are unsigned 32-bit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec


class Level(StrEnum):
    """Severity of a log line, in the words of corosync's log file."""

    CRITICAL = "crit"
    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


class RingId(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """Identity of one agreed membership: the representative's node id and a 64-bit counter (sheet §0.1)."""

    rep: int
    seq: int

    def __str__(self) -> str:
        """As corosync prints it: both halves in hexadecimal."""
        return f"{self.rep:x}.{self.seq:x}"


class TotemTimer(StrEnum):
    """The timers of the ring machine (sheet §4.3)."""

    TOKEN_LOSS = "token loss"
    TOKEN_WARNING = "token warning"
    TOKEN_RETRANSMIT = "token retransmit"
    HOLD_RETRANSMIT = "hold retransmit"
    JOIN = "join"
    CONSENSUS = "consensus"
    MERGE_DETECT = "merge detect"
    PAUSE = "pause"
    HEARTBEAT = "heartbeat"
    STARTUP = "startup"


# ---------------------------------------------------------------------------------------------------------- effects


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a datagram to one node (the token's unicast), or to every node including the sender (``target`` 0)."""

    target: int
    datagram: bytes


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Start, or restart, a timer; it expires ``delay_ns`` from now. Each layer has its own timer names."""

    timer: str
    delay_ns: int


class CancelTimer(msgspec.Struct, frozen=True, gc=False):
    """Stop a timer; nothing happens if it was not running."""

    timer: str


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Hand the payload of one ordered mcast to the layer above (totempg's receiving half).

    ``swapped`` tells that the originator is a big-endian machine.
    """

    ring_id: RingId
    seq: int
    source: int
    payload: bytes
    swapped: bool


class ConfigurationChange(msgspec.Struct, frozen=True, tag="configuration_change"):
    """A transitional or regular configuration (sheet §4.5, OPERATIONAL entry, steps 5 and 9).

    Both an effect (the services above act on it) and an observation.
    """

    transitional: bool
    ring_id: RingId
    members: tuple[int, ...]
    left: tuple[int, ...]
    joined: tuple[int, ...]


class TokenSent(msgspec.Struct, frozen=True, gc=False):
    """The token-sent callback (sheet §5 step 24): the sync service does its next unit of work here."""


class StoreRingId(msgspec.Struct, frozen=True, gc=False):
    """Write the ring sequence number to the ring-id file, synchronously, on the daemon's main thread (sheet §1.5)."""

    seq: int


class FlushSocket(msgspec.Struct, frozen=True, gc=False):
    """Read all datagrams that wait in the socket and throw them away (``totemsrp.c: pause_flush``)."""


class Log(msgspec.Struct, frozen=True, gc=False, tag="log"):
    """One line of a daemon's log, without time, host and pid. ``subsystem`` is corosync's tag or pmxcfs' domain."""

    level: Level
    subsystem: str
    text: str


# ----------------------------------------------------------------------------------------------------- observations
# The four stages of a token visit, in the order they happen (sheet §5.1), then membership.


class TokenReceived(msgspec.Struct, frozen=True, gc=False, tag="token_received"):
    """Stage 1, receive: a valid token was accepted. Fields are the token's, as it arrived."""

    ring_id: RingId
    token_seq: int
    seq: int
    aru: int
    aru_addr: int
    fcc: int
    backlog: int
    rtr: tuple[int, ...]
    my_aru: int
    freed: int


class RetransmitChecked(msgspec.Struct, frozen=True, gc=False, tag="retransmit_checked"):
    """Stage 2, retransmit check.

    ``resent``: seqs resent now; ``requested``: seqs this node added to the rtr list; ``missing``: pairs (seq, visits
    at which the hole was seen) still below the miss count; ``allowance``: messages this visit may send (resends
    included).
    """

    resent: tuple[int, ...]
    requested: tuple[int, ...]
    missing: tuple[tuple[int, int], ...]
    allowance: int


class MessagesMulticast(msgspec.Struct, frozen=True, gc=False, tag="messages_multicast"):
    """Stage 3, multicast: ``count`` new messages got the seqs ``first_seq`` …; ``queued`` are still waiting."""

    first_seq: int
    count: int
    queued: int


class TokenPassed(msgspec.Struct, frozen=True, gc=False, tag="token_passed"):
    """Stage 4, update and pass: the token as it leaves. ``held``: the representative keeps it for the hold time."""

    token_seq: int
    seq: int
    aru: int
    aru_addr: int
    fcc: int
    backlog: int
    rtr: tuple[int, ...]
    my_aru: int
    successor: int
    held: bool


class TokenIgnored(msgspec.Struct, frozen=True, gc=False, tag="token_ignored"):
    """A token arrived and was not processed: ``reason`` says why (duplicate, other ring, gathering).

    ``freed``: messages it made this node free all the same (sheet §5.4).
    """

    ring_id: RingId
    token_seq: int
    reason: str
    freed: int = 0


class TokenReleased(msgspec.Struct, frozen=True, gc=False, tag="token_released"):
    """A saved token was sent again: hold time over, hold cancelled, or a retransmission (``reason``)."""

    reason: str
    token_seq: int


class StateEntered(msgspec.Struct, frozen=True, gc=False, tag="state_entered"):
    """The membership state changed. ``reason`` is the gather number of sheet §4.4, or -1 for the other states."""

    state: str
    reason: int
    text: str
    ring_id: RingId
    proc: tuple[int, ...]
    failed: tuple[int, ...]


class MembershipInstalled(msgspec.Struct, frozen=True, gc=False, tag="membership_installed"):
    """A ring became operational at this node."""

    ring_id: RingId
    members: tuple[int, ...]
    joined: tuple[int, ...]
    left: tuple[int, ...]
    unannounced: tuple[int, ...]


class MessageSubmitted(msgspec.Struct, frozen=True, gc=False, tag="message_submitted"):
    """A message entered this node's send queue; ``number`` counts the node's messages since start, from 1."""

    number: int
    length: int


class MessageOrdered(msgspec.Struct, frozen=True, gc=False, tag="message_ordered"):
    """A packet got its place in the total order; ``numbers`` are the messages that end in it."""

    seq: int
    numbers: tuple[int, ...]


class PacketDelivered(msgspec.Struct, frozen=True, gc=False, tag="packet_delivered"):
    """A packet is handed up in its place in the total order; ``checksum`` is the CRC-32 of its ``length`` bytes."""

    ring_id: RingId
    seq: int
    source: int
    length: int
    checksum: int


Effect: TypeAlias = (
    Send | SetTimer | CancelTimer | Deliver | ConfigurationChange | TokenSent | StoreRingId | FlushSocket | Log
)

Observation: TypeAlias = (
    TokenReceived
    | RetransmitChecked
    | MessagesMulticast
    | TokenPassed
    | TokenIgnored
    | TokenReleased
    | StateEntered
    | MembershipInstalled
    | MessageSubmitted
    | MessageOrdered
    | PacketDelivered
    | ConfigurationChange
)

Output: TypeAlias = Effect | Observation
