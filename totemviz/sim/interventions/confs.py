"""What can be done to corosync.conf, and to what corosync has read from it."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention

CLUSTER_FILE, HOST_FILE = "/etc/pve/corosync.conf", "/etc/corosync/corosync.conf"


class SetTimeout(Intervention, frozen=True, kw_only=True, tag="set_timeout"):
    """Change a key of the totem section while corosync runs; what derives from the key follows it, as at a start.

    A timer that runs keeps the time it was started with. On one ``node`` this is ``corosync-cmapctl -s totem.KEY u32
    VALUE``: until its corosync starts again or reads its file again. 0: on all nodes at the same moment, later starts
    included, whatever the files say. No real cluster can do that; there one edits the file (``edit_conf``).
    """

    key: str
    value: int
    node: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        where = f"on node {self.node}" if self.node else "on all nodes"
        return f"set totem.{self.key} to {self.value} {where}"


class EditConf(Intervention, frozen=True, kw_only=True, tag="edit_conf"):
    """An administrator on ``node`` edits a corosync.conf: ``key`` (such as ``totem.token``) gets ``value``.

    ``value`` empty: the line is deleted. ``file`` is the cluster's, which pmxcfs then copies to every node's
    /etc/corosync and has all corosyncs read; or the node's own there, which corosync reads at its next start or reload
    and nobody copies. ``bump``: config_version goes up by one, as it must for the others to take the file for newer.
    """

    node: int
    key: str
    value: str = ""
    file: str = CLUSTER_FILE
    bump: bool = True

    @property
    def text(self) -> str:  # noqa: D102
        done = f"set {self.key} to {self.value}" if self.value else f"delete {self.key}"
        return f"{done} in {self.file} on node {self.node}"


class ReloadConf(Intervention, frozen=True, kw_only=True, tag="reload_conf"):
    """``corosync-cfgtool -R`` on ``node``: every corosync of the cluster reads its own file again."""

    node: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"corosync-cfgtool -R on node {self.node}"
