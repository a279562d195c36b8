"""Changing the cluster and keeping what comes of it: faults, branches, what if not, comparing, sharing.

A part of the cockpit.
"""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

from totemviz.sim.branches import Branch
from totemviz.sim.folders import write_whole
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.scenario import dump_scenario
from totemviz.sim.session import Simulation
from totemviz.sim.sharing import saved_session, share_string
from totemviz.sim.threads import HostModel
from totemviz.trace.causes import Causes
from totemviz.trace.compare import Comparison, Row, compare_nodes, compare_runs
from totemviz.trace.events import Event
from totemviz.trace.view import Flight, NodeView
from totemviz.trace.why import story
from totemviz.trace.words import DATAGRAM_WORDS, sentence, who
from totemviz.tui.ask import Ask, Menu, Table
from totemviz.tui.dialogs import Dialog, WriteDialog
from totemviz.tui.faults import FaultMenu, flight_faults, link_faults
from totemviz.tui.marks import letter
from totemviz.tui.paint import LINK_BASE, fit
from totemviz.tui.panel import Panel
from totemviz.tui.player import time_of
from totemviz.tui.travel import Travel

RECORDED = "This is a recording: nothing in it can be changed."
WORDS = {
    HostModel.ARTICLE: "one loop per host, a slow disk stops everything",
    HostModel.MEASURED: "separate processes as on a real node, the token does not wait for a disk",
}
ONLY_BRANCH = "There is only this branch: change something in the past, and there are two."
STRING_SHOWN = 400
TABLE_COLUMNS = 106
TABLE_EDGES = 8
"""Frame, margin and scrollbar of a table (``.box.table`` in the style sheet)."""
WHAT_COLUMNS = 28


