"""The HA manager of one node (pve-ha-lrm), as far as its lock and its watchdog go: when a node must die.

It holds a lock below /etc/pve, ``priv/lock/ha_agent_NODE_lock``, and renews it every 10 s by setting its time. Each
renewal that succeeds feeds the watchdog; one that fails, or never returns, does not. The others may take the lock 120 s
after its last renewal, and start this node's guests: by then the watchdog must have reset it.

What it does is written as one program that waits in its system calls (``LRM.pm: work, get_protected_ha_agent_lock``,
``Env/PVE2.pm: get_pve_lock``). Not modelled: the guests, their migration and recovery, and the cluster's manager
(pve-ha-crm); the node counts as one with a service, so that it takes its lock as soon as there is quorum.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from totemviz.pmxcfs.errors import reason
from totemviz.sim import tools
from totemviz.sim.threads import PMXCFS
from totemviz.sim.watchdog import SECOND_NS, WatchdogMux
from totemviz.totem.effects import Level, Log
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host

PVE_HA_LRM = "pve-ha-lrm"
START_AFTER_NS = 2 * SECOND_NS
"""The service starts after pmxcfs and the API's; when exactly does not matter."""

LOCK_LIFETIME_S = 120
ACTIVE_ROUND_S = 10
IDLE_ROUND_S = 5
SLOW_ROUND_S = 30
RETRIES, RETRY_FOR_S = 5, 5
LOCK_FOLDER = "priv/lock"

STARTUP, WAITING, ACTIVE, LOST = "startup", "wait_for_agent_lock", "active", "lost_agent_lock"


class _Call(NamedTuple):
    """A system call below /etc/pve; the program goes on with its result."""

    operation: str
    path: str
    time_s: int = 0


class _Write(NamedTuple):
    """A file written as all of Proxmox' tools do; the program goes on with the result."""

    path: str
    content: bytes


class _Sleep(NamedTuple):
    """The program goes on after so many seconds."""

    seconds: int


_Program = Generator[_Call | _Write | _Sleep, int, Any]


