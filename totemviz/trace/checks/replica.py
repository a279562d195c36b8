"""The replicated tree: what is applied, in which mode, with which result on whom (pmxcfs sheet §12).

Numbers are those of that list plus 100. What cannot be read from a timeline is tested where it can be:

* trees, digests, inodes, names (1, 2, 4-7), the database (8-12): ``tests/pmxcfs/test_properties``, ``test_database``,
  ``tests/sim/test_power_cut``, ``test_fsyncs``
* reads (16), resending and single members (29, 30), verification (31, 32): ``tests/pmxcfs/test_sequences``,
  ``test_trouble``
* mode bits and quorum (33), locks against renewed ones (34): ``tests/pmxcfs/test_plugs``, ``test_vectors``
* woken writers, slow disks (36, 37): ``tests/pmxcfs/test_properties``, ``tests/sim/test_stalls``
* 20 follows from 19, 27 and 28 are about messages that nobody heeds; 25 is in ``test_database``
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import ClassVar

from totemviz.corosync.effects import CpgDelivered
from totemviz.pmxcfs.effects import (
    ChangeApplied,
    ChangeCommitted,
    ChangeQueued,
    DfsmModeChanged,
    FuseReply,
    PmxcfsExited,
    TreeLoaded,
)
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.locks import LOCK_TIMEOUT_S, is_lock_path
from totemviz.pmxcfs.messages import DCDB_GROUP, MessageType
from totemviz.totem.effects import Log
from totemviz.trace.checks.base import Handler, Invariant
from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import ClockSet, Event, ProcessKilled, ProcessStarted
from totemviz.trace.wallclock import RIGHT, ClockSetting

PMXCFS = "pmxcfs"
DCDB = "dcdb"
NS_PER_S = 10**9

MessageId = tuple[int, int, int]
"""Node id, pid and count of a NORMAL message."""

_HEADER = struct.Struct("<HHIIIQ")  # type, subtype, protocol version, time, reserved, count
_NOT_CARRIED_OUT = frozenset(-errno for errno in (Errno.EPERM, Errno.EIO, Errno.EACCES, Errno.EBUSY, Errno.ENOTCONN))
"""What a caller may be told although its message was applied nowhere."""


def dcdb_message(body: CpgDelivered) -> tuple[int, int] | None:
    """Type and, of a NORMAL message, count of what was delivered to the dcdb group; None for other groups."""
    if not body.group.startswith(DCDB_GROUP) or len(body.payload) < _HEADER.size:
        return None
    type_, *_, count = _HEADER.unpack_from(body.payload)
    return type_, count


class _PerLife(Invariant):
    """Keeps something per node that is void when its pmxcfs starts or ends."""

    def handlers(self) -> Mapping[type, Handler]:
        return {ProcessStarted: self._life, ProcessKilled: self._life, PmxcfsExited: self._ended} | dict(self.more())

    def more(self) -> Mapping[type, Handler]:
        """The handlers of the invariant itself."""
        raise NotImplementedError

    def forget(self, node: int) -> None:
        """The node's pmxcfs is another one from here on."""
        raise NotImplementedError

    def _life(self, event: Event, body: ProcessStarted | ProcessKilled) -> None:
        if body.process == PMXCFS:
            self.forget(event.node)

    def _ended(self, event: Event, _: object) -> None:
        self.forget(event.node)


class VersionsCount(_PerLife):
    """Pmxcfs 3. An UNLOCK that comes too late changes nothing and succeeds all the same."""

    number = 103
    name = "versions count"
    sentence = "A change that succeeds raises the version of the tree by exactly one; one that fails changes nothing."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._versions: dict[int, int] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {TreeLoaded: self._known, ChangeCommitted: self._known, ChangeApplied: self._applied}

    def forget(self, node: int) -> None:  # noqa: D102
        self._versions.pop(node, None)

    def _known(self, event: Event, body: TreeLoaded | ChangeCommitted) -> None:
        self._versions[event.node] = body.version

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        before = self._versions.get(event.node)
        self._versions[event.node] = body.version
        if before is None:
            return
        allowed = {before + 1} if body.result >= 0 else {before}
        if body.operation == "unlock":
            allowed.add(before)
        if body.version not in allowed:
            self.fail(event, f"{body.operation} with result {body.result} takes version {before} to {body.version}")


