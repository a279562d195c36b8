"""A token visit, in the exact order of ``totemsrp.c: message_handler_orf_token`` (sheet §5; numbers are its steps).

The four stages people know are announced as observations in the order they happen: receive (steps 1-9), retransmit
check (10-13), multicast (14), update and pass (15-25). Delivery of this node's own messages follows the sending.
"""

from __future__ import annotations

from totemviz.totem import effects as fx
from totemviz.totem import membership, ordering, recovery
from totemviz.totem.config import RETRANSMIT_ENTRIES_MAX, SORT_QUEUE_SLOTS
from totemviz.totem.effects import Level, Send, TokenSent, TotemTimer
from totemviz.totem.instance import Instance, Queued
from totemviz.totem.queues import Slot
from totemviz.totem.seq import U32, lt, lte
from totemviz.totem.states import COMMIT, GATHER, OPERATIONAL, RECOVERY, Gather
from totemviz.totem.wire import ORDINARY, HoldCancel, Mcast, Token

_TOKEN_SENT = TokenSent()
_HEARTBEAT = TotemTimer.HEARTBEAT
_NOTHING_MISSING: dict[int, fx.RetransmitChecked] = {}
"""What nearly every visit finds, by its allowance: one object for all of them."""


def arrive(node: Instance, token: Token) -> None:
    """An ORF token arrived: a visit, and step 25, the heartbeat: the next token must come before it runs out."""
    if not node.has_timer(_HEARTBEAT):
        visit(node, token)
        return
    heard = not node.orf_token_discard
    duplicate = token.ring_id == node.ring_id and lte(token.token_seq, node.token_seq)
    visit(node, token)
    if not heard or (duplicate and node.state is not COMMIT):
        return
    if node.is_rep and node.token_held:
        node.cancel_timer(TotemTimer.HEARTBEAT)
    else:
        node.set_timer(TotemTimer.HEARTBEAT)


def visit(node: Instance, token: Token) -> None:
    """Process an ORF token (steps 1-24). Changes ``token`` into the one that leaves."""
    if node.orf_token_discard:
        node.out.append(fx.TokenIgnored(token.ring_id, token.token_seq, "gathering"))
        return
    _detect_idle(node, token)  # 2; step 3, the receive flush, does nothing on knet and udpu
    limit = node.config.seqno_unchanged_const
    is_rep = node.is_rep
    node.token_held = node.seq_unchanged > limit if is_rep else node.seq_unchanged >= limit  # 4
    if not node.config.quirks.idle_token_is_held:
        node.token_held = False
    hold = is_rep and node.token_held

    if node.state is COMMIT:  # 5
        return
    freed = 0
    faithful = node.config.quirks.token_copy_frees_messages
    if faithful and node.state is OPERATIONAL:
        freed = ordering.free(node, token.aru)
    if token.ring_id != node.ring_id:  # 6
        node.out.append(fx.TokenIgnored(token.ring_id, token.token_seq, "other ring", freed))
        return
    if lte(token.token_seq, node.token_seq):  # 7
        node.out.append(fx.TokenIgnored(token.ring_id, token.token_seq, "duplicate", freed))
        return
    if not faithful and node.state is OPERATIONAL:
        freed = ordering.free(node, token.aru)
    node.token_accepted_ns = node.now_ns
    _flush_packer(node)  # 8
    previous_aru = node.last_aru  # 9
    node.last_aru = token.aru
    node.safe_up_to = token.aru if lt(token.aru, previous_aru) else previous_aru
    # the ring id is the token's, but one object for all events of a ring
    node.out.append(fx.TokenReceived(node.ring_id, *carried(token), node.aru, freed))

    allowance = _allowance(node, token)  # 10
    resent, allowance = _retransmit_check(node, token, allowance)  # 11
    if node.config.cancel_token_hold_on_retransmit and node.token_held and (token.rtr or resent):  # 12
        node.token_held = hold = False
    room = (node.last_released + SORT_QUEUE_SLOTS - allowance - node.config.window_size) & U32  # 13
    if lt(room, token.seq):
        allowance = 0
    sent = resent + _multicast(node, token, allowance)  # 14

    _flow_control(node, token, sent)  # 15
    if not _update_aru(node, token, previous_aru):  # 16-18
        return
    node.token_seq = token.token_seq  # 19
    token.token_seq = (token.token_seq + 1) & U32
    if node.state is RECOVERY:
        recovery.token_visit(node, token)  # 20
    _pass(node, token, hold)  # 21
    if node.state is OPERATIONAL and node.high_delivered != node.high_seq_received:
        ordering.deliver(node, node.high_seq_received)  # 22
    arm_token_timers(node)  # 23
    if hold:
        node.set_timer(TotemTimer.HOLD_RETRANSMIT)
        node.hold_running = True
    node.out.append(_TOKEN_SENT)  # 24


