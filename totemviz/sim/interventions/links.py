"""What can happen to links between nodes."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


class OnLinks(Intervention, frozen=True, kw_only=True):
    """Base of what is done to links from ``source`` to ``target``; 0 stands for every node."""

    source: int = 0
    target: int = 0

    @property
    def links(self) -> str:
        """Which links are meant, in words."""
        if self.source and self.target:
            return f"the link from node {self.source} to node {self.target}"
        if self.source:
            return f"every link from node {self.source}"
        return f"every link to node {self.target}" if self.target else "all links"

    @property
    def datagrams(self) -> str:
        """What travels on them, in words."""
        return f"the datagrams on {self.links}" if self.source or self.target else "all datagrams"


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


class Heal(OnLinks, frozen=True, kw_only=True, tag="heal"):
    """Links that were cut work again."""

    @property
    def text(self) -> str:  # noqa: D102
        return f"mend {self.links}"


class Loss(OnLinks, frozen=True, kw_only=True, tag="loss"):
    """From now on links lose ``percent`` of the datagrams."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"lose {self.percent:g} % of {self.datagrams}"


class Duplicate(OnLinks, frozen=True, kw_only=True, tag="duplicate"):
    """From now on links deliver ``percent`` of the datagrams twice."""

    percent: float

    @property
    def text(self) -> str:  # noqa: D102
        return f"deliver {self.percent:g} % of {self.datagrams} twice"


class Delay(OnLinks, frozen=True, kw_only=True, tag="delay"):
    """From now on datagrams take ``delay``, and up to ``jitter`` longer; so that one can overtake another."""

    delay: Duration
    jitter: Duration = Duration(0)

    @property
    def text(self) -> str:  # noqa: D102
        return f"let {self.datagrams} take {self.delay}" + (f" and up to {self.jitter} more" if self.jitter else "")
