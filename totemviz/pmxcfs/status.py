"""The status state machine's data: who is online, small values per node, the cluster log (sheet §6, ``status.c``).

Nothing of this is stored, and it works without quorum. Synchronising is a merge, so nobody is ever outdated and the
mode goes from START_SYNC straight to SYNCED.

Local clients (``pvestatd``, ``pvedaemon``, ``pvecm``) reach it over an IPC socket, see ``ipc``; what it knows is shown
in the files ``.version``, ``.members``, ``.rrd`` and ``.clusterlog``, see ``plugs``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from totemviz.pmxcfs.application import LeaveGroupError, SendState, SyncInfo
from totemviz.pmxcfs.ascii import to_ascii
from totemviz.pmxcfs.clusterlog import (
    ClusterLog,
    LogEntry,
    MalformedRingError,
    check_ring,
    decode_entry,
    encode_entry,
)
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.messages import MalformedMessageError, NormalMessage, StatusType
from totemviz.pmxcfs.process import Process, ProcessId
from totemviz.pmxcfs.threads import Blocking

DOMAIN = "status"
VALUE_BYTES_MAX = 32 * 1024
ADDRESS_KEY = "nodeip"
RRD_PREFIX = "rrd/"
RRD_BYTES_MAX = 4096
RRD_EXPIRES_S = 300
_ADDRESS_BYTES_MAX = 256
_KEY = struct.Struct("256s")
_PRIORITY_INFO = 6

Post = Callable[[StatusType, bytes], None]


class ClusterNode(msgspec.Struct, frozen=True):
    """A node of corosync's node list, under the name pmxcfs gives it."""

    nodeid: int
    name: str
    votes: int = 1


class ClusterInfo(msgspec.Struct, frozen=True):
    """What pmxcfs reads from corosync's cmap (sheet §6.5)."""

    name: str = ""
    config_version: int = 0
    nodes: tuple[ClusterNode, ...] = ()


class Value(msgspec.Struct, frozen=True):
    """A value of the kv store; ``version`` is 0 when it is new and counts how often it was overwritten."""

    data: bytes
    version: int = 0


