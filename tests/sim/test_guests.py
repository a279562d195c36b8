"""Guests through Proxmox' own tools: which system calls they make, and how each waits (sheet §8.3, §11.3)."""

from __future__ import annotations

import json

import pytest

from tests.sim.runs import run
from totemviz.pmxcfs.effects import ChangeApplied
from totemviz.sim.interventions import (
    CreateGuest,
    Cut,
    Delete,
    DestroyGuest,
    Kill,
    MakeDirectory,
    MigrateGuest,
    PowerCut,
    Restart,
    SetGuest,
    SetStatus,
    WriteClusterLog,
)
from totemviz.sim.scenario import ScenarioError, load_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.tools import applied, with_option, with_pending
from totemviz.sim.units import SECOND, Duration
from totemviz.sim.world import World
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import SystemCalled, WriteFinished, WriteStarted
from totemviz.trace.sentences import sentence


def world(*interventions, seconds: int = 20) -> World:
    return run(seconds, *interventions, host_model=HostModel.MEASURED)


def at(seconds: float) -> Duration:
    return Duration(int(seconds * SECOND))


def calls(world: World) -> list[list[str]]:
    """The system calls of each program, as one text each."""
    programs: dict[int, list[str]] = {}
    for event in world.timeline:
        if isinstance(event.body, WriteStarted):
            programs[event.body.write] = []
        elif isinstance(event.body, SystemCalled):
            programs[event.body.write].append(f"{event.body.operation} {event.body.path}")
    return list(programs.values())


def ends(world: World) -> list[tuple[int, float]]:
    """Result and duration in seconds of each program, in the order they ended."""
    bodies = [event.body for event in world.timeline]
    return [(body.result, body.took_ns / SECOND) for body in bodies if isinstance(body, WriteFinished)]


def replaced(path: str, pid: int) -> list[str]:
    return [f"create {path}.tmp.{pid}", f"write {path}.tmp.{pid}", f"rename {path}.tmp.{pid}"]


def test_the_life_of_a_guest():
    run = world(
        CreateGuest(at=at(5), node=1, storage="ceph", config="memory: 2048\ncores: 2\n"),
        SetGuest(at=at(7), node=1),
        MigrateGuest(at=at(9), node=1, target=2),
        SetGuest(at=at(12), node=2, option="cores", value="8"),
        seconds=13,
    )
    one, two = "nodes/pve1/qemu-server/100.conf", "nodes/pve2/qemu-server/100.conf"
    assert calls(run) == [
        [*replaced(one, 1003), "mkdir priv/lock/storage-ceph", "delete priv/lock/storage-ceph", *replaced(one, 1003)],
        2 * replaced(one, 1004),
        [*replaced(one, 1005), *replaced(one, 1005), f"rename {one}"],
        replaced(two, 2003),
        2 * replaced(two, 2004),
    ]
    assert all(result >= 0 for result, _ in ends(run))
    for host in run.hosts.values():
        assert host.pmxcfs.read(two) == b"cores: 8\nmemory: 4096\n"
        assert host.pmxcfs.memdb.lookup(one) is None
        assert json.loads(host.pmxcfs.read(".vmlist"))["ids"]["100"]["node"] == "pve2"
    log = json.loads(run.hosts[3].pmxcfs.read(".clusterlog"))["data"]
    assert [entry["msg"].partition("UPID")[0] for entry in log][:6] == [
        "update VM 100: -cores 8", "end task ", "starting task ", "update VM 100: -memory 4096", "end task ",
        "starting task ",
    ]  # fmt: skip


def test_a_guest_is_destroyed_step_by_step():
    run = world(CreateGuest(at=at(5), node=1, kind="lxc"), DestroyGuest(at=at(7), node=1), seconds=9)
    path = "nodes/pve1/lxc/100.conf"
    assert calls(run)[1] == [
        *replaced(path, 1004),
        "mkdir priv/lock/file-user_cfg",
        "delete priv/lock/file-user_cfg",
        f"delete {path}",
    ]
    assert all(host.pmxcfs.memdb.lookup(path) is None for host in run.hosts.values())
    assert run.hosts[2].pmxcfs.memdb.guests.guests == {}


def test_a_change_is_pending_before_it_is_applied():
    run = world(
        CreateGuest(at=at(5), node=1, config="memory: 2048\n"), SetGuest(at=at(7), node=2), SetGuest(at=at(8), node=1)
    )
    written = [
        event.body.entry.data
        for event in run.timeline
        if isinstance(event.body, ChangeApplied) and event.body.operation == "write" and event.node == 3
    ]
    assert written == [
        b"lock: create\n",
        b"memory: 2048\n",
        b"memory: 2048\n\n[PENDING]\nmemory: 4096\n",
        b"memory: 4096\n",
    ]
    assert [result for result, _ in ends(run)][1:] == [-2, 0], "only its own node knows the guest"


def test_what_is_pending_is_applied_with_the_next_change():
    config = b"cores: 2\nmemory: 2048\n"
    pending = with_pending(with_pending(config, "memory", "4096"), "cores", "")
    assert pending == config + b"\n[PENDING]\ndelete: cores\nmemory: 4096\n"
    assert with_option(pending, "lock", "migrate").startswith(b"cores: 2\nlock: migrate\nmemory: 2048\n\n[PENDING]\n")
    assert applied(pending) == b"memory: 4096\n"


def test_a_large_configuration_is_one_write():
    run = world(CreateGuest(at=at(5), node=1, config="#" + "x" * 20_000 + "\n"), seconds=8)
    assert len([call for call in calls(run)[0] if call.startswith("write")]) == 2


