"""A run told by hand: three nodes, a token, a write, an fsync stall, a lost token, a dead node and a new ring.

It needs no simulated world, so the screens can be tested (and pinned as pictures) on their own. Datagrams are real.
"""

from __future__ import annotations

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.session import Session
from totemviz.totem import effects as totem
from totemviz.totem import wire
from totemviz.totem.config import MS, TotemConfig
from totemviz.totem.effects import Level, RingId
from totemviz.trace import events as ev
from totemviz.trace.timeline import Timeline

US = 1_000
A, B, C = 1, 2, 3
DCDB_PAYLOAD = b"\0\0" + bytes(14)
RING = RingId(1, 9)


def timeouts_ms(node_count: int = 3) -> dict[str, int]:
    config = TotemConfig.derive(node_count)
    return {
        "token": config.token_ms,
        "token_retransmit": config.token_retransmit_ms,
        "hold": config.hold_ms,
        "consensus": config.consensus_ms,
        "join": config.join_ms,
    }


class Story:
    """Writes events; keeps the little state that makes them agree with each other."""

    def __init__(self, node_count: int = 3, world: str = "simulated") -> None:
        self.timeline = Timeline()
        self.now_ns = 0
        self.node_count = node_count
        self.members = tuple(range(1, node_count + 1))
        self.ring = RING
        self.token_seq = 0
        self.seq = 0
        self.aru = 0
        self.last = -1
        self.marks: dict[str, int] = {}
        letters = "ABCDEFGHIJKLMNOP"
        disks = ("nvme", "sata-ssd", "usb-stick")
        infos = tuple(
            ev.NodeInfo(n, f"pve{n}", 1, disks[(n - 1) % 3] if world == "simulated" else "", letters[n - 1])
            for n in self.members
        )
        recorded = world == "recorded"
        self.add(
            0,
            ev.RunStarted(
                world,
                "c-kill" if recorded else "slow USB on C",
                infos,
                timeouts_ms(node_count),
                "" if recorded else "article",
                0 if recorded else 7,
                "udpu",
            ),
            cause=-1,
        )

    def add(self, node: int, body: ev.Body, cause: int | None = None) -> int:
        self.last = self.timeline.append(self.now_ns, node, self.last if cause is None else cause, body)
        return self.last

    def wait(self, time_ns: int) -> None:
        self.now_ns += time_ns

    def mark(self, name: str) -> None:
        self.marks[name] = self.last

    # -------------------------------------------------------------------------------------------------- membership

    def boot(self) -> None:
        for node in self.members:
            self.add(node, ev.ProcessStarted("corosync", 1000 + node), cause=0)
            self.add(node, ev.ProcessStarted("pmxcfs", 2000 + node))
        self.wait(100 * MS)
        for node in self.members:
            self.state(node, "GATHER", 15, "interface change", (node,))
        self.wait(12 * MS)
        self.form(self.members, RING)

    def state(self, node: int, state: str, reason: int, text: str, proc: tuple[int, ...], failed: tuple[int, ...] = ()):
        self.add(node, totem.StateEntered(state, reason, text, self.ring, proc, failed))

    def join(self, node: int, proc: tuple[int, ...], failed: tuple[int, ...] = ()) -> None:
        data = wire.Join(node, 0, node, self.ring.seq, proc, failed).encode()
        self.add(node, ev.DatagramSent(node, 0, "memb_join", data))

    def form(self, members: tuple[int, ...], ring: RingId, left: tuple[int, ...] = ()) -> None:
        self.members = members
        self.ring = ring
        for state in ("COMMIT", "RECOVERY", "OPERATIONAL"):
            for node in members:
                self.wait(80 * US)
                self.state(node, state, -1, "", members)
                if state == "OPERATIONAL":
                    self.add(node, totem.MembershipInstalled(ring, members, (), left, left))
                    what = "Members left: 3" if left else "Members joined: 1 2 3"
                    self.add(
                        node,
                        totem.Log(Level.NOTICE, "TOTEM", f"A new membership ({ring}) was formed. {what}"),
                    )
        for node in members:
            self.add(node, self.quorum_of(members, ring))
            self.add(node, corosync.SyncCompleted(ring))
            self.add(node, pmxcfs.DfsmModeChanged("dcdb", "SYNCED"))
        self.token_seq = self.seq = self.aru = 0

    def quorum_of(self, members: tuple[int, ...], ring: RingId) -> corosync.QuorumChanged:
        quorum = self.node_count // 2 + 1
        return corosync.QuorumChanged(len(members) >= quorum, len(members), self.node_count, quorum, ring, members)

    # ------------------------------------------------------------------------------------------------------- token

    def successor(self, node: int) -> int:
        return self.members[(self.members.index(node) + 1) % len(self.members)]

    def receive(self, node: int) -> None:
        self.add(node, totem.TokenReceived(self.ring, self.token_seq, self.seq, self.aru, 0, 0, 0, (), self.aru, 0))

    def visit(self, node: int, numbers: tuple[int, ...] = (), held: bool = False, send: bool = True) -> None:
        """The four stages; ``numbers`` are the messages sent."""
        self.receive(node)
        self.wait(4 * US)
        self.add(node, totem.RetransmitChecked((), (), (), 17))
        if numbers:
            self.seq += 1
            self.add(node, totem.MessageOrdered(self.seq, numbers))
            data = wire.Mcast(node, 0, node, self.seq, self.seq, self.ring, b"payload " * 5).encode()
            self.mcast = self.add(node, ev.DatagramSent(node, 0, "mcast", data))
        self.wait(3 * US)
        self.add(node, totem.MessagesMulticast(self.seq, 1 if numbers else 0, 0))
        self.wait(3 * US)
        if not numbers:
            self.aru = self.seq
        self.token_seq += 1
        to = self.successor(node)
        fcc = 1 if numbers else 0
        self.add(node, totem.TokenPassed(self.token_seq, self.seq, self.aru, 0, fcc, 0, (), self.seq, to, held))
        if send and not held:
            self.send(node)

    def send(self, node: int) -> None:
        to = self.successor(node)
        data = wire.Token(node, to, self.seq, self.token_seq, self.aru, 0, self.ring).encode()
        self.sent = self.add(node, ev.DatagramSent(node, to, "orf_token", data))

    def arrive(self, node: int) -> None:
        self.wait(40 * US)
        self.add(node, ev.DatagramReceived(self.members[self.members.index(node) - 1], self.sent, "orf_token"))

    def rotate(self, times: int = 1) -> None:
        for _ in range(times):
            for node in self.members:
                self.visit(node)
                self.arrive(self.successor(node))

    # ------------------------------------------------------------------------------------------------------- write

    def write_queued(self, node: int, number: int, path: str) -> None:
        self.add(0, ev.Intervened("write", f"write /etc/pve/{path} on node {node}"), cause=-1)
        self.add(node, ev.WriteStarted(number, path, 25))
        self.add(node, ev.SystemCalled(number, 1, "create", path))
        self.add(node, pmxcfs.FuseCalled(1, "create", path, "", 0))
        self.wait(30 * US)
        self.add(node, pmxcfs.ChangeQueued(1, 0, "create", path))
        self.add(node, totem.MessageSubmitted(5, 120))

    def delivered(self, node: int, source: int, path: str, version: int) -> None:
        self.add(node, corosync.CpgDelivered(0, "pve_dcdb_v1", source, 2001, DCDB_PAYLOAD + bytes(8), self.seq))
        self.add(node, pmxcfs.ChangeApplied(source, 2001, 0, "create", path, 0, version))

    def fsync(self, node: int, took_ns: int) -> None:
        self.add(node, ev.FsyncStarted("pmxcfs", "config.db-wal"))
        self.wait(took_ns)
        self.add(node, ev.FsyncFinished("pmxcfs", "config.db-wal", took_ns))


