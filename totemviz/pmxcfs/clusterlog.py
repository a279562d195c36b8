"""The cluster log: a ring of 131072 bytes that every node keeps, and sends whole at each synchronisation (sheet §6.4).

The ring is kept as the bytes it is. A new entry goes behind the newest one and points back to it; at the end of the
ring the next one starts over and overwrites the oldest. Sorted it is only when it is sent, merged only when all states
of an exchange are there, so until then two nodes may hold the same entries in different places.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cmp_to_key

import msgspec

RING_BYTES = 131_072
ENTRY_BYTES_MAX = 4096
_NAME_BYTES_MAX = 255

_RING_HEADER = struct.Struct("<II")  # size, position of the newest entry
_LINKS = struct.Struct("<II")  # prev, next
_ENTRY = struct.Struct("<IIIIQQIBBBBI")  # prev, next, uid, time, digests, pid, priority, four lengths
_MERGE_BYTES_MAX = RING_BYTES - _RING_HEADER.size - ENTRY_BYTES_MAX
_UNUSED_BYTES = 4  # the size of an entry counts four bytes more than it uses

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


class MalformedRingError(ValueError):
    """The bytes are no cluster log entry, or no ring of them; the text is pmxcfs' log line."""


class LogEntry(msgspec.Struct, frozen=True):
    """One line of the cluster log; ``ident`` is the user, ``uid`` counts the lines of the process that wrote it.

    ``message`` is in the log's ASCII form already: its author put it through ``to_ascii``, once.
    """

    node: str
    ident: str
    tag: str
    pid: int
    time_s: int
    priority: int
    uid: int
    message: str


def fnv_1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) % 2**64
    return value


def encode_entry(entry: LogEntry) -> bytes:
    """One entry as it is multicast, its positions 0. (Upstream leaves the last four bytes uninitialised.)"""
    node, ident, tag = (_terminated(text) for text in (entry.node, entry.ident, entry.tag))
    room = ENTRY_BYTES_MAX - _ENTRY.size - _UNUSED_BYTES - len(node) - len(ident) - len(tag)
    message = entry.message.encode("ascii", "replace")[: room - 1] + b"\0"
    header = _ENTRY.pack(
        0,
        0,
        entry.uid,
        entry.time_s,
        fnv_1a(node),
        fnv_1a(ident),
        entry.pid,
        entry.priority,
        len(node),
        len(ident),
        len(tag),
        len(message),
    )
    return header + node + ident + tag + message + bytes(_UNUSED_BYTES)


def decode_entry(data: bytes) -> LogEntry:
    """Read one entry, as multicast (``status.c: kvstore_parse_log_message``). Raises MalformedRingError."""
    minimum = _ENTRY.size + _UNUSED_BYTES
    if len(data) < minimum:
        raise MalformedRingError(f"received short log message ({len(data)} < {minimum})")
    _, _, uid, time_s, _, _, pid, priority, *lengths = _ENTRY.unpack_from(data)
    size = minimum + sum(lengths)
    if len(data) != size:
        raise MalformedRingError(f"received log message with wrong size ({len(data)} != {size})")
    texts = []
    position = _ENTRY.size
    for length in lengths:
        text = data[position : position + length]
        if not text.endswith(b"\0"):
            raise MalformedRingError("unterminated string in log message")
        texts.append(text.partition(b"\0")[0].decode("ascii", "replace"))
        position += length
    node, ident, tag, message = texts
    return LogEntry(node, ident, tag, pid, time_s, priority, uid, message)


class _Stored:
    """An entry in a ring: its bytes and its sort key."""

    def __init__(self, ring: bytes | bytearray, position: int) -> None:
        _, _, uid, time_s, node_digest, _, _, _, *lengths = _ENTRY.unpack_from(ring, position)
        self.uid, self.time_s, self.node_digest = uid, time_s, node_digest
        size = _ENTRY.size + _UNUSED_BYTES + sum(lengths)
        self.data = bytes(ring[position : position + min(size, ENTRY_BYTES_MAX)])


def _compare(one: _Stored, other: _Stored) -> int:
    """By time, node and number (``logger.c: clog_entry_sort_fn``); differences are cut to 32 bits, as there."""
    for mine, others in ((one.time_s, other.time_s), (one.node_digest, other.node_digest), (one.uid, other.uid)):
        if mine != others:
            return _int32(mine - others)
    return 0


def _int32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


_KEY = cmp_to_key(_compare)


class _Sorted:
    """What GLib's tree does for the log: keeps entries in order, each once."""

    def __init__(self) -> None:
        self.entries: list[_Stored] = []

    def add(self, entry: _Stored) -> bool:
        """False if it is there already."""
        place = bisect_left(self.entries, _KEY(entry), key=_KEY)
        if place < len(self.entries) and _compare(self.entries[place], entry) == 0:
            return False
        self.entries.insert(place, entry)
        return True


