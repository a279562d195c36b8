"""What can happen to single datagrams."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class Tamper(Intervention, frozen=True, kw_only=True):
    """Base of what is done to one datagram in flight: the one that was sent by the event ``sent``, to ``target``.

    ``target`` 0: every copy of it that is still on its way. A copy that has arrived is out of reach.
    """

    sent: int
    target: int = 0

    def _told(self, done: str) -> str:
        to = f" to node {self.target}" if self.target else ""
        return f"{done} the datagram of event {self.sent}{to}"


class DropDatagram(Tamper, frozen=True, kw_only=True, tag="drop_datagram"):
    """It is lost."""

    @property
    def text(self) -> str:  # noqa: D102
        return self._told("drop")


class DelayDatagram(Tamper, frozen=True, kw_only=True, tag="delay_datagram"):
    """It takes ``duration`` longer; what is sent later may overtake it."""

    duration: Duration

    @property
    def text(self) -> str:  # noqa: D102
        return self._told(f"delay by {self.duration}")


class DuplicateDatagram(Tamper, frozen=True, kw_only=True, tag="duplicate_datagram"):
    """It arrives twice, the second time ``duration`` after the first."""

    duration: Duration = Duration(50_000)

    @property
    def text(self) -> str:  # noqa: D102
        return self._told("duplicate")


class HoldDatagram(Tamper, frozen=True, kw_only=True, tag="hold_datagram"):
    """The next datagram from the same node to the same node overtakes it; until then it is held."""

    @property
    def text(self) -> str:  # noqa: D102
        return self._told("let the next one overtake")


class DeliverLost(Tamper, frozen=True, kw_only=True, tag="deliver_lost"):
    """A copy that the dice of a lossy link have lost at this very moment arrives after all; all other dice stay."""

    @property
    def text(self) -> str:  # noqa: D102
        return self._told("do not lose")


class DropToken(Intervention, frozen=True, kw_only=True, tag="drop_token"):
    """The next ``count`` tokens sent are lost on the wire."""

    count: int = 1

    @property
    def text(self) -> str:  # noqa: D102
        return "drop the next token" if self.count == 1 else f"drop the next {self.count} tokens"


class DropMessage(Intervention, frozen=True, kw_only=True, tag="drop_message"):
    """The next multicast message is lost on its way to ``target`` (0: to everybody else)."""

    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        return f"drop the next message to {f'node {self.target}' if self.target else 'everybody'}"
