"""corosync.conf: what is read, what is refused and how it is said, and that nothing else can happen."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from totemviz.corosync.conf import KEYS, ConfError, dump, load, parse
from totemviz.totem.config import Transport

DATA = Path(__file__).parent / "data"
FIVE_TEXT = (DATA / "proxmox-5-nodes.conf").read_text()

SMALL = """\
totem {
    version: 2
    token: 3000
}
nodelist {
    node {
        nodeid: 1
        ring0_addr: a
    }
    node {
        nodeid: 2
        ring0_addr: b
    }
}
quorum {
    provider: corosync_votequorum
}
"""


def test_proxmox_file() -> None:
    conf = load(DATA / "proxmox-5-nodes.conf")
    assert (conf.cluster_name, conf.config_version, conf.transport) == ("homelab", 9, Transport.KNET)
    assert [(node.nodeid, node.name, node.votes) for node in conf.nodes] == [
        (1, "atlas", 1),
        (2, "boreas", 1),
        (3, "ceto", 1),
        (5, "doris", 1),
        (7, "echo", 2),
    ]
    assert conf.node(7).addresses == ("192.0.2.17", "198.51.100.17")
    assert conf.node(7).line == 35
    assert conf.expected_votes == 6
    assert conf.totem.token_ms == 4950
    assert conf.totem.consensus_ms == 5940
    assert conf.encrypted
    assert conf.warnings == ()


def test_lab_file() -> None:
    conf = load(DATA / "lab-3-nodes-udpu.conf")
    assert conf.transport is Transport.UDPU
    assert (conf.totem.token_ms, conf.totem.hold_ms, conf.totem.net_mtu) == (3650, 685, 1410)
    assert not conf.encrypted
    assert conf.warnings == ()


def test_dump_is_proxmox_form() -> None:
    assert dump(load(DATA / "proxmox-5-nodes.conf")) == FIVE_TEXT


@pytest.mark.parametrize("name", ["proxmox-5-nodes.conf", "lab-3-nodes-udpu.conf"])
def test_dump_keeps_the_meaning(name: str) -> None:
    conf = load(DATA / name)
    again = parse(dump(conf), conf.path)
    assert dump(again) == dump(conf)
    assert (again.totem, again.quorum, again.expected_votes) == (conf.totem, conf.quorum, conf.expected_votes)
    assert {node.nodeid for node in again.nodes} == {node.nodeid for node in conf.nodes}


def test_transport_defaults_to_knet_and_sections_may_repeat() -> None:
    conf = parse(SMALL + "totem {\n    token_warning: 50\n    cluster_name: x\n}\n", "c")
    assert conf.transport is Transport.KNET
    assert (conf.totem.token_warning_ms, conf.cluster_name) == (1500, "x")


def test_the_last_of_two_values_counts_and_is_told() -> None:
    conf = parse(SMALL.replace("token: 3000", "token: 3000\n    token: 5000"), "c")
    assert conf.totem.token_ms == 5000
    assert conf.warnings == ("c:4: totem.token again (line 3); the last one counts",)


def test_unknown_keys_are_kept_and_listed() -> None:
    conf = parse(SMALL.replace("token: 3000", "tokn: 3000") + "resources {\n    memory_used: x\n}\n", "c")
    assert conf.warnings == ("c:3: unknown key totem.tokn; corosync ignores it",)
    assert "tokn: 3000" in dump(conf)
    assert "memory_used: x" in dump(conf)


def test_keys_outside_a_section_and_odd_sections_are_ignored() -> None:
    conf = parse("token: 9\nto tem {\n}\n" + SMALL, "c")
    assert conf.warnings == (
        "c:1: key token outside a section; corosync ignores it",
        "c:2: unknown section to tem; corosync ignores it",
    )
    assert conf.totem.token_ms == 3000


@pytest.mark.parametrize(
    ("key", "value", "taken_as"),
    [("secauth", "true", "off"), ("block_unlisted_ips", "off", "yes"), ("clear_node_high_bit", "1", "no")],
)
def test_words_that_corosync_takes_for_the_opposite(key: str, value: str, taken_as: str) -> None:
    conf = parse(SMALL.replace("token: 3000", f"{key}: {value}"), "c")
    (warning,) = conf.warnings
    assert warning.startswith(f"c:3: totem.{key}: '{value}' is not ")
    assert warning.endswith(f"corosync takes it as {taken_as}")
    assert not conf.encrypted


def test_a_second_nodelist_changes_the_first_node_by_node() -> None:
    conf = parse(SMALL + "nodelist {\n    node {\n        nodeid: 7\n        quorum_votes: 3\n    }\n}\n", "c")
    assert [(node.nodeid, node.votes, node.addresses) for node in conf.nodes] == [(7, 3, ("a",)), (2, 1, ("b",))]
    assert conf.warnings[-1] == "c:19: a second nodelist changes the node of line 6, key by key"
    assert parse(dump(conf), "c").nodes[0].nodeid == 7


def links(*numbers: int, count: int = 5, name: str = "name: n{n}\n") -> str:
    """A cluster on these links."""
    nodes = "".join(
        f"node {{\nnodeid: {n}\n"
        + name.replace("{n}", str(n))
        + "".join(f"ring{link}_addr: 192.0.{link}.{n}\n" for link in numbers)
        + "}\n"
        for n in range(1, count + 1)
    )
    return f"totem {{\nversion: 2\n}}\nnodelist {{\n{nodes}}}\nquorum {{\nprovider: corosync_votequorum\n}}\n"


def test_links_may_have_gaps_and_without_link_0_the_token_does_not_grow() -> None:
    assert parse(links(0), "c").totem.token_ms == 4950
    gap = parse(links(0, 2), "c")
    assert (gap.links, gap.totem.token_ms) == ((0, 2), 4950)
    assert gap.node(3).addresses == ("192.0.0.3", "192.0.2.3")
    late = parse(links(1, 3), "c")
    assert (late.links, late.totem.token_ms, late.totem.consensus_ms) == ((1, 3), 3000, 3600)


def test_several_links_need_names() -> None:
    with pytest.raises(ConfError, match=r"c:5: node 1 has no name and several links; add 'name: NAME'"):
        parse(links(0, 1, name=""), "c")
    with pytest.raises(ConfError, match=r"c:5: without ring0_addr node 1 needs a name"):
        parse(links(1, name=""), "c")


@pytest.mark.parametrize(
    ("address", "version", "message"),
    [
        ("2001:db8::2", "", "c:12: ring0_addr: 2001:db8::2 is of another IP family than 192.0.2.1; use one"),
        ("2001:db8::2", "ipv4", "c:13: ring0_addr: 2001:db8::2 is no IPv4 address; see totem.ip_version"),
        ("192.0.2.2", "ipv6", "c:9: ring0_addr: 192.0.2.1 is no IPv6 address; see totem.ip_version"),
    ],
)
def test_addresses_of_one_link_are_of_one_family(address: str, version: str, message: str) -> None:
    text = SMALL.replace("ring0_addr: a", "ring0_addr: 192.0.2.1").replace("ring0_addr: b", f"ring0_addr: {address}")
    if version:
        text = text.replace("token: 3000", f"token: 3000\n    ip_version: {version}")
    with pytest.raises(ConfError) as caught:
        parse(text, "c")
    assert str(caught.value) == message


def test_the_frame_size_may_be_set() -> None:
    assert parse(SMALL.replace("token: 3000", "netmtu: 9000"), "c").totem.net_mtu == 8910
    assert parse(SMALL.replace("token: 3000", "netmtu: 0"), "c").totem.net_mtu == 65446
    with pytest.raises(ConfError, match="c:3: corosync cannot work with frames of 99 bytes; use 256 to 65536"):
        parse(SMALL.replace("token: 3000", "netmtu: 99"), "c")


def test_a_missing_node_id_is_made_of_the_address_over_udpu() -> None:
    text = SMALL.replace("        nodeid: 2\n", "").replace("ring0_addr: b", "ring0_addr: 192.0.2.2")
    text = text.replace("token: 3000", "transport: udpu")
    assert parse(text, "c").nodes[1].nodeid == 0xC0000202
    cleared = text.replace("transport: udpu", "transport: udpu\n    clear_node_high_bit: yes")
    assert parse(cleared, "c").nodes[1].nodeid == 0x40000202


def test_comments_blank_lines_carriage_returns_and_no_final_newline() -> None:
    text = "# a comment: {\n\n\t  # another }\n" + SMALL.rstrip("\n").replace("\n", "  \r\n")
    assert parse(text, "c").totem == parse(SMALL, "c").totem


ERRORS = [
    ("token: 3000", "token: soon", 3, "totem.token: 'soon' is not a whole number; use 0 to 4294967295"),
    ("token: 3000", "token: 12", 3, "totem.token: 12 is too small; use 30 or more"),
    ("token: 3000", "token: -5", 3, "totem.token: -5 is out of range; use 0 to 4294967295"),
    ("token: 3000", "consensus: 40", 3, "totem.consensus: 40 is below totem.join 50; use 50 or more"),
    ("token: 3000", "join: 9000", 3, "totem.consensus: 3600 is below totem.join 9000; use 9000 or more"),
    ("token: 3000", "token_warning: 101", 3, "totem.token_warning: 101 is not a percentage; use 0 to 100"),
    ("token: 3000", "transport: tcp", 3, "totem.transport: 'tcp' is not allowed; use knet, udpu or udp"),
    ("token: 3000", "link_mode: both", 3, "totem.link_mode: 'both' is not allowed; use passive, active or rr"),
    (
        "token: 3000",
        "ip_version: ipv5",
        3,
        "totem.ip_version: 'ipv5' is not allowed; use ipv4, ipv6, ipv4-6 or ipv6-4",
    ),
    (
        "token: 3000",
        "crypto_cipher: aes256",
        3,
        "crypto_cipher needs crypto_hash; set crypto_hash, for example to sha256",
    ),
    (
        "token: 3000",
        "transport: udpu\n    secauth: on",
        4,
        "udpu cannot encrypt; use knet, or set crypto_cipher and crypto_hash to none",
    ),
    ("version: 2", "version: 1", 2, "totem.version must be 2; write 'version: 2'"),
    ("    version: 2\n", "", 1, "totem.version must be 2; write 'version: 2'"),
    ("token: 3000", "token 3000", 3, "neither 'section {', '}' nor 'key: value'; a key needs a colon"),
    ("token: 3000", ": 3000", 3, "missing key before ':'; write 'key: value'"),
    ("token: 3000", "to ken: 3000", 3, "'totem.to ken' is not a name; use letters, digits and . _ - / :"),
    ("totem {", "totem { version: 2", 1, "text after '{'; put it on a line of its own"),
    ("totem {", "{", 1, "missing section name before '{'; write for example 'totem {'"),
    ("}\nnodelist", "} # end\nnodelist", 4, "text beside '}'; put the brace on a line of its own"),
    ("}\nnodelist", "}\n}\nnodelist", 5, "'}' without an open section; remove it"),
    ("}\nnodelist", "nodelist", 17, "missing closing brace of totem (opened in line 1); add '}'"),
    ("totem {", "ab: 1\ntotem {", 1, "'ab' is too short for a name; use 3 characters or more"),
    ("totem {", "tö: 1\ntotem {", 1, "'tö' is not a name; use letters, digits and . _ - / :"),
    ("nodeid: 2", "nodeid: 1", 11, "duplicate nodeid 1 (also in line 6); give every node its own"),
    ("        nodeid: 2\n", "", 10, "node without nodeid; add 'nodeid: N', different for every node"),
    ("nodeid: 2", "nodeid: 0", 11, "nodeid 0 is reserved; use 1 or more"),
    ("nodeid: 2", "nodeid: 70000", 11, "nodeid 70000 is too large for knet; use 1 to 65535"),
    ("ring0_addr: b", "name: b", 10, "node 2 has no ring0_addr; add 'ring0_addr: ADDRESS'"),
    (
        "ring0_addr: b",
        "ring0_addr: b\n        ring1_addr: c",
        10,
        "node 2 has ring0_addr, ring1_addr and node 1 has ring0_addr; give all nodes the same ringX_addr keys",
    ),
    (
        "ring0_addr: b",
        "ring0_addr: b\n        ring8_addr: c",
        13,
        "ring8_addr: there are 8 links; use ring0_addr to ring7_addr",
    ),
    ("ring0_addr: b", "ring0_addr:", 12, "ring0_addr: '' is no address; write an IP address or a host name"),
    ("token: 3000", "ip_version: ipv4\n    interface {\n    mcastport: 0\n    }", 5, "mcastport 0 is no port"),
    ("token: 3000", "interface {\n    ttl: 3\n    }", 4, "ttl is for multicast and knet has none; remove it"),
    (
        "token: 3000",
        "transport: udpu\n    interface {\n    knet_link_priority: 2\n    }",
        5,
        "knet_link_priority needs knet and this is udpu; remove it",
    ),
    ("token: 3000", "transport: udp", 1, "udp needs a multicast address; add 'cluster_name: NAME'"),
    (
        "token: 3000",
        "transport: udp\n    interface {\n    mcastaddr: 192.0.2.1\n    }",
        5,
        "mcastaddr 192.0.2.1 is no multicast address; use 239.192.x.y for example",
    ),
    (
        "token: 3000",
        "interface {\n    linknumber: 1\n    mcastport: 5500\n    }",
        3,
        "interface 1 has no ring1_addr in the nodelist; remove it",
    ),
    ("totem {", "uidgid {\nuser: 3\n}\ntotem {", 2, "uidgid may hold uid and gid only; remove user"),
    ("totem {", "logging {\nlogger_subsys {\ndebug: on\n}\n}\ntotem {", 2, "logging.logger_subsys without subsys"),
    ("totem {", "logging {\nto_syslog: maybe\n}\ntotem {", 2, "logging.to_syslog: 'maybe' is not allowed; use yes, on"),
    ("totem {", "logging {\nsyslog_priority: loud\n}\ntotem {", 2, "'loud' is not allowed; use emerg, alert, crit"),
    ("totem {", "system {\npriority: high\n}\ntotem {", 2, "'high' is not allowed; use max, min or a whole number"),
    ("ring0_addr: b", "ring0_addr: b\n        quorum_votes: x", 13, "'x' is not a whole number"),
    ("nodelist {", "nodes {", 16, "no node in the nodelist; add 'nodelist {'"),
    ("    provider: corosync_votequorum\n", "", 15, "no quorum provider; add 'quorum {'"),
    ("corosync_votequorum", "ykd", 16, "quorum.provider: 'ykd' is not allowed; use corosync_votequorum"),
    ("provider: c", "two_node: yes\n    provider: c", 16, "quorum.two_node: 'yes' is not a whole number; use 0 to 255"),
    ("token: 3000", "cluster_name: " + 600 * "x", 3, "line too long; keep it to 510 bytes"),
    ("token: 3000", "cluster_name: " + 250 * "ö", 3, "line too long; keep it to 510 bytes"),
    ("token: 3000", "cluster_name: a\0b", 3, "a NUL byte; this is no text file, write it anew"),
    ("token: 3000", 260 * "x" + ": 1", 3, "is too long; keep it to 254 characters"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), ERRORS, ids=[new[:20] for _, new, _, _ in ERRORS])
def test_errors_name_file_line_and_mend(old: str, new: str, line: int, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfError) as caught:
        parse(SMALL.replace(old, new, 1), "/etc/corosync/corosync.conf")
    assert str(caught.value).startswith(f"/etc/corosync/corosync.conf:{line}: ")
    assert message in str(caught.value)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def many_nodes(count: int) -> str:
    nodes = "".join(f"node {{\nnodeid: {number}\nring0_addr: h{number}\n}}\n" for number in range(1, count + 1))
    return f"totem {{\nversion: 2\n}}\nnodelist {{\n{nodes}}}\nquorum {{\nprovider: corosync_votequorum\n}}\n"


def test_at_most_384_nodes() -> None:
    assert len(parse(many_nodes(384), "c").nodes) == 384
    with pytest.raises(ConfError, match=r"c:1541: more than 384 nodes"):
        parse(many_nodes(385), "c")


def quorum(*keys: str) -> str:
    return SMALL.replace("provider: c", "\n    ".join([*keys, "provider: c"]), 1)


def test_two_node_implies_wait_for_all_unless_it_is_set() -> None:
    assert parse(quorum("two_node: 1"), "c").quorum.wait_for_all
    assert not parse(quorum("two_node: 1", "wait_for_all: 0"), "c").quorum.wait_for_all


def test_tie_breaker_beats_two_node() -> None:
    conf = parse(quorum("two_node: 1", "auto_tie_breaker: 1"), "c")
    assert (conf.quorum.two_node, conf.quorum.auto_tie_breaker) == (False, True)
    assert conf.quorum.wait_for_all  # it follows two_node before that is disabled
    assert len(conf.warnings) == 1
    assert [text for _, text in conf.quorum.complaints][
        1
    ] == "two_node has been disabled, please fix your corosync.conf"


@pytest.mark.parametrize(
    ("value", "decides", "warnings"),
    [
        ("lowest", "lowest", 0),
        ("highest", "highest", 0),
        ("2", "2", 0),
        ("2 1", "2 1", 0),
        ("2,1", "2", 1),
        ("2 0 1", "2", 1),
        ("first", "", 1),
        ("0 1", "", 1),
    ],
)
def test_auto_tie_breaker_node(value: str, decides: str, warnings: int) -> None:
    conf = parse(quorum("auto_tie_breaker: 1", f"auto_tie_breaker_node: {value}"), "c")
    assert conf.quorum.auto_tie_breaker is bool(decides)
    assert conf.quorum.auto_tie_breaker_node == (decides or "lowest")
    assert len(conf.warnings) == warnings


def test_tracking_makes_expected_votes_count_for_nothing() -> None:
    assert parse(quorum("expected_votes: 5"), "c").expected_votes == 5
    assert parse(quorum("expected_votes: 5", "expected_votes_tracking: 1"), "c").expected_votes == 2


def device(*keys: str, options: str = "") -> str:
    section = "\n        ".join(["device {", "model: net", *keys])
    return quorum(f"{section}\n    }}", *filter(None, [options]))


def test_device_votes_default_to_one_less_than_the_nodes() -> None:
    conf = parse(device(), "c")
    assert (conf.quorum.device, conf.expected_votes) == (1, 3)
    given = parse(device("votes: 1", "timeout: 500", "sync_timeout: 600", "master_wins: 1"), "c")
    assert (given.quorum.device, given.expected_votes) == (1, 2)  # its votes are added when it is there
    options = given.quorum
    assert (options.device_timeout_ms, options.device_sync_timeout_ms, options.device_master_wins) == (500, 600, True)
    assert parse(device().replace("model: net", "model:"), "c").quorum.device is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (device(options="two_node: 1"), "quorum.two_node and a quorum device exclude each other"),
        (device(options="last_man_standing: 1"), "quorum.last_man_standing and a quorum device exclude"),
        (device(options="auto_tie_breaker: 1"), "quorum.auto_tie_breaker and a quorum device exclude"),
        (device(options="allow_downscale: 1"), "quorum.allow_downscale and a quorum device exclude"),
        (device(options="expected_votes: 3"), "quorum.expected_votes needs the device's votes"),
        (
            device("votes: 2", options="expected_votes: 3"),
            "the device's votes 2 leave too few of the 3 expected; use 0 to 1",
        ),
        (device().replace("nodeid: 2", "nodeid: 2\n        quorum_votes: 2"), "beside nodes with uneven votes"),
    ],
)
def test_what_a_device_excludes(text: str, message: str) -> None:
    with pytest.raises(ConfError, match=re.escape(message)):
        parse(text, "c")


# ------------------------------------------------------------------------------------------------------------ fuzz

CASES = 3000 if os.environ.get("TOTEMVIZ_SEARCH") == "deep" else 150
WORDS = sorted({key for keys in KEYS.values() for key in keys} | {"totem", "nodelist", "node", "quorum", "interface"})
VALUES = st.one_of(
    st.sampled_from(["2", "1", "0", "yes", "no", "on", "off", "knet", "udpu", "none", "sha256", "ipv4-6", ""]),
    st.integers(-(2**70), 2**70).map(str),
    st.text(max_size=12),
)
LINES = st.one_of(
    st.tuples(st.sampled_from(WORDS), VALUES).map(lambda pair: f"{pair[0]}: {pair[1]}"),
    st.sampled_from(WORDS).map(lambda word: f"{word} {{"),
    st.sampled_from(["}", "}", "# note", "", "{", ":", "} }", "a{b:c}"]),
    st.text(max_size=20),
)


def check_only_conf_errors(text: str) -> None:
    try:
        conf = parse(text, "f")
    except ConfError as error:
        assert re.match(r"f:[1-9][0-9]*: .", str(error))
        assert error.line <= text.count("\n") + 1
        assert len(str(error).splitlines()) == 1
    else:
        assert conf.nodes
        assert parse(dump(conf), "f").totem == conf.totem


@settings(max_examples=CASES, deadline=None)
@given(st.lists(LINES, max_size=30).map("\n".join))
def test_arbitrary_lines_give_a_conf_or_a_conf_error(text: str) -> None:
    check_only_conf_errors(text)


@settings(max_examples=CASES, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_a_conf_or_a_conf_error(data: st.DataObject) -> None:
    lines = FIVE_TEXT.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "insert", "value", "copy"])):
            case "drop":
                del lines[place]
            case "insert":
                lines.insert(place, data.draw(LINES))
            case "value":
                lines[place] = f"{lines[place].partition(':')[0]}: {data.draw(VALUES)}"
            case "copy":
                lines.insert(place, lines[data.draw(st.integers(0, len(lines) - 1))])
    check_only_conf_errors("\n".join(lines))
