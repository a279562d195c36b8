"""Bytes, digests and results that the real program produced (sheet §13)."""

from __future__ import annotations

import hashlib

import pytest

from tests.pmxcfs.bus import Bus, S
from totemviz.pmxcfs.ascii import to_ascii
from totemviz.pmxcfs.clusterlog import (
    ClusterLog,
    LogEntry,
    MalformedRingError,
    check_ring,
    decode_entry,
    decode_ring,
    encode_entry,
)
from totemviz.pmxcfs.effects import CpgMcast
from totemviz.pmxcfs.index import (
    Entry,
    EntryType,
    MalformedIndexError,
    decode_index,
    entry_checksum,
    new_root,
)
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.messages import (
    DCDB_GROUP,
    DcdbType,
    Epoch,
    MalformedMessageError,
    MessageType,
    NormalMessage,
    StateMessage,
    UnlockMessage,
    decode_fuse,
    decode_message,
    decode_unlock,
    decode_update,
    decode_verify,
    decode_verify_request,
    encode_fuse,
    encode_message,
    encode_unlock,
    encode_update,
    encode_verify,
    encode_verify_request,
)

T0 = 1_700_000_000
V1_INDEX = bytes.fromhex(
    "010000000000000000000000000000000000000000000000010000004800000000000000000000004c56076e879e582d9b0f9fee24664fc9"
    "a26a49591880e0e7cd12061406db0511"
)
V3_INDEX = bytes.fromhex(
    "040000000000000003000000000000000100000002f153650300000098000000"
    "0000000000000000e30a9737bbaf4fd91864f087b4b732783d75756e653bed6a801b9ff563671c13"
    "02000000000000006b3f17356deaf839a3fdd8886580a08aea84d7608157bc7e75ad6424bb883be4"
    "030000000000000060d8da9fcb863dca71aabf0770d42022f813d0ebeccc409a088a7eed4d17a916"
)

