"""Timeouts by cluster size (sheet §2.1), row by row, and what is refused."""

from __future__ import annotations

import pytest

from totemviz.totem.config import KEYS, TotemConfig, Transport

ROWS = [
    # nodes, coefficient, token, warning, retransmit, hold, consensus, token + consensus
    (1, 650, 3000, 2250, 714, 561, 3600, 6600),
    (2, 125, 3000, 2250, 714, 561, 3600, 6600),
    (3, 650, 3650, 2737, 869, 685, 4380, 8030),
    (3, 125, 3125, 2343, 744, 585, 3750, 6875),
    (5, 650, 4950, 3712, 1178, 932, 5940, 10890),
    (5, 125, 3375, 2531, 803, 632, 4050, 7425),
    (8, 650, 6900, 5175, 1642, 1303, 8280, 15180),
    (16, 650, 12100, 9075, 2880, 2294, 14520, 26620),
    (16, 125, 4750, 3562, 1130, 894, 5700, 10450),
    (32, 650, 22500, 16875, 5357, 4275, 27000, 49500),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} nodes, coefficient {row[1]}")
def test_values_by_cluster_size(row: tuple[int, ...]) -> None:
    nodes, coefficient, *expected = row
    config = TotemConfig.derive(nodes, {"token_coefficient": coefficient})
    assert [
        config.token_ms,
        config.token_warning_ms,
        config.token_retransmit_ms,
        config.hold_ms,
        config.consensus_ms,
        config.silent_death_ms,
    ] == expected


def test_the_coefficient_counts_with_an_explicit_token_too() -> None:
    assert TotemConfig.derive(3, {"token": 1500}).token_ms == 2150
    lab = TotemConfig.derive(3, {"token": 1500})
    assert (lab.hold_ms, lab.token_warning_ms, lab.consensus_ms, lab.token_retransmit_ms) == (398, 1612, 2580, 511)


def test_other_defaults() -> None:
    config = TotemConfig.derive(3)
    assert (config.window_size, config.max_messages, config.miss_count_const) == (50, 17, 5)
    assert (config.join_ms, config.merge_ms, config.fail_recv_const, config.seqno_unchanged_const) == (
        50,
        200,
        2500,
        30,
    )


@pytest.mark.parametrize("name", sorted(key for key, rule in KEYS.items() if rule.zero_is_default))
def test_zero_means_default(name: str) -> None:
    assert TotemConfig.derive(4, {name: 0}) == TotemConfig.derive(4)


def test_zero_coefficient_and_zero_warning_are_taken_at_their_word() -> None:
    config = TotemConfig.derive(8, {"token_coefficient": 0, "token_warning": 0})
    assert (config.token_ms, config.token_warning_ms) == (3000, 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"token": 29}, "totem.token: 29 is too small, use 30 or more"),
        ({"token_retransmit": 29}, "totem.token_retransmit: 29 is too small"),
        ({"hold": 13}, "totem.hold: 13 is too small, use 14 or more"),
        ({"token": 60}, "totem.token_retransmit: 14 is too small"),
        ({"join": 29}, "totem.join: 29"),
        ({"merge": 10}, "totem.merge: 10"),
        ({"consensus": 40, "join": 50}, "totem.consensus: 40 is below totem.join 50"),
        ({"token_warning": 101}, "totem.token_warning: 101 is not a percentage"),
        ({"token_retransmits_before_loss_const": -1}, "totem.token_retransmits_before_loss_const: -1 is too small"),
    ],
)
def test_refused(given: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match="^" + says):
        TotemConfig.derive(2, given)


def test_packet_sizes() -> None:
    assert TotemConfig.derive(3).net_mtu == 65446
    assert TotemConfig.derive(3, transport=Transport.UDPU).net_mtu == 1410
