"""Which hosts knet could hear, and when: libknet throws data away until the link to its sender is up (sheet §3.9)."""

from __future__ import annotations

import msgspec


class Links(msgspec.Struct, frozen=True):
    """From when on each host was reachable; hosts that are not named always were (UDP, UDPU)."""

    up_ns: dict[int, int] = {}

    def open(self, host: int, time_ns: int) -> bool:
        """Whether data of ``host`` got through to Totem at a moment."""
        return time_ns >= self.up_ns.get(host, 0)