# second, operation, path, to, data, offset, truncate; the message on the wire (or None); the result
V2 = [
    (0, "mkdir", "dir1", "", b"", 0, False,
     "000002000100000000f1536500000000010000000000000000000000000000000500000000000000000000006469723100", 0),
    (1, "create", "dir1/f", "", b"", 0, False,
     "000005000100000001f1536500000000020000000000000000000000000000000700000000000000000000006469"
     "72312f6600", 0),
    (2, "write", "dir1/f", "", b"hello", 0, False,
     "000001000100000002f153650000000003000000000000000500000000000000070000000000000000000000"
     "646972312f660068656c6c6f", 5),
    (3, "write", "dir1/f", "", b"X", 7, False,
     "000001000100000003f153650000000004000000000000000100000007000000070000000000000000000000"
     "646972312f660058", 1),
    (3, "write", "dir1/f", "", b"", 3, True,
     "000001000100000003f153650000000005000000000000000000000003000000070000000000000001000000"
     "646972312f6600", 0),
    (3, "write", "dir1/f", "", b"", 6, True,
     "000001000100000003f153650000000006000000000000000000000006000000070000000000000001000000"
     "646972312f6600", 0),
    (3, "rename", "dir1/f", "g", b"", 0, False,
     "000004000100000003f153650000000007000000000000000000000000000000070000000200000000000000"
     "646972312f66006700", 0),
    (3, "mtime", "g", "", b"", 12345, False,
     "000006000100000003f1536500000000080000000000000000000000393000000200000000000000000000006700", 0),
    (3, "delete", "dir1", "", b"", 0, False,
     "000003000100000003f1536500000000090000000000000000000000000000000500000000000000000000006469723100", 0),
    (3, "delete", "nope", "", b"", 0, False, None, -2),
    (3, "write", "nope", "", b"x", 0, False, None, -2),
    (3, "write", "g", "", b"x", 1048576, False, None, -27),
    (3, "create", "g", "", b"", 0, False, None, -17),
    (3, "create", "g/x", "", b"", 0, False, None, -20),
]  # fmt: skip
CONTENTS = ["68656c6c6f", "68656c6c6f000058", "68656c", "68656c000000"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_v1_fresh_tree():
    memdb = Memdb()
    assert memdb.index() == V1_INDEX
    assert sha256(memdb.index()) == "65cad7c3e968ec5467210dd9c8325780a7055f1434b549af56c9fd33598c8473"
    assert memdb.checksum().hex() == "797583cf6bdd2a84ceef9865f30212d449b7094fbf1efdff7954d447ad5677a1"


@pytest.fixture
def node(tmp_path):
    """The single node 1/4242 of the vectors, synchronised with itself, half a second before T0 + 1."""
    bus = Bus(tmp_path, 1)
    bus.hosts[1].pid = 4241
    bus.start()
    bus.run(0.5)
    return bus


def at_second(bus: Bus, second: int) -> None:
    bus.run((second * S + S // 2 - bus.now_ns) / S)


def sent(bus: Bus) -> list[bytes]:
    """The dcdb messages of node 1 so far."""
    return [o.payload for o in bus.hosts[1].outputs if isinstance(o, CpgMcast) and o.group == DCDB_GROUP]


def test_v2_messages_and_results(node):
    contents = []
    for number, (second, operation, path, to, data, offset, truncate, message, result) in enumerate(V2, 1):
        at_second(node, second)
        got = node.result(1, operation, path, to, data=data, offset=offset, truncate=truncate)
        assert got == result, (operation, path)
        assert decode_message(sent(node)[-1]).count == number
        if message is not None:
            assert sent(node)[-1].hex() == message
        if operation == "write" and result >= 0:
            contents.append(node.machine(1).read(path).hex())
        if number == 3:  # V3
            memdb = node.machine(1).memdb
            assert memdb.index() == V3_INDEX
            assert sha256(V3_INDEX) == "c5308e369415d0f52c50788b1c516718a2375f7189aad1d7e6a062002d66037c"
            assert memdb.checksum().hex() == "b7ee430c8e4b5474b57e92a53afe0f61070d0bdcec7a50d6fc2043000fb71964"
    assert contents == CONTENTS
    memdb = node.machine(1).memdb
    index = decode_index(memdb.index())
    assert (index.version, index.last_inode, len(index.digests)) == (10, 3, 2)
    assert sha256(memdb.index()) == "762fe91c89520e2fa588ee9b46c65a835be6c6bbe967b77740965b3840f3aa90"
    assert memdb.checksum().hex() == "e92fe93dac98df2d3a99bd4966c76e8ffca9c3910788c8e951e7749d641d477d"


@pytest.mark.parametrize("message", [row[7] for row in V2 if row[7]])
def test_v2_decodes_to_what_encodes_the_same(message):
    decoded = decode_message(bytes.fromhex(message))
    assert isinstance(decoded, NormalMessage)
    assert encode_message(decoded).hex() == message
    assert encode_fuse(decode_fuse(decoded.payload)) == decoded.payload


def test_v4_upstream_unit_test():
    memdb = Memdb()
    for number in range(100):
        assert memdb.create(f"testfile{number}", 0, 1234).result == 0
        assert memdb.write(f"testfile{number}", bytes(32768), 0, 1234).result == 32768
    index = decode_index(memdb.index())
    assert (index.version, index.last_inode, len(index.digests)) == (201, 200, 101)
    assert sha256(memdb.index()) == "913fd95015af9d93f10dd51ba2a7bb11351bcfe040be21e95fcba834adc3ec10"


V5_CHECKSUM = bytes.fromhex("eb21394259b6d08d61f753c53feedf032c22b74dbe1697768a6f4388487b1154")


def test_v5_checksum_and_messages():
    lock = Entry(13, 12, 14, 1, T0 + 13, EntryType.DIRECTORY, "a")
    assert entry_checksum(lock) == V5_CHECKSUM
    unlock = UnlockMessage("priv/lock/a", V5_CHECKSUM)
    request = NormalMessage(DcdbType.UNLOCK_REQUEST, 1, T0 + 133, 22, encode_unlock(unlock))
    expected = "000007000100000085f15365000000001600000000000000" + V5_CHECKSUM.hex() + "707269762f6c6f636b2f6100"
    assert encode_message(request).hex() == expected
    assert decode_unlock(decode_message(bytes.fromhex(expected)).payload) == unlock
    assert decode_message(bytes.fromhex("000008000100000086f15365000000001800000000000000")).count == 24


def test_v5_lock_expires_after_120_seconds_and_not_before(node):
    for second, path in ((0, "dir1"), (1, "dir1/f"), (2, "dir1/g"), *((3, f"d{n}") for n in range(6))):
        at_second(node, second)
        node.result(1, "mkdir", path)
    at_second(node, 4)
    for path in ("priv", "priv/lock", "priv/lock/a"):
        assert node.result(1, "mkdir", path) == 0
    at_second(node, 13)
    assert node.result(1, "mtime", "priv/lock/a", offset=T0 + 13) == 0
    lock = node.machine(1).memdb.lookup("priv/lock/a")
    assert (lock.inode, lock.parent, lock.version, lock.mtime) == (13, 12, 14, T0 + 13)
    assert entry_checksum(lock) == V5_CHECKSUM
    at_second(node, 133)
    assert node.result(1, "mtime", "priv/lock/a", offset=0) == -13
    assert node.machine(1).memdb.lookup("priv/lock/a") is not None
    at_second(node, 134)
    assert node.result(1, "mtime", "priv/lock/a", offset=0) == -13
    assert node.machine(1).memdb.lookup("priv/lock/a") is None
    unlock = decode_message(sent(node)[-1])
    assert unlock.subtype == DcdbType.UNLOCK
    assert decode_unlock(unlock.payload) == UnlockMessage("priv/lock/a", V5_CHECKSUM)


EPOCH = Epoch(4, 0x6553F18B, 1, 4242)
EPOCH_HEX = "040000008bf153650100000092100000"


def header(type_: int, time_hex: str = "8bf15365") -> str:
    return f"{type_:02x}00000001000000{time_hex}00000000" + EPOCH_HEX


V6 = [
    (MessageType.SYNC_START, b"", ""),
    (MessageType.STATE, V1_INDEX, V1_INDEX.hex()),
    (
        MessageType.UPDATE,
        encode_update(new_root(19, 1, 0x6553F186)),
        "00000000000000000000000000000000130000000000000001000000" + "86f15365000000000100000004" + "00",
    ),
    (
        MessageType.UPDATE,
        encode_update(Entry(3, 0, 9, 1, 12345, EntryType.FILE, "g", b"hel\0\0\0")),
        "00000000000000000300000000000000090000000000000001000000393000000600000002000000"
        + "08"
        + "6700"
        + "68656c000000",
    ),
    (MessageType.UPDATE_COMPLETE, b"", ""),
    (MessageType.VERIFY_REQUEST, encode_verify_request(1), "0100000000000000"),
    (MessageType.VERIFY, encode_verify(1, bytes(range(32))), "0100000000000000" + bytes(range(32)).hex()),
]


@pytest.mark.parametrize(("type_", "payload", "payload_hex"), V6)
def test_v6_state_messages(type_, payload, payload_hex):
    message = StateMessage(type_, 1, 0x6553F18B, EPOCH, payload)
    assert encode_message(message).hex() == header(type_) + payload_hex
    assert decode_message(encode_message(message)) == message
    assert str(EPOCH) == "1/4242/00000004"


def test_v6_payloads_decode():
    assert decode_update(V6[2][1]) == new_root(19, 1, 0x6553F186)
    assert decode_update(V6[3][1]) == Entry(3, 0, 9, 1, 12345, EntryType.FILE, "g", b"hel\0\0\0")
    assert decode_verify_request(V6[5][1]) == 1
    assert decode_verify(V6[6][1]) == (1, bytes(range(32)))


V7 = (
    "00000000000000000100000000f15365834a33e501b41f6161bb95bf5d9af60b090300000605090a100000007076653100726f6f744070616d00"
    "7076656461656d6f6e006869205c22785c22205c753030653900"
)


def test_v7_cluster_log_entry_and_ring():
    entry = LogEntry("pve1", "root@pam", "pvedaemon", 777, T0, 6, 1, to_ascii('hi "x" é', quote=True))
    assert encode_entry(entry).hex() == V7 + "00000000"
    assert decode_entry(bytes.fromhex(V7 + "00000000")) == entry
    log = ClusterLog()
    assert log.insert(entry)
    assert not log.insert(entry), "a duplicate"
    later = LogEntry("pve2", "root@pam", "pvedaemon", 778, T0 + 1, 6, 1, "later")
    assert log.insert(later)
    ring = log.ring()
    assert len(ring) == 131072
    assert ring[:8].hex() == "0000020060000000"  # size; the newest entry, behind 88 bytes
    assert decode_ring(ring) == [entry, later]
    other = ClusterLog()
    other.merge([b"", ring, None, ring], 0)
    assert other.ring() == ring
    with pytest.raises(MalformedRingError, match="received log with wrong size 131071"):
        check_ring(ring[:-1])


def test_the_cluster_log_forgets_the_oldest():
    log = ClusterLog()
    for number in range(60):
        log.insert(LogEntry("pve1", "root", "t", 1, T0 + number, 6, number, "x" * 4000))
    assert log.entries[-1].uid == 59
    assert [entry.uid for entry in log.newest(50)] == list(range(59, 28, -1)), "32 fit, one may be overwritten next"
    assert decode_ring(log.ring()) == log.entries
    log.merge([b"", log.ring()], 0)
    assert len(log.entries) == 31


@pytest.mark.parametrize(
    ("decode", "data", "text"),
    [
        (decode_message, bytes(15), r"received short message \(15 bytes\)"),
        (decode_message, bytes(23), "received short message"),
        (decode_message, b"\1" + bytes(30), "received short state message"),
        (decode_fuse, bytes(19), "received short fuse message"),
        (decode_fuse, b"\1" + bytes(19), "received mailformed fuse message"),
        (decode_fuse, bytes.fromhex("0000000000000000020000000000000000000000") + b"ab", "not terminated"),
        (decode_unlock, bytes(32), r"received short unlock message \(32 < 33\)"),
        (decode_unlock, bytes(32) + b"a", "not terminated"),
        (decode_update, bytes(39), r"received short message \(msg_len < 40\)"),
        (decode_update, bytes(41), "mailformed"),
        (decode_verify, bytes(39), "wrong length"),
        (decode_verify_request, bytes(9), "wrong length"),
    ],
)
def test_malformed_messages_are_refused(decode, data, text):
    with pytest.raises(MalformedMessageError, match=text):
        decode(data)


@pytest.mark.parametrize("data", [V1_INDEX[:-1], V1_INDEX + b"\0", V1_INDEX[:31], b""])
def test_malformed_indices_are_refused(data):
    with pytest.raises(MalformedIndexError, match="memdb index"):
        decode_index(data)