class LocalManager:
    """pve-ha-lrm on one host, and the watchdog it feeds. ``boot_ns``: how long a reset node takes to come back."""

    def __init__(self, host: Host, boot_ns: int) -> None:
        self.state = STARTUP
        self._host = host
        self._world = host.world
        self._boot_ns = boot_ns
        self._lock = f"{LOCK_FOLDER}/ha_agent_{host.info.name}_lock"
        self._life = 0
        self._pid = 0
        self._program: _Program | None = None
        self._watchdog: WatchdogMux | None = None
        self._last = -1
        self._in_call = False

    # --------------------------------------------------------------------------------------------------- life and death

    def start(self, cause: int) -> None:
        """The service starts, unless it runs."""
        if self._program is not None or not self._host.powered:
            return
        self._life += 1
        self._pid = self._host.next_pid()
        self.state = STARTUP
        self._locked_s, self._has_lock, self._status_written = 0, False, False
        self._refused, self._renewed = False, -1
        self._last = self._host.record(cause, ev.ProcessStarted(PVE_HA_LRM, self._pid))
        self._program = self._run()
        self._go_on(self._life, None)

    def power_off(self) -> None:
        """The host is gone, and everything with it."""
        self._life += 1
        self._program = None
        if self._watchdog is not None:
            self._watchdog.power_off()
            self._watchdog = None

    def _reset(self, event: int) -> None:
        """The watchdog resets the machine: no cache is written out, but no drive loses its power either."""
        self._host.power_cut(None, event)
        if self._boot_ns:
            self._world.scheduler.after(self._boot_ns, self._host.boot, event)

    def _obstacle(self) -> int:
        """What keeps this manager from feeding its watchdog: pmxcfs that stands still, or what it was told last."""
        blocked = self._host.processes.threads[PMXCFS]
        if self._in_call and blocked.blocked and blocked.announced_event >= 0:
            return blocked.announced_event
        return self._last

    # ------------------------------------------------------------------------------------------------ running a program

    def _go_on(self, life: int, result: int | None) -> None:
        program = self._program
        if life != self._life or program is None:
            return
        request = program.send(result) if result is not None else next(program)
        clients = self._world.clients
        if isinstance(request, _Sleep):
            self._world.scheduler.after(request.seconds * SECOND_NS, self._go_on, life, 0)
            return

        def then(result: int, event: int) -> None:
            self._in_call = False
            self._last = event
            self._go_on(life, result)

        self._in_call = True
        node = self._host.nodeid
        if isinstance(request, _Write):
            process = tools.Process(self._pid, self._host.info.name, self._now_s, self._world.now_ns)
            writing = tools.file_set_contents(process, request.path, request.content)
            clients.run(node, request.path, writing, self._last, size=len(request.content), then=then)
        else:
            clients.call(node, request.operation, request.path, self._last, then, offset=request.time_s)

    @property
    def _now_s(self) -> int:
        return self._host.wall_s

    def _log(self, level: Level, text: str) -> None:
        self._host.record(self._last, Log(level, PVE_HA_LRM, text))

    # ----------------------------------------------------------------------------------------- what the program does

    def _run(self) -> _Program:
        self._enter(WAITING)
        while True:
            began_s = self._now_s
            self._look_at_cluster()
            yield from self._round()
            if self._now_s - began_s > SLOW_ROUND_S:
                self._log(Level.WARNING, f"loop took too long ({self._now_s - began_s} seconds)")

    def _look_at_cluster(self) -> None:
        """What changed is asked for over pmxcfs' socket (``Env/PVE2.pm: cluster_state_update``)."""
        self._saw_cluster = self._host.pmxcfs is not None
        if not self._saw_cluster:
            why = "ipcc_send_rec[1] failed: Connection refused"
            self._log(Level.WARNING, f"cluster file system update failed - {why}")

    def _round(self) -> _Program:
        """One round of the main loop (``LRM.pm: work``)."""
        if not self._status_written:
            self._status_written = yield from self._write_status()
            if not self._status_written:
                yield _Sleep(IDLE_ROUND_S)
                return
        if self.state == ACTIVE:
            if not (yield from self._keep_lock()):
                self._enter(LOST)
        elif self._quorate and (yield from self._keep_lock()):
            self._enter(ACTIVE)
        worked_s = self._now_s
        if self.state == ACTIVE and not self._saw_cluster:
            self._log(Level.NOTICE, "temporary inconsistent cluster state (cfs restart?), skip round")
        if self.state != LOST:
            yield from self._write_status()
        if self.state != ACTIVE:
            yield _Sleep(IDLE_ROUND_S)
        while self.state == ACTIVE and self._now_s < worked_s + ACTIVE_ROUND_S:
            yield _Sleep(1)

    def _enter(self, state: str) -> None:
        self._last = self._host.record(self._cause(), ev.LrmStateChanged(self.state, state))
        self._log(Level.INFO, f"status change {self.state} => {state}")
        self.state = state

    def _cause(self) -> int:
        """A renewal that was refused is the fault of what took the quorum, or of who has set the clock since."""
        if not self._quorate and self._host.quorum_event >= 0:
            return self._host.quorum_event
        if self._refused and self._host.clock.event > self._renewed:
            return self._host.clock.event
        return self._last

    @property
    def _quorate(self) -> bool:
        return self._host.pmxcfs is not None and self._host.pmxcfs.quorate

    def _write_status(self) -> Generator[_Write, int, bool]:
        """The node's status file, which the cluster's manager reads (``LRM.pm: update_lrm_status``)."""
        if not self._quorate:
            return False
        status = {"mode": "active", "results": {}, "state": self.state, "timestamp": self._now_s}
        content = json.dumps(status, separators=(",", ":")).encode()
        path = f"nodes/{self._host.info.name}/lrm_status"
        result = yield _Write(path, content)
        if result < 0:
            self._log(Level.ERROR, f"unable to write lrm status file - {tools.not_written(self._pid, path, result)}")
        return result >= 0

    def _keep_lock(self) -> Generator[_Call | _Sleep, int, bool]:
        """Take or renew the lock, and feed the watchdog (``LRM.pm: get_protected_ha_agent_lock``)."""
        began_s = self._now_s
        for attempt in range(1, RETRIES + 2):
            if (yield from self._take_lock()):
                self._feed()
                return True
            if attempt > RETRIES or self._now_s - began_s > RETRY_FOR_S:
                break
            yield _Sleep(1)
        return False

    def _feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed(self._last)
            return
        self._watchdog = WatchdogMux(self._host, self._pid, self._obstacle, self._reset)
        self._watchdog.connect(self._last)
        self._log(Level.INFO, "watchdog active")

    def _take_lock(self) -> Generator[_Call, int, bool]:
        """``Env/PVE2.pm: get_pve_lock``: renew what we had within the lock's lifetime, else try to make it."""
        began_s = self._now_s
        if began_s - self._locked_s < LOCK_LIFETIME_S:
            result = yield _Call("mtime", self._lock, began_s)
            why = f"cfs lock update failed - {reason(result) if result < 0 else ''}"
        else:
            result = yield _Call("mkdir", self._lock)
            why = "can't get cfs lock"
            if result < 0:
                yield _Call("mtime", self._lock, 0)
        self._refused = -result in (errno.EACCES, errno.EEXIST)
        got, had = result >= 0, self._has_lock
        self._has_lock = got
        if got:
            self._locked_s, self._renewed = began_s, self._last
        name = self._lock.rpartition("/")[2]
        if got and not had:
            self._log(Level.INFO, f"successfully acquired lock '{name}'")
        if had and not got:
            self._log(Level.ERROR, f"lost lock '{name} - {why}")  # the quote is missing in the original, too
        return got
