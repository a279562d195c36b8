"""The ring panel: nodes on a circle in the order of the token's way, the token where it is, cut links, partitions."""

from __future__ import annotations

import math
from collections import defaultdict

from rich.cells import cell_len

from totemviz.totem.effects import RingId
from totemviz.trace.view import ClusterView, NodeView
from totemviz.trace.words import span, who
from totemviz.tui import marks
from totemviz.tui.canvas import Canvas
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    CHANGED,
    CHOSEN,
    DIM,
    FAINT,
    HEAD,
    LINK_BASE,
    TOKEN,
    TOKEN_MARK,
    TROUBLE,
    Drawing,
    Hit,
    Span,
    clip,
)
from totemviz.tui.panel import Panel

ARROWS = "→↘↓↙←↖↑↗"  # by eighths of a turn, clockwise on screen
LABEL_ROWS = 2
STEPS = 240
CROSSES_MAX = 12


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


class _Circle:
    """Where on the canvas things lie. Angles go clockwise from the top, as the token does."""

    def __init__(self, canvas: Canvas, nodes: list[NodeView]) -> None:
        self.canvas = canvas
        self.cx, self.cy = canvas.width, canvas.height * 2
        self.ry = max(4.0, canvas.height * 2 - LABEL_ROWS * 4 - 2)
        self.rx = min(self.ry * 1.6, canvas.width - 12.0)
        count = len(nodes)
        start = -math.pi / 2 if (count != 4 and count % 2) or count == 2 else -math.pi / 2 - math.pi / count
        if count == 2:
            start = math.pi
        self.angle = {node.info.nodeid: start + 2 * math.pi * i / count for i, node in enumerate(nodes)}

    def at(self, angle: float) -> tuple[float, float]:
        """Dot coordinates on the circle."""
        return self.cx + self.rx * math.cos(angle), self.cy + self.ry * math.sin(angle)

    def way(self, source: int, target: int, share: float) -> tuple[float, float]:
        """The dot a share of the way along the edge: an arc between neighbours, a chord past absent nodes."""
        a, b = self.angle[source], self.angle[target]
        turn = (b - a) % (2 * math.pi) or 2 * math.pi
        if turn <= 2 * math.pi / len(self.angle) + 1e-6 or len(self.angle) <= 2:
            return self.at(a + turn * share)
        (x1, y1), (x2, y2) = self.at(a), self.at(b)
        return x1 + (x2 - x1) * share, y1 + (y2 - y1) * share

    def edge(self, source: int, target: int, role: str, upto: float = 1.0) -> None:
        """Draw an edge, or its first part."""
        for step in range(int(STEPS * upto) + 1):
            self.canvas.dot(*self.way(source, target, step / STEPS), role)

    def cell(self, source: int, target: int, share: float) -> tuple[int, int]:
        """The cell a share of the way along the edge."""
        x, y = self.way(source, target, share)
        return int(x) // 2, int(y) // 4

    def node_cell(self, nodeid: int) -> tuple[int, int]:
        """The cell of a node."""
        x, y = self.at(self.angle[nodeid])
        return int(x) // 2, int(y) // 4


