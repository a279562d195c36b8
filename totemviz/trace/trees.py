"""The tree of /etc/pve on every node at any event: loaded from disk, changed by messages, replaced by the leader's.

An index beside the timeline. What a node has is told by pmxcfs' own events, entry by entry, so a run whose events do
not hold the rows (a recording) has no tree, and none is made up.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from totemviz.pmxcfs import effects as pmxcfs
from totemviz.pmxcfs.index import ROOT_INODE, Entry
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.follower import Follower

Tree = dict[str, Entry]
"""Path below /etc/pve → entry, each directory before its content, names sorted."""


class _Step(NamedTuple):
    event_id: int
    whole: bool
    rows: tuple[Entry, ...]
    gone: int


class Trees(Follower):
    """What pmxcfs has in memory, by node and event."""

    def _restart(self) -> None:
        self._steps: dict[int, list[_Step]] = {}
        self._kept: dict[tuple[int, int], Tree] = {}

    def _take(self, event: Event) -> None:
        if step := _step(event):
            self._steps.setdefault(event.node, []).append(step)

    def at(self, node: int, event_id: int) -> Tree | None:
        """The node's tree just after an event; None if pmxcfs does not run there or its tree is not known."""
        steps = self._steps.get(node, [])
        end = bisect_right(steps, event_id, key=lambda step: step.event_id)
        begin = next((index for index in range(end - 1, -1, -1) if steps[index].whole), -1)
        if begin < 0 or not steps[begin].rows:
            return None
        key = node, steps[end - 1].event_id
        if key not in self._kept:
            if len(self._kept) > 64:
                self._kept.clear()
            entries: dict[int, Entry] = {}
            for step in steps[begin:end]:
                entries.pop(step.gone, None)
                entries.update((row.inode, row) for row in step.rows)
            self._kept[key] = _by_path(entries)
        return self._kept[key]


def _step(event: Event) -> _Step | None:
    match event.body:
        case pmxcfs.TreeLoaded(rows=rows):
            return _Step(event.id, True, rows, 0)
        case pmxcfs.ChangeCommitted(rows=rows) if rows:
            return _Step(event.id, True, rows, 0)
        case pmxcfs.ChangeApplied(entry=entry, gone=gone) if entry is not None or gone:
            return _Step(event.id, False, () if entry is None else (entry,), gone)
        case ev.ProcessKilled(process="pmxcfs") | pmxcfs.PmxcfsExited():
            return _Step(event.id, True, (), 0)
    return None


def _by_path(entries: dict[int, Entry]) -> Tree:
    children: dict[int, list[Entry]] = {}
    for entry in entries.values():
        if entry.inode != ROOT_INODE:
            children.setdefault(entry.parent, []).append(entry)
    tree: Tree = {}
    pending = [("", ROOT_INODE)]
    while pending:
        path, inode = pending.pop()
        if inode != ROOT_INODE:
            tree[path] = entries[inode]
        prefix = f"{path}/" if path else ""
        below = sorted(children.get(inode, ()), key=lambda entry: entry.name, reverse=True)
        pending += [(prefix + entry.name, entry.inode) for entry in below]
    return tree
