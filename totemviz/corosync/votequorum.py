"""votequorum: votes, the majority, and whether this partition has it (sheet §9).

Every node keeps its own table of everybody's votes, filled by nodeinfo messages. A partition is quorate when the
votes of its members reach the quorum: half of the expected votes, rounded down, plus one. Quorum may rise by
itself and never falls without a reason (``calculate_quorum``).

What lets it fall (sheet §9.5): under last_man_standing the nodes that are left count themselves anew some time after
a loss; under allow_downscale a node says that it is leaving, and the others no longer expect it. A quorum device is
the pseudo node 0 in the table: its votes count for a member to which it gives them (``qdevice_poll``).

Not kept across a restart: the highest expected votes ever seen (expected_votes_tracking), a file in the real one.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum

import msgspec

from totemviz.corosync.conf import QuorumOptions
from totemviz.corosync.effects import QuorumChanged
from totemviz.corosync.quorum import Quorum
from totemviz.corosync.service import Core
from totemviz.corosync.wire import VOTEQUORUM, NodeInfo, QdeviceRegister, Reconfigure, ServiceMessage
from totemviz.totem.effects import Level, RingId

QDEVICE_NODEID = 0
QDEVICE_TIMEOUT_MS = 10_000
QDEVICE_SYNC_TIMEOUT_MS = 30_000


class VotequorumTimer(StrEnum):
    """The timers of this service."""

    LAST_MAN_STANDING = "last_man_standing"
    QDEVICE = "qdevice"
    QDEVICE_SYNC = "qdevice_sync"


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


class Reconfigured(IntEnum):
    """What an operator changed."""

    EXPECTED_VOTES = 1
    NODE_VOTES = 2
    CANCEL_WAIT_FOR_ALL = 3


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


class Votequorum:
    """Service engine 5. ``votes`` and ``expected_votes`` come from corosync.conf."""

    service_id = VOTEQUORUM
    name = "corosync vote quorum service v1.0"

    def __init__(self, core: Core, quorum: Quorum, votes: int, expected_votes: int, options: QuorumOptions) -> None:
        self._core = core
        self._quorum_service = quorum
        self.options = options
        self.us = VoteNode(core.nodeid, votes, expected_votes, NodeFlag.FIRST, NodeState.MEMBER)
        self.qdevice = VoteNode(QDEVICE_NODEID, options.device or 0)
        self.nodes = [self.us]
        self.quorum = 0
        self.total_votes = 0
        self.quorate = False
        self._set_waiting_for_all(options.wait_for_all)
        self._members: tuple[int, ...] = ()
        self._previous_members: tuple[int, ...] = ()
        self._ring_id = RingId(0, 0)
        self._syncing = False
        self._lowest = self._highest = core.nodeid
        self._configured_votes = expected_votes
        self._qdevice_name = ""
        self._waiting_for_poll = False
        self.tracked_votes = 0

    def start(self) -> None:
        """Read the configuration and tell the others who we are (``votequorum_exec_init_fn``)."""
        tracking = int(self.options.expected_votes_tracking)
        self._log("Reading configuration (runtime: 0)")
        expected = self.options.expected_votes or 0
        barrier = self.tracked_votes
        self._log(f"ev_tracking={tracking}, ev_tracking_barrier = {barrier}: expected_votes = {expected}")
        self._recalculate()
        self._send_nodeinfo(self.us)

    # -------------------------------------------------------------------------------------------------------- sync

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Nodes that are no longer here are dead; nobody with company is first any more."""
        self._syncing = True
        if len(members) > 1:
            self.us.flags &= ~NodeFlag.FIRST
        for nodeid in self._members:
            if nodeid not in members and (node := self._find(nodeid)):
                node.state = NodeState.DEAD
        lost = any(nodeid not in members for nodeid in self._members)
        self._previous_members, self._members = self._members, members
        self._ring_id = ring_id
        if self.options.last_man_standing and self._stand(lost):
            window_ms = self.options.last_man_standing_window_ms
            self._core.set_timer(VotequorumTimer.LAST_MAN_STANDING, window_ms)
        registered = NodeFlag.QDEVICE_REGISTERED | NodeFlag.QDEVICE_ALIVE
        self._waiting_for_poll = self.us.flags & registered == registered
        if self._waiting_for_poll:
            wait = f"poll (but maximum for {QDEVICE_SYNC_TIMEOUT_MS} ms)"
            self._core.log(Level.INFO, "VOTEQ", f"waiting for quorum device {self._qdevice_name} {wait}")
            self._core.set_timer(VotequorumTimer.QDEVICE_SYNC, QDEVICE_SYNC_TIMEOUT_MS)

    def _stand(self, lost: bool) -> bool:
        """Should the members count themselves anew after the window? (``votequorum_sync_init``)"""
        if len(self._members) >= self.quorum and lost:
            return True
        return len(self._members) <= self.quorum and self.options.auto_tie_breaker and self._tie_breaker_here()

    def sync_process(self) -> bool:
        """Send our row and the quorum device's, when the device has been asked about this ring."""
        if self._waiting_for_poll:
            return False
        self._send_nodeinfo(self.us)
        self._send_nodeinfo(self.qdevice)
        if self._qdevice_name:
            self._send_registration(1)
        self._log(f"Sending nodelist callback. ring_id = {self._ring_id}")
        return True

    def sync_activate(self) -> None:
        """Everybody's row is in: decide, and tell the quorum service in any case."""
        self._recalculate()
        self._inform()
        self._syncing = False

    def sync_abort(self) -> None:
        """The table stays as it is; the next ring corrects it."""

    # ------------------------------------------------------------------------------- timers, shutdown, quorum device

    def expire(self, timer: str) -> None:
        """One of ``VotequorumTimer`` ran out."""
        if timer == VotequorumTimer.LAST_MAN_STANDING:
            if self.quorate:
                self._recalculate(allow_decrease=True, by_node_count=True)
        elif timer == VotequorumTimer.QDEVICE:
            if self.us.flags & NodeFlag.QDEVICE_ALIVE:
                text = f"lost contact with quorum device {self._qdevice_name}"
                self._core.log(Level.INFO, "VOTEQ", text)
                self.us.flags &= ~(NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE)
                self._send_nodeinfo(self.us)
        elif timer == VotequorumTimer.QDEVICE_SYNC:
            self._waiting_for_poll = False

    def leave(self) -> bool:
        """The node shuts down; True if the others must hear that it does (allow_downscale)."""
        if self.options.allow_downscale:
            self.us.flags |= NodeFlag.LEAVING
            self._send_nodeinfo(self.us)
        return self.options.allow_downscale

    def qdevice_register(self, name: str) -> None:
        """The quorum device's local daemon introduces itself; it counts when the message comes back."""
        self._qdevice_name = name
        self._send_registration(1)

    def qdevice_unregister(self) -> None:
        """The quorum device's local daemon goes."""
        self._send_registration(0)

    def qdevice_poll(self, ring_id: RingId, cast_vote: bool) -> bool:
        """The device grants its votes to this node, or withdraws them.

        False, and nothing happens, if it is not registered or speaks of another ring. A device that does not poll for
        10 s counts as gone.
        """
        if not self.us.flags & NodeFlag.QDEVICE_REGISTERED or ring_id != self._ring_id:
            return False
        before = self.us.flags
        self.us.flags |= NodeFlag.QDEVICE_ALIVE
        self.us.flags &= ~NodeFlag.QDEVICE_CAST_VOTE
        self.us.flags |= NodeFlag.QDEVICE_CAST_VOTE if cast_vote else 0
        self._core.set_timer(VotequorumTimer.QDEVICE, QDEVICE_TIMEOUT_MS)
        if self._waiting_for_poll:
            self._waiting_for_poll = False
            self._core.cancel_timer(VotequorumTimer.QDEVICE_SYNC)
        elif self.us.flags != before:
            self._send_nodeinfo(self.us)
        return True

    def _send_registration(self, operation: int) -> None:
        name = self._qdevice_name.encode("ascii", "replace")[:254].ljust(255, b"\0")
        self._core.multicast(QdeviceRegister(operation, name).encode())

    def _deliver_registration(self, source: int, message: QdeviceRegister) -> None:
        """The device of a node comes or goes; the others only hear of it through that node's flags."""
        if source != self.us.nodeid:
            return
        flags = NodeFlag.QDEVICE_REGISTERED
        if message.operation:
            if self.us.flags & flags:
                return
            self.us.flags |= flags
        else:
            self.us.flags &= ~(flags | NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE)
            self._qdevice_name = ""
            self._core.cancel_timer(VotequorumTimer.QDEVICE)
        self._send_nodeinfo(self.us)
        self._send_nodeinfo(self.qdevice)

    # ---------------------------------------------------------------------------------------------------- messages

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """An ordered message of another votequorum, or our own."""
        if isinstance(message, NodeInfo):
            self._deliver_nodeinfo(source, message)
        elif isinstance(message, Reconfigure):
            self._deliver_reconfigure(source, message)
        elif isinstance(message, QdeviceRegister):
            self._deliver_registration(source, message)

    def _deliver_nodeinfo(self, source: int, info: NodeInfo) -> None:
        self._log(f"got nodeinfo message from cluster node {source}")
        text = f"votes: {info.votes}, expected: {info.expected_votes} flags: {info.flags}"
        self._log(f"nodeinfo message[{info.nodeid}]: {text}")
        if info.nodeid == QDEVICE_NODEID:
            self._deliver_qdevice_info(source, info)
            return
        self._log_flags(info.flags)
        node = self._find(info.nodeid)
        known = node is not None
        if node is None:
            node = VoteNode(info.nodeid)
            self._insert(node)
        before = node.key()
        allow_decrease, by_node_count = self._take_over(node, info)
        if not known or node is self.us or node.flags & NodeFlag.FIRST or before != node.key():
            self._recalculate(allow_decrease, by_node_count)
        if self.options.wait_for_all and node.flags & NodeFlag.QUORATE and not node.flags & NodeFlag.WFA_STATUS:
            self._set_waiting_for_all(False)

    def _take_over(self, node: VoteNode, info: NodeInfo) -> tuple[bool, bool]:
        """Fill a row from a message; returns whether quorum may fall and whether the number of nodes counts."""
        allow_decrease = by_node_count = False
        node.flags, node.votes, node.state = info.flags, info.votes, NodeState.MEMBER
        if node.flags & NodeFlag.LEAVING:
            node.state = NodeState.LEAVING
            allow_decrease = by_node_count = True
        sender_quorate = bool(node.flags & NodeFlag.QUORATE)
        if sender_quorate and not self.quorate:
            allow_decrease = True
            self.us.expected_votes = info.expected_votes
        if sender_quorate or self.options.expected_votes_tracking:
            node.expected_votes = info.expected_votes
        else:
            node.expected_votes = self.us.expected_votes
        return allow_decrease, by_node_count

    def _deliver_qdevice_info(self, source: int, info: NodeInfo) -> None:
        before = self.qdevice.key()
        sender = self._find(source)
        if not self.quorate and sender is not None and sender.flags & NodeFlag.QUORATE:
            self.qdevice.votes = info.votes
        else:
            self.qdevice.votes = max(self.qdevice.votes, info.votes)
        if before != self.qdevice.key():
            self._recalculate()

    def _deliver_reconfigure(self, source: int, message: Reconfigure) -> None:
        self._log(f"got reconfigure message from cluster node {source} for {message.nodeid}")
        if message.parameter == Reconfigured.EXPECTED_VOTES:
            self._set_expected_votes(message.value)
            self._recalculate(allow_decrease=True)
        elif message.parameter == Reconfigured.NODE_VOTES:
            if node := self._find(message.nodeid):
                node.votes = message.value
                self._recalculate(allow_decrease=True)
        elif message.parameter == Reconfigured.CANCEL_WAIT_FOR_ALL:
            self._set_waiting_for_all(False)
            text = f"wait_for_all_status reset by user on node {message.nodeid}."
            self._core.log(Level.INFO, "VOTEQ", text)
            self._recalculate()

    def _send_nodeinfo(self, node: VoteNode) -> None:
        if node is not self.qdevice:
            self._log_flags(node.flags)
        self._core.multicast(NodeInfo(node.nodeid, node.votes, node.expected_votes, node.flags).encode())

    # ------------------------------------------------------------------------------------------------- arithmetic

    def _recalculate(self, allow_decrease: bool = False, by_node_count: bool = False) -> None:
        """Sum up, set the quorum, decide (``votequorum.c: recalculate_quorum``)."""
        members = self._member_rows()
        total = sum(node.votes for node in members) + self.qdevice.votes
        count = len(members) + bool(self.qdevice.votes)
        self._log(f"total_votes={total}, expected_votes={self.us.expected_votes}")
        self.us.expected_votes = max(self.us.expected_votes, total)
        self.tracked_votes = max(self.tracked_votes, self.us.expected_votes)
        if by_node_count and self.options.allow_downscale:
            count = max(count, self._configured_votes)  # down to what is configured, never below
        self.quorum = self._calculate_quorum(allow_decrease, count if by_node_count else 0)
        if by_node_count:
            self._set_expected_votes(count)
        self._are_we_quorate()

    def _calculate_quorum(self, allow_decrease: bool, given_expected: int) -> int:
        highest_expected = total = count = 0
        for node in self.nodes:
            self._log(f"node {node.nodeid} state={node.state}, votes={node.votes}, expected={node.expected_votes}")
            if node.state is NodeState.MEMBER:
                highest_expected = max(highest_expected, node.expected_votes)
                total += node.votes
                count += 1
        if self.us.flags & NodeFlag.QDEVICE_CAST_VOTE:
            self._log(f"node 0 state=1, votes={self.qdevice.votes}")
            total += self.qdevice.votes
            count += 1
        self.total_votes = total
        quorum = max(majority(given_expected or highest_expected), majority(total))
        if not allow_decrease:
            quorum = max(quorum, self.quorum)
        if self.options.two_node and count <= 2:
            quorum = 1
        return quorum & 0xFF

    def _are_we_quorate(self) -> None:
        total = self.total_votes
        if self.options.wait_for_all and self.waiting_for_all:
            if total != self.us.expected_votes:
                text = f"Current votes: {total} expected_votes: {self.us.expected_votes}"
                self._core.log(Level.NOTICE, "VOTEQ", f"Waiting for all cluster members. {text}")
                return
            self._set_waiting_for_all(False)
        quorate = total >= self.quorum
        if quorate:
            self._find_extremes()
        if self._tie_breaker_applies() and self._tie_breaker_here():
            quorate = True
        changed = quorate != self.quorate
        if changed:
            self._log("quorum regained, resuming activity" if quorate else "quorum lost, blocking activity")
        self.quorate = quorate
        self.us.flags = self.us.flags & ~NodeFlag.QUORATE | (NodeFlag.QUORATE if quorate else 0)
        if self.options.wait_for_all:
            self._set_waiting_for_all(not quorate)
        if changed and not self._syncing:
            self._inform()

    def _tie_breaker_applies(self) -> bool:
        """An even split, whose other half cannot have quorum by itself."""
        return (
            self.options.auto_tie_breaker
            and self.total_votes == self.us.expected_votes // 2
            and len(self._previous_members) - len(self._members) < self.quorum
        )

    def _tie_breaker_here(self) -> bool:
        """Is the node that decides a tie on our side (``votequorum.c: check_auto_tie_breaker``)?"""
        choice = self.options.auto_tie_breaker_node
        here = [node.nodeid for node in self._member_rows()]
        if choice in ("lowest", "highest"):
            decision = (self._lowest if choice == "lowest" else self._highest) in here
            self._log(f"ATB_{choice.upper()} decision: {decision:d}")
            return decision
        earlier: list[int] = []
        for nodeid in map(int, choice.split()):
            if nodeid not in self._members:
                earlier.append(nodeid)
                continue
            for other in earlier:
                if other in self._previous_members:
                    self._log(f"ATB_LIST found node {other} in previous partition but not here, quorum denied")
                    return False
            self._log(f"ATB_LIST found node {nodeid} in current partition, we can be quorate")
            return True
        self._log("ATB_LIST found no list nodes in current partition, we cannot be quorate")
        return False

    # ----------------------------------------------------------------------------------------------------- helpers

    def _member_rows(self) -> list[VoteNode]:
        return [node for node in self.nodes if node.state is NodeState.MEMBER]

    def _find(self, nodeid: int) -> VoteNode | None:
        return next((node for node in self.nodes if node.nodeid == nodeid), None)

    def _insert(self, new: VoteNode) -> None:
        """In front of the first higher id; if there is none, in front of the last row (``node_add_ordered``)."""
        place = len(self.nodes) - 1
        for index, node in enumerate(self.nodes):
            if new.nodeid < node.nodeid:
                place = index
                break
        self.nodes.insert(place, new)

    def _find_extremes(self) -> None:
        here = [node.nodeid for node in self._member_rows()]
        self._lowest, self._highest = min(here), max(here)
        self._log(f"lowest node id: {self._lowest} us: {self.us.nodeid}")
        self._log(f"highest node id: {self._highest} us: {self.us.nodeid}")

    def _set_expected_votes(self, votes: int) -> None:
        for node in self._member_rows():
            node.expected_votes = votes or node.expected_votes

    def _set_waiting_for_all(self, waiting: bool) -> None:
        self.waiting_for_all = waiting
        self.us.flags = self.us.flags & ~NodeFlag.WFA_STATUS | (NodeFlag.WFA_STATUS if waiting else 0)

    def _inform(self) -> None:
        """The verdict to the quorum service and to tracking clients."""
        change = QuorumChanged(
            quorate=self.quorate,
            votes=self.total_votes,
            expected_votes=self.us.expected_votes,
            quorum=self.quorum,
            ring_id=self._ring_id,
            members=self._members,
        )
        self._quorum_service.set_quorum(change)
        self._log(f"Sending quorum callback, quorate = {self.quorate:d}")

    def _log_flags(self, flags: int) -> None:
        words = (f"{name}: {'Yes' if flags & flag else 'No'}" for name, flag in FLAG_NAMES)
        self._log(f"flags: {' '.join(words)}")

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "VOTEQ", text)
