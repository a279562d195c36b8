"""What /etc/pve shows beside its tree: links, files made on the fly, permissions, the IPC server (sheet §8)."""

from __future__ import annotations

import json
import stat

import pytest

from tests.pmxcfs.bus import Bus, started
from totemviz.pmxcfs.changes import OBSERVED_PATHS
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.plugs import chmod, chown

CONF = b"totem {\n  cluster_name: t\n  config_version: 3\n}\n"


@pytest.fixture
def bus(tmp_path):
    bus = started(tmp_path, 2, corosync_conf=CONF)
    for path in ("nodes", "nodes/pve1", "nodes/pve1/qemu-server", "nodes/pve1/priv", "priv"):
        assert bus.result(1, "mkdir", path) == 0
    for path in ("storage.cfg", "priv/shadow.cfg", "nodes/pve1/priv/x", "nodes/pve1/vps.mount"):
        assert bus.result(1, "create", path) == 0
    return bus


def shown(bus: Bus, path: str, node: int = 1) -> str:
    return bus.machine(node).read(path).decode()


# ------------------------------------------------------------------------------------------------------------- texts


def test_members(bus):
    machine = bus.machine(1)
    assert shown(bus, ".members") == (
        '{\n"nodename": "pve1",\n"version": 5,\n'
        '"cluster": { "name": "t", "version": 3, "nodes": 2, "quorate": 1 },\n'
        '"nodelist": {\n'
        '  "pve1": { "id": 1, "online": 1, "ip": "192.0.2.1"},\n'
        '  "pve2": { "id": 2, "online": 1, "ip": "192.0.2.2"}\n'
        "  }\n}\n"
    )
    bus.crash(2)
    bus.settle()
    members = json.loads(shown(bus, ".members"))
    assert members["nodelist"]["pve2"]["online"] == 0
    assert members["version"] == 6
    assert members["cluster"]["quorate"] == 0
    assert len(machine.read(".members")) == machine.stat(".members").size


def test_members_before_corosync_was_asked(tmp_path):
    bus = Bus(tmp_path, 1)
    bus.start(1, corosync=False)
    assert shown(bus, ".members") == '{\n"nodename": "pve1",\n"version": 0\n}\n'


def test_version_counts_what_clients_keep(bus):
    before = json.loads(shown(bus, ".version"))
    assert len(OBSERVED_PATHS) == 43
    assert list(before)[:3] == ["starttime", "clinfo", "vmlist"]
    assert list(before)[3:-1] == list(OBSERVED_PATHS)
    assert before["starttime"] == 1_700_000_000
    assert before["storage.cfg"] == 2, "the load and the create"
    assert before["corosync.conf"] == 1, "the import names it /corosync.conf, which is another string"
    assert bus.result(2, "write", "storage.cfg", data=b"dir: local\n") == 11
    assert bus.result(2, "mtime", "storage.cfg", offset=5) == 0
    assert bus.result(2, "rename", "storage.cfg", "user.cfg") == 0
    assert bus.result(2, "delete", "user.cfg") == 0
    after = json.loads(shown(bus, ".version"))
    assert after["storage.cfg"] - before["storage.cfg"] == 3
    assert after["user.cfg"] - before["user.cfg"] == 2
    assert after["datacenter.cfg"] == before["datacenter.cfg"]
    assert bus.result(2, "delete", "user.cfg") == -2
    assert json.loads(shown(bus, ".version"))["user.cfg"] == after["user.cfg"], "what fails is not counted"


