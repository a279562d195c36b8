"""Timers of the cluster-wide locks, the directories below ``priv/lock`` (sheet §2.8).

Taking a lock is an mkdir, so the total order decides who wins. What is kept here is local and not replicated: when
this node first saw a lock in its present state. Only the node with the lowest id acts on it.
"""

from __future__ import annotations

import msgspec

from totemviz.pmxcfs.index import entry_checksum
from totemviz.pmxcfs.memdb import LOCK_DIRECTORY, Memdb

LOCK_TIMEOUT_S = 120


class LockTimer(msgspec.Struct, frozen=True):
    """Since when (local seconds) this node knows the lock in the state with this checksum."""

    since_s: int
    checksum: bytes


class LockTimers:
    """The lock table of one node, by path; ``keep`` heals quirk Q5."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._timers: dict[str, LockTimer] = {}

    def register(self, memdb: Memdb, path: str, now_s: int) -> None:
        """A lock was taken or renewed: its time starts now."""
        entry = memdb.lookup(path)
        if entry is not None and entry.is_directory and is_lock_path(path):
            self._timers[path] = LockTimer(now_s, entry_checksum(entry))

    def forget(self, path: str) -> None:
        """The lock is gone."""
        self._timers.pop(path, None)

    def rebuild(self, memdb: Memdb, now_s: int) -> None:
        """Start all timers anew from the tree.

        The original means to keep the old times but looks them up in the wrong table, so every lock gets its full
        time again after each synchronisation (quirk Q5).
        """
        directory = memdb.lookup(LOCK_DIRECTORY)
        if directory is None or not directory.is_directory:
            return
        old, self._timers = self._timers if self._keep else {}, {}
        for path, entry in memdb.walk():
            if entry.is_directory and is_lock_path(path):
                timer = LockTimer(now_s, entry_checksum(entry))
                known = old.get(path)
                self._timers[path] = known if known is not None and known.checksum == timer.checksum else timer

    def age_s(self, path: str, now_s: int) -> int:
        """For how long the lock has been in the state that is known, 0 if nothing is known of it."""
        timer = self._timers.get(path)
        return 0 if timer is None else now_s - timer.since_s

    def expired(self, path: str, checksum: bytes, now_s: int) -> tuple[bool, bool]:
        """Whether the lock in this state is older than the timeout, and whether another state was known before.

        Exactly 120 s is not expired yet (``memdb.c: memdb_lock_expired``).
        """
        timer = self._timers.get(path)
        if timer is not None and timer.checksum == checksum:
            return now_s - timer.since_s > LOCK_TIMEOUT_S, False
        self._timers[path] = LockTimer(now_s, checksum)
        return False, timer is not None


def is_lock_path(path: str) -> bool:
    """Whether ``path`` lies directly in the lock directory."""
    return path.startswith(LOCK_DIRECTORY + "/") and "/" not in path[len(LOCK_DIRECTORY) + 1 :]
