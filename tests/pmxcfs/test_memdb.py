"""File operations on the tree: results, order of checks, versions (sheet §2)."""

from __future__ import annotations

import pytest

from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.guests import DuplicateVmidError, GuestPath, parse_guest_path
from totemviz.pmxcfs.index import Entry, EntryType, new_root
from totemviz.pmxcfs.memdb import Memdb, split_path

T = 1_700_000_000


@pytest.fixture
def memdb():
    """d/, d/f = abc, e/ (empty), nodes with guest 100 on pve1, priv/lock/l held by node 1."""
    memdb = Memdb()
    for path in ("d", "e", "nodes", "priv", "priv/lock", "priv/lock/l"):
        assert memdb.mkdir(path, 1, T).result == 0
    for node in ("pve1", "pve2"):
        for path in (f"nodes/{node}", f"nodes/{node}/qemu-server", f"nodes/{node}/lxc"):
            assert memdb.mkdir(path, 1, T).result == 0
    for path in ("d/f", "nodes/pve1/qemu-server/100.conf"):
        assert memdb.create(path, 1, T).result == 0
        assert memdb.write(path, b"abc", 1, T).result == 3
    return memdb


MIB = 1024 * 1024
CASES = [
    ("mkdir", ("d",), -Errno.EEXIST),
    ("mkdir", ("d/f",), -Errno.EEXIST),
    ("mkdir", ("d/f/x",), -Errno.ENOTDIR),
    ("mkdir", ("d/f/x/y",), -Errno.ENOENT),
    ("mkdir", ("no/x",), -Errno.ENOENT),
    ("mkdir", ("",), -Errno.EACCES),
    ("mkdir", ("d/..",), -Errno.EACCES),
    ("mkdir", ("d/.",), -Errno.EACCES),
    ("mkdir", ("d/x/",), 0),
    ("create", ("d/f",), -Errno.EEXIST),
    ("create", ("e",), -Errno.ENOTDIR),
    ("create", ("no/x",), -Errno.ENOENT),
    ("create", ("nodes/pve2/qemu-server/100.conf",), -Errno.EEXIST),
    ("create", ("nodes/pve1/lxc/100.conf",), -Errno.EEXIST),
    ("create", ("nodes/pve3/lxc/100.conf",), -Errno.ENOENT),  # the parent comes before the VMID
    ("create", ("nodes/pve2/qemu-server/101.conf",), 0),
    ("create", ("nodes/pve2/qemu-server/0100.conf",), 0),  # no guest configuration
    ("write", ("no", b"x"), -Errno.ENOENT),
    ("write", ("e", b"x"), -Errno.ENOTDIR),
    ("write", ("nodes/pve2/lxc/100.conf", b"x"), -Errno.EEXIST),  # the VMID comes before the existence
    ("write", ("d/f", bytes(MIB + 1)), -Errno.EFBIG),
    ("write", ("no/x", bytes(MIB + 1)), -Errno.EFBIG),  # the size comes before the path
    ("write", ("d/f", bytes(MIB)), MIB),
    ("delete", ("no",), -Errno.ENOENT),
    ("delete", ("",), -Errno.EACCES),
    ("delete", ("d",), -Errno.ENOTEMPTY),
    ("delete", ("e",), 0),
    ("delete", ("d/f",), 0),
    ("mtime", ("no",), -Errno.ENOENT),
    ("mtime", ("d",), 0),
    ("rename", ("no", "x"), -Errno.ENOENT),
    ("rename", ("", "x"), -Errno.EACCES),
    ("rename", ("d/f", "no/x"), -Errno.ENOENT),
    ("rename", ("e", "d/f/x"), -Errno.ENOTDIR),
    ("rename", ("d", "x"), -Errno.ENOTEMPTY),
    ("rename", ("e", "d"), -Errno.ENOTEMPTY),
    ("rename", ("d", "e"), -Errno.ENOTEMPTY),
    ("rename", ("e", "e/x"), -Errno.EINVAL),
    ("rename", ("e", "x"), 0),
    ("rename", ("e", "d/f"), 0),
    ("rename", ("priv/lock/l", "x"), -Errno.EACCES),
    ("rename", ("d/f", "nodes/pve2/lxc/100.conf"), -Errno.EEXIST),
    ("rename", ("d/f", "nodes/pve1/qemu-server/100.conf"), 0),  # replaces
    ("rename", ("nodes/pve1/qemu-server/100.conf", "nodes/pve2/lxc/100.conf"), 0),  # migration and conversion
    ("rename", ("nodes/pve1/qemu-server/100.conf", "nodes/pve2/lxc/101.conf"), 0),
]


@pytest.mark.parametrize(("operation", "arguments", "result"), CASES)
def test_results(memdb, operation, arguments, result):
    before, index = memdb.version, memdb.index()
    outcome = getattr(memdb, operation)(*arguments, 2, T + 5)
    assert outcome.result == result
    if result < 0:
        assert memdb.version == before
        assert memdb.index() == index or (operation, result) == ("rename", -Errno.ENOTEMPTY), "quirk Q2"
        assert outcome.change is None
    else:
        assert (memdb.root.version, memdb.root.writer, memdb.root.mtime) == (before + 1, 2, T + 5)
        assert outcome.change.root == memdb.root


