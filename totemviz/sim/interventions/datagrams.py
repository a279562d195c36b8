"""What can happen to single datagrams."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention


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
