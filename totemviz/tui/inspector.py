"""Everything known of one node: the one chosen, else the one at the token, else the first."""

from __future__ import annotations

from collections.abc import Callable

from totemviz.corosync import effects as corosync
from totemviz.totem import wire
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.node_view import NodeView
from totemviz.trace.periodic import Periodic, Phases
from totemviz.trace.timers import timers_of
from totemviz.trace.wallclock import RIGHT
from totemviz.trace.words import (
    GATHER_WORDS,
    WATCHDOG_LATE_NS,
    WATCHDOG_RESET_NS,
    clock_words,
    names,
    plural,
    span,
    who,
)
from totemviz.tui import marks
from totemviz.tui.gauges import bar, window, window_marks
from totemviz.tui.index import EventIndex
from totemviz.tui.moment import Moment
from totemviz.tui.nodedisk import QUEUE_EVENTS, disk_lines
from totemviz.tui.paint import DIM, GOOD, HEAD, PLAIN, TROUBLE, Drawing, Line, cell, clip, number
from totemviz.tui.textpanel import TextPanel

LABEL = 15
BAR_MIN, BAR_MAX = 6, 20
TIMER_NAME, TIMER_WORDS = 17, 18
URGENT = ("token loss", "consensus", "token warning")
"""Timers whose end is bad news; the others run out all the time."""

FSYNCS = 40
QUEUE_LOOKED_AT = 40
WINDOW = 40
LOOK_BACK_EVENTS = 3_000
TWO_COLUMNS_FROM = 110


