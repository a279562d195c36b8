"""Capture files, written by dpkt or byte by byte, since dpkt reads them too; and damaged by hand."""

from __future__ import annotations

import gzip
import io
import random
import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from totemviz.trace.capture import Capture, CaptureError, Datagram
from totemviz.trace.events import UNKNOWN
from totemviz.trace.recorded_fragments import TIMEOUT_NS, Fragment, Reassembler

A, B = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
MAC = b"\x02\0\0\0\0\1"
PAYLOAD = bytes(range(256)) * 8
TIME_NS = 1_795_384_396_123_456_000


def udp_bytes(payload: bytes) -> bytes:
    return bytes(dpkt.udp.UDP(sport=40000, dport=5405, ulen=8 + len(payload), data=payload))


def ip_packet(payload: bytes = b"hello", ident: int = 7, offset: int = 0, more: bool = False) -> bytes:
    """A UDP datagram, or with offset or more a raw slice."""
    data = payload if offset or more else udp_bytes(payload)
    packet = dpkt.ip.IP(src=A, dst=B, p=17, id=ident, data=data)
    packet.offset, packet.mf = offset // 8, int(more)
    packet.len = 20 + len(data)
    return bytes(packet)


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    return MAC + MAC + struct.pack(">H", kind) + packet


def write(path: Path, frames: list[bytes], link_type: int = 1, nano: bool = False) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=link_type, nano=nano)
        for number, frame in enumerate(frames):
            writer.writepkt_time(frame, TIME_NS / 1e9 + number)
    return path


def read(path: Path) -> list[Datagram]:
    return list(Capture(path).datagrams())


def payloads(path: Path) -> list[bytes]:
    return [datagram.payload for datagram in read(path)]


# ------------------------------------------------------------------------------------------------------ formats


def test_a_datagram_keeps_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [b"\0" * 60, ethernet(ip_packet())])
    (datagram,) = read(path)
    assert datagram == Datagram(datagram.time_ns, "10.0.0.1", 40000, "10.0.0.2", 5405, b"hello", str(path), 2)
    assert abs(datagram.time_ns - TIME_NS - 1_000_000_000) < 2000
    assert datagram.time_ns % 1000 == 0


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "tick_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_pcap(tmp_path: Path, order: str, magic: int, tick_ns: int) -> None:
    frame = ethernet(ip_packet())
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    record = struct.pack(f"{order}IIII", 1_795_384_396, 123_456_789 // tick_ns, len(frame), len(frame))
    path = tmp_path / "x"
    path.write_bytes(head + record + frame)
    assert [d.time_ns for d in read(path)] == [1_795_384_396_000_000_000 + 123_456_789 // tick_ns * tick_ns]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 999_999_999),
    st.sampled_from([(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)]),
)
def test_every_time_is_exact(
    tmp_path_factory: pytest.TempPathFactory, seconds: int, fraction_ns: int, kind: tuple[int, int]
) -> None:
    magic, tick_ns = kind
    frame = ethernet(ip_packet())
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    record = struct.pack("<IIII", seconds, fraction_ns // tick_ns, len(frame), len(frame))
    path = tmp_path_factory.getbasetemp() / "times"
    path.write_bytes(head + record + frame)
    (datagram,) = read(path)
    assert isinstance(datagram.time_ns, int)
    assert datagram.time_ns == seconds * 1_000_000_000 + fraction_ns // tick_ns * tick_ns


def test_pcapng_of_dpkt(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        writer = dpkt.pcapng.Writer(file)
        writer.writepkt(ethernet(ip_packet()), TIME_NS / 1e9)
        writer.writepkt(ethernet(ip_packet(b"again")), TIME_NS / 1e9 + 1)
    first, second = read(path)
    assert (first.payload, second.payload) == (b"hello", b"again")
    assert abs(first.time_ns - TIME_NS) < 2000
    assert second.frame == 2


def ng_block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def ng_section(order: str) -> bytes:
    return ng_block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def ng_file(order: str, link_type: int, frames: list[bytes]) -> list[bytes]:
    """The blocks of a section with one interface and its packets, at 0, 1, 2... microseconds."""
    packets = [
        ng_block(order, 6, struct.pack(f"{order}IIIII", 0, 0, ticks, len(frame), len(frame)) + frame)
        for ticks, frame in enumerate(frames)
    ]
    return [ng_section(order), ng_block(order, 1, struct.pack(f"{order}HHI", link_type, 0, 0)), *packets]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [(9, 5_000_000_007, 5_000_000_007), (6, 5_000_007, 5_000_007_000), (0x80 | 10, 5 * 1024 + 512, 5_500_000_000)],
)
def test_pcapng_orders_and_resolutions(tmp_path: Path, order: str, resolution: int, ticks: int, time_ns: int) -> None:
    frame = ip_packet()
    section = ng_section(order)
    options = struct.pack(f"{order}HHB3xHHqHH", 9, 1, resolution, 14, 8, 1000, 0, 0)
    ethernet_interface = ng_block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0))
    interface = ng_block(order, 1, struct.pack(f"{order}HHI", 101, 0, 0) + options)
    name_block = ng_block(order, 4, b"whatever")
    packet = struct.pack(f"{order}IIIII", 1, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)) + frame
    old = struct.pack(f"{order}HHIIII", 1, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)) + frame
    path = tmp_path / "x"
    path.write_bytes(
        section + ethernet_interface + interface + name_block + ng_block(order, 6, packet) + ng_block(order, 2, old)
    )
    assert [(d.time_ns, d.payload) for d in read(path)] == [(1_000_000_000_000 + time_ns, b"hello")] * 2


