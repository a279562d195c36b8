"""The log page: what the daemons wrote, as an admin sees it, and under it what the line looked at means."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from totemviz.pmxcfs.process import EPOCH_S
from totemviz.totem import effects as totem
from totemviz.totem.effects import Level
from totemviz.trace import events as ev
from totemviz.trace import logs
from totemviz.trace.events import Event
from totemviz.trace.loglines import meaning_of
from totemviz.trace.sentences import sentence
from totemviz.trace.view import ClusterView
from totemviz.trace.wallclock import RIGHT, ClockSetting
from totemviz.tui.eventlist import EventList
from totemviz.tui.index import EventIndex
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, FAINT, HEAD, PLAIN, Drawing, Line, clip, line_width, wrap

EXPLAINED_FROM_ROWS = 7
MEANING_ROWS = 2
SECOND_NS = 1_000_000_000


class LogList(EventList):
    """Log lines of the chosen node in the form its daemons write them, or of all nodes; debug lines on request."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *EventList.BINDINGS,
        Binding("d", "debug", "show debug lines, or not", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, keep=self._is_log)
        self.debug = False
        self._node = 0
        self._starts = EventIndex(lambda event: isinstance(event.body, ev.ProcessStarted))
        self._clocks = EventIndex(lambda event: isinstance(event.body, ev.ClockSet))

    def show(self, moment: Moment) -> None:  # noqa: D102
        if moment.chosen != self._node:
            self._node = moment.chosen
            self._begin_anew()
        super().show(moment)

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "log"

    def _begin_anew(self) -> None:
        self.index = EventIndex(self._is_log)
        self.looking = None
        self._texts = {}

    def action_debug(self) -> None:
        """Corosync writes no debug lines unless told to."""
        self.debug = not self.debug
        self._begin_anew()
        self.redraw()

    def _is_log(self, event: Event) -> bool:
        body = event.body
        if not isinstance(body, totem.Log) or self._node not in (0, event.node):
            return False
        return self.debug or body.level not in (Level.DEBUG, Level.TRACE)

    def nothing(self) -> str:  # noqa: D102
        return "no log line yet (d: debug lines too)"

    # ---------------------------------------------------------------------------------------------------- drawing

    def text(self, event: Event, view: ClusterView) -> str:
        """As in the daemon's own log file when one node is chosen, shorter when all are shown."""
        body = event.body
        assert isinstance(body, totem.Log)
        if self._node == 0 or self.moment is None:
            return f"{logs.process_of(body):<8} {body.level:<7} [{body.subsystem:<6}] {body.text}"
        line = logs.LogLine(event.time_ns, *self._origin(event, body, view), body, self._ahead_ns(event))
        run = view.run
        epoch_s = run.epoch_ns // SECOND_NS if run is not None and run.epoch_ns else EPOCH_S
        return logs.text(line, epoch_s)

    def _origin(self, event: Event, body: totem.Log, view: ClusterView) -> tuple[str, str, int]:
        """Node name, daemon and its pid."""
        assert self.moment is not None
        process = logs.process_of(body)
        self._starts.sync(self.moment.timeline)
        name = view.nodes[event.node].info.name if event.node in view.nodes else str(event.node)
        for row in range(self._starts.row_of(event.id), -1, -1):
            start = self.moment.timeline[self._starts.event_id(row)]
            if start.node == event.node and isinstance(start.body, ev.ProcessStarted) and start.body.process == process:
                return name, process, start.body.pid
        return name, process, 0

    def _ahead_ns(self, event: Event) -> int:
        """How far the node's wall clock was ahead when it wrote the line."""
        assert self.moment is not None
        self._clocks.sync(self.moment.timeline)
        for row in range(self._clocks.row_of(event.id), -1, -1):
            clock = self.moment.timeline[self._clocks.event_id(row)]
            if clock.node == event.node and isinstance(clock.body, ev.ClockSet):
                setting = ClockSetting(clock.time_ns, clock.body.ahead_ns, clock.body.drift_ppm)
                return setting.ahead_at(event.time_ns)
        return RIGHT.ahead_ns

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        if height < EXPLAINED_FROM_ROWS:
            return super().draw(moment, width, height)
        rows = height - MEANING_ROWS - 2
        drawing = super().draw(moment, width, rows)
        if not len(self.index):
            return drawing
        row = self.index.row_of(moment.position) if self.looking is None else self.looking
        if row < 0:
            return drawing
        event = moment.timeline[self.index.event_id(row)]
        lines: list[Line] = [*drawing.lines, *([] for _ in range(rows - len(drawing.lines)))]
        return Drawing([*lines, *explained(event, moment, width)], drawing.hits)


def explained(event: Event, moment: Moment, width: int) -> list[Line]:
    """What a log line means, what printed it, and the event behind it: ``MEANING_ROWS`` + 2 rows."""
    body = event.body
    assert isinstance(body, totem.Log)
    meaning = meaning_of(body)
    told = meaning.text if meaning is not None else "This line is in no table."
    place: Line = [("─ ", FAINT), (meaning.source if meaning is not None else "?", HEAD), (" printed it ", DIM)]
    place.append(("─" * max(0, width - line_width(place)), FAINT))
    texts = wrap(told, width - 2, MEANING_ROWS)
    lines = [clip(place, width), *([(f" {text}", PLAIN)] for text in texts)]
    lines += [[] for _ in range(MEANING_ROWS - len(texts))]
    behind = moment.timeline[event.cause] if event.cause >= 0 else None
    because = sentence(behind, moment.view) if behind is not None else "nothing that is shown"
    lines.append(
        clip([(" behind it: ", DIM), (because, PLAIN), ("   (enter goes there, d: debug lines)", FAINT)], width)
    )
    return lines
