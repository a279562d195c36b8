"""The file format of a lesson: TOML, read strictly. Every error is one line with file, line and mend.

```toml
title = "The domino effect"
summary = "One slow disk, and a node is declared dead: true?"
minutes = 15
start = "3s"                      # virtual time at which the learner takes over

[scenario]                        # as in a scenario file; or: scenario = "file.toml"
host_model = "article"

[[steps]]
title = "A disk stops answering"
text = "A few sentences. **Bold** and `code` are understood."
task = "Stall the disk of node C for 20 s"
hints = ["Press x", "…"]          # from a nudge to the answer
done = "Shown when the step is done."

[[steps.check]]                   # all of them, in the order written
event = "disk_changed"            # a kind of event, see the timeline
node = 3
where = { stall_ns = { at_least = "12s" } }
count = 1                         # so many of them
caused_by = { event = "intervened" }         # one of these is in its chain of causes
no_event = { event = "process_killed" }      # none of these since the check before
spoiled = "What to tell a learner when one came nevertheless."
at_cursor = false                 # true: the learner has gone to that very event

[[steps.check]]                   # or: nothing happens for a while
no_event = { event = "timer_expired", where = { timer = "token loss" } }
during = "5s"

[[steps]]
title = "Your bet"
text = "…"
host_model = "measured"           # the step plays in this model; the lesson switches to it
[steps.predict]
question = "What happens next?"
hold_before = { event = "timer_expired" }    # the cursor stays before such an event until there is an answer
[[steps.predict.choices]]
text = "The token waits"
right = true
because = "Shown after this choice was taken."
```
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from totemviz.corosync.conf import ConfError, CorosyncConf
from totemviz.lessons.match import Matcher, Pattern, PatternError
from totemviz.sim.scenario import (
    Scenario,
    ScenarioError,
    check,
    cluster_conf,
    load_scenario,
)
from totemviz.sim.threads import HostModel
from totemviz.sim.toml_text import TomlError, read
from totemviz.sim.toml_text import line_of as line_of_table
from totemviz.sim.units import SECOND, Duration

CHOICE_KEYS = "abcdef"
"""The letters choices are called by; a question has at most that many."""


class LessonError(ValueError):
    """A lesson that cannot be taken: one line with file, line and mend."""


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something the timeline must show: ``count`` events, or that ``during`` passes without a ``no_event``."""

    event: str = ""
    node: int | None = None
    where: dict[str, Any] = {}
    count: int = 1
    caused_by: Pattern | None = None
    no_event: Pattern | None = None
    during: Duration = Duration(0)
    at_cursor: bool = False
    spoiled: str = ""

    @property
    def pattern(self) -> Pattern:
        """The events counted."""
        return Pattern(self.event, self.node, self.where)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer to a question; ``because`` is shown after it was chosen."""

    text: str
    because: str
    right: bool = False


class Predict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question asked before the event that answers it."""

    question: str
    choices: tuple[Choice, ...]
    hold_before: Pattern | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step: a task with its checks, or a prediction."""

    title: str
    text: str
    task: str = ""
    check: tuple[Check, ...] = ()
    predict: Predict | None = None
    hints: tuple[str, ...] = ()
    done: str = ""
    host_model: HostModel | None = None


class _LessonFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    title: str
    summary: str
    steps: tuple[Step, ...]
    scenario: Scenario | str = Scenario()
    minutes: int = 10
    start: Duration = Duration(3 * SECOND)


class Lesson(msgspec.Struct, frozen=True):
    """A lesson ready to be taken. ``name`` is its file's name without the ending; ``start`` a virtual time."""

    name: str
    title: str
    summary: str
    minutes: int
    start: Duration
    steps: tuple[Step, ...]
    scenario: Scenario
    conf: CorosyncConf


def load_lesson(path: Path) -> Lesson:
    """Read a lesson file. Raises LessonError (one line with file, line and mend), OSError if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LessonError(f"{path}:1: not a text file; a lesson is TOML") from None
    return parse_lesson(text, path)


def _mend(what: str) -> str:
    return "; the fields are listed in totemviz/lessons/format.py" if "unknown field" in what else ""


def parse_lesson(text: str, path: Path) -> Lesson:
    """Read a lesson's TOML; ``path`` is for messages, and for the files it names. Raises LessonError."""
    try:
        file = read(text, _LessonFile, _mend, line_of)
    except TomlError as error:
        raise LessonError(f"{path}:{error}") from None
    try:
        _check_steps(file.steps)
    except PatternError as error:
        raise LessonError(f"{path}:{line_of(text, list(error.place))}: {error}") from None
    scenario, conf = _scenario(file, text, path)
    return Lesson(path.stem, file.title, file.summary, file.minutes, file.start, file.steps, scenario, conf)


