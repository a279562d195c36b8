"""When knet's links were down, from the pings, pongs and data of a capture (``libknet: threads_heartbeat.c``).

A ping a second; the ping timeout is 1825 ms, so a single lost pong ends a link at the pass of the next ping.
"""

from __future__ import annotations

import pytest

from tests.totem.cluster import config
from totemviz.totem.config import MS
from totemviz.trace.shadow_links import FOREVER_NS, LinkSigns, links_of

SECOND = 1000 * MS
CONFIG = config(3, token=3000, token_coefficient=650)


def down(
    lost_s: set[int], *, data_ms: tuple[int, ...] = (), pings: bool = True, pong_after_ns: int = MS // 10
) -> list[tuple[float, float]]:
    """The spans, in seconds, in which a node had no link; the pongs to the pings at ``lost_s`` did not come."""
    pings_ns = [second * SECOND for second in range(1, 20)]
    pongs_ns = [ping_ns + pong_after_ns for ping_ns in pings_ns if ping_ns // SECOND not in lost_s]
    signs = LinkSigns(
        {(1, 2, 0): pongs_ns}, {(1, 2, 0): pings_ns if pings else []}, {(1, 2): [ms * MS for ms in data_ms]}
    )
    spans = links_of(signs, 1, CONFIG, already_up=True).closed[2]
    return [(start_ns / SECOND, (end_ns - pong_after_ns) / SECOND) for start_ns, end_ns in spans if end_ns < FOREVER_NS]


def test_no_pong_is_missing() -> None:
    assert down(set()) == []


@pytest.mark.parametrize(
    ("data_ms", "up_s"),
    [((8_500,), 8), ((8_500, 9_500), 8), ((9_500,), 9), ((), 9)],
    ids=["3", "3 and on", "4", "none"],
)
def test_the_pong_of_the_pass_that_ends_a_link_counts_or_not(data_ms: tuple[int, ...], up_s: int) -> None:
    """Data that was sent tells: the link was up with the third pong, or only with the fourth."""
    assert down({5}, data_ms=data_ms) == [(6, up_s)]


def test_a_pong_that_takes_its_time_counts() -> None:
    assert down({5}, pong_after_ns=20 * MS) == [(6, 8)]


def test_a_link_ends_at_a_pass_not_at_its_deadline() -> None:
    assert down({5, 6}, pong_after_ns=MS) == [(6, 9)]
    assert down({5}, pong_after_ns=250 * MS) == [(6.2, 8)], "in the pass after the ping at 6 s, before its pong"
    assert down({5}, pings=False, pong_after_ns=20 * MS) == [(5.845, 8)], "without pings nobody knows the passes"
