"""A host: one node's daemons, how they start and die, and what reaches them.

The host carries out what a machine asked for, in order, and writes what happened to the timeline. An fsync in the
middle of a list blocks the thread; the rest of the list follows when the disk has answered. Three parts do the work:
``processes`` (threads, timers, blocking), ``storage`` (the disk) and ``local_ipc`` (between the daemons). A host may
also run the HA manager, ``lrm``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from totemviz.corosync import effects as cs
from totemviz.corosync.conf import ConfError, CorosyncConf, parse
from totemviz.corosync.daemon import Daemon
from totemviz.pmxcfs import effects as px
from totemviz.pmxcfs.corosync_conf import HOST_PATH, HostConf
from totemviz.pmxcfs.database import Database
from totemviz.pmxcfs.locks import LOCK_TIMEOUT_S
from totemviz.pmxcfs.machine import Pmxcfs
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.pmxcfs.status import ClusterInfo, ClusterNode
from totemviz.sim.conf_edits import where_possible, with_same_quirks
from totemviz.sim.corosync_tools import CorosyncTools
from totemviz.sim.disk import Disk
from totemviz.sim.local_ipc import LocalIpc
from totemviz.sim.lrm import START_AFTER_NS, LocalManager
from totemviz.sim.processes import Processes
from totemviz.sim.quorum_tools import QuorumTools
from totemviz.sim.seed import CONFIG_DB
from totemviz.sim.storage import EV_TRACKING_FILE, Storage
from totemviz.sim.threads import COROSYNC, PMXCFS, Actions, HostModel, Job, Thread
from totemviz.sim.tools import Call
from totemviz.sim.units import MS
from totemviz.totem import effects as tt
from totemviz.totem.config import SOCKET_DATAGRAMS
from totemviz.totem.pg import Reassembler
from totemviz.totem.ring import Ring
from totemviz.totem.wire import ORF_TOKEN, TYPE_NAMES
from totemviz.trace import events as ev
from totemviz.trace.wallclock import ClockSetting, WallClock

if TYPE_CHECKING:
    from totemviz.sim.world import World


def ring_id_file(nodeid: int) -> str:
    """Name of the file that keeps a node's ring sequence (``main.c: corosync_ring_id_store``)."""
    return f"ringid_{nodeid}"


CONFIG_UNREADABLE = 8
"""COROSYNC_DONE_MAINCONFIGREAD, the exit status of a daemon that cannot read its file."""


