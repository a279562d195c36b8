"""Virtual time as people write it: ``50us``, ``250ms``, ``6s``, ``2min``; inside, integer nanoseconds."""

from __future__ import annotations

import re
from typing import Self

US = 1_000
MS = 1_000_000
SECOND = 1_000_000_000

_UNITS = {"ns": 1, "us": US, "µs": US, "ms": MS, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|min|h)")


class Duration(int):
    """Nanoseconds that print and parse with a unit."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError that says how a duration is written."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a duration; write a number and a unit, e.g. 250ms, 6s or 2min")
        return cls(round(float(match[1]) * _UNITS[match[2]]))

    def __str__(self) -> str:
        for unit in ("h", "min", "s", "ms", "us"):
            if self and self % _UNITS[unit] == 0:
                return f"{int(self) // _UNITS[unit]}{unit}"
        return f"{int(self)}ns"

    __repr__ = __str__


class Offset(Duration):
    """A duration with a sign: ``5min`` ahead, ``-70s`` behind."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError that says how an offset is written."""
        sign, digits = re.fullmatch(r"\s*([+-]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr] # fits all
        length = Duration.parse(digits)
        return cls(-length if sign == "-" else length)
