"""corosync.conf: what is read, what is refused and how it is said, and that nothing else can happen."""

from __future__ import annotations

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
    ("version: 2", "version: 1", 2, "totem.version 1 is not supported; write 'version: 2'"),
    ("token: 3000", "token 3000", 3, "neither 'section {', '}' nor 'key: value'; a key needs a colon"),
    ("token: 3000", ": 3000", 3, "missing key before ':'; write 'key: value'"),
    ("token: 3000", "to ken: 3000", 3, "'totem.to ken' is not a name; use letters, digits and . _ - / :"),
    ("totem {", "totem { version: 2", 1, "text after '{'; put it on a line of its own"),
    ("totem {", "{", 1, "missing section name before '{'; write for example 'totem {'"),
    ("}\nnodelist", "} # end\nnodelist", 4, "text beside '}'; put the brace on a line of its own"),
    ("}\nnodelist", "}\n}\nnodelist", 5, "'}' without an open section; remove it"),
    ("}\nnodelist", "nodelist", 17, "missing closing brace of totem (opened in line 1); add '}'"),
    ("totem {", "token: 1\ntotem {", 1, "key token outside a section; move it into one, for example 'totem {'"),
    ("nodeid: 2", "nodeid: 1", 11, "duplicate nodeid 1 (also in line 6); give every node its own"),
    ("        nodeid: 2\n", "", 10, "node without nodeid; add 'nodeid: N', different for every node"),
    ("nodeid: 2", "nodeid: 0", 11, "nodeid 0 is reserved; use 1 or more"),
    ("nodeid: 2", "nodeid: 70000", 11, "nodeid 70000 is too large for knet; use 1 to 65535"),
    ("ring0_addr: b", "name: b", 10, "node 2 has no ring0_addr; add 'ring0_addr: ADDRESS'"),
    (
        "ring0_addr: b",
        "ring0_addr: b\n        ring2_addr: c",
        13,
        "node 2 has no ring1_addr; number its links without a gap",
    ),
    (
        "ring0_addr: b",
        "ring0_addr: b\n        ring1_addr: c",
        10,
        "node 2 has 2 links and node 1 has 1; give all nodes the same ringX_addr keys",
    ),
    ("ring0_addr: b", "ring0_addr: b\n        quorum_votes: x", 13, "'x' is not a whole number"),
    ("nodelist {", "nodes {", 16, "no node in the nodelist; add 'nodelist {'"),
    ("    provider: corosync_votequorum\n", "", 15, "no quorum provider; add 'quorum {'"),
    ("corosync_votequorum", "ykd", 16, "quorum.provider: 'ykd' is not allowed; use corosync_votequorum"),
    ("provider: c", "two_node: yes\n    provider: c", 16, "quorum.two_node: 'yes' is not a whole number; use 0 to 1"),
    ("token: 3000", "cluster_name: " + 600 * "x", 3, "line too long; keep it to 510 characters"),
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
    assert len(conf.warnings) == 1


def test_device_votes_default_to_one_less_than_the_nodes() -> None:
    text = SMALL.replace("provider: c", "device {\n        model: net\n    }\n    provider: c", 1)
    conf = parse(text, "c")
    assert (conf.quorum.device, conf.expected_votes) == (1, 3)
    with pytest.raises(ConfError, match="exclude each other"):
        parse(text.replace("provider: c", "two_node: 1\n    provider: c", 1), "c")
    with pytest.raises(ConfError, match="uneven votes"):
        parse(text.replace("ring0_addr: b", "ring0_addr: b\n        quorum_votes: 2"), "c")


# ------------------------------------------------------------------------------------------------------------ fuzz

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


@settings(max_examples=600, deadline=None)
@given(st.lists(LINES, max_size=30).map("\n".join))
def test_arbitrary_lines_give_a_conf_or_a_conf_error(text: str) -> None:
    check_only_conf_errors(text)


@settings(max_examples=600, deadline=None)
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