class ClusterLog:
    """The cluster log of one node."""

    def __init__(self) -> None:
        self._ring = _new_ring()
        self._newest: dict[int, tuple[int, int]] = {}  # by node digest: time and uid

    @property
    def entries(self) -> list[LogEntry]:
        """The entries, oldest first, in the order of the ring."""
        return decode_ring(bytes(self._ring))

    def newest(self, count: int, ident: str = "") -> list[LogEntry]:
        """Up to ``count`` entries, newest first, all or one user's (``logger.c: clog_dump_json``)."""
        found: list[LogEntry] = []
        for position, last in _walk(self._ring):
            if last or len(found) >= count:  # the dump stops one entry early in a ring that was overwritten
                break
            entry = _read(self._ring, position)
            if not ident or entry.ident == ident:
                found.append(entry)
        return found

    def insert(self, entry: LogEntry) -> bool:
        """Add an entry; False if its node has already said something as new, so that this is a duplicate."""
        return self.insert_raw(encode_entry(entry))

    def insert_raw(self, data: bytes) -> bool:
        """The same with an entry's bytes, the uninitialised ones included."""
        stored = _Stored(data, 0)
        if not _is_news(self._newest, stored):
            return False
        _append(self._ring, stored.data)
        return True

    def merge(self, rings: Sequence[bytes | None], local: int) -> None:
        """Become the union of the logs of all members, the newest that fit (``logger.c: clusterlog_merge``).

        ``rings``: by member, None where a member's was unusable; ``local`` is the place of this node's own.
        """
        sources = [self._ring if number == local else ring for number, ring in enumerate(rings)]
        walks = [_walk(ring) if ring is not None else iter(()) for ring in sources]
        heads = [next(walk, None) for walk in walks]
        merged = _Sorted()
        newest: dict[int, tuple[int, int]] = {}
        used = 0
        while used < _MERGE_BYTES_MAX:
            latest, found = 0, -1
            for number, head in enumerate(heads):
                ring = sources[number]
                if head is not None and ring is not None:
                    time_s = _ENTRY.unpack_from(ring, head[0])[3]
                    if time_s > latest:
                        latest, found = time_s, number
            if found < 0:
                break
            ring, head = sources[found], heads[found]
            assert ring is not None and head is not None
            stored = _Stored(ring, head[0])
            if merged.add(stored):
                _is_news(newest, stored)
                used += _padded(len(stored.data))
            heads[found] = next(walks[found], None)
        self._ring = _new_ring()
        for stored in merged.entries:
            _append(self._ring, stored.data)
        self._newest = newest

    def ring(self) -> bytes:
        """The ring's bytes to send; the ring is sorted first (``logger.c: clusterlog_get_state``)."""
        in_order = _Sorted()
        for position, _ in _walk(self._ring):
            in_order.add(_Stored(self._ring, position))
        self._ring = _new_ring()
        for stored in in_order.entries:
            _append(self._ring, stored.data)
        return bytes(self._ring)


def check_ring(ring: bytes) -> None:
    """Raises MalformedRingError if a member's state is no ring."""
    if len(ring) <= _RING_HEADER.size or _RING_HEADER.unpack_from(ring)[0] != len(ring):
        raise MalformedRingError(f"received log with wrong size {len(ring)}")


def decode_ring(ring: bytes) -> list[LogEntry]:
    """The entries of a ring, oldest first. Raises MalformedRingError."""
    check_ring(ring)
    return [_read(ring, position) for position, _ in _walk(ring)][::-1]


def _read(ring: bytes | bytearray, position: int) -> LogEntry:
    return decode_entry(_Stored(ring, position).data)


def _new_ring() -> bytearray:
    ring = bytearray(RING_BYTES)
    _RING_HEADER.pack_into(ring, 0, RING_BYTES, 0)
    return ring


def _walk(ring: bytes | bytearray) -> Iterator[tuple[int, bool]]:
    """Positions of the entries from the newest back, and whether the walk ends here on overwritten ground.

    The original trusts the positions; here the walk also ends where one lies outside the ring.
    """
    newest = _RING_HEADER.unpack_from(ring)[1]
    position, steps = newest, 0
    while position and (position <= newest or position > newest + ENTRY_BYTES_MAX):
        steps += 1
        if position + _ENTRY.size > len(ring) or steps > RING_BYTES // _ENTRY.size:
            return
        previous = _LINKS.unpack_from(ring, position)[0]
        overwritten = position < previous <= newest
        yield position, overwritten
        if overwritten:
            return
        position = previous


def _append(ring: bytearray, data: bytes) -> None:
    """Put an entry behind the newest one, or at the start if the ring ends (``logger.c: clog_alloc_entry``)."""
    room = _padded(len(data))
    newest = _RING_HEADER.unpack_from(ring)[1]
    position = _LINKS.unpack_from(ring, newest)[1] if newest else _RING_HEADER.size
    if newest and position + room >= len(ring):
        position = _RING_HEADER.size
    ring[position : position + len(data)] = data
    _LINKS.pack_into(ring, position, newest, position + room)
    _RING_HEADER.pack_into(ring, 0, len(ring), position)


def _is_news(newest: dict[int, tuple[int, int]], entry: _Stored) -> bool:
    """Whether the node has not said anything as new before; if so it has now (``logger.c: dedup_lookup``)."""
    said = entry.time_s, entry.uid
    known = newest.get(entry.node_digest)
    if known is not None and said <= known:
        return False
    newest[entry.node_digest] = said
    return True


def _padded(size: int) -> int:
    """Room of an entry in the ring: a multiple of 8 bytes."""
    return (size + 7) // 8 * 8


def _terminated(text: str) -> bytes:
    return text.encode()[: _NAME_BYTES_MAX - 1] + b"\0"
