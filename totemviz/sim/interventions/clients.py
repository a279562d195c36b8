"""CPG clients: programs besides pmxcfs that use corosync."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class CpgRead(Intervention, frozen=True, kw_only=True, tag="cpg_read"):
    """Start ``program`` on ``node``: it joins a CPG group and reads what is sent to it."""

    node: int
    program: str = "reader"
    group: str = "test"

    @property
    def text(self) -> str:  # noqa: D102
        return f"{self.program} on node {self.node} joins the CPG group {self.group} and reads"


class CpgFlood(Intervention, frozen=True, kw_only=True, tag="cpg_flood"):
    """``program`` on ``node`` sends ``count`` messages of ``size`` bytes to a CPG group, started first if need be.

    ``rate``: messages a second, 0 = as fast as corosync takes them. Turned away, it waits ``retry`` and tries again.
    """

    node: int
    program: str = "flood"
    group: str = "test"
    count: int = 1000
    size: int = 1000
    rate: float = 0.0
    retry: Duration = Duration(1_000_000)

    @property
    def text(self) -> str:  # noqa: D102
        pace = f", {self.rate:g} a second" if self.rate else ""
        return f"{self.program} on node {self.node} sends {self.count} messages of {self.size} bytes{pace}"
