"""Our corosync services in the place of a recorded node's: groups and quorum, from what its ring delivered.

A joinlist, a downlist or a vote means here what it means in our daemon, so the daemon itself is led through the
recorded configurations and messages; what it would send is dropped, for the capture has what the real one sent. Only in
a ring of one, of which no capture shows anything, it hears itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from totemviz.corosync.conf import ConfError, CorosyncConf, parse
from totemviz.corosync.daemon import Daemon, DaemonOutput
from totemviz.corosync.decoders import decode_message
from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgPartDelivered, QuorumChanged
from totemviz.corosync.libcpg import PartAssembler
from totemviz.corosync.wire import CpgMcast, ProcJoin, ProcLeave
from totemviz.totem.config import TotemConfig
from totemviz.totem.effects import ConfigurationChange, Deliver, Output, RingId, TokenSent, TotemTimer
from totemviz.totem.pg import PacketError, Reassembler
from totemviz.trace.events import RunStarted
from totemviz.trace.recorded_evidence import GROUP, Evidence
from totemviz.trace.recorded_order import daemon_lives
from totemviz.trace.timeline import Timeline

_TOKENS = 16
"""Token visits that a service gets between two messages to finish its part of a synchronisation."""


class NothingToExportError(ValueError):
    """The recording does not show the pmxcfs of this node; one line with the mend."""


class Replica(Protocol):
    """The pmxcfs behind the services."""

    def join(self, pid: int, quorate: bool) -> None:
        """A pmxcfs process of the node joins the group."""

    def quorum(self, quorate: bool) -> None:
        """Corosync's quorum changed."""

    def corosync_lost(self) -> None:
        """Corosync is gone, until the next join."""

    def dispatch(self, event: CpgConfchg | CpgDelivered) -> bool:
        """One event of the group; True if pmxcfs now leaves it."""


class StandInRing:
    """Stands in for the ring: says what was recorded, and keeps what the services send."""

    send_queue_free = send_queue_size = 1 << 20

    def __init__(self, nodeid: int) -> None:
        self.ring_id = RingId(nodeid, 0)
        self.submitted: list[bytes] = []
        self.pending: list[Output] = []

    def start(self, now_ns: int) -> list[Output]:
        """Nothing to begin."""
        return []

    def receive(self, now_ns: int, datagram: bytes) -> list[Output]:
        """What is pending."""
        pending, self.pending = self.pending, []
        return pending

    def expire(self, now_ns: int, timer: str) -> list[Output]:
        """It has no timers."""
        return []

    def submit(self, now_ns: int, *parts: bytes) -> list[Output]:
        """Keep the message."""
        self.submitted.append(b"".join(parts))
        return []

    def leave(self, now_ns: int) -> list[Output]:
        """Nobody is told."""
        return []

    def trans_ack(self) -> None:
        """Nothing waits."""

    def reconfigure(self, config: TotemConfig) -> None:
        """It has no timers."""


class WholeMessages:
    """totempg for the daemon: its packets are unpacked before, so that each message can be looked at."""

    def __init__(self) -> None:
        self.packets = Reassembler()

    @property
    def waiting_trans_ack(self) -> bool:
        """Which set of buffers is in use."""
        return self.packets.waiting_trans_ack

    @waiting_trans_ack.setter
    def waiting_trans_ack(self, waiting: bool) -> None:
        self.packets.waiting_trans_ack = waiting

    def receive(self, source: int, payload: bytes, swapped: bool) -> list[bytes]:
        """The message as it is."""
        return [payload]

    def configuration_changed(self, left: tuple[int, ...]) -> None:
        """Forget half messages of nodes that left."""
        self.packets.configuration_changed(left)


