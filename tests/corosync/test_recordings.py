"""Every service message in the captures has named fields, and becomes the same bytes again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from totemviz.corosync.decoders import decode_message
from totemviz.corosync.wire import Opaque, group_address
from totemviz.totem import wire
from totemviz.totem.effects import RingId
from totemviz.totem.pg import Reassembler
from totemviz.trace import recorded_knet as knet
from totemviz.trace.capture import Capture

DATA = Path(__file__).parents[1] / "trace" / "data"
TRACES = Path(__file__).parents[3] / "shared" / "traces"
RECOVERED = 1
DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"


def totem_messages(path: Path) -> Iterator[wire.Message]:
    """What corosync sent to anybody, out of knet's packets if need be."""
    slices = knet.Slices()
    for datagram in Capture(path).datagrams():
        data: bytes | None = datagram.payload
        if knet.is_knet(datagram.payload):
            packet = knet.unpack(datagram.payload)
            data = None if packet.link else slices.add(datagram.source_ip, datagram.target_ip, packet, datagram.frame)
        if data is not None:
            yield wire.decode(data)


def service_messages(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Originator, whole message and byte order, ring by ring and in the order of each ring."""
    packets: dict[tuple[RingId, int], wire.Mcast] = {}
    for message in totem_messages(path):
        if not isinstance(message, wire.Mcast):
            continue
        packet = wire.decode(message.payload) if message.encapsulated == RECOVERED else message
        assert isinstance(packet, wire.Mcast)
        packets.setdefault((packet.ring_id, packet.seq), packet)
    reassemblers: dict[RingId, Reassembler] = {}
    for ring_id, seq in sorted(packets, key=lambda place: (place[0].seq, place[0].rep, place[1])):
        packet = packets[ring_id, seq]
        reassembler = reassemblers.setdefault(ring_id, Reassembler())
        for whole in reassembler.receive(packet.system_from, packet.payload, not packet.little):
            yield packet.system_from, whole, packet.little


def check_file(path: Path) -> Counter[str]:
    """How many messages of each kind there are; all are the same after decoding and encoding."""
    kinds: Counter[str] = Counter()
    for source, message, little in service_messages(path):
        groups, decoded = decode_message(message, little)
        assert not isinstance(decoded, Opaque), f"{path.name}: {source} sent something without a name"
        assert group_address(*groups) + decoded.encode() == message
        kinds[type(decoded).__name__] += 1
    return kinds


@pytest.mark.parametrize("path", sorted(DATA.glob("*.pcap.gz")), ids=lambda path: path.name.partition(".")[0])
def test_every_message_in_the_small_captures(path: Path) -> None:
    kinds = check_file(path)
    assert {"ServiceBuild", "Barrier", "NodeInfo", "CmapMcast", "DownList"} <= set(kinds)


@pytest.mark.skipif(not TRACES.is_dir(), reason="no folder shared/traces beside the repository")
def test_every_message_in_the_large_captures() -> None:
    paths = sorted(TRACES.glob("*/pve*.pcap*" if DEEP else "*/pve3.pcap*"))
    kinds = sum((check_file(path) for path in paths), Counter[str]())
    print(len(paths), "captures:", dict(kinds))
    assert {"ProcJoin", "ProcLeave", "JoinList", "CpgMcast"} <= set(kinds)
