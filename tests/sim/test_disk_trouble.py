"""Whole clusters on disks that are full, broken, stuck, slow, busy, or lie; and what the kernel writes out."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from tests.sim.runs import found, run, seconds
from tests.sim.test_export import tree_rows
from totemviz.corosync.effects import DaemonExited
from totemviz.pmxcfs.effects import ChangeCommitted, DfsmModeChanged
from totemviz.sim.interventions import (
    AnyIntervention,
    DiskFault,
    Kill,
    LoadDisk,
    MendDisk,
    Pause,
    PowerCut,
    Restart,
    StallDisk,
    Write,
)
from totemviz.sim.possible import check_intervention
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import Log, MembershipInstalled
from totemviz.trace.events import (
    DiskWrittenBack,
    FsyncFinished,
    FsyncStarted,
    ProcessBlocked,
    ProcessKilled,
    ProcessResumed,
    RingIdStored,
    WriteFinished,
)

MEASURED, ARTICLE = HostModel.MEASURED, HostModel.ARTICLE


def fault(kind: str, at_s: float = 2, node: int = 3, factor: int = 10) -> DiskFault:
    return DiskFault(at=seconds(at_s), node=node, fault=kind, factor=factor)


def in_use() -> Write:
    """The first change syncs the header of a fresh log; this one does it early."""
    return Write(at=seconds(1.6), node=1, path="first")


def texts(world: World, node: int, after_s: float = 2) -> list[str]:
    return [body.text for _, body in found(world.timeline, Log, node, after_s)]


def results(world: World) -> list[int]:
    return [body.result for _, body in found(world.timeline, WriteFinished)]


@pytest.mark.parametrize("kind", ["full", "io_error"])
def test_a_node_whose_database_fails_leaves_the_group_and_the_others_go_on(kind: str) -> None:
    """Sheet §3.5: EIO for the life of the process, out of dcdb, not restartable; a new process is the cure."""
    world = run(
        30,
        fault(kind),
        Write(at=seconds(3), node=1, path="one"),
        Write(at=seconds(4), node=3, path="two"),
        MendDisk(at=seconds(10), node=3),
        Write(at=seconds(11), node=3, path="three"),
        Kill(at=seconds(15), node=3, process="pmxcfs"),
        Restart(at=seconds(16), node=3),
        Write(at=seconds(25), node=3, path="four"),
        host_model=MEASURED,
    )
    assert "serious internal error - stop cluster connection" in texts(world, 3)
    modes = [(body.machine, body.mode) for _, body in found(world.timeline, DfsmModeChanged, 3, after_s=2)]
    assert modes[0] == ("dcdb", "ERROR")
    by_write = results(world)
    assert by_write[0] >= 0, "node 1 does not notice"
    assert by_write[-1] >= 0, "the new process works"
    assert by_write[2:3] != [0] and [result for result in by_write if result < 0]
    assert tree_rows(world, 1) == tree_rows(world, 2) == tree_rows(world, 3)
    names = {row[6] for row in tree_rows(world, 1)}
    assert "one" in names and "four" in names and "three" not in names


@pytest.mark.parametrize(("kind", "line", "number"), [("full", 718, errno.ENOSPC), ("io_error", 707, errno.EIO)])
def test_corosync_gives_up_when_its_ring_id_cannot_be_stored(kind: str, line: int, number: int) -> None:
    """Nothing happens before the next membership: that is when the file is written."""
    setup: list[AnyIntervention] = [fault(kind, at_s=0.01 if kind == "full" else 2), Kill(at=seconds(3), node=2)]
    world = run(25, *setup, host_model=MEASURED)
    exits = found(world.timeline, DaemonExited, 3)
    assert len(exits) == 1
    event, _ = exits[0]
    said = texts(world, 3, after_s=0)
    assert any(text.startswith("Couldn't store new ring id ") and text.endswith(f"({number})") for text in said)
    assert f"Corosync Cluster Engine exiting with status 21 at main.c:{line}." in said
    later = [other for other, _ in found(world.timeline, RingIdStored, 3) if other.id > event.id]
    assert later == [] and world.hosts[3].daemon is None
    assert [body.members for _, body in found(world.timeline, MembershipInstalled, 1)][-1] == (1,)


def test_a_stuck_sync_never_ends_until_the_disk_is_mended() -> None:
    world = run(
        60,
        fault("stuck"),
        *(Write(at=seconds(3 + index / 4), node=1, path=f"f{index}") for index in range(3)),
        MendDisk(at=seconds(50), node=3),
        host_model=ARTICLE,
    )
    (began, _), *_ = found(world.timeline, FsyncStarted, 3, after_s=2)
    finished = [
        (event, body) for event, body in found(world.timeline, FsyncFinished, 3) if event.time_ns > began.time_ns
    ]
    assert finished[0][0].time_ns > seconds(50)
    assert finished[0][1].took_ns == finished[0][0].time_ns - began.time_ns
    assert (1, 2) in {body.members for _, body in found(world.timeline, MembershipInstalled, 1, after_s=2)}
    assert tree_rows(world, 1) == tree_rows(world, 3), "it came back and caught up"


def test_a_stuck_disk_harms_nobody_in_the_measured_model_while_the_membership_is_stable() -> None:
    world = run(20, in_use(), fault("stuck"), Write(at=seconds(3), node=1), host_model=MEASURED)
    assert not found(world.timeline, MembershipInstalled, after_s=2)
    assert not found(world.timeline, ProcessBlocked, after_s=2)


def test_a_signal_does_not_wake_a_process_that_waits_in_the_kernel() -> None:
    world = run(
        12,
        StallDisk(at=seconds(2), node=3, duration=seconds(6)),
        Write(at=seconds(2.1), node=1),
        Pause(at=seconds(3), node=3, duration=seconds(1)),
        host_model=ARTICLE,
    )
    resumed = [event.time_ns for event, _ in found(world.timeline, ProcessResumed, 3, after_s=2.05)]
    assert resumed[0] >= seconds(8)


@pytest.mark.parametrize("model", list(HostModel))
def test_not_even_sigkill_ends_a_wait_for_the_disk(model: HostModel) -> None:
    world = run(
        20,
        StallDisk(at=seconds(2), node=3, duration=seconds(6)),
        Write(at=seconds(2.1), node=1),
        Kill(at=seconds(3), node=3, process="pmxcfs"),
        Restart(at=seconds(9), node=3),
        host_model=model,
    )
    died = [event.time_ns for event, body in found(world.timeline, ProcessKilled, 3) if body.process == "pmxcfs"]
    assert len(died) == 1
    assert died[0] >= seconds(8)
    assert tree_rows(world, 1) == tree_rows(world, 3), "and its successor catches up"
    assert world.hosts[3].daemon is not None, "corosync goes on, whichever thread it is on"


def test_slow_is_a_factor() -> None:
    def took(*trouble: DiskFault) -> list[int]:
        world = run(3, *trouble, Write(at=seconds(2), node=1), host_model=ARTICLE)
        return [body.took_ns for _, body in found(world.timeline, FsyncFinished, 3, after_s=2)]

    plain, slowed = took(), took(fault("slow", at_s=1.9, factor=7))
    assert slowed[0] == 7 * plain[0]


def test_a_lying_disk_is_fast_and_forgets() -> None:
    """The same cut, the same commits: an honest disk in the article's model keeps what it acknowledged."""

    def after_the_cut(*trouble: DiskFault) -> tuple[int, int]:
        script = [Write(at=seconds(2 + index / 10), node=1, path=f"f{index}") for index in range(5)]
        world = run(3, *trouble, *script, host_model=ARTICLE)
        committed = found(world.timeline, ChangeCommitted, 3)[-1][1].version
        world.intervene(PowerCut(node=3))
        path = world.hosts[3].disk.export("config.db")
        return committed, _version(path)

    honest, liar = after_the_cut(), after_the_cut(fault("lies", at_s=0.5))
    assert honest[0] == honest[1]
    assert liar[0] == honest[0] and liar[1] < liar[0]


