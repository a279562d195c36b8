"""Recordings: real ones against what the daemons' logs said, small made-up ones against what is known of them."""

from __future__ import annotations

import calendar
import datetime
import gzip
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import dpkt
import pytest

from totemviz.totem import wire
from totemviz.totem.effects import (
    MembershipInstalled,
    MessagesMulticast,
    RetransmitChecked,
    RingId,
    StateEntered,
    TokenIgnored,
    TokenPassed,
    TokenReceived,
    TokenReleased,
)
from totemviz.totem.wire import HoldCancel, Join, Mcast, MergeDetect, Token
from totemviz.trace.capture import CaptureError
from totemviz.trace.events import UNKNOWN, DatagramReceived, DatagramSent, Event, ProcessStarted, RunStarted
from totemviz.trace.recorded import Recording, load_recording
from totemviz.trace.recorded_rings import at_most, newer
from totemviz.trace.timeline import Timeline

DATA = Path(__file__).parent / "data"
COLDBOOT = [DATA / f"coldboot-pve{node}.pcap.gz" for node in (1, 2, 3)]
KNET = DATA / "coldboot-knet-pve2.pcap.gz"
KILL = DATA / "kill-pve1.pcap.gz"
MS = 1_000_000


def installed(recording: Recording, node: int) -> list[Event]:
    return [e for e in recording.timeline if isinstance(e.body, MembershipInstalled) and e.node == node]


def memberships(recording: Recording, node: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(m.ring_id, m.members) for m in recording.summary.memberships if m.node == node]


# ----------------------------------------------------------------------------------------------- real recordings


def test_a_node_is_killed_and_comes_back() -> None:
    """Expected from the log of the node that was recorded: rings 1.5, 1.9, 1.e at 16.806, 31.834 and 44.150 s."""
    recording = load_recording([KILL])
    summary = recording.summary
    assert (summary.frames, summary.decoded, summary.undecoded, summary.warnings) == (820, 820, [], [])
    assert sum(summary.messages.values()) == 820
    assert summary.messages["memb_commit_token"] == 12
    assert [(m.node, m.ring_id, m.members) for m in summary.memberships] == [
        (1, "1.5", (1, 2, 3)),
        (1, "1.9", (1, 2)),
        (1, "1.e", (1, 2, 3)),
    ]
    started = recording.timeline[0].body
    assert isinstance(started, RunStarted)
    assert (started.world, started.transport, [node.nodeid for node in started.nodes]) == (
        "recorded",
        "udpu",
        [1, 2, 3],
    )
    assert started.timeouts_ms["token"] == 3650
    assert recording.timeline[0].inferred
    for event, log_s in zip(installed(recording, 1), (16.806, 31.834, 44.150), strict=True):
        minute_ns = (event.time_ns + started.epoch_ns) % 60_000_000_000
        assert abs(minute_ns - log_s * 1e9) < 10 * MS
    changes = [(e.body.joined, e.body.left, e.body.unannounced) for e in installed(recording, 1)]
    assert changes == [((1, 2, 3), (), ()), ((), (3,), (3,)), ((3,), (), ())]


def test_states_of_the_recorded_node() -> None:
    recording = load_recording([KILL])
    states = [
        (e.body.state, str(e.body.ring_id), e.body.proc, e.body.failed)
        for e in recording.timeline
        if isinstance(e.body, StateEntered) and e.node == 1 and e.time_ns > 5_000 * MS
    ]
    assert states == [
        ("GATHER", "1.5", (1, 2, 3), ()),
        ("GATHER", "1.5", (1, 2, 3), (3,)),
        ("COMMIT", "1.9", (1, 2), ()),
        ("RECOVERY", "1.9", (1, 2), ()),
        ("OPERATIONAL", "1.9", (1, 2), ()),
        ("GATHER", "1.9", (1, 2, 3), ()),
        ("COMMIT", "1.e", (1, 2, 3), ()),
        ("RECOVERY", "1.e", (1, 2, 3), ()),
        ("OPERATIONAL", "1.e", (1, 2, 3), ()),
    ]
    assert [e.node for e in recording.timeline if isinstance(e.body, ProcessStarted)] == [2, 1, 3, 3]


