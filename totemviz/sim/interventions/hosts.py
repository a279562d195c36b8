"""What can happen to a host and its daemons."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration, Offset
from totemviz.trace.words import clock_words

HOST = "host"


class Kill(Intervention, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL to corosync and pmxcfs on ``node``, or only to ``process``, which may be a program."""

    node: int
    process: str = ""

    @property
    def text(self) -> str:  # noqa: D102
        return f"kill {self.process or 'corosync and pmxcfs'} on node {self.node}"


class PowerCut(Intervention, frozen=True, kw_only=True, tag="power_cut"):
    """The host of ``node`` loses power: all is gone at once, and its disk keeps what was durable.

    ``torn``: the drive was writing back at that moment, so of what was not synced some is kept, some lost and some
    half written, by chance; a drive with power-loss protection tears nothing. ``restart`` boots the host again.
    """

    node: int
    torn: bool = False

    @property
    def text(self) -> str:  # noqa: D102
        return f"cut the power of node {self.node}"


class Restart(Intervention, frozen=True, kw_only=True, tag="restart"):
    """Start whatever does not run on ``node``; boot it if it has no power.

    ``local``: pmxcfs as ``pmxcfs -l``, without corosync and always writable (it must not run already).
    """

    node: int
    local: bool = False

    @property
    def text(self) -> str:  # noqa: D102
        return f"start node {self.node} again" + (" with pmxcfs in local mode" if self.local else "")


class AddNode(Intervention, frozen=True, kw_only=True, tag="add_node"):
    """A new node joins the cluster (``pvecm add``): every nodelist names it, its daemons start.

    It gets the next free node id, the disk ``profile``, the cluster's corosync.conf, and an empty /etc/pve, which it
    takes over from the others.
    """

    profile: str = "nvme"

    @property
    def text(self) -> str:  # noqa: D102
        return f"add a node on a disk of kind {self.profile}"


class ChangeHostModel(Intervention, frozen=True, kw_only=True, tag="host_model"):
    """From now on all hosts follow the host model ``model``; what has happened so far stays.

    A host whose processes wait (for a disk, or stopped) changes when they go on. No real cluster can do this.
    """

    model: HostModel

    @property
    def text(self) -> str:  # noqa: D102
        return f"change to the {self.model.value} model"


class SkewClock(Intervention, frozen=True, kw_only=True, tag="skew_clock"):
    """Set the wall clock of ``node``: from now on it is ``ahead`` of true time (behind if negative; 0: right).

    It then gains ``drift_ppm`` millionths (loses, if negative). Timers, corosync's among them, run on another clock.
    """

    node: int
    ahead: Offset = Offset(0)
    drift_ppm: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        return f"set the clock of node {self.node}: it {clock_words(int(self.ahead), self.drift_ppm)}"


class Leave(Intervention, frozen=True, kw_only=True, tag="leave"):
    """Stop pmxcfs and corosync on ``node`` the clean way (SIGTERM)."""

    node: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"stop node {self.node} cleanly"


class Pause(Intervention, frozen=True, kw_only=True, tag="pause"):
    """SIGSTOP ``process`` on ``node``, SIGCONT after ``duration``.

    ``process``: corosync, pmxcfs, the name of a program, or ``host``: nothing on the host runs, as in a virtual machine
    that is paused.
    """

    node: int
    duration: Duration
    process: str = "corosync"

    @property
    def text(self) -> str:  # noqa: D102
        what = "all of node" if self.process == HOST else f"{self.process} on node"
        return f"stop {what} {self.node} for {self.duration}"
