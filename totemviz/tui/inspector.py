"""Everything known of one node: the one chosen, else the one at the token, else the first."""

from __future__ import annotations

from totemviz.totem.config import MS
from totemviz.trace.view import NodeView
from totemviz.trace.words import (
    DISK_TROUBLE_WORDS,
    GATHER_WORDS,
    WATCHDOG_LATE_NS,
    WATCHDOG_RESET_NS,
    names,
    span,
)
from totemviz.tui import marks
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, HEAD, PLAIN, TROUBLE, Drawing, Line, clip, number
from totemviz.tui.textpanel import TextPanel

LABEL = 20


class Inspector(TextPanel):
    """One node in full."""

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        view = moment.view
        nodeid = moment.chosen or view.token.node or min(view.nodes, default=0)
        node = view.nodes.get(nodeid)
        if node is None:
            return Drawing([[(" No node is known yet.", DIM)]])
        head: Line = [(f" {marks.letter(node)} ", HEAD), (f"{node.info.name}, node id {nodeid}", PLAIN)]
        votes = f", {node.info.votes} vote" + ("s" if node.info.votes != 1 else "")
        hint = "" if moment.chosen else "   (click a node or press n to choose another)"
        head += [(votes, DIM), (hint, DIM)]
        lines = [head] + [[(f" {label:<{LABEL}}", DIM), (text, role)] for label, text, role in _facts(node, moment)]
        return Drawing([clip(line, width) for line in lines])


def _facts(node: NodeView, moment: Moment) -> list[tuple[str, str, str]]:
    view, now_ns = moment.view, moment.now_ns
    word, role = marks.state_word(node)
    why = f": {GATHER_WORDS.get(node.state_text, node.state_text)}" if node.state_text else ""
    facts = [("state", f"{word}{why}, for {span(max(0, now_ns - node.state_since_ns))}", role)]
    facts.append(("ring", f"{node.ring_id} of {names(view, node.members)}" if node.ring_id else "none", PLAIN))
    if node.proc and node.state != "OPERATIONAL":
        facts.append(("candidates", names(view, node.proc), PLAIN))
    if node.failed:
        facts.append(("given up on", names(view, node.failed), TROUBLE))
    facts.append(("has everything up to", f"{number(node.aru)} (aru), the ring is at {number(node.seq)} (seq)", PLAIN))
    if node.token_deadline_ns >= 0:
        left_ns = max(0, node.token_deadline_ns - now_ns)
        facts.append(("token timer", f"{left_ns // MS} ms of {node.token_ms} ms left", PLAIN))
    facts.append(("send queue", number(node.queue), PLAIN))
    if marks.is_blocked(node):
        who_waits = " and ".join(node.blocked_processes) or "a thread"
        since = span(now_ns - node.blocked_since_ns)
        facts.append(("blocked", f"{who_waits} for {since}: {node.blocked_why}; {node.waiting} inputs wait", TROUBLE))
    disk = node.disk or "?"
    if node.stalled_until_ns > now_ns:
        disk += f", stalled for another {span(node.stalled_until_ns - now_ns)}"
    if node.loaded_until_ns > now_ns:
        disk += f", {node.disk_load} for another {span(node.loaded_until_ns - now_ns)}"
    if node.disk_trouble:
        disk += f", {DISK_TROUBLE_WORDS.get(node.disk_trouble, node.disk_trouble)}"
    facts.append(("disk", disk, TROUBLE if node.disk_trouble else PLAIN))
    if node.disk:
        last = f", the last took {span(node.last_fsync_ns)}" if node.last_fsync_ns >= 0 else ""
        facts.append(("fsyncs", f"{node.fsyncs}{last}", PLAIN))
    mode = node.dcdb_mode.lower().replace("_", " ") or (
        "runs" if node.pmxcfs_alive else "?" if moment.recorded else "down"
    )
    facts.append(("pmxcfs", mode, PLAIN))
    if node.quorate is not None:
        state = "quorate" if node.quorate else "not quorate: /etc/pve is read-only here"
        facts.append(("quorum", f"{number(node.votes)} of {number(node.expected_votes)} votes, {state}", PLAIN))
    if node.lrm_state:
        facts.append(_high_availability(node, now_ns))
    facts.append(("/etc/pve", f"version {number(node.version)}, durable up to {number(node.durable_version)}", PLAIN))
    return facts


def _high_availability(node: NodeView, now_ns: int) -> tuple[str, str, str]:
    """The HA manager: its state, and how long its watchdog still waits for it."""
    text = node.lrm_state.replace("_", " ")
    if node.watchdog_fed_ns < 0:
        return ("HA manager", text, PLAIN)
    silent_ns = now_ns - node.watchdog_fed_ns
    text += f", fed its watchdog {span(silent_ns)} ago"
    if silent_ns < WATCHDOG_LATE_NS:
        return ("HA manager", text, PLAIN)
    return ("HA manager", f"{text}: this node is reset in {span(max(0, WATCHDOG_RESET_NS - silent_ns))}", TROUBLE)
