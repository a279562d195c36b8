"""Capture files: from the bytes of a pcap or pcapng file to UDP datagrams, and nothing about what they mean.

Read are classic pcap (micro- and nanoseconds, both byte orders) and pcapng, plain or gzipped (told by content, not by
name), with Ethernet, Linux cooked, raw and loopback link types, VLAN tags, IPv4 and IPv6 with fragments. Times stay
integers; every datagram keeps the number of the frame that completed it, so that a message can always be found again
in Wireshark. Damage never hides: a file that is no capture raises ``CaptureError``; a file that ends in the middle
keeps what came before and adds a line to ``warnings``; a datagram that is incomplete is listed in ``broken``.
"""

from __future__ import annotations

import gzip
import io
import ipaddress
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from totemviz.trace.events import UNKNOWN
from totemviz.trace.recorded_fragments import Fragment, Reassembler

Progress: TypeAlias = Callable[[int, int], None]
"""Told now and then how many bytes of the file are done, and how many there are."""

NS = 1_000_000_000
_RECORD_SIZE_MAX = 1 << 24  # no link has frames like that: the file is damaged
_PROGRESS_FRAMES = 2048
_GZIP_MAGIC = b"\x1f\x8b"
_INCOMPLETE = "incomplete: a fragment of it is not in the capture"
_WRITE_ONE = "give a file written by tcpdump -w"

# magic at offset 0 -> (byte order, nanoseconds per tick)
_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SECTION = 0x0A0D0D0A
_INTERFACE, _OLD_PACKET, _ENHANCED_PACKET = 1, 2, 6
_SIMPLE_PACKET = 3

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = (0x8100, 0x88A8, 0x9100)
_UDP = 17
_IPV6_OPTIONS = (0, 43, 60)  # hop-by-hop, routing, destination: skipped
_IPV6_FRAGMENT = 44

# link type -> (offset of the EtherType, offset of what follows); None: no EtherType, the IP version tells
_LINK: dict[int, tuple[int | None, int]] = {
    0: (None, 4),  # BSD loopback
    1: (12, 14),  # Ethernet
    12: (None, 0),  # raw IP, three names of it
    14: (None, 0),
    101: (None, 0),
    108: (None, 4),  # OpenBSD loopback
    113: (14, 16),  # Linux cooked: tcpdump -i any
    228: (None, 0),  # raw IPv4
    229: (None, 0),  # raw IPv6
    276: (0, 20),  # Linux cooked, version 2
}


class CaptureError(ValueError):
    """A file that cannot be read as a capture: one line that names file, place and mend."""


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """One whole UDP datagram. ``time_ns`` is the wall clock, ``frame`` counts the file's frames from 1."""

    time_ns: int
    source_ip: str
    source_port: int
    target_ip: str
    target_port: int
    payload: bytes
    file: str
    frame: int


class Broken(msgspec.Struct, frozen=True, gc=False):
    """A UDP datagram of which a part is missing. ``target_port`` is UNKNOWN if the part with the ports is."""

    source_ip: str
    target_ip: str
    target_port: int
    file: str
    frame: int
    reason: str


class _Frame(msgspec.Struct, frozen=True, gc=False):
    number: int
    time_ns: int
    link_type: int
    data: bytes
    length: int  # on the wire; more than len(data) if the snap length cut it


