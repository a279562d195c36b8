"""Local mode, corosync.conf on its way to corosync, and the clean end (sheet §1.1, §4.7)."""

from __future__ import annotations

from tests.pmxcfs.bus import S, mark, open_database, started
from totemviz.pmxcfs.corosync_conf import HostConf
from totemviz.pmxcfs.effects import CorosyncConfWritten, CorosyncReload, CpgFinalize, CpgLeave, FuseReply, PmxcfsExited
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.totem.effects import Log, SetTimer


def conf(version: int) -> bytes:
    return b"totem {\n  cluster_name: t\n  config_version: %d\n}\n" % version


def local(tmp_path, *, wanted: bool | None = None, host_conf: bytes | None = None) -> tuple[Pmxcfs, list]:
    database = open_database(tmp_path / "local.db")
    machine = Pmxcfs(1, 9, "pve1", database, host_conf=HostConf(host_conf), local=wanted)
    return machine, machine.start(0)


def call(machine: Pmxcfs, now_s: int, *arguments: str, **more: object) -> int:
    replies = [output for output in machine.fuse(now_s * S, 1, *arguments, **more) if isinstance(output, FuseReply)]
    assert len(replies) == 1
    return replies[0].result


# --------------------------------------------------------------------------------------------------------- local mode


def test_without_corosync_conf_there_is_no_cluster(tmp_path):
    machine, outputs = local(tmp_path)
    assert machine.local
    assert machine.quorate
    assert not any(isinstance(output, SetTimer) for output in outputs), "no service is ever started"
    assert call(machine, 5, "create", "f") == 0
    assert call(machine, 6, "write", "f", data=b"abc") == 3
    assert call(machine, 6, "create", "f") == -17
    entry = machine.memdb.lookup("f")
    assert (entry.writer, entry.mtime, entry.version) == (0, 1_700_000_006, 3)
    machine.corosync_available(7 * S)
    assert machine.quorum(7 * S, False) == []
    assert machine.quorate, "corosync does not matter"
    machine._database.close()
    restarted = Pmxcfs(1, 10, "pve1", open_database(tmp_path / "local.db"))
    restarted.start(9 * S)
    assert restarted.read("f") == b"abc"


def test_forced_local_mode(tmp_path):
    machine, _ = local(tmp_path, host_conf=conf(1))
    assert not machine.local
    assert machine.version == 3
    machine._database.close()
    machine, outputs = local(tmp_path, wanted=True, host_conf=conf(1))
    assert machine.local
    assert machine.quorate
    assert "forcing local mode (although corosync.conf exists)" in [o.text for o in outputs if isinstance(o, Log)]
    assert call(machine, 1, "mkdir", "d") == 0


def test_a_fresh_database_of_a_local_node_imports_nothing(tmp_path):
    machine, _ = local(tmp_path, wanted=True, host_conf=conf(1))
    assert (machine.version, machine.listing()) == (1, ())


def test_locks_in_local_mode(tmp_path):
    machine, _ = local(tmp_path)
    for path in ("priv", "priv/lock", "priv/lock/a"):
        assert call(machine, 0, "mkdir", path) == 0
    assert call(machine, 120, "mtime", "priv/lock/a", offset=0) == -13, "still held"
    assert call(machine, 121, "mtime", "priv/lock/a", offset=0) == 0, "expired: gone at once"
    assert machine.memdb.lookup("priv/lock/a") is None


# -------------------------------------------------------------------------------------------------------- corosync.conf