def _scenario(file: _LessonFile, text: str, path: Path) -> tuple[Scenario, CorosyncConf]:
    """The scenario a lesson names or contains, and its corosync.conf."""
    try:
        if isinstance(file.scenario, str):
            return load_scenario(path.parent / file.scenario)
        scenario_text = _scenario_lines(text)
        conf = cluster_conf(file.scenario, str(path), path.parent, scenario_text)
        check(file.scenario, conf, str(path), scenario_text)
    except (ScenarioError, ConfError) as error:
        raise LessonError(str(error)) from None
    except OSError as error:
        line = line_of(text, ["scenario"])
        raise LessonError(f"{path}:{line}: cannot read {file.scenario}: {error.strerror}; name a file") from None
    return file.scenario, conf


def _scenario_lines(text: str) -> str:
    """The text with everything blanked but the scenario, as a scenario file has it: for line numbers in errors."""
    lines, inside = [], False
    for line in text.splitlines():
        if re.match(r"\s*\[", line):
            inside = bool(re.match(r"\s*\[+\s*scenario\b", line))
            lines.append(re.sub(r"\bscenario\.", "", line, count=1) if inside and "." in line else "")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines)


def line_of(text: str, place: list[str]) -> int:
    """Line where a place such as ['steps', '2', 'check', '0', 'event'] stands; its table's if it is absent.

    Tables below a step are counted from that step's own line on.
    """
    if len(place) < 2 or place[0] != "steps" or not place[1].isdigit():
        return line_of_table(text, place)
    starts = [i for i, line in enumerate(text.splitlines(), start=1) if re.match(r"\s*\[\[\s*steps\s*\]\]", line)]
    index = int(place[1])
    if index >= len(starts):
        return 1
    first = starts[index]
    last = starts[index + 1] - 1 if index + 1 < len(starts) else None
    part = "\n".join(text.splitlines()[first - 1 : last])
    rest = place[2:]
    line = max(line_of_table(part, ["steps", "0", *rest]), line_of_table(part, ["steps", *rest]) if rest else 1)
    return first + line - 1


def _check_steps(steps: tuple[Step, ...]) -> None:
    """What the types cannot say. Raises PatternError with a place from the top of the file."""
    if not steps:
        raise PatternError(("steps",), "a lesson needs at least one [[steps]]")
    for index, step in enumerate(steps):
        at = ("steps", str(index))
        if bool(step.task) == (step.predict is not None):
            raise PatternError(at, f"step {index + 1} needs either a task or a [steps.predict], exactly one of them")
        if step.predict is not None:
            if step.check:
                raise PatternError((*at, "check"), "a prediction has no checks; use hold_before, or a step of its own")
            _check_predict(step.predict, (*at, "predict"))
        elif not step.check:
            raise PatternError((*at, "task"), "nothing would tell when this task is done; add a [[steps.check]]")
        for number, wanted in enumerate(step.check):
            _check_check(wanted, (*at, "check", str(number)))


def _check_predict(predict: Predict, at: tuple[str, ...]) -> None:
    if not 2 <= len(predict.choices) <= len(CHOICE_KEYS):
        raise PatternError((*at, "choices"), f"{len(predict.choices)} choices; give 2 to {len(CHOICE_KEYS)}")
    if not any(choice.right for choice in predict.choices):
        raise PatternError((*at, "choices", "0"), "no choice is right; mark at least one with right = true")
    if predict.hold_before is not None:
        _compile_at(predict.hold_before, (*at, "hold_before"))


def _check_check(wanted: Check, at: tuple[str, ...]) -> None:
    if bool(wanted.event) == (wanted.during > 0):
        raise PatternError(at, "a check needs either event, or no_event with during")
    if wanted.during > 0 and wanted.no_event is None:
        raise PatternError((*at, "during"), "say what must not happen during that time: add no_event")
    if wanted.during > 0 and (wanted.caused_by is not None or wanted.at_cursor or wanted.where):
        raise PatternError((*at, "during"), "where, caused_by and at_cursor need an event; remove them or during")
    if wanted.count < 1:
        raise PatternError((*at, "count"), f"count {wanted.count} asks for nothing; use 1 or more")
    if wanted.spoiled and wanted.no_event is None:
        raise PatternError((*at, "spoiled"), "nothing can spoil a check without no_event; remove spoiled")
    if wanted.event:
        _compile_at(wanted.pattern, at)
    for name in ("caused_by", "no_event"):
        if (pattern := getattr(wanted, name)) is not None:
            _compile_at(pattern, (*at, name))


def _compile_at(pattern: Pattern, at: tuple[str, ...]) -> None:
    try:
        Matcher(pattern)
    except PatternError as error:
        raise PatternError((*at, *error.place), str(error)) from None