@pytest.mark.parametrize("orders", ["<<", "<>", "><"])
def test_pcapng_sections_have_their_own_order_and_interfaces(tmp_path: Path, orders: str) -> None:
    first = ng_file(orders[0], 1, [ethernet(ip_packet())] * 2)
    second = ng_file(orders[1], 101, [ip_packet(b"again")])
    path = tmp_path / "x"
    path.write_bytes(b"".join(first + second))
    capture = Capture(path)
    found = [(d.time_ns, d.payload, d.frame) for d in capture.datagrams()]
    assert found == [(0, b"hello", 1), (1000, b"hello", 2), (0, b"again", 3)]
    assert not capture.warnings


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.pcap.gz", [ethernet(ip_packet())])
    packed = tmp_path / "b.pcap"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert payloads(plain) == payloads(packed) == [b"hello"]


def test_progress_ends_at_the_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [ethernet(ip_packet())] * 5000)
    told: list[tuple[int, int]] = []
    assert len(list(Capture(path, lambda done, total: told.append((done, total))).datagrams())) == 5000
    size = path.stat().st_size
    assert len(told) >= 3
    assert told == sorted(told)
    assert told[-1] == (size, size)


# -------------------------------------------------------------------------------------------------- link layers

PACKET = ip_packet()
LINKS = {
    "ethernet": (1, ethernet(PACKET)),
    "padded": (1, ethernet(PACKET) + b"\xee" * 20),
    "vlan": (1, MAC + MAC + b"\x81\x00\x00\x05\x08\x00" + PACKET),
    "double vlan": (1, MAC + MAC + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00" + PACKET),
    "cooked": (113, bytes(14) + b"\x08\x00" + PACKET),
    "cooked 2": (276, b"\x08\x00" + bytes(18) + PACKET),
    "raw": (101, PACKET),
    "raw, BSD": (12, PACKET),
    "raw IPv4": (228, PACKET),
    "loopback": (0, b"\x02\0\0\0" + PACKET),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_types(tmp_path: Path, name: str) -> None:
    link_type, frame = LINKS[name]
    assert payloads(write(tmp_path / "a", [frame], link_type)) == [b"hello"]


def test_ip_options_and_other_protocols(tmp_path: Path) -> None:
    optioned = dpkt.ip.IP(src=A, dst=B, p=17, opts=b"\x94\x04\0\0", data=udp_bytes(b"hello"))
    optioned.hl, optioned.len = 6, 24 + 13
    tcp = dpkt.ip.IP(src=A, dst=B, p=6, data=dpkt.tcp.TCP(dport=5405))
    frames = [ethernet(bytes(optioned)), ethernet(bytes(tcp)), ethernet(bytes(28), 0x0806), b"\x01", b""]
    assert payloads(write(tmp_path / "a", frames)) == [b"hello"]


def ipv6(data: bytes, following: int = 17) -> bytes:
    source, target = bytes(15) + b"\x01", b"\xfd" + bytes(14) + b"\x02"
    return struct.pack(">IHBB", 6 << 28, len(data), following, 64) + source + target + data


def test_ipv6(tmp_path: Path) -> None:
    datagram = udp_bytes(PAYLOAD)
    hop_by_hop = ipv6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + datagram, 0)
    first = ipv6(struct.pack(">BxHI", 17, 0 | 1, 99) + datagram[:1024], 44)
    second = ipv6(struct.pack(">BxHI", 17, 1024, 99) + datagram[1024:], 44)
    skipped = bytes([44, 0, 1, 4, 0, 0, 0, 0])
    first_skipped = ipv6(skipped + struct.pack(">BxHI", 17, 0 | 1, 98) + datagram[:1024], 0)
    second_skipped = ipv6(skipped + struct.pack(">BxHI", 17, 1024, 98) + datagram[1024:], 0)
    packets = [ipv6(datagram), hop_by_hop, second, first, first_skipped, second_skipped]
    found = read(write(tmp_path / "a", [ethernet(packet, 0x86DD) for packet in packets]))
    assert [d.payload for d in found] == [PAYLOAD] * 4
    assert {(d.source_ip, d.target_ip, d.target_port) for d in found} == {("::1", "fd00::2", 5405)}


# ---------------------------------------------------------------------------------------------------- fragments


def slices(payload: bytes, size: int = 1480, ident: int = 7) -> list[bytes]:
    data = udp_bytes(payload)
    return [
        ethernet(ip_packet(data[at : at + size], ident, at, at + size < len(data))) for at in range(0, len(data), size)
    ]


def test_fragments_in_any_order(tmp_path: Path) -> None:
    parts = slices(PAYLOAD, 512)
    assert len(parts) == 5
    mixed = [parts[4], parts[0], *slices(b"x" * 1000, 512, ident=8), parts[2], parts[2], parts[1], parts[3]]
    found = read(write(tmp_path / "a", mixed))
    assert [d.payload for d in found] == [b"x" * 1000, PAYLOAD]
    assert found[1].frame == len(mixed)


def test_an_incomplete_datagram_is_reported(tmp_path: Path) -> None:
    first, second = slices(PAYLOAD)
    capture = Capture(write(tmp_path / "a", [ethernet(ip_packet()), first]))
    assert len(list(capture.datagrams())) == 1
    (broken,) = capture.broken
    assert (broken.frame, broken.target_port, broken.source_ip) == (2, 5405, "10.0.0.1")
    assert broken.reason == "incomplete: a fragment of it is not in the capture"
    capture = Capture(write(tmp_path / "b", [second]))
    assert not list(capture.datagrams())
    assert capture.broken[0].target_port == UNKNOWN


def test_a_number_used_again_much_later_is_another_datagram(tmp_path: Path) -> None:
    first, second = slices(PAYLOAD)
    frames = [first, *[ethernet(ip_packet())] * 31, second]
    capture = Capture(write(tmp_path / "a", frames))
    assert len(list(capture.datagrams())) == 31
    assert [broken.frame for broken in capture.broken] == [1, 33]


def test_contradicting_fragments_are_refused(tmp_path: Path) -> None:
    first, second = slices(PAYLOAD)
    forged = ethernet(ip_packet(b"\xff" * 16, 7, 1472, True))
    capture = Capture(write(tmp_path / "a", [first, forged, second]))
    assert not list(capture.datagrams())
    assert [broken.reason for broken in capture.broken][:1] == ["overlapping fragments contradict each other"]


@given(st.binary(min_size=1, max_size=200), st.lists(st.tuples(st.integers(0, 24), st.integers(1, 25))), st.randoms())
def test_any_agreeing_pieces_give_the_whole(data: bytes, cuts: list[tuple[int, int]], chance: random.Random) -> None:
    """Whatever overlapping pieces arrive in whatever order: nothing but the datagram, and as soon as all is there."""
    ranges = [(8 * start, min(8 * (start + size), len(data))) for start, size in cuts if 8 * start < len(data)]
    ranges += [(at, min(at + 64, len(data))) for at in range(0, len(data), 64)]
    chance.shuffle(ranges)
    reassembler, covered, done = Reassembler(), set[int](), False
    for start, end in ranges:
        if done:
            break
        covered.update(range(start, end))
        piece = Fragment("a", "b", 1, start, end < len(data), data[start:end], end - start, 1, 0)
        whole = reassembler.add(piece)
        done = whole is not None
        assert whole in (None, data)
        assert done == (len(covered) == len(data))
    assert done
    assert not reassembler.incomplete()
    assert not reassembler.expire(TIMEOUT_NS * 2)


# ------------------------------------------------------------------------------------------------------- damage


def test_a_cut_file_keeps_what_came_before(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [ethernet(ip_packet())] * 3)
    whole = path.read_bytes()
    for missing in (1, 50, 60):
        path.write_bytes(whole[:-missing])
        capture = Capture(path)
        assert len(list(capture.datagrams())) == 2
        (warning,) = capture.warnings
        assert warning.startswith(f"{path}: byte ")
        assert "the file is cut after frame 2" in warning
        assert "\n" not in warning


def test_a_file_cut_anywhere_tells_unless_a_record_ends_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [ethernet(ip_packet())] * 2)
    record = (len(path.read_bytes()) - 24) // 2
    classic = path.read_bytes()
    blocks = ng_file("<", 1, [ethernet(ip_packet())] * 2)
    interfaces_end = len(blocks[0] + blocks[1])
    cases = [(classic, 24, record), (b"".join(blocks), interfaces_end, len(blocks[2]))]
    for whole, start, step in cases:
        for size in range(4, len(whole)):
            path.write_bytes(whole[:size])
            capture = Capture(path)
            complete = max(size - start, 0) // step
            assert len(list(capture.datagrams())) == complete
            if size >= start and (size - start) % step == 0:
                assert not capture.warnings
            else:
                (warning,) = capture.warnings
                assert warning.startswith(f"{path}: byte {size}: ")
                assert f" after frame {complete}; " in warning


