"""totempg: many small messages in one packet, one large message in many (sheet §3.6, §7; ``totempg.c``).

``Packer`` is the sending half: messages are staged until a packet is full or the token arrives. ``Reassembler`` is
the receiving half: one buffer per originator, and a second set while a new ring synchronises, so that its traffic
does not mix with fragments of interrupted messages.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

import msgspec

HEADER_SIZE = 8
_LENGTH_SIZE = 2
_HEADER = (struct.Struct(">hhBBH"), struct.Struct("<hhBBH"))


@cache
def _lengths(little: bool, count: int) -> struct.Struct:
    return struct.Struct(f"{'<' if little else '>'}{count}H")


class Packet(msgspec.Struct, frozen=True, gc=False):
    """A totempg packet. ``fragmented``: id of the fragment that goes on in the next packet, 0 = none;
    ``continuation``: the id carried over from the previous packet; ``pieces``: the packed data, message by message.
    """

    fragmented: int
    continuation: int
    pieces: tuple[bytes, ...]

    def encode(self, little: bool = True) -> bytes:
        """The payload of an ordinary mcast, in its sender's byte order."""
        lengths = _lengths(little, len(self.pieces)).pack(*map(len, self.pieces))
        header = _HEADER[little].pack(0, 0, self.fragmented, self.continuation, len(self.pieces))
        return b"".join((header, lengths, *self.pieces))


class PacketError(ValueError):
    """A packet totempg ignores; the text is its log line."""


def decode_packet(source: int, payload: bytes, swapped: bool = False) -> Packet:
    """Decode a packet of node ``source``, a big-endian machine if ``swapped``.

    Raises PacketError with totempg's log line if the lengths do not fit.
    """
    if len(payload) < HEADER_SIZE:
        raise PacketError(f"Message (totempg_mcast) received from node {source} is too short...  Ignoring.")
    _, _, fragmented, continuation, count = _HEADER[not swapped].unpack_from(payload)
    start = HEADER_SIZE + _LENGTH_SIZE * count
    if len(payload) < start:
        raise PacketError(f"Message (totempg_mcast datasize) received from node {source} is too short...  Ignoring.")
    lengths = _lengths(not swapped, count).unpack_from(payload, HEADER_SIZE)
    expected = start + sum(lengths)
    if len(payload) != expected:
        raise PacketError(
            f"Message (totempg_mcast) received from node {source} doesn't have expected length of {expected} "
            f"(has {len(payload)}) bytes...  Ignoring."
        )
    pieces = []
    for length in lengths:
        pieces.append(payload[start : start + length])
        start += length
    return Packet(fragmented, continuation, tuple(pieces))


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A packet ready for the send queue, and the numbers of the messages that end in it."""

    payload: bytes
    numbers: tuple[int, ...]


class Packer:
    """The sending half of totempg (``totempg.c: mcast_msg``, ``callback_token_received_fn``)."""

    def __init__(self, net_mtu: int, little: bool = True) -> None:
        self._packet_size = net_mtu - HEADER_SIZE
        self._little = little
        self._pieces: list[bytearray] = []
        self._staged = 0
        self._numbers: list[int] = []
        self._continuation = 0
        self._next_fragment = 1

    @property
    def staged(self) -> int:
        """Messages, whole or in part, that wait for the token."""
        return len(self._pieces)

    def slots(self, size: int) -> int:
        """Send-queue slots a message of ``size`` bytes needs (sheet §7.4)."""
        return size // (self._packet_size - 16) + 1

    def add(self, number: int, parts: Sequence[bytes]) -> list[Packed]:
        """Pack message ``number``, given as a gather list; returns the packets that became full."""
        full: list[Packed] = []
        parts = [part for part in parts if part]
        piece = bytearray()
        self._pieces.append(piece)
        for index, part in enumerate(parts):
            base = 0
            while True:
                room = self._packet_size - _LENGTH_SIZE * len(self._pieces)
                # corosync compares with the whole part even when its beginning has already left, so the rest of a
                # part longer than a packet is never staged but sent at once
                if len(part) + self._staged < room - _LENGTH_SIZE:
                    piece += part[base:]
                    self._staged += len(part) - base
                    self._next_fragment = 1
                    break
                taken = part[base : base + room - self._staged]
                piece += taken
                base += len(taken)
                last = index == len(parts) - 1 and base == len(part)
                if last:
                    self._numbers.append(number)
                full.append(self._emit(0 if last else self._next_fragment_id()))
                piece = bytearray()
                self._pieces.append(piece)
                if base == len(part):
                    break
        if piece:
            self._numbers.append(number)
        else:
            self._pieces.pop()
        return full

    def flush(self) -> Packed | None:
        """What is staged, as a packet, when the token arrives."""
        return self._emit(0) if self._pieces else None

    def _next_fragment_id(self) -> int:
        fragment = self._next_fragment or 1
        self._next_fragment = (fragment + 1) & 0xFF
        return fragment

    def _emit(self, fragmented: int) -> Packed:
        packet = Packet(fragmented, self._continuation, tuple(map(bytes, self._pieces)))
        packed = Packed(packet.encode(self._little), tuple(self._numbers))
        self._continuation = fragmented
        self._pieces.clear()
        self._numbers.clear()
        self._staged = 0
        return packed


class _Assembly:
    """What is known of one originator's unfinished message."""

    __slots__ = ("data", "last_fragment", "throw_away")

    def __init__(self) -> None:
        self.data = b""
        self.last_fragment = 0
        self.throw_away = False


