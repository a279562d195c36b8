"""config.db leaves and enters the program as a file: another SQLite reads it, and a run can begin with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random

import pytest

from tests.sim.runs import run, seconds
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.index import ROOT_INODE, Entry
from totemviz.sim.disk import Disk
from totemviz.sim.interventions import Write
from totemviz.sim.profiles import PROFILES
from totemviz.sim.scenario import Scenario, ScenarioError, StartSpec, dump_scenario, load_scenario
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.world import World

Row = tuple[int, int, int, int, int, int, str, bytes | None]
COLUMNS = "inode, parent, version, writer, mtime, type, name, data"


def rows(path: Path) -> list[Row]:
    """The table as the standard library's SQLite reads it."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(f"SELECT {COLUMNS} FROM tree ORDER BY inode").fetchall()


def row(entry: Entry) -> Row:
    name, kind = ("__version__", 8) if entry.inode == ROOT_INODE else (entry.name, int(entry.type))
    fields = (entry.inode, entry.parent, entry.version, entry.writer, entry.mtime)
    return (*fields, kind, name, entry.data or None)


def tree_rows(world: World, node: int) -> list[Row]:
    pmxcfs = world.hosts[node].pmxcfs
    assert pmxcfs is not None
    return [row(entry) for _, entry in sorted(pmxcfs.memdb.entries.items())]


def export(world: World, node: int, path: Path) -> Path:
    path.write_bytes(world.hosts[node].disk.export(CONFIG_DB))
    return path


@pytest.fixture(scope="module")
def written() -> World:
    """Three nodes that wrote something."""
    return run(
        4.0, *(Write(at=seconds(2), node=node, path=f"nodes/pve{node}/qemu-server/10{node}.conf") for node in (1, 3))
    )


@pytest.mark.parametrize("node", [1, 2, 3])
def test_an_exported_database_is_the_tree(written: World, node: int, tmp_path: Path) -> None:
    found = rows(export(written, node, tmp_path / "config.db"))
    assert found == tree_rows(written, node)
    assert {"101.conf", "103.conf"} < {line[6] for line in found}


def test_a_scenario_starts_from_an_exported_database(written: World, tmp_path: Path) -> None:
    before = rows(export(written, 2, tmp_path / "config.db"))
    (tmp_path / "again.toml").write_text('[start]\ndatabase = "config.db"\n')
    scenario, conf = load_scenario(tmp_path / "again.toml")
    world = World(scenario, conf)
    world.run_until(int(seconds(3)))
    for node in (1, 2, 3):
        assert tree_rows(world, node) == before
        assert rows(export(world, node, tmp_path / f"{node}.db")) == before


def test_the_log_beside_a_copied_database_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    disk = Disk(PROFILES["nvme"], Random(0))
    database = Database(lambda: disk.connect(CONFIG_DB), disk.drain_io)
    database.open(1)
    connection.execute(
        "CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, parent INTEGER, version INTEGER, writer INTEGER, "
        "mtime INTEGER, type INTEGER, name TEXT, data BLOB)"
    )
    connection.execute("INSERT INTO tree VALUES (0, 0, 9, 2, 77, 8, '__version__', NULL)")
    connection.execute("INSERT INTO tree VALUES (9, 0, 9, 2, 77, 8, 'storage.cfg', x'6162')")
    for suffix in ("", "-wal"):  # a copy of a running node's files: the rows are in the log only
        (tmp_path / f"config.db{suffix}").write_bytes((tmp_path / f"live.db{suffix}").read_bytes())
    connection.close()
    (tmp_path / "live.toml").write_text('[start]\ndatabase = "config.db"\n')
    world = World(*load_scenario(tmp_path / "live.toml"))
    world.run_until(int(seconds(1.5)))
    pmxcfs = world.hosts[3].pmxcfs
    assert pmxcfs is not None
    assert (pmxcfs.version, pmxcfs.read("storage.cfg")) == (9, b"ab")


def test_a_saved_scenario_names_its_database(tmp_path: Path) -> None:
    scenario = Scenario(start=StartSpec(database="config.db"))
    assert 'database = "config.db"' in dump_scenario(scenario)
    assert "database" not in dump_scenario(Scenario())


def no_tree(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (a)")


def orphan(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE tree ({COLUMNS})")
        connection.execute("INSERT INTO tree VALUES (0, 0, 5, 1, 1, 8, '__version__', NULL)")
        connection.execute("INSERT INTO tree VALUES (5, 4, 5, 1, 1, 8, 'lost', NULL)")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot read"),
        (lambda path: path.mkdir(), "cannot read"),
        (lambda path: path.write_bytes(b""), "no tree in it"),
        (lambda path: path.write_bytes(b"token: 3000\n" * 100), "not a database"),
        (no_tree, "no tree in it"),
        (orphan, "missing directory inode"),
    ],
    ids=["missing", "folder", "empty", "text", "other database", "orphan"],
)
def test_a_bad_database_is_one_line_with_the_mend(make: object, words: str, tmp_path: Path) -> None:
    make(tmp_path / "config.db")  # type: ignore[operator]
    (tmp_path / "bad.toml").write_text('seed = 3\n\n[start]\ndatabase = "config.db"\n')
    with pytest.raises(ScenarioError) as refused:
        load_scenario(tmp_path / "bad.toml")
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith(f"{tmp_path}/bad.toml:4: ")
    assert str(tmp_path / "config.db") in text
    assert words in text
