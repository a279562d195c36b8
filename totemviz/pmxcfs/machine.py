"""``Pmxcfs``: one life of the pmxcfs process on one node, put together from its parts.

Inputs are what the kernel, corosync and the clock tell the process; each returns the ordered list of what the process
does and shows. Effects behind a ``DiskIo`` happen only when the disk is done: the event loop itself waits for it.

    fuse            a client's system call                          (FUSE worker threads)
    set_status, add_log    a client's request over the IPC socket   (IPC thread)
    cpg_result      libcpg's answer to the oldest unanswered call   (whichever thread made it)
    cpg_confchg, cpg_delivered, quorum, corosync_lost, corosync_available, expire, stop     (the cfs_loop thread)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError
from totemviz.pmxcfs.connection import Connection
from totemviz.pmxcfs.corosync_conf import COROSYNC_CONF, HostConf, copy_to_host, named_cluster
from totemviz.pmxcfs.database import Database, DatabaseError
from totemviz.pmxcfs.dcdb import DOMAIN as DCDB_DOMAIN
from totemviz.pmxcfs.dcdb import Dcdb, log_failure
from totemviz.pmxcfs.dfsm import Call, Dfsm
from totemviz.pmxcfs.effects import (
    CorosyncReload,
    DfsmModeChanged,
    FuseCalled,
    FuseReply,
    Output,
    PmxcfsExited,
    TreeLoaded,
)
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import DuplicateVmidError
from totemviz.pmxcfs.index import entry_checksum
from totemviz.pmxcfs.ipc import IpcServer
from totemviz.pmxcfs.memdb import Memdb, is_lockdir
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
from totemviz.pmxcfs.plugs import Plugs
from totemviz.pmxcfs.process import NS_PER_S, Process, ProcessId, Quirks, true_time
from totemviz.pmxcfs.services import FIRST_START_NS, Services
from totemviz.pmxcfs.shown import Shown
from totemviz.pmxcfs.status import DOMAIN as STATUS_DOMAIN
from totemviz.pmxcfs.status import ClusterInfo, Status
from totemviz.pmxcfs.threads import Answers, Blocking, Thread
from totemviz.totem.effects import SetTimer

DCDB_CLIENT = 0
STATUS_CLIENT = 1
VERIFY_TIMER = "dcdb verify"
VERIFY_S = 3600
DATABASE_PATH = "/var/lib/pve-cluster/config.db"

_U32_MAX = 2**32 - 1
_OPERATIONS = {
    "create": DcdbType.CREATE,
    "write": DcdbType.WRITE,
    "mkdir": DcdbType.MKDIR,
    "rename": DcdbType.RENAME,
    "delete": DcdbType.DELETE,
    "mtime": DcdbType.MTIME,
}


class Pmxcfs(Shown):
    """One pmxcfs process; nothing happens before ``start``.

    ``wall_clock`` gives the seconds since 1970 that the host's clock shows at a time of the run; when it is set, tell
    ``clock_set``. ``address`` is the node's default address, ``host_conf`` the host's /etc/corosync/corosync.conf: a
    fresh database takes it over. ``cluster`` tells what corosync answers when it is asked for its node list; without it
    only the name and version in the tree's corosync.conf are known.

    ``local`` is ``pmxcfs -l``: no corosync, always writable. None decides as the program does without ``-l``: local if
    the tree holds no corosync.conf. (False attaches to corosync even then, which the real program never does.)
    """

    def __init__(  # noqa: PLR0913 - what a daemon finds on its host
        self,
        nodeid: int,
        pid: int,
        node_name: str,
        database: Database,
        *,
        wall_clock: Callable[[int], int] = true_time,
        quirks: Quirks | None = None,
        address: str = "",
        host_conf: HostConf | None = None,
        cluster: Callable[[], ClusterInfo] | None = None,
        local: bool | None = None,
    ) -> None:
        identity = ProcessId(nodeid, pid)
        self._process = process = Process(
            identity, node_name, address or f"192.0.2.{nodeid % 256}", wall_clock, quirks or Quirks()
        )
        self._database = database
        self._host_conf = host_conf or HostConf()
        self._cluster = cluster or self._cluster_in_tree
        self._local_wanted = local
        self.local = bool(local)
        self._answers = Answers()
        self._loop = Thread("cfs_loop", process, self._answers)
        self._writers = {
            DCDB_CLIENT: Thread("dcdb writer", process, self._answers),
            STATUS_CLIENT: Thread("status writer", process, self._answers),
        }
        self._threads = {thread.timer: thread for thread in (self._loop, *self._writers.values())}
        self._corosync_quorate: bool | None = None
        self._verified_s = 0
        self._running = False
        self._stopping = False

    # ------------------------------------------------------------------------------------------------ the life it has

    def start(self, now_ns: int) -> list[Output]:
        """Load the database and start the services. If it is unusable, the log says so and the process ends."""
        process = self._process
        process.now_ns = now_ns
        process.notice(
            "main", f"resolved node name '{process.node_name}' to '{process.address}' for default node IP address"
        )
        try:
            entries, fresh = self._database.open(process.wall_s)
            memdb = Memdb(entries, process.quirks)
        except (DatabaseError, DuplicateVmidError) as error:
            self._emit_io()
            log_failure(process, error)
            process.critical("main", f"memdb_open failed - unable to open database '{DATABASE_PATH}'")
            process.notice("main", "exit proxmox configuration filesystem (-1)")
            process.emit(PmxcfsExited())
            return process.take()
        self._emit_io()
        if fresh and self._host_conf.content is not None and not self._local_wanted:
            self._import_corosync_conf(memdb, self._host_conf.content)
        first_start_ns = now_ns + FIRST_START_NS + self._choose_mode(memdb)
        self._assemble(memdb, first_start_ns)
        self._running = True
        process.emit(TreeLoaded(self.version, len(memdb.entries), tuple(memdb.entries.values())))
        if not self.local:
            process.emit(DfsmModeChanged(DCDB_DOMAIN, self.dcdb.mode.name))
            process.emit(DfsmModeChanged(STATUS_DOMAIN, self.status.mode.name))
            self._verified_s = process.wall_s
            self._arm_verification()
        return self._done()

    def stop(self, now_ns: int) -> list[Output]:
        """SIGTERM: unmount, leave the groups, close the database; ``PmxcfsExited`` at the end (``pmxcfs.c: main``).

        A process that could not start ends at once.
        """
        self._process.now_ns = now_ns
        if not self._running:
            self._process.emit(PmxcfsExited())
        elif not self._stopping:
            self._stopping = True
            self._process.notice("main", "teardown filesystem")
            self._loop.submit(self._tear_down)
        return self._process.take()

    # -------------------------------------------------------------------------------------------------------- clients

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
        path, to = self.resolved(path), self.resolved(to) if to else ""
        process.emit(FuseCalled(call_id, operation, path, to, len(data)))
        if not self._running or self._stopping:
            process.emit(FuseReply(call_id, -Errno.ENOTCONN))
            return self._done()
        result = self._plugs.refused(operation, path, to, data, offset, truncate=truncate)
        if result is None and not process.quorate:
            result = -Errno.EACCES
        if result is None and operation == "rename" and path == to:
            result = 0  # the kernel does not even ask
        if result is None and not 0 <= offset <= _U32_MAX:
            if process.quirks.offsets_cut_to_32_bits:
                offset &= _U32_MAX
            else:
                result = -Errno.EFBIG
        if result is None and self.local:
            result = self._change_locally(_OPERATIONS[operation], FuseMessage(path, to, data, offset, truncate))
        if result is not None:
            process.emit(FuseReply(call_id, result))
            return self._done()
        type_ = _OPERATIONS[operation]
        if type_ is DcdbType.MTIME and offset == 0:
            self._request_unlock(path)
        message = encode_fuse(FuseMessage(path, to, data, offset, truncate))
        self._writers[DCDB_CLIENT].submit(partial(self.dcdb.send, type_, message, Call(call_id, operation, path)))
        return self._done()

    def set_status(self, now_ns: int, key: str, data: bytes) -> list[Output]:
        """A client with root's rights sets a value of this node, as ``pvestatd`` does."""
        self._process.now_ns = now_ns
        if self._running:
            self.ipc.set_status(key, data)
        return self._done()

    def add_log(self, now_ns: int, ident: str, tag: str, pid: int, message: str, priority: int = 6) -> list[Output]:
        """A client with root's rights writes to the cluster log, as ``pvedaemon`` does for a user ``ident``."""
        self._process.now_ns = now_ns
        if self._running:
            self.ipc.log_cluster_msg(priority, ident, tag, message, pid=pid)
        return self._done()

    # ------------------------------------------------------------------------------------------------------- corosync

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
        if self._connected and self._services.quorum.initialised:
            # The quorum connection has a higher priority in the event loop than the CPG connections.
            self._loop.submit(partial(self._set_quorate, quorate), urgent=True)
        return self._done()

    def corosync_lost(self, now_ns: int) -> list[Output]:
        """Corosync is gone: all connections are broken (sheet §9.2, "Corosync dies")."""
        self._process.now_ns = now_ns
        self._process.corosync_running = False
        self._corosync_quorate = None
        if self._connected:
            self._answers.fail_all()
            self._loop.submit(self._connections_lost)
        return self._done()

    def corosync_available(self, now_ns: int) -> list[Output]:
        """Corosync accepts connections; pmxcfs finds out at its next attempt, at most about 6 s later."""
        self._process.now_ns = now_ns
        self._process.corosync_running = True
        return self._done()

    def clock_set(self, now_ns: int) -> list[Output]:
        """The host's wall clock was set: what waits for a time of day waits shorter or longer now."""
        self._process.now_ns = now_ns
        if self._connected:
            self._services.clock_set()
            self._arm_verification()
        return self._done()

    def cluster_changed(self, now_ns: int) -> list[Output]:
        """Corosync's node list or config_version changed, and whoever watches them is told (``confdb.c``)."""
        self._process.now_ns = now_ns
        if self._connected and self._services.confdb.initialised:
            self._loop.submit(self._cluster_read_again)
        return self._done()

    def reload_failed(self, now_ns: int) -> list[Output]:
        """``corosync-cfgtool -R``, which this process ran, found no corosync."""
        self._process.now_ns = now_ns
        self._process.critical("dcdb", "corosync-cfgtool -R failed with exit code 1")
        return self._done()

    def set_synchronous(self, synchronous: Literal["NORMAL", "FULL"]) -> None:
        """What the database's commits wait for from now on: a change of the host model, nothing the real one does."""
        self._database.set_synchronous(synchronous)

    def expire(self, now_ns: int, timer: str) -> list[Output]:
        """A timer that was set has run out."""
        self._process.now_ns = now_ns
        if timer in self._threads:
            self._threads[timer].resume()
        elif self._stopping:
            pass
        elif timer == VERIFY_TIMER:
            self._verify()
        else:
            self._services.timer_expired()
            self._loop.submit(self._start_services)
        return self._done()

    # --------------------------------------------------------------------------------------------------------- start

    def _choose_mode(self, memdb: Memdb) -> int:
        """Local or in the cluster (sheet §1.1, step 8); by how many nanoseconds that delays the event loop."""
        process = self._process
        has_conf = memdb.read(COROSYNC_CONF) is not None
        if self._local_wanted is None:
            self.local = not has_conf
        if self.local:
            if has_conf:
                process.notice("main", "forcing local mode (although corosync.conf exists)")
            process.quorate = True
            return 0
        if copy_to_host(process, memdb, self._host_conf):
            process.emit(CorosyncReload())
            return NS_PER_S
        return 0

    def _assemble(self, memdb: Memdb, first_start_ns: int) -> None:
        """Put the two state machines together."""
        process = self._process
        self.memdb = memdb
        self._status = Status(process, self._post_status)
        self._dcdb = Dcdb(process, memdb, self._database, self._post_dcdb, self._is_lowest, self._host_conf)
        self._plugs = Plugs(process, memdb, self._status)
        self.ipc = IpcServer(memdb, self._status, self._plugs)
        connections = {
            DCDB_CLIENT: Connection(process, DCDB_CLIENT, DCDB_GROUP, DCDB_DOMAIN),
            STATUS_CLIENT: Connection(process, STATUS_CLIENT, STATUS_GROUP, STATUS_DOMAIN),
        }
        self.dcdb = Dfsm(process, connections[DCDB_CLIENT], DCDB_DOMAIN, DCDB_PROTOCOL_VERSION, self._dcdb)
        self.status = Dfsm(process, connections[STATUS_CLIENT], STATUS_DOMAIN, STATUS_PROTOCOL_VERSION, self._status)
        self._services = Services(process, self.dcdb, self.status, self._read_cluster, first_start_ns)

    def _import_corosync_conf(self, memdb: Memdb, content: bytes) -> None:
        """A fresh database takes over the node's own corosync.conf: two changes, so it is at version 3 (sheet §1.1)."""
        now_s = self._process.wall_s
        for outcome in (
            memdb.create(f"/{COROSYNC_CONF}", 0, now_s),
            memdb.write(f"/{COROSYNC_CONF}", content, 0, now_s, truncate=True),
        ):
            assert outcome.change is not None
            self._database.write(outcome.change)
            self._emit_io()

    def _verify(self) -> None:
        """Once an hour, by the wall clock (``loop.c: service_timer_job``); a service without a connection is late."""
        if self._process.wall_s - self._verified_s >= VERIFY_S and self._services.dcdb.initialised:
            self._verified_s = self._process.wall_s
            self._loop.submit(self.dcdb.verify)
        self._arm_verification()

    def _arm_verification(self) -> None:
        left_s = self._verified_s + VERIFY_S - self._process.wall_s
        self._process.emit(SetTimer(VERIFY_TIMER, max(left_s, 1) * NS_PER_S))

    def _read_cluster(self) -> None:
        cluster = self._cluster()
        if not cluster.config_version:
            self._process.critical("confdb", "cmap_get totem.config_version failed CS_ERR_NOT_EXIST")
        self._status.set_cluster(cluster)

    def _cluster_read_again(self) -> Blocking[None]:
        self._read_cluster()
        yield from ()

    def _cluster_in_tree(self) -> ClusterInfo:
        """Cluster name and config_version of the tree's corosync.conf, for want of a corosync to ask."""
        return named_cluster(self.memdb.read(COROSYNC_CONF) or b"")

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

    def _tear_down(self) -> Blocking[None]:
        process = self._process
        if not self.local:
            self._status.set_quorate(False, quiet=True)
            yield from self._services.finalise()
        self._database.close()
        self._emit_io()
        process.notice("main", "exit proxmox configuration filesystem (0)")
        process.emit(PmxcfsExited())

    def _cpg_event(self, now_ns: int, event: CpgConfchg | CpgDelivered) -> list[Output]:
        self._process.now_ns = now_ns
        if self._connected:
            self._loop.submit(partial(self._services.dispatch, event))
        return self._done()

    # ------------------------------------------------------------------------------------------------------- helpers

    @property
    def _connected(self) -> bool:
        """Whether corosync matters to this process."""
        return self._running and not self.local and not self._stopping

    def _done(self) -> list[Output]:
        if self._connected:
            self._services.arm()
        return self._process.take()

    def _emit_io(self) -> None:
        self._process.emit_all(self._database.drain_io())

    def _is_lowest(self) -> bool:
        return self.dcdb.is_lowest

    def _post_dcdb(self, subtype: DcdbType, payload: bytes) -> None:
        self._writers[DCDB_CLIENT].submit(partial(self.dcdb.send, subtype, payload))

    def _post_status(self, subtype: StatusType, payload: bytes) -> None:
        if self.status.connection.open:
            self._writers[STATUS_CLIENT].submit(partial(self.status.send, subtype, payload))

    def _change_locally(self, operation: DcdbType, message: FuseMessage) -> int:
        """Local mode: straight to the tree, by nobody, with the own clock (``cfs-plug-memdb.c``)."""
        now_s = self._process.wall_s
        if operation is DcdbType.MTIME and message.offset == 0 and self._dcdb.lock_expired(message.path or ""):
            operation = DcdbType.DELETE
        return self._dcdb.store(self._dcdb.operate(operation, message, 0, now_s))

    def _request_unlock(self, path: str) -> None:
        """Setting a lock's time to 0 means: I wait for it, is it still held? (sheet §2.8)"""
        entry = self.memdb.lookup(path)
        if is_lockdir(path) and entry is not None and entry.is_directory:
            self._post_dcdb(DcdbType.UNLOCK_REQUEST, encode_unlock(UnlockMessage(path, entry_checksum(entry))))
