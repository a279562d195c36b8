"""The distributed finite state machine: replicated data over a totally ordered group (sheet §5, ``dfsm.c``).

    START ──> START_SYNC ──> SYNCED            all members collect everybody's state, choose the same leader
                   │            ▲
                   └──> UPDATE ─┘              an outdated member waits for the leader's entries

While SYNCED, a message is applied when it is delivered. Any change of the group with two or more members left starts
a new exchange, told from older ones by its *epoch*; until it is over, messages wait in queues and so do their
writers. Whatever goes wrong ends in LEAVE: leave the group, join again, synchronise. Modes from 128 ignore all input.

Every way into LEAVE is a ``LeaveGroupError`` raised where the trouble is seen.
"""

from __future__ import annotations

from bisect import insort_right
from collections import deque

import msgspec

from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgError
from totemviz.pmxcfs.application import Application, LeaveGroupError, SeriousError, SyncInfo
from totemviz.pmxcfs.connection import Connection, error_name
from totemviz.pmxcfs.effects import ChangeQueued, DfsmModeChanged, FuseReply
from totemviz.pmxcfs.errors import Errno
from totemviz.pmxcfs.messages import (
    NO_EPOCH,
    Epoch,
    MalformedMessageError,
    MessageType,
    NormalMessage,
    StateMessage,
    decode_message,
    decode_verify,
    decode_verify_request,
    encode_message,
    encode_verify,
    encode_verify_request,
    protocol_version,
)
from totemviz.pmxcfs.modes import MODE_TEXT, STATE_TABLE, Mode, Step
from totemviz.pmxcfs.process import Process, ProcessId
from totemviz.pmxcfs.threads import Blocking


class Call(msgspec.Struct, frozen=True, gc=False):
    """A system call that waits for its message."""

    call_id: int
    operation: str
    path: str


class QueuedMessage(msgspec.Struct, frozen=True, gc=False):
    """A NORMAL message that cannot be applied yet."""

    sender: ProcessId
    message: NormalMessage


