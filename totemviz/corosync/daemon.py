"""One corosync daemon: the ring, and on it totempg's receiving half, sync, cmap, CPG, quorum and votequorum.

Sans-IO and single-threaded like the original. Every method returns one ordered list. The ring's outputs are walked
in order; most pass through, but a delivery, a configuration change or a leaving token is handed to the services at
exactly its place, and what they say and send comes out there. That is what makes a log read as corosync's does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from totemviz.corosync import lines, wire
from totemviz.corosync.cfg import Cfg
from totemviz.corosync.cmap import Cmap
from totemviz.corosync.conf import CorosyncConf
from totemviz.corosync.cpg import Cpg
from totemviz.corosync.decoders import decode, decode_sync
from totemviz.corosync.effects import (
    CpgConfchg,
    CpgDelivered,
    CpgError,
    CpgPartDelivered,
    DaemonExited,
    Output,
    Response,
    SyncCompleted,
)
from totemviz.corosync.ipc import FLUSH_TIMER, RECHECK_TIMER, Mcast, QueueLevel
from totemviz.corosync.ipc_server import IpcServer
from totemviz.corosync.quorum import Quorum
from totemviz.corosync.requests import CpgRequests
from totemviz.corosync.ring_machine import PacketReassembler, RingMachine
from totemviz.corosync.service import Service, SyncService
from totemviz.corosync.sync import Sync
from totemviz.corosync.votequorum import Votequorum, VotequorumTimer
from totemviz.corosync.watches import FORMATION_WATCH, SCHEDULER_WATCH, FormationWatch, SchedulerWatch
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.totem.effects import (
    CancelTimer,
    ConfigurationChange,
    Deliver,
    Level,
    Log,
    SetTimer,
    StateEntered,
    StoreRingId,
    TokenSent,
    TotemTimer,
)
from totemviz.totem.pg import PacketError

DaemonOutput: TypeAlias = totem.Output | Output

# the gather list of totempg: group count and lengths, then the names; where parts end decides how packets are cut
GROUP_SERVICES_PARTS = (wire.PREFIX_SERVICES[:4], wire.GROUP_SERVICES)
GROUP_SYNC_PARTS = (wire.PREFIX_SYNC[:4], wire.GROUP_SYNC)

_VOTEQUORUM_TIMERS = frozenset(VotequorumTimer)

RING_ID_LOADED = "Created or loaded sequence id"


class Daemon:
    """The stack of one node.

    ``conf`` is the node's corosync.conf, ``ring`` and ``reassembler`` its machines of ``totemviz.totem``. Raises
    KeyError if ``nodeid`` is not in the nodelist. ``wall_ms`` gives what the host's clock shows at a time of the run;
    only a log line shows it. ``tracked_votes`` is what the file of expected_votes_tracking holds. ``read_conf`` reads
    and checks the host's file for a reload; without it nothing changes then.
    """

    def __init__(
        self,
        nodeid: int,
        conf: CorosyncConf,
        ring: RingMachine,
        reassembler: PacketReassembler,
        wall_ms: Callable[[int], int] = lambda now_ns: now_ns // MS,
        tracked_votes: int = 0,
        read_conf: Callable[[], CorosyncConf] | None = None,
    ) -> None:
        self.nodeid = nodeid
        self.ring = ring
        self.sync_in_process = True
        self.connections_allowed = False
        self.exited = False
        self._pg = reassembler
        self._now_ns = 0
        self._seq = 0
        self._out: list[DaemonOutput] = []
        self._loaded = False
        self._exit_reason: str | None = None
        self._leaving = False
        self._scheduler_watch = SchedulerWatch(self, lambda: self.conf.totem.token_ms, wall_ms)
        self._formation_watch = FormationWatch(self)
        self.cmap = Cmap(self, conf.config_version)
        self.cpg = Cpg(self, conf.quirks)
        self.quorum = Quorum(self)
        votes = conf.node(nodeid).votes
        self.votequorum = Votequorum(
            self, self.quorum, votes, conf.expected_votes, conf.quorum, conf.quirks, tracked_votes
        )
        self.cfg = Cfg(self, conf, read_conf or (lambda: conf), (ring, self.cmap, self.votequorum))
        services: tuple[SyncService, ...] = (self.cmap, self.cpg, self.quorum, self.votequorum)
        self.sync = Sync(self, services, self._sync_completed, conf.quirks)
        self._services: Mapping[int, Service] = {service.service_id: service for service in (self.cfg, *services)}
        self.ipc = IpcServer(self, ring, conf.totem.net_mtu)
        self.requests = CpgRequests(self, self.ipc, self.cpg, self._admission)
        self._own_timers: Mapping[str, Callable[[], None]] = {
            SCHEDULER_WATCH: lambda: self._scheduler_watch.expire(self._now_ns),
            FORMATION_WATCH: self._formation_watch.expire,
            RECHECK_TIMER: self.ipc.recheck_level,
            FLUSH_TIMER: lambda: self.ipc.flush(self._now_ns),
        }
        self._consumers: Mapping[type, Callable[..., None]] = {
            Deliver: self._deliver,
            TokenSent: self._token_sent,
            ConfigurationChange: self._configuration_change,
            StateEntered: self._state_entered,
            StoreRingId: self._store_ring_id,
        }

    @property
    def conf(self) -> CorosyncConf:
        """The configuration in force."""
        return self.cfg.conf

    # ------------------------------------------------------------------------------------------------ from outside

    def start(self, now_ns: int) -> list[DaemonOutput]:
        """Begin; the service engines are loaded when the ring's start-up delay is over."""
        self._now_ns = now_ns
        self._pg.waiting_trans_ack = True
        self._out.extend(lines.STARTING)
        self._log_trans_ack()
        self._out.extend(lines.ring_initialised(self.conf))
        self._walk(self.ring.start(now_ns))
        return self._finish()

    def receive(self, now_ns: int, datagram: bytes) -> list[DaemonOutput]:
        """A datagram arrived from the network (or looped back)."""
        if self.exited:
            return []
        self._now_ns = now_ns
        if self.ipc.flush_waits:
            self.ipc.flush(self._now_ns)
        self._walk(self.ring.receive(now_ns, datagram))
        return self._finish()

    def expire(self, now_ns: int, timer: str) -> list[DaemonOutput]:
        """One of the timers that earlier outputs set has expired."""
        if self.exited:
            return []
        self._now_ns = now_ns
        if self.ipc.flush_waits and timer != FLUSH_TIMER:
            self.ipc.flush(self._now_ns)
        if timer in _VOTEQUORUM_TIMERS:
            self.votequorum.expire(timer)
            return self._finish()
        handle = self._own_timers.get(timer)
        if handle is not None:
            handle()
            return self._finish()
        outputs = self.ring.expire(now_ns, timer)
        if timer == TotemTimer.STARTUP and not self._loaded:
            self._load_services(outputs)
        else:
            self._walk(outputs)
        return self._finish()

    def shutdown(self, now_ns: int) -> list[DaemonOutput]:
        """SIGTERM: unload the services, multicast one leave, and be gone.

        Under allow_downscale the others hear it from votequorum first, so the end waits for the next token to leave.
        """
        if self.exited or self._leaving:
            return []
        self._now_ns = now_ns
        self._out.append(lines.SHUT_DOWN_BY_SIGNAL)
        self._leaving = self._loaded and self.votequorum.leave()
        if not self._leaving:
            self._exit_reason = "signal"
        return self._finish()

    def ask_votequorum(
        self, now_ns: int, request: Callable[[Votequorum], CpgError]
    ) -> tuple[CpgError, list[DaemonOutput]]:
        """A client of votequorum (a quorum device's daemon, an operator's tool) calls one of its requests.

        Unlike CPG's they are taken during a sync too: a new ring waits for the device's poll.
        """
        self._now_ns = now_ns
        if self.exited or not self._loaded:
            return CpgError.LIBRARY, []
        return request(self.votequorum), self._finish()

    def reload_config(self, now_ns: int) -> tuple[CpgError, list[DaemonOutput]]:
        """``corosync-cfgtool -R`` on this node: all daemons read their files again. OK means that it was asked."""
        self._now_ns = now_ns
        error = self._admission()
        if error is CpgError.OK:
            self.cfg.request_reload()
        return error, self._finish()

    def set_key(self, now_ns: int, conf: CorosyncConf) -> list[DaemonOutput]:
        """A client sets a key of the totem section in the map (``corosync-cmapctl -s``): ``conf`` with that key."""
        self._now_ns = now_ns
        if not self.exited and self._loaded:
            self.cfg.set_key(conf)
        return self._finish()

    # --------------------------------------------------------------------------------------------- clients' requests

    def connect(self, now_ns: int, client: int) -> tuple[CpgError, list[DaemonOutput]]:
        """cpg_initialize: the handshake that gives a client its rings.

        LIBRARY while nothing listens (before the services are loaded, after exit), TRY_AGAIN before the first sync is
        complete (the daemon refuses with EAGAIN, ``ipc_glue.c: cs_ipcs_connection_accept``).
        """
        self._now_ns = now_ns
        error = self._listening()
        if error is CpgError.OK:
            self.ipc.connect(client)
            self.cpg.connect(client)
        return error, self._finish()

    def read_request(self, now_ns: int, client: int) -> list[DaemonOutput]:
        """Take the oldest request out of the client's ring and do it; all but mcasts are answered."""
        self._now_ns = now_ns
        if self.ipc.flush_waits:
            self.ipc.flush(self._now_ns)
        request = self.ipc.connections[client].take_request()
        error = self.requests.do(client, request)
        if not isinstance(request, Mcast):
            self.emit(Response(client, error))
        return self._finish()

    def client_readable(self, now_ns: int) -> list[DaemonOutput]:
        """A client has read so much that its socket can be written again: one pass of the main loop."""
        self._now_ns = now_ns
        self.ipc.flush(self._now_ns)
        return self._finish()

    def cpg_join(self, now_ns: int, client: int, pid: int, group: str) -> tuple[CpgError, list[DaemonOutput]]:
        """Handle a request cpg_join. ``group`` is text with one character per byte."""
        self._now_ns = now_ns
        return self.requests.join(client, pid, group), self._finish()

    def cpg_leave(self, now_ns: int, client: int) -> tuple[CpgError, list[DaemonOutput]]:
        """Handle a request cpg_leave."""
        self._now_ns = now_ns
        return self.requests.leave(client), self._finish()

    def cpg_mcast(self, now_ns: int, client: int, payload: bytes) -> tuple[CpgError, list[DaemonOutput]]:
        """Handle a request cpg_mcast_joined."""
        self._now_ns = now_ns
        return self.requests.mcast(client, payload), self._finish()

    def cpg_disconnect(self, now_ns: int, client: int) -> tuple[CpgError, list[DaemonOutput]]:
        """cpg_finalize, or the client died. Its leave is sent even during sync."""
        self._now_ns = now_ns
        self.ipc.disconnect(client)
        if self.exited or client not in self.cpg.connections:
            return CpgError.BAD_HANDLE, self._finish()
        self.cpg.disconnect(client)
        return CpgError.OK, self._finish()

    def _listening(self) -> CpgError:
        if self.exited or not self._loaded:
            return CpgError.LIBRARY
        if not self.connections_allowed:
            self.log(Level.DEBUG, "MAIN", "Denied connection, corosync is not ready")
            return CpgError.TRY_AGAIN
        return CpgError.OK

    def _admission(self, client: int | None = None) -> CpgError:
        """May a request be done now? The library asks the same before it sends one."""
        if client is not None and not self.exited and self._loaded and client not in self.cpg.connections:
            return CpgError.BAD_HANDLE
        error = self._listening()
        if error is not CpgError.OK:
            return error
        if self.sync_in_process:
            return CpgError.TRY_AGAIN
        if self.ipc.flow.level is QueueLevel.CRITICAL and self.ipc.check_level() is QueueLevel.CRITICAL:
            return CpgError.TRY_AGAIN
        return CpgError.OK

    # ------------------------------------------------------------------------------------------- for the services

    def multicast(self, *parts: bytes) -> None:
        """Queue a message of group ``a``."""
        self._submit(*GROUP_SERVICES_PARTS, *parts)

    def multicast_sync(self, body: bytes) -> None:
        """Queue a message of group ``sync``."""
        self._submit(*GROUP_SYNC_PARTS, body)

    def _submit(self, *parts: bytes) -> None:
        """Into the ring's send queue. A service's own message that finds no room is lost, as in corosync."""
        try:
            outputs = self.ring.submit(self._now_ns, *parts)
        except OverflowError:
            return
        self._walk(outputs)

    def emit(self, output: Output) -> None:
        """Add to the outputs of the current step."""
        self._out.append(output)

    def send_event(self, event: CpgConfchg | CpgDelivered | CpgPartDelivered) -> None:
        """Add to the outputs of the current step what a client is told, and put it into the client's connection."""
        self._out.append(event)
        self.ipc.put_event(event)

    def log(self, level: Level, subsystem: str, text: str) -> None:
        """Add a log line to the outputs of the current step."""
        self._out.append(Log(level, subsystem, text))

    def set_timer(self, timer: str, delay_ms: int) -> None:
        """Start a timer of a service; it comes back through ``expire``."""
        self._out.append(SetTimer(timer, delay_ms * MS))

    def cancel_timer(self, timer: str) -> None:
        """Stop a timer of a service."""
        self._out.append(CancelTimer(timer))

    def interfaces(self, nodeid: int) -> str:
        """Addresses of a node as corosync prints them; empty for a node that is not in the nodelist."""
        return self.cfg.interfaces.get(nodeid, "")

    def exit(self, reason: str) -> None:
        """Shut down when the current step is over."""
        self._exit_reason = reason

    # ---------------------------------------------------------------------------------------- from the ring, in order

    def _walk(self, outputs: Iterable[totem.Output]) -> None:
        out, consumers = self._out, self._consumers
        for output in outputs:
            consumer = consumers.get(type(output))
            if consumer is None:
                out.append(output)
            else:
                consumer(output)

    def _finish(self) -> list[DaemonOutput]:
        if self._exit_reason is not None and not self.exited:
            self._exit(self._exit_reason)
        out, self._out = self._out, []
        return out

    def _exit(self, reason: str) -> None:
        self._out.extend(lines.services_unloaded())
        self._walk(self.ring.leave(self._now_ns))
        self._out.append(lines.EXITING)
        self.emit(DaemonExited(reason))
        self.exited = True

    def _load_services(self, outputs: list[totem.Output]) -> None:
        """The ring is ready: load the services right behind the line that says so (``main_service_ready``)."""
        places = [
            index
            for index, output in enumerate(outputs)
            if isinstance(output, Log) and output.text.startswith(RING_ID_LOADED)
        ]
        place = places[0] + 1 if places else 0
        self._out.extend(lines.interface_up(self.conf, self.nodeid))
        self._scheduler_watch.start(self._now_ns)
        self._formation_watch.start(self._now_ns)
        self._walk(outputs[:place])
        for name in lines.LOADED_BEFORE_QUORUM:
            self._out.extend(lines.service_loaded(name))
        self._out.append(lines.USING_VOTEQUORUM)
        self.votequorum.start()
        self._out.extend(lines.service_loaded("votequorum"))
        self._out.extend(lines.service_loaded("quorum"))
        self._loaded = True
        self._out.extend(lines.links_configured(self.conf, self.nodeid))
        self._walk(outputs[place:])

    def _deliver(self, delivery: Deliver) -> None:
        """One totempg packet in its place in the total order."""
        self._seq = delivery.seq
        source, little = delivery.source, not delivery.swapped
        try:
            messages = self._pg.receive(source, delivery.payload, delivery.swapped)
        except PacketError as error:
            self.log(Level.WARNING, "TOTEM", str(error))
            return
        for message in messages:
            if message.startswith(wire.PREFIX_SERVICES):
                self._deliver_service(source, message[len(wire.PREFIX_SERVICES) :], little)
            elif message.startswith(wire.PREFIX_SYNC):
                self.sync.deliver(source, decode_sync(message[len(wire.PREFIX_SYNC) :]))
            else:
                self._deliver_addressed(source, message, little)

    def _deliver_addressed(self, source: int, message: bytes, little: bool) -> None:
        """A message with an unusual group address: several groups, or the other byte order."""
        try:
            names, body = wire.split_group_address(message, little)
        except ValueError:
            return
        if wire.GROUP_SERVICES in names:
            self._deliver_service(source, body, little)
        if wire.GROUP_SYNC in names:  # the sync service never swaps: another byte order cannot sync
            self.sync.deliver(source, decode_sync(body))

    def _deliver_service(self, source: int, body: bytes, little: bool) -> None:
        if len(body) < 4:
            return
        service = self._services.get(int.from_bytes(body[2:4], "little") if little else int.from_bytes(body[:2], "big"))
        if service is not None:
            service.deliver(source, decode(body, little), self._seq)

    def _token_sent(self, _: TokenSent) -> None:
        if self._leaving:
            self._exit_reason = "signal"
        if self.sync.work_waiting:
            self.sync.token_sent()

    def _state_entered(self, entered: StateEntered) -> None:
        self._out.append(entered)
        self._formation_watch.state_entered(self._now_ns, entered)

    def _configuration_change(self, change: ConfigurationChange) -> None:
        """A transitional or regular configuration (``main.c: confchg_fn``, sheet §8.1)."""
        self._out.append(change)
        if not change.transitional:  # the ring has logged it
            self._pg.waiting_trans_ack = True
        self._pg.configuration_changed(change.left)
        aborting = self.sync_in_process
        self.sync_in_process = True
        self.ipc.sync_changed(True)
        for title, nodes in (("left", change.left), ("joined", change.joined)):
            for nodeid in nodes:
                self.log(Level.DEBUG, "MAIN", f"Member {title}: {self.interfaces(nodeid)}")
        if aborting:
            self.sync.abort()
        if change.transitional:
            self.sync.save_transitional(change.members)
        else:
            self.sync.start(change.members, change.ring_id)

    def _sync_completed(self) -> None:
        """Every service is active (``main.c: corosync_sync_completed``)."""
        self._out.append(lines.SYNC_COMPLETED)
        self.sync_in_process = False
        self.connections_allowed = True
        self.ipc.sync_changed(False)
        # The ring has run ahead of what is handled here: if these deliveries end the old ring, it is already in a new
        # one and waits for that one's sync. In corosync the acknowledgement would come first and be taken back.
        if self.sync.ring_id == self.ring.ring_id:
            self.ring.trans_ack()
        self._pg.waiting_trans_ack = False
        self._log_trans_ack()
        self.emit(SyncCompleted(self.sync.ring_id))

    def _store_ring_id(self, effect: StoreRingId) -> None:
        self.log(Level.DEBUG, "MAIN", f"Storing new sequence id for ring {effect.seq:x}")
        self._out.append(effect)

    def _log_trans_ack(self) -> None:
        self.log(Level.DEBUG, "TOTEM", f"waiting_trans_ack changed to {self._pg.waiting_trans_ack:d}")
