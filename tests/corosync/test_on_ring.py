"""The stack on the real ring: boot, kill, restart and traffic of three daemons over a lossless network."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from pathlib import Path

import pytest

from totemviz.corosync.conf import load
from totemviz.corosync.daemon import Daemon, DaemonOutput
from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError, SyncCompleted
from totemviz.totem.effects import CancelTimer, Log, MembershipInstalled, Send, SetTimer, StoreRingId
from totemviz.totem.pg import Reassembler
from totemviz.totem.ring import Ring

CONF = load(Path(__file__).parent / "data" / "lab-3-nodes-udpu.conf")
DELAY_NS = 100_000
SECOND = 1_000_000_000


class Net:
    """A heap of datagrams and timers for all daemons; collects every output with its time."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.heap: list[tuple[int, int, int, str, bytes]] = []
        self.count = 0
        self.daemons: dict[int, Daemon] = {}
        self.timers: dict[tuple[int, str], int] = {}
        self.stored: dict[int, int] = {}
        self.outputs: dict[int, list[tuple[int, DaemonOutput]]] = {1: [], 2: [], 3: []}

    def boot(self, nodeid: int) -> None:
        ring = Ring(nodeid, CONF.totem, self.stored.get(nodeid, 0))
        self.daemons[nodeid] = Daemon(nodeid, CONF, ring, Reassembler())
        self.carry_out(nodeid, self.daemons[nodeid].start(self.now_ns))

    def kill(self, nodeid: int) -> None:
        del self.daemons[nodeid]
        for key in [key for key in self.timers if key[0] == nodeid]:
            del self.timers[key]

    def carry_out(self, nodeid: int, outputs: Iterable[DaemonOutput]) -> None:
        for output in outputs:
            self.outputs[nodeid].append((self.now_ns, output))
            if isinstance(output, Send):
                for target in [output.target] if output.target else [1, 2, 3]:
                    self.push(self.now_ns + (DELAY_NS if target != nodeid else 0), target, "", output.datagram)
            elif isinstance(output, SetTimer):
                self.timers[nodeid, output.timer] = self.count
                self.push(self.now_ns + output.delay_ns, nodeid, output.timer, b"")
            elif isinstance(output, CancelTimer):
                self.timers.pop((nodeid, output.timer), None)
            elif isinstance(output, StoreRingId):
                self.stored[nodeid] = output.seq

    def push(self, time_ns: int, nodeid: int, timer: str, datagram: bytes) -> None:
        heapq.heappush(self.heap, (time_ns, self.count, nodeid, timer, datagram))
        self.count += 1

    def run(self, duration_ns: int) -> None:
        end_ns = self.now_ns + duration_ns
        while self.heap and self.heap[0][0] <= end_ns:
            self.now_ns, number, nodeid, timer, datagram = heapq.heappop(self.heap)
            daemon = self.daemons.get(nodeid)
            if daemon is None:
                continue
            if not timer:
                self.carry_out(nodeid, daemon.receive(self.now_ns, datagram))
            elif self.timers.get((nodeid, timer)) == number:
                del self.timers[nodeid, timer]
                self.carry_out(nodeid, daemon.expire(self.now_ns, timer))
        self.now_ns = end_ns

    def of(self, nodeid: int, kind: type) -> list[DaemonOutput]:
        return [output for _, output in self.outputs[nodeid] if isinstance(output, kind)]

    def join(self, nodeid: int, group: str = "g") -> CpgError:
        error, outputs = self.daemons[nodeid].cpg_join(self.now_ns, 1, 100 * nodeid, group)
        self.carry_out(nodeid, outputs)
        return error

    def mcast(self, nodeid: int, payload: bytes) -> CpgError:
        error, outputs = self.daemons[nodeid].cpg_mcast(self.now_ns, 1, payload)
        self.carry_out(nodeid, outputs)
        return error


@pytest.fixture
def net() -> Net:
    net = Net()
    for node in (1, 2, 3):
        net.boot(node)
    net.run(SECOND)
    return net


