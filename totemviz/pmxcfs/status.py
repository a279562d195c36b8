"""The status state machine's data: who is online, small values per node, the cluster log (sheet §6).

Nothing of this is stored, and it works without quorum. Synchronising is a merge, so nobody is ever outdated and the
mode goes from START_SYNC straight to SYNCED.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from totemviz.pmxcfs.application import SendState, SyncInfo
from totemviz.pmxcfs.clusterlog import ClusterLog, LogEntry, MalformedRingError, decode_entry
from totemviz.pmxcfs.messages import MalformedMessageError, NormalMessage, StatusType
from totemviz.pmxcfs.process import Process, ProcessId
from totemviz.pmxcfs.threads import Blocking

DOMAIN = "status"
_KEY = struct.Struct("256s")
_PRIORITY_INFO = 6

Post = Callable[[StatusType, bytes], None]


class Status:
    """The application behind the status state machine.

    ``online``: the nodes whose pmxcfs is in the group; not those that corosync sees. ``values``: by node id and key.
    """

    def __init__(self, process: Process, post: Post) -> None:
        self.online: tuple[int, ...] = ()
        self.values: dict[int, dict[str, bytes]] = {}
        self.log = ClusterLog()
        self._process = process
        self._post = post
        identity = process.identity
        self.log.insert(
            LogEntry(
                process.node_name,
                "root",
                "cluster",
                identity.pid,
                process.wall_s,
                _PRIORITY_INFO,
                1,
                "starting cluster log",
            )
        )

    def set_quorate(self, quorate: bool) -> None:
        """The one flag that decides whether /etc/pve can be written (``status.c: cfs_set_quorate``)."""
        if quorate is not self._process.quorate:
            self._process.quorate = quorate
            self._process.notice(DOMAIN, "node has quorum" if quorate else "node lost quorum")

    def state(self) -> bytes:
        """The whole cluster log."""
        return self.log.ring()

    def process_states(self, sync: SyncInfo, send: SendState) -> Blocking[None]:
        """Merge all logs; everybody is synced, and tells its own values again."""
        for member in sync.members:
            try:
                self.log.merge([member.state or b""])
            except MalformedRingError as error:
                self._process.critical(DOMAIN, str(error))
        sync.mark_all_synced()
        for key, value in self.values.get(self._process.identity.nodeid, {}).items():
            if key != "nodeip":
                self._post(StatusType.UPDATE, encode_value(key, value))
        yield from ()

    def process_update(self, payload: bytes) -> None:
        """Never called: nobody is outdated."""

    def commit(self) -> None:
        """Never called: nobody is outdated."""

    def cleanup(self) -> None:
        """Nothing is kept during an exchange."""

    def deliver(self, sender: ProcessId, message: NormalMessage) -> int:
        """Take over another node's value or log entry; bad messages are skipped, never a reason to leave."""
        if sender == self._process.identity:
            return 0
        try:
            if message.subtype == StatusType.UPDATE:
                key, value = decode_value(message.payload)
                self.values.setdefault(sender.nodeid, {})[key] = value
            elif message.subtype == StatusType.LOG:
                self._process.notice(DOMAIN, "received log")
                if not self.log.insert(decode_entry(message.payload)):
                    self._process.notice("main", "ignore insert of duplicate cluster log")
            else:
                self._process.critical(DOMAIN, f"received unknown message type {message.subtype}")
        except (MalformedMessageError, MalformedRingError) as error:
            self._process.critical(DOMAIN, str(error))
        return 0

    def configuration(self, members: list[ProcessId]) -> None:
        """The members of this group are the nodes that are shown as online."""
        self.online = tuple(sorted({member.nodeid for member in members}))

    def synced(self) -> None:
        """Tell the own address."""
        value = self._process.address.encode() + b"\0"
        self.values.setdefault(self._process.identity.nodeid, {})["nodeip"] = value
        self._post(StatusType.UPDATE, encode_value("nodeip", value))

    def checksum(self) -> bytes:
        """Never called: this machine is not verified."""
        return bytes(32)


def encode_value(key: str, value: bytes) -> bytes:
    """The payload of an UPDATE: the key in 256 bytes, then the value. (Upstream leaves the rest uninitialised.)"""
    return _KEY.pack(key.encode()) + value


def decode_value(payload: bytes) -> tuple[str, bytes]:
    """Key and value of an UPDATE."""
    if len(payload) < _KEY.size:
        raise MalformedMessageError("received short update message")
    try:
        key = payload[: _KEY.size].partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise MalformedMessageError("received mailformed update message") from error
    return key, payload[_KEY.size :]
