"""Every known fault of pmxcfs (sheet §14) as the real program has it, and healed. Q8 has its test in ``test_trouble``.

Q4, Q6, Q10, Q14 and Q15 are no switches: they shape what users see and are tested where they show. Q9 are limits that
nobody enforces, Q12 is a race between two connections, Q13 and Q16 have no effect here.
"""

from __future__ import annotations

import pytest

from tests.pmxcfs.bus import mark, open_database, started
from tests.pmxcfs.test_trouble import fail_writes
from totemviz.pmxcfs.effects import PmxcfsExited
from totemviz.pmxcfs.index import encode_index
from totemviz.pmxcfs.memdb import Memdb
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import Quirks

T = 1_700_000_000


def reloaded(bus, nodeid: int) -> Memdb:
    host = bus.hosts[nodeid]
    host.database.close()
    database = open_database(host.path)
    entries, _ = database.open(0)
    database.close()
    return Memdb(entries)


@pytest.mark.parametrize("faithful", [True, False])
def test_q1_a_longer_empty_file(tmp_path, faithful):
    bus = started(tmp_path, 1, quirks=Quirks(truncate_makes_size_without_data=faithful))
    bus.result(1, "create", "f")
    assert bus.result(1, "write", "f", offset=4, truncate=True) == 0
    memdb = bus.machine(1).memdb
    assert memdb.lookup("f").size == bus.machine(1).stat("f").size == 4
    assert memdb.read("f") == (b"" if faithful else bytes(4))
    before = memdb.index()
    again = reloaded(bus, 1)
    assert again.lookup("f").size == (0 if faithful else 4)
    assert (encode_index(again.entries) == before) is not faithful


def test_q1_the_next_write_ignores_the_size():
    memdb = Memdb()
    memdb.create("f", 1, T)
    memdb.write("f", b"", 1, T, offset=9, truncate=True)
    memdb.write("f", b"x", 1, T, offset=2)
    assert memdb.read("f") == b"\0\0x"
    assert memdb.lookup("f").size == 3


def test_q1_a_leader_that_must_send_it_dies_and_the_next_one_too(tmp_path):
    """As seen in a real cluster: two daemons died within a second when the third came back."""
    bus = started(tmp_path, 3)
    bus.result(1, "create", "f")
    bus.result(1, "write", "f", offset=4, truncate=True)
    bus.crash(3)
    bus.run(1)
    since = mark(bus)
    bus.start(3)
    bus.run(2)
    for nodeid in (1, 2):
        assert bus.hosts[nodeid].log("dcdb", since[nodeid])[-1] == "start sending inode updates"
        assert bus.hosts[nodeid].outputs[-1] == PmxcfsExited("SIGSEGV")
    assert bus.machine(3).dcdb.mode is Mode.SYNCED
    bus.start(1, 2)
    bus.run(2)
    assert len(bus.indices()) == 1
    assert bus.machine(1).memdb.lookup("f").size == 0


@pytest.mark.parametrize("faithful", [True, False])
def test_q2_a_rename_that_fails(tmp_path, faithful):
    bus = started(tmp_path, 1, quirks=Quirks(rename_forgets_target_early=faithful))
    for path in ("d", "d/x", "empty"):
        bus.result(1, "mkdir", path)
    version = bus.machine(1).version
    assert bus.result(1, "rename", "d", "empty") == -39
    memdb = bus.machine(1).memdb
    assert memdb.version == version
    assert (memdb.lookup("empty") is None) is faithful
    before = memdb.index()
    again = reloaded(bus, 1)
    assert again.lookup("empty") is not None, "the database never heard of it"
    assert (encode_index(again.entries) == before) is not faithful


def test_q2_its_name_given_again_pmxcfs_does_not_start_any_more(tmp_path):
    """Seen with a real node: a failed ``mv -T``, an ``mkdir``, and the next start of every daemon fails."""
    bus = started(tmp_path, 2)
    for path in ("d", "d/x", "empty"):
        bus.result(1, "mkdir", path)
    bus.result(1, "rename", "d", "empty")
    assert bus.result(1, "mkdir", "empty") == 0
    bus.crash(2)
    since = mark(bus)
    bus.start(2)
    said = bus.hosts[2].log("database", since[2])
    assert said[0].startswith("found entry with duplicate name 'empty' - A:(inode = 0x0000000000000004,")
    assert said[1] == "DB load failed"
    assert bus.hosts[2].outputs[-1] == PmxcfsExited()


@pytest.mark.parametrize("faithful", [True, False])
def test_q3_offsets(tmp_path, faithful):
    bus = started(tmp_path, 1, quirks=Quirks(offsets_cut_to_32_bits=faithful))
    bus.result(1, "create", "f")
    bus.result(1, "write", "f", data=b"hello")
    assert bus.result(1, "write", "f", data=b"J", offset=2**32) == (1 if faithful else -27)
    assert bus.machine(1).read("f") == (b"Jello" if faithful else b"hello")
    assert bus.result(1, "write", "f", offset=2**32, truncate=True) == (0 if faithful else -27)
    assert bus.machine(1).read("f") == (b"" if faithful else b"hello")


@pytest.mark.parametrize("faithful", [True, False])
def test_q5_lock_timers_after_a_synchronisation(tmp_path, faithful):
    """Node 1 is brought up to date 100 s after it saw the lock; 21 s later somebody asks for it."""
    bus = started(tmp_path, 3, quirks=Quirks(lock_timers_restart=faithful))
    for path in ("priv", "priv/lock", "priv/lock/a"):
        bus.result(2, "mkdir", path)
    bus.run(95)
    bus.partition([1], [2, 3])
    bus.settle()
    assert bus.result(2, "create", "f") == 0
    bus.heal()
    bus.run(5)
    assert bus.machine(1).memdb.lookup("f") is not None
    bus.run(22)
    assert bus.result(3, "mtime", "priv/lock/a", offset=0) == -13, "which is normal"
    assert (bus.machine(3).memdb.lookup("priv/lock/a") is not None) is faithful
    if faithful:
        bus.run(99)
        bus.result(3, "mtime", "priv/lock/a", offset=0)
        assert bus.machine(3).memdb.lookup("priv/lock/a") is None


@pytest.mark.parametrize("faithful", [True, False])
def test_q7_the_first_rejoin(tmp_path, faithful):
    bus = started(tmp_path, 3, quirks=Quirks(rejoin_on_kept_handle=faithful))
    bus.run(10)
    since = mark(bus)
    bus.quorum(3, False)
    bus.result(1, "create", "f")
    bus.quorum(3, True)
    bus.run(2)
    lines = bus.hosts[3].log("dcdb", since[3])
    assert ("cpg_join failed: CS_ERR_EXIST" in lines) is faithful
    assert (bus.machine(3).dcdb.mode is Mode.SYNCED) is not faithful
    bus.run(7)
    assert bus.machine(3).dcdb.mode is Mode.SYNCED
    assert len(bus.indices()) == 1


@pytest.mark.parametrize("faithful", [True, False])
def test_q11_writers_in_error_mode(tmp_path, faithful):
    bus = started(tmp_path, 3, quirks=Quirks(writers_hang_in_error_mode=faithful))
    bus.run(10)
    fail_writes(bus, 2)
    assert bus.result(2, "create", "f") == -5, "the result of the message that failed is known"
    assert bus.machine(2).dcdb.mode is Mode.ERROR
    assert bus.result(2, "create", "h") == (None if faithful else -5)
    bus.run(7200)
    assert bus.result(1, "create", "g") == 0
