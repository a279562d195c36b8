"""Scenarios: small TOML files that say which cluster runs, and what happens to it. Also what a saved run and a test is.

```toml
title = "Slow USB stick on C"
seed = 7                      # every random stream derives from it
host_model = "article"        # or "measured"
stop_after = "30s"            # virtual time
stop_on = "membership_installed"   # optional: stop at the first such event after the last intervention

[cluster]
nodes = 3                     # or: conf = "corosync.conf", relative to this file
transport = "knet"            # or "udpu", "udp": how large a packet may be
[cluster.totem]               # corosync's own keys, milliseconds and counts
token = 3000

[start]
stagger = "4ms"               # between one node's corosync and the next one's
pmxcfs_after = "1s"           # pmxcfs starts this long after corosync
database = "config.db"        # what /etc/pve holds on every node, relative to this file; a small tree if absent
ring_seq = 0                  # what the ring-id files hold; and, near 4294967295, to see the counters wrap:
message_seq = 0               # every ring's first message has the number after this one
token_seq = 0                 # and its first token this one

[ha]                          # the HA manager holds its lock and feeds a watchdog on these nodes
nodes = [1, 2, 3]
boot = "60s"                  # how long a node is away that its watchdog has reset; 0s: for ever

[disks]                       # profile per node id; "default" for the others
default = "nvme"
3 = "usb-stick"

[quirks]                      # known deviations of the real programs; all true by default (totem/config.py)
token_copy_frees_messages = true
recovery_counters_survive = true
[pmxcfs_quirks]               # the same for pmxcfs
rejoin_on_kept_handle = true

[network]
delay = "50us"
jitter = "0us"
loss_percent = 0.0
duplicate_percent = 0.0

[[interventions]]
at = "5s"
action = "stall_disk"
node = 3
duration = "6s"
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from totemviz.corosync.conf import ConfError, CorosyncConf, dump, load, parse
from totemviz.corosync.grammar import Entry, Section
from totemviz.corosync.quirks import Quirks
from totemviz.corosync.wire import GROUP_NAME_MAX
from totemviz.pmxcfs.process import Quirks as PmxcfsQuirks
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
from totemviz.sim.seed import DatabaseFileError, load_database
from totemviz.sim.storage import FAULTS
from totemviz.sim.threads import COROSYNC, PMXCFS, HostModel
from totemviz.sim.units import MS, SECOND, US, Duration
from totemviz.totem.config import KEYS as TOTEM_KEYS
from totemviz.totem.config import Transport

NODES_MAX = 64

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


class ScenarioError(ValueError):
    """A scenario that cannot be run: one line with file, line and mend."""


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which cluster: so many nodes in Proxmox's default form, or that of a corosync.conf: a file, or its text."""

    nodes: int = 3
    transport: Transport = Transport.KNET
    conf: str = ""
    conf_text: str = ""
    totem: dict[str, int] = {}


class StartSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When the daemons start, and on what: ``database`` is a config.db (empty: the tree of ``seed.seed_database``).

    Where the counters begin, to see them wrap: ``ring_seq`` is in every ring-id file; every ring's first token has the
    number ``token_seq``, its first message the one after ``message_seq`` (SEQNO_START_TOKEN, SEQNO_START_MSG).
    """

    stagger: Duration = Duration(4 * MS)
    pmxcfs_after: Duration = Duration(SECOND)
    database: str = ""
    ring_seq: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    message_seq: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    token_seq: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0


class HaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """On which nodes the HA manager has something to protect: it holds a lock there and feeds a watchdog.

    ``boot`` is how long a node takes to come back after its watchdog reset it; 0: it stays away.
    """

    nodes: tuple[int, ...] = ()
    boot: Duration = Duration(60 * SECOND)


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every link does. The default delay is the lab's: three hops in 0.16 ms (measured.md §2)."""

    delay: Duration = Duration(50 * US)
    jitter: Duration = Duration(0)
    loss_percent: float = 0.0
    duplicate_percent: float = 0.0


class SavedBranch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A branch of a saved session; ``main`` stands first, its interventions are the scenario's own.

    ``until`` is how far it had run, ``position`` the event its cursor was at.
    """

    name: str = "main"
    parent: str = ""
    forked_at: int = -1
    position: int = -1
    until: Duration = Duration(0)
    host_model: HostModel | None = None
    interventions: tuple[AnyIntervention, ...] = ()


class SavedSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a cockpit was looking at when it was saved: branches, the one on screen, and the stops."""

    current: str = "main"
    branches: tuple[SavedBranch, ...] = ()
    stops: tuple[str, ...] = ()


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A cluster and what happens to it."""

    title: str = "three nodes"
    description: str = ""
    seed: int = 1
    host_model: HostModel = HostModel.ARTICLE
    stop_after: Duration = Duration(60 * SECOND)
    stop_on: str = ""
    cluster: ClusterSpec = ClusterSpec()
    start: StartSpec = StartSpec()
    ha: HaSpec = HaSpec()
    disks: dict[str, str] = {}
    quirks: Quirks = Quirks()
    pmxcfs_quirks: PmxcfsQuirks = PmxcfsQuirks()
    network: NetworkSpec = NetworkSpec()
    interventions: tuple[AnyIntervention, ...] = ()
    session: SavedSession | None = None

    def profile_of(self, nodeid: int) -> str:
        """Name of the disk profile of a node."""
        return self.disks.get(str(nodeid), self.disks.get("default", "nvme"))


def load_scenario(path: Path) -> tuple[Scenario, CorosyncConf]:
    """Read a scenario file and the corosync.conf it names.

    Raises ScenarioError or ConfError (both one line with file, line and mend), OSError if a file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}:1: not a text file; a scenario is TOML") from None
    scenario = parse_scenario(text, str(path))
    conf = cluster_conf(scenario, str(path), path.parent, text)
    check(scenario, conf, str(path), text)
    return _with_database(scenario, path, text), conf


