"""Every recorded datagram decodes, and encodes to the same bytes again, service messages inside included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.trace.shadowing import DATA, TRACES, captures
from totemviz.totem.pg import decode_packet
from totemviz.totem.wire import ENCAPSULATED, TYPE_NAMES, Mcast, decode
from totemviz.trace import recorded_knet as knet
from totemviz.trace.capture import Capture

PORT = 5405
SHARED = pytest.mark.skipif(
    os.environ.get("TOTEMVIZ_SEARCH") != "deep" or not TRACES.is_dir(), reason="all recordings: TOTEMVIZ_SEARCH=deep"
)


def messages(path: Path) -> list[bytes]:
    """The totemsrp messages of a capture, out of knet if they are in it."""
    slices = knet.Slices()
    found = []
    for datagram in Capture(path).datagrams():
        data = datagram.payload
        if datagram.target_port != PORT:
            continue
        if knet.is_knet(data):
            packet = knet.unpack(data)
            if packet.link:
                continue
            whole = slices.add(datagram.source_ip, datagram.target_ip, packet, datagram.frame)
            if whole is None:
                continue
            data = whole
        found.append(data)
    return found


def again(data: bytes) -> str:
    """Take a message apart and put it together; its type."""
    message = decode(data)
    assert message.encode() == data
    if isinstance(message, Mcast) and message.encapsulated == ENCAPSULATED:
        again(message.payload)
    elif isinstance(message, Mcast):
        packet = decode_packet(message.system_from, message.payload, not message.little)
        assert packet.encode(message.little) == message.payload
    return TYPE_NAMES[data[3]]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.pcap.gz")), ids=lambda path: path.name)
def test_captures_of_the_repository(path: Path) -> None:
    kinds = {again(data) for data in messages(path)}
    assert "mcast" in kinds


@SHARED
def test_all_recordings() -> None:
    kinds: dict[str, int] = {}
    for path in captures().values():
        for data in messages(path):
            kind = again(data)
            kinds[kind] = kinds.get(kind, 0) + 1
    assert set(kinds) == set(TYPE_NAMES)
    assert sum(kinds.values()) > 200_000


def test_the_knet_headers_of_the_sheet() -> None:
    """§3.10: real prefixes of libknet 1.25."""
    multicast = bytes.fromhex("01 00 00 01 00 00 00 02 00 00 01 01 00 00")
    assert knet.unpack(multicast + b"data") == knet.Packet(1, seq=2, data=b"data")
    fragment = bytes.fromhex("01 00 00 03 00 00 00 3a 00 00 01 02 01 00")
    assert knet.unpack(fragment + b"slice") == knet.Packet(3, seq=58, slices=2, slice=1, data=b"slice")
