"""Why did this happen? The causes of the event at the cursor, back to the first, told in sentences.

Ordinary links of the chain (token hops, mostly) are folded once the story is told; what remains are the turning
points: people, disks, processes, timers, losses and memberships.
"""

from __future__ import annotations

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline
from totemviz.trace.words import sentence
from totemviz.tui.eventlist import role_of, stamp
from totemviz.tui.moment import Moment
from totemviz.tui.paint import CURSOR, DIM, FAINT, PLAIN, Drawing, Hit, Line, clip, fit, grouped
from totemviz.tui.textpanel import TextPanel

NEAR = 3
LINKS_MAX = 50_000
TURNING_POINTS = (
    ev.RunStarted,
    ev.Intervened,
    ev.WriteStarted,
    ev.DiskChanged,
    ev.FsyncStarted,
    ev.FsyncFinished,
    ev.ProcessBlocked,
    ev.ProcessResumed,
    ev.ProcessKilled,
    ev.ProcessStarted,
    ev.DatagramDropped,
    ev.DatagramQueued,
    ev.LinkChanged,
    totem.StateEntered,
    totem.MembershipInstalled,
)
LOUD_TIMERS = ("token loss", "consensus", "token warning")


def is_turning_point(event: Event) -> bool:
    """Whether the event stays in the story when its neighbours are folded."""
    body = event.body
    if isinstance(body, ev.TimerExpired):
        return body.timer in LOUD_TIMERS
    return isinstance(body, TURNING_POINTS)


def story(timeline: Timeline, position: int) -> list[Event | int]:
    """The chain of causes, nearest first; an int stands for that many folded links."""
    told: list[Event | int] = []
    folded = 0
    for link in range(LINKS_MAX):
        if not 0 <= position < len(timeline):
            break
        event = timeline[position]
        if link < NEAR or event.cause < 0 or is_turning_point(event):
            if folded:
                told.append(folded)
                folded = 0
            told.append(event)
        else:
            folded += 1
        position = event.cause
    if folded:
        told.append(folded)
    return told


class WhyPanel(TextPanel):
    """The chain, nearest cause first. A click on a line goes there."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._told: list[Event | int] = []
        self._told_at: tuple[int, Event | None] = (-2, None)

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "why · nearest cause first"

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        event = moment.session.cursor.event
        if event is None:
            return Drawing([[(" Nothing has happened yet.", DIM)]])
        if self._told_at != (moment.position, event):
            self._told = story(moment.timeline, moment.position)
            self._told_at = (moment.position, event)
        lines: list[Line] = []
        hits: list[Hit] = []
        for index, link in enumerate(self._told):
            if isinstance(link, int):
                lines.append([(f"{'':>13}  ⋮ ", FAINT), (f"{grouped(link)} ordinary steps before that", DIM)])
                continue
            text = sentence(link, moment.view)
            if index == 0:
                lines.append([(fit(f"▸{stamp(link.time_ns)}  {text}", width), CURSOR)])
            else:
                lines.append([(f" {stamp(link.time_ns)}  ", DIM), ("↑ because ", FAINT), (text, role_of(link))])
            hits.append(Hit(0, len(lines) - 1, width, "event", link.id))
        last = self._told[-1]
        if isinstance(last, Event) and last.cause < 0:
            lines.append([(f"{'':>13}    that is where it began", PLAIN if len(self._told) > 1 else DIM)])
        return Drawing([clip(line, width) for line in lines], tuple(hits))
