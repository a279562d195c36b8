"""The sync service: after a membership change, every service catches up, one after the other (sheet §8.2).

    start ── service build from all ──► process(k) ── barrier from all ──► activate(k) ──► process(k+1) … completed
                                         ▲   │ not done: again after the next token
                                         └───┘

A barrier carries the ring id and nothing else: which service it means follows from its place in the total order.
Source: ``sync.c``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from totemviz.corosync.quirks import Quirks
from totemviz.corosync.service import Core, SyncService
from totemviz.corosync.wire import Barrier, ServiceBuild, SyncMessage
from totemviz.totem.effects import Level, RingId

NO_RING = RingId(0, 0)


class SyncState(StrEnum):
    """Where the machine stands with the current service."""

    BUILD = "service build"
    PROCESS = "process"
    BARRIER = "barrier"


class Sync:
    """Runs the services' sync callbacks; ``completed`` is called when the last one is active."""

    def __init__(
        self,
        core: Core,
        services: Sequence[SyncService],
        completed: Callable[[], None],
        quirks: Quirks | None = None,
    ) -> None:
        self._core = core
        self._quirks = quirks or Quirks()
        self._local = {service.service_id: service for service in services}
        self._completed = completed
        self._transitional: tuple[int, ...] = ()
        self._waiting: set[int] = set()
        self._service_ids: list[int] = []
        self._index = 0
        self.state = SyncState.BARRIER
        self.ring_id = NO_RING
        self.members: tuple[int, ...] = ()

    @property
    def work_waiting(self) -> bool:
        """True while a unit of work waits for the next token to leave."""
        return self.state is SyncState.PROCESS

    def save_transitional(self, members: tuple[int, ...]) -> None:
        """A transitional configuration was announced."""
        self._transitional = members

    def start(self, members: tuple[int, ...], ring_id: RingId) -> None:
        """A regular configuration was announced: begin, inside its callback."""
        self.ring_id = ring_id
        self.members = members
        self.state = SyncState.BUILD
        self._waiting = set(members)
        self._service_ids = sorted(self._local)
        self._index = 0
        self._core.multicast_sync(ServiceBuild(ring_id, tuple(self._service_ids)).encode())
        self._log("call init for locally known services")
        self._transitional = tuple(node for node in self._transitional if node in members)
        for service_id in self._service_ids:
            self._local[service_id].sync_init(self._transitional, members, ring_id)

    def abort(self) -> None:
        """The ring broke: stop, and take no notice of what still arrives for it.

        A service hears of it only if it was its turn to send (``Quirks.barrier_abort_keeps_joinlists``).
        """
        at_work = self.state is SyncState.PROCESS
        if not self._quirks.barrier_abort_keeps_joinlists:
            at_work = self.state is not SyncState.BUILD and self._index < len(self._service_ids)
        if at_work:
            service = self._local.get(self._service_ids[self._index])
            if service is not None:
                service.sync_abort()
        if self.state is SyncState.PROCESS:
            self.state = SyncState.BARRIER
        self.ring_id = NO_RING

    def deliver(self, source: int, message: SyncMessage) -> None:
        """An ordered message of group ``sync``."""
        if isinstance(message, Barrier):
            self._barrier(source, message)
        elif isinstance(message, ServiceBuild):
            self._service_build(source, message)

    def token_sent(self) -> None:
        """The unit of work that waits for a token to leave: the current service's turn to send."""
        if self.state is not SyncState.PROCESS:
            return
        service = self._local.get(self._service_ids[self._index])
        if service is None or service.sync_process():
            self.state = SyncState.BARRIER
            self._core.multicast_sync(Barrier(self.ring_id).encode())

    def _service_build(self, source: int, message: ServiceBuild) -> None:
        if message.ring_id != self.ring_id:
            self._log("service build for old ring - discarding")
            return
        self._service_ids = sorted({*self._service_ids, *message.services})
        self._waiting.discard(source)
        if not self._waiting:
            self._log("enter sync process")
            self._enter_process()

    def _barrier(self, source: int, message: Barrier) -> None:
        if message.ring_id != self.ring_id:
            self._log("barrier for old ring - discarding")
            return
        if self._index == len(self._service_ids):
            # Only a ring that mixed up two rings' messages brings a barrier after the last one. corosync would look
            # past the end of its list and call what is not there (sync.c: sync_barrier_handler).
            return
        self._waiting.discard(source)
        if self._waiting:
            return
        service_id = self._service_ids[self._index]
        service = self._local.get(service_id)
        name = service.name if service else f"Unknown External Service (id = {service_id})\n"
        self._log(f"Committing synchronization for {name}")
        if service is not None:
            service.sync_activate()
        self._index += 1
        if self._index == len(self._service_ids):
            self._completed()
        else:
            self._enter_process()

    def _enter_process(self) -> None:
        self.state = SyncState.PROCESS
        self._waiting = set(self.members)

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "SYNC", text)
