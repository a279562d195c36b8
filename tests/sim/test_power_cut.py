"""A host loses power anywhere in a run of 200 writes: its database opens, and the cluster becomes one again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.sim.runs import found, seconds
from tests.sim.test_export import rows, tree_rows
from totemviz.pmxcfs.effects import ChangeCommitted
from totemviz.sim.interventions import Pause, PowerCut, Restart, Write
from totemviz.sim.scenario import ClusterSpec, Scenario, cluster_conf
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.trace.events import DatagramSent, ProcessKilled, ProcessStarted, RingIdStored

WRITES = 200
FIRST_S = 1.6
EVERY_S = 0.004
VICTIM = 3
POINTS = 2


def world_of(model: HostModel, disk: str = "ssd-plp") -> World:
    """Three nodes, 200 files written by node 1; the token is short so that a death is soon noticed."""
    scenario = Scenario(
        host_model=model,
        cluster=ClusterSpec(totem={"token": 400}),
        disks={"default": disk},
        interventions=(
            Write(
                at=seconds(FIRST_S), node=1, path="files-{n}", content="x" * 1500, count=WRITES, every=seconds(EVERY_S)
            ),
        ),
    )
    return World(scenario, cluster_conf(scenario, "test", Path()))


def stored_version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT version FROM tree WHERE inode = 0").fetchone()[0])


@pytest.mark.parametrize("point", range(POINTS))
@pytest.mark.parametrize("torn", [False, True], ids=["kept", "torn"])
@pytest.mark.parametrize("model", list(HostModel))
def test_the_database_opens_and_the_cluster_converges(model: HostModel, torn: bool, point: int, tmp_path: Path) -> None:
    world = world_of(model, "nvme" if torn else "ssd-plp")
    # 137 us: the points must not all fall on the same phase of a write
    phase = 4 * point + 2 * torn + (model is HostModel.ARTICLE)
    at_s = FIRST_S + (phase + 0.5) * WRITES * EVERY_S / (4 * POINTS) + phase * 0.000137
    world.run_until(int(seconds(at_s)))
    committed = [body.version for _, body in found(world.timeline, ChangeCommitted, VICTIM)]
    world.intervene(PowerCut(node=VICTIM, torn=torn))
    cut = len(world.timeline)
    left = tmp_path / "left.db"
    left.write_bytes(world.hosts[VICTIM].disk.export(CONFIG_DB))
    version = stored_version(left)
    assert committed
    if model is HostModel.ARTICLE:
        assert version >= committed[-1]  # synchronous=FULL: what was committed is durable
    else:
        assert version <= committed[-1] + 1
    world.run_until(int(seconds(at_s + 0.3)))
    world.intervene(Restart(node=VICTIM))
    world.run_until(int(seconds(at_s + 7)))
    trees = [tree_rows(world, node) for node in (1, 2, 3)]
    assert trees[0] == trees[1] == trees[2]
    assert sum(row[6].startswith("files-") for row in trees[0]) == WRITES
    # a commit of a synchronisation leaves type 4 in the version row (sheet §3.2)
    exported = tmp_path / "after.db"
    exported.write_bytes(world.hosts[VICTIM].disk.export(CONFIG_DB))
    assert rows(exported)[1:] == trees[0][1:]
    said = [event for event, _ in found(world.timeline, DatagramSent, VICTIM) if event.id > cut]
    assert said[0].time_ns >= seconds(at_s + 0.3)


def test_nothing_outlives_the_power() -> None:
    """Not a paused process, not a start that was on its way, not the ring-id file nobody synced."""
    world = world_of(HostModel.MEASURED)
    world.run_until(int(seconds(0.5)))  # corosync runs, pmxcfs is to start at 1 s
    world.intervene(Pause(node=VICTIM, duration=seconds(5)))
    world.intervene(PowerCut(node=VICTIM))
    assert [body.process for _, body in found(world.timeline, ProcessKilled, VICTIM)] == ["corosync"]
    world.run_until(int(seconds(2)))
    host = world.hosts[VICTIM]
    assert (host.daemon, host.pmxcfs) == (None, None)
    with pytest.raises(FileNotFoundError):
        host.disk.read_file(f"ringid_{VICTIM}")
    world.intervene(Restart(node=VICTIM))
    world.run_until(int(seconds(5)))
    started = [body.process for _, body in found(world.timeline, ProcessStarted, VICTIM)]
    assert started == ["corosync", "corosync", "pmxcfs"]
    assert found(world.timeline, RingIdStored, VICTIM, after_s=2)
    assert tree_rows(world, VICTIM) == tree_rows(world, 1)


def test_a_cut_in_the_middle_of_a_stalled_sync_is_over_with_the_boot() -> None:
    world = world_of(HostModel.ARTICLE)
    world.run_until(int(seconds(FIRST_S + 0.1)))
    world.hosts[VICTIM].storage.stall(int(seconds(30)), -1)
    world.run_until(int(seconds(FIRST_S + 0.2)))
    assert all(thread.blocked for thread in world.hosts[VICTIM].processes.threads.values())
    world.intervene(PowerCut(node=VICTIM))
    world.hosts[VICTIM].disk.stall(0)  # another drive
    world.intervene(Restart(node=VICTIM))
    world.run_until(int(seconds(FIRST_S + 8)))
    assert tree_rows(world, VICTIM) == tree_rows(world, 1)
    assert sum(row[6].startswith("files-") for row in tree_rows(world, 1)) == WRITES
