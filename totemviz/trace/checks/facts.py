"""What several checkers need to know about the cluster, gathered once from the events.

Everything here is derived from what the timeline shows, not read from the machines: which packets a node has received
follows from the datagrams that reached it, its ring from the states it entered, and so on. So a machine that is wrong
about itself is found out.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import msgspec

from totemviz.corosync.effects import DaemonExited, SyncCompleted
from totemviz.totem.effects import (
    ConfigurationChange,
    MessageOrdered,
    PacketDelivered,
    RingId,
    StateEntered,
    TokenReceived,
)
from totemviz.totem.seq import U32
from totemviz.totem.wire import ENCAPSULATED, CommitToken, Mcast, WireError, decode
from totemviz.trace import events as ev
from totemviz.trace.checks.traffic import Traffic
from totemviz.trace.events import Event

COROSYNC = "corosync"
MS = 1_000_000
SETTLE_EXTRA_NS = 1_000 * MS

# corosync's defaults, for timelines that do not say
LIMITS = {
    "window_size": 50,
    "max_messages": 17,
    "miss_count_const": 5,
    "seqno_unchanged_const": 30,
    "fail_recv_const": 2500,
    "seqno_start_msg": 0,
    "seqno_start_token": 0,
}

_BODY_AT = 13
_SEQ = struct.Struct("<I")
_RING_ID = struct.Struct("<IQ")


def token_seq_of(datagram: bytes) -> int:
    """The message seq in an ORF token's datagram."""
    return int(_SEQ.unpack_from(datagram, _BODY_AT)[0])


def cancelled_ring(datagram: bytes) -> RingId:
    """The ring a hold cancel's datagram is for."""
    return RingId(*_RING_ID.unpack_from(datagram, _BODY_AT))


class Packet(msgspec.Struct, frozen=True, gc=False):
    """Header of an mcast on the wire."""

    originator: int
    ring_id: RingId
    seq: int
    encapsulated: bool


class NodeFacts:
    """One node, one life of its daemon."""

    def __init__(self, nodeid: int, life: int, start_seq: int) -> None:
        self.nodeid = nodeid
        self.life = life
        self.running = False
        self.state = ""
        self.ring_id: RingId | None = None
        """The ring it is in, or tries to form."""
        self.configuration: ConfigurationChange | None = None
        """The latest regular configuration."""
        self.previous: ConfigurationChange | None = None
        """The regular configuration before."""
        self.transitional: ConfigurationChange | None = None
        self.synced: RingId | None = None
        self.visit: TokenReceived | None = None
        self.received: dict[int, int] = {}
        """seq → originator of what it holds, or held, of the ring ``ring_id``."""
        self.old_received: dict[int, int] = {}
        """The same of the ring ``configuration`` while another one is being formed."""
        self.delivered: set[int] = set()
        """Seqs delivered since the latest regular configuration."""
        self.past_delivered: set[int] = set()
        """The same between ``previous`` and ``configuration``."""
        self._start_seq = self._aru = start_seq

    @property
    def aru(self) -> int:
        """Highest seq up to which it has received everything of its ring."""
        while (following := (self._aru + 1) & U32) in self.received:
            self._aru = following
        return self._aru

    def forget_received(self) -> None:
        """It begins with a new ring."""
        self.received = {}
        self._aru = self._start_seq


