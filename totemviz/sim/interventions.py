"""What a person can do to a cluster: typed commands, with the moment they take effect.

Scenario + interventions is the whole save file. In a scenario's TOML each is a table ``[[interventions]]`` whose
``action`` names the struct; ``at`` is the virtual time, ``after_event`` (written when a run is saved) the exact
position in the timeline.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from totemviz.sim.units import Duration


class Intervention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """Base of all interventions. ``after_event`` -1: only the time counts."""

    at: Duration = Duration(0)
    after_event: int = -1

    @property
    def text(self) -> str:
        """What was done, in words."""
        raise NotImplementedError


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


class Kill(Intervention, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL to corosync and pmxcfs on ``node`` (or only to ``process``)."""

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
    """Start whatever does not run on ``node``; boot it if it has no power."""

    node: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"start node {self.node} again"


class Leave(Intervention, frozen=True, kw_only=True, tag="leave"):
    """Stop pmxcfs and corosync on ``node`` the clean way (SIGTERM)."""

    node: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"stop node {self.node} cleanly"


class Pause(Intervention, frozen=True, kw_only=True, tag="pause"):
    """SIGSTOP ``process`` on ``node``, SIGCONT after ``duration``."""

    node: int
    duration: Duration
    process: str = "corosync"

    @property
    def text(self) -> str:  # noqa: D102
        return f"stop {self.process} on node {self.node} for {self.duration}"


class DropToken(Intervention, frozen=True, kw_only=True, tag="drop_token"):
    """The next ``count`` tokens sent are lost on the wire."""

    count: int = 1

    @property
    def text(self) -> str:  # noqa: D102
        return "drop the next token" if self.count == 1 else f"drop the next {self.count} tokens"


class DropMessage(Intervention, frozen=True, kw_only=True, tag="drop_message"):
    """The next multicast message is lost on its way to ``target`` (0: to everybody else)."""

    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        return f"drop the next message to {f'node {self.target}' if self.target else 'everybody'}"


class Cut(Intervention, frozen=True, kw_only=True, tag="cut"):
    """Cut every link between ``nodes`` and the rest of the cluster, both ways."""

    nodes: tuple[int, ...]

    @property
    def text(self) -> str:  # noqa: D102
        return f"cut {', '.join(map(str, self.nodes))} off from the rest"


class CutOneWay(Intervention, frozen=True, kw_only=True, tag="cut_one_way"):
    """Nothing that ``source`` sends reaches ``target`` any more; the other way still works."""

    source: int
    target: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"cut the way from node {self.source} to node {self.target}"


class Heal(Intervention, frozen=True, kw_only=True, tag="heal"):
    """All links work again."""

    @property
    def text(self) -> str:  # noqa: D102
        return "mend all links"


class Loss(Intervention, frozen=True, kw_only=True, tag="loss"):
    """From now on every link loses ``percent`` of the datagrams."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"lose {self.percent:g} % of all datagrams"


class Duplicate(Intervention, frozen=True, kw_only=True, tag="duplicate"):
    """From now on every link delivers ``percent`` of the datagrams twice."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"deliver {self.percent:g} % of all datagrams twice"


class Delay(Intervention, frozen=True, kw_only=True, tag="delay"):
    """From now on every datagram takes ``delay``, and up to ``jitter`` longer, so that one can overtake another."""

    delay: Duration
    jitter: Duration = Duration(0)

    @property
    def text(self) -> str:  # noqa: D102
        return f"let all datagrams take {self.delay}" + (f" and up to {self.jitter} more" if self.jitter else "")


AnyIntervention: TypeAlias = (
    Write
    | MakeDirectory
    | Rename
    | Delete
    | StallDisk
    | SetDisk
    | Kill
    | PowerCut
    | Restart
    | Leave
    | Pause
    | DropToken
    | DropMessage
    | Cut
    | CutOneWay
    | Heal
    | Loss
    | Duplicate
    | Delay
)
