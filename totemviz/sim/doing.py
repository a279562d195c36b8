"""Interventions carried out: one function for each, from the typed command to what changes in the world.

Every function is given the world, the intervention and the id of its ``Intervened`` event, which is the cause of all
that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from totemviz.sim import guest_tools, network_tools
from totemviz.sim import interventions as do
from totemviz.sim.conf_edits import with_key
from totemviz.sim.interventions.hosts import HOST
from totemviz.sim.threads import COROSYNC, PMXCFS

if TYPE_CHECKING:
    from totemviz.sim.world import World


def _write(world: World, action: do.Write, event: int) -> None:
    for number in range(action.count):
        path = action.path.replace("{n}", str(number + 1))
        content = action.content.replace("{n}", str(number + 1)).encode()
        write = partial(world.clients.write, action.node, path, content, event, replace=action.replace)
        world.scheduler.after(number * int(action.every), write)


def _kill(world: World, action: do.Kill, event: int) -> None:
    for process in (action.process,) if action.process else (COROSYNC, PMXCFS):
        world.hosts[action.node].kill(process, event)


def _power_cut(world: World, action: do.PowerCut, event: int) -> None:
    rng = world.stream(f"power/{action.node}/{event}") if action.torn else None
    world.hosts[action.node].power_cut(rng, event)


def _pause(world: World, action: do.Pause, event: int) -> None:
    processes = world.hosts[action.node].processes
    if action.process == HOST:
        processes.freeze(int(action.duration), event)
    else:
        processes.pause(action.process, int(action.duration), event)


def _cpg_read(world: World, action: do.CpgRead, event: int) -> None:
    world.hosts[action.node].local_ipc.program(action.program, action.group, event)


def _cpg_flood(world: World, action: do.CpgFlood, event: int) -> None:
    program = world.hosts[action.node].local_ipc.program(action.program, action.group, event)
    program.flood(action.count, action.size, action.rate, int(action.retry), event)


def _load_disk(world: World, action: do.LoadDisk, event: int) -> None:
    host = world.hosts[action.node]
    loaded = host.storage.load(action.kind, action.percent, int(action.duration), event)
    if action.freeze:
        host.processes.freeze(int(action.freeze), loaded)


def _disk_fault(world: World, action: do.DiskFault, event: int) -> None:
    world.hosts[action.node].storage.fault(action.fault, action.factor, event)


def _set_timeout(world: World, action: do.SetTimeout, event: int) -> None:
    change = partial(with_key, key=action.key, value=action.value)
    if action.node:
        world.hosts[action.node].corosync_tools.set_key(change, event)
    else:
        world.force(change, event)


DO: dict[type, Callable[[World, Any, int], None]] = {
    do.Write: _write,
    do.MakeDirectory: lambda world, action, event: world.clients.change(action.node, "mkdir", action.path, "", event),
    do.Rename: lambda world, action, event: world.clients.change(action.node, "rename", action.path, action.to, event),
    do.Delete: lambda world, action, event: world.clients.change(action.node, "delete", action.path, "", event),
    do.CreateGuest: guest_tools.create,
    do.SetGuest: guest_tools.set_option,
    do.MigrateGuest: guest_tools.migrate,
    do.DestroyGuest: guest_tools.destroy,
    do.SetStatus: guest_tools.set_status,
    do.WriteClusterLog: guest_tools.cluster_log,
    do.StallDisk: lambda world, action, event: world.hosts[action.node].storage.stall(int(action.duration), event),
    do.SetDisk: lambda world, action, event: world.hosts[action.node].storage.change_disk(action.profile, event),
    do.LoadDisk: _load_disk,
    do.DiskFault: _disk_fault,
    do.MendDisk: lambda world, action, event: world.hosts[action.node].storage.mend(event),
    do.Kill: _kill,
    do.PowerCut: _power_cut,
    do.Restart: lambda world, action, event: world.hosts[action.node].boot(event, local=action.local or None),
    do.Leave: lambda world, action, event: world.hosts[action.node].shut_down(event),
    do.Pause: _pause,
    do.ChangeHostModel: lambda world, action, event: world.change_host_model(action.model, event),
    do.SkewClock: lambda world, action, event: world.hosts[action.node].set_clock(
        int(action.ahead), action.drift_ppm, event
    ),
    do.CpgRead: _cpg_read,
    do.CpgFlood: _cpg_flood,
    do.QuorumDevice: lambda world, action, event: world.hosts[action.node].quorum_tools.set_device(action.vote, event),
    do.ExpectedVotes: lambda world, action, event: world.hosts[action.node].quorum_tools.expect(action.votes, event),
    do.DropToken: network_tools.drop_token,
    do.DropMessage: network_tools.drop_message,
    do.DropDatagram: network_tools.drop_datagram,
    do.DelayDatagram: network_tools.delay_datagram,
    do.DuplicateDatagram: network_tools.duplicate_datagram,
    do.HoldDatagram: network_tools.hold_datagram,
    do.DeliverLost: network_tools.deliver_lost,
    do.SetTimeout: _set_timeout,
    do.EditConf: lambda world, action, event: world.hosts[action.node].corosync_tools.edit_conf(action, event),
    do.ReloadConf: lambda world, action, event: world.hosts[action.node].corosync_tools.reload_config(event),
    do.AddNode: lambda world, action, event: world.add_node(action.profile, event),
    do.Cut: network_tools.cut,
    do.CutOneWay: network_tools.cut_one_way,
    do.Heal: network_tools.heal,
    do.Loss: network_tools.loss,
    do.Duplicate: network_tools.duplicate,
    do.Delay: network_tools.delay,
}
"""What carries out each kind of intervention."""
