"""The arithmetic of votes: what quorum is, who may fail, and which losses cost it (sheet §9.1, §9.2, §9.5)."""

from __future__ import annotations

import msgspec

from totemviz.corosync.conf import CorosyncConf
from totemviz.corosync.votes import majority


class VoteShare(msgspec.Struct, frozen=True):
    """One voter; ``loss_costs_quorum``: when it alone is gone, the rest is not quorate. The quorum device is node 0."""

    nodeid: int
    name: str
    votes: int
    loss_costs_quorum: bool


class QuorumArithmetic(msgspec.Struct, frozen=True, kw_only=True):
    """Votes of a cluster with all nodes up.

    ``may_fail`` is the number of nodes that may fail at once whichever they are, ``may_fail_at_best`` if they are those
    with the fewest votes. ``splits_in_half`` tells whether the cluster can fall into two parts with equal votes, so
    that neither has a majority. ``rules`` are the options of the file that change the plain majority.
    """

    voters: tuple[VoteShare, ...]
    total_votes: int
    expected_votes: int
    quorum: int
    may_fail: int
    may_fail_at_best: int
    splits_in_half: bool
    rules: tuple[str, ...]


def quorum_arithmetic(conf: CorosyncConf) -> QuorumArithmetic:
    """Count, as votequorum does when everybody is there (``votequorum.c: calculate_quorum``)."""
    votes = [(node.nodeid, node.name, node.votes) for node in conf.nodes]
    if conf.quorum.device is not None:
        votes.append((0, "quorum device", conf.quorum.device))
    total = sum(count for _, _, count in votes)
    expected = max(conf.expected_votes, total)
    quorum = majority(expected)
    node_votes = sorted(node.votes for node in conf.nodes)
    if two_node_applies(conf):
        quorum = 1
    return QuorumArithmetic(
        voters=tuple(
            VoteShare(nodeid, name, count, total >= quorum > total - count and len(votes) > 1)
            for nodeid, name, count in votes
        ),
        total_votes=total,
        expected_votes=expected,
        quorum=quorum,
        may_fail=_may_fail(node_votes[::-1], total, quorum),
        may_fail_at_best=_may_fail(node_votes, total, quorum),
        splits_in_half=_splits_in_half([count for _, _, count in votes]),
        rules=tuple(_rules(conf)),
    )


def two_node_applies(conf: CorosyncConf) -> bool:
    """two_node: quorum is 1 while at most two nodes are counted, so from the start in a cluster of two."""
    return conf.quorum.two_node and len(conf.nodes) <= 2


def _may_fail(order: list[int], total: int, quorum: int) -> int:
    """How many nodes of this order may go, at least one node being left."""
    gone = 0
    for count in order[:-1]:
        total -= count
        if total < quorum:
            break
        gone += 1
    return gone


def _splits_in_half(votes: list[int]) -> bool:
    """Is there a part of the voters with exactly half of the votes?"""
    total = sum(votes)
    reachable = {0}
    for count in votes:
        reachable |= {before + count for before in reachable}
    return total % 2 == 0 and total // 2 in reachable


def _rules(conf: CorosyncConf) -> list[str]:
    options = conf.quorum
    named = {
        "two_node": options.two_node,
        "wait_for_all": options.wait_for_all,
        f"auto_tie_breaker ({options.auto_tie_breaker_node})": options.auto_tie_breaker,
        f"last_man_standing ({options.last_man_standing_window_ms} ms)": options.last_man_standing,
        "allow_downscale": options.allow_downscale,
        "expected_votes_tracking": options.expected_votes_tracking,
        f"quorum device ({options.device} votes)": options.device is not None,
        f"expected_votes {options.expected_votes}": options.expected_votes is not None,
    }
    return [name for name, on in named.items() if on]