class SameResults(Invariant):
    """Pmxcfs 13 and 15, as far as results and versions tell. Broken in the ordering hole, and whatever follows."""

    number = 113
    name = "same results"
    sentence = "A message has the same result and leads to the same version on every node that applies it."
    known_failure = "synced_applies_unsynced_messages"

    _window: ClassVar[frozenset[int]] = frozenset({MessageType.STATE, MessageType.UPDATE})

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._first: dict[MessageId, tuple[int, int, int]] = {}
        self._exchanging: set[int] = set()
        self._hole = False

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {CpgDelivered: self._delivered, ChangeApplied: self._applied}

    def _delivered(self, event: Event, body: CpgDelivered) -> None:
        message = dcdb_message(body)
        if message is None:
            return
        if message[0] in self._window:
            self._exchanging.add(event.node)
        elif message[0] != MessageType.NORMAL:
            self._exchanging.discard(event.node)
        elif event.node in self._exchanging:
            self._hole = True

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        key = body.nodeid, body.pid, body.count
        result, version, node = self._first.setdefault(key, (body.result, body.version, event.node))
        if (result, version) != (body.result, body.version):
            self.fail(
                event,
                f"message {body.count} of {body.nodeid}/{body.pid} has result {body.result}, version {body.version}, "
                f"on node {node} {result} and {version}",
                known=self._hole,
            )


class AnswersAreApplied(_PerLife):
    """Pmxcfs 14."""

    number = 114
    name = "answers are applied"
    sentence = "A caller gets the result its own message had on its own node, or an error that says it had none."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._counts: dict[int, dict[int, int]] = {}
        self._results: dict[int, dict[int, int]] = {}
        self._pids: dict[int, int] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ChangeQueued: self._queued, ChangeApplied: self._applied, FuseReply: self._replied}

    def forget(self, node: int) -> None:  # noqa: D102
        self._counts.pop(node, None)
        self._results.pop(node, None)

    def _life(self, event: Event, body: ProcessStarted | ProcessKilled) -> None:
        super()._life(event, body)
        if isinstance(body, ProcessStarted) and body.process == PMXCFS:
            self._pids[event.node] = body.pid

    def _queued(self, event: Event, body: ChangeQueued) -> None:
        self._counts.setdefault(event.node, {})[body.call_id] = body.count

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        if (body.nodeid, body.pid) == (event.node, self._pids.get(event.node)):
            self._results.setdefault(event.node, {})[body.count] = body.result

    def _replied(self, event: Event, body: FuseReply) -> None:
        count = self._counts.get(event.node, {}).pop(body.call_id, None)
        if count is None:
            return
        applied = self._results.get(event.node, {}).pop(count, None)
        if body.result != applied and body.result not in _NOT_CARRIED_OUT:
            had = "was not applied here" if applied is None else f"had result {applied}"
            self.fail(event, f"call {body.call_id} returns {body.result}, but its message {count} {had}")


class CountsRise(_PerLife):
    """Pmxcfs 17. A node that comes back to the group may come back to another tree.

    Messages that are multicast again when the group grows come behind younger ones that are still under way. If the
    group shrinks to one member before they are delivered, nothing sorts them any more.
    """

    number = 117
    name = "counts rise"
    sentence = "Of each sender, the messages a node applies have rising numbers, but for those that were sent again."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._counts: dict[int, dict[tuple[int, int], int]] = {}
        self._sent: dict[int, int] = {}
        self._sent_again: dict[int, int] = {}
        self._late: dict[int, set[MessageId]] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {DfsmModeChanged: self._mode, ChangeQueued: self._queued, Log: self._log, ChangeApplied: self._applied}

    def forget(self, node: int) -> None:  # noqa: D102
        self._counts.pop(node, None)
        self._late.pop(node, None)

    def _mode(self, event: Event, body: DfsmModeChanged) -> None:
        if (body.machine, body.mode) == (DCDB, "START"):
            self.forget(event.node)

    def _queued(self, event: Event, body: ChangeQueued) -> None:
        self._sent[event.node] = body.count

    def _log(self, event: Event, body: Log) -> None:
        if body.subsystem == DCDB and body.text.startswith("queue not emtpy - resening"):
            self._sent_again[event.node] = self._sent.get(event.node, 0)

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        counts = self._counts.setdefault(event.node, {})
        before = counts.get((body.nodeid, body.pid), 0)
        if body.count > before:
            counts[body.nodeid, body.pid] = body.count
            return
        message, late = (body.nodeid, body.pid, body.count), self._late.setdefault(event.node, set())
        if body.count == before or body.count > self._sent_again.get(body.nodeid, 0) or message in late:
            self.fail(event, f"message {body.count} of {body.nodeid}/{body.pid} is applied after its message {before}")
        late.add(message)


