"""Shadowing the services: our daemon above a recorded ring, compared with what the real one sent through it.

The daemon is told the configurations and messages that the node's ring delivered, in their order (``recorded_order``);
its clients join, leave and send when the recorded node's did. What it sends then, sync, CPG, votequorum and cmap alike,
must be what the real node sent, byte for byte. Left out (``EXCLUDED``): bytes in gaps that nobody initialised, and the
address of a connection in the daemon's memory.

Where the capture is silent, so is the comparison: in a ring of one on knet the daemon hears itself; of a life that was
going on when the capture began, it is put into the first ring, with everybody there; its clients are those that the
next joinlist names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from totemviz.corosync.cmap import CONFIG_VERSION
from totemviz.corosync.conf import ConfError, CorosyncConf, parse
from totemviz.corosync.daemon import Daemon
from totemviz.corosync.decoders import decode_message
from totemviz.corosync.wire import (
    CmapMcast,
    CpgMcast,
    JoinList,
    NodeInfo,
    Opaque,
    PartialMcast,
    ProcJoin,
    ProcLeave,
    ServiceBuild,
    ServiceMessage,
    SyncMessage,
)
from totemviz.totem.effects import ConfigurationChange, Deliver, RingId, TokenSent, TotemTimer
from totemviz.totem.pg import PacketError, Reassembler
from totemviz.trace.events import RunStarted
from totemviz.trace.recorded_order import DaemonLife, daemon_lives
from totemviz.trace.recorded_services import StandInRing, WholeMessages
from totemviz.trace.timeline import Timeline

EXCLUDED = ("padding", "tail", "connection")
TOKENS = 16
"""Token visits that a service gets between two messages to finish its part of a synchronisation."""

LEFT = 2
"""The reason of a procleave that the client asked for (sheet §8.5)."""

Body = ServiceMessage | SyncMessage


class ServiceDifference(msgspec.Struct, frozen=True):
    """A message of the real node that ours did not send: where it stood, and the two contents."""

    ring_id: str
    seq: int
    type: str
    expected: str
    got: str


class ServiceCount(msgspec.Struct):
    """Messages of one type the real node sent, and how many of them ours sent too."""

    total: int = 0
    matched: int = 0


class ServiceResult(msgspec.Struct):
    """How the services of one node compare. ``not_compared``: messages of clients that joined before the capture began,
    and those of the ring that was up then; ``extra``: what only ours sent.
    """

    total: int = 0
    matched: int = 0
    extra: int = 0
    not_compared: int = 0
    by_type: dict[str, ServiceCount] = msgspec.field(default_factory=dict)
    mismatches: list[ServiceDifference] = msgspec.field(default_factory=list)
    excluded: tuple[str, ...] = EXCLUDED


def shadow_services(timeline: Timeline, nodeid: int, conf: CorosyncConf | None = None) -> ServiceResult:
    """Put our daemon in the place of node ``nodeid`` of a recorded timeline.

    ``conf`` is the cluster's corosync.conf; without it nodes, votes and config_version are taken from the messages.
    """
    result = ServiceResult()
    started = timeline[0].body
    if not isinstance(started, RunStarted):
        return result
    nodeids = [node.nodeid for node in started.nodes]
    for life in daemon_lives(timeline, nodeid):
        if (known := conf or _conf(life, nodeid, nodeids)) is not None:
            _Shadow(nodeid, known, life, result).play()
    return result


class _Shadow:
    """One life of the node's daemon."""

    def __init__(self, nodeid: int, conf: CorosyncConf, life: DaemonLife, result: ServiceResult) -> None:
        self._nodeid = nodeid
        self._life = life
        self._result = result
        self._ring = StandInRing(nodeid)
        self._packets = WholeMessages()
        self._daemon = Daemon(nodeid, conf, self._ring, self._packets)
        self._clients: dict[tuple[int, bytes], int] = {}
        self._last_client = 0
        self._heard_only = False
        self._alone = False
        self._daemon.start(0)
        self._daemon.expire(0, TotemTimer.STARTUP)

    def play(self) -> None:
        """From the first ring to the last message."""
        first = True
        for step in self._life.steps():
            if isinstance(step, Deliver):
                self._packet(step)
                continue
            if step.transitional:
                if self._heard_only:
                    self._reconcile(step.ring_id)
            else:
                self._alone = step.members == (self._nodeid,)
                begun_before = first and not self._alone and not self._synchronises(step.ring_id)
                silent = self._alone and 1 not in self._life.mcasts.get(step.ring_id, {})
                self._heard_only = begun_before or (silent and not self._late(step.ring_id))
                first = False
            self._push(step)
            if self._heard_only and not step.transitional:
                self._loop_back(step.members)
        self._result.extra += len(self._ring.submitted) if not self._heard_only else 0

    def _packet(self, delivery: Deliver) -> None:
        try:
            messages = self._packets.packets.receive(delivery.source, delivery.payload, delivery.swapped)
        except PacketError:
            return
        for message in messages:
            own = delivery.source == self._nodeid
            if self._heard_only:
                self._result.not_compared += own
                continue
            if own:
                self._compare(delivery, message)
            self._push(Deliver(delivery.ring_id, delivery.seq, delivery.source, message, delivery.swapped))

    def _compare(self, delivery: Deliver, message: bytes) -> None:
        """The real node sent this: so must ours have, now that its client did what the message tells."""
        body = _decoded(message)
        if not self._act(body):
            self._result.not_compared += 1
            return
        kind = str(body.__struct_config__.tag)
        count = self._result.by_type.setdefault(kind, ServiceCount())
        count.total += 1
        self._result.total += 1
        expected = plain(body)
        for _ in range(TOKENS):
            sent = [plain(_decoded(ours)) for ours in self._ring.submitted]
            if expected in sent:
                del self._ring.submitted[sent.index(expected)]
                count.matched += 1
                self._result.matched += 1
                return
            if not self._daemon.sync.work_waiting:
                break
            self._hear(TokenSent())
        similar = [index for index, ours in enumerate(sent) if type(ours) is type(expected)]
        got = repr(sent[similar[0]]) if similar else "nothing"
        if similar:
            del self._ring.submitted[similar[0]]
        place = str(delivery.ring_id), delivery.seq, kind
        self._result.mismatches.append(ServiceDifference(*place, repr(expected), got))

    # ----------------------------------------------------------------------------------------------------- clients

    def _act(self, body: Body) -> bool:
        """Let a client do what this message shows that it did; False if the client is not known."""
        cpg = self._daemon.cpg
        if isinstance(body, ProcJoin):
            self._join(body.pid, body.group)
        elif isinstance(body, ProcLeave | CpgMcast | PartialMcast):
            client = self._clients.get((body.pid, body.group))
            if client is None or client not in cpg.connections:
                return False
            if isinstance(body, CpgMcast):
                cpg.mcast(client, body.payload)
            elif isinstance(body, PartialMcast):
                cpg.mcast_part(client, body.message_length, body.part, body.fragment)
            elif body.reason == LEFT:
                cpg.leave(client)
            else:
                cpg.disconnect(client)
        return True

    def _join(self, pid: int, group: bytes) -> None:
        cpg = self._daemon.cpg
        before = self._clients.get((pid, group))
        if before in cpg.connections:  # it left, and its connection was closed
            cpg.connections.pop(before)
        self._last_client += 1
        self._clients[pid, group] = self._last_client
        cpg.connect(self._last_client)
        cpg.join(self._last_client, pid, group)

    def _reconcile(self, ring_id: RingId) -> None:
        """Clients that came or went where nobody saw it: the joinlist of the ring that begins names those there are."""
        listed = self._join_list(ring_id)
        if listed is None:
            return
        for pid, group in [known for known in self._clients if known not in listed]:
            client = self._clients.pop((pid, group))
            if client in self._daemon.cpg.connections:
                self._daemon.cpg.disconnect(client)
        for pid, group in listed:
            if (pid, group) not in self._clients:
                self._join(pid, group)
        self._loop_back((self._nodeid,))

    def _join_list(self, ring_id: RingId) -> list[tuple[int, bytes]] | None:
        """The node's processes as it listed them in a ring; None if the ring was never synchronised."""
        found: list[tuple[int, bytes]] | None = None
        for body in _own(self._life, ring_id, self._nodeid):
            if isinstance(body, ServiceBuild):
                found = []
            elif isinstance(body, JoinList) and found is not None:
                return [(entry.pid, entry.group) for entry in body.entries]
        return found

    def _late(self, ring_id: RingId) -> bool:
        """Whether what was to be said in this ring was still waiting when it ended."""
        builds = (
            body
            for other in self._life.mcasts
            if other != ring_id
            for body in _own(self._life, other, self._nodeid)
            if isinstance(body, ServiceBuild)
        )
        return any(build.ring_id == ring_id for build in builds)

    def _synchronises(self, ring_id: RingId) -> bool:
        return any(isinstance(body, ServiceBuild) for body in _own(self._life, ring_id, self._nodeid))

    # -------------------------------------------------------------------------------------------------- the daemon

    def _push(self, step: ConfigurationChange | Deliver) -> None:
        """Give the daemon something its ring says, and let the token leave once."""
        if isinstance(step, ConfigurationChange):
            self._ring.ring_id = step.ring_id
        self._hear(step)
        self._hear(TokenSent())

    def _hear(self, output: ConfigurationChange | Deliver | TokenSent) -> None:
        self._ring.pending.append(output)
        self._daemon.receive(0, b"")

    def _loop_back(self, members: Iterable[int]) -> None:
        """Nobody recorded what was said here: the daemon hears itself, and of the others what it says itself."""
        for _ in range(100 * TOKENS):
            if not self._ring.submitted and not self._daemon.sync.work_waiting:
                return
            sent, self._ring.submitted = self._ring.submitted, []
            for message in sent:
                for source in members:
                    echo = message if source == self._nodeid else _as_if_from(source, self._nodeid, message)
                    self._hear(Deliver(self._ring.ring_id, 0, source, echo, False))
            self._hear(TokenSent())


