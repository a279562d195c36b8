"""Interventions on guests carried out: which tool runs where, and what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from totemviz.sim import interventions as do
from totemviz.sim import tools
from totemviz.sim.threads import PMXCFS

if TYPE_CHECKING:
    from totemviz.sim.world import World

REMOTE_COMMAND_NS = 100_000_000
"""A command sent to another node over ssh."""

DAEMON_PID = 999
"""What stands for the daemons that write to the cluster log of their own."""


def _guest(world: World, node: int, vmid: int) -> tools.Guest:
    """The guest as a tool on this node would name it: on this very node, of the kind the guest list has."""
    host = world.hosts[node]
    known = None if host.pmxcfs is None else host.pmxcfs.memdb.guests.guests.get(vmid)
    return tools.Guest(vmid, "qemu" if known is None else known.type, host.info.name)


def create(world: World, action: do.CreateGuest, event: int) -> None:
    """``qm create``; a VMID in use anywhere is refused by pmxcfs at the latest."""
    clients, node = world.clients, action.node
    guest = tools.Guest(action.vmid, action.kind, world.hosts[node].info.name)
    program = tools.create_guest(
        clients.look(node), clients.process(node), guest, action.config.encode(), action.storage, int(action.takes)
    )
    clients.run(node, guest.path, program, event, size=len(action.config))


def set_option(world: World, action: do.SetGuest, event: int) -> None:
    """``qm set``."""
    clients, node = world.clients, action.node
    guest = _guest(world, node, action.vmid)
    program = tools.set_guest(clients.look(node), clients.process(node), guest, action.option, action.value)
    clients.run(node, guest.path, program, event)


def migrate(world: World, action: do.MigrateGuest, event: int) -> None:
    """``qm migrate``; when the configuration has moved, the target removes its lock."""
    clients, node = world.clients, action.node
    guest, target_name = _guest(world, node, action.vmid), world.hosts[action.target].info.name
    moved = guest._replace(node_name=target_name)

    def unlock(result: int, ended: int) -> None:
        if result >= 0:
            world.scheduler.after(REMOTE_COMMAND_NS, unlock_there, ended)

    def unlock_there(cause: int) -> None:
        look, process = clients.look(action.target), clients.process(action.target)
        clients.run(action.target, moved.path, tools.unlock_guest(look, process, moved), cause)

    program = tools.migrate_guest(clients.look(node), clients.process(node), guest, target_name, int(action.takes))
    clients.run(node, guest.path, program, event, then=unlock)


def destroy(world: World, action: do.DestroyGuest, event: int) -> None:
    """``qm destroy``."""
    clients, node = world.clients, action.node
    guest = _guest(world, node, action.vmid)
    program = tools.destroy_guest(clients.look(node), clients.process(node), guest, int(action.takes))
    clients.run(node, guest.path, program, event)


def set_status(world: World, action: do.SetStatus, event: int) -> None:
    """One request over the IPC socket."""
    host = world.hosts[action.node]
    if host.pmxcfs is not None:
        host.carry_out(PMXCFS, host.pmxcfs.set_status(world.now_ns, action.key, action.value.encode()), event)


def cluster_log(world: World, action: do.WriteClusterLog, event: int) -> None:
    """The same."""
    host = world.hosts[action.node]
    if host.pmxcfs is not None:
        outputs = host.pmxcfs.add_log(world.now_ns, action.user, action.tag, DAEMON_PID, action.message)
        host.carry_out(PMXCFS, outputs, event)
