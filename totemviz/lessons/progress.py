"""What is kept of lessons between two sittings: one JSON file in ``folders.state_folder``.

Besides the steps done it keeps the run itself, as a scenario with its interventions and the position of the cursor: a
run is deterministic, so that is the same cluster at the same event. A file that cannot be read is set aside, never
overwritten.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from totemviz.corosync.conf import ConfError
from totemviz.lessons.format import Lesson
from totemviz.lessons.gated import GatedSimulation
from totemviz.lessons.run import LessonRun
from totemviz.sim.folders import state_folder, write_whole
from totemviz.sim.scenario import ScenarioError, check, dump_scenario, parse_scenario
from totemviz.sim.session import Simulation

FILE_NAME = "lessons.json"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One lesson: steps done of ``steps``, the choices taken by step, and the run."""

    done: int
    steps: int
    answers: dict[int, int] = {}
    scenario: str = ""
    position: int = -1

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return self.done >= self.steps


class Progress:
    """The records by lesson name. ``warning`` is one line if the file could not be read."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or state_folder()) / FILE_NAME
        self.warning = ""
        self.records: dict[str, Record] = {}
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            self.warning = f"{self.path}: cannot be read ({error.strerror}); progress is not kept"
            return
        try:
            self.records = msgspec.json.decode(data, type=dict[str, Record])
        except msgspec.MsgspecError as error:
            aside = self._set_aside()
            self.warning = f"{self.path}: not a progress file ({error}); it is now {aside.name}, lessons start afresh"

    def note(self, run: LessonRun) -> None:
        """Keep where a run is. Raises OSError if the file cannot be written."""
        session = run.session
        scenario = dump_scenario(session.saved()) if isinstance(session, Simulation) else ""
        record = Record(run.index, len(run.lesson.steps), run.answers, scenario, session.cursor.position)
        self.records = {**self.records, run.lesson.name: record}
        write_whole(self.path, msgspec.json.format(msgspec.json.encode(self.records)).decode())

    def forget(self, name: str) -> None:
        """Start a lesson afresh next time."""
        self.records = {key: record for key, record in self.records.items() if key != name}

    def resume(self, lesson: Lesson) -> LessonRun:
        """The lesson where it was left; from its beginning if it was never begun, is finished, or has changed since."""
        record = self.records.get(lesson.name)
        run = None
        if record is not None and not record.finished and record.steps == len(lesson.steps):
            run = _resumed(lesson, record)
        return run if run is not None else LessonRun.open(lesson)

    def _set_aside(self) -> Path:
        number = 1
        while (aside := self.path.with_name(f"{FILE_NAME}.broken-{number}")).exists():
            number += 1
        return self.path.rename(aside)


def _resumed(lesson: Lesson, record: Record) -> LessonRun | None:
    """None if the run cannot be made again, or its answers do not fit the lesson."""
    for index in range(record.done):
        predict = lesson.steps[index].predict
        if predict is not None and not 0 <= record.answers.get(index, -1) < len(predict.choices):
            return None
    try:
        scenario = parse_scenario(record.scenario, lesson.name)
        check(scenario, lesson.conf, lesson.name)
    except (ScenarioError, ConfError):
        return None
    session = GatedSimulation(scenario, lesson.conf)
    while len(session.timeline) <= record.position and session.world.step():
        pass
    session.cursor.move_to(record.position)
    run = LessonRun(lesson, session)
    run.skip_to(record.done, record.answers)
    return run
