"""The keys of corosync.conf: what each section may hold and what corosync does with a value it does not expect.

Most bad values end corosync (``coroparse.c: main_config_parser_cb``, ``logconfig.c``, ``totemconfig.c``). Some words
are only compared with the one that switches something on; any other is silently taken as the opposite: ``Lenient``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from totemviz.totem.config import KEYS as TOTEM_KEYS
from totemviz.totem.config import Transport

LINKS_MAX = 8
QUORUM_PROVIDER = "corosync_votequorum"
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


class Range(msgspec.Struct, frozen=True):
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int


class Words(msgspec.Struct, frozen=True):
    """One of some words; ``but_integer``: or any whole number."""

    words: tuple[str, ...]
    but_integer: bool = False


class Lenient(msgspec.Struct, frozen=True):
    """One of some words; corosync takes every other as ``otherwise`` without a word."""

    words: tuple[str, ...]
    otherwise: str


Rule: TypeAlias = Range | Words | Lenient | None
"""What a value may be; None: any text."""

U8 = Range(0, 2**8 - 1)
U16 = Range(0, 2**16 - 1)
U32 = Range(0, 2**32 - 1)
I32 = Range(-(2**31), 2**31 - 1)
U64 = Range(0, 2**64 - 1)
YES_NO = Words(("yes", "no"))
ON_OFF = Words(("on", "off"))
DESTINATION = Words(("yes", "on", "no", "off"))
TEXT: Rule = None
PRIORITY = Words(("emerg", "alert", "crit", "err", "error", "warning", "notice", "info", "debug"))
FACILITIES = "auth authpriv cron daemon ftp kern lpr mail news syslog user uucp"
FACILITY = Words((*FACILITIES.split(), *(f"local{number}" for number in range(8))))


def _taken(words: str, otherwise: str) -> Lenient:
    return Lenient(tuple(words.split()), otherwise)


_LOGGER: Mapping[str, Rule] = {
    "debug": Words(("on", "off", "trace")),
    "to_stderr": DESTINATION,
    "to_logfile": DESTINATION,
    "to_file": DESTINATION,
    "to_syslog": DESTINATION,
    "logfile": TEXT,
    "logfile_priority": PRIORITY,
    "syslog_facility": FACILITY,
    "syslog_level": PRIORITY,
    "syslog_priority": PRIORITY,
}

KEYS: Mapping[str, Mapping[str, Rule]] = {
    "totem": {
        **dict.fromkeys(TOTEM_KEYS, U32),
        "version": U32,
        "nodeid": U32,
        "threads": U32,
        "netmtu": U32,
        "knet_pmtud_interval": U32,
        "knet_mtu": U32,
        "knet_compression_threshold": U32,
        "knet_compression_level": I32,
        "knet_compression_model": Words(("none", "zlib", "lz4", "lz4hc", "lzo2", "lzma", "bzip2", "zstd")),
        "config_version": U64,
        "cluster_name": TEXT,
        "transport": Words(tuple(Transport)),
        "ip_version": Words(("ipv4", "ipv6", "ipv4-6", "ipv6-4")),
        "ip_dscp": TEXT,
        "link_mode": Words(("passive", "active", "rr")),
        "secauth": _taken("on off", "off"),
        "crypto_model": Words(("nss", "openssl", "gcrypt")),
        "crypto_cipher": Words(("none", "aes256", "aes192", "aes128")),
        "crypto_hash": Words(("none", "md5", "sha1", "sha256", "sha384", "sha512")),
        "keyfile": TEXT,
        "key": TEXT,
        "rrp_mode": TEXT,
        "autogenerate_cluster_id": TEXT,
        "clear_node_high_bit": _taken("yes no", "no"),
        "block_unlisted_ips": _taken("yes no", "yes"),
        "cancel_token_hold_on_retransmit": _taken("yes no", "no"),
    },
    "totem.interface": {
        "linknumber": Range(0, LINKS_MAX - 1),
        "bindnetaddr": TEXT,
        "broadcast": _taken("yes no", "no"),
        "mcastaddr": TEXT,
        "mcastport": U16,
        "ttl": U8,
        "knet_link_priority": U8,
        "knet_ping_interval": U32,
        "knet_ping_timeout": U32,
        "knet_ping_precision": U32,
        "knet_pong_count": U32,
        "knet_transport": Words(("udp", "sctp")),
    },
    "nodelist": {},
    "nodelist.node": {
        "name": TEXT,
        "nodeid": U32,
        "quorum_votes": U32,
        **{f"ring{link}_addr": TEXT for link in range(LINKS_MAX)},
    },
    "quorum": {
        "provider": Words((QUORUM_PROVIDER,)),
        "expected_votes": U32,
        "votes": U32,
        "two_node": U8,
        "wait_for_all": U8,
        "last_man_standing": U8,
        "last_man_standing_window": U32,
        "auto_tie_breaker": U8,
        "auto_tie_breaker_node": TEXT,
        "allow_downscale": U8,
        "expected_votes_tracking": U8,
        "leaving_timeout": U32,
    },
    "quorum.device": {
        "model": TEXT,
        "timeout": U32,
        "sync_timeout": U32,
        "votes": U32,
        "master_wins": U8,
    },
    "logging": {
        **_LOGGER,
        "fileline": ON_OFF,
        "function_name": ON_OFF,
        "blackbox": ON_OFF,
        "timestamp": Words(("on", "off", "hires")),
    },
    "logging.logger_subsys": {**_LOGGER, "subsys": TEXT},
    "logging.logging_daemon": {**dict.fromkeys(_LOGGER, TEXT), "subsys": TEXT, "name": TEXT},
    "system": {
        "qb_ipc_type": Words(("native", "shm", "socket")),
        "sched_rr": YES_NO,
        "priority": Words(("max", "min"), but_integer=True),
        "move_to_root_cgroup": Words(("yes", "no", "auto")),
        "allow_knet_handle_fallback": YES_NO,
        "state_dir": TEXT,
    },
    "resources": {"watchdog_timeout": U32},
}

FREE_SECTIONS = ("resources", "uidgid", "service", "amf", "nozzle", "pload", "quorum.device")
"""Sections with content that the ring and the quorum do not depend on: their keys are kept and not checked."""

REQUIRED = {"logging.logger_subsys": "subsys", "logging.logging_daemon": "name"}
"""Sections that corosync refuses without this key."""

ONLY = {"uidgid": ("uid", "gid"), "totem.interface.member": ("memberaddr",)}
"""Sections that corosync refuses with any other key."""


def complaint(value: str, rule: Rule) -> tuple[bool, str]:
    """What is wrong with a value, empty if nothing is, and whether corosync refuses it."""
    if isinstance(rule, Range):
        mend = f"use {rule.low} to {rule.high}"
        if not _INTEGER.match(value):
            return True, f"{value!r} is not a whole number; {mend}"
        if len(value) > 30 or not rule.low <= int(value) <= rule.high:
            return True, f"{value[:30]} is out of range; {mend}"
    elif isinstance(rule, Words):
        if value not in rule.words and not (rule.but_integer and _INTEGER.match(value)):
            words = (*rule.words, "a whole number") if rule.but_integer else rule.words
            return True, f"{value!r} is not allowed; use {either(words)}"
    elif isinstance(rule, Lenient) and value not in rule.words:
        return False, f"{value!r} is not {either(rule.words)}; corosync takes it as {rule.otherwise}"
    return False, ""


def either(words: tuple[str, ...]) -> str:
    """The words as an enumeration: ``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
