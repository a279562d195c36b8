from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.widgets import Input

from tests.tui.picture import picture, pictures
from tests.tui.synthetic import Playable, Session, Story, domino, recording
from totemviz.sim.interventions import Pause, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, Duration
from totemviz.tui import code, progress, source
from totemviz.tui.app import Cockpit
from totemviz.tui.settings import Settings


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch, tmp_path):
    """Pictures and colours must not depend on the machine's environment, and keys must not leave files behind."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_ANIMATIONS", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOTEMVIZ_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TOTEMVIZ_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def still_cursor(monkeypatch):
    """A cursor that blinks is in a picture or is not, as the machine is fast or slow."""
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However busy the machine: what a test does is done at once, not behind a bar."""
    monkeypatch.setattr(progress, "AT_ONCE_S", 3600.0)


class TextPicture(SingleFileSnapshotExtension):
    """One file per picture."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def snap_compare(snapshot):
    """Compare a screen with the picture that was accepted; ``--snapshot-update`` accepts the present one."""
    kept = snapshot.use_extension(TextPicture)

    def compare(app, press=(), terminal_size=(80, 24), run_before=None):
        return picture(app, press, terminal_size, run_before) == kept

    return compare


@pytest.fixture
def all_accepted(snapshot):
    """Take a picture per step and compare each with its own; names those that differ."""
    kept = snapshot.use_extension(TextPicture)

    def compare(app, steps, size):
        seen = pictures(app, steps, size)
        return [step for step, drawing in seen.items() if not drawing == kept(name=step)]  # noqa: SIM201 - syrupy's way

    return compare


def cockpit_on(session: Session, settings: Settings | None = None) -> Cockpit:
    """A cockpit that does not move by itself."""
    app = Cockpit(session, settings=settings)
    app.animation_level = "none"
    return app


def cockpit_at(mark: str | int = "held", kind: str = "domino", settings: Settings | None = None) -> Cockpit:
    """A cockpit on the hand-made run, at one of its marks."""
    story = domino() if kind == "domino" else recording()
    session = Playable(story.timeline) if kind == "domino" else Session(story.timeline)
    session.cursor.move_to(story.marks[mark] if isinstance(mark, str) else mark)
    return cockpit_on(session, settings)


def cockpit_after(story: Story, settings: Settings | None = None) -> Cockpit:
    """A cockpit at the end of a hand-made run."""
    session = Playable(story.timeline)
    session.cursor.move_to(len(story.timeline) - 1)
    return cockpit_on(session, settings)


@pytest.fixture(scope="session")
def two_branches():
    """A run in which C's pmxcfs stands still while a file is written, and the same run without the pause."""
    scenario = Scenario(title="one write", seed=7, host_model=HostModel.MEASURED)
    session = Simulation(scenario, cluster_conf(scenario, "pictures", Path()))
    session.warm_up()
    before = session.cursor.position
    session.intervene(Write(node=1))
    session.advance(20 * MS)
    session.cursor.move_to(before)
    session.intervene(Pause(node=3, process="pmxcfs", duration=Duration(10 * SECOND)))
    session.intervene(Write(node=1))
    session.advance(400 * MS)
    return session


STILL = '''def visit(node: Instance, token: Token) -> None:
    """A token visit, as an example: pictures must not change with every line of the real one."""
    if token.seq < node.token_seq:
        return  # an old copy
    node.out.append(TokenReceived(token.seq, token.aru))
    _retransmit_check(node, token)
'''


@pytest.fixture(autouse=True)
def still_code(request, monkeypatch, tmp_path):
    """The code page shows a function that never changes, except where it is tested itself."""
    if request.module.__name__.endswith("test_code"):
        return
    (tmp_path / "totem").mkdir()
    (tmp_path / "totem" / "token.py").write_text(STILL)
    source._text.cache_clear()
    monkeypatch.setattr(source, "ROOT", tmp_path)
    function = source.Function("totem/token.py", "visit", 1, STILL.count("\n"), (5,))
    monkeypatch.setattr(code, "functions_of", lambda event: (function,))
    monkeypatch.setattr(code, "handler_of", lambda event, timeline, lives: None)
    request.addfinalizer(source._text.cache_clear)


@pytest.fixture
def open_at():
    """``cockpit_at``, for pictures."""
    return cockpit_at