class Capture:
    """One capture file, read once from beginning to end by ``datagrams``."""

    def __init__(self, path: Path | str, progress: Progress | None = None) -> None:
        self.path = Path(path)
        self.file = str(path)
        self.frames = 0
        self.broken: list[Broken] = []
        self.warnings: list[str] = []
        self._progress = progress
        self._reassembler = Reassembler()

    def datagrams(self) -> Iterator[Datagram]:
        """The UDP datagrams in the order of the file.

        Raises CaptureError if the file cannot be opened, is empty, or is no capture.
        """
        for frame in self._frames():
            self.frames = frame.number
            packet = _network_packet(frame)
            if packet is not None:
                yield from self._udp(frame, packet)
        for fragment in self._reassembler.incomplete():
            self._report(fragment, _INCOMPLETE)

    # ------------------------------------------------------------------------------------------------- files

    def _frames(self) -> Iterator[_Frame]:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as raw:
                stream: IO[bytes] = raw
                if raw.read(2) == _GZIP_MAGIC:
                    stream = io.BufferedReader(gzip.GzipFile(fileobj=raw))
                raw.seek(0)
                for frame in self._records(stream):
                    if self._progress is not None and frame.number % _PROGRESS_FRAMES == 0:
                        self._progress(raw.tell(), size)
                    yield frame
                if self._progress is not None:
                    self._progress(size, size)
        except IsADirectoryError:
            raise CaptureError(f"{self.file}: is a directory; give the capture files in it") from None
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise CaptureError(f"{self.file}: byte 0: damaged gzip file ({error}); copy it again") from None
            raise CaptureError(f"{self.file}: {error.strerror}; check the path and its permissions") from None

    def _records(self, stream: IO[bytes]) -> Iterator[_Frame]:
        reader = _Reader(stream)
        magic = reader.read(4)
        if magic in _CLASSIC:
            records = _classic(reader, *_CLASSIC[magic])
        elif magic == struct.pack("<I", _SECTION):
            records = _pcapng(reader)
        else:
            raise CaptureError(f"{self.file}: byte 0: {_what_it_is(magic + reader.read(200))}")
        try:
            yield from records
        except _EndOfFileError as error:
            self.warnings.append(
                f"{self.file}: byte {error.offset}: {error.reason} after frame {self.frames};"
                " what comes before was read; copy the file again or let tcpdump finish"
            )

    # ----------------------------------------------------------------------------------------------- packets

    def _udp(self, frame: _Frame, packet: bytes) -> Iterator[Datagram]:
        fragment = _ip_fragment(frame, packet)
        if fragment is None:
            return
        if fragment.length > len(fragment.data):
            reason = f"only {len(frame.data)} of {frame.length} bytes were captured; capture with tcpdump -s 0"
            self._report(fragment, reason)
            return
        whole = fragment.data
        if fragment.offset or fragment.more:
            joined = self._joined(fragment)
            if joined is None:
                return
            whole = joined
        if len(whole) < 8:
            return
        source_port, target_port, length = struct.unpack_from(">HHH", whole)
        if length > len(whole):
            self._report(fragment, f"the UDP header promises {length} bytes, {len(whole)} are there")
            return
        payload = whole[8 : length or None]
        source, target = fragment.source, fragment.target
        yield Datagram(frame.time_ns, source, source_port, target, target_port, payload, self.file, frame.number)

    def _joined(self, fragment: Fragment) -> bytes | None:
        for old in self._reassembler.expire(fragment.time_ns):
            self._report(old, _INCOMPLETE)
        try:
            return self._reassembler.add(fragment)
        except ValueError as error:
            self._report(fragment, str(error))
            return None

    def _report(self, fragment: Fragment, reason: str) -> None:
        port = UNKNOWN
        if fragment.offset == 0 and len(fragment.data) >= 4:
            port = int.from_bytes(fragment.data[2:4], "big")
        self.broken.append(Broken(fragment.source, fragment.target, port, self.file, fragment.frame, reason))


# --------------------------------------------------------------------------------------------------- file formats


class _EndOfFileError(Exception):
    """The file stops making sense at ``offset``."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason


class _Reader:
    """Reads exact amounts and knows where it is, in the uncompressed file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.offset = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        try:
            data = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            if self.offset == 0:
                raise gzip.BadGzipFile("nothing in it can be unpacked") from None
            raise _EndOfFileError(self.offset, "the gzip data is cut or damaged") from None
        self.offset += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        """``size`` bytes, or the file is cut."""
        if not 0 <= size <= _RECORD_SIZE_MAX:
            raise _EndOfFileError(self.offset, f"impossible length {size}")
        data = self.read(size)
        if len(data) < size:
            raise _EndOfFileError(self.offset - len(data), "the file is cut")
        return data


def _what_it_is(start: bytes) -> str:
    if not start:
        return f"the file is empty; {_WRITE_ONE}"
    if all(byte >= 32 or byte in b"\t\r\n\x1b" for byte in start):
        return f"this is text (a log?), not a capture; {_WRITE_ONE}"
    return f"neither pcap nor pcapng (begins with {start[:4].hex(' ')}); {_WRITE_ONE}"


def _classic(reader: _Reader, order: str, tick_ns: int) -> Iterator[_Frame]:
    (link_type,) = struct.unpack_from(f"{order}I", reader.exactly(20), 16)
    header = struct.Struct(f"{order}IIII")
    number = 0
    while start := reader.read(16):
        if len(start) < 16:
            raise _EndOfFileError(reader.offset - len(start), "the file is cut")
        seconds, ticks, captured, length = header.unpack(start)
        data = reader.exactly(captured)
        number += 1
        yield _Frame(number, seconds * NS + ticks * tick_ns, link_type & 0xFFFF, data, length)


