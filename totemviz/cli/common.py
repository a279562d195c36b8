"""What all commands share: errors of one line, exit codes, reading recordings."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from totemviz.trace.recorded import Recording
    from totemviz.trace.timeline import Timeline

FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")

VIOLATED = 1
BAD_INPUT = 2
INTERRUPTED = 130

MENDS = {
    errno.ENOENT: "; check the path",
    errno.ENOTDIR: "; check the path",
    errno.EISDIR: "; name a file in it",
    errno.EACCES: "; you may not use it: change its permissions, or name another",
    errno.EROFS: "; name a file somewhere else",
    errno.ENOSPC: "; make room there, or name a file somewhere else",
}
"""What to do about what the system says of a file."""


class BadInput(Exception):  # noqa: N818 - the user's, not the program's
    """One line that says what is wrong with the input and how to mend it."""


def need_terminal() -> None:
    """Raises BadInput where no screen can be drawn: in a pipe, in a script."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("the cockpit needs a terminal to draw on; in a script use totemviz run --headless")


class DurationParameter(click.ParamType[int]):
    """A virtual time, as in a scenario: 50us, 250ms, 6s, 2min. Becomes integer nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: D102
        from totemviz.sim.units import Duration

        try:
            return Duration.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def print_transcript(timeline: Timeline, kinds: tuple[str, ...], nodes: tuple[int, ...]) -> None:
    """Print a run as text, one event a line; only some kinds or nodes if any are named."""
    from totemviz.trace.transcript import transcript

    for text in transcript(timeline, kinds or None, nodes or None):
        click.echo(text)


def load_recording(paths: list[Path]) -> tuple[Timeline, bytes]:
    """The timeline of captures or of one saved run, and its summary as JSON."""
    import msgspec

    from totemviz.trace.timeline import Timeline

    with paths[0].open("rb") as file:
        first = file.read(1)
    if first == b"{":
        from totemviz.trace.summary import summarise

        if len(paths) > 1:
            raise BadInput(f"{paths[1]}: a saved run is looked at alone; give one .jsonl file")
        timeline = Timeline.load(paths[0])
        last_ns = timeline[-1].time_ns if len(timeline) else 0
        return timeline, msgspec.json.encode(summarise(timeline, last_ns, 0.0))

    recording = read_captures(paths)
    return recording.timeline, msgspec.json.encode(recording.summary)


def read_captures(paths: list[Path]) -> Recording:
    """Captures of one cluster, with progress for a person; what is wrong with a file goes to standard error."""
    from totemviz.trace.recorded import load_recording

    hidden = not sys.stderr.isatty()
    total = sum(path.stat().st_size for path in paths)
    with click.progressbar(length=total, label="reading", file=sys.stderr, hidden=hidden) as bar:
        recording = load_recording(paths, progress=lambda done, _total: bar.update(max(0, done - bar.pos)))
    for warning in recording.summary.warnings:
        click.echo(warning, err=True)
    return recording


def for_node_option(flag: str, name: str, metavar: str, text: str) -> Callable[[FC], FC]:
    """An option with a node id and a path or file, as often as one likes."""
    return click.option(flag, name, type=(int, str), multiple=True, metavar=metavar, help=text)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what a user can cause into ``BadInput`` with one line."""
    from totemviz.corosync.conf import ConfError
    from totemviz.sim.saved_profiles import ProfileError
    from totemviz.sim.scenario import ScenarioError
    from totemviz.trace.capture import CaptureError
    from totemviz.trace.recorded_services import NothingToExportError
    from totemviz.trace.shadow_record import NothingToShadow
    from totemviz.trace.timeline import TimelineError
    from totemviz.tui.settings import SettingsError

    try:
        yield
    except (
        ScenarioError,
        ConfError,
        TimelineError,
        CaptureError,
        NothingToShadow,
        NothingToExportError,
        ProfileError,
        SettingsError,
    ) as error:
        raise BadInput(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        name = error.filename if error.filename is not None else "file"
        mend = MENDS.get(error.errno or 0, "")
        raise BadInput(f"{name}: {error.strerror or error}{mend}") from None
