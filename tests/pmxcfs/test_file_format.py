"""Exported databases are files like those the real program leaves: the same header, schema and pragmas (sheet §3.1)."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from tests.sim.runs import run, seconds
from tests.trace.test_recorded_pmxcfs import CAPTURE, CONF, DATA, replayed
from totemviz.sim.interventions import Write
from totemviz.sim.seed import CONFIG_DB

REAL = DATA / "partition-pmxcfs-pve3.db"
PRAGMAS = ("page_size", "encoding", "user_version", "application_id", "auto_vacuum", "journal_mode", "foreign_keys")


@pytest.fixture(params=["simulated", "replayed"])
def exported(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "config.db"
    if request.param == "replayed":
        replayed(CAPTURE, 3, file, CONF)
    else:
        world = run(8, Write(at=seconds(5), node=2, count=3))
        file.write_bytes(world.hosts[2].disk.export(CONFIG_DB))
    return file


def facts(file: Path) -> dict[str, object]:
    with sqlite3.connect(file) as connection:
        found: dict[str, object] = {name: connection.execute(f"PRAGMA {name}").fetchone() for name in PRAGMAS}
        found["columns"] = connection.execute("PRAGMA table_info(tree)").fetchall()
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        found["schema"] = [(*row[:3], re.sub(r"[\s;]|==?", "", row[3])) for row in schema]
        found["types"] = set(connection.execute("SELECT DISTINCT typeof(name), typeof(mtime), typeof(type) FROM tree"))
        found["version row"] = connection.execute("SELECT parent, name, data FROM tree WHERE inode = 0").fetchall()
    connection.close()
    return found


def test_an_exported_database_is_like_a_real_one(exported: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.db"
    real.write_bytes(REAL.read_bytes())
    header, real_header = exported.read_bytes()[:100], real.read_bytes()[:100]
    assert header[:24] == real_header[:24], "magic, page size, write-ahead log, payload fractions"
    assert not exported.with_name("config.db-wal").exists()
    assert facts(exported) == facts(real)
