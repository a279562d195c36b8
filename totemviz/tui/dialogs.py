"""The two dialogs: write a file, and the fault menu. Both give back an intervention, or nothing.

What was typed wrong is said in one line, in the dialog, with the mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.profiles import PROFILES
from totemviz.sim.quorum_tools import VOTES
from totemviz.sim.scenario import VOTES_MAX
from totemviz.sim.units import Duration
from totemviz.trace.view import NodeView
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


class Fault(NamedTuple):
    """A line of the fault menu. ``ask`` and ``default`` if it needs a word more (a duration, a percentage)."""

    key: str
    label: str
    make: Callable[[int, str], AnyIntervention]
    ask: str = ""
    default: str = ""


def duration(text: str) -> Duration:
    """A duration as typed. Raises EntryError."""
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise EntryError(str(error)) from None


def percentage(text: str) -> float:
    """A percentage as typed. Raises EntryError."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise EntryError(f"“{text.strip()}” is not a number; type 0 to 100") from None
    if not 0 <= value <= 100:
        raise EntryError(f"{value:g} is not a percentage; type 0 to 100")
    return value


def vote(text: str) -> str:
    """What the quorum device does, as typed. Raises EntryError."""
    word = text.strip().lower()
    if word not in VOTES:
        raise EntryError(f"“{text.strip()}” is no answer; type {', '.join(VOTES)}")
    return word


def votes(text: str) -> int:
    """A number of votes as typed. Raises EntryError."""
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()) or not 1 <= int(text) <= VOTES_MAX:
        raise EntryError(f"“{text.strip()}” is no number of votes; type 1 to {VOTES_MAX}")
    return int(text)


FAULTS = (
    Fault(
        "s",
        "stall the disk of {node}: no sync is answered",
        lambda node, text: do.StallDisk(node=node, duration=duration(text)),
        "for how long?",
        "10s",
    ),
    Fault("d", "give {node} another disk …", lambda node, text: do.SetDisk(node=node, profile=text)),
    Fault("k", "kill corosync and pmxcfs on {node}", lambda node, text: do.Kill(node=node)),
    Fault("r", "start {node} again", lambda node, text: do.Restart(node=node)),
    Fault("l", "stop {node} cleanly: it says good-bye", lambda node, text: do.Leave(node=node)),
    Fault(
        "p",
        "pause corosync on {node} (SIGSTOP)",
        lambda node, text: do.Pause(node=node, duration=duration(text)),
        "for how long?",
        "5s",
    ),
    Fault("t", "drop the next token", lambda node, text: do.DropToken()),
    Fault("m", "drop the next message to {node}", lambda node, text: do.DropMessage(target=node)),
    Fault("c", "cut {node} off from the rest", lambda node, text: do.Cut(nodes=(node,))),
    Fault("h", "mend all links", lambda node, text: do.Heal()),
    Fault(
        "o",
        "lose datagrams on every link",
        lambda node, text: do.Loss(percent=percentage(text)),
        "how many percent?",
        "5",
    ),
    Fault(
        "v",
        "quorum device: its vote for {node}",
        lambda node, text: do.QuorumDevice(node=node, vote=vote(text)),
        "granted, withdrawn or silent?",
        "granted",
    ),
    Fault(
        "e",
        "pvecm expected, on {node}",
        lambda node, text: do.ExpectedVotes(node=node, votes=votes(text)),
        "how many votes?",
        "1",
    ),
)


class FaultMenu(Dialog):
    """Choose a node (left, right) and what happens to it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "other_node(-1)", "other node", show=False),
        Binding("right", "other_node(1)", "other node", show=False),
    ]

    def __init__(self, nodes: list[NodeView], chosen: int) -> None:
        super().__init__(nodes, chosen)
        self.fault: Fault | None = None
        self.disks = False

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title = "what shall happen?"
            box.border_subtitle = "← → node · ↑ ↓ or letter · enter · esc leave"
            yield Label("", id="who")
            yield OptionList(id="faults", compact=True)
            yield Label("", id="ask")
            yield Input(id="more", compact=True)
            yield Label("", id="mistake")

    def on_mount(self) -> None:
        """Fill the list."""
        self.query_one("#more").display = False
        self.query_one("#ask").display = False
        self._fill()
        self.query_one("#faults").focus()

    def _fill(self) -> None:
        names = [f"[{letter(n)}]" if n.info.nodeid == self.node else f" {letter(n)} " for n in self.nodes]
        self.query_one("#who", Label).update(Content(f"node  {' '.join(names)}"))
        options = self.query_one("#faults", OptionList)
        highlighted = options.highlighted
        options.clear_options()
        if self.disks:
            now = next((node.disk for node in self.nodes if node.info.nodeid == self.node), "")
            for name, profile in PROFILES.items():
                mark = "●" if name == now else " "
                text = f"{mark} {profile.title}, about {profile.fsync_per_second} fsync/s"
                options.add_option(Option(Content(text), id=name))
        else:
            for fault in FAULTS:
                text = f"{fault.key}  {fault.label.format(node=self.letter_of(self.node))}"
                options.add_option(Option(Content(text), id=fault.key))
        options.highlighted = min(highlighted or 0, options.option_count - 1)

    def action_other_node(self, step: int) -> None:
        """The node the menu speaks of."""
        ids = [node.info.nodeid for node in self.nodes]
        self.node = ids[(ids.index(self.node) + step) % len(ids)]
        self._fill()

    def on_key(self, event: object) -> None:
        """A fault's letter chooses it."""
        key = getattr(event, "key", "")
        if self.disks or self.query_one("#more").display:
            return
        for fault in FAULTS:
            if fault.key == key:
                self._choose(fault)
                return

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        chosen = event.option.id or ""
        if self.disks:
            self.dismiss(do.SetDisk(node=self.node, profile=chosen))
            return
        self._choose(next(fault for fault in FAULTS if fault.key == chosen))

    def _choose(self, fault: Fault) -> None:
        self.fault = fault
        if fault.key == "d":
            self.disks = True
            self._fill()
        elif fault.ask:
            ask = self.query_one("#ask", Label)
            ask.update(Content(f"{fault.label.format(node=self.letter_of(self.node))}: {fault.ask}"))
            ask.display = True
            more = self.query_one("#more", Input)
            more.display = True
            more.value = fault.default
            self.query_one("#faults").display = False
            more.focus()
        else:
            self.dismiss(fault.make(self.node, ""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The word more was given."""
        assert self.fault is not None
        try:
            intervention = self.fault.make(self.node, event.value)
        except EntryError as error:
            self.say(str(error))
            return
        self.dismiss(intervention)
