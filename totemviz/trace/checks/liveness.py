"""What must happen in the end, or in time, or not at all when nobody touches anything.

These need to know when the cluster was last disturbed. That is read from the timeline itself (``Facts.disturbed_ns``):
the latest intervention other than a write, link change, datagram lost by chance or by hand, daemon start or death, or
time at which corosync's thread was blocked. Datagrams into a cut link or to a dead node are consequences, not
disturbances. From there on the cluster has (token + consensus) per possible view, plus a second, to settle. A timeline
that ends earlier proves nothing, and nothing is reported. So a scenario that wants liveness checked ends with quiet
time: heal what is cut, stop losing datagrams, and wait.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from totemviz.corosync.effects import DaemonExited
from totemviz.totem.effects import ConfigurationChange, StateEntered
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import COROSYNC, MS, Facts
from totemviz.trace.events import Event, ProcessKilled

EPSILON_NS = 250 * MS
ROTATIONS = 20
"""Commit, recovery and what waits for them: some fixed time, and so many rotations of the slowest token seen."""


class Liveness(Invariant):
    """Invariant 30."""

    number = 30
    name = "liveness"
    sentence = (
        "Once nothing is lost any more, nodes that can all reach each other come to be in one ring, and it turns."
    )

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {}

    def finish(self, last: Event, end_ns: int) -> None:
        """Look at the state in which everything was left."""
        facts = self.facts
        if not facts.token_ms or end_ns < facts.disturbed_ns + facts.settle_ns:
            return
        running = [nodeid for nodeid, node in facts.nodes.items() if node.running]
        for nodeid in running:
            component = self._component(nodeid, running)
            if component is None:
                continue
            node = facts.node(nodeid)
            quiet_s = (end_ns - facts.disturbed_ns) / 1e9
            members = node.configuration.members if node.configuration is not None else ()
            if node.state != "OPERATIONAL":
                self.fail(last, f"is still in {node.state or 'no state'} after {quiet_s:g} s of quiet", nodeid)
            elif members != component:
                self.fail(
                    last, f"is in a ring of {list(members)} after {quiet_s:g} s of quiet with {list(component)}", nodeid
                )
            elif any(facts.node(other).ring_id != node.ring_id for other in component):
                self.fail(last, f"is in ring {node.ring_id}, and others of {list(component)} are not", nodeid)

    def _component(self, nodeid: int, running: list[int]) -> tuple[int, ...] | None:
        """Whom it reaches; None where reachability is not mutual and complete, so that no one ring is right."""
        cut = self.facts.cut
        reached = sorted(other for other in running if other == nodeid or (nodeid, other) not in cut)
        for a in reached:
            for b in running:
                if (a != b and ((a, b) in cut) != (b not in reached)) or ((a, b) in cut) != ((b, a) in cut):
                    return None
        return tuple(reached)


class Accuracy(Invariant):
    """Invariant 31."""

    number = 31
    name = "accuracy"
    sentence = "With nothing lost, nobody stopped and nobody new, no membership changes."

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {StateEntered: self._state_entered}

    def _state_entered(self, event: Event, body: StateEntered) -> None:
        quiet_ns = event.time_ns - self.facts.disturbed_ns
        if (
            body.state == "GATHER"
            and self.facts.token_ms
            and quiet_ns > self.facts.settle_ns
            and not self.facts.blocked
        ):
            self.fail(
                event, f"begins to look for members ({body.text}) though nothing has happened for {quiet_ns / 1e9:g} s"
            )


class _Departure(msgspec.Struct):
    """Somebody is gone: ``waiting`` must be in a ring without it within ``bound_ns`` and some slack."""

    nodeid: int
    clean: bool
    event: Event
    bound_ns: int
    waiting: set[int]


class CrashBound(Invariant):
    """Invariant 32. Judged only where the cluster was whole before and nothing else happens meanwhile."""

    number = 32
    name = "silent crash bound"
    sentence = (
        "A ring without a silently dead node is there within token + consensus (and hold, and ε); without a node that "
        "left cleanly, within ε."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._departure: _Departure | None = None
        self._whole = False

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {
            ProcessKilled: self._process_killed,
            DaemonExited: self._daemon_exited,
            ConfigurationChange: self._configuration_change,
        }

    def _process_killed(self, event: Event, body: ProcessKilled) -> None:
        if body.process == COROSYNC:
            hold_ms = self.facts.timeouts_ms.get("hold", 0)
            bound_ms = self.facts.token_ms + self.facts.timeouts_ms.get("consensus", 0) + hold_ms
            self._departs(event, bound_ms * MS, clean=False)

    def _daemon_exited(self, event: Event, body: DaemonExited) -> None:
        if body.reason == "signal":
            self._departs(event, 0, clean=True)

    def _departs(self, event: Event, bound_ns: int, *, clean: bool) -> None:
        self._judge(event)
        facts = self.facts
        gone = facts.node(event.node)
        survivors = {nodeid for nodeid, node in facts.nodes.items() if node.running}
        everybody = survivors | {event.node}
        whole = (
            bool(facts.token_ms and survivors)
            and not facts.cut
            and not facts.blocked
            and all(facts.node(nodeid).state == "OPERATIONAL" for nodeid in everybody)
            and all(facts.node(nodeid).ring_id == gone.ring_id for nodeid in survivors)
            and gone.configuration is not None
            and set(gone.configuration.members) == everybody
        )
        self._departure = None
        if whole:
            self._departure = _Departure(event.node, clean, event, bound_ns, survivors)

    def _deadline_ns(self, departure: _Departure) -> int:
        """The network may have become slow only a moment before: what is known of it now counts."""
        slow_ns = ROTATIONS * len(self.facts.nodeids) * self.facts.transit_ns
        return departure.event.time_ns + departure.bound_ns + EPSILON_NS + slow_ns

    def _configuration_change(self, event: Event, body: ConfigurationChange) -> None:
        departure = self._departure
        if departure is None or body.transitional:
            return
        deadline_ns = self._deadline_ns(departure)
        if event.time_ns > deadline_ns:
            self._judge(event)
        elif departure.nodeid not in body.members:
            departure.waiting.discard(event.node)

    def _judge(self, event: Event) -> None:
        """The bound has passed, or something else happens: see what became of the last departure."""
        departure, self._departure = self._departure, None
        if departure is None or event.time_ns <= (deadline_ns := self._deadline_ns(departure)):
            return
        if self.facts.disturbed_between(departure.event.id, deadline_ns):
            return
        for nodeid in sorted(departure.waiting):
            how = "left cleanly" if departure.clean else "died"
            bound_s = (deadline_ns - departure.event.time_ns) / 1e9
            self.fail(
                departure.event, f"has no ring without node {departure.nodeid} {bound_s:g} s after that {how}", nodeid
            )

    def finish(self, last: Event, end_ns: int) -> None:
        """Judge what is still open if its time is up."""
        if self._departure is not None and end_ns > self._deadline_ns(self._departure):
            self._judge(msgspec.structs.replace(last, time_ns=end_ns))
