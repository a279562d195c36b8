"""Small words that all views share: lengths of time, nodes, sequence numbers, errors, kinds of datagrams and troubles.

Whole sentences about events are ``trace.sentences``. Names and limits are read from the view, so a simulation and a
recording are told alike.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from totemviz.totem.config import KEYS, MS
from totemviz.totem.states import Gather
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView

US = 1_000
SECOND = 1_000_000_000
MISS_COUNT = KEYS["miss_count_const"].default or 5
EVERYBODY = 0
NO_ARU = 0xFFFFFFFF


def span(time_ns: int) -> str:
    """A length of time as people say it: ``160 µs``, ``685 ms``, ``2.1 s``, ``3.65 s``."""
    if time_ns < MS:
        return f"{time_ns / US:.0f} µs"
    if time_ns < 10 * MS:
        return f"{time_ns / MS:.1f} ms"
    if time_ns < SECOND:
        return f"{time_ns / MS:.0f} ms"
    if time_ns < 10 * SECOND:
        return f"{time_ns / SECOND:.2f}".rstrip("0").rstrip(".") + " s"
    return f"{time_ns / SECOND:.1f} s"


def clock_words(ahead_ns: int, drift_ppm: int = 0) -> str:
    """What a wall clock is like: ``is 5 min ahead``, ``is right, and loses 200 ppm``."""
    text = f"is {long_span(abs(ahead_ns))} {'ahead' if ahead_ns > 0 else 'behind'}" if ahead_ns else "is right"
    return f"{text}, and {'gains' if drift_ppm > 0 else 'loses'} {abs(drift_ppm)} ppm" if drift_ppm else text


def long_span(time_ns: int) -> str:
    """The same of what people do, which may take hours: ``70 s``, ``5 min``, ``1 h``."""
    for unit, name in ((3600 * SECOND, "h"), (60 * SECOND, "min"), (SECOND, "s")):
        if time_ns and time_ns % unit == 0:
            return f"{time_ns // unit} {name}"
    return span(time_ns)


def who(view: ClusterView, nodeid: int) -> str:
    """The letter a node goes by (else its name); ``everybody`` for target 0."""
    if nodeid == EVERYBODY:
        return "everybody"
    node = view.nodes.get(nodeid)
    if node is None:
        return f"node {nodeid}"
    return node.info.letter or node.info.name


def names(view: ClusterView, nodeids: Iterable[int]) -> str:
    """``A, B and C``; ``nobody`` for an empty list."""
    words = [who(view, nodeid) for nodeid in nodeids]
    if len(words) < 2:
        return words[0] if words else "nobody"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def numbers(seqs: Iterable[int]) -> str:
    """Sequence numbers with runs joined: ``39``, ``39 and 41``, ``39–44``."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    words = [str(a) if a == b else f"{a}–{b}" for a, b in runs]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def aru_text(aru: int) -> str:
    """The aru; ``none`` for the value the first token of a ring carries (sheet §4.5: 0xffffffff)."""
    return "none" if aru == NO_ARU else str(aru)


def errno_text(result: int) -> str:
    """``EACCES (Permission denied)`` for -13; ``ok`` for success."""
    if result >= 0:
        return "ok"
    return f"{errno.errorcode.get(-result, str(-result))} ({os.strerror(-result)})"


def miss_count(view: ClusterView) -> int:
    """At how many token visits a hole must be seen before it is asked for (corosync's miss_count_const)."""
    return view.run.limits.get("miss_count_const", MISS_COUNT) if view.run else MISS_COUNT


def grouped(number: int) -> str:
    """``1 204``: digits in threes."""
    return f"{number:,}".replace(",", " ")


def plural(count: int, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def node_state(node: NodeView) -> str:
    """One word for the state of a node; ``?`` where a recording does not show it."""
    return node.state.lower() if node.state else "?"


DISK_TROUBLE_WORDS = {
    "full": "is full: what needs new space fails",
    "io_error": "is broken: every write fails",
    "stuck": "answers no sync any more",
    "slow": "is slower than it should be",
    "lies": "acknowledges syncs it has not done",
}

WATCHDOG_RESET_NS = 72 * SECOND
"""How long after the last sign of life a node is reset: 61 s, one more until watchdog-mux ends, and the device's 10."""

WATCHDOG_LATE_NS = 15 * SECOND
"""The HA manager feeds it every 10 s; much later than that something keeps it from doing so."""

DATAGRAM_WORDS = {
    "orf_token": "the token",
    "mcast": "a message",
    "memb_merge_detect": "a merge detect (is there another ring?)",
    "memb_join": "a join (who can hear me?)",
    "memb_commit_token": "the commit token of a new ring",
    "token_hold_cancel": "a hold cancel (I have something to send)",
}

GATHER_WORDS = {
    Gather.CONSENSUS_TIMEOUT.text: "not everybody answered in time",
    Gather.TOKEN_LOST_OPERATIONAL.text: "no token came for the token timeout",
    Gather.CONSENSUS_EXPIRED.text: "all agreed, but no new ring came of it",
    Gather.TOKEN_LOST_COMMIT.text: "the commit token did not come back",
    Gather.TOKEN_LOST_RECOVERY.text: "the token was lost while the ring recovered",
    Gather.FAILED_TO_RECEIVE.text: "it does not receive messages any more",
    Gather.FOREIGN_MESSAGE_OPERATIONAL.text: "it heard a message of another ring",
    Gather.FOREIGN_MESSAGE_GATHER.text: "it heard a message of another ring",
    Gather.MERGE_OPERATIONAL.text: "it heard that another ring exists",
    Gather.MERGE_GATHER.text: "it heard that another ring exists",
    Gather.MERGE_JOIN.text: "a join told it of nodes it did not count on",
    Gather.JOIN_OPERATIONAL.text: "another node asks who is there",
    Gather.JOIN_COMMIT.text: "another node asks again who is there",
    Gather.JOIN_RECOVERY.text: "another node asks again who is there",
    Gather.INTERFACE_CHANGE.text: "it has just started and looks for others",
}


def folded_words(steps: int) -> str:
    """Ordinary steps of a story that are not told one by one."""
    return "one ordinary step" if steps == 1 else f"{grouped(steps)} ordinary steps"


def as_sentence(text: str) -> str:
    """With a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}."