class Facts:
    """The cluster as the events tell it."""

    def __init__(self) -> None:
        self.nodeids: tuple[int, ...] = ()
        self.nodes: dict[int, NodeFacts] = {}
        self.timeouts_ms: dict[str, int] = {}
        self.hold_least_ms = 0
        self.limits: dict[str, int] = dict(LIMITS)
        self.rings: dict[RingId, tuple[int, ...]] = {}
        """Members of every ring somebody tried to form, from the commit tokens."""
        self.datagrams: dict[int, bytes] = {}
        self.packets: dict[int, Packet] = {}
        self.traffic = Traffic()
        self.recovery_seqs: dict[RingId, set[int]] = {}
        """Seqs a ring spent on wrapped messages of old rings."""
        self.cut: set[tuple[int, int]] = set()
        self._disturbances: list[tuple[int, int]] = [(-1, 0)]
        self.transit_ns = 0
        """The longest a token has been on the wire."""
        self._token_sent_ns: dict[int, int] = {}
        self.blocked: set[int] = set()
        self.resumed_ns: dict[int, int] = {}
        self._apply: dict[type, Callable[[Event, Any], None]] = {
            ev.RunStarted: self._run_started,
            ev.ProcessStarted: self._process_started,
            ev.ProcessKilled: self._process_killed,
            DaemonExited: self._daemon_exited,
            ev.ProcessBlocked: self._process_blocked,
            ev.ProcessResumed: self._process_resumed,
            ev.Intervened: self._intervened,
            ev.TimeoutsChanged: self._timeouts_changed,
            ev.NodeAdded: self._node_added,
            ev.LinkChanged: self._link_changed,
            ev.DatagramDropped: self._datagram_dropped,
            ev.DatagramSent: self._datagram_sent,
            ev.DatagramReceived: self._datagram_received,
            StateEntered: self._state_entered,
            ConfigurationChange: self._configuration_change,
            SyncCompleted: self._sync_completed,
            TokenReceived: self._token_received,
            MessageOrdered: self._message_ordered,
            PacketDelivered: self._packet_delivered,
        }

    def node(self, nodeid: int) -> NodeFacts:
        """The present life of a node."""
        found = self.nodes.get(nodeid)
        if found is None:
            found = self.nodes[nodeid] = NodeFacts(nodeid, 0, self.limits["seqno_start_msg"])
        return found

    def apply(self, event: Event) -> None:
        """Learn from an event."""
        handler = self._apply.get(type(event.body))
        if handler is not None:
            handler(event, event.body)

    @property
    def disturbed_ns(self) -> int:
        """When something last happened to the cluster that the protocol has to cope with."""
        return self._disturbances[-1][1]

    def disturbed_between(self, after_event: int, until_ns: int) -> bool:
        """Whether something did after that event, and not after that time."""
        following = bisect_right(self._disturbances, (after_event + 1, -1))
        return following < len(self._disturbances) and self._disturbances[following][1] <= until_ns

    def _disturbed(self, event: Event) -> None:
        self._disturbances.append((event.id, event.time_ns))

    @property
    def token_ms(self) -> int:
        """The token timeout, 0 if not known."""
        return self.timeouts_ms.get("token", 0)

    @property
    def settle_ns(self) -> int:
        """How long the membership may take to settle once nothing disturbs it any more (invariant 30).

        (token + consensus) per view, and there can be as many views as nodes, one more for the merge.
        """
        per_view_ms = self.token_ms + self.timeouts_ms.get("consensus", 0)
        return per_view_ms * MS * (len(self.nodeids) + 1) + SETTLE_EXTRA_NS

    # ---------------------------------------------------------------------------------------------------- processes

    def _run_started(self, event: Event, body: ev.RunStarted) -> None:
        self.nodeids = tuple(info.nodeid for info in body.nodes)
        self.timeouts_ms = body.timeouts_ms
        self.hold_least_ms = body.timeouts_ms.get("hold", 0)
        self.limits.update(body.limits)

    def _process_started(self, event: Event, body: ev.ProcessStarted) -> None:
        if body.process != COROSYNC:
            return
        life = self.node(event.node).life + 1
        fresh = self.nodes[event.node] = NodeFacts(event.node, life, self.limits["seqno_start_msg"])
        fresh.running = True
        self._disturbed(event)

    def _process_killed(self, event: Event, body: ev.ProcessKilled) -> None:
        if body.process == COROSYNC:
            self._died(event)

    def _daemon_exited(self, event: Event, body: DaemonExited) -> None:
        self._died(event)

    def _died(self, event: Event) -> None:
        self.node(event.node).running = False
        self._disturbed(event)

    def _process_blocked(self, event: Event, body: ev.ProcessBlocked) -> None:
        if COROSYNC in body.processes:
            self.blocked.add(event.node)
            self._disturbed(event)

    def _process_resumed(self, event: Event, body: ev.ProcessResumed) -> None:
        if COROSYNC in body.processes:
            self.blocked.discard(event.node)
            self.resumed_ns[event.node] = event.time_ns
            self._disturbed(event)

    def _node_added(self, event: Event, body: ev.NodeAdded) -> None:
        self.nodeids = (*self.nodeids, event.node)

    def _timeouts_changed(self, event: Event, body: ev.TimeoutsChanged) -> None:
        """Timers that run keep their times, so the longer of both values bounds what follows."""
        before = self.timeouts_ms
        self.hold_least_ms = min(self.hold_least_ms, body.timeouts_ms.get("hold", 0))
        self.timeouts_ms = {key: max(value, before.get(key, 0)) for key, value in body.timeouts_ms.items()}

    def _intervened(self, event: Event, body: ev.Intervened) -> None:
        if body.action != "write":
            self._disturbed(event)

    # ------------------------------------------------------------------------------------------------------ network

    def _link_changed(self, event: Event, body: ev.LinkChanged) -> None:
        pair = (body.source, body.target)
        if body.cut:
            self.cut.add(pair)
        else:
            self.cut.discard(pair)
        self._disturbed(event)

    def _datagram_dropped(self, event: Event, body: ev.DatagramDropped) -> None:
        if body.why in ("lost on the wire", "dropped by hand"):
            self._disturbed(event)

    def _datagram_sent(self, event: Event, body: ev.DatagramSent) -> None:
        if body.kind in ("orf_token", "token_hold_cancel"):
            self.datagrams[event.id] = body.data
            self._token_sent_ns[event.node] = event.time_ns
        elif body.kind in ("mcast", "memb_commit_token"):
            try:
                message = decode(body.data)
            except WireError:
                return
            if isinstance(message, Mcast):
                encapsulated = message.encapsulated == ENCAPSULATED
                self.packets[event.id] = Packet(message.system_from, message.ring_id, message.seq, encapsulated)
                if encapsulated:
                    self.recovery_seqs.setdefault(message.ring_id, set()).add(message.seq)
                elif message.system_from == event.node:
                    node = self.node(event.node)
                    self.traffic.sent(event.node, node.life, message, node.synced == message.ring_id)
            elif isinstance(message, CommitToken):
                self.rings.setdefault(message.ring_id, message.addr)

    def _datagram_received(self, event: Event, body: ev.DatagramReceived) -> None:
        packet = self.packets.get(body.sent)
        if packet is not None:
            node = self.node(event.node)
            if packet.ring_id == node.ring_id:
                node.received.setdefault(packet.seq, packet.originator)
        elif body.kind == "orf_token":
            sent_ns = self._token_sent_ns.get(body.source, event.time_ns)
            if self.resumed_ns.get(event.node, -1) < sent_ns:
                self.transit_ns = max(self.transit_ns, event.time_ns - sent_ns)

    # --------------------------------------------------------------------------------------------------- membership

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        node = self.node(event.node)
        if body.state == "COMMIT":
            if node.configuration is not None and node.ring_id == node.configuration.ring_id:
                node.old_received = node.received
            node.forget_received()
        elif body.state == "RECOVERY":
            node.forget_received()
        elif body.state == "OPERATIONAL":
            node.old_received = {}
        node.state = body.state
        node.ring_id = body.ring_id
        node.visit = None if body.state == "GATHER" else node.visit

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        node = self.node(event.node)
        if body.transitional:
            node.transitional = body
            return
        node.previous, node.configuration = node.configuration, body
        node.past_delivered, node.delivered = node.delivered, set()

    def _sync_completed(self, event: Event, body: SyncCompleted) -> None:
        self.node(event.node).synced = body.ring_id

    # -------------------------------------------------------------------------------------------------------- token

    def _token_received(self, event: Event, body: TokenReceived) -> None:
        self.node(event.node).visit = body

    def _message_ordered(self, event: Event, body: MessageOrdered) -> None:
        self.node(event.node).received[body.seq] = event.node

    def _packet_delivered(self, event: Event, body: PacketDelivered) -> None:
        self.node(event.node).delivered.add(body.seq)
