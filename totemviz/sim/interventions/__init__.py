"""What a person can do to a cluster: typed commands, with the moment they take effect.

Scenario + interventions is the whole save file. In a scenario's TOML each is a table ``[[interventions]]`` whose
``action`` names the struct; ``at`` is the virtual time; ``after_event`` and ``after_step``, written when a run is
saved, are the exact place. One file per subject: ``files``, ``guests``, ``disks``, ``hosts``, ``confs``, ``clients``,
``links``, ``datagrams``, ``quorum``; what each does to the world is in ``totemviz.sim.doing``.
"""

from __future__ import annotations

from typing import TypeAlias

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.interventions.clients import CpgFlood, CpgRead
from totemviz.sim.interventions.confs import EditConf, ReloadConf, SetTimeout
from totemviz.sim.interventions.datagrams import (
    DelayDatagram,
    DeliverLost,
    DropDatagram,
    DropMessage,
    DropToken,
    DuplicateDatagram,
    HoldDatagram,
    Tamper,
)
from totemviz.sim.interventions.disks import DiskFault, LoadDisk, MendDisk, SetDisk, StallDisk
from totemviz.sim.interventions.files import Delete, MakeDirectory, Rename, Write
from totemviz.sim.interventions.guests import (
    CreateGuest,
    DestroyGuest,
    MigrateGuest,
    SetGuest,
    SetStatus,
    WriteClusterLog,
)
from totemviz.sim.interventions.hosts import (
    AddNode,
    ChangeHostModel,
    Kill,
    Leave,
    Pause,
    PowerCut,
    Restart,
    SkewClock,
)
from totemviz.sim.interventions.links import Cut, CutOneWay, Delay, Duplicate, Heal, Loss
from totemviz.sim.interventions.quorum import ExpectedVotes, QuorumDevice

AnyIntervention: TypeAlias = (
    Write
    | MakeDirectory
    | Rename
    | Delete
    | CreateGuest
    | SetGuest
    | MigrateGuest
    | DestroyGuest
    | SetStatus
    | WriteClusterLog
    | StallDisk
    | SetDisk
    | LoadDisk
    | DiskFault
    | MendDisk
    | Kill
    | PowerCut
    | Restart
    | Leave
    | SetTimeout
    | EditConf
    | ReloadConf
    | AddNode
    | Pause
    | SkewClock
    | ChangeHostModel
    | CpgRead
    | CpgFlood
    | Cut
    | CutOneWay
    | Heal
    | Loss
    | Duplicate
    | Delay
    | DropToken
    | DropMessage
    | DropDatagram
    | DelayDatagram
    | DuplicateDatagram
    | HoldDatagram
    | DeliverLost
    | QuorumDevice
    | ExpectedVotes
)

__all__ = [
    "AddNode",
    "AnyIntervention",
    "ChangeHostModel",
    "CpgFlood",
    "CpgRead",
    "CreateGuest",
    "Cut",
    "CutOneWay",
    "Delay",
    "DelayDatagram",
    "Delete",
    "DeliverLost",
    "DestroyGuest",
    "DiskFault",
    "DropDatagram",
    "DropMessage",
    "DropToken",
    "Duplicate",
    "DuplicateDatagram",
    "EditConf",
    "ExpectedVotes",
    "Heal",
    "HoldDatagram",
    "Intervention",
    "Kill",
    "Leave",
    "LoadDisk",
    "Loss",
    "MakeDirectory",
    "MendDisk",
    "MigrateGuest",
    "Pause",
    "PowerCut",
    "QuorumDevice",
    "ReloadConf",
    "Rename",
    "Restart",
    "SetDisk",
    "SetGuest",
    "SetStatus",
    "SetTimeout",
    "SkewClock",
    "StallDisk",
    "Tamper",
    "Write",
    "WriteClusterLog",
]
