"""Between the daemons of one host: pmxcfs calls the CPG and quorum libraries, corosync answers and sends events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from totemviz.corosync import effects as cs
from totemviz.pmxcfs import effects as px
from totemviz.sim.processes import IPC_NS
from totemviz.sim.threads import COROSYNC, Actions, Job

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.processes import Processes

_LIBRARY_ERROR = cs.CpgError.LIBRARY


class LocalIpc:
    """Carries out the machines' effects that go from one daemon to the other."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self._host = host
        self._world = host.world
        self._processes = processes
        self.actions: Actions = {
            px.CpgJoin: self._cpg_request,
            px.CpgLeave: self._cpg_request,
            px.CpgMcast: self._cpg_request,
            px.CpgFinalize: self._cpg_finalize,
            cs.CpgConfchg: self._cpg_confchg,
            cs.CpgDelivered: self._cpg_delivered,
            cs.QuorumChanged: self._quorum_changed,
            cs.SyncCompleted: self._sync_completed,
        }

    def _cpg_request(self, process: str, request: px.CpgJoin | px.CpgLeave | px.CpgMcast, cause: int) -> int:
        """Pmxcfs calls the CPG library; corosync answers."""
        life = self._host.pmxcfs_life

        def answer(error: cs.CpgError) -> None:
            client = request.client
            self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.cpg_result(self._world.now_ns, client, error))

        def run() -> None:
            daemon, now_ns = self._host.daemon, self._world.now_ns
            if self._host.pmxcfs_life != life:
                return
            if daemon is None:
                answer(_LIBRARY_ERROR)
                return
            if isinstance(request, px.CpgMcast):
                error, outputs = daemon.cpg_mcast(now_ns, request.client, request.payload)
            elif isinstance(request, px.CpgJoin):
                error, outputs = daemon.cpg_join(now_ns, request.client, self._host.pmxcfs_pid, request.group + "\0")
            else:
                error, outputs = daemon.cpg_leave(now_ns, request.client)
            answer(error)
            self._host.carry_out(COROSYNC, outputs, cause)

        self._world.scheduler.after(IPC_NS, self._processes.threads[COROSYNC].post, Job(COROSYNC, run))
        return -1

    def _cpg_finalize(self, process: str, request: px.CpgFinalize, cause: int) -> int:
        """The connection is closed; corosync tells the group when it notices."""

        def run() -> None:
            if self._host.daemon is not None:
                _, outputs = self._host.daemon.cpg_disconnect(self._world.now_ns, request.client)
                self._host.carry_out(COROSYNC, outputs, cause)

        self._world.scheduler.after(IPC_NS, self._processes.threads[COROSYNC].post, Job(COROSYNC, run))
        return -1

    def _cpg_confchg(self, process: str, body: cs.CpgConfchg, cause: int) -> int:
        event = self._host.record(cause, body)
        self._processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.cpg_confchg(self._world.now_ns, body))
        return event

    def _cpg_delivered(self, process: str, body: cs.CpgDelivered, cause: int) -> int:
        event = self._host.record(cause, body)
        self._processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.cpg_delivered(self._world.now_ns, body))
        return event

    def _quorum_changed(self, process: str, body: cs.QuorumChanged, cause: int) -> int:
        event = self._host.record(cause, body)
        self._processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.quorum(self._world.now_ns, body.quorate))
        return event

    def _sync_completed(self, process: str, body: cs.SyncCompleted, cause: int) -> int:
        event = self._host.record(cause, body)
        self.connect_pmxcfs(event)
        return event

    def connect_pmxcfs(self, cause: int) -> None:
        """Corosync accepts connections; a client that tracks quorum is told the present state at once."""
        if self._host.daemon is not None:
            quorate = self._host.daemon.votequorum.quorate
            self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.quorum(self._world.now_ns, quorate))
        self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.corosync_available(self._world.now_ns))
