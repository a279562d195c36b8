"""Progress survives the program, and a broken file loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lessons.learner import Learner
from totemviz.lessons.progress import FILE_NAME, Progress
from totemviz.sim.folders import state_folder


@pytest.mark.parametrize("index", [0, 1, 3, 5, 8])
def test_coming_back_finds_the_same_cluster(tmp_path: Path, index: int) -> None:
    learner = Learner(wrong=True)
    learner.up_to(index)
    Progress(tmp_path).note(learner.run)
    again = Progress(tmp_path).resume(learner.run.lesson)
    assert again.place == learner.run.place
    assert again.answers == learner.run.answers
    assert again.told == learner.run.told
    old, new = learner.session, again.session
    assert new is not old
    assert new.cursor.event == old.cursor.event
    assert list(new.timeline)[: new.cursor.position + 1] == list(old.timeline)[: old.cursor.position + 1]
    rest = Learner(run=again)
    rest.up_to(9)
    assert again.finished


def test_finished_lessons_start_afresh(tmp_path: Path) -> None:
    learner = Learner()
    learner.up_to(9)
    Progress(tmp_path).note(learner.run)
    progress = Progress(tmp_path)
    assert progress.records["domino"].finished
    assert progress.resume(learner.run.lesson).place == (1, 9)


def test_a_record_that_no_longer_fits_starts_afresh(tmp_path: Path) -> None:
    learner = Learner()
    learner.up_to(4)
    progress = Progress(tmp_path)
    progress.note(learner.run)
    text = progress.path.read_text()
    for old, new in (('"steps": 9', '"steps": 8'), ('"3": 1', '"3": 7'), ("seed = 7", "sed = 7")):
        assert old in text
        progress.path.write_text(text.replace(old, new))
        assert Progress(tmp_path).resume(learner.run.lesson).place == (1, 9)


def test_broken_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for number in (1, 2):
        path.write_text("{ no JSON")
        progress = Progress(tmp_path)
        assert progress.records == {}
        assert "\n" not in progress.warning
        assert str(path) in progress.warning
        aside = tmp_path / f"{FILE_NAME}.broken-{number}"
        assert aside.name in progress.warning
        assert aside.read_text() == "{ no JSON"
        assert not path.exists()


def test_folder_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTEMVIZ_STATE_DIR", str(tmp_path / "state"))
    assert state_folder() == tmp_path / "state"
    learner = Learner()
    Progress().note(learner.run)
    assert (tmp_path / "state" / FILE_NAME).is_file()
    monkeypatch.delenv("TOTEMVIZ_STATE_DIR")
    assert state_folder().name == "totemviz"
