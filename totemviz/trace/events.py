"""The event vocabulary: everything a timeline can hold, in one registry.

An event says *when* (integer nanoseconds since the run began), *where* (node id; 0 = the world itself), *because of
what* (the id of an earlier event, -1 for none) and *what* (a frozen struct). The protocol rooms define the bodies for
what happens inside their machines; this module adds what only a world can see (datagrams on links, processes, disks,
people) and joins all of them into one tagged union. JSONL files, docs and the log panel read this registry.

Simulated and recorded worlds write the same events. What a recording does not show but implies is marked
``inferred``; numbers it cannot know are ``UNKNOWN``.
"""

from __future__ import annotations

from typing import TypeAlias, get_args

import msgspec

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem

UNKNOWN = -1
"""Stands for a number that a recording cannot show; drawn as ``?``."""

NO_CAUSE = -1
WORLD = 0


class NodeInfo(msgspec.Struct, frozen=True):
    """What is known of a node before anything happens. ``disk`` is a profile name, empty if unknown.

    ``letter`` stands for the node where there is no room for its name.
    """

    nodeid: int
    name: str
    votes: int = 1
    disk: str = ""
    letter: str = ""


class RunStarted(msgspec.Struct, frozen=True, tag="run_started"):
    """First event of every timeline.

    ``world``: simulated or recorded; ``timeouts_ms``: effective timeouts by corosync's key names (token, hold,
    consensus, …); ``limits``: effective counts by key name (window_size, miss_count_const, …); ``epoch_ns``: wall clock
    of time 0 for recordings, 0 in simulations.
    """

    world: str
    title: str
    nodes: tuple[NodeInfo, ...]
    timeouts_ms: dict[str, int]
    host_model: str = ""
    seed: int = 0
    transport: str = ""
    epoch_ns: int = 0
    limits: dict[str, int] = {}


class NodeAdded(msgspec.Struct, frozen=True, tag="node_added"):
    """One node more: from now on every nodelist names it."""

    info: NodeInfo


class TimeoutsChanged(msgspec.Struct, frozen=True, tag="timeouts_changed"):
    """The values in effect from now on, as in ``RunStarted``: on this node, or if it is no node's event on all."""

    timeouts_ms: dict[str, int]
    limits: dict[str, int]


class HostModelChanged(msgspec.Struct, frozen=True, gc=False, tag="host_model_changed"):
    """From now on this node's processes share threads, and sync, as another host model has it."""

    model: str


class ClockSet(msgspec.Struct, frozen=True, gc=False, tag="clock_set"):
    """The node's wall clock was set: ``ahead_ns`` before true time (behind if negative), gaining ``drift_ppm``."""

    ahead_ns: int
    drift_ppm: int = 0


class Intervened(msgspec.Struct, frozen=True, tag="intervened"):
    """Somebody did something: ``action`` is the intervention's name, ``text`` says it in words."""

    action: str
    text: str


# ------------------------------------------------------------------------------------------------------- datagrams


class DatagramSent(msgspec.Struct, frozen=True, gc=False, tag="datagram_sent"):
    """A totemsrp message left a node. ``target`` 0 = every node. ``kind`` is the wire type's name."""

    source: int
    target: int
    kind: str
    data: bytes


class DatagramReceived(msgspec.Struct, frozen=True, gc=False, tag="datagram_received"):
    """A node's daemon reads a datagram; ``sent`` is the id of its ``DatagramSent`` event (UNKNOWN if not seen)."""

    source: int
    sent: int
    kind: str


class DatagramDropped(msgspec.Struct, frozen=True, gc=False, tag="datagram_dropped"):
    """A copy of a datagram never arrives at ``target``; ``why``: loss, cut link, dead node, by hand."""

    source: int
    target: int
    sent: int
    kind: str
    why: str


class DatagramQueued(msgspec.Struct, frozen=True, gc=False, tag="datagram_queued"):
    """A datagram arrived at a node whose process is blocked: it waits in the socket."""

    source: int
    sent: int
    kind: str
    process: str


# ------------------------------------------------------------------------------------------------ hosts and processes


class TimerExpired(msgspec.Struct, frozen=True, gc=False, tag="timer_expired"):
    """A timer ran out; ``late_ns`` is how long it waited because its process was blocked."""

    process: str
    timer: str
    late_ns: int


class ProcessStarted(msgspec.Struct, frozen=True, gc=False, tag="process_started"):
    """A daemon was started."""

    process: str
    pid: int


class ProcessKilled(msgspec.Struct, frozen=True, gc=False, tag="process_killed"):
    """A daemon died without a word (SIGKILL, crash, power)."""

    process: str


class ProcessBlocked(msgspec.Struct, frozen=True, gc=False, tag="process_blocked"):
    """A thread of the host does nothing else until ``why`` is over; ``processes`` share that thread."""

    processes: tuple[str, ...]
    why: str


class ProcessResumed(msgspec.Struct, frozen=True, gc=False, tag="process_resumed"):
    """The block is over after ``blocked_ns``; ``waiting`` inputs are handled now."""

    processes: tuple[str, ...]
    blocked_ns: int
    waiting: int


class FsyncStarted(msgspec.Struct, frozen=True, gc=False, tag="fsync_started"):
    """A process asked its disk to make a file durable."""

    process: str
    file: str


class FsyncFinished(msgspec.Struct, frozen=True, gc=False, tag="fsync_finished"):
    """The disk answered after ``took_ns``."""

    process: str
    file: str
    took_ns: int


class RingIdStored(msgspec.Struct, frozen=True, gc=False, tag="ring_id_stored"):
    """Corosync wrote its ring-id file, on its main thread, without fsync (every entry to COMMIT)."""

    seq: int


