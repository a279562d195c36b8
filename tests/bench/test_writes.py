"""How many changes of /etc/pve a cluster applies per second, and what SQLite pays for its virtual disk.

``pytest tests/bench --benchmark-only`` measures; in ordinary runs each is only executed once. ``changes_per_second``
counts replicated operations (a file written by a shell's echo is two), each ordered by the ring and applied, with its
transaction, on all three nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from tests.sim.runs import seconds
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.memdb import Memdb
from totemviz.sim.disk import Disk
from totemviz.sim.interventions import Write
from totemviz.sim.profiles import PROFILES
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.trace.timeline import NoTimeline, Timeline

WRITES = 300
CHANGES_PER_WRITE = 2
FILES = 40
BEGIN_S, EVERY_S = 2.0, 0.0005
TRANSACTIONS = 500
EPOCH_S = 1_700_000_000


@pytest.mark.parametrize("kind", [Timeline, NoTimeline])
def test_applied_changes(benchmark: Any, kind: type[Timeline]) -> None:
    writes = tuple(
        Write(at=seconds(BEGIN_S + EVERY_S * number), node=number % 3 + 1, path=f"f{number % FILES}", content="x" * 300)
        for number in range(WRITES)
    )
    scenario = Scenario(host_model=HostModel.MEASURED, interventions=writes)

    def booted() -> tuple[tuple[World], dict[str, Any]]:
        world = World(scenario, cluster_conf(scenario, "benchmark", Path()), kind())
        world.run_until(seconds(BEGIN_S) - 1)
        return (world,), {}

    def apply(world: World) -> World:
        world.run_until(seconds(BEGIN_S + EVERY_S * WRITES + 0.5))
        return world

    world = benchmark.pedantic(apply, setup=booted, rounds=5, iterations=1)
    versions = {host.pmxcfs.version for host in world.hosts.values() if host.pmxcfs is not None}
    assert len(versions) == 1
    if benchmark.stats is not None:
        rate = WRITES * CHANGES_PER_WRITE / benchmark.stats.stats.median
        benchmark.extra_info["changes_per_second"] = round(rate)


def in_memory() -> Database:
    """SQLite on its own memory: no file system at all, and no write-ahead log, which it does not offer there."""

    return _Plain(lambda: apsw.Connection(":memory:"), list)


class _Plain(Database):
    """The database without asking for a write-ahead log."""

    def open(self, wall_s: int) -> Any:
        from totemviz.pmxcfs import database

        self._connection = self._connect()
        self._connection.execute(database._SCHEMA)
        return {}, True


def on_a_disk() -> Database:
    """SQLite on a virtual disk."""
    disk = Disk(PROFILES["nvme"], Random(0))
    return Database(lambda: disk.connect(CONFIG_DB), disk.drain_io)


@pytest.mark.parametrize("kind", [in_memory, on_a_disk])
def test_transactions(benchmark: Any, kind: Callable[[], Database]) -> None:
    """The same transactions pmxcfs makes: what the virtual file system costs is the ratio of the two rows."""

    def opened() -> tuple[tuple[Database, list[Any]], dict[str, Any]]:
        database = kind()
        database.open(EPOCH_S)
        scratch = Disk(PROFILES["nvme"], Random(0))
        entries, _ = Database(lambda: scratch.connect(CONFIG_DB), scratch.drain_io).open(EPOCH_S)
        tree = Memdb(entries)
        changes = [tree.create(f"f{number}", 1, EPOCH_S).change for number in range(FILES)]
        changes += [
            tree.write(f"f{number % FILES}", b"x" * 300, 1, EPOCH_S, truncate=True).change
            for number in range(TRANSACTIONS - FILES)
        ]
        scratch.close()
        return (database, changes), {}

    def commit(database: Database, changes: list[Any]) -> int:
        for change in changes:
            database.write(change)
            database.drain_io()
        return len(changes)

    assert benchmark.pedantic(commit, setup=opened, rounds=5, iterations=1) == TRANSACTIONS
    if benchmark.stats is not None:
        rate = TRANSACTIONS / benchmark.stats.stats.median
        benchmark.extra_info["transactions_per_second"] = round(rate)
