"""What programs do below /etc/pve."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class Write(Intervention, frozen=True, kw_only=True, tag="write"):
    """A program on ``node`` writes ``content`` to a file below /etc/pve, as the shell's ``echo … > path`` does.

    ``replace``: as Proxmox' own tools do, to a temporary file that is then renamed. ``count`` > 1 writes that many
    files, ``every`` apart; ``{n}`` in path and content becomes their number.
    """

    node: int
    path: str = "qemu-server/100.conf"
    content: str = "cores: 2\nmemory: 2048\n"
    replace: bool = False
    count: int = 1
    every: Duration = Duration(1_000_000_000)

    @property
    def text(self) -> str:  # noqa: D102
        return f"write /etc/pve/{self.path} on node {self.node}" + (f", {self.count} times" if self.count > 1 else "")


class MakeDirectory(Intervention, frozen=True, kw_only=True, tag="mkdir"):
    """``mkdir`` below /etc/pve on ``node``."""

    node: int
    path: str

    @property
    def text(self) -> str:  # noqa: D102
        return f"mkdir /etc/pve/{self.path} on node {self.node}"


class Rename(Intervention, frozen=True, kw_only=True, tag="rename"):
    """``mv`` below /etc/pve on ``node``: how a guest's configuration migrates between nodes."""

    node: int
    path: str
    to: str

    @property
    def text(self) -> str:  # noqa: D102
        return f"rename /etc/pve/{self.path} to {self.to} on node {self.node}"


class Delete(Intervention, frozen=True, kw_only=True, tag="delete"):
    """``rm`` or ``rmdir`` below /etc/pve on ``node``."""

    node: int
    path: str

    @property
    def text(self) -> str:  # noqa: D102
        return f"delete /etc/pve/{self.path} on node {self.node}"