def test_a_held_token_is_visible() -> None:
    """The idle ring turns once per 685 ms (hold of three nodes); the token waits at the representative."""
    timeline = load_recording(COLDBOOT[:1]).timeline
    held = [e for e in timeline if isinstance(e.body, TokenPassed) and e.body.held]
    assert 10 <= len(held) <= 20
    released = [e for e in timeline if isinstance(e.body, TokenReleased)]
    assert {e.body.reason for e in released} == {"hold time over"}
    by_cause = {e.cause: e for e in released}
    waits_ns = [by_cause[e.id].time_ns - e.time_ns for e in held]
    assert all(abs(wait_ns - 685 * MS) < 3 * MS for wait_ns in waits_ns)
    assert all(not e.body.held for e in timeline if isinstance(e.body, TokenPassed) and e.time_ns < 20 * MS)


def test_three_files_become_one_timeline() -> None:
    recording = load_recording(COLDBOOT)
    alone = [load_recording([path]) for path in COLDBOOT]
    assert recording.summary.frames == sum(one.summary.frames for one in alone)
    for node, one in enumerate(alone, start=1):
        assert memberships(recording, node) == memberships(one, node)
    assert memberships(recording, 1) == [("1.9", (1, 2, 3))]
    assert memberships(recording, 2) == [("2.5", (2,)), ("1.9", (1, 2, 3)), ("2.d", (2, 3))]
    assert memberships(recording, 3) == [("1.9", (1, 2, 3)), ("2.d", (2, 3)), ("3.11", (3,))]
    sent = {e.id: e for e in recording.timeline if isinstance(e.body, DatagramSent)}
    reached: dict[int, list[int]] = {}
    for event in recording.timeline:
        if isinstance(event.body, DatagramReceived):
            assert event.cause == event.body.sent
            reached.setdefault(event.body.sent, []).append(event.node)
    last_ns = recording.timeline[-1].time_ns
    for number, event in sent.items():
        assert event.node == event.body.source
        receivers = sorted(reached.get(number, []))
        if event.time_ns > last_ns - 500 * MS:
            continue  # the nodes and their captures are being stopped
        assert not event.inferred
        if event.body.target:
            assert receivers == [event.body.target]
        else:
            assert receivers == sorted({1, 2, 3} - {event.node})
    tokens = [wire.decode(e.body.data) for e in sent.values() if e.body.kind == "orf_token"]
    hops = Counter((t.ring_id, t.token_seq) for t in tokens)
    assert set(hops.values()) == {1}


def test_knet() -> None:
    recording = load_recording([KNET])
    summary = recording.summary
    assert (summary.frames, summary.decoded, summary.undecoded) == (555, 555, [])
    assert summary.knet == {"ping": 64, "pmtud": 9, "pmtud_reply": 9, "pong": 61}
    assert memberships(recording, 2) == [("2.5", (2,)), ("1.9", (1, 2)), ("1.d", (1, 2, 3)), ("2.11", (2, 3))]
    assert recording.timeline[0].body.transport == "knet"


@pytest.mark.parametrize("paths", [[KILL], [KNET], COLDBOOT, COLDBOOT[2:]], ids=["kill", "knet", "three", "one"])
def test_what_every_recording_obeys(paths: list[Path]) -> None:
    recording = load_recording(paths)
    check_timeline(recording)
    assert load_recording(paths).timeline.digest() == recording.timeline.digest()


def check_timeline(recording: Recording) -> None:
    timeline = recording.timeline
    new_by_cause: Counter[int] = Counter()
    last_ns = 0
    for number, event in enumerate(timeline):
        assert event.id == number
        assert event.cause < number
        assert event.time_ns >= last_ns
        last_ns = event.time_ns
        body = event.body
        if isinstance(body, DatagramSent):
            assert wire.decode(body.data).encode() == body.data
            new_by_cause[event.cause] += 1
        elif not isinstance(body, DatagramReceived):
            assert event.inferred
    for event in timeline:
        body = event.body
        if isinstance(body, MessagesMulticast):
            # the token says how many messages the visit sent, the datagrams in between are those messages
            assert new_by_cause[event.id] == body.count
            checked = timeline[event.cause]
            received = timeline[checked.cause]
            assert isinstance(checked.body, RetransmitChecked)
            assert isinstance(received.body, TokenReceived)
            assert new_by_cause[checked.id] == len(checked.body.resent)
        elif isinstance(body, TokenPassed) and event.cause >= 0:
            received = timeline[timeline[timeline[event.cause].cause].cause].body
            assert body.token_seq == received.token_seq + 1


def test_json_lines_survive(tmp_path: Path) -> None:
    timeline = load_recording([KILL]).timeline
    timeline.save(tmp_path / "run.jsonl")
    assert Timeline.load(tmp_path / "run.jsonl").digest() == timeline.digest()


