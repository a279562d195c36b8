"""Service messages inside totempg, in corosync 3.1's exact bytes (sheet §3.6, §3.7).

A complete totempg message is a group address and a body: group ``a`` carries the service engines' messages, group
``sync`` those of the sync service. ``decode`` turns a body into a struct with named fields; ``encode`` of that
struct gives back the same bytes, foreign byte order included. A body of unknown id or impossible size becomes
``Opaque``, which keeps it raw.

Alignment gaps are zero in messages that corosync clears before filling; where it does not (or copies a client's
memory) they carry whatever was there. ``padding`` (all gaps of a message back to back, empty for all zero) and
``tail`` (the bytes of a group name's field behind the name) keep that.
"""

from __future__ import annotations

import struct
from typing import Protocol, TypeAlias

import msgspec

from totemviz.corosync import layouts
from totemviz.totem.effects import RingId

GROUP_SERVICES, GROUP_SYNC = b"a", b"sync"
PREFIX_SERVICES = b"\x01\x00\x01\x00a"
PREFIX_SYNC = b"\x01\x00\x04\x00sync"

CMAP, CFG, CPG, QUORUM, PLOAD, VOTEQUORUM, MON, WD = range(8)

GROUP_NAME_MAX = 128


class Message(Protocol):
    """What every message can do: tell its bytes."""

    def encode(self) -> bytes:
        """The body, without group address."""
        ...


def group_address(*names: bytes) -> bytes:
    """The prefix of a totempg message that is addressed to these groups (sheet §3.6)."""
    lengths = b"".join(struct.pack("<H", len(name)) for name in names)
    return struct.pack("<H", len(names)) + lengths + b"".join(names)


def split_group_address(message: bytes, little: bool = True) -> tuple[tuple[bytes, ...], bytes]:
    """Names of the groups a totempg message is for, and its body. Raises ValueError if it is cut short."""
    order = "<" if little else ">"
    try:
        (count,) = struct.unpack_from(f"{order}H", message)
        lengths = struct.unpack_from(f"{order}{count}H", message, 2)
    except struct.error as error:
        raise ValueError("group address is cut short") from error
    offset, names = 2 + 2 * count, []
    for length in lengths:
        names.append(message[offset : offset + length])
        offset += length
    if offset > len(message):
        raise ValueError("group names are cut short")
    return tuple(names), message[offset:]


def service_id(service: int, function: int) -> int:
    """The id field of a service engine's message."""
    return service << 16 | function


# ----------------------------------------------------------------------------------------------------- any message


class Opaque(msgspec.Struct, frozen=True, tag="opaque"):
    """A body that is kept raw: an id we have no layout for, or a size that does not fit its id."""

    data: bytes

    def encode(self) -> bytes:
        """The body as it came."""
        return self.data


# ------------------------------------------------------------------------------------------------------------- CPG


class _Proc(msgspec.Struct, frozen=True):
    group: bytes
    pid: int
    reason: int
    tail: bytes = b""
    padding: bytes = b""
    little: bool = True

    function = 0

    def encode(self) -> bytes:
        """168 bytes."""
        return layouts.PROC.pack(
            self.little,
            self.padding,
            service_id(CPG, self.function),
            layouts.PROC.size,
            len(self.group),
            self.group + self.tail,
            self.pid,
            self.reason,
        )


class ProcJoin(_Proc, frozen=True, tag="procjoin"):
    """A process joins a group (CPG 0); ``reason`` 1."""


class ProcLeave(_Proc, frozen=True, tag="procleave"):
    """A process leaves a group (CPG 1); ``reason`` 2 on request, 5 when it is gone."""

    function = 1


class JoinEntry(msgspec.Struct, frozen=True):
    """One local process in a join list."""

    group: bytes
    pid: int
    tail: bytes = b""
    padding: bytes = b""


class JoinList(msgspec.Struct, frozen=True, tag="joinlist"):
    """All processes of the sender (CPG 2), sent in sync. The prefix is a response header with an error field."""

    entries: tuple[JoinEntry, ...]
    error: int = 0
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """24 bytes plus 144 per process."""
        size = layouts.JOIN_LIST.size + len(self.entries) * layouts.JOIN_ENTRY.size
        parts = [layouts.JOIN_LIST.pack(self.little, self.padding, service_id(CPG, 2), size, self.error)]
        parts += [
            layouts.JOIN_ENTRY.pack(self.little, entry.padding, entry.pid, len(entry.group), entry.group + entry.tail)
            for entry in self.entries
        ]
        return b"".join(parts)