def test_version_shows_the_values_of_all_nodes(bus):
    for value in (b"a", b"b", b"c"):
        bus._handle(bus.hosts[2], bus.machine(2).set_status(bus.now_ns, "ceph-version", value))
    bus.settle()
    assert json.loads(shown(bus, ".version"))["kvstore"] == {"pve1": {}, "pve2": {"ceph-version": 2}}
    assert bus.machine(1).ipc.get_status("ceph-version", "pve2") == (0, b"c")
    assert bus.machine(1).ipc.get_status("ceph-version") == (-Errno.ENOENT, b"")
    bus._handle(bus.hosts[2], bus.machine(2).set_status(bus.now_ns, "ceph-version", b""))
    bus.settle()
    assert bus.machine(1).ipc.get_status("ceph-version", "pve2") == (-Errno.ENOENT, b"")


def test_values_are_told_again_to_a_newcomer(bus):
    bus.crash(2)
    bus._handle(bus.hosts[1], bus.machine(1).set_status(bus.now_ns, "k", b"v"))
    bus.start(2)
    bus.run(2)
    assert bus.machine(2).ipc.get_status("k", "pve1") == (0, b"v")
    bus._handle(bus.hosts[1], bus.machine(1).set_status(bus.now_ns, "rrd/pve-node-9.0/pve1", b"1:2\0"))
    bus.settle()
    assert shown(bus, ".rrd", 2) == "pve-node-9.0/pve1:1:2\n"
    bus.run(301)
    bus.quorum(2, True)  # anything: it looks at the clock
    assert shown(bus, ".rrd", 2) == "", "older than five minutes"


def test_vmlist(bus):
    assert json.loads(shown(bus, ".vmlist")) == {"version": 0}
    assert bus.result(2, "create", "nodes/pve1/qemu-server/100.conf") == 0
    assert shown(bus, ".vmlist") == (
        '{\n"version": 1,\n"ids": {\n"100": { "node": "pve1", "type": "qemu", "version": 1 }}\n\n}\n'
    )
    assert bus.result(2, "write", "nodes/pve1/qemu-server/100.conf", data=b"x") == 1
    assert json.loads(shown(bus, ".vmlist"))["ids"]["100"]["version"] == 2


def test_clusterlog(bus):
    bus._handle(bus.hosts[1], bus.machine(1).add_log(bus.now_ns, "root@pam", "pvedaemon", 7, 'update VM 100: "é"'))
    bus.settle()
    newest = json.loads(shown(bus, ".clusterlog", 2))["data"][0]
    assert newest == {
        "uid": 2, "time": 1_700_000_001, "pri": 6, "tag": "pvedaemon", "pid": 7, "node": "pve1", "user": "root@pam",
        "msg": 'update VM 100: "é"',
    }  # fmt: skip
    assert bus.hosts[2].log("status")[-1] == "received log"
    of_user = json.loads(bus.machine(2).ipc.get_cluster_log(5, "root@pam")[1])["data"]
    assert [entry["uid"] for entry in of_user] == [2]
    assert len(json.loads(bus.machine(2).ipc.get_cluster_log()[1])["data"]) == 3
    assert len(json.loads(bus.machine(2).ipc.get_cluster_log(1)[1])["data"]) == 1


def test_debug_can_be_written(bus):
    assert shown(bus, ".debug") == "0\n"
    assert bus.result(1, "write", ".debug", truncate=True) == 0
    assert bus.result(1, "write", ".debug", data=b"1\n") == 2
    assert bus.hosts[1].log("main")[-1] == "enable debug mode"
    assert shown(bus, ".debug") == "1\n"
    assert bus.result(1, "write", ".debug", data=b"2\n") == -Errno.EIO
    assert bus.result(1, "write", ".debug", data=b"0\n", offset=1) == -Errno.EIO
    assert bus.result(1, "write", ".debug", data=b"0\n") == 2
    assert bus.hosts[1].log("main")[-1] == "disable debug mode"


