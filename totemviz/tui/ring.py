"""The ring panel: nodes on a circle in the order of the token's way, the token where it is, cut links, partitions."""

from __future__ import annotations

import math

from rich.cells import cell_len

from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView
from totemviz.trace.words import span, who
from totemviz.tui import marks
from totemviz.tui.canvas import Canvas
from totemviz.tui.circle import Circle, partitions, rings
from totemviz.tui.links import draw_links, draw_quorum, link_words
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
    YOU,
    Drawing,
    Hit,
    Line,
    Span,
    clip,
)
from totemviz.tui.walker import NodeWalker

ARROWS = "→↘↓↙←↖↑↗"  # by eighths of a turn, clockwise on screen
STATE_ROOM = 16
"""Columns a part of the panel must have for states in words beside the letters."""


class RingPanel(NodeWalker):
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
        circle = Circle(canvas, partitions(view))
        edges: list[Hit] = []
        for members in rings(nodes).values():
            for index, nodeid in enumerate(members):
                following = members[(index + 1) % len(members)]
                if len(members) > 1:
                    circle.edge(nodeid, following, FAINT)
                    column, row = circle.link_cell(nodeid, following, 0.5)
                    edges.append(Hit(column - 1, row, 3, "link", nodeid * LINK_BASE + following))
        hits = draw_links(circle, view)
        hits += self._draw_flight(circle, view)
        for node in nodes:
            hits += self._draw_node(circle, moment, node)
        draw_quorum(circle, view)
        self._draw_caption(circle, moment)
        told = _marked_words(moment) if moment.marked else [*link_words(view, moment.network)]
        hits += [*edges, Hit(0, height - 1, width, "link", 0)]
        return Drawing([*canvas.lines(), clip(told, width)], tuple(hits))

    def _draw_flight(self, circle: Circle, view: ClusterView) -> list[Hit]:
        place = view.token
        if place.how not in ("flying", "lost") or place.target not in circle.home or place.node not in circle.home:
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

    def _draw_node(self, circle: Circle, moment: Moment, node: NodeView) -> list[Hit]:
        canvas, view = circle.canvas, moment.view
        nodeid = node.info.nodeid
        column, row = circle.node_cell(nodeid)
        mark, role = marks.marks(view, node)[0]
        canvas.text(column, row, mark, role)
        before = self.lit.changed(f"state {nodeid}", node.state)
        home = circle.home[nodeid]
        first, room = circle.region(home.group)
        word, word_role = marks.state_word(node, short=len(moment.nodes) > 5 or circle.divided)
        name_role = CHOSEN if moment.chosen == nodeid else TOKEN if marks.has_token(view, node) else HEAD
        spans: list[Span] = [(marks.letter(node), name_role)]
        if nodeid in moment.marked:
            spans = [("[", YOU), *spans, ("]", YOU)]
        if marks.is_blocked(node):
            spans.append((" ⏳", TROUBLE))
        if room >= STATE_ROOM and not (circle.divided and node.state == "OPERATIONAL" and home.nodes > 2):
            spans.append((f" {word}", CHANGED if before is not None else word_role))
        detail = _detail(moment, node)
        above = math.sin(home.angle) < 0.1
        top = row - (2 if detail and row >= 2 else 1) if above else row + 1
        hits = [Hit(column, row, 1, "node", nodeid)]
        width = sum(cell_len(text) for text, _ in spans)
        if abs(math.cos(home.angle)) < 0.2 or home.nodes == 1:
            start = column - width // 2
        else:  # outwards, so that the label leaves the way of the token free
            start = column - 2 if math.cos(home.angle) > 0 else column + 3 - width
        x = start = max(first + circle.divided, min(start, first + room - width))
        for text, span_role in spans:
            canvas.text(x, top, text, span_role)
            x += cell_len(text)
        hits.append(Hit(start, top, width, "node", nodeid))
        if detail and len(moment.nodes) <= 5:
            detail = detail if cell_len(detail) < room // 2 else detail[: room // 2]
            detail_row = top + 1
            at = start + (width - cell_len(detail)) // 2
            canvas.text(at, detail_row, detail, TROUBLE if marks.is_blocked(node) else DIM)
        return hits

    def _draw_caption(self, circle: Circle, moment: Moment) -> None:
        """In the middle of the ring, or under the partitions: where the token is, in words."""
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
        if circle.divided:
            text = f"{first} {second}".rstrip()
            circle.canvas.text((circle.canvas.width - cell_len(text)) // 2, circle.canvas.height - 1, text, role)
            return
        middle = circle.canvas.height // 2
        for row, text in ((middle - 1, first), (middle, second)):
            column = circle.canvas.width // 2 - cell_len(text) // 2
            if text and circle.canvas.is_free(column - 1, row, cell_len(text) + 2):
                circle.canvas.text(column, row, text, role)


def _marked_words(moment: Moment) -> Line:
    names = " ".join(who(moment.view, nodeid) for nodeid in sorted(moment.marked))
    return [(f" marked: {names} ", YOU), ("· P splits them off", DIM)]


def _detail(moment: Moment, node: NodeView) -> str:
    if node.fsync_since_ns >= 0 and node.state != "DOWN":
        return f"fsync {span(moment.now_ns - node.fsync_since_ns)}"
    if marks.is_blocked(node):
        return f"blocked {span(moment.now_ns - node.blocked_since_ns)}"
    return ""