class AppliedWhenSynced(_PerLife):
    """Pmxcfs 18, and 12: a node whose database failed is in mode ERROR from its next message on."""

    number = 118
    name = "applied when synced"
    sentence = "A message is applied in mode SYNCED and in no other."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._modes: dict[int, str] = {}

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {DfsmModeChanged: self._mode, ChangeApplied: self._applied}

    def forget(self, node: int) -> None:  # noqa: D102
        self._modes.pop(node, None)

    def _mode(self, event: Event, body: DfsmModeChanged) -> None:
        if body.machine == DCDB:
            self._modes[event.node] = body.mode

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        mode = self._modes.get(event.node, "SYNCED")
        if mode != "SYNCED":
            self.fail(event, f"{body.operation} {body.path} is applied in mode {mode}")


class AppliedWhenQuorate(_PerLife):
    """Pmxcfs 19, and 20 with it: quorum as pmxcfs itself knows it, which is what its log says."""

    number = 119
    name = "applied when quorate"
    sentence = "A node without quorum applies no message."

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._without: set[int] = set()

    def more(self) -> Mapping[type, Handler]:  # noqa: D102
        return {Log: self._log, ChangeApplied: self._applied}

    def forget(self, node: int) -> None:  # noqa: D102
        self._without.discard(node)

    def _log(self, event: Event, body: Log) -> None:
        if body.subsystem == "status":
            if body.text == "node lost quorum":
                self._without.add(event.node)
            elif body.text == "node has quorum":
                self._without.discard(event.node)

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        if event.node in self._without:
            self.fail(event, f"{body.operation} {body.path} is applied by a node without quorum")


class LocksAreKept(Invariant):
    """Pmxcfs 35: judged where the lock is removed, by the time it was last taken or renewed there.

    The 120 s are those of the clock of the node that had it removed, right or wrong.
    """

    number = 135
    name = "locks are kept"
    sentence = (
        "Nobody but its holder removes a lock before 120 s have passed since it was taken or renewed, by the clock of "
        "the node that removes it."
    )

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._since_ns: dict[tuple[int, str], int] = {}
        self._versions: dict[int, int] = {}
        self._clocks: dict[int, list[ClockSetting]] = {}

    def handlers(self) -> Mapping[type, Handler]:  # noqa: D102
        return {ChangeApplied: self._applied, ClockSet: self._clock_set}

    def _clock_set(self, event: Event, body: ClockSet) -> None:
        setting = ClockSetting(event.time_ns, body.ahead_ns, body.drift_ppm)
        self._clocks.setdefault(event.node, []).append(setting)

    def _shown_ns(self, nodeid: int, time_ns: int) -> int:
        """What the node's clock showed at a time of the run."""
        past = [setting for setting in self._clocks.get(nodeid, ()) if setting.since_ns <= time_ns]
        return time_ns + (past[-1] if past else RIGHT).ahead_at(time_ns)

    def _applied(self, event: Event, body: ChangeApplied) -> None:
        changed = body.version != self._versions.get(event.node)
        self._versions[event.node] = body.version
        if not is_lock_path(body.path) or body.result < 0:
            return
        lock = event.node, body.path
        if body.operation in ("mkdir", "mtime"):
            self._since_ns[lock] = event.time_ns
        elif body.operation == "unlock" and changed:
            since_ns = self._since_ns.pop(lock, None)
            if since_ns is None:
                return
            age_s = (self._shown_ns(body.nodeid, event.time_ns) - self._shown_ns(body.nodeid, since_ns)) / NS_PER_S
            if age_s < LOCK_TIMEOUT_S:
                self.fail(event, f"{body.path} is removed {age_s:.1f} s after it was taken or renewed")
