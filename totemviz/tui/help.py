"""All keys and all signs on one page of 80 columns, made from the table of keys; first, the panel in focus."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from totemviz.tui.keys import DO, LOOK, PROGRAM, TIME, Key
from totemviz.tui.paint import (
    BLOCKED_MARK,
    DOWN_MARK,
    GATHER_MARK,
    OPERATIONAL_MARK,
    TOKEN_MARK,
    fit,
)
from totemviz.tui.panel import Panel

COLUMN = 36
SIGNS = (
    (TOKEN_MARK, "the token is here"),
    (OPERATIONAL_MARK, "operational: in a ring"),
    (GATHER_MARK, "looks for members, joins or starts"),
    (BLOCKED_MARK, "blocked, waits for its disk"),
    (DOWN_MARK, "down, or lost on the way"),
    ("╳", "a cut link"),
    ("▲", "you did something"),
    ("╂", "a new ring"),
    ("· ✓", "not yet, done"),
    ("?", "a recording does not show it"),
)
MOUSE = (
    "Click a node to choose it (with ctrl: to mark it), an event to go there,",
    "a link of the ring for its loss and delay; drag the ● on the time bar.",
    "Right button: what can be done to a node. Shift + drag selects text.",
)


_SPACE_TIME = (
    "Time runs downwards, a column per node: slanted lines are messages, grounds are states. ↑ ↓ look around without "
    "moving in time, enter goes there."
)
_CODE = (
    "Our function that said what the event says, its lines lit, with its name in corosync or pmxcfs; under it what the "
    "state table calls. ↑ ↓ scroll."
)
ABOUT = {
    "ring": "Who is in which ring, and where the token is. Nodes that cannot hear each other stand in rings of their "
    "own. Click a node to choose it.",
    "stages": "The latest visit of the token at a node, in four stages. What the last step changed is lit, old → new.",
    "writes": "Every write to /etc/pve, oldest unfinished first: how far it has come on every node. durable: it would "
    "survive a power cut there.",
    "nodes": "A line per node: state, how far it has all messages (aru) of those it knows (seq), how long until its "
    "token timer runs out, what pmxcfs and the disk do, votes, the version of its /etc/pve. Click one to choose it.",
    "side": _SPACE_TIME,
    "pinned": _CODE,
    "page-space-time": _SPACE_TIME,
    "page-events": "Every event, one a line. ↑ ↓ look around without moving in time, enter goes there, / filters.",
    "page-log": "What corosync and pmxcfs write to their logs; of the chosen node, if one is chosen. Under it: "
    "what the line looked at means, and which function prints it.",
    "page-bytes": "The datagram of the event, byte by byte, with the names of its fields.",
    "page-code": _CODE,
    "page-why": "The causes of the event at the cursor, the first cause at the bottom.",
    "page-files": "/etc/pve of the chosen node as its pmxcfs has it, compared with another node: ≠ differs, + only "
    "here, − only there; on the right what the entry holds or how it differs.",
    "page-node": "Everything about the chosen node.",
}
"""What each panel is about, by its id: said first on the help page when that panel has the focus."""


def _key_lines(keys: tuple[Key, ...], group: str) -> list[str]:
    return [group, *(f"  {fit(key.shown, 6)}{key.help}" for key in keys if key.group == group), ""]


def about(panel: Panel) -> str:
    """What a panel is about, and the keys that work only in it."""
    own = [binding for _, binding in panel._bindings if binding.description]
    lines = [ABOUT.get(panel.id or "", "")]
    lines += [f"  {fit(binding.key.split(',')[0], 10)}{binding.description}" for binding in own]
    return "\n".join(line for line in lines if line)


def help_text(keys: tuple[Key, ...]) -> str:
    """All keys and signs, two columns."""
    left = [*_key_lines(keys, TIME), *_key_lines(keys, DO)]
    right = [*_key_lines(keys, LOOK), *_key_lines(keys, PROGRAM)]
    signs = [f"  {fit(sign, 6)}{words}" for sign, words in SIGNS]
    while len(left) < len(right):
        left.append("")
    while len(right) < len(left):
        right.append("")
    rows = [f"{fit(a, COLUMN)} {fit(b, COLUMN)}".rstrip() for a, b in zip(left, right, strict=True)]
    half = (len(signs) + 1) // 2
    rows.append("Signs")
    for index in range(half):
        second = signs[half + index] if half + index < len(signs) else ""
        rows.append(f"{fit(signs[index], COLUMN)} {fit(second, COLUMN)}".rstrip())
    return "\n".join([*rows, "", *MOUSE])


class HelpScreen(ModalScreen[None]):
    """Any of the leaving keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter,space", "leave", "close", show=False)
    ]

    def __init__(self, keys: tuple[Key, ...], panel: Panel | None = None) -> None:
        super().__init__()
        self._keys = keys
        self._panel = panel

    def compose(self) -> ComposeResult:  # noqa: D102
        with VerticalScroll(classes="box") as box:
            box.border_title = "keys and signs"
            box.border_subtitle = "↑ ↓ scroll · esc close"
            if self._panel is not None and (words := about(self._panel)):
                yield Static(Content(words), id="about")
            yield Static(Content(help_text(self._keys)))

    def action_leave(self) -> None:
        """Back to the cockpit."""
        self.dismiss(None)
