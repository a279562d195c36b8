"""The screenshots in ``assets/``, made by the program itself: ``python -m totemviz.tui.pictures assets``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from totemviz.sim.interventions import StallDisk, Write
from totemviz.sim.scenario import Scenario, cluster_conf
from totemviz.sim.session import Session, Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND, Duration
from totemviz.totem.effects import MessagesMulticast
from totemviz.trace.cursor import Step
from totemviz.tui.app import Cockpit

SIZE = (120, 40)


def stalled_disk() -> Simulation:
    """C's disk stalls while a write is applied, and the token waits there."""
    scenario = Scenario(title="a stalled disk on C", seed=7, disks={"3": "usb-stick"}, host_model=HostModel.ARTICLE)
    session = Simulation(scenario, cluster_conf(scenario, "pictures", Path()))
    session.warm_up()
    session.intervene(StallDisk(node=3, duration=Duration(12 * SECOND)))
    session.intervene(Write(node=1))
    session.advance(2_100_000_000)
    return session


def token_visit() -> Simulation:
    """A message is multicast in the third stage of a token visit."""
    scenario = Scenario(title="one write", seed=7, host_model=HostModel.MEASURED)
    session = Simulation(scenario, cluster_conf(scenario, "pictures", Path()))
    session.warm_up()
    session.intervene(Write(node=2))
    while session.forward(Step.STAGE):
        body = session.cursor.view.last.body if session.cursor.view.last is not None else None
        if isinstance(body, MessagesMulticast) and body.count:
            break
    return session


async def picture(session: Session, path: Path, size: tuple[int, int] = SIZE) -> None:
    """Write one screenshot as SVG."""
    app = Cockpit(session)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        path.write_text(app.export_screenshot(title="totemviz"), encoding="utf-8")


def main() -> None:
    """Make all pictures in the folder given."""
    folder = Path(sys.argv[1])
    asyncio.run(picture(stalled_disk(), folder / "cockpit.svg"))
    asyncio.run(picture(token_visit(), folder / "token-visit.svg"))


if __name__ == "__main__":
    main()