def _version(database: bytes) -> int:
    """The tree's version. An exported database asks for a write-ahead log, which SQLite does not do in memory."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(database[:18] + b"\1\1" + database[20:])
    return int(connection.execute("SELECT version FROM tree WHERE inode = 0").fetchone()[0])


def test_the_kernel_writes_out_what_was_dirty_for_thirty_seconds() -> None:
    """So a power cut of all nodes forgets at most the last 35 s, though nothing was ever synced."""
    world = run(
        40.5,
        in_use(),
        Write(at=seconds(2), node=1, path="old"),
        Write(at=seconds(39), node=1, path="young"),
        host_model=MEASURED,
    )
    written = found(world.timeline, DiskWrittenBack, 3)
    assert [event.time_ns for event, _ in written] == [seconds(35)]
    assert written[0][1].files[0] in ("ringid_3", "config.db-wal", "config.db")
    assert not found(world.timeline, FsyncStarted, 3, after_s=2)
    for node in (1, 2, 3):
        world.intervene(PowerCut(node=node))
    for node in (1, 2, 3):
        world.intervene(Restart(node=node))
    world.run_until(seconds(50))
    names = {row[6] for row in tree_rows(world, 1)}
    assert "old" in names and "young" not in names


# ------------------------------------------------------------------------------------------------------------ queue


def syncs_ms(load: LoadDisk | None, disk: str = "sata-ssd") -> list[float]:
    script = [Write(at=seconds(2 + index / 2), node=1, path=f"f{index}") for index in range(20)]
    world = run(40, *script, *([load] if load else []), host_model=ARTICLE, disks={"default": "ssd-plp", "3": disk})
    return [body.took_ns / 1e6 for _, body in found(world.timeline, FsyncFinished, 3, after_s=1.9)]


def test_load_of_others_lengthens_every_sync_and_ends() -> None:
    idle = syncs_ms(None)
    half = syncs_ms(LoadDisk(at=seconds(1.9), node=3, kind="vm-io", percent=50, duration=seconds(30)))
    full = syncs_ms(LoadDisk(at=seconds(1.9), node=3, kind="vm-io", percent=100, duration=seconds(1)))
    assert sum(half) / len(half) > 1.3 * sum(idle) / len(idle)
    assert full[0] > 128 * 1.8, "a full queue: 128 requests of the guests come first"
    assert full[-1] < 50
    backup = syncs_ms(LoadDisk(at=seconds(1.9), node=3, kind="backup", percent=100, duration=seconds(1)))
    assert backup[0] > 128 * 3.4, "1 MiB pieces at 300 MB/s"


def test_the_ring_id_file_waits_in_the_same_queue() -> None:
    """No sync of pmxcfs anywhere: only the new membership makes corosync touch the disk."""
    load = LoadDisk(at=seconds(2), node=3, kind="backup", percent=120, duration=seconds(30))
    world = run(20, load, Kill(at=seconds(3), node=2), host_model=MEASURED, disks={"default": "nvme", "3": "hdd-2.5"})
    blocked = found(world.timeline, ProcessBlocked, 3, after_s=2)
    assert blocked[0][1].processes == ("corosync",)
    assert blocked[0][1].why == "writing the ring-id file: the disk's queue is full"
    assert not found(world.timeline, ProcessBlocked, 1, after_s=2)


def test_pmxcfs_and_corosync_stand_in_one_queue() -> None:
    """A sync that stands in the queue is served before the ring-id file that came later."""
    script = [
        Write(at=seconds(2), node=1, path="f"),
        LoadDisk(at=seconds(1.9), node=3, kind="vm-io", percent=100, duration=seconds(60)),
    ]
    world = World(*_made(ARTICLE, script))
    world.run_until(seconds(2.5))
    device = world.hosts[3].disk.device
    first, second = device.serve_ns(seconds(2.5), 0), device.serve_ns(seconds(2.5), 0)
    assert first is not None and second is not None and second > first >= 128 * 800_000


def _made(model: HostModel, script: list[AnyIntervention]) -> tuple[Scenario, object]:
    scenario = Scenario(host_model=model, interventions=tuple(script))
    return scenario, cluster_conf(scenario, "test", Path())  # type: ignore[return-value]


def test_a_freeze_stops_the_whole_host() -> None:
    load = LoadDisk(at=seconds(2), node=3, freeze=seconds(3), duration=seconds(4))
    world = run(8, load, host_model=MEASURED)
    blocked = found(world.timeline, ProcessBlocked, 3, after_s=2)
    assert [body.processes for _, body in blocked] == [("corosync",), ("pmxcfs",)]
    assert any("was not scheduled" in text for text in texts(world, 3))


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (LoadDisk(node=1, kind="tape"), "kind"),
        (LoadDisk(node=1, percent=0), "percent"),
        (DiskFault(node=1, fault="melted"), "fault"),
        (DiskFault(node=1, fault="slow", factor=0), "factor"),
        (MendDisk(node=7), "node"),
    ],
)
def test_what_cannot_be_done_is_said(action: AnyIntervention, field: str) -> None:
    problem = check_intervention(action, cluster_conf(Scenario(), "case", Path()))
    assert problem is not None and problem[0] == field
