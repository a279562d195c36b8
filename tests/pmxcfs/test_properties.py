"""What must hold whatever the clients, the network and the processes do (sheet §12)."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pmxcfs.bus import Bus, Host, open_database, started
from totemviz.pmxcfs.effects import ChangeApplied, CpgMcast, DfsmModeChanged
from totemviz.pmxcfs.guests import parse_guest_path
from totemviz.pmxcfs.index import ROOT_INODE, EntryType, encode_index
from totemviz.pmxcfs.machine import DCDB_CLIENT
from totemviz.pmxcfs.memdb import FILE_SIZE_MAX_BYTES, Memdb, split_path
from totemviz.pmxcfs.messages import NormalMessage, decode_message
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import Quirks

EFFORT = 20 if os.environ.get("TOTEMVIZ_SEARCH") == "deep" else 1

FOLDERS = ["nodes", "nodes/n1", "nodes/n1/lxc", "nodes/n1/qemu-server", "priv", "priv/lock"]
GUESTS = ["nodes/n1/lxc/100.conf", "nodes/n1/qemu-server/100.conf", "nodes/n1/lxc/101.conf"]
PATHS = ["a", "b", "a/x", "a/y", "b/x", "a/x/z", "priv/lock/l", *GUESTS, *FOLDERS[:2]]

paths = st.sampled_from(PATHS)
nodes = st.integers(1, 3)
calls = st.one_of(
    st.tuples(st.sampled_from(["create", "create", "mkdir", "delete"]), paths, st.just(""), st.just({})),
    st.tuples(
        st.just("write"),
        paths,
        st.just(""),
        st.fixed_dictionaries(
            {
                "data": st.binary(max_size=6),
                "offset": st.sampled_from([0, 0, 0, 3, 9, FILE_SIZE_MAX_BYTES]),
                "truncate": st.booleans(),
            }
        ),
    ),
    st.tuples(st.just("rename"), paths, paths, st.just({})),
    st.tuples(st.just("mtime"), paths, st.just(""), st.fixed_dictionaries({"offset": st.integers(1, 2**31)})),
)


PLAIN = Quirks(
    synced_applies_unsynced_messages=False, truncate_makes_size_without_data=False, rename_forgets_target_early=False
)
"""The faults that break the rules below are turned off; each has a test of its own in ``test_quirks``."""


class Model:
    """/etc/pve as one dictionary from path to content (None for directories): short, slow, written from the rules."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}
        self.locks: dict[str, tuple[int, int]] = {}

    def apply(self, node: int, now_s: int, operation: str, path: str, to: str, more: dict) -> int:
        result = getattr(self, operation)(path, to, **more) if operation != "mtime" else None
        if operation == "mtime":
            return self.mtime(node, path, more["offset"])
        if operation in ("mkdir", "rename") and result == 0 and path != to:
            self.locks[to or path] = (node, now_s)
        return result

    def parent(self, path: str) -> int:
        """0 if something can live at ``path``."""
        directory = split_path(path)[0]
        if directory and directory not in self.files:
            return -2
        return -20 if directory and self.files[directory] is not None else 0

    def taken(self, path: str) -> bool:
        """Whether the VMID of ``path`` is in use elsewhere."""
        guest = parse_guest_path(path)
        others = [parse_guest_path(p) for p, data in self.files.items() if data is not None and p != path]
        return guest is not None and guest.vmid in [other.vmid for other in others if other]

    def children(self, path: str) -> bool:
        return any(other.startswith(path + "/") for other in self.files)

    def mkdir(self, path, _):
        if error := self.parent(path):
            return error
        if path in self.files:
            return -17
        self.files[path] = None
        return 0

    def create(self, path, _):
        if error := self.parent(path):
            return error
        if self.taken(path):
            return -17
        if path in self.files:
            return -20 if self.files[path] is None else -17
        self.files[path] = b""
        return 0

    def write(self, path, _, data, offset, truncate):
        if offset + len(data) > FILE_SIZE_MAX_BYTES:
            return -27
        if error := self.parent(path):
            return error
        if self.taken(path):
            return -17
        if path not in self.files:
            return -2
        old = self.files[path]
        if old is None:
            return -20
        end = offset + len(data)
        new = bytearray(max(end, 0 if truncate else len(old)))
        new[: len(old)] = old[: len(new)]
        new[offset:end] = data
        self.files[path] = bytes(new)
        return len(data)

    def delete(self, path, _):
        if path not in self.files:
            return -2
        if self.children(path):
            return -39
        del self.files[path]
        return 0

    def mtime(self, node, path, time_s):
        if error := self.parent(path):
            return error
        if path not in self.files:
            return -2
        if self.files[path] is None and split_path(path)[0] == "priv/lock":
            holder, taken_s = self.locks[path]
            if time_s < taken_s or node != holder:
                return -13
            self.locks[path] = (node, time_s)
        return 0

    def rename(self, path, to):
        if path == to:
            return 0  # by the kernel
        if path not in self.files:
            return -2
        data = self.files[path]
        old, new = parse_guest_path(path), parse_guest_path(to)
        migration = old is not None and new is not None and old.vmid == new.vmid
        if data is not None and not migration and self.taken(to):
            return -17
        if data is None and path.startswith("priv/lock/"):
            return -13
        if to in self.files:
            if self.children(to):
                return -39
        elif error := self.parent(to):
            return error
        if self.children(path):
            return -39
        if split_path(to)[0] == path:
            return -22
        del self.files[path]
        self.files[to] = data
        return 0