def test_names_and_timeouts_are_taken_over() -> None:
    recording = load_recording([KNET], names={1: "pve1"}, timeouts_ms={"token": 1000, "hold": 180})
    started = recording.timeline[0]
    assert not started.inferred
    assert started.body.timeouts_ms == {"token": 1000, "hold": 180}
    assert [node.name for node in started.body.nodes] == ["pve1", "node 2", "node 3"]


def middle(path: Path, target: Path) -> Path:
    """What a capture begun in the idle ring would have: no commit token, no join, no ordered message."""
    content = gzip.decompress(path.read_bytes())
    at, kept, first_ns = 24, [], 0
    while at < len(content):
        seconds, micros, size = struct.unpack_from("<III", content, at)
        time_ns = seconds * 1_000_000_000 + micros * 1000
        first_ns = first_ns or time_ns
        if 1_000 * MS < time_ns - first_ns < 10_000 * MS:
            kept.append(content[at : at + 16 + size])
        at += 16 + size
    target.write_bytes(content[:24] + b"".join(kept))
    return target


def test_captures_begun_in_the_middle(tmp_path: Path) -> None:
    """The members follow from the hops between two visits and the nodes seen acting."""
    recording = load_recording([middle(path, tmp_path / path.name) for path in COLDBOOT])
    check_timeline(recording)
    for node in (1, 2, 3):
        assert memberships(recording, node) == [("1.9", (1, 2, 3))]
        (event,) = installed(recording, node)
        assert (event.body.joined, event.body.left) == ((), ())
        assert event.time_ns < 1_000 * MS


def test_members_are_not_guessed(tmp_path: Path) -> None:
    """The recorded representative of an idle ring never hears of its successor's id."""
    recording = load_recording([middle(COLDBOOT[0], tmp_path / "a")])
    check_timeline(recording)
    assert recording.summary.memberships == []
    (entered,) = [e.body for e in recording.timeline if isinstance(e.body, StateEntered)]
    assert (entered.state, str(entered.ring_id), entered.proc) == ("OPERATIONAL", "1.9", ())


# ------------------------------------------------------------------------------------------- all recordings at hand

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
LINE = re.compile(
    r"^(\w+ \d+ [\d:.]+) .*A new membership \((\w+\.\w+)\) was formed\."
    r" Members(?: joined:((?: \d+)+))?(?: left:((?: \d+)+))?"
)
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="no folder shared/traces beside the repository")


def captures() -> list[Path]:
    return sorted(TRACES.glob("*/pve*.pcap*")) if TRACES.is_dir() else [Path("none")]


def text_of(path: Path) -> str:
    return gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()


def ids(text: str | None) -> tuple[int, ...]:
    return tuple(int(word) for word in (text or "").split())


