"""The line a learner reads first: what is going on at the cursor and why, trouble before routine."""

from __future__ import annotations

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.totem.effects import RingId
from totemviz.totem.states import Gather
from totemviz.trace import events as ev
from totemviz.trace.node_view import NodeView
from totemviz.trace.sentences import sentence
from totemviz.trace.view import ClusterView, Visit
from totemviz.trace.words import (
    GATHER_WORDS,
    WATCHDOG_LATE_NS,
    WATCHDOG_RESET_NS,
    as_sentence,
    miss_count,
    names,
    numbers,
    plural,
    span,
    who,
)


def headline(view: ClusterView, now_ns: int | None = None) -> str:
    """What is going on and why, trouble first. ``now_ns`` lets a running clock be later than the last event."""
    now_ns = view.time_ns if now_ns is None else max(now_ns, view.time_ns)
    if view.run is None:
        return "Nothing has happened yet. Press → for the first step, or space to let time run."
    for told in (_told_forming, _told_blocked, _told_gathering, _told_token_lost, _told_dead):
        if text := told(view, now_ns):
            return text
    if view.last is not None and isinstance(view.last.body, _TOLD_AS_THEY_ARE):
        text = as_sentence(sentence(view.last, view))
    else:
        text = _told_token(view, now_ns)
    return text + _told_left_behind(view, now_ns)


_TOLD_AS_THEY_ARE = (
    ev.Intervened,
    ev.WriteStarted,
    ev.WriteFinished,
    ev.DatagramDropped,
    totem.MembershipInstalled,
    corosync.QuorumChanged,
    pmxcfs.ChangeApplied,
)


def _is_blocked(node: NodeView) -> bool:
    return node.blocked_since_ns >= 0 and node.state != "DOWN"


def _is_left_behind(view: ClusterView, nodeid: int) -> bool:
    """Blocked, and the others have gone on without it: no trouble of theirs any more."""
    return _is_blocked(view.nodes[nodeid]) and not _counted_by(view, nodeid)


def _counted_by(view: ClusterView, nodeid: int) -> list[int]:
    """The other living nodes that have this one in their ring, or do not yet know better."""
    return [
        other
        for other, peer in view.nodes.items()
        if other != nodeid and peer.state not in ("DOWN", "") and nodeid in peer.members
    ]


def _waits_for(node: NodeView, now_ns: int) -> str:
    if node.fsync_since_ns >= 0:
        return f"waiting for its disk (fsync {span(now_ns - node.fsync_since_ns)} so far)"
    return f"blocked for {span(now_ns - node.blocked_since_ns)} so far: {node.blocked_why}"


def _told_blocked(view: ClusterView, now_ns: int) -> str:
    for nodeid, node in view.nodes.items():
        if not _is_blocked(node) or (len(view.nodes) > 1 and _is_left_behind(view, nodeid)):
            continue
        name, waits = who(view, nodeid), _waits_for(node, now_ns)
        if node.blocked_processes and not any("corosync" in process for process in node.blocked_processes):
            told = f"{' and '.join(node.blocked_processes)} on {name} is {waits}. The token does not wait for it."
            return told + _told_watchdog(name, node, now_ns)
        if view.token.node == nodeid and view.token.how in ("at", "held", "waiting"):
            searching = [other for other, peer in view.nodes.items() if peer.state == "GATHER" and other != nodeid]
            if searching:
                verb = "gives" if len(searching) == 1 else "give"
                return f"{name} is {waits}. {names(view, searching)} {verb} up on the token it keeps: who is there?"
            if view.token.how == "waiting":
                return f"{name} is {waits}. The token waits in its socket: nobody can send."
            return f"{name} is {waits}. It holds the token: nobody else can send."
        return f"{name} is {waits}. The token has not reached it yet."
    return ""


def _told_watchdog(name: str, node: NodeView, now_ns: int) -> str:
    silent_ns = now_ns - node.watchdog_fed_ns
    if node.watchdog_fed_ns < 0 or silent_ns < WATCHDOG_LATE_NS:
        return ""
    left_ns = max(0, WATCHDOG_RESET_NS - silent_ns)
    return f" Its HA lock is not renewed: the watchdog resets {name} in {span(left_ns)}."


def _told_left_behind(view: ClusterView, now_ns: int) -> str:
    """The others went on: a blocked node they no longer count is a side remark."""
    for nodeid, node in view.nodes.items():
        if _is_left_behind(view, nodeid):
            return f" {who(view, nodeid)}, no longer counted, is still {_waits_for(node, now_ns)}."
    return ""


def _told_gathering(view: ClusterView, now_ns: int) -> str:
    searching = [nodeid for nodeid, node in view.nodes.items() if node.state == "GATHER"]
    gathering = [nodeid for nodeid in searching if not _is_left_behind(view, nodeid)]
    if not gathering:
        return ""
    latest = max(gathering, key=lambda nodeid: view.nodes[nodeid].state_since_ns)
    node = view.nodes[latest]
    name = who(view, latest)
    if node.state_text == Gather.TOKEN_LOST_OPERATIONAL.text:
        told = f"{name} heard nothing of the token for {span(node.token_ms * MS)} and looks for members."
    elif node.state_text == Gather.CONSENSUS_TIMEOUT.text:
        told = f"{name} gives up on {names(view, node.failed)} and looks for a ring without."
    else:
        told = f"{name} looks for members: {GATHER_WORDS.get(node.state_text, node.state_text)}."
    silent = [
        nodeid for nodeid in node.proc if nodeid not in gathering and nodeid not in node.failed and nodeid in view.nodes
    ]
    limit_ms = view.timeout_ms(latest, "consensus")
    left_ns = node.state_since_ns + limit_ms * MS - now_ns
    if silent and left_ns > 0:
        told += f" {names(view, silent)} {'has' if len(silent) == 1 else 'have'} {span(left_ns)} left to answer."
    return told