class Reassembler:
    """The receiving half of totempg (``totempg.c: totempg_deliver_fn``; sheet §7.3)."""

    def __init__(self, *, throw_away_loses_packets: bool = True) -> None:
        """``throw_away_loses_packets``: the quirk of that name (``config.Quirks``)."""
        self.waiting_trans_ack = True
        self._loses_packets = throw_away_loses_packets
        self._assemblies: tuple[dict[int, _Assembly], dict[int, _Assembly]] = ({}, {})

    def receive(self, source: int, payload: bytes, swapped: bool = False) -> list[bytes]:
        """Complete messages, group address included, that end in this packet of node ``source``.

        Raises PacketError with totempg's log line for a packet whose lengths do not fit.
        """
        packet = decode_packet(source, payload, swapped)
        if not packet.pieces:
            return []
        assemblies = self._assemblies[self.waiting_trans_ack]
        assembly = assemblies.get(source)
        if assembly is None:
            if not packet.fragmented and not packet.continuation:
                return list(packet.pieces)
            assembly = assemblies[source] = _Assembly()
        complete = packet.pieces[:-1] if packet.fragmented else packet.pieces
        delivered: list[bytes] = []
        if assembly.throw_away:
            # nothing of the packet that ends the throw-away mode is delivered either
            if packet.fragmented in (0, 1):
                assembly.throw_away = False
        elif packet.continuation == assembly.last_fragment:
            assembly.last_fragment = packet.fragmented
            delivered = [assembly.data + complete[0], *complete[1:]] if complete else []
        else:
            assembly.throw_away = self._loses_packets
            if not self._loses_packets:
                delivered = _without_unknown_beginning(assembly, packet, complete)
        if not packet.fragmented:
            del assemblies[source]
        elif len(packet.pieces) > 1:
            assembly.data = packet.pieces[-1]
        else:
            assembly.data += packet.pieces[-1]
        return delivered

    def configuration_changed(self, left: Sequence[int]) -> None:
        """Forget unfinished messages of nodes that left."""
        for assemblies in self._assemblies:
            for source in left:
                assemblies.pop(source, None)


def _without_unknown_beginning(assembly: _Assembly, packet: Packet, complete: Sequence[bytes]) -> list[bytes]:
    """What a packet holds beside the end of a message whose beginning never came (not what corosync does)."""
    goes_on = packet.continuation and len(packet.pieces) == 1  # the packet is nothing but the middle of that message
    assembly.last_fragment = -1 if goes_on else packet.fragmented
    assembly.data = b""
    return list(complete[1:] if packet.continuation else complete)
