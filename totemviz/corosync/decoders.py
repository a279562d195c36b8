"""Bodies of service messages into the structs of ``wire``: one decoder per id, chosen by table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias, TypeVar

from totemviz.corosync import layouts, wire
from totemviz.corosync.wire import Opaque, ServiceMessage, SyncMessage, service_id
from totemviz.totem.effects import RingId

Message = TypeVar("Message")
Decoder: TypeAlias = Callable[[bytes, bool], Message]
RECENT = 64
"""Messages that all members are about to deliver: a run keeps what it delivers, so they should share one payload."""


class _MisfitError(Exception):
    """The sizes inside a body contradict each other or its length."""


@lru_cache(maxsize=RECENT)
def decode(body: bytes, little: bool = True) -> ServiceMessage:
    """A message of group ``a`` without its group address; ``little`` is the originator's byte order."""
    return _decode(body, little, SERVICE_DECODERS)


def decode_sync(body: bytes, little: bool = True) -> SyncMessage:
    """A message of group ``sync`` without its group address."""
    return _decode(body, little, SYNC_DECODERS)


def decode_message(message: bytes, little: bool = True) -> tuple[tuple[bytes, ...], ServiceMessage | SyncMessage]:
    """Group names and body of a complete totempg message. Raises ValueError if the address is cut short."""
    names, body = wire.split_group_address(message, little)
    if wire.GROUP_SYNC in names:
        return names, decode_sync(body, little)
    if wire.GROUP_SERVICES in names:
        return names, decode(body, little)
    return names, Opaque(body)


def _decode(body: bytes, little: bool, decoders: Mapping[int, Decoder[Message]]) -> Message | Opaque:
    if len(body) < 16:
        return Opaque(body)
    kind, size = layouts.REQUEST[little].unpack_from(body)
    decoder = decoders.get(kind)
    if decoder is None or size != len(body):
        return Opaque(body)
    try:
        return decoder(body, little)
    except (_MisfitError, struct.error):
        return Opaque(body)


def _name(length: int, field: bytes) -> tuple[bytes, bytes]:
    """A group name and, if not zero, what follows it in its field."""
    if length > len(field):
        raise _MisfitError
    tail = field[length:]
    return field[:length], tail.rstrip(b"\0")


def _exactly(body: bytes, size: int) -> None:
    if len(body) != size:
        raise _MisfitError


def _proc_join(body: bytes, little: bool) -> wire.ProcJoin:
    _exactly(body, layouts.PROC.size)
    padding, (_, _, length, field, pid, reason) = layouts.PROC.unpack(body, little)
    group, tail = _name(length, field)
    return wire.ProcJoin(group, pid, reason, tail, padding, little)


def _proc_leave(body: bytes, little: bool) -> wire.ProcLeave:
    _exactly(body, layouts.PROC.size)
    padding, (_, _, length, field, pid, reason) = layouts.PROC.unpack(body, little)
    group, tail = _name(length, field)
    return wire.ProcLeave(group, pid, reason, tail, padding, little)


def _join_list(body: bytes, little: bool) -> wire.JoinList:
    padding, (_, _, error) = layouts.JOIN_LIST.unpack(body, little)
    if (len(body) - layouts.JOIN_LIST.size) % layouts.JOIN_ENTRY.size:
        raise _MisfitError
    entries = []
    for offset in range(layouts.JOIN_LIST.size, len(body), layouts.JOIN_ENTRY.size):
        gaps, (pid, length, field) = layouts.JOIN_ENTRY.unpack(body, little, offset)
        group, tail = _name(length, field)
        entries.append(wire.JoinEntry(group, pid, tail, gaps))
    return wire.JoinList(tuple(entries), error, padding, little)


def _mcast(body: bytes, little: bool) -> wire.CpgMcast:
    padding, (_, _, length, field, payload_length, pid, node, pointer) = layouts.MCAST.unpack(body, little)
    _exactly(body, layouts.MCAST.size + payload_length)
    group, tail = _name(length, field)
    return wire.CpgMcast(group, pid, (node, pointer), body[layouts.MCAST.size :], tail, padding, little)


def _down_list(body: bytes, little: bool) -> wire.DownList:
    _exactly(body, layouts.DOWN_LIST.size)
    padding, (_, _, old_members, left_nodes, field) = layouts.DOWN_LIST.unpack(body, little)
    nodeids = list(struct.unpack(f"{'<' if little else '>'}{len(field) // 4}I", field))
    while nodeids and not nodeids[-1]:
        nodeids.pop()
    return wire.DownList(old_members, left_nodes, tuple(nodeids), padding, little)


def _partial(body: bytes, little: bool) -> wire.PartialMcast:
    padding, values = layouts.PARTIAL.unpack(body, little)
    _, _, length, field, message_length, fragment_length, pid, part, node, pointer = values
    _exactly(body, layouts.PARTIAL.size + fragment_length)
    group, tail = _name(length, field)
    fragment = body[layouts.PARTIAL.size :]
    return wire.PartialMcast(group, pid, (node, pointer), message_length, part, fragment, tail, padding, little)


