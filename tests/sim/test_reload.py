"""corosync.conf changed while the cluster runs: by an edit and a reload, on one node alone, and by force."""

from __future__ import annotations

import pytest

from tests.sim.runs import found, run, seconds
from totemviz.corosync.cfg import FIXED_KEYS
from totemviz.corosync.effects import ConfigReloaded, DaemonExited, QuorumChanged
from totemviz.corosync.wire import ReloadConfig
from totemviz.pmxcfs.effects import CorosyncReload
from totemviz.sim.conf_edits import edited
from totemviz.sim.interventions import (
    AddNode,
    EditConf,
    Kill,
    ReloadConf,
    Restart,
    SetTimeout,
)
from totemviz.sim.interventions.base import Intervention
from totemviz.sim.interventions.confs import HOST_FILE
from totemviz.sim.scenario import ClusterSpec, Scenario, dump_scenario, parse_scenario, proxmox_conf
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import Level, Log, StateEntered
from totemviz.trace.checks import check
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import TimeoutsChanged, ToolAnswered
from totemviz.trace.view import ClusterView

MEASURED = HostModel.MEASURED


def ran(until_s: float, *interventions: Intervention, **scenario: object) -> World:
    world = run(until_s, *interventions, host_model=MEASURED, **scenario)  # type: ignore[arg-type]
    assert check(world.timeline) == []
    return world


def tokens_ms(world: World) -> dict[int, int]:
    return {nodeid: host.daemon.conf.totem.token_ms for nodeid, host in world.hosts.items() if host.daemon is not None}


def view(world: World) -> ClusterView:
    cursor = Cursor(world.timeline)
    cursor.move_to(len(world.timeline) - 1)
    return cursor.view


def said(world: World, text: str, node: int | None = None) -> list[float]:
    return [event.time_ns / 1e9 for event, body in found(world.timeline, Log, node) if text in body.text]


def edit(at_s: float, key: str, value: str, node: int = 1, **more: object) -> EditConf:
    return EditConf(node=node, key=key, value=value, at=seconds(at_s), **more)  # type: ignore[arg-type]


def test_an_edit_in_etc_pve_takes_effect_everywhere_a_second_later() -> None:
    """pmxcfs copies the file, waits a second, and has all corosyncs read it (sheet §4.7)."""
    world = ran(12, edit(3, "totem.token", "1000", node=2), Kill(node=3, at=seconds(6)))
    assert tokens_ms(world) == {1: 1650, 2: 1650}
    assert [event.node for event, _ in found(world.timeline, CorosyncReload)] == [2]
    assert sorted((e.node, body.config_version) for e, body in found(world.timeline, ConfigReloaded)) == [
        (1, 4),
        (2, 4),
        (3, 4),
    ]
    times = said(world, "Config reload requested by node 2")
    assert len(times) == 3
    assert all(4 < time < 4.1 for time in times)
    assert len(said(world, "version = 4)")) == 6  # pmxcfs: the file, and then the cluster info
    states = found(world.timeline, StateEntered, after_s=6)
    lost = [event.time_ns / 1e9 for event, body in states if body.state == "GATHER"]
    assert 6 < min(lost) < 6 + 1.65
    now = view(world)
    assert now.run is not None
    assert now.run.timeouts_ms["token"] == 1650
    assert now.nodes[1].own_timeouts_ms == {}


def test_a_file_edited_on_one_node_alone_is_read_there_alone() -> None:
    own = edit(3, "totem.token", "1000", node=3, file=HOST_FILE, bump=False)
    before = ran(4, own)
    assert tokens_ms(before) == {1: 3650, 2: 3650, 3: 3650}
    world = ran(7, own, ReloadConf(node=1, at=seconds(5)))
    assert tokens_ms(world) == {1: 3650, 2: 3650, 3: 1650}
    now = view(world)
    assert [now.nodes[nodeid].token_ms for nodeid in (1, 2, 3)] == [3650, 3650, 1650]
    assert [now.timeout_ms(nodeid, "consensus") for nodeid in (1, 3)] == [4380, 1980]


