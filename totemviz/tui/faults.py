"""What can be done to a cluster, by menu: a table of faults for nodes and links, one for a datagram in flight."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.profiles import PROFILES
from totemviz.sim.threads import HostModel
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import Flight
from totemviz.tui.dialogs import Dialog, EntryError, find_node
from totemviz.tui.marks import letter
from totemviz.tui.typed import (
    HERE,
    as_in_a_scenario,
    clock,
    conf_edit,
    duration,
    filled,
    host_model,
    key_value,
    percentage,
    vote,
    votes,
)


class Fault(NamedTuple):
    """A line of the fault menu. ``ask`` and ``default`` if it needs a word more (a duration, a percentage)."""

    key: str
    label: str
    make: Callable[[int, str], AnyIntervention]
    ask: str = ""
    default: str = ""


def flight_faults(flight: Flight, source: str, target: str) -> tuple[Fault, ...]:
    """What can be done to a datagram in flight, and to the link it is on."""
    return (*datagram_faults(flight), *link_faults(flight.source, flight.target, f"the link {source} → {target}"))


def datagram_faults(flight: Flight) -> tuple[Fault, ...]:
    """What can be done to a datagram in flight."""
    sent, at = flight.sent, flight.target
    return (
        Fault("d", "drop it", lambda node, text: do.DropDatagram(sent=sent, target=at)),
        Fault(
            "l",
            "let it take longer",
            lambda node, text: do.DelayDatagram(duration=duration(text), sent=sent, target=at),
            "how much?",
            "500ms",
        ),
        Fault(
            "u",
            "let it arrive twice",
            lambda node, text: do.DuplicateDatagram(duration=duration(text), sent=sent, target=at),
            "how much later?",
            "50us",
        ),
        Fault("o", "let the next one overtake it", lambda node, text: do.HoldDatagram(sent=sent, target=at)),
    )


def link_faults(source: int, target: int, way: str) -> tuple[Fault, ...]:
    """What can be done to one link."""
    return (
        Fault("c", f"cut {way}", lambda node, text: do.CutOneWay(source=source, target=target)),
        Fault("h", f"mend {way}", lambda node, text: do.Heal(source=source, target=target)),
        Fault(
            "p",
            f"{way} loses datagrams",
            lambda node, text: do.Loss(percent=percentage(text), source=source, target=target),
            "how many percent?",
            "20",
        ),
        Fault(
            "s",
            f"{way} is slow",
            lambda node, text: do.Delay(delay=duration(text), source=source, target=target),
            "how slow?",
            "20ms",
        ),
    )


def set_timeout(text: str, node: int = 0) -> do.SetTimeout:
    """``token=1000`` as typed. Raises EntryError."""
    key, value = key_value(text)
    return do.SetTimeout(key=key, value=value, node=node)


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
    Fault(
        "z",
        "pause all of {node}, as a virtual machine is paused",
        lambda node, text: do.Pause(node=node, duration=duration(text), process="host"),
        "for how long?",
        "5s",
    ),
    Fault("P", "cut the power of {node}", lambda node, text: do.PowerCut(node=node)),
    Fault("f", "fill the disk of {node}", lambda node, text: do.DiskFault(node=node, fault="full")),
    Fault(
        "i",
        "let the disk of {node} answer with I/O errors",
        lambda node, text: do.DiskFault(node=node, fault="io_error"),
    ),
    Fault(
        "b",
        "a backup takes the disk of {node}",
        lambda node, text: do.LoadDisk(node=node, duration=duration(text)),
        "for how long?",
        "30s",
    ),
    Fault("y", "mend the disk of {node}", lambda node, text: do.MendDisk(node=node)),
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
        "D",
        "let datagrams on every link take longer",
        lambda node, text: do.Delay(delay=duration(text)),
        "how long on their way?",
        "2ms",
    ),
    Fault("n", "add a node", lambda node, text: do.AddNode()),
    Fault(
        "C",
        "set the wall clock of {node}",
        clock,
        "how far ahead? -70s: behind, 0s: right; then drift in ppm",
        "5min",
    ),
    Fault(
        "E",
        "edit corosync.conf on {node}, for all nodes or here alone",
        conf_edit,
        f"key=value? “{HERE}” behind it: the node's own file, for nobody else",
        "totem.token=2000",
    ),
    Fault("L", "corosync-cfgtool -R on {node}: all read their file", lambda node, text: do.ReloadConf(node=node)),
    Fault(
        "W",
        "set a timeout of {node} alone (corosync-cmapctl -s)",
        lambda node, text: set_timeout(text, node),
        "totem key and value in ms?",
        "token=1000",
    ),
    Fault(
        "w",
        "force a timeout of all nodes, whatever their files say",
        lambda node, text: set_timeout(text),
        "totem key and value in ms?",
        "token=1000",
    ),
    Fault(
        "M",
        "another host model from now on",
        lambda node, text: do.ChangeHostModel(model=host_model(text)),
        f"{' or '.join(HostModel)}?",
        HostModel.MEASURED.value,
    ),
    Fault(
        "G",
        "create a guest on {node}",
        lambda node, text: filled(do.CreateGuest, text, node=node),
        "vmid, kind (qemu, lxc), config, storage (a shared one), takes",
        "vmid=100 kind=qemu",
    ),
    Fault(
        "S",
        "set an option of a guest on {node}, such as its memory",
        lambda node, text: filled(do.SetGuest, text, node=node),
        "vmid, option, value",
        "vmid=100 option=memory value=4096",
    ),
    Fault(
        "X",
        "destroy a guest on {node}",
        lambda node, text: filled(do.DestroyGuest, text, node=node),
        "vmid, takes",
        "vmid=100",
    ),
    Fault(
        "R",
        "start a CPG client on {node}: it reads a group",
        lambda node, text: filled(do.CpgRead, text, node=node),
        "program (its name), group",
        "program=reader group=test",
    ),
    Fault(
        "F",
        "flood a CPG group from {node}",
        lambda node, text: filled(do.CpgFlood, text, node=node),
        "program, group, count, size in bytes, rate a second (0: no limit)",
        "program=flood group=test count=1000 size=1000",
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
    Fault(
        "O",
        "anything else that a scenario can, on {node}",
        as_in_a_scenario,
        "action and its fields, as in a scenario (README)",
        "action=pause process=pmxcfs duration=5s",
    ),
)


PART = "g"
"""Key of the fault that parts the cluster in two."""


MIGRATE = "T"
"""Key of the fault that moves a guest."""


def migration(nodes: list[NodeView]) -> Fault:
    """A guest moves to another node, which is named by its letter."""

    def migrate(node: int, text: str) -> AnyIntervention:
        words = dict(word.partition("=")[::2] for word in text.split())
        if "target" in words:
            words["target"] = str(find_node(words["target"], nodes))
        text = " ".join(f"{field}={value}" for field, value in words.items())
        return filled(do.MigrateGuest, text, node=node)

    last = letter(nodes[-1]) if nodes else "?"
    return Fault(
        MIGRATE, "migrate a guest from {node}", migrate, "vmid, target (a letter), takes", f"vmid=100 target={last}"
    )


class FaultMenu(Dialog):
    """Choose a node (left, right) and what happens to it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "other_node(-1)", "other node", show=False),
        Binding("right", "other_node(1)", "other node", show=False),
    ]

    def __init__(
        self,
        nodes: list[NodeView],
        chosen: int,
        faults: tuple[Fault, ...] = FAULTS,
        title: str = "what shall happen?",
        *,
        marked: frozenset[int] = frozenset(),
        first: str = "",
    ) -> None:
        """``marked`` nodes are offered as one side of a partition; ``first``: key of the fault chosen at once."""
        super().__init__(nodes, chosen)
        self._marked = marked
        self._first = first
        self.faults = faults if faults is not FAULTS else (*FAULTS, migration(nodes), self._parting())
        self.title_text = title
        self.fault: Fault | None = None
        self.disks = False

    def _parting(self) -> Fault:
        """Mark nodes by their letters: they and the rest hear each other no more."""

        def part(node: int, text: str) -> AnyIntervention:
            marked = tuple(dict.fromkeys(find_node(word, self.nodes) for word in re.split(r"[\s,]+", text.strip())))
            if len(marked) == len(self.nodes):
                raise EntryError("nobody would be left on the other side; leave a node out")
            return do.Cut(nodes=marked)

        few = self.nodes[: max(1, len(self.nodes) // 2)]
        side = [node for node in self.nodes if node.info.nodeid in self._marked] or few
        letters = " ".join(letter(node) for node in side)
        return Fault(PART, "part the cluster in two", part, "which nodes stay together? letters", letters)

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title = self.title_text
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
        for fault in self.faults:
            if fault.key == self._first:
                self._choose(fault)

    def _fill(self) -> None:
        names = [f"[{letter(n)}]" if n.info.nodeid == self.node else f" {letter(n)} " for n in self.nodes]
        who = self.query_one("#who", Label)
        who.display = self._about_nodes
        who.update(Content(f"node  {' '.join(names)}"))
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
            for fault in self.faults:
                text = f"{fault.key}  {fault.label.format(node=self.letter_of(self.node))}"
                options.add_option(Option(Content(text), id=fault.key))
        options.highlighted = min(highlighted or 0, options.option_count - 1)

    @property
    def _about_nodes(self) -> bool:
        return any("{node}" in fault.label for fault in self.faults)

    def action_other_node(self, step: int) -> None:
        """The node the menu speaks of."""
        ids = [node.info.nodeid for node in self.nodes]
        self.node = ids[(ids.index(self.node) + step) % len(ids)]
        self._fill()

    def on_key(self, event: events.Key) -> None:
        """A fault's letter chooses it; the screen below must not take it for one of its own."""
        if self.disks or self.query_one("#more").display:
            return
        for fault in self.faults:
            if fault.key == event.key:
                event.stop()
                self._choose(fault)
                return

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click."""
        chosen = event.option.id or ""
        if self.disks:
            self.dismiss(do.SetDisk(node=self.node, profile=chosen))
            return
        self._choose(next(fault for fault in self.faults if fault.key == chosen))

    def _choose(self, fault: Fault) -> None:
        self.fault = fault
        if fault.key == "d" and self._about_nodes:
            self.disks = True
            self._fill()
        elif fault.ask:
            ask = self.query_one("#ask", Label)
            ask.update(Content(f"{fault.label.format(node=self.letter_of(self.node))}\n{fault.ask}"))
            ask.display = True
            more = self.query_one("#more", Input)
            more.display = True
            more.value = fault.default
            self.query_one("#faults").display = False
            self.query_one(".box").border_subtitle = "enter · esc leave"
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
