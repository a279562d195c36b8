"""Sequence numbers wrap (sheet §0.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from totemviz.totem.queues import SortQueue
from totemviz.totem.seq import U32, lt, lte
from totemviz.totem.wire import Mcast

U32S = st.integers(0, U32)


@pytest.mark.parametrize(
    ("a", "b", "before"),
    [
        (0, 1, True),
        (1, 0, False),
        (0xFFFFFFFF, 0, True),  # the first token's aru is -1
        (0, 0xFFFFFFFF, False),
        (0xFFFFFFFF, 0xFFFF, True),
        (0xFFFFFFFF, 0x10000, False),  # the circle begins at 0x10000
        (0x10000, 0xFFFFFFFF, True),
        (0x80000000, 0x7FFFFFFF, False),
        (0x7FFFFFFF, 0x80000001, True),
        (0xFFFFFFF0, 3, True),
        (7, 7, False),
    ],
)
def test_comparison(a: int, b: int, before: bool) -> None:
    assert lt(a, b) is before
    assert lte(a, b) is (before or a == b)


@given(U32S, U32S)
def test_exactly_one_of_before_equal_after(a: int, b: int) -> None:
    assert [lt(a, b), a == b, lt(b, a)].count(True) == 1


@given(st.integers(-60_000, 0x7FFFFFFF - 16384), st.integers(1, 16383))
def test_what_a_ring_compares_is_in_order(start: int, ahead: int) -> None:
    """Numbers less than a sort queue apart, on both sides of the wrap."""
    assert lt(start & U32, (start + ahead) & U32)
    assert not lt((start + ahead) & U32, start & U32)


def slot(seq: int):
    from totemviz.totem.effects import RingId
    from totemviz.totem.queues import Slot

    return Slot(Mcast(1, 0, 1, seq, 0, RingId(1, 5), b""), b"")


@given(U32S, st.sets(st.integers(0, 40)), st.integers(0, 40))
def test_sort_queue_against_a_plain_set(head: int, offsets: set[int], release: int) -> None:
    queue = SortQueue(head)
    for offset in offsets:
        queue.insert((head + offset) & U32, slot((head + offset) & U32))
    queue.release((head + release) & U32)
    for offset in range(45):
        seq = (head + offset) & U32
        assert (seq in queue) is (offset in offsets and offset > release)
        assert queue.in_range(seq) is (offset > release)


def test_sort_queue_ends() -> None:
    queue = SortQueue()
    assert queue.in_range(16383)
    assert not queue.in_range(16384)
    assert not queue.in_range(U32)


def test_misses_are_forgotten_when_the_message_comes() -> None:
    queue = SortQueue()
    assert [queue.miss(3), queue.miss(3)] == [1, 2]
    queue.insert(3, slot(3))
    assert queue.miss(3) == 1
    copy = SortQueue()
    copy.copy_from(queue)
    queue.reset()
    assert 3 in copy
    assert 3 not in queue
