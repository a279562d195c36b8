"""One panel as large as the screen allows: everything beside it is put aside, header, time bar and keys stay."""

from __future__ import annotations

from textual.screen import Screen
from textual.widget import Widget

ONE, ALONE, ASIDE = "-one", "-alone", "-aside"
"""Classes: of a screen that shows one panel; of that panel and what contains it; of all that is put aside."""


def maximise(screen: Screen[object], panel: Widget, top: Widget) -> None:
    """Show only ``panel`` of all that ``top`` contains."""
    restore(screen)
    screen.add_class(ONE)
    inner: Widget = panel
    while inner is not top:
        inner.add_class(ALONE)
        outer = inner.parent
        assert isinstance(outer, Widget)
        for other in outer.children:
            if other is not inner:
                other.add_class(ASIDE)
        inner = outer


def restore(screen: Screen[object]) -> bool:
    """Show everything again; False if everything was shown."""
    if not screen.has_class(ONE):
        return False
    screen.remove_class(ONE)
    for name in (ALONE, ASIDE):
        for widget in screen.query(f".{name}"):
            widget.remove_class(name)
    return True
