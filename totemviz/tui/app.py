"""The cockpit: puts panels on the screen and shows them the moment. Decides nothing else.

Its keys live in its base classes: ``travel`` goes through time, ``changing`` changes the cluster, ``branching``
keeps what comes of it, ``manners`` has what every good terminal program can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.css.scalar import Scalar
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from totemviz.sim.folders import last_session_file, write_whole
from totemviz.sim.scenario import dump_scenario
from totemviz.sim.session import Session, Simulation
from totemviz.sim.sharing import saved_session
from totemviz.tui.branching import Branching
from totemviz.tui.code import CodePanel
from totemviz.tui.commands import fault_commands, found_commands
from totemviz.tui.eventlist import EventList, matcher
from totemviz.tui.footer import KeyFooter
from totemviz.tui.header import HeaderLine, Headline
from totemviz.tui.keys import bindings
from totemviz.tui.maximised import ALONE, restore
from totemviz.tui.moment import Moment
from totemviz.tui.nodes import NodesPanel
from totemviz.tui.panel import Panel
from totemviz.tui.player import time_of
from totemviz.tui.ring import RingPanel
from totemviz.tui.scrubber import Scrubber
from totemviz.tui.settings import Settings, load_settings
from totemviz.tui.spacetime import SpaceTime
from totemviz.tui.stages import StagesPanel
from totemviz.tui.strip import RingStrip
from totemviz.tui.tabs import BROAD_CLASS, ELSEWHERE_WHEN_WIDE, FIRST, TabBar, Tabs
from totemviz.tui.writes import WritesPanel


class Cockpit(Branching):
    """One session on one screen. ``lesson`` is a widget that docks at the right; if it has ``show``, it follows."""

    CSS_PATH = "cockpit.tcss"
    TITLE = "totemviz"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal"), (180, "-wide")]  # noqa: RUF012 - Textual declares it as a variable
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-middle"), (50, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = None

    def __init__(self, session: Session, lesson: Widget | None = None, settings: Settings | None = None) -> None:
        super().__init__(session, settings if settings is not None else Settings())
        self.lesson = lesson
        self.chosen = 0
        self._panels: list[Panel] = []
        self._base: Screen[object] | None = None

    # ------------------------------------------------------------------------------------------------------- layout

    def compose(self) -> ComposeResult:  # noqa: D102
        yield HeaderLine(id="header")
        yield Headline(id="headline")
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield RingStrip(id="strip")
                with Horizontal(id="top"):
                    yield framed(RingPanel(id="ring"))
                    with Vertical(id="right"):
                        yield framed(StagesPanel(id="stages"))
                        yield framed(WritesPanel(id="writes"))
                yield framed(NodesPanel(id="nodes"))
                with Horizontal(id="lower"):
                    yield Tabs(id="tabs")
                    yield framed(CodePanel(id="pinned"))
            yield framed(SpaceTime(id="side"))
            with Container(id="lesson"):
                if self.lesson is not None:
                    yield self.lesson
        yield Scrubber(id="scrubber")
        yield KeyFooter(self.keys, id="footer")

    def on_mount(self) -> None:
        """Everything is there: draw for the first time."""
        self._base = self.screen
        self._panels = list(self.screen.query(Panel))
        self.screen.set_class(self.lesson is not None, "-lesson")
        if self.booting is not None:
            self.boot()
            return
        self._now_ns = time_of(self.session)
        self.notice = self._held()
        self.refresh_panels()

    def refresh_panels(self) -> None:
        """Show the moment at the cursor everywhere."""
        view = self.session.cursor.view
        nodes = self.query_on_base("#nodes")
        rows = max(1, len(view.nodes)) + 1
        if nodes is not None:
            compact = any(self._base.has_class(name) for name in ("-narrow", "-short")) if self._base else False
            height = min(rows, 6) if compact else min(rows, 13) + 2
            wanted = Scalar.parse("1fr") if nodes.has_class(ALONE) else Scalar.from_number(height)
            if nodes.styles.height != wanted:
                nodes.styles.height = wanted
        player = self.player
        moment = Moment(
            self.session,
            max(self._now_ns, view.time_ns),
            self.chosen,
            playing=player.playing,
            backward=player.playing and player.backward,
            speed=player.speed,
            achieved=player.achieved if player.playing else 0.0,
            quiet=self._quiet,
            notice=self.notice,
            looked=self.looked,
            marked=self.marked,
        )
        for panel in self._panels:
            panel.show(moment)
        follow = getattr(self.lesson, "show", None)
        if follow is not None:
            follow(moment)

    def query_on_base(self, selector: str) -> Widget | None:
        """A widget of the cockpit, whatever dialog lies over it."""
        return self._base.query_one(selector) if self._base is not None else None

    def on_resize(self) -> None:
        """Another size may be another layout."""
        self.call_after_refresh(self._relayout)

    def _relayout(self) -> None:
        if self._base is not None:
            self._base.query_one(Tabs).set_wide(self._is_wide)
            self.refresh_panels()

    @property
    def _is_wide(self) -> bool:
        return self._base is not None and self._base.has_class("-wide") and self._base.has_class("-tall")

    def watch_theme(self, _theme: str) -> None:
        """Lines keep their colours until told otherwise."""
        for panel in self._panels:
            panel.refresh()

    # --------------------------------------------------------------------------------------------------------- look

    def action_maximise(self) -> None:
        """The focused panel as large as possible, or everything again."""
        super().action_maximise()
        self.refresh_panels()

    def default_panel(self) -> Widget:
        """The open page."""
        return self.base.query_one(f"#page-{self.base.query_one(Tabs).page}")

    def action_node(self, step: int) -> None:
        """Choose the next node."""
        ids = sorted(self.session.cursor.view.nodes)
        if ids:
            at = ids.index(self.chosen) + step if self.chosen in ids else 0 if step > 0 else len(ids) - 1
            self.choose(ids[at % len(ids)])

    def choose(self, nodeid: int) -> None:
        """The node that the dialogs, the log and the node page are about."""
        self.chosen = nodeid
        self.refresh_panels()

    def on_panel_node_chosen(self, message: Panel.NodeChosen) -> None:
        """A click chooses, a second click lets go; once a node is marked, clicks mark."""
        if self.marked:
            self.mark(message.nodeid)
            return
        self.choose(0 if self.chosen == message.nodeid else message.nodeid)

    def action_tab(self, page: str) -> None:
        """Open a page of the tabs; in the widest layout some have their own place."""
        if self._is_wide and page in ELSEWHERE_WHEN_WIDE:
            self.screen.remove_class(BROAD_CLASS)
            self.screen.query_one("#side" if page == FIRST else "#pinned").focus()
        else:
            self.screen.query_one(Tabs).open(page).focus()

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        """A tab was clicked."""
        self.action_tab(message.page)

    def action_filter(self) -> None:
        """Ask what to look for."""
        if self.query_one(Tabs).page != FIRST:
            self.action_tab("events")
        box = self.query_one("#filter", Input)
        box.display = True
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "filter":
            self._filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        if event.input.id == "filter":
            event.input.display = bool(event.value)
            self.query_one(f"#page-{self.query_one(Tabs).page}").focus()

    def _filter(self, words: str) -> None:
        keep = matcher(words, self.session.cursor.view)
        self.query_one("#page-events", EventList).set_filter(keep)
        for name in (f"#page-{FIRST}", "#side"):
            self.query_one(name, SpaceTime).set_filter(keep)
        bar = self.query_one(TabBar)
        bar.filter_words = words.strip()
        bar.redraw()

    def action_clear(self) -> None:
        """No filter, no chosen node, no message."""
        box = self.query_one("#filter", Input)
        box.display = False
        box.value = ""
        self._filter("")
        self.chosen = 0
        self.marked = frozenset()
        self.notice = ""
        self.looked = -1
        restore(self.base)
        self.screen.set_focus(None)
        self.refresh_panels()

    def action_lesson(self) -> None:
        """Show or hide the lesson."""
        if self.lesson is None:
            self.say("No lesson is open; start one with: totemviz lesson")
            return
        if self._base is not None:
            self._base.toggle_class("-lesson")

    def on_key_footer_pressed(self, message: KeyFooter.Pressed) -> None:
        """A click on the footer."""
        self.call_later(self.run_action, self.keys[message.key_id].action)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette holds everything."""
        for key in self.keys.values():
            if key.id == "palette" or (key.needs_world and not self.session.can_intervene):
                continue
            yield SystemCommand(key.help, f"key {key.shown}", partial(self.call_later, self.run_action, key.action))
        if self.session.can_intervene:
            view = self.session.cursor.view
            for commands, discover in ((fault_commands, True), (found_commands, False)):
                for words, intervention in commands(view):
                    yield SystemCommand(words, "now, at the cursor", partial(self.do, intervention), discover)
        yield SystemCommand("theme by name", "all themes", self.action_change_theme)


def framed(panel: Panel) -> Panel:
    """A panel with a frame and a title, which can have the focus."""
    panel.add_class("framed")
    panel.can_focus = True
    return panel


def run_cockpit(session: Session, lesson: Widget | None = None) -> None:
    """Open the cockpit on a session and stay until the user leaves; a simulation is kept for ``--resume``.

    A simulation that has not begun comes up on screen.

    Raises SettingsError; OSError if the session cannot be kept.
    """
    if session.cursor.position < 0 and not session.can_intervene:
        session.cursor.move_to(0)
    app = Cockpit(session, lesson, load_settings())
    free_play = isinstance(session, Simulation) and lesson is None
    if isinstance(session, Simulation) and not session.world.now_ns:
        app.booting = session.warming()
    if free_play:
        app.call_later(app.offer_tour)
    app.run()
    if free_play and isinstance(app.session, Simulation):
        write_whole(last_session_file(), dump_scenario(saved_session(app.session)))