def test_who_starts_on_an_older_file_than_the_others_leaves() -> None:
    """The known trap: config_version went up while a node was away (``cmap.c: cmap_sync_activate``)."""
    away = Kill(node=2, at=seconds(3)), Restart(node=2, at=seconds(20))
    world = ran(25, *away, edit(10, "totem.token", "2000"))
    assert [event.node for event, _ in found(world.timeline, DaemonExited)] == [2]
    assert said(world, "Received config version (4) is different than my config version (3)! Exiting", 2)
    mended = edit(21, "totem.token", "2000", node=2, file=HOST_FILE), Restart(node=2, at=seconds(22))
    again = ran(30, *away, edit(10, "totem.token", "2000"), *mended)
    assert view(again).nodes[1].members == (1, 2, 3)


@pytest.mark.parametrize("value", ["abc", "5"])
def test_a_file_that_is_wrong_changes_nothing(value: str) -> None:
    world = ran(6, edit(3, "totem.token", value))
    assert tokens_ms(world) == {1: 3650, 2: 3650, 3: 3650}
    reloads = found(world.timeline, ConfigReloaded)
    assert len(reloads) == 3
    assert all("token" in body.problem for _, body in reloads)
    assert len(said(world, "Unable to reload config file: /etc/corosync/corosync.conf:")) == 3
    assert found(world.timeline, TimeoutsChanged) == []


def test_corosync_does_not_start_on_a_file_that_is_wrong() -> None:
    wrong = edit(3, "totem.version", "3", node=3, file=HOST_FILE)
    world = ran(8, wrong, Kill(node=3, process="corosync", at=seconds(4)), Restart(node=3, at=seconds(6)))
    assert world.hosts[3].daemon is None
    assert said(world, "exiting with status 8", 3)


@pytest.mark.parametrize(("key", "value"), [("totem.netmtu", "1400"), ("totem.cluster_name", "other")])
def test_what_cannot_change_at_run_time_is_told_and_stays(key: str, value: str) -> None:
    world = ran(6, edit(3, key, value), edit(3.5, "totem.token", "2000"))
    assert key in FIXED_KEYS
    assert said(world, f"Modified entry '{key}' in corosync.conf cannot be changed at run-time", 1)
    daemon = world.hosts[1].daemon
    assert daemon is not None
    assert (daemon.conf.totem.netmtu, daemon.conf.cluster_name) == (0, "totemviz")
    assert tokens_ms(world) == {1: 2650, 2: 2650, 3: 2650}


def test_votequorum_reads_its_options_again() -> None:
    world = ran(8, edit(3, "quorum.expected_votes", "5"))
    quorum = {event.node: body for event, body in found(world.timeline, QuorumChanged)}
    assert said(world, "Reading configuration (runtime: 1)")
    services = [host.daemon.votequorum for host in world.hosts.values() if host.daemon is not None]
    assert {(service.us.expected_votes, service.quorum) for service in services} == {(5, 3)}
    assert set(quorum) == {1, 2, 3}


def test_two_nodes_that_become_a_two_node_cluster() -> None:
    """two_node at run time brings the wait_for_all with it that it implies (``wait_for_all_autoset``)."""
    killed = Kill(node=2, at=seconds(6))
    assert not view(ran(15, killed, cluster=ClusterSpec(nodes=2))).nodes[1].quorate
    survivor = ran(15, edit(3, "quorum.two_node", "1"), killed, cluster=ClusterSpec(nodes=2)).hosts[1].daemon
    assert survivor is not None
    assert survivor.votequorum.quorate
    assert survivor.votequorum.options.wait_for_all


def test_a_reload_without_corosync_is_an_error_of_its_node() -> None:
    own = Kill(node=1, process="corosync", at=seconds(2)), ReloadConf(node=1, at=seconds(5))
    world = ran(6, *own)
    assert [body.answer for _, body in found(world.timeline, ToolAnswered)] == ["LIBRARY"]
    assert found(world.timeline, ConfigReloaded) == []


def test_pmxcfs_says_when_its_reload_found_no_corosync() -> None:
    """The second that it waits is long enough for its corosync to die."""
    world = ran(7, edit(3, "totem.token", "1000"), Kill(node=1, process="corosync", at=seconds(3.5)))
    assert said(world, "corosync-cfgtool -R failed with exit code 1", 1)
    assert found(world.timeline, ConfigReloaded) == []


# --------------------------------------------------------------------------------------------------------------- force


