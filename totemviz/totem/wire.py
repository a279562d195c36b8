"""The six totemsrp messages in the exact bytes of corosync 3.1 (sheet §3.0-3.5, §3.10).

All structures are packed and in the *sender's* byte order; the 16-bit magic at offset 0 tells which. ``decode``
keeps the order it found (``little``), so encoding a decoded message gives back the same bytes.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

from totemviz.totem.config import PROCESSOR_COUNT_MAX, RETRANSMIT_ENTRIES_MAX, TOKEN_SIZE_MAX
from totemviz.totem.effects import RingId

MAGIC = 0xC070
VERSION = 3

ORF_TOKEN, MCAST, MERGE_DETECT, JOIN, COMMIT_TOKEN, HOLD_CANCEL = range(6)
TYPE_NAMES = ("orf_token", "mcast", "memb_merge_detect", "memb_join", "memb_commit_token", "token_hold_cancel")

NOT_ENCAPSULATED, ENCAPSULATED, ORDINARY = 0, 1, 2
AGREED, SAFE = 0, 1  # guarantee


class WireError(ValueError):
    """A datagram that corosync drops; the text is the log line it writes (sheet §3.5, §10.2)."""


class Token(msgspec.Struct, gc=False, tag="orf_token"):
    """ORF token (type 0): 57 bytes plus 16 per retransmit request. ``rtr`` holds (ring id, seq) pairs."""

    nodeid: int
    target: int
    seq: int
    token_seq: int
    aru: int
    aru_addr: int
    ring_id: RingId
    backlog: int = 0
    fcc: int = 0
    retrans_flg: int = 0
    rtr: tuple[tuple[RingId, int], ...] = ()
    little: bool = True

    def encode(self) -> bytes:
        """The datagram."""
        rep, ring_seq = self.ring_id.rep, self.ring_id.seq
        fixed = _TOKEN[self.little].pack(
            MAGIC,
            VERSION,
            ORF_TOKEN,
            NOT_ENCAPSULATED,
            self.nodeid,
            self.target,
            self.seq,
            self.token_seq,
            self.aru,
            self.aru_addr,
            rep,
            ring_seq,
            self.backlog,
            self.fcc,
            self.retrans_flg,
            len(self.rtr),
        )
        if not self.rtr:
            return fixed
        entry = _RTR[self.little]
        return fixed + b"".join(entry.pack(ring.rep, ring.seq, seq) for ring, seq in self.rtr)


class Mcast(msgspec.Struct, gc=False, tag="mcast"):
    """Ordered message (type 1): 45 bytes plus payload. ``encapsulated`` 2 ordinary, 1 carries an old-ring mcast."""

    nodeid: int
    target: int
    system_from: int
    seq: int
    this_seqno: int
    ring_id: RingId
    payload: bytes
    encapsulated: int = ORDINARY
    node_id: int = 0
    guarantee: int = 0
    little: bool = True

    def encode(self) -> bytes:
        """The datagram."""
        return (
            _MCAST[self.little].pack(
                MAGIC,
                VERSION,
                MCAST,
                self.encapsulated,
                self.nodeid,
                self.target,
                self.system_from,
                self.seq,
                self.this_seqno,
                self.ring_id.rep,
                self.ring_id.seq,
                self.node_id,
                self.guarantee,
            )
            + self.payload
        )


class MergeDetect(msgspec.Struct, gc=False, tag="memb_merge_detect"):
    """Merge detect (type 2), 29 bytes: the representative of an idle ring looks for other rings."""

    nodeid: int
    target: int
    system_from: int
    ring_id: RingId
    little: bool = True

    def encode(self) -> bytes:
        """The datagram."""
        return _MERGE[self.little].pack(
            MAGIC,
            VERSION,
            MERGE_DETECT,
            NOT_ENCAPSULATED,
            self.nodeid,
            self.target,
            self.system_from,
            self.ring_id.rep,
            self.ring_id.seq,
        )


class Join(msgspec.Struct, gc=False, tag="memb_join"):
    """Join (type 3), or leave when ``nodeid`` is 0: 33 bytes plus 4 per node id of both lists."""

    nodeid: int
    target: int
    system_from: int
    ring_seq: int
    proc: tuple[int, ...]
    failed: tuple[int, ...]
    little: bool = True

    @property
    def is_leave(self) -> bool:
        """A clean departure announces itself with header node id 0."""
        return self.nodeid == 0

    def encode(self) -> bytes:
        """The datagram."""
        ids = self.proc + self.failed
        return _JOIN[self.little].pack(
            MAGIC,
            VERSION,
            JOIN,
            NOT_ENCAPSULATED,
            self.nodeid,
            self.target,
            self.system_from,
            len(self.proc),
            len(self.failed),
            self.ring_seq,
        ) + struct.pack(f"{_ORDER[self.little]}{len(ids)}I", *ids)


class CommitEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One member's line in the commit token: its old ring and what it holds of it."""

    ring_id: RingId
    aru: int
    high_delivered: int
    received_flg: int


