"""What a client that does not read does to its cluster: the lab's experiments (corosync 3.1.7), repeated."""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise

import msgspec
import pytest

from tests.sim.runs import SCENARIOS, found, run, run_file, seconds
from totemviz.corosync.effects import CpgConfchg, CpgDelivered, CpgPartDelivered, IpcBacklog, QueueLevelChanged
from totemviz.sim.interventions import CpgFlood, CpgRead, Kill, Pause, Restart, Write
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, ScenarioError, load_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.world import World
from totemviz.totem.effects import Log, MembershipInstalled, SetTimer, TokenReceived
from totemviz.trace import events as ev
from totemviz.trace.checks import check
from totemviz.trace.checks.isolation import difference
from totemviz.trace.cursor import Cursor
from totemviz.trace.events import Body
from totemviz.trace.timeline import Timeline

MS = 1_000_000
STOPPED, RESUMED = 6.0, 9.0
FIRST_PROGRAM = 2  # its client number: 0 and 1 are of pmxcfs


@cache
def reader() -> World:
    return run_file("client-stopped-reader")


@cache
def pmxcfs() -> World:
    return run_file("client-stopped-pmxcfs")


def longest_gap_ms(world: World, node: int, from_s: float, to_s: float) -> float:
    """Between two tokens at a node."""
    times = [e.time_ns for e, _ in found(world.timeline, TokenReceived, node, from_s) if e.time_ns < to_s * 1e9]
    return max(later - earlier for earlier, later in pairwise(times)) / MS


def probe_latencies_ms(world: World, from_s: float, to_s: float, every_s: float = 0.01) -> list[float]:
    """From the call to the delivery at the sender, of the probe in a group of its own, started at 3 s."""
    delivered = [(e.time_ns, b) for e, b in found(world.timeline, CpgDelivered, 3) if b.group == "probe"]
    first = delivered[0][0]
    sent = {number: first + round((number - 1) * every_s * 1e9) for number in range(1, len(delivered) + 1)}
    return [
        (time_ns - sent[int.from_bytes(body.payload[:8], "little")]) / MS
        for time_ns, body in delivered
        if from_s * 1e9 <= time_ns < to_s * 1e9
    ]


# ------------------------------------------------------------------------------------------------- a stopped CPG reader


def test_a_stopped_reader_delays_neither_the_token_nor_others() -> None:
    world = reader()
    before, stopped = longest_gap_ms(world, 2, 4, STOPPED), longest_gap_ms(world, 2, STOPPED, RESUMED)
    assert stopped <= before * 1.05
    assert max(probe_latencies_ms(world, STOPPED, RESUMED)) < 10
    assert not found(world.timeline, MembershipInstalled, after_s=3)


def test_its_daemon_keeps_the_messages_without_limit_and_drains_when_it_goes_on() -> None:
    world = reader()
    backlogs = [(event, body) for event, body in found(world.timeline, IpcBacklog)]
    assert {event.node for event, _ in backlogs} == {2}
    queued = [body.queued for _, body in backlogs]
    most = max(queued)
    assert 6000 - most == pytest.approx(880, abs=10), "as much as fits into the ring"
    assert max(body.queued_bytes for _, body in backlogs) / most == 1248, "about 1.2 KiB for a message of 1000 bytes"
    assert queued[-1] == 0
    (line,) = [body.text for _, body in found(world.timeline, Log) if body.text.startswith("Q empty")]
    assert line == f"Q empty, queued:0 sent:{most}."
    drained = backlogs[-1][0].time_ns / 1e9 - RESUMED
    assert drained < 0.11, "the lab needed 0.11 s for ten times as many"
    assert world.hosts[2].local_ipc.programs["reader"].received == 6000 + 2, "and itself and the flooder joining"


