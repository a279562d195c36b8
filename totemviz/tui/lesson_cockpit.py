"""The cockpit with a lesson in it: does what the lesson panel asks for."""

from __future__ import annotations

from totemviz.lessons import Lesson
from totemviz.lessons.progress import Progress
from totemviz.tui.app import Cockpit
from totemviz.tui.lesson_panel import LessonPanel


class LessonCockpit(Cockpit):
    """A lesson being taken; ``progress`` keeps it for the next sitting."""

    def __init__(self, lesson: Lesson, progress: Progress | None = None) -> None:
        progress = progress if progress is not None else Progress()
        self.panel = LessonPanel(progress.resume(lesson), progress)
        super().__init__(self.panel.run.session, self.panel)
        self.warning = progress.warning

    def on_ready(self) -> None:
        """Say what could not be read, once there is a screen to say it on."""
        if self.warning:
            self.notify(self.warning, severity="warning", timeout=15)

    def on_lesson_panel_switch_model(self, _message: LessonPanel.SwitchModel) -> None:
        """Show the same cluster in the model the step plays in, from where the lesson began."""
        self.pause()
        self.session = self.panel.run.switch()
        self._arrived(quiet=True)

    def on_lesson_panel_held(self, _message: LessonPanel.Held) -> None:
        """Stop before the decisive event."""
        self.pause()
        self._arrived(notice="Before you see what happens: what do you expect?")

    def on_lesson_panel_leave(self, _message: LessonPanel.Leave) -> None:
        """Free play has the whole screen; L shows the panel again."""
        if self._base is not None:
            self._base.remove_class("-lesson")
        self._arrived(notice="Free play. L shows the lesson again, and there Enter goes on with it.")

    def action_lesson(self) -> None:
        """Show or hide the lesson; shown, it has the keys."""
        super().action_lesson()
        if self._base is not None and self._base.has_class("-lesson"):
            self.call_after_refresh(self.panel.focus)


def run_lesson(lesson: Lesson) -> None:
    """Open the cockpit with a lesson, where it was left, and stay until the user leaves."""
    LessonCockpit(lesson).run()
