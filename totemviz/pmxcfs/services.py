"""The four services of the event loop: when they connect to corosync, and what happens when it goes (sheet §1.2)."""

from __future__ import annotations

from collections.abc import Callable

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError
from totemviz.pmxcfs.connection import error_name
from totemviz.pmxcfs.dfsm import Dfsm
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import NS_PER_S, Process
from totemviz.pmxcfs.threads import Blocking
from totemviz.totem.effects import SetTimer

SERVICE_TIMER = "service start"
FIRST_START_NS = 10_000_000
TICK_NS = NS_PER_S
PAUSE_S = 5
"""Between two attempts, by the wall clock (``loop.c: service_start_job``)."""

Initialise = Callable[[], Blocking[bool]]


class Service:
    """One connection to corosync and how its start attempts fare."""

    def __init__(self, name: str, initialise: Initialise, dfsm: Dfsm | None = None) -> None:
        self.name = name
        self.initialise = initialise
        self.dfsm = dfsm
        self.initialised = False
        self.errors = 0
        self.attempted_s: int | None = None

    @property
    def given_up(self) -> bool:
        """Whether no attempt can succeed any more, and the log has said so."""
        return self.dfsm is not None and self.dfsm.mode in (Mode.VERSION_ERROR, Mode.ERROR) and self.errors > 0

    def left_s(self, wall_s: int) -> int:
        """Seconds until it may try again: more than 5 s after the last attempt, unless the clock is set meanwhile."""
        return 0 if self.attempted_s is None else self.attempted_s + PAUSE_S + 1 - wall_s

    def disconnected(self) -> None:
        """The connection is over; the next attempt counts as the first."""
        self.initialised = False
        self.errors = 0


class Services:
    """quorum, confdb, dcdb and status, started in this order.

    The timer ticks every second in the original. Here it is set only for the ticks at which somebody tries to start.
    The ticks are monotonic, the 5 s between two attempts are the wall clock's: set it back while corosync is away, and
    pmxcfs does not connect again before the clock has caught up.
    """

    def __init__(
        self, process: Process, dcdb: Dfsm, status: Dfsm, read_cluster: Callable[[], None], first_ns: int
    ) -> None:
        self._process = process
        self._read_cluster = read_cluster
        self.quorum = Service("quorum", self._initialise_quorum)
        self.confdb = Service("confdb", self._initialise_confdb)
        self.dcdb = Service("dcdb", dcdb.initialise, dcdb)
        self.status = Service("status", status.initialise, status)
        self._in_order = (self.quorum, self.confdb, self.dcdb, self.status)
        self._by_client = {dcdb.connection.client: self.dcdb, status.connection.client: self.status}
        self._first_ns = first_ns
        self._armed_ns: int | None = None
        self._starting = False

    def arm(self) -> None:
        """Have the service timer run while a service waits for its next attempt."""
        waiting = [service for service in self._in_order if not service.initialised and not service.given_up]
        if not waiting or self._starting:
            return
        now_ns = self._process.now_ns
        left_s = min(service.left_s(self._process.wall_s) for service in waiting)
        due_ns = max(self._first_ns, self._tick_after(now_ns) + max(left_s - 1, 0) * TICK_NS)
        if self._armed_ns is None or due_ns < self._armed_ns:
            self._armed_ns = due_ns
            self._process.emit(SetTimer(SERVICE_TIMER, max(due_ns - now_ns, 0)))

    def _tick_after(self, now_ns: int) -> int:
        return self._first_ns + ((now_ns - self._first_ns) // TICK_NS + 1) * TICK_NS

    def clock_set(self) -> None:
        """The wall clock was set: what is armed is armed anew."""
        if self._armed_ns is not None:
            self._armed_ns = None
            self.arm()

    def timer_expired(self) -> None:
        """The attempt that was waited for is about to be made."""
        self._armed_ns = None
        self._starting = True

    def start(self) -> Blocking[bool]:
        """Try to start what is not connected; whether quorum is connected now and was not before."""
        quorum_was_connected = self.quorum.initialised
        now_s = self._process.wall_s
        for service in self._in_order:
            if service.initialised or service.left_s(now_s) > 0:
                continue
            service.attempted_s = now_s
            service.initialised = yield from service.initialise()
            if service.initialised:
                service.errors = 0
                continue
            if service.errors == 0:
                self._process.critical(service.name, "can't initialize service")
            service.errors += 1
        self._starting = False
        return self.quorum.initialised and not quorum_was_connected

    def dispatch(self, event: CpgConfchg | CpgDelivered) -> Blocking[None]:
        """Hand an event of CPG to its state machine; what comes over a connection that was given up is lost."""
        service = self._by_client[event.client]
        assert service.dfsm is not None
        if service.initialised and not (yield from service.dfsm.dispatch(event)):
            service.disconnected()

    def finalise(self) -> Blocking[None]:
        """The event loop ended: leave both groups (``loop.c: cfs_loop_worker_thread``)."""
        for service in self._in_order:
            if service.dfsm is not None:
                yield from service.dfsm.finalise()
            service.initialised = False

    def lost(self, quorum_lost: Callable[[], None]) -> None:
        """Corosync died. (The order among the services depends on polling; this is one that was seen.)"""
        for service in (self.confdb, self.status, self.quorum, self.dcdb):
            if service.dfsm is not None:
                if service.initialised:
                    service.dfsm.lost()
                service.dfsm.connection.open = False
            elif service.initialised and service is self.confdb:
                self._process.critical("confdb", f"cmap_dispatch failed: {int(CpgError.LIBRARY)}")
            elif service.initialised:
                self._process.critical("quorum", f"quorum_dispatch failed: {error_name(CpgError.LIBRARY)}")
                quorum_lost()
            service.disconnected()

    def _initialise_quorum(self) -> Blocking[bool]:
        yield from ()
        return self._corosync_answers("quorum", "quorum_initialize")

    def _initialise_confdb(self) -> Blocking[bool]:
        yield from ()
        if not self._corosync_answers("confdb", "cmap_initialize"):
            return False
        self._read_cluster()
        return True

    def _corosync_answers(self, domain: str, call: str) -> bool:
        if not self._process.corosync_running:
            name = error_name(CpgError.LIBRARY)
            self._process.critical(domain, f"{call} failed: {name} (failed to connect to corosync)")
        return self._process.corosync_running
