"""One node's state of the ring protocol, under the names the sources use, and the few ways it speaks to its world.

Procedures live beside it: ``ordering`` (store, deliver, free), ``token`` (a token visit), ``membership`` (gather,
commit), ``recovery`` (recovery, operational). They read and change an ``Instance`` and append to ``out``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from totemviz.totem import effects as fx
from totemviz.totem.config import MS, TotemConfig
from totemviz.totem.effects import CancelTimer, Level, Log, Output, RingId, Send, SetTimer, TotemTimer
from totemviz.totem.pg import Packed, Packer
from totemviz.totem.queues import SortQueue
from totemviz.totem.seq import U32
from totemviz.totem.states import OPERATIONAL, RECOVERY, State
from totemviz.totem.wire import CommitToken, Message, Token


class Queued:
    """A packet waiting for the token: an ordinary payload, or in RECOVERY a wrapped old-ring datagram."""

    __slots__ = ("encapsulated", "numbers", "payload")

    def __init__(self, packed: Packed, encapsulated: int) -> None:
        self.payload = packed.payload
        self.numbers = packed.numbers
        self.encapsulated = encapsulated


class Instance:
    """State of sheet §4.1, initial values of ``totemsrp_instance_initialize``."""

    def __init__(self, nodeid: int, config: TotemConfig, stored_ring_seq: int) -> None:
        self.nodeid = nodeid
        self.config = config
        self.out: list[Output] = []
        self.now_ns = 0

        # membership
        self.state = OPERATIONAL
        self.ring_id = RingId(nodeid, stored_ring_seq)
        self.old_ring_id = RingId(0, 0)
        self.token_ring_id_seq = 0
        self.proc: list[int] = []
        self.failed: list[int] = []
        self.consensus: set[int] = set()
        self.members: tuple[int, ...] = ()
        self.new_members: tuple[int, ...] = ()
        self.trans_members: tuple[int, ...] = ()
        self.deliver_members: tuple[int, ...] = ()
        self.announced_leave: list[int] = []
        self.old_ring_saved = False
        self.old_ring_aru = 0
        self.old_ring_high_seq_received = 0
        self.commit_token: CommitToken | None = None
        self.originated_orf_token = False
        self.orf_token_discard = False
        self.failed_to_recv = False
        self.pause_timestamp_ns = 0
        self.datagrams_waiting = 0  # in the socket, behind the one that is handled; the world says so

        # ordering
        self.aru = self.high_seq_received = self.high_delivered = config.seqno_start_msg
        self.last_released = 0
        self.last_aru = 0
        self.safe_up_to = config.seqno_start_msg
        """Seq up to which all members have everything (read only without the quirk ``safe_is_agreed``)."""
        self.aru_count = 0
        self.regular = SortQueue(config.seqno_start_msg)
        self.recovery = SortQueue(config.seqno_start_msg)

        self._set_up_token()
        self._set_up_send_side()

    def _set_up_token(self) -> None:
        self.token_seq = (self.config.seqno_start_token - 1) & U32
        self.last_seq = 0
        self.seq_unchanged = 0
        self.token_held = False
        self.merge_detect_running = False
        self.hold_running = False
        self.token_accepted_ns = 0
        self.last_sent: Token | CommitToken | None = None
        self.last_sent_bytes = b""
        self.last_sent_target = 0
        self.global_seqno = 0

        # recovery counters
        self.received_flg = True
        self.install_seq = 0
        self.retrans_flg_count = 0
        self.set_retrans_flg = False
        self.rotation_counter = 0

        # flow control
        self.trc = 0
        self.pbl = 0
        self.cbl = 0

    def _set_up_send_side(self) -> None:
        config = self.config
        self.waiting_trans_ack = True
        self.packer = Packer(config.net_mtu, config.little)
        self.send_queue_slots = max(64, 4 * 1_048_576 // config.net_mtu)
        self.new_queue: deque[Queued] = deque()
        self.new_trans_queue: deque[Queued] = deque()
        self.retrans_queue: deque[Queued] = deque()
        self.submitted = 0
        self.unseen_queue = 0
        """Packets known to wait although nobody handed them over: only a recording knows of such."""

        # the same timers are set at every token: build their effects once
        self._timers = _timers(config)
        self.token_timers = self._running(_TOKEN_TIMERS)
        self._cancels = {timer: CancelTimer(timer) for timer in TotemTimer}

    @property
    def is_rep(self) -> bool:
        """Whether this node is the representative of its ring."""
        return self.ring_id.rep == self.nodeid

    @property
    def send_queue_free(self) -> int:
        """Slots a new message may use now (``totemsrp_avail``)."""
        queue = self.new_trans_queue if self.waiting_trans_ack else self.new_queue
        return max(0, self.send_queue_slots - len(queue) - 2)

    def send_queue(self) -> deque[Queued]:
        """The queue the next token visit multicasts from (sheet §5 step 14)."""
        if self.state is RECOVERY:
            return self.retrans_queue
        return self.new_trans_queue if self.waiting_trans_ack else self.new_queue

    def sort_queue(self) -> SortQueue:
        """The queue in which this ring's messages are kept now."""
        return self.recovery if self.state is RECOVERY else self.regular

    # ------------------------------------------------------------------------------------------- speaking to the world

    def log(self, level: Level, text: str) -> None:
        """Write a line of subsystem TOTEM."""
        self.out.append(Log(level, "TOTEM", text))

    def reconfigure(self, config: TotemConfig) -> None:
        """Take other timeouts (``totemsrp.c`` reads them whenever it starts a timer; one that runs goes on).

        The heartbeat timeout stays what it was at the start (``totemsrp_initialize``).
        """
        heartbeat = self._timers[TotemTimer.HEARTBEAT]
        self.config = config
        self._timers = _timers(config) | {TotemTimer.HEARTBEAT: heartbeat}
        self.token_timers = self._running(_TOKEN_TIMERS)

    def _running(self, timers: Iterable[TotemTimer]) -> tuple[SetTimer, ...]:
        """The effects that (re)start these timers, without those that are switched off."""
        return tuple(self._timers[timer] for timer in timers if self.has_timer(timer))

    def has_timer(self, timer: TotemTimer) -> bool:
        """Whether a timer is in use: its configured delay is not 0."""
        return self._timers[timer].delay_ns > 0

    def set_timer(self, timer: TotemTimer) -> None:
        """(Re)start a timer with its configured delay; a delay of 0 means the timer is switched off."""
        effect = self._timers[timer]
        if effect.delay_ns:
            self.out.append(effect)

    def cancel_timer(self, timer: TotemTimer) -> None:
        """Stop a timer."""
        self.out.append(self._cancels[timer])

    def multicast(self, message: Message) -> None:
        """Send to every configured node, this one included."""
        message.little = self.config.little
        self.out.append(Send(0, message.encode()))

    def send_token(self, message: Token | CommitToken, target: int) -> None:
        """Send a token to its next holder and keep the copy both retransmit timers use."""
        self.keep_token(message, target)
        self.out.append(Send(target, self.last_sent_bytes))

    def keep_token(self, message: Token | CommitToken, target: int) -> None:
        """Keep the copy without sending it: a held token."""
        message.little = self.config.little
        self.last_sent = message
        self.last_sent_bytes = message.encode()
        self.last_sent_target = target

    def resend_token(self, reason: str) -> None:
        """Send the kept copy again."""
        if self.last_sent is None:
            return
        self.out.append(fx.TokenReleased(reason, self.last_sent.token_seq))
        self.out.append(Send(self.last_sent_target, self.last_sent_bytes))

    def successor(self) -> int:
        """The next member of the (new) ring in ascending order."""
        ring = self.new_members
        return ring[(ring.index(self.nodeid) + 1) % len(ring)]

    def observe_state(self, state: State, reason: int, text: str) -> None:
        """Let the world see that a membership state is entered."""
        self.out.append(fx.StateEntered(state.value, reason, text, self.ring_id, tuple(self.proc), tuple(self.failed)))