class ExpectedVotesStored(msgspec.Struct, frozen=True, gc=False, tag="expected_votes_stored"):
    """votequorum wrote the highest expected votes to their file, on the main thread, and waits for the fdatasync."""

    votes: int


class ToolAnswered(msgspec.Struct, frozen=True, gc=False, tag="tool_answered"):
    """A command line tool or a quorum device's daemon has its answer from corosync: OK, INVALID_PARAM …"""

    command: str
    answer: str


class DiskChanged(msgspec.Struct, frozen=True, gc=False, tag="disk_changed"):
    """A disk got another profile (``profile``), or stalls for ``stall_ns`` from now (0 = no stall)."""

    profile: str
    stall_ns: int


class DiskLoaded(msgspec.Struct, frozen=True, gc=False, tag="disk_loaded"):
    """Others on the host use the disk: ``percent`` of its time for ``duration_ns``. ``kind``: backup, vm-io."""

    kind: str
    percent: int
    duration_ns: int


class DiskFaulted(msgspec.Struct, frozen=True, gc=False, tag="disk_faulted"):
    """The disk fails from now on. ``fault``: full, io_error, stuck, slow (``factor`` times), lies."""

    fault: str
    factor: int


class DiskMended(msgspec.Struct, frozen=True, gc=False, tag="disk_mended"):
    """The disk works again; what waited for it is answered."""


class DiskWrittenBack(msgspec.Struct, frozen=True, gc=False, tag="disk_written_back"):
    """The kernel wrote out files that had been dirty for more than 30 s: what they held is durable now."""

    files: tuple[str, ...]


class LinkChanged(msgspec.Struct, frozen=True, tag="link_changed"):
    """The link from ``source`` to ``target`` is cut, or loses ``loss_percent`` of what is sent, from now on."""

    source: int
    target: int
    cut: bool
    loss_percent: float
    delay_ns: int


class WriteStarted(msgspec.Struct, frozen=True, gc=False, tag="write_started"):
    """A program on this node begins to write a file below /etc/pve; ``write`` numbers the run's writes from 1."""

    write: int
    path: str
    size: int


class SystemCalled(msgspec.Struct, frozen=True, gc=False, tag="system_called"):
    """The program of write ``write`` makes the system call ``call_id``."""

    write: int
    call_id: int
    operation: str
    path: str


class WriteFinished(msgspec.Struct, frozen=True, gc=False, tag="write_finished"):
    """The program is done: ``result`` of its last system call (negative errno = failed) after ``took_ns``.

    None: it died with its host.
    """

    write: int
    result: int | None
    took_ns: int


class CpgRefused(msgspec.Struct, frozen=True, gc=False, tag="cpg_refused"):
    """A program's message was turned away (TRY_AGAIN), the first time since one was taken; it tries again."""

    process: str
    client: int


class FloodFinished(msgspec.Struct, frozen=True, gc=False, tag="flood_finished"):
    """A program has sent its ``messages``; ``retries`` calls were turned away, for ``longest_refusal_ns`` at most."""

    process: str
    messages: int
    retries: int
    longest_refusal_ns: int
    took_ns: int


# --------------------------------------------------------------------------------------------------- high availability


class LrmStateChanged(msgspec.Struct, frozen=True, gc=False, tag="lrm_state_changed"):
    """The HA manager of this node changed its state: wait_for_agent_lock, active, lost_agent_lock."""

    old: str
    new: str


class WatchdogFed(msgspec.Struct, frozen=True, gc=False, tag="watchdog_fed"):
    """The HA manager holds its lock and told watchdog-mux that it is alive."""


class WatchdogWarned(msgspec.Struct, frozen=True, gc=False, tag="watchdog_warned"):
    """watchdog-mux has heard nothing of the HA manager for ``silent_s``: 10 s are left."""

    silent_s: int


class WatchdogExpired(msgspec.Struct, frozen=True, gc=False, tag="watchdog_expired"):
    """After ``silent_s`` without a word watchdog-mux stops feeding the device: the node will be reset."""

    silent_s: int


class NodeFenced(msgspec.Struct, frozen=True, gc=False, tag="node_fenced"):
    """The watchdog reset this node."""


WorldBody: TypeAlias = (
    RunStarted
    | Intervened
    | TimeoutsChanged
    | NodeAdded
    | ClockSet
    | HostModelChanged
    | DatagramSent
    | DatagramReceived
    | DatagramDropped
    | DatagramQueued
    | TimerExpired
    | ProcessStarted
    | ProcessKilled
    | ProcessBlocked
    | ProcessResumed
    | FsyncStarted
    | FsyncFinished
    | RingIdStored
    | ExpectedVotesStored
    | ToolAnswered
    | DiskChanged
    | DiskLoaded
    | DiskFaulted
    | DiskMended
    | DiskWrittenBack
    | LinkChanged
    | WriteStarted
    | SystemCalled
    | CpgRefused
    | FloodFinished
    | WriteFinished
    | LrmStateChanged
    | WatchdogFed
    | WatchdogWarned
    | WatchdogExpired
    | NodeFenced
)

Body: TypeAlias = WorldBody | totem.Observation | totem.Log | corosync.Observation | pmxcfs.Observation


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of a timeline; ``id`` is its position."""

    id: int
    time_ns: int
    node: int
    cause: int
    body: Body
    inferred: bool = False


def kind_of(body: Body) -> str:
    """The body's name in JSONL, transcripts and filters."""
    return _KIND_BY_TYPE[type(body)]


_KIND_BY_TYPE: dict[type, str] = {cls: cls.__struct_config__.tag for cls in get_args(Body)}

BODY_BY_KIND: dict[str, type] = {kind: cls for cls, kind in _KIND_BY_TYPE.items()}
"""Registry: name of the kind → struct type."""
