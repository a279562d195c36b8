"""totempg: packing, fragments, reassembly (sheet §3.6, §7)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from totemviz.totem.config import TotemConfig, Transport
from totemviz.totem.pg import Packed, Packer, Packet, PacketError, Reassembler, decode_packet

KNET = TotemConfig.derive(3).net_mtu
UDP = TotemConfig.derive(3, transport=Transport.UDPU).net_mtu
SMALL = 90

SIZES = st.one_of(st.integers(1, 40), st.integers(60, 110), st.integers(150, 400))
SCRIPT = st.lists(st.one_of(st.just("flush"), st.lists(SIZES, min_size=1, max_size=4)), max_size=25)


def content(number: int, sizes: list[int]) -> list[bytes]:
    return [bytes((number * 7 + i * 3 + k) & 0xFF for k in range(size)) for i, size in enumerate(sizes)]


@given(SCRIPT, st.sampled_from([SMALL, 120, 300]))
@settings(max_examples=300, deadline=None)
def test_whatever_is_packed_comes_out(script: list, net_mtu: int) -> None:
    """Any messages, any parts, any moments at which the token comes."""
    packer, packets, expected = Packer(net_mtu), [], []
    for number, step in enumerate(script):
        if step == "flush":
            flushed = packer.flush()
            packets += [flushed] if flushed else []
        else:
            parts = content(number, step)
            expected.append(b"".join(parts))
            packets += packer.add(number, parts)
    last = packer.flush()
    packets += [last] if last else []
    reassembler = Reassembler()
    received = [message for packet in packets for message in reassembler.receive(1, packet.payload)]
    assert received == expected
    assert all(len(packet.payload) <= net_mtu for packet in packets)
    ends = [number for packet in packets for number in packet.numbers]
    assert ends == [number for number, step in enumerate(script) if step != "flush"]


@given(st.lists(st.tuples(st.integers(1, 3), st.lists(SIZES, min_size=1, max_size=3)), max_size=20), st.randoms())
@settings(max_examples=100, deadline=None)
def test_senders_do_not_mix(messages: list[tuple[int, list[int]]], random) -> None:
    packers = {source: Packer(SMALL) for source in (1, 2, 3)}
    streams: dict[int, list[Packed]] = {1: [], 2: [], 3: []}
    expected: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    for number, (source, sizes) in enumerate(messages):
        parts = content(number, sizes)
        expected[source].append(b"".join(parts))
        streams[source] += packers[source].add(number, parts)
    for source, packer in packers.items():
        if (last := packer.flush()) is not None:
            streams[source].append(last)
    reassembler, received = Reassembler(), {1: [], 2: [], 3: []}
    while any(streams.values()):
        source = random.choice([source for source, stream in streams.items() if stream])
        received[source] += reassembler.receive(source, streams[source].pop(0).payload)
    assert received == expected


def sizes_of(net_mtu: int, *lengths: int) -> list[tuple[int, tuple[int, ...]]]:
    packer = Packer(net_mtu)
    packets = [packed for number, length in enumerate(lengths) for packed in packer.add(number, [b"x" * length])]
    if (last := packer.flush()) is not None:
        packets.append(last)
    decoded = [decode_packet(1, packed.payload) for packed in packets]
    return [(packet.fragmented, tuple(map(len, packet.pieces))) for packet in decoded]


def test_sizes_of_the_sheet() -> None:
    """P - 2k bytes of data: 65438 on knet, 1402 on UDP, less two per packed message."""
    assert sizes_of(UDP, 1397) == [(0, (1397,))]
    assert sizes_of(UDP, 1400) == [(0, (1400,))]
    assert sizes_of(UDP, 1401) == [(1, (1400,)), (0, (1,))]
    assert sizes_of(UDP, 1573)[0] == (1, (1400,))
    assert sizes_of(UDP, 1573)[1] == (0, (173,))
    assert sizes_of(KNET, 65436 + 10) == [(1, (65436,)), (0, (10,))]


def test_small_messages_share_a_packet() -> None:
    assert sizes_of(UDP, 100, 200, 300) == [(0, (100, 200, 300))]


def test_fragment_numbers_skip_zero() -> None:
    packer = Packer(SMALL)
    packets = [decode_packet(1, p.payload) for p in packer.add(1, [b"x" * (SMALL * 300)])]
    numbers = [packet.fragmented for packet in packets]
    assert numbers[:254] == list(range(1, 255))
    assert numbers[254:258] == [255, 1, 2, 3]
    assert [packet.continuation for packet in packets[1:]] == numbers[:-1]


def test_slots() -> None:
    assert [Packer(KNET).slots(n) for n in (0, 65421, 65422, 1_048_576)] == [1, 1, 2, 17]


def fragments(size: int = 200, extra: int = 10) -> list[bytes]:
    packer = Packer(SMALL)
    packets = packer.add(1, [b"a" * size])
    packets += packer.add(2, [b"b" * extra])
    last = packer.flush()
    return [packet.payload for packet in packets] + ([last.payload] if last else [])


def test_whoever_joins_in_the_middle_of_a_message_throws_its_rest_away() -> None:
    _, *rest = fragments()
    reassembler = Reassembler()
    assert [message for payload in rest for message in reassembler.receive(1, payload)] == [b"b" * 10]
    assert reassembler.receive(1, Packet(0, 0, (b"next",)).encode()) == [b"next"]


def test_nothing_of_the_packet_that_ends_the_throw_away_mode_is_delivered() -> None:
    reassembler = Reassembler()
    assert reassembler.receive(1, Packet(2, 1, (b"rest", b"whole", b"begin")).encode()) == []
    assert reassembler.receive(1, Packet(0, 2, (b"end", b"whole too")).encode()) == []
    assert reassembler.receive(1, Packet(0, 0, (b"clean",)).encode()) == [b"clean"]


def test_a_departed_nodes_fragments_do_not_leak() -> None:
    reassembler = Reassembler()
    assert reassembler.receive(1, Packet(1, 0, (b"begun and never ended",)).encode()) == []
    reassembler.configuration_changed((1,))
    assert reassembler.receive(1, Packet(0, 0, (b"a new life",)).encode()) == [b"a new life"]


def test_fragments_of_others_stay() -> None:
    reassembler = Reassembler()
    reassembler.receive(2, Packet(1, 0, (b"one, ",)).encode())
    reassembler.configuration_changed((1,))
    assert reassembler.receive(2, Packet(0, 1, (b"two",)).encode()) == [b"one, two"]


def test_sync_traffic_does_not_mix_with_an_interrupted_message() -> None:
    reassembler = Reassembler()
    reassembler.waiting_trans_ack = False
    reassembler.receive(1, Packet(1, 0, (b"interrupted, ",)).encode())
    reassembler.waiting_trans_ack = True
    assert reassembler.receive(1, Packet(0, 0, (b"sync",)).encode()) == [b"sync"]
    reassembler.waiting_trans_ack = False
    assert reassembler.receive(1, Packet(0, 1, (b"and ended",)).encode()) == [b"interrupted, and ended"]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\0" * 7, "is too short"),
        (b"\0\0\0\0\0\0\x02\0\x01\0", "datasize"),
        (b"\0\0\0\0\0\0\x01\0\x05\0abc", "doesn't have expected length of 15"),
    ],
)
def test_packets_whose_lengths_do_not_fit(payload: bytes, says: str) -> None:
    with pytest.raises(PacketError, match=says):
        Reassembler().receive(4, payload)


@given(st.binary(max_size=40))
def test_garbage_is_refused_in_one_way(payload: bytes) -> None:
    try:
        packet = decode_packet(1, payload)
    except PacketError:
        return
    assert sum(map(len, packet.pieces)) + 8 + 2 * len(packet.pieces) == len(payload)
