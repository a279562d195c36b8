"""The tour: six stops for somebody who sees the cockpit for the first time. It can be left at any moment.

The panel a stop is about is lit, and the box keeps away from it. What a stop says is data; the keys it names are those
of the present key map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from totemviz.tui.keys import Key

LIT = "-toured"
SEEN_FILE = "tour-seen"


class Stop(NamedTuple):
    """One stop: the panels it may be about (the first in sight is lit), its title and its text."""

    selectors: tuple[str, ...]
    title: str
    text: str


STOPS = (
    Stop(
        ("#ring", "#strip"),
        "The ring",
        "Every node of a Proxmox VE cluster runs corosync, and these form a ring. One token goes round: ◆ is where it "
        "is. Only the node that has the token may send; so all nodes get all messages in one and the same order. That "
        "is why /etc/pve is the same everywhere.",
    ),
    Stop(
        ("#stages",),
        "A visit of the token",
        "When the token comes, a node does four things: take it, send again what others missed, send its own messages, "
        "pass the token on. {stage.next} goes one such step forward, {stage.back} one back. Time stands still until "
        "you press something; what a step changed is lit.",
    ),
    Stop(
        ("#writes",),
        "A write to /etc/pve",
        "{write} writes a file on a node. Follow it here: from the program through FUSE into a message, in the order "
        "of the ring, to every node, into its tree and onto its disk.",
    ),
    Stop(
        ("#scrubber",),
        "Time",
        "This bar is the whole run, ● is now. {play} lets time run, {slower} and {faster} set how fast. Drag the ●, or "
        "go back as far as you like: nothing is lost. If you change the past, that opens a branch.",
    ),
    Stop(
        ("#nodes",),
        "Break something",
        "{fault} stalls a disk, kills a node, cuts a link, drops a token. Then let time run and watch. Every event can "
        "be asked why it happened: {tab.why}. The answer is a chain of causes, back to what you did.",
    ),
    Stop(
        ("#footer",),
        "Where to go from here",
        "{help} lists all keys, {palette} finds everything by its name. A lesson with tasks: totemviz lesson domino. "
        "Your own cluster: totemviz run --conf /etc/pve/corosync.conf, or totemviz replay with a capture of it.",
    ),
)


class Tour(ModalScreen[None]):
    """A box over the cockpit, one stop at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,enter,space,l,n", "go(1)", "next", show=False),
        Binding("left,h,p", "go(-1)", "back", show=False),
        Binding("escape,q,question_mark", "leave", "leave", show=False),
    ]

    def __init__(self, keys: Mapping[str, Key]) -> None:
        super().__init__()
        self.stop = 0
        self._shown = {key_id: key.shown for key_id, key in keys.items()}

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box"):
            yield Static(id="tour-text")

    def on_mount(self) -> None:
        """The first stop."""
        self.action_go(0)

    def action_go(self, steps: int) -> None:
        """To another stop; past the last one the tour is over."""
        self._darken()
        if self.stop + steps >= len(STOPS):
            self.dismiss(None)
            return
        self.stop = max(0, self.stop + steps)
        stop = STOPS[self.stop]
        box = self.query_one(".box")
        box.border_title = f"{self.stop + 1} of {len(STOPS)} · {stop.title}"
        last = self.stop == len(STOPS) - 1
        box.border_subtitle = f"→ {'done' if last else 'next'} · ← back · esc leave"
        self.query_one("#tour-text", Static).update(Content(self.words(stop)))
        target = self._target(stop)
        if target is not None:
            target.add_class(LIT)
            middle = target.region.y + target.region.height / 2
            self.set_class(middle < self.app.size.height / 2, "-below")

    def words(self, stop: Stop) -> str:
        """The text with the keys put in."""
        text = stop.text
        for key_id, shown in self._shown.items():
            text = text.replace(f"{{{key_id}}}", shown)
        return text

    def action_leave(self) -> None:
        """Back to the cockpit."""
        self._darken()
        self.dismiss(None)

    def on_click(self, _event: events.Click) -> None:
        """A click is a step."""
        self.action_go(1)

    def _target(self, stop: Stop) -> Widget | None:
        cockpit = self.app.screen_stack[0]
        for selector in stop.selectors:
            try:
                widget = cockpit.query_one(selector)
            except NoMatches:
                continue
            if widget.region.area:
                return widget
        return None

    def _darken(self) -> None:
        for widget in self.app.screen_stack[0].query(f".{LIT}"):
            widget.remove_class(LIT)
