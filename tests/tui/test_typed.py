"""What people type into the fault menu, and what the palette offers in its place."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from totemviz.sim import interventions as do
from totemviz.sim.interventions import AnyIntervention
from totemviz.sim.interventions.confs import HOST_FILE
from totemviz.sim.possible import check_intervention
from totemviz.sim.scenario import ClusterSpec, Scenario, cluster_conf
from totemviz.sim.session import Simulation
from totemviz.sim.threads import HostModel
from totemviz.sim.units import SECOND, Duration, Offset
from totemviz.trace.cursor import Step
from totemviz.trace.events import DatagramSent
from totemviz.tui.commands import PAIRS_MAX, fault_commands, found_commands
from totemviz.tui.dialogs import EntryError
from totemviz.tui.faults import FAULTS, migration
from totemviz.tui.typed import as_in_a_scenario, clock, conf_edit, filled, host_model, key_value


def session(nodes: int = 3) -> Simulation:
    scenario = Scenario(cluster=ClusterSpec(nodes=nodes))
    made = Simulation(scenario, cluster_conf(scenario, "test", Path()))
    made.advance(2 * SECOND)
    return made


@pytest.mark.parametrize(
    ("typed", "ahead_s", "ppm"), [("5min", 300, 0), ("-70s", -70, 0), ("0s 200", 0, 200), ("+1h -5ppm", 3600, -5)]
)
def test_a_clock(typed: str, ahead_s: int, ppm: int) -> None:
    assert clock(2, typed) == do.SkewClock(node=2, ahead=Offset(ahead_s * SECOND), drift_ppm=ppm)


def test_an_edit_of_corosync_conf() -> None:
    assert conf_edit(1, "totem.token=2000") == do.EditConf(node=1, key="totem.token", value="2000")
    assert conf_edit(1, "quorum.two_node= here") == do.EditConf(node=1, key="quorum.two_node", file=HOST_FILE)


def test_fields_of_an_intervention() -> None:
    guest = filled(do.CreateGuest, "vmid=7000 kind=lxc takes=3s config='memory: 1'", node=2)
    assert guest == do.CreateGuest(node=2, vmid=7000, kind="lxc", takes=Duration(3 * SECOND), config="memory: 1")
    nodes = list(session().cursor.view.nodes.values())
    assert migration(nodes).make(1, "target=b vmid=101") == do.MigrateGuest(node=1, target=2, vmid=101)


@pytest.mark.parametrize(
    ("typed", "made"),
    [
        ("action=kill process=pmxcfs", do.Kill(node=3, process="pmxcfs")),
        ("action=kill node=1", do.Kill(node=1)),
        ("action=power_cut torn=true", do.PowerCut(node=3, torn=True)),
        ("action=duplicate percent=5", do.Duplicate(percent=5.0)),
        ("action=cluster_log message='two words'", do.WriteClusterLog(node=3, message="two words")),
        ("action=host_model model=article", do.ChangeHostModel(model=HostModel.ARTICLE)),
    ],
)
def test_anything_a_scenario_can(typed: str, made: AnyIntervention) -> None:
    assert as_in_a_scenario(3, typed) == made


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: clock(1, "soon"), "type e.g. 5min"),
        (lambda: clock(1, "5min fast"), "type e.g. 5min"),
        (lambda: conf_edit(1, "totem.token"), "totem.token=2000 here"),
        (lambda: conf_edit(1, ""), "totem.token=2000"),
        (lambda: conf_edit(1, "a=1 there"), "totem.token=2000"),
        (lambda: key_value("token"), "token=1000"),
        (lambda: host_model("real"), "article or measured"),
        (lambda: filled(do.CreateGuest, "vm=100", node=1), "there is no field “vm” here; use vmid, kind"),
        (lambda: filled(do.CreateGuest, "node=2", node=1), "there is no field “node”"),
        (lambda: filled(do.CreateGuest, "vmid=hundred", node=1), "vmid: "),
        (lambda: filled(do.CreateGuest, "takes=3", node=1), "needs a unit|no duration|not a duration"),
        (lambda: filled(do.CreateGuest, "100", node=1), "“100” is not field=value"),
        (lambda: filled(do.WriteClusterLog, "message='a", node=1), "quotation mark"),
        (lambda: as_in_a_scenario(1, "action=explode"), "the README has the table"),
        (lambda: as_in_a_scenario(1, "action=pause"), "duration"),
        (lambda: migration(list(session().cursor.view.nodes.values())).make(1, "target=Z"), "there is no node “Z”"),
    ],
)
def test_what_is_typed_wrong_is_told_with_the_mend(make, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EntryError, match=told):
        make()


def test_the_palette_holds_what_the_menus_do() -> None:
    run = session()
    while not run.cursor.view.flights:
        run.forward(Step.EVENT)
    offered = dict(fault_commands(run.cursor.view)) | dict(found_commands(run.cursor.view))
    kinds = {type(intervention) for intervention in offered.values()}
    # the rest: a dialog of its own (write), “what if not” (deliver_lost), or typed (O)
    typed_only = {do.MakeDirectory, do.Rename, do.Delete, do.SetStatus, do.WriteClusterLog}
    typed_only |= {do.Duplicate, do.Write, do.DeliverLost}
    assert kinds == set(get_args(AnyIntervention)) - typed_only
    sent = {flight.sent for flight in run.cursor.view.flights.values()}
    assert all(isinstance(run.timeline[number].body, DatagramSent) for number in sent)
    assert {action.sent for action in offered.values() if isinstance(action, do.Tamper)} == sent
    assert {(a.source, a.target) for a in offered.values() if isinstance(a, do.CutOneWay)} == {
        (one, other) for one in (1, 2, 3) for other in (1, 2, 3) if one != other
    }
    without_device = {do.QuorumDevice}
    for intervention in offered.values():
        if type(intervention) not in without_device:
            assert check_intervention(intervention, run.world.conf, ("pmxcfs",)) is None


def test_the_palette_of_a_large_cluster_lists_no_pairs() -> None:
    assert PAIRS_MAX < 16 * 15
    view = session(16).cursor.view
    assert do.SkewClock in {type(intervention) for _, intervention in fault_commands(view)}
    assert not list(found_commands(view)) or view.flights


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_what_a_fault_offers_is_right(fault) -> None:  # type: ignore[no-untyped-def]
    if fault.ask:
        fault.make(1, fault.default)
