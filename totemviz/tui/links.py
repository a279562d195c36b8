"""The links that do not work as they should: marks on the ring, and one line of words."""

from __future__ import annotations

from typing import NamedTuple

from totemviz.sim.scenario import NetworkSpec
from totemviz.trace.view import ClusterView
from totemviz.trace.words import span, who
from totemviz.tui.circle import Circle, partitions, quorum_words
from totemviz.tui.paint import DIM, GOOD, LINK_BASE, TROUBLE, Hit, Span

Pair = tuple[int, int]
CUT = "╳"
BESIDE_THE_TOKEN = 0.3
"""Where on its way the percent of a lossy link stands; a token in flight is drawn at the middle."""
UNTOUCHED = NetworkSpec()
SLOW_NS = 1_000_000
"""Links that take so long are told."""

CROSSES_MAX = 12
"""More marks than this would hide the ring; the line below tells."""


class LinkState(NamedTuple):
    """What a link does."""

    loss_percent: float
    delay_ns: int
    cut: bool


def links_of(view: ClusterView, base: NetworkSpec) -> dict[Pair, LinkState]:
    """Every link at the view's moment; ``base`` is what a link does that nobody has changed."""
    states: dict[Pair, LinkState] = {}
    for source in sorted(view.nodes):
        for target in sorted(view.nodes):
            changed = view.links.get((source, target))
            if source == target:
                continue
            if changed is not None:
                states[source, target] = LinkState(changed.loss_percent, changed.delay_ns, changed.cut)
            else:
                states[source, target] = LinkState(base.loss_percent, int(base.delay), False)
    return states


def draw_links(circle: Circle, view: ClusterView) -> list[Hit]:
    """Marks ╳ on cut links and the percent on lossy ones, once per pair of nodes; a wall of ╳ between partitions."""
    hits: list[Hit] = []
    marks: dict[tuple[int, int], tuple[str, int]] = {}
    walls: dict[int, list[int]] = {}
    for (source, target), link in view.cut_links.items():
        if source not in circle.home or target not in circle.home:
            continue
        place = source * LINK_BASE + target
        here, there = sorted((circle.home[source].group, circle.home[target].group))
        if link.cut and here != there:
            walls.setdefault(there, []).append(place)
            continue
        pair = (min(source, target), max(source, target))
        text = CUT if link.cut else f"{link.loss_percent:g}%"
        if marks.get(pair, ("", 0))[0] != CUT:
            marks[pair] = (text, place)
    if len(marks) <= CROSSES_MAX:
        for (source, target), (text, place) in marks.items():
            column, row = circle.link_cell(source, target, 0.5 if text == CUT else BESIDE_THE_TOKEN)
            column = circle.canvas.text(column - len(text) // 2, row, text, TROUBLE)
            hits.append(Hit(column, row, len(text), "link", place))
    for group in range(1, len(circle.groups)):
        column = circle.region(group)[0]
        places = walls.get(group, [])
        for row in range(1, circle.canvas.height - 1, 2):
            circle.canvas.text(column, row, CUT, TROUBLE)
            if places:
                hits.append(Hit(column, row, 1, "link", places[(row // 2) % len(places)]))
    return hits


def draw_quorum(circle: Circle, view: ClusterView) -> None:
    """Over each partition, what its nodes say of quorum."""
    if not circle.divided:
        return
    for index, group in enumerate(circle.groups):
        words, good = quorum_words(view, group)
        first, width = circle.region(index)
        text = words if len(words) < width - 1 else words.removeprefix("quorum: ")
        circle.canvas.text(first + (width - len(text)) // 2, 0, text, GOOD if good else TROUBLE)


def link_words(view: ClusterView, base: NetworkSpec = UNTOUCHED) -> list[Span]:
    """One line about the links, trouble first: partitions, else each cut pair; then what is lost or slow where.

    ``base`` is what a link does that nobody has changed.
    """
    cut = {key for key, link in view.cut_links.items() if link.cut}
    spans: list[Span] = []
    if cut:
        groups = partitions(view)
        if len(groups) > 1:
            text = " ╳ ".join(" ".join(who(view, nodeid) for nodeid in group) for group in groups)
        else:
            text = " ".join(_pairs(view, cut, "╳", "→╳"))
        spans.append((f" cut: {text} ", TROUBLE))
    losses: dict[float, set[tuple[int, int]]] = {}
    delays: dict[int, set[tuple[int, int]]] = {}
    for key, link in links_of(view, base).items():
        if link.loss_percent and not link.cut:
            losses.setdefault(link.loss_percent, set()).add(key)
        if link.delay_ns >= SLOW_NS and not link.cut:
            delays.setdefault(link.delay_ns, set()).add(key)

    def where(links: set[tuple[int, int]]) -> str:
        everywhere = len(links) + len(cut) >= len(view.nodes) * (len(view.nodes) - 1)
        return "" if everywhere else " " + " ".join(_pairs(view, links, "–", "→"))

    spans += [(f" loss {percent:g} %{where(links)} ", TROUBLE) for percent, links in sorted(losses.items())[::-1]]
    spans += [(f" delay {span(delay)}{where(links)} ", TROUBLE) for delay, links in sorted(delays.items())[::-1]]
    return spans or [(" all links work", DIM)]


def links_told(view: ClusterView, base: NetworkSpec = UNTOUCHED) -> bool:
    """Whether there is anything to tell of the links."""
    return any(link.cut or link.loss_percent or link.delay_ns >= SLOW_NS for link in links_of(view, base).values())


def _pairs(view: ClusterView, links: set[tuple[int, int]], both: str, one: str) -> list[str]:
    """Pairs of nodes; a link that is only affected one way says which."""
    words = []
    for source, target in sorted(links):
        if (target, source) not in links:
            words.append(f"{who(view, source)}{one}{who(view, target)}")
        elif source < target:
            words.append(f"{who(view, source)}{both}{who(view, target)}")
    return words
