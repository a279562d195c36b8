"""Why did this happen? The causes of the event at the cursor, back to the first, told in sentences.

The story is ``trace.why``'s. Beside its main line hang the other causes of each of its events, from the graph of all
causes (``trace.causes``).
"""

from __future__ import annotations

from totemviz.trace.causes import Causes
from totemviz.trace.events import Event
from totemviz.trace.sentences import sentence
from totemviz.trace.view import ClusterView
from totemviz.trace.why import BEGINNINGS, Link, Story, story
from totemviz.tui.eventlist import role_of, stamp
from totemviz.tui.moment import Moment
from totemviz.tui.paint import CURSOR, DIM, FAINT, PLAIN, Drawing, Hit, Line, clip, fit, grouped
from totemviz.tui.textpanel import TextPanel

LINKS_MAX = 4_000
"""Causes followed for the panel: some 20 ms of work at worst. ``--why`` follows all."""

ROUTINE = ("", "because", "sent")


class WhyPanel(TextPanel):
    """The chain, nearest cause first. A click on a line goes there."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._causes: Causes | None = None
        self._told: Story | None = None
        self._told_at: tuple[int, Event | None] = (-2, None)

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "why · nearest cause first"

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        event = moment.session.cursor.event
        if event is None:
            return Drawing([[(" Nothing has happened yet.", DIM)]])
        causes = self._causes
        if causes is None or causes.timeline is not moment.timeline:
            causes = self._causes = Causes(moment.timeline)
            self._told_at = (-2, None)
        tale = self._told
        if tale is None or self._told_at != (moment.position, event):
            tale = self._told = story(causes, moment.position, LINKS_MAX)
            self._told_at = (moment.position, event)
        return _draw(tale, causes, moment.view, moment.session.can_intervene, width)


_WHAT_IF = {"done": "W: what if you had not?", "chance": "W: what if it had arrived?"}


def _draw(tale: Story, causes: Causes, view: ClusterView, changeable: bool, width: int) -> Drawing:
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
        for other in _besides(link, tale, causes):
            lines.append([(f"{'':>15}├ and ", FAINT), (sentence(other, view), DIM)])
            hits.append(Hit(0, len(lines) - 1, width, "event", other.id))
        if link.folded:
            steps = "one ordinary step" if link.folded == 1 else f"{grouped(link.folded)} ordinary steps"
            lines.append([(f"{'':>13}  ⋮ ", FAINT), (f"{steps} before that", DIM)])
    words = BEGINNINGS[tale.begin]
    if changeable and tale.begin in _WHAT_IF:
        words = " · ".join(filter(None, (words, _WHAT_IF[tale.begin])))
    if words:
        lines.append([(f"{'':>15}{words}", PLAIN if len(tale.links) > 1 else DIM)])
    return Drawing([clip(line, width) for line in lines], tuple(hits))


def _besides(link: Link, tale: Story, causes: Causes) -> list[Event]:
    """Causes of an event that a rule has put aside for a better one: those the main line does not come through."""
    graph = causes.graph(link.event.id, events_max=2)
    told = {other.event.id for other in tale.links}
    relations = {cause: graph.edges[cause, link.event.id]["relation"] for cause in graph.predecessors(link.event.id)}
    if all(relation in ROUTINE for relation in relations.values()):
        return []
    return [causes.timeline[cause] for cause, how in sorted(relations.items()) if how in ROUTINE and cause not in told]
