"""The daemon's side of IPC: who is connected, whether senders must wait, and the backlogs behind readers.

The main thread never waits for a client. What can hold a *sender* up is decided here; a *reader* that does not read
makes its connection's backlog grow, and nothing else (sheet §1.5, §1.6).

Source: ``ipc_glue.c``, ``main.c: corosync_sending_allowed``, ``totempg.c: check_q_level``.
"""

from __future__ import annotations

from typing import Protocol

from totemviz.corosync.effects import (
    CpgConfchg,
    CpgDelivered,
    CpgPartDelivered,
    IpcBacklog,
    QueueLevelChanged,
    WakeClient,
)
from totemviz.corosync.ipc import (
    FLUSH_MS,
    FLUSH_TIMER,
    RECHECK_MS,
    RECHECK_TIMER,
    REQUESTS_PER_EVENT,
    Connection,
    FlowControl,
    QueueLevel,
)
from totemviz.corosync.service import Core
from totemviz.totem.config import MS
from totemviz.totem.effects import Level

CONFCHG_EVENT_SIZE = 184
MEMBER_SIZE = 24
DELIVER_EVENT_SIZE = 184
PART_EVENT_SIZE = 200


class SendQueue(Protocol):
    """The ring's send queue."""

    @property
    def send_queue_free(self) -> int:
        """Slots that new messages may still take."""

    @property
    def send_queue_size(self) -> int:
        """All slots."""


class IpcServer:
    """All CPG connections of one daemon."""

    def __init__(self, core: Core, queue: SendQueue, net_mtu: int) -> None:
        self._core = core
        self._queue = queue
        self.flow = FlowControl(net_mtu)
        self.connections: dict[int, Connection] = {}
        self._in_sync = True
        self.flush_waits = False
        """Is there a backlog, and so a job that every pass of the main loop runs?"""
        self._backlogged: dict[int, Connection] = {}
        self._told: dict[int, int] = {}
        self._told_ns = 0

    # --------------------------------------------------------------------------------------------------- connections

    def connect(self, client: int) -> Connection:
        """A client was let in."""
        connection = Connection(client)
        connection.stopped = self.senders_wait
        self.connections[client] = connection
        return connection

    def disconnect(self, client: int) -> None:
        """The client is gone, and with it what waited for it."""
        self.connections.pop(client, None)
        if self._told.pop(client, 0):
            self._core.emit(IpcBacklog(client, 0, 0, 0))
        if self._backlogged.pop(client, None) is not None and not self._backlogged:
            self.flush_waits = False
            self._core.cancel_timer(FLUSH_TIMER)

    # ------------------------------------------------------------------------------------------------------- senders

    @property
    def senders_wait(self) -> bool:
        """Is flow control on? (``ipc_glue.c: cs_ipcs_check_for_flow_control``)"""
        return self._in_sync or self.flow.level is QueueLevel.CRITICAL

    @property
    def requests_per_event(self) -> int:
        """How many requests of a connection are read at a time."""
        return REQUESTS_PER_EVENT[self.flow.level]

    def sync_changed(self, in_sync: bool) -> None:
        """A sync began, or is complete."""
        self._in_sync = in_sync
        self._tell_senders()

    def reserve(self, size: int) -> bool:
        """Set slots aside for a request while it is handled; False if there is no room. Moves the level."""
        reserved = self.flow.slots(size) if self.flow.has_room(size, self._queue.send_queue_free) else 0
        self.check_level(reserved)
        return reserved > 0

    def check_level(self, reserved: int = 0) -> QueueLevel:
        """Look at the send queue; the level it has now."""
        flow, before = self.flow, self.flow.level
        level = flow.check(self._queue.send_queue_free, self._queue.send_queue_size, reserved)
        if level is not before:
            self._core.emit(QueueLevelChanged(level.name, flow.percent))
            self._tell_senders()
            if level is QueueLevel.CRITICAL:
                self._core.set_timer(RECHECK_TIMER, RECHECK_MS)
        return level

    def recheck_level(self) -> None:
        """The timer that runs while the queue is CRITICAL."""
        if self.flow.level is QueueLevel.CRITICAL and self.check_level() is QueueLevel.CRITICAL:
            self._core.set_timer(RECHECK_TIMER, RECHECK_MS)

    def _tell_senders(self) -> None:
        wait = self.senders_wait
        for connection in self.connections.values():
            connection.stopped = wait

    # ------------------------------------------------------------------------------------------------------- readers

    def put_event(self, event: CpgConfchg | CpgDelivered | CpgPartDelivered) -> None:
        """Hand an event to its client; never waits."""
        connection = self.connections.get(event.client)
        if connection is None:
            return
        waited = connection.queuing
        connection.put_event(event_size(event))
        if connection.queuing and not waited:
            if not self._backlogged:
                self._core.set_timer(FLUSH_TIMER, FLUSH_MS)
            self._backlogged[event.client] = connection
            self.flush_waits = True
            self._tell_backlog(connection)

    def flush(self, now_ns: int) -> None:
        """The job of one pass of the main loop: move what fits from the heap into the rings."""
        tell = now_ns - self._told_ns >= FLUSH_MS * MS
        if tell:
            self._told_ns = now_ns
        for client, connection in list(self._backlogged.items()):
            moved = connection.flush()
            if moved:
                self._core.emit(WakeClient(client))
            if not connection.queuing:
                del self._backlogged[client]
                self._core.log(Level.INFO, "MAIN", f"Q empty, queued:0 sent:{connection.sent}.")
            if tell or not connection.queuing:
                self._tell_backlog(connection)
        if self._backlogged:
            self._core.set_timer(FLUSH_TIMER, FLUSH_MS)
        else:
            self.flush_waits = False
            self._core.cancel_timer(FLUSH_TIMER)

    def _tell_backlog(self, connection: Connection) -> None:
        client, queued = connection.client, connection.queued
        if self._told.get(client) != queued:
            self._told[client] = queued
            self._core.emit(IpcBacklog(client, queued, connection.queue_bytes, connection.events.used_bytes))


def event_size(event: CpgConfchg | CpgDelivered | CpgPartDelivered) -> int:
    """Bytes of an event in the ring (sheet §3.8)."""
    if isinstance(event, CpgDelivered):
        return DELIVER_EVENT_SIZE + len(event.payload)
    if isinstance(event, CpgPartDelivered):
        return PART_EVENT_SIZE + len(event.fragment)
    return CONFCHG_EVENT_SIZE + MEMBER_SIZE * (len(event.members) + len(event.left) + len(event.joined))
