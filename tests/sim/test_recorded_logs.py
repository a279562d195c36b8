"""The simulated cluster's log beside the recorded one of the same story, line by line.

The recorded files are from corosync 3.1.7, three nodes over udpu: everything at corosync's default verbosity, and the
debug lines of TOTEM about states and timers. Times, pids and host names are taken off; what else is not compared is in
``EXCLUDED``. The stories begin as the recorded ones did: in the kill, all three nodes hear of each other before their
own first join comes back (so no ring of one); the partition is compared from the first sign of the cut on, because
which of the nodes were alone for a moment at that boot was chance.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from totemviz.corosync.conf import load
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim.interventions import Cut, Delay, Heal, Kill, Leave, Restart
from totemviz.sim.scenario import NetworkSpec, Scenario, StartSpec
from totemviz.sim.threads import HostModel
from totemviz.sim.units import Duration
from totemviz.sim.world import World
from totemviz.totem.effects import Level
from totemviz.trace.logs import COROSYNC, log_lines, text

DATA = Path(__file__).parent / "data"
LAB = Path(__file__).parents[1] / "corosync" / "data" / "lab-3-nodes-udpu.conf"

LINE = re.compile(r"[A-Z][a-z]{2} [0-9]{2} \S+ \[[0-9]+\] \S+ corosync (?P<rest>.*)")
COMPARED_DEBUG = re.compile(
    r"debug   \[TOTEM \] (entering |The token was lost|The consensus|Creating commit token|got commit token|"
    r"Token Timeout|Token warning|token hold|join \(|downcheck|waiting_trans_ack)"
)
EXCLUDED = {  # lines of the recorded files that a simulated node does not write, and why
    "Could not increase RLIMIT_MEMLOCK": "no memory to lock",
    "Denied connection, is not ready": "libqb's line about the socket of a client that comes too early",
}
REPLACED = {  # what may differ between two runs of the real cluster
    r"received in [0-9]+ ms $": "received in N ms ",  # the timer is a few ms late now and then
}


def s(value: float) -> Duration:
    return Duration(round(value * 1e9))


STORIES: dict[str, tuple[Scenario, float]] = {
    "kill": (
        Scenario(
            host_model=HostModel.MEASURED,
            start=StartSpec(stagger=s(1.5e-6), pmxcfs_after=s(1.3)),
            network=NetworkSpec(delay=s(1e-6)),
            interventions=(
                Kill(at=s(7.38), node=3),
                Delay(at=s(20), delay=s(5e-5)),
                Restart(at=s(27.31), node=3),
                Leave(at=s(40.5), node=1),
            ),
        ),
        45,
    ),
    "partition": (
        Scenario(
            host_model=HostModel.MEASURED,
            start=StartSpec(stagger=s(1e-5), pmxcfs_after=s(1.3)),
            interventions=(Cut(at=s(7.466), nodes=(3,)), Heal(at=s(22.567))),
        ),
        35,
    ),
}


@cache
def world(story: str) -> World:
    scenario, until_s = STORIES[story]
    made = World(scenario, load(LAB))
    made.run_until(int(s(until_s)))
    return made


def normal(line: str) -> str | None:
    """What is compared of a line; None for lines that are not."""
    match = LINE.fullmatch(line)
    assert match is not None, line
    rest: str = match["rest"]
    if any(words in rest for words in EXCLUDED) or (rest.startswith("debug") and not COMPARED_DEBUG.match(rest)):
        return None
    for pattern, words in REPLACED.items():
        rest = re.sub(pattern, words, rest)
    return rest


def simulated(story: str, node: str) -> list[str]:
    run = world(story)
    return [
        text(line, EPOCH_S)
        for line in log_lines(run.timeline, debug=True)
        if line.process == COROSYNC and line.node == node
    ]


def compared(story: str, node: str) -> tuple[list[str], list[str]]:
    """The recorded lines that are compared, and the simulated ones from the first of them on."""
    recorded = (DATA / f"{story}-{node}.log").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in map(normal, recorded) if line is not None]
    ours = [line for line in map(normal, simulated(story, node)) if line is not None]
    return wanted, ours[ours.index(wanted[0]) :]


@pytest.mark.parametrize(
    ("story", "node"),
    [
        ("kill", "pve1"),
        ("kill", "pve2"),
        ("kill", "pve3"),
        ("partition", "pve1"),
        ("partition", "pve2"),
        ("partition", "pve3"),
    ],
)
def test_line_for_line(story: str, node: str) -> None:
    wanted, ours = compared(story, node)
    assert len(wanted) >= 29
    if any("shut down" in line for line in wanted):
        assert ours == wanted
    else:  # the recording goes on with the others' shutdown
        assert ours[: len(wanted)] == wanted


def test_nothing_excluded_is_ever_simulated_and_everything_is_in_a_recording() -> None:
    recorded = "".join(path.read_text(encoding="utf-8") for path in DATA.glob("*-pve?.log"))
    for words in EXCLUDED:
        assert words in recorded
        for story in STORIES:
            assert not any(words in line for line in simulated(story, "pve1"))


def test_default_verbosity_has_no_state_names() -> None:
    lines = [line.log for line in log_lines(world("kill").timeline) if line.process == COROSYNC]
    assert lines
    assert not any("GATHER" in log.text or log.level is Level.DEBUG for log in lines)
