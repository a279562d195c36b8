"""The ring in one line, for small terminals: ``A○ → B○ ━◆▶ C○⏳``."""

from __future__ import annotations

from totemviz.trace.words import span, who
from totemviz.tui import marks
from totemviz.tui.circle import partitions, quorum_words, rings
from totemviz.tui.links import CUT, link_words, links_told
from totemviz.tui.moment import Moment
from totemviz.tui.paint import CHOSEN, DIM, FAINT, GOOD, HEAD, TOKEN, TROUBLE, YOU, Drawing, Hit, Line, clip, line_width
from totemviz.tui.panel import Panel


class RingStrip(Panel):
    """The token's way from left to right; nodes outside the ring behind a bar."""

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        view, nodes = moment.view, moment.nodes
        line: Line = [(" ", DIM)]
        hits: list[Hit] = []
        place = view.token
        up = rings(nodes)
        divided = len(partitions(view)) > 1
        inside = [nodeid for members in up.values() for nodeid in members]

        def put(nodeid: int) -> None:
            node = view.nodes[nodeid]
            start = line_width(line)
            role = CHOSEN if moment.chosen == nodeid else TOKEN if marks.has_token(view, node) else HEAD
            name: Line = [(marks.letter(node), role)]
            line.extend([("[", YOU), *name, ("]", YOU)] if nodeid in moment.marked else name)
            line.extend(marks.marks(view, node))
            hits.append(Hit(start, 0, line_width(line) - start, "node", nodeid))

        for number, (ring, members) in enumerate(up.items()):
            if number:
                line.append((f"{CUT}  ", TROUBLE) if divided else ("┊  ", DIM))
            line.append((f"ring {ring}  ", DIM))
            for index, nodeid in enumerate(members):
                put(nodeid)
                after = members[(index + 1) % len(members)]
                here = place.node == nodeid and place.target == after and len(members) > 1
                if here and place.how == "flying":
                    line.append((" ━◆▶ ", TOKEN))
                elif here and place.how == "lost":
                    line.append((" ━✖  ", TROUBLE))
                elif index < len(members) - 1:
                    line.append((" ──→ ", FAINT))
            words, good = quorum_words(view, members) if divided else ("", True)
            line.append((f"  {words}" if words else "", GOOD if good else TROUBLE))
            line.append(("  ", DIM))
        outside = [node.info.nodeid for node in nodes if node.info.nodeid not in inside]
        if outside:
            line.append(("not in a ring: " if not up else "┊ ", DIM))
            for nodeid in outside:
                put(nodeid)
                line.append((" ", DIM))
        if links_told(view, moment.network) and len(up) < 2:
            line += link_words(view, moment.network)
        where = {
            "none": "",
            "at": f"token at {who(view, place.node)}",
            "held": f"{who(view, place.node)} holds the token: idle",
            "flying": f"token {who(view, place.node)} → {who(view, place.target)}",
            "waiting": f"token waits at {who(view, place.node)} for {span(moment.now_ns - place.since_ns)}",
            "lost": "token lost",
        }
        text = where[place.how]
        room = width - line_width(line) - len(text) - 1
        if text and room >= 0:
            line.append((" " * room + text, TROUBLE if place.how in ("waiting", "lost") else TOKEN))
        return Drawing([clip(line, width)], tuple(hits))