def _told_token_lost(view: ClusterView, now_ns: int) -> str:
    if view.token.how != "lost":
        return ""
    place = view.token
    name = who(view, place.node)
    since = span(now_ns - place.since_ns)
    node = view.nodes.get(place.node)
    if not place.target or (node is not None and not node.corosync_alive):
        return f"The token died with {name} {since} ago. Nobody knows yet: the others wait for their token timers."
    retransmit_ms = view.timeout_ms(place.node, "token_retransmit")
    again = f" {name} sends its copy again every {retransmit_ms} ms." if retransmit_ms else ""
    return f"The token was lost on its way from {name} to {who(view, place.target)} {since} ago.{again}"


def _told_dead(view: ClusterView, _now_ns: int) -> str:
    """A dead node matters as long as somebody still counts it as a member."""
    for nodeid, node in view.nodes.items():
        if node.state != "DOWN":
            continue
        waiting = [other for other, peer in view.nodes.items() if nodeid in peer.members and other != nodeid]
        if waiting and view.token.target in (nodeid, 0) and view.token.how == "flying":
            return f"{who(view, nodeid)} is dead, and the token is on its way to it. Nobody knows yet."
    return ""


def _told_forming(view: ClusterView, _now_ns: int) -> str:
    for state, has, have, meaning in (
        ("COMMIT", "has agreed on ring {}", "have agreed on ring {}", "the commit token goes round twice"),
        ("RECOVERY", "forms ring {}", "form ring {}", "members of the old ring send each other what some of them miss"),
    ):
        rings: dict[RingId | None, list[int]] = {}
        for nodeid, node in view.nodes.items():
            if node.state == state:
                rings.setdefault(node.ring_id, []).append(nodeid)
        if rings:
            told = ((have if len(nodes) > 1 else has, ring, nodes) for ring, nodes in rings.items())
            each = (f"{names(view, nodes)} {verb.format(ring)}" for verb, ring, nodes in told)
            return f"{', '.join(each)}: {meaning}."
    if all(node.state in ("", "STARTING") for node in view.nodes.values()):
        return "No ring yet. Press → to step until the nodes have found each other."
    return ""


def _told_token(view: ClusterView, now_ns: int) -> str:
    place = view.token
    name = who(view, place.node)
    if place.how == "held":
        hold_ms = view.timeout_ms(place.node, "hold")
        limit = f" of {span(hold_ms * MS)}" if hold_ms else ""
        return f"{name} holds the token: the ring is idle ({span(now_ns - place.since_ns)}{limit})."
    if place.how == "waiting" and _counted_by(view, place.node):
        return f"The token waits in {name}'s socket."
    if place.how == "waiting":
        return "The new ring is up; its first token is about to go round."
    if place.how == "flying":
        return f"The token is on its way from {name} to {who(view, place.target)}." + _told_stable(view)
    if place.how == "at" and view.visit is not None:
        return _told_stage(view, view.visit, name)
    return "No token is on its way yet."


def _told_stable(view: ClusterView) -> str:
    passed = view.visit.passed if view.visit is not None else None
    if passed is None or passed.seq == 0:
        return ""
    if passed.aru == passed.seq:
        return f" Everybody has received everything up to {passed.seq}."
    return f" Nobody can tell yet whether {numbers(range(passed.aru + 1, passed.seq + 1))} reached everybody."


def _told_stage(view: ClusterView, visit: Visit, name: str) -> str:
    if visit.stage == 1 and visit.received is not None:
        got = visit.received
        if got.my_aru < got.seq:
            return f"{name} has the token, which tells of seq {got.seq}; it has everything up to {got.my_aru} only."
        return f"{name} has the token and misses nothing. It alone may send now."
    if visit.stage == 2 and visit.checked is not None:
        checked = visit.checked
        if checked.requested:
            return f"{name} asks for {numbers(checked.requested)}: the next holder of the token that has it resends it."
        if checked.resent:
            return f"{name} resends {numbers(checked.resent)}, which somebody missed."
        if checked.missing:
            seq, visits = checked.missing[0]
            limit = _count(miss_count(view))
            return f"{name} found a hole at {seq}: {_ordinal(visits)} visit of {limit} before it asks."
        return f"{name} has no hole and nobody asks for anything. It may send {plural(checked.allowance, 'message')}."
    if visit.stage == 3 and visit.multicast is not None:
        sent = visit.multicast
        if not sent.count:
            return f"{name} has nothing to send and will pass the token on."
        seqs = numbers(range(sent.first_seq, sent.first_seq + sent.count))
        return f"{name} sends {plural(sent.count, 'message')} to everybody: {seqs} is the place in the one order."
    if visit.passed is not None:
        return f"{name} writes what it did into the token and passes it to {who(view, visit.passed.successor)}."
    return f"{name} has the token."


def _ordinal(number: int) -> str:
    words = ("", "first", "second", "third", "fourth", "fifth")
    return words[number] if 0 < number < len(words) else f"{number}th"


def _count(number: int) -> str:
    words = ("no", "one", "two", "three", "four", "five")
    return words[number] if number < len(words) else str(number)