def check_tree(memdb: Memdb) -> None:
    """Invariants 1, 2, 4 and 6."""
    root = memdb.root
    assert (root.inode, root.parent, root.name, root.type) == (0, 0, "", EntryType.DIRECTORY)
    entries = [entry for inode, entry in memdb.entries.items() if inode != ROOT_INODE]
    assert len(list(memdb.walk())) == len(entries), "everything can be reached"
    for entry in entries:
        assert 0 < entry.inode <= entry.version <= root.version
        assert memdb.entries[entry.parent].is_directory
        assert entry.size == len(entry.data) <= FILE_SIZE_MAX_BYTES
        assert not (entry.is_directory and entry.data)
    assert len({entry.version for entry in entries}) == len(entries)
    assert len({(entry.parent, entry.name) for entry in entries}) == len(entries)
    guests = [parse_guest_path(path) for path, entry in memdb.walk() if not entry.is_directory]
    vmids = sorted(guest.vmid for guest in guests if guest)
    assert vmids == sorted(memdb.guests.guests)


def check_database(host: Host) -> None:
    """Invariants 8 and 9: a restart finds what was in memory."""
    memory = host.machine.memdb.index()
    host.database.close()
    database = open_database(host.path)
    entries, _ = database.open(0)
    database.close()
    if host.machine.version > 1:  # quirk Q14
        assert encode_index(entries) == memory


def check_history(bus: Bus, host: Host) -> None:
    """Invariants 3, 17 and 18, over all that one host ever did.

    A message that was sent again comes behind younger ones of its sender that were under way.
    """
    mode = ""
    counts: dict[tuple[int, int], int] = {}
    applied: set[tuple[int, int, int]] = set()
    sent = Counter(
        (other.nodeid, message)
        for other in bus.hosts.values()
        for message in (o.payload for o in other.outputs if isinstance(o, CpgMcast) and o.client == DCDB_CLIENT)
    )
    twice = [(node, decode_message(message)) for (node, message), times in sent.items() if times > 1]
    sent_again = {(node, message.count) for node, message in twice if isinstance(message, NormalMessage)}
    for output in host.outputs:
        if isinstance(output, DfsmModeChanged) and output.machine == "dcdb":
            mode = output.mode
            if mode == "START":
                counts.clear()  # the tree it comes back to may be another one
                applied.clear()
        elif isinstance(output, ChangeApplied):
            assert mode == "SYNCED"
            sender = output.nodeid, output.pid
            assert (*sender, output.count) not in applied
            assert counts.get(sender, 0) < output.count or (output.nodeid, output.count) in sent_again
            counts[sender] = max(output.count, counts.get(sender, 0))
            applied.add((*sender, output.count))


