"""Byte layouts of the service messages (sheet §3.7): the offsets are in the formats, nowhere else."""

from __future__ import annotations

import re
import struct
from typing import Any

from totemviz.totem.config import PROCESSOR_COUNT_MAX

SERVICES_MAX = 128


class Layout:
    """A packed structure with gaps: ``p<n>`` in the format is a gap of n bytes, the rest is the struct module's."""

    def __init__(self, text: str) -> None:
        clear = re.sub(r"p(\d+)", r"\1x", text).replace(" ", "")
        raw = re.sub(r"p(\d+)", r"\1s", text).replace(" ", "")
        self.clear = {True: struct.Struct("<" + clear), False: struct.Struct(">" + clear)}
        self.raw = {True: struct.Struct("<" + raw), False: struct.Struct(">" + raw)}
        self.size = self.clear[True].size
        items = text.split()
        self.gap_sizes = [int(item[1:]) for item in items if item[0] == "p"]
        self.is_gap = [item[0] == "p" for item in items]

    def pack(self, little: bool, padding: bytes, *values: int | bytes) -> bytes:
        """The bytes of these values; ``padding`` fills the gaps, empty means zeros."""
        if not padding:
            return self.clear[little].pack(*values)
        gaps = iter(self._split(padding))
        rest = iter(values)
        return self.raw[little].pack(*(next(gaps) if gap else next(rest) for gap in self.is_gap))

    def unpack(self, data: bytes, little: bool, offset: int = 0) -> tuple[bytes, tuple[Any, ...]]:
        """Padding (empty if all zero) and values. Raises struct.error if the data is too short."""
        codec = self.clear[little]
        values = codec.unpack_from(data, offset)
        if codec.pack(*values) == data[offset : offset + self.size]:
            return b"", values
        everything = self.raw[little].unpack_from(data, offset)
        return b"".join(value for value, gap in zip(everything, self.is_gap, strict=True) if gap), values

    def _split(self, padding: bytes) -> list[bytes]:
        parts, offset = [], 0
        for size in self.gap_sizes:
            parts.append(padding[offset : offset + size])
            offset += size
        return parts


REQUEST = (struct.Struct(">i4xi"), struct.Struct("<i4xi"))
"""The head of every message, id and size: big endian, little endian."""

_REQUEST = "i p4 i p4"
_NAME = "I p4 128s"
PROC = Layout(f"{_REQUEST} {_NAME} I p4 I p4")
JOIN_LIST = Layout("i p4 i p4 i p4")
JOIN_ENTRY = Layout(f"I p4 {_NAME}")
MCAST = Layout(f"{_REQUEST} {_NAME} I p4 I p4 I p4 Q")
DOWN_LIST = Layout(f"{_REQUEST} I p4 I p4 {PROCESSOR_COUNT_MAX * 4}s")
PARTIAL = Layout(f"{_REQUEST} {_NAME} I p4 I p4 I p4 I p4 I p4 Q")
BARRIER = Layout(f"{_REQUEST} I Q p4")
SERVICE_BUILD = Layout(f"{_REQUEST} I Q p4 i p4 {SERVICES_MAX * 4}s")
NODE_INFO = Layout(f"{_REQUEST} I I I I")
RECONFIGURE = Layout(f"{_REQUEST} I I B p3 p4")
QDEVICE_REG = Layout(f"{_REQUEST} I 255s p5")
QDEVICE_RENAME = Layout(f"{_REQUEST} 255s 255s p2")
QDEVICE_EXTRA = Layout(f"{_REQUEST} I I")
RELOAD = Layout(f"{_REQUEST} I p4 Q")
CMAP = Layout(f"{_REQUEST} B p7 B p7 B p7 B p7")
CMAP_ITEM = Layout("H p6 256s B p7 Q")
