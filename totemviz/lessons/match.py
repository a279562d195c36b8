"""Patterns over events: ``event = "fsync_started", node = 3, where = {process = "pmxcfs"}``.

A condition in ``where`` is a value (the field equals it) or a table of comparisons: ``at_least``, ``at_most``,
``contains`` (a value in a list, or a word in a text), ``not``. A field whose name ends in ``_ns`` takes a duration
(``"12s"``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from totemviz.sim.units import Duration
from totemviz.trace.events import BODY_BY_KIND, Event
from totemviz.trace.timeline import Timeline

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "contains": operator.contains,
    "not": operator.ne,
}


class PatternError(ValueError):
    """A pattern that can never be met: ``place`` is the key below the pattern, the message ends with the mend."""

    def __init__(self, place: tuple[str, ...], what: str) -> None:
        super().__init__(what)
        self.place = place


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which events are meant. ``node`` None: any node."""

    event: str
    node: int | None = None
    where: dict[str, Any] = {}


class Condition(NamedTuple):
    """One comparison of one field of a body."""

    field: str
    compare: Callable[[Any, Any], bool]
    value: Any


class Matcher:
    """A compiled pattern. Raises PatternError if no event can ever match."""

    def __init__(self, pattern: Pattern) -> None:
        if pattern.event not in BODY_BY_KIND:
            raise PatternError(("event",), f"unknown event {pattern.event!r}; use one of {', '.join(BODY_BY_KIND)}")
        self.body = BODY_BY_KIND[pattern.event]
        self.node = pattern.node
        self.conditions = tuple(_compile(self.body, pattern.event, key, item) for key, item in _flat(pattern.where))

    def matches(self, event: Event) -> bool:
        """Whether this event is meant."""
        body = event.body
        if type(body) is not self.body or (self.node is not None and event.node != self.node):
            return False
        return all(compare(getattr(body, field), value) for field, compare, value in self.conditions)

    def in_causes_of(self, event: Event, timeline: Timeline) -> bool:
        """Whether an event that is meant lies on the chain of causes of ``event`` (itself excluded)."""
        return any(self.matches(cause) for cause in timeline.chain(event.cause))


def _flat(where: dict[str, Any]) -> list[tuple[str, tuple[str, Any]]]:
    """(field, (comparison, value)) for every condition; plain values compare with ``is``."""
    flat = []
    for field, wanted in where.items():
        pairs = wanted.items() if isinstance(wanted, dict) else [("is", wanted)]
        flat += [(field, pair) for pair in pairs]
    return flat


def _compile(body: type, event: str, field: str, item: tuple[str, Any]) -> Condition:
    types = {info.name: info.type for info in msgspec.structs.fields(body)}
    place = ("where", field)
    if field not in types:
        raise PatternError(place, f"{event} has no {field!r}; it has {', '.join(types) or 'no fields'}")
    word, value = item
    if word != "is" and word not in COMPARISONS:
        raise PatternError(place, f"unknown comparison {word!r}; use {', '.join(COMPARISONS)}")
    if word == "contains":
        return Condition(field, operator.contains, value)
    try:
        if field.endswith("_ns") and isinstance(value, str):
            value = int(Duration.parse(value))
        value = msgspec.convert(value, types[field])
    except ValueError as error:
        raise PatternError(place, f"{field} cannot be {value!r}: {error}") from None
    return Condition(field, COMPARISONS.get(word, operator.eq), value)
