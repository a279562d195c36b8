"""Unencrypted knet packets: the header in front of a totemsrp message, and knet's own fragments (sheet §3.9)."""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

VERSION = 1
DATA = 0
LINK_TYPES = {0x81: "ping", 0x82: "pong", 0x83: "pmtud", 0x84: "pmtud_reply"}
"""What the link layer says to itself; nothing of it reaches Totem."""

_DATA_HEADER = struct.Struct(">BBHBBHBBBBBb")
_LINK_SIZE_MIN = 9
_PINGS, _PING_SIZE = (0x81, 0x82), 26

Key: TypeAlias = tuple[str, str, int]


class KnetError(ValueError):
    """A packet that is knet, and cannot be unpacked: the reason in one line."""


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One knet packet. ``link`` names a link-layer packet; otherwise ``data`` is the message or its slice.

    ``link_id``: the link a link-layer packet is about.
    """

    host: int
    link: str = ""
    link_id: int = 0
    seq: int = 0
    slices: int = 1
    slice: int = 0
    data: bytes = b""


def is_knet(payload: bytes) -> bool:
    """Whether this looks like a knet header without encryption."""
    if len(payload) < _LINK_SIZE_MIN or payload[0] != VERSION:
        return False
    kind = payload[1]
    if kind in _PINGS:
        return len(payload) == _PING_SIZE
    return kind in LINK_TYPES or (kind == DATA and len(payload) > _DATA_HEADER.size)


def unpack(payload: bytes) -> Packet:
    """Unpack a payload for which ``is_knet`` is true. Raises KnetError if it is compressed or its counts are wrong."""
    if payload[1] != DATA:
        return Packet(int.from_bytes(payload[2:4], "big"), LINK_TYPES[payload[1]], payload[6])
    _, _, host, _, _, seq, method, _, _, slices, number, _ = _DATA_HEADER.unpack_from(payload)
    if method:
        raise KnetError(f"compressed by knet (method {method}); capture with knet_compression_model none")
    if slices == 0 or number > slices or (slices > 1 and number == 0):
        raise KnetError(f"knet fragment {number} of {slices} makes no sense")
    return Packet(host, "", 0, seq, slices, number, payload[_DATA_HEADER.size :])


class Slices:
    """Puts the slices of one file's messages together."""

    def __init__(self) -> None:
        self._waiting: dict[Key, dict[int, tuple[bytes, int]]] = {}

    def add(self, source_ip: str, target_ip: str, packet: Packet, frame: int) -> bytes | None:
        """The whole message if this slice completes it, else None."""
        if packet.slices == 1:
            return packet.data
        key = (source_ip, target_ip, packet.seq)
        slices = self._waiting.setdefault(key, {})
        slices[packet.slice] = packet.data, frame
        if len(slices) < packet.slices:
            return None
        del self._waiting[key]
        return b"".join(slices[number][0] for number in sorted(slices))

    def incomplete(self) -> list[int]:
        """The frames of slices that never became a message."""
        return sorted(frame for slices in self._waiting.values() for _, frame in slices.values())
