"""What an administrator does to guests, and what reaches the cluster log and the kv store, with Proxmox' own tools."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration

_DISKS = Duration(200_000_000)


class CreateGuest(Intervention, frozen=True, kw_only=True, tag="create_guest"):
    """``qm create`` or ``pct create`` (``kind`` qemu or lxc) on ``node``.

    Its disks take ``takes`` to make, under a cluster-wide lock if they are on a shared ``storage``.
    """

    node: int
    vmid: int = 100
    kind: str = "qemu"
    config: str = "cores: 2\nmemory: 2048\n"
    storage: str = ""
    takes: Duration = _DISKS

    @property
    def text(self) -> str:  # noqa: D102
        return f"create guest {self.vmid} on node {self.node}"


class SetGuest(Intervention, frozen=True, kw_only=True, tag="set_guest"):
    """``qm set VMID --option value`` on ``node``, where the guest must be."""

    node: int
    vmid: int = 100
    option: str = "memory"
    value: str = "4096"

    @property
    def text(self) -> str:  # noqa: D102
        return f"set {self.option} of guest {self.vmid} to {self.value} on node {self.node}"


class MigrateGuest(Intervention, frozen=True, kw_only=True, tag="migrate_guest"):
    """``qm migrate VMID`` from ``node``, where the guest must be, to ``target``; copying takes ``takes``."""

    node: int
    target: int
    vmid: int = 100
    takes: Duration = Duration(1_000_000_000)

    @property
    def text(self) -> str:  # noqa: D102
        return f"migrate guest {self.vmid} from node {self.node} to node {self.target}"


class DestroyGuest(Intervention, frozen=True, kw_only=True, tag="destroy_guest"):
    """``qm destroy VMID`` on ``node``, where the guest must be; removing its disks takes ``takes``."""

    node: int
    vmid: int = 100
    takes: Duration = _DISKS

    @property
    def text(self) -> str:  # noqa: D102
        return f"destroy guest {self.vmid} on node {self.node}"


class SetStatus(Intervention, frozen=True, kw_only=True, tag="set_status"):
    """A daemon on ``node`` tells all others a small value, as ``pvestatd`` does; an empty one is removed."""

    node: int
    key: str
    value: str = ""

    @property
    def text(self) -> str:  # noqa: D102
        return f"set the status value {self.key} of node {self.node}"


class WriteClusterLog(Intervention, frozen=True, kw_only=True, tag="cluster_log"):
    """A daemon on ``node`` writes a line to the cluster log."""

    node: int
    message: str
    user: str = "root@pam"
    tag: str = "pvedaemon"

    @property
    def text(self) -> str:  # noqa: D102
        return f"write to the cluster log on node {self.node}"
