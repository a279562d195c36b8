"""What can happen to links between nodes: to all, or to one from a node to another."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class Cut(Intervention, frozen=True, kw_only=True, tag="cut"):
    """Cut every link between ``nodes`` and the rest of the cluster, both ways."""

    nodes: tuple[int, ...]

    @property
    def text(self) -> str:  # noqa: D102
        return f"cut {' and '.join(f'node {nodeid}' for nodeid in self.nodes)} off from the rest"


class CutOneWay(Intervention, frozen=True, kw_only=True, tag="cut_one_way"):
    """Nothing that ``source`` sends reaches ``target`` any more; the other way still works."""

    source: int
    target: int

    @property
    def text(self) -> str:  # noqa: D102
        return f"cut the way from node {self.source} to node {self.target}"


class Heal(Intervention, frozen=True, kw_only=True, tag="heal"):
    """All links work again."""

    @property
    def text(self) -> str:  # noqa: D102
        return "mend all links"


class Loss(Intervention, frozen=True, kw_only=True, tag="loss"):
    """From now on every link loses ``percent`` of the datagrams."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"lose {self.percent:g} % of all datagrams"


class Duplicate(Intervention, frozen=True, kw_only=True, tag="duplicate"):
    """From now on every link delivers ``percent`` of the datagrams twice."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"deliver {self.percent:g} % of all datagrams twice"


class Delay(Intervention, frozen=True, kw_only=True, tag="delay"):
    """From now on every datagram takes ``delay``, and up to ``jitter`` longer, so that one can overtake another."""

    delay: Duration
    jitter: Duration = Duration(0)

    @property
    def text(self) -> str:  # noqa: D102
        return f"let all datagrams take {self.delay}" + (f" and up to {self.jitter} more" if self.jitter else "")
