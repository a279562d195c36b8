"""What one recorded node must have done, inferred from the datagrams that left and reached it.

A capture shows messages, not machines. But a Totem node tells almost everything about itself: its join says that it
gathers, its first and second commit token that it is in COMMIT and RECOVERY (token_seq counts the hops, so the first
round is token_seq 1..n), and a token that comes in and the next one that goes out differ exactly by the node's visit.

*When does it become OPERATIONAL?* The counters of sheet §4.5 (RECOVERY part, steps 2-6) read nothing but the token
as it leaves: retrans_flg, seq and aru after the node's own changes. So they are applied to the tokens the node sent;
without recovery this is the 4th visit. Should frames be missing, its first ordinary mcast of the ring proves it too.

Rings that were up before the capture began, and rings of one node (whose token never touches the wire), are known
by ``RingFacts``. A node whose own capture is not there (``full`` false) shows its states, not its visits.
"""

from __future__ import annotations

import msgspec

from totemviz.totem import wire
from totemviz.totem.effects import (
    MembershipInstalled,
    MessagesMulticast,
    Observation,
    RetransmitChecked,
    RingId,
    StateEntered,
    TokenIgnored,
    TokenPassed,
    TokenReceived,
    TokenReleased,
)
from totemviz.totem.token import carried
from totemviz.trace.events import UNKNOWN, ProcessStarted
from totemviz.trace.recorded_draft import Draft, Drafts
from totemviz.trace.recorded_rings import RingFacts, at_most, newer

GATHER, COMMIT, RECOVERY, OPERATIONAL, GONE = "GATHER", "COMMIT", "RECOVERY", "OPERATIONAL", ""

WHY_GATHER = "it sends joins; the reason is not in the capture"
WHY_COMMIT = "it passes the commit token on for the first time"
WHY_RECOVERY = "it passes the commit token on for the second time"
WHY_OPERATIONAL = "the recovery counters of the tokens it sent"
WHY_ORDINARY = "it sends what only an operational member of the ring sends"
WHY_NEIGHBOUR = "a neighbour sends what only members of an operational ring send"
WHY_ALONE = "its line in a later commit token names this ring of its own"


class _Visit(msgspec.Struct):
    """A token that came in and did not go out yet."""

    token: wire.Token
    start: Draft
    sent: list[tuple[int, Draft]]
    cancelled: Draft | None = None


