"""Two runs, or two nodes, side by side: where they part, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import msgspec

from totemviz.totem import effects as totem
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import Event
from totemviz.trace.node_view import NodeView
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView
from totemviz.trace.words import names, node_state, span


class Row(msgspec.Struct, frozen=True):
    """One thing compared: what it is, and the two values in words."""

    what: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.first != self.second


class Comparison(msgspec.Struct, frozen=True):
    """Two runs up to one time: the first events that differ (None where a run has ended), then the rows."""

    first_difference: tuple[Event | None, Event | None] | None
    rows: tuple[Row, ...]


def first_difference(first: Timeline, second: Timeline) -> int | None:
    """Id of the first event in which two runs differ, None if one is the beginning of the other."""
    for index in range(min(len(first), len(second))):
        if first[index] is not second[index] and first[index] != second[index]:
            return index
    return None


def compare_runs(first: Cursor, second: Cursor, time_ns: int) -> Comparison:
    """What two runs have come to at a virtual time. The cursors are not moved."""
    at = first_difference(first.timeline, second.timeline)
    views = [cursor.forked(cursor.timeline, cursor.timeline.position_at(time_ns)).view for cursor in (first, second)]
    rows = []
    for what, told in _RUN_ROWS.items():
        one, other = (told(view, cursor.timeline) for view, cursor in zip(views, (first, second), strict=True))
        rows.append(Row(what, one, other))
    for nodeid in sorted({*views[0].nodes, *views[1].nodes}):
        one, other = (_node_line(view, nodeid) for view in views)
        rows.append(Row(names(views[0], [nodeid]), one, other))
    parted = None if at is None else (first.timeline[at], second.timeline[at])
    return Comparison(parted, tuple(rows))


def _node_line(view: ClusterView, nodeid: int) -> str:
    node = view.nodes.get(nodeid)
    if node is None:
        return "–"
    ring = f", ring {node.ring_id} of {names(view, node.members)}" if node.ring_id is not None and node.members else ""
    quorum = "" if node.quorate is None else ", quorum" if node.quorate else ", no quorum"
    return f"{node_state(node)}{ring}{quorum}"


def _memberships(view: ClusterView, timeline: Timeline) -> str:
    count = sum(
        isinstance(timeline[index].body, totem.MembershipInstalled) for index in range(view.event_id + 1)
    )  # on every node
    return str(count)


def _longest_wait(view: ClusterView, timeline: Timeline) -> str:
    """The longest time in which no node accepted a token, once there had been one."""
    longest, before_ns = 0, -1
    for index in range(view.event_id + 1):
        event = timeline[index]
        if isinstance(event.body, totem.TokenReceived):
            if before_ns >= 0:
                longest = max(longest, event.time_ns - before_ns)
            before_ns = event.time_ns
    return span(longest)


def _writes(view: ClusterView, timeline: Timeline) -> str:
    done = [write for write in view.writes.values() if write.finished_ns >= 0]
    failed = sum(write.failed for write in done)
    return f"{len(done)} of {len(view.writes)} done" + (f", {failed} failed" if failed else "")


def _latency(view: ClusterView, timeline: Timeline) -> str:
    took = [write.finished_ns - write.started_ns for write in view.writes.values() if write.result is not None]
    return f"{span(round(median(took)))}, at most {span(max(took))}" if took else "–"


_RUN_ROWS: dict[str, Callable[[ClusterView, Timeline], str]] = {
    "events": lambda view, timeline: str(view.event_id + 1),
    "rings installed": _memberships,
    "longest time without a token": _longest_wait,
    "writes": _writes,
    "write latency, median": _latency,
}


def compare_nodes(view: ClusterView, first: int, second: int) -> tuple[Row, ...]:
    """Two nodes at one moment. Raises KeyError if there is no such node."""
    nodes = (view.nodes[first], view.nodes[second])
    return tuple(Row(what, *(told(view, node) for node in nodes)) for what, told in _NODE_ROWS.items())


def _known(value: int) -> str:
    return str(value) if value >= 0 else "?"


def _blocked(view: ClusterView, node: NodeView) -> str:
    return f"for {span(view.time_ns - node.blocked_since_ns)}" if node.blocked_since_ns >= 0 else "–"


def _votes(_view: ClusterView, node: NodeView) -> str:
    return f"{_known(node.votes)} of {_known(node.expected_votes)}"


_NODE_ROWS: dict[str, Callable[[ClusterView, NodeView], str]] = {
    "state": lambda view, node: node_state(node),
    "ring": lambda view, node: str(node.ring_id or "–"),
    "members": lambda view, node: names(view, node.members),
    "has everything up to": lambda view, node: _known(node.aru),
    "knows of seq": lambda view, node: _known(node.seq),
    "waiting to be sent": lambda view, node: _known(node.queue),
    "stands still": lambda view, node: (
        span(view.time_ns - node.blocked_since_ns) if node.blocked_since_ns >= 0 else "–"
    ),
    "disk": lambda view, node: node.disk or "?",
    "syncs": lambda view, node: str(node.fsyncs),
    "last sync took": lambda view, node: span(node.last_fsync_ns) if node.last_fsync_ns >= 0 else "–",
    "quorum": lambda view, node: "?" if node.quorate is None else "yes" if node.quorate else "no",
    "votes": _votes,
    "pmxcfs": lambda view, node: node.dcdb_mode or ("?" if node.pmxcfs_alive else "–"),
    "/etc/pve version": lambda view, node: _known(node.version),
    "version on disk": lambda view, node: _known(node.durable_version),
}