@pytest.mark.parametrize(
    ("operation", "path", "to", "result"),
    [
        ("create", ".version", "", -Errno.EACCES),
        ("delete", ".version", "", -Errno.EACCES),
        ("delete", "local", "", -Errno.EACCES),
        ("mkdir", "lxc", "", -Errno.EACCES),
        ("rename", "local", "x", -Errno.EACCES),
        ("rename", "storage.cfg", ".members", -Errno.EACCES),
        ("write", ".members", "", -Errno.EIO),
        ("mtime", ".members", "", -Errno.EACCES),
    ],
)
def test_a_plug_is_no_place_for_changes(bus, operation, path, to, result):
    version = bus.machine(1).version
    assert bus.result(1, operation, path, to) == result
    assert bus.machine(1).version == version


def test_links_differ_from_node_to_node(bus):
    assert [bus.machine(node).link("qemu-server") for node in (1, 2)] == [f"nodes/pve{n}/qemu-server" for n in (1, 2)]
    assert bus.result(1, "create", "qemu-server/100.conf") == 0
    assert bus.machine(2).read("nodes/pve1/qemu-server/100.conf") == b""
    with pytest.raises(FileNotFoundError):
        bus.machine(2).read("qemu-server/100.conf")


# ------------------------------------------------------------------------------------------------------- permissions


@pytest.mark.parametrize(
    ("path", "quorate", "not_quorate"),
    [
        ("", "drwxr-xr-x", "drwxr-xr-x"),
        ("nodes", "drwxr-xr-x", "dr-xr-xr-x"),
        ("storage.cfg", "-rw-r-----", "-r--r-----"),
        ("priv", "drwx------", "dr-x------"),
        ("priv/shadow.cfg", "-rw-------", "-r--------"),
        ("nodes/pve1/priv", "drwx------", "dr-x------"),
        ("nodes/pve1/priv/x", "-rw-------", "-r--------"),
        ("nodes/pve1/vps.mount", "-rwxr-----", "-r-xr-----"),
        ("local", "lrwxr-xr-x", "lr-xr-xr-x"),
        (".members", "-r--r-----", "-r--r-----"),
        (".debug", "-rw-r-----", "-rw-r-----"),
    ],
)
def test_modes_follow_path_and_quorum(bus, path, quorate, not_quorate):
    """Invariant 33 too: tools look at the owner-write bit of ``local``."""
    machine = bus.machine(1)
    assert stat.filemode(machine.stat(path).mode) == quorate
    bus.crash(2)
    assert stat.filemode(machine.stat(path).mode) == not_quorate


def test_without_quorum_nothing_is_sent_and_everything_is_read(bus):
    bus.crash(2)
    bus.settle()
    since = len(bus.hosts[1].outputs)
    assert bus.result(1, "create", "x") == -Errno.EACCES
    assert [type(output).__name__ for output in bus.hosts[1].outputs[since:]] == ["FuseCalled", "FuseReply"]
    assert bus.machine(1).read("storage.cfg") == b""


def test_chmod_and_chown_only_confirm():
    assert chmod("storage.cfg", 0o100640) == 0
    assert chmod("storage.cfg", 0o600) == -Errno.EPERM
    assert chmod("/priv/x", 0o600) == 0
    assert chmod("priv/x", 0o640) == -Errno.EPERM
    assert chmod("private", 0o640) == 0
    assert chown(0, 33, 33) == chown(-1, -1, 33) == 0
    assert chown(33, 33, 33) == chown(0, 0, 33) == -Errno.EPERM


def test_statfs_and_readdir(bus):
    system = bus.machine(1).file_system()
    entries = len(bus.machine(1).memdb.entries)
    assert (system.block_bytes, system.blocks, system.files, system.name_bytes_max) == (4096, 32768, 262144, 256)
    assert (system.blocks_free, system.files_free) == (32767, 262144 - entries)
    root = bus.machine(1).names("/")
    assert {".clusterlog", ".debug", ".members", ".rrd", ".version", ".vmlist", "local", "storage.cfg"} < set(root)
    assert bus.machine(1).names("nodes/pve1") == ["priv", "qemu-server", "vps.mount"]
    assert bus.machine(1).names("storage.cfg") == []


