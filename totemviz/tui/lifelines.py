"""What state each node was in at any event of a run: a small index beside the timeline, for pictures of a stretch."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from totemviz.corosync import effects as corosync
from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event
from totemviz.trace.follower import Follower


class Life(NamedTuple):
    """A node's membership state (``DOWN``, ``STARTING``, corosync's four, empty if not shown) and if it is blocked."""

    state: str = ""
    blocked: bool = False


class Lifelines(Follower):
    """The changes of state of every node, found once per event however often they are asked for."""

    kinds = frozenset(
        {
            totem.StateEntered,
            ev.ProcessStarted,
            ev.ProcessKilled,
            ev.ProcessBlocked,
            ev.ProcessResumed,
            corosync.DaemonExited,
        }
    )

    def _restart(self) -> None:
        self._ids: dict[int, list[int]] = {}
        self._lives: dict[int, list[Life]] = {}

    def at(self, node: int, event_id: int) -> Life:
        """The life of a node just after an event."""
        index = bisect_right(self._ids.get(node, ()), event_id)
        return self._lives[node][index - 1] if index else Life()

    def _take(self, event: Event) -> None:
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