def test_boot_ends_in_one_synchronised_quorate_ring(net: Net) -> None:
    for node in (1, 2, 3):
        assert isinstance(net.of(node, SyncCompleted)[-1], SyncCompleted)
        assert net.daemons[node].votequorum.quorate
        assert not net.daemons[node].sync_in_process
    notices = [
        output.text
        for output in net.of(2, Log)
        if isinstance(output, Log) and output.level == "notice" and output.subsystem in ("TOTEM", "QUORUM", "MAIN")
    ]
    tail = notices[-6:]
    assert tail[0] == "Sync members[3]: 1 2 3"
    assert tail[1].startswith("Sync joined[")
    assert tail[2].startswith("A new membership (1.")
    assert tail[-2:] == ["Members[3]: 1 2 3", "Completed service synchronization, ready to provide service."]


def test_every_line_of_the_transitional_flag_is_logged_once(net: Net) -> None:
    lines = [
        output.text
        for output in net.of(1, Log)
        if isinstance(output, Log) and output.text.startswith("waiting_trans_ack")
    ]
    assert lines[0].endswith("1")
    memberships = len(net.of(1, MembershipInstalled))
    assert sum(line.endswith("1") for line in lines) == 1 + memberships
    assert sum(line.endswith("0") for line in lines) == len(net.of(1, SyncCompleted))


def test_messages_of_all_sizes_have_one_order(net: Net) -> None:
    for node in (1, 2, 3):
        assert net.join(node) is CpgError.OK
    net.run(SECOND // 10)
    for size in (0, 1, 1200, 1216, 1217, 1218, 1400, 5000, 200_000):
        for node in (3, 1, 2):
            assert net.mcast(node, bytes([node]) * size) is CpgError.OK
    net.run(2 * SECOND)
    histories = [
        [(event.nodeid, len(event.payload)) for event in net.of(node, CpgDelivered) if isinstance(event, CpgDelivered)]
        for node in (1, 2, 3)
    ]
    assert len(histories[0]) == 27
    assert histories[0] == histories[1] == histories[2]
    assert all(set(event.payload) <= {event.nodeid} for event in net.of(1, CpgDelivered))  # type: ignore[attr-defined]


def test_a_killed_node_is_out_after_token_and_consensus_and_back_at_once(net: Net) -> None:
    for node in (1, 2, 3):
        net.join(node)
    net.run(SECOND)
    killed_ns = net.now_ns
    net.kill(3)
    net.run(10 * SECOND)
    (time_ns, ring) = [item for item in net.outputs[1] if isinstance(item[1], MembershipInstalled)][-1]
    assert isinstance(ring, MembershipInstalled)
    assert ring.members == (1, 2)
    assert 8.03 * SECOND - 0.7 * SECOND < time_ns - killed_ns < 8.1 * SECOND
    (event,) = [item for item in net.of(1, CpgConfchg) if isinstance(item, CpgConfchg) and item.left]
    assert [(member.nodeid, member.reason) for member in event.left] == [(3, 3)]
    net.boot(3)
    net.run(2 * SECOND)
    assert {net.daemons[node].sync.members for node in (1, 2, 3)} == {(1, 2, 3)}
    assert net.join(3) is CpgError.OK


def test_messages_queued_in_a_dead_ring_arrive_in_the_new_one_after_its_view(net: Net) -> None:
    for node in (1, 2, 3):
        net.join(node)
    net.run(SECOND)
    net.kill(3)
    net.run(SECOND)
    assert net.mcast(1, b"meanwhile") is CpgError.OK
    net.run(9 * SECOND)
    kinds = [type(output).__name__ for output in net.of(2, CpgConfchg | CpgDelivered)]  # type: ignore[arg-type]
    assert kinds[-2:] == ["CpgConfchg", "CpgDelivered"]


def test_a_clean_shutdown_needs_no_timeout(net: Net) -> None:
    net.carry_out(3, net.daemons[3].shutdown(net.now_ns))
    net.kill(3)
    net.run(SECOND // 5)
    assert net.daemons[1].sync.members == (1, 2)
    assert not net.daemons[1].sync_in_process


def test_two_runs_are_equal() -> None:
    runs = []
    for _ in range(2):
        net = Net()
        for node in (1, 2, 3):
            net.boot(node)
        net.run(SECOND)
        runs.append(net.outputs)
    assert runs[0] == runs[1]
