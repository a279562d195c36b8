"""What changed since the previous cursor position: the only thing a step may light up."""

from __future__ import annotations

from totemviz.tui.paint import CHANGED, PLAIN, Line


class Lit:
    """Remembers the words a panel drew, by name, at this cursor position and at the one before.

    ``begin`` opens a drawing. Drawing the same position again (a resize, a running clock) compares with the same
    past, so the light stays until the next step. ``quiet`` (playing, jumps) lights nothing.
    """

    def __init__(self) -> None:
        self._position: int | None = None
        self._before: dict[str, str] = {}
        self._now: dict[str, str] = {}
        self._quiet = True

    def begin(self, position: int, quiet: bool = False) -> None:
        """A drawing of the view at ``position`` starts."""
        if position != self._position:
            self._before, self._now = self._now, {}
            self._position = position
            self._quiet = quiet

    def changed(self, name: str, text: str) -> str | None:
        """Note what is drawn under ``name``; the previous text if it was another, else None."""
        self._now[name] = text
        if self._quiet:
            return None
        before = self._before.get(name)
        return before if before is not None and before != text else None

    def span(self, name: str, text: str, role: str = PLAIN) -> tuple[str, str]:
        """The text, lit if it changed."""
        return (text, CHANGED if self.changed(name, text) is not None else role)

    def arrow(self, name: str, text: str, role: str = PLAIN) -> Line:
        """``old → new`` for one step, then only the new text."""
        before = self.changed(name, text)
        if before is None:
            return [(text, role)]
        return [(f"{before} → {text}", CHANGED)]
