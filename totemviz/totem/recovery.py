"""Bringing the old ring to an end together, then installing the new one (sheet §4.5; extended virtual synchrony).

In RECOVERY the members that come from the same old ring exchange the old messages one of them lacks, wrapped into
messages of the new ring. When all have them, each delivers the rest of the old ring, the transitional and the regular
configuration, and is OPERATIONAL.
"""

from __future__ import annotations

from totemviz.totem import ordering
from totemviz.totem.effects import ConfigurationChange, Level, MembershipInstalled, TotemTimer
from totemviz.totem.instance import Instance, Queued
from totemviz.totem.membership import send_commit_token
from totemviz.totem.pg import Packed
from totemviz.totem.queues import Slot
from totemviz.totem.seq import U32, lt, lte
from totemviz.totem.states import OPERATIONAL, RECOVERY
from totemviz.totem.wire import ENCAPSULATED, CommitToken, Mcast, Token, WireError, decode


def commit_token_in_commit(node: Instance, token: CommitToken) -> None:
    """The commit token is complete: everybody has filled in a line."""
    if token.ring_id.seq == node.ring_id.seq and token.memb_index == len(token.addr):
        enter_recovery(node, token)


def enter_recovery(node: Instance, token: CommitToken) -> None:
    """Pass the complete commit token on and queue what ring mates may lack (``memb_state_recovery_enter``)."""
    node.log(Level.DEBUG, "entering RECOVERY state.")
    node.orf_token_discard = False
    start = node.config.seqno_start_msg
    node.recovery.reset(start)
    node.retrans_queue.clear()
    send_commit_token(node, token, node.successor())
    node.token_seq = (node.config.seqno_start_token - 1) & U32
    entries = dict(zip(token.addr, token.entries, strict=True))
    node.trans_members = tuple(
        nodeid for nodeid in token.addr if nodeid in node.members and entries[nodeid].ring_id == node.old_ring_id
    )
    for i, nodeid in enumerate(node.trans_members):
        node.log(Level.DEBUG, f"TRANS [{i}] member {nodeid}:")
    for i, (nodeid, entry) in enumerate(entries.items()):
        node.log(Level.DEBUG, f"position [{i}] member {nodeid}:")
        node.log(Level.DEBUG, f"previous ringid ({entry.ring_id})")
        node.log(
            Level.DEBUG,
            f"aru {entry.aru:x} high delivered {entry.high_delivered:x} received flag {entry.received_flg}",
        )
    if all(entries[nodeid].received_flg for nodeid in node.trans_members):
        node.log(Level.DEBUG, "Did not need to originate any messages in recovery.")
    else:
        node.deliver_members = node.trans_members
        _queue_old_messages(node, [entries[nodeid].aru for nodeid in node.trans_members])
    if not node.config.quirks.recovery_counters_survive:
        node.retrans_flg_count = node.rotation_counter = 0
        node.set_retrans_flg = False
    node.aru_count = node.seq_unchanged = 0
    node.aru = node.high_seq_received = node.install_seq = node.last_released = start
    node.set_timer(TotemTimer.TOKEN_LOSS)
    node.set_timer(TotemTimer.TOKEN_WARNING)
    node.set_timer(TotemTimer.TOKEN_RETRANSMIT)
    node.state = RECOVERY
    node.observe_state(RECOVERY, -1, "exchanging what members still lack of the old ring")


def _queue_old_messages(node: Instance, arus: list[int]) -> None:
    """Wrap every old-ring message above the lowest aru; every node sends all it has, receivers drop duplicates."""
    high = node.old_ring_high_seq_received
    low = high
    for aru in arus:
        if lt(aru, low):
            low = aru
    if low == high:
        node.log(Level.DEBUG, "Did not need to originate any messages in recovery.")
        return
    node.log(Level.DEBUG, f"copying all old ring messages from {(low + 1) & U32:x}-{high:x}.")
    seq = low
    while seq != high:
        seq = (seq + 1) & U32
        slot = node.regular.slots.get(seq)
        if slot is not None:
            node.retrans_queue.append(Queued(Packed(slot.datagram, ()), ENCAPSULATED))
    node.log(Level.DEBUG, f"Originated {len(node.retrans_queue)} messages in RECOVERY.")


