"""Stops: conditions that hold a run while it is played or searched, and the walk that heeds them.

A stop holds where its condition *becomes* true; so going on from there is going on, not staying.
"""

from __future__ import annotations

import msgspec

from totemviz.trace.conditions import Condition
from totemviz.trace.cursor import Cursor


class Halt(msgspec.Struct, frozen=True):
    """Why a run was held, in words, and at which virtual time (it may lie between two events)."""

    why: str
    time_ns: int


class Stop(msgspec.Struct):
    """One stop of the list; ``enabled`` can be switched off without forgetting it."""

    condition: Condition
    enabled: bool = True


class Stops:
    """The list of stops of a session. ``check_invariants``: a violated invariant holds the run too."""

    def __init__(self) -> None:
        self.items: list[Stop] = []
        self.check_invariants = True

    @property
    def active(self) -> bool:
        """Whether anything can hold the run."""
        return any(stop.enabled for stop in self.items)

    def add(self, condition: Condition) -> Stop:
        """Add a stop; one with the same text is switched on instead."""
        for stop in self.items:
            if stop.condition.text == condition.text:
                stop.enabled = True
                return stop
        stop = Stop(condition)
        self.items.append(stop)
        return stop

    def walk(self, cursor: Cursor, target: int, begin_ns: int, until_ns: int | None = None) -> Halt | None:
        """Move the cursor on to ``target``, event by event, until an enabled stop's condition becomes true.

        ``begin_ns`` is the time from which on it is looked at; ``until_ns`` lets time pass after the last event.
        """
        conditions = [stop.condition for stop in self.items if stop.enabled]
        timed = [condition for condition in conditions if condition.timed]
        were = {id(c): c.holds(cursor.view, None, begin_ns) for c in conditions}
        timeline, now_ns = cursor.timeline, begin_ns
        while cursor.position < target:
            event = timeline[cursor.position + 1]
            if timed and event.time_ns > now_ns and (halt := _between(cursor, timed, were, now_ns, event.time_ns)):
                return halt
            cursor.move_to(event.id)
            now_ns = max(now_ns, event.time_ns)
            held = None
            for condition in conditions:
                is_true = condition.holds(cursor.view, event, now_ns)
                if is_true and not were[id(condition)] and held is None:
                    held = condition
                were[id(condition)] = is_true and condition.holds(cursor.view, None, now_ns)
            if held is not None:
                return Halt(held.text, now_ns)
        if until_ns is not None and timed and until_ns > now_ns:
            return _between(cursor, timed, were, now_ns, until_ns)
        return None


def _between(
    cursor: Cursor, conditions: list[Condition], were: dict[int, bool], begin_ns: int, end_ns: int
) -> Halt | None:
    """Whether time alone makes a condition true before ``end_ns``, while nothing happens; and when, to the ns."""
    best: Halt | None = None
    for condition in conditions:
        if were[id(condition)]:
            continue
        low, high = begin_ns, end_ns - 1
        if high < low or not condition.holds(cursor.view, None, high):
            continue
        while low < high:
            middle = (low + high) // 2
            if condition.holds(cursor.view, None, middle):
                high = middle
            else:
                low = middle + 1
        if best is None or low < best.time_ns:
            best = Halt(condition.text, low)
    return best
