"""The tabs: one page of several at a time, by number or click."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Input

from totemviz.trace.words import grouped
from totemviz.tui.bytes import BytesPanel
from totemviz.tui.code import CodePanel
from totemviz.tui.eventlist import EventList
from totemviz.tui.files import FilesPanel
from totemviz.tui.inspector import Inspector
from totemviz.tui.log import LogList
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, FAINT, HEAD, NOW, Drawing, Hit, Line, line_width
from totemviz.tui.panel import Panel
from totemviz.tui.spacetime import SpaceTime
from totemviz.tui.why import WhyPanel

PAGES: dict[str, type[Panel]] = {
    "space-time": SpaceTime,
    "events": EventList,
    "log": LogList,
    "bytes": BytesPanel,
    "code": CodePanel,
    "why": WhyPanel,
    "files": FilesPanel,
    "node": Inspector,
}
FIRST = "space-time"
PINNED = "code"
BROAD, BROAD_CLASS = ("why",), "-broad"
"""Pages that take the room of the pinned one beside them; the class of a screen where one does."""

ELSEWHERE_WHEN_WIDE = (FIRST, PINNED)


class TabBar(Panel):
    """``1 events  2 log  3 bytes …``, the open one marked."""

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, page: str) -> None:
            super().__init__()
            self.page = page

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.page = FIRST
        self.filter_words = ""
        self.wide = False

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        line: Line = [("─", FAINT)]
        hits: list[Hit] = []
        for number, page in enumerate(PAGES, start=1):
            if self.wide and page in ELSEWHERE_WHEN_WIDE:
                continue
            text = f" {number} {page} "
            hits.append(Hit(line_width(line), 0, len(text), "page", number - 1))
            line.append((text, NOW if page == self.page else HEAD))
            line.append(("─", FAINT))
        note = f" only: {self.filter_words} (esc: all) " if self.filter_words else ""
        note = note or f" event {grouped(moment.position + 1)} of {grouped(len(moment.timeline))} "
        rest = width - line_width(line) - len(note) - 1
        if rest > 0:
            line += [("─" * rest, FAINT), (note, DIM), ("─", FAINT)]
        return Drawing([line], tuple(hits))

    def was_hit(self, hit: Hit) -> None:
        """Open the page under the mouse."""
        self.post_message(self.Chosen([*PAGES][hit.value]))


class Tabs(Vertical):
    """The bar and the pages."""

    def compose(self) -> ComposeResult:  # noqa: D102
        yield TabBar(id="bar")
        yield Input(placeholder="kind, word or node letter; enter keeps it, esc shows all", id="filter", compact=True)
        with ContentSwitcher(initial=f"page-{FIRST}", id="pages"):
            for page, panel in PAGES.items():
                yield panel(id=f"page-{page}")

    @property
    def page(self) -> str:
        """The open page."""
        return self.query_one(TabBar).page

    def set_wide(self, wide: bool) -> None:
        """In the widest layout some pages are always in sight, so the tabs offer the rest."""
        bar = self.query_one(TabBar)
        if bar.wide != wide:
            bar.wide = wide
            if wide and bar.page in ELSEWHERE_WHEN_WIDE:
                self.open("log")
            elif not wide:
                self.open(FIRST)
            bar.redraw()

    def open(self, page: str) -> Widget:
        """Show a page; returns it."""
        bar = self.query_one(TabBar)
        bar.page = page
        bar.redraw()
        self.screen.set_class(page in BROAD, BROAD_CLASS)
        self.query_one(ContentSwitcher).current = f"page-{page}"
        return self.query_one(f"#page-{page}")
