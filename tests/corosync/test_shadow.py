"""Our daemon in the place of a real one: node 3 of a recorded cluster through boot, partition, merge and shutdown.

It gets the recorded configuration changes and service messages in their recorded order, and its clients act when the
recorded node's clients did. It must send what the real node sent, byte for byte, and log what the real node logged.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tests.corosync.bus import StandInReassembler, StandInRing
from totemviz.corosync.conf import load
from totemviz.corosync.daemon import Daemon, DaemonOutput
from totemviz.corosync.decoders import decode_message
from totemviz.corosync.effects import CpgError
from totemviz.corosync.wire import CpgMcast, JoinList, ProcJoin, ProcLeave
from totemviz.totem.effects import ConfigurationChange, Deliver, Level, Log, Output, RingId, TokenSent, TotemTimer

DATA = Path(__file__).parent / "data"
SUBSYSTEMS = ("MAIN", "SERV", "SYNC", "CPG", "QUORUM", "VOTEQ", "CMAP")
NOT_RECORDED = re.compile(
    r"exit_fn|got leave request"  # lines with a client's address in memory
    r"|IPC|ipc|loaded: |starting up|built-in"  # start and stop of the service engines, compared elsewhere
)


class Shadow:
    """Node 3 with a stand-in ring that only says what was recorded."""

    def __init__(self) -> None:
        self.ring = StandInRing(3, queue_size=2974)
        self.daemon = Daemon(3, load(DATA / "lab-3-nodes-udpu.conf"), self.ring, StandInReassembler())
        self.outputs: list[DaemonOutput] = self.daemon.start(0) + self.daemon.expire(0, TotemTimer.STARTUP)
        self.clients: dict[tuple[int, bytes], int] = {}
        self.compared = 0
        self.last_client = 0

    def push(self, *outputs: Output) -> None:
        self.ring.pending.extend(outputs)
        self.outputs.extend(self.daemon.receive(0, b""))

    def membership(self, line: str) -> None:
        name, *lists = line.removeprefix("ring ").split("|")
        rep, seq = (int(half, 16) for half in name.strip().split("."))
        members, transitional, left, joined = (tuple(map(int, part.split())) for part in lists)
        self.ring_id = RingId(rep, seq)
        self.ring.waiting_trans_ack = True
        self.push(
            ConfigurationChange(True, self.ring_id, transitional, left, ()),
            ConfigurationChange(False, self.ring_id, members, (), joined),
        )

    def message(self, seq: int, source: int, message: bytes) -> None:
        if source == 3:
            self.act_as_client(decode_message(message)[1])
            ours = self.ring.submitted.pop(0)
            assert plain(ours) == plain(message)
            self.compared += 1
        self.push(Deliver(self.ring_id, seq, source, message, False), TokenSent())

    def act_as_client(self, message: object) -> None:
        """A recorded join or leave of this node: its client asks for it now."""
        if isinstance(message, ProcJoin):
            self.last_client += 1
            self.clients[message.pid, message.group] = self.last_client
            group = message.group.decode("latin-1")
            error, outputs = self.daemon.cpg_join(0, self.last_client, message.pid, group)
        elif isinstance(message, ProcLeave):
            client = self.clients[message.pid, message.group]
            if message.reason == 2:
                error, outputs = self.daemon.cpg_leave(0, client)
                if error is CpgError.OK:  # pmxcfs finalises the handle after it
                    outputs = [*outputs, *self.daemon.cpg_disconnect(0, client)[1]]
            else:
                error, outputs = self.daemon.cpg_disconnect(0, client)
        else:
            return
        assert error is CpgError.OK
        self.outputs.extend(outputs)

    def lines(self) -> list[str]:
        return [
            f"{line.level} {line.subsystem} {line.text}"
            for line in self.outputs
            if isinstance(line, Log) and line.subsystem in SUBSYSTEMS and not NOT_RECORDED.search(line.text)
        ]


def plain(message: bytes) -> bytes:
    """Without the memory of a client that real messages carry in the gaps."""
    _, decoded = decode_message(message)
    if isinstance(decoded, ProcJoin | ProcLeave | CpgMcast):
        decoded = msgspec.structs.replace(decoded, padding=b"", tail=b"")
    if isinstance(decoded, JoinList):
        entries = tuple(msgspec.structs.replace(entry, padding=b"", tail=b"") for entry in decoded.entries)
        decoded = msgspec.structs.replace(decoded, entries=entries)
    return decoded.encode()


def test_a_recorded_node_is_shadowed_line_by_line_and_byte_by_byte() -> None:
    shadow = Shadow()
    for line in (DATA / "partition-pve3.txt").read_text().splitlines():
        if line.startswith("ring "):
            shadow.membership(line)
        elif line.startswith("msg "):
            _, seq, source, text = line.split()
            body, zeros = text.split("*")
            shadow.message(int(seq), int(source), bytes.fromhex(body) + bytes(int(zeros)))
    shadow.outputs.extend(shadow.daemon.shutdown(0))
    assert shadow.lines() == (DATA / "partition-pve3.log").read_text().splitlines()
    assert shadow.compared == 56
    assert not shadow.ring.submitted


def test_start_and_stop_are_logged_as_recorded() -> None:
    ring = StandInRing(1)
    daemon = Daemon(1, load(DATA / "lab-3-nodes-udpu.conf"), ring, StandInReassembler())
    outputs = daemon.start(0) + daemon.expire(0, TotemTimer.STARTUP) + daemon.shutdown(0)
    lines = [f"{line.level} {line.subsystem} {line.text}" for line in outputs if isinstance(line, Log)]
    assert lines == (DATA / "start-stop-pve1.log").read_text().splitlines()


def test_the_services_come_up_behind_the_ring_id() -> None:
    """The line that tells the ring id precedes the first engine, what the ring does next follows the last."""

    class Ring(StandInRing):
        def expire(self, now_ns: int, timer: str) -> list[Output]:
            return [
                Log(Level.DEBUG, "TOTEM", "Created or loaded sequence id 1.1 for this ring."),
                Log(Level.DEBUG, "TOTEM", "entering GATHER state from 15(interface change)."),
            ]

    daemon = Daemon(1, load(DATA / "lab-3-nodes-udpu.conf"), Ring(1), StandInReassembler())
    daemon.start(0)
    texts = [output.text for output in daemon.expire(0, TotemTimer.STARTUP) if isinstance(output, Log)]
    assert texts[0] == "The network interface [10.77.0.1] is now up."
    assert texts[1].startswith("Created or loaded")
    assert texts[2] == "Service engine loaded: corosync configuration map access [0]"
    assert texts[-1].startswith("entering GATHER")


def test_knet_names_its_links() -> None:
    daemon = Daemon(5, load(DATA / "proxmox-5-nodes.conf"), StandInRing(5), StandInReassembler())
    outputs = daemon.start(0) + daemon.expire(0, TotemTimer.STARTUP)
    lines = [
        line.text
        for line in outputs
        if isinstance(line, Log) and line.subsystem == "TOTEM" and line.level != Level.DEBUG
    ]
    assert lines == [
        "Initializing transport (Kronosnet).",
        "totemknet initialized",
        "Configuring link 0",
        "Configured link number 0: local addr: 192.0.2.15, port=5405",
        "Configuring link 1",
        "Configured link number 1: local addr: 198.51.100.15, port=5406",
    ]
