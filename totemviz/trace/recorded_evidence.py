"""What a recording tells of a node's pmxcfs out of order: its states, entries by digest, texts of corosync.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from totemviz.corosync.wire import CpgMcast, DownList, JoinList, NodeInfo, ServiceMessage, SyncMessage
from totemviz.pmxcfs.corosync_conf import COROSYNC_CONF
from totemviz.pmxcfs.index import ROOT_INODE, Entry, EntryType, index_digest
from totemviz.pmxcfs.messages import (
    DCDB_GROUP,
    DcdbType,
    Epoch,
    MalformedMessageError,
    MessageType,
    NormalMessage,
    StateMessage,
    decode_fuse,
    decode_message,
    decode_update,
)
from totemviz.pmxcfs.process import ProcessId
from totemviz.totem.effects import RingId

GROUP = DCDB_GROUP.encode() + b"\0"
FRESH_VERSION = 3
"""Version of a database that imported its corosync.conf: created, and written (sheet §1.1)."""
IMPORTED_INODE = 2


class Evidence:
    """All a recording tells that is needed before its place in the order: states, entries, corosync.conf's texts."""

    def __init__(self, conf_texts: Sequence[bytes]) -> None:
        self.states: dict[tuple[ProcessId, Epoch], bytes] = {}
        self.entries: dict[tuple[int, bytes], Entry] = {}
        self.confs: list[bytes] = list(conf_texts)
        self.own_pids: dict[RingId, list[int]] = {}
        self.votes: dict[int, int] = {}

    def learn(self, nodeid: int, source: int, ring_id: RingId, message: ServiceMessage | SyncMessage) -> None:
        """Take in one ordered message."""
        if isinstance(message, DownList) and source == nodeid:
            self.own_pids.setdefault(ring_id, [])  # a node with processes sends a joinlist, too
        elif isinstance(message, JoinList) and source == nodeid:
            self.own_pids[ring_id] = [entry.pid for entry in message.entries if entry.group == GROUP]
        elif isinstance(message, NodeInfo) and message.nodeid == source:
            self.votes[source] = message.votes
        elif isinstance(message, CpgMcast) and message.group == GROUP:
            try:
                self._learn_dfsm(ProcessId(source, message.pid), decode_message(message.payload))
            except MalformedMessageError:
                return

    def _learn_dfsm(self, sender: ProcessId, message: NormalMessage | StateMessage) -> None:
        if isinstance(message, NormalMessage):
            if message.subtype == DcdbType.WRITE and (fuse := decode_fuse(message.payload)).path == COROSYNC_CONF:
                self.confs.append(fuse.data)
        elif message.type == MessageType.STATE:
            self.states[sender, message.epoch] = message.payload
        elif message.type == MessageType.UPDATE:
            entry = decode_update(message.payload)
            self.entries[entry.inode, index_digest(entry)] = entry
            if entry.name == COROSYNC_CONF:
                self.confs.append(entry.data)

    def find(self, inode: int, digest: bytes, times_s: Iterable[int]) -> Entry | None:
        """The entry with this digest, if the recording shows or implies one."""
        found = self.entries.get((inode, digest))
        if found is None and inode == IMPORTED_INODE:
            for text in dict.fromkeys(self.confs):
                entry = imported(text, 0)
                for time_s in times_s:
                    entry = msgspec.structs.replace(entry, mtime=time_s)
                    if index_digest(entry) == digest:
                        return entry
        return found


def imported(text: bytes, time_s: int) -> Entry:
    """The row of the corosync.conf that a fresh database took over at ``time_s``."""
    return Entry(IMPORTED_INODE, ROOT_INODE, FRESH_VERSION, 0, time_s, EntryType.FILE, COROSYNC_CONF, text)