def test_a_key_set_on_one_node_is_forgotten_at_its_next_start() -> None:
    """``corosync-cmapctl -s`` writes to no file."""
    world = ran(5, SetTimeout(key="token", value=1000, node=2, at=seconds(3)))
    assert tokens_ms(world) == {1: 3650, 2: 1650, 3: 3650}
    assert said(world, "Totem related config key changed", 2)
    again = ran(
        12,
        SetTimeout(key="token", value=1000, node=2, at=seconds(3)),
        Kill(node=2, at=seconds(4)),
        Restart(node=2, at=seconds(9)),
    )
    assert tokens_ms(again) == {1: 3650, 2: 3650, 3: 3650}


def test_what_is_forced_on_all_nodes_outlives_starts_and_reloads() -> None:
    forced = SetTimeout(key="token", value=1000, at=seconds(2))
    world = ran(
        15,
        forced,
        edit(3, "totem.join", "100"),
        Kill(node=3, at=seconds(6)),
        Restart(node=3, at=seconds(9)),
        AddNode(at=seconds(12)),
    )
    assert tokens_ms(world) == {1: 2300, 2: 2300, 3: 2300, 4: 2300}
    assert {host.daemon.conf.totem.join_ms for host in world.hosts.values() if host.daemon is not None} == {100}


def test_what_does_not_fit_another_file_is_not_forced_there() -> None:
    """A join timeout of 3 s in the file of one node forbids the consensus timeout of a shorter token timeout."""
    own = edit(2, "totem.join", "3000", node=3, file=HOST_FILE, bump=False), ReloadConf(node=1, at=seconds(3))
    world = ran(5, *own, SetTimeout(key="token", value=500, at=seconds(4)))
    assert tokens_ms(world) == {1: 1150, 2: 1150, 3: 3650}
    alone = ran(5, *own, SetTimeout(key="token", value=500, node=3, at=seconds(4)))
    assert "use 3000 or more" in found(alone.timeline, ToolAnswered)[0][1].answer
    again = ran(
        12,
        *own,
        SetTimeout(key="token", value=500, at=seconds(4)),
        Kill(node=3, process="corosync", at=seconds(5)),
        Restart(node=3, at=seconds(9)),
    )
    assert tokens_ms(again)[3] == 3650


def test_a_start_on_another_file_tells_its_timeouts() -> None:
    own = edit(2, "totem.token", "8000", node=3, file=HOST_FILE, bump=False)
    world = ran(12, own, Kill(node=3, process="corosync", at=seconds(3)), Restart(node=3, at=seconds(9)))
    told = found(world.timeline, TimeoutsChanged)
    assert [(event.node, body.timeouts_ms["token"]) for event, body in told] == [(3, 8650)]
    assert view(world).nodes[3].token_ms == 8650


def test_all_of_it_is_saved_with_the_run() -> None:
    scenario = Scenario(
        host_model=MEASURED,
        interventions=(
            edit(3, "totem.token", "1000", node=3, file=HOST_FILE, bump=False),
            ReloadConf(node=2, at=seconds(4)),
            SetTimeout(key="join", value=80, node=1, at=seconds(5)),
        ),
    )
    assert parse_scenario(dump_scenario(scenario), "again") == scenario


def test_the_request_in_bytes() -> None:
    """``struct req_exec_cfg_reload_config``: header, then the source with its connection."""
    data = ReloadConfig(2, 0x1122334455).encode()
    assert data == bytes.fromhex("0300010000000000200000000000000002000000000000005544332211000000")


def test_editing_keeps_the_rest_and_counts_up() -> None:
    text = proxmox_conf(2, {"token": 1000})
    changed = edited(text, "totem.token", "2000", bump=True)
    assert changed.replace("token: 2000", "token: 1000").replace("config_version: 4", "config_version: 3") == edited(
        text, "totem.token", "1000", bump=False
    )
    assert "token:" not in edited(text, "totem.token", "", bump=False)
    assert "device {" in edited(text, "quorum.device.model", "net", bump=False)


def test_errors_are_logged_as_such() -> None:
    world = ran(6, edit(3, "totem.token", "abc"))
    levels = {body.level for _, body in found(world.timeline, Log) if "Unable to reload" in body.text}
    assert levels == {Level.ERROR}
