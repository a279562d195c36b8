"""The disk of a host: what its processes write and sync there, how long they wait for it, and what goes wrong with it.

A process that needs the disk waits in the kernel and does nothing else. It cannot be interrupted: a wait ends when the
device answers, when the disk is mended, or with the host.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from totemviz.corosync import effects as cs
from totemviz.pmxcfs import effects as px
from totemviz.sim import saved_profiles
from totemviz.sim.device import Load
from totemviz.sim.disk import FLUSHER_WAKES_NS
from totemviz.sim.threads import COROSYNC, NOTICEABLE_BLOCK_NS, Actions
from totemviz.totem import effects as tt
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.processes import Processes

FAULTS = ("full", "io_error", "stuck", "slow", "lies")
DONE_STORE_RINGID = 21
CREATE_FAILED_LINE, WRITE_FAILED_LINE = 707, 718
"""Where corosync 3.1.7 gives up, as it prints it (exec/main.c)."""

EV_TRACKING_FILE = "ev_tracking"
"""Where votequorum keeps the highest expected votes (votequorum.c: load_ev_tracking_barrier)."""

NO_ANSWER = "the disk does not answer"
QUEUE_FULL = "the disk's queue is full"


class _Waiting(NamedTuple):
    """A process in the kernel: ``io`` is asked for again when the disk is mended, ``over`` lets the process go on."""

    io: px.DiskIo
    over: Callable[[], None]


class Storage:
    """Carries out the machines' effects that touch the disk, and the faults of the disk itself."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self._host = host
        self._world = host.world
        self._processes = processes
        self._trouble_event = -1
        self._waiting: list[_Waiting] = []
        self._flusher_ns: int | None = None
        self.actions: Actions = {
            tt.StoreRingId: self._store_ring_id,
            cs.StoreExpectedVotes: self._store_expected_votes,
            px.DiskIo: self._disk_io,
        }

    # ------------------------------------------------------------------------------------------------- for processes

    def _store_ring_id(self, process: str, effect: tt.StoreRingId, cause: int) -> int:
        """Corosync creates its ring-id file anew and writes it, on its main thread, without a sync (a quirk).

        If that cannot be done it gives up (main.c: corosync_ring_id_store).
        """
        host, now_ns = self._host, self._world.now_ns
        try:
            sync = not self._world.conf.totem.quirks.ring_id_not_synced
            ios = host.disk.write_file(host.ring_id_file, effect.seq.to_bytes(8, "little"), sync=sync)
        except OSError as error:
            host.corosync_gives_up(_ring_id_lines(effect.seq, error), "its ring-id file cannot be written", cause)
            return -1
        event = host.record(cause, ev.RingIdStored(effect.seq))
        costs_ns = [host.disk.cost_ns(io, now_ns) for io in ios]
        for io in ios:
            host.disk.complete(io, now_ns)
        known_ns = [cost_ns for cost_ns in costs_ns if cost_ns is not None]
        cost_ns = sum(known_ns) if len(known_ns) == len(costs_ns) else None
        if cost_ns is None or cost_ns >= NOTICEABLE_BLOCK_NS:
            self._wait(process, ios[0], cost_ns, f"writing the ring-id file{self._because(now_ns)}", event)
            self._hinder_new_ring()
        self._arm_flusher()
        return event

    def _store_expected_votes(self, process: str, effect: cs.StoreExpectedVotes, cause: int) -> int:
        """Votequorum writes its file and waits for the disk, on the main thread (``update_ev_tracking_barrier``).

        A disk that refuses makes it go on without (there is a warning in its log).
        """
        disk, now_ns = self._host.disk, self._world.now_ns
        try:
            *writes, sync = disk.write_file(EV_TRACKING_FILE, effect.votes.to_bytes(4, "little"), sync=True)
        except OSError:
            text = "Unable to update ev_tracking_barrier on disk data!!!"
            return self._host.record(cause, tt.Log(tt.Level.WARNING, "VOTEQ", text))
        event = self._host.record(cause, ev.ExpectedVotesStored(effect.votes))
        for io in writes:
            disk.complete(io, now_ns)
        return self._sync(process, sync, event)

    def _hinder_new_ring(self) -> None:
        """The ring that is being formed gets no further while this node is in it and stands still."""
        blocked = self._processes.threads[COROSYNC].announced_event
        if self._host.ring is not None:
            self._world.obstacles[self._host.ring.ring_id] = blocked

    def _disk_io(self, process: str, io: px.DiskIo, cause: int) -> int:
        if io.op == "sync":
            return self._sync(process, io, cause)
        disk, now_ns = self._host.disk, self._world.scheduler.now_ns
        event = self._host.record(cause, io)
        if io.op != "write":
            cost_ns = disk.cost_ns(io, now_ns)
            if cost_ns is None or cost_ns >= NOTICEABLE_BLOCK_NS:
                self._wait(process, io, cost_ns, f"{io.op} of {io.file}{self._because(now_ns)}", event)
        disk.complete(io, now_ns)
        if self._flusher_ns is None:
            self._arm_flusher()
        return event

    def _sync(self, process: str, io: px.DiskIo, cause: int) -> int:
        disk, began_ns = self._host.disk, self._world.now_ns
        troubled = disk.device.troubled(began_ns) and self._trouble_event >= 0
        event = self._host.record(self._trouble_event if troubled else cause, ev.FsyncStarted(process, io.file))

        def done() -> None:
            self._host.disk.complete(io, self._world.now_ns)
            self._host.record(event, ev.FsyncFinished(process, io.file, self._world.now_ns - began_ns))

        self._wait(process, io, disk.cost_ns(io, began_ns), f"fsync of {io.file}", event, done)
        return event

    def _wait(
        self,
        process: str,
        io: px.DiskIo,
        cost_ns: int | None,
        why: str,
        cause: int,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Block the process until the disk has answered; ``cost_ns`` None: nobody knows when."""
        end = self._processes.block(process, cost_ns, why, cause, done)

        def over() -> None:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                end()

        waiting = _Waiting(io, over)
        self._waiting.append(waiting)
        if cost_ns is not None:
            self._world.scheduler.after(cost_ns, over)

    def _because(self, now_ns: int) -> str:
        device = self._host.disk.device
        if device.stuck or device.stalled_until_ns > now_ns:
            return f": {NO_ANSWER}"
        return f": {QUEUE_FULL}" if device.hangs(now_ns) else ""

    # -------------------------------------------------------------------------------------------------- the kernel

    def _arm_flusher(self) -> None:
        """Let the kernel's flusher wake when something will have been dirty for long enough."""
        at_ns = self._host.disk.next_write_back_ns()
        if at_ns is not None and self._flusher_ns is None:
            self._flusher_ns = max(at_ns, self._world.now_ns)
            self._world.scheduler.at(self._flusher_ns, self._flush, self._host.boots)

    def _flush(self, boot: int) -> None:
        if boot != self._host.boots:
            return
        self._flusher_ns = None
        files = self._host.disk.write_back(self._world.now_ns)
        if files:
            self._host.record(ev.NO_CAUSE, ev.DiskWrittenBack(tuple(files)))
            self._arm_flusher()
        elif self._host.disk.next_write_back_ns() is not None:
            self._flusher_ns = self._world.now_ns + FLUSHER_WAKES_NS
            self._world.scheduler.at(self._flusher_ns, self._flush, boot)

    # -------------------------------------------------------------------------------------------------- what happens

    def stall(self, duration_ns: int, cause: int) -> None:
        """The disk answers no sync for a while."""
        self._host.disk.stall(self._world.now_ns + duration_ns)
        self._trouble_event = self._host.record(cause, ev.DiskChanged(self._host.disk.profile.name, duration_ns))

    def change_disk(self, profile: str, cause: int) -> None:
        """Another kind of disk with the same content."""
        self._host.disk.profile = saved_profiles.find(profile)
        self._host.record(cause, ev.DiskChanged(profile, 0))

    def load(self, kind: str, percent: int, duration_ns: int, cause: int) -> int:
        """Others on this host use the disk for a while; returns the event."""
        device, until_ns = self._host.disk.device, self._world.now_ns + duration_ns
        device.loads += (Load(kind, percent, until_ns),)
        self._trouble_event = self._host.record(cause, ev.DiskLoaded(kind, percent, duration_ns))
        return self._trouble_event

    def fault(self, fault: str, factor: int, cause: int) -> None:
        """The disk fails from now on in one of the ways of FAULTS."""
        disk = self._host.disk
        match fault:
            case "full":
                disk.full = True
            case "io_error":
                disk.io_error = True
            case "lies":
                disk.lies = True
            case "stuck":
                disk.device.stuck = True
            case "slow":
                disk.device.slowness = factor
        self._trouble_event = self._host.record(cause, ev.DiskFaulted(fault, factor))

    def mend(self, cause: int) -> None:
        """The disk works again, and what waited for it is answered."""
        disk = self._host.disk
        disk.full = disk.io_error = disk.lies = False
        disk.device.mend()
        self._host.record(cause, ev.DiskMended())
        self._trouble_event = -1
        for waiting in self._waiting:
            cost_ns = disk.cost_ns(waiting.io, self._world.now_ns)
            assert cost_ns is not None
            self._world.scheduler.after(cost_ns, waiting.over)

    def power_off(self) -> None:
        """Nobody waits any more, and the kernel's flusher is gone."""
        self._waiting.clear()
        self._flusher_ns = None


def _ring_id_lines(seq: int, error: OSError) -> tuple[tt.Log, tt.Log]:
    """What corosync says before it gives up (main.c: corosync_ring_id_store, util.c: corosync_exit_error)."""
    why = f"{error.strerror} ({error.errno})"
    line = WRITE_FAILED_LINE if error.errno == errno.ENOSPC else CREATE_FAILED_LINE
    status = f"with status {DONE_STORE_RINGID} at main.c:{line}."
    return (
        tt.Log(tt.Level.ERROR, "MAIN", f"Couldn't store new ring id {seq:x} to stable storage: {why}"),
        tt.Log(tt.Level.ERROR, "MAIN", f"Corosync Cluster Engine exiting {status}"),
    )