class Inspector(TextPanel):
    """One node in full."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._fsyncs = EventIndex(lambda event: isinstance(event.body, ev.FsyncFinished))
        self._groups = EventIndex(lambda event: isinstance(event.body, corosync.CpgConfchg | ev.ProcessKilled))
        self._quorum = EventIndex(lambda event: isinstance(event.body, corosync.QuorumChanged))
        self._queue = EventIndex(lambda event: isinstance(event.body, QUEUE_EVENTS))
        self._periodic = Periodic()

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        view = moment.view
        nodeid = moment.chosen or view.token.node or min(view.nodes, default=0)
        node = view.nodes.get(nodeid)
        if node is None:
            return Drawing([[(" No node is known yet.", DIM)]])
        for index in (self._fsyncs, self._groups, self._quorum, self._queue, self._periodic):
            if not index.sync(moment.timeline):
                self.set_timer(0.02, self.redraw)
        head: Line = [(f" {marks.letter(node)} ", HEAD), (f"{node.info.name}, node id {nodeid}", PLAIN)]
        hint = "" if moment.chosen else "   (click a node or press n to choose another)"
        head += [(f", {plural(node.info.votes, 'vote')}", DIM), (hint, DIM)]
        half = width if width < TWO_COLUMNS_FROM else width // 2
        phases = self._periodic.at(nodeid, moment.position)
        ring = [*_ring(node, moment), *_timers(node, moment, phases, half), *_queues(node, moment)]
        above = [*self._groups_of(node, moment), *self._votes(node, moment), *_pmxcfs(node, moment)]
        above += self._disk(node, moment, half)
        if width < TWO_COLUMNS_FROM:
            lines = [*ring, *above]
        else:
            rows = max(len(ring), len(above))
            lines = [[*cell(_at(ring, row), half), *_at(above, row)] for row in range(rows)]
        return Drawing([clip(line, width) for line in [head, *lines]])

    # ------------------------------------------------------------------------------------------- above the ring

    def _latest(self, index: EventIndex, moment: Moment, wanted: Callable[[Event], bool], most: int) -> list[Event]:
        """The latest events of an index at the cursor that are wanted, oldest first."""
        found: list[Event] = []
        for row in range(index.row_of(moment.position), -1, -1):
            event = moment.timeline[index.event_id(row)]
            if wanted(event):
                found.append(event)
                if len(found) == most:
                    break
        return found[::-1]

    def _groups_of(self, node: NodeView, moment: Moment) -> list[Line]:
        latest: dict[str, corosync.CpgConfchg] = {}
        for event in self._latest(self._groups, moment, lambda event: event.node == node.info.nodeid, 200):
            if isinstance(event.body, corosync.CpgConfchg):
                latest[event.body.group] = event.body
            elif isinstance(event.body, ev.ProcessKilled) and event.body.process in ("corosync", "pmxcfs"):
                latest.clear()
        if not latest:
            return [_fact("CPG groups", "?" if moment.recorded else "none", DIM)]
        lines: list[Line] = []
        for group, body in sorted(latest.items()):
            who_is = " ".join(f"{who(moment.view, member.nodeid)}/{member.pid}" for member in body.members)
            lines.append(_fact("CPG groups" if not lines else "", f"{group}: {who_is or 'nobody'}"))
        return lines

    def _votes(self, node: NodeView, moment: Moment) -> list[Line]:
        if node.quorate is None:
            return [_fact("quorum", "?" if moment.recorded else "not told yet", DIM)]
        latest = self._latest(self._quorum, moment, lambda event: event.node == node.info.nodeid, 1)
        body = latest[0].body if latest else None
        summed = f"{number(node.votes)} of {number(node.expected_votes)} votes"
        if isinstance(body, corosync.QuorumChanged):
            votes = [moment.view.nodes[member].info.votes for member in body.members if member in moment.view.nodes]
            parts = [f"{who(moment.view, member)} {count}" for member, count in zip(body.members, votes, strict=False)]
            device = body.votes - sum(votes)
            parts += [f"device {device}"] if device > 0 else []
            summed = f"{' + '.join(parts)} = {body.votes}, needed {body.quorum} of {body.expected_votes}"
        state: tuple[str, str] = (" ✓", GOOD) if node.quorate else (" ✖ /etc/pve is read-only here", TROUBLE)
        return [[*_fact("quorum", summed), state]]

    def _disk(self, node: NodeView, moment: Moment, width: int) -> list[Line]:
        def of_node(event: Event) -> bool:
            return event.node == node.info.nodeid

        done = self._latest(self._fsyncs, moment, of_node, FSYNCS)
        took = [event.body.took_ns for event in done if isinstance(event.body, ev.FsyncFinished)]
        queue = self._latest(self._queue, moment, of_node, QUEUE_LOOKED_AT)
        told = disk_lines(node, moment, queue, took, width - LABEL - 2)
        return [[*_fact(label, ""), *line] for label, line in told]


def _at(lines: list[Line], row: int) -> Line:
    return lines[row] if row < len(lines) else []


def _fact(label: str, text: str, role: str = PLAIN) -> Line:
    return [(f" {label:<{LABEL}}", DIM), (text, role)]


def _ring(node: NodeView, moment: Moment) -> list[Line]:
    view, now_ns = moment.view, moment.now_ns
    word, role = marks.state_word(node)
    why = f": {GATHER_WORDS.get(node.state_text, node.state_text)}" if node.state_text else ""
    lines = [_fact("state", f"{word}{why}, for {span(max(0, now_ns - node.state_since_ns))}", role)]
    lines.append(_fact("ring", f"{node.ring_id} of {names(view, node.members)}" if node.ring_id else "none"))
    if node.proc and node.state != "OPERATIONAL":
        lines.append(_fact("candidates", names(view, node.proc)))
    if node.failed:
        lines.append(_fact("given up on", names(view, node.failed), TROUBLE))
    if marks.is_blocked(node):
        who_waits = " and ".join(node.blocked_processes) or "a thread"
        since = span(now_ns - node.blocked_since_ns)
        lines.append(_fact("blocked", f"{who_waits} for {since}: {node.blocked_why}", TROUBLE))
        lines.append(_fact("", f"{plural(node.waiting, 'input')} waiting", TROUBLE))
    return lines


def _timers(node: NodeView, moment: Moment, phases: Phases, width: int) -> list[Line]:
    """A bar with the time left for every timer that runs."""
    lines: list[Line] = []
    room = max(BAR_MIN, min(BAR_MAX, width - LABEL - 1 - TIMER_NAME - TIMER_WORDS))
    for timer in timers_of(node, moment.view, moment.timeline, moment.now_ns, phases):
        left_ns = max(0, timer.deadline_ns - moment.now_ns)
        share = left_ns / max(1, timer.length_ns)
        label = [(f" {'timers' if not lines else '':<{LABEL}}", DIM), (f"{timer.name:<{TIMER_NAME}}", PLAIN)]
        text = f" {span(left_ns)} of {span(timer.length_ns)}" if left_ns else " ran out, unseen"
        urgent = share < 0.25 and timer.name in URGENT
        lines.append([*label, *bar(share, room, urgent), (text, TROUBLE if urgent or not left_ns else PLAIN)])
    return lines or [_fact("timers", "none runs" if not moment.recorded else "?", DIM)]


def _queues(node: NodeView, moment: Moment) -> list[Line]:
    level = f", level {node.queue_level}" if node.queue_level else ""
    lines = [_fact("send queue", f"{number(node.queue)} waiting{level}")]
    aru, high = node.aru, node.seq
    if aru >= 0 and high >= 0:
        have = _received(node, moment)
        while aru + 1 in have:  # what came since the last token
            aru += 1
        high = max([high, *have])
        marks_below = {"△": _everybody(node, moment), "▲": aru}
        lines.append([*_fact("sort queue", ""), *window(have, aru, high, WINDOW)])
        lines.append([*_fact("", ""), *window_marks(marks_below, aru, high, WINDOW)])
        holes = [seq for seq in range(aru + 1, high + 1) if seq not in have]
        missing = f", {plural(len(holes), 'hole')}: {holes[0]} …" if holes else ""
        all_have = f", △ all have {marks_below['△']}" if marks_below["△"] >= 0 else ""
        lines.append(_fact("", f"▲ aru {aru}{all_have}, highest {high}{missing}", TROUBLE if holes else DIM))
    for client, queue in sorted(node.client_queues.items()):
        text = f"client {client}: {queue.queued} events, {queue.queued_bytes:,} bytes".replace(",", " ")
        lines.append(_fact("client queues", text, TROUBLE if queue.queued else DIM))
    return lines


def _everybody(node: NodeView, moment: Moment) -> int:
    """What all members of the node's ring have received, by their own word; -1 if one has not said it."""
    members = [moment.view.nodes[nodeid] for nodeid in node.members if nodeid in moment.view.nodes]
    return min((member.aru if member.ring_id == node.ring_id else -1 for member in members), default=-1)


