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