def plain(body: Body) -> Body:
    """A message without what nobody determines: memory in gaps, the address of a connection."""
    if isinstance(body, Opaque):
        return body
    changes: dict[str, object] = {
        name: type(getattr(body, name))() for name in ("padding", "tail") if name in body.__struct_fields__
    }
    if isinstance(body, CpgMcast | PartialMcast):
        changes["source"] = (body.source[0], 0)
    elif isinstance(body, JoinList):
        changes["entries"] = tuple(msgspec.structs.replace(entry, padding=b"", tail=b"") for entry in body.entries)
    return msgspec.structs.replace(body, **changes)


def _decoded(message: bytes) -> Body:
    try:
        return decode_message(message)[1]
    except ValueError:
        return Opaque(message)


def _as_if_from(source: int, nodeid: int, message: bytes) -> bytes:
    """A message of this node as another would have sent it; only a vote says who it is about."""
    names = len(message) - len(_decoded(message).encode())
    body = _decoded(message)
    if isinstance(body, NodeInfo) and body.nodeid == nodeid:
        body = msgspec.structs.replace(body, nodeid=source)
    return message[:names] + body.encode()


def _own(life: DaemonLife, ring_id: RingId, nodeid: int) -> Iterator[Body]:
    """What the node itself sent through a ring, in order."""
    packets = Reassembler()
    for _, mcast in sorted(life.mcasts.get(ring_id, {}).items()):
        if mcast.system_from == nodeid:
            try:
                messages = packets.receive(nodeid, mcast.payload, not mcast.little)
            except PacketError:
                continue
            yield from map(_decoded, messages)