# ------------------------------------------------------------------------------------------------------ the IPC server


def test_ipc_rights_and_limits(bus):
    ipc = bus.machine(1).ipc
    assert ipc.set_status("k", b"v", read_only=True) == (-Errno.EPERM, b"")
    assert ipc.set_status("k", bytes(32 * 1024)) == (0, b"")
    assert ipc.set_status("k", bytes(32 * 1024 + 1)) == (-Errno.EFBIG, b"")
    assert ipc.log_cluster_msg(6, "root", "t", "m", pid=1, read_only=True) == (-Errno.EPERM, b"")
    assert ipc.log_cluster_msg(6, "root", "t", "", pid=1) == (-Errno.EINVAL, b"")
    assert ipc.get_config("corosync.conf") == (0, CONF)
    assert ipc.get_config("priv/shadow.cfg", read_only=True) == (-Errno.EPERM, b"")
    assert ipc.get_config("priv/shadow.cfg") == (0, b"")
    assert ipc.get_config(".members") == (-Errno.ENOENT, b""), "past the file system there are no plugs"
    for answer, path in (
        (ipc.get_fs_version(), ".version"),
        (ipc.get_cluster_info(), ".members"),
        (ipc.get_guest_list(), ".vmlist"),
        (ipc.get_rrd_dump(), ".rrd"),
    ):
        assert answer == (0, bus.machine(1).read(path))


def test_ipc_guest_properties_and_tokens(bus):
    text = b'name: web "1"\nmemory: 2048\ntags:\n[snap]\nmemory: 1\n'
    bus.result(1, "create", "qemu-server/100.conf")
    bus.result(1, "write", "qemu-server/100.conf", data=text)
    ipc = bus.machine(2).ipc
    assert json.loads(ipc.get_guest_config_properties(["memory", "name", "tags"])[1]) == {
        "100": {"memory": "2048", "name": 'web "1"'}
    }
    assert ipc.get_guest_config_properties(["cores"], 100) == (0, b"{\n\n}\n")
    assert ipc.get_guest_config_properties(["memory"], 101) == (-Errno.ENOENT, b"")
    assert ipc.get_guest_config_properties(["memory"], 99) == (-Errno.EINVAL, b"")
    assert ipc.get_guest_config_properties(["Memory"]) == (-Errno.EINVAL, b"")
    assert ipc.get_guest_config_property("Memory") == (0, b"{\n\n}\n")
    bus.result(1, "create", "qemu-server/102.conf")
    assert ipc.get_guest_config_property("memory") == (0, b'{\n"100":{"memory": "2048"}\n}\n')
    assert ipc.get_guest_config_property("memory", 102) == (-Errno.EIO, b"")
    bus.result(
        1, "write", "qemu-server/102.conf", data=b"tags: \ta;b \nmemory:  \nlock:\nmemory: 1\nmemory: 2\ncores: 1"
    )
    both = b'{\n"102":{"memory": "1","tags": "a;b"}\n}\n'
    assert ipc.get_guest_config_properties(["memory", "tags", "lock"], 102) == (0, both.replace(b'"1"', b'"2"'))
    assert ipc.get_guest_config_property("memory", 102) == (0, b'{\n"102":{"memory": "1"}\n}\n')
    assert ipc.get_guest_config_property("cores", 102) == (0, b'{\n"102":{"cores": "1"}\n}\n')
    assert ipc.verify_token("root@pam!a secret") == (-Errno.ENOENT, b"")
    bus.result(1, "create", "priv/token.cfg")
    bus.result(1, "write", "priv/token.cfg", data=b"root@pam!a secret\n")
    assert ipc.verify_token("root@pam!a secret") == (0, b"")
    assert ipc.verify_token("root@pam!a") == (-Errno.ENOENT, b"")
    assert ipc.verify_token("a\nb") == (-Errno.EINVAL, b"")
