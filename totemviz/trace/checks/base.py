"""What a checker is: one invariant, fed event by event, that says where and why it is false."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import msgspec

from totemviz.trace.checks.facts import Facts
from totemviz.trace.events import Event


class Violation(msgspec.Struct, frozen=True):
    """An invariant is false: its number, the event at which that shows, and why, in plain words.

    ``quirk`` is the known quirk of the original that brings this about, empty where none does.
    """

    invariant: int
    event_id: int
    time_ns: int
    node: int
    why: str
    quirk: str = ""

    def __str__(self) -> str:
        where = f"node {self.node}" if self.node else "the cluster"
        return f"invariant {self.invariant}, event {self.event_id}, {self.time_ns / 1e9:.6f} s, {where}: {self.why}"


Handler: TypeAlias = Callable[[Event, Any], None]
"""Called with an event and its body; the type it is registered for is the body's."""


class Invariant:
    """One invariant of sheet §12.

    ``known_failure`` names the quirk that makes the faithful machine break it; empty for all others. Subclasses say in
    ``handlers`` which events they look at, and report with ``fail``. The facts are those *after* the event.
    """

    number: ClassVar[int] = 0
    name: ClassVar[str] = ""
    sentence: ClassVar[str] = ""
    known_failure: ClassVar[str] = ""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.found: list[Violation] = []
        """What ``fail`` reported and nobody has collected yet; a `Checker` gives all its invariants one list."""

    def handlers(self) -> Mapping[type, Handler]:
        """Event body type → what to do with it."""
        raise NotImplementedError

    def finish(self, last: Event, end_ns: int) -> None:
        """The timeline ends here; ``last`` is its last event."""

    def fail(self, event: Event, why: str, node: int | None = None, *, known: bool = True) -> None:
        """Report that the invariant is false at this event; ``known`` False: not by its known failure."""
        at = event.node if node is None else node
        quirk = self.known_failure if known else ""
        self.found.append(Violation(self.number, event.id, event.time_ns, at, why, quirk))
