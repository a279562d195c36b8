"""Cut the power at every single I/O operation, and look at what is left.

`Ledger` replays the operations of one run of a database and tells, after each of them, which transactions are promised
to survive. `fork_at_every_cut` does the same to a node of a running cluster: the run is made once, and at every
operation that would leave another image a child process is forked, in which the power fails right there, in the middle
of the handler. A fork costs little, and the child is the very cluster at that moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec

from tests.sim.runs import seconds
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.effects import DiskIo
from totemviz.pmxcfs.index import ROOT_INODE
from totemviz.pmxcfs.memdb import Memdb
from totemviz.sim.disk import Disk
from totemviz.sim.host import Host
from totemviz.sim.interventions import Restart, Write
from totemviz.sim.profiles import PROFILES
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, Scenario, cluster_conf
from totemviz.sim.seed import CONFIG_DB, seed_database
from totemviz.sim.threads import HostModel
from totemviz.sim.units import US, Duration
from totemviz.sim.vfs import Files
from totemviz.sim.world import World
from totemviz.trace.timeline import NoTimeline

WAL = f"{CONFIG_DB}-wal"
WRITES = 200
FIRST_S, EVERY_S = 1.6, 0.004
VICTIM = 3
BACK_AFTER_S = 0.3
LIMIT_S = 30.0


def digest(files: Files) -> bytes:
    """The same for the same names and contents."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(files):
        state.update(f"{name} {len(files[name])} ".encode())
        state.update(bytes(files[name]))
    return state.digest()


def cluster(model: HostModel, torn: bool, writes: int = WRITES) -> World:
    """Three nodes, ``writes`` files written by node 1; the token is short so that a death is soon noticed.

    The network is ten times slower than usual: the disk is asked for the same, with a tenth of the token's hops.
    """
    scenario = Scenario(
        host_model=model,
        cluster=ClusterSpec(totem={"token": 400}),
        disks={"default": "nvme" if torn else "ssd-plp"},
        network=NetworkSpec(delay=Duration(500 * US)),
        interventions=(
            Write(
                at=seconds(FIRST_S), node=1, path="files-{n}", content="x" * 1500, count=writes, every=seconds(EVERY_S)
            ),
        ),
    )
    return World(scenario, cluster_conf(scenario, "test", Path()), NoTimeline())


# --------------------------------------------------------------------------------------------------- one disk alone


class Cut(msgspec.Struct):
    """The power fails after ``done`` operations: what is left, and the versions it may hold."""

    done: int
    files: Files
    promised: int
    committed: int


class Ledger:
    """200 files created and written through pmxcfs' own tree and database, operation by operation."""

    def __init__(self, synchronous: Any, torn: bool, writes: int = WRITES) -> None:
        scenario = Scenario()
        conf = cluster_conf(scenario, "test", Path())
        profile = PROFILES["nvme" if torn else "ssd-plp"]
        self.torn = torn
        self.disk = Disk(profile, Random(1), {CONFIG_DB: seed_database(conf, 1_700_000_000)})
        database = Database(lambda: self.disk.connect(CONFIG_DB), self.disk.drain_io, synchronous)
        entries, _ = database.open(1_700_000_000)
        tree = Memdb(entries)
        self.first_version = entries[ROOT_INODE].version
        self.operations: list[DiskIo] = list(self.disk.drain_io())
        self.opened = len(self.operations)
        self.commit_ends: list[tuple[int, int]] = []  # (operations until then, version)
        for number in range(1, writes + 1):
            for outcome in (
                tree.create(f"files-{number}", 1, 1_700_000_000),
                tree.write(f"files-{number}", b"x" * 1500, 1, 1_700_000_000),
            ):
                assert outcome.change is not None
                database.write(outcome.change)
                self.operations += self.disk.drain_io()
                self.commit_ends.append((len(self.operations), outcome.change.root.version))

    def cuts(self, every: int = 1) -> Iterator[Cut]:
        """Every so-manieth cut, oldest first. The files are fresh copies.

        Promised is what was committed when the latest completed sync of the log was issued: SQLite appends all frames
        of a commit before it syncs them.
        """
        committed = promised = self.first_version
        ends = iter(self.commit_ends)
        end = next(ends)
        for done, io in enumerate(self.operations, start=1):
            self.disk.complete(io)
            appended = end[1] if io == DiskIo("sync", WAL, 0, 0) and self._all_frames_before(done, end) else committed
            if io.op == "sync" and io.file == WAL:
                promised = max(promised, appended)
            if done == end[0]:
                committed = end[1]
                end = next(ends, (1 << 62, committed))
            if done > self.opened and done % every == 0:
                yield Cut(done, self.disk.surviving(Random(f"cut/{done}") if self.torn else None), promised, committed)

    def _all_frames_before(self, done: int, end: tuple[int, int]) -> bool:
        """Whether the commit under way writes nothing more to the log after operation ``done``."""
        return not any(io.op == "write" and io.file == WAL for io in self.operations[done : end[0]])


