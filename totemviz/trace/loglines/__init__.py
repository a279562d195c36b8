"""What every line of the daemons' logs means, and which function of the real programs prints it.

The tables are data: a template in which ``{}`` stands for anything, the place in the source (file and function of
corosync 3.1.7, libqb, libknet, pve-cluster's pmxcfs or the HA manager), and the meaning in words for somebody who runs
a cluster. A test holds them against every line that our machines can print.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from totemviz.totem.effects import Log
from totemviz.trace.loglines import ha, pmxcfs, ring, services, votes
from totemviz.trace.logs import COROSYNC, PMXCFS, process_of


class Meaning(NamedTuple):
    """One kind of log line. ``source``: ``file.c: function``; ``text``: what it means."""

    template: str
    source: str
    text: str


def _table(rows: tuple[tuple[str, str, str], ...]) -> tuple[tuple[re.Pattern[str], Meaning], ...]:
    """Patterns with the most telling first: the one with the most letters of its own."""
    meanings = sorted(map(Meaning._make, rows), key=lambda row: len(row.template.replace("{}", "")), reverse=True)
    return tuple((_pattern(meaning.template), meaning) for meaning in meanings)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in template.split("{}")), re.DOTALL)


@cache
def _table_of(process: str) -> tuple[tuple[re.Pattern[str], Meaning], ...]:
    """Made when the first line is asked for: the patterns take longer than the rest of the import."""
    rows = {COROSYNC: (*ring.LINES, *services.LINES, *votes.LINES), PMXCFS: pmxcfs.LINES}.get(process, ha.LINES)
    return _table(rows)


def meaning_of(log: Log) -> Meaning | None:
    """What this line means; None for a line that is in no table."""
    return _find(process_of(log), log.text.rstrip())


@lru_cache(maxsize=512)
def _find(process: str, text: str) -> Meaning | None:
    for pattern, meaning in _table_of(process):
        if pattern.fullmatch(text):
            return meaning
    return None
