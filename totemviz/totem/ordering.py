"""Storing, delivering and freeing ordered messages (sheet §5.4, §6)."""

from __future__ import annotations

from zlib import crc32

from totemviz.totem.effects import Deliver, PacketDelivered
from totemviz.totem.instance import Instance
from totemviz.totem.queues import Slot
from totemviz.totem.seq import U32, lt
from totemviz.totem.states import OPERATIONAL
from totemviz.totem.wire import ENCAPSULATED, SAFE, Mcast


def store(node: Instance, mcast: Mcast, datagram: bytes) -> None:
    """Keep a message of this ring, advance the aru, deliver what became contiguous (``message_handler_mcast``)."""
    queue = node.recovery if mcast.encapsulated == ENCAPSULATED else node.regular
    seq = mcast.seq
    if queue.in_range(seq) and seq not in queue:
        if lt(node.high_seq_received, seq):
            node.high_seq_received = seq
        queue.insert(seq, Slot(mcast, datagram))
    advance_aru(node)
    if node.state is OPERATIONAL:
        deliver(node, node.high_seq_received)


def advance_aru(node: Instance) -> None:
    """Move my_aru over contiguous messages (``update_aru``)."""
    slots = node.sort_queue().slots
    aru, end = node.aru, node.high_seq_received
    while aru != end and (aru + 1) & U32 in slots:
        aru = (aru + 1) & U32
    node.aru = aru


def deliver(node: Instance, end: int, *, skip_holes: bool = False) -> None:
    """Hand messages up to ``end`` to the layer above, in order (``messages_deliver_to_app``).

    Stops at the first hole; with ``skip_holes`` (only while a new ring is installed) jumps over holes and leaves out
    originators that do not come along.
    """
    slots = node.regular.slots
    seq = node.high_delivered
    while seq != end:
        seq = (seq + 1) & U32
        if not node.regular.in_range(seq):
            break
        slot = slots.get(seq)
        if slot is None:
            if not skip_holes:
                break
            node.high_delivered = seq
            continue
        if slot.mcast.guarantee == SAFE and _must_wait(node, seq):
            break
        node.high_delivered = seq
        mcast = slot.mcast
        if skip_holes and mcast.system_from not in node.deliver_members:
            continue
        payload = mcast.payload
        node.out.append(PacketDelivered(mcast.ring_id, seq, mcast.nodeid, len(payload), crc32(payload)))
        node.out.append(Deliver(mcast.ring_id, seq, mcast.nodeid, payload, not mcast.little))


def _must_wait(node: Instance, seq: int) -> bool:
    """Whether a safe message of a running ring is not known to be everywhere yet. Corosync does not ask."""
    running = node.state is OPERATIONAL
    return running and not node.config.quirks.safe_is_agreed and lt(node.safe_up_to, seq)


def free(node: Instance, token_aru: int) -> int:
    """Release what every member has received on two visits; returns how many slots (``messages_free``)."""
    release_to = token_aru
    if lt(node.last_aru, release_to):
        release_to = node.last_aru
    if lt(node.high_delivered, release_to):
        release_to = node.high_delivered
    if lt(release_to, node.last_released):
        return 0
    count = (release_to - node.last_released) & U32
    if count:
        node.regular.release(release_to)
        node.last_released = release_to
    return count
