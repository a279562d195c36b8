"""The replicated operations: what a delivered message does to the tree, and how trees are made equal (sheet §4).

A change lives through three moments on every node: it is applied in memory, its transaction is committed in SQLite,
and on the node it came from its caller gets the answer. Nobody waits for anybody else's second moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.application import LeaveGroupError, SendState, SeriousError, SyncInfo, SyncMember
from totemviz.pmxcfs.corosync_conf import COROSYNC_CONF, HostConf, copy_to_host, propagate
from totemviz.pmxcfs.database import Database, DatabaseError, LoadError
from totemviz.pmxcfs.effects import ChangeApplied, ChangeCommitted, LockExpired
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import DuplicateVmidError
from totemviz.pmxcfs.index import (
    Entry,
    Index,
    MalformedIndexError,
    decode_index,
    entry_checksum,
)
from totemviz.pmxcfs.locks import LockTimers, is_lock_path
from totemviz.pmxcfs.memdb import Memdb, Outcome, is_lockdir
from totemviz.pmxcfs.messages import (
    DcdbType,
    FuseMessage,
    MalformedMessageError,
    MessageType,
    NormalMessage,
    UnlockMessage,
    decode_fuse,
    decode_unlock,
    decode_update,
    encode_unlock,
    encode_update,
)
from totemviz.pmxcfs.process import Process, ProcessId
from totemviz.pmxcfs.threads import Blocking

DOMAIN = "dcdb"

_TYPES = {int(operation): operation for operation in DcdbType}
_NAMES = {operation: operation.name.lower() for operation in DcdbType}

_OPERATIONS: Mapping[DcdbType, Callable[[Memdb, str, FuseMessage, int, int], Outcome]] = {
    DcdbType.WRITE: lambda memdb, path, fuse, writer, time_s: memdb.write(
        path, fuse.data, writer, time_s, offset=fuse.offset, truncate=fuse.truncate
    ),
    DcdbType.CREATE: lambda memdb, path, fuse, writer, time_s: memdb.create(path, writer, time_s),
    DcdbType.RENAME: lambda memdb, path, fuse, writer, time_s: memdb.rename(path, fuse.to, writer, time_s),
    DcdbType.MKDIR: lambda memdb, path, fuse, writer, time_s: memdb.mkdir(path, writer, time_s),
    DcdbType.DELETE: lambda memdb, path, fuse, writer, time_s: memdb.delete(path, writer, time_s),
    DcdbType.MTIME: lambda memdb, path, fuse, writer, time_s: memdb.mtime(path, writer, fuse.offset),
}
"""What each file operation does to the tree: (tree, path, message, writer, its clock in seconds) → outcome."""

_ON_LOCKS = frozenset({DcdbType.MKDIR, DcdbType.DELETE, DcdbType.MTIME})
"""The operations by which locks are taken, given back and renewed."""

_PATH_OF_CONTENT: dict[DcdbType, Callable[[FuseMessage], str | None]] = {
    DcdbType.WRITE: lambda fuse: fuse.path,
    DcdbType.CREATE: lambda fuse: fuse.path,
    DcdbType.RENAME: lambda fuse: fuse.to,
}
"""Which path has a new content after an operation."""

Post = Callable[[DcdbType, bytes], None]


class Dcdb:
    """The application behind the dcdb state machine: memdb, its database and its lock timers.

    ``post`` multicasts a message without waiting for it; ``is_lowest`` tells whether this node evaluates locks;
    ``host_conf`` is /etc/corosync/corosync.conf.
    """

    verified = True

    def __init__(
        self,
        process: Process,
        memdb: Memdb,
        database: Database,
        post: Post,
        is_lowest: Callable[[], bool],
        host_conf: HostConf,
    ) -> None:
        self.memdb = memdb
        self.locks = LockTimers(keep=not process.quirks.lock_timers_restart)
        self.locks.rebuild(memdb, process.wall_s)
        self._process = process
        self._database = database
        self._post = post
        self._is_lowest = is_lowest
        self._host_conf = host_conf
        self._master = b""
        self._own: Index | None = None
        self._updates: list[Entry] = []

    # ------------------------------------------------------------------------------------------------------ delivery

    def deliver(self, sender: ProcessId, message: NormalMessage) -> Blocking[int]:
        """Apply one operation (``dcdb.c: dcdb_deliver``): the same on every member, the writer's node included."""
        result = None
        try:
            result = yield from self._carry_out(sender, message)
        except (LeaveGroupError, MalformedMessageError) as trouble:
            # A node whose database failed stops for good, whatever the message was.
            if not self.memdb.errors:
                raise
            self._process.critical(DOMAIN, str(trouble))
        if self.memdb.errors:
            raise SeriousError(result)
        assert result is not None
        return result

    def _carry_out(self, sender: ProcessId, message: NormalMessage) -> Blocking[int]:
        operation = _TYPES.get(message.subtype)
        if operation is None:
            raise LeaveGroupError(f"received unknown message type (msg_type == {message.subtype})")
        if not self._process.quorate:
            raise LeaveGroupError("received write while not quorate - trigger resync")
        if operation is DcdbType.UNLOCK_REQUEST:
            self._unlock_requested(decode_unlock(message.payload))
            return 0
        if operation is DcdbType.UNLOCK:
            unlock = decode_unlock(message.payload)
            outcome = self._unlock(unlock, sender.nodeid, message.time_s)
            return self._stored(sender, message, operation, unlock.path, outcome)
        fuse = decode_fuse(message.payload)
        outcome = self.operate(operation, fuse, sender.nodeid, message.time_s)
        result = self._stored(sender, message, operation, fuse.path, outcome)
        if result >= 0 and _PATH_OF_CONTENT.get(operation, _no_path)(fuse) == COROSYNC_CONF:
            notify = sender == self._process.identity
            yield from propagate(self._process, self.memdb, self._host_conf, notify=notify)
        return result

    def _stored(
        self, sender: ProcessId, message: NormalMessage, operation: DcdbType, path: str | None, outcome: Outcome
    ) -> int:
        """First memory, then the database; memory is not taken back if that fails."""
        change = outcome.change
        self._process.emit(
            ChangeApplied(
                sender.nodeid,
                sender.pid,
                message.count,
                _NAMES[operation],
                path or "",
                outcome.result,
                self.memdb.version,
                change.entry if change else None,
                (change.deleted_inode if change else None) or 0,
            )
        )
        return self.store(outcome)

    def operate(self, operation: DcdbType, fuse: FuseMessage, writer: int, time_s: int) -> Outcome:
        """One file operation on the tree in memory; ``time_s`` is the sender's clock."""
        memdb, path = self.memdb, fuse.path
        if path is None:
            gone = operation in (DcdbType.RENAME, DcdbType.DELETE)
            return Outcome(-(Errno.ENOENT if gone else Errno.EINVAL))
        outcome = _OPERATIONS[operation](memdb, path, fuse, writer, time_s)
        if operation in _ON_LOCKS and outcome.result == 0 and is_lock_path(path):
            if operation is DcdbType.DELETE:
                self.locks.forget(path)
            else:
                self.locks.register(memdb, path, self._process.wall_s)
        return outcome

    def store(self, outcome: Outcome) -> int:
        """Bring a change to the database; EIO, now and ever after, if that fails (sheet §3.5)."""
        if outcome.change is None:
            return outcome.result
        try:
            self._database.write(outcome.change)
        except DatabaseError as error:
            self._emit_io()
            self._process.critical("database", str(error))
            self.memdb.errors = True
            return -Errno.EIO
        self._emit_io()
        self._process.emit(ChangeCommitted(outcome.change.root.version))
        return outcome.result

    # --------------------------------------------------------------------------------------------------------- locks

    def _locked(self, unlock: UnlockMessage) -> bool:
        """Whether the lock still is in the state that the message speaks of."""
        entry = self.memdb.lookup(unlock.path)
        if entry is None or not entry.is_directory or not is_lockdir(unlock.path):
            return False
        return entry_checksum(entry) == unlock.checksum

    def lock_expired(self, path: str) -> bool:
        """Whether a lock is older than the timeout; if not, its time is counted from now on at the latest."""
        entry = self.memdb.lookup(path)
        if entry is None or not entry.is_directory or not is_lockdir(path):
            return False
        return self._expired(UnlockMessage(path, entry_checksum(entry)))

    def _expired(self, unlock: UnlockMessage) -> bool:
        expired, other_state_known = self.locks.expired(unlock.path, unlock.checksum, self._process.wall_s)
        if other_state_known:
            self._process.critical("main", "wrong lock csum - reset timeout")
        return expired

    def _unlock_requested(self, unlock: UnlockMessage) -> None:
        """Somebody waits for a lock: the lowest node decides by its own clock whether it has expired."""
        if not self._locked(unlock) or not self._is_lowest():
            return
        if not self._expired(unlock):
            return
        self._process.emit(LockExpired(unlock.path, self.locks.age_s(unlock.path, self._process.wall_s)))
        if self._process.quorate:
            self._post(DcdbType.UNLOCK, encode_unlock(unlock))

    def _unlock(self, unlock: UnlockMessage, writer: int, time_s: int) -> Outcome:
        """Remove an expired lock, unless it was renewed in between."""
        if not self._locked(unlock):
            return Outcome(0)
        outcome = self.memdb.delete(unlock.path, writer, time_s)
        if outcome.change is not None:
            self.locks.forget(unlock.path)
        return outcome

    # ----------------------------------------------------------------------------------------------- synchronisation

    def state(self) -> bytes:
        """The index of the tree."""
        return self.memdb.index()

    def process_states(self, sync: SyncInfo, send: SendState) -> Blocking[None]:
        """Choose the leader and the members that need no update (``dcdb.c: dcdb_process_state_update``)."""
        try:
            indices = [decode_index(_state(member)) for member in sync.members]
        except MalformedIndexError as error:
            raise LeaveGroupError(str(error)) from error
        leader, master_index = select_leader(sync.members, indices)
        self._notice(f"leader is {leader.identity}")
        for member in sync.members:
            member.synced = member.state == leader.state
        others = [member for member in sync.members if member.synced and member is not leader]
        self._notice(f"synced members: {', '.join(str(member.identity) for member in [leader, *others])}")
        if leader is sync.local:
            yield from self._send_updates(master_index, indices, send)
        self._master = _state(leader)
        self._own = next(index for member, index in zip(sync.members, indices, strict=True) if member is sync.local)

    def _send_updates(self, master: Index, indices: list[Index], send: SendState) -> Blocking[None]:
        """The leader sends each entry that anybody misses or has otherwise, to all, in inode order."""
        outdated = [
            inode
            for inode, digest in sorted(master.digests.items())
            if any(index.digests.get(inode) != digest for index in indices)
        ]
        updates = [self.memdb.entries[inode] for inode in outdated]
        self._notice("start sending inode updates")
        for entry in updates:
            if entry.hole:
                self._process.crash("SIGSEGV")  # libcpg is given a length and no address (quirk Q1)
            error = yield from send(MessageType.UPDATE, encode_update(entry))
            if error is not CpgError.OK:
                self._process.critical(DOMAIN, f"sending update inode failed {entry.inode:016X}")
        self._notice(f"sent all ({len(updates)}) updates")
        error = yield from send(MessageType.UPDATE_COMPLETE, b"")
        if error is not CpgError.OK:
            raise LeaveGroupError("failed to send UPDATE_COMPLETE message")

    def process_update(self, payload: bytes) -> None:
        """Keep one received entry for the commit."""
        self._updates.append(decode_update(payload))

    def commit(self) -> None:
        """Become the leader's tree in one transaction; not a matter of quorum (sheet §3.7)."""
        updates, self._updates = self._updates, []
        self._notice(f"update complete - trying to commit (got {len(updates)} inode updates)")
        assert self._own is not None, "a commit follows the states"
        try:
            entries = self._database.commit_update(self._master, self._own, updates)
            self._emit_io()
            self.memdb.replace_tree(entries)
        except (DatabaseError, DuplicateVmidError) as error:
            self._emit_io()
            # The flag stays, but this node only leaves: it comes back, may even synchronise, and stops for good at
            # the first ordinary message (quirk Q15).
            self.memdb.errors = True
            log_failure(self._process, error)
            if isinstance(error, DuplicateVmidError):
                self._process.critical("database", "memdb_recreate_vmlist failed")
            raise LeaveGroupError from error
        self.locks.rebuild(self.memdb, self._process.wall_s)
        self._process.emit(ChangeCommitted(self.memdb.version, tuple(self.memdb.entries.values())))
        copy_to_host(self._process, self.memdb, self._host_conf)

    def cleanup(self) -> None:
        """Forget the entries of a broken exchange."""
        self._updates = []

    def configuration(self, members: list[ProcessId]) -> None:
        """Nothing to do for the data."""

    def synced(self) -> None:
        """Nothing to do for the data."""

    def checksum(self) -> bytes:
        """The checksum of the tree."""
        return self.memdb.checksum()

    def _emit_io(self) -> None:
        self._process.emit_all(self._database.drain_io())

    def _notice(self, text: str) -> None:
        self._process.notice(DOMAIN, text)


def log_failure(process: Process, error: DatabaseError | DuplicateVmidError) -> None:
    """What is said of a tree that cannot be loaded, or was not stored."""
    if isinstance(error, DatabaseError):
        process.critical("database", str(error))
    else:
        for text in error.texts:
            process.critical("status", text)
    if isinstance(error, LoadError):
        process.critical("database", "DB load failed")


def _state(member: SyncMember) -> bytes:
    assert member.state is not None, "states are processed when all are there"
    return member.state


def _no_path(fuse: FuseMessage) -> str | None:
    return None


def select_leader(members: list[SyncMember], indices: list[Index]) -> tuple[SyncMember, Index]:
    """The highest version, then the latest mtime, then the lowest (node id, pid); numbers of nodes do not count.

    ``members`` are sorted and ``indices`` are theirs, in the same order (``dcdb.c: dcdb_select_leader``).
    """
    return max(zip(members, indices, strict=True), key=lambda pair: (pair[1].version, pair[1].mtime))