def test_a_packet_without_a_time_stops_the_reading(tmp_path: Path) -> None:
    frame = ethernet(ip_packet())
    simple = ng_block("<", 3, struct.pack("<I", len(frame)) + frame)
    path = tmp_path / "a"
    path.write_bytes(b"".join([*ng_file("<", 1, [frame]), simple]))
    capture = Capture(path)
    assert len(list(capture.datagrams())) == 1
    assert "a packet without a time after frame 1" in capture.warnings[0]


def test_cut_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    chance = random.Random(1)
    frames = [ethernet(ip_packet(chance.randbytes(1000))) for _ in range(300)]
    path = write(tmp_path / "a.pcap", frames)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    capture = Capture(path)
    assert 100 < len(list(capture.datagrams())) < 200
    assert "the gzip data is cut or damaged after frame" in capture.warnings[0]


def test_snap_length(tmp_path: Path) -> None:
    frame = ethernet(ip_packet(PAYLOAD[:1000]))
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1)
    path = tmp_path / "a.pcap"
    path.write_bytes(head + struct.pack("<IIII", 1, 0, 96, len(frame)) + frame[:96])
    capture = Capture(path)
    assert not list(capture.datagrams())
    (broken,) = capture.broken
    assert (broken.target_port, broken.frame) == (5405, 1)
    assert broken.reason == f"only 96 of {len(frame)} bytes were captured; capture with tcpdump -s 0"