class Dfsm:
    """One state machine of one process; ``domain`` is its log domain and its name: dcdb or status."""

    def __init__(
        self, process: Process, connection: Connection, domain: str, protocol_version: int, application: Application
    ) -> None:
        self.mode = Mode.START
        self.sync: SyncInfo | None = None
        self.domain = domain
        self.connection = connection
        self._process = process
        self._identity = process.identity
        self._protocol_version = protocol_version
        self._application = application
        self._we_are_member = False
        self._lowest_nodeid = 0
        self._epoch = NO_EPOCH
        self._epoch_counter = 0
        self._message_queue: list[QueuedMessage] = []  # by message count
        self._sync_queue: deque[QueuedMessage] = deque()  # in order of arrival
        self._count = 0
        self._waiting: dict[int, Call] = {}  # by message count, rising
        self._checksum_counter = 0
        self._checksum_id = 0
        self._checksum_epoch = NO_EPOCH
        self._checksum = b""

    @property
    def is_lowest(self) -> bool:
        """Whether this node has the lowest node id in the group."""
        return self._lowest_nodeid == self._identity.nodeid

    @property
    def members(self) -> tuple[ProcessId, ...]:
        """The group as this node last saw it."""
        return () if self.sync is None else tuple(member.identity for member in self.sync.members)

    # --------------------------------------------------------------------------------------------------- the service

    def initialise(self) -> Blocking[bool]:
        """Join the group, for the first time or again; whoever still waits gets EBUSY (``dfsm_initialize``)."""
        if self.mode in (Mode.ERROR, Mode.VERSION_ERROR):
            return False
        self._message_queue.clear()
        self.abort_calls()
        self._we_are_member = False
        self._set_mode(Mode.START)
        if not self._process.quirks.rejoin_on_kept_handle:
            self.connection.close()
        if not self.connection.initialise():
            return False
        return (yield from self.connection.join())

    def dispatch(self, event: CpgConfchg | CpgDelivered) -> Blocking[bool]:
        """One event from CPG; False when the group has been left and the connection can be started again."""
        try:
            if isinstance(event, CpgConfchg):
                yield from self._configuration_change(event)
            else:
                yield from self._delivered(event)
        except (LeaveGroupError, MalformedMessageError) as trouble:
            if str(trouble):
                self._critical(str(trouble))
            self._release(Mode.LEAVE)
        except SeriousError:
            self._release(Mode.ERROR)
        if self.mode.is_error:
            if self.connection.joined:
                if (yield from self.connection.leave()) is not CpgError.OK:
                    yield from self.finalise()
                    return False
            elif not self._we_are_member:
                return False
        return True

    def finalise(self) -> Blocking[None]:
        """Wake everybody who waits, leave the group, close the handle (``dfsm_finalize``)."""
        self.abort_calls()
        if self.connection.joined:
            yield from self.connection.leave()
        self.connection.close()
        self._we_are_member = False

    def lost(self) -> None:
        """Corosync died (``dfsm_finalize``)."""
        self.abort_calls()
        self.connection.lost()

    def abort_calls(self) -> None:
        """Wake everybody who waits for a message: they get EBUSY (``dfsm_send_sync_message_abort``)."""
        for call in self._waiting.values():
            self._process.emit(FuseReply(call.call_id, -Errno.EBUSY))
        self._waiting.clear()

    # ------------------------------------------------------------------------------------------------------- sending

    def send(self, subtype: int, payload: bytes, call: Call | None = None) -> Blocking[None]:
        """Multicast an application message; ``call`` is answered when it comes back (``dfsm_send_message_sync``).

        Runs in the machine's writer thread, so counts go out in rising order. A failure to send is EBUSY for the
        caller, whatever the reason (quirk Q4).
        """
        stopped = self.mode in (Mode.ERROR, Mode.VERSION_ERROR)
        if stopped and call is not None and not self._process.quirks.writers_hang_in_error_mode:
            self._process.emit(FuseReply(call.call_id, -Errno.EIO))
            return
        self._count += 1
        count = self._count
        if call is not None:
            self._waiting[count] = call
            self._process.emit(ChangeQueued(call.call_id, count, call.operation, call.path))
        message = NormalMessage(subtype, self._protocol_version, self._process.wall_s, count, payload)
        error = yield from self.connection.mcast(encode_message(message))
        if error is not CpgError.OK:
            self._critical(f"cpg_send_message failed: {error_name(error)}")
            if self._waiting.pop(count, None) is not None and call is not None:
                self._process.emit(FuseReply(call.call_id, -Errno.EBUSY))

    def _send_state(self, type_: MessageType, payload: bytes = b"") -> Blocking[CpgError]:
        """Multicast a message of the state machine in the current epoch; blocks the event loop."""
        message = StateMessage(type_, self._protocol_version, self._process.wall_s, self._epoch, payload)
        return (yield from self.connection.mcast(encode_message(message)))

    def _record_result(self, count: int, result: int) -> None:
        """Our message number ``count`` is through: its caller returns, and any that was passed over with EBUSY."""
        for waiting in [number for number in self._waiting if number <= count]:
            call = self._waiting.pop(waiting)
            self._process.emit(FuseReply(call.call_id, result if waiting == count else -Errno.EBUSY))

    # ----------------------------------------------------------------------------------------- configuration changes

    def _configuration_change(self, event: CpgConfchg) -> Blocking[None]:
        """The group has new members: start over (``dfsm_cpg_confchg_callback``, sheet §5.4)."""
        self._we_are_member = False
        self._epoch_counter += 1
        self._epoch = Epoch(self._epoch_counter, self._process.wall_s, self._identity.nodeid, self._identity.pid)
        self._checksum_id, self._checksum_epoch = self._checksum_counter, NO_EPOCH
        self._sync_queue.clear()
        if self.mode.is_error:
            return
        # Only the member list counts: a process may be in joined and left at once, and they differ between nodes.
        members = [ProcessId(member.nodeid, member.pid) for member in event.members]
        self._we_are_member = self._identity in members
        self._lowest_nodeid = min((member.nodeid for member in members), default=0)
        if self._we_are_member or self.mode is not Mode.START:
            self._notice(f"members: {', '.join(map(str, members))}")
        self._application.cleanup()
        self.sync = SyncInfo(members, self._identity)
        if not self._we_are_member:
            if self.mode is Mode.START:
                return
            self._notice(f"we ({self._identity}) left the process group")
            raise LeaveGroupError
        if len(members) > 1:
            yield from self._start_sync(joined=bool(event.joined))
        else:
            self._set_mode(Mode.SYNCED)
            self.sync.local.synced = True
            yield from self._deliver_queue()
        self._application.configuration(members)

    def _start_sync(self, *, joined: bool) -> Blocking[None]:
        if joined and self._message_queue:
            yield from self._resend_queue()
        self._set_mode(Mode.START_SYNC)
        if self.is_lowest:
            error = yield from self._send_state(MessageType.SYNC_START)
            if error is not CpgError.OK:
                raise LeaveGroupError("failed to send SYNC_START message")

    def _resend_queue(self) -> Blocking[None]:
        """Newcomers never saw what is queued: everybody sends its own part again, unchanged (``dfsm_resend_queue``)."""
        queued, self._message_queue = self._message_queue, []
        self._notice(f"queue not emtpy - resening {len(queued)} messages")  # sic
        for entry in queued:
            if entry.sender == self._identity:
                error = yield from self.connection.mcast(encode_message(entry.message))
                if error is not CpgError.OK:
                    raise LeaveGroupError("dfsm_resend_queue failed")

    # ------------------------------------------------------------------------------------------------------ delivery

    def _delivered(self, event: CpgDelivered) -> Blocking[None]:
        """A message in its place in the total order (``dfsm_cpg_deliver_callback``, sheet §5.5)."""
        if self.mode.is_error:
            return
        if self.sync is None:
            raise LeaveGroupError("no dfsm_sync_info - internal error")
        version = protocol_version(event.payload)
        if version > self._protocol_version:
            self._critical(f"received message with protocol version {version}")
            self._release(Mode.VERSION_ERROR)
            return
        if version < self._protocol_version:
            self._notice(f"ignore message with wrong protocol version {version}")
            return
        sender = ProcessId(event.nodeid, event.pid)
        message = decode_message(event.payload)
        if isinstance(message, NormalMessage):
            yield from self._on_normal(self.sync, QueuedMessage(sender, message))
            return
        if message.type != MessageType.SYNC_START and message.epoch != self._epoch:
            return  # of an exchange that no longer matters
        if self.mode is Mode.START:
            raise LeaveGroupError("internal error - unknown mode 0")
        yield from self._on_state_message(self.sync, sender, message)

    def _on_normal(self, sync: SyncInfo, queued: QueuedMessage) -> Blocking[None]:
        member = sync.member(queued.sender)
        if self.mode is Mode.SYNCED:
            held_back = member is not None and not member.synced
            if self._process.quirks.synced_applies_unsynced_messages or not held_back:
                yield from self._apply(queued)
                return
        if member is None:
            raise LeaveGroupError("dfsm_node_info_lookup failed")
        if self.mode is Mode.UPDATE and member.synced:
            self._sync_queue.append(queued)
        else:
            insort_right(self._message_queue, queued, key=lambda entry: entry.message.count)

    def _apply(self, queued: QueuedMessage) -> Blocking[None]:
        """Let the application apply a message; if it is ours, its caller gets the result."""
        own = queued.sender == self._identity
        try:
            result = yield from self._application.deliver(queued.sender, queued.message)
        except (LeaveGroupError, MalformedMessageError, SeriousError) as trouble:
            if own:
                # The original sets no result here, so the -1 it began with reaches the caller (quirk Q4).
                known = trouble.result if isinstance(trouble, SeriousError) else None
                self._record_result(queued.message.count, -Errno.EPERM if known is None else known)
            raise
        if own:
            self._record_result(queued.message.count, result)

    # ------------------------------------------------------------------------------------------------ state exchange

    def _on_state_message(self, sync: SyncInfo, sender: ProcessId, message: StateMessage) -> Blocking[None]:
        known = message.type in MessageType.__members__.values()
        step = STATE_TABLE.get((MessageType(message.type), self.mode)) if known else Step.UNKNOWN
        match step:
            case Step.ANSWER:
                yield from self._answer(sync, sender, message)
            case Step.COLLECT:
                yield from self._collect(sync, sender, message)
            case Step.TAKE_UPDATE:
                self._application.process_update(message.payload)
            case Step.COMMIT:
                self._application.commit()
                sync.mark_all_synced()
                self._set_mode(Mode.SYNCED)
                yield from self._deliver_sync_queue()
                yield from self._deliver_queue()
            case Step.OTHERS_UPDATED:
                sync.mark_all_synced()
                yield from self._deliver_queue()
            case Step.CHECKSUM:
                yield from self._take_checksum(sender, message)
            case Step.COMPARE:
                self._compare_checksum(message)
            case Step.UNKNOWN if self.mode is not Mode.SYNCED:
                length = len(message.payload)
                raise LeaveGroupError(f"received unknown state message type (type = {message.type}, {length} bytes)")

    def _answer(self, sync: SyncInfo, sender: ProcessId, message: StateMessage) -> Blocking[None]:
        """SYNC_START: from here on this exchange is the one that counts."""
        if sender.nodeid != self._lowest_nodeid:
            # Said but not done: the request is followed all the same (quirk Q6).
            self._critical(f"ignore sync request from wrong member {sender}")
        self._notice(f"received sync request (epoch {message.epoch})")
        self._epoch = message.epoch
        sync.release_states()
        error = yield from self._send_state(MessageType.STATE, self._application.state())
        if error is not CpgError.OK:
            raise LeaveGroupError

    def _collect(self, sync: SyncInfo, sender: ProcessId, message: StateMessage) -> Blocking[None]:
        """STATE: when the last one is here, everybody decides alone, and all decide the same (sheet §5.6)."""
        member = sync.member(sender)
        if member is None:
            raise LeaveGroupError(f"received state for non-member {sender}")
        if member.state is not None:
            raise LeaveGroupError(f"received duplicate state for member {sender}")
        member.state = message.payload
        if not sync.complete:
            return
        self._notice("received all states")
        yield from self._application.process_states(sync, self._send_state)
        self._set_mode(Mode.SYNCED if sync.local.synced else Mode.UPDATE)
        sync.release_states()
        yield from self._deliver_queue()

    def _deliver_queue(self) -> Blocking[None]:
        """Messages that waited, by count: those of synced members first, the others after the updates (sheet §5.7)."""
        sync = self.sync
        assert sync is not None
        queued, self._message_queue = self._message_queue, []
        if queued:
            self._notice(f"dfsm_deliver_queue: queue length {len(queued)}")
        for entry in queued:
            member = sync.member(entry.sender)
            if member is None:
                self._notice(f"remove message from non-member {entry.sender}")
            elif not member.synced:
                self._message_queue.append(entry)
            elif self.mode is Mode.UPDATE:
                self._sync_queue.append(entry)
            else:
                yield from self._apply(entry)

    def _deliver_sync_queue(self) -> Blocking[None]:
        """What synced members applied at once while this node was being updated."""
        if self._sync_queue:
            self._notice(f"dfsm_deliver_sync_queue: queue length {len(self._sync_queue)}")
        while self._sync_queue:
            yield from self._apply(self._sync_queue.popleft())

    # -------------------------------------------------------------------------------------------------- verification

    def verify(self) -> Blocking[None]:
        """The hourly timer: the lowest node asks everybody for a checksum (``dfsm_verify_request``, sheet §5.9)."""
        if self.mode is not Mode.SYNCED or not self.is_lowest:
            return
        if self._checksum_counter != self._checksum_id:
            self._process.notice("main", f"delay verify request {self._checksum_counter + 1:016X}")
            return
        self._checksum_counter += 1
        error = yield from self._send_state(MessageType.VERIFY_REQUEST, encode_verify_request(self._checksum_counter))
        if error is not CpgError.OK:
            self._critical("failed to send VERIFY_REQUEST message")

    def _take_checksum(self, sender: ProcessId, message: StateMessage) -> Blocking[None]:
        """VERIFY_REQUEST: this is the same point of the total order on every member, whatever is being written."""
        if not self._application.verified:
            return
        try:
            checksum_id = decode_verify_request(message.payload)
        except MalformedMessageError as trouble:
            raise LeaveGroupError(f"{trouble} form node {sender}") from trouble  # sic
        self._checksum = self._application.checksum()
        self._checksum_id, self._checksum_epoch = checksum_id, self._epoch
        if sender == self._identity:
            error = yield from self._send_state(MessageType.VERIFY, encode_verify(checksum_id, self._checksum))
            if error is not CpgError.OK:
                raise LeaveGroupError

    def _compare_checksum(self, message: StateMessage) -> None:
        """VERIFY: the lowest node is the reference, right or wrong."""
        if not self._application.verified:
            return
        checksum_id, checksum = decode_verify(message.payload)
        if (message.epoch, checksum_id) != (self._checksum_epoch, self._checksum_id):
            self._notice("skip verification - no checksum saved")
        elif checksum == self._checksum:
            self._notice("data verification successful")
        else:
            received, own = (int.from_bytes(value[:8], "little") for value in (checksum, self._checksum))
            raise LeaveGroupError(f"wrong checksum {received:016X} != {own:016X} - restarting")

    # --------------------------------------------------------------------------------------------------------- modes

    def _set_mode(self, mode: Mode) -> None:
        """Change the mode; an error mode gives way only to a worse one, or to a new start."""
        if mode is self.mode or (mode.is_error and self.mode > mode):
            return
        self.mode = mode
        self._process.emit(DfsmModeChanged(self.domain, mode.name))
        if mode.is_error:
            self._critical(MODE_TEXT[mode])
        else:
            self._notice(MODE_TEXT[mode])
        if mode is Mode.SYNCED:
            self._application.synced()

    def _release(self, mode: Mode) -> None:
        """Give up the exchange and enter an error mode."""
        if self.sync is not None:
            self.sync.release_states()
        self._set_mode(mode)

    def _notice(self, text: str) -> None:
        self._process.notice(self.domain, text)

    def _critical(self, text: str) -> None:
        self._process.critical(self.domain, text)
