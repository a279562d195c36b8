"""votequorum's options as it reads them: what excludes what, what implies what (``votequorum_readconfig``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeAlias

import msgspec

from totemviz.corosync.grammar import Entry, Section
from totemviz.totem.effects import Level

SWITCHES = (
    "two_node",
    "wait_for_all",
    "auto_tie_breaker",
    "last_man_standing",
    "allow_downscale",
    "expected_votes_tracking",
)

BOTH_TIE_RULES = (
    "two_node and auto_tie_breaker are both specified but are not compatible.",
    "two_node has been disabled, please fix your corosync.conf",
)
ODD_TIE_BREAKER = (
    "auto_tie_breaker is set and the cluster has an odd number of nodes.",
    "wait_for_all needs to be set for this configuration but it is missing",
    "Therefore auto_tie_breaker has been disabled. Please fix your corosync.conf",
)
BAD_TIE_BREAKER_NODE = (
    "auto_tie_breaker_nodes is not valid. It must be 'lowest', 'highest' or a space-separated list of node IDs. "
    "auto_tie_breaker is disabled"
)
IDLE_TIE_BREAKER_NODE = "auto_tie_breaker_node: is meaningless if auto_tie_breaker is set to 0"

Complaint: TypeAlias = tuple[Level, str]


class QuorumOptions(msgspec.Struct, frozen=True):
    """votequorum's options after all implications; None means not set.

    ``auto_tie_breaker_node`` is ``lowest``, ``highest`` or node ids. ``device`` is the quorum device's votes, None if
    none is configured; ``device_votes_given`` tells whether the file names them. ``wait_for_all_implied``: the file
    says nothing of wait_for_all, so it follows two_node, at run time too. Times are in milliseconds.
    ``complaints`` are the log lines with which votequorum says at its start what it did not like.
    """

    expected_votes: int | None = None
    two_node: bool = False
    wait_for_all: bool = False
    wait_for_all_implied: bool = False
    auto_tie_breaker: bool = False
    auto_tie_breaker_node: str = "lowest"
    last_man_standing: bool = False
    last_man_standing_window_ms: int = 10000
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device: int | None = None
    device_votes_given: bool = False
    device_timeout_ms: int = 10000
    device_sync_timeout_ms: int = 30000
    device_master_wins: bool = False
    complaints: tuple[Complaint, ...] = ()


Fail: TypeAlias = Callable[[Entry | Section | None, str], NoReturn]
Warn: TypeAlias = Callable[[int, str], None]


class OptionsReader:
    """Reads the merged quorum section; ``votes`` are those of the nodes, ``fail`` and ``warn`` report with a place."""

    def __init__(self, section: Section, votes: list[int], fail: Fail, warn: Warn) -> None:
        self._section = section
        self._votes = votes
        self._fail = fail
        self._warn = warn
        self._complaints: list[Complaint] = []

    def read(self) -> QuorumOptions:
        """All options. Reports what votequorum refuses to start with."""
        flags = {key: bool(self._integer(key, 0)) for key in SWITCHES}
        device = self._device()
        if device is not None and flags["two_node"]:
            self._exclude("two_node")
        node = self._tie_breaker_node(flags)
        if flags["allow_downscale"]:
            flags["expected_votes_tracking"] = True
        if self._section.get("wait_for_all") is None:  # it follows two_node, even one that is disabled below
            flags["wait_for_all"] = flags["two_node"]
        self._tie_breaker(flags)
        votes = self._device_votes(device, flags) if device is not None else None
        given: Mapping[str, Entry] = {entry.key: entry for entry in device.entries} if device else {}
        return QuorumOptions(
            expected_votes=self._integer("expected_votes", 0) or None,
            wait_for_all_implied=self._section.get("wait_for_all") is None,
            auto_tie_breaker_node=node,
            last_man_standing_window_ms=self._integer("last_man_standing_window", 10000),
            device=votes,
            device_votes_given="votes" in given,
            device_timeout_ms=int(given["timeout"].value) if "timeout" in given else 10000,
            device_sync_timeout_ms=int(given["sync_timeout"].value) if "sync_timeout" in given else 30000,
            device_master_wins=bool(int(given["master_wins"].value)) if "master_wins" in given else False,
            complaints=tuple(self._complaints),
            **flags,
        )

    def _integer(self, key: str, default: int) -> int:
        entry = self._section.get(key)
        return default if entry is None else int(entry.value)

    def _say(self, level: Level, *texts: str) -> None:
        self._complaints += [(level, text) for text in texts]

    # ---------------------------------------------------------------------------------------------------- tie breaker

    def _tie_breaker_node(self, flags: dict[str, bool]) -> str:
        """Who decides a tie (``parse_atb_string``): a list ends at the first word that is no number."""
        place = self._section.get("auto_tie_breaker_node")
        if place is None:
            return "lowest"
        if not flags["auto_tie_breaker"]:
            self._warn(place.line, "auto_tie_breaker_node means nothing without auto_tie_breaker: 1")
            self._say(Level.WARNING, IDLE_TIE_BREAKER_NODE)
            return "lowest"
        if place.value in ("lowest", "highest"):
            return place.value
        listed: list[str] = []
        rest = place.value
        while (match := re.match(r"\s*\+?([0-9]+)", rest)) and int(match[1]):
            listed.append(str(int(match[1])))
            rest = rest[match.end() :]
        if not listed:
            flags["auto_tie_breaker"] = False
            self._warn(place.line, "auto_tie_breaker_node is 'lowest', 'highest' or node ids; disabled")
            self._say(Level.WARNING, BAD_TIE_BREAKER_NODE)
            return "lowest"
        if rest.strip():
            self._warn(place.line, f"auto_tie_breaker_node: {rest.strip()!r} is no node id; the list ends before it")
        return " ".join(listed)

    def _tie_breaker(self, flags: dict[str, bool]) -> None:
        if not flags["auto_tie_breaker"]:
            return
        if flags["two_node"]:
            flags["two_node"] = False
            place = self._section.get("two_node") or self._section
            self._warn(place.line, "two_node and auto_tie_breaker exclude each other; two_node is disabled")
            self._say(Level.CRITICAL, *BOTH_TIE_RULES)
        if sum(self._votes) % 2 and not flags["wait_for_all"]:
            here = self._section.get("auto_tie_breaker") or self._section
            if flags["last_man_standing"]:
                self._fail(here, "auto_tie_breaker with last_man_standing and odd votes; add 'wait_for_all: 1'")
            flags["auto_tie_breaker"] = False
            self._warn(here.line, "auto_tie_breaker with odd votes needs wait_for_all; disabled")
            self._say(Level.CRITICAL, *ODD_TIE_BREAKER)

    # -------------------------------------------------------------------------------------------------- quorum device

    def _device(self) -> Section | None:
        """The device sections as one, if they name a model."""
        parts = list(self._section.named("device"))
        if not parts:
            return None
        entries = tuple(entry for part in parts for entry in part.entries)
        device = Section("device", parts[0].line, entries, tuple(sub for part in parts for sub in part.sections))
        model = device.get("model")
        return device if model is not None and model.value else None

    def _exclude(self, key: str) -> NoReturn:
        place = self._section.get(key) or self._section
        self._fail(place, f"quorum.{key} and a quorum device exclude each other; remove one")

    def _device_votes(self, device: Section, flags: Mapping[str, bool]) -> int:
        for key in ("last_man_standing", "auto_tie_breaker", "allow_downscale"):
            if flags[key]:
                self._exclude(key)
        expected = self._integer("expected_votes", 0)
        given = device.get("votes")
        if given is None:
            if expected:
                self._fail(device, "quorum.expected_votes needs the device's votes; add 'votes: N' to the device")
            if any(votes != 1 for votes in self._votes):
                self._fail(device, "a quorum device beside nodes with uneven votes; add 'votes: N' to the device")
            return len(self._votes) - 1
        votes = int(given.value)
        if expected and votes and expected - votes < 2:
            most = max(expected - 2, 0)
            self._fail(given, f"the device's votes {votes} leave too few of the {expected} expected; use 0 to {most}")
        return votes
