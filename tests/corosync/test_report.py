"""The report on a corosync.conf: golden texts of two real files, the formulae's table, and each piece of advice."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from totemviz.corosync.arithmetic import quorum_arithmetic
from totemviz.corosync.conf import CorosyncConf, load, parse
from totemviz.corosync.report import Report, render, report

DATA = Path(__file__).parent / "data"
FILES = ("lab-3-nodes-udpu", "proxmox-5-nodes")


def cluster(votes: list[int], totem: str = "", quorum: str = "", links: int = 2) -> CorosyncConf:
    """A knet cluster of nodes n1, n2, … with these votes and further lines in its sections (``;`` between lines)."""
    nodes = "".join(
        f"node {{\nname: n{number}\nnodeid: {number}\nquorum_votes: {count}\n"
        + "".join(f"ring{link}_addr: 192.0.2.{10 * link + number}\n" for link in range(links))
        + "}\n"
        for number, count in enumerate(votes, 1)
    )
    totem, quorum = totem.replace(";", "\n"), quorum.replace(";", "\n")
    head = f"totem {{\nversion: 2\nsecauth: on\n{totem}\n}}\n"
    return parse(f"{head}nodelist {{\n{nodes}}}\nquorum {{\nprovider: corosync_votequorum\n{quorum}\n}}\n", "c")


@pytest.mark.parametrize("name", FILES)
def test_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    text = "\n".join(render(report(load(f"{name}.conf")))) + "\n"
    golden = DATA / f"{name}.report.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", FILES)
def test_json_comes_back_whole(name: str) -> None:
    found = report(load(DATA / f"{name}.conf"))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found


# sheet §2.1: token + consensus
@pytest.mark.parametrize(
    ("nodes", "old", "new"),
    [(3, 8030, 6875), (5, 10890, 7425), (8, 15180, 8250), (16, 26620, 10450), (32, 49500, 14850)],
)
def test_both_coefficients_for_every_size(nodes: int, old: int, new: int) -> None:
    sizes = {size.nodes: size for size in report(cluster([1, 1, 1])).sizes}
    assert sorted(sizes) == list(range(3, 33))
    assert (sizes[nodes].dead_node_out_650_ms, sizes[nodes].dead_node_out_125_ms) == (old, new)


def test_sizes_above_the_watchdog_and_sizes_corosync_refuses_are_marked() -> None:
    long = "\n".join(render(report(cluster([1, 1, 1], "token: 20000"))))
    assert "!" in long and "not within the watchdog's time" in long
    short = report(cluster([1] * 8, "token: 30;token_retransmits_before_loss_const: 10"))
    assert short.sizes[0].dead_node_out_125_ms is None
    assert "corosync would refuse the file" in "\n".join(render(short))


@pytest.mark.parametrize(
    ("totem", "name", "value", "how"),
    [
        ("", "token", 3650, "3000 + (3 - 2) x 650"),
        ("token: 10000", "token", 10650, "10000 + (3 - 2) x 650"),
        ("token: 0", "token", 3650, "3000 + (3 - 2) x 650"),
        ("", "token_warning", 2737, "75 % of 3650"),
        ("token_warning: 0", "token_warning", 0, "off"),
        ("token_warning: 50", "token_warning", 1825, "50 % of 3650"),
        ("token_retransmits_before_loss_const: 10", "token_retransmit", 357, "3650 / (10 + 0.2)"),
        ("token_retransmit: 500", "token_retransmit", 500, "as set"),
        ("token_retransmit: 500", "hold", 390, "0.8 x 500 - 10"),
        ("consensus: 9000", "consensus", 9000, "as set"),
        ("token_coefficient: 125", "consensus", 3750, "1.2 x 3125"),
        ("token_coefficient: 125", "ping interval, link 1", 781, "3125 / (2 x 2)"),
        ("interface {;linknumber: 1;knet_pong_count: 5;}", "ping timeout, link 1", 730, "3650 / 5"),
        ("interface {;linknumber: 1;knet_pong_count: 5;}", "ping timeout, link 0", 1825, "3650 / 2"),
        ("interface {;knet_ping_interval: 200;knet_ping_timeout: 999;}", "ping timeout, link 0", 999, "as set"),
        ("", "scheduler watch", 2920, "0.8 x 3650, looks every 1216 ms"),
    ],
)
def test_how_each_value_is_computed(totem: str, name: str, value: int, how: str) -> None:
    (timeout,) = [one for one in report(cluster([1, 1, 1], totem)).timeouts if one.name == name]
    assert (timeout.value, timeout.how) == (value, how)


@pytest.mark.parametrize(
    ("votes", "quorum", "needed", "may_fail", "at_best", "single"),
    [
        ([1], "", 1, 0, 0, []),
        ([1, 1], "", 2, 0, 0, [1, 2]),
        ([1, 1], "two_node: 1", 1, 1, 1, []),
        ([1, 1, 1], "", 2, 1, 1, []),
        ([1, 1, 1, 1], "", 3, 1, 1, []),
        ([1] * 5, "", 3, 2, 2, []),
        ([1, 1, 1, 1, 2], "", 4, 1, 2, []),
        ([1, 1, 3], "", 3, 0, 2, [3]),
        ([1, 1], "device {;model: net;votes: 1;}", 2, 1, 1, []),
        ([1] * 4, "device {;model: net;}", 4, 3, 3, []),
        ([1, 1, 1], "expected_votes: 5", 3, 0, 0, [1, 2, 3]),
        ([1, 1, 1], "expected_votes: 2", 2, 1, 1, []),
        ([1, 1, 1], "expected_votes: 7", 4, 0, 0, []),
    ],
)
def test_who_may_fail(
    votes: list[int], quorum: str, needed: int, may_fail: int, at_best: int, single: list[int]
) -> None:
    found = quorum_arithmetic(cluster(votes, quorum=quorum))
    costly = [voter.nodeid for voter in found.voters if voter.loss_costs_quorum]
    assert (found.quorum, found.may_fail, found.may_fail_at_best, costly) == (needed, may_fail, at_best, single)


NEW = "token_coefficient: 125"
ADVICE = [  # votes, totem, quorum -> (topic, weight, words)
    ([1, 1, 1], NEW, "", None),
    ([1] * 5, NEW, "", None),
    ([1, 1, 1], "", "", ("token_coefficient", "note", "6.875 s instead of 8.03 s")),
    ([1, 1], "", "device {;model: net;votes: 1;}", None),
    ([1, 1, 1], f"{NEW};token: 30000", "", ("watchdog", "danger", "66.275 s")),
    ([1, 1, 1], f"{NEW};token: 20000", "", ("watchdog", "warning", "20.125 s")),
    ([1, 1, 1], f"{NEW};token: 5000", "", ("token", "note", "5125 ms")),
    ([1, 1, 1], f"{NEW};token: 1000", "", ("short_token", "warning", "1.125 s")),
    ([1, 1, 1], f"{NEW};consensus: 3000", "", ("consensus", "warning", "Set 3750")),
    ([1, 1, 1], f"{NEW};consensus: 8000", "", ("consensus", "note", "3750 (1.2 x token)")),
    ([1, 1, 1], f"{NEW};consensus: 3750", "", None),
    ([1, 1, 1], f"{NEW};token_retransmit: 4000", "", ("token_retransmit", "danger", "3125")),
    ([1, 1, 1], f"{NEW};hold: 800", "", ("hold", "warning", "744")),
    ([1, 1, 1], f"{NEW};hold: 3200", "", ("hold", "danger", "3125")),
    ([1, 1, 1], f"{NEW};token_warning: 0", "", ("token_warning", "note", "slow node")),
    ([1, 1, 1], f"{NEW};send_join: 80", "", ("send_join", "note", "80 ms")),
    ([1, 1, 1], f"{NEW};secauth: off", "", ("encryption", "warning", "secauth: on")),
    ([1, 1], "", "", ("two_nodes", "warning", "either node")),
    ([1, 2], "", "", ("two_nodes", "warning", "without n2")),
    ([1, 1], "", "two_node: 1", ("two_node", "warning", "wait_for_all")),
    ([1, 1], "", "two_node: 1;wait_for_all: 0", ("two_node", "danger", "Add wait_for_all")),
    ([1, 1, 1], NEW, "two_node: 1;wait_for_all: 0", ("two_node", "danger", "has 3")),
    ([1, 1], "", "auto_tie_breaker: 1", None),
    ([1] * 4, NEW, "", ("even_votes", "warning", "2 to 2")),
    ([1] * 4, NEW, "auto_tie_breaker: 1", None),
    ([2, 2, 2], NEW, "", None),  # an even sum, but no even split
    ([1, 1, 3], NEW, "", ("single_loss", "warning", "n3 alone")),
    ([1, 1, 1], NEW, "expected_votes: 2", ("expected_votes", "danger", "below the sum")),
    ([1, 1, 1], NEW, "expected_votes: 7", ("expected_votes", "danger", "never quorate")),
    ([1, 1, 1], NEW, "wait_for_all: 1", ("wait_for_all", "note", "every single node")),
    ([1, 2, 2], NEW, "last_man_standing: 1", ("last_man_standing", "danger", "exactly one vote")),
    ([1, 1, 1, 0], NEW, "", ("no_votes", "note", "n4")),
    ([1, 1, 1], NEW, "expected_votes_tracking: 1", ("tracking", "warning", "never saved")),
    ([1, 1, 1], NEW, "allow_downscale: 1;expected_votes: 2", ("tracking", "warning", "never falls below the majority")),
    ([1] * 4, NEW, "device {;model: net;votes: 1;}", None),
    ([1] * 3, NEW, "device {;model: net;votes: 1;}", ("device", "note", "away")),
    ([1] * 3, NEW, "device {;model: net;}", ("device", "warning", "away")),
    ([1] * 3, NEW, "device {;model: net;votes: 5;}", ("device", "danger", "not quorate even with all nodes up")),
]


@pytest.mark.parametrize(("votes", "totem", "quorum", "wanted"), ADVICE)
def test_advice(votes: list[int], totem: str, quorum: str, wanted: tuple[str, str, str] | None) -> None:
    given = [one for one in report(cluster(votes, totem, quorum)).advice if one.topic != "token" or wanted]
    if wanted is None:
        assert given == []
        return
    (found,) = [one for one in given if one.topic == wanted[0]]
    assert found.weight == wanted[1]
    assert wanted[2] in found.text
    if wanted[0] in totem + quorum:
        assert found.line > 0


def test_without_link_0_the_coefficient_does_not_apply() -> None:
    text = (DATA / "proxmox-5-nodes.conf").read_text(encoding="utf-8")
    text = re.sub(r" *ring0_addr: .*\n", "", text)
    text = re.sub(r" *interface \{\n *linknumber: 0\n *\}\n", "", text)
    found = report(parse(text, "c"))
    assert (found.token_ms, found.links) == (3000, 1)
    assert found.timeouts[0].how == "no coefficient without ring0_addr"
    assert {size.dead_node_out_650_ms for size in found.sizes} == {6600}
    assert "no_link_0" in [one.topic for one in found.advice if one.weight == "warning"]


def test_one_link_and_unknown_keys_are_mentioned() -> None:
    found = report(cluster([1, 1, 1], f"{NEW};tokn: 1", links=1))
    assert [one.topic for one in found.advice] == ["one_link"]
    text = "\n".join(render(found))
    assert "corosync ignores" in text
    assert "unknown key totem.tokn" in text


def test_a_cluster_that_can_never_be_quorate_is_called_so() -> None:
    assert "never quorate" in "\n".join(render(report(cluster([1, 1, 1], quorum="expected_votes: 7"))))