def carried(token: Token) -> tuple[int, int, int, int, int, int, tuple[int, ...]]:
    """What is told of a token: token_seq, seq, aru, aru_addr, fcc, backlog, and the seqs of its rtr list."""
    asked = tuple(seq for _, seq in token.rtr) if token.rtr else ()
    return token.token_seq, token.seq, token.aru, token.aru_addr, token.fcc, token.backlog, asked


def arm_token_timers(node: Instance) -> None:
    """Restart token loss, its warning, and token retransmit (``reset_token_timeout``)."""
    node.out += node.token_timers


def send_initial(node: Instance) -> None:
    """The representative starts a new ring's token (``orf_token_send_initial``)."""
    node.log(Level.DEBUG, "Sending initial ORF token")
    node.set_retrans_flg = bool(node.retrans_queue)
    target = node.successor()
    start = node.config.seqno_start_msg
    token = Token(
        node.nodeid,
        target,
        start,
        node.config.seqno_start_token,
        (start - 1) & U32,
        node.nodeid,
        node.ring_id,
        retrans_flg=int(node.set_retrans_flg),
    )
    node.send_token(token, target)


def cancel_hold(node: Instance) -> None:
    """Something is to be sent while the token is held: tell everybody once (``token_hold_cancel_send``)."""
    if node.token_held:
        node.token_held = False
        node.multicast(HoldCancel(node.nodeid, 0, node.ring_id))


def hold_cancelled(node: Instance, message: HoldCancel) -> None:
    """Somebody has something to send; the representative lets the token go (``message_handler_token_hold_cancel``)."""
    foreign_order = message.little != node.config.little and node.config.quirks.foreign_order_compared_raw
    if foreign_order or message.ring_id != node.ring_id:
        return
    node.seq_unchanged = 0
    if not node.is_rep:
        return
    if node.hold_running and not node.config.quirks.hold_timer_outlives_cancel:
        node.hold_running = False
        node.cancel_timer(TotemTimer.HOLD_RETRANSMIT)
    retransmit(node, "hold cancelled")


def retransmit(node: Instance, reason: str = "retransmit timeout") -> None:
    """Send the last token again and re-arm, except in GATHER (``timer_function_token_retransmit_timeout``)."""
    if node.state is GATHER:
        return
    node.resend_token(reason)
    node.set_timer(TotemTimer.TOKEN_RETRANSMIT)


def hold_expired(node: Instance) -> None:
    """The hold time is over (``timer_function_token_hold_retransmit_timeout``)."""
    node.hold_running = False
    if node.state in (OPERATIONAL, RECOVERY):
        node.resend_token("hold time over")


def warning(node: Instance) -> None:
    """The last token is getting old (``timer_function_orf_token_warning``)."""
    if not node.has_timer(TotemTimer.TOKEN_WARNING):
        return  # a reload has switched it off while it ran
    age_ms = (node.now_ns - node.token_accepted_ns) // 1_000_000
    node.log(Level.NOTICE, f"Token has not been received in {age_ms} ms ")  # the blank is in 3.1.7, not in 3.1.9
    node.set_timer(TotemTimer.TOKEN_WARNING)


def _detect_idle(node: Instance, token: Token) -> None:
    if token.seq == node.last_seq:
        if not node.merge_detect_running:
            node.merge_detect_running = True
            node.set_timer(TotemTimer.MERGE_DETECT)
        node.seq_unchanged += 1
    else:
        if node.merge_detect_running:
            node.merge_detect_running = False
            node.cancel_timer(TotemTimer.MERGE_DETECT)
        if node.hold_running:
            node.hold_running = False
            node.cancel_timer(TotemTimer.HOLD_RETRANSMIT)
        node.seq_unchanged = 0
    node.last_seq = token.seq


def _flush_packer(node: Instance) -> None:
    """What is staged goes out with this token, if a slot is free (``totempg.c: callback_token_received_fn``)."""
    if node.packer.staged and node.send_queue_free:
        packed = node.packer.flush()
        assert packed is not None
        queue = node.new_trans_queue if node.waiting_trans_ack else node.new_queue
        queue.append(Queued(packed, ORDINARY))


def _allowance(node: Instance, token: Token) -> int:
    """How many messages this visit may send (sheet §5.2; ``fcc_calculate``)."""
    config = node.config
    allowance = config.max_messages
    window_left = (config.window_size - token.fcc) & U32
    allowance = min(allowance, window_left)
    node.cbl = len(node.send_queue()) + node.unseen_queue
    demand = (token.backlog + node.cbl - node.pbl) & U32
    if demand:
        share = config.window_size * node.pbl // demand
        if 0 < share < allowance:
            allowance = share
    return allowance


