"""The two dialogs: write a file, and the fault menu. Both give back an intervention, or nothing.

What was typed wrong is said in one line, in the dialog, with the mend.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.trace.node_view import NodeView
from totemviz.tui.marks import letter

FILE_SIZE_MAX = 1024 * 1024
DEFAULT_CONTENT = r"cores: 2\nmemory: 2048\n"


class EntryError(ValueError):
    """Something typed wrong, in one line with the mend."""


def find_node(text: str, nodes: list[NodeView]) -> int:
    """The node meant by a letter, a name or an id. Raises EntryError."""
    wanted = text.strip().lower()
    for node in nodes:
        if wanted in (letter(node).lower(), node.info.name.lower(), str(node.info.nodeid)):
            return node.info.nodeid
    known = ", ".join(letter(node) for node in nodes)
    raise EntryError(f"there is no node “{text.strip()}”; type one of {known}")


def clean_path(text: str) -> str:
    """A path below /etc/pve. Raises EntryError."""
    path = text.strip().removeprefix("/etc/pve").strip("/")
    if not path:
        raise EntryError("a path is missing, e.g. qemu-server/100.conf")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise EntryError(f"“{path}” is not a plain path; leave out empty parts, . and ..")
    return path


def clean_content(text: str) -> str:
    r"""The content, ``\n`` standing for a new line. Raises EntryError."""
    content = text.replace(r"\n", "\n")
    if len(content.encode()) > FILE_SIZE_MAX:
        raise EntryError("pmxcfs takes at most 1 MiB per file; make it shorter")
    return content


class Dialog(ModalScreen[AnyIntervention | None]):
    """A box in the middle; escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave", show=False)]

    def __init__(self, nodes: list[NodeView], chosen: int) -> None:
        super().__init__()
        self.nodes = nodes
        self.node = chosen or (nodes[0].info.nodeid if nodes else 0)

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)

    def say(self, text: str) -> None:
        """The line for mistakes."""
        self.query_one("#mistake", Label).update(Content(text))

    def letter_of(self, nodeid: int) -> str:
        """The node's letter."""
        return next((letter(node) for node in self.nodes if node.info.nodeid == nodeid), "?")


class WriteDialog(Dialog):
    """Node, path and content of a write; enter writes."""

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title = "write a file below /etc/pve"
            box.border_subtitle = "enter write · tab next field · esc leave"
            yield Label(f"on node ({', '.join(letter(node) for node in self.nodes)})")
            yield Input(self.letter_of(self.node), id="node", compact=True)
            yield Label("path below /etc/pve")
            yield Input("qemu-server/100.conf", id="path", compact=True)
            yield Label(r"content (\n is a new line)")
            yield Input(DEFAULT_CONTENT, id="content", compact=True)
            yield Label("", id="mistake")

    def on_mount(self) -> None:
        """The path is what people change first."""
        self.query_one("#path", Input).focus()

    def on_input_submitted(self) -> None:
        """Enter in any field writes."""
        try:
            node = find_node(self.query_one("#node", Input).value, self.nodes)
            path = clean_path(self.query_one("#path", Input).value)
            content = clean_content(self.query_one("#content", Input).value)
        except EntryError as error:
            self.say(str(error))
            return
        self.dismiss(do.Write(node=node, path=path, content=content))
