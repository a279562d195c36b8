"""The top line (what run this is, where in it we are) and the explaining line under it."""

from __future__ import annotations

from totemviz.trace.headline import headline
from totemviz.trace.sentences import sentence
from totemviz.trace.words import grouped
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    DIM,
    FAINT,
    GOOD,
    HEAD,
    PLAIN,
    TOKEN,
    YOU,
    Drawing,
    Line,
    clip,
    clock,
    line_width,
    wrap,
)
from totemviz.tui.panel import Panel
from totemviz.tui.player import FASTEST

NEAR = 1.2
"""A speed achieved that is nearer to the one asked for than by this factor is that one."""


def speed_text(speed: float) -> str:
    """``1×``, ``0.001×``; ``as fast as possible`` for a speed without limit."""
    if speed == FASTEST:
        return "as fast as possible"
    return f"{speed:g}×" if speed >= 0.0001 else f"{speed:.5f}×"


def _rounded(speed: float) -> str:
    """Two digits of a measured speed are calm enough to read."""
    digits = max(0, len(str(int(speed))) - 2)
    return f"{grouped(int(round(speed, -digits)))}×" if speed >= 10 else f"{speed:.2g}×"


def playing_text(moment: Moment) -> str:
    """``1×`` while the run keeps the speed asked for, else the speed it really has: ``37× of 100×``, ``max 370×``."""
    speed, achieved = moment.speed, moment.achieved
    if speed == FASTEST:
        return f"max {_rounded(achieved)}" if achieved else "max"
    if not achieved or 1 / NEAR < achieved / speed < NEAR:
        return speed_text(speed)
    return f"{_rounded(achieved)} of {speed_text(speed)}" if achieved < speed else f"{_rounded(achieved)} with skips"


_RUNS = {(False, False): "❚❚ ", (True, False): "▶ ", (True, True): "◀ "}


class HeaderLine(Panel):
    """Name and run on the left; clock, position and speed on the right."""

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        run = moment.view.run
        left: Line = [(" totemviz ", TOKEN), ("▏", FAINT)]
        if run is not None:
            parts = [f"{len(run.nodes)} nodes"]
            if run.world == "recorded":
                parts.append("recording")
            else:
                parts += [f"{run.host_model} model"] if run.host_model else []
                parts.append(f"seed {run.seed}")
            left.append((" · ".join(parts), PLAIN))
            if branch := moment.branch:
                left.append((f" ▸ “{branch}”", YOU))
            elif run.title:
                left.append((f"  “{run.title}”", DIM))
        place = f"event {grouped(moment.position + 1)} of {grouped(len(moment.timeline))}"
        right: Line = [
            (clock(moment.now_ns), HEAD),
            (f"   {place}   " if width >= 100 else "  ", DIM),
            (_RUNS[moment.playing, moment.backward], GOOD if moment.playing else DIM),
            (f"{playing_text(moment)} ", PLAIN if moment.playing else DIM),
        ]
        room = width - line_width(right)
        left = clip(left, room - 1)
        return Drawing([[*left, (" " * (room - line_width(left)), PLAIN), *right]])


class Headline(Panel):
    """What is going on and why; under it what just happened, or an answer to the user."""

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        view = moment.view
        told = wrap(headline(view, moment.now_ns), width - 2, max(1, height - 1 if moment.notice else height))
        lines: list[Line] = [[(f" {text}", HEAD)] for text in told]
        if moment.notice:
            lines.append([(f" {moment.notice}", YOU)])
        elif len(lines) < height and view.last is not None:
            lines.append([(" just now: ", DIM), (sentence(view.last, view), DIM)])
        return Drawing([clip(line, width) for line in lines[:height]])
