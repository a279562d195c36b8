"""How a changed corosync.conf gets from /etc/pve to corosync (sheet §4.7, ``dcdb.c: dcdb_sync_corosync_conf``).

Corosync does not read /etc/pve. Each node copies the file to /etc/corosync when it changes, unless its own copy is
newer; the node on which it was changed waits a second and then tells all corosyncs to read it again.
"""

from __future__ import annotations

import re

from totemviz.pmxcfs.effects import CorosyncConfWritten, CorosyncReload
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.process import NS_PER_S, Process
from totemviz.pmxcfs.status import ClusterInfo
from totemviz.pmxcfs.threads import Blocking, Sleep

COROSYNC_CONF = "corosync.conf"
HOST_PATH = "/etc/corosync/corosync.conf"
DOMAIN = "dcdb"

_VERSION = re.compile(rb"config_version\s*:\s*(\d+)")

_NAME = re.compile(rb"cluster_name\s*:\s*(\S+)")


class HostConf:
    """The file /etc/corosync/corosync.conf of one host; it outlives the process. None: there is none."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content = content


def config_version(content: bytes) -> int:
    """The first ``config_version`` in the text, 0 if there is none (``cfs-utils.c: cluster_config_version``)."""
    match = _VERSION.search(content)
    return int(match[1]) if match else 0


def named_cluster(content: bytes) -> ClusterInfo:
    """Cluster name and config_version of a corosync.conf's text."""
    name = _NAME.search(content)
    return ClusterInfo(name[1].decode(errors="replace") if name else "", config_version(content))


def copy_to_host(process: Process, memdb: Memdb, host: HostConf) -> bool:
    """Bring the host's file up to date; whether corosync has an old one that it should replace."""
    content = memdb.read(COROSYNC_CONF)
    if not content:
        return False
    version = config_version(content)
    if not version:
        process.critical(DOMAIN, "unable to parse cluster config_version")
        return False
    old = host.content
    if content == old:
        return False
    old_version = config_version(old) if old else 0
    if version < old_version:
        process.critical(DOMAIN, "local corosync.conf is newer")
        return False
    host.content = content
    process.notice(DOMAIN, f"wrote new corosync config '{HOST_PATH}' (version = {version})")
    process.emit(CorosyncConfWritten(version))
    return old_version != 0


def propagate(process: Process, memdb: Memdb, host: HostConf, *, notify: bool) -> Blocking[None]:
    """The same, and with ``notify`` have all corosyncs read it. The thread sleeps, and all that waits for it."""
    if copy_to_host(process, memdb, host) and notify:
        yield Sleep(NS_PER_S)
        process.emit(CorosyncReload())
