"""The pmxcfs of a recorded node, played again: the config.db it must have had at the end of the capture.

What the node's ring delivered (``recorded_order``) goes through our corosync services, which know groups and quorum,
and from there through our dcdb and dfsm onto a real SQLite file. Our machine sends nothing: what the real one sent
comes out of the capture, in its place in the order.

The capture proves the result. Each time the real pmxcfs sent its *state*, an index with a digest of every entry, ours
must be the same. Where it is not, the capture has not shown everything: how the tree began, or what was written in a
ring of one node, whose messages never meet the wire. Then the index decides. An entry that differs is looked for among
all entries the capture shows, and taken only if its digest is the recorded one; the corosync.conf that a fresh database
imports (sheet §1.1) is proved the same way, its time stamp included. What cannot be found is *undetermined*: a
stand-in takes its place, under the real digest in every later comparison, and it is named in the result.

Cannot be known: rows that no state, update or message tells (a node that never exchanged states shows neither the text
nor the time of its corosync.conf), and a CPG message in pieces (above 1 MiB - 1024 bytes: an index or an update of that
size), which is not put together.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import apsw
import msgspec

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError
from totemviz.pmxcfs.connection import Connection
from totemviz.pmxcfs.corosync_conf import COROSYNC_CONF, HostConf
from totemviz.pmxcfs.database import VERSION_NAME, Database
from totemviz.pmxcfs.dcdb import DOMAIN, Dcdb
from totemviz.pmxcfs.dfsm import Dfsm
from totemviz.pmxcfs.effects import CpgLeave
from totemviz.pmxcfs.index import (
    ROOT_INODE,
    Entry,
    EntryType,
    MalformedIndexError,
    decode_index,
    index_digest,
    new_root,
)
from totemviz.pmxcfs.memdb import Change, Memdb
from totemviz.pmxcfs.messages import (
    DCDB_GROUP,
    DCDB_PROTOCOL_VERSION,
    MalformedMessageError,
    MessageType,
    StateMessage,
    decode_message,
    encode_message,
)
from totemviz.pmxcfs.modes import Mode
from totemviz.pmxcfs.process import NS_PER_S, Process, ProcessCrash, ProcessId, Quirks
from totemviz.pmxcfs.threads import Blocking
from totemviz.trace.recorded_evidence import FRESH_VERSION, IMPORTED_INODE, Evidence
from totemviz.trace.recorded_services import NothingToExportError, RecordedServices
from totemviz.trace.timeline import Timeline

CLOCK_SPAN_S = 86_400
"""How long before its first state a fresh database may have been made, for the search of its time stamp."""

ALL_COLUMNS = ("parent", "version", "writer", "mtime", "type", "name", "data")

_INDEX_ENTRY = struct.Struct("<Q32s")


class Undetermined(msgspec.Struct, frozen=True):
    """A row the capture does not determine: its inode, its path as far as known, and which columns are not known."""

    inode: int
    path: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a person."""
        return f"row {self.inode} ({self.path}): {', '.join(self.columns)} cannot be known from the capture"


class Exported(msgspec.Struct, frozen=True):
    """What was found out about one node's database. ``states`` counts the recorded states that proved it on the way.

    ``notes``: where the capture did not show everything, in words.
    """

    node: int
    version: int
    rows: int
    states: int
    undetermined: tuple[Undetermined, ...]
    notes: tuple[str, ...]


def export_database(timeline: Timeline, nodeid: int, target: Path, conf_texts: Sequence[bytes] = ()) -> Exported:
    """Write the config.db of node ``nodeid`` as the recording leaves it to ``target``, one complete SQLite file.

    ``conf_texts``: files that may be the corosync.conf a fresh database imported; a digest in the capture decides.
    Raises NothingToExportError, and OSError if ``target`` cannot be written.
    """
    seen = Evidence(conf_texts)
    player = RecordedServices(timeline, nodeid, seen, None)
    player.run()  # first: what is there to know at all
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.db"
        replica = _Replica(nodeid, file, seen, player.began_s)
        RecordedServices(timeline, nodeid, seen, replica).run()
        if not replica.started:
            raise NothingToExportError(
                f"node {nodeid}: no pmxcfs of it joined {DCDB_GROUP} in the recording; begin the capture before pmxcfs"
            )
        result = replica.close()
        target.write_bytes(file.read_bytes())
    return result


