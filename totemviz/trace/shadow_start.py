"""How a life on the shadow's stage begins: with the daemon's start, with a ring nobody saw, or in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import product

import msgspec

from totemviz.totem.config import MS, TotemConfig
from totemviz.totem.effects import RingId
from totemviz.totem.instance import Instance
from totemviz.totem.queues import Slot
from totemviz.totem.ring import Ring
from totemviz.totem.seq import U32
from totemviz.totem.states import State
from totemviz.totem.wire import Mcast, Token, decode
from totemviz.trace.shadow_record import LAG_NS, Life, Outbound, Record

BUSY_NS = 20 * MS
"""A starting daemon may be busy this long before and after its first join; what arrives meanwhile waits."""

START_NS = 1000 * MS
"""The span by which the moment of the socket's birth is judged."""


class SocketOrder(StrEnum):
    """In which order the main loop reads its two sockets when both have something (epoll decides, nobody records)."""

    OWN_FIRST = "own, network, own, …"
    NETWORK_FIRST = "network, own, network, …"
    NETWORK = "all from the network, then its own"


class Start(msgspec.Struct, frozen=True):
    """What is not recorded of a start: how many datagrams waited in the socket before the first join, how long the
    daemon was busy after it before it read anything, and which socket it read first.
    """

    waiting: int = 0
    busy_until_ns: int = 0
    order: SocketOrder = SocketOrder.OWN_FIRST


def best_start(record: Record, life: Life, play: Callable[[Start, int], list[Outbound]]) -> Start:
    """The start that explains the first second best, of all that the arrivals around the first join allow.

    ``play`` gives what our machine sends up to a moment if it starts like that.
    """
    before = [arrival for arrival in record.received if 0 < life.start_ns - arrival.time_ns <= BUSY_NS]
    second = record.next_sent_ns(life.start_ns + 1) or life.end_ns
    until_ns = min(second, life.start_ns + BUSY_NS)
    after = [arrival.time_ns for arrival in record.received if life.start_ns <= arrival.time_ns <= until_ns]
    end_ns = min(life.end_ns, life.start_ns + START_NS)
    real = [sent.determined for sent in record.sent_between(life.start_ns, end_ns)]
    best, best_score = Start(), -(10**9)
    for busy_until_ns, waiting, order in product((0, *after), range(len(before) + 1), SocketOrder):
        start = Start(waiting, busy_until_ns, order)
        ours = [sent.determined for sent in play(start, end_ns)]
        if ours == real:
            return start
        blocks = SequenceMatcher(None, real, ours, autojunk=False).get_matching_blocks()
        score = 3 * sum(block.size for block in blocks) - len(ours)
        if score > best_score:
            best, best_score = start, score
    return best


# ------------------------------------------------------------------------------------------------- in mid-life


class Visit(msgspec.Struct, frozen=True):
    """A token visit of an operational ring that tells the node's state: nothing missing, nothing sent, nothing asked.

    ``received`` and ``sent`` are the token before and after; ``idle``: the ring's token is being held.
    """

    sent_ns: int
    received: Token
    sent: Token
    idle: bool


def adoptable(record: Record, life: Life) -> Visit | None:
    """The first token visit of a running daemon from which all of its state that matters follows.

    Everything had arrived and it sent nothing, so all its counters are in the token; and how long the ring has been
    quiet is known, because the sequence number has just changed or the token is being held.
    """
    for before, visit in _visits(record, life):
        token = visit.received
        quiet = not token.rtr and not visit.sent.rtr and token.seq == visit.sent.seq == token.aru == visit.sent.aru
        if not quiet or visit.sent.aru_addr or token.ring_id not in record.members:
            continue
        if visit.idle or (before is not None and before.ring_id == token.ring_id and before.seq != token.seq):
            return visit
    return None


def _visits(record: Record, life: Life) -> Iterator[tuple[Token | None, Visit]]:
    """Each visit of the life, with the token of the one before; a held token makes the gaps between tokens long."""
    before: Token | None = None
    gaps: list[int] = []
    last_ns = 0
    for arrival in record.received:
        if not life.start_ns <= arrival.time_ns <= life.end_ns:
            continue
        token = decode(arrival.data)
        if not isinstance(token, Token):
            continue
        if before is not None and (token.ring_id, token.token_seq) == (before.ring_id, before.token_seq):
            continue
        same = before is not None and before.ring_id == token.ring_id and before.seq == token.seq
        gaps = [*gaps, arrival.time_ns - last_ns] if same else []
        last_ns = arrival.time_ns
        sent_ns = record.first_sent_ns.get((token.ring_id, (token.token_seq + 1) & U32))
        sent = record.tokens.get((token.ring_id, (token.token_seq + 1) & U32))
        if sent is not None and sent_ns is not None and sent_ns >= arrival.time_ns:
            idle = len(gaps) >= 2 and min(gaps[-2:]) > 5 * LAG_NS
            yield before, Visit(sent_ns, token, sent, idle)
        before = token


def adopted(record: Record, config: TotemConfig, visit: Visit) -> Ring:
    """Our machine in the state of a daemon that has just sent the token of this visit on."""
    token, ring_id = visit.sent, visit.sent.ring_id
    ring = Ring(record.nodeid, config, ring_id.seq)
    ring.listen()
    node = ring.instance
    node.now_ns = node.token_accepted_ns = node.pause_timestamp_ns = visit.sent_ns
    node.state = State.OPERATIONAL
    node.ring_id = node.old_ring_id = ring_id
    node.token_ring_id_seq = ring_id.seq
    node.members = node.new_members = node.trans_members = record.members[ring_id]
    node.proc = list(node.members)
    node.aru = node.high_seq_received = node.high_delivered = token.seq
    node.last_aru = node.last_released = visit.received.aru
    node.token_seq = visit.received.token_seq
    node.last_seq = token.seq
    node.seq_unchanged = config.seqno_unchanged_const + 1 if visit.idle else 0
    node.token_held = visit.idle
    node.waiting_trans_ack = False
    node.keep_token(msgspec.structs.replace(token), node.successor())
    _fill_queue(record, node, visit)
    return ring


def _fill_queue(record: Record, node: Instance, visit: Visit) -> None:
    """Messages it may be asked for again, as far as the recording shows them; and its own count of messages."""
    ring_id: RingId = visit.sent.ring_id
    node.regular.reset((visit.received.aru + 1) & U32)
    for arrival in record.received:
        if arrival.time_ns > visit.sent_ns:
            break
        message = decode(arrival.data)
        if isinstance(message, Mcast) and message.ring_id == ring_id and node.regular.in_range(message.seq):
            node.regular.insert(message.seq, Slot(message, arrival.data))
    for seq, outbound in record.mcasts.get(ring_id, {}).items():
        if outbound.time_ns < visit.sent_ns and node.regular.in_range(seq) and isinstance(outbound.message, Mcast):
            node.regular.insert(seq, Slot(outbound.message, outbound.message.encode()))
    for outbound in record.sent:
        message = outbound.message
        if isinstance(message, Mcast) and message.system_from == record.nodeid and outbound.time_ns > visit.sent_ns:
            node.global_seqno = message.this_seqno
            return
