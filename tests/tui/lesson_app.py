"""A bare app around a lesson panel, as the cockpit would use it, and the moments of the lesson worth looking at."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.containers import Container, Horizontal
from textual.widgets import Static

from tests.lessons.learner import Learner
from totemviz.lessons import LessonRun
from totemviz.lessons.progress import Progress
from totemviz.tui.lesson_panel import LessonPanel


class LessonApp(App[None]):
    """The cluster is a grey area here; the panel is the real one."""

    CSS = """
    #cluster { width: 1fr; height: 1fr; background: $surface; }
    #lesson { width: 40; height: 1fr; }
    Screen.-narrow #cluster { display: none; }
    Screen.-narrow #lesson { width: 100%; }
    Screen.-wide #lesson { width: 64; }
    """
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (110, "-normal"), (180, "-wide")]

    def __init__(self, run: LessonRun, progress: Progress | None = None) -> None:
        super().__init__()
        self.progress = progress
        self.run_of_lesson = run
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(id="cluster")
            with Container(id="lesson"):
                yield LessonPanel(self.run_of_lesson, self.progress)

    def on_mount(self) -> None:
        self.query_one(LessonPanel).focus()

    def on_lesson_panel_step_done(self, message: LessonPanel.StepDone) -> None:
        self.told.append(message.step.title)

    def on_lesson_panel_switch_model(self, message: LessonPanel.SwitchModel) -> None:
        self.told.append(f"switch to {message.model.value}")
        self.run_of_lesson.switch()
        self.query_one(LessonPanel).follow()

    def on_lesson_panel_finished(self, message: LessonPanel.Finished) -> None:
        self.told.append(f"finished {message.lesson.name}")

    def on_lesson_panel_held(self, _message: LessonPanel.Held) -> None:
        self.told.append("held")

    def on_lesson_panel_leave(self, _message: LessonPanel.Leave) -> None:
        self.told.append("leave")


def run_at(moment: str) -> LessonRun:
    """The domino lesson at a named moment, always the same."""
    learner = Learner()
    if moment != "start":
        learner.up_to({"prediction": 3, "declared": 6, "switch": 7, "end": 9}[moment])
    if moment == "prediction":
        learner.run_into_the_gate()
    return learner.run
