"""What all parts of one pmxcfs process share: who it is, its clock, and the list its effects go to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

import msgspec

from totemviz.pmxcfs.ascii import to_ascii
from totemviz.pmxcfs.effects import Output, PmxcfsExited
from totemviz.totem.effects import Level, Log

NS_PER_S = 10**9
EPOCH_S = 1_700_000_000


def true_time(now_ns: int) -> int:
    """What a wall clock shows that was never set wrong, in seconds since 1970."""
    return EPOCH_S + now_ns // NS_PER_S


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Known faults of pmxcfs that can be turned off to show the difference; all on is the real program.

    ``synced_applies_unsynced_messages``: between "received all states" and the end of the updates, a synced member
    applies messages of outdated members at once, while these apply them only after the updates. Concurrent writes on
    both sides then come out in different orders, and the trees differ until the hourly verification (sheet §5.7,
    quirk Q8). Off: synced members, too, keep such messages until the updates are complete.

    ``truncate_makes_size_without_data`` (Q1): making an empty file longer sets its size and nothing else; after a
    restart it is empty again and the index another one. A leader that must send such a file in an update dies with
    SIGSEGV, and so does the next leader. (Reading it crashes the real daemon, too; nothing here reads.) Off: the file
    gets zero bytes.

    ``rename_forgets_target_early`` (Q2): renaming a directory with content onto an empty one fails and loses the empty
    one from memory, until a restart brings it back. If something new has its name by then, the database holds the name
    twice and pmxcfs does not start any more. Off: a rename that fails changes nothing.

    ``offsets_cut_to_32_bits`` (Q3): a write at 4 GiB lands at 0. Off: EFBIG.

    ``lock_timers_restart`` (Q5): every synchronisation gives all locks their 120 s again. Off: a lock in the same
    state keeps its time.

    ``rejoin_on_kept_handle`` (Q7): after leaving the group the first join is tried on the old handle, which corosync
    refuses with CS_ERR_EXIST: 6 s more outside. Off: a new handle.

    ``writers_hang_in_error_mode`` (Q11): in a state machine that stopped for good a writer waits for ever. Off: EIO.
    """

    synced_applies_unsynced_messages: bool = True
    truncate_makes_size_without_data: bool = True
    rename_forgets_target_early: bool = True
    offsets_cut_to_32_bits: bool = True
    lock_timers_restart: bool = True
    rejoin_on_kept_handle: bool = True
    writers_hang_in_error_mode: bool = True


class ProcessId(msgspec.Struct, frozen=True, order=True, gc=False):
    """A member of a group as pmxcfs knows it: a restarted process is a new member, even on the same node."""

    nodeid: int
    pid: int

    def __str__(self) -> str:
        """As the log prints it."""
        return f"{self.nodeid}/{self.pid}"


class ProcessCrash(Exception):  # noqa: N818 - an ordinary fate
    """The kernel has ended the process in the middle of what it was doing; carries the signal."""


class Process:
    """Identity, clock and outputs of one process life."""

    def __init__(
        self, identity: ProcessId, node_name: str, address: str, wall_clock: Callable[[int], int], quirks: Quirks
    ) -> None:
        self.identity = identity
        self.node_name = node_name
        self.address = address
        self.quirks = quirks
        self.now_ns = 0
        self.quorate = False
        self.corosync_running = False
        self.debug = False
        self.out: list[Output] = []
        self._crashed = False
        self._wall_clock = wall_clock

    @property
    def wall_s(self) -> int:
        """The clock of this node in seconds, as it is stamped on messages."""
        return self._wall_clock(self.now_ns)

    def emit(self, output: Output) -> None:
        """Hand an effect or observation to the world, after all earlier ones."""
        self.out.append(output)

    def emit_all(self, outputs: Iterable[Output]) -> None:
        """The same for several, in order."""
        self.out.extend(outputs)

    def notice(self, domain: str, text: str) -> None:
        """Log an ordinary event."""
        self.out.append(Log(Level.NOTICE, domain, to_ascii(text, quote=False)))

    def critical(self, domain: str, text: str) -> None:
        """Log trouble."""
        self.out.append(Log(Level.CRITICAL, domain, to_ascii(text, quote=False)))

    def crash(self, signal: str) -> NoReturn:
        """A fault that the real program does not survive: nothing of this process comes after. Raises ProcessCrash."""
        self.emit(PmxcfsExited(signal))
        self._crashed = True
        raise ProcessCrash(signal)

    def take(self) -> list[Output]:
        """Everything emitted since the last call."""
        taken, self.out = self.out, []
        if self._crashed:
            last = next((i for i, output in enumerate(taken, 1) if isinstance(output, PmxcfsExited)), 0)
            return taken[:last]
        return taken
