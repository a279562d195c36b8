"""The files page: /etc/pve of a node as its pmxcfs has it, compared with another node, entry by entry."""

from __future__ import annotations

import difflib
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from totemviz.pmxcfs.index import Entry
from totemviz.trace.trees import Tree, Trees
from totemviz.trace.words import plural, who
from totemviz.tui import marks
from totemviz.tui.moment import Moment
from totemviz.tui.paint import (
    CHOSEN,
    CURSOR,
    DIM,
    FAINT,
    GOOD,
    HEAD,
    PLAIN,
    TROUBLE,
    Drawing,
    Hit,
    Line,
    cell,
    clip,
    line_width,
)
from totemviz.tui.panel import Panel

TREE_MIN, TREE_MAX = 36, 64
SAME, DIFFERS, ONLY_HERE, ONLY_THERE = " ", "≠", "+", "−"
MARK_ROLES = {SAME: FAINT, DIFFERS: TROUBLE, ONLY_HERE: GOOD, ONLY_THERE: TROUBLE}
CONTENT_LINES = 400


def compared(here: Tree, there: Tree) -> dict[str, str]:
    """Every path on either node, in the order of a tree, with what sets the two apart."""
    found: dict[str, str] = {}
    for path in sorted({*here, *there}, key=lambda path: path.split("/")):
        if path not in there:
            found[path] = ONLY_HERE
        elif path not in here:
            found[path] = ONLY_THERE
        else:
            found[path] = SAME if here[path] == there[path] else DIFFERS
    return found


