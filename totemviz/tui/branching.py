"""What becomes of changes: undo, what if not, branches, comparing, sharing. A part of the cockpit."""

from __future__ import annotations

from itertools import chain, count, zip_longest
from pathlib import Path

from totemviz.sim.branches import Branch
from totemviz.sim.folders import write_whole
from totemviz.sim.scenario import dump_scenario
from totemviz.sim.session import Simulation
from totemviz.sim.sharing import saved_session, share_string
from totemviz.sim.threads import HostModel
from totemviz.trace.causes import Causes
from totemviz.trace.compare import Comparison, Row, compare_nodes, compare_runs
from totemviz.trace.events import Event
from totemviz.trace.sentences import sentence
from totemviz.trace.why import story
from totemviz.trace.words import as_sentence, who
from totemviz.tui.ask import Ask, Menu, Table
from totemviz.tui.changing import RECORDED, Changing
from totemviz.tui.marks import letter
from totemviz.tui.paint import fit, wrap
from totemviz.tui.player import time_of
from totemviz.tui.progress import Outcome

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
CELL_ROWS = 4


class Branching(Changing):
    """The keys that keep and compare what comes of changes."""

    saved_as = ""
    """The file this session was saved in, which may be written over."""

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

        def done(outcome: Outcome) -> None:
            try:
                undone = outcome()
            except ValueError as error:
                self.say(as_sentence(str(error)))
                return
            self._arrived(quiet=True, notice=f"Undone: {undone}. U takes that back.")

        self._work(session.undoing(), done)

    def action_redo(self) -> None:
        """Back to before the undo."""
        session = self._simulation()
        if session is None:
            return
        self.pause()
        try:
            session.redo()
        except ValueError as error:
            self.say(as_sentence(str(error)))
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
        words = sentence(tale.first, session.cursor.view)

        def done(outcome: Outcome) -> None:
            try:
                without = outcome()
            except ValueError as error:
                self.say(f"That cannot be left out: {error}.")
                return
            self._arrived(quiet=True, notice=f"Now without: {words}. U brings it back.")
            self._show_comparison(with_it, without)

        self._work(session.leaving_out(tale.first.id), done)

    def action_model(self) -> None:
        """The same run under the other host model, up to the same time, as a branch."""
        session = self.session
        if not isinstance(session, Simulation):
            self.say("The host model belongs to a simulation; this is a recording.")
            return
        now = session.world.scenario.host_model
        other = HostModel.MEASURED if now is HostModel.ARTICLE else HostModel.ARTICLE
        self.pause()

        def done(outcome: Outcome) -> None:
            outcome()
            self._arrived(
                quiet=True, notice=f"Now the {other.value} model: {WORDS[other]}. The same run, the same time."
            )

        self._work(session.branching_under(other), done)

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
                self.say(as_sentence(str(error)))
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
            self.push_screen(Table("two nodes", table(rows, who(view, first), who(view, second), self._columns)))
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
            *table(found.rows, *names, self._columns),
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


def table(rows: tuple[Row, ...], first: str, second: str, width: int) -> list[str]:
    """Three columns; ≠ marks what differs. What is too long for its column goes on below."""
    what = min(WHAT_COLUMNS, max((len(row.what) for row in rows), default=0))
    room = (width - 2 - what - 2) // 2
    lines = [f"  {fit('', what)} {fit(first, room)} {fit(second, room)}"]
    for row in rows:
        pairs = ((row.what, what), (row.first, room), (row.second, room))
        wrapped = zip_longest(*(wrap(text, size, CELL_ROWS) for text, size in pairs), fillvalue="")
        for number, texts in enumerate(wrapped):
            mark = "≠" if row.differs and not number else " "
            cells = (fit(text, size) for text, size in zip(texts, (what, room, room), strict=True))
            lines.append(f"{mark} {' '.join(cells)}".rstrip())
    return lines
