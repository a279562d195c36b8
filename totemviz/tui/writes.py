"""The journey of each write below /etc/pve, one line each, newest first.

Three different points are kept apart (sheet §11): *ordered* (it has a seq), *applied* (in a node's memory), *durable*
(that node's disk has it). The caller waits for its own node only.
"""

from __future__ import annotations

import errno

from totemviz.trace.journeys import Change, WriteView
from totemviz.trace.view import ClusterView
from totemviz.trace.words import span, who
from totemviz.tui import marks
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    BLOCKED_MARK,
    CHANGED,
    DIM,
    GOOD,
    HEAD,
    PENDING,
    PLAIN,
    TROUBLE,
    UNKNOWN_MARK,
    YES,
    YOU,
    Drawing,
    Line,
    Span,
    cell,
    clip,
    line_width,
)
from totemviz.tui.panel import Panel

LETTERS_UP_TO = 5
BLANKS_UP_TO = 3


class WritesPanel(Panel):
    """A row per write: where its latest change has got to on every node."""

    def title(self, moment: Moment) -> str:  # noqa: D102
        count = len(moment.view.writes)
        under_way = len(_under_way(moment))
        counts = [f"{count}"] if count > under_way else []
        return " · ".join(["writes", *counts, *([f"{under_way} under way"] if under_way else [])])

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        view = moment.view
        if not view.writes:
            hint = "No write yet. " + ("Press w to write a file." if moment.session.can_intervene else "")
            if moment.recorded:
                hint = "A capture of the ring does not show who wrote what."
            return Drawing([clip([(f" {hint}", DIM)], width)])
        if height == 1:
            return Drawing([self._short(moment, view.writes[chosen(moment, 1)[0]], width)])
        nodes = len(moment.nodes)
        each = (nodes * 3 if nodes <= BLANKS_UP_TO else nodes * 2 + 1) if nodes <= LETTERS_UP_TO else 7
        widths = [4, 5, 7, 8, max(10, each), max(8, each), max(8, each), 9]
        path = max(8, width - 8 - sum(widths[1:]))
        while path < 10 and len(widths) > 5:  # narrow: the last columns go first, delivered before applied
            del widths[4 if len(widths) == 8 else -1]
            path = max(8, width - 8 - sum(widths[1:]))
        narrow = len(widths) < 8
        heads = ["FUSE", "queued", "ordered", "delivered", "applied", "durable", "caller"]
        if narrow:
            heads.remove("delivered")
        heads = heads[: len(widths) - 1]
        header: Line = [*cell([(" write", DIM)], 7), *cell([("file", DIM)], path)]
        for head, room in zip(heads, widths[1:], strict=True):
            header += cell([(head, DIM)], room)
        lines = [header] if height > 1 else []
        for number in chosen(moment, height - len(lines)):
            write = view.writes[number]
            line: Line = [*cell([(f" w{number} ", YOU), (who(view, write.node), HEAD)], 7)]
            line += cell([(_shorten(write.path, path - 1), PLAIN)], path)
            cells = self._cells(moment, write)
            for head, room in zip(heads, widths[1:], strict=True):
                line += cell(cells[head], room)
            lines.append(line)
        return Drawing(lines)

    def _short(self, moment: Moment, write: WriteView, width: int) -> Line:
        """One write in one line that needs no heading, and how many more are under way."""
        cells = self._cells(moment, write)
        line: Line = [(f" w{write.write} ", YOU), (f"{who(moment.view, write.node)} ", HEAD)]
        line += [(f"{_shorten(write.path, 14)}  ", PLAIN), *cells["ordered"], ("  applied ", DIM), *cells["applied"]]
        line += [(" durable ", DIM), *cells["durable"], (" ", DIM), *cells["caller"]]
        others = len(_under_way(moment) - {write.write})
        more = f" +{others} " if others else ""
        return [*cell(line, width - len(more)), (more, YOU)]

    def _cells(self, moment: Moment, write: WriteView) -> dict[str, Line]:
        change = write.changes[-1] if write.changes else None
        name = f"w{write.write}"

        def put(head: str, text: str, role: str) -> Line:
            return [self.lit.span(f"{name} {head}", text, role)]

        queued = change is not None and change.queued_ns >= 0
        count = len(write.changes)
        fuse = f"{YES}{count}" if count > 1 else YES if count else PENDING
        order = f"seq {change.seq}" if change is not None and change.seq >= 0 else PENDING
        return {
            "FUSE": put("fuse", fuse, GOOD if count else DIM),
            "queued": put("queued", YES if queued else PENDING, GOOD if queued else DIM),
            "ordered": put("ordered", order, PLAIN if order != PENDING else DIM),
            "delivered": self._per_node(moment, name, "delivered", change),
            "applied": self._per_node(moment, name, "applied", change),
            "durable": self._per_node(moment, name, "durable", change),
            "caller": [self._caller(moment, write)],
        }

    def _caller(self, moment: Moment, write: WriteView) -> Span:
        if write.finished_ns < 0:
            return f"{span(moment.now_ns - write.started_ns)} …", PLAIN
        if write.result is None:
            return "✖ died", TROUBLE
        if write.result < 0:
            return f"✖ {errno.errorcode.get(-write.result, write.result)}", TROUBLE
        return self.lit.span(f"w{write.write} caller", f"{YES} {span(write.finished_ns - write.started_ns)}", GOOD)

    def _per_node(self, moment: Moment, name: str, head: str, change: Change | None) -> Line:
        nodes = moment.nodes
        states = [(node.info.nodeid, _reached(moment.view, node.info.nodeid, head, change)) for node in nodes]
        if len(nodes) > LETTERS_UP_TO:
            done = sum(mark == YES for _, mark in states)
            return [self.lit.span(f"{name} {head}", f"{done}/{len(nodes)}", GOOD if done == len(nodes) else PLAIN)]
        line: Line = []
        for nodeid, mark in states:
            text = f"{who(moment.view, nodeid)}{mark}"
            before = self.lit.changed(f"{name} {head} {nodeid}", text)
            role = {YES: GOOD, BLOCKED_MARK: TROUBLE}.get(mark, DIM)
            line.append((text, CHANGED if before is not None else role))
            if len(nodes) <= BLANKS_UP_TO:
                line.append((" ", PLAIN))
        if line_width(line) > len(nodes) * 3:  # a wide ⏳ takes the blank behind it
            line = [pair for pair in line if pair[0] != " "] if len(nodes) > 1 else line
        return line


