"""The timeline: an append-only list of events, and its file form (one JSON object per line).

The digest of a run is the SHA-256 of its JSONL bytes, so two runs are the same run if and only if the digests agree.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from totemviz.trace.events import Body, Event

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)


class TimelineError(ValueError):
    """A timeline file that cannot be read: one line that names file, line and mend."""


class Timeline(Sequence[Event]):
    """Append-only events with ids 0, 1, 2, … and non-decreasing times."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def append(self, time_ns: int, node: int, cause: int, body: Body, inferred: bool = False) -> int:
        """Add an event; returns its id."""
        events = self._events
        number = len(events)
        events.append(Event(number, time_ns, node, cause, body, inferred))
        return number

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._events[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def forked(self, length: int) -> Timeline:
        """A timeline that begins with the first ``length`` events of this one and shares them."""
        twin = Timeline()
        twin._events = self._events[:length]
        return twin

    def position_at(self, time_ns: int) -> int:
        """Id of the last event not later than ``time_ns``, -1 if there is none."""
        return bisect_right(self._events, time_ns, key=lambda event: event.time_ns) - 1

    def chain(self, event_id: int) -> list[Event]:
        """The event and its causes, nearest first, back to one without a cause."""
        found = []
        while event_id >= 0:
            event = self._events[event_id]
            found.append(event)
            event_id = event.cause
        return found

    def lines(self) -> Iterator[bytes]:
        """The JSONL lines, newline included."""
        encode = _ENCODER.encode
        for event in self._events:
            yield encode(event) + b"\n"

    def digest(self) -> str:
        """SHA-256 of the JSONL bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the JSONL file."""
        with path.open("wb") as file:
            file.writelines(self.lines())

    @classmethod
    def load(cls, path: Path) -> Timeline:
        """Read a JSONL file. Raises TimelineError naming the first line that does not fit, OSError if unreadable."""
        timeline = cls()
        events = timeline._events
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    event = _DECODER.decode(line)
                except msgspec.MsgspecError as error:
                    raise TimelineError(
                        f"{path}:{number}: not an event ({error}); is this a file written by --out?"
                    ) from None
                if event.id != len(events) or event.cause >= event.id:
                    raise TimelineError(
                        f"{path}:{number}: event {event.id} is out of place; lines are missing or mixed"
                    )
                events.append(event)
        return timeline


class NoTimeline(Timeline):
    """Counts and keeps nothing: for measuring the machines alone, and for a run that is only made again."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def append(self, time_ns: int, node: int, cause: int, body: Body, inferred: bool = False) -> int:
        """Forget the event; returns the id it would have."""
        number = self._count
        self._count = number + 1
        return number
