"""A corosync.conf with something changed: as a value that daemons run on, and as text, as an admin edits it."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from totemviz.corosync.conf import ConfError, CorosyncConf, dump, parse
from totemviz.corosync.grammar import Entry, Section, parse_tree, write_tree

KEY = re.compile(r"(totem|quorum|quorum\.device|logging|system|nodelist)\.[a-z_]+")
"""What ``edited`` takes: a key of a section that stands once in the file."""

_VERSION = "config_version"


def with_same_quirks(conf: CorosyncConf, changed: CorosyncConf) -> CorosyncConf:
    """A configuration read from a file, with what the scenario says beside the file as in another one."""
    return msgspec.structs.replace(changed, totem=changed.totem.built_as(conf.totem), quirks=conf.quirks)


def where_possible(change: Callable[[CorosyncConf], CorosyncConf], conf: CorosyncConf) -> CorosyncConf:
    """The configuration with the change, or as it is if the change makes one that corosync refuses."""
    try:
        return change(conf)
    except ConfError:
        return conf


def with_key(conf: CorosyncConf, key: str, value: int) -> CorosyncConf:
    """The same cluster with another value of a key of the totem section. Raises ConfError if corosync refuses it."""
    return with_same_quirks(conf, parse(f"{dump(conf)}\ntotem {{\n  {key}: {value}\n}}\n", conf.path))


def with_node(conf: CorosyncConf, nodeid: int) -> CorosyncConf:
    """The same cluster with this node, named by its id, if it is not there. Raises ConfError if there is no room."""
    if any(node.nodeid == nodeid for node in conf.nodes):
        return conf
    entries = {"name": f"pve{nodeid}", "nodeid": str(nodeid), "quorum_votes": "1"}
    entries |= {f"ring{link}_addr": f"10.77.{link}.{nodeid}" for link in conf.links}
    node = Section("node", 0, tuple(Entry(key, value, 0) for key, value in entries.items()))
    sections = tuple(
        msgspec.structs.replace(section, sections=(*section.sections, node)) if section.name == "nodelist" else section
        for section in conf.tree.sections
    )
    tree = msgspec.structs.replace(conf.tree, sections=sections)
    return with_same_quirks(conf, parse(dump(msgspec.structs.replace(conf, tree=tree)), conf.path))


def edited(text: str, key: str, value: str, *, bump: bool) -> str:
    """The text of a corosync.conf with another value of a key like ``totem.token`` (none: without the key).

    ``bump``: with a config_version one higher, which is what makes pmxcfs and the other nodes take it for newer.
    Raises ConfError if the text cannot be read; whether corosync likes the value is not asked.
    """
    *path, name = key.split(".")
    tree = _with_entry(parse_tree(text, "corosync.conf"), path, name, value)
    if bump:
        entry = tree.effective("totem", _VERSION)
        version = int(entry.value) if entry is not None and entry.value.isdecimal() else 0
        tree = _with_entry(tree, ["totem"], _VERSION, str(version + 1))
    return write_tree(tree)


def _with_entry(section: Section, path: list[str], name: str, value: str) -> Section:
    if path:
        there = [child for child in section.sections if child.name == path[0]]
        chosen = there[-1] if there else Section(path[0], 0)
        changed = _with_entry(chosen, path[1:], name, value)
        others = tuple(child for child in section.sections if child is not chosen)
        return msgspec.structs.replace(section, sections=(*others, changed))
    others_entries = tuple(entry for entry in section.entries if entry.key != name)
    added = (Entry(name, value, 0),) if value else ()
    return msgspec.structs.replace(section, entries=(*others_entries, *added))
