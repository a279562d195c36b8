"""The six messages: bytes of the fact sheet, both byte orders, and every check of a receiver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from totemviz.totem import wire
from totemviz.totem.effects import RingId
from totemviz.totem.wire import (
    EMPTY_ENTRY,
    CommitEntry,
    CommitToken,
    HoldCancel,
    Join,
    Mcast,
    MergeDetect,
    Token,
    WireError,
    decode,
)

RING = RingId(1, 9)
BARRIER = bytes.fromhex(
    "00 00 00 00 00 00 01 00  28 00  01 00 04 00 73 79 6e 63"
    "00 00 00 00 00 00 00 00 20 00 00 00 00 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00 00 00 00 00"
)

# sheet §3.10
EXAMPLES = {
    "join of a fresh node": (
        Join(1, 0, 1, 1, (1,), ()),
        "70 c0 03 03 00 01 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 0001 00 00 00",
    ),
    "leave of node 3": (
        Join(0, 0, 3, 9, (1, 2), (3,)),
        "70 c0 03 03 00 00 00 00 00 00 00 00 00 03 00 00 00 02 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00 01 00 00 00"
        "02 00 00 00 03 00 00 00",
    ),
    "commit token of node 1 alone": (
        CommitToken(1, 1, 1, RingId(1, 5), 1, (1,), (CommitEntry(RingId(1, 1), 0, 0, 1),)),
        "70 c0 03 04 00 01 00 00 00 01 00 00 00 01 00 00 00 01 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00"
        "01 00 00 00 01 00 00 00 01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00",
    ),
    "initial token of ring 1.5": (
        Token(1, 1, 0, 0, 0xFFFFFFFF, 1, RingId(1, 5)),
        "70 c0 03 00 00 01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00 01 00 00 00 05 00 00 00"
        "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
    ),
    "token with one request": (
        Token(2, 3, 7, 20, 6, 2, RING, 0, 1, 0, ((RING, 7),)),
        "70 c0 03 00 00 02 00 00 00 03 00 00 00 07 00 00 00 14 00 00 00 06 00 00 00 02 00 00 00 01 00 00 00 09 00 00 00"
        "00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00 07 00 00 00",
    ),
    "merge detect": (
        MergeDetect(1, 0, 1, RING),
        "70 c0 03 02 00 01 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00",
    ),
    "hold cancel": (
        HoldCancel(2, 0, RING),
        "70 c0 03 05 00 02 00 00 00 00 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00",
    ),
    "mcast with a sync barrier": (
        Mcast(2, 0, 2, 4, 3, RING, BARRIER),
        "70 c0 03 01 02 02 00 00 00 00 00 00 00 02 00 00 00 04 00 00 00 03 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00"
        "00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 28 00 01 00 04 00 73 79 6e 63 00 00 00 00 00 00 00 00 20 00 00"
        "00 00 00 00 00 01 00 00 00 09 00 00 00 00 00 00 00 00 00 00 00",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_sheet(name: str) -> None:
    message, text = EXAMPLES[name]
    data = bytes.fromhex(text)
    assert message.encode() == data
    assert decode(data) == message
    assert decode(data).is_leave is (name == "leave of node 3") if isinstance(message, Join) else True


def test_the_byte_order_is_the_senders() -> None:
    big = HoldCancel(2, 0, RING, little=False).encode()
    assert big.hex(" ") == "c0 70 03 05 00 00 00 00 02 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 09"
    assert decode(big) == HoldCancel(2, 0, RING, little=False)


# ---------------------------------------------------------------------------------------------- round trips

u32 = st.integers(0, 2**32 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
ids = st.lists(u32, max_size=8).map(tuple)
rings = st.builds(RingId, u32, st.integers(0, 2**64 - 1))
entries = st.builds(CommitEntry, rings, u32, u32, u32) | st.just(EMPTY_ENTRY)
members = st.lists(st.tuples(u32, entries), max_size=8)

messages = st.one_of(
    st.builds(
        Token, u32, u32, u32, u32, u32, u32, rings, u32, u32, i32,
        st.lists(st.tuples(rings, u32), max_size=30).map(tuple), st.booleans(),
    ),
    st.builds(
        Mcast, u32, u32, u32, u32, i32, rings, st.binary(max_size=64), st.integers(0, 255), u32, i32, st.booleans()
    ),
    st.builds(MergeDetect, u32, u32, u32, rings, st.booleans()),
    st.builds(Join, u32, u32, u32, st.integers(0, 2**64 - 1), ids, ids, st.booleans()),
    st.builds(
        lambda nodeid, target, token_seq, ring, index, pairs, flag, little: CommitToken(
            nodeid, target, token_seq, ring, index, tuple(a for a, _ in pairs), tuple(e for _, e in pairs), flag, little
        ),
        u32, u32, u32, rings, i32, members, u32, st.booleans(),
    ),
    st.builds(HoldCancel, u32, u32, rings, st.booleans()),
)  # fmt: skip


@given(messages)
def test_round_trip(message: wire.Message) -> None:
    assert decode(message.encode()) == message


# --------------------------------------------------------------------------------------------- sanity checks

TOKEN = EXAMPLES["token with one request"][0].encode()
COMMIT = EXAMPLES["commit token of node 1 alone"][0].encode()
HOLD = EXAMPLES["hold cancel"][0].encode()
LEAVE = EXAMPLES["leave of node 3"][0].encode()


def patched(data: bytes, offset: int, *values: int) -> bytes:
    return data[:offset] + bytes(values) + data[offset + len(values) :]


def rejects(data: bytes, line: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(data, "10.0.0.9")
    assert str(caught.value) == line


@pytest.mark.parametrize("length", [0, 1, 12])
def test_shorter_than_a_header(length: int) -> None:
    rejects(TOKEN[:length], f"Message received from 10.0.0.9 is too short...  Ignoring {length}.")


@pytest.mark.parametrize(
    ("first", "guess"),
    [
        ((0xFF, 0xFF), "Corosync 2.2"),
        ((0xFE, 0xFE), "Corosync 2.3+"),
        ((0x01, 0x00), "unencrypted Kronosnet"),
        ((0x05, 0x00), "unencrypted Corosync 2.0/2.1/1.x/OpenAIS"),
        ((0x9A, 0x11), "encrypted Kronosnet/Corosync 2.0/2.1/1.x/OpenAIS or unknown"),
    ],
)
def test_bad_magic(first: tuple[int, int], guess: str) -> None:
    rejects(
        patched(TOKEN, 0, *first),
        f"Message received from 10.0.0.9 has bad magic number (probably sent by {guess}).. Ignoring",
    )


def test_other_version() -> None:
    rejects(patched(TOKEN, 2, 4), "Message received from 10.0.0.9 has unsupported version 4... Ignoring")


@pytest.mark.parametrize("kind", [6, 255])
def test_unknown_type(kind: int) -> None:
    rejects(patched(TOKEN, 3, kind), f"Message received from 10.0.0.9 has wrong type...  ignoring {kind}.")


FIXED_SIZES = dict(zip(wire.TYPE_NAMES, (57, 45, 29, 33, 41, 25), strict=True))


@pytest.mark.parametrize("name", wire.TYPE_NAMES)
def test_shorter_than_the_fixed_part(name: str) -> None:
    kind, size = wire.TYPE_NAMES.index(name), FIXED_SIZES[name]
    empty = patched(HOLD, 3, kind)[:13] + bytes(size - 13)
    assert decode(empty).encode() == empty
    rejects(empty[:-1], f"Received {name} message is too short...  ignoring.")


@pytest.mark.parametrize(("name", "data"), [("orf_token", TOKEN), ("memb_join", LEAVE), ("memb_commit_token", COMMIT)])
def test_shorter_than_the_announced_lists(name: str, data: bytes) -> None:
    rejects(data[:-1], f"Received {name} message is too short...  ignoring.")


def test_token_with_more_requests_than_fit() -> None:
    full = Token(2, 3, 7, 20, 6, 2, RING, rtr=tuple((RING, seq) for seq in range(31)))
    rejects(full.encode(), "Received orf_token message rtr_entries is corrupted...  ignoring.")
    assert len(decode(TOKEN + bytes(1500 - len(TOKEN))).rtr) == 1
    rejects(TOKEN + bytes(1501 - len(TOKEN)), "Received orf_token message is too long...  ignoring.")
    rejects(Token(2, 3, 7, 20, 6, 2, RING).encode().ljust(1501), "Received orf_token message is too long...  ignoring.")


def test_token_with_a_negative_request_count() -> None:
    corrupted = patched(TOKEN, 53, 0xFF, 0xFF, 0xFF, 0xFF)
    rejects(corrupted, "Received orf_token message rtr_entries is corrupted...  ignoring.")


@pytest.mark.parametrize("offset", [17, 21])
def test_join_with_too_long_a_list(offset: int) -> None:
    longest = Join(1, 0, 1, 1, tuple(range(384)), tuple(range(384))).encode()
    assert decode(longest).encode() == longest
    line = "Received memb_join message list_entries exceeds the maximum allowed value...  ignoring."
    rejects(patched(longest, offset, 0x81, 0x01), line)


@pytest.mark.parametrize("count", [(0x81, 0x01, 0, 0), (0xFF, 0xFF, 0xFF, 0xFF)])
def test_commit_token_with_an_impossible_count(count: tuple[int, ...]) -> None:
    rejects(
        patched(COMMIT, 37, *count) + bytes(385 * 28), "Received memb_commit_token message is too short...  ignoring."
    )


headers = st.builds(
    lambda little, kind, rest: (b"\x70\xc0" if little else b"\xc0\x70") + bytes([3, kind]) + rest,
    st.booleans(),
    st.integers(0, 7),
    st.binary(max_size=200),
)


@given(st.binary(max_size=200) | headers | st.builds(lambda m, n: m.encode()[:n], messages, st.integers(0, 200)))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    try:
        message = decode(data)
    except WireError as error:
        assert "\n" not in str(error)
    else:
        again = message.encode()
        assert data[:4] == again[:4]
        assert data[5:].startswith(again[5:])  # byte 4 means something in a mcast only
