"""What /etc/pve holds before the story begins: the tree of a small cluster that has been running for a while.

It is built by the same tree and the same database code that run later, once per run, and every disk starts with a copy.
A scenario may name a config.db instead, of a real node or of an earlier run; then that is what every disk starts with.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from random import Random

from totemviz.corosync.conf import CorosyncConf, dump
from totemviz.pmxcfs.database import Database, DatabaseError
from totemviz.pmxcfs.guests import DuplicateVmidError
from totemviz.pmxcfs.memdb import Memdb
from totemviz.sim.disk import Disk
from totemviz.sim.profiles import PROFILES

CONFIG_DB = "config.db"
SEED_WRITER = 1
"""Node id stamped on the first entries."""

STORAGE_CFG = b"dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup\n"
DATACENTER_CFG = b"keyboard: en-us\n"


def seed_database(conf: CorosyncConf, epoch_s: int) -> bytes:
    """A complete config.db for the nodes of ``conf``, files dated ``epoch_s``."""
    disk = Disk(PROFILES["nvme"], Random(0))
    database = Database(lambda: disk.connect(CONFIG_DB), disk.drain_io)
    entries, _ = database.open(epoch_s)
    tree = Memdb(entries)
    folders = ["nodes", "priv", "priv/lock", "ha", "virtual-guest"]
    for node in conf.nodes:
        home = f"nodes/{node.name}"
        folders += [home, f"{home}/qemu-server", f"{home}/lxc", f"{home}/priv"]
    files = {
        "corosync.conf": dump(conf).encode(),
        "storage.cfg": STORAGE_CFG,
        "datacenter.cfg": DATACENTER_CFG,
        "user.cfg": b"user:root@pam:1:0:::root@example.com:::\n",
    }
    outcomes = [tree.mkdir(folder, SEED_WRITER, epoch_s) for folder in folders]
    changes = [outcome.change for outcome in outcomes]
    for path, content in files.items():
        changes.append(tree.create(path, SEED_WRITER, epoch_s).change)
        changes.append(tree.write(path, content, SEED_WRITER, epoch_s).change)
    for change in changes:
        assert change is not None
        database.write(change)
    database.close()
    for io in disk.drain_io():
        disk.complete(io)
    content = disk.read_file(CONFIG_DB)
    disk.close()
    return content


class DatabaseFileError(ValueError):
    """A config.db no pmxcfs would start with: one line that names the file and the mend."""


@lru_cache
def load_database(path: Path) -> bytes:
    """A config.db from outside as one complete file, a write-ahead log that lies beside it (``-wal``) folded in.

    It is loaded as pmxcfs loads it, and refused where pmxcfs would not start. Read once per process: a branch of a run
    begins with what the run began with. Raises DatabaseFileError.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        files = {CONFIG_DB: path.read_bytes()}
        if log.exists():
            files[f"{CONFIG_DB}-wal"] = log.read_bytes()
    except OSError as error:
        raise DatabaseFileError(f"cannot read {error.filename}: {error.strerror}; name a copy of config.db") from None
    disk = Disk(PROFILES["nvme"], Random(0), files)
    try:
        _load_as_pmxcfs_does(disk)
        return disk.export(CONFIG_DB)
    except (DatabaseError, DuplicateVmidError) as error:
        mend = "give a copy of /var/lib/pve-cluster/config.db, with its -wal beside it if pmxcfs was running"
        raise DatabaseFileError(f"{path} is no config.db that pmxcfs would start with ({error}); {mend}") from None
    finally:
        disk.close()


def _load_as_pmxcfs_does(disk: Disk) -> None:
    """Raises DatabaseError or DuplicateVmidError."""
    database = Database(lambda: disk.connect(CONFIG_DB), disk.drain_io)
    entries, fresh = database.open(0)
    if fresh:
        raise DatabaseError("no tree in it")
    Memdb(entries)
    database.close()
    for io in disk.drain_io():
        disk.complete(io)
