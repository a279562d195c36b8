"""Between the processes of one host: which client is whose, and what corosync tells each.

pmxcfs has two CPG connections (clients 0 and 1, see ``totemviz.pmxcfs.effects``) and one for quorum; programs of a
scenario get the next numbers, one each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from totemviz.corosync import effects as cs
from totemviz.pmxcfs import effects as px
from totemviz.sim.cpg_handle import ClientEvent, CpgHandle
from totemviz.sim.programs import Program
from totemviz.sim.threads import PMXCFS, Actions

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.processes import Processes

PMXCFS_CLIENTS = (0, 1)


class LocalIpc:
    """Carries out the machines' effects that go from one process to another."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self._host = host
        self._world = host.world
        self._processes = processes
        self._clients = {client: CpgHandle(host, PMXCFS, client, self._pmxcfs_event) for client in PMXCFS_CLIENTS}
        self.programs: dict[str, Program] = {}
        self._next_client = len(PMXCFS_CLIENTS)
        self.actions: Actions = {
            px.CpgJoin: self._cpg_join,
            px.CpgLeave: self._cpg_leave,
            px.CpgMcast: self._cpg_mcast,
            px.CpgFinalize: self._cpg_finalize,
            cs.CpgConfchg: self._client_event,
            cs.CpgDelivered: self._client_event,
            cs.CpgPartDelivered: self._client_event,
            cs.WakeClient: self._wake_client,
            cs.Response: self._response,
            cs.QueueLevelChanged: self._senders_may_go_on,
            cs.QuorumChanged: self._quorum_changed,
            cs.SyncCompleted: self._sync_completed,
        }

    def waiting(self, process: str) -> int:
        """Events that a process has not read yet, besides those it is about to read."""
        return sum(handle.waiting for handle in self._clients.values() if handle.process == process)

    # ------------------------------------------------------------------------------------------------- pmxcfs' calls

    def _cpg_join(self, process: str, request: px.CpgJoin, cause: int) -> int:
        answer = partial(self._pmxcfs_answer, request.client, cause)
        self._clients[request.client].join(self._host.pmxcfs_pid, request.group + "\0", cause, answer)
        return -1

    def _cpg_leave(self, process: str, request: px.CpgLeave, cause: int) -> int:
        self._clients[request.client].leave(cause, partial(self._pmxcfs_answer, request.client, cause))
        return -1

    def _cpg_mcast(self, process: str, request: px.CpgMcast, cause: int) -> int:
        answer = partial(self._pmxcfs_answer, request.client, cause)
        self._clients[request.client].mcast(request.payload, cause, answer)
        return -1

    def _cpg_finalize(self, process: str, request: px.CpgFinalize, cause: int) -> int:
        self._clients[request.client].close(cause)
        return -1

    def _pmxcfs_answer(self, client: int, cause: int, error: cs.CpgError) -> None:
        if self._host.pmxcfs is not None:
            outputs = self._host.pmxcfs.cpg_result(self._world.now_ns, client, error)
            self._host.carry_out(PMXCFS, outputs, cause)

    def _pmxcfs_event(self, body: ClientEvent, event: int) -> None:
        pmxcfs, now_ns = self._host.pmxcfs, self._world.now_ns
        if pmxcfs is None:
            return
        if isinstance(body, cs.CpgDelivered):
            self._host.carry_out(PMXCFS, pmxcfs.cpg_delivered(now_ns, body), event)
        else:
            self._host.carry_out(PMXCFS, pmxcfs.cpg_confchg(now_ns, body), event)

    # ------------------------------------------------------------------------------------------- what corosync says

    def _client_event(self, process: str, body: ClientEvent | cs.CpgPartDelivered, cause: int) -> int:
        event = self._host.record(cause, body)
        handle = self._clients.get(body.client)
        if handle is not None:
            handle.deliver(body, event)
        return event

    def _wake_client(self, process: str, effect: cs.WakeClient, cause: int) -> int:
        self._clients[effect.client].wake()
        return -1

    def _response(self, process: str, effect: cs.Response, cause: int) -> int:
        self._clients[effect.client].answered(effect.error)
        return -1

    def _senders_may_go_on(self, process: str, body: cs.QueueLevelChanged | cs.SyncCompleted, cause: int) -> int:
        event = self._host.record(cause, body)
        for handle in self._clients.values():
            handle.senders_may_go_on()
        return event

    def _quorum_changed(self, process: str, body: cs.QuorumChanged, cause: int) -> int:
        event = self._host.record(cause, body)
        self._host.quorum_event = event
        self._processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.quorum(self._world.now_ns, body.quorate))
        return event

    def _sync_completed(self, process: str, body: cs.SyncCompleted, cause: int) -> int:
        event = self._senders_may_go_on(process, body, cause)
        self.connect_pmxcfs(event)
        return event

    def connect_pmxcfs(self, cause: int) -> None:
        """Corosync accepts connections; a client that tracks quorum is told the present state at once."""
        if self._host.daemon is not None:
            quorate = self._host.daemon.votequorum.quorate
            self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.quorum(self._world.now_ns, quorate))
        self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.corosync_available(self._world.now_ns))

    # ---------------------------------------------------------------------------------------------- lives and deaths

    def pmxcfs_died(self, cause: int) -> None:
        """Its connections are closed by the kernel."""
        for client in PMXCFS_CLIENTS:
            self._clients[client].close(cause, died=True)

    def corosync_died(self, cause: int) -> None:
        """All connections are broken."""
        for handle in self._clients.values():
            handle.lost()
        for program in list(self.programs.values()):
            self.end_program(program.name, cause)
        if self._host.pmxcfs is not None:
            self._processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.corosync_lost(self._world.now_ns))

    def program(self, name: str, group: str, cause: int) -> Program:
        """The program of that name in a CPG group; it is started if it does not run."""
        program = self.programs.get(name)
        if program is None:
            self._processes.add(name)
            client, self._next_client = self._next_client, self._next_client + 1
            program = self.programs[name] = Program(self._host, name, self._host.next_pid(), client, group)
            self._clients[client] = program.handle
            program.start(cause)
        return program

    def end_program(self, name: str, cause: int) -> None:
        """SIGKILL, or it ends because corosync is gone."""
        program = self.programs.pop(name, None)
        if program is not None:
            program.handle.close(cause, died=True)
            del self._clients[program.handle.client]
            self._processes.remove(name)
