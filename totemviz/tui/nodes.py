"""The nodes table: one line per node, columns as room allows; the token timer as a bar that runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from totemviz.totem.config import MS
from totemviz.trace.node_view import NodeView
from totemviz.trace.words import span
from totemviz.tui import marks
from totemviz.tui.lit import Lit
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    BLOCKED_MARK,
    CHOSEN,
    DIM,
    FAINT,
    GOOD,
    HEAD,
    PLAIN,
    TOKEN,
    TROUBLE,
    UNKNOWN_MARK,
    YES,
    YOU,
    Drawing,
    Hit,
    Line,
    cell,
    number,
)
from totemviz.tui.walker import NodeWalker

Draw = Callable[[NodeView, Moment, Lit, int], Line]


class Column(NamedTuple):
    """A column of the table; ``rank`` 0 always stays, the highest goes first when there is no room."""

    head: str
    width: int
    rank: int
    draw: Draw


def _name(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    chosen = moment.chosen == node.info.nodeid
    role = CHOSEN if chosen else TOKEN if marks.has_token(moment.view, node) else HEAD
    left, right = (("[", YOU), ("]", YOU)) if node.info.nodeid in moment.marked else ((" ", PLAIN), (" ", PLAIN))
    return [left, (marks.letter(node), role), right, *marks.marks(moment.view, node)]


def _state(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    word, role = marks.state_word(node)
    return [lit.span(f"{node.info.nodeid} state", word, role)]


def _ring(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    text = str(node.ring_id) if node.ring_id is not None else "–"
    return [lit.span(f"{node.info.nodeid} ring", text)]


def _seqs(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    nodeid = node.info.nodeid
    behind = 0 <= node.aru < node.seq
    return [
        lit.span(f"{nodeid} aru", number(node.aru), TROUBLE if behind else PLAIN),
        ("/", DIM),
        lit.span(f"{nodeid} seq", number(node.seq)),
    ]


def _timer(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    if node.state == "DOWN":
        return [("–", DIM)]
    if node.token_deadline_ns < 0 or not node.token_ms:
        return [("– (not running)" if node.state == "GATHER" else "–", DIM)]
    left_ns = max(0, node.token_deadline_ns - moment.now_ns)
    share = min(1.0, left_ns / (node.token_ms * MS))
    bar = max(4, width - 10)
    full = round(share * bar)
    role = TROUBLE if share < 0.25 else PLAIN
    text = f"{left_ns // MS:>5} ms" if left_ns else "  ran out"
    return [("█" * full, role if role is TROUBLE else DIM), ("░" * (bar - full), FAINT), (text, role)]


def _queue(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    return [lit.span(f"{node.info.nodeid} queue", number(node.queue), PLAIN if node.queue > 0 else DIM)]


def _pmxcfs(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    if marks.is_blocked(node) and any("pmxcfs" in process for process in node.blocked_processes):
        return [lit.span(f"{node.info.nodeid} pmxcfs", "blocked", TROUBLE)]
    if not node.pmxcfs_alive:
        word = UNKNOWN_MARK if moment.recorded else "down"
        return [lit.span(f"{node.info.nodeid} pmxcfs", word, DIM if moment.recorded else TROUBLE)]
    if node.dcdb_mode.endswith("ERROR"):  # which one is too long for here, the node page tells
        return [lit.span(f"{node.info.nodeid} pmxcfs", "error", TROUBLE)]
    return [lit.span(f"{node.info.nodeid} pmxcfs", node.dcdb_mode.lower().replace("_", " ") or "starts", PLAIN)]


def _disk(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    if node.stalled_until_ns > moment.now_ns:
        return [(node.disk, PLAIN), (" stalled", TROUBLE)]
    if node.disk_trouble:
        return [(node.disk, PLAIN), (f" {node.disk_trouble.replace('_', ' ')}", TROUBLE)]
    if node.loaded_until_ns > moment.now_ns:
        return [(node.disk, PLAIN), (" busy", TROUBLE)]
    return [lit.span(f"{node.info.nodeid} disk", node.disk or UNKNOWN_MARK, PLAIN if node.disk else DIM)]


def _fsync(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    if node.fsync_since_ns >= 0 and node.state != "DOWN":
        waits_ns = moment.now_ns - node.fsync_since_ns
        return [(f"{BLOCKED_MARK}{span(waits_ns)}", TROUBLE if waits_ns > 100 * MS else PLAIN)]
    if not node.disk:
        return [(UNKNOWN_MARK, DIM)]
    if node.last_fsync_ns >= 0:
        return [(f"last {span(node.last_fsync_ns)}", DIM)]
    return [("–", DIM)]


def _quorum(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    if node.quorate is None:
        return [(UNKNOWN_MARK if moment.recorded else "–", DIM)]
    text = f"{number(node.votes)}/{number(node.expected_votes)} {YES if node.quorate else '✖'}"
    return [lit.span(f"{node.info.nodeid} quorum", text, GOOD if node.quorate else TROUBLE)]


def _version(node: NodeView, moment: Moment, lit: Lit, width: int) -> Line:
    versions = [other.version for other in moment.nodes if other.version >= 0]
    behind = node.version >= 0 and node.version < max(versions)
    spans = lit.arrow(f"{node.info.nodeid} version", number(node.version), TROUBLE if behind else PLAIN)
    return [*spans, (" behind", TROUBLE)] if behind else spans


COLUMNS = (
    Column("", 8, 0, _name),
    Column("state", 12, 0, _state),
    Column("ring id", 8, 4, _ring),
    Column("aru/seq", 10, 0, _seqs),
    Column("token timer", 18, 0, _timer),
    Column("queue", 6, 5, _queue),
    Column("pmxcfs", 11, 3, _pmxcfs),
    Column("disk", 18, 4, _disk),
    Column("fsync", 12, 1, _fsync),
    Column("quorum", 7, 1, _quorum),
    Column("/etc/pve", 13, 2, _version),
)
TIMER_MAX = 40


def choose(width: int) -> list[Column]:
    """The columns that fit; the token timer takes what is left over."""
    columns = list(COLUMNS)
    while sum(column.width for column in columns) > width and any(column.rank for column in columns):
        worst = max(column.rank for column in columns)
        columns.remove([column for column in columns if column.rank == worst][-1])
    spare = width - sum(column.width for column in columns)
    return [
        column._replace(width=min(TIMER_MAX, column.width + spare)) if column.draw is _timer else column
        for column in columns
    ]


class NodesPanel(NodeWalker):
    """A line per node."""

    def title(self, moment: Moment) -> str:  # noqa: D102
        run = moment.view.run
        token_ms = run.timeouts_ms.get("token") if run else None
        return f"nodes · token timeout {token_ms} ms" if token_ms else "nodes"

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        columns = choose(width)
        header: Line = []
        for column in columns:
            header += cell([(column.head, DIM)], column.width)
        lines, hits = [header], []
        for node in moment.nodes[: height - 1]:
            line: Line = []
            for column in columns:
                line += cell(column.draw(node, moment, self.lit, column.width), column.width)
            hits.append(Hit(0, len(lines), width, "node", node.info.nodeid))
            lines.append(line)
        hidden = len(moment.nodes) - (height - 1)
        if hidden > 0:
            lines[-1] = [(f" … and {hidden + 1} more nodes", DIM)]
        return Drawing(lines, tuple(hits))
