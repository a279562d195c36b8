"""What every panel is given to draw: one moment of a session."""

from __future__ import annotations

from dataclasses import dataclass

from totemviz.sim.scenario import NetworkSpec
from totemviz.sim.session import Session, Simulation
from totemviz.trace.node_view import NodeView
from totemviz.trace.timeline import Timeline
from totemviz.trace.view import ClusterView
from totemviz.tui.marks import with_letters


@dataclass(frozen=True)
class Moment:
    """The cursor's view, and what the person in front of it has chosen.

    ``now_ns`` is the clock on screen: the time of the last event, or later while the run plays through a pause.
    ``speed`` is the one asked for and ``achieved`` that of the last second (0: not
    known yet), both in virtual seconds a second.
    ``looked``: the event somebody looks at in a list without going there, -1 for none.
    ``marked``: the nodes that the key for a partition would split off.
    ``quiet``: the cursor got here by a jump or by playing, so nothing is to be lit as changed.
    """

    session: Session
    now_ns: int
    chosen: int = 0
    playing: bool = False
    backward: bool = False
    speed: float = 1.0
    achieved: float = 0.0
    quiet: bool = False
    notice: str = ""
    looked: int = -1
    marked: frozenset[int] = frozenset()

    @property
    def view(self) -> ClusterView:
        """The cluster at the cursor."""
        return self.session.cursor.view

    @property
    def timeline(self) -> Timeline:
        """The run the cursor is in."""
        return self.session.timeline

    @property
    def position(self) -> int:
        """Id of the event at the cursor, -1 before the first."""
        return self.session.cursor.position

    @property
    def nodes(self) -> list[NodeView]:
        """All nodes by ascending node id."""
        return [node for _, node in sorted(self.view.nodes.items())]

    @property
    def network(self) -> NetworkSpec:
        """What a link does that nobody has changed; of a recording nobody knows, so it counts as a good one."""
        return self.session.scenario.network if isinstance(self.session, Simulation) else NetworkSpec()

    @property
    def branch(self) -> str:
        """Name of the branch on screen with the letters of nodes; empty where there is only one."""
        session = self.session
        if not isinstance(session, Simulation) or len(session.family) == 1:
            return ""
        return with_letters(session.family.current.name, self.nodes)

    @property
    def recorded(self) -> bool:
        """Whether this is a recording, so that some things are unknown."""
        return self.view.run is not None and self.view.run.world == "recorded"
