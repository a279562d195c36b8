"""Our machine in the place of recorded nodes: small recordings here, all of them if they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from totemviz.totem import token
from totemviz.totem.instance import Instance
from totemviz.totem.wire import Token
from totemviz.trace.recorded import load_recording
from totemviz.trace.shadow import ShadowResult, owner, shadow
from totemviz.trace.shadow_record import NothingToShadow

DATA = Path(__file__).parent / "data"
TRACES = Path(__file__).parents[3] / "shared" / "traces"


def shadowed(path: Path) -> ShadowResult:
    timeline = load_recording([path]).timeline
    return shadow(timeline, owner(timeline))


@pytest.mark.parametrize("name", ["coldboot-pve1", "coldboot-pve2", "coldboot-pve3"])
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
