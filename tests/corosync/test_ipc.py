"""Rings, backlogs, flow control and large messages between a client and its daemon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corosync.bus import Bus
from tests.corosync.test_daemon import GROUP, LAB, joined_cluster
from totemviz.corosync.effects import (
    ConfchgReason,
    CpgConfchg,
    CpgDelivered,
    CpgError,
    CpgMember,
    CpgPartDelivered,
    IpcBacklog,
    QueueLevelChanged,
    Response,
    WakeClient,
)
from totemviz.corosync.ipc import (
    ATOMIC_MESSAGE_SIZE_MAX,
    FLUSH_TIMER,
    RECHECK_TIMER,
    RING_SIZE,
    Connection,
    Join,
    Leave,
    Mcast,
    PartialMcast,
    RingBuffer,
    heap_bytes,
)
from totemviz.corosync.ipc_server import event_size
from totemviz.corosync.libcpg import PartAssembler, PartSender
from totemviz.totem.effects import CancelTimer, Log, SetTimer

EVENT = 184 + 1000
"""A message of 1000 bytes on its way to a client."""


def filled(connection: Connection, size: int = EVENT) -> int:
    """Put events until the first has to wait; how many fitted."""
    count = 0
    while not connection.queuing:
        connection.put_event(size)
        count += 1
    return count - 1


def read_all(connection: Connection) -> int:
    """Read as a client does that sees only what it was woken for."""
    count = 0
    while connection.readable and len(connection.events):
        connection.take_event()
        count += 1
    return count


# ---------------------------------------------------------------------------------------------------------- the rings


def test_a_ring_holds_one_message_of_its_size_and_about_880_of_1000_bytes() -> None:
    ring = RingBuffer()
    assert ring.fits(RING_SIZE)
    connection = Connection(1)
    assert filled(connection) == 883  # the lab: about 880
    assert connection.queued == 1
    assert connection.queue_bytes == heap_bytes(EVENT) == 1200 + 48


@given(st.lists(st.integers(0, 5000), max_size=400))
def test_a_ring_gives_back_what_it_took(sizes: list[int]) -> None:
    ring = RingBuffer(64 * 1024)
    inside: list[int] = []
    for size in sizes:
        if ring.fits(size):
            ring.put(size)
            inside.append(size)
        elif inside:
            ring.take()
            inside.pop(0)
        assert ring.used_bytes == sum(8 + -(-size // 4) * 4 for size in inside) <= 64 * 1024 + 4096
    for _ in inside:
        ring.take()
    assert ring.used_bytes == len(ring) == 0


def test_events_behind_a_backlog_keep_their_order_whatever_their_size() -> None:
    connection = Connection(1)
    filled(connection)
    connection.take_event()
    connection.put_event(1)  # there would be room for it in the ring now
    assert connection.queued == 2
    assert connection.flush() == 2, "one large and one small fit where a large one was"
    assert not connection.queuing


def test_a_client_sees_only_what_it_was_woken_for() -> None:
    connection = Connection(1)
    fitted = filled(connection)
    woken = 0
    while connection.readable and not connection.take_event():
        woken += 1
    assert woken + 1 == 278 - 69, "then the socket is writable again and the daemon wakes"
    connection.flush()
    assert read_all(connection) == fitted + 1 - (woken + 1)


# --------------------------------------------------------------------------------------------------------- the daemon


def connected(bus: Bus, node: int, client: int = 7) -> Connection:
    """A client with a connection, in the group."""
    daemon = bus.daemons[node]
    error, outputs = daemon.connect(0, client)
    assert error is CpgError.OK
    bus.outputs[node].extend(outputs)
    connection = daemon.ipc.connections[client]
    assert connection.send(Join(1000 + node, GROUP)) is CpgError.OK
    bus.outputs[node].extend(daemon.read_request(0, client))
    bus.rotate(1, 2, 3)
    read_all(connection)
    return connection


def test_a_stopped_reader_costs_memory_and_nothing_else() -> None:
    bus = joined_cluster()
    connection = connected(bus, 2)
    bus.forget()
    sent = 0
    while connection.queued < 100:
        for _ in range(40):
            error, outputs = bus.daemons[1].cpg_mcast(0, 1, bytes(1000))
            assert error is CpgError.OK, "the sender notices nothing"
            bus.outputs[1].extend(outputs)
            sent += 1
        bus.rotate(1, 2, 3)
    assert len(bus.of(1, CpgDelivered)) == sent
    assert next(output for output in bus.outputs[2] if isinstance(output, IpcBacklog)).queued == 1
    assert any(isinstance(o, SetTimer) and o.timer == FLUSH_TIMER and o.delay_ns == 50_000_000 for o in bus.outputs[2])
    bus.forget()
    while connection.queuing:
        read_all(connection)
        bus.outputs[2].extend(bus.daemons[2].expire(0, FLUSH_TIMER))
    (line,) = bus.lines(2, "MAIN")
    assert line == f"info MAIN Q empty, queued:0 sent:{connection.sent}."
    assert connection.sent >= 100
    assert bus.of(2, WakeClient)
    assert isinstance(bus.outputs[2][-1], CancelTimer)
    assert [o.queued for o in bus.of(2, IpcBacklog)][-1] == 0  # type: ignore[attr-defined]


def test_every_pass_of_the_main_loop_flushes() -> None:
    bus = joined_cluster()
    connection = connected(bus, 2)
    while not connection.queuing:
        bus.daemons[1].cpg_mcast(0, 1, bytes(1000))
        bus.rotate(1, 2, 3)
    read_all(connection)
    bus.push(2)
    assert not connection.queuing


def test_a_dead_client_takes_its_backlog_with_it() -> None:
    bus = joined_cluster()
    connection = connected(bus, 2)
    while not connection.queuing:
        bus.daemons[1].cpg_mcast(0, 1, bytes(1000))
        bus.rotate(1, 2, 3)
    _, outputs = bus.daemons[2].cpg_disconnect(0, 7)
    assert any(isinstance(output, CancelTimer) and output.timer == FLUSH_TIMER for output in outputs)
    assert not bus.daemons[2].ipc.flush_waits


@pytest.mark.parametrize(("queued", "level", "requests"), [(0, "LOW", 50), (27, "GOOD", 5), (40, "HIGH", 1)])
def test_a_fuller_send_queue_reads_fewer_requests_at_a_time(queued: int, level: str, requests: int) -> None:
    bus = joined_cluster()
    bus.rings[1].new_queue.extend([b""] * queued)
    ipc = bus.daemons[1].ipc
    ipc.check_level()
    assert (ipc.flow.level.name, ipc.requests_per_event) == (level, requests)


def test_a_critical_queue_stops_senders_until_a_millisecond_timer_finds_room() -> None:
    bus = joined_cluster()
    connection = connected(bus, 1)
    daemon = bus.daemons[1]
    bus.forget()
    bus.rings[1].new_queue.extend([b""] * 45)
    assert connection.send(Mcast(b"x")) is CpgError.OK
    bus.outputs[1].extend(daemon.read_request(0, 7))
    assert connection.stopped, "the slot reserved for it makes it 75 percent"
    assert [o.level for o in bus.of(1, QueueLevelChanged)] == ["CRITICAL"]  # type: ignore[attr-defined]
    assert any(isinstance(o, SetTimer) and o.timer == RECHECK_TIMER and o.delay_ns == 1_000_000 for o in bus.outputs[1])
    assert connection.send(Mcast(b"y")) is CpgError.TRY_AGAIN
    assert connection.send(Leave()) is CpgError.OK, "other calls go into the ring and wait there"
    del bus.rings[1].new_queue[2:]
    daemon.expire(0, RECHECK_TIMER)
    assert not connection.stopped
    assert connection.send(Mcast(b"y")) is CpgError.OK


def test_a_sync_stops_senders_and_lets_other_calls_wait() -> None:
    bus = joined_cluster()
    connection = connected(bus, 1)
    bus.form(1, 2)
    assert connection.send(Mcast(b"x")) is CpgError.TRY_AGAIN
    bus.rotate(1, 2)
    assert connection.send(Mcast(b"x")) is CpgError.OK


def test_a_full_request_ring_turns_a_sender_away() -> None:
    bus = joined_cluster()
    connection = connected(bus, 1)
    sent = 0
    while connection.send(Mcast(bytes(1000))) is CpgError.OK:
        sent += 1
    assert sent == 1052672 // (1000 + 40 + 8)
    assert connection.requests == sent


# ------------------------------------------------------------------------------------------------------ large messages


def roomy_cluster() -> Bus:
    """A cluster whose send queues are as long as they are with small packets."""
    bus = joined_cluster()
    for ring in bus.rings.values():
        ring.send_queue_size = 2974
    return bus


def parts_of(payload: bytes) -> list[PartialMcast]:
    sender = PartSender(payload)
    parts = [sender.request]
    while sender.answered(CpgError.OK):
        parts.append(sender.request)
    return parts


def test_a_large_message_goes_in_parts_of_the_atomic_size() -> None:
    payload = bytes(range(256)) * (10 * 1024)
    parts = parts_of(payload)
    assert [(part.part, len(part.payload)) for part in parts] == [(1, 1047552), (2, 1047552), (3, 526336)]
    assert {part.total for part in parts} == {len(payload)}
    assert b"".join(part.payload for part in parts) == payload
    assert [part.part for part in parts_of(bytes(2 * ATOMIC_MESSAGE_SIZE_MAX))] == [1, 3]


def test_a_refused_part_is_tried_again_a_hundred_times() -> None:
    sender = PartSender(bytes(2_000_000))
    assert [sender.refused() for _ in range(101)] == [True] * 100 + [False]
    sender = PartSender(bytes(2_000_000))
    assert not sender.answered(CpgError.TRY_AGAIN), "a refusal by the daemon itself ends the whole message"


def test_a_large_message_reaches_every_client_as_it_was_sent() -> None:
    bus = roomy_cluster()
    bus.forget()
    payload = bytes(range(251)) * 9000
    for part in parts_of(payload):
        assert bus.daemons[1].requests.mcast_part(1, part.total, part.part, part.payload) is CpgError.OK
        bus.rotate(1, 2, 3)
    for node in (1, 2, 3):
        assembler = PartAssembler()
        shown = [assembler.event(event) for event in bus.of(node, CpgPartDelivered)]  # type: ignore[arg-type]
        assert shown[:-1] == [None] * (len(shown) - 1)
        assert isinstance(shown[-1], CpgDelivered)
        assert (shown[-1].payload, shown[-1].nodeid, shown[-1].pid) == (payload, 1, 100)
    assert not bus.of(1, CpgDelivered)


def test_a_change_of_the_group_interrupts_a_large_message() -> None:
    bus = roomy_cluster()
    first, second = parts_of(bytes(2_000_000))
    assert bus.daemons[1].requests.mcast_part(1, first.total, first.part, first.payload) is CpgError.OK
    bus.rotate(1, 2, 3)
    connected(bus, 2)
    bus.forget()
    error = bus.daemons[1].requests.mcast_part(1, second.total, second.part, second.payload)
    assert error is CpgError.INTERRUPT
    bus.rotate(1, 2, 3)
    lines = [output for output in bus.outputs[1] if isinstance(output, Log) and output.level == "error"]
    assert lines[0].text == r"*** 0x1 can't mcast to group pve_dcdb_v1\x00 state:3, error:16"
    assert not bus.of(3, CpgPartDelivered)


def test_an_answer_follows_every_request_but_mcast() -> None:
    bus = joined_cluster()
    connection = connected(bus, 2)
    daemon = bus.daemons[2]
    for request, answers in ((Mcast(b"x"), 0), (PartialMcast(2_000_000, 1, b"y"), 1), (Leave(), 1)):
        connection.send(request)
        outputs = daemon.read_request(0, 7)
        assert [output.error for output in outputs if isinstance(output, Response)] == [CpgError.OK] * answers


def test_half_messages_of_those_who_left_are_forgotten() -> None:
    assembler = PartAssembler()
    first, _ = parts_of(bytes(2_000_000))
    event = CpgPartDelivered(1, "g", 2, 20, first.part, first.total, first.payload, 5)
    assert assembler.event(event) is None
    gone = CpgConfchg(1, "g", (), (CpgMember(2, 20, ConfchgReason.LEAVE),), ())
    assert assembler.event(gone) is gone
    last = CpgPartDelivered(1, "g", 2, 20, 3, first.total, b"rest", 6)
    assert assembler.event(last) is None


def test_sizes_of_events_in_the_ring() -> None:
    member = CpgMember(1, 10)
    assert event_size(CpgConfchg(1, "g", (member,) * 3, (), (member,))) == 184 + 4 * 24
    assert event_size(CpgDelivered(1, "g", 1, 10, bytes(7), 1)) == 191
    assert event_size(CpgPartDelivered(1, "g", 1, 10, 1, 9, bytes(7), 1)) == 207
    assert LAB.totem.net_mtu == 1410
