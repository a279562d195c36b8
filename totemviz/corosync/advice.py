"""Advice about a corosync.conf: each rule looks at one trap of the protocol and says what will happen, and the mend.

A rule is a function from a checked file to one piece of advice or None; ``RULES`` is their order in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from totemviz.corosync.arithmetic import quorum_arithmetic
from totemviz.corosync.conf import CorosyncConf
from totemviz.totem.config import TotemConfig, Transport

WATCHDOG_MS = 60_000
"""Proxmox VE resets a node with an active HA resource when its lock could not be renewed for this long."""

NEW_COEFFICIENT_MS = 125
OLD_COEFFICIENT_MS = 650


class Weight(StrEnum):
    """How much it matters."""

    DANGER = "danger"
    WARNING = "warning"
    NOTE = "note"


class Advice(msgspec.Struct, frozen=True):
    """``topic`` is a stable word for programs; ``text`` says what will happen and what to do; ``line`` 0 = no line."""

    topic: str
    weight: Weight
    text: str
    line: int = 0


Rule = Callable[[CorosyncConf], Advice | None]


def advise(conf: CorosyncConf) -> Iterator[Advice]:
    """All advice for this file, in the order of ``RULES``."""
    for rule in RULES:
        found = rule(conf)
        if found is not None:
            yield found


# ------------------------------------------------------------------------------------------------------------ timeouts


def _watchdog(conf: CorosyncConf) -> Advice | None:
    """Nobody can write while the ring is broken, so nobody renews a lock."""
    out_ms, token_ms = conf.totem.silent_death_ms, conf.totem.token_ms
    if out_ms >= WATCHDOG_MS:
        text = (
            f"A silently dead node blocks all writes to /etc/pve for {_s(out_ms)}. The watchdog waits 60 s: healthy "
            "nodes with HA services cannot renew their locks either, and are reset too. Lower token or "
            "token_coefficient."
        )
        return _advice(conf, "watchdog", Weight.DANGER, text, "token", "token_coefficient", "consensus")
    if out_ms + token_ms >= WATCHDOG_MS:
        text = (
            f"A silently dead node is out after {_s(out_ms)}. If the first try to form the new ring fails, the next "
            f"one comes a token timeout ({_s(token_ms)}) later, and that is beyond the 60 s of the watchdog. Lower "
            "token or token_coefficient."
        )
        return _advice(conf, "watchdog", Weight.WARNING, text, "token", "token_coefficient", "consensus")
    return None


def _old_coefficient(conf: CorosyncConf) -> Advice | None:
    if len(conf.nodes) < 3 or conf.tree.effective("totem", "token_coefficient") is not None or 0 not in conf.links:
        return None
    now = conf.totem
    given = {key: int(entry.value) for key in ("token", "consensus") if (entry := conf.tree.effective("totem", key))}
    new = TotemConfig.derive(
        len(conf.nodes), {**given, "token_coefficient": NEW_COEFFICIENT_MS}, transport=conf.transport
    )
    text = (
        f"No token_coefficient: corosync adds {OLD_COEFFICIENT_MS} ms of token timeout for every node above two. "
        f"Clusters made by pve-cluster 9.1 and later use {NEW_COEFFICIENT_MS}; here a dead node would then be out "
        f"after {_s(new.silent_death_ms)} instead of {_s(now.silent_death_ms)}, and a node that stands still would "
        f"break the ring after {_s(new.token_ms)} instead of {_s(now.token_ms)}."
    )
    return Advice("token_coefficient", Weight.NOTE, text)


def _no_link_0(conf: CorosyncConf) -> Advice | None:
    if 0 in conf.links or len(conf.nodes) < 3:
        return None
    text = (
        f"No node has a ring0_addr. corosync counts the nodes of link 0 for the token timeout and finds none: "
        f"token_coefficient does not apply, the timeout is {conf.totem.token_ms} ms for any number of nodes. It will "
        "jump when a link 0 is added."
    )
    return Advice("no_link_0", Weight.WARNING, text, conf.nodes[0].line)


def _token_is_not_the_timeout(conf: CorosyncConf) -> Advice | None:
    totem = conf.totem
    entry = conf.tree.effective("totem", "token")
    if entry is None or int(entry.value) == 0 or totem.token_ms == totem.token_base_ms:
        return None
    text = (
        f"token: {entry.value} is not the timeout in use: token_coefficient is added also when token is set. The "
        f"timeout is {totem.token_ms} ms."
    )
    return Advice("token", Weight.NOTE, text, entry.line)


def _short_token(conf: CorosyncConf) -> Advice | None:
    token_ms = conf.totem.token_ms
    if token_ms >= 3000:
        return None
    text = (
        f"A node that does not run for {_s(token_ms)} (an overloaded host, a paused or migrating virtual machine) "
        "loses the token for everybody and forces a new ring. corosync's default is 3 s."
    )
    return _advice(conf, "short_token", Weight.WARNING, text, "token")


def _fixed_consensus(conf: CorosyncConf) -> Advice | None:
    totem = conf.totem
    usual_ms = int(totem.token_ms * 1.2)
    entry = conf.tree.effective("totem", "consensus")
    if entry is None or int(entry.value) == 0 or totem.consensus_ms == usual_ms:
        return None
    if totem.consensus_ms < totem.token_ms:
        text = (
            f"consensus {totem.consensus_ms} is below the token timeout {totem.token_ms}: a node whose attempt to form "
            "a ring fails takes no joins for a token timeout, and by then the others have given up on it. Set "
            f"{usual_ms} or remove the key."
        )
        return Advice("consensus", Weight.WARNING, text, entry.line)
    text = (
        f"consensus is fixed at {totem.consensus_ms} and does not follow the token timeout when nodes are added; it "
        f"would be {usual_ms} (1.2 x token)."
    )
    return Advice("consensus", Weight.NOTE, text, entry.line)


def _retransmit_too_late(conf: CorosyncConf) -> Advice | None:
    totem = conf.totem
    entry = conf.tree.effective("totem", "token_retransmit")
    if totem.token_retransmit_ms < totem.token_ms or entry is None:
        return None
    text = (
        f"token_retransmit {totem.token_retransmit_ms} is not below the token timeout {totem.token_ms}: a lost token "
        "is never sent again, so one lost datagram ends the ring. Remove the key."
    )
    return Advice("token_retransmit", Weight.DANGER, text, entry.line)


def _hold_too_long(conf: CorosyncConf) -> Advice | None:
    totem = conf.totem
    entry = conf.tree.effective("totem", "hold")
    if entry is None or totem.hold_ms < totem.token_retransmit_ms:
        return None
    if totem.hold_ms >= totem.token_ms:
        text = f"hold {totem.hold_ms} is not below the token timeout {totem.token_ms}: an idle ring loses its token."
        return Advice("hold", Weight.DANGER, f"{text} Remove the key.", entry.line)
    text = (
        f"hold {totem.hold_ms} is not below token_retransmit {totem.token_retransmit_ms}: in an idle ring the token "
        "is sent again although nothing was lost. Remove the key."
    )
    return Advice("hold", Weight.WARNING, text, entry.line)


def _no_token_warning(conf: CorosyncConf) -> Advice | None:
    if conf.totem.token_warning_percent:
        return None
    text = (
        "token_warning: 0 turns off the line 'Token has not been received in ... ms', which is the first sign of a "
        "slow node or network."
    )
    return _advice(conf, "token_warning", Weight.NOTE, text, "token_warning")


def _send_join(conf: CorosyncConf) -> Advice | None:
    if not conf.totem.send_join_ms:
        return None
    text = (
        f"send_join makes corosync sleep up to {conf.totem.send_join_ms} ms before every join, and nothing else of "
        "it runs meanwhile."
    )
    return _advice(conf, "send_join", Weight.NOTE, text, "send_join")


# ------------------------------------------------------------------------------------------------------------- network


def _one_link(conf: CorosyncConf) -> Advice | None:
    if len(conf.nodes) < 2 or len(conf.links) > 1:
        return None
    text = "One link only: a node whose network fails is out of the cluster. "
    spare = f"ring{int(conf.links[0] == 0)}_addr"
    mend = f"Add {spare} on a second network." if conf.transport is Transport.KNET else "Only knet has more links."
    return Advice("one_link", Weight.NOTE, text + mend, conf.nodes[0].line)


def _not_encrypted(conf: CorosyncConf) -> Advice | None:
    if conf.encrypted:
        return None
    text = "The cluster's traffic is not encrypted. Proxmox VE sets secauth: on, which needs knet."
    return _advice(conf, "encryption", Weight.WARNING, text, "crypto_cipher", "secauth", "transport")


# -------------------------------------------------------------------------------------------------------------- quorum


def _two_nodes(conf: CorosyncConf) -> Advice | None:
    options = conf.quorum
    if len(conf.nodes) != 2 or options.device is not None or options.two_node or options.auto_tie_breaker:
        return None
    single = [voter.name for voter in quorum_arithmetic(conf).voters if voter.loss_costs_quorum]
    if not single:
        return None
    who = "either node" if len(single) == 2 else single[0]
    text = (
        f"Two nodes: without {who} /etc/pve becomes read-only on the other. A third vote (a quorum device or a third "
        "node) lets one fail. two_node: 1 does so too, but then both nodes go on alone if only the network between "
        "them fails."
    )
    return Advice("two_nodes", Weight.WARNING, text)


def _two_node_option(conf: CorosyncConf) -> Advice | None:
    options = conf.quorum
    place = conf.tree.effective("quorum", "two_node")
    if not options.two_node or place is None:
        return None
    if len(conf.nodes) > 2:
        text = f"two_node is meant for two nodes and this cluster has {len(conf.nodes)}. Remove it."
        return Advice("two_node", Weight.DANGER, text, place.line)
    text = "two_node: if only the network between the nodes fails, both are quorate and go on alone."
    if options.wait_for_all:
        text += " wait_for_all goes with it: after a boot a node waits until it has seen the other once."
        return Advice("two_node", Weight.WARNING, text, place.line)
    text += " And without wait_for_all a node that boots alone is quorate at once. Add wait_for_all: 1."
    return Advice("two_node", Weight.DANGER, text, place.line)


def _even_votes(conf: CorosyncConf) -> Advice | None:
    votes, options = quorum_arithmetic(conf), conf.quorum
    if len(conf.nodes) < 3 or not votes.splits_in_half or options.auto_tie_breaker:
        return None
    half = votes.total_votes // 2
    text = (
        f"The {votes.total_votes} votes can split {half} to {half}; quorum is {votes.quorum}, so neither half has it "
        "and the whole cluster stops. One vote more or less (a node, or a quorum device) makes the sum odd."
    )
    return Advice("even_votes", Weight.WARNING, text)


def _heavy_node(conf: CorosyncConf) -> Advice | None:
    votes = quorum_arithmetic(conf)
    if len(conf.nodes) < 3:
        return None
    heavy = [voter for voter in votes.voters if voter.loss_costs_quorum]
    if not heavy:
        return None
    names = ", ".join(voter.name for voter in heavy)
    word = "alone costs" if len(heavy) == 1 else "(any of them alone) costs"
    return Advice("single_loss", Weight.WARNING, f"The loss of {names} {word} the cluster its quorum.")


def _expected_votes(conf: CorosyncConf) -> Advice | None:
    entry = conf.tree.effective("quorum", "expected_votes")
    votes = quorum_arithmetic(conf)
    if entry is None or conf.quorum.expected_votes in (None, votes.total_votes):
        return None
    if conf.quorum.expected_votes_tracking:
        return None  # it counts for nothing: see _tracking
    given = int(entry.value)
    if given < votes.total_votes:
        text = (
            f"expected_votes: {given} is below the sum of the votes, {votes.total_votes}: until all have met, "
            "disjoint parts of the cluster can be quorate. Remove it."
        )
        return Advice("expected_votes", Weight.DANGER, text, entry.line)
    if votes.quorum > votes.total_votes:
        text = (
            f"expected_votes: {given} makes the quorum {votes.quorum}, more than all votes there are "
            f"({votes.total_votes}): the cluster is never quorate. Remove it."
        )
        return Advice("expected_votes", Weight.DANGER, text, entry.line)
    text = (
        f"expected_votes: {given} is above the sum of the votes, {votes.total_votes}: quorum is {votes.quorum}, as "
        "if there were nodes that always fail."
    )
    return Advice("expected_votes", Weight.WARNING, text, entry.line)


def _wait_for_all(conf: CorosyncConf) -> Advice | None:
    entry = conf.tree.effective("quorum", "wait_for_all")
    if entry is None or not conf.quorum.wait_for_all or len(conf.nodes) < 3:
        return None
    text = "wait_for_all: after a power failure nothing is quorate until every single node is back."
    return Advice("wait_for_all", Weight.NOTE, text, entry.line)


def _last_man_standing(conf: CorosyncConf) -> Advice | None:
    entry = conf.tree.effective("quorum", "last_man_standing")
    if entry is None or not conf.quorum.last_man_standing or all(node.votes == 1 for node in conf.nodes):
        return None
    text = (
        "last_man_standing counts nodes, not votes: every node must have exactly one vote. A node that sees another "
        "with more turns it off."
    )
    return Advice("last_man_standing", Weight.DANGER, text, entry.line)


def _tracking(conf: CorosyncConf) -> Advice | None:
    if not conf.quorum.expected_votes_tracking:
        return None
    key = "allow_downscale" if conf.quorum.allow_downscale else "expected_votes_tracking"
    text = (
        f"{key} does not do what the manual says. The highest expected votes are never saved (corosync closes the file "
        "before it writes), so every restart begins with the nodelist again; and quorum.expected_votes counts for "
        "nothing."
    )
    if conf.quorum.allow_downscale:
        text += " So the quorum never falls below the majority of the nodelist, however many nodes leave."
    entry = conf.tree.effective("quorum", key)
    return Advice("tracking", Weight.WARNING, text, entry.line if entry else 0)


def _device(conf: CorosyncConf) -> Advice | None:
    device, nodes = conf.quorum.device, len(conf.nodes)
    if not device or nodes < 2 or (nodes == 2 and device == 1):  # what a device is made for
        return None
    votes = quorum_arithmetic(conf)
    alone = votes.total_votes - device
    if alone - max(node.votes for node in conf.nodes) >= votes.quorum:
        return None
    if alone >= votes.quorum:
        text = "While the quorum device is away, the loss of a single node can cost the cluster its quorum."
        weight = Weight.NOTE if device == 1 else Weight.WARNING
    else:
        text = "Without the quorum device the cluster is not quorate even with all nodes up. Give it fewer votes."
        weight = Weight.DANGER
    section = next((sub for part in conf.tree.named("quorum") for sub in part.named("device")), None)
    return Advice("device", weight, text, section.line if section else 0)


def _no_votes(conf: CorosyncConf) -> Advice | None:
    idle = [node for node in conf.nodes if node.votes == 0]
    if not idle:
        return None
    names = ", ".join(node.name for node in idle)
    text = f"No vote: {names}. Such a node takes part in the ring, but its presence never helps the quorum."
    return Advice("no_votes", Weight.NOTE, text, idle[0].line)


RULES: tuple[Rule, ...] = (
    _watchdog,
    _old_coefficient,
    _no_link_0,
    _token_is_not_the_timeout,
    _short_token,
    _fixed_consensus,
    _retransmit_too_late,
    _hold_too_long,
    _no_token_warning,
    _send_join,
    _one_link,
    _not_encrypted,
    _two_nodes,
    _two_node_option,
    _even_votes,
    _heavy_node,
    _expected_votes,
    _wait_for_all,
    _last_man_standing,
    _tracking,
    _device,
    _no_votes,
)


def _advice(conf: CorosyncConf, topic: str, weight: Weight, text: str, *keys: str) -> Advice:
    """Advice that points at the first of these totem keys that the file sets."""
    lines = [entry.line for key in keys if (entry := conf.tree.effective("totem", key))]
    return Advice(topic, weight, text, lines[0] if lines else 0)


def _s(milliseconds: int) -> str:
    """Milliseconds as seconds, for people."""
    return f"{milliseconds / 1000:g} s"
