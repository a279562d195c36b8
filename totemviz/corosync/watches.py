"""What the main thread watches with timers of its own (``main.c``): that it runs in time, that a ring comes about."""

from __future__ import annotations

from collections.abc import Callable

from totemviz.corosync.service import Core
from totemviz.totem.config import MS
from totemviz.totem.effects import Level, StateEntered
from totemviz.totem.states import GATHER, Gather

SCHEDULER_WATCH = "scheduler_watch"
"""By which the daemon notices that it did not run (``timer_function_scheduler_timeout``)."""

FORMATION_WATCH = "formation_watch"
"""By which it notices that no ring comes about (``corosync_totem_stats_updater``)."""

FORMATION_WATCH_MS = 1500
FRUITLESS_MAX = 3
"""MAX_NO_CONT_GATHER."""

NO_RING = (
    "Totem is unable to form a cluster because of an operating system or network fault (reason: totem is continuously "
    "in gather state). The most common cause of this message is that the local firewall is configured improperly."
)


class SchedulerWatch:
    """Every third of the token timeout: has it been much longer? (sheet §1.7)

    ``token_ms`` gives the timeout in force, ``wall_ms`` what the host's clock shows at a time of the run.
    """

    def __init__(self, core: Core, token_ms: Callable[[], int], wall_ms: Callable[[int], int]) -> None:
        self._core = core
        self._token_ms = token_ms
        self._wall_ms = wall_ms
        self._last_ns = 0

    def start(self, now_ns: int) -> None:
        """The services are being loaded."""
        self._last_ns = now_ns
        self._core.set_timer(SCHEDULER_WATCH, self._token_ms() // 3)

    def expire(self, now_ns: int) -> None:
        """Look, and go on."""
        token_ns = self._token_ms() * MS
        passed_ns, threshold_ns = now_ns - self._last_ns, token_ns * 4 // 5
        if passed_ns > threshold_ns:
            text = f"(@{self._wall_ms(now_ns)}) for {passed_ns / MS:.4f} ms (threshold is {threshold_ns / MS:.4f} ms)"
            text = f"Corosync main process was not scheduled {text}. Consider token timeout increase."
            self._core.log(Level.WARNING, "MAIN", text)
        self.start(now_ns)


class FormationWatch:
    """Every 1.5 s: did all agree on members more than three times running, and no ring came of it?

    The timer ticks all the time in the original. Here it is set only for the ticks at which there is something to say.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._start_ns = 0
        self._fruitless = 0
        self._runs = False

    def start(self, now_ns: int) -> None:
        """The services are being loaded: ticks are counted from here."""
        self._start_ns = now_ns

    def state_entered(self, now_ns: int, entered: StateEntered) -> None:
        """The ring machine is in another state, or begins to gather anew."""
        if entered.state != GATHER:
            self._fruitless = 0
        elif entered.reason == Gather.CONSENSUS_EXPIRED:
            self._fruitless += 1
            if self._fruitless > FRUITLESS_MAX and not self._runs:
                self._runs = True
                passed_ms = (now_ns - self._start_ns) // MS % FORMATION_WATCH_MS
                self._core.set_timer(FORMATION_WATCH, FORMATION_WATCH_MS - passed_ms)

    def expire(self) -> None:
        """Say it, as long as it is so."""
        self._runs = self._fruitless > FRUITLESS_MAX
        if self._runs:
            self._core.log(Level.WARNING, "MAIN", NO_RING)
            self._core.set_timer(FORMATION_WATCH, FORMATION_WATCH_MS)
