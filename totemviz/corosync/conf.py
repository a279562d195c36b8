"""corosync.conf as corosync reads it: keys, defaults, limits and the effective values (sheet §2).

``KEYS`` says what each section may hold; a key that is not in it is kept and listed as a warning, as corosync
keeps it in its map and never looks at it. Everything corosync refuses is a ``ConfError`` with file, line and mend.
Sources: ``coroparse.c: main_config_parser_cb``, ``totemconfig.c: totem_config_validate``,
``votequorum.c: votequorum_readconfig``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from totemviz.corosync.grammar import ConfError, Entry, Section, parse_tree, write_tree
from totemviz.totem.config import KEYS as TOTEM_KEYS
from totemviz.totem.config import PROCESSOR_COUNT_MAX, TotemConfig, Transport

__all__ = ["ConfError", "CorosyncConf", "NodeConf", "QuorumOptions", "dump", "load", "parse"]

LINKS_MAX = 8
KNET_NODEID_MAX = 65535
QUORUM_PROVIDER = "corosync_votequorum"
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")

Rule = tuple[int, int] | tuple[str, ...] | None
"""What a value may be: a range of integers, one of some words, or any text."""

U8: Rule = (0, 2**8 - 1)
U16: Rule = (0, 2**16 - 1)
U32: Rule = (0, 2**32 - 1)
I32: Rule = (-(2**31), 2**31 - 1)
U64: Rule = (0, 2**64 - 1)
SWITCH: Rule = (0, 1)
YES_NO: Rule = ("yes", "no")
ON_OFF: Rule = ("on", "off")
TEXT: Rule = None

_LOG: Mapping[str, Rule] = {
    "debug": ("on", "off", "trace"),
    "fileline": ON_OFF,
    "function_name": ON_OFF,
    "blackbox": ON_OFF,
    "timestamp": ("on", "off", "hires"),
    "to_stderr": YES_NO,
    "to_logfile": YES_NO,
    "to_syslog": YES_NO,
    "logfile": TEXT,
    "logfile_priority": TEXT,
    "syslog_facility": TEXT,
    "syslog_priority": TEXT,
    "subsys": TEXT,
    "name": TEXT,
}

KEYS: Mapping[str, Mapping[str, Rule]] = {
    "totem": {
        **dict.fromkeys(TOTEM_KEYS, U32),
        "version": U32,
        "nodeid": U32,
        "threads": U32,
        "netmtu": U32,
        "knet_pmtud_interval": U32,
        "knet_mtu": U32,
        "knet_compression_threshold": U32,
        "knet_compression_level": I32,
        "knet_compression_model": ("none", "zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd"),
        "config_version": U64,
        "cluster_name": TEXT,
        "transport": tuple(Transport),
        "ip_version": ("ipv4", "ipv6", "ipv4-6", "ipv6-4"),
        "ip_dscp": TEXT,
        "link_mode": ("passive", "active", "rr"),
        "secauth": ON_OFF,
        "crypto_model": ("nss", "openssl", "gcrypt"),
        "crypto_cipher": ("none", "aes256", "aes192", "aes128"),
        "crypto_hash": ("none", "md5", "sha1", "sha256", "sha384", "sha512"),
        "keyfile": TEXT,
        "key": TEXT,
        "rrp_mode": TEXT,
        "autogenerate_cluster_id": TEXT,
        "clear_node_high_bit": YES_NO,
        "block_unlisted_ips": YES_NO,
        "cancel_token_hold_on_retransmit": YES_NO,
    },
    "totem.interface": {
        "linknumber": (0, LINKS_MAX - 1),
        "bindnetaddr": TEXT,
        "broadcast": YES_NO,
        "mcastaddr": TEXT,
        "mcastport": U16,
        "ttl": U8,
        "knet_link_priority": U8,
        "knet_ping_interval": U32,
        "knet_ping_timeout": U32,
        "knet_ping_precision": U32,
        "knet_pong_count": U32,
        "knet_transport": ("udp", "sctp"),
    },
    "nodelist": {},
    "nodelist.node": {
        "name": TEXT,
        "nodeid": U32,
        "quorum_votes": U32,
        **{f"ring{link}_addr": TEXT for link in range(LINKS_MAX)},
    },
    "quorum": {
        "provider": (QUORUM_PROVIDER,),
        "expected_votes": U32,
        "votes": U32,
        "two_node": SWITCH,
        "wait_for_all": SWITCH,
        "last_man_standing": SWITCH,
        "last_man_standing_window": U32,
        "auto_tie_breaker": SWITCH,
        "auto_tie_breaker_node": TEXT,
        "allow_downscale": SWITCH,
        "expected_votes_tracking": SWITCH,
        "leaving_timeout": U32,
    },
    "quorum.device": {
        "model": TEXT,
        "timeout": U32,
        "sync_timeout": U32,
        "votes": U32,
        "master_wins": SWITCH,
    },
    "logging": _LOG,
    "logging.logger_subsys": _LOG,
    "logging.logging_daemon": _LOG,
    "system": {
        "qb_ipc_type": ("native", "shm", "socket"),
        "sched_rr": YES_NO,
        "priority": TEXT,
        "move_to_root_cgroup": ("yes", "no", "auto"),
        "allow_knet_handle_fallback": YES_NO,
        "state_dir": TEXT,
    },
}

FREE_SECTIONS = ("resources", "uidgid", "service", "amf", "nozzle", "pload", "quorum.device")
"""Sections with content that the ring and the quorum do not depend on: their keys are kept and not checked."""


class NodeConf(msgspec.Struct, frozen=True):
    """One node of the nodelist; ``addresses`` are ring0_addr, ring1_addr …, ``line`` where its section opens."""

    nodeid: int
    name: str
    votes: int
    addresses: tuple[str, ...]
    line: int


class QuorumOptions(msgspec.Struct, frozen=True):
    """votequorum's options; None means not set. ``device`` is the qdevice's votes, if one is configured."""

    expected_votes: int | None = None
    two_node: bool = False
    wait_for_all: bool = False
    auto_tie_breaker: bool = False
    auto_tie_breaker_node: str = "lowest"
    last_man_standing: bool = False
    last_man_standing_window_ms: int = 10000
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device: int | None = None


class CorosyncConf(msgspec.Struct, frozen=True, kw_only=True):
    """A checked corosync.conf. ``warnings`` are full lines ``FILE:LINE: …``; ``tree`` keeps the file itself."""

    path: str
    cluster_name: str
    config_version: int
    transport: Transport
    nodes: tuple[NodeConf, ...]
    totem: TotemConfig
    quorum: QuorumOptions
    encrypted: bool
    warnings: tuple[str, ...]
    tree: Section

    @property
    def expected_votes(self) -> int:
        """Votes of the whole cluster: quorum.expected_votes, or the sum of the nodelist (sheet §9.1)."""
        if self.quorum.expected_votes:
            return self.quorum.expected_votes
        votes = sum(node.votes for node in self.nodes)
        if self.quorum.device is None:
            return votes
        return votes + self.quorum.device

    def node(self, nodeid: int) -> NodeConf:
        """The nodelist entry of a node id. Raises KeyError if there is none."""
        for node in self.nodes:
            if node.nodeid == nodeid:
                return node
        raise KeyError(nodeid)


def load(path: str | Path) -> CorosyncConf:
    """Read and check a file. Raises OSError if it cannot be read and ConfError if corosync would refuse it."""
    return parse(Path(path).read_text(encoding="utf-8", errors="replace"), str(path))


def parse(text: str, path: str) -> CorosyncConf:
    """Check the text of a corosync.conf; ``path`` is only for messages. Raises ConfError."""
    return _Reader(parse_tree(text, path), path).read()


def dump(conf: CorosyncConf) -> str:
    """The same configuration in Proxmox VE's form: sorted, two spaces of indentation, comments lost."""
    return write_tree(conf.tree)


