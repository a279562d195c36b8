"""What a service engine sees of its daemon, and what the sync service sees of a service engine."""

from __future__ import annotations

from typing import Protocol

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgPartDelivered, Output
from totemviz.corosync.wire import ServiceMessage
from totemviz.totem.effects import Level, RingId


class Core(Protocol):
    """The daemon as its services use it; everything they cause comes out in the order of these calls."""

    nodeid: int

    def multicast(self, *parts: bytes) -> None:
        """Queue a message of group ``a`` for all members, this node included; one message, in one or more parts."""

    def multicast_sync(self, body: bytes) -> None:
        """The same for group ``sync``."""

    def emit(self, output: Output) -> None:
        """Tell the world."""

    def send_event(self, event: CpgConfchg | CpgDelivered | CpgPartDelivered) -> None:
        """Tell a client, through its connection."""

    def log(self, level: Level, subsystem: str, text: str) -> None:
        """Write one line of the log."""

    def set_timer(self, timer: str, delay_ms: int) -> None:
        """Start, or restart, a timer of a service."""

    def cancel_timer(self, timer: str) -> None:
        """Stop a timer of a service."""

    def interfaces(self, nodeid: int) -> str:
        """Addresses of a node as corosync prints them: ``r(0) ip(192.0.2.1) `` and so on, for every link."""

    def exit(self, reason: str) -> None:
        """Shut the daemon down after the current step."""


class Service(Protocol):
    """A service that has messages of its own."""

    service_id: int

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """An ordered message of this service from node ``source``; ``seq`` is the ring's number of its packet."""


class SyncService(Service, Protocol):
    """A service that takes part in sync; called in the order of ``service_id`` (sheet §8.2)."""

    name: str

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """A new ring: ``transitional`` are the members that came along from this node's old ring."""

    def sync_process(self) -> bool:
        """Send what the others must know; False asks for another call after the next token."""

    def sync_activate(self) -> None:
        """Every member has passed this service's barrier: the new view counts."""

    def sync_abort(self) -> None:
        """The ring broke before activation."""
