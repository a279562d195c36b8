"""Closed process groups: who is in which group, and every message to all of them in one order (sheet §8.3-8.6).

Nothing here takes effect when it is asked for; a join, a leave or a message counts when the ring delivers it,
and that is why all members see the same history. A connection holds at most one group. Faithful to a flaw:
a connection that left its group never becomes free again, so joining on it once more answers EXIST, and it goes
on receiving until it is closed (``cpg.c: notify_lib_joinlist`` loops over the wrong count).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum

import msgspec

from totemviz.corosync import layouts
from totemviz.corosync.effects import ConfchgReason, CpgConfchg, CpgDelivered, CpgError, CpgMember, CpgPartDelivered
from totemviz.corosync.quirks import Quirks
from totemviz.corosync.service import Core
from totemviz.corosync.wire import (
    CPG,
    GROUP_NAME_MAX,
    CpgMcast,
    DownList,
    JoinEntry,
    JoinList,
    PartialMcast,
    ProcJoin,
    ProcLeave,
    ServiceMessage,
)
from totemviz.totem.effects import Level, RingId


class ConnectionState(IntEnum):
    """Life of a connection (``cpg.c: enum cpd_state``); the numbers are in a log line."""

    UNJOINED = 0
    LEAVE_STARTED = 1
    JOIN_STARTED = 2
    JOIN_COMPLETED = 3


class Connection(msgspec.Struct):
    """One client's connection; ``transitions`` counts the configuration changes it was told of."""

    client: int
    pid: int = 0
    group: bytes = b""
    state: ConnectionState = ConnectionState.UNJOINED
    transitions: int = 0
    transitions_at_first_part: int = 0


