from __future__ import annotations

import pytest

from tests.tui.synthetic import Playable, Session, domino, recording
from totemviz.tui.app import Cockpit


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    """Pictures and colours must not depend on the machine's environment."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def open_at():
    """A cockpit on the hand-made run, at one of its marks."""

    def build(mark: str | int = "held", kind: str = "domino") -> Cockpit:
        story = domino() if kind == "domino" else recording()
        session = Playable(story.timeline) if kind == "domino" else Session(story.timeline)
        session.cursor.move_to(story.marks[mark] if isinstance(mark, str) else mark)
        app = Cockpit(session)
        app.animation_level = "none"
        return app

    return build
