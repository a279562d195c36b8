# ruff: noqa: E501
"""Deliberate faults in the ring room: one snippet of one function replaced by another.

A fault is applied by giving the function the code of its changed source, so that every table and module that refers to
the function runs the faulty one; leaving the ``with`` puts the true code back.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from totemviz.totem import membership, ordering, pg, recovery, ring, table, token
from totemviz.totem.instance import Instance
from totemviz.totem.queues import SortQueue


class Mutant(NamedTuple):
    name: str
    function: Callable[..., Any]
    old: str
    new: str


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The fault is in the code inside of the ``with``."""
    source = textwrap.dedent(inspect.getsource(mutant.function))
    assert mutant.old in source, f"{mutant.name}: the code has changed, adapt the mutant"
    changed = source.replace(mutant.old, mutant.new)
    namespace = dict(mutant.function.__globals__)
    exec(compile("from __future__ import annotations\n" + changed, f"<{mutant.name}>", "exec"), namespace)
    true_code = mutant.function.__code__
    mutant.function.__code__ = namespace[mutant.function.__name__].__code__
    try:
        yield
    finally:
        mutant.function.__code__ = true_code


MUTANTS = (
    # token: numbers
    Mutant("aru is never lowered", token._update_aru, "lt(node.aru, token.aru) or ", ""),
    Mutant("aru is always seq", token._update_aru, "token.aru = node.aru", "token.aru = token.seq"),
    Mutant("aru_addr is never cleared", token._update_aru, "0 if token.aru == token.seq else ", ""),
    Mutant("failed to receive is never noticed", token._update_aru, "node.aru_count += 1", "node.aru_count = 0"),
    Mutant("token_seq is not advanced", token.visit, "token.token_seq = (token.token_seq + 1) & U32", "pass"),
    Mutant("seq is not advanced", token._multicast, "token.seq = (token.seq + 1) & U32", "pass"),
    Mutant("seq is advanced twice", token._multicast, "token.seq = (token.seq + 1)", "token.seq = (token.seq + 2)"),
    Mutant("duplicate token is processed", token.visit, "if lte(token.token_seq, node.token_seq):", "if False:"),
    Mutant("token of another ring is processed", token.visit, "if token.ring_id != node.ring_id:", "if False:"),
    Mutant("token goes to the next but one", Instance.successor, "+ 1", "+ 2"),
    # token: hold
    Mutant("hold is never cancelled", token.cancel_hold, "if node.token_held:", "if False:"),
    Mutant("hold cancel is not heeded", token.hold_cancelled, "if not node.is_rep:", "if True:"),
    Mutant("hold cancel does not end idleness", token.hold_cancelled, "node.seq_unchanged = 0", "pass"),
    Mutant("an idle token is never held", token.visit, "node.seq_unchanged > limit if", "False if"),
    Mutant("the token is held too early", token.visit, "node.seq_unchanged > limit if", "node.seq_unchanged > 5 if"),
    Mutant("a held token is not let go in time", token.hold_expired, 'node.resend_token("hold time over")', "pass"),
    # token: flow control
    Mutant("the window is ignored", token._allowance, "min(allowance, window_left)", "allowance"),
    Mutant("max_messages is ignored", token._allowance, "config.max_messages", "1000"),
    Mutant("fcc only grows", token._flow_control, "- node.trc", ""),
    Mutant("backlog only grows", token._flow_control, "node.cbl - node.pbl", "node.cbl"),
    # token: retransmission
    Mutant("a hole is asked for at once", token._retransmit_check, "if count < node.config.miss_count_const:", "if False:"),
    Mutant("a hole is never asked for", token._retransmit_check, "elif seq not in listed:", "elif False:"),
    Mutant("a hole is asked for twice", token._retransmit_check, "elif seq not in listed:", "else:"),
    Mutant("nothing is sent again", token._retransmit_check, "if slot is None:", "if True:"),
    Mutant("a served request stays listed", token._retransmit_check, "resent.append(seq)", "resent.append(seq); kept.append(entry)"),
    Mutant("the list has no end", token._retransmit_check, "and len(entries) < RETRANSMIT_ENTRIES_MAX", ""),
    Mutant("a miss is not counted", SortQueue.miss, "+ 1", "+ 0"),
    Mutant("a lost token is not sent again", token.retransmit, "node.resend_token(reason)", "pass"),
    Mutant("a lost token is not noticed", token.arm_token_timers, "node.token_timers", "node.token_timers[1:]"),
    # storing, delivering, freeing
    Mutant("own messages are delivered before the token leaves", token.visit, "    _pass(node", "    ordering.deliver(node, node.high_seq_received)\n    _pass(node"),
    Mutant("freed after one visit", ordering.free, "lt(node.last_aru, release_to)", "False"),
    Mutant("delivery jumps over holes", ordering.deliver, "if not skip_holes:", "if False:"),
    Mutant("aru jumps over holes", ordering.advance_aru, "and (aru + 1) & U32 in slots", ""),
    # recovery
    Mutant("recovery is skipped", recovery.enter_recovery, "_queue_old_messages(node", "id or (node"),
    Mutant("the deliver list is forgotten", recovery.enter_recovery, "node.deliver_members = node.trans_members", "pass"),
    Mutant("installed one rotation early", recovery.token_visit, "node.rotation_counter == 2", "node.rotation_counter == 1"),
    Mutant("never installed", recovery.token_visit, "node.rotation_counter == 2", "node.rotation_counter == -1"),
    Mutant("messages of a stranger's old ring are taken", recovery._unwrap_recovered, "if foreign_order or inner.ring_id != node.old_ring_id:", "if False:"),
    Mutant("recovered messages are thrown away", recovery._unwrap_recovered, "node.regular.insert(inner.seq", "node.recovery.insert(inner.seq"),
    Mutant("no transitional configuration", recovery.enter_operational, "node.out.append(ConfigurationChange(True", "id(ConfigurationChange(True"),
    Mutant("the old ring is not delivered up to its hole", recovery.enter_operational, "    ordering.deliver(node, node.old_ring_high_seq_received)\n", ""),
    Mutant("the rest of the old ring is not delivered", recovery.enter_operational, "ordering.deliver(node, node.old_ring_high_seq_received, skip_holes=True)", "pass"),
    Mutant("failed list is kept", recovery.enter_operational, "node.failed = []", "pass"),
    Mutant("client messages do not wait for sync", recovery.enter_operational, "node.waiting_trans_ack = True", "node.waiting_trans_ack = False"),
    Mutant("recovery traffic is delivered", recovery._forget_recovery_traffic, "node.high_delivered = seq", "node.high_delivered = 0"),
    # membership
    Mutant("ring seq is not advanced", membership._create_commit_token, "+ RING_SEQ_STEP", ""),
    Mutant("ring id is not stored", membership.enter_commit, "node.out.append(StoreRingId(node.ring_id.seq))", "pass"),
    Mutant("old state is overwritten by a second attempt", membership.enter_commit, "if not node.old_ring_saved:", "if True:"),
    Mutant("consensus is not awaited", membership.agreed, "return all(", "return True or all("),
    Mutant("failed list is lost", membership.give_up_on, "merge(nodeids, node.failed)", "pass"),
    Mutant("any commit token is accepted", membership.commit_token_in_gather, "set(token.addr) == set(candidates(node)) and ", ""),
    Mutant("the highest node id is representative", membership._same_lists, "min(candidates", "max(candidates"),
    Mutant("the entry is not counted", membership._fill_entry, "index + 1\n", "index\n"),
    Mutant("a leave is not announced", membership.send_leave, "node.multicast(", "id("),
    Mutant("other rings are not looked for", membership.merge_detect_timer, "node.multicast(", "id("),
    Mutant("token loss is shrugged off", membership.token_lost_operational, "enter_gather(", "id or ("),
    Mutant("the first token is never sent", table._recovery_commit_token, "token.send_initial(node)", "pass"),
    Mutant("every message counts as safe", ordering.deliver, "slot.mcast.guarantee == SAFE and _must_wait", "lt(node.safe_up_to, seq) and bool"),
    Mutant("the wrong node is expelled", token._update_aru, "give_up_on(node, [token.aru_addr])", "give_up_on(node, [node.new_members[0]])"),
    Mutant("a starting node takes no new number", ring._startup, "1 if node.config.quirks.ring_seq_one_on_at_start else 0", "0"),
    Mutant("a commit token of an older ring is accepted", membership.commit_token_in_gather, "token.ring_id.seq > node.ring_id.seq and ", ""),
    Mutant("stale joins of ring mates count", membership.join_operational, "and not stale", ""),
    Mutant("those given up on are listened to", membership.process_join, "or sender in my_failed", ""),
    # totempg
    Mutant("fragments do not continue", pg.Packer._emit, "self._continuation = fragmented", "self._continuation = 0"),
    Mutant("the beginning of a fragmented message is lost", pg.Reassembler.receive, "assembly.data + complete[0]", "complete[0]"),
)  # fmt: skip
