"""The panel a lesson lives in: what is asked, hints, and a check mark when the timeline shows it done.

It fills the place the app gives it: a column at the right, or the whole body where there are few columns. The app moves
the session as always and calls ``follow`` (or ``show``) before it draws anything; what the panel cannot do itself it
asks for by messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Protocol

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from totemviz.lessons.format import CHOICE_KEYS, Lesson, Step
from totemviz.lessons.progress import Progress
from totemviz.lessons.run import LessonRun
from totemviz.sim.session import Session
from totemviz.sim.threads import HostModel

DONE, HERE, AHEAD, WRONG = "✓", "▸", "·", "✗"

_INLINE = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`")
_INLINE_STYLES = ("bold", "italic", "$secondary")


def inline(text: str) -> Content:
    """A line with **bold**, *italic* and `code`."""
    parts: list[str | tuple[str, str]] = []
    end = 0
    for match in _INLINE.finditer(text):
        parts.append(text[end : match.start()])
        group = match.lastindex or 1
        parts.append((match[group], _INLINE_STYLES[group - 1]))
        end = match.end()
    return Content.assemble(*parts, text[end:])


def paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """(is a list item, text without line breaks) for every paragraph."""
    for block in re.split(r"\n\s*\n", text.strip()):
        for part in re.split(r"\n(?=- )", block):
            item = part.startswith("- ")
            yield item, " ".join(part.removeprefix("- ").split())


class _HasSession(Protocol):
    @property
    def session(self) -> Session: ...


class _Prose(Vertical):
    """Paragraphs and lists; ``mark`` stands before the first line."""

    def __init__(self, text: str, mark: str = "", classes: str = "") -> None:
        super().__init__(classes=classes)
        self._text = text
        self._mark = mark

    def compose(self) -> ComposeResult:
        mark = self._mark
        previous: bool | None = None
        for item, text in paragraphs(self._text):
            apart = previous is not None and not (previous and item)
            row = Horizontal(
                *([Static(mark or ("•" if item else ""), classes="mark")] if item or self._mark else []),
                Static(inline(text), classes="words"),
            )
            row.set_class(apart, "apart")
            yield row
            mark, previous = "", item


class _Choice(Horizontal):
    """One answer, to be clicked."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(classes="choice")
        self.index = index
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(Content.styled(CHOICE_KEYS[self.index], "bold $secondary"), classes="mark")
        yield Static(inline(self._text), classes="words")


class _Button(Static):
    """A key with what it does, to be clicked."""

    def __init__(self, key: str, text: str, action: str) -> None:
        super().__init__(Content.assemble((key, "bold $secondary"), f" {text}"), classes="key")
        self.action = action


