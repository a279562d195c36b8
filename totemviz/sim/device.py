"""The device below a host's file system: one queue, served in order, shared by everything on the host.

pmxcfs' syncs, corosync's ring-id file when it has to wait for the journal, what the kernel writes back, and the work of
others, a backup or the guests' disks, stand in the same queue. What is asked for waits until the device has served what
came before, then until it has served the others' requests ahead of it, then for its own service time.

How many of the others' requests are ahead is drawn as for a random stream of requests that keeps the device busy for
the given share of its time (a geometric number, mean p / (1 - p)). From 100 % on the queue is always full.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from totemviz.sim.profiles import DiskProfile

QUEUE_DEPTH = 128
"""Requests a full queue holds: Linux' ``nr_requests`` (include/linux/blkdev.h: BLKDEV_DEFAULT_RQ)."""

FULL_PERCENT = 100
BACKUP_REQUEST_BYTES = 1 << 20
"""A backup reads and writes in large pieces; vzdump's are up to 1 MiB."""

LOAD_KINDS = ("backup", "vm-io")
_ONE = 1 << 32


def mean_ahead(percent: int) -> float:
    """How many of the others' requests are ahead on average when they take so much of the device's time."""
    return QUEUE_DEPTH if percent >= FULL_PERCENT else percent / (FULL_PERCENT - percent)


class Load(NamedTuple):
    """Work of others: ``kind`` is one of LOAD_KINDS, ``percent`` the share of the device's time it takes."""

    kind: str
    percent: int
    until_ns: int


class Device:
    """What serves a disk's requests. ``rng`` draws the others' requests only; syncs have the disk's own stream.

    ``stuck``: nothing is answered any more. ``slowness``: every request takes so many times as long.
    """

    def __init__(self, profile: DiskProfile, rng: Random) -> None:
        self.profile = profile
        self.stuck = False
        self.slowness = 1
        self.stalled_until_ns = 0
        self.loads: tuple[Load, ...] = ()
        self._busy_until_ns = 0
        self._rng = rng

    def serve_ns(self, now_ns: int, service_ns: int) -> int | None:
        """How long a request of ``service_ns``, issued at ``now_ns``, takes; None if it is never answered.

        The request is in the queue from now on: the next one waits for it.
        """
        if self.stuck:
            return None
        begin_ns = max(now_ns, self._busy_until_ns, self.stalled_until_ns)
        done_ns = begin_ns + self._others_ns(begin_ns) + service_ns * self.slowness
        self._busy_until_ns = done_ns
        return done_ns - now_ns

    def hangs(self, now_ns: int) -> bool:
        """Whether the file system's journal waits for the device: it does not answer, or its queue is full."""
        return self.stuck or self.stalled_until_ns > now_ns or self._percent(now_ns) >= FULL_PERCENT

    def troubled(self, now_ns: int) -> bool:
        """Whether anything but the device's own latency delays what is asked of it."""
        return self.hangs(now_ns) or self.slowness != 1 or self._percent(now_ns) > 0

    def mend(self) -> None:
        """The device is as new: what waited is answered, the faults are over. The others' work goes on."""
        self.stuck, self.slowness, self.stalled_until_ns, self._busy_until_ns = False, 1, 0, 0

    def power_cut(self) -> None:
        """Nothing is in the queue any more, and nobody works."""
        self._busy_until_ns, self.loads = 0, ()

    def _percent(self, now_ns: int) -> int:
        return sum(load.percent for load in self.loads if load.until_ns > now_ns)

    def _others_ns(self, now_ns: int) -> int:
        """How long the others' requests ahead take."""
        self.loads = tuple(load for load in self.loads if load.until_ns > now_ns)
        percent = self._percent(now_ns)
        if not percent:
            return 0
        ahead = QUEUE_DEPTH
        if percent < FULL_PERCENT:
            ahead = 0
            while ahead < QUEUE_DEPTH and self._rng.getrandbits(32) * FULL_PERCENT < percent * _ONE:
                ahead += 1
        mean_ns = sum(self._request_ns(load.kind) * load.percent for load in self.loads) // percent
        return ahead * mean_ns * self.slowness

    def _request_ns(self, kind: str) -> int:
        """What one request of the others takes: a large transfer, or a small write with a flush as guests make."""
        if kind == "backup":
            return BACKUP_REQUEST_BYTES * 1000 // self.profile.transfer_mb_per_second
        return self.profile.sync_median_ns
