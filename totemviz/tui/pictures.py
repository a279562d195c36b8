"""The screenshots in ``assets/``, made by the program itself: ``python -m totemviz.tui.pictures assets``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from totemviz.sim.interventions import Cut, StallDisk, Write
from totemviz.sim.scenario import ClusterSpec, Scenario, cluster_conf
from totemviz.sim.session import Session, Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND, Duration
from totemviz.sim.world import node_infos
from totemviz.trace.conditions import compile_condition
from totemviz.tui.app import Cockpit


def started(scenario: Scenario) -> Simulation:
    """A session whose nodes form a ring."""
    session = Simulation(scenario, cluster_conf(scenario, "pictures", Path()))
    session.warm_up()
    return session


def stalled_disk() -> Simulation:
    """C's disk stalls while a write is applied, and the token waits there."""
    scenario = Scenario(title="a stalled disk on C", seed=7, disks={"3": "usb-stick"}, host_model=HostModel.ARTICLE)
    session = started(scenario)
    session.intervene(StallDisk(node=3, duration=Duration(12 * SECOND)))
    session.intervene(Write(node=1))
    session.advance(2_100_000_000)
    return session


def declared_dead() -> Simulation:
    """The same disk, until the others have a ring without C."""
    session = stalled_disk()
    session.run_until(compile_condition("membership_installed", ()), 30 * SECOND)
    return session


def partition() -> Simulation:
    """D and E are cut off: two rings, one with quorum."""
    session = started(Scenario(title="five nodes", seed=7, cluster=ClusterSpec(nodes=5), host_model=HostModel.MEASURED))
    session.intervene(Cut(nodes=(4, 5)))
    stop = compile_condition("node(5).votes == 2 and every(mode == SYNCED)", node_infos(session.world.conf))
    session.run_until(stop, 30 * SECOND)
    return session


class Picture(NamedTuple):
    """A screenshot: its session, the keys pressed in it, and its size (columns, rows)."""

    session: Callable[[], Session]
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = (120, 40)


PICTURES = {
    "cockpit.svg": Picture(stalled_disk),
    "partition.svg": Picture(partition, size=(120, 36)),
    "why.svg": Picture(declared_dead, ("y", "f"), (120, 20)),
}


async def take(picture: Picture, path: Path) -> None:
    """Write one screenshot as SVG."""
    app = Cockpit(picture.session())
    app.animation_level = "none"
    async with app.run_test(size=picture.size) as pilot:
        await pilot.pause()
        await pilot.press(*picture.keys)
        await pilot.pause()
        path.write_text(app.export_screenshot(title="totemviz"), encoding="utf-8")


def main() -> None:
    """Make all pictures in the folder given, or those that are named."""
    folder, *names = sys.argv[1:]
    for name in names or PICTURES:
        asyncio.run(take(PICTURES[name], Path(folder) / name))


if __name__ == "__main__":
    main()