def _received(node: NodeView, moment: Moment) -> set[int]:
    """The seqs of this ring beyond the aru that reached the node, from the datagrams near the cursor."""
    timeline, found = moment.timeline, set()
    for index in range(moment.position, max(-1, moment.position - LOOK_BACK_EVENTS), -1):
        event = timeline[index]
        if event.node != node.info.nodeid:
            continue
        body = event.body
        sent = event if isinstance(body, ev.DatagramSent) else None
        if isinstance(body, ev.DatagramReceived) and body.kind == "mcast" and body.sent >= 0:
            sent = timeline[body.sent]
        if sent is not None and isinstance(sent.body, ev.DatagramSent) and sent.body.kind == "mcast":
            message = wire.decode(sent.body.data)
            if isinstance(message, wire.Mcast) and message.ring_id == node.ring_id:
                if message.seq <= node.aru:
                    break
                found.add(message.seq)
    return found


def _pmxcfs(node: NodeView, moment: Moment) -> list[Line]:
    mode = node.dcdb_mode.lower().replace("_", " ") or (
        "runs" if node.pmxcfs_alive else "?" if moment.recorded else "down"
    )
    lines = [_fact("pmxcfs", mode, TROUBLE if mode == "down" else PLAIN)]
    text = f"version {number(node.version)}, durable up to {number(node.durable_version)} · 7: its tree"
    lines.append(_fact("/etc/pve", text, PLAIN if node.version == node.durable_version else TROUBLE))
    if node.lrm_state:
        lines.append(_high_availability(node, moment.now_ns))
    if node.clock != RIGHT:
        text = clock_words(node.clock.ahead_at(moment.now_ns), node.clock.drift_ppm)
        lines.append(_fact("wall clock", text, TROUBLE))
    return lines


def _high_availability(node: NodeView, now_ns: int) -> Line:
    """The HA manager: its state, and how long its watchdog still waits for it."""
    text = node.lrm_state.replace("_", " ")
    if node.watchdog_fed_ns < 0:
        return _fact("HA manager", text)
    silent_ns = now_ns - node.watchdog_fed_ns
    text += f", fed its watchdog {span(silent_ns)} ago"
    if silent_ns < WATCHDOG_LATE_NS:
        return _fact("HA manager", text)
    return _fact("HA manager", f"{text}: this node is reset in {span(max(0, WATCHDOG_RESET_NS - silent_ns))}", TROUBLE)