class CpgMcast(msgspec.Struct, frozen=True, gc=False, tag="mcast"):
    """A client's message (CPG 3). ``source`` is (node id, sender-local pointer)."""

    group: bytes
    pid: int
    source: tuple[int, int]
    payload: bytes
    tail: bytes = b""
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """184 bytes plus the payload."""
        return (
            layouts.MCAST.pack(
                self.little,
                self.padding,
                service_id(CPG, 3),
                layouts.MCAST.size + len(self.payload),
                len(self.group),
                self.group + self.tail,
                len(self.payload),
                self.pid,
                *self.source,
            )
            + self.payload
        )


class DownList(msgspec.Struct, frozen=True, tag="downlist"):
    """Who left since the sender's last view (CPG 5); informational.

    ``nodeids`` has ``left_nodes`` meaningful entries; what follows are leftovers of earlier lists, trailing zeros
    dropped, because corosync reuses one buffer.
    """

    old_members: int
    left_nodes: int
    nodeids: tuple[int, ...]
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """1568 bytes: the list has always its full length on the wire."""
        nodeids = struct.pack(f"{'<' if self.little else '>'}{len(self.nodeids)}I", *self.nodeids)
        return layouts.DOWN_LIST.pack(
            self.little,
            self.padding,
            service_id(CPG, 5),
            layouts.DOWN_LIST.size,
            self.old_members,
            self.left_nodes,
            nodeids,
        )


class PartialMcast(msgspec.Struct, frozen=True, gc=False, tag="partial_mcast"):
    """A piece of a message above the atomic size (CPG 6); ``part`` 1 first, 2 continued, 3 last."""

    group: bytes
    pid: int
    source: tuple[int, int]
    message_length: int
    part: int
    fragment: bytes
    tail: bytes = b""
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """200 bytes plus the fragment."""
        return (
            layouts.PARTIAL.pack(
                self.little,
                self.padding,
                service_id(CPG, 6),
                layouts.PARTIAL.size + len(self.fragment),
                len(self.group),
                self.group + self.tail,
                self.message_length,
                len(self.fragment),
                self.pid,
                self.part,
                *self.source,
            )
            + self.fragment
        )


# ------------------------------------------------------------------------------------------------------------ sync


class Barrier(msgspec.Struct, frozen=True, gc=False, tag="barrier"):
    """The sender has done its part for the current service (sync 0)."""

    ring_id: RingId
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """32 bytes."""
        return layouts.BARRIER.pack(
            self.little, self.padding, 0, layouts.BARRIER.size, self.ring_id.rep, self.ring_id.seq
        )


class ServiceBuild(msgspec.Struct, frozen=True, tag="service_build"):
    """The services the sender wants to synchronise (sync 1), by id."""

    ring_id: RingId
    services: tuple[int, ...]
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """552 bytes."""
        services = struct.pack(f"{'<' if self.little else '>'}{len(self.services)}i", *self.services)
        return layouts.SERVICE_BUILD.pack(
            self.little,
            self.padding,
            1,
            layouts.SERVICE_BUILD.size,
            self.ring_id.rep,
            self.ring_id.seq,
            len(self.services),
            services,
        )


# ------------------------------------------------------------------------------------------------------ votequorum


class NodeInfo(msgspec.Struct, frozen=True, gc=False, tag="nodeinfo"):
    """Votes and flags of a node (votequorum 0); ``nodeid`` 0 is the quorum device."""

    nodeid: int
    votes: int
    expected_votes: int
    flags: int
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """32 bytes."""
        return layouts.NODE_INFO.pack(
            self.little,
            self.padding,
            service_id(VOTEQUORUM, 0),
            layouts.NODE_INFO.size,
            self.nodeid,
            self.votes,
            self.expected_votes,
            self.flags,
        )


