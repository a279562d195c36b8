"""One libcpg connection: calls that are tried again while corosync is busy (sheet §5.10)."""

from __future__ import annotations

from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.effects import CpgCall, CpgFinalize, CpgJoin, CpgLeave, CpgMcast
from totemviz.pmxcfs.process import Process
from totemviz.pmxcfs.threads import Blocking, Sleep

RETRY_NS = 100_000_000
SEND_RETRIES_MAX = 100
_RETRIES_PER_LINE = 10


def error_name(error: CpgError) -> str:
    """As pmxcfs prints it: ``CS_ERR_TRY_AGAIN``."""
    return "CS_OK" if error is CpgError.OK else f"CS_ERR_{error.name}"


class Connection:
    """The CPG handle of one state machine. ``client`` 0 is dcdb, 1 is status; ``domain`` is its log domain."""

    def __init__(self, process: Process, client: int, group: str, domain: str) -> None:
        self.client = client
        self.group = group
        self.open = False
        self.joined = False
        self._process = process
        self._domain = domain

    def initialise(self) -> bool:
        """Have an open handle; one that was kept after a leave is used again (quirk Q7)."""
        if not self.open:
            if not self._process.corosync_running:
                name = error_name(CpgError.LIBRARY)
                self._critical(f"cpg_initialize failed: {name} (failed to connect to corosync)")
                return False
            self.open = True
        return True

    def join(self) -> Blocking[bool]:
        """Join the group; a failure closes the handle.

        The first join on a handle that has already left once fails with EXIST: corosync forgets to reset the
        connection's state. The next attempt, some 6 s later, opens a new handle (quirk Q7).
        """
        error, _ = yield from self._call(CpgJoin(self.client, self.group), "cpg_join")
        if error is not CpgError.OK:
            self._critical(f"cpg_join failed: {error_name(error)}")
            self.close()
            return False
        self.joined = True
        return True

    def leave(self) -> Blocking[CpgError]:
        """Leave the group, and keep the handle; the answer of the library."""
        self.joined = False
        error, _ = yield from self._call(CpgLeave(self.client, self.group), "cpg_leave")
        if error is not CpgError.OK:
            self._critical(f"cpg_leave failed: {error_name(error)}")
        return error

    def mcast(self, payload: bytes) -> Blocking[CpgError]:
        """Multicast to the group; 100 times TRY_AGAIN is about ten seconds and then a failure."""
        error, retries = yield from self._call(
            CpgMcast(self.client, self.group, payload), "cpg_send_message", SEND_RETRIES_MAX
        )
        if retries:
            self._process.notice(self._domain, f"cpg_send_message retried {retries} times")
        if error not in (CpgError.OK, CpgError.TRY_AGAIN):
            self._critical(f"cpg_send_message failed: {error_name(error)}")
        return error

    def lost(self) -> None:
        """Corosync died: the connection is broken."""
        name = error_name(CpgError.LIBRARY)
        self._critical(f"cpg_dispatch failed: {name}")
        if self.joined:
            self._critical(f"cpg_leave failed: {name}")
        self.joined = False
        self.open = False

    def close(self) -> None:
        """Finalise the handle."""
        self.joined = False
        if self.open:
            self.open = False
            self._process.emit(CpgFinalize(self.client))

    def _call(self, call: CpgCall, name: str, retries_max: int | None = None) -> Blocking[tuple[CpgError, int]]:
        """One library call, again every 100 ms while the answer is TRY_AGAIN: the last answer, and the retries."""
        retries = 0
        while True:
            if not self.open:
                return CpgError.BAD_HANDLE, retries
            error = (yield call) if self._process.corosync_running else CpgError.LIBRARY
            if error is not CpgError.TRY_AGAIN:
                return error, retries
            yield Sleep(RETRY_NS)
            retries += 1
            if retries % _RETRIES_PER_LINE == 0:
                self._process.notice(self._domain, f"{name} retry {retries}")
            if retries == retries_max:
                return error, retries

    def _critical(self, text: str) -> None:
        self._process.critical(self._domain, text)
