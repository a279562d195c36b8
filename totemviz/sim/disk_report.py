"""A measured disk in words and a small picture: where it stands, and what that means for a cluster."""

from __future__ import annotations

import math
import textwrap

from totemviz.sim.device import QUEUE_DEPTH
from totemviz.sim.measure import Measurement, nearest
from totemviz.sim.profiles import PROFILES

TOKEN_TIMEOUT_NS = 3_125_000_000
"""Three nodes with Proxmox' settings: 3000 ms + 1 x 125 ms (sheet §11.1)."""

SYNCS_PER_CHECKPOINT = 3
TOO_FAST = 20_000
_STEPS_PER_DECADE = 4
_LABEL_WIDTH = 10


def report(measurement: Measurement, width: int, *, unicode: bool = True) -> list[str]:
    """The lines for a terminal ``width`` columns wide."""
    rate = measurement.fsync_per_second
    lines = [
        f"{rate:,.0f} fsync/s in {measurement.folder} ({len(measurement.latencies_ns):,} files created and synced)",
        f"one fsync: median {_time(measurement.percentile_ns(50))}, p99 {_time(measurement.percentile_ns(99))}, "
        f"max {_time(measurement.latencies_ns[-1])}",
        "",
        *histogram(measurement.latencies_ns, width, unicode=unicode),
        "",
        *ranking(rate, width, unicode=unicode),
        "",
    ]
    for paragraph in meaning(measurement):
        lines += [*_wrapped(paragraph, width), ""]
    return lines[:-1]


def histogram(latencies_ns: list[int], width: int, *, unicode: bool = True) -> list[str]:
    """How many syncs took how long: logarithmic steps, four to a decade, empty ones in between shown."""
    steps = [math.floor(math.log10(max(1, latency)) * _STEPS_PER_DECADE) for latency in latencies_ns]
    counts = dict.fromkeys(range(min(steps), max(steps) + 1), 0)
    for step in steps:
        counts[step] += 1
    most = max(counts.values())
    room = max(5, width - _LABEL_WIDTH - 10)
    lines = []
    for step, count in counts.items():
        length = math.ceil(count * room / most)  # a single stall must be seen, too
        bar = ("█" if unicode else "#") * length
        lines.append(f"{_time(round(10 ** (step / _STEPS_PER_DECADE))):>{_LABEL_WIDTH}} {bar} {count:,}".rstrip())
    return lines


def ranking(rate: float, width: int, *, unicode: bool = True) -> list[str]:
    """The kinds of disk totemviz knows, fastest first, with this one in its place."""
    mark = "▶" if unicode else ">"
    rows = [(profile.fsync_per_second, f"  {profile.title}") for profile in PROFILES.values()]
    rows.append((round(rate), f"{mark} this disk"))
    rows.sort(key=lambda row: -row[0])
    return [f"{fsyncs:>9,} /s {title}"[:width] for fsyncs, title in rows]


def meaning(measurement: Measurement) -> list[str]:
    """What follows for /etc/pve, in both host models, one paragraph each."""
    rate, median_ns = measurement.fsync_per_second, measurement.percentile_ns(50)
    p99_ns, max_ns = measurement.percentile_ns(99), measurement.latencies_ns[-1]
    full_ns = QUEUE_DEPTH * median_ns
    late = "longer than" if max_ns > TOKEN_TIMEOUT_NS else "well within"
    paragraphs = [
        f"It syncs most like: {nearest(rate).title}. FSYNCS/SECOND is not the number of writes per second to /etc/pve.",
        "As articles tell it (host model article): every change to /etc/pve is synced before anything else runs, so "
        f"each one stops the whole node, the token included, for {_time(median_ns)} as a rule and {_time(p99_ns)} now "
        f"and then. The longest sync seen, {_time(max_ns)}, is {late} the token timeout of three nodes, "
        f"{TOKEN_TIMEOUT_NS / 1e9} s.",
        "As it really is (host model measured): pmxcfs commits to SQLite's write-ahead log without waiting for the "
        f"disk. It syncs {SYNCS_PER_CHECKPOINT} times per checkpoint, about once in 1,000 pages: 0.006 to 0.024 syncs "
        f"per write. Then what is written on this node waits some {_time(SYNCS_PER_CHECKPOINT * median_ns)}, seldom "
        f"{_time(SYNCS_PER_CHECKPOINT * p99_ns)}; the other nodes wait with it only if the membership changes at that "
        "moment. No token ever waits for this disk; only a ring that is being formed may, for the ring-id file. VM "
        "disks on it do care.",
        f"With the queue of this disk full ({QUEUE_DEPTH} small writes of guests ahead) one sync would take some "
        f"{_time(full_ns)}, a checkpoint of pmxcfs {_time(SYNCS_PER_CHECKPOINT * full_ns)}"
        f"{_too_long(full_ns)}. A node with HA on it is reset when pmxcfs stands still for a minute: scenarios can "
        "try it with disk_load and [ha].",
    ]
    if rate > TOO_FAST:
        paragraphs.append(
            "This is faster than a flush to any drive: the folder is in memory (tmpfs), or something below it "
            "acknowledges a flush without doing it. Give the path of a real disk, e.g. /var/lib/pve-cluster."
        )
    if len(measurement.latencies_ns) < 100:
        paragraphs.append("So few syncs tell little about the 99th percentile.")
    paragraphs.append(
        "Three seconds of an idle disk show neither a full write cache nor a backup running beside it. Whether the "
        "drive survives a power cut cannot be measured; the saved profile assumes no power-loss protection."
    )
    return paragraphs


def _too_long(sync_ns: int) -> str:
    """What a node risks that enters a ring while its disk's queue is full."""
    return ", and a new ring waits for this node longer than its token timeout" if sync_ns > TOKEN_TIMEOUT_NS else ""


def _time(time_ns: int) -> str:
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if time_ns >= size:
            return f"{time_ns / size:.3g} {unit}"
    return f"{time_ns} ns"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, min(width, 100)))
