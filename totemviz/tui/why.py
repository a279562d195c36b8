"""Why did this happen? The causes of the event at the cursor, back to the first: drawn (``whygraph``) and told.

The story is ``trace.why``'s. Beside its main line hang the other causes of each of its events, from the graph of all
causes (``trace.causes``). Where the graph has no room, a list tells the same, nearest cause first.
"""

from __future__ import annotations

from totemviz.trace.causes import Causes
from totemviz.trace.events import Event
from totemviz.trace.sentences import sentence
from totemviz.trace.view import ClusterView
from totemviz.trace.why import BEGINNINGS, Story, story
from totemviz.trace.words import folded_words
from totemviz.tui.eventlist import role_of, stamp
from totemviz.tui.moment import Moment
from totemviz.tui.paint import CURSOR, DIM, FAINT, PLAIN, Drawing, Hit, Line, clip, fit
from totemviz.tui.textpanel import TextPanel
from totemviz.tui.whygraph import ROUTINE, besides, draw_graph

LINKS_MAX = 4_000
"""Causes followed for the panel: some 20 ms of work at worst. ``--why`` follows all."""


class WhyPanel(TextPanel):
    """The graph, or the chain. A click on a line goes there."""

    tells_above = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._causes: Causes | None = None
        self._drawn: Drawing | None = None
        self._drawn_at: tuple[int, Event | None, int, bool] = (-2, None, 0, False)

    def first_row(self, moment: Moment, lines: list[Line], height: int) -> int:
        """The graph ends with what was asked about."""
        return len(lines) if self.pinned else 0

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        event = moment.session.cursor.event
        if event is None:
            self.pinned = 0
            return Drawing([[(" Nothing has happened yet.", DIM)]])
        causes = self._causes
        if causes is None or causes.timeline is not moment.timeline:
            causes = self._causes = Causes(moment.timeline)
            self._drawn = None
        changeable = moment.session.can_intervene
        if self._drawn is not None and self._drawn_at == (moment.position, event, width, changeable):
            return self._drawn
        tale = story(causes, moment.position, LINKS_MAX)
        self._drawn_at = (moment.position, event, width, changeable)
        words = BEGINNINGS[tale.begin]
        if changeable and tale.begin in _WHAT_IF:
            words = " · ".join(filter(None, (words, _WHAT_IF[tale.begin])))
        graph = draw_graph(tale, causes, moment.view, words, width) if len(tale.links) > 1 else None
        self.pinned = 1 if graph is not None else 0
        self._drawn = graph if graph is not None else _draw(tale, causes, moment.view, words, width)
        return self._drawn


_WHAT_IF = {"done": "W: what if you had not?", "chance": "W: what if it had arrived?"}


def _draw(tale: Story, causes: Causes, view: ClusterView, words: str, width: int) -> Drawing:
    lines: list[Line] = []
    hits: list[Hit] = []
    for index, link in enumerate(reversed(tale.links)):
        event = link.event
        text = sentence(event, view)
        if index == 0:
            lines.append([(fit(f"▸{stamp(event.time_ns)}  {text}", width), CURSOR)])
        else:
            how = "because" if link.relation in ROUTINE else f"{link.relation}:"
            lines.append([(f" {stamp(event.time_ns)}  ", DIM), (f"↑ {how} ", FAINT), (text, role_of(event))])
        hits.append(Hit(0, len(lines) - 1, width, "event", event.id))
        for other in besides(link, tale, causes):
            lines.append([(f"{'':>15}├ and ", FAINT), (sentence(other, view), DIM)])
            hits.append(Hit(0, len(lines) - 1, width, "event", other.id))
        if link.folded:
            lines.append([(f"{'':>13}  ⋮ ", FAINT), (f"{folded_words(link.folded)} before that", DIM)])
    if words:
        lines.append([(f"{'':>15}{words}", PLAIN if len(tale.links) > 1 else DIM)])
    return Drawing([clip(line, width) for line in lines], tuple(hits))
