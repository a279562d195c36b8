"""votequorum: votes, the majority, and whether this partition has it (sheet §9).

Every node keeps its own table of everybody's votes (``votes``), filled by nodeinfo messages. A partition is quorate
when the votes of its members reach the quorum: half of the expected votes, rounded down, plus one. Quorum may rise by
itself and never falls without a reason (``calculate_quorum``).

What lets it fall (sheet §9.5): under last_man_standing the nodes that are left count themselves anew some time after
a loss; under allow_downscale a node says that it is leaving, and the others no longer expect it; an operator sets other
expected votes. A quorum device is the pseudo node 0 in the table: its votes count for a member to which it gives them
(``qdevice``).

expected_votes_tracking remembers the highest expected votes ever seen, in a file that is read at start and should be
written on the main thread, with an fdatasync, whenever they rise (``Quirks.ev_tracking_never_saved``). While it is on,
``quorum.expected_votes`` of the file counts for nothing.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from totemviz.corosync import qdevice
from totemviz.corosync.conf import QuorumOptions
from totemviz.corosync.effects import CpgError, DeviceAsked, QuorumChanged, StoreExpectedVotes
from totemviz.corosync.qdevice import QuorumDevice
from totemviz.corosync.quirks import Quirks
from totemviz.corosync.quorum import Quorum
from totemviz.corosync.service import Core
from totemviz.corosync.votes import FLAG_NAMES, QDEVICE_NODEID, NodeFlag, NodeState, VoteNode, VoteTable, majority
from totemviz.corosync.wire import (
    VOTEQUORUM,
    NodeInfo,
    QdeviceRegister,
    QdeviceRename,
    Reconfigure,
    ServiceMessage,
)
from totemviz.totem.effects import Level, RingId

NOT_IN_NODELIST = (
    "configuration error: nodelist or quorum.expected_votes must be configured!",
    "will continue with current runtime data",
)


class VotequorumTimer(StrEnum):
    """The timers of this service."""

    LAST_MAN_STANDING = "last_man_standing"
    QDEVICE = qdevice.TIMER


class Reconfigured(IntEnum):
    """What an operator changed."""

    EXPECTED_VOTES = 1
    NODE_VOTES = 2
    CANCEL_WAIT_FOR_ALL = 3


class Votequorum:
    """Service engine 5.

    ``votes`` and ``expected_votes`` come from corosync.conf, ``tracked_votes`` from the file of expected_votes_tracking
    (0: there is none).
    """

    service_id = VOTEQUORUM
    name = "corosync vote quorum service v1.0"

    def __init__(
        self,
        core: Core,
        quorum: Quorum,
        votes: int,
        expected_votes: int,
        options: QuorumOptions,
        quirks: Quirks | None = None,
        tracked_votes: int = 0,
    ) -> None:
        self._core = core
        self._quorum_service = quorum
        self._quirks = quirks or Quirks()
        self.options = options
        self.tracked_votes = tracked_votes if options.expected_votes_tracking else 0
        self.us = VoteNode(core.nodeid, votes, self.tracked_votes or expected_votes, NodeFlag.FIRST, NodeState.MEMBER)
        self.table = VoteTable(self.us, options.device or 0, self._log)
        self.device = QuorumDevice(core, self.table, options, self._send_nodeinfo)
        self.quorum = 0
        self.total_votes = 0
        self.quorate = False
        self.waiting_for_all = False
        self._members: tuple[int, ...] = ()
        self._previous_members: tuple[int, ...] = ()
        self.ring_id = RingId(0, 0)
        self._syncing = False
        self._nodeinfo_sent = False
        self._last_man_standing = options.last_man_standing
        self._barrier = self.us.expected_votes

    def start(self) -> None:
        """Read the configuration and tell the others who we are (``votequorum_exec_init_fn``)."""
        self._log("Reading configuration (runtime: 0)")
        if self.options.expected_votes_tracking:
            self._track(self.tracked_votes)
        for level, text in self.options.complaints:
            self._core.log(level, "VOTEQ", text)
        tracking = int(self.options.expected_votes_tracking)
        expected = self.options.expected_votes or 0
        self._log(f"ev_tracking={tracking}, ev_tracking_barrier = {self.tracked_votes}: expected_votes = {expected}")
        self._set_waiting_for_all(self.options.wait_for_all)
        self._recalculate()
        self._send_nodeinfo(self.us)

    def reread(self, votes: int, expected_votes: int, options: QuorumOptions) -> None:
        """Take what can change at run time from a corosync.conf that was read again (``votequorum_refresh_config``).

        That is votes, expected votes, two_node with the wait_for_all it implies, and the device's votes. The tie
        breaker is switched off where the new file forbids it, never on.
        """
        self._log("Reading configuration (runtime: 1)")
        for level, text in options.complaints:
            self._core.log(level, "VOTEQ", text)
        implied = self.options.wait_for_all_implied
        self.options = msgspec.structs.replace(
            self.options,
            expected_votes=options.expected_votes,
            two_node=options.two_node,
            wait_for_all=options.two_node if implied else self.options.wait_for_all,
            auto_tie_breaker=self.options.auto_tie_breaker and options.auto_tie_breaker,
            device=options.device,
        )
        tracking, given = int(self.options.expected_votes_tracking), options.expected_votes or 0
        self._log(f"ev_tracking={tracking}, ev_tracking_barrier = {self.tracked_votes}: expected_votes = {given}")
        old_votes, old_expected = self.us.votes, self.us.expected_votes
        self.us.votes, self.us.expected_votes = votes, self.tracked_votes or expected_votes
        self.table.qdevice.votes = options.device or 0
        self._barrier = self.us.expected_votes
        if implied and not self.options.wait_for_all and self.waiting_for_all:
            self._set_waiting_for_all(False)
        self._send_nodeinfo(self.us)
        self._send_nodeinfo(self.table.qdevice)
        if votes != old_votes:
            self._core.multicast(Reconfigure(self.us.nodeid, votes, Reconfigured.NODE_VOTES).encode())
        if self.us.expected_votes != old_expected:
            changed = Reconfigure(self.us.nodeid, self.us.expected_votes, Reconfigured.EXPECTED_VOTES)
            self._core.multicast(changed.encode())

    def not_in_nodelist(self) -> None:
        """A corosync.conf was read again that does not name this node: nothing changes."""
        self._log("Reading configuration (runtime: 1)")
        for text in NOT_IN_NODELIST:
            self._core.log(Level.CRITICAL, "VOTEQ", text)

    # -------------------------------------------------------------------------------------------------------- sync

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Nodes that are no longer here are dead; nobody with company is first any more."""
        self._syncing = True
        self._nodeinfo_sent = False
        if len(members) > 1:
            self.us.flags &= ~NodeFlag.FIRST
        lost = [nodeid for nodeid in self._members if nodeid not in members]
        for nodeid in lost:
            if node := self.table.find(nodeid):
                node.state = NodeState.DEAD
        if self._last_man_standing and self._count_anew(len(members), bool(lost)):
            window_ms = self.options.last_man_standing_window_ms
            self._core.set_timer(VotequorumTimer.LAST_MAN_STANDING, window_ms)
        self._previous_members, self._members = self._members, members
        self.ring_id = ring_id
        self.device.sync_init()

    def _count_anew(self, members: int, lost: bool) -> bool:
        """Should the members count themselves after the window? The lowest node decides, whatever breaks a tie."""
        if members >= self.quorum and lost:
            return True
        return members <= self.quorum and self.options.auto_tie_breaker and self.table.is_member(self.table.lowest)

    def sync_process(self) -> bool:
        """Send our row and the quorum device's, once; then wait until the device has spoken about this ring."""
        if not self._nodeinfo_sent:
            self._send_nodeinfo(self.us)
            self._send_nodeinfo(self.table.qdevice)
            self.device.send_name()
            self._log(f"Sending nodelist callback. ring_id = {self.ring_id}")
            if self.device.registered:
                self._core.emit(DeviceAsked(self.ring_id, self._members))
            self._nodeinfo_sent = True
        return not (self.device.registered and self.device.waiting_for_poll)

    def sync_activate(self) -> None:
        """Everybody's row is in: decide, and tell the quorum service in any case."""
        self._recalculate()
        self._inform()
        self._syncing = False

    def sync_abort(self) -> None:
        """The table stays as it is; the next ring corrects it."""

    # --------------------------------------------------------------------------------- timers, shutdown, requests

    def expire(self, timer: str) -> None:
        """One of ``VotequorumTimer`` ran out."""
        if timer == VotequorumTimer.QDEVICE:
            self.device.expire()
        elif self.quorate:
            self._recalculate(allow_decrease=True, by_node_count=True)

    def leave(self) -> bool:
        """The node shuts down; True if the others must hear that it does (allow_downscale)."""
        if self.options.allow_downscale:
            self.us.flags |= NodeFlag.LEAVING
            self._send_nodeinfo(self.us)
        return self.options.allow_downscale

    def set_expected(self, votes: int) -> CpgError:
        """An operator sets the expected votes of all members (``pvecm expected``, ``corosync-quorumtool -e``).

        INVALID_PARAM for fewer votes than are here, or so many that a quorate partition would no longer be quorate.
        """
        total, voters, _ = self.table.counted()
        if votes < total or (self.quorate and self._needed(total, voters, votes, allow_decrease=True) > total):
            return CpgError.INVALID_PARAM
        self.table.expect(votes)
        self._core.multicast(Reconfigure(self.us.nodeid, votes, Reconfigured.EXPECTED_VOTES).encode())
        return CpgError.OK

    def poll_device(self, ring_id: RingId, cast_vote: bool, name: str) -> CpgError:
        """The quorum device speaks about a ring (``QuorumDevice.poll``)."""
        return self.device.poll(self.ring_id, ring_id, cast_vote, name)

    # ---------------------------------------------------------------------------------------------------- messages

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """An ordered message of another votequorum, or our own."""
        if isinstance(message, NodeInfo):
            self._deliver_nodeinfo(source, message)
        elif isinstance(message, Reconfigure):
            self._deliver_reconfigure(source, message)
        elif isinstance(message, QdeviceRegister):
            self.device.deliver_registration(source, message)
        elif isinstance(message, QdeviceRename):
            self.device.deliver_rename(source, message)

    def _deliver_nodeinfo(self, source: int, info: NodeInfo) -> None:
        self._log(f"got nodeinfo message from cluster node {source}")
        text = f"votes: {info.votes}, expected: {info.expected_votes} flags: {info.flags}"
        self._log(f"nodeinfo message[{info.nodeid}]: {text}")
        if info.nodeid == QDEVICE_NODEID:
            self._deliver_qdevice_info(source, info)
            return
        self._log_flags(info.flags)
        node = self.table.find(info.nodeid)
        known = node is not None
        if node is None:
            node = self.table.add(info.nodeid)
        before = node.key()
        allow_decrease, by_node_count = self._take_over(node, info)
        if self._last_man_standing and node.votes > 1:
            self._stop_last_man_standing()
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

    def _stop_last_man_standing(self) -> None:
        text = (
            "Last Man Standing feature is supported only when allcluster nodes votes are set to 1."  # corosync's words
        )
        self._core.log(Level.WARNING, "VOTEQ", f"{text} Disabling LMS.")
        self._last_man_standing = False
        self._core.cancel_timer(VotequorumTimer.LAST_MAN_STANDING)

    def _deliver_qdevice_info(self, source: int, info: NodeInfo) -> None:
        device = self.table.qdevice
        before = device.key()
        sender = self.table.find(source)
        if not self.quorate and sender is not None and sender.flags & NodeFlag.QUORATE:
            device.votes = info.votes
        else:
            device.votes = max(device.votes, info.votes)
        if before != device.key():
            self._recalculate()

    def _deliver_reconfigure(self, source: int, message: Reconfigure) -> None:
        self._log(f"got reconfigure message from cluster node {source} for {message.nodeid}")
        if message.parameter == Reconfigured.EXPECTED_VOTES:
            self.table.expect(message.value)
            self._log("Sending expected votes callback")
            self._barrier = message.value
            if self.options.expected_votes_tracking:
                self.us.expected_votes = max(self.us.expected_votes, self.tracked_votes)
            self._recalculate(allow_decrease=True)
        elif message.parameter == Reconfigured.NODE_VOTES:
            if node := self.table.find(message.nodeid):
                node.votes = message.value
                self._recalculate(allow_decrease=True)
        elif message.parameter == Reconfigured.CANCEL_WAIT_FOR_ALL:
            self._set_waiting_for_all(False)
            text = f"wait_for_all_status reset by user on node {message.nodeid}."
            self._core.log(Level.INFO, "VOTEQ", text)
            self._recalculate()

    def _send_nodeinfo(self, node: VoteNode) -> None:
        if node.nodeid != QDEVICE_NODEID:
            self._log_flags(node.flags)
        self._core.multicast(NodeInfo(node.nodeid, node.votes, node.expected_votes, node.flags).encode())

    # ------------------------------------------------------------------------------------------------- arithmetic

    def _recalculate(self, allow_decrease: bool = False, by_node_count: bool = False) -> None:
        """Sum up, set the quorum, decide (``votequorum.c: recalculate_quorum``)."""
        total, present = self.table.present()
        given_expected = present if by_node_count else 0
        self._log(f"total_votes={total}, expected_votes={self.us.expected_votes}")
        if total > self.us.expected_votes:
            self.us.expected_votes = total
            self._log("Sending expected votes callback")
        if self.options.expected_votes_tracking and self.us.expected_votes > self.tracked_votes:
            self._track(self.us.expected_votes)
        self.total_votes, voters, highest = self.table.counted()
        floor = self._barrier if self.options.allow_downscale and allow_decrease and given_expected else 0
        expected = max(given_expected, floor) or highest
        needed = self._needed(self.total_votes, voters, expected, allow_decrease=allow_decrease)
        self.quorum = needed & 0xFF  # corosync keeps it in 8 bits
        self.table.expect(given_expected)
        self._are_we_quorate()

    def _needed(self, total: int, voters: int, expected: int, *, allow_decrease: bool) -> int:
        """The quorum (``calculate_quorum``)."""
        quorum = max(majority(expected), majority(total))
        if not allow_decrease:
            quorum = max(quorum, self.quorum)
        if self.options.two_node and voters <= 2:
            quorum = 1
        return quorum

    def _track(self, votes: int) -> None:
        """Keep the highest expected votes (``update_ev_tracking_barrier``)."""
        self.tracked_votes = votes
        if self._quirks.ev_tracking_never_saved:
            self._core.log(Level.WARNING, "VOTEQ", "Unable to update ev_tracking_barrier on disk data!!!")
        else:
            self._core.emit(StoreExpectedVotes(votes))

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
            self.table.find_extremes()
        choice = self.options.auto_tie_breaker_node
        if self._tie_breaker_applies() and self.table.breaks_tie(choice, self._members, self._previous_members):
            quorate = True
        if self.device.master_wins and not quorate and self.table.master_wins():
            self._log("node is quorate as part of master_wins partition")
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

    def _set_waiting_for_all(self, waiting: bool) -> None:
        self.waiting_for_all = waiting
        self.us.flags = self.us.flags & ~NodeFlag.WFA_STATUS | (NodeFlag.WFA_STATUS if waiting else 0)

    # ----------------------------------------------------------------------------------------------------- helpers

    def _inform(self) -> None:
        """The verdict to the quorum service and to tracking clients."""
        change = QuorumChanged(
            quorate=self.quorate,
            votes=self.total_votes,
            expected_votes=self.us.expected_votes,
            quorum=self.quorum,
            ring_id=self.ring_id,
            members=self._members,
        )
        self._quorum_service.set_quorum(change)
        self._log(f"Sending quorum callback, quorate = {self.quorate:d}")

    def _log_flags(self, flags: int) -> None:
        words = (f"{name}: {'Yes' if flags & flag else 'No'}" for name, flag in FLAG_NAMES)
        self._log(f"flags: {' '.join(words)}")

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "VOTEQ", text)
