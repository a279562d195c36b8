"""Service messages: sizes, byte examples, real recordings, and encode(decode(x)) = x for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from totemviz.corosync import wire
from totemviz.corosync.decoders import decode, decode_message, decode_sync
from totemviz.corosync.wire import (
    Barrier,
    CmapItem,
    CmapMcast,
    CpgMcast,
    DownList,
    JoinEntry,
    JoinList,
    Message,
    NodeInfo,
    Opaque,
    PartialMcast,
    ProcJoin,
    ProcLeave,
    QdeviceExtra,
    QdeviceRegister,
    QdeviceRename,
    Reconfigure,
    ServiceBuild,
)
from totemviz.totem.effects import RingId

RECORDED = Path(__file__).parent / "data" / "messages.hex"
RING = RingId(1, 9)
VERSION = CmapItem(b"totem.config_version", 8, (9).to_bytes(8, "little"))

SIZES: list[tuple[Message, int]] = [
    (ProcJoin(b"pve_dcdb_v1\0", 4711, 1), 168),
    (ProcLeave(b"x", 1, 5), 168),
    (JoinList(()), 24),
    (JoinList((JoinEntry(b"a", 1), JoinEntry(b"b", 2))), 24 + 2 * 144),
    (CpgMcast(b"g", 1, (2, 3), b"payload"), 184 + 7),
    (DownList(3, 1, (2,)), 1568),
    (PartialMcast(b"g", 1, (2, 3), 2_000_000, 1, b"piece"), 200 + 5),
    (Barrier(RING), 32),
    (ServiceBuild(RING, (0, 2, 3, 5)), 552),
    (NodeInfo(1, 1, 3, 9), 32),
    (Reconfigure(2, 5, 1), 32),
    (QdeviceRegister(1, bytes(255)), 280),
    (QdeviceRename(bytes(255), bytes(255)), 528),
    (QdeviceExtra(1, b"text"), 28),
    (CmapMcast(0, (VERSION,)), 336),
    (CmapMcast(0, (CmapItem(b"totem.config_version", 0, b""),)), 328),
]


@pytest.mark.parametrize(("message", "size"), SIZES, ids=[type(message).__name__ for message, _ in SIZES])
def test_sizes_of_the_sheet_and_round_trip(message: Message, size: int) -> None:
    body = message.encode()
    assert len(body) == size
    decoder = decode_sync if isinstance(message, Barrier | ServiceBuild) else decode
    assert decoder(body) == message
    assert not isinstance(decoder(body + b"\0"), type(message))


def test_the_sheet_s_barrier() -> None:
    """Sheet §3.10, the payload of its last example."""
    message = bytes.fromhex(
        "01 00 04 00 73 79 6e 63 00 00 00 00 00 00 00 00 20 00 00 00 00 00 00 00"
        "01 00 00 00 09 00 00 00 00 00 00 00 00 00 00 00"
    )
    assert decode_message(message) == ((b"sync",), Barrier(RING))
    assert wire.PREFIX_SYNC + Barrier(RING).encode() == message


def test_offsets_of_an_mcast() -> None:
    body = CpgMcast(b"pve_dcdb_v1\0", 4711, (3, 0x5602E2D26EF0), b"hello").encode()
    assert body[:4] == (2 << 16 | 3).to_bytes(4, "little")
    assert body[8:12] == (189).to_bytes(4, "little")
    assert (body[16], body[24:36]) == (12, b"pve_dcdb_v1\0")
    assert (body[152], body[160:162], body[168]) == (5, (4711).to_bytes(2, "little"), 3)
    assert body[176:184] == (0x5602E2D26EF0).to_bytes(8, "little")
    assert body[184:] == b"hello"


def test_the_other_byte_order() -> None:
    body = NodeInfo(1, 1, 3, 9, little=False).encode()
    assert body[:4] == bytes((0, 5, 0, 0))
    assert decode(body, little=False) == NodeInfo(1, 1, 3, 9, little=False)
    assert isinstance(decode(body, little=True), Opaque)


def recorded() -> list[tuple[str, bytes]]:
    rows = [line.split() for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
    return [(name, bytes.fromhex(text.split("*")[0]) + bytes(int(text.split("*")[1]))) for name, text in rows]


@pytest.mark.parametrize(("name", "message"), recorded())
def test_recorded_messages_decode_to_names_and_back(name: str, message: bytes) -> None:
    groups, decoded = decode_message(message)
    assert type(decoded).__name__ == name
    assert wire.group_address(*groups) + decoded.encode() == message


def test_recorded_fields() -> None:
    decoded = [decode_message(message)[1] for _, message in recorded()]
    assert ServiceBuild(RingId(1, 5), (0, 2, 3, 5)) in decoded
    assert NodeInfo(1, 1, 3, 8) in decoded
    assert DownList(3, 1, (1,)) in decoded
    assert DownList(0, 0, ()) in decoded
    assert CmapMcast(0, (CmapItem(b"totem.config_version", 0, b""),)) in decoded
    lists = [message for message in decoded if isinstance(message, JoinList)]
    assert [[entry.group for entry in each.entries] for each in lists] == [
        [b"pve_dcdb_v1\0", b"pve_kvstore_v1\0", b"totemviz-test"],
        [b"pve_dcdb_v1\0", b"pve_kvstore_v1\0"],
    ]


def test_memory_of_a_client_in_the_gaps_is_kept() -> None:
    (message,) = {
        message
        for name, message in recorded()
        if name == "ProcJoin" and decode_message(message)[1].padding  # type: ignore[union-attr]
    }
    _, decoded = decode_message(message)
    assert isinstance(decoded, ProcJoin)
    assert decoded.group == b"pve_kvstore_v1\0"
    assert decoded.padding[8:12] == bytes.fromhex("abd77e50")
    assert ProcJoin(decoded.group, decoded.pid, decoded.reason).encode() != decoded.encode()


@given(st.sampled_from(SIZES), st.data())
def test_any_change_of_a_message_survives(pair: tuple[Message, int], data: st.DataObject) -> None:
    body = bytearray(pair[0].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.sampled_from([len(body), len(body), len(body) // 2, 3]))])
    for little in (True, False):
        assert decode(cut, little).encode() == cut
        assert decode_sync(cut, little).encode() == cut


@given(st.binary(max_size=40))
def test_any_message_splits_or_is_refused(message: bytes) -> None:
    try:
        names, decoded = decode_message(message)
    except ValueError:
        return
    assert wire.group_address(*names) + decoded.encode() == message
