"""A scripted CPG bus: N pmxcfs machines, one total order per partition, one virtual clock, no chance.

It answers like corosync where pmxcfs can tell the difference: a connection that has left once refuses to join again,
messages of processes that are no members are dropped, a partition gives each side one configuration change with the
lost members, a merge one with the gained ones.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import apsw
import msgspec

from totemviz.corosync.effects import ConfchgReason, CpgConfchg, CpgDelivered, CpgError, CpgMember
from totemviz.pmxcfs.corosync_conf import HostConf, named_cluster
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.effects import CpgFinalize, CpgJoin, CpgLeave, CpgMcast, DiskIo, FuseReply, PmxcfsExited
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.pmxcfs.messages import DCDB_GROUP, Epoch, StateMessage, encode_message
from totemviz.pmxcfs.process import Quirks
from totemviz.pmxcfs.status import ClusterNode
from totemviz.totem.effects import CancelTimer, Log, SetTimer

S = 10**9


def open_database(path: Path | str, synchronous: str = "NORMAL") -> Database:
    return Database(lambda: apsw.Connection(str(path)), list, synchronous)


class Host:
    """One node: its process, its timers, its two CPG connections, and everything it ever put out."""

    def __init__(self, nodeid: int, directory: Path) -> None:
        self.nodeid = nodeid
        self.path = directory / f"config-{nodeid}.db"
        self.pid = 1000 * nodeid
        self.machine: Pmxcfs | None = None
        self.database: Database | None = None
        self.timers: dict[str, tuple[int, int]] = {}
        self.left_once: set[int] = set()
        self.busy = 0  # so many calls are still answered with TRY_AGAIN
        self.outputs: list = []
        self.results: dict[int, int] = {}
        self.conf = HostConf()

    @property
    def process(self) -> tuple[int, int]:
        return self.nodeid, self.pid

    def log(self, domain: str = "", since: int = 0) -> list[str]:
        """The log texts of one domain, or of all with the domain in front."""
        lines = [output for output in self.outputs[since:] if isinstance(output, Log)]
        if domain:
            return [line.text for line in lines if line.subsystem == domain]
        return [f"[{line.subsystem}] {line.level}: {line.text}" for line in lines]


class Bus:
    """The cluster. Nothing is delivered before ``step``, ``settle`` or ``run``."""

    def __init__(
        self,
        directory: Path,
        count: int,
        *,
        quirks: Quirks | None = None,
        corosync_conf: bytes = b"",
    ) -> None:
        self.now_ns = 0
        self.hosts = {nodeid: Host(nodeid, directory) for nodeid in range(1, count + 1)}
        self.quirks = quirks
        nodes = tuple(ClusterNode(nodeid, f"pve{nodeid}") for nodeid in sorted(self.hosts))
        self.cluster = msgspec.structs.replace(named_cluster(corosync_conf), nodes=nodes)
        for host in self.hosts.values():
            host.conf.content = corosync_conf or None
        self.components: list[list[int]] = [sorted(self.hosts)]
        self.queues: list[deque] = [deque()]
        self.groups: list[dict[str, list[tuple[int, int]]]] = [{}]
        self.clients: dict[str, int] = {}
        self.calls = itertools.count(1)
        self._order = itertools.count(1)
        self._heap: list[tuple[int, int, int, str]] = []

    # ------------------------------------------------------------------------------------------------ life and network

    def start(self, *nodeids: int, corosync: bool = True) -> None:
        for nodeid in nodeids or sorted(self.hosts):
            host = self.hosts[nodeid]
            host.pid += 1
            host.timers.clear()
            host.left_once.clear()
            host.database = open_database(host.path)
            host.machine = Pmxcfs(
                nodeid,
                host.pid,
                f"pve{nodeid}",
                host.database,
                quirks=self.quirks,
                host_conf=host.conf,
                cluster=lambda: self.cluster,
                local=False,
            )
            self._handle(host, host.machine.start(self.now_ns))
            if corosync:
                self._handle(host, host.machine.corosync_available(self.now_ns))
        if corosync:
            self.tell_quorum()

    def crash(self, nodeid: int) -> None:
        """The process is gone, with it its messages that were not ordered yet."""
        host = self.hosts[nodeid]
        assert host.database is not None
        host.machine = None
        host.database.close()
        component = self._component(nodeid)
        self.queues[component] = deque(item for item in self.queues[component] if item[1].nodeid != nodeid)
        for group, members in self.groups[component].items():
            if host.process in members:
                members.remove(host.process)
                self._confchg(component, group, left=[(host.process, ConfchgReason.PROCDOWN)])
        self.tell_quorum()

    def partition(self, *components: Iterable[int]) -> None:
        """Cut the network: each side keeps what its own nodes had not sent into the order yet."""
        sides = [sorted(side) for side in components]
        old = [(self.components[i], self.queues[i], self.groups[i]) for i in range(len(self.components))]
        self.components, self.queues, self.groups = sides, [], []
        for side in sides:
            self.queues.append(deque(item for _, queue, _ in old for item in queue if item[1].nodeid in side))
            names = sorted({name for _, _, groups in old for name in groups})
            self.groups.append(
                {
                    name: sorted(p for _, _, groups in old for p in groups.get(name, []) if p[0] in side)
                    for name in names
                }
            )
        self.tell_quorum()
        for number, side in enumerate(sides):
            for name, members in self.groups[number].items():
                for nodeid in side:
                    before = next(g.get(name, []) for c, _, g in old if nodeid in c)
                    left = [(p, ConfchgReason.NODEDOWN) for p in before if p not in members]
                    joined = [(p, ConfchgReason.NODEUP) for p in members if p not in before]
                    self._confchg(number, name, left=left, joined=joined, only=nodeid)

    def heal(self) -> None:
        self.partition(sorted(self.hosts))

    def tell_quorum(self) -> None:
        for side in self.components:
            alive = [nodeid for nodeid in side if self.hosts[nodeid].machine is not None]
            for nodeid in alive:
                self.quorum(nodeid, len(alive) > len(self.hosts) // 2)

    def quorum(self, nodeid: int, quorate: bool) -> None:
        host = self.hosts[nodeid]
        assert host.machine is not None
        if host.machine._process.corosync_running:
            self._handle(host, host.machine.quorum(self.now_ns, quorate))

    # ---------------------------------------------------------------------------------------------------------- clients

    def call(self, nodeid: int, operation: str, path: str, to: str = "", **more: object) -> int:
        host = self.hosts[nodeid]
        assert host.machine is not None
        call_id = next(self.calls)
        self._handle(host, host.machine.fuse(self.now_ns, call_id, operation, path, to, **more))
        return call_id

    def result(self, nodeid: int, operation: str, path: str, to: str = "", **more: object) -> int | None:
        """Make a call and let everything happen; None if the call still waits."""
        call_id = self.call(nodeid, operation, path, to, **more)
        self.settle()
        return self.hosts[nodeid].results.get(call_id)

    # ------------------------------------------------------------------------------------------------------------- time

    def step(self) -> bool:
        """Deliver the next message or membership change of the first side that has one."""
        for number, queue in enumerate(self.queues):
            if queue:
                self._deliver(number, *queue.popleft())
                return True
        return False

    def settle(self) -> None:
        for _ in range(100_000):
            if not self.step():
                return
        raise AssertionError("the bus does not come to rest")

    def run(self, seconds: float) -> None:
        """Let the clock run; messages take no time."""
        end_ns = self.now_ns + int(seconds * S)
        self.settle()
        while self._heap and self._heap[0][0] <= end_ns:
            at_ns, order, nodeid, timer = heapq.heappop(self._heap)
            host = self.hosts[nodeid]
            if host.machine is None or host.timers.get(timer) != (at_ns, order):
                continue
            del host.timers[timer]
            self.now_ns = at_ns
            self._handle(host, host.machine.expire(at_ns, timer))
            self.settle()
        self.now_ns = end_ns

    def fire(self, nodeid: int, timer: str) -> None:
        """Let one timer of one node run out now, with nothing delivered before or after."""
        host = self.hosts[nodeid]
        assert host.machine is not None
        self.now_ns, _ = host.timers.pop(timer)
        self._handle(host, host.machine.expire(self.now_ns, timer))

    # -------------------------------------------------------------------------------------------------------- the world

    def _component(self, nodeid: int) -> int:
        return next(number for number, side in enumerate(self.components) if nodeid in side)

    def _handle(self, host: Host, outputs: list) -> None:
        for output in outputs:
            host.outputs.append(output)
            match output:
                case SetTimer(timer, delay_ns):
                    entry = (self.now_ns + delay_ns, next(self._order))
                    host.timers[timer] = entry
                    heapq.heappush(self._heap, (*entry, host.nodeid, timer))
                case CancelTimer(timer):
                    host.timers.pop(timer, None)
                case FuseReply(call_id, result):
                    assert call_id not in host.results, "a call returned twice"
                    host.results[call_id] = result
                case CpgFinalize(client):
                    host.left_once.discard(client)
                case CpgJoin() | CpgLeave() | CpgMcast():
                    machine = host.machine
                    assert machine is not None
                    self._handle(host, machine.cpg_result(self.now_ns, output.client, self._answer(host, output)))
                case PmxcfsExited(signal) if signal:
                    self.crash(host.nodeid)
                case Log() | DiskIo():
                    pass

    def _answer(self, host: Host, call: CpgJoin | CpgLeave | CpgMcast) -> CpgError:
        if host.busy:
            host.busy -= 1
            return CpgError.TRY_AGAIN
        if isinstance(call, CpgJoin) and call.client in host.left_once:
            return CpgError.EXIST
        if isinstance(call, CpgLeave):
            host.left_once.add(call.client)
        self.clients[call.group] = call.client
        self.queues[self._component(host.nodeid)].append((call, CpgMember(*host.process)))
        return CpgError.OK

    def _deliver(self, number: int, call: CpgJoin | CpgLeave | CpgMcast, sender: CpgMember) -> None:
        members = self.groups[number].setdefault(call.group, [])
        process = (sender.nodeid, sender.pid)
        if isinstance(call, CpgMcast):
            if process in members:
                event = CpgDelivered(call.client, call.group, *process, call.payload, next(self._order))
                for nodeid in self._listeners(number, call.group):
                    host = self.hosts[nodeid]
                    self._handle(host, host.machine.cpg_delivered(self.now_ns, event))
        elif isinstance(call, CpgJoin):
            members.append(process)
            members.sort()
            self._confchg(number, call.group, joined=[(process, ConfchgReason.JOIN)])
        elif process in members:
            members.remove(process)
            self._confchg(number, call.group, left=[(process, ConfchgReason.LEAVE)])

    def _listeners(self, number: int, group: str) -> list[int]:
        processes = self.groups[number].get(group, [])
        return [nodeid for nodeid, pid in processes if self.hosts[nodeid].machine and self.hosts[nodeid].pid == pid]

    def _confchg(self, number: int, group: str, *, left=(), joined=(), only: int | None = None) -> None:
        if not left and not joined:
            return
        event = CpgConfchg(
            self.clients[group],
            group,
            tuple(CpgMember(*process) for process in self.groups[number][group]),
            tuple(CpgMember(*process, reason) for process, reason in left),
            tuple(CpgMember(*process, reason) for process, reason in joined),
        )
        # Whoever leaves hears of it too.
        leaving = [process[0] for process, reason in left if reason is ConfchgReason.LEAVE]
        for nodeid in sorted({*self._listeners(number, group), *leaving}):
            host = self.hosts[nodeid]
            if host.machine is not None and only in (None, nodeid):
                self._handle(host, host.machine.cpg_confchg(self.now_ns, event))

    # ----------------------------------------------------------------------------------------------------------- checks

    def machine(self, nodeid: int) -> Pmxcfs:
        machine = self.hosts[nodeid].machine
        assert machine is not None
        return machine

    def indices(self) -> set[bytes]:
        return {host.machine.memdb.index() for host in self.hosts.values() if host.machine}


def started(directory: Path, count: int, **more) -> Bus:
    """A cluster in which everybody is synchronised and quorate."""
    bus = Bus(directory, count, **more)
    bus.start()
    bus.run(1)
    return bus


def mark(bus: Bus) -> dict[int, int]:
    return {nodeid: len(host.outputs) for nodeid, host in bus.hosts.items()}


EPOCH = Epoch(1, 2, 3, 4)


def deliver(bus: Bus, nodeid: int, payload: bytes, sender: tuple[int, int] = (2, 2001)) -> list[str]:
    """Deliver a message to one node only; the dcdb lines it causes."""
    host = bus.hosts[nodeid]
    since = len(host.outputs)
    bus._handle(host, bus.machine(nodeid).cpg_delivered(bus.now_ns, CpgDelivered(0, DCDB_GROUP, *sender, payload, 1)))
    return host.log("dcdb", since)


def state_message(type_: int, payload: bytes = b"", version: int = 1, epoch: Epoch = EPOCH) -> bytes:
    return encode_message(StateMessage(type_, version, 0, epoch, payload))
