"""Long work behind a bar: it is done in instalments between frames, and escape gives it up with nothing changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label

from totemviz.sim.instalments import Instalments

AT_ONCE_S = 0.2
"""Work that takes less needs no bar."""

INSTALMENT_S = 0.04
FRAMES_PER_SECOND = 15
BAR = 50

Outcome: TypeAlias = Callable[[], Any]
"""Called, it gives the result of the work, or raises what the work raised."""


class _Run:
    """Work that is going on."""

    def __init__(self, work: Instalments[Any]) -> None:
        self.work = work
        self.share = 0.0

    def on(self, seconds: float) -> Outcome | None:
        """Go on for some time; the outcome once there is one."""
        until_s = time.monotonic() + seconds
        try:
            while time.monotonic() < until_s:
                self.share = next(self.work)
        except StopIteration as done:
            return _giving(done.value)
        except (RuntimeError, ValueError) as error:
            return _raising(error)
        return None


def _giving(value: Any) -> Outcome:
    return lambda: value


def _raising(error: Exception) -> Outcome:
    def outcome() -> Any:
        raise error

    return outcome


class Words(NamedTuple):
    """What the bar says: what goes on, and what giving up means."""

    title: str
    hint: str


MADE_AGAIN = Words("the run is made again", "esc give it up: nothing is changed")
RUNS_ON = Words("the run goes on", "esc stop here")


def begin(work: Instalments[Any], words: Words) -> Outcome | Progress:
    """Do a little of it: the outcome if that was all, else the bar that does the rest."""
    run = _Run(work)
    return run.on(AT_ONCE_S) or Progress(run, words)


class Progress(ModalScreen[Outcome | None]):
    """The bar. Gives the outcome, None if it was given up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "give it up", show=False)]

    def __init__(self, run: _Run, words: Words) -> None:
        super().__init__()
        self._run, self._words = run, words

    def compose(self) -> ComposeResult:  # noqa: D102
        with Vertical(classes="box") as box:
            box.border_title, box.border_subtitle = self._words
            yield Label("", id="bar")

    def on_mount(self) -> None:
        """Draw, and go on between frames."""
        self._draw()
        self.set_interval(1 / FRAMES_PER_SECOND, self._go_on)

    def _draw(self) -> None:
        full = round(self._run.share * BAR)
        text = f"{'█' * full}{'░' * (BAR - full)} {self._run.share:4.0%}"
        self.query_one("#bar", Label).update(Content(text))

    def _go_on(self) -> None:
        if not self.is_current:
            return
        outcome = self._run.on(INSTALMENT_S)
        if outcome is not None:
            self.dismiss(outcome)
        else:
            self._draw()

    def action_leave(self) -> None:
        """Nothing of it has been seen by anybody yet."""
        self._run.work.close()
        self.dismiss(None)
