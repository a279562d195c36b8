"""Whether an intervention can be done in a cluster, and the clusters that come of those which change it.

What cannot be done is told as the field at fault and one line with the mend: a scenario file adds the line number, the
cockpit shows it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from totemviz.corosync.conf import ConfError, CorosyncConf, dump, parse
from totemviz.corosync.grammar import Entry, Section
from totemviz.corosync.wire import GROUP_NAME_MAX
from totemviz.sim import saved_profiles
from totemviz.sim.device import LOAD_KINDS
from totemviz.sim.interventions import (
    AddNode,
    AnyIntervention,
    CpgFlood,
    CpgRead,
    CreateGuest,
    Delay,
    DiskFault,
    DropMessage,
    Duplicate,
    ExpectedVotes,
    Heal,
    LoadDisk,
    Loss,
    MigrateGuest,
    Pause,
    QuorumDevice,
    SetDisk,
    SetGuest,
    SetTimeout,
    Tamper,
)
from totemviz.sim.interventions.hosts import HOST
from totemviz.sim.quorum_tools import VOTES
from totemviz.sim.storage import FAULTS
from totemviz.sim.threads import COROSYNC, PMXCFS
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


def programs_of(interventions: Iterable[AnyIntervention]) -> tuple[str, ...]:
    """Names of the programs that these interventions start."""
    started = (action.program for action in interventions if isinstance(action, CpgRead | CpgFlood))
    return tuple(dict.fromkeys(started))


def check_intervention(
    intervention: AnyIntervention, conf: CorosyncConf, programs: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    """(field, what is wrong and how to mend it) of an intervention in this cluster, None if it can be done.

    ``programs`` are the names of those that run or will run.
    """
    nodeids = [node.nodeid for node in conf.nodes]
    known = ", ".join(map(str, nodeids))
    zero_is_every = isinstance(intervention, DropMessage | Heal | Loss | Duplicate | Delay | Tamper)
    for field in ("node", "nodes", "source", "target"):
        value = getattr(intervention, field, ())
        for nodeid in value if isinstance(value, tuple) else (value,):
            if nodeid not in nodeids and not (zero_is_every and nodeid == 0):
                return field, f"there is no node {nodeid}; the cluster has {known}"
    if isinstance(intervention, SetDisk) and (problem := disk_problem(intervention.profile)):
        return "profile", problem
    process = getattr(intervention, "process", "")
    known_processes = (COROSYNC, PMXCFS, *programs, *((HOST,) if isinstance(intervention, Pause) else ()))
    if process and process not in known_processes:
        return "process", f"unknown process {process!r}; use {' or '.join(known_processes)}"
    if isinstance(intervention, SetTimeout | AddNode):
        return _reload_problem(intervention, conf)
    if isinstance(intervention, CpgRead | CpgFlood) and (wrong := _client_problem(intervention)):
        return wrong
    if isinstance(intervention, QuorumDevice | ExpectedVotes) and (wrong := _quorum_problem(intervention, conf)):
        return wrong
    if isinstance(intervention, (LoadDisk, DiskFault)):
        return _disk_trouble_problem(intervention)
    if (wrong := _guest_problem(intervention)) is not None:
        return wrong
    percent = getattr(intervention, "percent", 0.0)
    if not 0 <= percent <= 100:
        return "percent", f"{percent:g} is not a percentage; use 0 to 100"
    return None


def _reload_problem(intervention: SetTimeout | AddNode, conf: CorosyncConf) -> tuple[str, str] | None:
    if isinstance(intervention, AddNode):
        return _new_node_problem(intervention, conf)
    return _timeout_problem(intervention, conf)


def _new_node_problem(intervention: AddNode, conf: CorosyncConf) -> tuple[str, str] | None:
    if problem := disk_problem(intervention.profile):
        return "profile", problem
    try:
        with_node(conf)
    except ConfError as error:
        return "action", str(error).split(": ", 1)[-1]
    return None


def _timeout_problem(intervention: SetTimeout, conf: CorosyncConf) -> tuple[str, str] | None:
    if intervention.key not in RELOADED_KEYS:
        return "key", f"totem.{intervention.key} does not change at a reload; use one of {', '.join(RELOADED_KEYS)}"
    try:
        with_key(conf, intervention.key, intervention.value)
    except ConfError as error:
        return "value", str(error).split(": ", 1)[-1]
    return None


def with_key(conf: CorosyncConf, key: str, value: int) -> CorosyncConf:
    """The same cluster with another value of a key of the totem section. Raises ConfError if corosync refuses it."""
    changed = parse(f"{dump(conf)}\ntotem {{\n  {key}: {value}\n}}\n", conf.path)
    totem = msgspec.structs.replace(changed.totem, quirks=conf.totem.quirks)
    return msgspec.structs.replace(changed, totem=totem)


def with_node(conf: CorosyncConf) -> CorosyncConf:
    """The same cluster with one node more, named and numbered after the last. Raises ConfError if it takes no more."""
    nodeid = max(node.nodeid for node in conf.nodes) + 1
    entries = {"name": f"pve{nodeid}", "nodeid": str(nodeid), "quorum_votes": "1"}
    entries |= {f"ring{link}_addr": f"10.77.{link}.{nodeid}" for link in conf.links}
    node = Section("node", 0, tuple(Entry(key, value, 0) for key, value in entries.items()))
    sections = tuple(
        msgspec.structs.replace(section, sections=(*section.sections, node)) if section.name == "nodelist" else section
        for section in conf.tree.sections
    )
    tree = msgspec.structs.replace(conf.tree, sections=sections)
    changed = parse(dump(msgspec.structs.replace(conf, tree=tree)), conf.path)
    totem = msgspec.structs.replace(changed.totem, quirks=conf.totem.quirks)
    return msgspec.structs.replace(changed, totem=totem)


def _guest_problem(intervention: AnyIntervention) -> tuple[str, str] | None:
    vmid = getattr(intervention, "vmid", VMID_MIN)
    if not VMID_MIN <= vmid <= VMID_MAX:
        return "vmid", f"{vmid} is no VMID; use {VMID_MIN} to {VMID_MAX}"
    kind = getattr(intervention, "kind", "")
    if isinstance(intervention, CreateGuest) and kind not in ("qemu", "lxc"):
        return "kind", f"unknown kind of guest {kind!r}; use qemu or lxc"
    if isinstance(intervention, MigrateGuest) and intervention.target in (0, intervention.node):
        return "target", "a guest migrates to another node; name one"
    value = getattr(intervention, "value", "")
    if isinstance(intervention, SetGuest) and (not intervention.option.isidentifier() or "\n" in value):
        return "option", f"{intervention.option!r}: {value!r} is no option of a guest; use e.g. memory and 4096"
    return None


def _quorum_problem(intervention: QuorumDevice | ExpectedVotes, conf: CorosyncConf) -> tuple[str, str] | None:
    if isinstance(intervention, ExpectedVotes):
        if not 1 <= intervention.votes <= VOTES_MAX:
            return "votes", f"{intervention.votes} votes cannot be expected; use 1 to {VOTES_MAX}"
    elif conf.quorum.device is None:
        return "action", "the cluster's corosync.conf has no quorum device; add 'device {' with a model to its quorum"
    elif intervention.vote not in VOTES:
        return "vote", f"unknown vote {intervention.vote!r}; use {', '.join(VOTES[:-1])} or {VOTES[-1]}"
    return None


def _disk_trouble_problem(intervention: LoadDisk | DiskFault) -> tuple[str, str] | None:
    if isinstance(intervention, LoadDisk):
        if intervention.kind not in LOAD_KINDS:
            return "kind", f"unknown load {intervention.kind!r}; use {' or '.join(LOAD_KINDS)}"
        if not 1 <= intervention.percent <= LOAD_PERCENT_MAX:
            return "percent", f"{intervention.percent} is no load; use 1 to {LOAD_PERCENT_MAX}"
    else:
        if intervention.fault not in FAULTS:
            return "fault", f"unknown fault {intervention.fault!r}; use one of {', '.join(FAULTS)}"
        if intervention.factor < 1:
            return "factor", f"{intervention.factor} is no factor; use 1 or more"
    return None


def _client_problem(client: CpgRead | CpgFlood) -> tuple[str, str] | None:
    """(field, what is wrong and how to mend it) of a CPG client."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,14}", client.program) or client.program in (COROSYNC, PMXCFS, HOST):
        return "program", f"{client.program!r} is no name for a program; use up to 15 of a-z, 0-9, - and _"
    if not 0 < len(client.group.encode("latin-1", "replace")) <= GROUP_NAME_MAX:
        return "group", f"a CPG group's name has 1 to {GROUP_NAME_MAX} bytes"
    if isinstance(client, CpgFlood):
        for field, value, least in (("count", client.count, 1), ("size", client.size, 0), ("rate", client.rate, 0)):
            if value < least:
                return field, f"{value:g} is too small; use {least} or more"
        if client.size > MESSAGE_SIZE_MAX:
            return "size", f"{client.size} bytes are too many; use up to {MESSAGE_SIZE_MAX}"
        if client.retry <= 0:
            return "retry", "a program that does not wait before it tries again never ends; use 1ms or so"
    return None


def disk_problem(name: str) -> str:
    """Why there is no disk profile of this name, empty if there is one."""
    try:
        saved_profiles.find(name)
    except saved_profiles.ProfileError as error:
        return str(error)
    return ""