def test_the_sender_is_turned_away_by_its_own_queue_only() -> None:
    """In the lab for 6 to 10 ms at a time."""
    world = reader()
    (flood,) = [body for event, body in found(world.timeline, ev.FloodFinished, 1)]
    assert flood.messages == 6000
    assert flood.retries > 10
    assert 6 <= flood.longest_refusal_ns / MS <= 12
    arrived = [e.time_ns for e, b in found(world.timeline, CpgDelivered, 2, 7) if b.group == "flood"]
    assert len(arrived) / ((arrived[-1] - arrived[0]) / 1e9) == pytest.approx(20_000, rel=0.15), "as in the lab"
    levels = {body.level for _, body in found(world.timeline, QueueLevelChanged, 1, 7)}
    assert "CRITICAL" in levels
    assert not found(world.timeline, ev.CpgRefused, 2)
    assert not found(world.timeline, ev.CpgRefused, 3)
    refused = [event.time_ns for event, _ in found(world.timeline, ev.CpgRefused, 1)]
    critical = [e.time_ns for e, b in found(world.timeline, QueueLevelChanged, 1, 7) if b.level == "CRITICAL"]
    for moment in refused:
        assert any(0 <= moment - start < 12 * MS for start in critical)


def test_the_view_shows_the_memory() -> None:
    world = reader()
    cursor = Cursor(world.timeline)
    cursor.move_to(world.timeline.position_at(int(8.9e9)))
    (queue,) = cursor.view.nodes[2].client_queues.values()
    assert queue.queued > 5000
    assert queue.queued_bytes == queue.most_bytes > 6 * 1024 * 1024
    cursor.move_to(len(world.timeline) - 1)
    (after,) = cursor.view.nodes[2].client_queues.values()
    assert (after.queued, after.most_bytes) == (0, queue.most_bytes)


def test_with_an_idle_ring_the_backlog_drains_every_50_ms() -> None:
    """Nothing wakes the loop then but its own limit, and timers are not looked at meanwhile."""
    stop = Pause(at=seconds(4), node=2, process="reader", duration=seconds(3))
    world = run(9, CpgRead(at=seconds(3), node=2), CpgFlood(at=seconds(5), node=1, count=4000), stop,
                host_model=HostModel.MEASURED)  # fmt: skip
    drained = [event.time_ns for event, body in found(world.timeline, IpcBacklog, after_s=7)]
    assert 50 * MS <= drained[-1] - 7e9 <= 300 * MS


def twins(**scenario: object) -> tuple[World, World]:
    """A run in which a reader on pve1 is stopped while others send, and one in which it is not."""
    actions = [
        CpgRead(at=seconds(3), node=1),
        CpgRead(at=seconds(3), node=3),
        CpgFlood(at=seconds(5), node=2, count=1500, rate=5000),
        Write(at=seconds(6), node=2, path="a.cfg"),
    ]
    stop = Pause(at=seconds(4), node=1, process="reader", duration=seconds(4))
    return (
        run(9, *actions, host_model=HostModel.MEASURED, **scenario),
        run(9, *actions, stop, host_model=HostModel.MEASURED, **scenario),
    )


def token_times(world: World, node: int) -> list[int]:
    return [event.time_ns for event, _ in found(world.timeline, TokenReceived, node)]


def test_client_isolation_with_a_token_that_never_rests() -> None:
    """Invariant 40, a property of two runs: with the ring busy nothing but memory differs."""
    busy = ClusterSpec(totem={"seqno_unchanged_const": 1_000_000})
    with_reader, without = twins(cluster=busy, network=NetworkSpec(delay=seconds(0.001)))
    assert found(without.timeline, IpcBacklog)
    assert difference(with_reader.timeline, without.timeline, 1, {FIRST_PROGRAM}) == ""


def test_client_isolation_when_the_token_is_held() -> None:
    """All that a backlog costs: its node's timers are up to 50 ms late, here the representative's hold timer."""
    with_reader, without = twins()
    assert {path: round(took, 3) for path, took in writes(with_reader).items()} == {
        path: round(took, 3) for path, took in writes(without).items()
    }
    backlog = [event.time_ns for event, _ in found(without.timeline, IpcBacklog)]
    gaps = {
        world: [
            (later - earlier) / MS
            for earlier, later in pairwise(token_times(world, 2))
            if backlog[0] + 1e9 < earlier < 8e9 and later < 8e9
        ]
        for world in (with_reader, without)
    }
    assert max(gaps[with_reader]) == pytest.approx(685.4, abs=1)
    assert 685 + 10 < max(gaps[without]) <= 685.4 + 50