def token_visit(node: Instance, token: Token) -> None:
    """The recovery part of a token visit (sheet §4.5): count quiet rotations, then become OPERATIONAL."""
    pending = bool(node.retrans_queue)
    if pending:
        if not token.retrans_flg:
            token.retrans_flg = 1
            node.set_retrans_flg = True
    elif token.retrans_flg and node.set_retrans_flg:
        token.retrans_flg = 0
        node.set_retrans_flg = False
    node.log(
        Level.DEBUG,
        f"token retrans flag is {token.retrans_flg} my set retrans flag{int(node.set_retrans_flg)} "
        f"retrans queue empty {int(not pending)} count {node.retrans_flg_count}, aru {token.aru:x}",
    )
    node.retrans_flg_count = 0 if token.retrans_flg else node.retrans_flg_count + 1
    if node.retrans_flg_count == 2:
        node.install_seq = token.seq
    node.log(
        Level.DEBUG,
        f"install seq {node.install_seq:x} aru {node.aru:x} high seq received {node.high_seq_received:x}",
    )
    if node.retrans_flg_count >= 2 and not node.received_flg and lte(node.install_seq, node.aru):
        node.received_flg = True
        node.deliver_members = node.trans_members
    if node.retrans_flg_count >= 3 and lte(node.install_seq, token.aru):
        node.rotation_counter += 1
    else:
        node.rotation_counter = 0
    if node.rotation_counter == 2:
        node.log(
            Level.DEBUG,
            f"retrans flag count {node.retrans_flg_count:x} token aru {token.aru:x} "
            f"install seq {node.install_seq:x} aru {node.aru:x} {token.seq:x}",
        )
        enter_operational(node)
        node.rotation_counter = 0
        node.retrans_flg_count = 0


def enter_operational(node: Instance) -> None:
    """Deliver the rest of the old ring, both configurations, and install the new one (sheet §4.5, steps 1-12)."""
    node.originated_orf_token = False
    node.consensus = set()
    node.old_ring_saved = False
    node.log(Level.DEBUG, "Resetting old ring state")
    _unwrap_recovered(node)
    recovery_aru = node.aru
    node.aru = node.old_ring_aru
    ordering.deliver(node, node.old_ring_high_seq_received)

    left = tuple(nodeid for nodeid in node.members if nodeid not in node.trans_members)
    joined = tuple(nodeid for nodeid in node.new_members if nodeid not in node.trans_members)
    node.members = node.new_members
    node.set_retrans_flg = False
    node.out.append(ConfigurationChange(True, node.ring_id, node.trans_members, left, ()))
    node.waiting_trans_ack = True
    node.log(Level.DEBUG, "waiting_trans_ack changed to 1")
    ordering.deliver(node, node.old_ring_high_seq_received, skip_holes=True)
    node.aru = recovery_aru
    node.out.append(ConfigurationChange(False, node.ring_id, node.new_members, (), joined))

    node.regular.copy_from(node.recovery)
    node.last_aru = node.safe_up_to = node.config.seqno_start_msg
    node.proc = list(node.new_members)
    node.failed = []
    _forget_recovery_traffic(node)
    unannounced = tuple(nodeid for nodeid in left if nodeid not in node.announced_leave)
    node.announced_leave.clear()
    node.log(Level.DEBUG, "entering OPERATIONAL state.")
    parts = f"{_listing(' joined:', joined)}{_listing(' left:', left)}"
    node.log(Level.NOTICE, f"A new membership ({node.ring_id}) was formed. Members{parts}")
    if unannounced:
        node.log(Level.NOTICE, f"Failed to receive the leave message.{_listing(' failed:', unannounced)}")
    node.state = OPERATIONAL
    node.received_flg = True
    node.set_timer(TotemTimer.PAUSE)
    node.old_ring_id = node.ring_id
    node.observe_state(OPERATIONAL, -1, "the ring is up")
    node.out.append(MembershipInstalled(node.ring_id, node.new_members, joined, left, unannounced))


def _listing(label: str, nodeids: tuple[int, ...]) -> str:
    return label + "".join(f" {nodeid}" for nodeid in nodeids) if nodeids else ""


def _unwrap_recovered(node: Instance) -> None:
    """Old-ring messages that arrived wrapped go into the regular queue (``deliver_messages_from_recovery...``)."""
    start = node.config.seqno_start_msg
    node.log(Level.DEBUG, f"recovery to regular {(start + 1) & U32:x}-{node.aru:x}")
    for offset in range(1, ((node.aru - start) & U32) + 1):
        seq = (start + offset) & U32
        slot = node.recovery.slots.get(seq)
        if slot is None or slot.mcast.encapsulated != ENCAPSULATED:
            continue
        try:
            inner = decode(slot.mcast.payload)
        except WireError:
            continue
        if not isinstance(inner, Mcast):
            continue
        node.log(Level.DEBUG, f"comparing if ring id is for this processors old ring seqno {inner.seq:x}")
        foreign_order = inner.little != node.config.little and node.config.quirks.foreign_order_compared_raw
        if foreign_order or inner.ring_id != node.old_ring_id:
            node.log(Level.DEBUG, f"-not adding msg with seq no {inner.seq:x}")
        elif inner.seq not in node.regular and node.regular.in_range(inner.seq):
            node.regular.insert(inner.seq, Slot(inner, slot.mcast.payload))
            if lt(node.old_ring_high_seq_received, inner.seq):
                node.old_ring_high_seq_received = inner.seq


def _forget_recovery_traffic(node: Instance) -> None:
    """Recovery messages are never delivered themselves: release them all (steps 10-11)."""
    seq = node.high_seq_received
    while seq != node.config.seqno_start_msg and seq not in node.regular:
        seq = (seq - 1) & U32
    node.high_delivered = seq
    node.regular.release(seq)
    node.last_released = seq