def domino() -> Story:
    """Boot, idle, a write on A, C's disk stalls with the token at C, the token is lost, A and B go on without C."""
    story = Story()
    story.boot()
    story.rotate(3)
    story.visit(A, held=True)
    story.mark("held")
    story.wait(300 * MS)
    path = "qemu-server/100.conf"
    story.write_queued(A, 1, path)
    story.mark("queued")
    story.add(A, totem.TokenReleased("hold cancelled", story.token_seq))
    story.send(A)
    for node in (B, C):
        story.arrive(node)
        story.visit(node)
    story.arrive(A)
    story.visit(A, (5,), send=False)
    story.mark("multicast")
    story.send(A)
    story.mark("flying")
    for node in (A, B, C):
        story.delivered(node, A, path, 118)
    story.mark("applied")
    story.fsync(A, 400 * US)
    story.add(A, pmxcfs.FuseReply(1, 0))
    story.add(A, ev.WriteFinished(1, 0, 2 * MS))
    story.add(0, ev.Intervened("stall_disk", "stall the disk of node 3 for 10s"), cause=-1)
    story.add(C, ev.DiskChanged("usb-stick", 10_000 * MS))
    stalled = story.add(C, ev.FsyncStarted("pmxcfs", "config.db-wal"))
    story.add(C, ev.ProcessBlocked(("pmxcfs", "corosync"), "fsync of config.db-wal"), cause=stalled)
    story.arrive(B)
    story.visit(B)
    story.wait(40 * US)
    story.add(C, ev.DatagramQueued(B, story.sent, "orf_token", "corosync"))
    story.mark("waiting")
    for _ in range(4):
        story.wait(869 * MS)
        story.add(B, ev.TimerExpired("corosync", "token retransmit", 0), cause=story.sent)
        story.add(B, totem.TokenReleased("retransmit timeout", story.token_seq))
    story.mark("late")
    story.wait(100 * MS)
    for node in (A, B):
        story.add(node, ev.TimerExpired("corosync", "token loss", 0), cause=story.sent)
        story.add(
            node,
            totem.Log(
                Level.NOTICE,
                "TOTEM",
                "A processor failed, forming new configuration: token timed out (3650ms), "
                "waiting 4380ms for consensus.",
            ),
        )
        story.state(node, "GATHER", 2, "The token was lost in the OPERATIONAL state.", (1, 2, 3))
        story.join(node, (1, 2, 3))
    story.mark("gather")
    story.wait(4380 * MS)
    for node in (A, B):
        story.add(node, ev.TimerExpired("corosync", "consensus", 0))
        story.state(node, "GATHER", 0, "consensus timeout", (1, 2, 3), (3,))
        story.join(node, (1, 2, 3), (3,))
    story.form((A, B), RingId(1, 13), left=(C,))
    story.mark("ring of two")
    story.rotate(2)
    story.add(0, ev.Intervened("kill", "kill corosync and pmxcfs on node 3"), cause=-1)
    story.add(C, ev.ProcessKilled("corosync"))
    story.add(C, ev.ProcessKilled("pmxcfs"))
    story.rotate(1)
    story.mark("end")
    return story


def recording() -> Story:
    """What a capture shows: token hops and memberships, no disks, no processes."""
    story = Story(world="recorded")
    story.wait(5 * MS)
    for node in story.members:
        story.add(node, totem.StateEntered("OPERATIONAL", -1, "", RING, story.members, ()))
        story.add(node, totem.MembershipInstalled(RING, story.members, (), (), ()))
    story.rotate(4)
    return story


class Playable(Session):
    """A session that takes commands, as a simulation does: it keeps what it was told and notes it in the timeline."""

    can_intervene = True

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self.commands: list[AnyIntervention] = []

    def intervene(self, intervention: AnyIntervention) -> None:
        self.commands.append(intervention)
        last = self.timeline[len(self.timeline) - 1]
        self.timeline.append(last.time_ns, 0, -1, ev.Intervened(type(intervention).__name__.lower(), intervention.text))
        self.cursor.move_to(len(self.timeline) - 1)