class LessonPanel(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A lesson being taken; ``progress`` keeps it for the next sitting."""

    DEFAULT_CSS = """
    LessonPanel {
        width: 1fr;
        height: 1fr;
        padding: 0 1;
        border: round $secondary;
        border-title-color: $secondary;
        scrollbar-size-vertical: 1;
        Vertical, Horizontal, Static { height: auto; }
        .mark { width: 2; }
        .words { width: 1fr; }
        .apart { margin-top: 1; }
        .places { color: $foreground 60%; margin-bottom: 1; }
        .told { border-left: outer $success; padding-left: 1; margin-bottom: 1; color: $foreground 85%; }
        .told.wrong { border-left: outer $primary; }
        .title { text-style: bold; }
        .ask { border: round $secondary; padding: 0 1; margin-top: 1; }
        .choice { margin-top: 1; padding: 0 1; }
        .choice:hover { background: $secondary 20%; }
        .spoiled { border-left: outer $error; padding-left: 1; margin-top: 1; }
        .hint { border-left: outer $secondary; padding-left: 1; margin-top: 1; }
        .keys { margin-top: 1; }
        .key { width: auto; margin-right: 2; }
        .key:hover { text-style: underline; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("H", "hint", "Hint"),
        Binding("F", "leave", "Free play"),
        Binding("enter", "switch", "Switch model"),
        Binding("enter", "come_back", "Back to the lesson"),
        Binding("up", "scroll_up", show=False),
        Binding("down", "scroll_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        *(Binding(key, f"choose({index})", show=False) for index, key in enumerate(CHOICE_KEYS)),
    ]

    class StepDone(Message):
        """The timeline shows a step done, or its question was answered."""

        def __init__(self, step: Step) -> None:
            super().__init__()
            self.step = step

    class SwitchModel(Message):
        """The learner wants the next step's host model: call ``run.switch()`` and show the session it returns."""

        def __init__(self, model: HostModel) -> None:
            super().__init__()
            self.model = model

    class Finished(Message):
        """Every step is done."""

        def __init__(self, lesson: Lesson) -> None:
            super().__init__()
            self.lesson = lesson

    class Held(Message):
        """The cursor stands before an event that may not be seen yet, perhaps moved back: pause, and draw again."""

    class Leave(Message):
        """The learner wants the cluster for free play: the panel may be hidden; the session stays."""

    def __init__(self, run: LessonRun, progress: Progress | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.run = run
        self.progress = progress
        self._hints: tuple[str, ...] = ()
        self._shown: object = None
        self._was_held = False

    # ------------------------------------------------------------------------------------------------ what it shows

    def compose(self) -> ComposeResult:
        """Everything, from the state of the run."""
        run = self.run
        self.border_title = run.lesson.title
        number, total = run.place
        yield Static(f"{_track(run)}  {number} of {total}", classes="places")
        if run.left:
            yield _Prose("Free play: the cluster is as you left it, and nothing is held back. The lesson waits here.")
            yield Horizontal(*self._keys(), classes="keys")
            return
        if run.told:
            right = run.was_right is not False
            verdict = {True: "Right. ", False: "Not quite. ", None: ""}[run.was_right]
            told = verdict + run.told.lstrip()
            yield _Prose(told, DONE if right else WRONG, "told" if right else "told wrong")
        step = run.step
        if step is None:
            yield Static("That was the lesson. The cluster is yours.", classes="title")
        else:
            yield from self._compose_step(step)
        yield Horizontal(*self._keys(), classes="keys")

    def _compose_step(self, step: Step) -> ComposeResult:
        run = self.run
        yield Static(inline(step.title), classes="title")
        model = run.wants_model
        if model is not None:
            yield _Prose(f"This step plays in the **{model.value}** model.", HERE, "ask")
            return
        yield _Prose(step.text)
        if step.predict is not None:
            yield _Prose(step.predict.question, "?", "ask")
            for index, choice in enumerate(step.predict.choices):
                yield _Choice(index, choice.text)
            if run.held:
                yield _Prose("The cluster holds here until you have chosen.", classes="hint")
        else:
            yield _Prose(step.task, HERE, "ask")
        if run.spoiled:
            yield _Prose(run.spoiled, WRONG, "spoiled")
        for hint in self._hints:
            yield _Prose(hint, classes="hint")

    def _keys(self) -> Iterator[_Button]:
        run, step = self.run, self.run.step
        if run.left:
            yield _Button("Enter", "back to the lesson", "come_back")
            return
        if run.wants_model is not None:
            yield _Button("Enter", "start it", "switch")
        elif step is not None and (left := len(step.hints) - run.hints_shown) > 0:
            yield _Button("H", f"hint ({left})", "hint")
        if step is not None:
            yield _Button("F", "free play", "leave")

    # ---------------------------------------------------------------------------------------------- following a run

    def on_mount(self) -> None:
        """Start with what the cursor shows already."""
        self.follow()

    def follow(self) -> None:
        """Look at the session again: call this after every move of the cursor, before anything is drawn.

        The cursor may be moved back, to before what may not be seen yet; ``Held`` tells so.
        """
        for step in self.run.update():
            self._tell_done(step)
        if self.run.held and not self._was_held:
            self.post_message(self.Held())
        self._was_held = self.run.held
        self._show()

    def show(self, moment: _HasSession) -> None:
        """Follow whatever session the app shows now."""
        if moment.session is not self.run.session:
            self.run.attach(moment.session)
        self.follow()

    def _tell_done(self, step: Step) -> None:
        self._hints = ()
        self.post_message(self.StepDone(step))
        self._keep()
        if self.run.finished:
            self.post_message(self.Finished(self.run.lesson))

    def _keep(self) -> None:
        if self.progress is None:
            return
        try:
            self.progress.note(self.run)
        except OSError as error:
            self.progress = None
            self.app.notify(f"Progress is not kept: {error}", severity="warning")

    def _show(self) -> None:
        run = self.run
        shown = (run.index, run.left, run.held, run.spoiled, run.wants_model, self._hints)
        if shown == self._shown:
            return
        before, self._shown = self._shown, shown
        if before is None or run.question_open or run.wants_model is not None:
            self.focus(scroll_visible=False)  # its letters answer now
        if before is not None:
            self.refresh(recompose=True)
        if not isinstance(before, tuple) or before[0] != run.index:
            self.scroll_home(animate=False)
        elif self._hints or run.held or run.spoiled:
            self.call_after_refresh(self.scroll_end, animate=False)

    # ------------------------------------------------------------------------------------------------------ actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing now are left to the app."""
        run, step = self.run, self.run.step
        if action == "come_back":
            return run.left
        if run.left:
            return action not in ("choose", "switch", "hint", "leave")
        if action == "leave":
            return step is not None
        if action == "choose":
            predict = step.predict if step is not None and run.question_open else None
            return predict is not None and isinstance(parameters[0], int) and parameters[0] < len(predict.choices)
        if action == "switch":
            return run.wants_model is not None
        if action == "hint":
            return step is not None and run.wants_model is None and run.hints_shown < len(step.hints)
        return True

    def action_choose(self, index: int) -> None:
        """Answer the question."""
        step = self.run.step
        self.run.answer(index)
        if step is not None:
            self._tell_done(step)
        self.follow()

    def action_hint(self) -> None:
        """Show one hint more."""
        self._hints = self.run.hint()
        self._show()

    def action_switch(self) -> None:
        """Ask the app for the other host model."""
        if (model := self.run.wants_model) is not None:
            self.post_message(self.SwitchModel(model))

    def action_leave(self) -> None:
        """Free play."""
        self.run.leave()
        self.post_message(self.Leave())
        self._show()

    def action_come_back(self) -> None:
        """Go on with the lesson where it was left."""
        self.run.come_back()
        self.follow()

    def on_click(self, event: events.Click) -> None:
        """A choice or a key was clicked."""
        for widget in event.widget.ancestors_with_self if event.widget is not None else ():
            if isinstance(widget, _Choice) and self.check_action("choose", (widget.index,)):
                self.action_choose(widget.index)
                return
            if isinstance(widget, _Button) and self.check_action(widget.action, ()):
                getattr(self, f"action_{widget.action}")()
                return


def _track(run: LessonRun) -> str:
    """``✓✓▸····``: the steps."""
    total = len(run.lesson.steps)
    here = HERE if run.index < total else ""
    return DONE * run.index + here + AHEAD * (total - run.index - len(here))
