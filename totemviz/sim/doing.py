"""Interventions carried out: one function for each, from the typed command to what changes in the world.

Every function is given the world, the intervention and the id of its ``Intervened`` event, which is the cause of all
that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from totemviz.sim import guest_tools
from totemviz.sim import interventions as do
from totemviz.sim.interventions.hosts import HOST
from totemviz.sim.network import Link
from totemviz.sim.threads import COROSYNC, PMXCFS
from totemviz.trace import events as ev

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


def _drop_token(world: World, action: do.DropToken, event: int) -> None:
    world.network.drop_tokens = action.count
    world.network.drop_tokens_cause = event


def _drop_message(world: World, action: do.DropMessage, event: int) -> None:
    world.network.drop_messages_to = action.target
    world.network.drop_messages_cause = event


def _cut(world: World, action: do.Cut, event: int) -> None:
    for (source, target), link in world.network.links.items():
        if (source in action.nodes) != (target in action.nodes):
            _set_link(world, source, target, link, event, cut=True)


def _cut_one_way(world: World, action: do.CutOneWay, event: int) -> None:
    pair = (action.source, action.target)
    if pair in world.network.links:
        _set_link(world, *pair, world.network.links[pair], event, cut=True)


def _heal(world: World, action: do.Heal, event: int) -> None:
    for (source, target), link in world.network.links.items():
        if link.cut:
            _set_link(world, source, target, link, event, cut=False)


def _loss(world: World, action: do.Loss, event: int) -> None:
    for (source, target), link in world.network.links.items():
        _set_link(world, source, target, link, event, loss_percent=action.percent)


def _duplicate(world: World, action: do.Duplicate, event: int) -> None:
    for (source, target), link in world.network.links.items():
        link.duplicate_percent = action.percent
        _set_link(world, source, target, link, event)


def _delay(world: World, action: do.Delay, event: int) -> None:
    for (source, target), link in world.network.links.items():
        link.delay_ns, link.jitter_ns = int(action.delay), int(action.jitter)
        _set_link(world, source, target, link, event)


def _set_link(
    world: World,
    source: int,
    target: int,
    link: Link,
    cause: int,
    *,
    cut: bool | None = None,
    loss_percent: float = -1.0,
) -> None:
    if cut is not None:
        link.cut = cut
    if loss_percent >= 0:
        link.loss_percent = loss_percent
    body = ev.LinkChanged(source, target, link.cut, link.loss_percent, link.delay_ns)
    link.changed_by = world.record(ev.WORLD, cause, body)


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
    do.CpgRead: _cpg_read,
    do.CpgFlood: _cpg_flood,
    do.QuorumDevice: lambda world, action, event: world.hosts[action.node].quorum_tools.set_device(action.vote, event),
    do.ExpectedVotes: lambda world, action, event: world.hosts[action.node].quorum_tools.expect(action.votes, event),
    do.DropToken: _drop_token,
    do.DropMessage: _drop_message,
    do.Cut: _cut,
    do.CutOneWay: _cut_one_way,
    do.Heal: _heal,
    do.Loss: _loss,
    do.Duplicate: _duplicate,
    do.Delay: _delay,
}
"""What carries out each kind of intervention."""
