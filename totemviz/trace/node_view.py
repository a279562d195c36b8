"""One node as it is known at some event: the part of a ``ClusterView`` (``view``) that belongs to it alone."""

from __future__ import annotations

import msgspec

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import NodeInfo
from totemviz.trace.wallclock import RIGHT, ClockSetting


class ClientQueue(msgspec.Struct, frozen=True):
    """What waits for one CPG client on its daemon's heap, and the most that ever did (the memory is not given back)."""

    queued: int
    queued_bytes: int
    most_bytes: int


class NodeView(msgspec.Struct):
    """One node as known at the cursor. ``own_timeouts_ms``: where they are not those of all nodes, else empty."""

    info: NodeInfo
    token_ms: int
    own_timeouts_ms: dict[str, int] = {}
    corosync_alive: bool = False
    pmxcfs_alive: bool = False
    state: str = ""
    state_text: str = ""
    state_since_ns: int = 0
    ring_id: totem.RingId | None = None
    members: tuple[int, ...] = ()
    proc: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    aru: int = ev.UNKNOWN
    seq: int = ev.UNKNOWN
    queue: int = ev.UNKNOWN
    queue_level: str = ""
    client_queues: dict[int, ClientQueue] = {}
    reloaded_ns: int = -1
    timeouts_before_ms: dict[str, int] = {}
    token_since_ns: int = -1
    token_deadline_ns: int = -1
    blocked_since_ns: int = -1
    blocked_why: str = ""
    blocked_processes: tuple[str, ...] = ()
    waiting: int = 0
    disk: str = ""
    stalled_until_ns: int = -1
    disk_trouble: str = ""
    lrm_state: str = ""
    watchdog_fed_ns: int = -1
    clock: ClockSetting = RIGHT
    disk_load: ev.DiskLoaded | None = None
    loaded_until_ns: int = -1
    fsync_since_ns: int = -1
    fsync_file: str = ""
    last_fsync_ns: int = -1
    fsyncs: int = 0
    dcdb_mode: str = ""
    quorate: bool | None = None
    votes: int = ev.UNKNOWN
    expected_votes: int = ev.UNKNOWN
    version: int = ev.UNKNOWN
    durable_version: int = ev.UNKNOWN