EMPTY_ENTRY = CommitEntry(RingId(0, 0), 0, 0, 0)


class CommitToken(msgspec.Struct, gc=False, tag="memb_commit_token"):
    """Commit token (type 4): 41 bytes plus 28 per member; goes round twice before a ring exists."""

    nodeid: int
    target: int
    token_seq: int
    ring_id: RingId
    memb_index: int
    addr: tuple[int, ...]
    entries: tuple[CommitEntry, ...]
    retrans_flg: int = 0
    little: bool = True

    def encode(self) -> bytes:
        """The datagram."""
        entry = _ENTRY[self.little]
        count = len(self.addr)
        return (
            _COMMIT[self.little].pack(
                MAGIC,
                VERSION,
                COMMIT_TOKEN,
                NOT_ENCAPSULATED,
                self.nodeid,
                self.target,
                self.token_seq,
                self.ring_id.rep,
                self.ring_id.seq,
                self.retrans_flg,
                self.memb_index,
                count,
            )
            + struct.pack(f"{_ORDER[self.little]}{count}I", *self.addr)
            + b"".join(
                entry.pack(e.ring_id.rep, e.ring_id.seq, e.aru, e.high_delivered, e.received_flg) for e in self.entries
            )
        )


class HoldCancel(msgspec.Struct, gc=False, tag="token_hold_cancel"):
    """Token hold cancel (type 5), 25 bytes: somebody has something to send while the token is held."""

    nodeid: int
    target: int
    ring_id: RingId
    little: bool = True

    def encode(self) -> bytes:
        """The datagram."""
        return _HOLD[self.little].pack(
            MAGIC,
            VERSION,
            HOLD_CANCEL,
            NOT_ENCAPSULATED,
            self.nodeid,
            self.target,
            self.ring_id.rep,
            self.ring_id.seq,
        )


Message: TypeAlias = Token | Mcast | MergeDetect | Join | CommitToken | HoldCancel

# index 0: big endian, 1: little endian, so that a bool picks the order
_ORDER = (">", "<")
_HEADER_FORMAT = "HBBBII"


def _both(body: str) -> tuple[struct.Struct, struct.Struct]:
    return struct.Struct(f">{_HEADER_FORMAT}{body}"), struct.Struct(f"<{_HEADER_FORMAT}{body}")


_HEADER = _both("")
_TOKEN = _both("IIIIIQIIii")
_MCAST = _both("IIiIQIi")
_MERGE = _both("IIQ")
_JOIN = _both("IIIQ")
_COMMIT = _both("IIQIii")
_HOLD = _both("IQ")
_RTR = (struct.Struct(">IQI"), struct.Struct("<IQI"))
_ENTRY = (struct.Struct(">IQIII"), struct.Struct("<IQIII"))
_MAGIC_LITTLE = struct.pack("<H", MAGIC)
_MAGIC_BIG = struct.pack(">H", MAGIC)
_HEADER_SIZE = 13


def decode(data: bytes, sender: str = "?") -> Message:
    """Decode one datagram of either byte order.

    Raises WireError with corosync's log line if the sanity checks of sheet §3.5 fail; ``sender`` is named in it.
    """
    if len(data) < _HEADER_SIZE:
        raise WireError(f"Message received from {sender} is too short...  Ignoring {len(data)}.")
    magic = data[:2]
    if magic not in (_MAGIC_LITTLE, _MAGIC_BIG):
        guess = _probable_sender(data)
        raise WireError(f"Message received from {sender} has bad magic number (probably sent by {guess}).. Ignoring")
    if data[2] != VERSION:
        raise WireError(f"Message received from {sender} has unsupported version {data[2]}... Ignoring")
    kind = data[3]
    if kind >= len(_DECODERS):
        raise WireError(f"Message received from {sender} has wrong type...  ignoring {kind}.")
    try:
        return _DECODERS[kind](data, magic == _MAGIC_LITTLE)
    except struct.error:
        raise WireError(f"Received {TYPE_NAMES[kind]} message is too short...  ignoring.") from None


