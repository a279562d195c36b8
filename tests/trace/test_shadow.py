"""Our machine in the place of recorded nodes: small recordings here, all of them if they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from totemviz.sim.interventions import Kill, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.totem import token
from totemviz.trace.recorded import load_recording
from totemviz.trace.shadow import ShadowResult, owner, shadow
from totemviz.trace.shadow_record import NothingToShadow

DATA = Path(__file__).parent / "data"
TRACES = Path(__file__).parents[3] / "shared" / "traces"


def shadowed(path: Path) -> ShadowResult:
    timeline = load_recording([path]).timeline
    return shadow(timeline, owner(timeline))


@pytest.mark.parametrize("name", ["coldboot-pve1", "coldboot-pve2", "coldboot-pve3", "kill-pve1"])
def test_every_datagram_of_a_recorded_node(name: str) -> None:
    result = shadowed(DATA / f"{name}.pcap.gz")
    assert result.outbound > 50
    assert result.mismatches == []
    assert result.matched == result.outbound


def test_knet_from_a_ring_that_was_not_seen() -> None:
    result = shadowed(DATA / "coldboot-knet-pve2.pcap.gz")
    assert result.outbound > 100
    assert result.matched >= result.outbound - 2


def test_a_wrong_machine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shadowing that cannot fail would prove nothing: a machine that never holds the token differs."""
    original = token._detect_idle

    def never_idle(node: object, received: object) -> None:
        original(node, received)  # type: ignore[arg-type]
        node.seq_unchanged = 0  # type: ignore[attr-defined]

    monkeypatch.setattr(token, "_detect_idle", never_idle)
    result = shadowed(DATA / "coldboot-pve1.pcap.gz")
    assert result.matched < result.outbound


@pytest.mark.parametrize("nodeid", [1, 2])
def test_a_simulated_node_is_its_own_shadow(nodeid: int) -> None:
    interventions = (
        Write(at=Duration(3 * 10**9), node=2, path="x-{n}.cfg", count=5, every=Duration(2 * 10**8)),
        Kill(at=Duration(6 * 10**9), node=3),
    )
    scenario = Scenario(host_model=HostModel.MEASURED, interventions=interventions)
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    world.run_until(20 * 10**9)
    result = shadow(world.timeline, nodeid, world.conf.totem)
    assert result.outbound > 300
    assert result.matched / result.outbound > 0.99


def test_a_recording_without_a_start_says_so() -> None:
    timeline = load_recording([DATA / "coldboot-pve1.pcap.gz"]).timeline
    with pytest.raises(NothingToShadow, match="begin the capture before corosync"):
        shadow(timeline, 7)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the large recordings are not beside the repository")
def test_all_recordings() -> None:
    """At least 99 % of all datagrams; every commit token; joins and merge detects but for a few that lost a race."""
    outbound = matched = 0
    for path in sorted(TRACES.glob("*/pve*.pcap*")):
        result = shadowed(path)
        outbound += result.outbound
        matched += result.matched
        assert result.matched / result.outbound > 0.97, path
    assert outbound > 100_000
    assert matched / outbound > 0.999