def _pcapng(reader: _Reader) -> Iterator[_Frame]:
    order = "<"
    interfaces: list[tuple[int, int, int]] = []  # link type, ticks per second, offset in seconds
    number = 0
    kind_bytes = struct.pack("<I", _SECTION)  # its four bytes were read to recognise the file
    while kind_bytes:
        if len(kind_bytes) < 4:
            raise _EndOfFileError(reader.offset - len(kind_bytes), "the file is cut")
        size_bytes = reader.exactly(4)
        if kind_bytes == struct.pack("<I", _SECTION):  # a palindrome: the same in both byte orders
            byte_order = reader.exactly(4)
            order = "<" if byte_order == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
            reader.exactly(struct.unpack(f"{order}I", size_bytes)[0] - 12)
        else:
            (kind,) = struct.unpack(f"{order}I", kind_bytes)
            body = reader.exactly(struct.unpack(f"{order}I", size_bytes)[0] - 8)[:-4]
            try:
                if kind == _INTERFACE:
                    interfaces.append(_interface(body, order))
                elif kind in (_ENHANCED_PACKET, _OLD_PACKET, _SIMPLE_PACKET):
                    number += 1
                    yield _packet_block(number, kind, body, order, interfaces)
            except (struct.error, IndexError):
                raise _EndOfFileError(reader.offset, f"damaged block of type {kind}") from None
        kind_bytes = reader.read(4)


def _interface(body: bytes, order: str) -> tuple[int, int, int]:
    (link_type,) = struct.unpack_from(f"{order}H", body)
    ticks_per_second, offset_seconds = 1_000_000, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        if code == 9:  # if_tsresol: a power of ten, or of two if the top bit is set
            resolution = body[at + 4]
            ticks_per_second = 1 << (resolution & 0x7F) if resolution & 0x80 else int(10**resolution)
        elif code == 14:  # if_tsoffset
            (offset_seconds,) = struct.unpack_from(f"{order}q", body, at + 4)
        at += 4 + (size + 3 & ~3)
    return link_type, ticks_per_second, offset_seconds


def _packet_block(number: int, kind: int, body: bytes, order: str, interfaces: list[tuple[int, int, int]]) -> _Frame:
    if kind == _SIMPLE_PACKET:
        raise struct.error("no time")  # cannot be placed on a timeline
    form = f"{order}IIIII" if kind == _ENHANCED_PACKET else f"{order}HxxIIII"
    interface, high, low, captured, length = struct.unpack_from(form, body)
    link_type, ticks_per_second, offset_seconds = interfaces[interface]
    time_ns = offset_seconds * NS + (high << 32 | low) * NS // ticks_per_second
    return _Frame(number, time_ns, link_type, body[20 : 20 + captured], length)


# --------------------------------------------------------------------------------------------- link and network layer


def _network_packet(frame: _Frame) -> bytes | None:
    """The IP packet of a frame, None if it carries something else."""
    layout = _LINK.get(frame.link_type)
    if layout is None:
        return None
    kind_at, start = layout
    data = frame.data
    if kind_at is None:
        return data[start:]
    kind = int.from_bytes(data[kind_at : kind_at + 2], "big")
    while kind in _VLAN and len(data) >= start + 4:
        kind = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    return data[start:] if kind in (_IPV4, _IPV6) else None


def _ip_fragment(frame: _Frame, packet: bytes) -> Fragment | None:
    """The IP payload with its place in the whole, None if it is not UDP."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return _ipv4(frame, packet)
    if version == 6 and len(packet) >= 40:
        return _ipv6(frame, packet)
    return None


def _ipv4(frame: _Frame, packet: bytes) -> Fragment | None:
    first, total, ident, place, protocol = struct.unpack_from(">BxHHHxB", packet)
    if protocol != _UDP:
        return None
    header = (first & 15) * 4
    end = total or len(packet)  # 0: segmentation offload, the frame's own length counts
    source, target = _dotted(packet[12:16]), _dotted(packet[16:20])
    return Fragment(
        source,
        target,
        ident,
        (place & 0x1FFF) * 8,
        bool(place & 0x2000),
        packet[header:end],
        end - header,
        frame.number,
        frame.time_ns,
    )


def _ipv6(frame: _Frame, packet: bytes) -> Fragment | None:
    length, following = struct.unpack_from(">HB", packet, 4)
    source, target = _colons(packet[8:24]), _colons(packet[24:40])
    end = 40 + length
    at, ident, offset, more = 40, 0, 0, False
    while following in _IPV6_OPTIONS and len(packet) >= at + 8:
        following, at = packet[at], at + 8 * (packet[at + 1] + 1)
    if following == _IPV6_FRAGMENT and len(packet) >= at + 8:
        following, place, ident = struct.unpack_from(">BxHI", packet, at)
        offset, more, at = place & ~7, bool(place & 1), at + 8
    if following != _UDP:
        return None
    return Fragment(source, target, ident, offset, more, packet[at:end], end - at, frame.number, frame.time_ns)


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))


def _colons(address: bytes) -> str:

    return str(ipaddress.IPv6Address(address))
