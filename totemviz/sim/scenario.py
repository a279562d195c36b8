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

[quirks]                      # known deviations of the real programs; all true by default
token_copy_frees_messages = true         # what they are stands in totem/config.py,
recovery_counters_survive = true
ring_id_not_synced = true
foreign_order_compared_raw = true
failing_node_expels_itself = true
idle_token_is_held = true
hold_timer_outlives_cancel = true
ring_seq_one_on_at_start = true
safe_is_agreed = true
throw_away_loses_packets = true
barrier_abort_keeps_joinlists = true     # in corosync/quirks.py,
join_list_outlives_leave = true
ev_tracking_never_saved = true
[pmxcfs_quirks]
synced_applies_unsynced_messages = true  # and in pmxcfs/process.py
truncate_makes_size_without_data = true
rename_forgets_target_early = true
offsets_cut_to_32_bits = true
lock_timers_restart = true
rejoin_on_kept_handle = true
writers_hang_in_error_mode = true

[network]
delay = "50us"
jitter = "0us"
loss_percent = 0.0
duplicate_percent = 0.0

[programs]                    # those that work below /etc/pve
between_calls = "10us"        # from the answer to one system call to the next call

[[interventions]]
at = "5s"
action = "stall_disk"
node = 3
duration = "6s"
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from totemviz.corosync.conf import ConfError, CorosyncConf, dump, load, parse
from totemviz.corosync.quirks import Quirks
from totemviz.pmxcfs.process import Quirks as PmxcfsQuirks
from totemviz.sim.conf_edits import with_key, with_node
from totemviz.sim.interventions import AddNode, AnyIntervention, SetTimeout
from totemviz.sim.possible import check_intervention, disk_problem, programs_of
from totemviz.sim.seed import DatabaseFileError, load_database
from totemviz.sim.threads import HostModel
from totemviz.sim.toml_text import TomlError, line_of, read
from totemviz.sim.units import MS, SECOND, US, Duration
from totemviz.totem.config import Transport

NODES_MAX = 64


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


class ProgramsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Programs that work below /etc/pve: ``between_calls`` goes by between an answer and the next system call."""

    between_calls: Duration = Duration(10 * US)


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
    programs: ProgramsSpec = ProgramsSpec()
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
        return read(text, Scenario, lambda _: "; see 'Scenarios' in the README for what a scenario may hold")
    except TomlError as error:
        raise ScenarioError(f"{path}:{error}") from None


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
        if unknown := disk_problem(profile):
            fail(["disks", key], unknown)
    for index, nodeid in enumerate(scenario.ha.nodes):
        if nodeid not in nodeids:
            fail(["ha", "nodes", str(index)], f"there is no node {nodeid}; the cluster has {known}")
    if scenario.stop_on:
        from totemviz.trace.events import BODY_BY_KIND  # noqa: PLC0415

        if scenario.stop_on not in BODY_BY_KIND:
            fail(["stop_on"], f"unknown event kind {scenario.stop_on!r}; use one of {', '.join(BODY_BY_KIND)}")
    programs = programs_of(scenario.interventions)
    for index, intervention in sorted(enumerate(scenario.interventions), key=lambda numbered: numbered[1].at):
        place = ["interventions", str(index)]
        if (problem := check_intervention(intervention, conf, programs)) is not None:
            fail([*place, problem[0]], problem[1])
        if isinstance(intervention, AddNode):
            conf = with_node(conf, max(node.nodeid for node in conf.nodes) + 1)
        if isinstance(intervention, SetTimeout) and not intervention.node:
            conf = with_key(conf, intervention.key, intervention.value)


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