# ------------------------------------------------------------------------------------------------------ stopped pmxcfs


def writes(world: World) -> dict[str, float]:
    """Path → seconds it took."""
    started = {body.write: body.path for _, body in found(world.timeline, ev.WriteStarted)}
    return {started[body.write]: body.took_ns / 1e9 for _, body in found(world.timeline, ev.WriteFinished)}


def test_a_stopped_pmxcfs_holds_nobody_up_until_the_group_changes() -> None:
    """In the lab a write waited 16,995 ms for SIGCONT; token and probe did not notice."""
    world = pmxcfs()
    took = writes(world)
    assert took["storage.cfg"] < 0.01
    assert took["datacenter.cfg"] == pytest.approx(25 - 10, abs=0.1), "from the write to SIGCONT"
    assert not found(world.timeline, MembershipInstalled, after_s=5), "the ring is not concerned"
    assert longest_gap_ms(world, 2, 5, 25) < 686


def test_pmxcfs_tries_again_every_100_ms_while_the_send_queue_is_critical() -> None:
    """A flood on the writer's own node: the write waits, and the log says how often it was turned away."""
    conf = ClusterSpec(conf="tests/corosync/data/lab-3-nodes-udpu.conf")
    slow = NetworkSpec(delay=seconds(0.001))
    flood = CpgFlood(at=seconds(4), node=1, count=9000, retry=seconds(0.000_02))
    written = Write(at=seconds(4.3), node=1, path="a{n}.cfg", content="x", count=3, every=seconds(0.01))
    world = run(9, flood, written, host_model=HostModel.MEASURED, cluster=conf, network=slow)
    lines = [body.text for _, body in found(world.timeline, Log, 1, 4) if body.text.startswith("cpg_send_message")]
    assert lines
    assert all(line.startswith("cpg_send_message retr") for line in lines)
    took = writes(world)
    assert min(took.values()) > 0.1
    assert not [body for _, body in found(world.timeline, ev.WriteFinished) if body.result < 0]


# ------------------------------------------------------------------------------------------------------- large messages


def test_pmxcfs_sends_a_large_file_to_a_member_that_lacks_it_in_parts() -> None:
    """A file of 1 MiB, with what pmxcfs puts in front of it, is more than CPG takes in one piece."""
    size = 1024 * 1024
    world = run(
        20,
        Kill(at=seconds(4), node=3, process="pmxcfs"),
        Write(at=seconds(5), node=1, path="large.cfg", content="y" * size),
        Restart(at=seconds(8), node=3),
        host_model=HostModel.MEASURED,
    )
    parts = [body for _, body in found(world.timeline, CpgPartDelivered, 3)]
    assert [body.part for body in parts] == [1, 3]
    (whole,) = [body for _, body in found(world.timeline, CpgDelivered, 3) if len(body.payload) > size]
    assert len(whole.payload) == parts[0].total
    pmxcfs = world.hosts[3].pmxcfs
    assert pmxcfs is not None
    assert pmxcfs.read("large.cfg") == b"y" * size


def test_a_message_of_three_mebibytes_arrives_whole_on_every_node() -> None:
    size = 3 * 1024 * 1024
    readers = [CpgRead(at=seconds(3), node=node) for node in (2, 3)]
    world = run(6, *readers, CpgFlood(at=seconds(4), node=1, count=2, size=size), host_model=HostModel.MEASURED)
    parts = [body for _, body in found(world.timeline, CpgPartDelivered, 2)]
    assert [body.part for body in parts] == [1, 2, 2, 3] * 2
    for node in (1, 2, 3):
        whole = [body.payload for _, body in found(world.timeline, CpgDelivered, node) if body.group == "test"]
        assert [(payload[:8], len(payload)) for payload in whole] == [
            (number.to_bytes(8, "little"), size) for number in (1, 2)
        ]
    (flood,) = [body for _, body in found(world.timeline, ev.FloodFinished)]
    assert flood.messages == 2


