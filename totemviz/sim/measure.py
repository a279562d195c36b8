"""How fast this machine's disk syncs, measured as ``pveperf`` does: the one place with a real clock and real I/O.

For some three seconds: create a small file, write it, fsync it, the next one (pmxcfs sheet §11.5). Creating the file is
part of it on purpose: the file system's journal has to be written, too, and the published figures this is compared with
include it. Only one file exists at any time, and none when it is over, however it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from totemviz.sim.profiles import PROFILES, DiskProfile

DURATION_NS = 3_000_000_000
BLOCK = b"A" * 4000 + b"\n"
STALL_FACTOR = 10
"""A sync this many times slower than the 99th percentile is a stall of its own, not the tail of the bell curve."""

STALL_MIN_NS = 10_000_000

Progress = Callable[[int], None]
"""Told how many nanoseconds of the measurement are over."""


class Measurement(msgspec.Struct, frozen=True):
    """What was measured in ``folder``. Times in nanoseconds; ``latencies_ns``: of every fsync alone, sorted.

    ``fsync_per_second`` counts whole rounds (create, write, fsync), as pveperf's FSYNCS/SECOND does.
    """

    folder: str
    fsync_per_second: float
    latencies_ns: list[int]

    def percentile_ns(self, percent: float) -> int:
        """The latency that ``percent`` of the syncs did not exceed."""
        last = len(self.latencies_ns) - 1
        return self.latencies_ns[min(last, int(len(self.latencies_ns) * percent / 100))]


def measure(
    folder: Path,
    progress: Progress | None = None,
    *,
    duration_ns: int = DURATION_NS,
    clock: Callable[[], int] = time.perf_counter_ns,
    sync: Callable[[int], None] = os.fsync,
) -> Measurement:
    """Sync small files in ``folder`` for ``duration_ns``, at least one. Raises OSError if that cannot be done there."""
    path = folder / f".totemviz-disk-{os.getpid()}.tmp"
    latencies_ns: list[int] = []
    worked_ns = 0
    begun_ns = clock()
    over_ns = 0
    try:
        while not latencies_ns or over_ns < duration_ns:
            round_ns, sync_ns = _round(path, clock, sync)
            worked_ns += round_ns
            latencies_ns.append(sync_ns)
            path.unlink()
            over_ns = clock() - begun_ns
            if progress is not None:
                progress(min(over_ns, duration_ns))
    finally:
        path.unlink(missing_ok=True)
    return Measurement(str(folder), len(latencies_ns) * 1e9 / max(1, worked_ns), sorted(latencies_ns))


def _round(path: Path, clock: Callable[[], int], sync: Callable[[int], None]) -> tuple[int, int]:
    """One file: how long all of it took, and the fsync alone."""
    begun_ns = clock()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, BLOCK)
        written_ns = clock()
        sync(file)
        synced_ns = clock()
    finally:
        os.close(file)
    return synced_ns - begun_ns, synced_ns - written_ns


def profile_of(measurement: Measurement, name: str) -> DiskProfile:
    """A disk profile that draws latencies like the measured ones.

    Whether the drive keeps what it acknowledged when the power fails cannot be measured; the profile says no.
    """
    latencies_ns = measurement.latencies_ns
    limit_ns = max(STALL_MIN_NS, STALL_FACTOR * measurement.percentile_ns(99))
    stalls_ns = [latency for latency in latencies_ns if latency > limit_ns]
    curve = Measurement(measurement.folder, 0, latencies_ns[: len(latencies_ns) - len(stalls_ns)])
    return DiskProfile(
        name=name,
        title=f"measured in {measurement.folder}",
        fsync_per_second=max(1, round(measurement.fsync_per_second)),
        sync_median_ns=max(1, curve.percentile_ns(50)),
        sync_p99_ns=max(1, curve.percentile_ns(99)),
        power_loss_protection=False,
        stalls_per_million_syncs=len(stalls_ns) * 1_000_000 // len(latencies_ns),
        stall_min_ns=stalls_ns[0] if stalls_ns else 0,
        stall_max_ns=stalls_ns[-1] if stalls_ns else 0,
        source=f"totemviz disk: {len(latencies_ns)} rounds of create, write, fsync in {measurement.folder}. "
        "The rate of large writes was not measured.",
    )


def nearest(rate: float, profiles: Sequence[DiskProfile] = tuple(PROFILES.values())) -> DiskProfile:
    """The profile whose rate is the closest by ratio."""
    return min(profiles, key=lambda profile: max(profile.fsync_per_second / rate, rate / profile.fsync_per_second))