class _Replica:
    """dcdb and dfsm of one node on a real file, one process life after the other."""

    def __init__(self, nodeid: int, file: Path, seen: Evidence, began_s: int) -> None:
        self.started = False
        self._nodeid = nodeid
        self._seen = seen
        self._began_s = began_s
        self._stand_ins: dict[tuple[int, bytes], bytes] = {}
        self._states = 0
        self._notes: list[str] = []
        self._database = Database(lambda: apsw.Connection(str(file)), list)
        self._process: Process | None = None
        self._memdb = Memdb()

    # ------------------------------------------------------------------------------------------------------- inputs

    def join(self, pid: int, quorate: bool) -> None:
        """A pmxcfs process of the node joins the group: the same one again, or a new life on the same database."""
        if self._process is None or self._process.identity.pid != pid:
            self._start_process(pid)
        assert self._process is not None
        self._process.quorate = quorate
        self._run(self._dfsm.initialise())

    def _start_process(self, pid: int) -> None:
        if self.started:
            self._database.close()
        entries, fresh = self._database.open(0)
        self._memdb = memdb = Memdb(entries)
        process = Process(ProcessId(self._nodeid, pid), f"node {self._nodeid}", "", self._wall_s, Quirks())
        process.corosync_running = True
        self._process = process
        connection = Connection(process, 0, DCDB_GROUP, DOMAIN)
        self._dcdb = Dcdb(process, memdb, self._database, lambda subtype, payload: None, lambda: False, HostConf())
        self._dfsm = Dfsm(process, connection, DOMAIN, DCDB_PROTOCOL_VERSION, self._dcdb)
        if fresh:
            self._store(memdb.create(COROSYNC_CONF, 0, 0).change)
            self._store(memdb.write(COROSYNC_CONF, b"", 0, 0, truncate=True).change)
        self.started = True

    def _wall_s(self, now_ns: int) -> int:
        return self._began_s + now_ns // NS_PER_S

    def _store(self, change: Change | None) -> None:
        assert change is not None
        self._database.write(change)

    def quorum(self, quorate: bool) -> None:
        """Corosync's quorum changed."""
        if self._process is not None:
            self._process.quorate = quorate

    def corosync_lost(self) -> None:
        """Corosync is gone, until the next join."""
        if self._process is not None and self._dfsm.connection.open:
            self._dfsm.lost()
            self._process.quorate = False

    def dispatch(self, event: CpgConfchg | CpgDelivered) -> bool:
        """One event of the group; True if the machine now leaves it."""
        process = self._process
        if process is None:
            return False
        if isinstance(event, CpgDelivered):
            event = self._prepared(event)
        try:
            return self._run(self._dfsm.dispatch(event))
        except ProcessCrash:
            self._process = None  # as the real one's: the capture tells when it came back
            return False
        finally:
            process.take()

    @staticmethod
    def _run(job: Blocking[bool]) -> bool:
        """Answer every call with OK; what it sends is in the capture, if the real one sent it."""
        leaves = False
        try:
            request = next(job)
            while True:
                leaves = leaves or isinstance(request, CpgLeave)
                request = job.send(CpgError.OK)
        except StopIteration:
            return leaves

    # ------------------------------------------------------------------------------------- what the recording proves

    def _prepared(self, event: CpgDelivered) -> CpgDelivered:
        """Compare with the state the real node is going to send; put stand-ins' digests into states that pass."""
        try:
            message = decode_message(event.payload)
        except MalformedMessageError:
            return event
        if not isinstance(message, StateMessage):
            return event
        assert self._process is not None
        if message.type == MessageType.SYNC_START and self._dfsm.mode is Mode.START_SYNC:
            own = self._seen.states.get((self._process.identity, message.epoch))
            if own is not None:
                with suppress(MalformedIndexError):  # every machine leaves the group over it, ours too
                    self._prove(own)
        if message.type != MessageType.STATE or not self._stand_ins:
            return event
        payload = message.payload
        for (inode, real), stand_in in self._stand_ins.items():
            payload = payload.replace(_INDEX_ENTRY.pack(inode, real), _INDEX_ENTRY.pack(inode, stand_in))
        replaced = encode_message(msgspec.structs.replace(message, payload=payload))
        return msgspec.structs.replace(event, payload=replaced)

    def _prove(self, state: bytes) -> None:
        """Make the tree the one whose index is ``state``, the node's own words."""
        index = decode_index(state)
        mine = self._memdb.entries
        root = new_root(index.version, index.writer, index.mtime)
        first = self._states == 0
        self._states += 1
        wrong: list[Entry] = []
        for inode, digest in sorted(index.digests.items()):
            known = mine.get(inode)
            wanted = self._stand_ins.get((inode, digest), digest)
            if inode != ROOT_INODE and (known is None or index_digest(known) != wanted):
                wrong.append(self._found(inode, digest, index.version, index.mtime))
        gone = sorted(mine.keys() - index.digests.keys())
        if not (wrong or gone or mine[ROOT_INODE] != root):
            return
        if not first or index.version != FRESH_VERSION:
            inodes = ", ".join(map(str, sorted([entry.inode for entry in wrong] + gone))) or "none"
            what = "holds changes of which the capture shows no message"
            if index.version < self._memdb.version:
                what = "lacks changes that had reached the node: its pmxcfs died before it read them"
            self._notes.append(
                f"at version {index.version} the tree of node {self._nodeid} {what} (rows: {inodes}); "
                "its state was taken over"
            )
        entries = {inode: entry for inode, entry in mine.items() if inode not in gone}
        entries |= {entry.inode: entry for entry in wrong} | {ROOT_INODE: root}
        for inode in gone:
            self._database.write(Change(root, None, inode))
        for entry in wrong:
            self._database.write(Change(root, entry))
        self._database.write(Change(root))
        self._memdb.replace_tree(entries)

    def _found(self, inode: int, digest: bytes, version: int, mtime: int) -> Entry:
        """The entry with the recorded digest, or a stand-in."""
        assert self._process is not None
        fresh = inode == IMPORTED_INODE
        times_s = (mtime, *range(self._began_s - CLOCK_SPAN_S, self._began_s + CLOCK_SPAN_S)) if fresh else ()
        found = self._seen.find(inode, digest, times_s)
        if found is not None:
            return found
        known = self._memdb.entries.get(inode)
        if known is None:
            known = Entry(inode, ROOT_INODE, 0, 0, 0, EntryType.FILE, f"undetermined-{inode:016X}")
        elif fresh and version == FRESH_VERSION:
            known = msgspec.structs.replace(known, mtime=mtime)  # the root's time is that of the last change: this one
        self._stand_ins[inode, digest] = index_digest(known)
        return known

    def close(self) -> Exported:
        """Close the database, which folds its log into the one file; what was found out."""
        self._database.close()
        return Exported(
            node=self._nodeid,
            version=self._memdb.version,
            rows=len(self._memdb.entries),
            states=self._states,
            undetermined=tuple(self._undetermined()),
            notes=tuple(self._notes),
        )

    def _undetermined(self) -> Iterator[Undetermined]:
        """The rows that are still stand-ins."""
        paths = {entry.inode: path for path, entry in self._memdb.walk()}
        digests = {inode: index_digest(entry) for inode, entry in self._memdb.entries.items()}
        for (inode, _), stand_in in sorted(self._stand_ins.items()):
            if digests.get(inode) == stand_in:
                imported_conf = paths[inode] == COROSYNC_CONF and self._memdb.entries[inode].mtime
                columns = ("data",) if imported_conf else ALL_COLUMNS
                yield Undetermined(inode, paths[inode], columns)
        if self._states:
            return
        if self._memdb.version == FRESH_VERSION:
            yield Undetermined(ROOT_INODE, VERSION_NAME, ("mtime",))
        conf = self._memdb.entries.get(IMPORTED_INODE)
        if conf is not None and conf.version == FRESH_VERSION:
            yield Undetermined(IMPORTED_INODE, COROSYNC_CONF, ("mtime", "data"))
