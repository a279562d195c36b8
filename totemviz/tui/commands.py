"""What the command palette offers: every key, every fault on every node, every disk, what is on its way, every link."""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.profiles import PROFILES
from totemviz.trace.node_view import NodeView
from totemviz.trace.view import ClusterView
from totemviz.trace.words import DATAGRAM_WORDS, who
from totemviz.tui.faults import FAULTS, Fault, datagram_faults, link_faults, migration
from totemviz.tui.marks import letter

NOT_BY_NAME = ("d", "O")
"""Keys of faults that are nothing without what is typed or chosen then."""

PAIRS_MAX = 56
"""Those of eight nodes; in larger clusters the dialog of the links, and the fault menu, are quicker than a list."""


def fault_commands(view: ClusterView) -> Iterator[tuple[str, AnyIntervention]]:
    """(words, intervention) of everything that can be done to the cluster now, with the usual durations."""
    nodes = [node for _, node in sorted(view.nodes.items())]
    for fault in FAULTS:
        if fault.key in NOT_BY_NAME:
            continue
        if "{node}" not in fault.label:
            yield _command(fault, 0, fault.label)
            continue
        for node in nodes:
            yield _command(fault, node.info.nodeid, fault.label.format(node=letter(node)))
    for node in nodes:
        for name, profile in PROFILES.items():
            yield f"disk of {letter(node)}: {profile.title}", do.SetDisk(node=node.info.nodeid, profile=name)


def found_commands(view: ClusterView) -> Iterator[tuple[str, AnyIntervention]]:
    """The same of what would make the palette too long a list: it is offered to who types its name.

    What can be done to the datagrams on their way, to single links, and guests' ways from node to node.
    """
    nodes = [node for _, node in sorted(view.nodes.items())]
    yield from _migrations(nodes)
    yield from _wire_commands(view, nodes)


def _command(fault: Fault, node: int, words: str) -> tuple[str, AnyIntervention]:
    default = f" ({fault.default}{' %' if 'percent' in fault.ask else ''})" if fault.ask else ""
    return words + default, fault.make(node, fault.default)


def _pairs(nodes: list[NodeView]) -> list[tuple[NodeView, NodeView]]:
    """Every way from one node to another, none in a cluster where that would be too long a list."""
    pairs = [(source, target) for source in nodes for target in nodes if source is not target]
    return pairs if len(pairs) <= PAIRS_MAX else []


def _migrations(nodes: list[NodeView]) -> Iterator[tuple[str, AnyIntervention]]:
    fault = migration(nodes)
    for node, target in _pairs(nodes):
        typed = f"vmid=100 target={letter(target)}"
        yield f"{fault.label.format(node=letter(node))} ({typed})", fault.make(node.info.nodeid, typed)


def _wire_commands(view: ClusterView, nodes: list[NodeView]) -> Iterator[tuple[str, AnyIntervention]]:
    """What can be done to the datagrams on their way, and to the links."""
    for flight in view.flights.values():
        kind = DATAGRAM_WORDS.get(flight.kind, flight.kind)
        way = f"{kind} {who(view, flight.source)} → {who(view, flight.target)}"
        for fault in datagram_faults(flight):
            yield _command(fault, 0, f"{way}: {fault.label}")
    for one, other in _pairs(nodes):
        way = f"the link {letter(one)} → {letter(other)}"
        for fault in link_faults(one.info.nodeid, other.info.nodeid, way):
            yield _command(fault, 0, fault.label)
