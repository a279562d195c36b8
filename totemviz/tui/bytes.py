"""The datagram at the cursor: each field's bytes beside its name and value (sheet §3.1-3.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from totemviz.totem import wire
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline
from totemviz.trace.words import DATAGRAM_WORDS, who
from totemviz.tui.layers import Layer, layers
from totemviz.tui.moment import Moment
from totemviz.tui.paint import DIM, FAINT, HEAD, PLAIN, TOKEN, TROUBLE, Drawing, Line, cell, clip
from totemviz.tui.textpanel import TextPanel

LOOK_BACK = 400
DUMP_BYTES = 512


class Field(NamedTuple):
    """A piece of a datagram: where, its struct code, its name."""

    offset: int
    code: str
    name: str


HEADER = (
    Field(0, "H", "magic"),
    Field(2, "B", "version"),
    Field(3, "B", "type"),
    Field(4, "B", "encapsulated"),
    Field(5, "I", "nodeid"),
    Field(9, "I", "target_nodeid"),
)


def _fields(offset: int, *pairs: tuple[str, str]) -> tuple[Field, ...]:
    fields = []
    for code, name in pairs:
        fields.append(Field(offset, code, name))
        offset += struct.calcsize(f"<{code}")
    return tuple(fields)


_RING = (("I", "ring_id.rep"), ("Q", "ring_id.seq"))
BODIES: dict[str, tuple[Field, ...]] = {
    "orf_token": _fields(
        13,
        *(("I", name) for name in ("seq", "token_seq", "aru", "aru_addr")),
        *_RING,
        ("I", "backlog"),
        ("I", "fcc"),
        ("i", "retrans_flg"),
        ("i", "rtr_list_entries"),
    ),
    "mcast": _fields(
        13, ("I", "system_from"), ("I", "seq"), ("i", "this_seqno"), *_RING, ("I", "node_id"), ("i", "guarantee")
    ),
    "memb_merge_detect": _fields(13, ("I", "system_from"), *_RING),
    "memb_join": _fields(
        13, ("I", "system_from"), ("I", "proc_list_entries"), ("I", "failed_list_entries"), ("Q", "ring_seq")
    ),
    "memb_commit_token": _fields(
        13, ("I", "token_seq"), *_RING, ("I", "retrans_flg"), ("i", "memb_index"), ("i", "addr_entries")
    ),
    "token_hold_cancel": _fields(13, *_RING),
}


def _tail(message: wire.Message) -> tuple[Field, ...]:
    """The lists behind the fixed part."""
    match message:
        case wire.Token():
            entries = [
                (code, f"rtr[{i}].{name}") for i in range(len(message.rtr)) for code, name in (*_RING, ("I", "seq"))
            ]
            return _fields(57, *entries)
        case wire.Join():
            names = [f"proc[{i}]" for i in range(len(message.proc))]
            names += [f"failed[{i}]" for i in range(len(message.failed))]
            return _fields(33, *(("I", name) for name in names))
        case wire.CommitToken():
            count = len(message.addr)
            entry = (*_RING, ("I", "aru"), ("I", "high_delivered"), ("I", "received_flg"))
            pairs = [("I", f"addr[{i}]") for i in range(count)]
            pairs += [(code, f"memb[{i}].{name}") for i in range(count) for code, name in entry]
            return _fields(41, *pairs)
    return ()


def dissect(data: bytes) -> Iterator[tuple[Field, bytes, int]]:
    """Every named field of a datagram with its bytes and value. Raises wire.WireError as the decoder does."""
    message = wire.decode(data)
    order = "<" if message.little else ">"
    kind = wire.TYPE_NAMES[data[3]]
    for field in (*HEADER, *BODIES[kind], *_tail(message)):
        size = struct.calcsize(f"<{field.code}")
        raw = data[field.offset : field.offset + size]
        yield field, raw, struct.unpack(order + field.code, raw)[0]


def datagram_at(timeline: Timeline, position: int) -> Event | None:
    """The datagram the cursor is about: sent at it, or the nearest one on its way back through the causes."""
    for _ in range(LOOK_BACK):
        if not 0 <= position < len(timeline):
            return None
        event: Event = timeline[position]
        body = event.body
        if isinstance(body, ev.DatagramSent):
            return event
        if isinstance(body, ev.DatagramReceived | ev.DatagramDropped | ev.DatagramQueued) and body.sent >= 0:
            position = body.sent
        else:
            position = event.cause
    return None


class BytesPanel(TextPanel):
    """Offset, bytes, name, value."""

    def content(self, moment: Moment, width: int) -> Drawing:  # noqa: D102
        event = datagram_at(moment.timeline, moment.position)
        if event is None or not isinstance(event.body, ev.DatagramSent):
            return Drawing([[(" No datagram led to this event.", DIM)]])
        body = event.body
        words = DATAGRAM_WORDS.get(body.kind, body.kind)
        lines: list[Line] = [
            [
                (f" {body.kind}", HEAD),
                (f"  {words}: {who(moment.view, body.source)} → {who(moment.view, body.target)}", PLAIN),
                (f", {len(body.data)} bytes" + ("" if event.id == moment.position else f" (event {event.id})"), DIM),
            ]
        ]
        try:
            fields = list(dissect(body.data))
        except wire.WireError as error:
            lines.append([(f" corosync drops it: {error}", TROUBLE)])
            return Drawing([clip(line, width) for line in lines + _dump(body.data, 0)])
        shown: list[Line] = []
        for field, raw, value in fields:
            text = f"0x{value:04x}" if field.name == "magic" else str(value)
            meaning = _meaning(moment, field.name, value)
            role = TOKEN if field.name in ("seq", "token_seq", "aru") else PLAIN
            shown.append(
                [
                    (f" {field.offset:>4}  ", FAINT),
                    (f"{raw.hex(' '):<24}", DIM),
                    (f"{field.name:<20}", PLAIN),
                    (f"{text:<12}", role),
                    (meaning, DIM),
                ]
            )
        end = max(field.offset + len(raw) for field, raw, _ in fields)
        lines += shown if width < 150 else _beside(shown, width // 2)
        if end < len(body.data):
            message = wire.decode(body.data)
            if isinstance(message, wire.Mcast):
                lines += [_layer(layer) for layer in layers(message)]
            lines.append([(f" payload, {len(body.data) - end} bytes:", DIM)])
            lines += _dump(body.data, end)
        return Drawing([clip(line, width) for line in lines])


def _layer(layer: Layer) -> Line:
    """A layer below the datagram: what it is, how big, what it says."""
    return [
        (" " + "  " * layer.depth + "└ ", FAINT),
        (layer.name, HEAD),
        (f", {layer.size} bytes  ", DIM),
        (layer.fields, PLAIN),
    ]


def _beside(lines: list[Line], width: int) -> list[Line]:
    """Two columns where there is room."""
    half = (len(lines) + 1) // 2
    return [
        cell(left, width) + (lines[half + i] if half + i < len(lines) else []) for i, left in enumerate(lines[:half])
    ]


def _meaning(moment: Moment, name: str, value: int) -> str:
    if name == "type":
        return wire.TYPE_NAMES[value] if value < len(wire.TYPE_NAMES) else ""
    if name in ("nodeid", "target_nodeid", "system_from", "aru_addr", "ring_id.rep") or name.startswith(
        ("proc[", "failed[", "addr[")
    ):
        return who(moment.view, value) if value in moment.view.nodes else ""
    return ""


def _dump(data: bytes, start: int) -> list[Line]:
    """A classic hex dump."""
    lines: list[Line] = []
    for offset in range(start, min(len(data), start + DUMP_BYTES), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        lines.append([(f" {offset:>4}  ", FAINT), (f"{row.hex(' '):<48} ", DIM), (text, PLAIN)])
    if len(data) - start > DUMP_BYTES:
        lines.append([(f"       … {len(data) - start - DUMP_BYTES} bytes more", DIM)])
    return lines
