"""The log files of a run, one per node and daemon, in the forms the daemons themselves write.

* ``corosync-NODE.log``: corosync's log file with ``timestamp: hires`` (sheet §10.1)::

      Nov 14 22:13:25.798 [1001] pve1 corosync notice  [TOTEM ] A new membership (1.5) was formed. …

* ``pmxcfs-NODE.log``: what pmxcfs sends to syslog::

      Nov 14 22:13:25 pve1 pmxcfs[1002]: [dcdb] notice: members: 1/1002, 2/2002

* ``pve-ha-lrm-NODE.log``, ``watchdog-mux-NODE.log``, ``kernel-NODE.log``: their lines in syslog, of a node whose HA
  manager runs.

The stamp is what the node's wall clock showed: the epoch of the simulation plus virtual time, in UTC, and by how much
the clock was off (``ClockSet``); so the lines of two nodes may lie in another order than they were written in. Debug
lines are left out unless asked for: corosync's default threshold is info.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from totemviz.totem.effects import Level, Log
from totemviz.trace.events import ClockSet, ProcessStarted, RunStarted
from totemviz.trace.timeline import Timeline
from totemviz.trace.wallclock import RIGHT, ClockSetting

COROSYNC, PMXCFS = "corosync", "pmxcfs"
OTHERS = ("pve-ha-lrm", "watchdog-mux", "kernel")
LEVEL_WIDTH, TAG_WIDTH = 7, 6
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in any locale


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line of one daemon: ``time_ns`` of the run, the node's name, the daemon and its pid (0 if unknown).

    ``ahead_ns``: how far the node's wall clock was ahead at that time.
    """

    time_ns: int
    node: str
    process: str
    pid: int
    log: Log
    ahead_ns: int = 0


def log_lines(timeline: Timeline, debug: bool = False) -> Iterator[LogLine]:
    """All log lines of a run in order, without debug lines unless ``debug``."""
    names: dict[int, str] = {}
    pids: dict[tuple[int, str], int] = {}
    clocks: dict[int, ClockSetting] = {}
    for event in timeline:
        body = event.body
        if isinstance(body, Log):
            if debug or body.level is not Level.DEBUG:
                process = process_of(body)
                name = names.get(event.node, str(event.node))
                pid = pids.get((event.node, process), 0)
                ahead_ns = clocks.get(event.node, RIGHT).ahead_at(event.time_ns)
                yield LogLine(event.time_ns, name, process, pid, body, ahead_ns)
        elif isinstance(body, ProcessStarted):
            pids[event.node, body.process] = body.pid
        elif isinstance(body, ClockSet):
            clocks[event.node] = ClockSetting(event.time_ns, body.ahead_ns, body.drift_ppm)
        elif isinstance(body, RunStarted):
            names.update((info.nodeid, info.name) for info in body.nodes)


def process_of(log: Log) -> str:
    """The daemon a line is from: corosync's subsystems are in capitals, pmxcfs' domains in small letters.

    What others say in syslog carries their own name.
    """
    if log.subsystem in OTHERS:
        return log.subsystem
    return COROSYNC if log.subsystem.isupper() else PMXCFS


def text(line: LogLine, epoch_s: int) -> str:
    """The line as its daemon writes it; ``epoch_s`` is true time at time 0."""
    log = line.log
    when = datetime.fromtimestamp(epoch_s, UTC) + timedelta(microseconds=(line.time_ns + line.ahead_ns) // 1000)
    month = MONTHS[when.month - 1]
    clock = f"{when:%H:%M:%S}"
    if line.process == COROSYNC:
        head = f"{month} {when.day:02} {clock}.{when.microsecond // 1000:03} [{line.pid}] {line.node} corosync"
        return f"{head} {log.level:<{LEVEL_WIDTH}} [{log.subsystem:<{TAG_WIDTH}}] {log.text}"
    if line.process in OTHERS:
        pid = f"[{line.pid}]" if line.pid else ""
        return f"{month} {when.day:>2} {clock} {line.node} {line.process}{pid}: {log.text}"
    head = f"{month} {when.day:>2} {clock} {line.node} pmxcfs[{line.pid}]:"
    return f"{head} [{log.subsystem}] {log.level}: {log.text}"


def write_logs(timeline: Timeline, directory: Path, epoch_s: int, debug: bool = False) -> list[Path]:
    """Write a file per node and daemon that said anything, into a directory that is made if need be.

    Returns the files. Raises OSError if one cannot be written.
    """
    texts: dict[str, list[str]] = {}
    for line in log_lines(timeline, debug):
        texts.setdefault(f"{line.process}-{line.node}.log", []).append(text(line, epoch_s) + "\n")
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in sorted(texts)]
    for path in paths:
        path.write_text("".join(texts[path.name]), encoding="utf-8")
    return paths