class FilesPanel(Panel, can_focus=True):
    """A tree on the left, what the chosen entry holds (or how it differs) on the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "pick(-1)", "the entry above", show=False),
        Binding("down,j", "pick(1)", "the entry below", show=False),
        Binding("pageup", "pick(-10)", "further up", show=False),
        Binding("pagedown", "pick(10)", "further down", show=False),
        Binding("v", "other", "compare with another node", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.picked = ""
        self.other = 0
        self._trees = Trees()
        self._paths: list[str] = []

    def title(self, moment: Moment) -> str:  # noqa: D102
        return "files"

    def draw(self, moment: Moment, width: int, height: int) -> Drawing:  # noqa: D102
        if not self._trees.sync(moment.timeline):
            self.set_timer(0.02, self.redraw)
        view = moment.view
        nodeid = moment.chosen or view.token.node or min(view.nodes, default=0)
        here = self._trees.at(nodeid, moment.position)
        if here is None:
            why = "a capture does not show it" if moment.recorded else "pmxcfs does not run there"
            return Drawing([clip([(f" No tree of /etc/pve is known of {who(view, nodeid)}: {why}.", DIM)], width)])
        other = self._other(moment, nodeid)
        there = self._trees.at(other, moment.position) if other else None
        state = compared(here, there if there is not None else here)
        self._paths = list(state)
        if self.picked not in state:
            self.picked = next((path for path, mark in state.items() if mark != SAME), self._paths[0] if state else "")
        left = max(TREE_MIN, min(TREE_MAX, width // 2))
        rows = height - 1
        at = self._paths.index(self.picked) if self._paths else 0
        top = max(0, min(at - rows // 2, len(self._paths) - rows))
        content = self._content(here, there, width - left - 2, rows)
        lines = [clip(_head(moment, nodeid, other, here, there, state), width)]
        hits = []
        for row in range(rows):
            line: Line = [("", PLAIN)]
            if top + row < len(self._paths):
                path = self._paths[top + row]
                entry = here.get(path) or (there or {})[path]
                line = _row(path, entry, state[path], path == self.picked, left)
                hits.append(Hit(0, row + 1, left, "path", top + row))
            right = content[row] if row < len(content) else []
            lines.append(clip([*cell(line, left), ("│ ", FAINT), *right], width))
        return Drawing(lines, tuple(hits))

    def _other(self, moment: Moment, nodeid: int) -> int:
        """The node to compare with: the one asked for, else the one with the newest tree."""
        others = [node for node in moment.nodes if node.info.nodeid != nodeid]
        known = [node for node in others if self._trees.at(node.info.nodeid, moment.position) is not None]
        if any(node.info.nodeid == self.other for node in known):
            return self.other
        return max(known, key=lambda node: node.version).info.nodeid if known else 0

    def _content(self, here: Tree, there: Tree | None, width: int, rows: int) -> list[Line]:
        mine, yours = here.get(self.picked), (there or {}).get(self.picked)
        entry = mine if mine is not None else yours
        if entry is not None and entry.is_directory:
            count = sum(path.startswith(self.picked + "/") for path in here)
            return [[(f"a directory with {plural(count, 'entry').replace('entrys', 'entries')}", DIM)]]
        if there is not None and mine != yours:
            return _difference(mine, yours, width, rows)
        return [clip([(line, PLAIN)], width) for line in _lines(mine)[:rows]]

    # ------------------------------------------------------------------------------------------------------ moving

    def action_pick(self, entries: int) -> None:
        """Another entry of the tree."""
        if self._paths:
            at = self._paths.index(self.picked) + entries if self.picked in self._paths else 0
            self.picked = self._paths[max(0, min(len(self._paths) - 1, at))]
            self.redraw()

    def action_other(self) -> None:
        """The next node to compare with."""
        if self.moment is not None and self.moment.nodes:
            ids = [node.info.nodeid for node in self.moment.nodes]
            self.other = ids[(ids.index(self.other) + 1) % len(ids)] if self.other in ids else ids[0]
            self.redraw()

    def was_hit(self, hit: Hit) -> None:
        """Pick the entry under the mouse."""
        self.picked = self._paths[hit.value]
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further down."""
        event.stop()
        self.action_pick(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Further up."""
        event.stop()
        self.action_pick(-3)


def _head(moment: Moment, nodeid: int, other: int, here: Tree, there: Tree | None, state: dict[str, str]) -> Line:
    node = moment.view.nodes[nodeid]
    line: Line = [(f" {marks.letter(node)} ", CHOSEN if moment.chosen == nodeid else HEAD)]
    line.append((f" /etc/pve, version {node.version}, {len(here)} entries", PLAIN))
    if other and there is not None:
        peer = moment.view.nodes[other]
        different = sum(mark != SAME for mark in state.values())
        line += [("   compared with ", DIM), (marks.letter(peer), HEAD), (f" (version {peer.version}): ", DIM)]
        line.append(
            (f"{different} differ{'s' if different == 1 else ''}", TROUBLE) if different else ("the same", GOOD)
        )
        line.append(("   v: another node", FAINT))
    return line


def _row(path: str, entry: Entry, mark: str, picked: bool, width: int) -> Line:
    depth = path.count("/")
    name = entry.name + ("/" if entry.is_directory else "")
    tail = f"v{entry.version}"
    size = "" if entry.is_directory else f"{entry.size} B"
    role = CURSOR if picked else HEAD if entry.is_directory else PLAIN
    left: Line = [(f"{mark} ", MARK_ROLES[mark]), (f"{'  ' * depth}{name}", role)]
    right = f"{size:>8} {tail:>6} "
    return [*cell(left, width - len(right)), (right, DIM)]


def _lines(entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    try:
        return entry.data.decode().split("\n")[:CONTENT_LINES]
    except UnicodeDecodeError:
        return [entry.data[start : start + 16].hex(" ") for start in range(0, min(len(entry.data), 4096), 16)]


def _difference(mine: Entry | None, yours: Entry | None, width: int, rows: int) -> list[Line]:
    """What one has and the other has not: ``+`` here, ``−`` there; equal content says which field differs."""
    lines: list[Line] = []
    if mine is not None and yours is not None:
        fields = [
            f"{name} {a} here, {b} there"
            for name, a, b in (
                ("version", mine.version, yours.version),
                ("written by node", mine.writer, yours.writer),
                ("time", mine.mtime, yours.mtime),
            )
            if a != b
        ]
        lines.append([("; ".join(fields), DIM)])
    for line in difflib.ndiff(_lines(yours), _lines(mine)):
        if line.startswith("?"):
            continue
        sign = {"+": ONLY_HERE, "-": ONLY_THERE}.get(line[0], " ")
        lines.append([(f"{sign} ", MARK_ROLES.get(sign, FAINT)), (line[2:], PLAIN if sign != " " else DIM)])
    return [clip(line, width) for line in lines[:rows] if line_width(line)]
