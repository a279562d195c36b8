"""What can happen to links between nodes: to those from ``source`` to ``target``, where 0 stands for every node."""

from __future__ import annotations

from totemviz.sim.interventions.base import Intervention
from totemviz.sim.units import Duration


def _links(source: int, target: int) -> str:
    """Which links are meant, in words."""
    if source and target:
        return f"the link from node {source} to node {target}"
    if source:
        return f"every link from node {source}"
    return f"every link to node {target}" if target else "every link"


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
    """Links that were cut work again: all of them, or those from ``source`` to ``target``."""

    source: int = 0
    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        return f"mend {_links(self.source, self.target)}" if self.source or self.target else "mend all links"


class Loss(Intervention, frozen=True, kw_only=True, tag="loss"):
    """From now on links lose ``percent`` of the datagrams."""

    percent: float
    source: int = 0
    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        if not (self.source or self.target):
            return f"lose {self.percent:g} % of all datagrams"
        return f"lose {self.percent:g} % of the datagrams on {_links(self.source, self.target)}"


class Duplicate(Intervention, frozen=True, kw_only=True, tag="duplicate"):
    """From now on links deliver ``percent`` of the datagrams twice."""

    percent: float
    source: int = 0
    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        if not (self.source or self.target):
            return f"deliver {self.percent:g} % of all datagrams twice"
        return f"deliver {self.percent:g} % of the datagrams on {_links(self.source, self.target)} twice"


class Delay(Intervention, frozen=True, kw_only=True, tag="delay"):
    """From now on datagrams take ``delay``, and up to ``jitter`` longer; so that one can overtake another."""

    delay: Duration
    jitter: Duration = Duration(0)
    source: int = 0
    target: int = 0

    @property
    def text(self) -> str:  # noqa: D102
        where = f" on {_links(self.source, self.target)}" if self.source or self.target else ""
        return f"let all datagrams{where} take {self.delay}" + (f" and up to {self.jitter} more" if self.jitter else "")
