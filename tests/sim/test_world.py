"""Determinism, scenarios as save files, branches, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.sim.runs import SCENARIOS, found, run, run_file, seconds
from totemviz.corosync.conf import parse
from totemviz.corosync.quirks import Quirks
from totemviz.pmxcfs.process import Quirks as PmxcfsQuirks
from totemviz.sim import scenario as scenario_module
from totemviz.sim.doing import DO
from totemviz.sim.interventions import (
    AnyIntervention,
    Cut,
    Delete,
    DropMessage,
    DropToken,
    Heal,
    Intervention,
    Kill,
    Leave,
    Loss,
    MakeDirectory,
    Rename,
    Restart,
    SetDisk,
    Write,
)
from totemviz.sim.scenario import (
    Scenario,
    ScenarioError,
    check,
    cluster_conf,
    dump_scenario,
    load_scenario,
    parse_scenario,
    proxmox_conf,
)
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import MembershipInstalled, RetransmitChecked
from totemviz.trace import events as ev
from totemviz.trace.cursor import Step
from totemviz.trace.timeline import Timeline


def digest_of(name: str, cwd: Path, hash_seed: str) -> str:
    """Digest of a headless run in a process of its own."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "totemviz", "run", str(SCENARIOS / f"{name}.toml"), "--headless", "--json"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=True)
    return str(json.loads(done.stdout)["digest"])


def test_same_run_everywhere(tmp_path: Path) -> None:
    """Same scenario and seed: the same bytes, whatever the hash seed and the working directory."""
    first = digest_of("domino-article", Path.cwd(), "0")
    assert digest_of("domino-article", tmp_path, "4711") == first
    assert run_file("domino-article").timeline.digest() == first


def test_another_seed_is_another_run() -> None:
    loss = Loss(at=seconds(2), percent=5)
    assert run(8, loss, seed=1).timeline.digest() != run(8, loss, seed=2).timeline.digest()


def test_jsonl_round_trip(tmp_path: Path) -> None:
    world = run(3, Write(at=seconds(2), node=1))
    path = tmp_path / "run.jsonl"
    world.timeline.save(path)
    loaded = Timeline.load(path)
    assert list(loaded) == list(world.timeline)
    assert loaded.digest() == world.timeline.digest()


def test_causes_lie_before_their_effects() -> None:
    world = run_file("kill-restart")
    assert all(event.cause < event.id for event in world.timeline)
    times = [event.time_ns for event in world.timeline]
    assert times == sorted(times)


def test_trees_are_equal_after_writes_a_crash_and_a_rejoin() -> None:
    world = run(
        40,
        Write(at=seconds(3), node=1, path="a-{n}.cfg", count=5, every=seconds(0.1)),
        Kill(at=seconds(5), node=3),
        Write(at=seconds(15), node=2, path="b-{n}.cfg", count=5, every=seconds(0.1)),
        Restart(at=seconds(20), node=3),
        host_model=HostModel.MEASURED,
    )
    trees = [host.pmxcfs.listing() for host in world.hosts.values() if host.pmxcfs is not None]
    assert len(trees) == 3
    assert trees[0] == trees[1] == trees[2]
    assert {"a-5.cfg", "b-5.cfg"} <= {file.path for file in trees[0]}
    for host in world.hosts.values():
        assert host.pmxcfs is not None
        assert host.pmxcfs.read("b-3.cfg") == b"cores: 2\nmemory: 2048\n"


def test_no_write_without_quorum() -> None:
    world = run(
        40,
        Cut(at=seconds(5), nodes=(3,)),
        Write(at=seconds(20), node=3, path="minority.cfg"),
        Write(at=seconds(20), node=1, path="majority.cfg"),
        Heal(at=seconds(25)),
        host_model=HostModel.MEASURED,
    )
    results = {event.node: body.result for event, body in found(world.timeline, ev.WriteFinished)}
    assert results == {3: -13, 1: 22}
    for host in world.hosts.values():
        assert host.pmxcfs is not None
        paths = {file.path for file in host.pmxcfs.listing()}
        assert "majority.cfg" in paths
        assert "minority.cfg" not in paths


def test_folders_renames_and_deletions_reach_every_node() -> None:
    world = run(
        10,
        Write(at=seconds(3), node=1, path="qemu-server/100.conf"),
        MakeDirectory(at=seconds(4), node=2, path="notes"),
        Rename(at=seconds(5), node=3, path="nodes/pve1/qemu-server/100.conf", to="local/qemu-server/100.conf"),
        Write(at=seconds(6), node=1, path="notes/old.txt"),
        Delete(at=seconds(7), node=2, path="notes/old.txt"),
        Delete(at=seconds(8), node=1, path="nodes/pve3"),
    )
    results = [body.result for _, body in found(world.timeline, ev.WriteFinished)]
    assert results == [22, 0, 0, 22, 0, -39], "a folder that is not empty stays"
    for host in world.hosts.values():
        assert host.pmxcfs is not None
        paths = {file.path for file in host.pmxcfs.listing()}
        assert {"notes", "nodes/pve3/qemu-server/100.conf"} <= paths
        assert not {"notes/old.txt", "nodes/pve1/qemu-server/100.conf"} & paths


