"""``Pmxcfs``: one life of the pmxcfs process on one node, put together from its parts.

Inputs are what the kernel, corosync and the clock tell the process; each returns the ordered list of what the process
does and shows. Effects behind a ``DiskIo`` happen only when the disk is done: the event loop itself waits for it.

    fuse            a client's system call                          (FUSE worker threads)
    cpg_result      libcpg's answer to the oldest unanswered call   (whichever thread made it)
    cpg_confchg, cpg_delivered, quorum, corosync_lost, corosync_available, expire       (the cfs_loop thread)
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError
from totemviz.pmxcfs.connection import Connection
from totemviz.pmxcfs.database import Database, DatabaseError
from totemviz.pmxcfs.dcdb import DOMAIN as DCDB_DOMAIN
from totemviz.pmxcfs.dcdb import Dcdb
from totemviz.pmxcfs.dfsm import Call, Dfsm
from totemviz.pmxcfs.effects import DfsmModeChanged, FuseCalled, FuseReply, Output, TreeLoaded
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import DuplicateVmidError
from totemviz.pmxcfs.index import entry_checksum
from totemviz.pmxcfs.memdb import LOCK_DIRECTORY, Memdb
from totemviz.pmxcfs.messages import (
    DCDB_GROUP,
    DCDB_PROTOCOL_VERSION,
    STATUS_GROUP,
    STATUS_PROTOCOL_VERSION,
    DcdbType,
    FuseMessage,
    StatusType,
    UnlockMessage,
    encode_fuse,
    encode_unlock,
)
from totemviz.pmxcfs.process import Process, ProcessId, Quirks
from totemviz.pmxcfs.services import Services
from totemviz.pmxcfs.status import DOMAIN as STATUS_DOMAIN
from totemviz.pmxcfs.status import Status
from totemviz.pmxcfs.threads import Answers, Blocking, Thread
from totemviz.totem.effects import SetTimer

DCDB_CLIENT = 0
STATUS_CLIENT = 1
VERIFY_TIMER = "dcdb verify"
VERIFY_NS = 3600 * 10**9
DATABASE_PATH = "/var/lib/pve-cluster/config.db"
COROSYNC_CONF = "corosync.conf"

_U32_MAX = 2**32 - 1
_OPERATIONS = {
    "create": DcdbType.CREATE,
    "write": DcdbType.WRITE,
    "mkdir": DcdbType.MKDIR,
    "rename": DcdbType.RENAME,
    "delete": DcdbType.DELETE,
    "mtime": DcdbType.MTIME,
}
_SYMLINKS = {
    "local": "nodes/{}",
    "qemu-server": "nodes/{}/qemu-server",
    "lxc": "nodes/{}/lxc",
    "openvz": "nodes/{}/openvz",
}


class FileInfo(msgspec.Struct, frozen=True):
    """One line of a listing. ``size`` in bytes, ``mtime`` in seconds."""

    path: str
    directory: bool
    size: int
    version: int
    writer: int
    mtime: int


class Pmxcfs:
    """One pmxcfs process in cluster mode; nothing happens before ``start``.

    ``epoch_s`` is the node's wall clock at time 0, ``address`` the node's default address, ``corosync_conf`` the file
    that a fresh database takes over from /etc/corosync (empty: it stays at version 1).
    """

    def __init__(
        self,
        nodeid: int,
        pid: int,
        node_name: str,
        database: Database,
        *,
        epoch_s: int = 1_700_000_000,
        quirks: Quirks | None = None,
        address: str = "",
        corosync_conf: bytes = b"",
    ) -> None:
        identity = ProcessId(nodeid, pid)
        self._process = process = Process(
            identity, node_name, address or f"192.0.2.{nodeid % 256}", epoch_s, quirks or Quirks()
        )
        self._database = database
        self._corosync_conf = corosync_conf
        self._answers = Answers()
        self._loop = Thread("cfs_loop", process, self._answers)
        self._writers = {
            DCDB_CLIENT: Thread("dcdb writer", process, self._answers),
            STATUS_CLIENT: Thread("status writer", process, self._answers),
        }
        self._threads = {thread.timer: thread for thread in (self._loop, *self._writers.values())}
        self._corosync_quorate: bool | None = None
        self._running = False

    # -------------------------------------------------------------------------------------------------------- inputs

    def start(self, now_ns: int) -> list[Output]:
        """Load the database and start the services. If the database is unusable, the log says so and that is all."""
        process = self._process
        process.now_ns = now_ns
        process.notice(
            "main", f"resolved node name '{process.node_name}' to '{process.address}' for default node IP address"
        )
        try:
            memdb, fresh = self._open_database()
        except (DatabaseError, DuplicateVmidError) as error:
            self._emit_io()
            broken = isinstance(error, DatabaseError)
            process.critical("database" if broken else STATUS_DOMAIN, str(error))
            if broken:
                process.critical("database", "DB load failed")
            process.critical("main", f"memdb_open failed - unable to open database '{DATABASE_PATH}'")
            return process.take()
        self._emit_io()
        self._assemble(memdb)
        if fresh and self._corosync_conf:
            self._import_corosync_conf()
        self._running = True
        process.emit(TreeLoaded(self.version, len(self.listing()) + 1))
        process.emit(DfsmModeChanged(DCDB_DOMAIN, self.dcdb.mode.name))
        process.emit(DfsmModeChanged(STATUS_DOMAIN, self.status.mode.name))
        process.emit(SetTimer(VERIFY_TIMER, VERIFY_NS))
        return self._done()

    def fuse(
        self,
        now_ns: int,
        call_id: int,
        operation: str,
        path: str,
        to: str = "",
        data: bytes = b"",
        offset: int = 0,
        truncate: bool = False,
    ) -> list[Output]:
        """One modifying FUSE request; ``FuseReply`` comes now or later.

        ``operation``: create, write, mkdir, rename, delete, mtime. ``offset`` is in bytes, for mtime the new time in
        seconds; a truncate is a write without data. The kernel cuts a ``write(2)`` into requests of at most 128 KiB;
        each is a call of its own. No check of the tree is made here: they all belong to the delivery (sheet §10).
        """
        process = self._process
        process.now_ns = now_ns
        type_ = _OPERATIONS[operation]
        message = FuseMessage(self.resolved(path), self.resolved(to) if to else "", data, offset, truncate)
        process.emit(FuseCalled(call_id, operation, message.path, message.to, len(data)))
        if not self._running:
            process.emit(FuseReply(call_id, -Errno.ENOTCONN))
        elif not process.quorate:
            process.emit(FuseReply(call_id, -Errno.EACCES))
        elif not 0 <= offset <= _U32_MAX:
            # The original cuts the offset to 32 bits and writes somewhere else (quirk Q3).
            process.emit(FuseReply(call_id, -Errno.EFBIG))
        elif type_ is DcdbType.RENAME and message.path == message.to:
            process.emit(FuseReply(call_id, 0))  # the kernel does not even ask
        else:
            if type_ is DcdbType.MTIME and offset == 0:
                self._request_unlock(message.path)
            call = Call(call_id, operation, message.path)
            self._writers[DCDB_CLIENT].submit(partial(self.dcdb.send, type_, encode_fuse(message), call))
        return self._done()

    def cpg_result(self, now_ns: int, client: int, error: CpgError) -> list[Output]:
        """The answer to the oldest unanswered CpgMcast, CpgJoin or CpgLeave of ``client``."""
        self._process.now_ns = now_ns
        self._answers.give(client, error)
        return self._done()

    def cpg_confchg(self, now_ns: int, event: CpgConfchg) -> list[Output]:
        """A group has new members."""
        return self._cpg_event(now_ns, event)

    def cpg_delivered(self, now_ns: int, event: CpgDelivered) -> list[Output]:
        """A message in its place in the total order."""
        return self._cpg_event(now_ns, event)

    def quorum(self, now_ns: int, quorate: bool) -> list[Output]:
        """Corosync's quorum as it is now; pmxcfs hears of it once its quorum service is connected."""
        self._process.now_ns = now_ns
        self._corosync_quorate = quorate
        if self._running and self._services.quorum.initialised:
            # The quorum connection has a higher priority in the event loop than the CPG connections.
            self._loop.submit(partial(self._set_quorate, quorate), urgent=True)
        return self._done()

    def corosync_lost(self, now_ns: int) -> list[Output]:
        """Corosync is gone: all connections are broken (sheet §9.2, "Corosync dies")."""
        self._process.now_ns = now_ns
        self._process.corosync_running = False
        self._corosync_quorate = None
        if self._running:
            self._answers.fail_all()
            self._loop.submit(self._connections_lost)
        return self._done()

    def corosync_available(self, now_ns: int) -> list[Output]:
        """Corosync accepts connections; pmxcfs finds out at its next attempt, at most about 6 s later."""
        self._process.now_ns = now_ns
        self._process.corosync_running = True
        return self._done()

    def expire(self, now_ns: int, timer: str) -> list[Output]:
        """A timer that was set has run out."""
        self._process.now_ns = now_ns
        if timer in self._threads:
            self._threads[timer].resume()
        elif timer == VERIFY_TIMER:
            self._process.emit(SetTimer(VERIFY_TIMER, VERIFY_NS))
            if self._services.dcdb.initialised:
                self._loop.submit(self.dcdb.verify)
        else:
            self._services.timer_expired()
            self._loop.submit(self._start_services)
        return self._done()

    # -------------------------------------------------------------------------------------------------- for the views

    def listing(self) -> tuple[FileInfo, ...]:
        """Everything below /etc/pve, each directory before its content, names sorted."""
        return tuple(
            FileInfo(path, entry.is_directory, entry.size, entry.version, entry.writer, entry.mtime)
            for path, entry in self.memdb.walk()
        )

    def read(self, path: str) -> bytes:
        """The bytes of a file as this node has them; never waits for the cluster. Raises FileNotFoundError."""
        data = self.memdb.read(self.resolved(path))
        if data is None:
            raise FileNotFoundError(path)
        return data

    @property
    def version(self) -> int:
        """The version of the tree."""
        return self.memdb.version

    @property
    def quorate(self) -> bool:
        """Whether writes are allowed, as far as this process knows."""
        return self._process.quorate

    # --------------------------------------------------------------------------------------------------------- start

    def _open_database(self) -> tuple[Memdb, bool]:
        entries, fresh = self._database.open(self._process.wall_s)
        return Memdb(entries), fresh

    def _assemble(self, memdb: Memdb) -> None:
        """Put the two state machines together."""
        process = self._process
        self.memdb = memdb
        self._status = Status(process, self._post_status)
        self._dcdb = Dcdb(process, memdb, self._database, self._post_dcdb, self._is_lowest)
        connections = {
            DCDB_CLIENT: Connection(process, DCDB_CLIENT, DCDB_GROUP, DCDB_DOMAIN),
            STATUS_CLIENT: Connection(process, STATUS_CLIENT, STATUS_GROUP, STATUS_DOMAIN),
        }
        self.dcdb = Dfsm(process, connections[DCDB_CLIENT], DCDB_DOMAIN, DCDB_PROTOCOL_VERSION, self._dcdb)
        self.status = Dfsm(process, connections[STATUS_CLIENT], STATUS_DOMAIN, STATUS_PROTOCOL_VERSION, self._status)
        self._services = Services(process, self.dcdb, self.status, self._cluster_info)

    def _import_corosync_conf(self) -> None:
        """A fresh database takes over the node's own corosync.conf: two changes, so it is at version 3 (sheet §1.1)."""
        now_s = self._process.wall_s
        self._dcdb.store(self.memdb.create(COROSYNC_CONF, 0, now_s))
        self._dcdb.store(self.memdb.write(COROSYNC_CONF, self._corosync_conf, 0, now_s, truncate=True))

    def _cluster_info(self) -> tuple[str, int]:
        """Cluster name and config_version. pmxcfs asks corosync, which runs with this very file."""
        text = (self.memdb.read(COROSYNC_CONF) or b"").decode(errors="replace")
        name = re.search(r"cluster_name\s*:\s*(\S+)", text)
        version = re.search(r"config_version\s*:\s*(\d+)", text)
        return name[1] if name else "", int(version[1]) if version else 0

    # ------------------------------------------------------------------------------------- jobs of the cfs_loop thread

    def _start_services(self) -> Blocking[None]:
        quorum_connected = yield from self._services.start()
        if quorum_connected and self._corosync_quorate is not None:
            # Corosync answers the connection with the present state; it is read after all services have started.
            yield from self._set_quorate(self._corosync_quorate)

    def _set_quorate(self, quorate: bool) -> Blocking[None]:
        self._status.set_quorate(quorate)
        yield from ()

    def _connections_lost(self) -> Blocking[None]:
        self._services.lost(lambda: self._status.set_quorate(False))
        yield from ()

    def _cpg_event(self, now_ns: int, event: CpgConfchg | CpgDelivered) -> list[Output]:
        self._process.now_ns = now_ns
        if self._running:
            self._loop.submit(partial(self._services.dispatch, event))
        return self._done()

    # ------------------------------------------------------------------------------------------------------- helpers

    def _done(self) -> list[Output]:
        if self._running:
            self._services.arm()
        return self._process.take()

    def _emit_io(self) -> None:
        for operation in self._database.drain_io():
            self._process.emit(operation)

    def _is_lowest(self) -> bool:
        return self.dcdb.is_lowest

    def _post_dcdb(self, subtype: DcdbType, payload: bytes) -> None:
        self._writers[DCDB_CLIENT].submit(partial(self.dcdb.send, subtype, payload))

    def _post_status(self, subtype: StatusType, payload: bytes) -> None:
        self._writers[STATUS_CLIENT].submit(partial(self.status.send, subtype, payload))

    def _request_unlock(self, path: str) -> None:
        """Setting a lock's time to 0 means: I wait for it, is it still held? (sheet §2.8)"""
        entry = self.memdb.lookup(path)
        if path.startswith(LOCK_DIRECTORY + "/") and entry is not None and entry.is_directory:
            self._post_dcdb(DcdbType.UNLOCK_REQUEST, encode_unlock(UnlockMessage(path, entry_checksum(entry))))

    def resolved(self, path: str) -> str:
        """The path without leading slash, and through the symbolic links that every node shows differently."""
        first, slash, rest = path.lstrip("/").partition("/")
        if slash and first in _SYMLINKS:
            first = _SYMLINKS[first].format(self._process.node_name)
        return first + slash + rest
