"""What a corosync.conf means in practice: effective timeouts, time until a dead node is out, votes, and advice.

``report`` computes, ``render`` puts it in words, at most 80 columns wide. Every number is a formula of the sheet
(§2.1, §9.2) and is shown with the numbers filled in, so that an admin can follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import msgspec

from totemviz.corosync.advice import NEW_COEFFICIENT_MS, OLD_COEFFICIENT_MS, WATCHDOG_MS, Advice, advise
from totemviz.corosync.arithmetic import QuorumArithmetic, quorum_arithmetic
from totemviz.corosync.conf import CorosyncConf
from totemviz.corosync.grammar import Section
from totemviz.totem.config import KEYS, TotemConfig, Transport

WIDTH = 80
SIZES = range(3, 33)
BLOCKS = 3
PONG_COUNT = 2


class Timeout(msgspec.Struct, frozen=True):
    """One effective value: name as in corosync.conf (or what it is, if it is no key), and how it comes about.

    ``line`` is the line of the file that sets it, 0 if none does.
    """

    name: str
    value: int
    unit: str
    how: str
    line: int


class Size(msgspec.Struct, frozen=True):
    """token + consensus for a number of nodes with both coefficients, all else as in the file; None: refused."""

    nodes: int
    dead_node_out_650_ms: int | None
    dead_node_out_125_ms: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything ``totemviz conf`` says. ``warnings`` are what corosync ignores in the file."""

    file: str
    cluster_name: str
    config_version: int
    transport: str
    links: int
    encrypted: bool
    nodes: int
    timeouts: tuple[Timeout, ...]
    token_ms: int
    consensus_ms: int
    dead_node_out_ms: int
    watchdog_ms: int
    sizes: tuple[Size, ...]
    quorum: QuorumArithmetic
    advice: tuple[Advice, ...]
    warnings: tuple[str, ...]


def report(conf: CorosyncConf) -> Report:
    """The report of a checked file."""
    return Report(
        file=conf.path,
        cluster_name=conf.cluster_name,
        config_version=conf.config_version,
        transport=conf.transport.value,
        links=len(conf.links),
        encrypted=conf.encrypted,
        nodes=len(conf.nodes),
        timeouts=tuple(_timeouts(conf)),
        token_ms=conf.totem.token_ms,
        consensus_ms=conf.totem.consensus_ms,
        dead_node_out_ms=conf.totem.silent_death_ms,
        watchdog_ms=WATCHDOG_MS,
        sizes=tuple(_sizes(conf)),
        quorum=quorum_arithmetic(conf),
        advice=tuple(advise(conf)),
        warnings=conf.warnings,
    )


# ------------------------------------------------------------------------------------------------------------ timeouts


