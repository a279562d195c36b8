"""The quorum service: tells who is here and whether that is enough; votequorum decides (sheet §8.7, §10.4)."""

from __future__ import annotations

from collections.abc import Sequence

from totemviz.corosync.effects import QuorumChanged
from totemviz.corosync.service import Core
from totemviz.corosync.wire import QUORUM, ServiceMessage
from totemviz.totem.effects import Level, RingId

VIEW_BUFFER_SIZE = 64
NODELIST_EVENT_SIZE = 64
QUORUM_EVENT_SIZES = 48, 56


class Quorum:
    """Views as the log and the clients get them. Source: ``vsf_quorum.c``."""

    service_id = QUORUM
    name = "corosync cluster quorum service v0.1"

    def __init__(self, core: Core) -> None:
        self._core = core
        self._activated: tuple[int, ...] = ()
        self._members: tuple[int, ...] = ()
        self._changes = 0
        self.quorate = False

    def sync_init(self, transitional: tuple[int, ...], members: tuple[int, ...], ring_id: RingId) -> None:
        """Compare with the last activated view and log it; a node that came back is both left and joined."""
        left = [node for node in self._activated if node not in transitional or node not in members]
        joined = [node for node in members if node not in self._activated or node in left]
        self._members = members
        self._changes = len(left) + len(joined)
        self._log_view("Sync members", members)
        if joined:
            self._log_view("Sync joined", joined)
        if left:
            self._log_view("Sync left", left)

    def sync_process(self) -> bool:
        """Nothing to send."""
        return True

    def sync_activate(self) -> None:
        """The view counts; tracking clients get the node list."""
        self._activated = self._members
        size = NODELIST_EVENT_SIZE + 4 * (len(self._members) + self._changes)
        self._debug(f"sending nodelist notification to (nil), length = {size}")

    def sync_abort(self) -> None:
        """The last activated view stays."""

    def deliver(self, source: int, message: ServiceMessage, seq: int) -> None:
        """No messages of its own."""

    def set_quorum(self, change: QuorumChanged) -> None:
        """Take votequorum's verdict (``vsf_quorum.c: quorum_api_set_quorum``)."""
        if change.quorate and not self.quorate:
            self._notice("This node is within the primary component and will provide service.")
        elif self.quorate and not change.quorate:
            self._notice("This node is within the non-primary component and will NOT provide any services.")
        self.quorate = change.quorate
        self._log_view("Members", change.members)
        sizes = "/".join(str(size + 4 * len(change.members)) for size in QUORUM_EVENT_SIZES)
        self._debug(f"sending quorum notification to (nil), length = {sizes}")
        self._core.emit(change)

    def _log_view(self, title: str, nodes: Sequence[int]) -> None:
        for line in view_lines(title, nodes):
            self._notice(line)

    def _notice(self, text: str) -> None:
        self._core.log(Level.NOTICE, "QUORUM", text)

    def _debug(self, text: str) -> None:
        self._core.log(Level.DEBUG, "QUORUM", text)


def view_lines(title: str, nodes: Sequence[int]) -> list[str]:
    """A view as corosync prints it: the list is cut at 63 characters and goes on after a backslash.

    The id at the cut is printed in part and again, whole, in the next line (``vsf_quorum.c: log_view_list``).
    """
    lines, text = [], ""
    for node in nodes:
        if len(text) + len(f" {node}") >= VIEW_BUFFER_SIZE:
            cut = f"{text} {node}"[: VIEW_BUFFER_SIZE - 1]
            lines.append(f"{title}[{len(nodes)}]:{cut}\\")
            text = ""
        text += f" {node}"
    return [*lines, f"{title}[{len(nodes)}]:{text}"]
