"""The membership state machine as data: what each input does in each state (sheet §4.6).

The ring machine, the state panel, the docs and the tests read this one table. A cell without a handler means the input
is ignored in that state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from totemviz.totem import membership, ordering, recovery, token
from totemviz.totem.states import Gather, State


class Input(StrEnum):
    """What can happen to a ring machine."""

    TOKEN_LOSS = "token loss timer"
    CONSENSUS = "consensus timer"
    JOIN_TIMER = "join timer"
    ORF_TOKEN = "ORF token"
    COMMIT_TOKEN = "commit token"
    OWN_MCAST = "own-ring mcast"
    FOREIGN_MCAST = "foreign mcast"
    FOREIGN_MERGE_DETECT = "foreign merge detect"
    JOIN = "join"
    HOLD_CANCEL = "hold cancel"


class Cell(msgspec.Struct, frozen=True):
    """What happens, in words; the procedure; an argument that belongs to the cell (a reason to gather); and the states
    it may lead to.
    """

    text: str
    handler: Callable[..., None] | None = None
    argument: Any = None
    to: tuple[State, ...] = ()


IGNORED = Cell("ignored")


def _recovery_commit_token(node: Any, message: Any) -> None:
    """The commit token came back: the representative starts the ring's first ORF token, once."""
    if node.is_rep and not node.originated_orf_token:
        node.originated_orf_token = True
        token.send_initial(node)
        token.arm_token_timers(node)


_O, _G, _C, _R = State
_STORE = Cell("store, advance my_aru", ordering.store)
_VISIT = Cell("a token visit; FAILED TO RECEIVE: GATHER (6)", token.arrive, to=(_G,))
_HOLD = Cell("representative: resend the token", token.hold_cancelled)

TABLE: Mapping[Input, Mapping[State, Cell]] = {
    Input.TOKEN_LOSS: {
        _O: Cell("log 'A processor failed …'; GATHER (2)", membership.token_lost_operational, to=(_G,)),
        _G: Cell("agreed but fruitless: GATHER (3)", membership.token_lost_gather, to=(_G,)),
        _C: Cell("GATHER (4)", membership.token_lost_commit, to=(_G,)),
        _R: Cell("restore the old ring; GATHER (5)", membership.token_lost_recovery, to=(_G,)),
    },
    Input.CONSENSUS: {
        _O: IGNORED,
        _G: Cell("give up on those without consent; GATHER (0)", membership.consensus_expired, to=(_G,)),
        _C: IGNORED,
        _R: IGNORED,
    },
    Input.JOIN_TIMER: {
        _O: IGNORED,
        _G: Cell("send join", membership.join_timer),
        _C: Cell("send join", membership.join_timer),
        _R: IGNORED,
    },
    Input.ORF_TOKEN: {_O: _VISIT, _G: Cell("ignored (discard flag)", token.arrive), _C: Cell("ignored", token.arrive)}
    | {_R: Cell("a token visit; two quiet rotations: OPERATIONAL", token.arrive, to=(_O,))},
    Input.COMMIT_TOKEN: {
        _O: IGNORED,
        _G: Cell("if it names my candidates and a newer ring: COMMIT", membership.commit_token_in_gather, to=(_C,)),
        _C: Cell("if complete: RECOVERY", recovery.commit_token_in_commit, to=(_R,)),
        _R: Cell("representative, once: send the initial ORF token", _recovery_commit_token),
    },
    Input.OWN_MCAST: {
        _O: Cell("store, advance my_aru, deliver", ordering.store),
        _G: _STORE,
        _C: _STORE,
        _R: Cell("store in the queue its encapsulation names, advance my_aru", ordering.store),
    },
    Input.FOREIGN_MCAST: {
        _O: Cell(
            "add its sender; GATHER (7)", membership.foreign_operational, Gather.FOREIGN_MESSAGE_OPERATIONAL, (_G,)
        ),
        _G: Cell("unknown sender: add; GATHER (8)", membership.foreign_gather, Gather.FOREIGN_MESSAGE_GATHER, (_G,)),
        _C: IGNORED,
        _R: IGNORED,
    },
    Input.FOREIGN_MERGE_DETECT: {
        _O: Cell("add its sender; GATHER (9)", membership.foreign_operational, Gather.MERGE_OPERATIONAL, (_G,)),
        _G: Cell("unknown sender: add; GATHER (10)", membership.foreign_gather, Gather.MERGE_GATHER, (_G,)),
        _C: IGNORED,
        _R: IGNORED,
    },
    Input.JOIN: {
        _O: Cell(
            "unless stale or calling me failed: compare lists; GATHER (11 or 12)", membership.join_operational, to=(_G,)
        ),
        _G: Cell("compare lists; agreed and lowest: COMMIT; news: GATHER (11)", membership.process_join, to=(_C, _G)),
        _C: Cell("from a candidate, not older: compare lists; GATHER (13)", membership.join_commit, to=(_G,)),
        _R: Cell(
            "from a candidate, not older: compare lists, restore; GATHER (5), GATHER (14)",
            membership.join_recovery,
            to=(_G,),
        ),
    },
    Input.HOLD_CANCEL: {
        _O: _HOLD,
        _G: Cell("the ring is not idle any more", token.hold_cancelled),
        _C: _HOLD,
        _R: _HOLD,
    },
}