def test_an_impossible_length_stops_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [ethernet(ip_packet())])
    path.write_bytes(path.read_bytes() + b"\xff" * 40)
    capture = Capture(path)
    assert len(list(capture.datagrams())) == 1
    assert "impossible length 4294967295 after frame 1" in capture.warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "byte 0: the file is empty; give a file written by tcpdump -w"),
        (b"Nov 22 21:51:51 pve1 corosync notice\n", "byte 0: this is text (a log?), not a capture"),
        (b"\x7fELF\x02\x01", "byte 0: neither pcap nor pcapng (begins with 7f 45 4c 46)"),
        (gzip.compress(b"plain text", mtime=0), "byte 0: this is text"),
        (b"\x1f\x8b\xff\xff\xff", "byte 0: damaged gzip file"),
    ],
)
def test_not_a_capture(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_directory_and_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="is a directory; give the capture files in it"):
        read(tmp_path)
    with pytest.raises(CaptureError, match="No such file or directory; check the path"):
        read(tmp_path / "missing.pcap")


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b"]))
def test_garbage_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(magic + data)
    try:
        read(path)
    except CaptureError as error:
        assert "\n" not in str(error)


def test_a_frame_that_stops_dpkt_does_not_stop_the_reading(tmp_path: Path) -> None:
    """dpkt 1.9.8: IndexError on labels without a packet, AttributeError on options behind an IPv6 fragment header."""
    labels = ethernet(b"\0\0\x11\xff", 0x8847)
    options = ipv6(struct.pack(">BxHI", 60, 0, 9) + bytes([17, 0, 1, 4, 0, 0, 0, 0]), 44)
    frames = [labels, ethernet(options, 0x86DD), ethernet(ip_packet())]
    assert [d.frame for d in read(write(tmp_path / "a", frames))] == [3]
    assert not read(write(tmp_path / "b", [b""], 101))


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from([0, 1, 101, 113, 276, 999]))
def test_garbage_frames_raise_nothing(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], link_type: int
) -> None:
    buffer = io.BytesIO()
    writer = dpkt.pcap.Writer(buffer, linktype=link_type)
    for frame in frames:
        prefix = b"\x45\0\0\x20\0\0\0\0\x40\x11" if link_type == 101 else b""
        writer.writepkt_time(prefix + frame, 1.0)
    path = tmp_path_factory.getbasetemp() / "frames"
    path.write_bytes(buffer.getvalue())
    read(path)
