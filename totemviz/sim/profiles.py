"""Storage devices as data: how long an fsync takes, how often it takes much longer, and who says so.

An fsync figure is a property of a device *and* of the file system, kernel and controller above it; published figures
for the same class of device differ by a factor of ten. Each profile is therefore one plausible member of its class, and
its ``source`` says what the figure rests on and how far others are from it.

Latency is drawn log-normally: half of all syncs are faster than the median, one in a hundred slower than the 99th
percentile. On top of it a profile may *stall* now and then (garbage collection, block erase, a disk that spins up, a
storage network that retransmits), which no bell curve tells.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from random import Random

import msgspec

# Decimal's ln and exp are correctly rounded everywhere; the C library's are not, and a draw must be the same to the
# nanosecond on every machine.
_EXACT = Context(prec=18)
_ONE = 1 << 32
_P99_SCORE = Decimal("2.303")  # the 99th percentile of the sum of twelve uniforms below, in standard deviations


class DiskProfile(msgspec.Struct, frozen=True):
    """One class of storage device. Times in nanoseconds.

    ``fsync_per_second`` is what a loop of write + fsync (pveperf's FSYNCS/SECOND) reports, stalls included;
    ``sync_median_ns`` and ``sync_p99_ns`` are the bell curve alone.
    ``write_ns`` is the price of putting one 4 KiB page into the page cache: memory speed, whatever the device.
    A sync stalls ``stalls_per_million_syncs`` times in a million, for a uniformly drawn ``stall_min_ns`` to
    ``stall_max_ns``. With ``power_loss_protection`` the drive's own cache survives a power cut.
    ``transfer_mb_per_second`` is the rate of large writes that go on for long: what a backup on this disk gets.
    """

    name: str
    title: str
    fsync_per_second: int
    sync_median_ns: int
    sync_p99_ns: int
    power_loss_protection: bool
    source: str
    stalls_per_million_syncs: int = 0
    stall_min_ns: int = 0
    stall_max_ns: int = 0
    write_ns: int = 3_000
    transfer_mb_per_second: int = 100

    def draw_sync_ns(self, rng: Random) -> int:
        """How long one sync takes, in nanoseconds, always at least 1.

        Same generator state = same answer, on every platform: the standard normal score is the sum of twelve uniform
        integers (mean removed), and the exponential is computed in exact decimal arithmetic.
        """
        score = _EXACT.divide(Decimal(sum(rng.getrandbits(32) for _ in range(12)) - 6 * (_ONE - 1)), _ONE)
        spread = _spread(self.sync_median_ns, self.sync_p99_ns)
        latency_ns = int(_EXACT.multiply(self.sync_median_ns, _EXACT.exp(_EXACT.multiply(spread, score))))
        if rng.getrandbits(32) * 1_000_000 < self.stalls_per_million_syncs * _ONE:
            latency_ns += self.stall_min_ns + rng.getrandbits(32) * (self.stall_max_ns - self.stall_min_ns) // _ONE
        return max(1, latency_ns)


@lru_cache
def _spread(median_ns: int, p99_ns: int) -> Decimal:
    """The log-normal's sigma, from its median and its 99th percentile."""
    return _EXACT.divide(_EXACT.ln(_EXACT.divide(Decimal(p99_ns), Decimal(median_ns))), _P99_SCORE)


_US = 1_000
_MS = 1_000_000
_S = 1_000_000_000

PROFILES: dict[str, DiskProfile] = {
    profile.name: profile
    for profile in (
        DiskProfile(
            name="nvme",
            title="NVMe SSD (consumer)",
            fsync_per_second=1_000,
            sync_median_ns=800 * _US,
            sync_p99_ns=4 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=200,
            stall_min_ns=10 * _MS,
            stall_max_ns=100 * _MS,
            transfer_mb_per_second=1_000,
            source=(
                "Without power-loss protection an NVMe drive is fast at writing and slow at syncing, and models differ "
                "tenfold. Andres Freund's list of 4 KiB fdatasync rates at queue depth 1: Samsung 970 EVO Plus 446/s, "
                "980 PRO 522/s, 990 PRO 802/s, Sabrent Rocket 4 2,215/s, WD SN750 2,688/s. Tanel Poder (2025): "
                "990 PRO 609/s with fdatasync, 177/s with fsync. Percona (2018): Samsung 960 Pro about 300/s. "
                "Vitastor's manual: 1,000 to 2,000 typical. The tail, the stalls (flash housekeeping) and "
                "the rate of large writes (a TLC drive whose fast cache is full) are estimates."
            ),
        ),
        DiskProfile(
            name="ssd-plp",
            title="SSD with power-loss protection",
            fsync_per_second=4_000,
            sync_median_ns=240 * _US,
            sync_p99_ns=450 * _US,
            power_loss_protection=True,
            transfer_mb_per_second=1_000,
            source=(
                "Capacitors let the drive acknowledge a flush from its own memory. The popular figure is '3,000 "
                "fsync/s and more'; the good pveperf outputs found in public notes say 3,066 and 3,842, without naming "
                "the drive. The device alone is much faster (Mark Callaghan, 2026: 12 to 58 microseconds per fsync on "
                "datacentre NVMe drives); pveperf also pays for creating the file, so its figure is the file system's "
                "as much as the drive's. "
                "Large writes: an estimate; SATA allows half of it."
            ),
        ),
        DiskProfile(
            name="sata-ssd",
            title="SATA SSD (consumer)",
            fsync_per_second=420,
            sync_median_ns=1_800 * _US,
            sync_p99_ns=8 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=500,
            stall_min_ns=50 * _MS,
            stall_max_ns=500 * _MS,
            transfer_mb_per_second=300,
            source=(
                "200 to 1,000 is the range people report. pveperf outputs in public notes, the drive not always named: "
                "385 and 692 fsync/s. The worst found, SSDs mirrored inside a virtual machine: 58 to 114. Stalls stand "
                "for a full write cache; their rate and size are estimates. "
                "Large writes: an estimate; the interface allows 550 MB/s, a full fast cache much less."
            ),
        ),
        DiskProfile(
            name="hdd-2.5",
            title='2.5" HDD',
            fsync_per_second=59,
            sync_median_ns=15 * _MS,
            sync_p99_ns=45 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=50,
            stall_min_ns=500 * _MS,
            stall_max_ns=3 * _S,
            transfer_mb_per_second=90,
            source=(
                "Bounded by rotation: a 5,400 rpm disk turns 90 times a second, and a sync that also writes the file "
                "system's journal needs more than one turn. A published pveperf on a 228 GB disk with 20.8 ms seek "
                'time: 39 fsync/s. pg_test_fsync on a 3.5" WD 2 TB: 82/s with fdatasync, 21/s with fsync. A 7,200 rpm '
                "disk manages 80 to 120; far more means its write cache ignores the flush. Stalls are the head "
                "unparking or the disk spinning up; their rate is an estimate. "
                "Large writes: an estimate for the middle of a 5,400 rpm disk."
            ),
        ),
        DiskProfile(
            name="usb-stick",
            title="USB stick",
            fsync_per_second=40,
            sync_median_ns=14_500 * _US,
            sync_p99_ns=120 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=2_000,
            stall_min_ns=500 * _MS,
            stall_max_ns=2_500 * _MS,
            transfer_mb_per_second=12,
            source=(
                "The popular figure is 30 to 50 fsync/s; cheap sticks are slower by far. Sami Lehtinen measured 2 to "
                "4 ms for a small write on older sticks, but 1.15 s, and 2.5 s on the worst, when it crossed into the "
                "next flash block: hence the long tail and the stalls. How often a stall comes is an estimate. "
                "Large writes: an estimate for a cheap stick."
            ),
        ),
        DiskProfile(
            name="sd-card",
            title="SD card",
            fsync_per_second=25,
            sync_median_ns=22 * _MS,
            sync_p99_ns=220 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=2_000,
            stall_min_ns=500 * _MS,
            stall_max_ns=3 * _S,
            transfer_mb_per_second=15,
            source=(
                "10 to 50 fsync/s is what people with single-board computers report; no table of measurements was "
                "found, so this is the weakest figure here. The card's class matters more than its brand: class A1 "
                "promises 500 random writes a second, unrated cards promise nothing (RustProof Labs, 2019, saw 140 % "
                "more database transactions from A1). "
                "Large writes: an estimate; class 10 promises 10 MB/s."
            ),
        ),
        DiskProfile(
            name="network",
            title="Network storage (NFS, iSCSI)",
            fsync_per_second=240,
            sync_median_ns=3_200 * _US,
            sync_p99_ns=15 * _MS,
            power_loss_protection=False,
            stalls_per_million_syncs=50,
            stall_min_ns=1 * _S,
            stall_max_ns=5 * _S,
            transfer_mb_per_second=110,
            source=(
                "One round trip plus whatever the server does before it answers: from under 1 ms (flash-backed "
                "server, 10 Gbit/s) to tens of ms (disks, 1 Gbit/s). Reports: 10.9 ms mean fsync of an etcd on a "
                "network block device; an NFS datastore with fsyncs of 23 ms and, when the transport "
                "stalled, of 5 s. The figure here is a guess at a decent server on 1 Gbit/s. The server's cache is "
                "taken as unprotected. "
                "Large writes: what 1 Gbit/s carries."
            ),
        ),
    )
}
"""All profiles by name, roughly in the order in which one would choose them."""
