"""Agreeing on who is there: GATHER and COMMIT (sheet §4.5).

Every node multicasts joins with the nodes it knows (proc) and those it gave up on (failed) until all remaining
candidates have sent exactly the same two lists; then the lowest node id sends a commit token round twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from totemviz.totem.config import MS, RING_SEQ_STEP
from totemviz.totem.effects import FlushSocket, Level, RingId, StoreRingId, TotemTimer
from totemviz.totem.instance import Instance, merge
from totemviz.totem.seq import lt
from totemviz.totem.states import COMMIT, GATHER, OPERATIONAL, Gather
from totemviz.totem.wire import EMPTY_ENTRY, CommitEntry, CommitToken, Join, MergeDetect


def enter_gather(node: Instance, reason: Gather) -> None:
    """Start looking for members (``memb_state_gather_enter``). proc and failed are kept: they only grow until a ring
    is operational.
    """
    node.orf_token_discard = True
    node.originated_orf_token = False
    merge([node.nodeid], node.proc)
    # announced before anything it causes: the join, and the timers that run from here
    node.observe_state(GATHER, reason.value, reason.text)
    send_join(node)
    node.set_timer(TotemTimer.JOIN)
    node.set_timer(TotemTimer.CONSENSUS)
    for timer in (TotemTimer.TOKEN_RETRANSMIT, TotemTimer.TOKEN_LOSS, TotemTimer.TOKEN_WARNING):
        node.cancel_timer(timer)
    node.cancel_timer(TotemTimer.MERGE_DETECT)
    node.merge_detect_running = False
    node.consensus = {node.nodeid}
    node.log(Level.DEBUG, f"entering GATHER state from {reason.value}({reason.text}).")
    node.state = GATHER


def send_join(node: Instance) -> None:
    """Multicast the two lists (``memb_join_message_send``)."""
    node.multicast(Join(node.nodeid, 0, node.nodeid, node.ring_id.seq, tuple(node.proc), tuple(node.failed)))


def send_leave(node: Instance) -> None:
    """Say goodbye once (``memb_leave_message_send``): header node id 0, the leaver last in the failed list."""
    node.log(Level.DEBUG, "sending join/leave message")
    merge([node.nodeid], node.failed)
    rest = tuple(nodeid for nodeid in node.proc if nodeid != node.nodeid)
    node.multicast(Join(0, 0, node.nodeid, node.ring_id.seq, rest, tuple(node.failed)))


def give_up_on(node: Instance, nodeids: Iterable[int]) -> None:
    """Add nodes to the failed list."""
    merge(nodeids, node.failed)


def join_timer(node: Instance) -> None:
    """Repeat the join (``memb_timer_function_state_gather``)."""
    send_join(node)
    node.set_timer(TotemTimer.JOIN)


def consensus_expired(node: Instance) -> None:
    """Somebody did not answer in time (``memb_state_consensus_timeout_expired``)."""
    if agreed(node):
        node.consensus = {node.nodeid}
        node.set_timer(TotemTimer.TOKEN_LOSS)
        node.set_timer(TotemTimer.TOKEN_WARNING)
        return
    give_up_on(node, [nodeid for nodeid in node.proc if nodeid not in node.consensus])
    enter_gather(node, Gather.CONSENSUS_TIMEOUT)


def candidates(node: Instance) -> list[int]:
    """Those not given up on, in the order they became known."""
    return [nodeid for nodeid in node.proc if nodeid not in node.failed]


def agreed(node: Instance) -> bool:
    """Whether every candidate sent exactly this node's lists since it entered GATHER."""
    return all(nodeid in node.consensus for nodeid in candidates(node))


# ------------------------------------------------------------------------------------------------- token loss, by state


def token_lost_operational(node: Instance) -> None:
    """The ring is broken: somebody, nobody knows who, does not pass the token on."""
    config = node.config
    node.log(Level.DEBUG, "The token was lost in the OPERATIONAL state.")
    node.log(
        Level.NOTICE,
        f"A processor failed, forming new configuration: token timed out ({config.token_ms}ms), "
        f"waiting {config.consensus_ms}ms for consensus.",
    )
    enter_gather(node, Gather.TOKEN_LOST_OPERATIONAL)