class _GaveUpError(Exception):
    """A daemon ended itself while its effects were carried out."""


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
        self.quorum_event = -1
        self.token_ring: tt.RingId | None = None
        self.powered = True
        self.pmxcfs_pid = 0
        self.pmxcfs_life = 0
        self.boots = 0
        self.clock = WallClock(EPOCH_S)
        self.host_conf = HostConf(world.conf_text)
        self.forced = list(world.forced)
        self.told = world.conf.totem
        """What the timeline says of the timeouts in force here."""
        self._pids = 0
        self._shutting_down = False
        self.processes: Processes = Processes(self, model)
        self.storage: Storage = Storage(self, self.processes)
        self.local_ipc: LocalIpc = LocalIpc(self, self.processes)
        self.quorum_tools: QuorumTools = QuorumTools(self, self.processes)
        self.corosync_tools: CorosyncTools = CorosyncTools(self)
        ha = world.scenario.ha
        self.lrm: LocalManager | None = LocalManager(self, int(ha.boot)) if self.nodeid in ha.nodes else None
        self._actions: Actions = {
            tt.Send: self._send,
            tt.SetTimer: self._set_timer,
            tt.CancelTimer: self._cancel_timer,
            tt.FlushSocket: self._flush_socket,
            tt.TokenReceived: self._token_received,
            tt.StateEntered: self._state_entered,
            tt.MembershipInstalled: self._membership_installed,
            px.FuseReply: self._fuse_reply,
            px.PmxcfsExited: self._pmxcfs_exited,
            px.LockExpired: self._lock_expired,
            px.CorosyncReload: self._corosync_reload,
            cs.DaemonExited: self._daemon_exited,
            cs.ConfigReloaded: self._config_reloaded,
            **self.storage.actions,
            **self.local_ipc.actions,
            **self.quorum_tools.actions,
        }

    # ------------------------------------------------------------------------------------------------ starting, dying

    def start_corosync(self, cause: int) -> None:
        """Start the daemon, with the ring sequence its ring-id file holds."""
        if self.daemon is not None or not self.powered:
            return
        try:
            conf = self.configuration()
            conf.node(self.nodeid)
        except (ConfError, KeyError) as error:
            self._cannot_start(error, cause)
            return
        self.ring = Ring(self.nodeid, conf.totem, self._stored(self.ring_id_file))
        loses_packets = conf.totem.quirks.throw_away_loses_packets
        packets = Reassembler(throw_away_loses_packets=loses_packets)
        tracked_votes = self._stored(EV_TRACKING_FILE)
        self.daemon = Daemon(
            self.nodeid, conf, self.ring, packets, self._wall_ms, tracked_votes, read_conf=self.configuration
        )
        event = self.record(cause, ev.ProcessStarted(COROSYNC, self.next_pid()))
        if conf.totem != self.told:
            self.world.tell_timeouts([self], event)
        self.carry_out(COROSYNC, self.daemon.start(self.world.now_ns), event)

    def configuration(self) -> CorosyncConf:
        """What /etc/corosync/corosync.conf says, with what was forced on this host. Raises ConfError."""
        base, content = self.world.conf_at_start, self.host_conf.content
        conf = base
        if content != self.world.conf_text:
            text = (content or b"").decode(errors="replace")
            conf = with_same_quirks(base, parse(text, HOST_PATH))
        for change in self.forced:
            conf = where_possible(change, conf)
        return conf

    def _cannot_start(self, error: ConfError | KeyError, cause: int) -> None:
        """Corosync ends before it has begun (``main.c: main``)."""
        why = str(error) if isinstance(error, ConfError) else f"{HOST_PATH}: no node {self.nodeid} in the nodelist"
        event = self.record(cause, ev.ProcessStarted(COROSYNC, self.next_pid()))
        self.record(event, tt.Log(tt.Level.ERROR, "MAIN", why))
        last_words = f"Corosync Cluster Engine exiting with status {CONFIG_UNREADABLE} at main.c:1372."
        self.record(event, tt.Log(tt.Level.ERROR, "MAIN", last_words))
        self.record(event, cs.DaemonExited(why))

    def force(self, change: Callable[[CorosyncConf], CorosyncConf]) -> None:
        """Change the configuration in force, and that of every later start, unless it does not fit the file there."""
        self.forced.append(change)
        if self.daemon is not None:
            self.daemon.cfg.force(where_possible(change, self.daemon.conf))

    def _wall_ms(self, now_ns: int) -> int:
        return self.clock.at_ns(now_ns) // MS

    @property
    def wall_s(self) -> int:
        """What the host's clock shows, in whole seconds."""
        return self.clock.at_s(self.world.now_ns)

    def set_clock(self, ahead_ns: int, drift_ppm: int, cause: int) -> None:
        """Step the wall clock; it outlives a reboot. Timers do not notice, who asks for the time of day does."""
        event = self.record(cause, ev.ClockSet(ahead_ns, drift_ppm))
        self.clock.set(ClockSetting(self.world.now_ns, ahead_ns, drift_ppm), event)
        if self.pmxcfs is not None:
            self.processes.run_beside(PMXCFS, partial(self._clock_set, event))

    def _clock_set(self, event: int) -> None:
        if self.pmxcfs is not None:
            self.carry_out(PMXCFS, self.pmxcfs.clock_set(self.world.now_ns), event)

    def _stored(self, file: str) -> int:
        """The number in a small file of corosync's, 0 if there is none."""
        try:
            return int.from_bytes(self.disk.read_file(file), "little")
        except FileNotFoundError:
            return 0

    def start_pmxcfs(self, cause: int, *, local: bool | None = None) -> None:
        """Start pmxcfs on the node's config.db; ``local``: as ``pmxcfs -l``."""
        if self.pmxcfs is not None or not self.powered:
            return
        self.pmxcfs_life += 1
        self.pmxcfs_pid = pid = self.next_pid()
        database = Database(lambda: self.disk.connect(CONFIG_DB), self.disk.drain_io, self.model.synchronous)
        self.pmxcfs = Pmxcfs(
            self.nodeid,
            pid,
            self.info.name,
            database,
            wall_clock=self.clock.at_s,
            quirks=self.world.scenario.pmxcfs_quirks,
            address=self.world.conf.node(self.nodeid).addresses[0],
            host_conf=self.host_conf,
            cluster=self._cluster,
            local=local,
        )
        event = self.record(cause, ev.ProcessStarted(PMXCFS, pid))
        self.carry_out(PMXCFS, self.pmxcfs.start(self.world.now_ns), event)
        if self.daemon is not None and self.daemon.connections_allowed:
            self.local_ipc.connect_pmxcfs(event)
        if self.lrm is not None:
            self.world.scheduler.after(START_AFTER_NS, self.lrm.start, event)

    def boot(self, cause: int, *, local: bool | None = None) -> None:
        """The host comes up, or what does not run on it starts: corosync, then pmxcfs (``local``: as ``pmxcfs -l``)."""
        self.powered = True
        self.start_corosync(cause)
        start = partial(self.start_pmxcfs, local=local)
        self.world.scheduler.after(int(self.world.scenario.start.pmxcfs_after), start, cause)

    def model_changed(self, model: HostModel, cause: int) -> None:
        """From now on the host's daemons share their threads, and sync, as this model has it."""
        self.model = model
        if self.pmxcfs is not None:
            self.pmxcfs.set_synchronous(model.synchronous)
        self.record(cause, ev.HostModelChanged(model.value))

    def kill(self, process: str, cause: int) -> None:
        """SIGKILL: whatever waited for the process is gone with it.

        A process that waits for its disk dies when the disk has answered, not before; only the end of its host is
        faster.
        """
        if not self.alive(process):
            return
        if self.powered and self.processes.defer_signal(process, lambda: self.kill(process, cause)):
            return
        event = self.record(cause, ev.ProcessKilled(process))
        if process in (COROSYNC, PMXCFS):
            self._bury(process, event)
        else:
            self.local_ipc.end_program(process, event)

    def power_cut(self, rng: Random | None, cause: int) -> None:
        """No process gets to say anything, and the disk falls back to what was durable (see `Disk.crash`)."""
        self.powered = False
        self.boots += 1
        if self.lrm is not None:
            self.lrm.power_off()
        self.world.clients.power_off(self.nodeid, cause)
        for process in (COROSYNC, PMXCFS):  # in this order: no daemon is left to announce that pmxcfs is gone
            self.kill(process, cause)
        self.processes.power_off()
        self.storage.power_off()
        self.disk = self.disk.crash(rng)

    def corosync_gives_up(self, last_words: Iterable[tt.Log], why: str, cause: int) -> None:
        """Corosync ends itself in the middle of what it does: nothing of the rest happens."""
        for words in last_words:
            self.record(cause, words)
        self._bury(COROSYNC, self.record(cause, cs.DaemonExited(why)))
        raise _GaveUpError

    def _cluster(self) -> ClusterInfo:
        """The node list as corosync's cmap has it."""
        conf = self.world.conf if self.daemon is None else self.daemon.conf
        nodes = tuple(ClusterNode(node.nodeid, node.name, node.votes) for node in conf.nodes)
        return ClusterInfo(conf.cluster_name, conf.config_version, nodes)

    def shut_down(self, cause: int) -> None:
        """SIGTERM to pmxcfs, which leaves its groups, then to corosync, which says goodbye."""
        self._shutting_down = True
        if self.pmxcfs is not None:
            self.processes.post_pmxcfs(cause, lambda pmxcfs: pmxcfs.stop(self.world.now_ns))
        else:
            self._shut_down_corosync(cause)

    def _shut_down_corosync(self, cause: int) -> None:
        self._shutting_down = False
        if self.daemon is not None:
            self.carry_out(COROSYNC, self.daemon.shutdown(self.world.now_ns), cause)

    def _pmxcfs_exited(self, process: str, body: px.PmxcfsExited, cause: int) -> int:
        event = self.record(cause, body)
        self._bury(PMXCFS, event)
        return event

    def _bury(self, process: str, event: int) -> None:
        self.processes.bury(process)
        if process == COROSYNC:
            self.daemon = self.ring = None
            self.killed_event = event
            self.hinder_token(event)
            self.token_ring = None
            self.local_ipc.corosync_died(event)
        else:
            self.pmxcfs = None
            self.pmxcfs_life += 1
            shut_down_corosync, self._shutting_down = self._shutting_down, False
            self.disk.process_died()
            self.world.clients.pmxcfs_died(self.nodeid, event)
            self.local_ipc.pmxcfs_died(event)
            if shut_down_corosync:
                self._shut_down_corosync(event)
        self.processes.release(process)

    def alive(self, process: str) -> bool:
        """Does the daemon, or the program of that name, run?"""
        if process in (COROSYNC, PMXCFS):
            return (self.daemon if process == COROSYNC else self.pmxcfs) is not None
        return process in self.local_ipc.programs

    def next_pid(self) -> int:
        """The process id of the next process that starts."""
        self._pids += 1
        return 1000 * self.nodeid + self._pids

    @property
    def ring_id_file(self) -> str:
        """Name of the file with the last ring's number."""
        return ring_id_file(self.nodeid)

    # --------------------------------------------------------------------------------------------------------- inputs

    def datagram(self, source: int, sent: int, data: bytes) -> None:
        """A datagram reaches this host."""
        if self.daemon is None:
            self.world.lost(source, self.nodeid, sent, data, "nobody listens", self.killed_event)
            return

        thread = self.processes.threads[COROSYNC]
        if not thread.blocked:
            self._read(source, sent, data)
            if thread.due_timers:
                self.processes.pass_ends(thread)
            return

        if self._waiting_datagrams(thread) >= SOCKET_DATAGRAMS:
            self.world.lost(source, self.nodeid, sent, data, "socket buffer is full", thread.announced_event)
            return

        def waits() -> None:
            body = ev.DatagramQueued(source, sent, TYPE_NAMES[data[3]], COROSYNC)
            cause = thread.announced_event if thread.announced_event >= 0 else sent
            event = self.record(cause, body)
            if data[3] == ORF_TOKEN:
                self.world.hinder_token(data, event)

        def lose(cause: int) -> None:
            self.world.lost(source, self.nodeid, sent, data, "flushed after a pause", cause)

        def run_late() -> None:
            if self.ring is not None:
                self.ring.datagrams_wait(self._waiting_datagrams(thread))
            self._read(source, sent, data)
            if self.ring is not None:
                self.ring.datagrams_wait(0)

        thread.post(Job(COROSYNC, run_late, waits, lose))

    def _read(self, source: int, sent: int, data: bytes) -> None:
        """Corosync reads a datagram from its socket."""
        if self.daemon is not None:
            event = self.record(sent, ev.DatagramReceived(source, sent, TYPE_NAMES[data[3]]))
            self.carry_out(COROSYNC, self.daemon.receive(self.world.now_ns, data), event)

    @staticmethod
    def _waiting_datagrams(thread: Thread) -> int:
        """Datagrams in the socket: the only inputs that announce that they wait."""
        return sum(job.waits is not None for job in thread.inbox)

    def hinder_token(self, event: int) -> None:
        """The token, if this node has it, goes nowhere because of ``event``."""
        if self.token_ring is not None:
            self.world.obstacles.setdefault(self.token_ring, event)

    def system_call(self, call_id: int, cause: int, call: Call) -> None:
        """A program on this host makes a system call below /etc/pve."""

        def run() -> None:
            if self.pmxcfs is not None:
                outputs = self.pmxcfs.fuse(self.world.now_ns, call_id, *call)
                self.carry_out(PMXCFS, outputs, cause)

        self.processes.run_beside(PMXCFS, run)

    # ----------------------------------------------------------------------------------------------------- carrying out

    def record(self, cause: int, body: ev.Body) -> int:
        """Write an event of this node; returns its id."""
        return self.world.record(self.nodeid, cause, body)

    def carry_out(self, process: str, outputs: Iterable[Any], cause: int) -> None:
        """Do what a machine asked for, in order; ``cause`` is the event that made it ask."""
        self.carry_on(process, outputs, cause, cause)

    def carry_on(self, process: str, outputs: Iterable[Any], cause: int, last: int) -> None:
        """The same from the middle of a list; ``last`` is the latest observation in it so far.

        What a process does in another thread while its main thread waits is done at once.
        """
        actions, record, nodeid = self._actions, self.world.record, self.nodeid
        thread = self.processes.threads[process]
        beside = thread.blocked
        remaining = iter(outputs)
        try:
            for output in remaining:
                kind = type(output)
                action = actions.get(kind)
                if action is None:
                    event = record(nodeid, cause, output)
                    if kind is not tt.Log:
                        last = event
                    continue
                result = action(process, output, last if kind in _FOLLOW_UPS else cause)
                if result >= 0:
                    last = result
                if thread.blocked and not beside:
                    if rest := tuple(remaining):
                        thread.rest.append((process, rest, cause, last))
                    return
        except _GaveUpError:
            pass

    def _send(self, process: str, effect: tt.Send, cause: int) -> int:
        data = effect.datagram
        kind = data[3]
        if kind == ORF_TOKEN:
            self.token_ring = None
        self.world.send(self.nodeid, effect.target, data, cause)
        return -1

    def _set_timer(self, process: str, effect: tt.SetTimer, cause: int) -> int:
        self.processes.timers.set(process, effect.timer, self.world.scheduler.now_ns + effect.delay_ns, cause)
        return -1

    def _cancel_timer(self, process: str, effect: tt.CancelTimer, cause: int) -> int:
        self.processes.timers.cancel(process, effect.timer)
        return -1

    def _flush_socket(self, process: str, effect: tt.FlushSocket, cause: int) -> int:
        """What waited while the process did not run is old: thrown away unread."""
        thread = self.processes.threads[COROSYNC]
        for job in thread.inbox:
            if job.lose is not None:
                job.lose(cause)
        thread.inbox = deque(job for job in thread.inbox if job.lose is None)
        return -1

    def _token_received(self, process: str, body: tt.TokenReceived, cause: int) -> int:
        self.token_ring = body.ring_id
        self.world.token_moves(body.ring_id)
        return self.record(cause, body)

    def _state_entered(self, process: str, body: tt.StateEntered, cause: int) -> int:
        event = self.record(cause, body)
        if body.state == "GATHER":
            self.gather_event = event
        return event

    def _membership_installed(self, process: str, body: tt.MembershipInstalled, cause: int) -> int:
        """The cause people ask for is why the old ring ended, not which token completed the new one."""
        return self.record(self.gather_event if self.gather_event >= 0 else cause, body)

    def _daemon_exited(self, process: str, body: cs.DaemonExited, cause: int) -> int:
        event = self.record(cause, body)
        self._bury(COROSYNC, event)
        return event

    def _lock_expired(self, process: str, body: px.LockExpired, cause: int) -> int:
        """Somebody asked; but if the lock is not that old, it is the clock's fault."""
        misled_s = self.clock.misleads(body.age_s, self.world.now_ns)
        return self.record(self.clock.event if body.age_s - misled_s <= LOCK_TIMEOUT_S else cause, body)

    def _corosync_reload(self, process: str, body: px.CorosyncReload, cause: int) -> int:
        """Pmxcfs runs ``corosync-cfgtool -R``."""
        event = self.record(cause, body)
        self.corosync_tools.reload_config(event, by_pmxcfs=True)
        return event

    def _config_reloaded(self, process: str, body: cs.ConfigReloaded, cause: int) -> int:
        event = self.record(cause, body)
        if not body.problem:
            self.world.tell_timeouts([self], event)
            self.processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.cluster_changed(self.world.now_ns))
        return event

    def _fuse_reply(self, process: str, body: px.FuseReply, cause: int) -> int:
        event = self.record(cause, body)
        self.world.clients.reply(self.nodeid, body, event)
        return event


_FOLLOW_UPS = frozenset({tt.Send, tt.SetTimer, px.CpgJoin, px.CpgLeave, px.CpgMcast, px.CpgFinalize, px.DiskIo})
"""Effects whose cause is the latest observation of the handler that asked for them, not the handler's own trigger."""
