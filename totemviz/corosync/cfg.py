"""The configuration service (cfg): what ``corosync-cfgtool -R`` does, corosync.conf read again by every daemon at once.

The request is one ordered message; each daemon reads its *own* /etc/corosync/corosync.conf when it is delivered
(``cfg.c: message_handler_req_exec_cfg_reload_config``). So the files must be in place everywhere before; a node whose
file is old, or wrong, goes on as it was.

Not every key can change while corosync runs. Those of the totem section that can are read as at a start
(``totemconfig.c: totem_volatile_config_read``); a timer that runs goes on. ``FIXED_KEYS`` cannot, and the log says so.
The nodelist can, and of the quorum section what votequorum reads again (``Votequorum.reread``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from totemviz.corosync import lines
from totemviz.corosync.cmap import Cmap
from totemviz.corosync.conf import ConfError, CorosyncConf
from totemviz.corosync.effects import ConfigReloaded
from totemviz.corosync.grammar import Section
from totemviz.corosync.service import Core
from totemviz.corosync.votequorum import Votequorum
from totemviz.corosync.wire import CFG, ReloadConfig, ServiceMessage
from totemviz.totem.config import TotemConfig
from totemviz.totem.effects import Level

FIXED_KEYS = (
    "totem.version",
    "totem.threads",
    "totem.ip_version",
    "totem.ip_dscp",
    "totem.netmtu",
    "totem.transport",
    "totem.cluster_name",
    "quorum.provider",
    "system.move_to_root_cgroup",
    "system.allow_knet_handle_fallback",
    "system.sched_rr",
    "system.priority",
    "system.qb_ipc_type",
    "system.state_dir",
)
"""``cfg.c: remove_ro_entries``, in its order. (The keys of interfaces it names too match none in the map.)"""


class Reconfigured(Protocol):
    """The ring, as far as another configuration goes (``totemviz.totem.ring.Ring``)."""

    def reconfigure(self, config: TotemConfig) -> None:
        """Take other timeouts and limits."""


class Cfg:
    """The cfg service of one daemon, which keeps the configuration in force.

    It begins with ``conf``. ``read_conf`` reads and checks the host's file, as a start would; it raises ConfError.
    ``parts`` are the ring and the services that a change concerns.
    """

    service_id = CFG

    def __init__(
        self,
        core: Core,
        conf: CorosyncConf,
        read_conf: Callable[[], CorosyncConf],
        parts: tuple[Reconfigured, Cmap, Votequorum],
    ) -> None:
        self.conf = conf
        self.interfaces = conf.interfaces()
        self._core = core
        self._read_conf = read_conf
        self._ring, self._cmap, self._votequorum = parts

    def force(self, conf: CorosyncConf) -> None:
        """Run on another configuration from now on; votes and quorum stay as they are."""
        self.conf = conf
        self.interfaces = conf.interfaces()
        self._ring.reconfigure(conf.totem)
        self._cmap.set_config_version(conf.config_version)

    def set_key(self, conf: CorosyncConf) -> None:
        """A key of the map has been set: the totem section is read again (``totemconfig.c: totem_change_notify``)."""
        self.force(conf)
        for line in lines.key_changed(conf):
            self._core.log(line.level, line.subsystem, line.text)

    def request_reload(self) -> None:
        """A client on this node wants all daemons to read their files again (``corosync-cfgtool -R``)."""
        self._core.multicast(ReloadConfig(self._core.nodeid).encode())

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """An ordered message of the service; only the reload does something."""
        if isinstance(message, ReloadConfig):
            self._log(Level.NOTICE, f"Config reload requested by node {source}")
            self._reload(source)

    def _reload(self, source: int) -> None:
        old = self.conf
        try:
            new = self._read_conf()
        except ConfError as error:
            self._log(Level.ERROR, f"Unable to reload config file: {error}")
            self._core.emit(ConfigReloaded(source, old.config_version, str(error)))
            return
        for key in changed_fixed_keys(old, new):
            self._log(Level.NOTICE, f"Modified entry '{key}' in corosync.conf cannot be changed at run-time")
        for line in lines.conf_reloaded(old, new, self._core.nodeid):
            self._core.log(line.level, line.subsystem, line.text)
        self.force(in_force_after(old, new))
        self._core.emit(ConfigReloaded(source, new.config_version))
        votes = next((node.votes for node in new.nodes if node.nodeid == self._core.nodeid), None)
        if votes is None:
            self._votequorum.not_in_nodelist()
        else:
            self._votequorum.reread(votes, new.expected_votes, new.quorum)

    def _log(self, level: Level, text: str) -> None:
        self._core.log(level, "CFG", text)


def changed_fixed_keys(old: CorosyncConf, new: CorosyncConf) -> Iterator[str]:
    """Keys of the new file that cannot change at run time and have; one that is gone is not missed."""
    for path in FIXED_KEYS:
        section, _, key = path.partition(".")
        before, after = _value(old.tree, section, key), _value(new.tree, section, key)
        if after is not None and after != before:
            yield path


def _value(tree: Section, section: str, key: str) -> str | None:
    entry = tree.effective(section, key)
    return entry.value if entry is not None else None


def in_force_after(old: CorosyncConf, new: CorosyncConf) -> CorosyncConf:
    """What a daemon runs on that was started on one file and has read another one: what cannot change has not."""
    fixed = msgspec.structs.replace(new.totem, transport=old.totem.transport, netmtu=old.totem.netmtu)
    totem = fixed.built_as(old.totem)
    kept: dict[str, Any] = {"transport": old.transport, "cluster_name": old.cluster_name, "quirks": old.quirks}
    return msgspec.structs.replace(new, totem=totem, **kept)
