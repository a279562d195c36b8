"""What the daemon does with a request of a CPG client: may it be done now, is there room, and then CPG does it.

Source: ``ipc_glue.c: cs_ipcs_msg_process``.
"""

from __future__ import annotations

from collections.abc import Callable

from totemviz.corosync.cpg import Cpg
from totemviz.corosync.effects import CpgError
from totemviz.corosync.ipc import (
    ATOMIC_MESSAGE_SIZE_MAX,
    CPG_JOIN_REQUEST_SIZE,
    CPG_LEAVE_REQUEST_SIZE,
    CPG_MCAST_REQUEST_SIZE,
    CPG_PARTIAL_REQUEST_SIZE,
    Join,
    Leave,
    Mcast,
    Request,
)
from totemviz.corosync.ipc_server import IpcServer
from totemviz.corosync.service import Core
from totemviz.totem.effects import Level

Admission = Callable[[int | None], CpgError]
"""May a request of this client, or of one that only comes, be done now?"""


class CpgRequests:
    """One method for each request; each returns CPG's answer."""

    def __init__(self, core: Core, ipc: IpcServer, cpg: Cpg, admission: Admission) -> None:
        self._core = core
        self._ipc = ipc
        self._cpg = cpg
        self._admission = admission

    def do(self, client: int, request: Request) -> CpgError:
        """Whatever a client has put into its ring."""
        if isinstance(request, Mcast):
            return self.mcast(client, request.payload)
        if isinstance(request, Join):
            return self.join(client, request.pid, request.group)
        if isinstance(request, Leave):
            return self.leave(client)
        return self.mcast_part(client, request.total, request.part, request.payload)

    def join(self, client: int, pid: int, group: str) -> CpgError:
        """cpg_join. ``group`` is text with one character per byte."""
        error = self._admission(None)
        if error is CpgError.OK:
            self._ipc.reserve(CPG_JOIN_REQUEST_SIZE)
            self._cpg.connect(client)
            error = self._cpg.join(client, pid, group.encode("latin-1", "replace"))
        return error

    def leave(self, client: int) -> CpgError:
        """cpg_leave."""
        error = self._admission(client)
        if error is CpgError.OK:
            self._ipc.reserve(CPG_LEAVE_REQUEST_SIZE)
            error = self._cpg.leave(client)
        return error

    def mcast(self, client: int, payload: bytes) -> CpgError:
        """cpg_mcast_joined. OK means queued and nothing more; nobody tells the client."""
        error = self._admission(client)
        size = CPG_MCAST_REQUEST_SIZE + len(payload)
        if error is CpgError.OK and len(payload) > ATOMIC_MESSAGE_SIZE_MAX:
            error = CpgError.INVALID_PARAM
        elif error is CpgError.OK and not self._ipc.reserve(size):
            self._core.log(Level.WARNING, "MAIN", "*** cs_ipcs_msg_process() (2:2 - 1) No buffer space available!")
        elif error is CpgError.OK:
            self._cpg.mcast(client, payload)
        return error

    def mcast_part(self, client: int, total: int, part: int, payload: bytes) -> CpgError:
        """One part of a message above the atomic size; unlike a whole one it is answered."""
        error = self._admission(client)
        if error is CpgError.OK and not self._ipc.reserve(CPG_PARTIAL_REQUEST_SIZE + len(payload)):
            error = CpgError.TRY_AGAIN
        elif error is CpgError.OK:
            error = self._cpg.mcast_part(client, total, part, payload)
        return error