def test_a_large_message_put_together_wrong_is_noticed() -> None:
    flood = CpgFlood(at=seconds(3), node=1, count=1, size=2_000_000)
    world = run(4, flood, cluster=ClusterSpec(nodes=1), host_model=HostModel.MEASURED)
    assert not [violation for violation in check(world.timeline) if violation.invariant == 41]
    twin = Timeline()
    for event in world.timeline:
        body = event.body
        if isinstance(body, CpgDelivered) and len(body.payload) == 2_000_000:
            body = msgspec.structs.replace(body, payload=body.payload[:-1] + b"?")
        twin.append(event.time_ns, event.node, event.cause, body)
    (violation,) = [violation for violation in check(twin) if violation.invariant == 41]
    assert "delivers 2000000 bytes" in violation.why


def test_a_join_in_between_interrupts_a_large_message() -> None:
    """CS_ERR_INTERRUPT: half a message is of no use to anybody, and the sender is told."""
    flood = CpgFlood(at=seconds(4), node=1, count=1, size=32 * 1024 * 1024)
    late = CpgRead(at=seconds(4.002), node=3)
    world = run(6, CpgRead(at=seconds(3), node=2), flood, late, host_model=HostModel.MEASURED)
    (finished,) = [body for _, body in found(world.timeline, ev.FloodFinished)]
    assert finished.messages == 0
    assert {body.part for _, body in found(world.timeline, CpgPartDelivered, 2)} <= {1, 2}, "never the last part"
    assert not [body for _, body in found(world.timeline, CpgDelivered, 2) if body.group == "test"]
    assert any("can't mcast to group test" in body.text for _, body in found(world.timeline, Log, 1))


# ------------------------------------------------------------------------------------------------------- lives and ends


def test_a_killed_program_leaves_its_group() -> None:
    world = run(6, CpgRead(at=seconds(3), node=2), CpgRead(at=seconds(3), node=3), Kill(at=seconds(4), node=2,
                process="reader"), host_model=HostModel.MEASURED)  # fmt: skip
    views = [body for _, body in found(world.timeline, CpgConfchg, 3) if body.group == "test"]
    assert [(len(view.members), [member.reason.name for member in view.left]) for view in views] == [
        (2, []),
        (1, ["PROCDOWN"]),
    ] or [len(view.members) for view in views] == [1, 2, 1]
    assert "reader" not in world.hosts[2].local_ipc.programs


def test_a_program_may_die_before_it_is_let_in() -> None:
    stop = Pause(at=seconds(3), node=2, duration=seconds(1))
    dead = Kill(at=seconds(3.5), node=2, process="reader")
    world = run(6, CpgRead(at=seconds(3.1), node=2), stop, dead, host_model=HostModel.MEASURED)
    assert not [body for _, body in found(world.timeline, CpgConfchg) if body.group == "test"]


def test_programs_end_with_their_corosync() -> None:
    world = run(6, CpgRead(at=seconds(3), node=2), Kill(at=seconds(4), node=2, process="corosync"),
                host_model=HostModel.MEASURED)  # fmt: skip
    assert not world.hosts[2].local_ipc.programs


def test_all_of_a_host_can_stand_still() -> None:
    world = run(20, CpgRead(at=seconds(3), node=2), Pause(at=seconds(5), node=2, process="host", duration=seconds(2)),
                host_model=HostModel.MEASURED)  # fmt: skip
    stopped = {name for _, body in found(world.timeline, ev.ProcessBlocked, 2, 5) for name in body.processes}
    assert stopped == {"corosync", "pmxcfs", "reader"}
    resumed = [event.time_ns for event, _ in found(world.timeline, ev.ProcessResumed, 2, 5)]
    assert set(resumed) == {int(7e9)}


def test_what_runs_beside_a_main_thread_that_waits_is_done_to_its_end() -> None:
    """As a FUSE request of pmxcfs, whose main loop waits for the disk."""
    host = run(2, host_model=HostModel.MEASURED).hosts[1]
    host.processes.threads["pmxcfs"].blocked = True
    host.carry_out("pmxcfs", [SetTimer("one", 10**12), SetTimer("another", 10**12)], -1)
    assert host.processes.timers.deadline_ns("pmxcfs", "another") is not None