class Status:
    """The application behind the status state machine.

    ``values``: by node id and key. ``addresses``: by node name. ``rrd``: by key, with the second of arrival.
    ``cluster`` is None until corosync was asked; ``cluster_version`` counts what ``.members`` shows.
    """

    verified = False

    def __init__(self, process: Process, post: Post) -> None:
        self.cluster: ClusterInfo | None = None
        self.cluster_version = 0
        self.values: dict[int, dict[str, Value]] = {}
        self.addresses: dict[str, str] = {}
        self.rrd: dict[str, tuple[bytes, int]] = {}
        self.log = ClusterLog()
        self.start_s = process.wall_s
        self._online: frozenset[int] = frozenset()
        self._process = process
        self._post = post
        self._log_uid = 0
        self._log_own("root", "cluster", process.identity.pid, _PRIORITY_INFO, "starting cluster log")

    # ----------------------------------------------------------------------------------------------------- the cluster

    @property
    def online(self) -> tuple[int, ...]:
        """The nodes whose pmxcfs is in the group; not those that corosync sees."""
        return tuple(sorted(self._online))

    def set_quorate(self, quorate: bool, *, quiet: bool = False) -> None:
        """The one flag that decides whether /etc/pve can be written (``status.c: cfs_set_quorate``)."""
        if quorate is not self._process.quorate:
            self._process.quorate = quorate
            if not quiet:
                self._process.notice(DOMAIN, "node has quorum" if quorate else "node lost quorum")

    def set_cluster(self, cluster: ClusterInfo) -> None:
        """Corosync was asked for its node list (``status.c: cfs_status_set_clinfo``)."""
        self.cluster = cluster
        self.cluster_version += 1
        known = {node.nodeid for node in cluster.nodes}
        self._online &= known
        self.values = {nodeid: kept for nodeid, kept in self.values.items() if nodeid in known or self._is_own(nodeid)}
        text = f"update cluster info (cluster name  {cluster.name}, version = {cluster.config_version})"
        self._process.notice(DOMAIN, text)

    def configuration(self, members: list[ProcessId]) -> None:
        """The members of this group are the nodes that are shown as online."""
        if self.cluster is not None and self.cluster.nodes:
            known = {node.nodeid for node in self.cluster.nodes}
            self._online = frozenset(member.nodeid for member in members if member.nodeid in known)
            self.cluster_version += 1

    # ------------------------------------------------------------------------------------------------- what clients set

    def set_value(self, key: str, data: bytes) -> int:
        """A local client sets a value of this node; 0, or -EFBIG (``status.c: cfs_status_set``).

        The others are told without waiting for them; no data removes the value.
        """
        if len(data) > VALUE_BYTES_MAX:
            return -Errno.EFBIG
        taken = self._take(self._process.identity.nodeid, key, data)
        self._post(StatusType.UPDATE, encode_value(key, data))
        return 0 if taken else -Errno.ENOMEM  # so the original says it

    def add_log(self, ident: str, tag: str, pid: int, priority: int, message: str) -> None:
        """A local client writes to the cluster log (``status.c: cfs_cluster_log``)."""
        self._post(StatusType.LOG, self._log_own(ident, tag, pid, priority, message))

    def _log_own(self, ident: str, tag: str, pid: int, priority: int, message: str) -> bytes:
        self._log_uid += 1
        process = self._process
        entry = LogEntry(
            process.node_name, ident, tag, pid, process.wall_s, priority, self._log_uid, to_ascii(message, quote=True)
        )
        self._insert(encode_entry(entry))
        return encode_entry(entry)

    def value(self, node_name: str, key: str) -> bytes | None:
        """A value as a client gets it; an empty name is this node (``status.c: cfs_create_status_msg``)."""
        nodeid = self._process.identity.nodeid
        if node_name not in ("", self._process.node_name):
            nodes = self.cluster.nodes if self.cluster is not None else ()
            nodeid = next((node.nodeid for node in nodes if node.name == node_name), 0)
        found = self.values.get(nodeid, {}).get(key)
        return None if found is None else found.data

    # ----------------------------------------------------------------------------------------------- the state machine

    def state(self) -> bytes:
        """The whole cluster log."""
        return self.log.ring()

    def process_states(self, sync: SyncInfo, send: SendState) -> Blocking[None]:
        """Merge all logs; everybody is synced, and tells its own values again."""
        sync.mark_all_synced()
        rings: list[bytes | None] = []
        for member in sync.members:
            ring = member.state or b""
            try:
                check_ring(ring)
                rings.append(ring)
            except MalformedRingError as error:
                self._process.critical(DOMAIN, str(error))
                rings.append(None)
        local = sync.members.index(sync.local)
        for number, usable in enumerate(rings):
            if usable is None and number != local:
                self._process.critical("main", "log pointer is NULL!")
        self.log.merge(rings, local)
        for key, value in self.values.get(self._process.identity.nodeid, {}).items():
            self._post(StatusType.UPDATE, encode_value(key, value.data))
        yield from ()

    def process_update(self, payload: bytes) -> None:
        """Nobody is outdated here, so nobody sends one."""
        raise LeaveGroupError("dfsm_process_update: received unexpected update message")

    def commit(self) -> None:
        """Never called: nobody is outdated."""

    def cleanup(self) -> None:
        """Nothing is kept during an exchange."""

    def deliver(self, sender: ProcessId, message: NormalMessage) -> Blocking[int]:
        """Take over another node's value or log entry; bad messages are skipped, never a reason to leave."""
        yield from ()
        if sender == self._process.identity:
            return 0
        try:
            if message.subtype == StatusType.UPDATE:
                key, data = decode_value(message.payload)
                nodes = self.cluster.nodes if self.cluster is not None else ()
                if any(node.nodeid == sender.nodeid for node in nodes):
                    self._take(sender.nodeid, key, data)
            elif message.subtype == StatusType.LOG:
                self._process.notice(DOMAIN, "received log")
                decode_entry(message.payload)
                self._insert(message.payload)
            else:
                self._process.critical(DOMAIN, f"received unknown message type {message.subtype}")
                return -Errno.EACCES
        except MalformedMessageError as error:
            if str(error):
                self._process.critical(DOMAIN, str(error))
            self._process.critical(DOMAIN, "cant parse update message")
        except MalformedRingError as error:
            self._process.critical(DOMAIN, str(error))
            self._process.critical(DOMAIN, "cant parse log message")
        return 0

    def synced(self) -> None:
        """Tell the own address: the one set by a client, or that of the start."""
        address = self.addresses.get(self._process.node_name, self._process.address)
        self.set_value(ADDRESS_KEY, address.encode() + b"\0")

    def checksum(self) -> bytes:
        """Never called: this machine is not verified."""
        return bytes(32)

    # -------------------------------------------------------------------------------------------------------- helpers

    def _is_own(self, nodeid: int) -> bool:
        return nodeid == self._process.identity.nodeid

    def _insert(self, data: bytes) -> None:
        if not self.log.insert_raw(data):
            self._process.notice("main", "ignore insert of duplicate cluster log")

    def _take(self, nodeid: int, key: str, data: bytes) -> bool:
        """Put a value where its key belongs (``kventry_hash_set``, ``rrdentry_hash_set``, ``nodeip_hash_set``).

        False if it is refused: an address or RRD data must be a short string with its NUL.
        """
        if key.startswith(RRD_PREFIX):
            if not 0 < len(data) < RRD_BYTES_MAX or data[-1]:
                return False
            self.rrd[key.removeprefix(RRD_PREFIX)] = (data.partition(b"\0")[0], self._process.wall_s)
        elif key == ADDRESS_KEY:
            if not 0 < len(data) < _ADDRESS_BYTES_MAX or data[-1]:
                return False
            address, name = data.partition(b"\0")[0].decode("ascii", "replace"), self._name(nodeid)
            if self.addresses.get(name) != address:
                self.addresses[name] = address
                self.cluster_version += 1
        else:
            values = self.values.setdefault(nodeid, {})
            old = values.get(key)
            if data:
                values[key] = Value(data, 0 if old is None else old.version + 1)
            else:
                values.pop(key, None)
        return True

    def _name(self, nodeid: int) -> str:
        if self._is_own(nodeid):
            return self._process.node_name
        nodes = self.cluster.nodes if self.cluster is not None else ()
        return next((node.name for node in nodes if node.nodeid == nodeid), "")


def encode_value(key: str, value: bytes) -> bytes:
    """The payload of an UPDATE: the key in 256 bytes, then the value. (Upstream leaves the rest uninitialised.)"""
    return _KEY.pack(key.encode()[: _KEY.size - 1]) + value


def decode_value(payload: bytes) -> tuple[str, bytes]:
    """Key and value of an UPDATE. Raises MalformedMessageError, without a text where pmxcfs logs none."""
    if len(payload) < _KEY.size:
        raise MalformedMessageError(f"received short kvstore message ({len(payload)} < {_KEY.size})")
    key, terminator, _ = payload[: _KEY.size].partition(b"\0")
    if not terminator:
        raise MalformedMessageError
    return key.decode(errors="replace"), payload[_KEY.size :]