def _with_database(scenario: Scenario, path: Path, text: str) -> Scenario:
    """The scenario with the path of its config.db as seen from here. Raises ScenarioError if it cannot be used."""
    if not scenario.start.database:
        return scenario
    database = (path.parent / scenario.start.database).resolve()
    try:
        load_database(database)
    except DatabaseFileError as error:
        raise ScenarioError(f"{path}:{line_of(text, ['start', 'database'])}: {error}") from None
    start = msgspec.structs.replace(scenario.start, database=str(database))
    return msgspec.structs.replace(scenario, start=start)


def parse_scenario(text: str, path: str) -> Scenario:
    """Read a scenario's TOML. Raises ScenarioError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = match[1] if match else str(text.count("\n") + 1)
        what = re.sub(r"\s*\(at .*\)", "", str(error))
        raise ScenarioError(f"{path}:{line}: {what}; mend the TOML") from None
    try:
        return msgspec.convert(tree, Scenario, dec_hook=decode_duration)
    except msgspec.ValidationError as error:
        what, place = split_place(str(error))
        mend = "; see 'Scenarios' in the README for what a scenario may hold"
        raise ScenarioError(f"{path}:{line_of(text, place)}: {what}{mend}") from None


def cluster_conf(scenario: Scenario, path: str, folder: Path, text: str = "") -> CorosyncConf:
    """The cluster's corosync.conf: the file it names, or one in Proxmox's form. Raises ConfError, ScenarioError."""
    conf = _named_conf(scenario, path, folder, text)
    start = scenario.start
    totem = msgspec.structs.replace(
        conf.totem,
        quirks=scenario.quirks,
        seqno_start_msg=start.message_seq,
        seqno_start_token=start.token_seq,
    )
    return msgspec.structs.replace(conf, totem=totem, quirks=scenario.quirks)


def _named_conf(scenario: Scenario, path: str, folder: Path, text: str) -> CorosyncConf:
    spec = scenario.cluster
    if spec.conf_text:
        try:
            return parse(spec.conf_text, "corosync.conf")
        except ConfError as error:
            line = line_of(text, ["cluster", "conf_text"])
            raise ScenarioError(f"{path}:{line}: in conf_text: {error}") from None
    if spec.conf:
        conf_path = folder / spec.conf
        try:
            conf = load(conf_path)
        except OSError as error:
            line = line_of(text, ["cluster", "conf"])
            raise ScenarioError(f"{path}:{line}: cannot read {conf_path}: {error.strerror}") from None
        if spec.totem:
            line = line_of(text, ["cluster", "totem"])
            raise ScenarioError(f"{path}:{line}: totem keys belong into {spec.conf}; remove [cluster.totem]")
        if spec.transport is not Transport.KNET:
            line = line_of(text, ["cluster", "transport"])
            raise ScenarioError(f"{path}:{line}: the transport belongs into {spec.conf}; remove it here")
        return conf
    if not 1 <= spec.nodes <= NODES_MAX:
        line = line_of(text, ["cluster", "nodes"])
        raise ScenarioError(f"{path}:{line}: {spec.nodes} nodes cannot be run; use 1 to {NODES_MAX}")
    try:
        return parse(proxmox_conf(spec.nodes, spec.totem, spec.transport), "corosync.conf")
    except ConfError as error:
        what = str(error).split(": ", 1)[-1]
        key = what.partition(":")[0].removeprefix("totem.")
        line = line_of(text, ["cluster", "totem", key])
        raise ScenarioError(f"{path}:{line}: {what}") from None


def proxmox_conf(nodes: int, totem: dict[str, int] | None = None, transport: Transport = Transport.KNET) -> str:
    """A corosync.conf as ``pvecm create`` and ``pvecm add`` would leave it, with the keys given added.

    Transports other than knet cannot encrypt: there ``secauth`` is off.
    """
    knet = transport is Transport.KNET
    kind = "  secauth: on\n" if knet else f"  secauth: off\n  transport: {transport.value}\n"
    members = "".join(
        f"  node {{\n    name: pve{i}\n    nodeid: {i}\n    quorum_votes: 1\n    ring0_addr: 10.77.0.{i}\n  }}\n\n"
        for i in range(1, nodes + 1)
    )
    keys = "".join(f"  {key}: {value}\n" for key, value in sorted((totem or {}).items()))
    return (
        "logging {\n  debug: off\n  to_syslog: yes\n}\n\n"
        f"nodelist {{\n{members}}}\n\n"
        "quorum {\n  provider: corosync_votequorum\n}\n\n"
        "totem {\n  cluster_name: totemviz\n  config_version: 3\n  interface {\n    linknumber: 0\n  }\n"
        f"  ip_version: ipv4-6\n  link_mode: passive\n{kind}{keys}  version: 2\n}}\n"
    )


def check(scenario: Scenario, conf: CorosyncConf, path: str, text: str = "") -> None:
    """What the types cannot say: nodes and profiles that do not exist. Raises ScenarioError."""
    nodeids = [node.nodeid for node in conf.nodes]
    known = ", ".join(map(str, nodeids))

    def fail(place: list[str], what: str) -> None:
        raise ScenarioError(f"{path}:{line_of(text, place)}: {what}")

    for key, profile in scenario.disks.items():
        if key != "default" and key not in map(str, nodeids):
            fail(["disks", key], f"there is no node {key}; the cluster has {known}")
        if unknown := _disk_problem(profile):
            fail(["disks", key], unknown)
    for index, nodeid in enumerate(scenario.ha.nodes):
        if nodeid not in nodeids:
            fail(["ha", "nodes", str(index)], f"there is no node {nodeid}; the cluster has {known}")
    if scenario.stop_on:
        from totemviz.trace.events import BODY_BY_KIND  # noqa: PLC0415

        if scenario.stop_on not in BODY_BY_KIND:
            fail(["stop_on"], f"unknown event kind {scenario.stop_on!r}; use one of {', '.join(BODY_BY_KIND)}")
    programs = programs_of(scenario.interventions)
    for index, intervention in enumerate(scenario.interventions):
        place = ["interventions", str(index)]
        if (problem := check_intervention(intervention, conf, programs)) is not None:
            fail([*place, problem[0]], problem[1])


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
    if isinstance(intervention, SetDisk) and (problem := _disk_problem(intervention.profile)):
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
    if problem := _disk_problem(intervention.profile):
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


def _disk_problem(name: str) -> str:
    """Why there is no disk profile of this name, empty if there is one."""
    try:
        saved_profiles.find(name)
    except saved_profiles.ProfileError as error:
        return str(error)
    return ""


def self_contained(scenario: Scenario, conf: CorosyncConf) -> Scenario:
    """The same scenario without a corosync.conf beside it: its text is inside."""
    if scenario.cluster.conf or conf.path != "corosync.conf":
        return msgspec.structs.replace(scenario, cluster=ClusterSpec(conf_text=dump(conf)))
    return scenario


def dump_scenario(scenario: Scenario) -> str:
    """The TOML of a scenario; reading it gives an equal scenario."""
    import tomlkit  # noqa: PLC0415

    tree = msgspec.to_builtins(scenario, enc_hook=str, builtin_types=())
    return tomlkit.dumps(_durations_to_text(tree, scenario))


def _durations_to_text(tree: Any, value: Any) -> Any:
    """Msgspec writes a Duration as the integer it is; files write it with its unit."""
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {key: _durations_to_text(item, getattr(value, key, item)) for key, item in tree.items()}
    if isinstance(value, tuple):
        return [_durations_to_text(item, part) for item, part in zip(tree, value, strict=True)]
    return tree


def decode_duration(kind: type, value: Any) -> Any:
    """Hook for msgspec: durations are text with a unit. Raises ValueError that says so."""
    if kind is not Duration:
        raise NotImplementedError
    if not isinstance(value, str):
        raise ValueError(f"{value!r} needs a unit, e.g. 250ms or 6s")
    return Duration.parse(value)


def split_place(message: str) -> tuple[str, list[str]]:
    """Take a message of msgspec apart.

    '… - at `$.interventions[1].node`' gives ('…', ['interventions', '1', 'node']).
    """
    what, _, where = message.partition(" - at ")
    place = re.findall(r"[A-Za-z_][A-Za-z_0-9]*|\d+", where.strip("`").removeprefix("$"))
    if match := re.search(r"unknown field `(.*)`", what):
        place.append(match[1])
    return what, place


def line_of(text: str, place: list[str]) -> int:
    """Line in the TOML where a place like ['interventions', '1', 'node'] stands; its table's, or 1, if it is absent."""
    header: list[str] = []
    counts: dict[str, int] = {}
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if match := re.match(r"\[\[\s*([\w.\-]+)\s*\]\]", stripped):
            name = match[1]
            counts[name] = counts.get(name, -1) + 1
            header = [*name.split("."), str(counts[name])]
        elif match := re.match(r"\[\s*([\w.\-]+)\s*\]", stripped):
            header = match[1].split(".")
        elif match := re.match(r"([\w\-\"']+)\s*=", stripped):
            key = [*header, match[1].strip("\"'")]
            if key == place[: len(key)]:
                return number
            continue
        else:
            continue
        if header == place[: len(header)]:
            best = number
    return best
