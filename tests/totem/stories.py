"""A fixed set of things that happen to small clusters, and what must be so at the end: the net for mutants."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import msgspec

from tests.totem.cluster import MS, Cluster, Hook, config
from totemviz.totem.config import Quirks, TotemConfig, Transport
from totemviz.totem.effects import RingId, StateEntered, TokenReceived
from totemviz.totem.states import State
from totemviz.totem.wire import EMPTY_ENTRY, ORDINARY, CommitToken, Join, Mcast, Message, Token

EVENTS_MAX = 150_000
CPG_MCAST = (2 << 16 | 3).to_bytes(4, "little")


class BrokenError(Exception):
    """Something is not as it must be."""


class Story(Cluster):
    """A cluster whose clients wait for sync, as corosync makes them, and that never runs away."""

    def __init__(self, nodes: int, conf: TotemConfig | None = None) -> None:
        super().__init__(nodes, conf)
        self.written: list[tuple[int, bytes]] = []
        self._wishes: dict[int, list[bytes]] = {nodeid: [] for nodeid in self.nodeids}

    def record(self, node: int, cause: int, body: object) -> int:
        if len(self.timeline) > EVENTS_MAX:
            raise BrokenError("it runs away")
        return super().record(node, cause, body)

    def write(self, nodeid: int, text: bytes, size: int = 0) -> None:
        """A client's message; waits until its node lets clients send."""
        self._wishes[nodeid].append(text.ljust(size, b"."))
        self.flush(nodeid)

    def flush(self, nodeid: int) -> None:
        ring = self.rings.get(nodeid)
        if ring is None or ring.instance.waiting_trans_ack:
            return
        wishes = self._wishes[nodeid]
        while wishes and ring.slots(len(wishes[0]) + 9) <= ring.send_queue_free - 2:
            text = wishes.pop(0)
            self.written.append((nodeid, text))
            self.submit(nodeid, CPG_MCAST, text)

    def pass_time(self, ms: int) -> None:
        """Run, and let clients that waited go on."""
        for _ in range(max(1, ms // 5)):
            self.run(min(ms, 5) * MS)
            for nodeid in self.nodeids:
                self.flush(nodeid)

    def judge(self, *, everywhere: bool = True) -> None:
        """Raise the first thing that is wrong; ``everywhere``: all that was written is on all nodes."""
        if not self.is_whole():
            raise BrokenError("not all are in one ring")
        if everywhere:
            for nodeid in self.nodeids:
                have = [message[9:] for message in self.delivered[nodeid]]
                if sorted(have) != sorted(text for _, text in self.written):
                    raise BrokenError(f"node {nodeid} has {len(have)} of {len(self.written)} messages")
        violations = self.check()
        if violations:
            raise BrokenError(str(violations[0]))


def life() -> None:
    """Idle, sends while the token is held, a death, a return, a clean leave, another return."""
    story = Story(3)
    story.form(idle=True)
    if operational_hops(story, story.rings[1].ring_id) != {2: 9, 3: 10, 1: 11}:
        raise BrokenError("the ring is not installed at its 10th, 11th and 12th hop")
    story.pass_time(400)
    for nodeid in (2, 1, 3):
        story.write(nodeid, b"from %d" % nodeid)
        story.pass_time(200)
    story.run(story_settle(story))
    story.judge()
    story.kill(3)
    story.run(400 * MS)
    story.write(1, b"while there is no ring")
    story.pass_time(1500)
    story.judge(everywhere=False)
    story.start(3)
    story.pass_time(2500)
    story.leave(2)
    story.pass_time(600)
    story.judge(everywhere=False)
    story.start(2)
    story.run(story_settle(story))
    story.judge(everywhere=False)


def operational_hops(story: Cluster, ring_id: RingId) -> dict[int, int]:
    """token_seq of the visit at which each member became OPERATIONAL."""
    visits: dict[int, int] = {}
    found: dict[int, int] = {}
    for event in story.timeline:
        if isinstance(event.body, TokenReceived) and event.body.ring_id == ring_id:
            visits[event.node] = event.body.token_seq
        elif isinstance(event.body, StateEntered) and event.body.state == "OPERATIONAL" and event.node in visits:
            found[event.node] = visits[event.node]
    return found


def story_settle(story: Cluster) -> int:
    """Quiet time after which liveness and accuracy are judged."""
    return (story.config.silent_death_ms * (len(story.nodeids) + 1) + 1500) * MS


def load() -> None:
    """More than the window can take, from all sides, on a network that loses, doubles and delays."""
    conf = _udp(config(4))
    story = Story(4, conf)
    story.form()
    counter = 0

    def faults(source: int, target: int, message: Message) -> list[int] | None:
        nonlocal counter
        counter += 1
        dice = crc32(b"%d" % counter) % 1000
        if isinstance(message, Mcast) and dice < 60:
            return []
        if isinstance(message, Token) and dice < 30:
            return [] if dice < 4 else [story.delay_ns, 3 * story.delay_ns]
        return [story.delay_ns * 4] if dice > 900 else None

    for number in range(400):
        story.write(1 + number % 4, b"message %d" % number, 1300)
    story.hooks.append(faults)
    story.pass_time(900)
    story.hooks.clear()
    story.run(story_settle(story))
    story.judge()


def deaf() -> None:
    """One node hears no messages for a while, only tokens: a long list of holes."""
    story = Story(3, _udp(config(3)))
    story.form()
    story.hooks.append(lambda source, target, message: [] if target == 3 and isinstance(message, Mcast) else None)
    for number in range(90):
        story.write(1 + number % 2, b"message %d" % number, 1300)
    story.run(3 * MS)
    story.hooks.clear()
    story.run(story_settle(story))
    story.judge()


def _udp(conf: TotemConfig) -> TotemConfig:
    """Small packets; and without the known anomaly, so that invariant 18 must hold too."""
    quirks = Quirks(token_copy_frees_messages=False, recovery_counters_survive=False)
    return msgspec.structs.replace(conf, transport=Transport.UDPU, quirks=quirks)


def holes_at_the_break(*, failing_attempts: int = 0, seqno_start: int = 0) -> None:
    """The ring breaks while nodes lack different messages; the originator of some of them is dead."""
    story = Story(4, _udp(config(4, seqno_start_msg=seqno_start, seqno_start_token=seqno_start)))
    ring_id = story.form()
    lost = {1: (4,), 2: (1, 4), 3: (2,)}

    def some_are_lost(source: int, target: int, message: Message) -> list[int] | None:
        if isinstance(message, Mcast) and message.ring_id == ring_id:
            if source == 4 and message.seq % 2:
                return []  # nobody has these but the one that dies
            if target in lost.get(source, ()) and message.seq % 3 == 0:
                return []
        return None

    story.hooks.append(some_are_lost)
    for number in range(24):
        story.write(1 + number % 4, b"message %d" % number, 1300)
    story.run(2 * story.delay_ns * 4)
    story.kill(4)
    story.hooks.append(_breaks_recovery(story, failing_attempts))
    story.pass_time(1500 + 500 * failing_attempts)
    story.hooks.clear()
    story.start(4)
    story.run(story_settle(story))
    story.judge(everywhere=False)
    histories = {frozenset(p for p in story.packets[n] if p[0] == ring_id) for n in (1, 2, 3)}
    if len(histories) != 1:
        raise BrokenError("survivors delivered different messages of the old ring")
    for nodeid in (1, 2, 3):
        have = [message[9:] for message in story.delivered[nodeid]]
        missing = [text for source, text in story.written if source != 4 and text not in have]
        if missing:
            raise BrokenError(f"node {nodeid} lacks {len(missing)} messages of survivors")


def _breaks_recovery(story: Story, attempts: int) -> Hook:
    failed: set[RingId] = set()

    def hook(source: int, target: int, message: Message) -> list[int] | None:
        if isinstance(message, Token) and story.rings[source].state is State.RECOVERY:
            if message.ring_id not in failed and len(failed) < attempts:
                failed.add(message.ring_id)
            if message.ring_id in failed:
                return []
        return None

    return hook


def two_halves() -> None:
    """A partition with traffic and losses on both sides, then the merge; a token of the old ring comes late."""
    story = Story(4, _udp(config(4)))
    ring_id = story.form()
    late: list[Message] = []

    def hook(source: int, target: int, message: Message) -> list[int] | None:
        if isinstance(message, Token) and message.ring_id == ring_id and len(late) < 3:
            late.append(message)
            return [story.delay_ns, 900 * MS, 1600 * MS]
        return None

    story.hooks.append(hook)
    story.run(5 * MS)
    story.cut(1, 2)
    story.pass_time(1500)
    for number in range(60):
        story.write((1, 3, 3)[number % 3], b"message %d" % number, 1300)

    def one_is_deaf(source: int, target: int, message: Message) -> list[int] | None:
        lossy = isinstance(message, Mcast) and message.encapsulated == ORDINARY and message.seq % 4 == 0
        return [] if lossy and (source, target) == (3, 4) else None

    story.hooks.append(one_is_deaf)
    story.run(story.delay_ns * 40)
    story.heal()
    story.hooks.append(one_is_deaf)
    story.run(200 * MS)
    story.heal()
    story.run(story_settle(story))
    story.judge(everywhere=False)


def quiet_halves() -> None:
    """Two idle halves that have to find each other."""
    story = Story(4)
    story.form()
    story.cut(1, 2)
    story.run(story_settle(story))
    violations = story.check()
    if violations:
        raise BrokenError(str(violations[0]))
    story.heal()
    story.run(story_settle(story))
    story.judge()


def dark() -> None:
    """All die, and come back one after the other."""
    story = Story(3)
    story.form()
    for nodeid in story.nodeids:
        story.kill(nodeid)
    for nodeid in story.nodeids:
        story.start(nodeid)
        story.pass_time(700)
    story.run(story_settle(story))
    story.judge()


def unreachable_message() -> None:
    """One node never gets one message: it gives up on itself, and comes back."""
    story = Story(3, config(3, fail_recv_const=40))
    ring_id = story.form()
    story.run(200 * MS)
    story.hooks.append(
        lambda source, target, message: (
            [] if target == 2 and isinstance(message, Mcast) and message.ring_id == ring_id else None
        )
    )
    story.write(1, b"lost on node 2")
    entered = lambda: [e for e in story.timeline if type(e.body) is StateEntered and e.body.reason == 6]  # noqa: E731
    story.until(lambda: bool(entered()), 6000 * MS)
    if (entered()[0].node, entered()[0].body.failed) != (2, (2,)):
        raise BrokenError("somebody else is given up on")
    story.hooks.clear()
    story.run(story_settle(story))
    story.judge(everywhere=False)


def large_messages() -> None:
    """Messages of many fragments, packed with small ones."""
    story = Story(3, _udp(config(3)))
    story.form()
    for number in range(30):
        story.write(1 + number % 3, b"%d" % number, (20, 1394, 5000, 1402, 300, 9000)[number % 6])
    story.run(story_settle(story))
    story.judge()


def one_knows_nothing() -> None:
    """A message nobody has, then one that all but one survivor have: it must skip what it never missed."""
    story = Story(4)
    ring_id = story.form()
    story.hooks.append(
        lambda source, target, message: (
            [] if isinstance(message, Mcast) and message.ring_id == ring_id and (source == 4 or target == 1) else None
        )
    )
    story.write(4, b"nobody hears this")
    story.run(4 * story.delay_ns)
    story.write(2, b"node 1 does not hear this")
    story.run(4 * story.delay_ns)
    story.kill(4)
    story.pass_time(1500)
    story.hooks.clear()
    story.start(4)
    story.run(story_settle(story))
    story.judge(everywhere=False)
    for nodeid in (1, 2, 3):
        if not any(b"node 1 does not" in message for message in story.delivered[nodeid]):
            raise BrokenError(f"node {nodeid} does not deliver what the others have")


def strange_commit_token() -> None:
    """A commit token for a ring of others than one's candidates."""
    story = Story(2)
    story.form()
    story.kill(1)
    story.until(lambda: story.rings[2].state is State.GATHER)
    old = story.rings[2].ring_id
    for ring_id, addr in ((RingId(1, 1000), (1, 2, 9)), (old, (1, 2))):
        story.inject(2, CommitToken(1, 2, 1, ring_id, 1, addr, (EMPTY_ENTRY,) * len(addr)))
        if story.rings[2].state is not State.GATHER:
            raise BrokenError("commits to a ring with a node it does not know, or to one that was")


def joins_without_effect() -> None:
    """A join a ring mate sent before the ring was there; news from one that was given up on."""
    story = Story(3)
    ring_id = story.form()
    story.inject(1, Join(2, 0, 2, ring_id.seq - 4, (1, 2, 3, 9), ()))
    if story.rings[1].state is not State.OPERATIONAL:
        raise BrokenError("an old join breaks the ring")
    story.kill(3)
    story.until(lambda: story.rings[1].state is State.GATHER)
    node = story.rings[1].instance
    node.failed = [3]
    story.inject(1, Join(3, 0, 3, ring_id.seq, (1, 2, 3, 9), (2,)))
    if 9 in node.proc:
        raise BrokenError("listens to one it has given up on")


def a_new_life() -> None:
    """What a node says after its restart has a ring seq above any it stored."""
    story = Story(1)
    story.form()
    story.kill(1)
    restarted, stored = len(story.timeline), story.stored[1]
    story.start(1)
    story.run(200 * MS)
    joins = [message for _, message in story.sent(restarted) if isinstance(message, Join)]
    if joins[0].ring_seq <= stored:
        raise BrokenError("begins with the number of its last ring")


def numbers_wrap() -> None:
    """Message and token numbers begin just below 2**32."""
    holes_at_the_break(seqno_start=0xFFFFFFF0)


def two_failed_attempts() -> None:
    """Recovery fails twice before it succeeds."""
    holes_at_the_break(failing_attempts=2)


STORIES: tuple[Callable[[], None], ...] = (
    life,
    load,
    deaf,
    holes_at_the_break,
    two_failed_attempts,
    two_halves,
    unreachable_message,
    large_messages,
    quiet_halves,
    dark,
    one_knows_nothing,
    strange_commit_token,
    joins_without_effect,
    a_new_life,
    numbers_wrap,
)


def trouble() -> str:
    """The first story that goes wrong and why; empty if all go well."""
    for story in STORIES:
        try:
            story()
        except Exception as error:
            return f"{story.__name__}: {type(error).__name__}: {error}"
    return ""