class RecordedServices:
    """Leads one node's services through what its ring delivered; without a replica it only looks."""

    def __init__(self, timeline: Timeline, nodeid: int, seen: Evidence, replica: Replica | None) -> None:
        self.began_s = 0
        self._nodeid = nodeid
        self._seen = seen
        self._replica = replica
        self._parts = PartAssembler()
        self._lives = daemon_lives(timeline, nodeid)
        started = timeline[0].body
        assert isinstance(started, RunStarted)
        self.began_s = started.epoch_ns // 10**9
        self._nodeids = [node.nodeid for node in started.nodes]
        if nodeid not in self._nodeids:
            known = ", ".join(map(str, self._nodeids))
            raise NothingToExportError(f"there is no node {nodeid} in the recording; it has {known}")
        if not self._lives:
            raise NothingToExportError(
                f"node {nodeid}: no ring of it is in the recording; add the capture made on it, begun before corosync"
            )
        self._pid = 0

    def run(self) -> None:
        """From the first ring to the last message."""
        for life in self._lives:
            self._start_daemon()
            members: tuple[int, ...] = ()
            for step in life.steps():
                if isinstance(step, Deliver):
                    self._packet(step)
                    continue
                if members == (self._nodeid,):
                    self._unseen_clients(step.ring_id)
                if not step.transitional:
                    members = step.members
                self._alone = members == (self._nodeid,)
                self._push(step)
            if self._replica is not None:
                self._replica.corosync_lost()

    def _start_daemon(self) -> None:
        self._ring = StandInRing(self._nodeid)
        self._whole = WholeMessages()
        self._daemon = Daemon(self._nodeid, self._conf(), self._ring, self._whole)
        self._client = self._pid = 0
        self._alone = self._left = False
        self._handle(self._daemon.start(0))
        self._handle(self._daemon.expire(0, TotemTimer.STARTUP))

    def _conf(self) -> CorosyncConf:
        """Nodes and votes as the recorded votequorum messages tell; one vote each at first."""
        nodes = "".join(
            f"node {{\nnodeid: {node}\nname: n{node}\n"
            f"ring0_addr: 10.{node >> 16 & 255}.{node >> 8 & 255}.{node & 255}\n"
            f"quorum_votes: {self._seen.votes.get(node, 1)}\n}}\n"
            for node in self._nodeids
        )
        text = (
            f"totem {{\nversion: 2\ncluster_name: recorded\ntransport: udpu\n}}\nnodelist {{\n{nodes}}}\n"
            "quorum {\nprovider: corosync_votequorum\n}\n"
        )
        try:
            return parse(text, "recorded cluster")
        except ConfError as error:
            raise NothingToExportError(f"the recorded cluster cannot be played: {error}") from None

    # ------------------------------------------------------------------------------------------------------- inputs

    def _packet(self, delivery: Deliver) -> None:
        try:
            messages = self._whole.packets.receive(delivery.source, delivery.payload, delivery.swapped)
        except PacketError:
            return
        for message in messages:
            try:
                _, decoded = decode_message(message, not delivery.swapped)
            except ValueError:
                continue
            self._seen.learn(self._nodeid, delivery.source, delivery.ring_id, decoded)
            own = delivery.source == self._nodeid and isinstance(decoded, ProcJoin | ProcLeave)
            if own and isinstance(decoded, ProcJoin) and decoded.group == GROUP:
                self._join(decoded.pid)
            elif own and isinstance(decoded, ProcLeave) and decoded.group == GROUP:
                self._leave(decoded.pid, died=decoded.reason == 5)
            # A recovery may show again what a ring of one had ordered last; our services have synchronised there alone.
            if not self._alone or isinstance(decoded, ProcJoin | ProcLeave | CpgMcast):
                self._push(Deliver(delivery.ring_id, delivery.seq, delivery.source, message, delivery.swapped))

    def _push(self, step: ConfigurationChange | Deliver) -> None:
        """Give the daemon something its ring says. In a ring of one its own messages come straight back."""
        self._hear(step)
        if self._alone:
            self._loop_back()
        self._ring.submitted.clear()  # what a larger ring ordered is in the capture

    def _loop_back(self) -> None:
        while self._ring.submitted:
            sent, self._ring.submitted = self._ring.submitted, []
            for message in sent:
                self._hear(Deliver(self._daemon.sync.ring_id, 0, self._nodeid, message, False))

    def _hear(self, step: ConfigurationChange | Deliver) -> None:
        self._ring.pending.append(step)
        self._handle(self._daemon.receive(0, b""))
        for _ in range(_TOKENS):
            if not self._daemon.sync.work_waiting:
                break
            self._ring.pending.append(TokenSent())
            self._handle(self._daemon.receive(0, b""))

    def _unseen_clients(self, ring_id: RingId) -> None:
        """At the end of a ring of one: did pmxcfs leave, or join, where nobody saw it? The next joinlist tells.

        It is asked twice: before what the recovery still shows of that ring, and behind it, for ours may have left over
        a message that the real one took: that an operator had made it quorate is not in the capture.
        """
        pids = self._seen.own_pids.get(ring_id)
        if pids is None:
            return
        if self._pid and self._pid not in pids:
            self._leave(self._pid, died=True)
            self._loop_back()
        for pid in pids:
            if pid != self._pid or self._left:
                self._join(pid)
                self._loop_back()

    def _join(self, pid: int) -> None:
        """The node's pmxcfs asks to join: the message that tells so follows."""
        cpg = self._daemon.cpg
        if self._client in cpg.connections:  # a process that died has none
            cpg.disconnect(self._client)
        self._client, self._pid, self._left = self._client + 1, pid, False
        cpg.connect(self._client)
        cpg.join(self._client, pid, GROUP)
        if self._replica is not None:
            self._replica.join(pid, self._daemon.votequorum.quorate)

    def _leave(self, pid: int, died: bool) -> None:
        if self._client not in self._daemon.cpg.connections or pid != self._pid:
            return
        if died:
            self._daemon.cpg.disconnect(self._client)
            self._pid = 0
        else:
            self._daemon.cpg.leave(self._client)
            self._left = True

    def _handle(self, outputs: Iterable[DaemonOutput]) -> None:
        """Pass on what concerns pmxcfs."""
        replica = self._replica
        if replica is None:
            return
        for output in outputs:
            if isinstance(output, QuorumChanged):
                replica.quorum(output.quorate)
            elif isinstance(output, CpgConfchg | CpgDelivered | CpgPartDelivered) and output.client == self._client:
                event = self._parts.event(output)
                wants_to_leave = event is not None and replica.dispatch(event)
                if wants_to_leave and self._alone:
                    self._leave(self._pid, died=False)