def test_a_changed_corosync_conf_reaches_every_node_and_one_reloads(tmp_path):
    bus = started(tmp_path, 3, corosync_conf=conf(1))
    bus.result(1, "create", "corosync.conf.new")
    bus.result(1, "write", "corosync.conf.new", data=conf(2))
    since = mark(bus)
    call_id = bus.call(1, "rename", "corosync.conf.new", "corosync.conf")
    bus.settle()
    for host in bus.hosts.values():
        assert host.conf.content == conf(2)
        assert "wrote new corosync config '/etc/corosync/corosync.conf' (version = 2)" in host.log(
            "dcdb", since[host.nodeid]
        )
        assert CorosyncConfWritten(2) in host.outputs[since[host.nodeid] :]
    assert call_id not in bus.hosts[1].results, "its caller waits as well while the event loop sleeps"
    bus.run(1)
    assert bus.hosts[1].results[call_id] == 0
    assert [CorosyncReload() in host.outputs[since[n] :] for n, host in bus.hosts.items()] == [True, False, False]


def test_an_older_corosync_conf_is_not_taken(tmp_path):
    bus = started(tmp_path, 1, corosync_conf=conf(5))
    bus.result(1, "write", "corosync.conf", data=conf(4))
    assert bus.hosts[1].conf.content == conf(5)
    assert bus.hosts[1].log("dcdb")[-1] == "local corosync.conf is newer"
    bus.result(1, "write", "corosync.conf", data=b"no version at all", truncate=True)
    assert bus.hosts[1].log("dcdb")[-1] == "unable to parse cluster config_version"


def test_a_conf_that_came_with_the_synchronisation_is_written_without_reload(tmp_path):
    bus = started(tmp_path, 3, corosync_conf=conf(1))
    bus.partition([1, 2], [3])
    bus.settle()
    bus.result(1, "write", "corosync.conf", data=conf(7))
    bus.run(2)
    since = mark(bus)
    bus.heal()
    bus.run(1)
    assert bus.hosts[3].conf.content == conf(7)
    assert CorosyncReload() not in bus.hosts[3].outputs[since[3] :]


def test_a_host_without_corosync_conf_gets_one_at_the_start(tmp_path):
    bus = started(tmp_path, 1, corosync_conf=conf(1))
    bus.crash(1)
    bus.hosts[1].conf.content = None
    bus.start(1)
    assert bus.hosts[1].conf.content == conf(1)
    bus.crash(1)
    bus.hosts[1].conf.content = conf(0)
    since = mark(bus)
    bus.start(1)
    bus.run(0.5)
    assert CorosyncReload() not in bus.hosts[1].outputs[since[1] :], "version 0 is no version"
    assert "members: 1/1003" in bus.hosts[1].log("dcdb", since[1])


# ------------------------------------------------------------------------------------------------------------- the end


def test_a_clean_end(tmp_path):
    bus = started(tmp_path, 2)
    host = bus.hosts[2]
    waiting = bus.call(2, "create", "never-delivered")
    since = len(host.outputs)
    bus._handle(host, bus.machine(2).stop(bus.now_ns))
    assert [type(o).__name__ for o in host.outputs[since:] if not isinstance(o, Log)] == [
        "FuseReply", "CpgLeave", "CpgFinalize", "CpgLeave", "CpgFinalize", "PmxcfsExited",
    ]  # fmt: skip
    assert host.log("main", since) == ["teardown filesystem", "exit proxmox configuration filesystem (0)"]
    assert host.results[waiting] == -16
    assert host.log("status", since) == [], "quorum is dropped without a word"
    assert bus.machine(2)._database._connection is None
    host.machine = None
    bus.settle()
    assert bus.machine(1)._status.online == (1,)
    assert {CpgLeave, CpgFinalize, PmxcfsExited} <= {type(output) for output in host.outputs}


def test_a_process_that_could_not_start_ends_at_once(tmp_path):
    (tmp_path / "config.db").write_bytes(b"this is no database, whatever its name says" * 100)
    machine = Pmxcfs(1, 1, "pve1", open_database(tmp_path / "config.db"))
    texts = [output.text for output in machine.start(0) if isinstance(output, Log)]
    assert texts[1] == "init database failed: file is not a database"
    assert texts[-1] == "exit proxmox configuration filesystem (-1)"
    assert machine.stop(1) == [PmxcfsExited()]
