"""The ring as the daemon uses it, so that the daemon does not depend on how the ring is made."""

from __future__ import annotations

from typing import Protocol

from totemviz.totem import effects as totem
from totemviz.totem.config import TotemConfig
from totemviz.totem.effects import RingId


class RingMachine(Protocol):
    """The ring as the daemon uses it (``totemviz.totem.ring.Ring``)."""

    @property
    def ring_id(self) -> RingId:
        """The ring this node is in, or tries to form."""

    @property
    def send_queue_free(self) -> int:
        """Slots that new messages may still take."""

    @property
    def send_queue_size(self) -> int:
        """All slots."""

    def start(self, now_ns: int) -> list[totem.Output]:
        """Begin."""

    def receive(self, now_ns: int, datagram: bytes) -> list[totem.Output]:
        """A datagram arrived."""

    def expire(self, now_ns: int, timer: str) -> list[totem.Output]:
        """A timer expired."""

    def submit(self, now_ns: int, *parts: bytes) -> list[totem.Output]:
        """Send a message, given as a gather list, group address first; OverflowError if there is no room."""

    def leave(self, now_ns: int) -> list[totem.Output]:
        """Say good-bye."""

    def reconfigure(self, config: TotemConfig) -> None:
        """Take other timeouts and limits."""

    def trans_ack(self) -> None:
        """Ordinary messages may flow again."""


class PacketReassembler(Protocol):
    """totempg's receiving half as the daemon uses it (``totemviz.totem.pg.Reassembler``)."""

    waiting_trans_ack: bool

    def receive(self, source: int, payload: bytes, swapped: bool) -> list[bytes]:
        """Messages that one packet completes."""

    def configuration_changed(self, left: tuple[int, ...]) -> None:
        """Forget half messages of nodes that left."""
