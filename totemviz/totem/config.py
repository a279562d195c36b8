"""Configuration of the ring: corosync's keys, their defaults and minima, and the timeouts that follow from them.

``KEYS`` is the table; ``TotemConfig.derive`` applies it in corosync's order (``totemconfig.c:
totem_volatile_config_read``; sheet §2.1). Times are whole milliseconds, as in corosync.conf.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

MS = 1_000_000  # nanoseconds in a millisecond

HZ = 100  # the userspace constant corosync computes with
MINIMUM_TIMEOUT_MS = (1000 // HZ) * 3
RETRANSMIT_ENTRIES_MAX = 30
SORT_QUEUE_SLOTS = 16384
TOKEN_SIZE_MAX = 1500
PROCESSOR_COUNT_MAX = 384
MCAST_HEADER_SIZE = 45
FRAME_SIZE_MAX = 65536
UDP_MTU = 1500
STARTUP_DELAY_MS = 100
RING_SEQ_STEP = 4
SOCKET_DATAGRAMS = 184
"""What a daemon's socket holds: corosync asks for 1 MiB and gets Linux' default limit of 212,992 bytes, doubled; the
kernel charges about 2,304 bytes for a small datagram. A daemon that is stopped for long loses what comes last.
"""


class Transport(StrEnum):
    """How datagrams travel; decides the maximum packet size (sheet §2.2)."""

    KNET = "knet"
    UDPU = "udpu"
    UDP = "udp"


class Key(msgspec.Struct, frozen=True):
    """One integer key of the totem section: default (None = computed), smallest value, and whether 0 means default."""

    default: int | None
    minimum: int | None = None
    zero_is_default: bool = True


# sheet §2.1, in corosync's evaluation order
KEYS: Mapping[str, Key] = {
    "token_retransmits_before_loss_const": Key(4, 1),
    "token": Key(3000, MINIMUM_TIMEOUT_MS),
    "token_coefficient": Key(650, 0, zero_is_default=False),
    "token_warning": Key(75, 0, zero_is_default=False),
    "max_network_delay": Key(50, MINIMUM_TIMEOUT_MS),
    "window_size": Key(50),
    "max_messages": Key(17),
    "miss_count_const": Key(5),
    "token_retransmit": Key(None, MINIMUM_TIMEOUT_MS),
    "hold": Key(None, 14),
    "join": Key(50, MINIMUM_TIMEOUT_MS),
    "consensus": Key(None, MINIMUM_TIMEOUT_MS),
    "merge": Key(200, MINIMUM_TIMEOUT_MS),
    "downcheck": Key(1000, MINIMUM_TIMEOUT_MS),
    "fail_recv_const": Key(2500),
    "seqno_unchanged_const": Key(30),
    "send_join": Key(0, zero_is_default=False),
    "heartbeat_failures_allowed": Key(0, zero_is_default=False),
}


LIMITS = (
    "window_size",
    "max_messages",
    "miss_count_const",
    "seqno_unchanged_const",
    "fail_recv_const",
    "seqno_start_msg",
    "seqno_start_token",
)
"""Keys that count something, and the two constants the counters begin with."""


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Known deviations of the real program, faithful by default; turn one off to see the difference."""

    token_copy_frees_messages: bool = True
    """A retransmitted or foreign token frees messages before it is recognised as such (sheet §5.4)."""

    recovery_counters_survive: bool = True
    """A recovery that fails leaves its rotation counters behind (``my_retrans_flg_count``, ``my_rotation_counter``,
    ``my_set_retrans_flg``): in the next one the node may become OPERATIONAL too early and send messages that the
    others, still in RECOVERY, put among those of the old ring."""

    ring_id_not_synced: bool = True
    """The ring-id file is written without a sync (``main.c: corosync_ring_id_store``): after a power cut a node may use
    ring ids a second time."""

    foreign_order_compared_raw: bool = True
    """Hold cancels, and old-ring messages that come wrapped in a recovery, are compared with the ring id as they lie in
    memory (``message_handler_token_hold_cancel``, ``deliver_messages_from_recovery_to_regular``): what a node of the
    other byte order made never matches, so it cannot end a hold, and its lost messages are not recovered."""

    failing_node_expels_itself: bool = True
    """A node that gets tokens but never the message it lacks puts *itself* into its failed list and forms a ring of its
    own (``message_handler_orf_token``: FAILED TO RECEIVE). Off: as in the paper, the others give up on it."""

    idle_token_is_held: bool = True
    """The representative of an idle ring keeps the token for ``hold`` ms per rotation. Off: as in the paper, the token
    turns at full speed for ever."""

    hold_timer_outlives_cancel: bool = True
    """A hold cancel releases the token but leaves the hold timer running, which may send it once more
    (``message_handler_token_hold_cancel``)."""

    ring_seq_one_on_at_start: bool = True
    """A starting node adds 1 to the ring seq of its file, so that its first ring is like none it had before
    (``main_iface_change_fn``). Off: it begins with the stored number, as in the paper."""

    safe_is_agreed: bool = True
    """``guarantee`` travels in every message and nobody reads it: a *safe* message is delivered like any other, as soon
    as it is contiguous (``messages_deliver_to_app``). Off: as in the paper, only when all members are known to have it,
    on two visits of the token."""

    throw_away_loses_packets: bool = True
    """A packet that continues an unknown message is dropped as a whole, and so are those up to the one that ends it:
    complete messages in them are lost on this node (``totempg.c: totempg_deliver_fn``). Off: only the message whose
    beginning is missing."""


class TotemConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Effective configuration of one node's ring machine. Build it with :meth:`derive`.

    ``netmtu`` is the frame size in bytes if corosync.conf sets one, else 0.

    ``seqno_start_msg`` and ``seqno_start_token`` are compile-time constants of corosync (0): the numbers before the
    first message and token of every ring. Set them near 2**32 to see the counters wrap. ``little`` is the byte order of
    the node's machine; every message goes out in it.
    """

    transport: Transport
    node_count: int
    token_base_ms: int
    token_coefficient_ms: int
    token_ms: int
    token_warning_percent: int
    token_retransmits_before_loss_const: int
    token_retransmit_ms: int
    hold_ms: int
    join_ms: int
    consensus_ms: int
    merge_ms: int
    downcheck_ms: int
    send_join_ms: int
    max_network_delay_ms: int
    heartbeat_failures_allowed: int
    window_size: int
    max_messages: int
    miss_count_const: int
    fail_recv_const: int
    seqno_unchanged_const: int
    cancel_token_hold_on_retransmit: bool = False
    netmtu: int = 0
    quirks: Quirks = Quirks()
    seqno_start_msg: int = 0
    seqno_start_token: int = 0
    little: bool = True

    @property
    def net_mtu(self) -> int:
        """Bytes of totempg packet that fit one mcast: two mcast headers are kept free (sheet §2.2)."""
        frame = FRAME_SIZE_MAX if self.transport is Transport.KNET else UDP_MTU
        return (self.netmtu or frame) - 2 * MCAST_HEADER_SIZE

    @property
    def token_warning_ms(self) -> int:
        """Age of the last token at which the warning is logged; 0 = never."""
        return self.token_ms * self.token_warning_percent // 100

    @property
    def heartbeat_ms(self) -> int:
        """How long a node waits for the next token that is passed on; 0 = no heartbeat (sheet §2.1).

        Switched off by ``heartbeat_failures_allowed`` 0, and when it would not be shorter than the token timeout.
        """
        if not self.heartbeat_failures_allowed:
            return 0
        timeout_ms = self.heartbeat_failures_allowed * self.token_retransmit_ms + self.max_network_delay_ms
        return timeout_ms if timeout_ms < self.token_ms else 0

    @property
    def silent_death_ms(self) -> int:
        """From the last token to a new ring without a silently dead member: token + consensus."""
        return self.token_ms + self.consensus_ms

    @property
    def timeouts_ms(self) -> dict[str, int]:
        """The timeouts, by corosync's keys."""
        return {
            "token": self.token_ms,
            "token_retransmit": self.token_retransmit_ms,
            "hold": self.hold_ms,
            "consensus": self.consensus_ms,
            "join": self.join_ms,
            "merge": self.merge_ms,
            "token_warning": self.token_warning_ms,
        }

    @property
    def limits(self) -> dict[str, int]:
        """The limits, by corosync's keys."""
        return {key: getattr(self, key) for key in LIMITS}

    def built_as(self, other: TotemConfig) -> TotemConfig:
        """The same keys, in a program that is built and runs as the other's: what no corosync.conf says."""
        return msgspec.structs.replace(
            self,
            quirks=other.quirks,
            seqno_start_msg=other.seqno_start_msg,
            seqno_start_token=other.seqno_start_token,
            little=other.little,
        )

    @classmethod
    def derive(
        cls,
        node_count: int,
        given: Mapping[str, int] | None = None,
        *,
        transport: Transport = Transport.KNET,
        cancel_token_hold_on_retransmit: bool = False,
        netmtu: int = 0,
        quirks: Quirks | None = None,
    ) -> TotemConfig:
        """Apply the formulae of sheet §2.1 to the keys that are set.

        ``given`` maps corosync key names to values; ``node_count`` counts the nodelist entries of link 0.
        Raises ValueError, with the key, the value and the allowed range, for a value corosync refuses.
        """
        keys = dict(given or {})

        def value(name: str, default: int | None = None) -> int:
            key = KEYS[name]
            fallback = default if key.default is None else key.default
            assert fallback is not None
            chosen = keys.get(name, fallback)
            if chosen == 0 and key.zero_is_default:
                chosen = fallback
            if key.minimum is not None and chosen < key.minimum:
                raise ValueError(f"totem.{name}: {chosen} is too small, use {key.minimum} or more")
            return chosen

        retransmits = value("token_retransmits_before_loss_const")
        token_base_ms = value("token")
        coefficient_ms = value("token_coefficient")
        token_ms = token_base_ms + max(0, node_count - 2) * coefficient_ms
        if (warning := value("token_warning")) > 100:
            raise ValueError(f"totem.token_warning: {warning} is not a percentage, use 0 to 100")
        retransmit_ms = value("token_retransmit", int(token_ms / (retransmits + 0.2)))
        join_ms = value("join")
        consensus_ms = value("consensus", int(token_ms * 1.2))
        if consensus_ms < join_ms:
            raise ValueError(f"totem.consensus: {consensus_ms} is below totem.join {join_ms}, use {join_ms} or more")
        return cls(
            transport=transport,
            node_count=node_count,
            token_base_ms=token_base_ms,
            token_coefficient_ms=coefficient_ms,
            token_ms=token_ms,
            token_warning_percent=warning,
            token_retransmits_before_loss_const=retransmits,
            token_retransmit_ms=retransmit_ms,
            hold_ms=value("hold", int(retransmit_ms * 0.8 - 1000 / HZ)),
            join_ms=join_ms,
            consensus_ms=consensus_ms,
            merge_ms=value("merge"),
            downcheck_ms=value("downcheck"),
            send_join_ms=value("send_join"),
            max_network_delay_ms=value("max_network_delay"),
            heartbeat_failures_allowed=value("heartbeat_failures_allowed"),
            window_size=value("window_size"),
            max_messages=value("max_messages"),
            miss_count_const=value("miss_count_const"),
            fail_recv_const=value("fail_recv_const"),
            seqno_unchanged_const=value("seqno_unchanged_const"),
            cancel_token_hold_on_retransmit=cancel_token_hold_on_retransmit,
            netmtu=netmtu,
            quirks=quirks or Quirks(),
        )