def _retransmit_check(node: Instance, token: Token, allowance: int) -> tuple[int, int]:
    """Serve and extend the rtr list (sheet §5.3; ``orf_token_rtr``); returns (resent, allowance left)."""
    queue = node.sort_queue()
    aru = node.aru
    if not token.rtr and aru == token.seq:
        checked = _NOTHING_MISSING.get(allowance)
        if checked is None:
            checked = _NOTHING_MISSING[allowance] = fx.RetransmitChecked((), (), (), allowance)
        node.out.append(checked)
        return 0, allowance
    resent: list[int] = []
    entries = list(token.rtr)
    if entries:
        node.log(Level.DEBUG, f"Retransmit List {len(entries)}")
        node.log(Level.NOTICE, "Retransmit List: " + "".join(f"{seq:x} " for _, seq in entries))
        kept = []
        for entry in entries:
            ring_id, seq = entry
            wanted = len(resent) < allowance and ring_id == node.ring_id
            if wanted and not queue.in_range(seq):
                node.log(Level.DEBUG, "sq not in range")
            slot = queue.slots.get(seq) if wanted else None
            if slot is None:
                kept.append(entry)
            else:
                node.out.append(Send(0, slot.datagram))
                resent.append(seq)
        entries = kept
    requested: list[int] = []
    missing: list[tuple[int, int]] = []
    listed = {seq for _, seq in entries}
    seq = aru
    while seq != token.seq and len(entries) < RETRANSMIT_ENTRIES_MAX:
        seq = (seq + 1) & U32
        if not queue.in_range(seq):
            break
        if seq in queue:
            continue
        count = queue.miss(seq)
        if count < node.config.miss_count_const:
            missing.append((seq, count))
        elif seq not in listed:
            entries.append((node.ring_id, seq))
            requested.append(seq)
    token.rtr = tuple(entries)
    node.out.append(fx.RetransmitChecked(tuple(resent), tuple(requested), tuple(missing), allowance))
    return len(resent), allowance - len(resent)


def _multicast(node: Instance, token: Token, allowance: int) -> int:
    """Give queued packets their seqs and send them (``orf_token_mcast``); returns how many."""
    queue = node.send_queue()
    if node.state is RECOVERY:
        node.set_timer(TotemTimer.TOKEN_RETRANSMIT)
    first_seq = (token.seq + 1) & U32
    count = 0
    if queue and allowance:
        sort_queue = node.sort_queue()
        while queue and count < allowance:
            packet = queue.popleft()
            token.seq = (token.seq + 1) & U32
            mcast = Mcast(
                node.nodeid,
                0,
                node.nodeid,
                token.seq,
                node.global_seqno,
                node.ring_id,
                packet.payload,
                packet.encapsulated,
                little=node.config.little,
            )
            node.global_seqno += 1
            datagram = mcast.encode()
            sort_queue.insert(token.seq, Slot(mcast, datagram))
            node.out.append(fx.MessageOrdered(token.seq, packet.numbers))
            node.out.append(Send(0, datagram))
            count += 1
        node.high_seq_received = token.seq
    node.out.append(fx.MessagesMulticast(first_seq, count, len(queue)))
    ordering.advance_aru(node)
    return count


def _flow_control(node: Instance, token: Token, sent: int) -> None:
    token.fcc = (token.fcc + sent - node.trc) & U32
    token.backlog = (token.backlog + node.cbl - node.pbl) & U32
    node.trc = sent
    node.pbl = node.cbl


def _update_aru(node: Instance, token: Token, previous_aru: int) -> bool:
    """Steps 16-18; False if this node gives up on the one that holds the aru down: itself (FAILED TO RECEIVE)."""
    if lt(node.aru, token.aru) or token.aru_addr in (node.nodeid, 0):
        token.aru = node.aru
        token.aru_addr = 0 if token.aru == token.seq else node.nodeid
    if token.aru == previous_aru and token.aru_addr != 0:
        node.aru_count += 1
    else:
        node.aru_count = 0
    lags_here = token.aru_addr == node.nodeid
    if node.aru_count > node.config.fail_recv_const and lags_here is node.config.quirks.failing_node_expels_itself:
        node.log(Level.ERROR, "FAILED TO RECEIVE")
        node.failed_to_recv = lags_here
        membership.give_up_on(node, [token.aru_addr])
        membership.enter_gather(node, Gather.FAILED_TO_RECEIVE)
        return False
    return True


def _pass(node: Instance, token: Token, hold: bool) -> None:
    """Keep a copy and send it on, unless the representative holds it (``token_send``)."""
    target = node.successor()
    token.nodeid = node.nodeid
    token.target = target
    node.out.append(fx.TokenPassed(*carried(token), node.aru, target, hold))
    if hold:
        node.keep_token(token, target)
    else:
        node.send_token(token, target)
