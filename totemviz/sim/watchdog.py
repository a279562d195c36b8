"""watchdog-mux and the watchdog behind it: what resets a node whose HA manager has fallen silent.

The device wants a sign of life every 10 s, or it resets the machine. watchdog-mux gives it one per second for as long
as each of its clients has been heard of within 60 s. From pve-ha-manager's ``watchdog-mux.c``, loop by loop:

* The loop waits for input, 1 s at most; only when that second passes without any does it look at its clients and ping
  the device. Ages are differences of whole seconds of the *wall clock* (``time(NULL)``): a clock that is set forward by
  more than a minute makes every client look silent, and one that is set back hides a silence.
* A client silent for more than 50 s is warned of, for more than 60 s it has expired: no more pings.
* The next time around the loop ends, and the process with it. The kernel pings the device one last time when the
  process closes it without the magic letter (drivers/watchdog/watchdog_dev.c: watchdog_release).

So, with a clock that is right, a node is reset some 72 s after its last sign of life, not 60: 61, 1 more until the
process ends, and 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from totemviz.totem.effects import Level, Log
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host

SECOND_NS = 1_000_000_000
EPOLL_NS = SECOND_NS
DEVICE_TIMEOUT_NS = 10 * SECOND_NS
CLIENT_TIMEOUT_S = 60
CLIENT_WARNING_S = CLIENT_TIMEOUT_S - 10
WATCHDOG_MUX, KERNEL = "watchdog-mux", "kernel"


class WatchdogMux:
    """The multiplexer of one host and its only client, the HA manager with ``client_pid``, once it has connected.

    ``obstacle`` names the event that keeps the client silent; ``fence`` resets the host, given the event.
    """

    def __init__(self, host: Host, client_pid: int, obstacle: Callable[[], int], fence: Callable[[int], None]) -> None:
        self._host = host
        self._client_pid = client_pid
        self._obstacle = obstacle
        self._fence = fence
        self._fed_s = self._fed_ns = 0
        self._warned = -1
        self._expired = -1
        self._round = 0
        self._over = False

    def connect(self, cause: int) -> None:
        """A client is there, and has just been heard of. (The process has run since the boot, with nothing to say.)"""
        self._host.record(cause, ev.ProcessStarted(WATCHDOG_MUX, self._host.next_pid()))
        self._log(Level.INFO, f"added new client (PID {self._client_pid}) to watch")
        self.feed(cause)

    def feed(self, cause: int) -> None:
        """The client is heard of."""
        if self._over:
            return
        self._host.record(cause, ev.WatchdogFed())
        self._fed_s, self._fed_ns = self._host.wall_s, self._host.world.now_ns
        if self._expired >= 0:
            self._end()
        else:
            self._wait()

    def close(self) -> None:
        """The client says goodbye with the magic letter: it is not watched any more."""
        text = f"client (PID {self._client_pid}) has disconnected cleanly. Removing it gracefully from the watch"
        self._log(Level.INFO, text)
        self._round += 1

    def power_off(self) -> None:
        """The host is gone."""
        self._over = True
        self._round += 1

    def _wait(self) -> None:
        """The loop waits for input; whatever it waited for before is forgotten."""
        self._round += 1
        self._host.world.scheduler.after(EPOLL_NS, self._timeout, self._round)

    def _timeout(self, round_number: int) -> None:
        """A second without input."""
        if round_number != self._round:
            return
        if self._expired >= 0:
            self._end()
            return
        silent_s = self._host.wall_s - self._fed_s
        if self._warned >= 0 and silent_s <= CLIENT_WARNING_S:
            self._warned = -1
            self._log(Level.INFO, f"client (PID {self._client_pid}) watchdog was updated before expiring")
        if self._warned < 0 and silent_s > CLIENT_WARNING_S:
            self._warned = self._host.record(self._why_silent(), ev.WatchdogWarned(silent_s))
            self._log(Level.INFO, f"client (PID {self._client_pid}) watchdog is about to expire", self._warned)
        if silent_s > CLIENT_TIMEOUT_S:
            self._expired = self._host.record(self._warned, ev.WatchdogExpired(silent_s))
            text = f"client (PID {self._client_pid}) watchdog expired - disable watchdog updates"
            self._log(Level.INFO, text, self._expired)
        self._wait()

    def _why_silent(self) -> int:
        """The event that makes the client look silent: what keeps it, or the clock if it has been heard of lately."""
        silent_ns = self._host.world.now_ns - self._fed_ns
        if self._host.clock.event >= 0 and silent_ns <= CLIENT_WARNING_S * SECOND_NS:
            return self._host.clock.event
        return self._obstacle()

    def _end(self) -> None:
        """The process leaves its loop; closing the device pings it once more."""
        self._over = True
        self._round += 1
        self._log(Level.INFO, "exit watchdog-mux with active connections", self._expired)
        self._log(Level.CRITICAL, "watchdog: watchdog0: watchdog did not stop!", self._expired, KERNEL)
        self._host.world.scheduler.after(DEVICE_TIMEOUT_NS, self._bite, self._round)

    def _bite(self, round_number: int) -> None:
        if round_number == self._round:
            event = self._host.record(self._expired, ev.NodeFenced())
            self._log(Level.CRITICAL, "softdog: Initiating system reboot", event, KERNEL)
            self._fence(event)

    def _log(self, level: Level, text: str, cause: int = ev.NO_CAUSE, process: str = WATCHDOG_MUX) -> None:
        self._host.record(cause, Log(level, process, text))
