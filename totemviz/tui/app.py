"""The cockpit: puts panels on the screen, moves the cursor of a session, sends it commands. Decides nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.css.scalar import Scalar
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.session import Session, Simulation
from totemviz.sim.threads import HostModel
from totemviz.trace.cursor import Step
from totemviz.trace.view import NodeView
from totemviz.tui.code import CodePanel
from totemviz.tui.commands import fault_commands
from totemviz.tui.dialogs import Dialog, FaultMenu, WriteDialog
from totemviz.tui.eventlist import EventList, matcher
from totemviz.tui.footer import KeyFooter
from totemviz.tui.header import HeaderLine, Headline, speed_text
from totemviz.tui.keys import bindings
from totemviz.tui.manners import Manners
from totemviz.tui.maximised import ALONE, restore
from totemviz.tui.moment import Moment
from totemviz.tui.nodes import NodesPanel
from totemviz.tui.panel import Panel
from totemviz.tui.player import FRAMES_PER_SECOND, Player, time_of
from totemviz.tui.ring import RingPanel
from totemviz.tui.scrubber import Scrubber
from totemviz.tui.settings import Settings, load_settings
from totemviz.tui.spacetime import SpaceTime
from totemviz.tui.stages import StagesPanel
from totemviz.tui.strip import RingStrip
from totemviz.tui.tabs import ELSEWHERE_WHEN_WIDE, FIRST, TabBar, Tabs
from totemviz.tui.writes import WritesPanel

STEPS = {
    "event": Step.EVENT,
    "stage": Step.STAGE,
    "hop": Step.HOP,
    "rotation": Step.ROTATION,
    "membership": Step.MEMBERSHIP,
}
STEP_WORDS = {Step.HOP: "token hop", Step.MEMBERSHIP: "new ring", Step.STAGE: "stage of a token visit"}


class Cockpit(Manners):
    """One session on one screen. ``lesson`` is a widget that docks at the right; if it has ``show``, it follows."""

    CSS_PATH = "cockpit.tcss"
    TITLE = "totemviz"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-normal"), (180, "-wide")]  # noqa: RUF012 - Textual declares it as a variable
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-middle"), (50, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = None

    def __init__(self, session: Session, lesson: Widget | None = None, settings: Settings | None = None) -> None:
        super().__init__(settings if settings is not None else Settings())
        self.session = session
        self.lesson = lesson
        self.chosen = 0
        self.notice = ""
        self.looked = -1
        self.player = Player(time.monotonic, self.settings.speed)
        self._frames: Timer | None = None
        self._panels: list[Panel] = []
        self._base: Screen[object] | None = None
        self._now_ns = 0
        self._quiet = True

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
        self._now_ns = time_of(self.session)
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
        moment = Moment(
            self.session,
            max(self._now_ns, view.time_ns),
            self.chosen,
            self.player.playing,
            self.player.speed,
            self._quiet,
            self.notice,
            self.looked,
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

    # --------------------------------------------------------------------------------------------------------- time

    def _arrived(self, quiet: bool = False, notice: str = "") -> None:
        """The cursor moved: show it."""
        self._now_ns = time_of(self.session)
        self._quiet = quiet
        self.notice = notice
        self.looked = -1
        self.refresh_panels()

    def action_step(self, unit: str) -> None:
        """Forward to where the next such step ends."""
        self.pause()
        step = STEPS[unit]
        found = self.session.forward(step)
        self._arrived(notice="" if found else self._nothing_ahead(step))

    def _nothing_ahead(self, step: Step) -> str:
        if not self.session.can_intervene:
            return f"There is no further {STEP_WORDS.get(step, step.value)} in this recording."
        return f"No {STEP_WORDS.get(step, step.value)} in the next two minutes: change something with w or x."

    def action_step_back(self, unit: str) -> None:
        """Back to where the previous such step ended."""
        self.pause()
        step = STEPS[unit]
        found = self.session.back(step)
        self._arrived(notice="" if found else f"There is no earlier {STEP_WORDS.get(step, step.value)}.")

    def action_start(self) -> None:
        """To the first event."""
        self.jump(0)

    def action_end(self) -> None:
        """To the last event there is."""
        self.jump(len(self.session.timeline) - 1)

    def jump(self, event_id: int) -> None:
        """To any event; nothing is lit after a jump."""
        self.pause()
        self.session.cursor.move_to(event_id)
        self._arrived(quiet=True)

    def action_play(self) -> None:
        """Run or pause."""
        if self.player.playing:
            self.pause()
            self.refresh_panels()
            return
        if not self.session.can_intervene and self.session.cursor.at_end:
            self.say("This is the end of the recording; home goes back to its begin.")
            return
        self.notice = ""
        self.looked = -1
        self.player.start(max(self._now_ns, time_of(self.session)))
        self._frames = self.set_interval(1 / FRAMES_PER_SECOND, self._frame, name="frames")
        self.refresh_panels()

    def pause(self) -> None:
        """Stop the frames; nothing runs any more."""
        self.player.stop()
        if self._frames is not None:
            self._frames.stop()
            self._frames = None

    def _frame(self) -> None:
        if not self.player.playing:
            return
        more = self.player.frame(self.session)
        self._now_ns = self.player.time_ns
        self._quiet = True
        if not more:
            self.pause()
            self._now_ns = time_of(self.session)
        self.refresh_panels()

    def action_speed(self, steps: int) -> None:
        """Faster or slower."""
        self.player.change_speed(steps)
        self.say(f"{speed_text(self.player.speed)}: that many virtual seconds pass in a second while it runs.")

    def on_panel_event_chosen(self, message: Panel.EventChosen) -> None:
        """Go to an event that was clicked or entered."""
        self.jump(message.event_id)

    def on_panel_looked(self, message: Panel.Looked) -> None:
        """Somebody looks around in one list: the others show the place too."""
        self.looked = message.event_id
        self.refresh_panels()

    def on_scrubber_time_chosen(self, message: Scrubber.TimeChosen) -> None:
        """Go to a time on the bar."""
        self.pause()
        self.session.cursor.seek_time(message.time_ns)
        self._arrived(quiet=True)

    # ----------------------------------------------------------------------------------------------------- commands

    def say(self, text: str) -> None:
        """One line to the user, until the next step."""
        self.notice = text
        self.refresh_panels()

    def do(self, intervention: AnyIntervention | None) -> None:
        """Do something to the cluster; what cannot be done is explained in one line."""
        if intervention is None:
            self.refresh_panels()
            return
        behind = not self.session.cursor.at_end
        try:
            self.session.intervene(intervention)
        except (RuntimeError, ValueError) as error:
            self.say(f"That cannot be done: {error}.")
            return
        if self.player.playing:
            self.player.start(time_of(self.session))
        branch = " What had followed is left behind." if behind else ""
        self._arrived(quiet=True, notice=f"Done.{branch} Press → to see what comes of it, or space to let time run.")

    def _ask(self, dialog: Dialog) -> None:
        if not self.session.can_intervene:
            self.say("This is a recording: nothing in it can be changed.")
        else:
            self.push_screen(dialog, self.do)

    def action_write(self) -> None:
        """Ask what to write."""
        self._ask(WriteDialog(self.known_nodes(), self.chosen))

    def action_fault(self) -> None:
        """Ask what shall happen."""
        self._ask(FaultMenu(self.known_nodes(), self.chosen))

    def action_model(self) -> None:
        """The same run under the other host model, up to the same time."""
        session = self.session
        if not isinstance(session, Simulation):
            self.say("The host model belongs to a simulation; this is a recording.")
            return
        now = session.scenario.host_model
        other = HostModel.MEASURED if now is HostModel.ARTICLE else HostModel.ARTICLE
        self.pause()
        twin = session.with_host_model(other)
        twin.advance(time_of(session))
        self.session = twin
        words = {
            HostModel.ARTICLE: "one loop per host, a slow disk stops everything",
            HostModel.MEASURED: "separate processes as on a real node, the token does not wait for a disk",
        }
        self._arrived(quiet=True, notice=f"Now the {other.value} model: {words[other]}. The same run, the same time.")

    # --------------------------------------------------------------------------------------------------------- look

    def action_maximise(self) -> None:
        """The focused panel as large as possible, or everything again."""
        super().action_maximise()
        self.refresh_panels()

    def default_panel(self) -> Widget:
        """The open page."""
        return self.base.query_one(f"#page-{self.base.query_one(Tabs).page}")

    def known_nodes(self) -> list[NodeView]:
        """All nodes at the cursor, by node id."""
        view = self.session.cursor.view
        return [node for _, node in sorted(view.nodes.items())]

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
        """A click chooses, a second click lets go."""
        self.choose(0 if self.chosen == message.nodeid else message.nodeid)

    def action_tab(self, page: str) -> None:
        """Open a page of the tabs; in the widest layout some have their own place."""
        if self._is_wide and page in ELSEWHERE_WHEN_WIDE:
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
            for words, intervention in fault_commands(self.known_nodes()):
                yield SystemCommand(words, "now, at the cursor", partial(self.do, intervention))
        yield SystemCommand("theme by name", "all themes", self.action_change_theme)


def framed(panel: Panel) -> Panel:
    """A panel with a frame and a title, which can have the focus."""
    panel.add_class("framed")
    panel.can_focus = True
    return panel


def run_cockpit(session: Session, lesson: Widget | None = None) -> None:
    """Open the cockpit on a session and stay until the user leaves. Raises SettingsError."""
    if session.cursor.position < 0 and not session.can_intervene:
        session.cursor.move_to(0)
    app = Cockpit(session, lesson, load_settings())
    if session.can_intervene and lesson is None:
        app.call_later(app.offer_tour)
    app.run()