def test_a_lock_belongs_to_its_node_and_only_gets_younger(memdb):
    assert memdb.mtime("priv/lock/l", 1, T - 1).result == -Errno.EACCES
    assert memdb.mtime("priv/lock/l", 2, T + 1).result == -Errno.EACCES
    assert memdb.mtime("priv/lock/l", 1, T).result == 0
    assert memdb.mtime("priv/lock/l", 1, T + 9).result == 0
    assert memdb.mtime("priv/lock", 2, 1).result == 0, "only what lies in the directory is a lock"
    assert memdb.root.mtime == 1, "quirk Q10: the given time is the root's"


def test_errors_absorb(memdb):
    memdb.errors = True
    index = memdb.index()
    for outcome in (
        memdb.mkdir("x", 1, T),
        memdb.create("x", 1, T),
        memdb.write("d/f", bytes(MIB + 1), 1, T),
        memdb.mtime("d", 1, T),
        memdb.rename("d/f", "x", 1, T),
        memdb.delete("", 1, T),
    ):
        assert outcome.result == -Errno.EIO
    assert memdb.index() == index


@pytest.mark.parametrize(
    ("old", "offset", "data", "truncate", "new"),
    [
        (b"hello", 0, b"J", False, b"Jello"),
        (b"hello", 0, b"J", True, b"J"),
        (b"hello", 7, b"X", False, b"hello\0\0X"),
        (b"hello", 3, b"", True, b"hel"),
        (b"hello", 7, b"", True, b"hello\0\0"),
        (b"hello", 3, b"", False, b"hello"),
        (b"", 2, b"x", False, b"\0\0x"),
        (b"", 0, b"", True, b""),
    ],
)
def test_write(old, offset, data, truncate, new):
    memdb = Memdb()
    memdb.create("f", 1, T)
    memdb.write("f", old, 1, T)
    inode, version = memdb.lookup("f").inode, memdb.version
    assert memdb.write("f", data, 2, T + 1, offset=offset, truncate=truncate).result == len(data)
    assert memdb.read("f") == new
    entry = memdb.lookup("f")
    assert (entry.inode, entry.version, entry.writer, entry.mtime) == (inode, version + 1, 2, T + 1)


def test_rename_keeps_the_inode_and_deletes_the_replaced_one(memdb):
    source, target = memdb.lookup("d/f"), memdb.lookup("nodes/pve1/qemu-server/100.conf")
    change = memdb.rename("d/f", "nodes/pve1/qemu-server/100.conf", 1, T).change
    assert change.deleted_inode == target.inode
    assert change.entry.inode == source.inode
    assert change.entry.data == source.data
    assert memdb.lookup("d/f") is None


def test_rename_onto_itself_only_stamps(memdb):
    change = memdb.rename("d/f", "d/f", 1, T).change
    assert change.deleted_inode is None
    assert memdb.read("d/f") == b"abc"


def test_the_guest_list_follows_the_files(memdb):
    conf = "nodes/{}/{}/100.conf"
    assert (memdb.guests.guests[100].type, memdb.guests.guests[100].node) == ("qemu", "pve1")
    memdb.rename(conf.format("pve1", "qemu-server"), conf.format("pve2", "lxc"), 1, T)
    assert (memdb.guests.guests[100].type, memdb.guests.guests[100].node) == ("lxc", "pve2")
    memdb.rename(conf.format("pve2", "lxc"), "d/backup", 1, T)
    assert memdb.guests.guests == {}
    assert memdb.create(conf.format("pve1", "lxc"), 1, T).result == 0
    before = memdb.guests.version
    assert memdb.delete(conf.format("pve1", "lxc"), 1, T).result == 0
    assert memdb.guests.guests == {}
    assert memdb.guests.version == before + 1


@pytest.mark.parametrize(
    ("path", "guest"),
    [
        ("nodes/a-1/qemu-server/100.conf", GuestPath(100, "qemu", "a-1")),
        ("nodes/a/openvz/4294967295.conf", GuestPath(2**32 - 1, "openvz", "a")),
        ("nodes/a/openvz/4294967296.conf", None),
        ("nodes/-a/lxc/100.conf", None),
        ("nodes/a/lxc/0.conf", None),
        ("nodes/a/lxc/100.conf.tmp", None),
        ("nodes/a/b/lxc/100.conf", None),
    ],
)
def test_guest_paths(path, guest):
    assert parse_guest_path(path) == guest


def test_two_configurations_of_one_vmid_are_found_at_load():
    def directory(inode, parent, name):
        return Entry(inode, parent, inode, 0, T, EntryType.DIRECTORY, name)

    entries = {0: new_root(9)}
    for entry in (
        directory(2, 0, "nodes"),
        directory(3, 2, "a"),
        directory(4, 3, "lxc"),
        directory(5, 3, "qemu-server"),
        Entry(6, 4, 6, 0, T, EntryType.FILE, "100.conf"),
        Entry(7, 5, 7, 0, T, EntryType.FILE, "100.conf"),
    ):
        entries[entry.inode] = entry
    with pytest.raises(DuplicateVmidError, match="detected duplicate VMID 100"):
        Memdb(entries)


@pytest.mark.parametrize(
    ("path", "parts"),
    [("foo", ("", "foo")), ("/foo", ("", "foo")), ("a/b/c//", ("a/b", "c")), ("", ("", "")), ("//", ("", ""))],
)
def test_split_path(path, parts):
    assert split_path(path) == parts


def test_walk_shows_directories_before_their_content(memdb):
    paths = [path for path, _ in memdb.walk()]
    assert paths == sorted(paths)
    assert len(paths) == len(memdb.entries) - 1
    assert memdb.lookup(".") is memdb.lookup("/") is memdb.root
    assert memdb.read("d") is None