@settings(max_examples=60 * EFFORT, deadline=None)
@given(st.lists(st.tuples(nodes, calls, st.integers(0, 4)), max_size=40))
def test_all_nodes_apply_the_same_operations_with_the_same_results(script):
    with tempfile.TemporaryDirectory() as directory:
        bus, model = started(Path(directory), 3, quirks=PLAIN), Model()
        for number, folder in enumerate(FOLDERS):
            bus.result(1 + number % 3, "mkdir", folder)
            model.mkdir(folder, "")
        expected = {}
        for node, (operation, path, to, more), steps in script:
            call_id = bus.call(node, operation, path, to, **more)
            wall_s = bus.machine(node)._process.wall_s
            expected[call_id] = node, model.apply(node, wall_s, operation, path, to, more)
            for _ in range(steps):
                bus.step()
        bus.settle()
        for call_id, (node, result) in expected.items():
            assert bus.hosts[node].results[call_id] == result
        assert len(bus.indices()) == 1
        for host in bus.hosts.values():
            memdb = host.machine.memdb
            assert {path: None if e.is_directory else e.data for path, e in memdb.walk()} == model.files
            check_tree(memdb)
            check_history(bus, host)
            check_database(host)


actions = st.one_of(
    st.tuples(st.just("call"), nodes, calls),
    st.tuples(st.just("call"), nodes, calls),
    st.tuples(st.just("step"), st.integers(1, 12), st.none()),
    st.tuples(st.just("step"), st.integers(1, 12), st.none()),
    st.tuples(st.just("run"), st.sampled_from([0.02, 1, 7]), st.none()),
    st.tuples(st.just("partition"), nodes, st.none()),
    st.tuples(st.just("heal"), st.none(), st.none()),
    st.tuples(st.just("crash"), nodes, st.none()),
    st.tuples(st.just("start"), nodes, st.none()),
)


def act(bus: Bus, action: str, argument, call) -> None:
    running = argument in bus.hosts and bus.hosts[argument].machine is not None
    match action:
        case "call" if running:
            operation, path, to, more = call
            bus.call(argument, operation, path, to, **more)
        case "step":
            for _ in range(argument):
                bus.step()
        case "run":
            bus.run(argument)
        case "partition":
            bus.partition([argument], [node for node in bus.hosts if node != argument])
        case "heal":
            bus.heal()
        case "crash" if running:
            bus.crash(argument)
        case "start" if not running:
            bus.start(argument)


CREATE = ("create", "a", "", {})
OVERTAKEN = [
    ("call", 1, CREATE),
    ("call", 2, CREATE),
    ("partition", 3, None),
    ("call", 1, CREATE),
    ("step", 1, None),
    ("call", 1, CREATE),
    ("call", 2, CREATE),
    ("step", 1, None),
    ("partition", 1, None),
    ("crash", 3, None),
]
"""Node 2's first message is sent again behind its second, and nobody is left to sort them."""


@settings(max_examples=150 * EFFORT, deadline=None)
@given(st.lists(actions, max_size=40))
@example(OVERTAKEN)
def test_whatever_happens_the_cluster_ends_with_one_tree(script):
    """Cuts, crashes and writes in any order; then everybody is back, and all trees are one (13, 21 to 25, 36)."""
    with tempfile.TemporaryDirectory() as directory:
        bus = started(Path(directory), 3, quirks=PLAIN)
        bus.run(6)
        for action, argument, call in script:
            act(bus, action, argument, call)
        for nodeid, host in bus.hosts.items():
            if host.machine is None:
                bus.start(nodeid)
        bus.heal()
        bus.run(20)
        for nodeid, host in bus.hosts.items():
            assert bus.machine(nodeid).dcdb.mode is Mode.SYNCED
            assert not bus.machine(nodeid).dcdb._waiting, "nobody waits any more"
            check_tree(bus.machine(nodeid).memdb)
            check_history(bus, host)
        assert len(bus.indices()) == 1
        assert bus.result(1, "create", "the-end") == 0
        assert len(bus.indices()) == 1
        for host in bus.hosts.values():
            check_database(host)
