"""corosync.conf as corosync reads it: keys, defaults, limits and the effective values (sheet §2).

``keys`` says what each section may hold; a key that is not in it is kept and listed as a warning, as corosync
keeps it in its map and never looks at it. Everything corosync refuses is a ``ConfError`` with file, line and mend.
Sources: ``coroparse.c: main_config_parser_cb``, ``totemconfig.c: totem_config_validate``; the quorum section is read in
``options``.

What depends on the machine is not checked: whether names resolve, key files, users and groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NoReturn

import msgspec

from totemviz.corosync.grammar import ConfError, Entry, Section, parse_tree, write_tree
from totemviz.corosync.keys import FREE_SECTIONS, KEYS, LINKS_MAX, ONLY, QUORUM_PROVIDER, REQUIRED, complaint
from totemviz.corosync.options import OptionsReader, QuorumOptions
from totemviz.corosync.quirks import Quirks
from totemviz.totem.config import KEYS as TOTEM_KEYS
from totemviz.totem.config import PROCESSOR_COUNT_MAX, TotemConfig, Transport

__all__ = ["KEYS", "ConfError", "CorosyncConf", "NodeConf", "QuorumOptions", "dump", "load", "parse"]

KNET_NODEID_MAX = 65535
FRAME_SIZES = 256, 65536
IP_VERSIONS = {"ipv4": 4, "ipv6": 6}
_RING_KEY = re.compile(r"ring([0-9]{1,9})_addr\Z")


class NodeConf(msgspec.Struct, frozen=True):
    """One node of the nodelist; ``addresses`` are in the order of ``CorosyncConf.links``; ``line`` opens it."""

    nodeid: int
    name: str
    votes: int
    addresses: tuple[str, ...]
    line: int


class CorosyncConf(msgspec.Struct, frozen=True, kw_only=True):
    """A checked corosync.conf. ``warnings`` are full lines ``FILE:LINE: …``; ``tree`` keeps the file itself.

    ``links`` are the numbers X of the ringX_addr in use; ``quirks`` is not in the file.
    """

    path: str
    cluster_name: str
    config_version: int
    transport: Transport
    links: tuple[int, ...]
    nodes: tuple[NodeConf, ...]
    totem: TotemConfig
    quorum: QuorumOptions
    encrypted: bool
    warnings: tuple[str, ...]
    tree: Section
    quirks: Quirks = Quirks()

    @property
    def expected_votes(self) -> int:
        """What a node expects at its start: quorum.expected_votes, or the sum of the nodelist (sheet §9.1).

        A quorum device is in that sum only if the file leaves its votes open; otherwise they are added when it is seen.
        Under expected_votes_tracking quorum.expected_votes counts for nothing.
        """
        options = self.quorum
        if options.expected_votes and not options.expected_votes_tracking:
            return options.expected_votes
        votes = sum(node.votes for node in self.nodes)
        return votes if options.device_votes_given else votes + (options.device or 0)

    def interfaces(self) -> dict[int, str]:
        """Every node's addresses as corosync prints them, by node id: ``r(0) ip(192.0.2.1) `` for each link."""
        return {
            node.nodeid: "".join(
                f"r({link}) ip({address}) " for link, address in zip(self.links, node.addresses, strict=True)
            )
            for node in self.nodes
        }

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
        for entry in self.tree.entries:
            self._warn(entry.line, f"key {entry.key} outside a section; corosync ignores it")
        self._check_values(self.tree, "")
        totem = self._merged("totem")
        version = totem.get("version")
        if version is None or int(version.value) != 2:
            self._fail(version or totem, "totem.version must be 2; write 'version: 2'")
        transport = Transport(self._text(totem, "transport", Transport.KNET.value))
        sections = self._node_sections()
        links = self._links(sections, totem, transport)
        nodes = self._nodes(sections, links, totem, transport)
        self._check_interfaces(totem, transport, links)
        # the token timeout grows with the addresses on link 0 and nothing else (``totem_volatile_config_read``)
        counted = len(nodes) if links[0] == 0 else 0
        return CorosyncConf(
            path=self.path,
            cluster_name=self._text(totem, "cluster_name", ""),
            config_version=self._integer(totem, "config_version", 0),
            transport=transport,
            links=links,
            nodes=nodes,
            totem=self._timeouts(totem, transport, counted),
            quorum=self._quorum(nodes),
            encrypted=self._crypto(totem, transport),
            warnings=tuple(self.warnings),
            tree=self.tree,
        )

    # ---------------------------------------------------------------------------------------------------- values

    def _check_values(self, section: Section, path: str) -> None:
        rules = KEYS.get(path, {})
        seen: dict[str, int] = {}
        for entry in section.entries if path else ():
            if entry.key in rules:
                refused, text = complaint(entry.value, rules[entry.key])
                if refused:
                    self._fail(entry, f"{path}.{entry.key}: {text}")
                if text:
                    self._warn(entry.line, f"{path}.{entry.key}: {text}")
            elif path in ONLY and entry.key not in ONLY[path]:
                self._fail(entry, f"{path} may hold {' and '.join(ONLY[path])} only; remove {entry.key}")
            elif not path.startswith(FREE_SECTIONS):
                self._warn(entry.line, f"unknown key {path}.{entry.key}; corosync ignores it")
            if entry.key in seen and path not in ONLY:
                self._warn(entry.line, f"{path}.{entry.key} again (line {seen[entry.key]}); the last one counts")
            seen[entry.key] = entry.line
        if path in REQUIRED and REQUIRED[path] not in seen:
            self._fail(section, f"{path} without {REQUIRED[path]}; add '{REQUIRED[path]}: NAME'")
        for child in section.sections:
            child_path = f"{path}.{child.name}" if path else child.name
            if child_path in KEYS or child_path in ONLY:
                self._check_values(child, child_path)
            elif not child_path.startswith(FREE_SECTIONS):
                self._warn(child.line, f"unknown section {child_path}; corosync ignores it")

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

    def _fail(self, place: Entry | Section | None, message: str) -> NoReturn:
        raise ConfError(self.path, place.line if place else self.last_line, message)

    def _warn(self, line: int, message: str) -> None:
        self.warnings.append(f"{self.path}:{line}: {message}")

    # ----------------------------------------------------------------------------------------------------- nodes

    def _node_sections(self) -> list[Section]:
        """The nodes by their place in the nodelist: a second nodelist begins anew at the first place, key by key."""
        merged: list[Section] = []
        for nodelist in self.tree.named("nodelist"):
            for place, section in enumerate(nodelist.named("node")):
                if place == len(merged):
                    merged.append(section)
                    continue
                before = merged[place]
                self._warn(section.line, f"a second nodelist changes the node of line {before.line}, key by key")
                entries = (*before.entries, *section.entries)
                merged[place] = Section("node", before.line, entries, before.sections)
        if not merged:
            where = next(self.tree.named("nodelist"), None)
            self._fail(where, "no node in the nodelist; add 'nodelist {' with one 'node {' per cluster member")
        if len(merged) > PROCESSOR_COUNT_MAX:
            extra = merged[PROCESSOR_COUNT_MAX]
            self._fail(extra, f"more than {PROCESSOR_COUNT_MAX} nodes; corosync cannot run more in one cluster")
        if (
            len(nodelists := list(self.tree.named("nodelist"))) > 1
        ):  # from here on there is one, with what they amount to
            one = Section("nodelist", nodelists[0].line, (), tuple(merged))
            others = (section for section in self.tree.sections if section.name != "nodelist")
            self.tree = msgspec.structs.replace(self.tree, sections=(one, *others))
        return merged

    def _links(self, sections: list[Section], totem: Section, transport: Transport) -> tuple[int, ...]:
        """The links in use, which must be the same on all nodes."""
        used = [tuple(link for link in range(LINKS_MAX) if node.get(f"ring{link}_addr")) for node in sections]
        for node, links in zip(sections, used, strict=True):
            for item in node.entries:
                if (match := _RING_KEY.match(item.key)) and int(match[1]) >= LINKS_MAX:
                    self._fail(item, f"{item.key}: there are {LINKS_MAX} links; use ring0_addr to ring7_addr")
            if not links:
                self._fail(node, f"{_called(node)} has no ring0_addr; add 'ring0_addr: ADDRESS'")
            if links != used[0]:
                raise ConfError(
                    self.path,
                    node.line,
                    f"{_called(node)} has {_named(links)} and {_called(sections[0])} has {_named(used[0])}; "
                    "give all nodes the same ringX_addr keys",
                )
        links = used[0]
        if links[0] and sections[0].get("name") is None:
            self._fail(sections[0], f"without ring0_addr {_called(sections[0])} needs a name; add 'name: NAME'")
        if transport is not Transport.KNET and len(links) > 1:
            message = f"{len(links)} links need knet; remove {_named(links[1:])} or 'transport: {transport}'"
            raise ConfError(self.path, sections[0].line, message)
        if len(links) > 1:
            for node in sections:
                if node.get("name") is None:
                    self._fail(node, f"{_called(node)} has no name and several links; add 'name: NAME'")
        version = IP_VERSIONS.get(self._text(totem, "ip_version", "ipv4" if transport is Transport.UDP else ""))
        for link in links:
            self._check_addresses([entry for node in sections if (entry := node.get(f"ring{link}_addr"))], version)
        return links

    def _check_addresses(self, entries: list[Entry], version: int | None) -> None:
        """Those of one link: no literal address of a family that is not allowed, or not the others'."""
        first: Entry | None = None
        for entry in entries:
            if not entry.value or " " in entry.value or "\t" in entry.value:
                self._fail(entry, f"{entry.key}: {entry.value!r} is no address; write an IP address or a host name")
            if (address := _literal(entry.value)) is None:
                continue
            if version and address.version != version:
                self._fail(entry, f"{entry.key}: {entry.value} is no IPv{version} address; see totem.ip_version")
            first = first or entry
            if (other := _literal(first.value)) and other.version != address.version:
                self._fail(entry, f"{entry.key}: {entry.value} is of another IP family than {first.value}; use one")

    def _nodes(
        self, sections: list[Section], links: tuple[int, ...], totem: Section, transport: Transport
    ) -> tuple[NodeConf, ...]:
        nodes: list[NodeConf] = []
        for section in sections:
            addresses = tuple(self._text(section, f"ring{link}_addr", "") for link in links)
            node = NodeConf(
                nodeid=self._nodeid(section, addresses[0], totem, transport),
                name=self._text(section, "name", addresses[0]),
                votes=self._integer(section, "quorum_votes", 1),
                addresses=addresses,
                line=section.line,
            )
            for other in nodes:
                if other.nodeid == node.nodeid:
                    self._fail(
                        section.get("nodeid") or section,
                        f"duplicate nodeid {node.nodeid} (also in line {other.line}); give every node its own",
                    )
                if set(other.addresses) & set(node.addresses):
                    self._warn(section.line, f"node {node.nodeid} shares an address with node {other.nodeid}")
            nodes.append(node)
        return tuple(nodes)

    def _nodeid(self, section: Section, address: str, totem: Section, transport: Transport) -> int:
        """The node's id; over UDP and UDPU a missing one, or 0, is made of its IPv4 address (``generate_nodeid``)."""
        entry = section.get("nodeid")
        nodeid = int(entry.value) if entry else 0
        if transport is Transport.KNET and nodeid > KNET_NODEID_MAX:
            self._fail(entry, f"nodeid {nodeid} is too large for knet; use 1 to {KNET_NODEID_MAX}")
        if not nodeid and transport is not Transport.KNET and isinstance(made := _literal(address), IPv4Address):
            high_bit = self._text(totem, "clear_node_high_bit", "no") == "yes"
            nodeid = int(made) & (0x7FFF_FFFF if high_bit else 0xFFFF_FFFF)
        if not nodeid and entry:
            self._fail(entry, "nodeid 0 is reserved; use 1 or more")
        if not nodeid:
            self._fail(section, "node without nodeid; add 'nodeid: N', different for every node")
        return nodeid

    def _check_interfaces(self, totem: Section, transport: Transport, links: tuple[int, ...]) -> None:
        """The interface sections, which change links and make none (``totem_config_validate``)."""
        for interface in totem.named("interface"):
            number = self._integer(interface, "linknumber", 0)
            says_something = any(entry.key != "linknumber" for entry in interface.entries)
            if number not in links and says_something:
                self._fail(interface, f"interface {number} has no ring{number}_addr in the nodelist; remove it")
            if number not in links:
                self._warn(interface.line, f"interface {number} has no ring{number}_addr in the nodelist")
            if (port := interface.get("mcastport")) and int(port.value) == 0:
                self._fail(port, "mcastport 0 is no port; use 1 to 65535")
            if (ttl := interface.get("ttl")) and transport is not Transport.UDP and int(ttl.value) != 1:
                self._fail(ttl, f"ttl is for multicast and {transport} has none; remove it")
            priority = interface.get("knet_link_priority")
            if priority and transport is not Transport.KNET and int(priority.value) != 1:
                self._fail(priority, f"knet_link_priority needs knet and this is {transport}; remove it")
            group = interface.get("mcastaddr")
            if group and transport is Transport.UDP and (made := _literal(group.value)) and not made.is_multicast:
                self._fail(group, f"mcastaddr {group.value} is no multicast address; use 239.192.x.y for example")
        named = totem.get("cluster_name") or any(section.get("mcastaddr") for section in totem.named("interface"))
        if transport is Transport.UDP and not named:
            self._fail(totem, "udp needs a multicast address; add 'cluster_name: NAME', of which one is made")

    # ----------------------------------------------------------------------------------------- timeouts and crypto

    def _timeouts(self, totem: Section, transport: Transport, node_count: int) -> TotemConfig:
        given = {key: int(entry.value) for key in TOTEM_KEYS if (entry := totem.get(key))}
        try:
            return TotemConfig.derive(
                node_count,
                given,
                transport=transport,
                cancel_token_hold_on_retransmit=self._text(totem, "cancel_token_hold_on_retransmit", "no") == "yes",
                netmtu=self._netmtu(totem),
            )
        except ValueError as error:
            words = str(error).partition(":")[0].split(".")
            raise ConfError(self.path, self._blame(totem, words[-1]), _mend(str(error))) from error

    def _netmtu(self, totem: Section) -> int:
        """The frame size set in the file, 0 for the transport's. corosync takes any, and fails with some later."""
        entry = totem.get("netmtu")
        low, high = FRAME_SIZES
        if entry and int(entry.value) and not low <= int(entry.value) <= high:
            self._fail(entry, f"corosync cannot work with frames of {entry.value} bytes; use {low} to {high}")
        return int(entry.value) if entry else 0

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
            # corosync itself would start, with every partition quorate; pmxcfs would not
            self._fail(section, f"no quorum provider; add 'quorum {{' with 'provider: {QUORUM_PROVIDER}'")
        return OptionsReader(section, [node.votes for node in nodes], self._fail, self._warn).read()


def _lines(section: Section) -> Iterable[int]:
    yield section.line
    for entry in section.entries:
        yield entry.line
    for child in section.sections:
        yield from _lines(child)


def _literal(address: str) -> IPv4Address | IPv6Address | None:
    """An IP address in digits; None for a host name."""
    try:
        return ip_address(address)
    except ValueError:
        return None


def _called(node: Section) -> str:
    entry = node.get("nodeid") or node.get("name")
    return f"node {entry.value}" if entry else "this node"


def _named(links: Iterable[int]) -> str:
    return ", ".join(f"ring{link}_addr" for link in links)


def _mend(message: str) -> str:
    """The ring's message ends in ', use …'; here the mend follows a semicolon."""
    what, comma, mend = message.rpartition(", use ")
    return f"{what}; use {mend}" if comma else message
