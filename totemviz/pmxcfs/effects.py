"""What pmxcfs asks of its world, and what it lets the world see. Timers and log lines are the ring room's structs."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from totemviz.pmxcfs.index import Entry
from totemviz.totem.effects import CancelTimer, Log, SetTimer


class CpgJoin(msgspec.Struct, frozen=True, gc=False):
    """Join a CPG group; ``client`` is one of this process' two connections (0 dcdb, 1 status)."""

    client: int
    group: str


class CpgLeave(msgspec.Struct, frozen=True, gc=False):
    """Leave the group of this connection."""

    client: int
    group: str


class CpgMcast(msgspec.Struct, frozen=True, gc=False):
    """Multicast to the group; the world answers with ``Pmxcfs.cpg_result`` (OK, or TRY_AGAIN as libcpg would)."""

    client: int
    group: str
    payload: bytes


class CpgFinalize(msgspec.Struct, frozen=True, gc=False):
    """Close this CPG connection; there is no answer. The next join comes over a new connection of the same number.

    Nothing that still belongs to the old connection may reach the process afterwards.
    """

    client: int


class FuseReply(msgspec.Struct, frozen=True, gc=False, tag="fuse_reply"):
    """The system call ``call_id`` returns ``result``: a count, 0, or a negative errno."""

    call_id: int
    result: int


class DiskIo(msgspec.Struct, frozen=True, gc=False, tag="disk_io"):
    """One operation SQLite issued, in order. ``op``: write, truncate, sync, delete; offset and length in bytes.

    The world decides what it costs: the effects that follow happen only after it.
    """

    op: str
    file: str
    offset: int
    length: int


# ----------------------------------------------------------------------------------------------------- observations


class FuseCalled(msgspec.Struct, frozen=True, gc=False, tag="fuse_called"):
    """A client's system call reached pmxcfs. ``operation``: create, write, mkdir, rename, delete, mtime."""

    call_id: int
    operation: str
    path: str
    to: str
    size: int


class ChangeQueued(msgspec.Struct, frozen=True, gc=False, tag="change_queued"):
    """A change was handed to CPG as this process' dcdb message number ``count``, for system call ``call_id``."""

    call_id: int
    count: int
    operation: str
    path: str


class ChangeApplied(msgspec.Struct, frozen=True, gc=False, tag="change_applied"):
    """A delivered change was applied to the tree in memory (before its transaction reaches the disk).

    (``nodeid``, ``pid``, ``count``) is the message's identity; ``result`` 0 or more on success, else negative errno;
    ``version`` the tree's version afterwards.
    ``entry`` is the file or directory as it is now, ``gone`` the inode that is no more (0: none).
    """

    nodeid: int
    pid: int
    count: int
    operation: str
    path: str
    result: int
    version: int
    entry: Entry | None = None
    gone: int = 0


class ChangeCommitted(msgspec.Struct, frozen=True, gc=False, tag="change_committed"):
    """SQLite's COMMIT for tree version ``version`` returned. ``rows``: the whole tree, if it took the leader's."""

    version: int
    rows: tuple[Entry, ...] = ()


class TreeLoaded(msgspec.Struct, frozen=True, gc=False, tag="tree_loaded"):
    """A starting pmxcfs read its tree from config.db.

    ``version`` is the tree's, ``entries`` counts the root too, ``rows`` are all of them.
    """

    version: int
    entries: int
    rows: tuple[Entry, ...] = ()


class DfsmModeChanged(msgspec.Struct, frozen=True, gc=False, tag="dfsm_mode_changed"):
    """A state machine over CPG changed its mode (pmxcfs sheet §5.1). ``machine``: dcdb or status."""

    machine: str
    mode: str


class LockExpired(msgspec.Struct, frozen=True, gc=False, tag="lock_expired"):
    """The lowest node judged a cluster-wide lock that another one waits for: too old, by its own clock.

    ``age_s`` seconds since it was taken or renewed.
    """

    path: str
    age_s: int


class CorosyncConfWritten(msgspec.Struct, frozen=True, gc=False, tag="corosync_conf_written"):
    """Pmxcfs copied its corosync.conf to /etc/corosync; ``version`` is its config_version."""

    version: int


class CorosyncReload(msgspec.Struct, frozen=True, gc=False, tag="corosync_reload"):
    """Pmxcfs ran ``corosync-cfgtool -R``: every corosync of the cluster is to read its corosync.conf again."""


class PmxcfsExited(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="pmxcfs_exited"):
    """Pmxcfs ended: it has left its groups and closed its database, or ``signal`` names what it died of."""

    signal: str = ""


CpgCall: TypeAlias = CpgJoin | CpgLeave | CpgMcast

Effect: TypeAlias = CpgCall | CpgFinalize | SetTimer | CancelTimer | Log

Observation: TypeAlias = (
    FuseCalled
    | ChangeQueued
    | ChangeApplied
    | ChangeCommitted
    | TreeLoaded
    | DfsmModeChanged
    | LockExpired
    | CorosyncConfWritten
    | CorosyncReload
    | PmxcfsExited
    | FuseReply
    | DiskIo
)

Output: TypeAlias = Effect | Observation
