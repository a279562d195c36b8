"""The fold: what a cluster looks like after some event. Everything a person sees is read from a ``ClusterView``.

``ClusterView.apply`` takes events in order and knows nothing of schedulers or captures, so a simulation and a recording
fold the same way. Numbers a recording cannot know stay ``UNKNOWN``. Use a ``Cursor`` (``totemviz.trace.cursor``) to
look at any moment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.totem.seq import lt
from totemviz.trace import events as ev
from totemviz.trace.events import Event, NodeInfo
from totemviz.trace.journeys import Journeys, WriteView
from totemviz.trace.node_view import ClientQueue, NodeView
from totemviz.trace.wallclock import ClockSetting


class Visit(msgspec.Struct):
    """One token visit: what each of the four stages said. ``stage`` is the last one reached, 0 = not begun."""

    node: int
    number: int
    started_ns: int
    stage: int = 0
    received: totem.TokenReceived | None = None
    checked: totem.RetransmitChecked | None = None
    multicast: totem.MessagesMulticast | None = None
    passed: totem.TokenPassed | None = None
    ordered: tuple[int, ...] = ()


class TokenPlace(msgspec.Struct, frozen=True):
    """Where the token is.

    ``how``: ``none`` (no ring), ``at`` (being processed), ``held`` (by the representative), ``flying`` (node → target),
    ``waiting`` (arrived at a blocked node), ``lost`` (dropped on its way, or its holder died).
    """

    how: str = "none"
    node: int = 0
    target: int = 0
    since_ns: int = 0


class Flight(msgspec.Struct, frozen=True, gc=False):
    """A copy of a datagram between two nodes: ``sent`` is the id of its ``DatagramSent`` event."""

    source: int
    target: int
    sent: int
    kind: str
    since_ns: int


class ClusterView:
    """The cluster after the events applied so far.

    ``links`` holds the latest change of every link that was ever changed, ``cut_links`` of those that are cut or lossy.
    """

    def __init__(self) -> None:
        self.time_ns = 0
        self.event_id = -1
        self.run: ev.RunStarted | None = None
        self.nodes: dict[int, NodeView] = {}
        self.token = TokenPlace()
        self.visit: Visit | None = None
        self.visits = 0
        self.cut_links: dict[tuple[int, int], ev.LinkChanged] = {}
        self.links: dict[tuple[int, int], ev.LinkChanged] = {}
        self.flights: dict[tuple[int, int], Flight] = {}
        self.journeys = Journeys()
        self.last: Event | None = None

    @property
    def writes(self) -> dict[int, WriteView]:
        """The writes below /etc/pve so far, by number."""
        return self.journeys.writes

    def copy(self) -> ClusterView:
        """An independent view of the same moment. Events are frozen and shared; what changes is copied."""
        clone = ClusterView.__new__(ClusterView)
        clone.__dict__.update(self.__dict__)
        clone.nodes = {nodeid: copy.copy(node) for nodeid, node in self.nodes.items()}
        clone.visit = copy.copy(self.visit)
        clone.cut_links = dict(self.cut_links)
        clone.links = dict(self.links)
        clone.flights = dict(self.flights)
        clone.journeys = self.journeys.copy()
        return clone

    # ------------------------------------------------------------------------------------------------------ the fold

    def apply(self, event: Event) -> None:
        """Take the next event."""
        self.time_ns = event.time_ns
        self.event_id = event.id
        self.last = event
        handler = _HANDLERS.get(type(event.body))
        if handler is not None:
            handler(self, event, event.body)

    def _node(self, event: Event) -> NodeView:
        node = self.nodes.get(event.node)
        if node is None:  # a recording may meet a node that its start did not name
            info = NodeInfo(event.node, f"node{event.node}")
            node = self.nodes[event.node] = NodeView(info, self._token_ms())
        return node

    def _token_ms(self) -> int:
        return self.run.timeouts_ms.get("token", 0) if self.run else 0

    def _arm_token_timer(self, node: NodeView) -> None:
        node.token_since_ns = self.time_ns
        node.token_deadline_ns = self.time_ns + node.token_ms * MS

    @property
    def _simulated(self) -> bool:
        return self.run is not None and self.run.world == "simulated"

    def _run_started(self, event: Event, body: ev.RunStarted) -> None:
        self.run = body
        for info in body.nodes:
            self.nodes[info.nodeid] = NodeView(info, body.timeouts_ms.get("token", 0), disk=info.disk)

    def _node_added(self, event: Event, body: ev.NodeAdded) -> None:
        if self.run is not None:
            self.run = msgspec.structs.replace(self.run, nodes=(*self.run.nodes, body.info))
        self.nodes[event.node] = NodeView(body.info, self._token_ms(), disk=body.info.disk)

    def _host_model_changed(self, event: Event, body: ev.HostModelChanged) -> None:
        """The run's model is the last one that any node has changed to."""
        if self.run is not None:
            self.run = msgspec.structs.replace(self.run, host_model=body.model)

    def _clock_set(self, event: Event, body: ev.ClockSet) -> None:
        self._node(event).clock = ClockSetting(event.time_ns, body.ahead_ns, body.drift_ppm)

    def _timeouts_changed(self, event: Event, body: ev.TimeoutsChanged) -> None:
        changed = [*self.nodes.values()] if event.node == ev.WORLD else [self._node(event)]
        for node in changed:
            node.reloaded_ns = event.time_ns
            node.timeouts_before_ms = node.own_timeouts_ms or (self.run.timeouts_ms if self.run is not None else {})
            node.token_ms = body.timeouts_ms.get("token", 0)
            node.own_timeouts_ms = body.timeouts_ms
        if self.run is not None and all(node.own_timeouts_ms == body.timeouts_ms for node in self.nodes.values()):
            self.run = msgspec.structs.replace(self.run, timeouts_ms=body.timeouts_ms, limits=body.limits)
            for node in self.nodes.values():
                node.own_timeouts_ms = {}

    def timeout_ms(self, nodeid: int, key: str) -> int:
        """A timeout in force on a node, by corosync's key; 0 if it is not known."""
        node = self.nodes.get(nodeid)
        own = node.own_timeouts_ms if node is not None else {}
        return (own or (self.run.timeouts_ms if self.run is not None else {})).get(key, 0)

    # token

    def _token_received(self, event: Event, body: totem.TokenReceived) -> None:
        node = self._node(event)
        self.visits += 1
        self.visit = Visit(event.node, self.visits, event.time_ns, 1, body)
        self.token = TokenPlace("at", event.node, 0, event.time_ns)
        node.seq = body.seq
        node.aru = body.my_aru
        self._arm_token_timer(node)

    def _current_visit(self, event: Event) -> Visit | None:
        visit = self.visit
        return visit if visit is not None and visit.node == event.node else None

    def _retransmit_checked(self, event: Event, body: totem.RetransmitChecked) -> None:
        if visit := self._current_visit(event):
            visit.checked = body
            visit.stage = 2

    def _message_ordered(self, event: Event, body: totem.MessageOrdered) -> None:
        if visit := self._current_visit(event):
            visit.ordered = (*visit.ordered, body.seq)
        self.journeys.message_ordered(event, body)

    def _packet_delivered(self, event: Event, body: totem.PacketDelivered) -> None:
        """Delivery needs no token: what came since the last visit counts too."""
        node = self._node(event)
        if body.ring_id != node.ring_id or node.aru < 0:
            return
        if lt(node.aru, body.seq):
            node.aru = body.seq
        if lt(node.seq, body.seq):
            node.seq = body.seq

    def _messages_multicast(self, event: Event, body: totem.MessagesMulticast) -> None:
        self._node(event).queue = body.queued
        if visit := self._current_visit(event):
            visit.multicast = body
            visit.stage = 3

    def _token_passed(self, event: Event, body: totem.TokenPassed) -> None:
        node = self._node(event)
        node.aru = body.my_aru
        node.seq = body.seq
        if visit := self._current_visit(event):
            visit.passed = body
            visit.stage = 4
        if body.held:
            self.token = TokenPlace("held", event.node, body.successor, event.time_ns)

    def _datagram_sent(self, event: Event, body: ev.DatagramSent) -> None:
        if self._simulated:  # a recording cannot tell what is still on its way
            for target in (body.target,) if body.target else self.nodes:
                if target != event.node:
                    flight = Flight(event.node, target, event.id, body.kind, event.time_ns)
                    self.flights[event.id, target] = flight
        if body.kind == "orf_token" and self.token.node == event.node:
            self.token = TokenPlace("flying", event.node, body.target, event.time_ns)

    def _datagram_received(self, event: Event, body: ev.DatagramReceived) -> None:
        self.flights.pop((body.sent, event.node), None)

    def _datagram_dropped(self, event: Event, body: ev.DatagramDropped) -> None:
        self.flights.pop((body.sent, body.target), None)
        if body.kind == "orf_token" and self.token.how == "flying" and self.token.target == body.target:
            self.token = TokenPlace("lost", body.source, body.target, event.time_ns)

    def _datagram_queued(self, event: Event, body: ev.DatagramQueued) -> None:
        self.flights.pop((body.sent, event.node), None)
        node = self._node(event)
        node.waiting += 1
        if body.kind == "orf_token" and self.token.how == "flying" and self.token.target == event.node:
            self.token = TokenPlace("waiting", event.node, 0, event.time_ns)

    # membership

    def _state_entered(self, event: Event, body: totem.StateEntered) -> None:
        node = self._node(event)
        node.state = body.state
        node.state_text = body.text
        node.state_since_ns = event.time_ns
        node.ring_id = body.ring_id
        node.proc = body.proc
        node.failed = body.failed
        node.corosync_alive = True
        if body.state == "GATHER":
            node.token_deadline_ns = -1
        else:
            self._arm_token_timer(node)
        if body.state != "OPERATIONAL" and self.token.node in (0, event.node):
            self.token = TokenPlace("none", 0, 0, event.time_ns)

    def _membership_installed(self, event: Event, body: totem.MembershipInstalled) -> None:
        node = self._node(event)
        node.ring_id = body.ring_id
        node.members = body.members
        node.corosync_alive = True

    # daemons and hosts

    def _process_started(self, event: Event, body: ev.ProcessStarted) -> None:
        node = self._node(event)
        if body.process == "pmxcfs":
            node.pmxcfs_alive = True
        elif body.process == "corosync":
            node.corosync_alive = True
            node.state, node.state_text, node.state_since_ns = "STARTING", "links are coming up", event.time_ns

    def _pmxcfs_exited(self, event: Event, body: object) -> None:
        node = self._node(event)
        node.pmxcfs_alive = False
        node.dcdb_mode = ""

    def _process_killed(self, event: Event, body: ev.ProcessKilled) -> None:
        node = self._node(event)
        if body.process not in ("corosync", "pmxcfs"):
            return
        node.blocked_since_ns = node.fsync_since_ns = -1
        node.blocked_why, node.blocked_processes, node.waiting = "", (), 0
        if body.process == "pmxcfs":
            self._pmxcfs_exited(event, body)
            return
        node.corosync_alive = False
        node.client_queues, node.queue_level = {}, ""
        node.state, node.state_text, node.state_since_ns = "DOWN", "killed", event.time_ns
        node.token_deadline_ns = -1
        node.members = ()
        node.ring_id = None
        node.quorate = None
        if self.token.node == event.node and self.token.how in ("at", "held", "waiting"):
            self.token = TokenPlace("lost", event.node, 0, event.time_ns)

    def _process_blocked(self, event: Event, body: ev.ProcessBlocked) -> None:
        node = self._node(event)
        node.blocked_since_ns = event.time_ns
        node.blocked_why = body.why
        node.blocked_processes = body.processes

    def _process_resumed(self, event: Event, body: ev.ProcessResumed) -> None:
        node = self._node(event)
        node.blocked_since_ns = -1
        node.blocked_why = ""
        node.blocked_processes = ()
        node.waiting = 0

    def _fsync_started(self, event: Event, body: ev.FsyncStarted) -> None:
        node = self._node(event)
        node.fsync_since_ns = event.time_ns
        node.fsync_file = body.file
        node.fsyncs += 1

    def _fsync_finished(self, event: Event, body: ev.FsyncFinished) -> None:
        node = self._node(event)
        node.fsync_since_ns = -1
        node.last_fsync_ns = body.took_ns
        if body.process == "pmxcfs" and node.disk_trouble != "lies":
            self._durable(event, node)

    def _durable(self, event: Event, node: NodeView) -> None:
        node.durable_version = node.version
        self.journeys.synced(event)

    def _disk_loaded(self, event: Event, body: ev.DiskLoaded) -> None:
        node = self._node(event)
        node.disk_load = body
        node.loaded_until_ns = event.time_ns + body.duration_ns

    def _disk_faulted(self, event: Event, body: ev.DiskFaulted) -> None:
        self._node(event).disk_trouble = body.fault

    def _disk_mended(self, event: Event, body: ev.DiskMended) -> None:
        node = self._node(event)
        node.disk_trouble, node.stalled_until_ns = "", -1

    def _disk_written_back(self, event: Event, body: ev.DiskWrittenBack) -> None:
        if any(name.endswith("-wal") for name in body.files):
            self._durable(event, self._node(event))

    def _lrm_state_changed(self, event: Event, body: ev.LrmStateChanged) -> None:
        self._node(event).lrm_state = body.new

    def _watchdog_fed(self, event: Event, body: ev.WatchdogFed) -> None:
        self._node(event).watchdog_fed_ns = event.time_ns

    def _node_fenced(self, event: Event, body: ev.NodeFenced) -> None:
        node = self._node(event)
        node.lrm_state, node.watchdog_fed_ns, node.disk_load, node.loaded_until_ns = "", -1, None, -1

    def _disk_changed(self, event: Event, body: ev.DiskChanged) -> None:
        node = self._node(event)
        node.disk = body.profile
        node.stalled_until_ns = event.time_ns + body.stall_ns if body.stall_ns else -1

    def _link_changed(self, event: Event, body: ev.LinkChanged) -> None:
        key = (body.source, body.target)
        self.links[key] = body
        if body.cut or body.loss_percent:
            self.cut_links[key] = body
        else:
            self.cut_links.pop(key, None)

    # above the ring

    def _quorum_changed(self, event: Event, body: corosync.QuorumChanged) -> None:
        node = self._node(event)
        node.quorate = body.quorate
        node.votes = body.votes
        node.expected_votes = body.expected_votes

    def _queue_level_changed(self, event: Event, body: corosync.QueueLevelChanged) -> None:
        self._node(event).queue_level = body.level

    def _ipc_backlog(self, event: Event, body: corosync.IpcBacklog) -> None:
        node = self._node(event)
        before = node.client_queues.get(body.client)
        most_bytes = max(body.queued_bytes, before.most_bytes if before else 0)
        queue = ClientQueue(body.queued, body.queued_bytes, most_bytes)
        node.client_queues = {**node.client_queues, body.client: queue}

    def _dfsm_mode_changed(self, event: Event, body: pmxcfs.DfsmModeChanged) -> None:
        if body.machine == "dcdb":
            self._node(event).dcdb_mode = body.mode

    # writes

    def _message_submitted(self, event: Event, body: totem.MessageSubmitted) -> None:
        node = self._node(event)
        node.queue = max(node.queue, 0) + 1
        self.journeys.message_submitted(event, body)

    def _change_applied(self, event: Event, body: pmxcfs.ChangeApplied) -> None:
        self._node(event).version = body.version
        self.journeys.applied(event, body)

    def _change_committed(self, event: Event, body: pmxcfs.ChangeCommitted) -> None:
        self._node(event).version = body.version

    def _tree_loaded(self, event: Event, body: pmxcfs.TreeLoaded) -> None:
        self._node(event).version = body.version