def test_a_guest_whose_disks_fail_is_gone_again():
    run = world(
        MakeDirectory(at=at(5), node=3, path="priv/lock/storage-ceph"),
        CreateGuest(at=at(5.5), node=1, storage="ceph"),
        seconds=20,
    )
    path = "nodes/pve1/qemu-server/100.conf"
    assert calls(run)[1][-1] == f"delete {path}"
    assert ends(run)[1][0] == -110
    newest = json.loads(run.hosts[2].pmxcfs.read(".clusterlog"))["data"][0]["msg"]
    assert newest.endswith(
        ":root@pam: unable to create VM 100 - cfs-lock 'storage-ceph' error: got lock request timeout"
    )
    assert run.hosts[2].pmxcfs.memdb.lookup(path) is None


def test_the_kernel_breaks_off_what_a_dead_daemon_has_not_answered():
    """ECONNABORTED for the call under way, ENOTCONN for all later ones: as measured with a daemon killed on purpose."""
    run = world(
        Cut(at=at(5), nodes=(3,)),
        CreateGuest(at=at(5.1), node=3),
        Kill(at=at(5.2), node=3, process="pmxcfs"),
        Delete(at=at(5.4), node=3, path="corosync.conf"),
        seconds=6,
    )
    assert calls(run) == [["create nodes/pve3/qemu-server/100.conf.tmp.3003"], ["delete corosync.conf"]]
    assert [result for result, _ in ends(run)] == [-103, -107]


def test_a_program_dies_with_its_host():
    run = world(
        CreateGuest(at=at(5), node=3, takes=at(4)),
        Cut(at=at(6), nodes=(3,)),
        CreateGuest(at=at(6.1), node=3, vmid=101),
        PowerCut(at=at(6.2), node=3),
        Restart(at=at(7), node=3),
        seconds=20,
    )
    assert [result for result, _ in ends(run)] == [None, None], "one slept, one waited"
    cursor = Cursor(run.timeline)
    cursor.move_to(len(run.timeline))
    view = cursor.view
    assert all(write.finished_ns > 0 and write.failed for write in view.writes.values())
    dead = [event for event in run.timeline if isinstance(event.body, WriteFinished)]
    assert all("dies with its host" in sentence(event, view) for event in dead)


def test_a_vmid_exists_once_in_the_cluster():
    """Both create at the same moment: the order decides, and the loser cleans up behind itself."""
    run = world(CreateGuest(at=at(5), node=1), CreateGuest(at=at(5), node=3), seconds=8)
    assert sorted(result for result, _ in ends(run)) == [-17, 0]
    guests = [path for path, _ in run.hosts[2].pmxcfs.memdb.walk() if path.endswith(".conf") and "nodes" in path]
    assert len(guests) == 1
    assert not [path for path, _ in run.hosts[2].pmxcfs.memdb.walk() if ".tmp." in path]


def test_a_lock_makes_others_wait():
    run = world(
        CreateGuest(at=at(5), node=1, vmid=100, storage="ceph", takes=at(3)),
        CreateGuest(at=at(5.5), node=2, vmid=101, storage="ceph", takes=at(1)),
        CreateGuest(at=at(5.5), node=3, vmid=102, storage="other", takes=at(1)),
        seconds=14,
    )
    assert [round(took) for _, took in ends(run)] == [1, 3, 4]
    asked = [call for call in calls(run)[1] if call.startswith("mtime")]
    assert len(asked) == 3, "the lock's time is set to 0 about once a second"


def test_a_dead_holder_blocks_a_lock_until_it_expires():
    run = world(
        MakeDirectory(at=at(5), node=3, path="priv/lock/storage-ceph"),
        Kill(at=at(6), node=3),
        CreateGuest(at=at(20), node=1, storage="ceph"),
        CreateGuest(at=at(127), node=1, vmid=101, storage="ceph"),
        seconds=140,
    )
    assert [result for result, _ in ends(run)] == [0, -110, 0]
    assert round(ends(run)[1][1]) == 10, "ten seconds of patience"
    assert run.hosts[1].pmxcfs.memdb.lookup("priv/lock/storage-ceph") is None


def test_without_quorum_nothing_is_changed():
    run = world(Cut(at=at(5), nodes=(3,)), CreateGuest(at=at(15), node=3), SetGuest(at=at(15), node=3), seconds=17)
    assert [result for result, _ in ends(run)] == [-13, -2]
    assert calls(run) == [["create nodes/pve3/qemu-server/100.conf.tmp.3003"], []]


def test_a_value_and_a_line_reach_every_node():
    run = world(
        SetStatus(at=at(5), node=1, key="ceph-version", value="19.2"),
        WriteClusterLog(at=at(5), node=2, message="hello", user="me@pve"),
        seconds=7,
    )
    for host in run.hosts.values():
        assert host.pmxcfs.ipc.get_status("ceph-version", "pve1") == (0, b"19.2")
        newest = json.loads(host.pmxcfs.read(".clusterlog"))["data"][0]
        assert (newest["msg"], newest["user"], newest["node"]) == ("hello", "me@pve", "pve2")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('action = "create_guest"\nnode = 1\nvmid = 7', "7 is no VMID; use 100 to 999999999"),
        ('action = "create_guest"\nnode = 1\nkind = "xen"', "unknown kind of guest 'xen'; use qemu or lxc"),
        ('action = "migrate_guest"\nnode = 1\ntarget = 1', "a guest migrates to another node"),
        ('action = "migrate_guest"\nnode = 1\ntarget = 9', "there is no node 9"),
        ('action = "set_guest"\nnode = 1\noption = "a b"', "is no option of a guest"),
    ],
)
def test_bad_input_is_one_line(tmp_path, table, words):
    file = tmp_path / "s.toml"
    file.write_text(f"[[interventions]]\nat = '5s'\n{table}\n")
    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(file))
