"""The lesson panel: what it shows at each size, and that keys and mouse do what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import App

from tests.lessons.learner import Learner
from tests.tui.lesson_app import LessonApp, run_at
from totemviz.lessons.progress import Progress
from totemviz.sim.threads import HostModel
from totemviz.tui.lesson_panel import LessonPanel, inline, paragraphs

SIZES = [(80, 24), (120, 40), (200, 60)]
Snap = Callable[..., bool]


def shown(app: App[None]) -> str:
    """The screen as text, spaces and frames squeezed."""
    strips = app.screen._compositor.render_strips()
    text = " ".join("".join(segment.text for segment in strip) for strip in strips)
    return " ".join(text.replace("│", " ").replace("▌", " ").split())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("moment", ["start", "prediction", "declared", "end"])
def test_snapshot(snap_compare: Snap, moment: str, size: tuple[int, int]) -> None:
    assert snap_compare(LessonApp(run_at(moment)), terminal_size=size)


def test_inline_markup() -> None:
    content = inline("a **b** `c [3]` *d*")
    assert content.plain == "a b c [3] d"
    assert [(content.plain[span.start : span.end], span.style) for span in content.spans] == [
        ("b", "bold"),
        ("c [3]", "$secondary"),
        ("d", "italic"),
    ]


def test_paragraphs() -> None:
    assert list(paragraphs("\none\ntwo\n\n- a\n  b\n- c\n\nend\n")) == [
        (False, "one two"),
        (True, "a b"),
        (True, "c"),
        (False, "end"),
    ]


async def test_hints_one_by_one() -> None:
    app = LessonApp(run_at("start"))
    async with app.run_test(size=(120, 40)) as pilot:
        hints = app.run_of_lesson.lesson.steps[0].hints
        assert "H hint (2)" in shown(app)
        await pilot.press("H")
        await pilot.pause()
        assert "Faults are things" in shown(app) and "Choose node C" not in shown(app)
        await pilot.press("H", "H")
        await pilot.pause()
        assert "Choose node C" in shown(app) and "H hint" not in shown(app)
        assert len(hints) == 2


@pytest.mark.parametrize(("key", "verdict"), [("a", "Not quite."), ("b", "Right."), ("c", "Not quite.")])
async def test_choices_by_key(key: str, verdict: str) -> None:
    app = LessonApp(run_at("prediction"))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d")
        assert app.run_of_lesson.question_open
        await pilot.press(key)
        await pilot.pause()
        assert verdict in shown(app)
        assert "5 of 9" in shown(app)
        assert app.told == ["held", "Your bet"]
        await pilot.press(key)  # nothing is asked any more
        assert app.run_of_lesson.place == (5, 9)


async def test_choices_and_keys_by_mouse() -> None:
    app = LessonApp(run_at("prediction"))
    async with app.run_test(size=(120, 40)) as pilot:
        choices = list(app.query(".choice"))
        await pilot.click(choices[2])
        await pilot.pause()
        assert app.run_of_lesson.answers == {3: 2}
        await pilot.click(next(key for key in app.query(".key") if "free" in str(key.render())))
        await pilot.pause()
        assert app.told == ["held", "Your bet", "leave"]


async def test_free_play_and_coming_back() -> None:
    app = LessonApp(run_at("prediction"))
    async with app.run_test(size=(120, 40)) as pilot:
        run = app.run_of_lesson
        gate = run.session.cursor.position
        await pilot.press("F", "a", "H")
        await pilot.pause()
        assert run.question_open and run.hints_shown == 0
        run.session.advance(10**9)
        app.query_one(LessonPanel).follow()
        assert run.session.cursor.position > gate
        assert "Free play" in shown(app)
        await pilot.press("enter")
        await pilot.pause()
        assert run.session.cursor.position == gate
        assert run.held
        assert "What will A and B do?" in shown(app)


async def test_switching_the_model_and_the_end() -> None:
    app = LessonApp(run_at("switch"))
    async with app.run_test(size=(120, 40)) as pilot:
        assert "measured model" in shown(app)
        await pilot.press("enter")
        await pilot.pause()
        run = app.run_of_lesson
        assert app.told == ["switch to measured"]
        assert run.wants_model is None
        Learner(run=run).let_time_run()
        app.query_one(LessonPanel).follow()
        assert run.place == (9, 9)
        await pilot.press("b")
        await pilot.pause()
        assert run.finished
        assert "That was the lesson" in shown(app) or "honest list" in shown(app)
        assert app.told[-2:] == ["What really goes wrong", "finished domino"]


async def test_follow_ticks_off_and_holds() -> None:
    learner = Learner()
    learner.up_to(2)
    app = LessonApp(learner.run)
    async with app.run_test(size=(120, 40)) as pilot:
        panel = app.query_one(LessonPanel)
        learner.session.advance(3 * 10**9)
        panel.follow()
        await pilot.pause()
        assert app.told == ["C waits, and the token arrives", "held"]
        assert "The cluster holds here until you have chosen." in shown(app)
        panel.follow()
        await pilot.pause()
        assert app.told.count("held") == 1


async def test_show_follows_the_session_of_the_app() -> None:
    app = LessonApp(run_at("start"))
    async with app.run_test(size=(120, 40)) as pilot:
        run = app.run_of_lesson
        other = Learner().session.with_host_model(HostModel.MEASURED)
        app.query_one(LessonPanel).show(type("Moment", (), {"session": other})())
        await pilot.pause()
        assert run.session is other
        assert "This step plays in the article model." in shown(app)


async def test_progress_is_kept(tmp_path: Path) -> None:
    app = LessonApp(run_at("prediction"), Progress(tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("b")
        await pilot.pause()
    assert Progress(tmp_path).records["domino"].done == 4


async def test_progress_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    progress = Progress(tmp_path)
    progress.path = tmp_path / "file" / "lessons.json"
    app = LessonApp(run_at("prediction"), progress)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("b")
        await pilot.pause()
        assert ["Progress is not kept" in note.message for note in app._notifications] == [True]
        assert app.run_of_lesson.place == (5, 9)
