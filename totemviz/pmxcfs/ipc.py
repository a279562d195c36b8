"""The local IPC server ``pve2``: what tools ask pmxcfs past the file system (sheet §8.5, ``server.c``).

``pvestatd`` sets values, ``pvedaemon`` writes to the cluster log, ``pvecm`` and the web interface read what the files
made on the fly show. Nothing here changes the tree, and nothing waits for the cluster. A client that is not root but
in the group www-data may only read.
"""

from __future__ import annotations

from collections.abc import Sequence

from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import FOLDER_OF_TYPE
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.plugs import CLUSTER_LOG_LINES, Plugs, is_private
from totemviz.pmxcfs.status import Status

VMID_MIN = 100
_BLANKS = " \t\v\f\r"

Answer = tuple[int, bytes]
"""The result, 0 or a negative errno, and the data that comes with it."""


class IpcServer:
    """Answers requests; one method for each, named as the request is in ``cfs-ipc-ops.h``."""

    def __init__(self, memdb: Memdb, status: Status, plugs: Plugs) -> None:
        self._memdb = memdb
        self._status = status
        self._plugs = plugs

    def get_fs_version(self) -> Answer:
        """The text of ``.version``."""
        return self._file(".version")

    def get_cluster_info(self) -> Answer:
        """The text of ``.members``."""
        return self._file(".members")

    def get_guest_list(self) -> Answer:
        """The text of ``.vmlist``."""
        return self._file(".vmlist")

    def get_rrd_dump(self) -> Answer:
        """The text of ``.rrd``, with a NUL behind it when it was made anew."""
        return self._file(".rrd")

    def set_status(self, key: str, data: bytes, *, read_only: bool = False) -> Answer:
        """Set a value of this node for all to see: 0, EFBIG above 32 KiB."""
        return (-Errno.EPERM if read_only else self._status.set_value(key, data)), b""

    def get_status(self, key: str, node_name: str = "") -> Answer:
        """A value of a node, by default this one: ENOENT if there is none."""
        data = self._status.value(node_name, key)
        return (-Errno.ENOENT, b"") if data is None else (0, data)

    def get_config(self, path: str, *, read_only: bool = False) -> Answer:
        """A file of the tree, not of the files made on the fly. Private files are not for www-data."""
        if read_only and is_private(path):
            return -Errno.EPERM, b""
        data = self._memdb.read(path)
        return (-Errno.ENOENT, b"") if data is None else (0, data)

    def log_cluster_msg(
        self, priority: int, ident: str, tag: str, message: str, *, pid: int, read_only: bool = False
    ) -> Answer:
        """Write to the cluster log; ``pid`` is the client's. EINVAL without a message."""
        if read_only:
            return -Errno.EPERM, b""
        if not message or not 0 <= priority < 8:
            return -Errno.EINVAL, b""
        self._status.add_log(ident, tag, pid, priority, message)
        return 0, b""

    def get_cluster_log(self, count: int = 0, user: str = "") -> Answer:
        """The newest entries; 0 means 50."""
        return 0, self._plugs.cluster_log(count or CLUSTER_LOG_LINES, user).encode()

    def get_guest_config_property(self, name: str, vmid: int = 0) -> Answer:
        """One property of one guest's configuration, or of all; no name is refused."""
        return self._guest_properties([name], vmid)

    def get_guest_config_properties(self, names: Sequence[str], vmid: int = 0) -> Answer:
        """The same for several. EINVAL for a name that does not begin with a small letter."""
        if not names or not all("a" <= name[:1] <= "z" for name in names):
            return -Errno.EINVAL, b""
        return self._guest_properties(names, vmid)

    def _guest_properties(self, names: Sequence[str], vmid: int) -> Answer:
        """``status.c: cfs_create_guest_conf_properties_msg``; the configuration asked for is empty: EIO."""
        guests = self._memdb.guests.guests
        if 0 < vmid < VMID_MIN:
            return -Errno.EINVAL, b""
        if vmid and vmid not in guests:
            return -Errno.ENOENT, b""
        found = []
        for number, guest in sorted(guests.items()):
            if vmid in (0, number):
                text = self._memdb.read(f"nodes/{guest.node}/{FOLDER_OF_TYPE[guest.type]}/{number}.conf")
                if not text and vmid:
                    return -Errno.EIO, b""
                if pairs := _pairs((text or b"").decode(errors="surrogateescape"), names):
                    found.append(f'"{number}":{{{pairs}}}')
        return 0, ("{\n" + ",\n".join(found) + "\n}\n").encode(errors="surrogateescape")

    def verify_token(self, token: str) -> Answer:
        """Whether ``token`` is a line of ``priv/token.cfg``: 0, ENOENT if not, EINVAL for what can be no line."""
        if not token or "\n" in token or "\0" in token:
            return -Errno.EINVAL, b""
        lines = (self._memdb.read("priv/token.cfg") or b"").split(b"\n")
        return (0 if token.encode() in lines else -Errno.ENOENT), b""

    def _file(self, name: str) -> Answer:
        text = self._plugs.text(name)
        assert text is not None
        return 0, text.encode()


def _pairs(text: str, names: Sequence[str]) -> str:
    """The properties found, as members of a JSON object: what stands before the first section, pending or snapshot.

    A line replaces an earlier one of its name, until that has happened as often as there are names.
    """
    found: dict[str, str] = {}
    replaced = 0
    for line in text.split("\n"):
        if line.startswith("[") or replaced == len(names):
            break
        for name in names:
            if line.startswith(f"{name}:") and (value := line[len(name) + 1 :]):
                replaced += name in found
                found[name] = _without_blanks(value)
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in found.items()}
    return ",".join(f'"{name}": "{escaped[name]}"' for name in names if name in escaped)


def _without_blanks(value: str) -> str:
    """Without those around it, but never empty: of blanks alone the last is left."""
    value = value[:-1].lstrip(_BLANKS) + value[-1]
    return value[0] + value[1:].rstrip(_BLANKS)
