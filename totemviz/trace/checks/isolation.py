"""Client isolation (40), a property of two runs: the same scenario with one CPG client stopped, and without.

Stopping a client costs memory in its own daemon and nothing else: the token goes as it would have gone, and every other
client is told the same at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgPartDelivered
from totemviz.totem.effects import TokenPassed, TokenReceived
from totemviz.trace.events import Event

NUMBER = 40
SENTENCE = (
    "Stopping one CPG client for any time changes no token timing and nothing that other clients are told, nor when."
)

_TOKEN = (TokenReceived, TokenPassed)
_TOLD = (CpgConfchg, CpgDelivered, CpgPartDelivered)


def difference(run: Iterable[Event], twin: Iterable[Event], node: int, clients: Iterable[int]) -> str:
    """The first thing that is not the same in both runs, in words; empty if there is none.

    ``clients`` of ``node`` are those that are stopped in one of the runs. Nothing is said about them, nor about what is
    in only one run because the other is shorter.
    """
    stopped = {(node, client) for client in clients}
    for ours, theirs in zip(_visible(run, stopped), _visible(twin, stopped), strict=False):
        if ours != theirs:
            return f"{_words(ours)} in one run, {_words(theirs)} in the other"
    return ""


def _visible(run: Iterable[Event], stopped: set[tuple[int, int]]) -> Iterator[tuple[int, int, Any]]:
    for event in run:
        body = event.body
        if isinstance(body, _TOKEN) or (isinstance(body, _TOLD) and (event.node, body.client) not in stopped):
            yield event.time_ns, event.node, body


def _words(seen: tuple[int, int, Any]) -> str:
    time_ns, node, body = seen
    return f"{type(body).__name__} at node {node} at {time_ns / 1e9:.6f} s"
