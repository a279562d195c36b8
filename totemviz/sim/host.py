"""A host: one node's daemons, the threads they run on, their timers, and its disk.

The host carries out what a machine asked for, in order, and writes what happened to the timeline. An fsync in the
middle of a list blocks the thread; the rest of the list follows when the disk has answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any

from totemviz.corosync import effects as cs
from totemviz.corosync.daemon import Daemon
from totemviz.pmxcfs import effects as px
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.sim import saved_profiles
from totemviz.sim.disk import Disk
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.threads import COROSYNC, NOTICEABLE_BLOCK_NS, PMXCFS, QUIET_TIMERS, HostModel, Job, Thread, Timers
from totemviz.totem import effects as tt
from totemviz.totem.pg import Reassembler
from totemviz.totem.ring import Ring
from totemviz.totem.wire import ORF_TOKEN, TYPE_NAMES
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.world import World

IPC_NS = 10_000
"""A request or event between two processes of one host: two context switches."""

SOCKET_DATAGRAMS = 184
"""What a daemon's socket holds: corosync asks for 1 MiB and gets Linux' default limit of 212,992 bytes, doubled; the
kernel charges about 2,304 bytes for a small datagram. A daemon that is stopped for long loses what comes last.
"""

_LIBRARY_ERROR = cs.CpgError.LIBRARY


class Host:
    """One node."""

    def __init__(self, world: World, info: ev.NodeInfo, model: HostModel, disk: Disk) -> None:
        self.world = world
        self.info = info
        self.nodeid = info.nodeid
        self.model = model
        self.disk = disk
        self.daemon: Daemon | None = None
        self.ring: Ring | None = None
        self.pmxcfs: Pmxcfs | None = None
        self.killed_event = -1
        self.gather_event = -1
        self.token_ring: tt.RingId | None = None
        self.stall_event = -1
        self._pids = 0
        self._pmxcfs_pid = 0
        self._pmxcfs_life = 0
        self.powered = True
        self._boots = 0
        self.threads = {process: thread for thread in map(Thread, model.threads) for process in thread.processes}
        self.timers = Timers(world.scheduler.at, self._timer_due)
        self._actions: dict[type, Callable[[str, Any, int], int]] = {
            tt.Send: self._send,
            tt.SetTimer: self._set_timer,
            tt.CancelTimer: self._cancel_timer,
            tt.StoreRingId: self._store_ring_id,
            tt.TokenReceived: self._token_received,
            tt.StateEntered: self._state_entered,
            tt.MembershipInstalled: self._membership_installed,
            px.DiskIo: self._disk_io,
            px.CpgJoin: self._cpg_request,
            px.CpgLeave: self._cpg_request,
            px.CpgMcast: self._cpg_request,
            px.CpgFinalize: self._cpg_finalize,
            px.FuseReply: self._fuse_reply,
            cs.CpgConfchg: self._cpg_confchg,
            cs.CpgDelivered: self._cpg_delivered,
            cs.QuorumChanged: self._quorum_changed,
            cs.SyncCompleted: self._sync_completed,
            cs.DaemonExited: self._daemon_exited,
        }

    # ------------------------------------------------------------------------------------------------ starting, dying

    def start_corosync(self, cause: int) -> None:
        """Start the daemon, with the ring sequence its ring-id file holds."""
        if self.daemon is not None or not self.powered:
            return
        try:
            stored = int.from_bytes(self.disk.read_file(self._ring_id_file), "little")
        except FileNotFoundError:
            stored = 0
        self.ring = Ring(self.nodeid, self.world.conf.totem, stored)
        epoch_ms = self.world.epoch_s * 1000
        self.daemon = Daemon(self.nodeid, self.world.conf, self.ring, Reassembler(), epoch_ms)
        event = self._record(cause, ev.ProcessStarted(COROSYNC, self._next_pid()))
        self.carry_out(COROSYNC, self.daemon.start(self.world.now_ns), event)

    def start_pmxcfs(self, cause: int) -> None:
        """Start pmxcfs on the node's config.db."""
        if self.pmxcfs is not None or not self.powered:
            return
        self._pmxcfs_life += 1
        self._pmxcfs_pid = pid = self._next_pid()
        database = Database(lambda: self.disk.connect(CONFIG_DB), self.disk.drain_io, self.model.synchronous)
        self.pmxcfs = Pmxcfs(self.nodeid, pid, self.info.name, database, epoch_s=self.world.epoch_s)
        event = self._record(cause, ev.ProcessStarted(PMXCFS, pid))
        self.carry_out(PMXCFS, self.pmxcfs.start(self.world.now_ns), event)
        if self.daemon is not None and self.daemon.connections_allowed:
            self._connect_pmxcfs(event)

    def kill(self, process: str, cause: int) -> None:
        """SIGKILL: whatever waited for the process is gone with it."""
        if (self.daemon if process == COROSYNC else self.pmxcfs) is None:
            return
        event = self._record(cause, ev.ProcessKilled(process))
        self._bury(process, event)

    def power_cut(self, rng: Random | None, cause: int) -> None:
        """No process gets to say anything, and the disk falls back to what was durable (see `Disk.crash`)."""
        self.powered = False
        self._boots += 1
        for process in (COROSYNC, PMXCFS):  # in this order: no daemon is left to announce that pmxcfs is gone
            self.kill(process, cause)
        for thread in self.threads.values():
            thread.blocked = thread.paused = False
            thread.announced_event = -1
            thread.inbox.clear()
        self.disk = self.disk.crash(rng)

    def shut_down(self, cause: int) -> None:
        """SIGTERM to pmxcfs, then to corosync, which says goodbye."""
        if self.pmxcfs is not None:
            self._bury(PMXCFS, self._record(cause, ev.ProcessKilled(PMXCFS)))
        if self.daemon is not None:
            self.carry_out(COROSYNC, self.daemon.shutdown(self.world.now_ns), cause)

    def _bury(self, process: str, event: int) -> None:
        thread = self.threads[process]
        self.timers.cancel_all(process)
        thread.inbox = deque(job for job in thread.inbox if job.process != process)
        thread.due_timers = [due for due in thread.due_timers if due[0] != process]
        thread.rest = deque(item for item in thread.rest if item[0] != process)
        if process == COROSYNC:
            self.daemon = self.ring = None
            self.killed_event = event
            self._hinder_token(event)
            self.token_ring = None
            if self.pmxcfs is not None:
                self._post_pmxcfs(event, lambda pmxcfs: pmxcfs.corosync_lost(self.world.now_ns))
        else:
            self.pmxcfs = None
            self._pmxcfs_life += 1
            self.disk.process_died()
            self.world.clients.pmxcfs_died(self.nodeid, event)
            if self.daemon is not None:
                for client in (0, 1):
                    _, outputs = self.daemon.cpg_disconnect(self.world.now_ns, client)
                    self.carry_out(COROSYNC, outputs, event)
        if thread.blocked and not thread.paused and not any(self._alive(name) for name in thread.processes):
            thread.blocked = False

    def _alive(self, process: str) -> bool:
        return (self.daemon if process == COROSYNC else self.pmxcfs) is not None

    def _next_pid(self) -> int:
        self._pids += 1
        return 1000 * self.nodeid + self._pids

    @property
    def _ring_id_file(self) -> str:
        return f"ringid_{self.nodeid}"

    # --------------------------------------------------------------------------------------------------------- inputs

    def datagram(self, source: int, sent: int, data: bytes) -> None:
        """A datagram reaches this host."""
        if self.daemon is None:
            self.world.lost(source, self.nodeid, sent, data, "nobody listens", self.killed_event)
            return

        def run() -> None:
            if self.daemon is None:
                return
            event = self._record(sent, ev.DatagramReceived(source, sent, TYPE_NAMES[data[3]]))
            self.carry_out(COROSYNC, self.daemon.receive(self.world.now_ns, data), event)

        thread = self.threads[COROSYNC]
        if not thread.blocked:
            run()
            return

        if self._waiting_datagrams(thread) >= SOCKET_DATAGRAMS:
            self.world.lost(source, self.nodeid, sent, data, "socket buffer is full", thread.announced_event)
            return

        def waits() -> None:
            body = ev.DatagramQueued(source, sent, TYPE_NAMES[data[3]], COROSYNC)
            cause = thread.announced_event if thread.announced_event >= 0 else sent
            event = self._record(cause, body)
            if data[3] == ORF_TOKEN:
                self.world.hinder_token(data, event)

        thread.post(Job(COROSYNC, run, waits))

    @staticmethod
    def _waiting_datagrams(thread: Thread) -> int:
        """Datagrams in the socket: the only inputs that announce that they wait."""
        return sum(job.waits is not None for job in thread.inbox)

    def system_call(self, call_id: int, cause: int, operation: str, path: str, **arguments: Any) -> None:
        """A program on this host makes a system call below /etc/pve."""

        def run() -> None:
            if self.pmxcfs is not None:
                outputs = self.pmxcfs.fuse(self.world.now_ns, call_id, operation, path, **arguments)
                self.carry_out(PMXCFS, outputs, cause)

        if self.model is HostModel.ARTICLE or self.threads[PMXCFS].paused:
            self.threads[PMXCFS].post(Job(PMXCFS, run))
        else:
            run()  # FUSE worker threads of their own

    def _timer_due(self, process: str, timer: str) -> None:
        thread = self.threads[process]
        if thread.blocked:
            thread.due_timers.append((process, timer))
        else:
            self._expire(process, timer)

    def _expire(self, process: str, timer: str) -> None:
        now_ns = self.world.now_ns
        cause = self.timers.causes.get((process, timer), -1)
        deadline_ns = self.timers.take(process, timer, now_ns)
        machine = self.daemon if process == COROSYNC else self.pmxcfs
        if deadline_ns is None or machine is None:
            return
        if timer in (tt.TotemTimer.TOKEN_LOSS, tt.TotemTimer.TOKEN_WARNING) and self.ring is not None:
            cause = self.world.token_obstacle(self.ring.ring_id, cause)
        outputs = machine.expire(now_ns, timer)
        if outputs and (timer not in QUIET_TIMERS or any(type(output) is tt.Log for output in outputs)):
            cause = self._record(cause, ev.TimerExpired(process, timer, now_ns - deadline_ns))
        self.carry_out(process, outputs, cause)

    def _post_pmxcfs(self, cause: int, handle: Callable[[Pmxcfs], Iterable[Any]], delay_ns: int = IPC_NS) -> None:
        """Give pmxcfs' main loop something to do, unless it dies before."""
        life = self._pmxcfs_life

        def run() -> None:
            if self.pmxcfs is not None and self._pmxcfs_life == life:
                self.carry_out(PMXCFS, handle(self.pmxcfs), cause)

        self.world.scheduler.after(delay_ns, self.threads[PMXCFS].post, Job(PMXCFS, run))

    # ----------------------------------------------------------------------------------------------------- carrying out

    def _record(self, cause: int, body: ev.Body) -> int:
        return self.world.record(self.nodeid, cause, body)

    def carry_out(self, process: str, outputs: Iterable[Any], cause: int) -> None:
        """Do what a machine asked for, in order; ``cause`` is the event that made it ask."""
        self._continue(process, deque(outputs), cause, cause)

    def _continue(self, process: str, outputs: deque[Any], cause: int, last: int) -> None:
        actions = self._actions
        while outputs:
            output = outputs.popleft()
            action = actions.get(type(output))
            if action is None:
                event = self._record(cause, output)
                if type(output) is not tt.Log:
                    last = event
                continue
            result = action(process, output, last if type(output) in _FOLLOW_UPS else cause)
            if result >= 0:
                last = result
            thread = self.threads[process]
            if thread.blocked and outputs:
                thread.rest.append((process, outputs, cause, last))
                return

    def _send(self, process: str, effect: tt.Send, cause: int) -> int:
        data = effect.datagram
        kind = data[3]
        if kind == ORF_TOKEN:
            self.token_ring = None
        self.world.send(self.nodeid, effect.target, data, cause)
        return -1

    def _set_timer(self, process: str, effect: tt.SetTimer, cause: int) -> int:
        self.timers.set(process, effect.timer, self.world.now_ns + effect.delay_ns, cause)
        return -1

    def _cancel_timer(self, process: str, effect: tt.CancelTimer, cause: int) -> int:
        self.timers.cancel(process, effect.timer)
        return -1

    def _token_received(self, process: str, body: tt.TokenReceived, cause: int) -> int:
        self.token_ring = body.ring_id
        self.world.token_moves(body.ring_id)
        return self._record(cause, body)

    def _state_entered(self, process: str, body: tt.StateEntered, cause: int) -> int:
        event = self._record(cause, body)
        if body.state == "GATHER":
            self.gather_event = event
        return event

    def _membership_installed(self, process: str, body: tt.MembershipInstalled, cause: int) -> int:
        """The cause people ask for is why the old ring ended, not which token completed the new one."""
        return self._record(self.gather_event if self.gather_event >= 0 else cause, body)

    # disk

    def _store_ring_id(self, process: str, effect: tt.StoreRingId, cause: int) -> int:
        ios = self.disk.write_file(self._ring_id_file, effect.seq.to_bytes(8, "little"))
        event = self._record(cause, ev.RingIdStored(effect.seq))
        cost_ns = sum(self.disk.cost_ns(io, self.world.now_ns) for io in ios)
        for io in ios:
            self.disk.complete(io)
        if cost_ns >= NOTICEABLE_BLOCK_NS:
            self._block(process, cost_ns, "writing the ring-id file to a stalled disk", event)
        return event

    def _disk_io(self, process: str, io: px.DiskIo, cause: int) -> int:
        if io.op != "sync":
            self.disk.complete(io)
            return self._record(cause, io)
        now_ns = self.world.now_ns
        stalled = self.disk.stalled_until_ns > now_ns
        event = self._record(self.stall_event if stalled else cause, ev.FsyncStarted(process, io.file))
        cost_ns = self.disk.cost_ns(io, now_ns)

        def done() -> None:
            self.disk.complete(io)
            self._record(event, ev.FsyncFinished(process, io.file, cost_ns))

        self._block(process, cost_ns, f"fsync of {io.file}", event, done)
        return event

    def _block(self, process: str, cost_ns: int, why: str, cause: int, done: Callable[[], None] | None = None) -> None:
        """The process waits in the kernel: its thread does nothing for ``cost_ns``."""
        thread = self.threads[process]
        thread.blocked = True
        thread.blocked_since_ns = self.world.now_ns
        thread.announced_event = -1
        if cost_ns >= NOTICEABLE_BLOCK_NS:
            thread.announced_event = self._record(cause, ev.ProcessBlocked(thread.processes, why))
            if COROSYNC in thread.processes:
                self._hinder_token(thread.announced_event)
        life = self._pmxcfs_life if process == PMXCFS else -1
        boot = self._boots

        def over() -> None:
            if boot == self._boots and life in (-1, self._pmxcfs_life) and self._alive(process):
                if done is not None:
                    done()
                if not thread.paused:
                    self._resume(thread)

        self.world.scheduler.after(cost_ns, over)

    def pause(self, process: str, duration_ns: int, cause: int) -> None:
        """SIGSTOP now, SIGCONT after ``duration_ns``."""
        thread = self.threads[process]
        if thread.paused or not self._alive(process):
            return
        thread.blocked = thread.paused = True
        thread.blocked_since_ns = self.world.now_ns
        thread.announced_event = self._record(cause, ev.ProcessBlocked(thread.processes, "stopped (SIGSTOP)"))
        if COROSYNC in thread.processes:
            self._hinder_token(thread.announced_event)

        boot = self._boots

        def resume() -> None:
            if boot == self._boots:
                thread.paused = False
                self._resume(thread)

        self.world.scheduler.after(duration_ns, resume)

    def _resume(self, thread: Thread) -> None:
        """Go on: first what was interrupted, then timers that came due (libqb looks at them first), then inputs."""
        thread.blocked = False
        if thread.announced_event >= 0:
            waiting = len(thread.inbox) + len(thread.due_timers)
            blocked_ns = self.world.now_ns - thread.blocked_since_ns
            self._record(thread.announced_event, ev.ProcessResumed(thread.processes, blocked_ns, waiting))
            thread.announced_event = -1
        while thread.rest and not thread.blocked:
            self._continue(*thread.rest.popleft())
        while thread.due_timers and not thread.blocked:
            self._expire(*thread.due_timers.pop(0))
        while thread.inbox and not thread.blocked:
            thread.inbox.popleft().run()

    def _hinder_token(self, event: int) -> None:
        if self.token_ring is not None:
            self.world.obstacles.setdefault(self.token_ring, event)

    # between the daemons

    def _cpg_request(self, process: str, request: px.CpgJoin | px.CpgLeave | px.CpgMcast, cause: int) -> int:
        """Pmxcfs calls the CPG library; corosync answers."""
        life = self._pmxcfs_life

        def answer(error: cs.CpgError) -> None:
            client = request.client
            self._post_pmxcfs(cause, lambda pmxcfs: pmxcfs.cpg_result(self.world.now_ns, client, error))

        def run() -> None:
            daemon, now_ns = self.daemon, self.world.now_ns
            if self._pmxcfs_life != life:
                return
            if daemon is None:
                answer(_LIBRARY_ERROR)
                return
            if isinstance(request, px.CpgMcast):
                error, outputs = daemon.cpg_mcast(now_ns, request.client, request.payload)
            elif isinstance(request, px.CpgJoin):
                error, outputs = daemon.cpg_join(now_ns, request.client, self._pmxcfs_pid, request.group + "\0")
            else:
                error, outputs = daemon.cpg_leave(now_ns, request.client)
            answer(error)
            self.carry_out(COROSYNC, outputs, cause)

        self.world.scheduler.after(IPC_NS, self.threads[COROSYNC].post, Job(COROSYNC, run))
        return -1

    def _cpg_finalize(self, process: str, request: px.CpgFinalize, cause: int) -> int:
        """The connection is closed; corosync tells the group when it notices."""

        def run() -> None:
            if self.daemon is not None:
                _, outputs = self.daemon.cpg_disconnect(self.world.now_ns, request.client)
                self.carry_out(COROSYNC, outputs, cause)

        self.world.scheduler.after(IPC_NS, self.threads[COROSYNC].post, Job(COROSYNC, run))
        return -1

    def _cpg_confchg(self, process: str, body: cs.CpgConfchg, cause: int) -> int:
        event = self._record(cause, body)
        self._post_pmxcfs(event, lambda pmxcfs: pmxcfs.cpg_confchg(self.world.now_ns, body))
        return event

    def _cpg_delivered(self, process: str, body: cs.CpgDelivered, cause: int) -> int:
        event = self._record(cause, body)
        self._post_pmxcfs(event, lambda pmxcfs: pmxcfs.cpg_delivered(self.world.now_ns, body))
        return event

    def _quorum_changed(self, process: str, body: cs.QuorumChanged, cause: int) -> int:
        event = self._record(cause, body)
        self._post_pmxcfs(event, lambda pmxcfs: pmxcfs.quorum(self.world.now_ns, body.quorate))
        return event

    def _sync_completed(self, process: str, body: cs.SyncCompleted, cause: int) -> int:
        event = self._record(cause, body)
        self._connect_pmxcfs(event)
        return event

    def _connect_pmxcfs(self, cause: int) -> None:
        """Corosync accepts connections; a client that tracks quorum is told the present state at once."""
        if self.daemon is not None:
            quorate = self.daemon.votequorum.quorate
            self._post_pmxcfs(cause, lambda pmxcfs: pmxcfs.quorum(self.world.now_ns, quorate))
        self._post_pmxcfs(cause, lambda pmxcfs: pmxcfs.corosync_available(self.world.now_ns))

    def _daemon_exited(self, process: str, body: cs.DaemonExited, cause: int) -> int:
        event = self._record(cause, body)
        self._bury(COROSYNC, event)
        return event

    def _fuse_reply(self, process: str, body: px.FuseReply, cause: int) -> int:
        event = self._record(cause, body)
        self.world.clients.reply(self.nodeid, body, event)
        return event

    # ------------------------------------------------------------------------------------------------------- the disk

    def stall_disk(self, duration_ns: int, cause: int) -> None:
        """The disk answers no sync for a while."""
        until_ns = self.world.now_ns + duration_ns
        self.disk.stall(until_ns)
        self.stall_event = self._record(cause, ev.DiskChanged(self.disk.profile.name, duration_ns))

    def set_disk(self, profile: str, cause: int) -> None:
        """Another kind of disk with the same content."""
        self.disk.profile = saved_profiles.find(profile)
        self._record(cause, ev.DiskChanged(profile, 0))


_FOLLOW_UPS = frozenset({tt.Send, tt.SetTimer, px.CpgJoin, px.CpgLeave, px.CpgMcast, px.CpgFinalize, px.DiskIo})
"""Effects whose cause is the latest observation of the handler that asked for them, not the handler's own trigger."""
