"""Runs of our own as a capture would show them, exported: row by row the database that the run left on its disk.

The lab's recordings tell few stories; these tell the ones in which an export could go wrong. Every node begins with an
empty disk, as in the lab, so that nothing of a tree lies before the capture.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sim.runs import run, seconds
from tests.trace.pcaps import export
from tests.trace.test_recorded_pmxcfs import replayed, rows
from totemviz.corosync.conf import dump
from totemviz.sim.interventions import (
    CreateGuest,
    Cut,
    Delete,
    Duplicate,
    ExpectedVotes,
    Heal,
    Intervention,
    Kill,
    Leave,
    Loss,
    MakeDirectory,
    MigrateGuest,
    Pause,
    PowerCut,
    Restart,
    Write,
)
from totemviz.sim.scenario import ClusterSpec
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.threads import HostModel

DEEP = os.environ.get("TOTEMVIZ_SEARCH") == "deep"
FOLDERS = ("priv", "priv/lock", "nodes", *(f"nodes/pve{n}{part}" for n in (2, 4) for part in ("", "/qemu-server")))


def at(time_s: float) -> dict[str, object]:
    return {"at": seconds(time_s)}


def writes(node: int, time_s: float, path: str, count: int, every_s: float) -> Write:
    return Write(**at(time_s), node=node, path=path + "-{n}", count=count, every=seconds(every_s), replace=True)


Story = tuple[float, int, tuple[Intervention, ...]]
STORIES: dict[str, Story] = {
    "daemons die and come back one by one": (
        70,
        3,
        (
            writes(1, 4, "a", 30, 1.7),
            Kill(**at(8), node=2, process="pmxcfs"),
            Restart(**at(12), node=2),
            Leave(**at(20), node=3),
            Restart(**at(25), node=3),
            Kill(**at(40), node=1, process="corosync"),
            Restart(**at(45), node=1),
            Write(**at(60), node=2, path="late"),
        ),
    ),
    "a node writes alone, forced to quorum, and leads": (
        60,
        3,
        (
            Write(**at(4), node=1, path="a"),
            Cut(**at(6), nodes=(1,)),
            Cut(**at(6.5), nodes=(2,)),
            ExpectedVotes(**at(20), node=1, votes=1),
            writes(1, 22, "solo", 4, 0.5),
            Kill(**at(26), node=1, process="pmxcfs"),
            Restart(**at(28), node=1),
            Write(**at(38), node=1, path="again"),
            Heal(**at(42)),
            Write(**at(55), node=3, path="end"),
        ),
    ),
    "five nodes split and merge, guests move": (
        45,
        5,
        (
            Cut(**at(6), nodes=(2, 5)),
            ExpectedVotes(**at(20), node=5, votes=2),
            writes(5, 22, "m", 3, 0.4),
            Write(**at(22), node=3, path="j"),
            Heal(**at(26)),
            *(MakeDirectory(**at(32 + i / 10), node=4, path=path) for i, path in enumerate(FOLDERS)),
            CreateGuest(**at(33), node=4, storage="s"),
            MigrateGuest(**at(35), node=4, target=2),
        ),
    ),
    "large files": (
        40,
        3,
        (
            Write(**at(4), node=1, path="big", content="y" * 1_000_000),
            Cut(**at(8), nodes=(3,)),
            Write(**at(18), node=1, path="big2", content="z" * 1_048_576),
            Heal(**at(22)),
            MakeDirectory(**at(30), node=2, path="déjà"),
        ),
    ),
    "a kill, a delete": (
        60,
        3,
        (
            writes(1, 4, "a", 9, 0.3),
            Kill(**at(8), node=3),
            Write(**at(20), node=1, path="b"),
            Restart(**at(25), node=3),
            Delete(**at(52), node=2, path="b"),
        ),
    ),
    "loss, duplicates, a stopped daemon": (
        40,
        3,
        (
            Duplicate(**at(1), percent=20.0),
            Loss(**at(3), percent=8.0),
            writes(3, 4, "x", 12, 0.7),
            Pause(**at(12), node=1, duration=seconds(9)),
        ),
    ),
    "a power cut that loses writes": (
        60,
        3,
        (
            writes(1, 5, "a", 20, 0.1),
            PowerCut(**at(8), node=2),
            Write(**at(20), node=3, path="z"),
            Restart(**at(25), node=2),
        ),
    ),
}
QUICK = ("daemons die and come back one by one", "a node writes alone, forced to quorum, and leads")


@pytest.mark.parametrize("story", [story for story in STORIES if DEEP or story in QUICK])
def test_an_export_is_what_the_run_left(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until_s, nodes, interventions = STORIES[story]
    monkeypatch.setattr("totemviz.sim.world.seed_database", lambda conf, epoch_s: b"")
    world = run(until_s, *interventions, host_model=HostModel.MEASURED, cluster=ClusterSpec(nodes=nodes))
    conf = dump(world.conf).encode()
    for node, host in world.hosts.items():
        real, exported = tmp_path / f"real-{node}.db", tmp_path / f"exported-{node}.db"
        real.write_bytes(host.disk.export(CONFIG_DB))
        result = replayed(export(world.timeline, node, tmp_path / "capture.pcap"), node, exported, conf)
        assert rows(exported) == rows(real), f"node {node}"
        assert result.undetermined == ()
