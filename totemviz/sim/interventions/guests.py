"""What an administrator does to guests, and what reaches the cluster log and the kv store, with Proxmox' own tools."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration

_DISKS = Duration(200_000_000)


class OfGuest(Intervention, frozen=True, kw_only=True):
    """Base of what a tool on ``node`` does to the guest ``vmid``; it must be there unless it is being created."""

    node: int
    vmid: int = 100


class CreateGuest(OfGuest, frozen=True, kw_only=True, tag="create_guest"):
    """``qm create`` or ``pct create`` (``kind`` qemu or lxc).

    Its disks take ``takes`` to make, under a cluster-wide lock if they are on a shared ``storage``.
    """

    kind: str = "qemu"
    config: str = "cores: 2\nmemory: 2048\n"
    storage: str = ""
    takes: Duration = _DISKS

    @property
    def text(self) -> str:  # noqa: D102
        return f"create guest {self.vmid} on node {self.node}"


class SetGuest(OfGuest, frozen=True, kw_only=True, tag="set_guest"):
    """``qm set VMID --option value``."""

    option: str = "memory"
    value: str = "4096"

    @property
    def text(self) -> str:  # noqa: D102
        return f"set {self.option} of guest {self.vmid} to {self.value} on node {self.node}"


class MigrateGuest(OfGuest, frozen=True, kw_only=True, tag="migrate_guest"):
    """``qm migrate VMID`` to the node ``target``; copying takes ``takes``."""

    target: int
    takes: Duration = Duration(1_000_000_000)

    @property
    def text(self) -> str:  # noqa: D102
        return f"migrate guest {self.vmid} from node {self.node} to node {self.target}"


class DestroyGuest(OfGuest, frozen=True, kw_only=True, tag="destroy_guest"):
    """``qm destroy VMID``; removing its disks takes ``takes``."""

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
