"""Interventions on the wires, carried out: links that are cut, lossy or slow, and single datagrams in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from totemviz.sim import interventions as do
from totemviz.sim.network import Link
from totemviz.trace import events as ev

if TYPE_CHECKING:
    from totemviz.sim.world import World


def drop_token(world: World, action: do.DropToken, event: int) -> None:
    """The next tokens are lost."""
    world.network.drop_tokens = action.count
    world.network.drop_tokens_cause = event


def drop_message(world: World, action: do.DropMessage, event: int) -> None:
    """The next message is lost."""
    world.network.drop_messages_to = action.target
    world.network.drop_messages_cause = event


def cut(world: World, action: do.Cut, event: int) -> None:
    """Cut all links between some nodes and the rest."""
    for (source, target), link in world.network.links.items():
        if (source in action.nodes) != (target in action.nodes):
            _set_link(world, source, target, link, event, cut=True)


def cut_one_way(world: World, action: do.CutOneWay, event: int) -> None:
    """Cut one link."""
    pair = (action.source, action.target)
    if pair in world.network.links:
        _set_link(world, *pair, world.network.links[pair], event, cut=True)


def heal(world: World, action: do.Heal, event: int) -> None:
    """Links that are cut work again."""
    for (source, target), link in _chosen(world, action):
        if link.cut:
            _set_link(world, source, target, link, event, cut=False)


def loss(world: World, action: do.Loss, event: int) -> None:
    """Links lose datagrams."""
    for (source, target), link in _chosen(world, action):
        _set_link(world, source, target, link, event, loss_percent=action.percent)


def duplicate(world: World, action: do.Duplicate, event: int) -> None:
    """Links deliver datagrams twice."""
    for (source, target), link in _chosen(world, action):
        link.duplicate_percent = action.percent
        _set_link(world, source, target, link, event)


def delay(world: World, action: do.Delay, event: int) -> None:
    """Links take longer."""
    for (source, target), link in _chosen(world, action):
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


def _chosen(world: World, action: do.Heal | do.Loss | do.Duplicate | do.Delay) -> list[tuple[tuple[int, int], Link]]:
    return [
        ((source, target), link)
        for (source, target), link in world.network.links.items()
        if action.source in (0, source) and action.target in (0, target)
    ]


def drop_datagram(world: World, action: do.DropDatagram, event: int) -> None:
    """Copies in flight are lost."""
    for flight in world.flights(action.sent, action.target):
        world.scheduler.withdraw(flight)
        source, target, sent, data = flight.args
        world.lost(source, target, sent, data, "dropped by hand", event)


def delay_datagram(world: World, action: do.DelayDatagram, event: int) -> None:
    """Copies in flight take longer."""
    for flight in world.flights(action.sent, action.target):
        world.scheduler.withdraw(flight)
        world.scheduler.at(flight.time_ns + int(action.duration), flight.action, *flight.args)
        world.hinder(flight.args[3], event)


def duplicate_datagram(world: World, action: do.DuplicateDatagram, event: int) -> None:
    """Copies in flight arrive twice."""
    for flight in world.flights(action.sent, action.target):
        world.scheduler.at(flight.time_ns + int(action.duration), flight.action, *flight.args)


def hold_datagram(world: World, action: do.HoldDatagram, event: int) -> None:
    """Copies in flight are held until the next datagram on their link has overtaken them."""
    for flight in world.flights(action.sent, action.target):
        world.scheduler.withdraw(flight)
        world.network.hold(flight.args[0], flight.args[1], flight.action, flight.args)
        world.hinder(flight.args[3], event)


def deliver_lost(world: World, action: do.DeliverLost, _event: int) -> None:
    """Copies that chance has just taken arrive when they would have without jitter."""
    for time_ns, flight in world.lost_by_chance:
        source, target, sent, _ = flight
        if (time_ns, sent) == (world.now_ns, action.sent) and action.target in (0, target):
            world.scheduler.after(world.network.links[source, target].delay_ns, world.arrive, *flight)
