"""Our machine in the place of recorded nodes: small recordings here, all of them if they lie beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.trace.pcaps import export, later_part
from tests.trace.shadowing import DATA, RECORDINGS, TABLE, TRACES, captures, row
from tests.trace.shadowing import shadowed as both_shadowed
from totemviz.corosync.cpg import Cpg
from totemviz.sim import interventions as do
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, Scenario, cluster_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.totem import token
from totemviz.totem.config import TotemConfig, Transport
from totemviz.totem.instance import Instance
from totemviz.totem.wire import Token
from totemviz.trace.recorded import load_recording
from totemviz.trace.shadow import ShadowResult, owner, shadow
from totemviz.trace.shadow_record import NothingToShadow
from totemviz.trace.shadow_services import shadow_services
from totemviz.trace.timeline import Timeline

S = 1_000_000_000


def shadowed(path: Path) -> ShadowResult:
    recording = load_recording([path])
    return shadow(recording.timeline, owner(recording.timeline), None, recording.links)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_datagram_of_a_recorded_node(name: str) -> None:
    """knet's begins with a ring that was not seen, and has data that libknet threw away."""
    result = shadowed(DATA / f"{name}.pcap.gz")
    assert result.outbound > 50
    assert result.mismatches == []
    assert result.matched == result.outbound
    assert result.off_time == result.not_compared == 0


def test_links_that_come_and_go() -> None:
    """knet over a network that loses 15 %: twice both links go down. Some joins differ (see assets/shadowing.md)."""
    result = shadowed(DATA / "loss-knet-pve3.pcap.gz")
    assert {difference.type for difference in result.mismatches} == {"memb_join"}
    assert (result.outbound, result.matched) == (320, pytest.approx(320, abs=3))


@pytest.mark.parametrize(
    ("name", "from_s"), [("coldboot-pve2", 0.5), ("delay-kill-pve1", 2.5), ("coldboot-knet-pve2", 4.0)]
)
def test_a_capture_that_begins_in_mid_life(name: str, from_s: float, tmp_path: Path) -> None:
    result = shadowed(later_part(DATA / f"{name}.pcap.gz", from_s, tmp_path / "late.pcap"))
    assert result.outbound > 20
    assert result.mismatches == []
    assert result.not_compared < result.outbound


def simulated(nodes: int, seconds: float, *interventions: object, loss: float = 0.0) -> Timeline:
    scenario = Scenario(
        host_model=HostModel.MEASURED,
        cluster=ClusterSpec(nodes=nodes),
        network=NetworkSpec(loss_percent=loss, jitter=Duration(20_000)),
        interventions=tuple(interventions),
    )
    conf = cluster_conf(scenario, "test", Path())
    totem = TotemConfig.derive(nodes, transport=Transport.UDPU)
    world = World(scenario, msgspec.structs.replace(conf, transport=Transport.UDPU, totem=totem))
    world.run_until(int(seconds * S))
    return world.timeline


def at(seconds: float) -> Duration:
    return Duration(int(seconds * S))


RUNS = {
    "kill and restart": (3, 12, 0.0, [do.Kill(at=at(2), node=3), do.Restart(at=at(11), node=3)]),
    "pause": (5, 9, 0.0, [do.Pause(at=at(2), node=2, process="corosync", duration=at(3))]),
    "cut and heal": (4, 12, 0.0, [do.Cut(at=at(2), nodes=(3, 4)), do.Heal(at=at(10.5))]),
    "loss": (3, 6, 3.0, [do.Write(at=at(3), node=n, path="f{n}", content="x" * 3000, count=20) for n in (1, 2, 3)]),
}


@pytest.mark.parametrize("name", RUNS)
def test_simulated_nodes_through_capture_files(name: str, tmp_path: Path) -> None:
    """What our own nodes did is explained without a rest, whoever captured it."""
    nodes, seconds, loss, interventions = RUNS[name]
    timeline = simulated(nodes, seconds, *interventions, loss=loss)
    for node in (1, nodes):
        result = shadowed(export(timeline, node, tmp_path / f"pve{node}.pcap"))
        assert result.outbound > 100
        assert result.matched == result.outbound, result.mismatches[:3]


