"""What can happen to a disk."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class StallDisk(Intervention, frozen=True, kw_only=True, tag="stall_disk"):
    """The disk of ``node`` answers no sync for ``duration``."""

    node: int
    duration: Duration

    @property
    def text(self) -> str:  # noqa: D102
        return f"stall the disk of node {self.node} for {self.duration}"


class SetDisk(Intervention, frozen=True, kw_only=True, tag="set_disk"):
    """Give ``node`` a disk of another profile; the data stays."""

    node: int
    profile: str

    @property
    def text(self) -> str:  # noqa: D102
        return f"put /etc/pve of node {self.node} on a disk of kind {self.profile}"


class LoadDisk(Intervention, frozen=True, kw_only=True, tag="disk_load"):
    """Others on the host of ``node`` use its disk: a ``backup`` (large pieces) or ``vm-io`` (guests' small writes).

    ``percent`` is the share of the disk's time they take; from 100 on its queue is always full. ``freeze``: at the
    beginning the whole host stands still, as a virtual machine does while its snapshot is taken.
    """

    node: int
    kind: str = "backup"
    percent: int = 100
    duration: Duration = Duration(60_000_000_000)
    freeze: Duration = Duration(0)

    @property
    def text(self) -> str:  # noqa: D102
        frozen = f", after it stood still for {self.freeze}" if self.freeze else ""
        return f"load the disk of node {self.node} with {self.kind} at {self.percent} % for {self.duration}{frozen}"


class DiskFault(Intervention, frozen=True, kw_only=True, tag="disk_fault"):
    """The disk of ``node`` fails from now on, until it is mended.

    ``fault``: ``full`` (ENOSPC), ``io_error`` (EIO), ``stuck`` (no sync is ever answered), ``slow`` (everything takes
    ``factor`` times as long) or ``lies`` (acknowledges syncs it has not done).
    """

    node: int
    fault: str
    factor: int = 10

    @property
    def text(self) -> str:  # noqa: D102
        disk = f"the disk of node {self.node}"
        words = {
            "full": f"fill {disk}",
            "io_error": f"break {disk}",
            "stuck": f"hang {disk} for good",
            "slow": f"make {disk} {self.factor} times slower",
            "lies": f"let {disk} lie about its syncs",
        }
        return words.get(self.fault, f"{self.fault} {disk}")


class MendDisk(Intervention, frozen=True, kw_only=True, tag="mend_disk"):
    """The disk of ``node`` works again, and answers what waited for it."""

    node: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"mend the disk of node {self.node}"
