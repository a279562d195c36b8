"""The timeline in plain words: one sentence for every event.

``sentence(event, view)`` says what one event means; what is going on at the cursor, and why, is ``trace.headline``.
The claims are those of the source, not of popular articles: aru means *received into memory by every corosync*, not
delivered and not on disk; a lost token says nothing about which node failed; a writer waits for its own node only
(sheet §5.1, §11).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from totemviz.corosync import effects as corosync
from totemviz.pmxcfs import effects as pmxcfs
from totemviz.totem import effects as totem
from totemviz.totem.config import MS
from totemviz.totem.states import Gather
from totemviz.trace import events as ev
from totemviz.trace.events import Event, kind_of
from totemviz.trace.journeys import DCDB_GROUP
from totemviz.trace.view import ClusterView
from totemviz.trace.words import (
    DATAGRAM_WORDS,
    DISK_TROUBLE_WORDS,
    GATHER_WORDS,
    aru_text,
    clock_words,
    errno_text,
    miss_count,
    names,
    numbers,
    plural,
    span,
    who,
)

TIMER_WORDS = {
    totem.TotemTimer.TOKEN_LOSS.value: "no token came for the whole token timeout",
    totem.TotemTimer.TOKEN_WARNING.value: "the token is late: three quarters of the token timeout are over",
    totem.TotemTimer.TOKEN_RETRANSMIT.value: "no newer token came: it sends its last token again",
    totem.TotemTimer.HOLD_RETRANSMIT.value: "the hold time is over: the token may go on",
    totem.TotemTimer.JOIN.value: "it asks again who is there",
    totem.TotemTimer.CONSENSUS.value: "not everybody agreed in time",
    totem.TotemTimer.MERGE_DETECT.value: "it asks whether another ring exists",
    totem.TotemTimer.HEARTBEAT.value: "no token was passed on here within the heartbeat timeout",
    totem.TotemTimer.PAUSE.value: "the daemon checks that it was not paused",
    totem.TotemTimer.STARTUP.value: "its links are up",
}


def sentence(event: Event, view: ClusterView) -> str:
    """What the event means, in one line without a full stop."""
    told = SENTENCES.get(type(event.body))
    node = who(view, event.node)
    text = told(event.body, node, view) if told else f"{node}: {kind_of(event.body).replace('_', ' ')}"
    return f"{text} (inferred)" if event.inferred else text


def _timeouts_changed(body: ev.TimeoutsChanged, node: str, view: ClusterView) -> str:
    where = "all nodes" if node == who(view, ev.WORLD) else node
    values = f"token {body.timeouts_ms.get('token', 0)} ms, consensus {body.timeouts_ms.get('consensus', 0)} ms"
    return f"timeouts in force on {where} from now on: {values}"


def _run_started(body: ev.RunStarted, _node: str, _view: ClusterView) -> str:
    kind = "a recording of" if body.world == "recorded" else "a run of"
    return f"here begins {kind} {plural(len(body.nodes), 'node')}" + (f": {body.title}" if body.title else "")


def _intervened(body: ev.Intervened, _node: str, view: ClusterView) -> str:
    return "you: " + re.sub(r"node (\d+)", lambda found: who(view, int(found[1])), body.text)


def _datagram(body: Any) -> str:
    return DATAGRAM_WORDS.get(body.kind, f"a datagram of kind {body.kind}")


def _sent(body: ev.DatagramSent, node: str, view: ClusterView) -> str:
    return f"{node} sends {_datagram(body)} to {who(view, body.target)}"


def _received(body: ev.DatagramReceived, node: str, view: ClusterView) -> str:
    if body.kind == "orf_token":
        return f"the token reaches {node}"
    return f"{node} reads {_datagram(body)} from {who(view, body.source)}"


def _dropped(body: ev.DatagramDropped, _node: str, view: ClusterView) -> str:
    return f"{_datagram(body)} from {who(view, body.source)} never reaches {who(view, body.target)}: {body.why}"


def _queued(body: ev.DatagramQueued, node: str, _view: ClusterView) -> str:
    return f"{_datagram(body)} waits in {node}'s socket: {body.process} does not run"


def _timer(body: ev.TimerExpired, node: str, _view: ClusterView) -> str:
    text = TIMER_WORDS.get(body.timer, f"{body.process}'s timer “{body.timer}” runs out")
    late = f" ({span(body.late_ns)} late)" if body.late_ns >= MS else ""
    return f"{node}: {text}{late}"


def _blocked(body: ev.ProcessBlocked, node: str, _view: ClusterView) -> str:
    verb = "stands" if len(body.processes) == 1 else "stand"
    return f"{' and '.join(body.processes)} on {node} {verb} still: {body.why}"


def _resumed(body: ev.ProcessResumed, node: str, _view: ClusterView) -> str:
    backlog = f"; {plural(body.waiting, 'input')} waited for it" if body.waiting else ""
    return f"{node}: {' and '.join(body.processes)} can go on after {span(body.blocked_ns)}{backlog}"


def _disk(body: ev.DiskChanged, node: str, _view: ClusterView) -> str:
    if body.stall_ns:
        return f"{node}'s disk answers no sync for the next {span(body.stall_ns)}"
    return f"{node}'s disk is now of kind {body.profile}"


def _disk_loaded(body: ev.DiskLoaded, node: str, _view: ClusterView) -> str:
    what = {"backup": "a backup", "vm-io": "the guests' disks"}.get(body.kind, body.kind)
    return f"{what} on {node} takes {body.percent} % of its disk's time for {span(body.duration_ns)}"


def _disk_faulted(body: ev.DiskFaulted, node: str, _view: ClusterView) -> str:
    if body.fault == "slow":
        return f"{node}'s disk is {body.factor} times slower now"
    return f"{node}'s disk {DISK_TROUBLE_WORDS.get(body.fault, body.fault)}"


def _lrm_state(body: ev.LrmStateChanged, node: str, _view: ClusterView) -> str:
    words = {
        "wait_for_agent_lock": "waits for its lock",
        "active": "has its lock",
        "lost_agent_lock": "could not renew its lock and feeds its watchdog no more",
    }
    return f"the HA manager on {node} {words.get(body.new, f'is in state {body.new}')}"


def _link(body: ev.LinkChanged, _node: str, view: ClusterView) -> str:
    link = f"the link from {who(view, body.source)} to {who(view, body.target)}"
    if body.cut:
        return f"{link} is cut"
    if body.loss_percent:
        return f"{link} loses {body.loss_percent:g} % of the datagrams"
    return f"{link} is whole (delay {span(body.delay_ns)})"


def _write_finished(body: ev.WriteFinished, node: str, _view: ClusterView) -> str:
    if body.result is None:
        return f"write w{body.write} on {node} dies with its host after {span(body.took_ns)}"
    if body.result < 0:
        return f"write w{body.write} on {node} fails with {errno_text(body.result)} after {span(body.took_ns)}"
    return f"write w{body.write} on {node} is done for its program after {span(body.took_ns)}"


def _token_received(body: totem.TokenReceived, node: str, _view: ClusterView) -> str:
    asked = f"; it asks for {numbers(body.rtr)}" if body.rtr else ""
    return f"{node} receives the token: seq {body.seq}, aru {aru_text(body.aru)}{asked}"


def _retransmit_checked(body: totem.RetransmitChecked, node: str, view: ClusterView) -> str:
    parts = []
    if body.resent:
        parts.append(f"resends {numbers(body.resent)}")
    if body.requested:
        parts.append(f"asks for {numbers(body.requested)} through the token")
    if body.missing:
        seqs = numbers(seq for seq, _ in body.missing)
        visits = max(count for _, count in body.missing)
        parts.append(f"misses {seqs} (visit {visits} of {miss_count(view)} before it asks)")
    return f"{node} {' and '.join(parts) if parts else 'misses nothing and has nothing to resend'}"


def _multicast(body: totem.MessagesMulticast, node: str, _view: ClusterView) -> str:
    if body.count == 0:
        waiting = f"; {plural(body.queued, 'message')} must wait" if body.queued else ""
        return f"{node} sends no new message{waiting}"
    seqs = numbers(range(body.first_seq, body.first_seq + body.count))
    waiting = f", {body.queued} still wait" if body.queued else ""
    return f"{node} multicasts {plural(body.count, 'message')}: seq {seqs}{waiting}"


def _token_passed(body: totem.TokenPassed, node: str, view: ClusterView) -> str:
    if body.held:
        return f"{node} keeps the token for the hold time: the ring is idle"
    return f"{node} passes the token to {who(view, body.successor)}: seq {body.seq}, aru {aru_text(body.aru)}"


def _token_ignored(body: totem.TokenIgnored, node: str, _view: ClusterView) -> str:
    why = {
        "duplicate": "it is a copy of one it has had",
        "other ring": "it belongs to another ring",
        "gathering": "it looks for members and has no ring",
    }
    return f"{node} drops a token: {why.get(body.reason, body.reason)}"


def _state(body: totem.StateEntered, node: str, view: ClusterView) -> str:
    if body.state == "GATHER":
        failed = f"; it gives up on {names(view, body.failed)}" if body.failed else ""
        return f"{node} looks for members: {_gather_reason(body, view)}{failed}"
    words = {
        "COMMIT": f"{node} has agreed on members; the commit token of ring {body.ring_id} goes round",
        "RECOVERY": f"{node} recovers: members of the old ring send each other what some of them miss",
        "OPERATIONAL": f"{node} is operational in ring {body.ring_id}",
    }
    return words.get(body.state, f"{node} enters {body.state}: {body.text}")


def _gather_reason(body: totem.StateEntered, view: ClusterView) -> str:
    timeouts_ms = view.run.timeouts_ms if view.run else {}
    token_ms, consensus_ms = timeouts_ms.get("token", 0), timeouts_ms.get("consensus", 0)
    if body.text == Gather.TOKEN_LOST_OPERATIONAL.text and token_ms:
        return f"no token came for {span(token_ms * MS)}, the token timeout"
    if body.text == Gather.CONSENSUS_TIMEOUT.text and consensus_ms:
        return f"not everybody answered within {span(consensus_ms * MS)}"
    return GATHER_WORDS.get(body.text, body.text)


def _membership(body: totem.MembershipInstalled, node: str, view: ClusterView) -> str:
    left = [nodeid for nodeid in body.left if nodeid not in body.unannounced]
    groups = ((body.joined, "joined"), (left, "left"))
    changes = [f"{names(view, group)} {word}" for group, word in groups if group]
    if body.unannounced:
        verb = "is" if len(body.unannounced) == 1 else "are"
        changes.append(f"{names(view, body.unannounced)} {verb} out without a word")
    tail = f"; {', '.join(changes)}" if changes else ""
    return f"{node} has a new ring {body.ring_id} of {names(view, body.members)}{tail}"


def _submitted(body: totem.MessageSubmitted, node: str, _view: ClusterView) -> str:
    return f"message {body.number} of {node} waits for the token ({body.length} bytes)"


def _ordered(body: totem.MessageOrdered, node: str, _view: ClusterView) -> str:
    return f"{node}'s packet gets seq {body.seq}: its place in the one order all nodes deliver in"


def _confchg(body: corosync.CpgConfchg, node: str, view: ClusterView) -> str:
    changes = [
        f"{names(view, (m.nodeid for m in group))} {word}"
        for group, word in ((body.joined, "joined"), (body.left, "left"))
        if group
    ]
    return f"{node} tells its client: group {body.group}, {', '.join(changes) or 'unchanged'}"


def _delivered(body: corosync.CpgDelivered, node: str, view: ClusterView) -> str:
    what = "a change of /etc/pve" if body.group == DCDB_GROUP and body.payload[:2] == b"\0\0" else "a message"
    return f"{node} delivers {what} from {who(view, body.nodeid)} to group {body.group} (seq {body.seq})"


def _part(body: corosync.CpgPartDelivered, node: str, view: ClusterView) -> str:
    which = {1: "the first part", 2: "another part", 3: "the last part"}.get(body.part, "a part")
    whole = f"a message of {body.total:,} bytes"
    return f"{node} delivers {which} of {whole} from {who(view, body.nodeid)} to group {body.group} (seq {body.seq})"


def _queue_level(body: corosync.QueueLevelChanged, node: str, _view: ClusterView) -> str:
    used = f"{node}'s send queue is {body.percent} % full"
    if body.level == "CRITICAL":
        return f"{used}: its clients may not send and are told to try again"
    reads = {"LOW": "50 requests", "GOOD": "5 requests", "HIGH": "1 request"}.get(body.level, "requests")
    return f"{used} ({body.level}): corosync reads {reads} of a client at a time"


def _backlog(body: corosync.IpcBacklog, node: str, _view: ClusterView) -> str:
    if not body.queued:
        return f"{node}: client {body.client} has caught up; nothing waits for it in corosync's memory"
    waits = f"{plural(body.queued, 'event')} wait in corosync's memory ({body.queued_bytes / 1048576:.1f} MiB)"
    return f"{node}: client {body.client} does not read, {waits}; no sender is held up by it"


def _refused(body: ev.CpgRefused, node: str, _view: ClusterView) -> str:
    return f"{body.process} on {node} may not send now (TRY_AGAIN): it tries again a little later"


def _flooded(body: ev.FloodFinished, node: str, _view: ClusterView) -> str:
    refused = f"turned away {body.retries} times, for {span(body.longest_refusal_ns)} at most" if body.retries else ""
    sent = f"{body.process} on {node} has sent {plural(body.messages, 'message')} in {span(body.took_ns)}"
    return f"{sent}, {refused or 'never turned away'}"


def _quorum(body: corosync.QuorumChanged, node: str, _view: ClusterView) -> str:
    votes = f"{body.votes} of {body.expected_votes} votes, {body.quorum} needed"
    return f"{node} {'has quorum' if body.quorate else 'has no quorum: /etc/pve becomes read-only there'} ({votes})"


def _fuse_called(body: pmxcfs.FuseCalled, node: str, _view: ClusterView) -> str:
    to = f" to {body.to}" if body.to else ""
    return f"{body.operation} {body.path}{to} reaches pmxcfs on {node}"


def _applied(body: pmxcfs.ChangeApplied, node: str, view: ClusterView) -> str:
    change = f"{body.operation} {body.path} from {who(view, body.nodeid)}"
    if body.result < 0:
        return f"{node} refuses {change}: {errno_text(body.result)}"
    return f"{node} applies {change}: /etc/pve is at version {body.version}"


def _mode(body: pmxcfs.DfsmModeChanged, node: str, _view: ClusterView) -> str:
    words = {
        "START": "starts",
        "START_SYNC": "compares its state with the other members",
        "SYNCED": "is synced",
        "UPDATE": "fetches what it missed",
        "LEAVE": "leaves its group",
        "ERROR": "stopped after an internal error",
    }
    return f"pmxcfs on {node} ({body.machine}) {words.get(body.mode, f'is in mode {body.mode}')}"


def _disk_io(body: pmxcfs.DiskIo, node: str, _view: ClusterView) -> str:
    where = f" {plural(body.length, 'byte')} at {body.offset}" if body.length else ""
    return f"SQLite on {node}: {body.op}{where} in {body.file}"


def _config_reloaded(body: corosync.ConfigReloaded, node: str, view: ClusterView) -> str:
    asked = f"as {who(view, body.asked_by)} asked (corosync-cfgtool -R)"
    if body.problem:
        return f"corosync on {node} cannot take its corosync.conf, {asked}, and goes on as before: {body.problem}"
    return f"corosync on {node} reads its corosync.conf again, {asked}: version {body.config_version}"


def _configuration(body: totem.ConfigurationChange, node: str, view: ClusterView) -> str:
    if body.transitional:
        return f"{node} tells the layers above who comes along from its old ring: {names(view, body.members)}"
    return f"{node} tells the layers above who is in ring {body.ring_id}: {names(view, body.members)}"


SENTENCES: dict[type, Callable[[Any, str, ClusterView], str]] = {
    ev.RunStarted: _run_started,
    ev.Intervened: _intervened,
    ev.ClockSet: lambda body, node, view: f"the wall clock of {node} {clock_words(body.ahead_ns, body.drift_ppm)}",
    ev.HostModelChanged: lambda body, node, view: f"from now on {node} behaves as the {body.model} model has it",
    ev.NodeAdded: lambda body, node, view: f"the cluster gets a new node: {node}",
    ev.TimeoutsChanged: _timeouts_changed,
    ev.DatagramSent: _sent,
    ev.DatagramReceived: _received,
    ev.DatagramDropped: _dropped,
    ev.DatagramQueued: _queued,
    ev.TimerExpired: _timer,
    ev.ProcessStarted: lambda body, node, view: f"{body.process} starts on {node} (pid {body.pid})",
    ev.ProcessKilled: lambda body, node, view: f"{body.process} on {node} dies without a word",
    ev.ProcessBlocked: _blocked,
    ev.ProcessResumed: _resumed,
    ev.FsyncStarted: lambda body, node, view: f"{body.process} on {node} asks its disk to make {body.file} durable",
    ev.FsyncFinished: lambda body, node, view: f"{node}'s disk has {body.file} safe after {span(body.took_ns)}",
    ev.RingIdStored: lambda body, node, view: f"{node} writes ring sequence {body.seq} to its ring-id file",
    ev.ExpectedVotesStored: lambda body, node, view: (
        f"{node} writes that it has expected {body.votes} votes to its file"
    ),
    ev.ToolAnswered: lambda body, node, view: f"{body.command} on {node}: {body.answer}",
    ev.DiskChanged: _disk,
    ev.DiskLoaded: _disk_loaded,
    ev.DiskFaulted: _disk_faulted,
    ev.DiskMended: lambda body, node, view: f"{node}'s disk works again",
    ev.DiskWrittenBack: lambda body, node, view: (
        f"the kernel on {node} writes out what was dirty for 30 s: {', '.join(body.files)}"
    ),
    ev.LinkChanged: _link,
    ev.WriteStarted: lambda body, node, view: (
        f"w{body.write}: a program on {node} begins to write /etc/pve/{body.path.removeprefix('/')} "
        f"({plural(body.size, 'byte')})"
    ),
    ev.SystemCalled: lambda body, node, view: f"w{body.write}: the program on {node} calls {body.operation}",
    ev.WriteFinished: _write_finished,
    ev.LrmStateChanged: _lrm_state,
    ev.WatchdogFed: lambda body, node, view: f"{node} holds its HA lock and feeds its watchdog",
    ev.WatchdogWarned: lambda body, node, view: (
        f"{node}'s watchdog is about to expire: the HA manager has been silent for {body.silent_s} s"
    ),
    ev.WatchdogExpired: lambda body, node, view: (
        f"{node}'s watchdog has expired after {body.silent_s} s: nobody feeds it any more"
    ),
    ev.NodeFenced: lambda body, node, view: f"the watchdog resets {node}",
    totem.TokenReceived: _token_received,
    totem.RetransmitChecked: _retransmit_checked,
    totem.MessagesMulticast: _multicast,
    totem.TokenPassed: _token_passed,
    totem.TokenIgnored: _token_ignored,
    totem.TokenReleased: lambda body, node, view: f"{node} sends its token again: {body.reason}",
    totem.PacketDelivered: lambda body, node, view: (
        f"{node} has all packets up to seq {body.seq} and hands this one of {who(view, body.source)} to the layer above"
    ),
    totem.ConfigurationChange: _configuration,
    corosync.DeviceAsked: lambda body, node, view: f"votequorum on {node} asks the quorum device about the new ring",
    corosync.DaemonExited: lambda body, node, view: f"corosync on {node} has ended ({body.reason})",
    totem.StateEntered: _state,
    totem.MembershipInstalled: _membership,
    totem.MessageSubmitted: _submitted,
    totem.MessageOrdered: _ordered,
    totem.Log: lambda body, node, view: f"{node} logs [{body.subsystem}] {body.text}",
    corosync.CpgConfchg: _confchg,
    corosync.CpgDelivered: _delivered,
    corosync.CpgPartDelivered: _part,
    corosync.QueueLevelChanged: _queue_level,
    corosync.IpcBacklog: _backlog,
    ev.CpgRefused: _refused,
    ev.FloodFinished: _flooded,
    corosync.QuorumChanged: _quorum,
    corosync.SyncCompleted: lambda body, node, view: f"{node}: all services are synchronised in ring {body.ring_id}",
    pmxcfs.FuseCalled: _fuse_called,
    pmxcfs.ChangeQueued: lambda body, node, view: (
        f"{body.operation} {body.path} waits at {node} for its place in order"
    ),
    pmxcfs.ChangeApplied: _applied,
    corosync.ConfigReloaded: _config_reloaded,
    pmxcfs.LockExpired: lambda body, node, view: (
        f"{node}, the lowest node, finds the lock {body.path} {body.age_s} s old by its own clock: it has expired"
    ),
    pmxcfs.CorosyncConfWritten: lambda body, node, view: (
        f"pmxcfs on {node} copies corosync.conf, version {body.version}, to /etc/corosync"
    ),
    pmxcfs.CorosyncReload: lambda body, node, view: f"pmxcfs on {node} has every corosync read its corosync.conf again",
    pmxcfs.PmxcfsExited: lambda body, node, view: (
        f"pmxcfs on {node} crashes ({body.signal})"
        if body.signal
        else f"pmxcfs on {node} has left its groups and ended"
    ),
    pmxcfs.TreeLoaded: lambda body, node, view: (
        f"pmxcfs on {node} reads /etc/pve from its disk: version {body.version}"
    ),
    pmxcfs.ChangeCommitted: lambda body, node, view: f"SQLite on {node} committed version {body.version} of /etc/pve",
    pmxcfs.DfsmModeChanged: _mode,
    pmxcfs.FuseReply: lambda body, node, view: f"the system call on {node} returns: {errno_text(body.result)}",
    pmxcfs.DiskIo: _disk_io,
}
