"""Going through time: steps, jumps, playing forward and backward, stops. A part of the cockpit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from textual.timer import Timer

from totemviz.sim.instalments import Instalments
from totemviz.sim.session import Session
from totemviz.sim.units import MS, Duration
from totemviz.trace.conditions import Condition, ConditionError, compile_condition
from totemviz.trace.cursor import Step
from totemviz.trace.words import grouped
from totemviz.tui.ask import Ask, Menu
from totemviz.tui.eventlist import matcher
from totemviz.tui.header import speed_text
from totemviz.tui.manners import Manners
from totemviz.tui.panel import Panel
from totemviz.tui.player import FASTEST, FRAMES_PER_SECOND, Player, time_of
from totemviz.tui.progress import MADE_AGAIN, RUNS_ON, Outcome, Progress, Words, begin
from totemviz.tui.scrubber import Scrubber
from totemviz.tui.settings import Settings

STEPS = {
    "event": Step.EVENT,
    "stage": Step.STAGE,
    "hop": Step.HOP,
    "rotation": Step.ROTATION,
    "delivered": Step.DELIVERED,
    "membership": Step.MEMBERSHIP,
    "eventful": Step.EVENTFUL,
}
STEP_WORDS = {Step.HOP: "token hop", Step.MEMBERSHIP: "new ring", Step.STAGE: "stage of a token visit"}
TIME_STEP_NS = 100 * MS
SEARCH_NS = 120_000 * MS
EVENTS_AT_A_TIME = 2_000_000
"""A run that plays is held after so many new events: they take half a gigabyte."""

INVARIANTS = "invariants"
NEW = "new"
BOOTING = "The cluster comes up …"
BOOT_BUDGET_S, BOOT_PAUSE_S = 0.12, 0.005


class Travel(Manners):
    """The keys that move the cursor, and what holds it."""

    def __init__(self, session: Session, settings: Settings) -> None:
        super().__init__(settings)
        self.session = session
        self.notice = ""
        self.looked = -1
        self.player = Player(time.monotonic, settings.speed)
        self._frames: Timer | None = None
        self._events_before = 0
        self.booting: Iterator[int] | None = None
        self._now_ns = 0
        self._quiet = True

    def refresh_panels(self) -> None:
        """Show the moment at the cursor everywhere."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """One line to the user, until the next step."""
        self.notice = text
        self.refresh_panels()

    def _arrived(self, quiet: bool = False, notice: str = "") -> None:
        """The cursor moved: show it."""
        self._now_ns = time_of(self.session)
        self._quiet = quiet
        self.notice = notice
        self.looked = -1
        self.refresh_panels()

    def _held(self) -> str:
        """Why a stop holds the run, empty if none does."""
        halt = self.session.halt
        return f"Held: {halt.why}." if halt is not None else ""

    # ------------------------------------------------------------------------------------------------------ booting

    def boot(self) -> None:
        """Let the cluster come up, a slice at a time, while the screen is already there; whatever is done ends that."""
        if self.booting is None:
            return
        until_s = time.monotonic() + BOOT_BUDGET_S
        for _ in self.booting:
            if time.monotonic() >= until_s:
                self._arrived(quiet=True, notice=BOOTING)
                self.set_timer(BOOT_PAUSE_S, self.boot)
                return
        self.booting = None
        self._arrived(quiet=True, notice=self._held())

    def stop_booting(self) -> None:
        """The cluster is as far as it is."""
        self.booting = None

    # ------------------------------------------------------------------------------------------------------ long work

    def _work(
        self,
        work: Instalments[Any],
        done: Callable[[Outcome], None],
        words: Words = MADE_AGAIN,
        given_up: Callable[[], None] | None = None,
    ) -> None:
        """Do something that may take long: then behind a bar, and escape gives it up."""
        begun = begin(work, words)
        if not isinstance(begun, Progress):
            done(begun)
            return
        was_playing, backward = self.player.playing, self.player.backward
        self.pause()

        def ended(outcome: Outcome | None) -> None:
            if outcome is not None:
                done(outcome)
                if was_playing:
                    self._play(backward=backward)
            elif given_up is not None:
                given_up()
            else:
                self.say("Given up: nothing is changed.")

        self.push_screen(begun, ended)

    def _run_on(self, work: Instalments[bool], arrived: Callable[[bool], None]) -> None:
        """Let the run go on, as far as may be; escape stops it where it is."""

        def stopped() -> None:
            self.session.come_to_end()
            self._arrived(quiet=True, notice="Stopped: so far the run has come.")

        self._work(work, lambda outcome: arrived(outcome()), RUNS_ON, stopped)

    def _arrived_there(self, _more: bool = True) -> None:
        self._arrived(quiet=True, notice=self._held())

    # -------------------------------------------------------------------------------------------------------- steps

    def action_step(self, unit: str) -> None:
        """Forward to where the next such step ends."""
        self.pause()
        step = STEPS[unit]

        def arrived(found: bool) -> None:
            self._arrived(notice=self._held() or ("" if found else self._nothing_ahead(step)))

        self._run_on(self.session.going_forward(step), arrived)

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

    def action_step_time(self, sign: int) -> None:
        """A tenth of a second of virtual time, forward or back."""
        self.pause()
        if sign > 0:
            self.session.advance(TIME_STEP_NS)
        else:
            self.session.retreat(TIME_STEP_NS)
        self._arrived(quiet=True, notice=self._held())

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

    def action_goto(self) -> None:
        """Ask where to go."""
        hint = "12.3s · +2s · -500ms · #1204 · or words to look for"
        self.push_screen(Ask("where to?", hint, "", self._check_place), self._go)

    def _check_place(self, text: str) -> str:
        """Why there is no such place, empty if there is one."""
        words = text.strip()
        if not words:
            return "type a time, an event number after #, or words"
        if re.fullmatch(r"#\d+", words):
            last = len(self.session.timeline)
            return "" if 1 <= int(words[1:]) <= last else f"there is no event {words}; the last one is #{last}"
        if re.fullmatch(r"[+-]?\d.*", words):
            try:
                Duration.parse(words.lstrip("+-"))
            except ValueError as error:
                return str(error)
            return ""
        return "" if self._found(words) is not None else f"no event after this one has “{words}”"

    def _found(self, words: str) -> int | None:
        keep = matcher(words, self.session.cursor.view)
        return None if keep is None else self.session.cursor.find_event(keep)

    def _go(self, text: str | None) -> None:
        if text is None:
            return
        self.pause()
        words = text.strip()
        if words.startswith("#"):
            self.jump(int(words[1:]) - 1)
        elif re.fullmatch(r"[+-]?\d.*", words):
            span_ns = int(Duration.parse(words.lstrip("+-")))
            if words[0] == "-":
                self.session.retreat(span_ns)
            else:
                ahead_ns = span_ns if words[0] == "+" else span_ns - time_of(self.session)
                if ahead_ns >= 0:
                    self._run_on(self.session.advancing(ahead_ns), self._arrived_there)
                    return
                self.session.retreat(-ahead_ns)
            self._arrived_there()
        elif (found := self._found(words)) is not None:
            self.jump(found)

    # ------------------------------------------------------------------------------------------------------ playing

    def action_play(self) -> None:
        """Run or pause."""
        self._play(backward=False)

    def action_play_back(self) -> None:
        """Let time run backwards, or pause."""
        self._play(backward=True)

    def _play(self, *, backward: bool) -> None:
        self.stop_booting()
        if self.player.playing:
            same = self.player.backward == backward
            self.pause()
            if same:
                self.refresh_panels()
                return
        if not backward and not self.session.can_intervene and self.session.cursor.at_end:
            self.say("This is the end of the recording; home goes back to its begin.")
            return
        self.notice = ""
        self.looked = -1
        self.player.start(max(self._now_ns, time_of(self.session)), backward=backward)
        self._events_before = len(self.session.timeline)
        self._frames = self.set_interval(1 / FRAMES_PER_SECOND, self._frame, name="frames")
        self.refresh_panels()

    def pause(self) -> None:
        """Stop the frames; nothing runs any more."""
        self.stop_booting()
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
            self.notice = self._held()
        elif len(self.session.timeline) - self._events_before > EVENTS_AT_A_TIME:
            self.pause()
            self.notice = f"Held: {grouped(EVENTS_AT_A_TIME)} more events are in memory now. Space goes on."
        self.refresh_panels()

    def action_speed(self, steps: int) -> None:
        """Faster or slower."""
        self.player.change_speed(steps)
        speed = self.player.speed
        if speed == FASTEST:
            self.say("As fast as possible: while it runs, the line above tells how fast that is.")
        else:
            self.say(f"{speed_text(speed)}: that many virtual seconds pass in a second while it runs.")

    def action_skip_idle(self) -> None:
        """Skip idle rounds while running, or do not."""
        self.player.skips_idle = not self.player.skips_idle
        how = "are skipped" if self.player.skips_idle else "are shown"
        self.say(f"Idle rounds of the token {how} while time runs.")

    # -------------------------------------------------------------------------------------------------------- stops

    def action_stops(self) -> None:
        """The list of stops."""
        stops = self.session.stops
        options = [
            (str(index), f"{'[x]' if stop.enabled else '[ ]'} {stop.condition.text}")
            for index, stop in enumerate(stops.items)
        ]
        if self.session.can_intervene:
            options.append((INVARIANTS, f"{'[x]' if stops.check_invariants else '[ ]'} an invariant becomes false"))
        options.append((NEW, "new …"))
        keys = {"enter": "on/off", "e": "edit", "d": "forget", "u": "run until", "n": "new"}
        self.push_screen(Menu("stops: what holds the run", options, keys), self._change_stop)

    def _change_stop(self, answer: tuple[str, str] | None) -> None:
        if answer is None:
            self.refresh_panels()
            return
        key, chosen = answer
        stops = self.session.stops
        if key == "n" or chosen == NEW:
            self._ask_stop("", None)
            return
        if chosen == INVARIANTS:
            stops.check_invariants = not stops.check_invariants
        else:
            stop = stops.items[int(chosen)]
            if key == "e":
                self._ask_stop(stop.condition.text, int(chosen))
                return
            if key == "u":
                self._run_until(stop.condition)
                return
            if key == "d":
                del stops.items[int(chosen)]
            else:
                stop.enabled = not stop.enabled
        self.action_stops()

    def _ask_stop(self, text: str, replaced: int | None) -> None:
        hint = 'membership_installed · log("failed") · node(B).state == GATHER · token.age > 2s · fsync(3) > 500ms'

        def take(answer: str | None) -> None:
            if answer is not None:
                if replaced is not None:
                    del self.session.stops.items[replaced]
                self.session.stops.add(self._condition(answer))
            self.action_stops()

        self.push_screen(Ask("stop where this becomes true", hint, text, self._check_condition), take)

    def _condition(self, text: str) -> Condition:
        infos = [node.info for _, node in sorted(self.session.cursor.view.nodes.items())]
        return compile_condition(text, infos)

    def _check_condition(self, text: str) -> str:
        try:
            self._condition(text)
        except ConditionError as error:
            return str(error)
        return ""

    def _run_until(self, condition: Condition) -> None:
        """Run on until one condition becomes true, two minutes at most."""
        self.pause()

        def arrived(found: bool) -> None:
            notice = self._held() if found else f"“{condition.text}” was not true in two minutes."
            self._arrived(quiet=True, notice=notice)

        self._run_on(self.session.running_until(condition, SEARCH_NS), arrived)
