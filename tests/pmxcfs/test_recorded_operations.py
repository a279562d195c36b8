"""The same operations and the same databases through the real memdb.c and database.c (pve-cluster 9.1.6) and ours.

Recorded by calling the C functions in a scratch program, with paths as any CPG message may bring them: the answer and
the index after each call, and from time to time what a process finds that starts on a copy of config.db. The
databases are random trees with damaged rows.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from random import Random

from totemviz.pmxcfs.ascii import to_ascii
from totemviz.pmxcfs.database import Database, DatabaseError, LoadError
from totemviz.pmxcfs.guests import DuplicateVmidError
from totemviz.pmxcfs.index import tree_checksum
from totemviz.pmxcfs.memdb import Memdb, Outcome
from totemviz.sim.disk import Disk
from totemviz.sim.profiles import PROFILES

DATA = Path(__file__).parent / "data"
T = 1_700_000_000
CONFIG_DB = "config.db"
ANY_SCHEMA = "CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, parent, version, writer, mtime, type, name, data)"
INSERT = "INSERT INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ASSERTION = "assertion 'subdir->type == DT_DIR' failed"
"""GLib's words, which are not in the recorded log."""


def recorded(name: str) -> list:
    with gzip.open(DATA / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def disk_with(files: dict[str, bytes] | None = None) -> Disk:
    return Disk(PROFILES["nvme"], Random(0), files)


def opened(disk: Disk) -> Database:
    return Database(lambda: disk.connect(CONFIG_DB), disk.drain_io)


def found(disk: Disk) -> tuple[str, list[str]]:
    """What a pmxcfs that starts on this disk finds: the checksum of its tree, or none, and its log lines."""
    try:
        memdb = Memdb(opened(disk).open(T)[0])
    except (DatabaseError, DuplicateVmidError) as error:
        texts = error.texts if isinstance(error, DuplicateVmidError) else [str(error)]
        lines = [to_ascii(text, quote=False) for text in texts if ASSERTION not in text]
        return "", [*lines, "DB load failed"] if isinstance(error, LoadError) else lines
    finally:
        disk.close()
    return tree_checksum(memdb.entries).hex(), []


def operate(memdb: Memdb, operation: str, path: str, writer: int, mtime: int, more: list) -> Outcome:
    if operation == "rename":
        return memdb.rename(path, more[0], writer, mtime)
    if operation == "write":
        data = base64.b64decode(more[0]) if isinstance(more[0], str) else b"z" * more[0]
        return memdb.write(path, data, writer, mtime, offset=more[1], truncate=bool(more[2]))
    return getattr(memdb, operation)(path, writer, mtime)


def test_operations_have_the_real_results_and_leave_the_real_tree():
    disk = disk_with()
    database = opened(disk)
    memdb = Memdb(database.open(T)[0])
    results, restarts = Counter(), Counter()
    for number, record in enumerate(recorded("operations.jsonl.gz")):
        if isinstance(record, dict):
            assert memdb.checksum().hex() == record["memory"]
            copy = disk_with({name: disk.read_file(name) for name in (CONFIG_DB, f"{CONFIG_DB}-wal")})
            assert found(copy) == (record["checksum"], record["log"]), number
            restarts[bool(record["checksum"])] += 1
            continue
        operation, path, writer, mtime, result, index, *more = record
        outcome = operate(memdb, operation, path, writer, mtime, more)
        assert outcome.result == result, (number, record)
        assert hashlib.sha256(memdb.index()).hexdigest()[:8] == index, (number, record)
        if outcome.change is not None:
            database.write(outcome.change)
        results[operation, result < 0] += 1
    disk.close()
    assert min(results.values()) > 30
    assert len(results) == 12
    assert len(restarts) == 2


def value(cell: object) -> object:
    """A cell of a recorded row: numbers and None as they are, T… a text and B… a blob, byte by byte."""
    if not isinstance(cell, str):
        return cell
    raw = cell[1:].encode("latin1")
    return raw if cell[0] == "B" else raw.decode(errors="surrogateescape")


def test_databases_are_taken_or_refused_as_the_real_one_does():
    lines = Counter()
    for number, record in enumerate(recorded("databases.jsonl.gz")):
        disk = disk_with()
        connection = disk.connect(CONFIG_DB)
        connection.execute(ANY_SCHEMA)
        connection.executemany(INSERT, [[value(cell) for cell in row] for row in record["rows"]])
        connection.close()
        assert found(disk) == (record["checksum"], record["log"]), number
        lines[record["log"][0].partition("(")[0] if record["log"] else ""] += 1
    assert lines[""] > 100
    assert len(lines) > 8
