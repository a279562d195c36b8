"""Changing the cluster: writes, faults by menu, what is in flight, links. A part of the cockpit."""

from __future__ import annotations

from totemviz.sim.branches import Branch
from totemviz.sim.interventions import AnyIntervention, Cut
from totemviz.sim.scenario import NetworkSpec
from totemviz.sim.session import Simulation
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import Flight
from totemviz.trace.words import DATAGRAM_WORDS, who
from totemviz.tui.ask import Menu
from totemviz.tui.dialogs import Dialog, WriteDialog
from totemviz.tui.faults import PART, FaultMenu, flight_faults
from totemviz.tui.linkdialog import EVERY, LinkDialog
from totemviz.tui.marks import with_letters
from totemviz.tui.paint import LINK_BASE
from totemviz.tui.panel import Panel
from totemviz.tui.player import time_of
from totemviz.tui.progress import Outcome
from totemviz.tui.travel import Travel

RECORDED = "This is a recording: nothing in it can be changed."


class Changing(Travel):
    """The keys that change the cluster."""

    chosen = 0
    marked: frozenset[int] = frozenset()

    def known_nodes(self) -> list[NodeView]:
        """All nodes at the cursor, by node id."""
        view = self.session.cursor.view
        return [node for _, node in sorted(view.nodes.items())]

    # ----------------------------------------------------------------------------------------------------- commands

    def do(self, intervention: AnyIntervention | None, *more: AnyIntervention) -> None:
        """Do something to the cluster, or several things; what cannot be done is explained in one line."""
        if intervention is None:
            self.refresh_panels()
            return
        self.stop_booting()
        before = self._branch

        def done(outcome: Outcome) -> None:
            try:
                outcome()
            except (RuntimeError, ValueError) as error:
                self.say(f"That cannot be done: {error}.")
                return
            for other in more:
                self.session.intervene(other)  # the first has opened a branch if that was needed
            if self.player.playing:
                self.player.start(time_of(self.session))
            opened = self._branch
            branch = f" On a branch of its own: “{self._named(opened)}”." if opened and opened is not before else ""
            self._arrived(
                quiet=True, notice=f"Done.{branch} Press → to see what comes of it, or space to let time run."
            )

        self._work(self.session.intervening(intervention), done)

    @property
    def _branch(self) -> Branch | None:
        return self.session.family.current if isinstance(self.session, Simulation) else None

    def _named(self, branch: Branch | None) -> str:
        """A branch's name with the letters of nodes."""
        return with_letters(branch.name, self.known_nodes()) if branch is not None else ""

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
        self._ask(FaultMenu(self.known_nodes(), self.chosen, marked=self.marked))

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
            self._ask_links(*divmod(message.value, LINK_BASE))

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

    # -------------------------------------------------------------------------------------------------------- links

    def action_links(self) -> None:
        """Loss and delay by slider; of the links of the chosen node, if one is chosen."""
        self._ask_links(self.chosen or EVERY, EVERY)

    def _ask_links(self, source: int, target: int) -> None:
        if not self.session.can_intervene:
            self.say(RECORDED)
            return
        base = self.session.scenario.network if isinstance(self.session, Simulation) else NetworkSpec()

        def take(answer: list[AnyIntervention] | None) -> None:
            if answer:
                self.do(*answer)
            else:
                self.say("" if answer is None else "The links are as they were.")

        self.push_screen(LinkDialog(self.session.cursor.view, base, source, target), take)

    # ------------------------------------------------------------------------------------------------------- marks

    def mark(self, nodeid: int) -> None:
        """Mark a node, or let it go: the marked ones are split off by one key."""
        self.marked ^= {nodeid}
        self.say(self._marks_told() if self.marked else "No node is marked.")

    def _marks_told(self) -> str:
        view = self.session.cursor.view
        names = " ".join(who(view, nodeid) for nodeid in sorted(self.marked))
        many = "is marked" if len(self.marked) == 1 else "are marked"
        return f"{names} {many}: {self.keys['part'].shown} splits off what is marked, esc forgets the marks."

    def action_mark(self) -> None:
        """Mark the chosen node, or let it go."""
        if self.chosen in self.session.cursor.view.nodes:
            self.mark(self.chosen)
        else:
            self.say("Choose a node first: click it, or press n.")

    def on_panel_node_marked(self, message: Panel.NodeMarked) -> None:
        """A click with shift or control."""
        self.mark(message.nodeid)

    def action_part(self) -> None:
        """The marked nodes and the rest hear each other no more; without marks, ask which."""
        if not self.session.can_intervene:
            self.say(RECORDED)
            return
        nodes = self.known_nodes()
        marked = tuple(node.info.nodeid for node in nodes if node.info.nodeid in self.marked)
        if not marked:
            self.push_screen(FaultMenu(nodes, self.chosen, first=PART), self.do)
        elif len(marked) == len(nodes):
            self.say("All nodes are marked: nobody would be left on the other side. Let one go.")
        else:
            self.marked = frozenset()
            self.do(Cut(nodes=marked))
