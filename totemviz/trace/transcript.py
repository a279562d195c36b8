"""A run as text a person can read: one event a line, with time, node, kind and what it says.

Golden transcripts are the main kind of test: they are files of these lines.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import msgspec

from totemviz.pmxcfs.effects import ChangeApplied, ChangeCommitted, TreeLoaded
from totemviz.totem.effects import Log, RingId
from totemviz.totem.wire import Mcast, WireError, decode
from totemviz.trace.events import DatagramSent, Event, RunStarted, kind_of
from totemviz.trace.timeline import Timeline

BYTES_SHOWN = 16
LEFT_OUT = {(ChangeApplied, "entry"), (ChangeApplied, "gone"), (ChangeCommitted, "rows"), (TreeLoaded, "rows")}
"""What files hold is no matter of a line."""


def transcript(
    timeline: Timeline, kinds: Container[str] | None = None, nodes: Container[int] | None = None
) -> Iterator[str]:
    """The lines of a timeline, only of the ``kinds`` and ``nodes`` given (None: all)."""
    names = {0: "·"}
    for event in timeline:
        if isinstance(event.body, RunStarted):
            names.update({info.nodeid: info.name for info in event.body.nodes})
        kind = kind_of(event.body)
        if (kinds is None or kind in kinds) and (nodes is None or event.node in nodes):
            yield line(event, names.get(event.node, str(event.node)))


def line(event: Event, name: str) -> str:
    """One event."""
    seconds, nanoseconds = divmod(event.time_ns, 10**9)
    time = f"{seconds:4d}.{nanoseconds:09d}"
    mark = "~" if event.inferred else " "
    return f"{time} {name:<6}{mark}{kind_of(event.body):<20} {_details(event)}".rstrip()


def _details(event: Event) -> str:
    body = event.body
    if isinstance(body, Log):
        return f"[{body.subsystem:<6}] {body.level:<7} {body.text}"
    if isinstance(body, DatagramSent):
        return f"to {body.target or 'all'}: {datagram_text(body.data)}"
    fields = (field for field in body.__struct_fields__ if (type(body), field) not in LEFT_OUT)
    return "  ".join(f"{field} {_value(getattr(body, field))}" for field in fields)


def datagram_text(data: bytes) -> str:
    """A datagram's message in a few words."""
    try:
        message = decode(data)
    except WireError as error:
        return f"undecodable: {error}"
    fields = []
    for field in message.__struct_fields__:
        if field in ("nodeid", "target", "little"):
            continue
        value = getattr(message, field)
        if isinstance(message, Mcast) and field == "payload":
            fields.append(f"{len(value)} bytes")
        else:
            fields.append(f"{field} {_value(value)}")
    return f"{message.__struct_config__.tag} " + "  ".join(fields)


def _value(value: Any) -> str:
    if isinstance(value, RingId):
        return str(value)
    if isinstance(value, bytes):
        shown = value[:BYTES_SHOWN].hex(" ")
        return f"{shown} … ({len(value)} bytes)" if len(value) > BYTES_SHOWN else shown
    if isinstance(value, msgspec.Struct):
        return "(" + " ".join(_value(getattr(value, field)) for field in value.__struct_fields__) + ")"
    if isinstance(value, tuple):
        return "[" + " ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_value(item)}" for key, item in value.items()) + "}"
    if value is None or value == "":
        return "–"
    return str(value)
