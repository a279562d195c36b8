"""The disk of a host: what its processes write and sync there, and how long they wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from totemviz.pmxcfs import effects as px
from totemviz.sim import saved_profiles
from totemviz.sim.threads import NOTICEABLE_BLOCK_NS, Actions
from totemviz.totem import effects as tt
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host
    from totemviz.sim.processes import Processes


class Storage:
    """Carries out the machines' effects that touch the disk."""

    def __init__(self, host: Host, processes: Processes) -> None:
        self._host = host
        self._world = host.world
        self._processes = processes
        self._stall_event = -1
        self.actions: Actions = {tt.StoreRingId: self._store_ring_id, px.DiskIo: self._disk_io}

    def _store_ring_id(self, process: str, effect: tt.StoreRingId, cause: int) -> int:
        ios = self._host.disk.write_file(self._host.ring_id_file, effect.seq.to_bytes(8, "little"))
        event = self._host.record(cause, ev.RingIdStored(effect.seq))
        cost_ns = sum(self._host.disk.cost_ns(io, self._world.now_ns) for io in ios)
        for io in ios:
            self._host.disk.complete(io)
        if cost_ns >= NOTICEABLE_BLOCK_NS:
            self._processes.block(process, cost_ns, "writing the ring-id file to a stalled disk", event)
        return event

    def _disk_io(self, process: str, io: px.DiskIo, cause: int) -> int:
        if io.op != "sync":
            self._host.disk.complete(io)
            return self._host.record(cause, io)
        now_ns = self._world.now_ns
        stalled = self._host.disk.stalled_until_ns > now_ns
        event = self._host.record(self._stall_event if stalled else cause, ev.FsyncStarted(process, io.file))
        cost_ns = self._host.disk.cost_ns(io, now_ns)

        def done() -> None:
            self._host.disk.complete(io)
            self._host.record(event, ev.FsyncFinished(process, io.file, cost_ns))

        self._processes.block(process, cost_ns, f"fsync of {io.file}", event, done)
        return event

    def stall(self, duration_ns: int, cause: int) -> None:
        """The disk answers no sync for a while."""
        until_ns = self._world.now_ns + duration_ns
        self._host.disk.stall(until_ns)
        self._stall_event = self._host.record(cause, ev.DiskChanged(self._host.disk.profile.name, duration_ns))

    def change_disk(self, profile: str, cause: int) -> None:
        """Another kind of disk with the same content."""
        self._host.disk.profile = saved_profiles.find(profile)
        self._host.record(cause, ev.DiskChanged(profile, 0))
