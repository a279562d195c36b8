"""Captures made for tests: what a simulated node would have captured, and the later part of a real one."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import dpkt

from totemviz.trace.events import DatagramReceived, DatagramSent, RunStarted
from totemviz.trace.timeline import Timeline

PORT = 5405
EPOCH_S = 1_700_000_000


def export(timeline: Timeline, node: int, path: Path) -> Path:
    """Write what tcpdump would have written on a node of a simulated UDPU cluster: no copy of its own multicasts."""
    started = timeline[0].body
    assert isinstance(started, RunStarted)
    others = [info.nodeid for info in started.nodes if info.nodeid != node]
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, nano=True)
        for event in timeline:
            body = event.body
            if event.node != node:
                continue
            if isinstance(body, DatagramSent):
                for target in [body.target] if body.target else others:
                    if target != node:
                        _write(writer, event.time_ns, node, target, body.data)
            elif isinstance(body, DatagramReceived) and body.source != node:
                sent = timeline[event.cause].body
                assert isinstance(sent, DatagramSent)
                _write(writer, event.time_ns, body.source, node, sent.data)
    return path


def later_part(source: Path, from_s: float, path: Path) -> Path:
    """Write a capture without its first seconds: tcpdump was started late."""
    raw = source.read_bytes()
    reader = dpkt.pcap.Reader(io.BytesIO(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw))
    frames = list(reader)
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=reader.datalink())
        for time_s, frame in frames:
            if float(time_s - frames[0][0]) >= from_s:
                writer.writepkt(frame, float(time_s))
    return path


def _write(writer: dpkt.pcap.Writer, time_ns: int, source: int, target: int, data: bytes) -> None:
    datagram = dpkt.udp.UDP(sport=PORT, dport=PORT, ulen=8 + len(data), data=data)
    packet = dpkt.ip.IP(
        src=bytes([10, 77, 0, source]), dst=bytes([10, 77, 0, target]), p=17, len=28 + len(data), data=datagram
    )
    frame = dpkt.ethernet.Ethernet(src=bytes(5) + bytes([source]), dst=bytes(5) + bytes([target]), data=packet)
    writer.writepkt(bytes(frame), EPOCH_S + time_ns / 1e9)
