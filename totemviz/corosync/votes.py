"""The table of votes that every votequorum keeps: one row per node it ever heard of, one for the quorum device."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import IntEnum, IntFlag

import msgspec

QDEVICE_NODEID = 0


class NodeFlag(IntFlag):
    """Flags of a nodeinfo message (sheet §3.7)."""

    QUORATE = 1
    LEAVING = 2
    WFA_STATUS = 4
    FIRST = 8
    QDEVICE_REGISTERED = 16
    QDEVICE_ALIVE = 32
    QDEVICE_CAST_VOTE = 64
    QDEVICE_MASTER_WINS = 128


FLAG_NAMES = (
    ("quorate", NodeFlag.QUORATE),
    ("Leaving", NodeFlag.LEAVING),
    ("WFA Status", NodeFlag.WFA_STATUS),
    ("First", NodeFlag.FIRST),
    ("Qdevice", NodeFlag.QDEVICE_REGISTERED),
    ("QdeviceAlive", NodeFlag.QDEVICE_ALIVE),
    ("QdeviceCastVote", NodeFlag.QDEVICE_CAST_VOTE),
    ("QdeviceMasterWins", NodeFlag.QDEVICE_MASTER_WINS),
)


class NodeState(IntEnum):
    """A node in the table; the numbers are in a log line."""

    MEMBER = 1
    DEAD = 2
    LEAVING = 3


class VoteNode(msgspec.Struct):
    """One row of the table of votes."""

    nodeid: int
    votes: int = 0
    expected_votes: int = 0
    flags: int = 0
    state: NodeState = NodeState.DEAD

    def key(self) -> tuple[int, int, int, NodeState]:
        """Everything that matters for the sum."""
        return self.votes, self.expected_votes, self.flags, self.state


def majority(votes: int) -> int:
    """The smallest number of votes that is more than half."""
    return (votes + 2) // 2


class VoteTable:
    """The rows, this node's own (``us``) and the quorum device's (``qdevice``) among them.

    ``log`` takes debug lines of VOTEQ.
    """

    def __init__(self, us: VoteNode, device_votes: int, log: Callable[[str], None]) -> None:
        self.us = us
        self.qdevice = VoteNode(QDEVICE_NODEID, device_votes)
        self.nodes = [us]
        self.lowest = self.highest = us.nodeid
        self._log = log

    def find(self, nodeid: int) -> VoteNode | None:
        """The row of a node (0: of the quorum device), None if nothing was heard of it."""
        if nodeid == QDEVICE_NODEID:
            return self.qdevice
        return next((node for node in self.nodes if node.nodeid == nodeid), None)

    def add(self, nodeid: int) -> VoteNode:
        """A new row, in front of the first higher id; if there is none, of the last row (``node_add_ordered``)."""
        place = len(self.nodes) - 1
        for index, node in enumerate(self.nodes):
            if nodeid < node.nodeid:
                place = index
                break
        self.nodes.insert(place, VoteNode(nodeid))
        return self.nodes[place]

    def members(self) -> list[VoteNode]:
        """The rows of the nodes that are here."""
        return [node for node in self.nodes if node.state is NodeState.MEMBER]

    def expect(self, votes: int) -> None:
        """All members expect this many votes from now on; 0 changes nothing."""
        for node in self.members():
            node.expected_votes = votes or node.expected_votes

    def present(self) -> tuple[int, int]:
        """Votes and voters that are here, the device's whether they are granted or not (``get_total_votes``)."""
        members, device = self.members(), self.qdevice.votes
        return sum(node.votes for node in members) + device, len(members) + bool(device)

    def counted(self) -> tuple[int, int, int]:
        """Votes and voters that count for this node, and the most that a member expects (``calculate_quorum``)."""
        expected = total = voters = 0
        for node in self.nodes:
            self._log(f"node {node.nodeid} state={node.state}, votes={node.votes}, expected={node.expected_votes}")
            if node.state is NodeState.MEMBER:
                expected = max(expected, node.expected_votes)
                total += node.votes
                voters += 1
        if self.us.flags & NodeFlag.QDEVICE_CAST_VOTE:
            self._log(f"node 0 state=1, votes={self.qdevice.votes}")
            total += self.qdevice.votes
            voters += 1
        return total, voters, expected

    def find_extremes(self) -> None:
        """Remember the lowest and the highest member of a partition that has quorum."""
        here = [node.nodeid for node in self.members()]
        self.lowest, self.highest = min(here), max(here)
        self._log(f"lowest node id: {self.lowest} us: {self.us.nodeid}")
        self._log(f"highest node id: {self.highest} us: {self.us.nodeid}")

    def is_member(self, nodeid: int) -> bool:
        """Is this node here?"""
        return any(node.nodeid == nodeid for node in self.members())

    def master_wins(self) -> bool:
        """Is a node here that has the device's votes and may go on with them alone (``check_qdevice_master``)?"""
        both = NodeFlag.QDEVICE_MASTER_WINS | NodeFlag.QDEVICE_CAST_VOTE
        return any(node.flags & both == both for node in self.members())

    def breaks_tie(self, choice: str, members: Collection[int], previous: Collection[int]) -> bool:
        """Is the node that decides a tie on our side (``check_auto_tie_breaker``)?

        ``choice`` is ``lowest``, ``highest`` or node ids; ``members`` are those of this ring, ``previous`` those of the
        ring before. Of the listed nodes the first that is here decides, unless one listed before it was with us.
        """
        if choice in ("lowest", "highest"):
            decision = self.is_member(self.lowest if choice == "lowest" else self.highest)
            self._log(f"ATB_{choice.upper()} decision: {decision:d}")
            return decision
        earlier: list[int] = []
        for nodeid in map(int, choice.split()):
            if nodeid not in members:
                earlier.append(nodeid)
                continue
            for other in earlier:
                if other in previous:
                    self._log(f"ATB_LIST found node {other} in previous partition but not here, quorum denied")
                    return False
            self._log(f"ATB_LIST found node {nodeid} in current partition, we can be quorate")
            return True
        self._log("ATB_LIST found no list nodes in current partition, we cannot be quorate")
        return False
