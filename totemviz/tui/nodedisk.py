"""The disk of a node on the node page: who stands in its one queue, and how long its syncs took."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from totemviz.sim.device import QUEUE_DEPTH, mean_ahead
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.node_view import NodeView
from totemviz.trace.words import DISK_TROUBLE_WORDS, span
from totemviz.tui.gauges import chart
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, GOOD, PLAIN, TROUBLE, Line

SLOW_FSYNC_NS = 100_000_000
SHOWN = 16
"""Boxes drawn for a queue."""

QUEUE_EVENTS = (ev.FsyncStarted, ev.FsyncFinished, ev.ProcessKilled, ev.NodeFenced)


def disk_lines(
    node: NodeView, moment: Moment, queue: list[Event], took: list[int], width: int
) -> list[tuple[str, Line]]:
    """(label, line) of everything about the disk; ``queue``: the latest ``QUEUE_EVENTS`` of the node, oldest first.

    ``took``: how long its latest syncs took, in nanoseconds.
    """
    words, role = _state(node, moment.now_ns)
    lines: list[tuple[str, Line]] = [("disk", [(words, role)])]
    if not node.disk:
        return lines
    lines += _queue(node, moment, queue)
    if not took:
        return [*lines, ("fsync history", [("none yet", DIM)])]
    picture = chart(took, SLOW_FSYNC_NS, span, width)
    lines += [("fsync history" if not row else "", line) for row, line in enumerate(picture)]
    text = f"{node.fsyncs} in all; median {span(int(median(took)))}, longest {span(max(took))} of {len(took)}"
    return [*lines, ("", [(text, DIM)])]


def _state(node: NodeView, now_ns: int) -> tuple[str, str]:
    words, role = node.disk or "?", PLAIN
    if node.stalled_until_ns > now_ns:
        words, role = f"{words}, stalled for another {span(node.stalled_until_ns - now_ns)}", TROUBLE
    if node.disk_trouble:
        words, role = f"{words}, {DISK_TROUBLE_WORDS.get(node.disk_trouble, node.disk_trouble)}", TROUBLE
    return words, role


def waiting(queue: list[Event]) -> list[Event]:
    """The syncs that were asked for and not answered, in their order; a process that died waits no more."""
    found: list[Event] = []
    for event in queue:
        body = event.body
        if isinstance(body, ev.FsyncStarted):
            found.append(event)
        elif isinstance(body, ev.NodeFenced):
            found.clear()
        elif isinstance(body, ev.FsyncFinished | ev.ProcessKilled):
            gone = next((start for start in found if start.body.process == body.process), None)  # type: ignore[union-attr]
            if gone is not None:
                found.remove(gone)
    return found


def _queue(node: NodeView, moment: Moment, queue: list[Event]) -> Iterator[tuple[str, Line]]:
    """One queue for everything on the host, its head at the left: ▒ others' requests, █ syncs of our processes."""
    ours, others = waiting(queue), _others(node, moment.now_ns)
    boxes = min(others, SHOWN)
    line: Line = [("▒" * boxes, TROUBLE), ("…" if others > boxes else "", TROUBLE), ("█" * len(ours), GOOD)]
    if not ours and not others:
        yield "disk queue", [("empty", DIM)]
        return
    yield "disk queue", line
    if others and (load := node.disk_load) is not None:
        full = " (full)" if others >= QUEUE_DEPTH else " on average"
        left = span(node.loaded_until_ns - moment.now_ns)
        yield (
            "",
            [("▒ ", TROUBLE), (f"{others} of others{full}: {load.kind} {load.percent} %, for another {left}", PLAIN)],
        )
    for event in ours:
        body = event.body
        assert isinstance(body, ev.FsyncStarted)
        waits_ns = moment.now_ns - event.time_ns
        role = TROUBLE if waits_ns > SLOW_FSYNC_NS else PLAIN
        yield "", [("█ ", GOOD), (f"{body.process}: fsync of {body.file} for {span(waits_ns)}", role)]


def _others(node: NodeView, now_ns: int) -> int:
    """How many requests of others are ahead, on average."""
    if node.loaded_until_ns <= now_ns or node.disk_load is None:
        return 0
    return round(mean_ahead(node.disk_load.percent))
