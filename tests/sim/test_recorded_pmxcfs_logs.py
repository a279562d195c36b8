"""pmxcfs' log of a simulated partition beside that of the lab's, line by line.

The lab's e-partition: pve3 is cut off, a write of its own is on its way then and is delivered without quorum, 7.1 s
later the cut is healed. Process ids and epochs differ, and how the lines of two state machines mix. Two races may end
either way, in the lab too: whether the quorum connection speaks before the group's, and whether corosync's own
synchronisation is over when pmxcfs answers the first event of it (if not, it tries again 100 ms later, and says so).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sim.runs import run, seconds
from totemviz.sim.interventions import Cut, Heal, Leave, MakeDirectory
from totemviz.sim.scenario import ClusterSpec
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import Log

CONF = Path(__file__).parents[1] / "trace" / "data" / "partition-pmxcfs.conf"
DOMAINS = ("main", "dcdb", "status", "confdb", "quorum")
QUORUM = "quorum flag"

START = """
[main] notice: resolved node name 'pve3' to '10.77.0.3' for default node IP address
[dcdb] crit: unable to parse cluster config_version
[confdb] crit: cmap_get totem.config_version failed CS_ERR_NOT_EXIST
[status] notice: update cluster info (cluster name  lab, version = 0)
[status] notice: node has quorum
"""
PAIR, TRIO = "1/P, 2/P", "1/P, 2/P, 3/P"
DECIDED = ("leader is 1/P", f"synced members: {PAIR}")
DONE = "all data is up to date"


def exchange(members: str) -> tuple[str, ...]:
    """A group with more than one member compares its states."""
    return (
        f"members: {members}",
        "starting data syncronisation",
        "received sync request (epoch 1/P/E)",
        "received all states",
    )


def updates(count: int) -> tuple[str, ...]:
    """What the leader sends."""
    return "start sending inode updates", f"sent all ({count}) updates"


def said(**by_domain: tuple[str, ...]) -> dict[str, list[str]]:
    """Lines as ``by_source`` sorts them; what is no crit is a notice."""
    found = {
        domain: [f"[{domain}] {line if line.startswith('crit: ') else f'notice: {line}'}" for line in lines]
        for domain, lines in by_domain.items()
    }
    return {domain: [] for domain in (*DOMAINS, QUORUM)} | found


MINORITY = said(
    dcdb=(
        "members: 3/P",
        "crit: received write while not quorate - trigger resync",
        "crit: leaving CPG group",
        "start cluster connection",
        "crit: cpg_join failed: CS_ERR_EXIST",
        "crit: can't initialize service",
        "members: 3/P",
        DONE,
        *exchange(TRIO),
        *DECIDED,
        "waiting for updates from leader",
        "update complete - trying to commit (got 2 inode updates)",
        "crit: unable to parse cluster config_version",
        DONE,
    ),
    status=("members: 3/P", *exchange(TRIO), DONE),
) | {QUORUM: ["[status] notice: node lost quorum", "[status] notice: node has quorum"]}
"""The lab's with one difference: there the majority had written more meanwhile, 7 inodes."""

MAJORITY = said(
    dcdb=(
        *exchange(PAIR),
        *DECIDED,
        *updates(0),
        DONE,
        "dfsm_deliver_queue: queue length 1",
        *exchange(TRIO),
        *DECIDED,
        *updates(2),
        DONE,
    ),
    status=(*exchange(PAIR), DONE, *exchange(TRIO), DONE),
    main=("teardown filesystem", "exit proxmox configuration filesystem (0)"),
)


@pytest.fixture(scope="module")
def world() -> World:
    cut_s = 8.0
    return run(
        30,
        Cut(at=seconds(cut_s), nodes=(3,)),
        MakeDirectory(at=seconds(cut_s + 7.581), node=1, path="files"),
        MakeDirectory(at=seconds(cut_s + 7.582), node=3, path="files"),
        Heal(at=seconds(cut_s + 15.102)),
        Leave(at=seconds(28), node=1),
        host_model=HostModel.MEASURED,
        cluster=ClusterSpec(conf=str(CONF)),
    )


def lines(world: World, node: int, after_s: float = 0, before_s: float = 30) -> list[str]:
    found = []
    for event in world.timeline:
        body = event.body
        if event.node != node or not after_s * 1e9 <= event.time_ns < before_s * 1e9:
            continue
        if isinstance(body, Log) and body.subsystem in DOMAINS:
            text = re.sub(r"(\d)/\d+/[0-9A-F]{8}", r"\1/P/E", body.text)
            found.append(f"[{body.subsystem}] {body.level}: " + re.sub(r"\b(\d)/\d{2,}", r"\1/P", text))
    return found


def by_source(found: list[str]) -> dict[str, list[str]]:
    """Without what a race decides: lines by domain, those on quorum apart, those on retries left out."""
    told = [line for line in found if "cpg_send_message retried" not in line]
    quorum = [line for line in told if line.endswith(" quorum")]
    by_domain = {domain: [line for line in told if line.startswith(f"[{domain}]")] for domain in DOMAINS}
    by_domain["status"] = [line for line in by_domain["status"] if line not in quorum]
    return by_domain | {QUORUM: quorum}


def test_the_start(world: World) -> None:
    assert lines(world, 3)[:5] == START.strip().splitlines()


@pytest.mark.parametrize(("node", "until_s", "real"), [(3, 28, MINORITY), (1, 30, MAJORITY)])
def test_the_partition_and_what_follows(world: World, node: int, until_s: float, real: dict[str, list[str]]) -> None:
    assert by_source(lines(world, node, 9, until_s)) == real
