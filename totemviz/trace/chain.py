"""The chain of causes of one event, told from its beginning: one sentence a link, with its time."""

from __future__ import annotations

from collections.abc import Container

from totemviz.totem.effects import MessageOrdered, TokenPassed, TokenReceived
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import DatagramReceived, DatagramSent, Event, kind_of
from totemviz.trace.timeline import Timeline
from totemviz.trace.words import sentence

_ROUTINE = (DatagramSent, DatagramReceived, TokenReceived, TokenPassed, MessageOrdered)
_SHOWN_ROUTINE = 2
"""A longer run of routine links, a message or the token on its way, is told as one."""


def last_of_kind(timeline: Timeline, kind: str, nodes: Container[int] | None = None) -> int | None:
    """The id of the latest event of a kind, on one of ``nodes`` if given; None if there is none."""
    for index in range(len(timeline) - 1, -1, -1):
        event = timeline[index]
        if kind_of(event.body) == kind and (nodes is None or event.node in nodes):
            return index
    return None


def tell_chain(timeline: Timeline, event_id: int) -> list[str]:
    """Why an event happened: its first cause, what that led to, and so on to the event itself."""
    cursor = Cursor(timeline)
    lines: list[str] = []
    routine: list[Event] = []

    def tell(event: Event) -> None:
        cursor.move_to(event.id)
        lines.append(f"{event.time_ns / 1e9:12.6f} s  {sentence(event, cursor.view)}")

    def tell_routine() -> None:
        shown = routine if len(routine) <= _SHOWN_ROUTINE else routine[-1:]
        if len(routine) > len(shown):
            lines.append(f"{'…':>12}    {len(routine) - len(shown)} links: messages and tokens on their way")
        for event in shown:
            tell(event)
        routine.clear()

    for event in reversed(timeline.chain(event_id)):
        if isinstance(event.body, _ROUTINE) and event.id != event_id:
            routine.append(event)
            continue
        tell_routine()
        tell(event)
    return lines
