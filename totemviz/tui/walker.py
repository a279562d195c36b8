"""Panels that show the nodes: with the focus, up and down walk over them, and space marks the one walked to."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from totemviz.tui.moment import Moment
from totemviz.tui.panel import Panel


class NodeWalker(Panel):
    """Space marks only after a walk: until then, and whenever time runs, it lets time run or stops it as elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "walk(-1)", "the node before", show=False),
        Binding("down,j", "walk(1)", "the next node", show=False),
        Binding("space", "mark", "mark the node, or let it go", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.walked = False

    def subtitle(self, moment: Moment) -> str:  # noqa: D102
        if self.has_focus and moment.session.can_intervene:
            return "↑ ↓ node · space marks · P splits off" if self.walked else "↑ ↓ node"
        return ""

    async def action_walk(self, step: int) -> None:
        """The next node, or the one before."""
        self.walked = True
        await self.app.run_action(f"node({step})")

    async def action_mark(self) -> None:
        """Mark the node walked to."""
        marks = self.walked and self.moment is not None and not self.moment.playing
        await self.app.run_action("mark" if marks else "play")

    def on_focus(self) -> None:
        """Its keys are told."""
        self.redraw()

    def on_blur(self) -> None:
        """A walk ends with the focus."""
        self.walked = False
        self.redraw()