@pytest.mark.parametrize("model", list(HostModel))
def test_requests_wait_in_the_ring_while_corosync_is_stopped(model: HostModel) -> None:
    """A sender notices nothing: libcpg has put its messages into the ring, and that is all OK means."""
    stop = Pause(at=seconds(4), node=1, duration=seconds(1))
    world = run(8, CpgRead(at=seconds(3), node=1, program="flood"), CpgFlood(at=seconds(4.1), node=1, count=50), stop,
                host_model=model)  # fmt: skip
    (flood,) = [body for _, body in found(world.timeline, ev.FloodFinished)]
    assert (flood.messages, flood.retries) == (50, 0)
    assert flood.took_ns < 5 * MS
    delivered = [e.time_ns for e, b in found(world.timeline, CpgDelivered, 1, 3.5) if b.group == "test"]
    assert len(delivered) == 50
    assert min(delivered) >= 5e9


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('action = "cpg_read"\nprogram = "pmxcfs"', ":5: 'pmxcfs' is no name for a program"),
        ('action = "cpg_flood"\nsize = -1', ":5: -1 is too small; use 0 or more"),
        ('action = "cpg_flood"\nretry = "0ms"', ":5: a program that does not wait"),
        ('action = "pause"\nduration = "1s"\nprocess = "reader"', ":6: unknown process 'reader'; use corosync or"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(tmp_path, text: str, what: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "wrong.toml"
    path.write_text(f'[[interventions]]\nat = "3s"\nnode = 1\n{text}\n')
    with pytest.raises(ScenarioError) as error:
        load_scenario(path)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------- the lab's own size


class Sieve(Timeline):
    """Keeps what is asked of it, so that 60,000 messages do not fill the memory."""

    KEPT = (IpcBacklog, ev.FloodFinished, ev.CpgRefused, QueueLevelChanged, TokenReceived, MembershipInstalled, Log)

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def append(self, time_ns: int, node: int, cause: int, body: Body, inferred: bool = False) -> int:
        if isinstance(body, self.KEPT):
            super().append(time_ns, node, cause, body, inferred)
        self._count += 1
        return self._count - 1


def lab_flood() -> World:
    """60,000 messages of 1000 bytes to a reader that is stopped for 21 s."""
    scenario, conf = load_scenario(SCENARIOS / "client-stopped-reader.toml")
    world = World(scenario, conf, Sieve())
    world.script = (
        CpgRead(at=seconds(3), node=2),
        CpgFlood(at=seconds(3), node=3, program="probe", group="probe", count=2800, size=64, rate=100),
        Pause(at=seconds(6), node=2, process="reader", duration=seconds(21)),
        CpgFlood(at=seconds(7), node=1, count=60_000, size=1000),
    )
    world.run_until(int(29e9))
    return world


@pytest.mark.skipif(os.environ.get("TOTEMVIZ_SEARCH") != "deep", reason="takes minutes: TOTEMVIZ_SEARCH=deep runs it")
def test_the_flood_of_the_lab() -> None:
    """Lab: 3.0 s, sent:59119, 91.2 - 20.3 MiB, 1705 retries of 6 to 10 ms at a time, drained in 0.11 s, gap 42 ms."""
    world = lab_flood()
    timeline = world.timeline
    (flood,) = [body for event, body in found(timeline, ev.FloodFinished, 1)]
    assert flood.took_ns / 1e9 == pytest.approx(3.0, rel=0.15)
    assert 6 <= flood.longest_refusal_ns / MS <= 12
    (line,) = [body.text for _, body in found(timeline, Log) if body.text.startswith("Q empty")]
    assert int(line.rpartition("sent:")[2].rstrip(".")) == pytest.approx(59119, abs=10)
    assert max(body.queued_bytes for _, body in found(timeline, IpcBacklog)) / 2**20 == pytest.approx(70.9, rel=0.02)
    drained = [event.time_ns for event, body in found(timeline, IpcBacklog) if body.queued == 0][-1]
    assert drained / 1e9 - 27 < 0.11
    assert longest_gap_ms(world, 2, 6, 27) < 42
    assert not found(timeline, MembershipInstalled, after_s=3)
