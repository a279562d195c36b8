"""What the command palette offers: every key, every fault on every node, every disk."""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.profiles import PROFILES
from totemviz.trace.view import NodeView
from totemviz.tui.faults import FAULTS
from totemviz.tui.marks import letter


def fault_commands(nodes: list[NodeView]) -> Iterator[tuple[str, AnyIntervention]]:
    """(words, intervention) of everything that can be done to the cluster, with the usual durations."""
    for fault in FAULTS:
        if fault.key == "d":
            continue
        default = f" ({fault.default}{' %' if fault.key == 'o' else ''})" if fault.ask else ""
        if "{node}" not in fault.label:
            yield fault.label + default, fault.make(0, fault.default)
            continue
        for node in nodes:
            label = fault.label.format(node=letter(node))
            yield label + default, fault.make(node.info.nodeid, fault.default)
    for node in nodes:
        for name, profile in PROFILES.items():
            yield f"disk of {letter(node)}: {profile.title}", do.SetDisk(node=node.info.nodeid, profile=name)
