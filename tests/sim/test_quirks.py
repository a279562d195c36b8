"""Quirks of the daemons that show only in a whole cluster, from both sides."""

from __future__ import annotations

import pytest

from tests.sim.runs import run, seconds
from totemviz.corosync.quirks import Quirks
from totemviz.sim.interventions import Cut, Heal, PowerCut, Restart
from totemviz.sim.threads import HostModel
from totemviz.trace.checks import check, unexpected


@pytest.mark.parametrize("faithful", [True, False])
def test_a_power_cut_makes_a_node_use_a_ring_id_again(faithful: bool) -> None:
    """Nobody synced the ring-id file: cut off from the others, the node numbers its own ring as it did before."""
    world = run(
        10,
        Cut(at=seconds(0), nodes=(3,)),
        Heal(at=seconds(1)),
        Cut(at=seconds(2), nodes=(3,)),
        PowerCut(at=seconds(2.1), node=3),
        Restart(at=seconds(2.5), node=3),
        host_model=HostModel.MEASURED,
        quirks=Quirks(ring_id_not_synced=faithful),
    )
    violations = check(world.timeline, end_ns=world.now_ns)
    assert bool([violation for violation in violations if violation.invariant == 13]) is faithful
    assert unexpected(violations) == []
