"""Capture files: from the bytes of a pcap or pcapng file to UDP datagrams, and nothing about what they mean.

The formats and headers are dpkt's. Read are classic pcap (micro- and nanoseconds, both byte orders) and pcapng, plain
or gzipped (told by content, not by name), with Ethernet, Linux cooked, raw and loopback link types, VLAN tags, IPv4
and IPv6 with fragments. Times stay integers; every datagram keeps the number of the frame that completed it, so that a
message can always be found again in Wireshark. Damage never hides: a file that is no capture raises ``CaptureError``;
a file that ends in the middle keeps what came before and adds a line to ``warnings``; a datagram that is incomplete is
listed in ``broken``.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import dpkt
import msgspec
from dpkt import pcapng
from dpkt.ip import IP, IP_PROTO_FRAGMENT, IP_PROTO_UDP
from dpkt.ip6 import IP6
from dpkt.utils import inet_to_str

from totemviz.trace.events import UNKNOWN
from totemviz.trace.recorded_fragments import Fragment, Reassembler

Progress: TypeAlias = Callable[[int, int], None]
"""Told now and then how many bytes of the file are done, and how many there are."""

_Record: TypeAlias = tuple[int, int, bytes]  # time in nanoseconds, link type, the bytes of the frame

NS = 1_000_000_000
_RECORD_SIZE_MAX = 1 << 24  # no link has frames like that: the file is damaged
_PROGRESS_FRAMES = 2048
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
_INCOMPLETE = "incomplete: a fragment of it is not in the capture"
_WRITE_ONE = "give a file written by tcpdump -w"


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
        for time_ns, link_type, data in self._records():
            self.frames += 1
            fragment = _udp_fragment(link_type, data, self.frames, time_ns)
            if fragment is not None:
                yield from self._udp(fragment, len(data))
        for fragment in self._reassembler.incomplete():
            self._report(fragment, _INCOMPLETE)

    def _records(self) -> Iterator[_Record]:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb", buffering=0) as raw:
                packed = raw.read(2) == _GZIP_MAGIC
                raw.seek(0)
                for record in self._parsed(_File(gzip.GzipFile(fileobj=raw) if packed else raw)):
                    yield record
                    if self._progress is not None and self.frames % _PROGRESS_FRAMES == 0:
                        self._progress(raw.tell(), size)
                if self._progress is not None:
                    self._progress(size, size)
        except IsADirectoryError:
            raise CaptureError(f"{self.file}: is a directory; give the capture files in it") from None
        except OSError as error:
            raise CaptureError(f"{self.file}: {error.strerror}; check the path and its permissions") from None

    def _parsed(self, file: _File) -> Iterator[_Record]:
        try:
            start = file.peek(200)[:200]
        except _GZIP_DAMAGE:
            reason = "damaged gzip file (nothing in it can be unpacked); copy it again"
            raise CaptureError(f"{self.file}: byte 0: {reason}") from None
        magic = int.from_bytes(start[:4], "big")
        if magic in dpkt.pcap.MAGIC_TO_PKT_HDR:
            records = _classic(file)
        elif magic == pcapng.PCAPNG_BT_SHB:
            records = _pcapng(file)
        else:
            raise CaptureError(f"{self.file}: byte 0: {_what_it_is(start)}")
        try:
            yield from records
        except (_DamageError, *_GZIP_DAMAGE, dpkt.Error, ValueError, IndexError, struct.error) as error:
            self.warnings.append(
                f"{self.file}: byte {file.tell()}: {_damage(error, file)} after frame {self.frames};"
                " what comes before was read; copy the file again or let tcpdump finish"
            )

    def _udp(self, fragment: Fragment, captured: int) -> Iterator[Datagram]:
        missing = fragment.length - len(fragment.data)
        if missing > 0:
            reason = f"only {captured} of {captured + missing} bytes were captured; capture with tcpdump -s 0"
            self._report(fragment, reason)
            return
        whole = self._joined(fragment) if fragment.offset or fragment.more else fragment.data
        if whole is None or len(whole) < dpkt.udp.UDP_HDR_LEN:
            return
        udp = dpkt.udp.UDP(whole)
        if udp.ulen > len(whole):
            self._report(fragment, f"the UDP header promises {udp.ulen} bytes, {len(whole)} are there")
            return
        payload = whole[dpkt.udp.UDP_HDR_LEN : udp.ulen or None]
        source, target = fragment.source, fragment.target
        yield Datagram(fragment.time_ns, source, udp.sport, target, udp.dport, payload, self.file, fragment.frame)

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


class _DamageError(Exception):
    """The file stops making sense where it was read last."""


class _File(io.BufferedReader):
    """A file that gives exact amounts, because dpkt takes the beginning of a record for the whole of it.

    Nothing at all is given at the end only, and noted in ``ended``: in the middle of a record that is damage too.
    """

    ended = False

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _RECORD_SIZE_MAX:
            raise _DamageError(f"impossible length {size}")
        data = super().read(size)
        if 0 < len(data) < size:
            raise _DamageError("the file is cut")
        self.ended = len(data) < size
        return data


def _what_it_is(start: bytes) -> str:
    if not start:
        return f"the file is empty; {_WRITE_ONE}"
    if all(byte >= 32 or byte in b"\t\r\n\x1b" for byte in start):
        return f"this is text (a log?), not a capture; {_WRITE_ONE}"
    return f"neither pcap nor pcapng (begins with {start[:4].hex(' ')}); {_WRITE_ONE}"


def _damage(error: Exception, file: _File) -> str:
    if isinstance(error, _DamageError):
        return str(error)
    if isinstance(error, _GZIP_DAMAGE):
        return "the gzip data is cut or damaged"
    return "the file is cut" if file.ended else f"damaged record ({type(error).__name__})"


def _classic(file: _File) -> Iterator[_Record]:
    reader = dpkt.pcap.Reader(file)
    link_type = reader.datalink() & 0xFFFF  # above it: the length of a frame check sequence
    for time_seconds, data in reader:
        if file.ended:
            raise _DamageError("the file is cut")
        # nanoseconds come as Decimal; microseconds as float, exact to a quarter of one while seconds have 32 bits
        exact = isinstance(time_seconds, Decimal)
        yield int(time_seconds * NS) if exact else round(time_seconds * 1e6) * 1000, link_type, data


def _pcapng(file: _File) -> Iterator[_Record]:
    """The packets of all sections and interfaces.

    dpkt's own reader gives every packet the link type and clock of the first interface, and times in float; so it
    opens a section, up to the first interface, and its block types parse what follows.
    """
    while file.peek(1):
        first = pcapng.Reader(file).idb
        yield from _section(file, first, "<" if isinstance(first, pcapng.InterfaceDescriptionBlockLE) else ">")


_BLOCKS = {
    ("<", pcapng.PCAPNG_BT_IDB): pcapng.InterfaceDescriptionBlockLE,
    (">", pcapng.PCAPNG_BT_IDB): pcapng.InterfaceDescriptionBlock,
    ("<", pcapng.PCAPNG_BT_EPB): pcapng.EnhancedPacketBlockLE,
    (">", pcapng.PCAPNG_BT_EPB): pcapng.EnhancedPacketBlock,
    ("<", pcapng.PCAPNG_BT_PB): pcapng.PacketBlockLE,
    (">", pcapng.PCAPNG_BT_PB): pcapng.PacketBlock,
}


def _section(file: _File, first: Any, order: str) -> Iterator[_Record]:
    interfaces = [_interface(first, order)]
    while head := file.read(8):
        kind, size = struct.unpack(f"{order}II", head)
        if kind == pcapng.PCAPNG_BT_SHB:
            file.seek(-len(head), io.SEEK_CUR)
            return
        if kind == pcapng.PCAPNG_BT_SPB:
            raise _DamageError("a packet without a time")  # cannot be placed on a timeline
        body = file.read(size - len(head))
        if (order, kind) not in _BLOCKS:
            continue
        block = _BLOCKS[order, kind](head + body)
        if kind == pcapng.PCAPNG_BT_IDB:
            interfaces.append(_interface(block, order))
        else:
            link_type, ticks_per_second, offset_seconds = interfaces[block.iface_id]
            ticks = block.ts_high << 32 | block.ts_low
            yield offset_seconds * NS + ticks * NS // ticks_per_second, link_type, block.pkt_data


def _interface(block: Any, order: str) -> tuple[int, int, int]:
    """Link type, ticks per second, and what to add to the times in seconds."""
    ticks_per_second, offset_seconds = 1_000_000, 0
    for option in block.opts:
        if option.code == pcapng.PCAPNG_OPT_IF_TSRESOL:  # a power of ten, or of two if the top bit is set
            exponent = option.data[0]
            ticks_per_second = 1 << (exponent & 0x7F) if exponent & 0x80 else int(10**exponent)
        elif option.code == pcapng.PCAPNG_OPT_IF_TSOFFSET:
            (offset_seconds,) = struct.unpack(f"{order}q", option.data)
    return block.linktype, ticks_per_second, offset_seconds


# --------------------------------------------------------------------------------------------- link and network layer


def _raw(data: bytes) -> Any:
    return IP6(data) if data[0] >> 4 == 6 else IP(data)


# By link type. Three names of raw IP, two of loopback (BSD's and OpenBSD's).
_LINK: dict[int, Callable[[bytes], Any]] = {
    0: dpkt.loopback.Loopback,
    1: dpkt.ethernet.Ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: dpkt.loopback.Loopback,
    113: dpkt.sll.SLL,
    228: _raw,
    229: _raw,
    276: dpkt.sll2.SLL2,
}


def _udp_fragment(link_type: int, frame: bytes, number: int, time_ns: int) -> Fragment | None:
    """The IP payload of a frame with its place in the whole, None if it is not UDP."""
    if link_type not in _LINK:
        return None
    try:
        layer = _LINK[link_type](frame)
    except Exception:
        # On frames that are damaged or of other protocols dpkt raises more than its own errors; none of them is UDP.
        return None
    packet = layer if isinstance(layer, (IP, IP6)) else layer.data
    if not isinstance(packet, (IP, IP6)) or packet.v not in (4, 6) or getattr(packet, "p", None) != IP_PROTO_UDP:
        return None
    data = bytes(packet.data)
    if isinstance(packet, IP):
        ident, offset, more = packet.id, packet.offset * 8, bool(packet.mf)
        length = packet.len - packet.hl * 4 if packet.len else len(data)  # 0: segmentation offload
    else:
        place = packet.extension_hdrs.get(IP_PROTO_FRAGMENT)
        ident, offset, more = (place.id, place.frag_off * 8, bool(place.m_flag)) if place else (0, 0, False)
        headers = sum(header.length for header in packet.all_extension_headers)
        length = packet.plen - headers if packet.plen else len(data)
    source, target = inet_to_str(packet.src), inet_to_str(packet.dst)
    return Fragment(source, target, ident, offset, more, data, length, number, time_ns)
