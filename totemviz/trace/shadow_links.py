"""Which hosts knet could hear, and when: libknet throws data away until a link to its sender is up (sheet §3.9).

A link is up after three pongs, and down when no pong came for the ping timeout, which is longer at first. It is looked
at in passes, every 200 ms, and where it is time for it a pass begins with a ping (``libknet: threads_heartbeat.c:
_handle_heartbt_thread, send_ping``). Pings and pongs are in the capture, so all this can be followed. (libknet also
waits for a valid path MTU, but recordings have data that was accepted before the first reply about the MTU.)

One thing is not recorded. A pass that sends a ping may take the link down right after it, for want of an older pong;
whether the pong to this ping then counts for the next three depends on which of two threads was faster. What the node
sent tells: data to a host proves that its link was up.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from totemviz.totem.config import MS, TotemConfig

PONGS = 3
"""Pongs that bring a link up: one more than pong_count."""

BACKOFF = 10
"""How many times the ping timeout a new link is given; one less with every second."""

FIRST_PONG_NS = 400 * MS
"""From the start of knet to the first pong."""

PASS_NS = 200 * MS
"""From one pass over the links to the next (KNET_THREADS_TIMER_RES)."""

RACE_NS = 5 * MS
"""A pong that comes so soon after its link was taken down may have been too early to count."""

SECOND_NS = 1000 * MS
FOREVER_NS = 1 << 62


class LinkSigns(msgspec.Struct):
    """What a recording shows of knet's links, as times: pongs of a host that arrived at a node, and pings that the node
    sent it, by (node, host, link); data that the node sent it, by (node, host).
    """

    pongs_ns: dict[tuple[int, int, int], list[int]] = {}
    pings_ns: dict[tuple[int, int, int], list[int]] = {}
    data_ns: dict[tuple[int, int], list[int]] = {}


class Links(msgspec.Struct, frozen=True):
    """Spans in which each host was out of reach; a host that is not named never was (UDP, UDPU)."""

    closed: dict[int, list[tuple[int, int]]] = {}

    def open(self, host: int, time_ns: int) -> bool:
        """Whether data of and to ``host`` got through at a moment."""
        return not any(start_ns <= time_ns < end_ns for start_ns, end_ns in self.closed.get(host, ()))

    def any_open(self, time_ns: int) -> bool:
        """Whether anybody could be reached at a moment: otherwise a multicast is not on the wire."""
        return not self.closed or any(self.open(host, time_ns) for host in self.closed)


def links_of(signs: LinkSigns, node: int, config: TotemConfig, already_up: bool) -> Links:
    """The links of one node as its capture shows them; ``already_up``: the capture begins in the node's mid-life."""
    timeout_ns = config.token_ms * MS // 2
    closed: dict[int, list[tuple[int, int]]] = {}
    for (owner, host, link), pongs_ns in sorted(signs.pongs_ns.items()):
        if owner == node:
            pings_ns = signs.pings_ns.get((owner, host, link), [])
            spans = _closed(pongs_ns, pings_ns, signs.data_ns.get((node, host), []), timeout_ns, already_up)
            closed[host] = _overlap(closed[host], spans) if host in closed else spans
    return Links({host: _but_for(spans, signs.data_ns.get((node, host), [])) for host, spans in closed.items()})


def _closed(
    pongs_ns: list[int], pings_ns: list[int], data_ns: list[int], timeout_ns: int, already_up: bool
) -> list[tuple[int, int]]:
    """When one link was down. ``timeout_ns`` is knet's ping timeout, half the token timeout."""
    found: list[tuple[int, int]] = []
    begun_ns = -FOREVER_NS if already_up else pongs_ns[0] - FIRST_PONG_NS
    pongs, last_ns = 0, FOREVER_NS
    down_ns = FOREVER_NS if already_up else 0
    raced = False
    for index, pong_ns in enumerate((*pongs_ns, FOREVER_NS)):
        out_ns = _pass_ns(_given_up_ns(last_ns, begun_ns, timeout_ns), pings_ns)
        if out_ns < pong_ns:
            down_ns = min(down_ns, out_ns)
            pongs, begun_ns = 0, out_ns
            raced = pong_ns - out_ns < RACE_NS
        last_ns = pong_ns
        pongs += 1
        if pongs == PONGS and raced and down_ns < FOREVER_NS and index + 1 < len(pongs_ns):
            raced = False
            at = bisect_left(data_ns, pong_ns)
            if not data_ns[at:] or data_ns[at] >= pongs_ns[index + 1]:
                pongs -= 1  # nothing was sent before the next pong: the first one had not counted
        if pongs >= PONGS and down_ns < FOREVER_NS:
            found.append((down_ns, pong_ns))
            down_ns = FOREVER_NS
    if down_ns < FOREVER_NS:
        found.append((down_ns, FOREVER_NS))
    return found


def _pass_ns(due_ns: int, pings_ns: list[int]) -> int:
    """The first pass over the links that is not before a moment: passes go on from each ping, 200 ms apart."""
    after = bisect_left(pings_ns, due_ns)
    next_ping_ns = pings_ns[after] if after < len(pings_ns) else FOREVER_NS
    if not after or due_ns >= FOREVER_NS:
        return min(due_ns, next_ping_ns)
    ping_ns = pings_ns[after - 1]
    pass_ns = ping_ns - (ping_ns - due_ns) // PASS_NS * PASS_NS
    return next_ping_ns if pass_ns > next_ping_ns - PASS_NS // 2 else pass_ns


def _given_up_ns(last_ns: int, begun_ns: int, timeout_ns: int) -> int:
    """When a link goes down that got its last pong at ``last_ns``; its patience began to shrink at ``begun_ns``."""
    patience = range(1, BACKOFF + 1)
    return min(max(last_ns + times * timeout_ns, begun_ns + (BACKOFF - times) * SECOND_NS) for times in patience)


def _overlap(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """A host is out of reach while all its links are down."""
    spans = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return [(start_ns, end_ns) for start_ns, end_ns in spans if start_ns < end_ns]


def _but_for(spans: list[tuple[int, int]], data_ns: list[int]) -> list[tuple[int, int]]:
    """Data that was sent proves that the host could be reached: a span ends, or begins, with it."""
    found = []
    for start_ns, end_ns in spans:
        inside = data_ns[bisect_left(data_ns, start_ns) : bisect_left(data_ns, end_ns)]
        if inside and start_ns == 0:
            found.append((0, inside[0]))
        else:
            found.append((inside[-1] + 1 if inside else start_ns, end_ns))
    return found
