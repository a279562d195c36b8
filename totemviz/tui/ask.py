"""Small dialogs: one line that is checked while it is entered, a list to choose from, a table to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

LEAVE: list[BindingType] = [Binding("escape", "leave", "leave", show=False)]


class Ask(ModalScreen[str | None]):
    """One line. ``check`` says in words why it cannot be taken, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = LEAVE

    def __init__(self, title: str, hint: str, value: str, check: Callable[[str], str]) -> None:
        super().__init__()
        self._title, self._hint, self._value, self._check = title, hint, value, check

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title = self._title
            box.border_subtitle = "enter · esc leave"
            yield Label(Content(self._hint))
            yield Input(self._value, id="line", compact=True)
            yield Label("", id="mistake")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, or say why not."""
        event.stop()
        wrong = self._check(event.value)
        if wrong:
            self.query_one("#mistake", Label).update(Content(wrong))
        else:
            self.dismiss(event.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        """What is typed here is nobody else's business."""
        event.stop()

    def action_leave(self) -> None:
        """Nothing."""
        self.dismiss(None)


class Menu(ModalScreen[tuple[str, str] | None]):
    """A list of (id, text). Gives (key, id): the key is ``enter`` or one of ``keys``."""

    BINDINGS: ClassVar[list[BindingType]] = LEAVE

    def __init__(self, title: str, options: Sequence[tuple[str, str]], keys: Mapping[str, str], at: int = 0) -> None:
        super().__init__()
        self._title, self._options, self._keys, self._at = title, options, keys, at

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title = self._title
            box.border_subtitle = " · ".join([*(f"{key} {what}" for key, what in self._keys.items()), "esc leave"])
            yield OptionList(*(Option(Content(text), id=name) for name, text in self._options), compact=True)

    def on_mount(self) -> None:
        """Choose at once."""
        options = self.query_one(OptionList)
        options.focus()
        if self._options:
            options.highlighted = min(self._at, len(self._options) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        event.stop()
        self.dismiss(("enter", event.option.id or ""))

    def on_key(self, event: events.Key) -> None:
        """One of the keys; the screen below must not take it for one of its own."""
        key = event.key
        options = self.query_one(OptionList)
        if key in self._keys and key != "enter" and options.highlighted is not None:
            event.stop()
            self.dismiss((key, options.get_option_at_index(options.highlighted).id or ""))

    def action_leave(self) -> None:
        """Nothing."""
        self.dismiss(None)


class Table(ModalScreen[None]):
    """Lines to read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "leave", "leave", show=False)]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:  # noqa: D102
        with VerticalScroll(classes="box table") as box:
            box.border_title = self._title
            box.border_subtitle = "↑ ↓ · esc leave"
            yield Static(Content("\n".join(self._lines)))

    def on_mount(self) -> None:
        """Scroll at once."""
        self.query_one(VerticalScroll).focus()

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
