"""How many changes of /etc/pve a cluster applies per second, and what SQLite pays for its virtual disk.

``pytest tests/bench --benchmark-only`` measures, per second of the processor's time; in ordinary runs each is only
executed once, and briefly. A *write* is a file written as a shell does it. It is two *operations* (truncate or create,
then write), each ordered by the ring and applied, with its transaction, on all three nodes.
"""

from __future__ import annotations

import cProfile
import pstats
import time
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
from totemviz.sim.profiles import PROFILES
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.trace import events as ev
from totemviz.trace.timeline import NoTimeline, Timeline

WRITES = 1500
OPERATIONS_PER_WRITE = 2
FILES = 40
BOOT_S = 2.0
TRANSACTIONS = 500
EPOCH_S = 1_700_000_000
CONTENT = b"x" * 300


class Writers:
    """One program on each node that writes one file after the other, as a shell's echo does, until all are written.

    Each begins its next write when the last one has returned: the cluster is as busy as its writers can make it, and
    the ring never idles.
    """

    def __init__(self, timeline: Timeline) -> None:
        scenario = Scenario(host_model=HostModel.MEASURED)
        self.world = World(scenario, cluster_conf(scenario, "benchmark", Path()), timeline)
        self.world.run_until(seconds(BOOT_S))
        self._begun = self._done = 0

    def run(self, writes: int) -> None:
        """Write so many files, until the last writer has its answer."""
        self._begun = self._done = 0
        for node in self.world.nodeids:
            self._next(node, writes)
        while self._done < writes:
            self.world.step()

    def _next(self, node: int, writes: int) -> None:
        def then(result: int, event: int) -> None:
            assert result == len(CONTENT)
            self._done += 1
            if self._begun < writes:
                self._next(node, writes)

        self._begun += 1
        self.world.clients.write(node, f"f{node}-{self._begun % FILES}", CONTENT, ev.NO_CAUSE, then=then)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", [Timeline, NoTimeline])
def test_applied_writes(benchmark: Any, kind: type[Timeline], request: pytest.FixtureRequest) -> None:
    writes = WRITES if request.config.getoption("--benchmark-only") else FILES

    def booted() -> tuple[tuple[Writers], dict[str, Any]]:
        return (Writers(kind()),), {}

    def run(writers: Writers) -> Writers:
        writers.run(writes)
        return writers

    writers = benchmark.pedantic(run, setup=booted, rounds=7, iterations=1)
    writers.world.run_until(writers.world.now_ns + seconds(0.001))  # the last change is applied everywhere
    versions = {host.pmxcfs.version for host in writers.world.hosts.values() if host.pmxcfs is not None}
    assert len(versions) == 1
    if benchmark.stats is not None:
        stats = benchmark.stats.stats
        benchmark.extra_info["writes_per_second"] = round(writes / stats.median)
        benchmark.extra_info["operations_per_second"] = round(OPERATIONS_PER_WRITE * writes / stats.median)
        benchmark.extra_info["operations_per_second_at_best"] = round(OPERATIONS_PER_WRITE * writes / stats.min)


def test_calls_per_operation() -> None:
    """1570 calls when this was written, on all three nodes together, SQLite's into the virtual disk included."""
    writers = Writers(Timeline())
    writers.run(FILES * 3)  # the files exist
    with cProfile.Profile() as profile:
        writers.run(FILES * 3)
    calls = pstats.Stats(profile).total_calls / (FILES * 3 * OPERATIONS_PER_WRITE)
    assert calls < 1700


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