class RingPanel(Panel):
    """The circle."""

    def title(self, moment: Moment) -> str:  # noqa: D102
        up = rings(moment.nodes)
        if not up:
            return "no ring"
        if len(up) > 1:
            return " and ".join(f"ring {ring}" for ring in up)
        ring, members = next(iter(up.items()))
        return f"ring {ring} · {len(members)} of {len(moment.nodes)}"

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        view, nodes = moment.view, moment.nodes
        if not nodes:
            return Drawing([[]] * (height // 2) + [[("nobody is here yet", DIM)]])
        canvas = Canvas(width, height - 1)
        circle = _Circle(canvas, nodes)
        for members in rings(nodes).values():
            for index, nodeid in enumerate(members):
                if len(members) > 1:
                    circle.edge(nodeid, members[(index + 1) % len(members)], FAINT)
        hits = self._draw_cuts(circle, view)
        hits += self._draw_flight(circle, view)
        for node in nodes:
            hits += self._draw_node(circle, moment, node)
        self._draw_caption(circle, moment)
        return Drawing([*canvas.lines(), clip([*_links(view)], width)], tuple(hits))

    def _draw_cuts(self, circle: _Circle, view: ClusterView) -> list[Hit]:
        hits: list[Hit] = []
        if len(view.cut_links) > CROSSES_MAX:
            return hits  # the line below tells; so many crosses would hide the ring
        for (source, target), link in view.cut_links.items():
            if link.cut and source in circle.angle and target in circle.angle:
                (x1, y1), (x2, y2) = circle.at(circle.angle[source]), circle.at(circle.angle[target])
                column, row = int(x1 + x2) // 4, int(y1 + y2) // 8
                circle.canvas.text(column, row, "╳", TROUBLE)
                hits.append(Hit(column, row, 1, "link", source * LINK_BASE + target))
        return hits

    def _draw_flight(self, circle: _Circle, view: ClusterView) -> list[Hit]:
        place = view.token
        if place.how not in ("flying", "lost") or place.target not in circle.angle or place.node not in circle.angle:
            return []
        share = 0.5
        circle.edge(place.node, place.target, TOKEN, share)
        column, row = circle.cell(place.node, place.target, share)
        if place.how == "lost":
            circle.canvas.text(column, row, "✖", TROUBLE)
            return []
        circle.canvas.text(column, row, TOKEN_MARK, TOKEN)
        x, y = circle.way(place.node, place.target, share)
        ahead_x, ahead_y = circle.way(place.node, place.target, share + 0.1)
        arrow = ARROWS[round(math.atan2(ahead_y - y, ahead_x - x) / (math.pi / 4)) % 8]
        ahead = circle.cell(place.node, place.target, share + 0.12)
        if ahead == (column, row):
            ahead = (column + (1 if ahead_x >= x else -1), row)
        circle.canvas.text(*ahead, arrow, TOKEN)
        way = (place.node, place.target)
        sent = [f.sent for f in view.flights.values() if f.kind == "orf_token" and (f.source, f.target) == way]
        return [Hit(column, row, 1, "flight", event_id) for event_id in sent[-1:]]

    def _draw_node(self, circle: _Circle, moment: Moment, node: NodeView) -> list[Hit]:
        canvas, view = circle.canvas, moment.view
        nodeid = node.info.nodeid
        column, row = circle.node_cell(nodeid)
        mark, role = marks.marks(view, node)[0]
        canvas.text(column, row, mark, role)
        before = self.lit.changed(f"state {nodeid}", node.state)
        word, word_role = marks.state_word(node, short=len(moment.nodes) > 5)
        name_role = CHOSEN if moment.chosen == nodeid else TOKEN if marks.has_token(view, node) else HEAD
        spans: list[Span] = [(marks.letter(node), name_role)]
        if marks.is_blocked(node):
            spans.append((" ⏳", TROUBLE))
        spans.append((f" {word}", CHANGED if before is not None else word_role))
        detail = _detail(moment, node)
        above = math.sin(circle.angle[nodeid]) < 0.1
        top = row - (2 if detail and row >= 2 else 1) if above else row + 1
        hits = [Hit(column, row, 1, "node", nodeid)]
        width = sum(cell_len(text) for text, _ in spans)
        if abs(math.cos(circle.angle[nodeid])) < 0.2:
            start = column - width // 2
        else:  # outwards, so that the label leaves the way of the token free
            start = column - 2 if math.cos(circle.angle[nodeid]) > 0 else column + 3 - width
        x = start = max(0, min(start, canvas.width - width))
        for text, span_role in spans:
            canvas.text(x, top, text, span_role)
            x += cell_len(text)
        hits.append(Hit(start, top, width, "node", nodeid))
        if detail and len(moment.nodes) <= 5:
            detail = detail if cell_len(detail) < canvas.width // 2 else detail[: canvas.width // 2]
            detail_row = top + 1
            at = start + (width - cell_len(detail)) // 2
            canvas.text(at, detail_row, detail, TROUBLE if marks.is_blocked(node) else DIM)
        return hits

    def _draw_caption(self, circle: _Circle, moment: Moment) -> None:
        """In the middle of the ring: where the token is, in words."""
        view = moment.view
        place = view.token
        name = who(view, place.node)
        words = {
            "none": ("no token", ""),
            "at": ("token", f"at {name}"),
            "held": ("token held", f"by {name}, idle"),
            "flying": ("token", f"{name} → {who(view, place.target)}"),
            "waiting": ("token waits", f"at {name}"),
            "lost": ("token lost", f"after {name}"),
        }
        first, second = words[place.how]
        role = {"none": DIM, "lost": TROUBLE, "waiting": TROUBLE}.get(place.how, TOKEN)
        middle = circle.canvas.height // 2
        for row, text in ((middle - 1, first), (middle, second)):
            column = circle.canvas.width // 2 - cell_len(text) // 2
            if text and circle.canvas.is_free(column - 1, row, cell_len(text) + 2):
                circle.canvas.text(column, row, text, role)


def _detail(moment: Moment, node: NodeView) -> str:
    if node.fsync_since_ns >= 0 and node.state != "DOWN":
        return f"fsync {span(moment.now_ns - node.fsync_since_ns)}"
    if marks.is_blocked(node):
        return f"blocked {span(moment.now_ns - node.blocked_since_ns)}"
    return ""


def _links(view: ClusterView) -> list[Span]:
    """One line about the links, trouble first."""
    cut = sorted({tuple(sorted(key)) for key, link in view.cut_links.items() if link.cut})
    losses = {link.loss_percent for link in view.cut_links.values() if link.loss_percent}
    spans: list[Span] = []
    if cut:
        groups = partitions(view)
        if len(groups) > 1:
            text = " ╳ ".join(" ".join(who(view, nodeid) for nodeid in group) for group in groups)
        else:
            text = " ".join(f"{who(view, a)}╳{who(view, b)}" for a, b in cut)
        spans.append((f" cut: {text} ", TROUBLE))
    if losses:
        spans.append((f" loss {max(losses):g} % ", TROUBLE))
    return spans or [(" all links work", DIM)]