_TOKEN_TIMERS = (TotemTimer.TOKEN_LOSS, TotemTimer.TOKEN_WARNING, TotemTimer.TOKEN_RETRANSMIT)
"""What every token restarts."""


def merge(ids: Iterable[int], into: list[int]) -> None:
    """Set union that keeps the order of arrival (``memb_set_merge``)."""
    for nodeid in ids:
        if nodeid not in into:
            into.append(nodeid)


def _timers(config: TotemConfig) -> dict[TotemTimer, SetTimer]:
    return {timer: SetTimer(timer, delay_ns) for timer, delay_ns in _delays_ns(config).items()}


def _delays_ns(config: TotemConfig) -> dict[TotemTimer, int]:
    delays_ms = {
        TotemTimer.TOKEN_LOSS: config.token_ms,
        TotemTimer.TOKEN_WARNING: config.token_warning_ms,
        TotemTimer.TOKEN_RETRANSMIT: config.token_retransmit_ms,
        TotemTimer.HOLD_RETRANSMIT: config.hold_ms,
        TotemTimer.JOIN: config.join_ms,
        TotemTimer.CONSENSUS: config.consensus_ms,
        TotemTimer.MERGE_DETECT: config.merge_ms,
        TotemTimer.HEARTBEAT: config.heartbeat_ms,
    }
    return {timer: delay * MS for timer, delay in delays_ms.items()} | {TotemTimer.PAUSE: config.token_ms * MS // 5}