def _probable_sender(data: bytes) -> str:
    """Corosync's guess at who sends foreign datagrams to its port (``totemsrp.c: check_message_header_validity``)."""
    guesses = {b"\xff\xff": "Corosync 2.2", b"\xfe\xfe": "Corosync 2.3+"}
    if (guess := guesses.get(data[:2])) is not None:
        return guess
    if data[0] == 1:
        return "unencrypted Kronosnet"
    if data[0] <= 5:
        return "unencrypted Corosync 2.0/2.1/1.x/OpenAIS"
    return "encrypted Kronosnet/Corosync 2.0/2.1/1.x/OpenAIS or unknown"


def _decode_token(data: bytes, little: bool) -> Token:
    (_, _, _, _, nodeid, target, seq, token_seq, aru, aru_addr, rep, ring_seq, backlog, fcc, flag, count) = _TOKEN[
        little
    ].unpack_from(data)
    if len(data) > TOKEN_SIZE_MAX:
        raise WireError(f"Received {TYPE_NAMES[ORF_TOKEN]} message is too long...  ignoring.")
    if not 0 <= count <= RETRANSMIT_ENTRIES_MAX:
        raise WireError(f"Received {TYPE_NAMES[ORF_TOKEN]} message rtr_entries is corrupted...  ignoring.")
    rtr: tuple[tuple[RingId, int], ...] = ()
    if count:
        unpack = _RTR[little].unpack_from
        entries = [unpack(data, 57 + 16 * i) for i in range(count)]
        rtr = tuple((RingId(r, s), n) for r, s, n in entries)
    ring_id = RingId(rep, ring_seq)
    return Token(nodeid, target, seq, token_seq, aru, aru_addr, ring_id, backlog, fcc, flag, rtr, little)


def _decode_mcast(data: bytes, little: bool) -> Mcast:
    (_, _, _, encapsulated, nodeid, target, system_from, seq, this_seqno, rep, ring_seq, node_id, guarantee) = _MCAST[
        little
    ].unpack_from(data)
    ring_id = RingId(rep, ring_seq)
    return Mcast(
        nodeid, target, system_from, seq, this_seqno, ring_id, data[45:], encapsulated, node_id, guarantee, little
    )


def _decode_merge(data: bytes, little: bool) -> MergeDetect:
    _, _, _, _, nodeid, target, system_from, rep, ring_seq = _MERGE[little].unpack_from(data)
    return MergeDetect(nodeid, target, system_from, RingId(rep, ring_seq), little)


def _decode_join(data: bytes, little: bool) -> Join:
    _, _, _, _, nodeid, target, system_from, n_proc, n_failed, ring_seq = _JOIN[little].unpack_from(data)
    if n_proc > PROCESSOR_COUNT_MAX or n_failed > PROCESSOR_COUNT_MAX:
        raise WireError(
            f"Received {TYPE_NAMES[JOIN]} message list_entries exceeds the maximum allowed value...  ignoring."
        )
    ids = struct.unpack_from(f"{_ORDER[little]}{n_proc + n_failed}I", data, 33)
    return Join(nodeid, target, system_from, ring_seq, ids[:n_proc], ids[n_proc:], little)


def _decode_commit(data: bytes, little: bool) -> CommitToken:
    _, _, _, _, nodeid, target, token_seq, rep, ring_seq, flag, index, count = _COMMIT[little].unpack_from(data)
    if not 0 <= count <= PROCESSOR_COUNT_MAX:
        raise WireError(f"Received {TYPE_NAMES[COMMIT_TOKEN]} message is too short...  ignoring.")
    addr = struct.unpack_from(f"{_ORDER[little]}{count}I", data, 41)
    unpack = _ENTRY[little].unpack_from
    raw = [unpack(data, 41 + 4 * count + 24 * i) for i in range(count)]
    entries = tuple(CommitEntry(RingId(r, s), a, h, f) for r, s, a, h, f in raw)
    return CommitToken(nodeid, target, token_seq, RingId(rep, ring_seq), index, addr, entries, flag, little)


def _decode_hold(data: bytes, little: bool) -> HoldCancel:
    _, _, _, _, nodeid, target, rep, ring_seq = _HOLD[little].unpack_from(data)
    return HoldCancel(nodeid, target, RingId(rep, ring_seq), little)


_DECODERS = (_decode_token, _decode_mcast, _decode_merge, _decode_join, _decode_commit, _decode_hold)
