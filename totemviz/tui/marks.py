"""The shapes that stand for a node's state and for the token, the same in every panel."""

from __future__ import annotations

import re
from collections.abc import Iterable

from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView
from totemviz.trace.words import node_state
from totemviz.tui.paint import (
    BLOCKED_MARK,
    DIM,
    DOWN_MARK,
    GATHER_MARK,
    OPERATIONAL_MARK,
    PLAIN,
    TOKEN,
    TOKEN_MARK,
    TROUBLE,
    UNKNOWN_MARK,
    Line,
    Span,
)

SHORT_STATES = {
    "operational": "oper.",
    "gather": "gather",
    "recovery": "recov.",
    "commit": "commit",
    "starting": "starts",
}


def letter(node: NodeView) -> str:
    """The letter a node goes by, else its name."""
    return node.info.letter or node.info.name


def with_letters(text: str, nodes: Iterable[NodeView]) -> str:
    """The text of an intervention, which speaks of ``node 3``, with the letters that the nodes go by."""
    letters = {str(node.info.nodeid): letter(node) for node in nodes}
    return re.sub(r"\bnode (\d+)\b", lambda found: letters.get(found[1], found[0]), text)


def is_blocked(node: NodeView) -> bool:
    """Whether a thread of the host does nothing at the moment (a dead node is not blocked, it is dead)."""
    return node.blocked_since_ns >= 0 and node.state != "DOWN"


def has_token(view: ClusterView, node: NodeView) -> bool:
    """Whether the token is at the node: processed, held, or waiting in its socket."""
    return view.token.node == node.info.nodeid and view.token.how in ("at", "held", "waiting")


def state_mark(node: NodeView) -> Span:
    """○ operational, ◌ looking for members or joining, ✖ down, ? not shown by a recording."""
    if node.state == "OPERATIONAL":
        return OPERATIONAL_MARK, PLAIN
    if node.state == "DOWN":
        return DOWN_MARK, TROUBLE
    if node.state:
        return GATHER_MARK, TROUBLE if node.state == "GATHER" else DIM
    return UNKNOWN_MARK, DIM


def marks(view: ClusterView, node: NodeView) -> Line:
    """The node's mark: ◆ if it has the token, else its state; ⏳ behind it if it is blocked."""
    line: Line = [(TOKEN_MARK, TOKEN) if has_token(view, node) else state_mark(node)]
    if is_blocked(node):
        line.append((BLOCKED_MARK, TROUBLE))
    return line


def state_word(node: NodeView, short: bool = False) -> Span:
    """The state in a word, lit up only when it is not the normal one."""
    word = node_state(node)
    role = DIM if word in ("operational", "?") else TROUBLE if word in ("gather", "down") else PLAIN
    return SHORT_STATES.get(word, word) if short else word, role
