"""The two timers of corosync that only start themselves again: pause detection and the scheduler watch.

Their expiries are no events (they would be a tenth of a quiet run). When they run out follows from when they were last
known to start and from their period; a block of the process makes one late, and it goes on from there. The phases are
found once per event, however often they are asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.follower import Follower

PAUSE, WATCH = "pause", "scheduler watch"
COROSYNC = "corosync"


class Phase(NamedTuple):
    """A timer that started at ``since_ns`` and starts again each time it runs out; the start may lie ahead."""

    since_ns: int
    period_ns: int

    def deadline_ns(self, now_ns: int) -> int:
        """When it runs out next, after ``now_ns``."""
        return self.since_ns + max(1, (now_ns - self.since_ns) // self.period_ns + 1) * self.period_ns


class Phases(NamedTuple):
    """Both timers of a node; None while its corosync does not run, or where nobody can know.

    ``still_ns``: since when its corosync does nothing, -1 if it runs. A timer that runs out then waits for it.
    """

    pause: Phase | None = None
    watch: Phase | None = None
    still_ns: int = -1

    def looked_ns(self, now_ns: int) -> int:
        """When somebody looked at the timers last."""
        return now_ns if self.still_ns < 0 else self.still_ns


def periods_ns(token_ms: int) -> tuple[int, int]:
    """A fifth of the token timeout (``totemsrp.c``: the pause timer), a third (``main.c``: the scheduler watch)."""
    return token_ms * MS // 5, token_ms // 3 * MS


class Periodic(Follower):
    """The phases of every node at any event of one timeline."""

    kinds = frozenset(
        {
            ev.RunStarted,
            ev.TimeoutsChanged,
            ev.HostModelChanged,
            ev.ProcessStarted,
            ev.ProcessKilled,
            ev.ProcessBlocked,
            ev.ProcessResumed,
            ev.FsyncStarted,
            ev.FsyncFinished,
            totem.StateEntered,
            corosync.DaemonExited,
        }
    )

    def _restart(self) -> None:
        self._ids: dict[int, list[int]] = {}
        self._phases: dict[int, list[Phases]] = {}
        self._token_ms: dict[int, int] = {}
        self._one_loop: dict[int, bool] = {}
        self._simulated = False

    def at(self, node: int, event_id: int) -> Phases:
        """The phases of a node just after an event."""
        index = bisect_right(self._ids.get(node, ()), event_id)
        return self._phases[node][index - 1] if index else Phases()

    # ---------------------------------------------------------------------------------------------------- the past

    def _now(self, node: int) -> Phases:
        return self._phases[node][-1] if node in self._phases else Phases()

    def _note(self, event_id: int, node: int, phases: Phases) -> None:
        if phases != self._now(node):
            self._ids.setdefault(node, []).append(event_id)
            self._phases.setdefault(node, []).append(phases)

    def _take(self, event: Event) -> None:
        body, node, now_ns = event.body, event.node, event.time_ns
        match body:
            case ev.RunStarted():
                self._token_ms = {ev.WORLD: body.timeouts_ms.get("token", 0)}
                self._simulated, self._one_loop = body.world == "simulated", {ev.WORLD: body.host_model == "article"}
            case ev.TimeoutsChanged():
                self._reload(event, body.timeouts_ms.get("token", 0))
            case ev.HostModelChanged():
                self._one_loop[node] = body.model == "article"
            case ev.ProcessStarted(process="corosync") if self._simulated:
                self._note(event.id, node, Phases(pause=Phase(now_ns, self._periods_ns(node)[0])))
            case totem.StateEntered() if (phases := self._now(node)).pause is not None:
                if phases.watch is None:  # the links are up: main.c: main_service_ready
                    phases = phases._replace(watch=Phase(now_ns, self._periods_ns(node)[1]))
                if body.state == "OPERATIONAL":
                    phases = phases._replace(pause=Phase(now_ns, self._periods_ns(node)[0]))
                self._note(event.id, node, phases)
            case ev.ProcessKilled(process="corosync") | corosync.DaemonExited():
                self._note(event.id, node, Phases())
            case ev.ProcessBlocked() if COROSYNC in body.processes:
                self._stand_still(event)
            case ev.FsyncStarted() if self._stops_corosync(node, body.process):
                self._stand_still(event)
            case ev.ProcessResumed() if COROSYNC in body.processes:
                self._resume(event)
            case ev.FsyncFinished() if self._stops_corosync(node, body.process):
                self._resume(event)

    def _periods_ns(self, node: int) -> tuple[int, int]:
        return periods_ns(self._token_ms.get(node, self._token_ms[ev.WORLD]))

    def _stops_corosync(self, node: int, process: str) -> bool:
        """Whether corosync does nothing while a process of its node waits for the disk."""
        return process == COROSYNC or self._one_loop.get(node, self._one_loop[ev.WORLD])

    def _stand_still(self, event: Event) -> None:
        phases = self._now(event.node)
        if phases.still_ns < 0:
            self._note(event.id, event.node, phases._replace(still_ns=event.time_ns))

    def _resume(self, event: Event) -> None:
        """What ran out meanwhile is handled only now, and starts again now."""
        phases = self._now(event.node)
        since_ns = phases.looked_ns(event.time_ns)

        def after(phase: Phase | None) -> Phase | None:
            late = phase is not None and phase.deadline_ns(since_ns) <= event.time_ns
            return phase._replace(since_ns=event.time_ns) if phase is not None and late else phase

        self._note(event.id, event.node, Phases(after(phases.pause), after(phases.watch)))

    def _reload(self, event: Event, token_ms: int) -> None:
        """A timer that runs goes on as it is, the next time it takes the new period."""
        if event.node == ev.WORLD:
            self._token_ms = {ev.WORLD: token_ms}
        self._token_ms[event.node] = token_ms
        pause_ns, watch_ns = periods_ns(token_ms)

        def after(phase: Phase | None, period_ns: int) -> Phase | None:
            return None if phase is None else Phase(phase.deadline_ns(event.time_ns) - period_ns, period_ns)

        for node in list(self._phases) if event.node == ev.WORLD else [event.node]:
            phases = self._now(node)
            pause, watch = after(phases.pause, pause_ns), after(phases.watch, watch_ns)
            self._note(event.id, node, phases._replace(pause=pause, watch=watch))
