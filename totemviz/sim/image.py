"""The content of a file on a virtual disk, kept as the pieces it was written in.

A copy shares the pieces, so what a process sees and what a power cut would leave are held once. SQLite goes round in
its log and in its pages: nearly every write takes the place of a piece of the same size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

Piece = bytes | memoryview


class Image:
    """Bytes that are written and cut at any place; gaps read as zeros."""

    __slots__ = ("_pieces", "_size", "_starts")

    def __init__(self, content: bytes = b"") -> None:
        self._pieces: dict[int, Piece] = {}  # by their offset, without overlaps or holes
        self._starts: list[int] = []  # the offsets, rising
        self._size = 0
        self.write(0, content)

    def copy(self) -> Image:
        """An image of its own with the same content."""
        twin = Image()
        twin._pieces = self._pieces.copy()
        twin._starts = self._starts.copy()
        twin._size = self._size
        return twin

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces[start] for start in self._starts)

    def __eq__(self, other: object) -> bool:
        """Whether the content is the same; ``other`` may be plain bytes."""
        return bytes(self) == (bytes(other) if isinstance(other, Image) else other)

    __hash__ = None  # type: ignore[assignment] # it changes

    def read(self, offset: int, amount: int) -> bytes:
        """At most ``amount`` bytes from ``offset`` on, fewer at the end."""
        piece = self._pieces.get(offset)
        if piece is not None and len(piece) == amount:
            return bytes(piece)
        end = min(offset + amount, self._size)
        if offset >= end:
            return b""
        first = bisect_right(self._starts, offset) - 1
        starts = self._starts[first : bisect_left(self._starts, end)]
        joined = b"".join(self._pieces[start] for start in starts)
        return joined[offset - starts[0] : end - starts[0]]

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``."""
        pieces, end = self._pieces, offset + len(data)
        old = pieces.get(offset)
        if old is not None and len(old) == len(data):
            pieces[offset] = data
            return
        if offset > self._size:
            self.truncate(offset)
        if not data:
            return
        place = self._clear(offset, end)
        pieces[offset] = data
        self._starts.insert(place, offset)
        self._size = max(self._size, end)

    def truncate(self, size: int) -> None:
        """Make it ``size`` bytes long, with zeros if it grows."""
        if size > self._size:
            self.write(self._size, bytes(size - self._size))
        else:
            self._clear(size, self._size)
            self._size = size

    def _clear(self, start: int, end: int) -> int:
        """Take out what lies between two offsets; where in ``_starts`` a piece at ``start`` belongs."""
        self._cut(start)
        self._cut(end)
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        for gone in self._starts[first:last]:
            del self._pieces[gone]
        del self._starts[first:last]
        return first

    def _cut(self, offset: int) -> None:
        """Have a piece begin here, if the file goes on here."""
        if offset >= self._size or offset in self._pieces:
            return
        place = bisect_right(self._starts, offset)
        start = self._starts[place - 1]
        piece = memoryview(self._pieces[start])
        self._pieces[start], self._pieces[offset] = piece[: offset - start], piece[offset - start :]
        self._starts.insert(place, offset)
