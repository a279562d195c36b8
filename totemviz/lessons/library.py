"""Where the lessons lie: in the installed package (``totemviz/_data/lessons``), or in a checkout's ``lessons/``."""

from __future__ import annotations

from pathlib import Path

from totemviz.lessons.format import Lesson, LessonError, load_lesson

_PACKAGE = Path(__file__).resolve().parent.parent


def lessons_folder() -> Path:
    """The folder with the lesson files. Raises FileNotFoundError, saying how to mend it, if there is none."""
    for folder in (_PACKAGE / "_data" / "lessons", _PACKAGE.parent / "lessons"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{_PACKAGE}: no lessons beside the program; install totemviz again")


def all_lessons(folder: Path | None = None) -> dict[str, Lesson]:
    """Every lesson by name, in the order of the names. Raises LessonError for the first one that cannot be read."""
    return {path.stem: load_lesson(path) for path in sorted((folder or lessons_folder()).glob("*.toml"))}


def find_lesson(name: str, folder: Path | None = None) -> Lesson:
    """The lesson of that name. Raises LessonError that lists the names if there is none."""
    folder = folder or lessons_folder()
    paths = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if name not in paths:
        raise LessonError(f"there is no lesson {name!r}; use one of {', '.join(paths)}")
    return load_lesson(paths[name])
