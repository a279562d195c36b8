"""What a ring does while nobody wants anything: the token goes round, nothing is sent, asked for, or late."""

from __future__ import annotations

from totemviz.totem import effects as totem
from totemviz.trace import events as ev
from totemviz.trace.events import Event

_IDLE_DATAGRAMS = ("orf_token", "memb_merge_detect")
_IDLE_TIMERS = (
    totem.TotemTimer.HOLD_RETRANSMIT.value,
    totem.TotemTimer.MERGE_DETECT.value,
    totem.TotemTimer.PAUSE.value,
)


def is_idle(event: Event) -> bool:
    """Whether the event belongs to an idle round of the token."""
    body = event.body
    if isinstance(body, ev.DatagramSent | ev.DatagramReceived):
        return body.kind in _IDLE_DATAGRAMS
    if isinstance(body, totem.TokenReceived | totem.TokenPassed):
        return not body.rtr and body.backlog == 0
    if isinstance(body, totem.RetransmitChecked):
        return not (body.resent or body.requested or body.missing)
    if isinstance(body, totem.MessagesMulticast):
        return body.count == 0
    if isinstance(body, totem.TokenReleased):
        return body.reason.startswith("hold")
    if isinstance(body, ev.TimerExpired):
        return body.timer in _IDLE_TIMERS and body.late_ns == 0
    return False