def test_a_wrong_machine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shadowing that cannot fail would prove nothing: a token that carries another fcc differs."""
    original = token._flow_control

    def forgetful(node: Instance, received: Token, sent: int) -> None:
        original(node, received, sent)
        node.trc = 0

    monkeypatch.setattr(token, "_flow_control", forgetful)
    result = shadowed(DATA / "coldboot-pve1.pcap.gz")
    assert result.matched < result.outbound
    assert {difference.field for difference in result.mismatches} >= {"fcc"}


def test_a_machine_with_a_wrong_clock_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A representative that never holds the token sends the right bytes at the wrong time."""
    original = token._detect_idle

    def never_idle(node: Instance, received: Token) -> None:
        original(node, received)
        node.seq_unchanged = 0

    assert shadowed(DATA / "coldboot-pve1.pcap.gz").off_time == 0
    monkeypatch.setattr(token, "_detect_idle", never_idle)
    assert shadowed(DATA / "coldboot-pve1.pcap.gz").off_time > 5


def test_a_recording_that_shows_too_little_says_so() -> None:
    timeline = load_recording([DATA / "coldboot-pve1.pcap.gz"]).timeline
    with pytest.raises(NothingToShadow, match="begin the capture before corosync, or let it run longer"):
        shadow(timeline, 7)


def test_it_tells_how_far_it_is() -> None:
    timeline = simulated(3, 4)
    told: list[tuple[int, int]] = []
    shadow(timeline, 1, progress=lambda now_ns, last_ns: told.append((now_ns, last_ns)))
    assert told
    assert told == sorted(told)
    assert all(now_ns <= last_ns for now_ns, last_ns in told)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_table_is_true(name: str) -> None:
    """assets/shadowing.md, for the recordings that are in the repository; ring and services."""
    ring, services = both_shadowed(DATA / f"{name}.pcap.gz")
    assert services.matched == services.total > 0
    assert services.mismatches == []
    assert row(name, ring, services) in TABLE.read_text().splitlines()


def test_services_of_a_capture_that_begins_in_mid_life(tmp_path: Path) -> None:
    """Its clients are those of the next joinlist; the ring that was up is not compared."""
    timeline = load_recording([later_part(DATA / "delay-kill-pve1.pcap.gz", 2.5, tmp_path / "late.pcap")]).timeline
    result = shadow_services(timeline, 1)
    assert result.matched == result.total > 15
    assert result.not_compared > 15


def test_a_wrong_service_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpg, "sync_init", lambda self, transitional, members, ring_id: None)
    timeline = load_recording([DATA / "delay-kill-pve1.pcap.gz"]).timeline
    result = shadow_services(timeline, 1)
    assert {difference.type for difference in result.mismatches} == {"downlist"}


def test_a_client_that_says_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Cpg.mcast
    monkeypatch.setattr(Cpg, "mcast", lambda self, client, payload: original(self, client, payload[:-1] + b"?"))
    timeline = load_recording([DATA / "delay-kill-pve1.pcap.gz"]).timeline
    assert {difference.type for difference in shadow_services(timeline, 1).mismatches} == {"mcast"}


@pytest.mark.skipif(not TRACES.is_dir(), reason="the large recordings are not beside the repository")
@pytest.mark.skipif(os.environ.get("TOTEMVIZ_SEARCH") != "deep", reason="takes minutes: TOTEMVIZ_SEARCH=deep")
def test_all_recordings() -> None:
    """Every datagram of every node of every recording."""
    results = {name: both_shadowed(path) for name, path in captures().items()}
    assert sum(ring.outbound for ring, _ in results.values()) > 100_000
    assert [name for name, (ring, services) in results.items() if ring.mismatches or services.mismatches] == []
    table = TABLE.read_text().splitlines()
    assert [name for name, both in results.items() if row(name, *both) not in table] == []