class Reconfigure(msgspec.Struct, frozen=True, gc=False, tag="reconfigure"):
    """An operator's change (votequorum 1); ``parameter`` 1 expected votes, 2 node votes, 3 cancel wait_for_all."""

    nodeid: int
    value: int
    parameter: int
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """32 bytes."""
        return layouts.RECONFIGURE.pack(
            self.little,
            self.padding,
            service_id(VOTEQUORUM, 1),
            layouts.RECONFIGURE.size,
            self.nodeid,
            self.value,
            self.parameter,
        )


class QdeviceRegister(msgspec.Struct, frozen=True, tag="qdevice_reg"):
    """A quorum device comes (``operation`` 1) or goes (0) (votequorum 2); the name's field is kept whole."""

    operation: int
    name: bytes
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """280 bytes."""
        return layouts.QDEVICE_REG.pack(
            self.little, self.padding, service_id(VOTEQUORUM, 2), layouts.QDEVICE_REG.size, self.operation, self.name
        )


class QdeviceRename(msgspec.Struct, frozen=True, tag="qdevice_reconfigure"):
    """A quorum device gets another name (votequorum 3)."""

    old_name: bytes
    new_name: bytes
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """528 bytes."""
        return layouts.QDEVICE_RENAME.pack(
            self.little,
            self.padding,
            service_id(VOTEQUORUM, 3),
            layouts.QDEVICE_RENAME.size,
            self.old_name,
            self.new_name,
        )


class QdeviceExtra(msgspec.Struct, frozen=True, tag="qdevice_extra"):
    """Free text of a quorum device (votequorum 4, newer than 3.1.9)."""

    nodeid: int
    info: bytes
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """24 bytes plus the text."""
        size = layouts.QDEVICE_EXTRA.size + len(self.info)
        fixed = layouts.QDEVICE_EXTRA.pack(
            self.little, self.padding, service_id(VOTEQUORUM, 4), size, self.nodeid, len(self.info)
        )
        return fixed + self.info


# ------------------------------------------------------------------------------------------------------------ cmap


class CmapItem(msgspec.Struct, frozen=True):
    """One key of the configuration map; ``value`` is raw, in the sender's byte order; ``kind`` 8 is a u64."""

    key: bytes
    kind: int
    value: bytes
    tail: bytes = b""
    padding: bytes = b""


class CmapMcast(msgspec.Struct, frozen=True, tag="cmap_mcast"):
    """Configuration values for the other nodes (cmap 0); ``reason`` 0 sync, 1 new config version."""

    reason: int
    items: tuple[CmapItem, ...]
    reserved: tuple[int, int] = (0, 0)
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """48 bytes plus the items: 288 for a u64, 280 for a key that is not set."""
        parts = []
        for item in self.items:
            fixed = layouts.CMAP_ITEM.pack(
                self.little, item.padding, len(item.key), item.key + item.tail, item.kind, len(item.value)
            )
            parts.append(fixed + item.value + bytes(-len(item.value) % 8))
        size = layouts.CMAP.size + sum(map(len, parts))
        head = layouts.CMAP.pack(
            self.little, self.padding, service_id(CMAP, 0), size, self.reason, len(parts), *self.reserved
        )
        return head + b"".join(parts)


class ReloadConfig(msgspec.Struct, frozen=True, tag="reload_config"):
    """Every daemon is to read corosync.conf again (cfg 3); asked by a client of ``nodeid``.

    ``connection`` is the sender's pointer to that client, for its answer.
    """

    nodeid: int
    connection: int = 0
    padding: bytes = b""
    little: bool = True

    def encode(self) -> bytes:
        """32 bytes."""
        identifier, size = service_id(CFG, 3), layouts.RELOAD.size
        return layouts.RELOAD.pack(self.little, self.padding, identifier, size, self.nodeid, self.connection)


ServiceMessage: TypeAlias = (
    ProcJoin
    | ProcLeave
    | JoinList
    | CpgMcast
    | DownList
    | PartialMcast
    | NodeInfo
    | Reconfigure
    | QdeviceRegister
    | QdeviceRename
    | QdeviceExtra
    | CmapMcast
    | ReloadConfig
    | Opaque
)
SyncMessage: TypeAlias = Barrier | ServiceBuild | Opaque
