"""What an administrator does with corosync's own tools and its file on one host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from totemviz.corosync.conf import ConfError, CorosyncConf
from totemviz.corosync.effects import CpgError
from totemviz.pmxcfs.corosync_conf import COROSYNC_CONF
from totemviz.sim import tools
from totemviz.sim.conf_edits import edited
from totemviz.sim.interventions.confs import HOST_FILE, EditConf
from totemviz.sim.processes import IPC_NS
from totemviz.sim.threads import COROSYNC, Job
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.host import Host

RELOAD = "corosync-cfgtool -R"
NEW_FILE = f"{COROSYNC_CONF}.new"


class CorosyncTools:
    """The tools on one host: they talk to its daemon, which answers when its thread is free."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def reload_config(self, event: int, *, by_pmxcfs: bool = False) -> None:
        """``corosync-cfgtool -R``; the answer is an event."""

        def run() -> None:
            host = self._host
            if host.daemon is None:
                self._answered(RELOAD, CpgError.LIBRARY, event)
                if by_pmxcfs:
                    host.processes.post_pmxcfs(event, lambda pmxcfs: pmxcfs.reload_failed(host.world.now_ns))
                return
            error, outputs = host.daemon.reload_config(host.world.now_ns)
            if error is not CpgError.OK:
                self._answered(RELOAD, error, event)
            host.carry_out(COROSYNC, outputs, event)

        self._ask(run)

    def set_key(self, change: Callable[[CorosyncConf], CorosyncConf], event: int) -> None:
        """``corosync-cmapctl -s``: a key in this daemon's map, which takes effect here and is written nowhere."""

        def run() -> None:
            host = self._host
            if host.daemon is None:
                self._answered("corosync-cmapctl", CpgError.LIBRARY, event)
                return
            try:
                conf = change(host.daemon.conf)
            except ConfError as error:
                host.record(event, ev.ToolAnswered("corosync-cmapctl", str(error)))
                return
            host.carry_out(COROSYNC, host.daemon.set_key(host.world.now_ns, conf), event)
            host.world.tell_timeouts([host], event)

        self._ask(run)

    def edit_conf(self, edit: EditConf, event: int) -> None:
        """Edit the host's own file, or the cluster's in /etc/pve as Proxmox' tools do (``atomic_write_conf``)."""
        host = self._host
        own = edit.file == HOST_FILE
        tree = host.pmxcfs.memdb.read(COROSYNC_CONF) if host.pmxcfs is not None else None
        text = (host.host_conf.content if own else tree) or b""
        try:
            content = edited(text.decode(errors="replace"), edit.key, edit.value, bump=edit.bump).encode()
        except ConfError as error:
            host.record(event, ev.ToolAnswered(f"edit {edit.file}", str(error)))
            return
        if own:
            host.host_conf.content = content
            return
        clients = host.world.clients
        program = tools.replace_file(clients.look(host.nodeid), COROSYNC_CONF, NEW_FILE, content)
        clients.run(host.nodeid, COROSYNC_CONF, program, event, size=len(content))

    def _ask(self, run: Callable[[], None]) -> None:
        host = self._host
        host.world.scheduler.after(IPC_NS, host.processes.post, Job(COROSYNC, partial(self._if_powered, run)))

    def _if_powered(self, run: Callable[[], None]) -> None:
        if self._host.powered:
            run()

    def _answered(self, tool: str, error: CpgError, event: int) -> None:
        self._host.record(event, ev.ToolAnswered(tool, error.name))