def _under_way(moment: Moment) -> set[int]:
    """The writes whose caller still waits."""
    return {number for number, write in moment.view.writes.items() if write.finished_ns < 0}


def chosen(moment: Moment, rows: int) -> list[int]:
    """The writes there is room for, newest first: those under way before those that are done."""
    under_way = _under_way(moment)
    wanted = sorted(moment.view.writes, key=lambda number: (number in under_way, number), reverse=True)
    return sorted(wanted[:rows], reverse=True)


def _reached(view: ClusterView, nodeid: int, head: str, change: Change | None) -> str:
    if change is None:
        return PENDING
    done = {"delivered": change.delivered, "applied": change.applied, "durable": change.durable}[head]
    if nodeid in done:
        return YES
    node = view.nodes[nodeid]
    if head == "durable" and nodeid in change.applied and node.fsync_since_ns >= 0 and node.state != "DOWN":
        return BLOCKED_MARK
    if marks.is_blocked(node) and head != "durable" and change.ordered_ns >= 0:
        return BLOCKED_MARK
    if view.run is not None and view.run.world == "recorded":
        return UNKNOWN_MARK
    return PENDING


def _shorten(path: str, width: int) -> str:
    """The end of a path says more than its beginning."""
    if len(path) <= width:
        return path
    name = path.rsplit("/", 1)[-1]
    return name if len(name) <= width else "…" + name[-(width - 1) :]
