"""The ring machine: bytes and timer expiries in, an ordered list of effects and observations out.

One ``Ring`` is one node's life from start to death. It decodes, looks the input up in ``table.TABLE`` and lets the
procedure there change the ``Instance``. It reads no clock: every input carries the world's time.
"""

from __future__ import annotations

from collections.abc import Callable

from totemviz.totem import membership, token
from totemviz.totem.config import MS, STARTUP_DELAY_MS, TotemConfig
from totemviz.totem.effects import Level, Log, MessageSubmitted, Output, RingId, SetTimer, TotemTimer
from totemviz.totem.instance import Instance, Queued
from totemviz.totem.states import Gather, State
from totemviz.totem.table import TABLE, Cell, Input
from totemviz.totem.wire import ORDINARY, CommitToken, HoldCancel, Join, Mcast, MergeDetect, Token, WireError, decode


class Ring:
    """One node's Totem machine, totempg's sending half included."""

    def __init__(self, nodeid: int, config: TotemConfig, stored_ring_seq: int = 0) -> None:
        """``stored_ring_seq`` is what the ring-id file holds, 0 if there is none (sheet §4.7)."""
        self.instance = Instance(nodeid, config, stored_ring_seq)
        self._listening = False

    # --------------------------------------------------------------------------------------------------------- inputs

    def start(self, now_ns: int) -> list[Output]:
        """Begin: the links report in after the startup delay, then the machine gathers."""
        node = self._begin(now_ns)
        node.pause_timestamp_ns = now_ns
        node.set_timer(TotemTimer.PAUSE)
        node.out.append(SetTimer(TotemTimer.STARTUP, STARTUP_DELAY_MS * MS))
        return self._end()

    def datagrams_wait(self, count: int) -> None:
        """So many datagrams wait in the socket behind the next one; matters only after a pause."""
        self.instance.datagrams_waiting = count

    def listen(self) -> None:
        """The links have reported in: from now on datagrams are heard."""
        self._listening = True

    def receive(self, now_ns: int, datagram: bytes) -> list[Output]:
        """A datagram arrived, from another node or from this node's own multicast.

        Until the links have reported in no socket is bound, and whatever arrives is lost.
        """
        if not self._listening:
            return []
        node = self._begin(now_ns)
        try:
            message = decode(datagram)
        except WireError as error:
            return [Log(Level.WARNING, "TOTEM", str(error))]
        if isinstance(message, Token):
            cell = _TOKEN_CELLS[node.state]
            if cell.handler is not None:
                cell.handler(node, message)
        elif isinstance(message, Mcast):
            self._mcast(node, message, datagram)
        else:
            self._membership_message(node, message)
        return self._end()

    def expire(self, now_ns: int, timer: str) -> list[Output]:
        """A timer ran out."""
        node = self._begin(now_ns)
        if timer == TotemTimer.STARTUP:
            self.listen()
        _TIMERS[TotemTimer(timer)](node)
        return self._end()

    def submit(self, now_ns: int, *parts: bytes) -> list[Output]:
        """Queue a message, given as a gather list that begins with its group address (sheet §3.6, §7.2).

        Raises OverflowError if the send queue has no room: callers reserve first (``send_queue_free``).
        """
        node = self._begin(now_ns)
        length = sum(map(len, parts))
        if self.slots(length) > self.send_queue_free:
            raise OverflowError(f"send queue has no room for {length} bytes")
        token.cancel_hold(node)
        node.submitted += 1
        node.out.append(MessageSubmitted(node.submitted, length))
        queue = node.new_trans_queue if node.waiting_trans_ack else node.new_queue
        for packed in node.packer.add(node.submitted, parts):
            queue.append(Queued(packed, ORDINARY))
        return self._end()

    def trans_ack(self) -> None:
        """The sync service is done: ordinary messages flow again (sheet §8.2 step 5)."""
        self.instance.waiting_trans_ack = False

    def reconfigure(self, config: TotemConfig) -> None:
        """Take other timeouts and limits (``totempg_put_config``); a timer that runs goes on."""
        self.instance.reconfigure(config)

    def leave(self, now_ns: int) -> list[Output]:
        """Clean shutdown: one leave multicast (sheet §4.8)."""
        membership.send_leave(self._begin(now_ns))
        return self._end()

    # ---------------------------------------------------------------------------------------------------------- views

    @property
    def nodeid(self) -> int:
        """Node id of this machine."""
        return self.instance.nodeid

    @property
    def ring_id(self) -> RingId:
        """The ring this node is in, or tries to form."""
        return self.instance.ring_id

    @property
    def state(self) -> State:
        """Membership state."""
        return self.instance.state

    @property
    def members(self) -> tuple[int, ...]:
        """Members of the last operational ring."""
        return self.instance.members

    @property
    def send_queue_size(self) -> int:
        """Slots of the send queue (MESSAGE_QUEUE_MAX)."""
        return self.instance.send_queue_slots

    @property
    def send_queue_free(self) -> int:
        """Slots a new message may use (``totemsrp_avail``)."""
        return self.instance.send_queue_free

    def slots(self, length: int) -> int:
        """Slots a message of ``length`` bytes needs."""
        return self.instance.packer.slots(length)

    # ------------------------------------------------------------------------------------------------------- internals

    def _begin(self, now_ns: int) -> Instance:
        node = self.instance
        node.now_ns = now_ns
        return node

    def _end(self) -> list[Output]:
        out = self.instance.out
        self.instance.out = []
        return out

    def _mcast(self, node: Instance, message: Mcast, datagram: bytes) -> None:
        if message.ring_id == node.ring_id:
            cell = _OWN_MCAST_CELLS[node.state]
            if cell.handler is not None:
                cell.handler(node, message, datagram)
            return
        cell = TABLE[Input.FOREIGN_MCAST][node.state]
        if cell.handler is not None:
            cell.handler(node, message.system_from, cell.argument)

    def _membership_message(self, node: Instance, message: MergeDetect | Join | CommitToken | HoldCancel) -> None:
        if isinstance(message, MergeDetect):
            if message.ring_id != node.ring_id:
                cell = TABLE[Input.FOREIGN_MERGE_DETECT][node.state]
                if cell.handler is not None:
                    cell.handler(node, message.system_from, cell.argument)
            return
        if isinstance(message, CommitToken):
            node.log(Level.DEBUG, "got commit token")
            cell = TABLE[Input.COMMIT_TOKEN][node.state]
        elif isinstance(message, Join):
            if membership.pause_detected(node):
                return
            node.token_ring_id_seq = max(node.token_ring_id_seq, message.ring_seq)
            cell = TABLE[Input.JOIN][node.state]
        else:
            cell = TABLE[Input.HOLD_CANCEL][node.state]
        if cell.handler is not None:
            cell.handler(node, message)