def _barrier(body: bytes, little: bool) -> wire.Barrier:
    _exactly(body, layouts.BARRIER.size)
    padding, (_, _, rep, seq) = layouts.BARRIER.unpack(body, little)
    return wire.Barrier(RingId(rep, seq), padding, little)


def _service_build(body: bytes, little: bool) -> wire.ServiceBuild:
    _exactly(body, layouts.SERVICE_BUILD.size)
    padding, (_, _, rep, seq, count, field) = layouts.SERVICE_BUILD.unpack(body, little)
    if not 0 <= count <= layouts.SERVICES_MAX or any(field[4 * count :]):
        raise _MisfitError
    services = struct.unpack_from(f"{'<' if little else '>'}{count}i", field)
    return wire.ServiceBuild(RingId(rep, seq), services, padding, little)


def _node_info(body: bytes, little: bool) -> wire.NodeInfo:
    _exactly(body, layouts.NODE_INFO.size)
    padding, (_, _, nodeid, votes, expected_votes, flags) = layouts.NODE_INFO.unpack(body, little)
    return wire.NodeInfo(nodeid, votes, expected_votes, flags, padding, little)


def _reconfigure(body: bytes, little: bool) -> wire.Reconfigure:
    _exactly(body, layouts.RECONFIGURE.size)
    padding, (_, _, nodeid, value, parameter) = layouts.RECONFIGURE.unpack(body, little)
    return wire.Reconfigure(nodeid, value, parameter, padding, little)


def _qdevice_register(body: bytes, little: bool) -> wire.QdeviceRegister:
    _exactly(body, layouts.QDEVICE_REG.size)
    padding, (_, _, operation, name) = layouts.QDEVICE_REG.unpack(body, little)
    return wire.QdeviceRegister(operation, name, padding, little)


def _qdevice_rename(body: bytes, little: bool) -> wire.QdeviceRename:
    _exactly(body, layouts.QDEVICE_RENAME.size)
    padding, (_, _, old_name, new_name) = layouts.QDEVICE_RENAME.unpack(body, little)
    return wire.QdeviceRename(old_name, new_name, padding, little)


def _qdevice_extra(body: bytes, little: bool) -> wire.QdeviceExtra:
    padding, (_, _, nodeid, length) = layouts.QDEVICE_EXTRA.unpack(body, little)
    _exactly(body, layouts.QDEVICE_EXTRA.size + length)
    return wire.QdeviceExtra(nodeid, body[layouts.QDEVICE_EXTRA.size :], padding, little)


def _cmap(body: bytes, little: bool) -> wire.CmapMcast:
    padding, (_, _, reason, count, *reserved) = layouts.CMAP.unpack(body, little)
    offset, items = layouts.CMAP.size, []
    for _ in range(count):
        gaps, (length, field, kind, value_length) = layouts.CMAP_ITEM.unpack(body, little, offset)
        offset += layouts.CMAP_ITEM.size
        value = body[offset : offset + value_length]
        fill = body[offset + value_length : offset + value_length + -value_length % 8]
        if len(value) != value_length or any(fill) or len(fill) != -value_length % 8:
            raise _MisfitError
        offset += len(value) + len(fill)
        key, tail = _name(length, field)
        items.append(wire.CmapItem(key, kind, value, tail, gaps))
    _exactly(body, offset)
    return wire.CmapMcast(reason, tuple(items), (reserved[0], reserved[1]), padding, little)


def _reload_config(body: bytes, little: bool) -> wire.ReloadConfig:
    _exactly(body, layouts.RELOAD.size)
    padding, (_, _, nodeid, connection) = layouts.RELOAD.unpack(body, little)
    return wire.ReloadConfig(nodeid, connection, padding, little)


SERVICE_DECODERS: Mapping[int, Decoder[ServiceMessage]] = {
    service_id(wire.CMAP, 0): _cmap,
    service_id(wire.CFG, 3): _reload_config,
    service_id(wire.CPG, 0): _proc_join,
    service_id(wire.CPG, 1): _proc_leave,
    service_id(wire.CPG, 2): _join_list,
    service_id(wire.CPG, 3): _mcast,
    service_id(wire.CPG, 5): _down_list,
    service_id(wire.CPG, 6): _partial,
    service_id(wire.VOTEQUORUM, 0): _node_info,
    service_id(wire.VOTEQUORUM, 1): _reconfigure,
    service_id(wire.VOTEQUORUM, 2): _qdevice_register,
    service_id(wire.VOTEQUORUM, 3): _qdevice_rename,
    service_id(wire.VOTEQUORUM, 4): _qdevice_extra,
}
SYNC_DECODERS: Mapping[int, Decoder[wire.Barrier | wire.ServiceBuild]] = {0: _barrier, 1: _service_build}
