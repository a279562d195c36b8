"""Whether an intervention can be done in a cluster, and the clusters that come of those which change it.

What cannot be done is told as the field at fault and one line with the mend: a scenario file adds the line number, the
cockpit shows it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from totemviz.corosync.conf import ConfError, CorosyncConf
from totemviz.corosync.wire import GROUP_NAME_MAX
from totemviz.sim import saved_profiles
from totemviz.sim.conf_edits import KEY, with_key, with_node
from totemviz.sim.device import LOAD_KINDS
from totemviz.sim.interventions import (
    AddNode,
    AnyIntervention,
    CpgFlood,
    CpgRead,
    CreateGuest,
    DestroyGuest,
    DiskFault,
    DropMessage,
    Duplicate,
    EditConf,
    ExpectedVotes,
    LoadDisk,
    Loss,
    MigrateGuest,
    Pause,
    QuorumDevice,
    SetDisk,
    SetGuest,
    SetTimeout,
    SkewClock,
    Tamper,
)
from totemviz.sim.interventions.confs import CLUSTER_FILE, HOST_FILE
from totemviz.sim.interventions.guests import OfGuest
from totemviz.sim.interventions.hosts import HOST
from totemviz.sim.interventions.links import OnLinks
from totemviz.sim.quorum_tools import VOTES
from totemviz.sim.storage import FAULTS
from totemviz.sim.threads import COROSYNC, PMXCFS
from totemviz.sim.units import SECOND, Duration
from totemviz.totem.config import KEYS as TOTEM_KEYS

RELOADED_KEYS = tuple(key for key in TOTEM_KEYS if key not in ("heartbeat_failures_allowed", "max_network_delay"))
"""Keys of the totem section that take effect when a running corosync reads its file again: all that ``totemconfig.c:
totem_volatile_config_read`` reads, but the two of which ``totemsrp_initialize`` makes the heartbeat timeout once.
"""

VMID_MIN, VMID_MAX = 100, 999_999_999
VOTES_MAX = 255
"""votequorum keeps the quorum in 8 bits; more expected votes than this make no sense to it."""

MESSAGE_SIZE_MAX = 64 * 1024 * 1024
"""The largest message a program may send: more is only slow."""
LOAD_PERCENT_MAX = 1000
ZERO_IS_EVERY = (DropMessage, OnLinks, Tamper, SetTimeout)
"""Interventions in which node 0 stands for every node."""
DRIFT_PPM_MAX = 999_999
"""A clock may run nearly twice as fast as time, or nearly stand still."""
AHEAD_MAX = Duration(10 * 365 * 24 * 3600 * SECOND)


Problem: TypeAlias = tuple[str, str] | None
"""The field at fault, what is wrong with it and how to mend it."""


def programs_of(interventions: Iterable[AnyIntervention]) -> tuple[str, ...]:
    """Names of the programs that these interventions start."""
    started = (action.program for action in interventions if isinstance(action, CpgRead | CpgFlood))
    return tuple(dict.fromkeys(started))


def check_intervention(intervention: AnyIntervention, conf: CorosyncConf, programs: tuple[str, ...] = ()) -> Problem:
    """(field, what is wrong and how to mend it) of an intervention in this cluster, None if it can be done.

    ``programs`` are the names of those that run or will run.
    """
    nodeids = [node.nodeid for node in conf.nodes]
    known = ", ".join(map(str, nodeids))
    zero_is_every = isinstance(intervention, ZERO_IS_EVERY)
    for field in ("node", "nodes", "source", "target"):
        value = getattr(intervention, field, ())
        for nodeid in value if isinstance(value, tuple) else (value,):
            if nodeid not in nodeids and not (zero_is_every and nodeid == 0):
                return field, f"there is no node {nodeid}; the cluster has {known}"
    process = getattr(intervention, "process", "")
    known_processes = (COROSYNC, PMXCFS, *programs, *((HOST,) if isinstance(intervention, Pause) else ()))
    if process and process not in known_processes:
        return "process", f"unknown process {process!r}; use {' or '.join(known_processes)}"
    problem = _PROBLEMS.get(type(intervention))
    return problem(intervention, conf) if problem is not None else None


def _percent_problem(intervention: Loss | Duplicate, conf: CorosyncConf) -> Problem:
    if not 0 <= intervention.percent <= 100:
        return "percent", f"{intervention.percent:g} is not a percentage; use 0 to 100"
    return None


def _profile_problem(intervention: SetDisk, conf: CorosyncConf) -> Problem:
    problem = disk_problem(intervention.profile)
    return ("profile", problem) if problem else None


def _clock_problem(intervention: SkewClock, conf: CorosyncConf) -> Problem:
    if abs(intervention.ahead) > AHEAD_MAX:
        return "ahead", f"{intervention.ahead} is too far; use up to ten years, {AHEAD_MAX}"
    if abs(intervention.drift_ppm) > DRIFT_PPM_MAX:
        return "drift_ppm", f"{intervention.drift_ppm} is no drift; use {-DRIFT_PPM_MAX} to {DRIFT_PPM_MAX}"
    return None


def _new_node_problem(intervention: AddNode, conf: CorosyncConf) -> Problem:
    if problem := disk_problem(intervention.profile):
        return "profile", problem
    try:
        with_node(conf, max(node.nodeid for node in conf.nodes) + 1)
    except ConfError as error:
        return "action", str(error).split(": ", 1)[-1]
    return None


def _timeout_problem(intervention: SetTimeout, conf: CorosyncConf) -> Problem:
    if intervention.key not in RELOADED_KEYS:
        return "key", f"totem.{intervention.key} does not change at a reload; use one of {', '.join(RELOADED_KEYS)}"
    try:
        with_key(conf, intervention.key, intervention.value)
    except ConfError as error:
        return "value", str(error).split(": ", 1)[-1]
    return None


def _edit_problem(intervention: EditConf, conf: CorosyncConf) -> Problem:
    if intervention.file not in (CLUSTER_FILE, HOST_FILE):
        return "file", f"{intervention.file!r} is no corosync.conf; use {CLUSTER_FILE} or {HOST_FILE}"
    if not KEY.fullmatch(intervention.key):
        return "key", f"{intervention.key!r} is no key of corosync.conf; use e.g. totem.token or quorum.two_node"
    if not intervention.value.isprintable() or set(intervention.value) & set("{}"):
        return "value", f"{intervention.value!r} does not fit into a line of corosync.conf"
    return None


def _vmid_problem(intervention: OfGuest, conf: CorosyncConf) -> Problem:
    if not VMID_MIN <= intervention.vmid <= VMID_MAX:
        return "vmid", f"{intervention.vmid} is no VMID; use {VMID_MIN} to {VMID_MAX}"
    if isinstance(intervention, CreateGuest) and intervention.kind not in ("qemu", "lxc"):
        return "kind", f"unknown kind of guest {intervention.kind!r}; use qemu or lxc"
    if isinstance(intervention, MigrateGuest) and intervention.target in (0, intervention.node):
        return "target", "a guest migrates to another node; name one"
    if isinstance(intervention, SetGuest) and (not intervention.option.isidentifier() or "\n" in intervention.value):
        wrong = f"{intervention.option!r}: {intervention.value!r}"
        return "option", f"{wrong} is no option of a guest; use e.g. memory and 4096"
    return None


def _votes_problem(intervention: ExpectedVotes, conf: CorosyncConf) -> Problem:
    if not 1 <= intervention.votes <= VOTES_MAX:
        return "votes", f"{intervention.votes} votes cannot be expected; use 1 to {VOTES_MAX}"
    return None


def _device_problem(intervention: QuorumDevice, conf: CorosyncConf) -> Problem:
    if conf.quorum.device is None:
        return "action", "the cluster's corosync.conf has no quorum device; add 'device {' with a model to its quorum"
    if intervention.vote not in VOTES:
        return "vote", f"unknown vote {intervention.vote!r}; use {', '.join(VOTES[:-1])} or {VOTES[-1]}"
    return None


def _load_problem(intervention: LoadDisk, conf: CorosyncConf) -> Problem:
    if intervention.kind not in LOAD_KINDS:
        return "kind", f"unknown load {intervention.kind!r}; use {' or '.join(LOAD_KINDS)}"
    if not 1 <= intervention.percent <= LOAD_PERCENT_MAX:
        return "percent", f"{intervention.percent} is no load; use 1 to {LOAD_PERCENT_MAX}"
    return None


def _fault_problem(intervention: DiskFault, conf: CorosyncConf) -> Problem:
    if intervention.fault not in FAULTS:
        return "fault", f"unknown fault {intervention.fault!r}; use one of {', '.join(FAULTS)}"
    if intervention.factor < 1:
        return "factor", f"{intervention.factor} is no factor; use 1 or more"
    return None


def _client_problem(client: CpgRead | CpgFlood, conf: CorosyncConf) -> Problem:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,14}", client.program) or client.program in (COROSYNC, PMXCFS, HOST):
        return "program", f"{client.program!r} is no name for a program; use up to 15 of a-z, 0-9, - and _"
    if not 0 < len(client.group.encode("latin-1", "replace")) <= GROUP_NAME_MAX:
        return "group", f"a CPG group's name has 1 to {GROUP_NAME_MAX} bytes"
    return _flood_problem(client) if isinstance(client, CpgFlood) else None


def _flood_problem(flood: CpgFlood) -> Problem:
    for field, value, least in (("count", flood.count, 1), ("size", flood.size, 0), ("rate", flood.rate, 0)):
        if value < least:
            return field, f"{value:g} is too small; use {least} or more"
    if flood.size > MESSAGE_SIZE_MAX:
        return "size", f"{flood.size} bytes are too many; use up to {MESSAGE_SIZE_MAX}"
    if flood.retry <= 0:
        return "retry", "a program that does not wait before it tries again never ends; use 1ms or so"
    return None


def disk_problem(name: str) -> str:
    """Why there is no disk profile of this name, empty if there is one."""
    try:
        saved_profiles.find(name)
    except saved_profiles.ProfileError as error:
        return str(error)
    return ""


_PROBLEMS: dict[type, Callable[[Any, CorosyncConf], Problem]] = {
    AddNode: _new_node_problem,
    CpgFlood: _client_problem,
    CpgRead: _client_problem,
    CreateGuest: _vmid_problem,
    DestroyGuest: _vmid_problem,
    DiskFault: _fault_problem,
    Duplicate: _percent_problem,
    EditConf: _edit_problem,
    ExpectedVotes: _votes_problem,
    LoadDisk: _load_problem,
    Loss: _percent_problem,
    MigrateGuest: _vmid_problem,
    QuorumDevice: _device_problem,
    SetDisk: _profile_problem,
    SetGuest: _vmid_problem,
    SetTimeout: _timeout_problem,
    SkewClock: _clock_problem,
}
"""What can be wrong with an intervention besides its node and process."""