class _Reader:
    """One pass over a tree: checks values against KEYS, then builds the pieces."""

    def __init__(self, tree: Section, path: str) -> None:
        self.tree = tree
        self.path = path
        self.warnings: list[str] = []
        self.last_line = max([1, *(line for section in tree.sections for line in _lines(section))])

    def read(self) -> CorosyncConf:
        self._check_values(self.tree, "")
        totem = self._merged("totem")
        version = self._integer(totem, "version", 2)
        if version != 2:
            self._fail(totem.get("version"), f"totem.version {version} is not supported; write 'version: 2'")
        transport = Transport(self._text(totem, "transport", Transport.KNET.value))
        nodes = self._nodes(transport)
        self._check_links(totem, transport, nodes)
        quorum = self._quorum(nodes)
        return CorosyncConf(
            path=self.path,
            cluster_name=self._text(totem, "cluster_name", ""),
            config_version=self._integer(totem, "config_version", 0),
            transport=transport,
            nodes=nodes,
            totem=self._timeouts(totem, transport, len(nodes)),
            quorum=quorum,
            encrypted=self._crypto(totem, transport),
            warnings=tuple(self.warnings),
            tree=self.tree,
        )

    # ---------------------------------------------------------------------------------------------------- values

    def _check_values(self, section: Section, path: str) -> None:
        rules = KEYS.get(path, {})
        seen: dict[str, int] = {}
        for entry in section.entries:
            if entry.key not in rules:
                self._warn(entry.line, f"unknown key {path}.{entry.key}; corosync ignores it")
            else:
                self._check(entry, f"{path}.{entry.key}", rules[entry.key])
            if entry.key in seen:
                self._warn(entry.line, f"{path}.{entry.key} again (line {seen[entry.key]}); the last one counts")
            seen[entry.key] = entry.line
        for child in section.sections:
            child_path = f"{path}.{child.name}" if path else child.name
            if child_path in KEYS:
                self._check_values(child, child_path)
            elif not child_path.startswith(FREE_SECTIONS):
                self._warn(child.line, f"unknown section {child_path}; corosync ignores it")

    def _check(self, entry: Entry, name: str, rule: Rule) -> None:
        if rule is None:
            return
        if isinstance(rule[0], str):
            words = [str(word) for word in rule]
            if entry.value not in words:
                self._fail(entry, f"{name}: {entry.value!r} is not allowed; use {_either(words)}")
            return
        low, high = int(rule[0]), int(rule[1])
        if not _INTEGER.match(entry.value):
            self._fail(entry, f"{name}: {entry.value!r} is not a whole number; use {low} to {high}")
        if not low <= int(entry.value) <= high:
            self._fail(entry, f"{name}: {entry.value} is out of range; use {low} to {high}")

    def _merged(self, name: str) -> Section:
        """A top-level section that may be opened several times, as one."""
        parts = list(self.tree.named(name))
        return Section(
            name,
            parts[0].line if parts else self.last_line,
            tuple(entry for part in parts for entry in part.entries),
            tuple(child for part in parts for child in part.sections),
        )

    def _integer(self, section: Section, key: str, default: int) -> int:
        entry = section.get(key)
        return default if entry is None else int(entry.value)

    def _text(self, section: Section, key: str, default: str) -> str:
        entry = section.get(key)
        return default if entry is None else entry.value

    def _fail(self, place: Entry | Section | None, message: str) -> None:
        raise ConfError(self.path, place.line if place else self.last_line, message)

    def _warn(self, line: int, message: str) -> None:
        self.warnings.append(f"{self.path}:{line}: {message}")

    # ----------------------------------------------------------------------------------------------------- nodes

    def _nodes(self, transport: Transport) -> tuple[NodeConf, ...]:
        sections = [node for nodelist in self.tree.named("nodelist") for node in nodelist.named("node")]
        if not sections:
            place = next(self.tree.named("nodelist"), None)
            self._fail(place, "no node in the nodelist; add 'nodelist {' with one 'node {' per cluster member")
        if len(sections) > PROCESSOR_COUNT_MAX:
            extra = sections[PROCESSOR_COUNT_MAX]
            self._fail(extra, f"more than {PROCESSOR_COUNT_MAX} nodes; corosync cannot run more in one cluster")
        nodes: list[NodeConf] = []
        for section in sections:
            node = self._node(section, transport)
            for other in nodes:
                if other.nodeid == node.nodeid:
                    self._fail(
                        section.get("nodeid"),
                        f"duplicate nodeid {node.nodeid} (also in line {other.line}); give every node its own",
                    )
                if set(other.addresses) & set(node.addresses):
                    self._warn(section.line, f"node {node.nodeid} shares an address with node {other.nodeid}")
            nodes.append(node)
        return tuple(nodes)

    def _node(self, section: Section, transport: Transport) -> NodeConf:
        if (entry := section.get("nodeid")) is None:
            self._fail(section, "node without nodeid; add 'nodeid: N', different for every node")
            raise AssertionError("unreachable")
        nodeid = int(entry.value)
        if nodeid == 0:
            self._fail(entry, "nodeid 0 is reserved; use 1 or more")
        if transport is Transport.KNET and nodeid > KNET_NODEID_MAX:
            self._fail(entry, f"nodeid {nodeid} is too large for knet; use 1 to {KNET_NODEID_MAX}")
        addresses = []
        for link in range(LINKS_MAX):
            address = section.get(f"ring{link}_addr")
            if address is None or not address.value:
                break
            addresses.append(address.value)
        if not addresses:
            self._fail(section, f"node {nodeid} has no ring0_addr; add 'ring0_addr: ADDRESS'")
        for link in range(len(addresses), LINKS_MAX):
            if stray := section.get(f"ring{link}_addr"):
                missing = len(addresses)
                self._fail(stray, f"node {nodeid} has no ring{missing}_addr; number its links without a gap")
        return NodeConf(
            nodeid=nodeid,
            name=self._text(section, "name", addresses[0]),
            votes=self._integer(section, "quorum_votes", 1),
            addresses=tuple(addresses),
            line=section.line,
        )

    def _check_links(self, totem: Section, transport: Transport, nodes: tuple[NodeConf, ...]) -> None:
        links = len(nodes[0].addresses)
        for node in nodes:
            if len(node.addresses) != links:
                raise ConfError(
                    self.path,
                    node.line,
                    f"node {node.nodeid} has {len(node.addresses)} links and node {nodes[0].nodeid} has {links}; "
                    "give all nodes the same ringX_addr keys",
                )
        if transport is not Transport.KNET and links > 1:
            raise ConfError(
                self.path, nodes[0].line, f"{links} links need knet; remove ring1_addr or 'transport: {transport}'"
            )
        for interface in totem.named("interface"):
            number = self._integer(interface, "linknumber", 0)
            if number >= links:
                self._warn(interface.line, f"interface {number} has no ring{number}_addr in the nodelist")

    # ----------------------------------------------------------------------------------------- timeouts and crypto

    def _timeouts(self, totem: Section, transport: Transport, node_count: int) -> TotemConfig:
        given = {key: int(entry.value) for key in TOTEM_KEYS if (entry := totem.get(key))}
        try:
            return TotemConfig.derive(
                node_count,
                given,
                transport=transport,
                cancel_token_hold_on_retransmit=self._text(totem, "cancel_token_hold_on_retransmit", "no") == "yes",
            )
        except ValueError as error:
            words = str(error).partition(":")[0].split(".")
            raise ConfError(self.path, self._blame(totem, words[-1]), _mend(str(error))) from error

    def _blame(self, totem: Section, key: str) -> int:
        """Line of the key that is wrong; of the one it is computed from if it is not in the file itself."""
        sources = {"token_retransmit": "token", "hold": "token_retransmit", "consensus": "join"}
        while totem.get(key) is None and key in sources:
            key = sources[key]
        entry = totem.get(key)
        return entry.line if entry else totem.line

    def _crypto(self, totem: Section, transport: Transport) -> bool:
        default = self._text(totem, "secauth", "off") == "on"
        cipher = self._text(totem, "crypto_cipher", "aes256" if default else "none")
        digest = self._text(totem, "crypto_hash", "sha256" if default else "none")
        place = totem.get("crypto_cipher") or totem.get("crypto_hash") or totem.get("secauth")
        if cipher != "none" and digest == "none":
            self._fail(place, "crypto_cipher needs crypto_hash; set crypto_hash, for example to sha256")
        if transport is not Transport.KNET and (cipher, digest) != ("none", "none"):
            self._fail(place, f"{transport} cannot encrypt; use knet, or set crypto_cipher and crypto_hash to none")
        return cipher != "none"

    # ---------------------------------------------------------------------------------------------------- quorum

    def _quorum(self, nodes: tuple[NodeConf, ...]) -> QuorumOptions:
        section = self._merged("quorum")
        if section.get("provider") is None:
            self._fail(section, f"no quorum provider; add 'quorum {{' with 'provider: {QUORUM_PROVIDER}'")
        flags = {
            key: bool(self._integer(section, key, 0))
            for key in (
                "two_node",
                "wait_for_all",
                "auto_tie_breaker",
                "last_man_standing",
                "allow_downscale",
                "expected_votes_tracking",
            )
        }
        if flags["two_node"] and flags["auto_tie_breaker"]:
            flags["two_node"] = False
            place = section.get("two_node") or section
            self._warn(place.line, "two_node and auto_tie_breaker exclude each other; two_node is disabled")
        if flags["two_node"] and section.get("wait_for_all") is None:
            flags["wait_for_all"] = True
        if flags["allow_downscale"]:
            flags["expected_votes_tracking"] = True
        self._check_tie_breaker(section, flags, nodes)
        return QuorumOptions(
            expected_votes=self._integer(section, "expected_votes", 0) or None,
            auto_tie_breaker_node=self._text(section, "auto_tie_breaker_node", "lowest"),
            last_man_standing_window_ms=self._integer(section, "last_man_standing_window", 10000),
            device=self._device(section, flags, nodes),
            **flags,
        )

    def _check_tie_breaker(self, section: Section, flags: dict[str, bool], nodes: Iterable[NodeConf]) -> None:
        if not flags["auto_tie_breaker"]:
            return
        place = section.get("auto_tie_breaker_node")
        if place and place.value not in ("lowest", "highest") and not re.match(r"[1-9][0-9 ]*\Z", place.value):
            flags["auto_tie_breaker"] = False
            self._warn(place.line, "auto_tie_breaker_node is 'lowest', 'highest' or node ids; disabled")
        if sum(node.votes for node in nodes) % 2 and not flags["wait_for_all"]:
            here = section.get("auto_tie_breaker")
            if flags["last_man_standing"]:
                self._fail(here, "auto_tie_breaker with last_man_standing and odd votes; add 'wait_for_all: 1'")
            flags["auto_tie_breaker"] = False
            self._warn(here.line if here else 0, "auto_tie_breaker with odd votes needs wait_for_all; disabled")

    def _device(self, section: Section, flags: dict[str, bool], nodes: tuple[NodeConf, ...]) -> int | None:
        devices = [device for device in section.named("device") if device.get("model")]
        if not devices:
            return None
        device = devices[-1]
        for key in ("two_node", "auto_tie_breaker", "last_man_standing", "allow_downscale"):
            if flags[key]:
                self._fail(section.get(key), f"quorum.{key} and a quorum device exclude each other; remove one")
        if section.get("expected_votes") and device.get("votes") is None:
            self._fail(device, "quorum.expected_votes needs the device's votes; add 'votes: N' to the device")
        if device.get("votes") is None and any(node.votes != 1 for node in nodes):
            self._fail(device, "a quorum device beside nodes with uneven votes; add 'votes: N' to the device")
        return self._integer(device, "votes", len(nodes) - 1)


def _lines(section: Section) -> Iterable[int]:
    yield section.line
    for entry in section.entries:
        yield entry.line
    for child in section.sections:
        yield from _lines(child)


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _mend(message: str) -> str:
    """The ring's message ends in ', use …'; here the mend follows a semicolon."""
    what, comma, mend = message.rpartition(", use ")
    return f"{what}; use {mend}" if comma else message