@needs_traces
@pytest.mark.parametrize("path", captures(), ids=lambda path: f"{path.parent.name}-{path.name[:4]}")
def test_memberships_are_those_of_the_log(path: Path) -> None:
    recording = load_recording([path])
    assert recording.summary.undecoded == []
    assert recording.summary.frames == recording.summary.decoded
    node = int(path.name[3])
    (log,) = path.parent.glob(f"corosync-{path.name[:4]}.log*")
    epoch_ns = recording.timeline[0].body.epoch_ns
    year = datetime.datetime.fromtimestamp(epoch_ns // 1_000_000_000, datetime.UTC).year
    logged = []
    for line in text_of(log).splitlines():
        if (match := LINE.match(line)) is not None:
            stamp = datetime.datetime.strptime(f"{year} {match[1]}", "%Y %b %d %H:%M:%S.%f")
            time_ns = calendar.timegm(stamp.timetuple()) * 1_000_000_000 + stamp.microsecond * 1000 - epoch_ns
            logged.append((time_ns, match[2], ids(match[3]), ids(match[4])))
    end_ns = recording.timeline[-1].time_ns
    logged = [entry for entry in logged if entry[0] < end_ns]  # the capture may stop before the daemon
    seen = installed(recording, node)
    assert [(str(e.body.ring_id), e.body.joined, e.body.left) for e in seen] == [entry[1:] for entry in logged]
    for event, (time_ns, *_) in zip(seen, logged, strict=True):
        late_ns = event.time_ns - time_ns
        quiet = event.body.members == (node,) and "knet" in path.parent.name  # nothing is sent before a link is up
        assert -1 * MS < late_ns < (3000 * MS if quiet else 10 * MS)
    assert not [e for e in recording.timeline if isinstance(e.body, MembershipInstalled) and e.node != node]
    check_timeline(recording)


@needs_traces
@pytest.mark.parametrize("folder", sorted({path.parent for path in captures()}), ids=lambda folder: folder.name)
def test_all_nodes_together(folder: Path) -> None:
    paths = sorted(folder.glob("pve*.pcap*"))
    together = load_recording(paths)
    check_timeline(together)
    for node, path in enumerate(paths, start=1):
        assert memberships(together, node) == memberships(load_recording([path]), node)


# --------------------------------------------------------------------------------------------------- made up

RING = RingId(1, 8)
ADDRESS = {node: bytes([10, 0, 0, node]) for node in range(1, 10)}


class Film:
    """Writes a capture of datagrams between numbered nodes."""

    def __init__(self, path: Path, wrap: Callable[[int, bytes], bytes] = lambda _, data: data) -> None:
        self.path = path
        self._file = path.open("wb")
        self._writer = dpkt.pcap.Writer(self._file, linktype=101)
        self._wrap = wrap

    def raw(self, time_ms: float, source: int, target: int, payload: bytes, port: int = 5405) -> None:
        udp = dpkt.udp.UDP(sport=40000, dport=port, ulen=8 + len(payload), data=payload)
        packet = dpkt.ip.IP(src=ADDRESS[source], dst=ADDRESS[target], p=17, data=udp)
        packet.len = 28 + len(payload)
        self._writer.writepkt_time(bytes(packet), 1_000_000 + time_ms / 1000)

    def send(self, time_ms: float, source: int, targets: Iterable[int], message: wire.Message) -> None:
        for target in targets:
            self.raw(time_ms, source, target, self._wrap(source, message.encode()))

    def load(self) -> Recording:
        self._file.close()
        return load_recording([self.path])


def token(sender: int, token_seq: int, seq: int = 0, rtr: tuple[int, ...] = (), **fields: int) -> Token:
    aru = fields.pop("aru", seq)
    return Token(sender, 0, seq, token_seq, aru, fields.pop("aru_addr", 0), RING, rtr=tuple((RING, s) for s in rtr))


def bodies(recording: Recording, kind: type, node: int = 1) -> list:
    return [e.body for e in recording.timeline if isinstance(e.body, kind) and e.node == node]


def test_a_visit_with_everything(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    film.send(0, 3, [1], token(3, 10, seq=6, aru=4, aru_addr=3, rtr=(5,)))
    film.send(1, 1, [2, 3], Mcast(2, 0, 2, 5, 1, RING, b"again"))
    film.send(1.1, 1, [2, 3], Mcast(1, 0, 1, 7, 1, RING, b"new"))
    film.send(1.2, 1, [2, 3], Mcast(1, 0, 1, 8, 2, RING, b"newer"))
    film.send(2, 1, [2], token(1, 11, seq=8, aru=3, aru_addr=1, rtr=(4,)))
    film.send(3, 3, [1], token(3, 13, seq=8))
    film.send(900, 1, [2], token(1, 11, seq=8, aru=3, aru_addr=1, rtr=(4,)))
    film.send(950, 3, [1], token(3, 13, seq=8))
    film.send(960, 2, [1], HoldCancel(2, 0, RING))
    film.send(961, 1, [2, 3], HoldCancel(1, 0, RING))
    recording = film.load()
    check_timeline(recording)
    first, second = bodies(recording, TokenReceived)
    assert (first.token_seq, first.seq, first.aru, first.aru_addr, first.rtr, first.my_aru) == (
        10,
        6,
        4,
        3,
        (5,),
        UNKNOWN,
    )
    assert second.token_seq == 13
    assert bodies(recording, RetransmitChecked) == [RetransmitChecked((5,), (4,), (), UNKNOWN)]
    assert bodies(recording, MessagesMulticast) == [MessagesMulticast(7, 2, UNKNOWN)]
    (passed,) = bodies(recording, TokenPassed)
    assert (passed.token_seq, passed.my_aru, passed.successor, passed.held) == (11, 3, 2, False)
    assert bodies(recording, TokenReleased) == [TokenReleased("retransmission", 11)]
    assert bodies(recording, TokenIgnored) == [TokenIgnored(RING, 13, "duplicate")]
    tail = [type(event.body).__name__ for event in recording.timeline.chain(passed_id(recording))]
    assert tail == [
        "TokenPassed", "MessagesMulticast", "RetransmitChecked", "TokenReceived", "DatagramReceived", "DatagramSent",
    ]  # fmt: skip
    mcasts = [e for e in recording.timeline if isinstance(e.body, DatagramSent) and e.body.kind == "mcast"]
    assert [type(recording.timeline[e.cause].body) for e in mcasts] == [
        RetransmitChecked,
        MessagesMulticast,
        MessagesMulticast,
    ]


def passed_id(recording: Recording) -> int:
    return next(e.id for e in recording.timeline if isinstance(e.body, TokenPassed))


@pytest.mark.parametrize(
    ("wait_ms", "cancelled", "rep", "held", "reason"),
    [
        (685, False, 1, True, "hold time over"),
        (10, True, 1, True, "hold cancelled"),
        (10, False, 1, False, None),
        (685, False, 3, False, None),
    ],
)
def test_hold(tmp_path: Path, wait_ms: float, cancelled: bool, rep: int, held: bool, reason: str | None) -> None:
    ring = RingId(rep, 8)
    film = Film(tmp_path / "a")
    film.send(0, 3, [1], Token(3, 0, 6, 10, 6, 0, ring))
    if cancelled:
        film.send(wait_ms - 1, 2, [1], HoldCancel(2, 0, ring))
    film.send(wait_ms, 1, [2], Token(1, 0, 6, 11, 6, 0, ring))
    recording = film.load()
    (passed,) = [e for e in recording.timeline if isinstance(e.body, TokenPassed)]
    assert passed.body.held is held
    assert passed.time_ns == (0 if held else wait_ms * MS)
    assert [body.reason for body in bodies(recording, TokenReleased)] == ([reason] if reason else [])


def test_a_token_is_not_taken_while_gathering(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    film.send(0, 1, [2, 3], Join(1, 0, 1, 8, (1, 2, 3), ()))
    film.send(1, 3, [1], token(3, 10))
    film.send(2, 1, [2, 3], Join(1, 0, 1, 8, (1, 2, 3), ()))
    recording = film.load()
    assert bodies(recording, TokenIgnored) == [TokenIgnored(RING, 10, "gathering")]
    assert not bodies(recording, TokenReceived)
    assert [body.state for body in bodies(recording, StateEntered)] == ["GATHER"]


def test_a_dead_node_takes_no_token(tmp_path: Path) -> None:
    """The datagram reached the host; nothing shows that a daemon was still there to read it."""
    film = Film(tmp_path / "a")
    film.send(0, 1, [2, 3], HoldCancel(1, 0, RING))
    film.send(1, 3, [1], token(3, 10))
    film.send(1, 2, [1], MergeDetect(2, 0, 2, RING))
    recording = film.load()
    assert not bodies(recording, TokenReceived)
    assert len(bodies(recording, DatagramReceived)) == 2


def test_a_leave_is_a_leave(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    film.send(0, 1, [2, 3], HoldCancel(1, 0, RING))
    film.send(5, 2, [1], HoldCancel(2, 0, RING))
    film.send(5, 3, [1], HoldCancel(3, 0, RING))
    film.send(10, 1, [2, 3], Join(0, 0, 1, 8, (2, 3), (1,)))
    film.send(900, 1, [2, 3], Join(1, 0, 1, 9, (1,), ()))
    recording = film.load()
    assert [body.state for body in bodies(recording, StateEntered)] == ["GATHER"]
    assert [e.time_ns // MS for e in recording.timeline if isinstance(e.body, ProcessStarted) and e.node == 1] == [
        0,
        900,
    ]


def test_equal_joins_are_told_apart_by_their_targets_and_times(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    join = Join(1, 0, 1, 8, (1, 2, 3), ())
    for time_ms in (0, 50, 100):
        film.send(time_ms, 1, [2, 3], join)
        film.send(time_ms + 1, 2, [1], Join(2, 0, 2, 8, (1, 2, 3), ()))
    recording = film.load()
    assert [e.time_ns // MS for e in recording.timeline if isinstance(e.body, DatagramSent) and e.node == 1] == [
        0,
        50,
        100,
    ]


def test_other_traffic_is_not_the_clusters(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    film.send(0, 1, [2, 3], HoldCancel(1, 0, RING))
    film.raw(1, 1, 9, b"\xab\xcd\x01\x00\x00\x01", port=53)
    film.raw(2, 9, 1, b"noise that came to the cluster's port")
    film.send(3, 2, [1], HoldCancel(2, 0, RING))
    summary = film.load().summary
    assert (summary.frames, summary.decoded) == (4, 3)
    (entry,) = summary.undecoded
    assert entry.frame == 4
    assert "bad magic number" in entry.reason


def test_another_port(tmp_path: Path) -> None:
    film = Film(tmp_path / "a")
    film.raw(0, 1, 2, HoldCancel(1, 0, RING).encode(), port=5999)
    assert film.load().summary.decoded == 1


@pytest.mark.parametrize(
    ("port", "payload", "words"),
    [
        (5405, bytes(range(200, 256)) * 2, "encrypted: "),
        (53, bytes(range(200, 256)) * 2, "no totemsrp message in it"),
        (5405, b"\x01\x81\x00\x01" + bytes(22), "nothing but knet's own pings"),
    ],
)
def test_nothing_to_replay(tmp_path: Path, port: int, payload: bytes, words: str) -> None:
    film = Film(tmp_path / "a")
    film.raw(0, 1, 2, payload, port)
    with pytest.raises(CaptureError) as caught:
        film.load()
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: {words}")
    assert "\n" not in str(caught.value)
    with pytest.raises(CaptureError, match="no capture given"):
        load_recording([])


def test_a_capture_with_a_short_snap_length(tmp_path: Path) -> None:
    path = tmp_path / "a"
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 40, 101)
    udp = dpkt.udp.UDP(sport=1, dport=5405, ulen=65, data=token(1, 1).encode())
    packet = bytes(dpkt.ip.IP(src=ADDRESS[1], dst=ADDRESS[2], p=17, len=85, data=udp))
    path.write_bytes(head + struct.pack("<IIII", 1, 0, 40, 85) + packet[:40])
    with pytest.raises(
        CaptureError, match=r"a: frame 1: only 40 of 85 bytes were captured; capture with tcpdump -s 0$"
    ):
        load_recording([path])


def knet_slice(host: int, seq: int, data: bytes, slices: int = 1, number: int = 0, method: int = 0) -> bytes:
    return struct.pack(">BBHBBHBBBBBb", 1, 0, host, 0, 0, seq, method, 0, 1, slices, number, 0) + data


def test_knet_slices(tmp_path: Path) -> None:
    data = Mcast(1, 0, 1, 7, 1, RING, b"x" * 600).encode()
    film = Film(tmp_path / "a")
    film.raw(0, 1, 2, knet_slice(1, 5, data[300:], 2, 2))
    film.raw(1, 1, 2, knet_slice(1, 5, data[:300], 2, 1))
    film.raw(2, 1, 2, knet_slice(1, 6, data[:300], 2, 1))
    film.raw(3, 1, 2, knet_slice(1, 7, data, method=3))
    film.raw(4, 1, 2, knet_slice(1, 8, data, slices=2, number=3))
    recording = film.load()
    assert recording.summary.messages["mcast"] == 1
    assert [(entry.frame, entry.reason.split(";")[0]) for entry in recording.summary.undecoded] == [
        (3, "incomplete: a knet fragment of it is not in the capture"),
        (4, "compressed by knet (method 3)"),
        (5, "knet fragment 3 of 2 makes no sense"),
    ]
    assert recording.summary.frames - recording.summary.decoded == 3


def test_two_nodes_one_file(tmp_path: Path) -> None:
    """Both have a part in every frame, so both are followed, and what reached them is inferred."""
    film = Film(tmp_path / "a")
    for turn in range(3):
        film.send(turn, 1, [2], token(1, 10 + 2 * turn))
        film.send(turn + 0.5, 2, [1], token(2, 11 + 2 * turn))
    film.send(10, 1, [2], MergeDetect(1, 0, 1, RING))
    recording = film.load()
    check_timeline_of_the_wire(recording)
    assert [m.members for m in recording.summary.memberships] == [(1, 2), (1, 2)]
    assert len(bodies(recording, TokenReceived, 2)) == 3


def check_timeline_of_the_wire(recording: Recording) -> None:
    received = [e for e in recording.timeline if isinstance(e.body, DatagramReceived)]
    assert received
    assert all(e.inferred for e in received)
    assert not any(e.inferred for e in recording.timeline if isinstance(e.body, DatagramSent))


def test_counters_around_the_end_of_32_bits() -> None:
    assert newer(0, 0xFFFFFFFF)
    assert not newer(0xFFFFFFFF, 0)
    assert not newer(5, 5)
    assert at_most(0xFFFFFFFF, 0)
    assert not at_most(0, 0xFFFFFFFF)
    assert at_most(3, 3)
    assert at_most(0x90000000, 0x90000001)
