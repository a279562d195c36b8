"""Where the nodes of a ring panel lie: on one circle, or on one per partition when links divide the cluster."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from totemviz.totem.effects import RingId
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView
from totemviz.tui.canvas import Canvas

LABEL_ROWS = 2
STEPS = 240
FULL_TURN = 2 * math.pi
GROUPS_MAX = 3
"""More partitions than this have no room side by side: they stay on one circle."""


def rings(nodes: list[NodeView]) -> dict[RingId, list[int]]:
    """The rings that exist: id → members that are in it now, in the token's order."""
    found: dict[RingId, list[int]] = defaultdict(list)
    for node in nodes:
        if node.ring_id is not None and node.state in ("OPERATIONAL", "RECOVERY") and node.info.nodeid in node.members:
            found[node.ring_id].append(node.info.nodeid)
    return dict(found)


def partitions(view: ClusterView) -> list[list[int]]:
    """The groups of nodes between which no link works both ways."""
    left = sorted(view.nodes)
    cut = {key for key, link in view.cut_links.items() if link.cut}
    groups: list[list[int]] = []
    while left:
        group, reached = [], [left.pop(0)]
        while reached:
            nodeid = reached.pop()
            group.append(nodeid)
            near = [other for other in left if (nodeid, other) not in cut and (other, nodeid) not in cut]
            reached += near
            left = [other for other in left if other not in near]
        groups.append(sorted(group))
    return groups


def quorum_words(view: ClusterView, group: list[int]) -> tuple[str, bool]:
    """What the votequorum of a group's nodes says, and whether it is good news; nothing if none of them says it."""
    said = {view.nodes[nodeid].quorate for nodeid in group} - {None}
    if not said:
        return "", True
    if len(said) == 2:
        return "quorum: not agreed", False
    return ("quorum", True) if True in said else ("no quorum", False)


class _Home(NamedTuple):
    """A node's place: its group's ellipse in dots, its angle on it, and how many share it."""

    cx: float
    cy: float
    rx: float
    ry: float
    angle: float
    group: int
    nodes: int


def _turn(one: _Home, other: _Home) -> float:
    return (other.angle - one.angle) % FULL_TURN or FULL_TURN


def _are_neighbours(one: _Home, other: _Home) -> bool:
    return one.group == other.group and (_turn(one, other) <= FULL_TURN / one.nodes + 1e-6 or one.nodes <= 2)


def _way(one: _Home, other: _Home, share: float) -> tuple[float, float]:
    if _are_neighbours(one, other):
        return _on_circle(one, _turn(one, other) * share)
    (x1, y1), (x2, y2) = _on_circle(one), _on_circle(other)
    return x1 + (x2 - x1) * share, y1 + (y2 - y1) * share


def _on_circle(home: _Home, turned: float = 0.0) -> tuple[float, float]:
    angle = home.angle + turned
    return home.cx + home.rx * math.cos(angle), home.cy + home.ry * math.sin(angle)


@lru_cache(maxsize=1024)
def _dots(one: _Home, other: _Home, upto: float) -> tuple[tuple[int, int], ...]:
    """The dots of an edge: the same at every step, until a node or a partition comes or goes."""
    ways = (_way(one, other, step / STEPS) for step in range(int(STEPS * upto) + 1))
    return tuple(dict.fromkeys((int(x), int(y)) for x, y in ways))


class Circle:
    """Where on the canvas things lie. Angles go clockwise from the top, as the token does."""

    def __init__(self, canvas: Canvas, groups: list[list[int]]) -> None:
        self.canvas = canvas
        self.groups = groups if len(groups) <= GROUPS_MAX else [[*chain.from_iterable(groups)]]
        self.home: dict[int, _Home] = {}
        for index, group in enumerate(self.groups):
            left, width = self.region(index)
            ry = max(4.0, canvas.height * 2 - LABEL_ROWS * 4 - 2)
            rx = min(ry * 1.6, width - (12.0 if not self.divided else 10.0))
            count = len(group)
            if count == 1 and self.divided:
                rx = ry = 0.0
            start = -math.pi / 2 if (count != 4 and count % 2) or count == 2 else -math.pi / 2 - math.pi / count
            if count == 2:
                start = math.pi
            for i, nodeid in enumerate(sorted(group)):
                angle = start + 2 * math.pi * i / count
                self.home[nodeid] = _Home(2 * left + width, canvas.height * 2, rx, ry, angle, index, count)

    @property
    def divided(self) -> bool:
        """Whether the groups are drawn apart."""
        return len(self.groups) > 1

    def region(self, group: int) -> tuple[int, int]:
        """A group's first column and its number of columns."""
        first, end = (self.canvas.width * (group + more) // len(self.groups) for more in (0, 1))
        return first, end - first

    def at(self, nodeid: int) -> tuple[float, float]:
        """Dot coordinates of a node."""
        return _on_circle(self.home[nodeid])

    def neighbours(self, source: int, target: int) -> bool:
        """Whether the target follows the source on one circle."""
        return _are_neighbours(self.home[source], self.home[target])

    def way(self, source: int, target: int, share: float) -> tuple[float, float]:
        """The dot a share of the way along the edge: an arc between neighbours, a chord past absent nodes."""
        return _way(self.home[source], self.home[target], share)

    def edge(self, source: int, target: int, role: str, upto: float = 1.0) -> None:
        """Draw an edge, or its first part."""
        for x, y in _dots(self.home[source], self.home[target], upto):
            self.canvas.dot(x, y, role)

    def cell(self, source: int, target: int, share: float) -> tuple[int, int]:
        """The cell a share of the way along the edge."""
        x, y = self.way(source, target, share)
        return int(x) // 2, int(y) // 4

    def link_cell(self, one: int, other: int, share: float) -> tuple[int, int]:
        """A cell of the link between two nodes, on the circle and in the token's direction between neighbours."""
        if self.neighbours(other, one) and not self.neighbours(one, other):
            one, other = other, one
        return self.cell(one, other, share)

    def node_cell(self, nodeid: int) -> tuple[int, int]:
        """The cell of a node."""
        x, y = self.at(nodeid)
        return int(x) // 2, int(y) // 4
