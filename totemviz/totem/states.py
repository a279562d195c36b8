"""Names of the membership protocol: states and the reasons to gather (sheet §4.2, §4.4).

What each input does in each state is a table too: ``totemviz.totem.table``.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(StrEnum):
    """Membership state of a node."""

    OPERATIONAL = "OPERATIONAL"
    GATHER = "GATHER"
    COMMIT = "COMMIT"
    RECOVERY = "RECOVERY"

    @property
    def number(self) -> int:
        """The state's number in corosync's debug lines, from 1 (``totemsrp.c: enum memb_state``)."""
        return list(State).index(self) + 1


OPERATIONAL, GATHER, COMMIT, RECOVERY = State
"""The states by themselves, for what runs at every token: to find a member in its class costs Python 3.11 as much as
three calls.
"""


class Gather(IntEnum):
    """Why GATHER was entered; the number is what corosync logs."""

    CONSENSUS_TIMEOUT = 0
    MISSING = 1
    TOKEN_LOST_OPERATIONAL = 2
    CONSENSUS_EXPIRED = 3
    TOKEN_LOST_COMMIT = 4
    TOKEN_LOST_RECOVERY = 5
    FAILED_TO_RECEIVE = 6
    FOREIGN_MESSAGE_OPERATIONAL = 7
    FOREIGN_MESSAGE_GATHER = 8
    MERGE_OPERATIONAL = 9
    MERGE_GATHER = 10
    MERGE_JOIN = 11
    JOIN_OPERATIONAL = 12
    JOIN_COMMIT = 13
    JOIN_RECOVERY = 14
    INTERFACE_CHANGE = 15

    @property
    def text(self) -> str:
        """The words corosync prints behind the number."""
        return _GATHER_TEXTS[self]


_GATHER_TEXTS = (
    "consensus timeout",
    "MISSING",
    "The token was lost in the OPERATIONAL state.",
    "The consensus timeout expired.",
    "The token was lost in the COMMIT state.",
    "The token was lost in the RECOVERY state.",
    "failed to receive",
    "foreign message in operational state",
    "foreign message in gather state",
    "merge during operational state",
    "merge during gather state",
    "merge during join",
    "join during operational state",
    "join during commit state",
    "join during recovery",
    "interface change",
)