_TOKEN_CELLS, _OWN_MCAST_CELLS = TABLE[Input.ORF_TOKEN], TABLE[Input.OWN_MCAST]


def _by_state(kind: Input) -> Callable[[Instance], None]:
    row = TABLE[kind]

    def expire(node: Instance) -> None:
        cell: Cell = row[node.state]
        if cell.handler is not None:
            cell.handler(node)

    return expire


def _pause(node: Instance) -> None:
    node.pause_timestamp_ns = node.now_ns
    node.set_timer(TotemTimer.PAUSE)


def _heartbeat(node: Instance) -> None:
    """No token was passed on here for too long: as if the token were lost (``timer_function_heartbeat_timeout``)."""
    node.log(Level.DEBUG, f"HeartBeat Timer expired Invoking token loss mechanism in state {node.state.number} ")
    _TIMERS[TotemTimer.TOKEN_LOSS](node)


def _startup(node: Instance) -> None:
    """All links reported: load the ring id, one step on so that it cannot be used twice, and gather."""
    step = 1 if node.config.quirks.ring_seq_one_on_at_start else 0
    node.ring_id = RingId(node.nodeid, node.ring_id.seq + step)
    node.token_ring_id_seq = node.ring_id.seq
    node.log(Level.DEBUG, f"Created or loaded sequence id {node.ring_id} for this ring.")
    membership.enter_gather(node, Gather.INTERFACE_CHANGE)


_TIMERS: dict[TotemTimer, Callable[[Instance], None]] = {
    TotemTimer.TOKEN_LOSS: _by_state(Input.TOKEN_LOSS),
    TotemTimer.CONSENSUS: _by_state(Input.CONSENSUS),
    TotemTimer.JOIN: _by_state(Input.JOIN_TIMER),
    TotemTimer.TOKEN_WARNING: token.warning,
    TotemTimer.TOKEN_RETRANSMIT: token.retransmit,
    TotemTimer.HOLD_RETRANSMIT: token.hold_expired,
    TotemTimer.MERGE_DETECT: membership.merge_detect_timer,
    TotemTimer.PAUSE: _pause,
    TotemTimer.HEARTBEAT: _heartbeat,
    TotemTimer.STARTUP: _startup,
}