def _conf(life: DaemonLife, nodeid: int, nodeids: list[int]) -> CorosyncConf | None:
    """A corosync.conf with the votes and the version that the recorded messages tell; None if nobody can have it."""
    votes: dict[int, int] = {}
    version = 0
    for ring_id in life.mcasts:
        for source in nodeids:
            for body in _own(life, ring_id, source):
                if isinstance(body, NodeInfo) and body.nodeid == source:
                    votes.setdefault(source, body.votes)
                elif isinstance(body, CmapMcast) and source == nodeid:
                    version = next(
                        (int.from_bytes(item.value, "little") for item in body.items if item.key == CONFIG_VERSION), 0
                    )
    nodes = "".join(
        f"node {{\nnodeid: {node}\nname: n{node}\n"
        f"ring0_addr: 10.{node >> 16 & 255}.{node >> 8 & 255}.{node & 255}\nquorum_votes: {votes.get(node, 1)}\n}}\n"
        for node in nodeids
    )
    versioned = f"config_version: {version}\n" if version else ""
    text = (
        f"totem {{\nversion: 2\ncluster_name: recorded\ntransport: udpu\n{versioned}}}\nnodelist {{\n{nodes}}}\n"
        "quorum {\nprovider: corosync_votequorum\n}\n"
    )
    try:
        return parse(text, "recorded cluster")
    except ConfError:
        return None
