"""Counters that begin near their end, and a run that is stopped because time does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from totemviz.cli import cli
from totemviz.cli.common import BadInput
from totemviz.sim import world as world_module
from totemviz.sim.scenario import (
    ClusterSpec,
    NetworkSpec,
    Scenario,
    ScenarioError,
    StartSpec,
    cluster_conf,
    dump_scenario,
    parse_scenario,
)
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.totem.effects import MembershipInstalled, MessageOrdered, TokenPassed
from totemviz.trace.checks import check

S = 1_000_000_000


def run(scenario: Scenario, seconds: float) -> World:
    world = World(scenario, cluster_conf(scenario, "test", Path()))
    world.run_until(int(seconds * S))
    return world


@pytest.mark.parametrize(
    ("message_seq", "token_seq", "ring_seq"),
    [(2**32 - 12, 2**32 - 100, 2**32 - 9), (2**31 - 12, 2**31 - 100, 0), (0xFFFF - 12, 0xFFFF - 100, 2**48)],
)
def test_a_cluster_whose_numbers_wrap(message_seq: int, token_seq: int, ring_seq: int) -> None:
    start = StartSpec(pmxcfs_after=Duration(S // 2), ring_seq=ring_seq, message_seq=message_seq, token_seq=token_seq)
    world = run(Scenario(start=start), 4)
    assert check(world.timeline, end_ns=world.now_ns) == []
    events = [(event.node, event.body) for event in world.timeline]
    rings = [body.ring_id for node, body in events if isinstance(body, MembershipInstalled) and node == 1]
    steps = [ring_id.seq - ring_seq for ring_id in rings]
    assert steps == [5 + 4 * number for number in range(len(steps))]
    ordered = [body.seq for _, body in events if isinstance(body, MessageOrdered)]
    assert ordered[0] == message_seq + 1
    past_the_end = [seq for seq in ordered if 0 < (seq - message_seq - 13) % 2**32 < 2**16]
    assert len(past_the_end) > 10
    tokens = [body.token_seq for _, body in events if isinstance(body, TokenPassed)]
    assert any(0 < (seq - token_seq - 101) % 2**32 < 2**16 for seq in tokens)


def test_a_scenario_file_says_where_counters_begin() -> None:
    scenario = Scenario(start=StartSpec(message_seq=7, token_seq=8, ring_seq=9))
    assert parse_scenario(dump_scenario(scenario), "again.toml") == scenario
    conf = cluster_conf(scenario, "test", Path())
    assert (conf.totem.seqno_start_msg, conf.totem.seqno_start_token) == (7, 8)
    with pytest.raises(ScenarioError, match=r"bad\.toml:2: Expected `int` <= 4294967295"):
        parse_scenario("[start]\nmessage_seq = 4294967296\n", "bad.toml")


def test_a_storm_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight nodes that boot at once on a network without delay do more than 2000 things in no time."""
    monkeypatch.setattr(world_module, "STORM_EVENTS", 2000)
    network = NetworkSpec(delay=Duration(0))
    scenario = Scenario(cluster=ClusterSpec(nodes=8), start=StartSpec(stagger=Duration(0)), network=network)
    world = run(scenario, 5)
    assert world.stopped
    assert world.storm.startswith("2000 events within one millisecond, at 0.10")
    assert not world.step()


def test_a_storm_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(world_module, "STORM_EVENTS", 20)
    file = tmp_path / "boot.toml"
    file.write_text(dump_scenario(Scenario()))
    result = CliRunner().invoke(cli, ["run", str(file), "--headless"])
    assert isinstance(result.exception, BadInput)
    assert "\n" not in str(result.exception)
