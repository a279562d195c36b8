"""The log files of a run: their form, and that a reader of real logs gets back what was said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sim.runs import run, seconds
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim.interventions import Kill
from totemviz.sim.world import World
from totemviz.totem.effects import Level, Log
from totemviz.trace.logs import COROSYNC, PMXCFS, LogLine, log_lines, text, write_logs

FORMS = {
    COROSYNC: re.compile(
        r"(?P<time>[A-Z][a-z]{2} [0-9]{2} [0-9:]{8}\.[0-9]{3}) \[(?P<pid>[0-9]+)\] (?P<node>\S+) corosync "
        r"(?P<level>\S+) +\[(?P<subsystem>[A-Z]+) *\] (?P<text>.*)"
    ),
    PMXCFS: re.compile(
        r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}) (?P<node>\S+) pmxcfs\[(?P<pid>[0-9]+)\]: "
        r"\[(?P<subsystem>[a-z]+)\] (?P<level>[a-z]+): (?P<text>.*)"
    ),
}


@pytest.fixture(scope="module")
def world() -> World:
    return run(15, Kill(at=seconds(5), node=3))


def line(log: Log, process: str = COROSYNC, time_ns: int = 0) -> LogLine:
    return LogLine(time_ns, "pve2", process, 16245, log)


# corosync's: form of a recorded file; 1795384396 = Nov 22 21:53:16 UTC
@pytest.mark.parametrize(
    ("log", "process", "time_ns", "expected"),
    [
        (
            Log(Level.NOTICE, "MAIN", "Completed service synchronization, ready to provide service."),
            COROSYNC,
            798_999_999,
            "Nov 22 21:53:16.798 [16245] pve2 corosync notice  [MAIN  ] "
            "Completed service synchronization, ready to provide service.",
        ),
        (
            Log(Level.DEBUG, "TOTEM", "got commit token"),
            COROSYNC,
            0,
            "Nov 22 21:53:16.000 [16245] pve2 corosync debug   [TOTEM ] got commit token",
        ),
        (
            Log(Level.WARNING, "QUORUM", "x"),
            COROSYNC,
            9 * 86_400 * 10**9,
            "Dec 01 21:53:16.000 [16245] pve2 corosync warning [QUORUM] x",
        ),
        (
            Log(Level.CRITICAL, "dcdb", "leaving CPG group"),
            PMXCFS,
            9 * 86_400 * 10**9,
            "Dec  1 21:53:16 pve2 pmxcfs[16245]: [dcdb] crit: leaving CPG group",
        ),
    ],
)
def test_form(log: Log, process: str, time_ns: int, expected: str) -> None:
    assert text(line(log, process, time_ns), 1795384396) == expected


@pytest.mark.parametrize("debug", [False, True])
def test_round_trip(world: World, tmp_path: Path, debug: bool) -> None:
    paths = write_logs(world.timeline, tmp_path / "new" / "logs", EPOCH_S, debug)
    assert [path.name for path in paths] == [
        f"{process}-pve{node}.log" for process in (COROSYNC, PMXCFS) for node in (1, 2, 3)
    ]
    wanted = list(log_lines(world.timeline, debug))
    assert any(one.log.level is Level.DEBUG for one in wanted) is debug
    for path in paths:
        process, node = path.stem.split("-")
        found = [FORMS[process].fullmatch(read) for read in path.read_text().splitlines()]
        said = [one for one in wanted if (one.process, one.node) == (process, node)]
        assert len(found) == len(said) > 0
        for match, one in zip(found, said, strict=True):
            assert match is not None
            assert match["node"] == node
            assert (match["level"], match["subsystem"], match["text"]) == (
                one.log.level, one.log.subsystem, one.log.text,
            )  # fmt: skip
        times = [match["time"] for match in found if match]
        assert times == sorted(times)
        assert len({match["pid"] for match in found if match}) == 1


def test_pids_change_at_a_restart_and_differ_between_daemons(world: World) -> None:
    pids = {(one.node, one.process, one.pid) for one in log_lines(world.timeline)}
    assert len({pid for _, _, pid in pids}) == len(pids) == 6
