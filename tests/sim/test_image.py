"""An image behaves as plain bytes do, whatever was written where; and a copy goes its own way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from totemviz.sim.image import Image

OFFSETS = st.integers(0, 40)
WRITES = st.tuples(OFFSETS, st.binary(max_size=12))
STEPS = st.lists(st.one_of(WRITES, OFFSETS), max_size=30)


def plain(content: bytes, step: tuple[int, bytes] | int) -> bytes:
    """The same with bytes: a write, or a truncate to a size."""
    if isinstance(step, int):
        return content[:step].ljust(step, b"\0")
    offset, data = step
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


def carry_out(image: Image, step: tuple[int, bytes] | int) -> None:
    if isinstance(step, int):
        image.truncate(step)
    else:
        image.write(*step)


@given(st.binary(max_size=20), STEPS, OFFSETS, OFFSETS)
def test_as_plain_bytes(content: bytes, steps: list[tuple[int, bytes] | int], offset: int, amount: int) -> None:
    image = Image(content)
    for step in steps:
        carry_out(image, step)
        content = plain(content, step)
        assert (bytes(image), len(image)) == (content, len(content))
        assert image.read(offset, amount) == content[offset : offset + amount]


@given(STEPS, STEPS)
def test_a_copy_is_on_its_own(before: list[tuple[int, bytes] | int], after: list[tuple[int, bytes] | int]) -> None:
    image = Image()
    for step in before:
        carry_out(image, step)
    content = bytes(image)
    twin = image.copy()
    for step in after:
        carry_out(twin, step)
    assert image == content
    for step in after:
        carry_out(image, step)
    assert image == twin


def test_a_copy_shares_what_was_written() -> None:
    page = bytes(4096)
    image = Image()
    image.write(0, page)
    assert image.copy().read(0, 4096) is page
