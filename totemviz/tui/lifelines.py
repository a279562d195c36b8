"""What state each node was in at any event of a run: a small index beside the timeline, for pictures of a stretch."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.timeline import Timeline

BUDGET_EVENTS = 50_000


class Life(NamedTuple):
    """A node's membership state (``DOWN``, ``STARTING``, corosync's four, empty if not shown) and if it is blocked."""

    state: str = ""
    blocked: bool = False


class Lifelines:
    """The changes of state of every node, found once per event however often they are asked for."""

    def __init__(self) -> None:
        self._ids: dict[int, list[int]] = {}
        self._lives: dict[int, list[Life]] = {}
        self._seen = 0
        self._last: Event | None = None

    def sync(self, timeline: Timeline, budget: int = BUDGET_EVENTS) -> bool:
        """Look at up to ``budget`` new events; True if nothing is left to look at. A changed past starts it over."""
        length = len(timeline)
        if self._seen > length or (self._seen and timeline[self._seen - 1] is not self._last):
            self._ids.clear()
            self._lives.clear()
            self._seen = 0
        upto = min(length, self._seen + budget)
        for number in range(self._seen, upto):
            event = timeline[number]
            if type(event.body) in _CHANGES:
                self._change(event)
        self._seen = upto
        self._last = timeline[upto - 1] if upto else None
        return upto == length

    def at(self, node: int, event_id: int) -> Life:
        """The life of a node just after an event."""
        index = bisect_right(self._ids.get(node, ()), event_id)
        return self._lives[node][index - 1] if index else Life()

    def _change(self, event: Event) -> None:
        body, node = event.body, event.node
        lives = self._lives.setdefault(node, [])
        now = lives[-1] if lives else Life()
        match body:
            case totem.StateEntered():
                now = now._replace(state=body.state)
            case ev.ProcessStarted(process="corosync"):
                now = Life("STARTING")
            case ev.ProcessKilled(process="corosync") | corosync.DaemonExited():
                now = Life("DOWN")
            case ev.ProcessBlocked() if now.state != "DOWN":
                now = now._replace(blocked=True)
            case ev.ProcessResumed():
                now = now._replace(blocked=False)
            case _:
                return
        lives.append(now)
        self._ids.setdefault(node, []).append(event.id)


_CHANGES = frozenset(
    {
        totem.StateEntered,
        ev.ProcessStarted,
        ev.ProcessKilled,
        ev.ProcessBlocked,
        ev.ProcessResumed,
        corosync.DaemonExited,
    }
)
