"""A deterministic stand-in for the ring: one total order among N daemons, formed and broken by hand.

It keeps the ring's two send queues and its order of events at a token visit (others receive, the token leaves, own
messages are delivered, then the token-sent callback), and nothing else of Totem.
"""

from __future__ import annotations

from collections.abc import Iterable

from totemviz.corosync.conf import CorosyncConf
from totemviz.corosync.daemon import Daemon, DaemonOutput
from totemviz.totem.effects import (
    CancelTimer,
    ConfigurationChange,
    Deliver,
    Log,
    MembershipInstalled,
    Output,
    RingId,
    SetTimer,
    TokenSent,
    TotemTimer,
)


class StandInReassembler:
    """Every packet holds exactly one message."""

    def __init__(self) -> None:
        self.waiting_trans_ack = False

    def receive(self, source: int, payload: bytes, swapped: bool) -> list[bytes]:
        return [payload]

    def configuration_changed(self, left: tuple[int, ...]) -> None:
        pass


class StandInRing:
    """Hands out what the bus has put into ``pending``."""

    def __init__(self, nodeid: int, queue_size: int = 64) -> None:
        self.nodeid = nodeid
        self.send_queue_size = queue_size
        self.waiting_trans_ack = True
        self.trans_queue: list[bytes] = []
        self.new_queue: list[bytes] = []
        self.submitted: list[bytes] = []
        self.pending: list[Output] = []
        self.ring_id = RingId(nodeid, 1)
        self.members: tuple[int, ...] = ()
        self.left = False

    @property
    def send_queue_free(self) -> int:
        return self.send_queue_size - 2 - len(self.trans_queue if self.waiting_trans_ack else self.new_queue)

    def start(self, now_ns: int) -> list[Output]:
        return [SetTimer(TotemTimer.STARTUP, 100_000_000)]

    def receive(self, now_ns: int, datagram: bytes) -> list[Output]:
        pending, self.pending = self.pending, []
        return pending

    def expire(self, now_ns: int, timer: str) -> list[Output]:
        return []

    def submit(self, now_ns: int, *parts: bytes) -> list[Output]:
        message = b"".join(parts)
        self.submitted.append(message)
        (self.trans_queue if self.waiting_trans_ack else self.new_queue).append(message)
        return []

    def leave(self, now_ns: int) -> list[Output]:
        self.left = True
        return []

    def trans_ack(self) -> None:
        self.waiting_trans_ack = False


class Bus:
    """All nodes of a corosync.conf; ``outputs[nodeid]`` collects everything a daemon said."""

    def __init__(self, conf: CorosyncConf, nodeids: Iterable[int] | None = None) -> None:
        self.conf = conf
        self.ring_seq = 1
        self.seq = 0
        self.now_ns = 0
        self.outputs: dict[int, list[DaemonOutput]] = {}
        self.rings: dict[int, StandInRing] = {}
        self.daemons: dict[int, Daemon] = {}
        for nodeid in nodeids if nodeids is not None else [node.nodeid for node in conf.nodes]:
            self.boot(nodeid)

    def boot(self, nodeid: int) -> None:
        ring = StandInRing(nodeid)
        daemon = Daemon(nodeid, self.conf, ring, StandInReassembler())
        self.rings[nodeid], self.daemons[nodeid] = ring, daemon
        self.outputs.setdefault(nodeid, []).extend(daemon.start(self.now_ns))
        self.outputs[nodeid].extend(daemon.expire(self.now_ns, TotemTimer.STARTUP))

    def kill(self, nodeid: int) -> None:
        del self.rings[nodeid], self.daemons[nodeid]

    def push(self, nodeid: int, *outputs: Output) -> None:
        """The ring of one node reports these, in one step."""
        self.rings[nodeid].pending.extend(outputs)
        self.outputs[nodeid].extend(self.daemons[nodeid].receive(self.now_ns, b""))

    def form(self, *members: int) -> RingId:
        """A new ring of these nodes becomes operational; sync has begun when this returns."""
        members = tuple(sorted(members))
        self.ring_seq += 4
        ring_id = RingId(members[0], self.ring_seq)
        old = {node: (self.rings[node].ring_id, self.rings[node].members) for node in members}
        for node in members:
            ring = self.rings[node]
            together = tuple(other for other in members if old[other][0] == old[node][0] and other in old[node][1])
            left = tuple(other for other in old[node][1] if other not in together)
            joined = tuple(other for other in members if other not in together)
            ring.ring_id, ring.members, ring.waiting_trans_ack = ring_id, members, True
            self.push(
                node,
                ConfigurationChange(True, ring_id, together, left, ()),
                ConfigurationChange(False, ring_id, members, (), joined),
                MembershipInstalled(ring_id, members, joined, left, ()),
            )
        return ring_id

    def hop(self, nodeid: int) -> bool:
        """The token visits a node; True if it sent anything."""
        ring = self.rings[nodeid]
        queue = ring.trans_queue if ring.waiting_trans_ack else ring.new_queue
        deliveries: list[Output] = []
        for message in queue:
            self.seq += 1
            deliveries.append(Deliver(ring.ring_id, self.seq, nodeid, message, False))
        queue.clear()
        for other in ring.members:
            if other != nodeid and other in self.rings and self.rings[other].ring_id == ring.ring_id and deliveries:
                self.push(other, *deliveries)
        self.push(nodeid, *deliveries, TokenSent())
        return bool(deliveries)

    def rotate(self, *members: int) -> int:
        """Turn the token of a ring until nothing is left to send; returns the rotations. Starts behind the rep."""
        order = [*sorted(members)[1:], sorted(members)[0]]
        for rotations in range(1, 100):
            work = [self.hop(node) for node in order]
            if not any(work) and not any(self.daemons[node].sync.work_waiting for node in order):
                return rotations
        raise AssertionError("the ring never comes to rest")

    def settle(self, *members: int) -> RingId:
        """Form a ring and run its sync to the end."""
        ring_id = self.form(*members)
        self.rotate(*members)
        return ring_id

    def expire(self, timer: str, *nodeids: int) -> None:
        """A timer of these daemons runs out; it must be running."""
        for nodeid in nodeids:
            named = [out for out in self.outputs[nodeid] if isinstance(out, SetTimer | CancelTimer)]
            assert isinstance([out for out in named if out.timer == timer][-1], SetTimer)
            self.outputs[nodeid].extend(self.daemons[nodeid].expire(self.now_ns, timer))

    def of(self, nodeid: int, kind: type) -> list[DaemonOutput]:
        """All outputs of one type, in order."""
        return [output for output in self.outputs[nodeid] if isinstance(output, kind)]

    def lines(self, nodeid: int, *subsystems: str) -> list[str]:
        """Log lines of some subsystems, as ``level tag text``."""
        return [
            f"{line.level} {line.subsystem} {line.text}"
            for line in self.outputs[nodeid]
            if isinstance(line, Log) and (not subsystems or line.subsystem in subsystems)
        ]

    def forget(self) -> None:
        """Drop the outputs collected so far."""
        for collected in self.outputs.values():
            collected.clear()
