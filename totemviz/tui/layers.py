"""What a multicast carries, layer by layer: totempg packet, service message, pmxcfs' message, the file it changes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

from totemviz.corosync import wire as services
from totemviz.corosync.decoders import decode_message
from totemviz.pmxcfs import messages as pmxcfs
from totemviz.totem import wire
from totemviz.totem.pg import PacketError, decode_packet

LEFT_OUT = {"tail", "padding", "little", "payload", "data"}
BYTES_SHOWN = 24
SUBTYPES: dict[str, type[IntEnum]] = {pmxcfs.DCDB_GROUP: pmxcfs.DcdbType, pmxcfs.STATUS_GROUP: pmxcfs.StatusType}


class Layer(NamedTuple):
    """One layer: how deep, its name, its size in bytes, its fields in words."""

    depth: int
    name: str
    size: int
    fields: str


def layers(message: wire.Mcast) -> Iterator[Layer]:
    """The layers of a multicast's payload, outermost first; ends where nothing more can be read."""
    if message.encapsulated == wire.ENCAPSULATED:
        yield Layer(0, "a message of an old ring, sent again in recovery", len(message.payload), "")
        return
    try:
        packet = decode_packet(message.system_from, message.payload, not message.little)
    except PacketError as error:
        yield Layer(0, "totempg packet", len(message.payload), f"unreadable: {error}")
        return
    fragments = f"fragmented {packet.fragmented}, continuation {packet.continuation}"
    yield Layer(0, "totempg packet", len(message.payload), f"{len(packet.pieces)} messages, {fragments}")
    for index, piece in enumerate(packet.pieces):
        is_part = (index == 0 and packet.continuation) or (index == len(packet.pieces) - 1 and packet.fragmented)
        if is_part:
            yield Layer(1, "part of a message", len(piece), "the rest is in another packet")
        else:
            yield from _service(piece, message.little)


def _service(piece: bytes, little: bool) -> Iterator[Layer]:
    try:
        groups, body = decode_message(piece, little)
    except ValueError as error:
        yield Layer(1, "message", len(piece), f"unreadable: {error}")
        return
    group = ", ".join(name.rstrip(b"\0").decode("latin-1") for name in groups)
    yield Layer(1, f"{body.__struct_config__.tag} to group {group}", len(piece), _fields(body))
    if isinstance(body, services.CpgMcast):
        yield from _pmxcfs(body.payload, body.group.rstrip(b"\0").decode("latin-1"))


def _pmxcfs(payload: bytes, group: str) -> Iterator[Layer]:
    if group not in SUBTYPES:
        return  # another program's
    try:
        message = pmxcfs.decode_message(payload)
    except pmxcfs.MalformedMessageError:
        return
    if isinstance(message, pmxcfs.StateMessage):
        types = pmxcfs.MessageType.__members__.values()
        kind = pmxcfs.MessageType(message.type).name if message.type in types else f"state message {message.type}"
    else:
        known = SUBTYPES[group]
        kind = known(message.subtype).name if message.subtype in list(known) else f"message {message.subtype}"
    yield Layer(2, f"pmxcfs {kind.lower()}", len(payload), _fields(message))
    if isinstance(message, pmxcfs.NormalMessage) and group == pmxcfs.DCDB_GROUP:
        try:
            fuse = pmxcfs.decode_fuse(message.payload)
        except pmxcfs.MalformedMessageError:
            return
        data = f"  {len(fuse.data)} bytes: {fuse.data[:BYTES_SHOWN]!r}" if fuse.data else ""
        yield Layer(3, f"/etc/pve/{fuse.path or ''}", len(message.payload), _fields(fuse) + data)


def _fields(struct: msgspec.Struct) -> str:
    """``name value`` of everything that is short."""
    found = []
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name in LEFT_OUT or value in (None, "", b"", ()):
            continue
        if isinstance(value, bytes):
            value = value.rstrip(b"\0").decode("latin-1") if value.rstrip(b"\0").isascii() else f"{len(value)} bytes"
        found.append(f"{name} {value}")
    return "  ".join(found)
