"""Shadowing: our ring machine in the place of one recorded node, compared with what the real node sent.

The machine is fed exactly the datagrams the node received, at the recorded times, plus its own multicasts. What only
the real node's programs knew is taken from the recording: a message is submitted at the token visit at which the real
node multicast it, a hold is cancelled when the real node cancelled one (it had something to send), a leave is sent
when the real node said goodbye. A process that the recording shows not running (it answers late, all at once) gets
its inputs late, too. Everything else the machine must find out itself.

Not compared, because the protocol does not determine it (``EXCLUDED``): target ids on UDP and UDPU, which senders leave
uninitialised, and the token's backlog, which counts a queue that cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from typing import Any, TypeAlias

import msgspec

from totemviz.totem.config import MS, TotemConfig, Transport
from totemviz.totem.effects import RingId
from totemviz.trace.events import DatagramReceived, DatagramSent, RunStarted
from totemviz.trace.shadow_links import Links, LinkSigns, links_of
from totemviz.trace.shadow_record import EXCLUDED, Life, NothingToShadow, Outbound, Record
from totemviz.trace.shadow_stage import Stage
from totemviz.trace.shadow_start import Start, adoptable, best_start
from totemviz.trace.timeline import Timeline

Progress: TypeAlias = Callable[[int, int], None]

OFF_TIME_NS = 50 * MS
"""A datagram sent further than this from the recorded moment is counted, although its content agrees."""


class Difference(msgspec.Struct, frozen=True):
    """One datagram that does not agree: expected (recorded), got (ours). ``field`` is empty if one is missing."""

    time_ns: int
    type: str
    field: str
    expected: str
    got: str


class TypeCount(msgspec.Struct):
    """Datagrams of one type the real node sent, and how many of them ours sent too."""

    outbound: int = 0
    matched: int = 0


class ShadowResult(msgspec.Struct, frozen=True):
    """How one node compares. ``outbound`` counts a multicast once; ``extra``: datagrams only ours sent;
    ``off_time``: matched ones that ours sent more than ``OFF_TIME_NS`` earlier or later.
    """

    node: int
    outbound: int
    matched: int
    extra: int
    off_time: int
    by_type: dict[str, TypeCount]
    mismatches: list[Difference]
    pauses: list[tuple[int, int]]
    not_compared: int
    excluded: tuple[str, ...] = EXCLUDED


def owner(timeline: Timeline) -> int:
    """The node whose capture this is: the one seen both sending and receiving. Raises NothingToShadow if none is."""
    senders = {event.node for event in timeline if isinstance(event.body, DatagramSent) and not event.inferred}
    receivers = {event.node for event in timeline if isinstance(event.body, DatagramReceived) and not event.inferred}
    both = sorted(senders & receivers)
    if len(both) != 1:
        nodes = ", ".join(map(str, sorted(senders | receivers)))
        raise NothingToShadow(f"the recording shows several nodes or none whole; choose one with --node ({nodes})")
    return both[0]


def shadow(
    timeline: Timeline,
    nodeid: int,
    config: TotemConfig | None = None,
    signs: LinkSigns | None = None,
    progress: Progress | None = None,
) -> ShadowResult:
    """Put our machine in the place of node ``nodeid`` of a recorded (or simulated) timeline.

    ``config`` is derived from the number of nodes if not given; ``signs`` tell which links of knet were up;
    ``progress`` is told now and then how much of the recording is done (nanoseconds), and how much there is. Raises
    NothingToShadow if no life of the node can be followed.
    """
    run = next((event.body for event in timeline if isinstance(event.body, RunStarted)), None)
    transport = Transport(run.transport) if run is not None and run.transport else Transport.UDPU
    if config is None:
        config = TotemConfig.derive(len(run.nodes) if run is not None else 1, transport=transport)
    record = Record(timeline, nodeid, config.transport)
    ours: list[Outbound] = []
    theirs: list[Outbound] = []
    pauses: list[tuple[int, int]] = []
    for life in record.lives():
        links = links_of(signs or LinkSigns(), nodeid, config, life.older)
        stage = _played(record, config, life, links, progress)
        if stage is None:
            continue
        ours += stage.sent
        theirs += record.sent_between(stage.first_ns, life.end_ns)
        pauses += stage.pauses
    if not theirs:
        raise NothingToShadow(
            f"node {nodeid}: neither its start nor a quiet visit of its token is in the recording; "
            "begin the capture before corosync, or let it run longer"
        )
    result = _compare(nodeid, theirs, ours, pauses, len(record.sent) - len(theirs))
    return msgspec.structs.replace(result, excluded=record.excluded)


def _played(record: Record, config: TotemConfig, life: Life, links: Links, progress: Progress | None) -> Stage | None:
    """A life of the node, played to its end; None if it began before the capture and no moment of it tells enough."""
    visit = adoptable(record, life) if life.older else None
    if life.older and visit is None:
        return None

    def begun(start: Start) -> Stage:
        stage = Stage(record, config, life, links, start)
        stage.begin(visit)
        return stage

    def sent_until(start: Start, end_ns: int) -> list[Outbound]:
        stage = begun(start)
        stage.run(end_ns)
        return stage.sent

    seen_from_start = visit is None and life.unseen_packets < 0
    stage = begun(best_start(record, life, sent_until) if seen_from_start else Start())
    last_ns = record.sent[-1].time_ns
    stage.run(life.end_ns, None if progress is None else lambda now_ns: progress(now_ns, last_ns))
    return stage


def _compare(
    nodeid: int, theirs: list[Outbound], ours: list[Outbound], pauses: list[tuple[int, int]], not_compared: int
) -> ShadowResult:
    """Align the two sequences of each type and count what agrees."""
    by_type: dict[str, TypeCount] = {}
    mismatches: list[Difference] = []
    extra = off_time = 0
    for kind in sorted({outbound.kind for outbound in theirs + ours}):
        real = [outbound for outbound in theirs if outbound.kind == kind]
        made = [outbound for outbound in ours if outbound.kind == kind]
        count = by_type[kind] = TypeCount(len(real))
        matcher = SequenceMatcher(
            None, [outbound.determined for outbound in real], [outbound.determined for outbound in made], autojunk=False
        )
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag == "equal":
                count.matched += i2 - i1
                off_time += sum(
                    abs(theirs_one.time_ns - ours_one.time_ns) > OFF_TIME_NS
                    for theirs_one, ours_one in zip(real[i1:i2], made[j1:j2], strict=True)
                )
                continue
            extra += max(0, (j2 - j1) - (i2 - i1))
            for k in range(max(i2 - i1, j2 - j1)):
                mismatches += _difference(
                    kind, real[i1 + k] if i1 + k < i2 else None, made[j1 + k] if j1 + k < j2 else None
                )
    mismatches.sort(key=lambda difference: difference.time_ns)
    matched = sum(count.matched for count in by_type.values())
    return ShadowResult(nodeid, len(theirs), matched, extra, off_time, by_type, mismatches, pauses, not_compared)


def _difference(kind: str, real: Outbound | None, made: Outbound | None) -> Iterator[Difference]:
    if real is None or made is None:
        one = real or made
        assert one is not None
        shown = _short(one)
        yield Difference(one.time_ns, kind, "", shown if real else "nothing", shown if made else "nothing")
        return
    for field in real.message.__struct_fields__:
        expected, got = getattr(real.message, field), getattr(made.message, field)
        if expected != got and field not in EXCLUDED:
            yield Difference(real.time_ns, kind, field, _text(expected), _text(got))


def _short(outbound: Outbound) -> str:
    message = outbound.message
    fields = (field for field in message.__struct_fields__ if field not in (*EXCLUDED, "payload", "little"))
    return " ".join(f"{field} {_text(getattr(message, field))}" for field in fields)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, tuple) and not isinstance(value, RingId):
        return "[" + " ".join(map(_text, value)) + "]"
    return str(value)