def test_clean_leave_needs_no_timeout() -> None:
    world = run(10, Leave(at=seconds(5), node=2), host_model=HostModel.MEASURED)
    rings = found(world.timeline, MembershipInstalled, after_s=5)
    assert {body.members for _, body in rings} == {(1, 3)}
    assert all(event.time_ns < 5.05e9 and body.unannounced == () for event, body in rings)


def test_dropped_token_costs_one_retransmit_timeout() -> None:
    # in a ring that turns freely; a held token's retransmit timer has already run for the hold time
    write = Write(at=seconds(5), node=1, path="x.cfg", content="")
    world = run(12, write, DropToken(at=seconds(5.001)), host_model=HostModel.MEASURED)
    assert found(world.timeline, MembershipInstalled, after_s=5) == []
    ((drop, body),) = found(world.timeline, ev.DatagramDropped, after_s=5)
    assert body.why == "dropped by hand"
    arrival = next(
        event.time_ns
        for event, received in found(world.timeline, ev.DatagramReceived, node=body.target)
        if received.kind == "orf_token" and event.time_ns > drop.time_ns
    )
    assert (arrival - drop.time_ns) / 1e6 == pytest.approx(869, abs=1)


def test_dropped_message_is_requested_on_the_fifth_visit() -> None:
    world = run(
        12,
        DropMessage(at=seconds(5), target=3),
        Write(at=seconds(5.5), node=1, path="x.cfg"),
        host_model=HostModel.MEASURED,
    )
    checks = [body for event, body in found(world.timeline, RetransmitChecked, node=3, after_s=5.5)]
    holes = [body.missing for body in checks if body.missing]
    assert [visits for ((_, visits), *_) in holes[:4]] == [1, 2, 3, 4]
    requests = [body.requested for body in checks if body.requested]
    assert requests[0] == (holes[0][0][0],)
    hosts = [host.pmxcfs for host in world.hosts.values()]
    assert all(pmxcfs is not None and pmxcfs.read("x.cfg") for pmxcfs in hosts)


@pytest.mark.parametrize("percent", [2, 10])
def test_loss_delays_but_does_not_diverge(percent: float) -> None:
    world = run(
        60,
        Loss(at=seconds(2), percent=percent),
        Write(at=seconds(3), node=1, path="l-{n}.cfg", count=10, every=seconds(0.2)),
        Write(at=seconds(3), node=2, path="m-{n}.cfg", count=10, every=seconds(0.2)),
        Loss(at=seconds(40), percent=0),
        host_model=HostModel.MEASURED,
    )
    trees = [host.pmxcfs.listing() for host in world.hosts.values() if host.pmxcfs is not None]
    assert trees[0] == trees[1] == trees[2]


# ------------------------------------------------------------------------------------------------------------ scenarios


def test_every_intervention_can_be_written_down_and_done() -> None:
    bases = [Intervention]
    kinds = set()
    while bases:
        for kind in bases.pop().__subclasses__():
            (bases.append if kind.__subclasses__() else kinds.add)(kind)
    assert set(get_args(AnyIntervention)) == kinds == set(DO)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for kind in kinds:
        assert f"`{kind.__struct_config__.tag}`" in readme, "the README's table of actions lacks one"


def test_every_scenario_survives_being_written_and_read() -> None:
    for path in sorted(SCENARIOS.glob("*.toml")):
        scenario, _ = load_scenario(path)
        assert parse_scenario(dump_scenario(scenario), "again") == scenario


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("title = 'x'\nseed = one\n", 2, "mend the TOML"),
        ("seed = 1\nhost_model = 'fast'\n", 2, "'fast'"),
        ("[cluster]\nnodes = 3\nnode = 4\n", 3, "node"),
        ("stop_after = '30 seconds'\n", 1, "e.g. 250ms"),
        ("stop_after = 30\n", 1, "needs a unit"),
        ("[disks]\ndefault = 'nvme'\n3 = 'floppy'\n", 3, "use one of nvme"),
        ("[disks]\n9 = 'nvme'\n", 2, "there is no node 9"),
        (
            "[[interventions]]\naction = 'kill'\nnode = 1\n\n[[interventions]]\nat = '2s'\naction = 'kill'\nnode = 7\n",
            8,
            "no node 7",
        ),
        ("[[interventions]]\naction = 'explode'\nnode = 1\n", 2, "explode"),
        ("[[interventions]]\nat = '1s'\naction = 'kill'\n", 1, "node"),
        ("[[interventions]]\naction = 'kill'\nnode = 1\nprocess = 'nginx'\n", 4, "corosync or pmxcfs"),
        ("[cluster]\nnodes = 0\n", 2, "1 to 64"),
        ("[cluster.totem]\ntoken = 5\n", 2, "token"),
        ("[cluster]\nconf = 'missing.conf'\n", 2, "missing.conf"),
        ("stop_on = 'doomsday'\n", 1, "doomsday"),
        ("[[interventions]]\naction = 'loss'\npercent = 120.0\n", 3, "0 to 100"),
    ],
)
def test_bad_scenarios_get_one_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:{line}: "), message
    assert words in message