def token_lost_gather(node: Instance) -> None:
    """Agreement was reached but no commit token came."""
    node.log(Level.DEBUG, f"The consensus timeout expired ({node.config.consensus_ms}ms).")
    consensus_expired(node)
    enter_gather(node, Gather.CONSENSUS_EXPIRED)


def token_lost_commit(node: Instance) -> None:
    """The commit token did not come round."""
    node.log(Level.DEBUG, "The token was lost in the COMMIT state.")
    enter_gather(node, Gather.TOKEN_LOST_COMMIT)


def token_lost_recovery(node: Instance) -> None:
    """Recovery did not complete; the old ring's state is restored for the next attempt."""
    node.log(Level.DEBUG, "The token was lost in the RECOVERY state.")
    restore_old_ring(node)
    enter_gather(node, Gather.TOKEN_LOST_RECOVERY)
    node.orf_token_discard = True


def restore_old_ring(node: Instance) -> None:
    """Go back to what was held of the last operational ring (``old_ring_state_restore``)."""
    node.aru = node.old_ring_aru
    node.high_seq_received = node.old_ring_high_seq_received
    node.log(
        Level.DEBUG,
        f"Restoring instance->my_aru {node.aru:x} my high seq received {node.high_seq_received:x}",
    )


# ------------------------------------------------------------------------------------------------------- foreign rings


def merge_detect_timer(node: Instance) -> None:
    """An idle ring's representative looks for others (``timer_function_merge_detect_timeout``)."""
    node.merge_detect_running = False
    if node.state is OPERATIONAL and node.is_rep:
        node.multicast(MergeDetect(node.nodeid, 0, node.nodeid, node.ring_id))


def foreign_operational(node: Instance, sender: int, reason: Gather) -> None:
    """A message of another ring: gather with its sender."""
    merge([sender], node.proc)
    enter_gather(node, reason)


def foreign_gather(node: Instance, sender: int, reason: Gather) -> None:
    """While gathering, only an unknown sender is news."""
    if sender not in node.proc:
        foreign_operational(node, sender, reason)


# ----------------------------------------------------------------------------------------------------------- join


def pause_detected(node: Instance) -> bool:
    """Notice that this process did not run: the pause timer is overdue (``pause_flush``); True to ignore the join.

    Then all that waits in the socket is old and thrown away, and the join is ignored if there was anything. After a
    pause due timers usually run first, so only a join that was first in the socket shows it (see ``sim.main_loop``).
    """
    paused_ms = node.now_ns // MS - node.pause_timestamp_ns // MS
    if paused_ms <= node.config.token_ms // 2:
        return False
    node.log(Level.NOTICE, f"Process pause detected for {paused_ms} ms, flushing membership messages.")
    if node.datagrams_waiting == 0:
        return False
    node.out.append(FlushSocket())
    return True


def join_operational(node: Instance, join: Join) -> None:
    """An operational node ignores stale joins of ring mates and being called failed (sheet §4.6)."""
    stale = join.system_from in node.members and join.ring_seq < node.ring_id.seq
    if node.nodeid not in join.failed and not stale:
        process_join(node, join)


def join_commit(node: Instance, join: Join) -> None:
    """A candidate starts over while the commit token goes round."""
    if _restarts(node, join):
        process_join(node, join)
        enter_gather(node, Gather.JOIN_COMMIT)


def join_recovery(node: Instance, join: Join) -> None:
    """A candidate starts over during recovery."""
    if _restarts(node, join):
        process_join(node, join)
        restore_old_ring(node)
        enter_gather(node, Gather.TOKEN_LOST_RECOVERY)
        enter_gather(node, Gather.JOIN_RECOVERY)


def _restarts(node: Instance, join: Join) -> bool:
    return join.system_from in node.new_members and join.ring_seq >= node.ring_id.seq


def process_join(node: Instance, join: Join) -> None:
    """Compare the sender's lists with one's own (``memb_join_process``; sheet §4.5)."""
    if join.is_leave and join.failed:
        leaver = join.failed[-1]
        node.log(Level.DEBUG, f"Received LEAVE message from {leaver}")
        merge([leaver], node.announced_leave)
    elif join.is_leave:
        node.log(Level.DEBUG, "Received LEAVE message from 0")
    sender = join.system_from
    proc, failed = set(join.proc), set(join.failed)
    my_proc, my_failed = set(node.proc), set(node.failed)
    if proc == my_proc and failed == my_failed:
        _same_lists(node, join)
    elif (proc <= my_proc and failed <= my_failed) or sender in my_failed:
        pass  # the sender is behind, or given up on: it learns from this node's joins
    else:
        merge(join.proc, node.proc)
        if node.nodeid in failed:
            give_up_on(node, [sender])
        elif sender in node.members:
            give_up_on(node, join.failed)
        enter_gather(node, Gather.MERGE_JOIN)
        return
    if node.state is OPERATIONAL:
        enter_gather(node, Gather.JOIN_OPERATIONAL)


