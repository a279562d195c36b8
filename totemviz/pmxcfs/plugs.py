"""What /etc/pve shows beside the tree: links, files made on the fly, permissions (sheet §8, ``cfs-plug*.c``).

The root directory hangs a few *plugs* over the tree: symbolic links into the node's own folder, and files whose text
is made when somebody looks. A plug hides an entry of its name. Nothing can be created, removed or renamed there.

Mode bits are not stored. They follow from the kind of entry, from the path (``priv`` is for root alone), and from
quorum: without it nothing shows an owner-write bit, which is how Proxmox' own tools notice.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping

import msgspec

from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import is_openvz_script
from totemviz.pmxcfs.index import Entry, name_text
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.process import Process
from totemviz.pmxcfs.status import RRD_EXPIRES_S, Status, Value

BLOCK_BYTES = 4096
BLOCKS = 128 * 1024 * 1024 // BLOCK_BYTES
INODES = 256 * 1024
NAME_BYTES_MAX = 256
CLUSTER_LOG_LINES = 50
_RRD_AGE_S = 2

LINKS = {
    "local": "nodes/{}",
    "qemu-server": "nodes/{}/qemu-server",
    "lxc": "nodes/{}/lxc",
    "openvz": "nodes/{}/openvz",
}
DEBUG_FILE = ".debug"
FUNCTION_MODES = {
    ".version": 0o440,
    ".members": 0o440,
    ".vmlist": 0o440,
    ".rrd": 0o440,
    ".clusterlog": 0o440,
    DEBUG_FILE: 0o640,
}


class Attributes(msgspec.Struct, frozen=True):
    """What ``stat`` says of a path. ``mode`` with the file type, ``size`` and times in bytes and seconds.

    ``blocks`` are told of files in the tree alone. ``uid`` is always root's; the group www-data.
    """

    mode: int
    size: int = 0
    links: int = 1
    mtime: int = 0
    blocks: int = 0


class FileSystem(msgspec.Struct, frozen=True):
    """What ``statfs`` says. The limits are shown and not enforced (quirk Q9)."""

    block_bytes: int
    blocks: int
    blocks_free: int
    files: int
    files_free: int
    name_bytes_max: int


class Plugs:
    """The files of one pmxcfs process that are not in its tree."""

    def __init__(self, process: Process, memdb: Memdb, status: Status) -> None:
        self._process = process
        self._memdb = memdb
        self._status = status
        self._rrd_text = ""
        self._rrd_made_s: int | None = None
        self._functions: dict[str, Callable[[], str]] = {
            ".version": self._version,
            ".members": self._members,
            ".vmlist": self._vmlist,
            ".rrd": self._rrd,
            ".clusterlog": lambda: self.cluster_log(CLUSTER_LOG_LINES),
            DEBUG_FILE: lambda: f"{int(process.debug)}\n",
        }

    # ----------------------------------------------------------------------------------------------------- as files

    def text(self, path: str) -> str | None:
        """The text of a file made on the fly, made now; None if ``path`` is none."""
        make = self._functions.get(path)
        return None if make is None else make()

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, None if ``path`` is none."""
        target = LINKS.get(path)
        return None if target is None else target.format(self._process.node_name)

    def attributes(self, path: str) -> Attributes | None:
        """``stat`` of a path without leading slash, None where it says ENOENT (``pmxcfs.c: cfs_fuse_getattr``)."""
        quorate = self._process.quorate
        if not path:
            found = Attributes(stat.S_IFDIR | 0o777, links=2)
        elif (text := self.text(path)) is not None:
            found = Attributes(stat.S_IFREG | FUNCTION_MODES[path], len(text.encode()))
        elif (target := self.link(path)) is not None:
            found = Attributes(stat.S_IFLNK | (0o777 if quorate else 0o555), len(target))
        elif (entry := self._memdb.lookup(path)) is not None:
            found = _entry_attributes(entry, quorate=quorate)
        else:
            return None
        if is_private(path):
            mask = 0o777700
        else:
            mask = 0o777755 if stat.S_ISDIR(found.mode) or stat.S_ISLNK(found.mode) else 0o777750
        return msgspec.structs.replace(found, mode=found.mode & mask)

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted (the real order is a hash table's); empty for anything else."""
        entry = self._memdb.lookup(path)
        names = set(self._memdb.children(entry.inode)) if entry is not None and entry.is_directory else set()
        if not path:
            names |= {*LINKS, *FUNCTION_MODES}
        return sorted(names)

    def file_system(self) -> FileSystem:
        """``statfs`` (``memdb.c: memdb_statfs``)."""
        used = sum(entry.size for entry in self._memdb.entries.values())
        free = BLOCKS - -(-used // BLOCK_BYTES)
        return FileSystem(BLOCK_BYTES, BLOCKS, free, INODES, INODES - len(self._memdb.entries), NAME_BYTES_MAX)

    def refused(self, operation: str, path: str, to: str, data: bytes, offset: int, *, truncate: bool) -> int | None:
        """The result of a change that meets a plug, None if it is one for the tree.

        Only ``.debug`` takes a write: ``0`` or ``1`` and a newline, at the start.
        """
        first, _, rest = path.partition("/")
        name = path if not rest else first
        if operation == "rename":
            others = to.partition("/")[0]
            return -Errno.EACCES if {name, others} & {*LINKS, *FUNCTION_MODES} else None
        if name not in LINKS and name not in FUNCTION_MODES:
            return None
        if rest or name in LINKS or operation != "write":
            return -Errno.EACCES
        if truncate and not data:
            return 0 if name == DEBUG_FILE else -Errno.EIO
        if name != DEBUG_FILE or offset or data[:2] not in (b"0\n", b"1\n"):
            return -Errno.EIO
        self._set_debug(data[:1] == b"1")
        return 2

    def _set_debug(self, on: bool) -> None:
        if on is not self._process.debug:
            self._process.debug = on
            self._process.notice("main", "enable debug mode" if on else "disable debug mode")

    # ------------------------------------------------------------------------------------------------------- the texts

    def _version(self) -> str:
        """``status.c: cfs_create_version_msg``."""
        status, process = self._status, self._process
        counters = "".join(f'"{path}": {count},\n' for path, count in self._memdb.changes.versions.items())
        tables = [_value_versions(process.node_name, status.values.get(process.identity.nodeid, {}))]
        tables.extend(
            _value_versions(node.name, status.values[node.nodeid])
            for node in (status.cluster.nodes if status.cluster is not None else ())
            if node.nodeid != process.identity.nodeid and node.nodeid in status.values
        )
        return (
            f'{{\n"starttime": {status.start_s},\n"clinfo": {status.cluster_version},\n'
            f'"vmlist": {self._memdb.guests.version},\n{counters}"kvstore": {{\n' + ",\n".join(tables) + "}\n}\n"
        )

    def _members(self) -> str:
        """``status.c: cfs_create_memberlist_msg``."""
        status, process = self._status, self._process
        head = f'{{\n"nodename": "{process.node_name}",\n"version": {status.cluster_version}'
        cluster = status.cluster
        if cluster is None or not cluster.nodes:
            return f"{head}\n}}\n"
        lines = []
        for node in cluster.nodes:
            address = status.addresses.get(node.name)
            shown = f', "ip": "{address}"' if address is not None else ""
            lines.append(
                f'  "{node.name}": {{ "id": {node.nodeid}, "online": {int(node.nodeid in status.online)}{shown}}}'
            )
        return (
            f'{head},\n"cluster": {{ "name": "{cluster.name}", "version": {cluster.config_version}, '
            f'"nodes": {len(cluster.nodes)}, "quorate": {int(process.quorate)} }},\n'
            '"nodelist": {\n' + ",\n".join(lines) + "\n  }\n}\n"
        )

    def _vmlist(self) -> str:
        """``status.c: cfs_create_vmlist_msg``."""
        guests = self._memdb.guests
        if not guests.guests:
            return f'{{\n"version": {guests.version}\n\n}}\n'
        lines = (
            f'"{vmid}": {{ "node": "{guest.node}", "type": "{guest.type}", "version": {guest.version} }}'
            for vmid, guest in sorted(guests.guests.items())
        )
        return f'{{\n"version": {guests.version},\n"ids": {{\n' + ",\n".join(lines) + "}\n\n}\n"

    def _rrd(self) -> str:
        """Made anew at most every 2 s, without what is older than five minutes (``status.c: cfs_rrd_dump``)."""
        now_s = self._process.wall_s
        if self._rrd_made_s is None or now_s - self._rrd_made_s >= _RRD_AGE_S:
            rrd = self._status.rrd
            for key in [key for key, (_, came_s) in rrd.items() if now_s - came_s > RRD_EXPIRES_S]:
                del rrd[key]
            self._rrd_text = "".join(f"{key}:{name_text(data)}\n" for key, (data, _) in sorted(rrd.items()))
            self._rrd_made_s = now_s
        return self._rrd_text

    def cluster_log(self, count: int, user: str = "") -> str:
        """The newest entries, all or one user's (``logger.c: clog_dump_json``)."""
        lines = [
            f'{{"uid": {entry.uid}, "time": {entry.time_s}, "pri": {entry.priority}, "tag": "{entry.tag}", '
            f'"pid": {entry.pid}, "node": "{entry.node}", "user": "{entry.ident}", "msg": "{entry.message}"}}'
            for entry in self._status.log.newest(count, user)
        ]
        return '{\n"data": [\n' + ",\n".join(lines) + ("\n" if lines else "") + "]\n}\n"


def chmod(path: str, mode: int) -> int:
    """``chmod`` changes nothing and accepts only the mode a file has anyway (``pmxcfs.c: cfs_fuse_chmod``)."""
    return 0 if mode & 0o7777 == (0o600 if is_private(path) else 0o640) else -Errno.EPERM


def chown(user: int, group: int, www_data: int) -> int:
    """``chown`` changes nothing and accepts only root and www-data; -1: as it is (``pmxcfs.c: cfs_fuse_chown``)."""
    return 0 if user in (0, -1) and group in (www_data, -1) else -Errno.EPERM


def is_private(path: str) -> bool:
    """Whether only root may look: ``priv`` and ``nodes/<x>/priv`` with all below (``cfs-utils.c: path_is_private``)."""
    parts = path.lstrip("/").split("/")
    return parts[0] == "priv" or (parts[0] == "nodes" and len(parts) > 2 and parts[2] == "priv")


def _entry_attributes(entry: Entry, *, quorate: bool) -> Attributes:
    if entry.is_directory:
        return Attributes(stat.S_IFDIR | (0o777 if quorate else 0o555), 0, 2, entry.mtime)
    executable = stat.S_IXUSR if is_openvz_script(entry.name) else 0
    mode = stat.S_IFREG | (0o666 if quorate else 0o444) | executable
    return Attributes(mode, entry.size, 1, entry.mtime, -(-entry.size // BLOCK_BYTES))


def _value_versions(node_name: str, values: Mapping[str, Value]) -> str:
    lines = ",\n".join(f'"{key}": {value.version}' for key, value in sorted(values.items()))
    return f'"{node_name}": {{\n{lines}}}\n'
