"""Branches: runs that are the same up to an event and differ from there, because somebody changed the past.

A branch is a scenario with its interventions, and the timeline that came of it. Timelines of a family share their
common events. The world behind a branch can be made again at any time (it is deterministic), so only those of the
branches looked at last are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from totemviz.corosync.conf import CorosyncConf
from totemviz.sim.instalments import Instalments, finish, making_again, running
from totemviz.sim.scenario import Scenario
from totemviz.sim.world import World
from totemviz.trace.cursor import Cursor
from totemviz.trace.timeline import Timeline

WORLDS_KEPT = 4
NAME_MAX = 48


class Branch:
    """One run of a family. ``forked_at`` is the last event it shares with its parent, -1 for a run of its own."""

    def __init__(self, name: str, conf: CorosyncConf, scenario: Scenario, parent: Branch | None = None) -> None:
        self.name = name
        self.conf = conf
        self.scenario = scenario
        self.parent = parent
        self.forked_at = -1
        self.timeline = Timeline()
        self.cursor = Cursor(self.timeline)
        self._world: World | None = World(scenario, conf, self.timeline)
        self._slept_at_ns = 0

    @classmethod
    def forked(cls, name: str, parent: Branch, scenario: Scenario, position: int) -> Branch:
        """A branch that shares the parent's events up to ``position``.

        The parent's scenario up to there and ``scenario`` must be the same. What happened at one moment cannot be
        parted, so the branch may hold a few more of the parent's events; its cursor stands at ``position``.
        """
        return finish(cls.forking(name, parent, scenario, position))

    @classmethod
    def forking(cls, name: str, parent: Branch, scenario: Scenario, position: int) -> Instalments[Branch]:
        """As ``forked``, in instalments: the run up to ``position`` is made again."""
        branch = cls.__new__(cls)
        branch.name, branch.conf, branch.scenario, branch.parent = name, parent.conf, scenario, parent
        branch._slept_at_ns = 0
        branch._world = yield from making_again(scenario, parent.conf, position + 1)
        branch.timeline = branch._world.timeline = parent.timeline.forked(branch._world.events)
        branch.forked_at = len(branch.timeline) - 1
        branch.cursor = parent.cursor.forked(branch.timeline, position)
        return branch

    @property
    def world(self) -> World:
        """The world at the end of the timeline; made again if it was put to sleep."""
        return finish(self.waking())

    def waking(self) -> Instalments[World]:
        """As ``world``, in instalments."""
        if self._world is None:
            world = yield from making_again(self.scenario, self.conf, len(self.timeline))
            assert world.events == len(self.timeline)
            world.timeline = self.timeline
            yield from running(world, self._slept_at_ns)
            self._world = world
        return self._world

    def sleep(self) -> None:
        """Let go of the world. The scenario then holds all that was done, at its exact places."""
        if self._world is not None:
            self._slept_at_ns = self._world.now_ns
            self.scenario = self._world.scenario_until(len(self.timeline))
            self._world = None

    @property
    def awake(self) -> bool:
        """Whether the world is there."""
        return self._world is not None


class Family:
    """All branches of a session in the order they were opened, and the one that is looked at."""

    def __init__(self, root: Branch) -> None:
        self.branches = [root]
        self.current = root
        self._recent = [root]

    def __iter__(self) -> Iterator[Branch]:
        return iter(self.branches)

    def __len__(self) -> int:
        return len(self.branches)

    def add(self, branch: Branch) -> None:
        """Take a branch in and look at it."""
        branch.name = self.free_name(branch.name)
        self.branches.append(branch)
        self.switch(branch)

    def switch(self, branch: Branch) -> None:
        """Look at a branch; worlds that were not looked at for long are let go."""
        assert branch in self.branches
        self.current = branch
        self._recent = [*(other for other in self._recent if other is not branch), branch]
        for old in self._recent[:-WORLDS_KEPT]:
            old.sleep()

    def replace(self, old: Branch, new: Branch) -> None:
        """Put a branch in the place of another."""
        self.branches[self.branches.index(old)] = new
        self._recent = [other for other in self._recent if other is not old]
        for branch in self.branches:
            if branch.parent is old:
                branch.parent = new
        self.switch(new)

    def remove(self, branch: Branch) -> None:
        """Forget a branch. Raises ValueError for the one that is looked at, and for one that has branches itself."""
        if branch is self.current:
            raise ValueError(f"“{branch.name}” is on screen; go to another branch first")
        if self.children(branch):
            raise ValueError(f"other branches begin in “{branch.name}”; forget those first")
        self.branches.remove(branch)
        self._recent = [other for other in self._recent if other is not branch]

    def children(self, branch: Branch | None) -> list[Branch]:
        """The branches that begin in this one; of None: those that begin nowhere."""
        return [other for other in self.branches if other.parent is branch]

    def tree(self) -> list[tuple[int, Branch]]:
        """(depth, branch) of all, every branch below its parent, in the order they were opened."""
        found: list[tuple[int, Branch]] = []

        def walk(parent: Branch | None, depth: int) -> None:
            for branch in self.children(parent):
                found.append((depth, branch))
                walk(branch, depth + 1)

        walk(None, 0)
        return found

    def free_name(self, wanted: str) -> str:
        """The name, with a number if it is taken, cut to ``NAME_MAX`` characters."""
        wanted = " ".join(wanted.split())[:NAME_MAX] or "branch"
        taken = {branch.name for branch in self.branches}
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted[: NAME_MAX - 4]} {number}"
        return name

    def named(self, name: str) -> Branch:
        """The branch of that name. Raises KeyError if there is none."""
        for branch in self.branches:
            if branch.name == name:
                return branch
        raise KeyError(name)
