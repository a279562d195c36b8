"""The cluster log: a ring of 131072 bytes that every node keeps, and sends whole at each synchronisation (sheet §6.4).

In memory it is a list of entries, oldest first; the ring's bytes, with their forward and backward positions, are made
when they are needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

RING_BYTES = 131_072
ENTRY_BYTES_MAX = 4096
_NAME_BYTES_MAX = 255
_MERGE_BYTES_MAX = RING_BYTES - 8 - ENTRY_BYTES_MAX

_RING_HEADER = struct.Struct("<II")  # size, position of the newest entry
_ENTRY = struct.Struct("<IIIIQQIBBBBI")  # prev, next, uid, time, digests, pid, priority, four lengths
_UNUSED_BYTES = 4  # the size of an entry counts four bytes more than it uses

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_CONTROL_END = 0x20
_DELETE = 0x7F
_BMP_END = 0x10000


class MalformedRingError(ValueError):
    """The bytes are no cluster log; the text is pmxcfs' log line."""


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

    @property
    def sort_key(self) -> tuple[int, int, int]:
        """Time, then node, then number."""
        return self.time_s, fnv_1a(_terminated(self.node)), self.uid


def fnv_1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) % 2**64
    return value


def to_ascii(text: str) -> str:
    r"""A message as the log keeps it: ``"`` as ``\"``, control characters as ``#010``, others as ``\u00e9``."""
    parts = []
    for character in text:
        code = ord(character)
        if character == '"':
            parts.append('\\"')
        elif code < _CONTROL_END or code == _DELETE:
            parts.append(f"#{code:03d}")
        elif code < _DELETE:
            parts.append(character)
        elif code < _BMP_END:
            parts.append(f"\\u{code:04x}")
    return "".join(parts)


def encode_entry(entry: LogEntry, previous: int = 0, following: int = 0) -> bytes:
    """One entry, as it is multicast (positions 0) and as it lies in the ring."""
    node, ident, tag = (_terminated(text) for text in (entry.node, entry.ident, entry.tag))
    room = ENTRY_BYTES_MAX - _ENTRY.size - _UNUSED_BYTES - len(node) - len(ident) - len(tag)
    message = entry.message.encode("ascii", "replace")[: room - 1] + b"\0"
    header = _ENTRY.pack(
        previous,
        following,
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
    """Read one entry. Raises MalformedRingError."""
    if len(data) < _ENTRY.size:
        raise MalformedRingError("received short cluster log entry")
    _, _, uid, time_s, _, _, pid, priority, *lengths = _ENTRY.unpack_from(data)
    if _ENTRY.size + sum(lengths) > len(data):
        raise MalformedRingError("received mailformed cluster log entry")
    texts = []
    position = _ENTRY.size
    for length in lengths:
        texts.append(data[position : position + length].rstrip(b"\0").decode("ascii", "replace"))
        position += length
    node, ident, tag, message = texts
    return LogEntry(node, ident, tag, pid, time_s, priority, uid, message)


class ClusterLog:
    """The cluster log of one node, sorted; the oldest entries give way."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def insert(self, entry: LogEntry) -> bool:
        """Add an entry; False if its node has already said something as new, so that this is a duplicate."""
        newest = max((known.sort_key for known in self.entries if known.node == entry.node), default=None)
        if newest is not None and entry.sort_key <= newest:
            return False
        self._rebuild([*self.entries, entry])
        return True

    def merge(self, rings: Iterable[bytes]) -> None:
        """Become the union of the logs of all members. Raises MalformedRingError."""
        merged = {entry.sort_key: entry for entry in self.entries}
        for ring in rings:
            merged.update((entry.sort_key, entry) for entry in decode_ring(ring))
        self._rebuild(merged.values())

    def ring(self) -> bytes:
        """The ring's bytes."""
        ring = bytearray(RING_BYTES)
        position = previous = 0
        following = _RING_HEADER.size
        for entry in self.entries:
            position = following
            following = position + _padded(entry)
            encoded = encode_entry(entry, previous, following)
            ring[position : position + len(encoded)] = encoded
            previous = position
        _RING_HEADER.pack_into(ring, 0, RING_BYTES, position)
        return bytes(ring)

    def _rebuild(self, entries: Iterable[LogEntry]) -> None:
        """Keep the newest entries that fit."""
        kept: list[LogEntry] = []
        used = 0
        for entry in sorted(entries, key=lambda entry: entry.sort_key, reverse=True):
            used += _padded(entry)
            if used > _MERGE_BYTES_MAX:
                break
            kept.append(entry)
        self.entries = kept[::-1]


def decode_ring(ring: bytes) -> list[LogEntry]:
    """The entries of a ring, oldest first. Raises MalformedRingError."""
    if len(ring) <= _RING_HEADER.size or _RING_HEADER.unpack_from(ring)[0] != len(ring):
        raise MalformedRingError(f"received log with wrong size {len(ring)}")
    entries = []
    position = _RING_HEADER.unpack_from(ring)[1]
    seen: set[int] = set()
    while position and position not in seen:
        seen.add(position)
        entries.append(decode_entry(ring[position : position + ENTRY_BYTES_MAX]))
        position = _ENTRY.unpack_from(ring, position)[0]
    return entries[::-1]


def _padded(entry: LogEntry) -> int:
    """Room of an entry in the ring: a multiple of 8 bytes."""
    return (len(encode_entry(entry)) + 7) // 8 * 8


def _terminated(text: str) -> bytes:
    return text.encode()[: _NAME_BYTES_MAX - 1] + b"\0"