class Changing(Travel):
    """The keys that change the cluster, and those for what becomes of it."""

    chosen = 0
    saved_as = ""
    """The file this session was saved in, which may be written over."""

    def known_nodes(self) -> list[NodeView]:
        """All nodes at the cursor, by node id."""
        view = self.session.cursor.view
        return [node for _, node in sorted(view.nodes.items())]

    # ----------------------------------------------------------------------------------------------------- commands

    def do(self, intervention: AnyIntervention | None) -> None:
        """Do something to the cluster; what cannot be done is explained in one line."""
        if intervention is None:
            self.refresh_panels()
            return
        before = self._branch
        try:
            self.session.intervene(intervention)
        except (RuntimeError, ValueError) as error:
            self.say(f"That cannot be done: {error}.")
            return
        if self.player.playing:
            self.player.start(time_of(self.session))
        opened = self._branch
        branch = f" On a branch of its own: “{self._named(opened)}”." if opened and opened is not before else ""
        self._arrived(quiet=True, notice=f"Done.{branch} Press → to see what comes of it, or space to let time run.")

    @property
    def _branch(self) -> Branch | None:
        return self.session.family.current if isinstance(self.session, Simulation) else None

    def _named(self, branch: Branch | None) -> str:
        """A branch's name with the letters of nodes."""
        name = branch.name if branch is not None else ""
        for node in self.known_nodes():
            name = name.replace(f"node {node.info.nodeid}", letter(node))
        return name

    def _ask(self, dialog: Dialog) -> None:
        if not self.session.can_intervene:
            self.say(RECORDED)
        else:
            self.push_screen(dialog, self.do)

    def action_write(self) -> None:
        """Ask what to write."""
        self._ask(WriteDialog(self.known_nodes(), self.chosen))

    def action_fault(self) -> None:
        """Ask what shall happen."""
        self._ask(FaultMenu(self.known_nodes(), self.chosen))

    def on_panel_menu_wanted(self, message: Panel.MenuWanted) -> None:
        """The right button: what can be done to this."""
        if not self.session.can_intervene:
            self.say(RECORDED)
        elif message.kind == "node":
            self.chosen = message.value
            self.action_fault()
        elif message.kind == "flight":
            self._flight_menu([f for f in self.session.cursor.view.flights.values() if f.sent == message.value])
        elif message.kind == "link":
            self._link_menu(*divmod(message.value, LINK_BASE))

    def action_flights(self) -> None:
        """What is on its way now, and what can be done to it."""
        if not self.session.can_intervene:
            self.say(RECORDED)
            return
        flights = list(self.session.cursor.view.flights.values())
        if not flights:
            self.say("Nothing is between two nodes now: press . until something is sent.")
            return
        self._flight_menu(flights)

    def _flight_menu(self, flights: list[Flight]) -> None:
        if not flights:
            self.refresh_panels()
            return
        if len(flights) == 1:
            self._tamper(flights[0])
            return
        options = [(str(i), f"{DATAGRAM_WORDS.get(f.kind, f.kind)}  {self._way(f)}") for i, f in enumerate(flights)]

        def take(answer: tuple[str, str] | None) -> None:
            if answer is None:
                self.refresh_panels()
            else:
                self._tamper(flights[int(answer[1])])

        self.push_screen(Menu("on its way now", options, {"enter": "choose"}), take)

    def _way(self, flight: Flight) -> str:
        view = self.session.cursor.view
        return f"{who(view, flight.source)} → {who(view, flight.target)}"

    def _tamper(self, flight: Flight) -> None:
        view = self.session.cursor.view
        faults = flight_faults(flight, who(view, flight.source), who(view, flight.target))
        title = f"{DATAGRAM_WORDS.get(flight.kind, flight.kind)}  {self._way(flight)}"
        self._ask(FaultMenu(self.known_nodes(), self.chosen, faults, title))

    def _link_menu(self, source: int, target: int) -> None:
        view = self.session.cursor.view
        way = f"the link {who(view, source)} → {who(view, target)}"
        faults = link_faults(source, target, way)
        self._ask(FaultMenu(self.known_nodes(), self.chosen, faults, way))

    # ------------------------------------------------------------------------------------------------ back and again

    def _simulation(self) -> Simulation | None:
        """The session if it can be changed; else says that it cannot."""
        if isinstance(self.session, Simulation):
            return self.session
        self.say(RECORDED)
        return None

    def action_undo(self) -> None:
        """Before the last thing that was done, and without it."""
        session = self._simulation()
        if session is None:
            return
        self.pause()
        try:
            undone = session.undo()
        except ValueError as error:
            self.say(f"{str(error)[0].upper()}{str(error)[1:]}.")
            return
        self._arrived(quiet=True, notice=f"Undone: {undone}. U takes that back.")

    def action_redo(self) -> None:
        """Back to before the undo."""
        session = self._simulation()
        if session is None:
            return
        self.pause()
        try:
            session.redo()
        except ValueError as error:
            self.say(f"{str(error)[0].upper()}{str(error)[1:]}.")
            return
        self._arrived(quiet=True, notice="Done again.")

    def action_what_if(self) -> None:
        """The same run up to now without the first cause of what happened here; both side by side."""
        session = self._simulation()
        if session is None or session.cursor.position < 0:
            return
        self.pause()
        tale = story(Causes(session.timeline), session.cursor.position)
        if tale.begin not in ("done", "chance"):
            words = sentence(tale.first, session.cursor.view)
            self.say(f"Nobody did that: it began when {words}. Only what somebody did, or chance, can be left out.")
            return
        with_it = session.family.current
        try:
            without = session.without(tale.first.id)
        except ValueError as error:
            self.say(f"That cannot be left out: {error}.")
            return
        self._arrived(quiet=True, notice=f"Now without: {sentence(tale.first, session.cursor.view)}. U brings it back.")
        self._show_comparison(with_it, without)

    def action_model(self) -> None:
        """The same run under the other host model, up to the same time, as a branch."""
        session = self.session
        if not isinstance(session, Simulation):
            self.say("The host model belongs to a simulation; this is a recording.")
            return
        now = session.world.scenario.host_model
        other = HostModel.MEASURED if now is HostModel.ARTICLE else HostModel.ARTICLE
        self.pause()
        session.branch_under(other)
        self._arrived(quiet=True, notice=f"Now the {other.value} model: {WORDS[other]}. The same run, the same time.")

    # ----------------------------------------------------------------------------------------------------- branches

    def action_branches(self) -> None:
        """The tree of branches."""
        session = self._simulation()
        if session is None:
            return
        self.pause()
        tree = session.family.tree()
        options = []
        for index, (depth, branch) in enumerate(tree):
            mark = "●" if branch is session.family.current else "○"
            stem = "   " * (depth - 1) + "└─ " if depth else ""
            end_ns = branch.timeline[-1].time_ns if len(branch.timeline) else 0
            begins = f"{branch.timeline[branch.forked_at].time_ns / 1e9:.3f} – " if branch.forked_at >= 0 else "to "
            stretch = f"{begins}{end_ns / 1e9:.3f} s"
            options.append((str(index), fit(f"{stem}{mark} {self._named(branch)}", 42) + f" {stretch:>22}"))
        at = next(index for index, (_, branch) in enumerate(tree) if branch is session.family.current)
        keys = {"enter": "go there", "r": "rename", "v": "compare", "d": "forget"}
        self.push_screen(Menu("branches", options, keys, at), self._change_branch)

    def _change_branch(self, answer: tuple[str, str] | None) -> None:
        session = self.session
        if answer is None or not isinstance(session, Simulation):
            self.refresh_panels()
            return
        key, chosen = answer
        branch = session.family.tree()[int(chosen)][1]
        if key == "enter":
            session.switch(branch)
            self._arrived(quiet=True, notice=f"Now on “{self._named(branch)}”.")
        elif key == "r":
            self.push_screen(
                Ask("a name for the branch", "", branch.name, _check_name), lambda name: self._rename(branch, name)
            )
        elif key == "v":
            if branch is session.family.current:
                self.say("That is the one on screen: choose another one to compare it with.")
            else:
                self._show_comparison(session.family.current, branch)
        else:
            try:
                session.family.remove(branch)
            except ValueError as error:
                self.say(f"{str(error)[0].upper()}{str(error)[1:]}.")
                return
            self.action_branches()

    def _rename(self, branch: Branch, name: str | None) -> None:
        if name is not None and isinstance(self.session, Simulation) and name.strip() != branch.name:
            branch.name = self.session.family.free_name(name)
        self.action_branches()

    # -------------------------------------------------------------------------------------------------- side by side

    def action_compare(self) -> None:
        """Two branches, or two nodes."""
        nodes = self.known_nodes()
        here = next((node for node in nodes if node.info.nodeid == self.chosen), nodes[0] if nodes else None)
        options = []
        if isinstance(self.session, Simulation):
            current = self.session.family.current
            options = [
                (f"branch {i}", f"this branch with “{self._named(branch)}”")
                for i, (_, branch) in enumerate(self.session.family.tree())
                if branch is not current
            ]
        if here is not None:
            options += [
                (f"node {here.info.nodeid} {node.info.nodeid}", f"node {letter(here)} with node {letter(node)}")
                for node in nodes
                if node is not here
            ]
        if not options:
            self.say(ONLY_BRANCH)
            return
        self.push_screen(Menu("compare, side by side", options, {"enter": "compare"}), self._compare)

    def _compare(self, answer: tuple[str, str] | None) -> None:
        if answer is None:
            self.refresh_panels()
            return
        what, *numbers = answer[1].split()
        if what == "node":
            first, second = map(int, numbers)
            view = self.session.cursor.view
            rows = compare_nodes(view, first, second)
            self.push_screen(Table("two nodes", _table(rows, who(view, first), who(view, second), self._columns)))
        elif isinstance(self.session, Simulation):
            self._show_comparison(self.session.family.current, self.session.family.tree()[int(numbers[0])][1])

    def _show_comparison(self, first: Branch, second: Branch) -> None:
        now_ns = time_of(self.session)
        found = compare_runs(first.cursor, second.cursor, now_ns)
        names = (self._named(first), self._named(second))
        lines = [
            f"both at {now_ns / 1e9:.6f} s",
            "",
            *self._parting(found, names),
            "",
            *_table(found.rows, *names, self._columns),
        ]
        self.push_screen(Table("two branches", lines))

    def _parting(self, found: Comparison, names: tuple[str, str]) -> list[str]:
        if found.first_difference is None:
            return ["they do not differ as far as both have run"]
        view = self.session.cursor.view

        def told(event: Event | None) -> str:
            return "it has ended" if event is None else f"{event.time_ns / 1e9:.6f} s  {sentence(event, view)}"

        pairs = zip(names, found.first_difference, strict=True)
        told_at = ((f"  {name}", f"    {told(event)}") for name, event in pairs)
        return ["the first event that differs:", *chain.from_iterable(told_at)]

    @property
    def _columns(self) -> int:
        """Cells a line of a table may take on this screen."""
        return min(TABLE_COLUMNS, self.size.width * 96 // 100) - TABLE_EDGES

    # ------------------------------------------------------------------------------------------------------- sharing

    def action_share(self) -> None:
        """Everything as one string in the clipboard, or as a file."""
        session = self._simulation()
        if session is None:
            return
        self.pause()
        kept = saved_session(session)
        text = share_string(kept)
        self.copy_to_clipboard(text)
        shown = text if len(text) <= STRING_SHOWN else f"{text[:STRING_SHOWN]}… ({len(text)} characters)"
        hint = f"In the clipboard; “totemviz run STRING” opens it:\n\n{shown}\n\nA file as well?"

        def save(name: str | None) -> None:
            if name is None:
                self.say("The string is in the clipboard.")
                return
            try:
                write_whole(Path(name.strip()), dump_scenario(kept))
            except OSError as error:
                self.say(f"{name.strip()} cannot be written: {error.strerror}.")
                return
            self.saved_as = name.strip()
            self.say(f"Saved; totemviz run {self.saved_as} opens it again.")

        self.push_screen(Ask("save and share", hint, self.saved_as or _free_file(), self._check_file), save)

    def _check_file(self, text: str) -> str:
        """Why a session cannot be saved under this name: no file is lost but the one this session was saved in."""
        name = text.strip()
        if name and name != self.saved_as and Path(name).exists():
            return f"there is a {name} already; {_free_file()} is free"
        return _check_name(name)


def _check_name(text: str) -> str:
    return "" if text.strip() else "type a name"


def _free_file() -> str:
    """``session.toml``, with a number if there is one."""
    names = chain(["session.toml"], (f"session-{number}.toml" for number in count(2)))
    return next(name for name in names if not Path(name).exists())


def _table(rows: tuple[Row, ...], first: str, second: str, width: int) -> list[str]:
    """Three columns; ≠ marks what differs."""
    room = (width - 2 - WHAT_COLUMNS - 2) // 2
    lines = [f"  {fit('', WHAT_COLUMNS)} {fit(first, room)} {fit(second, room)}"]
    for row in rows:
        mark = "≠" if row.differs else " "
        lines.append(f"{mark} {fit(row.what, WHAT_COLUMNS)} {fit(row.first, room)} {fit(row.second, room)}")
    return lines