class NodeObserver:
    """Follows one node through the datagrams in order of time; writes what follows from them into ``drafts``."""

    def __init__(self, nodeid: int, drafts: Drafts, facts: RingFacts, hold_ns: int, full: bool) -> None:
        self.nodeid = nodeid
        self.full = full
        self.last_sign_ns = 0
        self._drafts = drafts
        self._facts = facts
        self._hold_ns = hold_ns
        self._appeared = False
        self._announced: set[int] = set()
        self._forget()

    def _forget(self) -> None:
        """As after the start of the process."""
        self._state = GONE
        self._ring: RingId | None = None
        self._installed: RingId | None = None
        self._members: tuple[int, ...] = ()
        self._lists: tuple[int, tuple[int, ...], tuple[int, ...]] | None = None
        self._commit: wire.CommitToken | None = None
        self._commit_received: Draft | None = None
        self._follow(None)

    def began_anew(self) -> None:
        """Whatever the node sends next comes from a new process."""
        self._forget()
        self._appeared = False

    def _follow(self, ring: RingId | None) -> None:
        self._ring = ring
        self._visit: _Visit | None = None
        self._token_in: int | None = None
        self._token_out: int | None = None
        self._passed: Draft | None = None
        self._clean_visits = self._rotations = self._install_seq = 0

    # ------------------------------------------------------------------------------------------------ in and out

    def sent(self, message: wire.Message, draft: Draft, target: int) -> None:
        """The node sent ``message`` (``draft`` is its DatagramSent) for the first time; copies are not told."""
        if not self._appeared:
            self._appeared = True
            self._before(draft, ProcessStarted("corosync", UNKNOWN))
        match message:
            case wire.Token():
                if self.full:
                    self._token_sent(message, draft, target)
            case wire.Mcast():
                self._mcast_sent(message, draft)
            case wire.Join():
                self._join_sent(message, draft)
            case wire.CommitToken():
                self._commit_sent(message, draft)
            case wire.MergeDetect():
                self._operates(message.ring_id, draft)
            case wire.HoldCancel():
                self._hold_cancelled(message, draft)

    def received(self, message: wire.Message, draft: Draft) -> None:
        """``message`` reached the node (``draft`` is its DatagramReceived)."""
        match message:
            case wire.Token():
                self._token_received(message, draft)
            case wire.CommitToken():
                self._commit_received = draft
            case wire.Join() if message.is_leave:
                self._announced.add(message.system_from)
            case wire.HoldCancel():
                self._hold_cancelled(message, draft)
            case wire.Mcast(encapsulated=wire.ORDINARY) | wire.MergeDetect():
                if self._state == GONE and message.ring_id == self._ring:
                    self._install(WHY_NEIGHBOUR, draft)

    def _before(self, main: Draft, body: Observation | ProcessStarted, cause: Draft | None = None) -> Draft:
        return self._drafts.before(main, self.nodeid, body, cause)

    def _after(self, main: Draft, body: Observation, cause: Draft | None) -> Draft:
        return self._drafts.after(main, self.nodeid, body, cause)

    # ---------------------------------------------------------------------------------------------- token visits

    def _token_received(self, token: wire.Token, draft: Draft) -> None:
        if self._state in (GATHER, COMMIT):
            self._after(draft, TokenIgnored(token.ring_id, token.token_seq, "gathering"), draft)
            return
        if draft.time_ns > self.last_sign_ns:
            return  # nothing was heard of this node any more: nobody knows whether it still took the token
        if self._ring is None:
            self._follow(token.ring_id)
        if token.ring_id != self._ring:
            self._after(draft, TokenIgnored(token.ring_id, token.token_seq, "other ring"), draft)
        elif self._token_in is not None and not newer(token.token_seq, self._token_in):
            self._after(draft, TokenIgnored(token.ring_id, token.token_seq, "duplicate"), draft)
        else:
            self._token_in = token.token_seq
            body = TokenReceived(token.ring_id, *carried(token), UNKNOWN, UNKNOWN)
            self._visit = _Visit(token, self._after(draft, body, draft), [])

    def _token_sent(self, token: wire.Token, draft: Draft, target: int) -> None:
        if self._ring is None:
            self._follow(token.ring_id)
        if token.ring_id != self._ring:
            return
        if self._token_out is not None and not newer(token.token_seq, self._token_out):
            released = TokenReleased("retransmission", token.token_seq)
            draft.blame(self._before(draft, released, self._passed))
            return
        self._token_out = token.token_seq
        visit, self._visit = self._visit, None
        if visit is not None and token.token_seq == visit.token.token_seq + 1 & 0xFFFFFFFF:
            self._visited(visit, token, draft, target)
        elif token.token_seq == 0 and token.ring_id.rep == self.nodeid:
            draft.blame(self._commit_received)  # the initial token: made, not passed on
            return
        else:
            self._passed = self._before(draft, TokenPassed(*carried(token), UNKNOWN, target, held=False))
            draft.blame(self._passed)
        if self._state == RECOVERY:
            self._count_recovery(token, draft)

    def _visited(self, visit: _Visit, out: wire.Token, draft: Draft, target: int) -> None:
        """Stages 2 to 4, from the difference between the token that came and the one that goes."""
        token = visit.token
        resent = [(seq, mcast) for seq, mcast in visit.sent if at_most(seq, token.seq)]
        listed = set(token.rtr)
        requested = tuple(seq for ring, seq in out.rtr if (ring, seq) not in listed)
        checked = self._after(
            visit.start,
            RetransmitChecked(tuple(seq for seq, _ in resent), requested, (), UNKNOWN),
            visit.start,
        )
        count = out.seq - token.seq & 0xFFFFFFFF
        first_seq = token.seq + 1 & 0xFFFFFFFF
        multicast = self._after(visit.start, MessagesMulticast(first_seq, count, UNKNOWN), checked)
        for seq, mcast in visit.sent:
            mcast.blame(checked if at_most(seq, token.seq) else multicast)
        my_aru = _my_aru(token, out, self.nodeid)
        waited_ns = draft.time_ns - visit.start.time_ns
        idle = not visit.sent and count == 0 and self._state != RECOVERY
        held = idle and token.ring_id.rep == self.nodeid
        held = held and (waited_ns * 2 >= self._hold_ns or visit.cancelled is not None)
        body = TokenPassed(*carried(out), my_aru, target, held)
        if held:
            self._passed = self._after(visit.start, body, multicast)
            reason = "hold time over" if visit.cancelled is None else "hold cancelled"
            cause = visit.cancelled or self._passed
            draft.blame(self._before(draft, TokenReleased(reason, out.token_seq), cause))
        else:
            self._passed = self._before(draft, body, multicast)
            draft.blame(self._passed)

    def _count_recovery(self, out: wire.Token, draft: Draft) -> None:
        """Sheet §4.5, RECOVERY part of the token handler."""
        self._clean_visits = 0 if out.retrans_flg else self._clean_visits + 1
        if self._clean_visits == 2:
            self._install_seq = out.seq
        if self._clean_visits >= 3 and at_most(self._install_seq, out.aru):
            self._rotations += 1
        else:
            self._rotations = 0
        if self._rotations == 2:
            self._install(WHY_OPERATIONAL, draft, self._passed)

    def _hold_cancelled(self, message: wire.HoldCancel, draft: Draft) -> None:
        if self._visit is not None and message.ring_id == self._ring:
            self._visit.cancelled = draft

    # ------------------------------------------------------------------------------------------------- membership

    def _mcast_sent(self, mcast: wire.Mcast, draft: Draft) -> None:
        if self._visit is not None and mcast.ring_id == self._ring:
            self._visit.sent.append((mcast.seq, draft))
        if mcast.encapsulated == wire.ORDINARY:
            self._operates(mcast.ring_id, draft)

    def _operates(self, ring: RingId, draft: Draft, why: str = WHY_ORDINARY) -> None:
        """A message that only an operational member of ``ring`` sends."""
        if self._state == OPERATIONAL and self._ring == ring:
            return
        if self._ring != ring:
            self._follow(ring)
        self._install(why, draft)

    def _join_sent(self, join: wire.Join, draft: Draft) -> None:
        if join.is_leave:
            self._forget()
            self._appeared = False  # whatever it sends next comes from a new process
            return
        lists = (join.ring_seq, join.proc, join.failed)
        if self._state == GATHER and lists == self._lists:
            return  # the join timer: the same once more
        alone = join.proc == (self.nodeid,) and not join.failed
        still_alone = self._members == (self.nodeid,) or (self._lists is not None and self._lists[1:] == lists[1:])
        if alone and self._state != GONE and not still_alone:
            self._forget()
            self._before(draft, ProcessStarted("corosync", UNKNOWN))
        self._was_alone(RingId(self.nodeid, join.ring_seq), draft)
        self._state, self._lists, self._visit = GATHER, lists, None
        ring = self._ring
        if ring is None or ring.seq != join.ring_seq:
            ring = RingId(self.nodeid if alone else 0, join.ring_seq)
        entered = StateEntered(GATHER, UNKNOWN, WHY_GATHER, ring, join.proc, join.failed)
        draft.blame(self._before(draft, entered))

    def _was_alone(self, ring: RingId | None, draft: Draft) -> None:
        """Before it met the others it may have been a ring of one that sent nothing: told late, but told."""
        if self.full and ring is not None and ring != self._installed and self._facts.was_alone(ring):
            self._operates(ring, draft, WHY_ALONE)

    def _commit_sent(self, commit: wire.CommitToken, draft: Draft) -> None:
        ring, first_round = commit.ring_id, commit.token_seq <= len(commit.addr)
        cause = self._commit_received
        if first_round and (self._state != COMMIT or self._ring != ring):
            self._was_alone(_old_ring(commit, self.nodeid), draft)
            self._follow(ring)
            self._state, why = COMMIT, WHY_COMMIT
            if ring.rep == self.nodeid:
                cause = None  # consensus, which a capture does not show
        elif not first_round and (self._state != RECOVERY or self._ring != ring):
            self._follow(ring)
            self._state, why = RECOVERY, WHY_RECOVERY
        else:
            return
        self._commit = commit
        draft.blame(self._before(draft, StateEntered(self._state, UNKNOWN, why, ring, commit.addr, ()), cause))

    def _install(self, why: str, draft: Draft, cause: Draft | None = None) -> None:
        ring = self._ring
        assert ring is not None
        members = self._facts.members(ring) or ()
        if self.full and ring.rep == self.nodeid and not self._facts.on_wire(ring):
            members = (self.nodeid,)  # its token never leaves the node
        self._state = OPERATIONAL
        entered = self._before(draft, StateEntered(OPERATIONAL, UNKNOWN, why, ring, members, ()), cause)
        if not (members and self.full):
            return
        joined, left = self._changes(ring, members)
        unannounced = tuple(node for node in left if node not in self._announced)
        self._before(draft, MembershipInstalled(ring, members, joined, left, unannounced), entered)
        self._installed, self._members = ring, members
        self._announced.clear()

    def _changes(self, ring: RingId, members: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Who joined and who left, as corosync computes it from the old rings in the commit token."""
        commit = self._commit
        if commit is None or commit.ring_id != ring:
            if members != (self.nodeid,):
                return (), ()  # it was up before the capture began
            if self._installed is None:
                return members, ()
            return (), tuple(node for node in self._members if node != self.nodeid)
        old = _old_ring(commit, self.nodeid)
        old_rings = {node: entry.ring_id for node, entry in zip(commit.addr, commit.entries, strict=True)}
        same = {node for node in members if old_rings[node] == old}
        if old == self._installed:
            same &= set(self._members)
        elif old is not None and old.rep == self.nodeid and self._installed is None:
            same = set()  # a fresh process comes from no ring
        joined = tuple(node for node in members if node not in same)
        left = tuple(node for node in self._members if node not in same) if old == self._installed else ()
        return joined, left


def _my_aru(token: wire.Token, out: wire.Token, nodeid: int) -> int:
    """The node's own aru if the aru rule (sheet §5 step 16) wrote it into the token, else UNKNOWN."""
    if token.aru_addr in (0, nodeid) or out.aru_addr == nodeid or out.aru != token.aru:
        return out.aru
    return UNKNOWN


def _old_ring(commit: wire.CommitToken, nodeid: int) -> RingId | None:
    """The ring a member comes from, by its line in the commit token."""
    if nodeid not in commit.addr:
        return None
    return commit.entries[commit.addr.index(nodeid)].ring_id
