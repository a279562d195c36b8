"""The real cockpit and the lesson in it: the whole way, by keys where keys are, and kept for the next time."""

from __future__ import annotations

from pathlib import Path

from tests.lessons.learner import Learner
from totemviz.lessons import find_lesson
from totemviz.lessons.progress import FILE_NAME, Progress
from totemviz.sim.interventions import StallDisk, Write
from totemviz.sim.units import SECOND, Duration
from totemviz.tui.lesson_cockpit import LessonCockpit


async def test_the_lesson_in_the_cockpit(tmp_path: Path) -> None:
    app = LessonCockpit(find_lesson("domino"), Progress(tmp_path))
    run = app.panel.run
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.do(StallDisk(node=3, duration=Duration(20 * SECOND)))
        app.do(Write(node=1))
        for _ in range(400):
            if run.index == 3:
                break
            await pilot.press("full_stop")
        assert run.index == 3
        for key in ("m", "m", "right_square_bracket"):
            await pilot.press(key)
        await pilot.pause()
        assert run.held and app.session.cursor.at_end
        await pilot.press("F", "m")
        await pilot.pause()
        assert not app.screen.has_class("-lesson")
        assert app.session.cursor.view.time_ns > 8 * SECOND
        await pilot.press("L")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.has_class("-lesson") and run.held
        await pilot.press("b", "m")
        await pilot.pause()
        assert run.index == 5
        learner = Learner(run=run)
        learner.up_to(6)
        await pilot.press("c")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert app.session is run.session
        assert run.wants_model is None
        learner.let_time_run()
        app.refresh_panels()
        await pilot.press("b")
        await pilot.pause()
        assert run.finished
    assert Progress(tmp_path).records["domino"].finished


async def test_the_a_key_does_not_confuse_the_lesson(tmp_path: Path) -> None:
    app = LessonCockpit(find_lesson("domino"), Progress(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert app.panel.run.session is app.session
        assert app.panel.run.wants_model is not None
        await pilot.press("enter")
        await pilot.pause()
        assert app.panel.run.wants_model is None
        assert app.panel.run.session is app.session


async def test_a_broken_progress_file_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("?")
    app = LessonCockpit(find_lesson("domino"), Progress(tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert ["not a progress file" in note.message for note in app._notifications] == [True]
