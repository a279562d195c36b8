"""What conditions can ask for: the parts of a node, of the token and of a write, and the plain words.

A part has a function that reads it, what it means (for help), and whether it grows while nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from totemviz.trace.events import Event, kind_of
from totemviz.trace.journeys import WriteView
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView


class Instant(NamedTuple):
    """What a condition is asked about: an event just applied (None between two events), and the view at a time."""

    view: ClusterView
    event: Event | None
    now_ns: int
    node: NodeView | None = None


class Part(NamedTuple):
    """How to read a part of something, and what it means."""

    get: Callable[[Any, Instant], Any]
    meaning: str
    timed: bool = False


class Word(NamedTuple):
    """A word that stands for a value of the moment."""

    get: Callable[[Instant], Any]
    meaning: str
    timed: bool = False


STATES = ("OPERATIONAL", "GATHER", "COMMIT", "RECOVERY", "DOWN", "STARTING")
NODE_WORDS = ("none", "at", "held", "flying", "waiting", "lost", "START", "START_SYNC", "SYNCED", "UPDATE", "ERROR")


def _known(value: int) -> int | None:
    return value if value >= 0 else None


def _since(since_ns: int, at: Instant) -> int:
    return at.now_ns - since_ns if since_ns >= 0 else 0


def _count(write: WriteView, stage: str) -> int:
    """Nodes on which every change of the write has come so far; 0 before there is one."""
    reached = [set(getattr(change, stage)) for change in write.changes]
    return len(set.intersection(*reached)) if reached else 0


def _number(node: NodeView, at: Instant) -> int:
    return node.info.nodeid


NODE: dict[str, Part] = {
    "state": Part(lambda node, at: node.state, "GATHER, COMMIT, RECOVERY, OPERATIONAL, DOWN, STARTING"),
    "state_age": Part(lambda node, at: _since(node.state_since_ns, at), "how long in this state", True),
    "members": Part(lambda node, at: len(node.members), "how many are in its ring"),
    "aru": Part(lambda node, at: _known(node.aru), "it has everything up to this seq"),
    "seq": Part(lambda node, at: _known(node.seq), "highest seq it knows of"),
    "queue": Part(lambda node, at: _known(node.queue), "messages that wait for the token"),
    "waiting": Part(lambda node, at: node.waiting, "datagrams that wait in its socket"),
    "blocked": Part(lambda node, at: _since(node.blocked_since_ns, at), "how long its thread stands still", True),
    "fsync": Part(lambda node, at: _since(node.fsync_since_ns, at), "how long the present sync lasts", True),
    "last_fsync": Part(lambda node, at: _known(node.last_fsync_ns), "how long the last sync took"),
    "fsyncs": Part(lambda node, at: node.fsyncs, "syncs so far"),
    "token_left": Part(
        lambda node, at: node.token_deadline_ns - at.now_ns if node.token_deadline_ns >= 0 else None,
        "time until its token timer runs out",
        True,
    ),
    "quorate": Part(lambda node, at: node.quorate, "whether it has quorum"),
    "votes": Part(lambda node, at: _known(node.votes), "votes it counts"),
    "expected_votes": Part(lambda node, at: _known(node.expected_votes), "votes it expects"),
    "mode": Part(lambda node, at: node.dcdb_mode, "mode of its pmxcfs: START_SYNC, SYNCED, UPDATE …"),
    "version": Part(lambda node, at: _known(node.version), "version of its /etc/pve"),
    "durable_version": Part(lambda node, at: _known(node.durable_version), "version its disk is known to hold"),
    "corosync": Part(lambda node, at: node.corosync_alive, "whether corosync runs"),
    "pmxcfs": Part(lambda node, at: node.pmxcfs_alive, "whether pmxcfs runs"),
    "id": Part(_number, "its node id"),
}

TOKEN: dict[str, Part] = {
    "age": Part(
        lambda token, at: at.now_ns - at.view.visit.started_ns if at.view.visit is not None else None,
        "how long ago a node accepted it last",
        True,
    ),
    "how": Part(lambda token, at: token.how, "none, at, held, flying, waiting or lost"),
    "node": Part(lambda token, at: token.node, "where it is, or comes from"),
    "target": Part(lambda token, at: token.target, "where it flies to"),
    "lost": Part(lambda token, at: token.how == "lost", "whether it was lost"),
    "visits": Part(lambda token, at: at.view.visits, "token visits so far"),
}

WRITE: dict[str, Part] = {
    "done": Part(lambda write, at: write.finished_ns >= 0, "whether its program is done"),
    "failed": Part(lambda write, at: write.failed, "whether it failed, or died with its host"),
    "age": Part(lambda write, at: (write.finished_ns if write.finished_ns >= 0 else at.now_ns) - write.started_ns,
                "how long it took, or lasts so far", True),
    "delivered": Part(lambda write, at: _count(write, "delivered"), "nodes that were handed all of it"),
    "applied": Part(lambda write, at: _count(write, "applied"), "nodes whose /etc/pve holds it"),
    "durable": Part(lambda write, at: _count(write, "durable"), "nodes whose disk holds it"),
}  # fmt: skip

PLAIN: dict[str, Word] = {
    "kind": Word(lambda at: kind_of(at.event.body) if at.event is not None else "", "kind of the event"),
    "where": Word(lambda at: at.event.node if at.event is not None else None, "node of the event"),
    "time": Word(lambda at: at.now_ns, "virtual time", True),
    "event": Word(lambda at: at.view.event_id, "number of the event"),
    "rings": Word(
        lambda at: len({node.ring_id for node in at.view.nodes.values() if node.state == "OPERATIONAL"}),
        "different rings that are up",
    ),
    "writes": Word(lambda at: len(at.view.writes), "writes begun so far"),
    "cuts": Word(lambda at: sum(link.cut for link in at.view.cut_links.values()), "links that are cut, one way each"),
    "flights": Word(lambda at: len(at.view.flights), "datagrams between two nodes"),
}

ATTRIBUTES = {"fsync": "fsync", "blocked": "blocked", "quorate": "quorate"}
"""Calls that are short for a part of a node: ``fsync(3)`` is ``node(3).fsync``."""

CALLS: dict[str, tuple[int, int]] = {
    "node": (1, 1),
    "write": (1, 1),
    "log": (1, 2),
    "happened": (1, 2),
    "some": (1, 1),
    "every": (1, 1),
    "fsync": (1, 1),
    "blocked": (1, 1),
    "quorate": (1, 1),
}
"""Calls, and how many values they take."""