def _same_lists(node: Instance, join: Join) -> None:
    if not join.is_leave:
        node.consensus.add(join.system_from)
    if not agreed(node):
        return
    if node.failed_to_recv:
        node.failed_to_recv = False
        node.proc = [node.nodeid]
        node.failed = []
    elif min(candidates(node), default=-1) != node.nodeid:
        return
    _create_commit_token(node)
    enter_commit(node)


# ----------------------------------------------------------------------------------------------------------- commit


def _create_commit_token(node: Instance) -> None:
    node.log(Level.DEBUG, "Creating commit token because I am the rep.")
    addr = tuple(sorted(candidates(node)))
    ring_id = RingId(node.nodeid, node.token_ring_id_seq + RING_SEQ_STEP)
    node.commit_token = CommitToken(node.nodeid, 0, 0, ring_id, 0, addr, (EMPTY_ENTRY,) * len(addr))


def commit_token_in_gather(node: Instance, token: CommitToken) -> None:
    """Accept a commit token that agrees with one's own lists and is for a newer ring."""
    complete = token.memb_index >= len(token.addr)  # no line left for this node: the original would write past the end
    if set(token.addr) == set(candidates(node)) and token.ring_id.seq > node.ring_id.seq and not complete:
        node.commit_token = token
        enter_commit(node)


def enter_commit(node: Instance) -> None:
    """Write one's line into the commit token and send it on (``memb_state_commit_enter``)."""
    token = node.commit_token
    assert token is not None
    if not node.old_ring_saved:
        node.old_ring_saved = True
        node.old_ring_id = node.ring_id
        node.old_ring_aru = node.aru
        node.old_ring_high_seq_received = node.high_seq_received
        node.log(Level.DEBUG, f"Saving state aru {node.aru:x} high seq received {node.high_seq_received:x}")
    _fill_entry(node, token)
    send_commit_token(node, token, token.addr[token.memb_index % len(token.addr)])
    node.cancel_timer(TotemTimer.JOIN)
    node.cancel_timer(TotemTimer.CONSENSUS)
    node.ring_id = token.ring_id
    node.out.append(StoreRingId(node.ring_id.seq))
    node.token_ring_id_seq = node.ring_id.seq
    node.log(Level.DEBUG, "entering COMMIT state.")
    node.state = COMMIT
    node.set_timer(TotemTimer.TOKEN_RETRANSMIT)
    node.set_timer(TotemTimer.TOKEN_LOSS)
    node.set_timer(TotemTimer.TOKEN_WARNING)
    node.trc = node.pbl = node.cbl = 0
    node.observe_state(COMMIT, -1, "agreed; the commit token collects what everybody holds")


def send_commit_token(node: Instance, token: CommitToken, target: int) -> None:
    """Pass the commit token on; the copy serves the retransmit timer."""
    token.token_seq += 1
    token.nodeid = node.nodeid
    token.target = target
    node.send_token(token, target)


def _fill_entry(node: Instance, token: CommitToken) -> None:
    """One's own line, and received_flg 0 for all who lack something a ring mate has (``..._token_update``)."""
    index = token.memb_index
    node.new_members = token.addr
    node.received_flg = node.aru == node.high_seq_received
    entries = list(token.entries)
    entries[index] = CommitEntry(node.old_ring_id, node.old_ring_aru, node.high_delivered, int(node.received_flg))
    mates = [i for i in range(index + 1) if entries[i].ring_id == node.old_ring_id]
    high_aru = entries[index].aru
    for i in mates:
        if lt(high_aru, entries[i].aru):
            high_aru = entries[i].aru
    for i in mates:
        entry = entries[i]
        if lt(entry.aru, high_aru):
            entries[i] = CommitEntry(entry.ring_id, entry.aru, entry.high_delivered, 0)
            if i == index:
                node.received_flg = False
    token.entries = tuple(entries)
    token.memb_index = index + 1
