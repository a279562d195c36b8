"""IP fragments put together again: a capture has them one by one, as they were on the wire.

Overlaps are safe in the sense of RFC 5722: bytes seen twice must agree, otherwise the whole datagram is refused.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

TIMEOUT_NS = 30 * 1_000_000_000
"""How long a fragment waits for the others (Linux: net.ipv4.ipfrag_time)."""

_PAYLOAD_MAX = 65535


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """The payload of one IP packet, and where it belongs: the whole payload if ``offset`` is 0 and not ``more``.

    ``length`` is what the IP header promises; more than ``data`` has if the frame was cut. Bytes throughout.
    """

    source: str
    target: str
    ident: int
    offset: int
    more: bool
    data: bytes
    length: int
    frame: int
    time_ns: int


_Key: TypeAlias = tuple[str, str, int]


class Reassembler:
    """Collects fragments of one capture, in the order of their times."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, list[Fragment]] = {}

    def add(self, fragment: Fragment) -> bytes | None:
        """The whole payload if this fragment completes it, else None.

        Raises ValueError, and forgets the datagram, if fragments contradict each other.
        """
        key = (fragment.source, fragment.target, fragment.ident)
        parts = self._waiting.setdefault(key, [])
        parts.append(fragment)
        try:
            whole = _join(parts)
        except ValueError:
            del self._waiting[key]
            raise
        if whole is not None:
            del self._waiting[key]
        return whole

    def expire(self, now_ns: int) -> list[Fragment]:
        """Forget datagrams that waited too long; one fragment of each is returned, the earliest part there is."""
        old = [key for key, parts in self._waiting.items() if now_ns - parts[0].time_ns > TIMEOUT_NS]
        return [_earliest(self._waiting.pop(key)) for key in old]

    def incomplete(self) -> list[Fragment]:
        """One fragment of every datagram still waiting, the earliest part there is."""
        return [_earliest(parts) for parts in self._waiting.values()]


def _earliest(parts: list[Fragment]) -> Fragment:
    return min(parts, key=lambda part: part.offset)


def _join(parts: list[Fragment]) -> bytes | None:
    ends = {part.offset + len(part.data) for part in parts if not part.more}
    whole = bytearray()
    for part in sorted(parts, key=lambda part: part.offset):
        if part.offset + len(part.data) > _PAYLOAD_MAX or len(ends) > 1:
            raise ValueError("fragments do not fit together")
        if part.offset > len(whole):
            return None
        known = whole[part.offset : part.offset + len(part.data)]
        if known != part.data[: len(known)]:
            raise ValueError("overlapping fragments contradict each other")
        whole += part.data[len(known) :]
    if ends and max(ends) < len(whole):
        raise ValueError("fragments do not fit together")
    return bytes(whole) if len(whole) in ends else None
