"""All keys and all signs on one screen of 80 columns; made from the table of keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from totemviz.tui.keys import DO, KEYS, LOOK, PROGRAM, TIME
from totemviz.tui.paint import (
    BLOCKED_MARK,
    DOWN_MARK,
    GATHER_MARK,
    OPERATIONAL_MARK,
    TOKEN_MARK,
    fit,
)

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
MOUSE = "Click a node to choose it, an event to go there; drag the ● on the time bar. Shift + drag selects text."


def _key_lines(group: str) -> list[str]:
    return [group, *(f"  {fit(key.shown, 6)}{key.help}" for key in KEYS if key.group == group), ""]


def help_text() -> str:
    """The whole page, two columns."""
    left = [*_key_lines(TIME), *_key_lines(DO)]
    right = [*_key_lines(LOOK), *_key_lines(PROGRAM)]
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
    first, second = MOUSE[: MOUSE.index("Shift")], MOUSE[MOUSE.index("Shift") :]
    return "\n".join([*rows, "", first.strip(), second])


class HelpScreen(ModalScreen[None]):
    """Any of the leaving keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter,space", "leave", "close", show=False)
    ]

    def compose(self) -> ComposeResult:  # noqa: D102
        with VerticalScroll(classes="box") as box:
            box.border_title = "keys and signs"
            box.border_subtitle = "↑ ↓ scroll · esc close"
            yield Static(Content(help_text()))

    def action_leave(self) -> None:
        """Back to the cockpit."""
        self.dismiss(None)