def _timeouts(conf: CorosyncConf) -> Iterator[Timeout]:
    """In the order in which corosync computes them (sheet §2.1), then what follows from them."""
    totem = conf.totem
    token, retransmit = totem.token_ms, totem.token_retransmit_ms
    base, nodes = totem.token_base_ms, len(conf.nodes)
    retransmits = totem.token_retransmits_before_loss_const
    how = f"{base} + ({nodes} - 2) x {totem.token_coefficient_ms}" if nodes > 2 else "no coefficient up to 2 nodes"
    if 0 not in conf.links:
        how = "no coefficient without ring0_addr"
    yield _key(conf, "token", token, how, ingredient=True)
    warning = f"{totem.token_warning_percent} % of {token}" if totem.token_warning_percent else "off"
    yield _key(conf, "token_warning", totem.token_warning_ms, warning, ingredient=True)
    yield _key(conf, "token_retransmit", retransmit, f"{token} / ({retransmits} + 0.2)")
    yield _key(conf, "hold", totem.hold_ms, f"0.8 x {retransmit} - 10")
    yield _key(conf, "join", totem.join_ms, "default")
    yield _key(conf, "consensus", totem.consensus_ms, f"1.2 x {token}")
    yield _key(conf, "merge", totem.merge_ms, "default")
    yield _key(conf, "send_join", totem.send_join_ms, "default")
    yield _key(conf, "window_size", totem.window_size, "default; per rotation", unit="messages")
    yield _key(conf, "max_messages", totem.max_messages, "default; per token visit", unit="messages")
    yield Timeout("scheduler watch", token * 8 // 10, "ms", f"0.8 x {token}, looks every {token // 3} ms", 0)
    yield Timeout("pause detector", token // 2, "ms", f"{token} / 2", 0)
    if conf.transport is Transport.KNET:
        yield from _pings(conf)


def _key(conf: CorosyncConf, key: str, value: int, how: str, *, ingredient: bool = False, unit: str = "ms") -> Timeout:
    """A key of the totem section; ``ingredient``: what the file sets is part of the formula, not the value."""
    entry = conf.tree.effective("totem", key)
    if entry is None or (int(entry.value) == 0 and KEYS[key].zero_is_default):
        return Timeout(key, value, unit, how, 0)
    return Timeout(key, value, unit, how if ingredient else "as set", entry.line)


def _pings(conf: CorosyncConf) -> Iterator[Timeout]:
    """The heartbeat of knet on each link (sheet §2.1, derived)."""
    token = conf.totem.token_ms
    interfaces = [section for part in conf.tree.named("totem") for section in part.named("interface")]
    for link in conf.links:
        settings = [section for section in interfaces if _link_number(section) == link]
        entries = {entry.key: entry for section in settings for entry in section.entries if entry.value.strip("+0")}
        pongs = int(entries["knet_pong_count"].value) if "knet_pong_count" in entries else PONG_COUNT
        computed = {
            "interval": (token // (2 * pongs), f"{token} / (2 x {pongs})"),
            "timeout": (token // pongs, f"{token} / {pongs}"),
        }
        for name, (value, how) in computed.items():
            entry = entries.get(f"knet_ping_{name}")
            title = f"ping {name}, link {link}"
            if entry is None:
                yield Timeout(title, value, "ms", how, 0)
            else:
                yield Timeout(title, int(entry.value), "ms", "as set", entry.line)


def _link_number(interface: Section) -> int:
    entry = interface.get("linknumber")
    return int(entry.value) if entry else 0


def _sizes(conf: CorosyncConf) -> Iterator[Size]:
    given = {key: int(entry.value) for key in KEYS if (entry := conf.tree.effective("totem", key))}

    def out_ms(nodes: int, coefficient_ms: int) -> int | None:
        try:
            changed = TotemConfig.derive(
                nodes if 0 in conf.links else 0,
                {**given, "token_coefficient": coefficient_ms},
                transport=conf.transport,
            )
        except ValueError:
            return None
        return changed.silent_death_ms

    for nodes in SIZES:
        yield Size(nodes, out_ms(nodes, OLD_COEFFICIENT_MS), out_ms(nodes, NEW_COEFFICIENT_MS))


# ----------------------------------------------------------------------------------------------------------- rendering


def render(found: Report) -> Iterator[str]:
    """The report as lines of text, none wider than 80 columns unless a name or a path is."""
    name = found.cluster_name or "(no cluster_name)"
    yield f"{found.file}: cluster {name}, config_version {found.config_version}"
    links = "1 link" if found.links == 1 else f"{found.links} links"
    yield f"{_nodes(found.nodes)}, {found.transport}, {links}, {'encrypted' if found.encrypted else 'not encrypted'}"
    yield ""
    yield "Timeouts in effect"
    for timeout in found.timeouts:
        where = f" (line {timeout.line})" if timeout.line else ""
        yield f"  {timeout.name:<22}{timeout.value:>7} {timeout.unit:<9} {timeout.how}{where}"
    yield ""
    yield "A node dies silently: it is out after token + consensus"
    out = f"{found.token_ms} + {found.consensus_ms} = {found.dead_node_out_ms} ms"
    yield f"  {out}, {found.dead_node_out_ms / found.token_ms:.2g} x token; the watchdog waits {found.watchdog_ms} ms"
    yield from _render_sizes(found)
    yield ""
    yield from _render_quorum(found.quorum, found.nodes)
    yield ""
    yield "Advice"
    for advice in found.advice:
        where = f"line {advice.line}: " if advice.line else ""
        yield from _paragraph(f"{advice.weight}:", where + advice.text)
    if not found.advice:
        yield "  none: nothing risky found"
    if found.warnings:
        yield ""
        yield "corosync ignores"
        for warning in found.warnings:
            yield from _paragraph("-", warning.removeprefix(f"{found.file}:"), prefix="line ")


def _render_sizes(found: Report) -> Iterator[str]:
    """The sizes in three blocks side by side, to be read down."""
    yield ""
    yield f"The same sum in seconds, for token_coefficient {OLD_COEFFICIENT_MS} and {NEW_COEFFICIENT_MS}"
    head = f"{'nodes':>7}{OLD_COEFFICIENT_MS:>9}{NEW_COEFFICIENT_MS:>9}"
    yield "".join([head] * BLOCKS)
    rows = -(-len(found.sizes) // BLOCKS)
    for row in range(rows):
        yield "".join(
            f"{size.nodes:>7}"
            f"{_seconds(size.dead_node_out_650_ms, found.watchdog_ms):>9}"
            f"{_seconds(size.dead_node_out_125_ms, found.watchdog_ms):>9}"
            for size in found.sizes[row::rows]
        )
    values = [ms for size in found.sizes for ms in (size.dead_node_out_650_ms, size.dead_node_out_125_ms)]
    if any(ms is not None and ms >= found.watchdog_ms for ms in values):
        yield "  ! = not within the watchdog's time"
    if None in values:
        yield "  - = corosync would refuse the file"


def _seconds(ms: int | None, watchdog_ms: int) -> str:
    if ms is None:
        return "-"
    return f"{'!' if ms >= watchdog_ms else ''}{ms / 1000:.2f}"


def _render_quorum(votes: QuorumArithmetic, nodes: int) -> Iterator[str]:
    yield "Votes"
    width = max(len(voter.name) for voter in votes.voters)
    for voter in votes.voters:
        mark = "  its loss alone costs quorum" if voter.loss_costs_quorum else ""
        who = f"node {voter.nodeid}" if voter.nodeid else "-"
        yield f"  {who:<11}{voter.name:<{width}}{voter.votes:>5}{mark}"
    if votes.rules:
        yield from _paragraph("options:", ", ".join(votes.rules))
    how = "two_node" if votes.quorum == 1 and votes.expected_votes > 1 else f"{votes.expected_votes} / 2 + 1"
    yield f"  {votes.total_votes} of {votes.expected_votes} expected; quorum is {votes.quorum} ({how})"
    if votes.total_votes < votes.quorum:
        yield "  never quorate: the quorum is above the sum of all votes"
        return
    text = f"  {_nodes(votes.may_fail)} of {nodes} may fail at once, whichever"
    if votes.may_fail_at_best > votes.may_fail:
        text += f"; {votes.may_fail_at_best} of those with the fewest votes"
    yield text


def _paragraph(mark: str, text: str, prefix: str = "") -> Iterator[str]:
    lines = wrap(prefix + text, WIDTH - 11, break_long_words=False, break_on_hyphens=False) or [""]
    yield f"  {mark:<9}{lines[0]}"
    for line in lines[1:]:
        yield f"{'':<11}{line}"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