class Process(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One process known to be in a group, anywhere in the cluster."""

    nodeid: int
    pid: int
    group: bytes


MCAST_HEADER_SIZE = layouts.MCAST.size
PARTIAL_HEADER_SIZE = layouts.PARTIAL.size
FIRST_PART = 1
REASONS = frozenset(map(int, ConfchgReason))
RECEIVING = (ConnectionState.JOIN_COMPLETED, ConnectionState.LEAVE_STARTED)

JOIN_ANSWERS = {
    ConnectionState.UNJOINED: CpgError.OK,
    ConnectionState.LEAVE_STARTED: CpgError.BUSY,
    ConnectionState.JOIN_STARTED: CpgError.EXIST,
    ConnectionState.JOIN_COMPLETED: CpgError.EXIST,
}
LEAVE_ANSWERS = {
    ConnectionState.UNJOINED: CpgError.NOT_EXIST,
    ConnectionState.LEAVE_STARTED: CpgError.NOT_EXIST,
    ConnectionState.JOIN_STARTED: CpgError.BUSY,
    ConnectionState.JOIN_COMPLETED: CpgError.OK,
}
MCAST_ANSWERS = {
    ConnectionState.UNJOINED: CpgError.NOT_EXIST,
    ConnectionState.LEAVE_STARTED: CpgError.NOT_EXIST,
    ConnectionState.JOIN_STARTED: CpgError.OK,
    ConnectionState.JOIN_COMPLETED: CpgError.OK,
}


class Cpg:
    """Service engine 2. Group names are bytes here and on the wire; in events they are text (see ``_text``)."""

    service_id = CPG
    name = "corosync cluster closed process group service v1.01"

    def __init__(self, core: Core, quirks: Quirks | None = None) -> None:
        self._core = core
        self._quirks = quirks or Quirks()
        self.connections: dict[int, Connection] = {}
        self.processes: list[Process] = []
        self._activated: tuple[int, ...] = ()
        self._members: tuple[int, ...] = ()
        self._left: tuple[int, ...] = ()
        self._down_list: list[int] = []
        self._join_lists: list[Process] = []

    # ------------------------------------------------------------------------------------------- clients' requests

    def connect(self, client: int) -> None:
        """A client opened a connection."""
        self.connections.setdefault(client, Connection(client))

    def join(self, client: int, pid: int, group: bytes) -> CpgError:
        """cpg_join: the answer comes at once, the effect when the procjoin is delivered."""
        if any(other.pid == pid and other.group == group for other in self.connections.values()):
            return CpgError.EXIST
        if Process(self._core.nodeid, pid, group) in self.processes:
            return CpgError.TRY_AGAIN
        if len(group) > GROUP_NAME_MAX:
            return CpgError.NAME_TOO_LONG
        connection = self.connections[client]
        answer = JOIN_ANSWERS[connection.state]
        if answer is CpgError.OK:
            connection.state = ConnectionState.JOIN_STARTED
            connection.pid, connection.group = pid, group
            self._core.multicast(ProcJoin(group, pid, ConfchgReason.JOIN).encode())
        return answer

    def leave(self, client: int) -> CpgError:
        """cpg_leave."""
        connection = self.connections[client]
        self._log(f"got leave request on {client:#x}")
        answer = LEAVE_ANSWERS[connection.state]
        if answer is CpgError.OK:
            connection.state = ConnectionState.LEAVE_STARTED
            self._core.multicast(ProcLeave(connection.group, connection.pid, ConfchgReason.LEAVE).encode())
        return answer

    def mcast(self, client: int, payload: bytes) -> None:
        """cpg_mcast_joined: the client gets no answer; a message it may not send is lost with a line in the log."""
        connection = self.connections[client]
        error = MCAST_ANSWERS[connection.state]
        if error is not CpgError.OK:
            text = f"*** {client:#x} can't mcast to group {_shown(connection.group)} state:{connection.state:d}"
            self._core.log(Level.ERROR, "CPG", f"{text}, error:{error:d}")
            return
        source = (self._core.nodeid, client)
        body = CpgMcast(connection.group, connection.pid, source, payload).encode()
        self._core.multicast(body[:MCAST_HEADER_SIZE], payload)

    def mcast_part(self, client: int, total: int, part: int, payload: bytes) -> CpgError:
        """One part of a message above the atomic size; INTERRUPT if the group changed since the first."""
        connection = self.connections[client]
        self._log(f"Sending fragmented message size = {len(payload)} bytes\n")
        error = MCAST_ANSWERS[connection.state]
        if part == FIRST_PART:
            connection.transitions_at_first_part = connection.transitions
        if connection.transitions != connection.transitions_at_first_part:
            error = CpgError.INTERRUPT
        if error is CpgError.OK:
            source = (self._core.nodeid, client)
            body = PartialMcast(connection.group, connection.pid, source, total, part, payload).encode()
            self._core.multicast(body[:PARTIAL_HEADER_SIZE], payload)
        else:
            text = f"*** {client:#x} can't mcast to group {_shown(connection.group)} state:{connection.state:d}"
            self._core.log(Level.ERROR, "CPG", f"{text}, error:{error:d}")
        return error

    def disconnect(self, client: int) -> None:
        """The connection is gone: closed by the client, or the client died."""
        connection = self.connections.pop(client)
        self._log(f"exit_fn for conn={client:#x}")
        if connection.group and connection.state is not ConnectionState.LEAVE_STARTED:
            self._core.multicast(ProcLeave(connection.group, connection.pid, ConfchgReason.PROCDOWN).encode())

    # ----------------------------------------------------------------------------------------- delivered messages

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """One ordered message; this is where joins, leaves and messages happen."""
        if isinstance(message, CpgMcast):
            self._deliver_mcast(source, message, seq)
        elif isinstance(message, PartialMcast):
            self._log(f"Got fragmented message from node {source}, size = {len(message.fragment)} bytes\n")
            self._deliver_part(source, message, seq)
        elif isinstance(message, ProcJoin):
            self._log(self._got("procjoin", source, message.pid))
            self._proc_join(Process(source, message.pid, message.group))
        elif isinstance(message, ProcLeave):
            self._log(self._got("procleave", source, message.pid))
            self._proc_leave(Process(source, message.pid, message.group), message.reason)
        elif isinstance(message, DownList):
            self._log(f"downlist left_list: {message.left_nodes} received")
        elif isinstance(message, JoinList):
            self._log(f"got joinlist message from node {source}")
            for entry in message.entries:  # corosync puts each in front of those before it
                self._join_lists.insert(0, Process(source, entry.pid, entry.group))

    def _deliver_mcast(self, source: int, message: CpgMcast, seq: int) -> None:
        group = _text(message.group)
        for connection in self._receivers(source, message.group):
            self._core.send_event(CpgDelivered(connection.client, group, source, message.pid, message.payload, seq))

    def _deliver_part(self, source: int, message: PartialMcast, seq: int) -> None:
        what = (message.pid, message.part, message.message_length, message.fragment, seq)
        for connection in self._receivers(source, message.group):
            self._core.send_event(CpgPartDelivered(connection.client, _text(message.group), source, *what))

    def _receivers(self, source: int, group: bytes) -> list[Connection]:
        """Who gets a message of this node to this group: nobody if the node has no process in it."""
        receivers = [connection for connection in self._newest_first() if self._receives(connection, group)]
        if not receivers:
            return []
        for known in self.processes:
            if known.nodeid == source and known.group == group:
                return receivers
        self._core.log(Level.WARNING, "CPG", "Unknown node -> we will not deliver message")
        return []

    def _proc_join(self, process: Process) -> None:
        if self._add(process):
            self._confchg(process.group, joined=[_member(process, ConfchgReason.JOIN)])

    def _proc_leave(self, process: Process, reason: int) -> None:
        self._confchg(process.group, left=[_member(process, _reason(reason))])
        self.processes = [known for known in self.processes if known != process]
        if not self._quirks.join_list_outlives_leave:
            self._join_lists = [listed for listed in self._join_lists if listed != process]

    def _add(self, process: Process) -> bool:
        """Put a process in its place, by node id and pid and behind its equals; False if it is there already."""
        if process in self.processes:
            return False
        place = bisect_right(self.processes, (process.nodeid, process.pid), key=lambda known: (known.nodeid, known.pid))
        self.processes.insert(place, process)
        return True

    def _confchg(self, group: bytes, left: Iterable[CpgMember] = (), joined: Iterable[CpgMember] = ()) -> None:
        """One configuration change event to every connection of the group."""
        left, joined = tuple(left), tuple(joined)
        gone = {(member.nodeid, member.pid) for member in left}
        members = tuple(
            _member(process, ConfchgReason.NONE)
            for process in self.processes
            if process.group == group and (process.nodeid, process.pid) not in gone
        )
        own = {member.pid for member in joined if member.nodeid == self._core.nodeid}
        for connection in self.connections.values():
            if connection.group == group and connection.pid in own:
                connection.state = ConnectionState.JOIN_COMPLETED
        for connection in self._newest_first():
            if self._receives(connection, group):
                connection.transitions += 1
                self._core.send_event(CpgConfchg(connection.client, _text(group), members, left, joined))

    # -------------------------------------------------------------------------------------------------------- sync

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Who of the last activated view did not come along?"""
        self._members = members
        self._left = tuple(node for node in self._activated if node not in transitional)
        self._down_list[: len(self._left)] = self._left

    def sync_process(self) -> bool:
        """Send the downlist, and the processes of this node if there are any."""
        nodeids = tuple(self._down_list)
        self._core.multicast(DownList(len(self._activated), len(self._left), nodeids).encode())
        local = [process for process in self.processes if process.nodeid == self._core.nodeid]
        if local:
            entries = tuple(JoinEntry(process.group, process.pid) for process in local)
            self._core.multicast(JoinList(entries).encode())
        return True

    def sync_activate(self) -> None:
        """Nodes down, then processes that came with other nodes, then processes that vanished meanwhile."""
        self._log(f"my downlist: members(old:{len(self._activated)} left:{len(self._left)})")
        self._activated = self._members
        self._remove_left_nodes()
        self._add_joined_processes()
        self._remove_zombies()
        self._join_lists.clear()

    def sync_abort(self) -> None:
        """Forget the joinlists of the ring that broke."""
        self._join_lists.clear()

    def _remove_left_nodes(self) -> None:
        down = [process for process in self.processes if process.nodeid in self._left]
        self.processes = [process for process in self.processes if process.nodeid not in self._left]
        for group in sorted({process.group for process in down}):
            left = [process for process in down if process.group == group]
            self._log(f"left_list_entries:{len(left)}")
            for index, process in enumerate(left):
                self._log(f"left_list[{index}] {self._described(process)}")
            self._confchg(group, left=[_member(process, ConfchgReason.NODEDOWN) for process in left])

    def _add_joined_processes(self) -> None:
        up: dict[bytes, list[CpgMember]] = {}
        for index, process in enumerate(self._join_lists):
            self._log(f"joinlist_messages[{index}] {self._described(process)}")
            if process.nodeid != self._core.nodeid and self._add(process):
                up.setdefault(process.group, []).append(_member(process, ConfchgReason.NODEUP))
        for group in sorted(up):
            self._confchg(group, joined=up[group])

    def _remove_zombies(self) -> None:
        for process in list(self.processes):
            if process.nodeid != self._core.nodeid and process not in self._join_lists:
                self._proc_leave(process, ConfchgReason.PROCDOWN)

    # ----------------------------------------------------------------------------------------------------- helpers

    def _newest_first(self) -> Iterator[Connection]:
        return reversed(self.connections.values())

    @staticmethod
    def _receives(connection: Connection, group: bytes) -> bool:
        return connection.group == group and connection.state in RECEIVING

    def _got(self, kind: str, source: int, pid: int) -> str:
        return f"got {kind} message from cluster node {source} ({self._core.interfaces(source)}) for pid {pid}"

    def _described(self, process: Process) -> str:
        return f"group:{_shown(process.group)}, ip:{self._core.interfaces(process.nodeid)}, pid:{process.pid}"

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "CPG", text)


def _member(process: Process, reason: ConfchgReason) -> CpgMember:
    return CpgMember(process.nodeid, process.pid, reason)


def _text(group: bytes) -> str:
    """A group name in an event: without the final NUL that pmxcfs counts as part of its names."""
    return group.rstrip(b"\0").decode("latin-1")


def _reason(value: int) -> ConfchgReason:
    """A reason from the wire; corosync passes on whatever it gets, no client knows any other."""
    return ConfchgReason(value) if value in REASONS else ConfchgReason.NONE


def _shown(group: bytes) -> str:
    """A group name in a log line (``cpg.c: cpg_print_group_name``)."""
    return "".join("\\\\" if byte == 0x5C else chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02X}" for byte in group)
