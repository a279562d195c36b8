"""What can be asked of a headless run: where something becomes true (``--until``), and why it happened (``--why``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from totemviz.cli.common import BadInput

if TYPE_CHECKING:
    from totemviz.corosync.conf import CorosyncConf
    from totemviz.sim.world import World
    from totemviz.trace.conditions import Condition
    from totemviz.trace.stops import Halt
    from totemviz.trace.timeline import Timeline


def condition(text: str | None, cluster: CorosyncConf) -> Condition | None:
    """The condition of --until. Raises BadInput."""
    from totemviz.sim.world import node_infos
    from totemviz.trace.conditions import ConditionError, compile_condition

    try:
        return None if text is None else compile_condition(text, node_infos(cluster))
    except ConditionError as error:
        raise BadInput(f"--until {error}") from None


def print_why(timeline: Timeline, kind: str, nodes: tuple[int, ...]) -> None:
    """Print what led to the last event of a kind, on one of ``nodes`` if any are named."""
    from totemviz.trace.why import last_of_kind, tell

    event = last_of_kind(timeline, kind, nodes or None)
    if event is None:
        click.echo(f"no {kind} happened in this run")
        return
    for line in tell(timeline, event):
        click.echo(line)


class Search:
    """A world that is run until a condition becomes true."""

    def __init__(self, world: World, condition: Condition) -> None:
        from totemviz.trace.cursor import Cursor
        from totemviz.trace.stops import Stops

        self.world = world
        self.cursor = Cursor(world.timeline)
        self.stops = Stops()
        self.stops.add(condition)
        self.halt: Halt | None = None

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self.halt.time_ns if self.halt is not None else self.world.now_ns

    def run_until(self, time_ns: int) -> bool:
        """Let the world run to a time; True if the condition, or the scenario, ended the run before."""
        world = self.world
        looked_ns = world.now_ns
        while not world.stopped and (next_ns := world.next_ns) is not None and next_ns <= time_ns:
            world.step()
            self.halt = self.stops.walk(self.cursor, len(world.timeline) - 1, looked_ns, world.now_ns)
            looked_ns = world.now_ns
            if self.halt is not None:
                return True
        if not world.stopped:
            world.run_until(time_ns)
            self.halt = self.stops.walk(self.cursor, len(world.timeline) - 1, looked_ns, time_ns)
        return world.stopped or self.halt is not None

    @property
    def told(self) -> str:
        """How the search ended, in one line."""
        text = self.stops.items[0].condition.text
        if self.halt is None:
            return f"“{text}” was never true until {self.world.now_ns / 1e9:.6f} s"
        return f"“{text}” is true at {self.halt.time_ns / 1e9:.6f} s, event {self.cursor.position}"
