"""The messages of pmxcfs on the wire: dfsm headers (sheet §5.2), dcdb payloads (§4.2, §4.5).

Everything is little-endian with exact field widths; strings carry their terminating NUL in their length. Decoding
raises MalformedMessageError with the text that pmxcfs logs before it leaves the group.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TypeAlias

import msgspec

from totemviz.pmxcfs.index import Entry, EntryType, name_bytes, name_text

DCDB_GROUP, DCDB_PROTOCOL_VERSION = "pve_dcdb_v1", 1
STATUS_GROUP, STATUS_PROTOCOL_VERSION = "pve_kvstore_v1", 0

_BASE = struct.Struct("<HHIII")  # type, subtype, protocol version, time, reserved
_COUNT = struct.Struct("<Q")
_EPOCH = struct.Struct("<IIII")  # counter, time, node id, pid
_FUSE = struct.Struct("<IIIII")  # size, offset, path length, to length, flags
_UPDATE = struct.Struct("<QQQIIIIB")  # parent, inode, version, writer, mtime, size, name length, type
_VERIFY = struct.Struct("<Q32s")

_FLAG_TRUNCATE = 1
_CHECKSUM_BYTES = 32
_NORMAL_BYTES = _BASE.size + _COUNT.size
_STATE_BYTES = _BASE.size + _EPOCH.size


class MessageType(IntEnum):
    """The type in the base header: NORMAL messages belong to the application, the others to the state machine."""

    NORMAL = 0
    SYNC_START = 1
    STATE = 2
    UPDATE = 3
    UPDATE_COMPLETE = 4
    VERIFY_REQUEST = 5
    VERIFY = 6


_NORMAL = MessageType.NORMAL


class DcdbType(IntEnum):
    """The subtype of a NORMAL message in the dcdb group: one replicated operation."""

    WRITE = 1
    MKDIR = 2
    DELETE = 3
    RENAME = 4
    CREATE = 5
    MTIME = 6
    UNLOCK_REQUEST = 7
    UNLOCK = 8


class StatusType(IntEnum):
    """The subtype of a NORMAL message in the status group."""

    UPDATE = 1
    LOG = 3


class MalformedMessageError(ValueError):
    """The bytes are no message of this kind; the text is pmxcfs' log line."""


class Epoch(msgspec.Struct, frozen=True, gc=False):
    """One attempt to synchronise, named by the member that started it. Equal only if all 16 bytes are."""

    counter: int
    time_s: int
    nodeid: int
    pid: int

    def __str__(self) -> str:
        """As the log prints it."""
        return f"{self.nodeid}/{self.pid}/{self.counter:08X}"


NO_EPOCH = Epoch(0, 0, 0, 0)


class NormalMessage(msgspec.Struct, frozen=True, gc=False):
    """An application's message. ``count`` is per sending process and state machine, from 1; ``time_s`` its clock."""

    subtype: int
    protocol_version: int
    time_s: int
    count: int
    payload: bytes


class StateMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of the state machine itself, valid in one epoch only. ``type`` may be an unknown number."""

    type: int
    protocol_version: int
    time_s: int
    epoch: Epoch
    payload: bytes


Message: TypeAlias = NormalMessage | StateMessage


def encode_message(message: Message) -> bytes:
    """A message as it is multicast: header and payload."""
    if isinstance(message, NormalMessage):
        base = _BASE.pack(MessageType.NORMAL, message.subtype, message.protocol_version, message.time_s, 0)
        return base + _COUNT.pack(message.count) + message.payload
    base = _BASE.pack(message.type, 0, message.protocol_version, message.time_s, 0)
    epoch = message.epoch
    return base + _EPOCH.pack(epoch.counter, epoch.time_s, epoch.nodeid, epoch.pid) + message.payload


def protocol_version(data: bytes) -> int:
    """The protocol version in the base header: to be looked at before the rest is read."""
    if len(data) < _BASE.size:
        raise MalformedMessageError(f"received short message ({len(data)} bytes)")
    version: int = _BASE.unpack_from(data)[2]
    return version


def decode_message(data: bytes) -> Message:
    """Read the header of a message of our own protocol version."""
    version = protocol_version(data)
    type_, subtype, _, time_s, _ = _BASE.unpack_from(data)
    if type_ == _NORMAL:
        if len(data) < _NORMAL_BYTES:
            raise MalformedMessageError(
                f"received short message (type = {type_}, subtype = {subtype}, {len(data)} bytes)"
            )
        (count,) = _COUNT.unpack_from(data, _BASE.size)
        return NormalMessage(subtype, version, time_s, count, data[_NORMAL_BYTES:])
    if len(data) < _STATE_BYTES:
        text = f"received short state message (type = {type_}, subtype = {subtype}, {len(data)} bytes)"
        raise MalformedMessageError(text)
    epoch = Epoch(*_EPOCH.unpack_from(data, _BASE.size))
    return StateMessage(type_, version, time_s, epoch, data[_STATE_BYTES:])


# ------------------------------------------------------------------------------------------------------ dcdb payloads


class FuseMessage(msgspec.Struct, frozen=True, gc=False):
    """One file operation. ``offset``: bytes; for a truncate the new size, for MTIME the new time in seconds.

    ``path`` is None in a message that names none: pmxcfs never sends one, but takes it (EINVAL or ENOENT).
    """

    path: str | None
    to: str = ""
    data: bytes = b""
    offset: int = 0
    truncate: bool = False


class UnlockMessage(msgspec.Struct, frozen=True, gc=False):
    """Names one state of a lock directory, for UNLOCK_REQUEST and UNLOCK."""

    path: str
    checksum: bytes


def encode_fuse(message: FuseMessage) -> bytes:
    """The payload of the operations 1 to 6."""
    path = b"" if message.path is None else _terminated(message.path)
    to = _terminated(message.to) if message.to else b""
    flags = _FLAG_TRUNCATE if message.truncate else 0
    return _FUSE.pack(len(message.data), message.offset, len(path), len(to), flags) + path + to + message.data


def decode_fuse(payload: bytes) -> FuseMessage:
    """Read the payload of the operations 1 to 6 (``dcdb.c: dcdb_parse_fuse_message``)."""
    if len(payload) < _FUSE.size:
        raise MalformedMessageError(f"received short fuse message ({len(payload)} < {_FUSE.size})")
    size, offset, path_length, to_length, flags = _FUSE.unpack_from(payload)
    path_end = _FUSE.size + path_length
    to_end = path_end + to_length
    if len(payload) != to_end + size:
        raise MalformedMessageError("received mailformed fuse message")
    path = _string(payload[_FUSE.size : path_end], "fuse message - 'path' not terminated") if path_length else None
    to = _string(payload[path_end:to_end], "fuse message - 'to' not terminated") if to_length else ""
    return FuseMessage(path, to, payload[to_end:], offset, bool(flags))


def encode_unlock(message: UnlockMessage) -> bytes:
    """The payload of UNLOCK_REQUEST and UNLOCK."""
    return message.checksum + _terminated(message.path)


def decode_unlock(payload: bytes) -> UnlockMessage:
    """Read the payload of UNLOCK_REQUEST and UNLOCK (``dcdb.c: dcdb_parse_unlock_request``)."""
    if len(payload) <= _CHECKSUM_BYTES:
        raise MalformedMessageError(f"received short unlock message ({len(payload)} < {_CHECKSUM_BYTES + 1})")
    path = _string(payload[_CHECKSUM_BYTES:], "unlock message - 'path' not terminated")
    return UnlockMessage(path, payload[:_CHECKSUM_BYTES])


def encode_update(entry: Entry) -> bytes:
    """The payload of an UPDATE: a whole entry, the root included (sheet §4.5)."""
    name = _terminated(entry.name)
    fields = (entry.parent, entry.inode, entry.version, entry.writer, entry.mtime, entry.size, len(name), entry.type)
    return _UPDATE.pack(*fields) + name + entry.data


def decode_update(payload: bytes) -> Entry:
    """Read the payload of an UPDATE (``dcdb.c: dcdb_parse_update_inode``)."""
    if len(payload) < _UPDATE.size:
        raise MalformedMessageError("received short message (msg_len < 40)")
    parent, inode, version, writer, mtime, size, name_length, type_ = _UPDATE.unpack_from(payload)
    name_end = _UPDATE.size + name_length
    if type_ not in (EntryType.DIRECTORY, EntryType.FILE):
        raise MalformedMessageError(f"received mailformed message (unknown inode type {type_})")
    if len(payload) != name_end + size:
        raise MalformedMessageError("received mailformed message (msg_len != (size + namelen))")
    name = _string(payload[_UPDATE.size : name_end], "message (name[namelen-1] != 0)")
    return Entry(inode, parent, version, writer, mtime, EntryType(type_), name, payload[name_end:])


# ---------------------------------------------------------------------------------------------------- verify payloads


def encode_verify_request(checksum_id: int) -> bytes:
    """The payload of VERIFY_REQUEST."""
    return _COUNT.pack(checksum_id)


def decode_verify_request(payload: bytes) -> int:
    """The checksum id of a VERIFY_REQUEST. The text of the error lacks its end, the sender."""
    if len(payload) != _COUNT.size:
        raise MalformedMessageError(f"cpg received verify request with wrong length ({len(payload)} bytes)")
    checksum_id: int = _COUNT.unpack(payload)[0]
    return checksum_id


def encode_verify(checksum_id: int, checksum: bytes) -> bytes:
    """The payload of VERIFY."""
    return _VERIFY.pack(checksum_id, checksum)


def decode_verify(payload: bytes) -> tuple[int, bytes]:
    """The checksum id and the 32-byte checksum of a VERIFY."""
    if len(payload) != _VERIFY.size:
        raise MalformedMessageError(f"cpg received verify message with wrong length ({len(payload)} bytes)")
    checksum_id, checksum = _VERIFY.unpack(payload)
    return checksum_id, checksum


def _terminated(text: str) -> bytes:
    return name_bytes(text) + b"\0"


def _string(data: bytes, trouble: str) -> str:
    """A NUL-terminated string; like in C it ends at its first NUL. Names are bytes: see ``index.name_bytes``."""
    if not data.endswith(b"\0"):
        raise MalformedMessageError(f"received mailformed {trouble}")
    return name_text(data[: data.index(b"\0")])