def test_built_in_cluster_is_proxmox_form() -> None:
    conf = parse(proxmox_conf(3, {}), "corosync.conf")
    assert (conf.totem.token_ms, conf.totem.consensus_ms, conf.totem.hold_ms) == (3650, 4380, 685)
    check(Scenario(), conf, "test")


# ------------------------------------------------------------------------------------------------------------ sessions


def simulation(**changes: object) -> Simulation:
    scenario = Scenario(host_model=HostModel.MEASURED, **changes)  # type: ignore[arg-type]
    return Simulation(scenario, cluster_conf(scenario, "test", Path()))


def test_saved_run_is_the_same_run() -> None:
    session = simulation()
    for _ in range(40):
        session.forward(Step.HOP)
    session.intervene(Write(node=2))
    for _ in range(30):
        session.forward(Step.STAGE)
    session.intervene(Kill(node=3))
    session.intervene(SetDisk(node=1, profile="usb-stick"))
    for _ in range(3):
        session.forward(Step.MEMBERSHIP)
    saved = parse_scenario(dump_scenario(session.saved()), "saved")
    again = World(saved, session.conf)
    while len(again.timeline) < len(session.timeline):
        assert again.step()
    assert list(again.timeline)[: len(session.timeline)] == list(session.timeline)


def test_changing_the_past_keeps_the_past() -> None:
    session = simulation()
    for _ in range(200):
        session.forward(Step.EVENT)
    session.intervene(Write(node=1))
    for _ in range(500):
        session.forward(Step.EVENT)
    session.cursor.move_to(300)
    past = [session.timeline[i] for i in range(301)]
    session.intervene(Kill(node=2))
    assert [session.timeline[i] for i in range(301)] == past
    kinds = [body.action for _, body in found(session.timeline, ev.Intervened)]
    assert kinds == ["write", "kill"]


def test_back_and_forth_gives_the_same_view() -> None:
    session = simulation()
    session.intervene(Write(node=1, at=seconds(0)))
    session.advance(6_000_000_000)
    session.cursor.move_to(len(session.timeline) - 1)
    end = session.cursor.position
    wanted = {}
    for position in range(0, end, max(1, end // 40)):
        session.cursor.move_to(position)
        wanted[position] = repr(session.cursor.view.nodes), repr(session.cursor.view.writes), session.cursor.view.token
    for position in reversed(wanted):
        session.cursor.move_to(position)
        view = session.cursor.view
        assert (repr(view.nodes), repr(view.writes), view.token) == wanted[position]


def test_a_rotation_at_the_end_of_the_timeline_is_one_rotation() -> None:
    session = simulation()
    session.advance(5_000_000_000)
    session.forward(Step.HOP)
    before, node = session.cursor.view.time_ns, session.cursor.view.visit.node  # type: ignore[union-attr]
    assert session.forward(Step.ROTATION)
    assert session.cursor.view.visit is not None
    assert session.cursor.view.visit.node == node
    assert session.cursor.view.time_ns - before < 700_000_000


def test_time_passes_between_events_in_the_past_too() -> None:
    session = simulation()
    session.advance(10_000_000_000)
    session.cursor.seek_time(5_000_000_000)
    began = session.cursor_time_ns
    for _ in range(1000):
        session.advance(1_000_000)
    assert session.cursor_time_ns - began == 1_000_000_000


def test_other_host_model_has_the_same_interventions() -> None:
    session = simulation()
    session.advance(3_000_000_000)
    session.intervene(Write(node=1))
    other = session.with_host_model(HostModel.ARTICLE)
    other.advance(5_000_000_000)
    assert other.scenario.host_model is HostModel.ARTICLE
    assert len(found(other.timeline, ev.WriteFinished)) == 1


def test_impossible_intervention_is_explained() -> None:
    with pytest.raises(ValueError, match="there is no node 9; the cluster has 1, 2, 3"):
        simulation().intervene(Kill(node=9))


def test_interventions_are_remembered_with_their_place() -> None:
    session = simulation()
    session.forward(Step.HOP)
    session.intervene(Kill(node=3))
    (done,) = session.saved().interventions
    assert done.after_event >= 0
    assert msgspec.structs.asdict(done)["node"] == 3


def test_the_scenario_of_the_documentation_can_be_read_and_names_every_quirk() -> None:
    text = scenario_module.__doc__
    assert text is not None
    toml = text.partition("```toml\n")[2].partition("```")[0].replace('database = "config.db"', "")
    read = parse_scenario(toml, "documentation")
    assert read.quirks == Quirks()
    for quirks in (Quirks, PmxcfsQuirks):
        for name in quirks.__struct_fields__:
            assert f"\n{name} = true" in toml, name