def version_and_files(files: Files) -> tuple[int, list[int]]:
    """Open the database as a restarted pmxcfs does and check it. Raises if it does not open.

    The tree's version, and the sizes of the files that were written, in the order in which they were created.
    """
    disk = Disk(PROFILES["nvme"], Random(0), files)
    connections: list[apsw.Connection] = []

    def connect() -> apsw.Connection:
        connections.append(disk.connect(CONFIG_DB))
        return connections[-1]

    entries, fresh = Database(connect, disk.drain_io).open(1_700_000_000)
    assert not fresh
    assert connections[0].pragma("integrity_check") == "ok"
    disk.close()
    written = [(entry.inode, entry.size) for entry in entries.values() if entry.name.startswith("files-")]
    return entries[ROOT_INODE].version, [size for _, size in sorted(written)]


# ------------------------------------------------------------------------------------------------- a whole cluster


class _PowerFails(BaseException):
    """Unwinds a child to where it goes on without its power."""


class Counts(msgspec.Struct):
    """What came of it: operations seen, distinct images, clusters that came together again, complaints."""

    operations: int = 0
    images: int = 0
    converged: int = 0
    behind: int = 0
    """Nodes that came back with an older tree than the others had."""
    failures: list[str] = []


def fork_at_every_cut(model: HostModel, torn: bool, *, writes: int = WRITES, every: int = 1) -> Counts:
    """Run a cluster once; a child for every distinct image that a cut of node 3 leaves (every so-manieth only)."""
    counts = Counts()
    seen: set[bytes] = set()
    world = cluster(model, torn, writes)
    world.run_until(seconds(FIRST_S) - 1)
    host = world.hosts[VICTIM]
    complete = host.disk.complete
    child: list[int] = []

    def completed(io: DiskIo, now_ns: int = 0) -> None:
        complete(io, now_ns)
        counts.operations += 1
        if counts.operations % every:
            return
        seed = f"cut/{counts.operations}"
        image = digest(host.disk.surviving(Random(seed) if torn else None))
        if image in seen:
            return
        seen.add(image)
        counts.images += 1
        answer = _fork()
        if answer is None:
            child.append(counts.operations)
            raise _PowerFails
        _count(counts, answer, f"{model} {seed}")

    host.disk.complete = completed  # type: ignore[method-assign]
    try:
        world.run_until(seconds(FIRST_S + writes * EVERY_S + 0.1))
    except _PowerFails:
        _live_on(world, host, Random(f"cut/{child[0]}") if torn else None, writes)
    return counts


def _fork() -> dict[str, Any] | None:
    """None in the child; in the parent what the child said, once it is over."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner, which no child needs
        pid = os.fork()
    if pid == 0:
        os.close(read)
        os.dup2(write, _ANSWER_FD)
        return None
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else {"failure": "the child died"}


_ANSWER_FD = 201


def _live_on(world: World, host: Host, rng: Random | None, writes: int) -> None:
    """The child: power off, power on, and until all three have the same tree. It says so and ends."""
    answer: dict[str, Any] = {}
    try:
        host.power_cut(rng, -1)
        world.run_until(world.now_ns + seconds(BACK_AFTER_S))
        world.intervene(Restart(node=VICTIM))
        answer = _converge(world, writes)
    except BaseException as error:
        answer = {"failure": repr(error)}
    os.write(_ANSWER_FD, json.dumps(answer).encode())
    os._exit(0)


def _converge(world: World, writes: int) -> dict[str, Any]:
    limit_ns = world.now_ns + seconds(LIMIT_S)
    last_write_ns = seconds(FIRST_S + writes * EVERY_S + 0.1)
    behind = None
    while world.now_ns < limit_ns:
        world.run_until(world.now_ns + seconds(0.2))
        processes = [world.hosts[node].pmxcfs for node in (1, 2, VICTIM)]
        if None in processes:
            continue
        trees = [process.memdb for process in processes if process is not None]
        if behind is None:
            behind = trees[2].version < trees[0].version
        synced = all(process.dcdb.mode.name == "SYNCED" for process in processes if process is not None)
        if world.now_ns > last_write_ns and synced and trees[0].index() == trees[1].index() == trees[2].index():
            files = sum(entry.name.startswith("files-") for entry in trees[2].entries.values())
            contents = [entry.data for entry in trees[2].entries.values() if entry.name.startswith("files-")]
            if files != writes or any(content != b"x" * 1500 for content in contents):
                return {"failure": f"{files} files of {writes}"}
            return {"behind": behind}
    modes = [process.dcdb.mode.name if process else "-" for process in processes]
    return {"failure": f"not together after {LIMIT_S:g} s: {modes}"}


def _count(counts: Counts, answer: dict[str, Any], what: str) -> None:
    if failure := answer.get("failure"):
        counts.failures.append(f"{what}: {failure}")
    else:
        counts.converged += 1
        counts.behind += bool(answer["behind"])
