"""The quorum device as votequorum sees it: the requests of its local daemon, and what the others hear of it.

The daemon (corosync-qdevice, one per node) registers once, then *polls* again and again: each poll says for which ring
it speaks and whether the device's votes are with this node. A daemon that does not poll in time counts as gone, and a
new ring waits for its poll. Source: ``votequorum.c: message_handler_req_lib_votequorum_qdevice_*``.
"""

from __future__ import annotations

from collections.abc import Callable

from totemviz.corosync.conf import QuorumOptions
from totemviz.corosync.effects import CpgError
from totemviz.corosync.service import Core
from totemviz.corosync.votes import NodeFlag, VoteNode, VoteTable
from totemviz.corosync.wire import QdeviceRegister, QdeviceRename
from totemviz.totem.effects import Level, RingId

TIMER = "qdevice"
NAME_SIZE = 255
_REGISTERED_FLAGS = (
    NodeFlag.QDEVICE_REGISTERED | NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE | NodeFlag.QDEVICE_MASTER_WINS
)


class QuorumDevice:
    """Part of votequorum; ``send_nodeinfo`` multicasts a row of its table."""

    def __init__(
        self, core: Core, table: VoteTable, options: QuorumOptions, send_nodeinfo: Callable[[VoteNode], None]
    ) -> None:
        self._core = core
        self._table = table
        self._us = table.us
        self._timeout_ms = options.device_timeout_ms
        self._sync_timeout_ms = options.device_sync_timeout_ms
        self._send_nodeinfo = send_nodeinfo
        self._registering = False
        self.name = ""
        self.waiting_for_poll = False
        self.master_wins = False

    @property
    def registered(self) -> bool:
        """Has this node's device daemon introduced itself?"""
        return bool(self._us.flags & NodeFlag.QDEVICE_REGISTERED)

    # ------------------------------------------------------------------------------------------------------ requests

    def register(self, name: str) -> CpgError:
        """The local daemon introduces itself; it counts when the message comes back."""
        if self.registered:
            if name == self.name:
                return CpgError.OK
            self._warn(f"A new qdevice with different name (new: {name} old: {self.name}) is trying to re-register!")
            return CpgError.EXIST
        if self._registering:
            self._warn("Registration request already in progress")
            return CpgError.TRY_AGAIN
        self._registering = True
        self._send_registration(1, name)
        return CpgError.OK

    def unregister(self, name: str) -> CpgError:
        """The local daemon goes; its votes no longer count here."""
        if not self.registered:
            return CpgError.NOT_EXIST
        if name != self.name:
            return CpgError.INVALID_PARAM
        self._core.cancel_timer(TIMER)
        self.waiting_for_poll = False
        self._us.flags &= ~_REGISTERED_FLAGS
        self._send_nodeinfo(self._us)
        self._send_registration(0, name)
        return CpgError.OK

    def poll(self, ring_id: RingId, spoken_of: RingId, cast_vote: bool, name: str) -> CpgError:
        """The device gives its votes to this node or withholds them, in the ring ``spoken_of``.

        MESSAGE_ERROR, and nothing happens, if that is not ``ring_id``, the ring of the last sync.
        """
        if not self.registered:
            return CpgError.NOT_EXIST
        if spoken_of != ring_id:
            self._log(f"Received poll ring id ({spoken_of}) != last sync ring id ({ring_id}). Ignoring poll call.")
            return CpgError.MESSAGE_ERROR
        if name != self.name:
            return CpgError.INVALID_PARAM
        before = self._us.flags
        self._us.flags |= NodeFlag.QDEVICE_ALIVE
        self._us.flags &= ~NodeFlag.QDEVICE_CAST_VOTE
        self._us.flags |= NodeFlag.QDEVICE_CAST_VOTE if cast_vote else 0
        if self._us.flags != before:
            self._send_nodeinfo(self._us)
        self._core.set_timer(TIMER, self._timeout_ms)
        self.waiting_for_poll = False
        return CpgError.OK

    def set_master_wins(self, allow: bool, name: str) -> CpgError:
        """A partition with the device's votes shall be quorate by itself, or no longer."""
        if not self.registered:
            return CpgError.NOT_EXIST
        if name != self.name:
            return CpgError.INVALID_PARAM
        before = self._us.flags
        self._us.flags &= ~NodeFlag.QDEVICE_MASTER_WINS
        self._us.flags |= NodeFlag.QDEVICE_MASTER_WINS if allow else 0
        if self._us.flags != before:
            self._send_nodeinfo(self._us)
        self.master_wins = allow
        return CpgError.OK

    # -------------------------------------------------------------------------------------------------- sync and time

    def sync_init(self) -> None:
        """A new ring: the device must say again to whom its votes belong, for as long as it is patient."""
        both = NodeFlag.QDEVICE_REGISTERED | NodeFlag.QDEVICE_ALIVE
        self.waiting_for_poll = self._us.flags & both == both
        if self.waiting_for_poll:
            self._core.set_timer(TIMER, self._sync_timeout_ms)
            text = f"waiting for quorum device {self.name} poll (but maximum for {self._sync_timeout_ms} ms)"
            self._core.log(Level.INFO, "VOTEQ", text)

    def send_name(self) -> None:
        """Tell newcomers what the device is called."""
        if self.name:
            self._send_registration(1, self.name)

    def expire(self) -> None:
        """No poll in time (``qdevice_timer_fn``)."""
        if not self._us.flags & NodeFlag.QDEVICE_ALIVE:
            return
        self._us.flags &= ~(NodeFlag.QDEVICE_ALIVE | NodeFlag.QDEVICE_CAST_VOTE)
        self._core.log(Level.INFO, "VOTEQ", f"lost contact with quorum device {self.name}")
        self._send_nodeinfo(self._us)
        self.waiting_for_poll = False

    # ------------------------------------------------------------------------------------------------------- messages

    def deliver_registration(self, source: int, message: QdeviceRegister) -> None:
        """A device daemon has come or gone somewhere."""
        name = _text(message.name)
        self._log(f"Received qdevice op {message.operation} req from node {source} [{name}]")
        if not message.operation:
            if not any(node.flags & NodeFlag.QDEVICE_REGISTERED for node in self._table.members()):
                self.name = ""
        elif source != self._us.nodeid:
            if not self.name:
                self._log("Remote qdevice name recorded")
                self.name = name
        elif not self.registered:
            self._registered_here(name)

    def _registered_here(self, name: str) -> None:
        if not self._registering:
            self._warn("Unable to determine origin of the qdevice register call!")
            return
        self._registering = False
        self.name = self.name or name
        if name != self.name:
            self._warn(f"A new qdevice with different name (new: {name} old: {self.name}) is trying to register!")
            return
        self._us.flags |= NodeFlag.QDEVICE_REGISTERED
        self._send_nodeinfo(self._table.qdevice)
        self._send_nodeinfo(self._us)

    def deliver_rename(self, source: int, message: QdeviceRename) -> None:
        """The device gets another name."""
        old, new = _text(message.old_name), _text(message.new_name)
        self._log(f"Received qdevice name change req from node {source} [from: {old} to: {new}]")
        if old == self.name:
            self._log("Allowing qdevice rename")
            self.name = new

    # -------------------------------------------------------------------------------------------------------- helpers

    def _send_registration(self, operation: int, name: str) -> None:
        field = name.encode("ascii", "replace")[: NAME_SIZE - 1].ljust(NAME_SIZE, b"\0")
        self._core.multicast(QdeviceRegister(operation, field).encode())

    def _warn(self, text: str) -> None:
        self._core.log(Level.WARNING, "VOTEQ", text)

    def _log(self, text: str) -> None:
        self._core.log(Level.DEBUG, "VOTEQ", text)


def _text(field: bytes) -> str:
    """A name as far as its NUL."""
    return field.partition(b"\0")[0].decode("latin-1")