_HANDLERS: dict[type, Callable[[ClusterView, Event, Any], None]] = {
    ev.RunStarted: ClusterView._run_started,
    ev.TimeoutsChanged: ClusterView._timeouts_changed,
    ev.NodeAdded: ClusterView._node_added,
    ev.ClockSet: ClusterView._clock_set,
    ev.HostModelChanged: ClusterView._host_model_changed,
    totem.TokenReceived: ClusterView._token_received,
    totem.RetransmitChecked: ClusterView._retransmit_checked,
    totem.MessageOrdered: ClusterView._message_ordered,
    totem.PacketDelivered: ClusterView._packet_delivered,
    totem.MessagesMulticast: ClusterView._messages_multicast,
    totem.TokenPassed: ClusterView._token_passed,
    totem.StateEntered: ClusterView._state_entered,
    totem.MembershipInstalled: ClusterView._membership_installed,
    totem.MessageSubmitted: ClusterView._message_submitted,
    ev.DatagramSent: ClusterView._datagram_sent,
    ev.DatagramReceived: ClusterView._datagram_received,
    ev.DatagramDropped: ClusterView._datagram_dropped,
    ev.DatagramQueued: ClusterView._datagram_queued,
    ev.ProcessStarted: ClusterView._process_started,
    ev.ProcessKilled: ClusterView._process_killed,
    pmxcfs.PmxcfsExited: ClusterView._pmxcfs_exited,
    ev.ProcessBlocked: ClusterView._process_blocked,
    ev.ProcessResumed: ClusterView._process_resumed,
    ev.FsyncStarted: ClusterView._fsync_started,
    ev.FsyncFinished: ClusterView._fsync_finished,
    ev.DiskChanged: ClusterView._disk_changed,
    ev.DiskLoaded: ClusterView._disk_loaded,
    ev.DiskFaulted: ClusterView._disk_faulted,
    ev.DiskMended: ClusterView._disk_mended,
    ev.DiskWrittenBack: ClusterView._disk_written_back,
    ev.LrmStateChanged: ClusterView._lrm_state_changed,
    ev.WatchdogFed: ClusterView._watchdog_fed,
    ev.NodeFenced: ClusterView._node_fenced,
    ev.LinkChanged: ClusterView._link_changed,
    ev.WriteStarted: lambda view, event, body: view.journeys.write_started(event, body),
    ev.SystemCalled: lambda view, event, body: view.journeys.system_called(event, body),
    ev.WriteFinished: lambda view, event, body: view.journeys.write_finished(event, body),
    corosync.QueueLevelChanged: ClusterView._queue_level_changed,
    corosync.IpcBacklog: ClusterView._ipc_backlog,
    corosync.QuorumChanged: ClusterView._quorum_changed,
    corosync.CpgDelivered: lambda view, event, body: view.journeys.delivered(event, body),
    pmxcfs.ChangeQueued: lambda view, event, body: view.journeys.change_queued(event, body),
    pmxcfs.ChangeApplied: ClusterView._change_applied,
    pmxcfs.ChangeCommitted: ClusterView._change_committed,
    pmxcfs.TreeLoaded: ClusterView._tree_loaded,
    pmxcfs.DfsmModeChanged: ClusterView._dfsm_mode_changed,
    pmxcfs.FuseReply: lambda view, event, body: view.journeys.replied(event, body),
}
