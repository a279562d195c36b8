"""The services' quirks: what the real daemon does, and what it does not do once the flaw is mended."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.corosync.bus import Bus
from totemviz.corosync.conf import load
from totemviz.corosync.effects import ConfchgReason, CpgConfchg, CpgError, CpgMember
from totemviz.corosync.quirks import Quirks
from totemviz.corosync.sync import SyncState
from totemviz.corosync.wire import CPG

LAB = load(Path(__file__).parent / "data" / "lab-3-nodes-udpu.conf")
GROUP = "pve_dcdb_v1\0"


def bus_with(quirks: Quirks) -> Bus:
    return Bus(msgspec.structs.replace(LAB, quirks=quirks))


def join(bus: Bus, node: int) -> None:
    error, outputs = bus.daemons[node].cpg_join(0, 1, 100 * node, GROUP)
    assert error is CpgError.OK
    bus.outputs[node].extend(outputs)


def members(bus: Bus, node: int) -> list[tuple[int, int]]:
    return [(process.nodeid, process.pid) for process in bus.daemons[node].cpg.processes]


def hop_until_only(bus: Bus, first: int, *others: int) -> None:
    """Turn the token until ``first`` has queued its lists for CPG's sync and the others have yet to."""
    order = (others[1], first, others[0]) if len(others) > 1 else (first, *others)
    for node in order * 4:
        bus.hop(node)
        syncs = [bus.daemons[one].sync for one in (first, *others)]
        at_cpg = {sync._service_ids[sync._index] for sync in syncs if sync._index < len(sync._service_ids)} == {CPG}
        if at_cpg and [sync.state for sync in syncs] == [SyncState.BARRIER, *[SyncState.PROCESS] * len(others)]:
            return
    raise AssertionError("CPG's turn never comes")


@pytest.mark.parametrize("faithful", [True, False])
def test_joinlists_of_a_ring_that_breaks_at_cpg_s_barrier(faithful: bool) -> None:
    """Node 3 has sent its joinlist to a ring that breaks before node 2 has sent its barrier: it was never a member."""
    bus = bus_with(Quirks(barrier_abort_keeps_joinlists=faithful))
    bus.settle(1, 2)
    join(bus, 1)
    bus.rotate(1, 2)
    bus.settle(3)
    join(bus, 3)
    bus.rotate(3)
    bus.form(1, 2, 3)
    hop_until_only(bus, 3, 1, 2)
    bus.hop(3)
    bus.hop(1)  # of node 2 nothing has come
    assert bus.daemons[1].sync.state is SyncState.BARRIER
    bus.forget()
    bus.settle(1, 2)
    assert members(bus, 1) == ([(1, 100), (3, 300)] if faithful else [(1, 100)])
    told = [event for event in bus.of(1, CpgConfchg) if isinstance(event, CpgConfchg)]
    assert [event.joined for event in told] == ([(CpgMember(3, 300, ConfchgReason.NODEUP),)] if faithful else [])
    bus.settle(1, 2)  # the next sync misses it in the joinlists
    assert members(bus, 1) == [(1, 100)]


@pytest.mark.parametrize("faithful", [True, False])
def test_a_leave_between_joinlist_and_the_end_of_sync(faithful: bool) -> None:
    bus = bus_with(Quirks(join_list_outlives_leave=faithful))
    bus.settle(1, 2)
    join(bus, 1)
    join(bus, 2)
    bus.rotate(1, 2)
    bus.form(1, 2)
    hop_until_only(bus, 2, 1)
    bus.hop(2)
    _, outputs = bus.daemons[2].cpg_disconnect(0, 1)
    bus.outputs[2].extend(outputs)
    bus.hop(2)
    assert members(bus, 1) == members(bus, 2) == [(1, 100)]
    bus.hop(1)
    bus.rotate(1, 2)
    assert members(bus, 1) == ([(1, 100), (2, 200)] if faithful else [(1, 100)])
    assert members(bus, 2) == [(1, 100)]
    bus.settle(1, 2)
    assert members(bus, 1) == [(1, 100)]
