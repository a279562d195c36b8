"""A tiny world for rings alone: N ``Ring`` machines, one heap, one fixed delay, hooks on every datagram.

Everything that happens is written to a ``Timeline`` with the events of the real world, so the checkers can judge it.
There is no daemon: ``sync_ns`` after a regular configuration a node counts as synchronised, and messages flow.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from totemviz.corosync.effects import SyncCompleted
from totemviz.totem.config import TotemConfig
from totemviz.totem.effects import (
    CancelTimer,
    ConfigurationChange,
    Deliver,
    RingId,
    Send,
    SetTimer,
    StoreRingId,
    TokenSent,
)
from totemviz.totem.pg import Reassembler
from totemviz.totem.ring import Ring
from totemviz.totem.states import State
from totemviz.totem.wire import TYPE_NAMES, Message, decode
from totemviz.trace import events as ev
from totemviz.trace.checks import Violation, check
from totemviz.trace.timeline import Timeline

MS = 1_000_000
DELAY_NS = 50_000
SYNC_NS = 5 * MS

Hook = Callable[[int, int, Message], "list[int] | None"]
"""(source, target, message) → delays in ns of the copies that arrive ([] = lost); None = the ordinary one copy."""


def config(nodes: int, **keys: Any) -> TotemConfig:
    """Short timeouts: token 300 ms, retransmit 71, hold 46, consensus 360."""
    replaced = {key: keys.pop(key) for key in list(keys) if key in ("quirks", "seqno_start_msg", "seqno_start_token")}
    made = TotemConfig.derive(nodes, {"token": 300, "token_coefficient": 0, **keys})
    return msgspec.structs.replace(made, **replaced)


class Cluster:
    """N rings in virtual time."""

    def __init__(
        self, nodes: int | Iterable[int], conf: TotemConfig | None = None, *, delay_ns: int = DELAY_NS
    ) -> None:
        self.nodeids = tuple(range(1, nodes + 1)) if isinstance(nodes, int) else tuple(nodes)
        self.config = conf or config(len(self.nodeids))
        self.configs: dict[int, TotemConfig] = {}
        self.delay_ns = delay_ns
        self.now_ns = 0
        self.timeline = Timeline()
        self.hooks: list[Hook] = []
        self.rings: dict[int, Ring] = {}
        self.stored: dict[int, int] = {}
        self.delivered: dict[int, list[bytes]] = {nodeid: [] for nodeid in self.nodeids}
        self.packets: dict[int, list[tuple[RingId, int, int]]] = {nodeid: [] for nodeid in self.nodeids}
        self.configurations: dict[int, list[ConfigurationChange]] = {nodeid: [] for nodeid in self.nodeids}
        self._reassemblers: dict[int, Reassembler] = {}
        self._lives: dict[int, int] = {}
        self._timers: dict[tuple[int, str], int] = {}
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        infos = tuple(ev.NodeInfo(nodeid, f"n{nodeid}") for nodeid in self.nodeids)
        c = self.config
        timeouts = {"token": c.token_ms, "consensus": c.consensus_ms, "hold": c.hold_ms, "join": c.join_ms}
        limits = {
            name: getattr(c, name)
            for name in (
                "window_size",
                "max_messages",
                "miss_count_const",
                "seqno_unchanged_const",
                "fail_recv_const",
                "seqno_start_msg",
                "seqno_start_token",
            )
        }
        self.record(0, -1, ev.RunStarted("simulated", "rings", infos, timeouts, limits=limits))

    # ------------------------------------------------------------------------------------------------- what one does

    def start(self, *nodeids: int) -> None:
        """Start these nodes (all if none is named)."""
        for nodeid in nodeids or self.nodeids:
            self._lives[nodeid] = self._lives.get(nodeid, 0) + 1
            conf = self.configs.get(nodeid, self.config)
            ring = self.rings[nodeid] = Ring(nodeid, conf, self.stored.get(nodeid, 0))
            self._reassemblers[nodeid] = Reassembler()
            event = self.record(nodeid, -1, ev.ProcessStarted("corosync", nodeid))
            self.carry_out(nodeid, ring.start(self.now_ns), event)

    def kill(self, nodeid: int) -> None:
        """The node dies."""
        self.record(nodeid, -1, ev.ProcessKilled("corosync"))
        self._bury(nodeid)

    def leave(self, nodeid: int) -> None:
        """The node says goodbye and is gone."""
        self.carry_out(nodeid, self.rings[nodeid].leave(self.now_ns), -1)
        from totemviz.corosync.effects import DaemonExited

        self.record(nodeid, -1, DaemonExited("signal"))
        self._bury(nodeid)

    def submit(self, nodeid: int, *parts: bytes) -> None:
        """A message with group ``a``."""
        self.carry_out(nodeid, self.rings[nodeid].submit(self.now_ns, b"\x01\x00\x01\x00a", *parts), -1)

    def inject(self, nodeid: int, message: Message) -> list[Any]:
        """A datagram arrives at a node out of nowhere; what the ring answers, already carried out."""
        outputs = self.rings[nodeid].receive(self.now_ns, message.encode())
        self.carry_out(nodeid, outputs, -1)
        return outputs

    def expire(self, nodeid: int, timer: str) -> list[Any]:
        """A timer runs out now; what the ring answers, already carried out."""
        self._timers.pop((nodeid, timer), None)
        outputs = self.rings[nodeid].expire(self.now_ns, timer)
        self.carry_out(nodeid, outputs, -1)
        return outputs

    def run(self, duration_ns: int) -> None:
        """Let virtual time pass."""
        end_ns = self.now_ns + duration_ns
        while self._heap and self._heap[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(self._heap)
            action()
        self.now_ns = end_ns

    def until(self, condition: Callable[[], bool], limit_ns: int = 20_000 * MS) -> None:
        """Run until something is so; fail after ``limit_ns``."""
        end_ns = self.now_ns + limit_ns
        while not condition():
            assert self._heap and self._heap[0][0] <= end_ns, "it never came to that"
            self.now_ns, _, action = heapq.heappop(self._heap)
            action()

    def form(self, *, idle: bool = False) -> RingId:
        """Start all nodes and run until they are one synchronised ring; ``idle``: until the token is held."""
        self.start()
        self.until(self.is_whole)
        self.run(SYNC_NS * 2)
        if idle:
            rep = self.rings[self.nodeids[0]].instance
            self.until(lambda: rep.token_held)
        return self.rings[self.nodeids[0]].ring_id

    def cut(self, *side: int) -> Hook:
        """Nothing passes between these nodes and the others until ``heal``."""
        hook: Hook = lambda source, target, _: [] if (source in side) != (target in side) else None  # noqa: E731
        self.hooks.append(hook)
        for source in self.nodeids:
            for target in self.nodeids:
                if (source in side) != (target in side):
                    self.record(0, -1, ev.LinkChanged(source, target, True, 0.0, self.delay_ns))
        return hook

    def heal(self) -> None:
        """All hooks are gone."""
        self.hooks.clear()
        for source in self.nodeids:
            for target in self.nodeids:
                if source != target:
                    self.record(0, -1, ev.LinkChanged(source, target, False, 0.0, self.delay_ns))

    # -------------------------------------------------------------------------------------------------- what one sees

    def is_whole(self) -> bool:
        """Whether all running nodes are OPERATIONAL in one ring of exactly them."""
        alive = tuple(sorted(self.rings))
        rings = self.rings.values()
        return (
            all(ring.state is State.OPERATIONAL and ring.members == alive for ring in rings)
            and len({ring.ring_id for ring in rings}) == 1
        )

    def bodies(self, kind: type, node: int | None = None) -> list[Any]:
        """All events of a kind, oldest first."""
        return [e.body for e in self.timeline if type(e.body) is kind and node in (None, e.node)]

    def sent(self, since: int = 0) -> list[tuple[int, Message]]:
        """(sender, message) of all datagrams, from an event on."""
        events = self.timeline[since:]
        return [(e.node, decode(e.body.data)) for e in events if isinstance(e.body, ev.DatagramSent)]

    def check(self, **options: Any) -> list[Violation]:
        """What the checkers say."""
        return check(self.timeline, end_ns=self.now_ns, **options)

    # ------------------------------------------------------------------------------------------------------- machinery

    def record(self, node: int, cause: int, body: Any) -> int:
        return self.timeline.append(self.now_ns, node, cause, body)

    def _after(self, delay_ns: int, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now_ns + delay_ns, self._number, action))

    def _bury(self, nodeid: int) -> None:
        del self.rings[nodeid]
        for key in [key for key in self._timers if key[0] == nodeid]:
            del self._timers[key]

    def carry_out(self, nodeid: int, outputs: Iterable[Any], cause: int) -> None:
        for output in outputs:
            kind = type(output)
            if kind is Send:
                self._send(nodeid, output, cause)
            elif kind is SetTimer:
                self._set_timer(nodeid, output, cause)
            elif kind is CancelTimer:
                self._timers.pop((nodeid, output.timer), None)
            elif kind is StoreRingId:
                self.stored[nodeid] = output.seq
                self.record(nodeid, cause, ev.RingIdStored(output.seq))
            elif kind is Deliver:
                self.packets[nodeid].append((output.ring_id, output.seq, output.source))
                self.delivered[nodeid] += self._reassemblers[nodeid].receive(
                    output.source, output.payload, output.swapped
                )
            elif kind is not TokenSent:
                self.record(nodeid, cause, output)
                if kind is ConfigurationChange:
                    self._configuration(nodeid, output)

    def _configuration(self, nodeid: int, change: ConfigurationChange) -> None:
        self.configurations[nodeid].append(change)
        if not change.transitional:
            self._reassemblers[nodeid].waiting_trans_ack = True
        self._reassemblers[nodeid].configuration_changed(change.left)
        if change.transitional:
            return
        life, ring_id = self._lives[nodeid], change.ring_id

        def synchronised() -> None:
            ring = self.rings.get(nodeid)
            if ring is not None and self._lives[nodeid] == life and self.configurations[nodeid][-1].ring_id == ring_id:
                self.record(nodeid, -1, SyncCompleted(ring_id))
                ring.trans_ack()
                self._reassemblers[nodeid].waiting_trans_ack = False

        self._after(SYNC_NS, synchronised)

    def _set_timer(self, nodeid: int, effect: SetTimer, cause: int) -> None:
        key = (nodeid, effect.timer)
        deadline_ns = self.now_ns + effect.delay_ns
        self._timers[key] = deadline_ns

        def due() -> None:
            if self._timers.get(key) != deadline_ns or nodeid not in self.rings:
                return
            del self._timers[key]
            event = self.record(nodeid, cause, ev.TimerExpired("corosync", effect.timer, 0))
            self.carry_out(nodeid, self.rings[nodeid].expire(self.now_ns, effect.timer), event)

        self._after(effect.delay_ns, due)

    def _send(self, source: int, effect: Send, cause: int) -> None:
        data = effect.datagram
        kind = TYPE_NAMES[data[3]]
        sent = self.record(source, cause, ev.DatagramSent(source, effect.target, kind, data))
        for target in (effect.target,) if effect.target else self.nodeids:
            delays = self._delays(source, target, data)
            if not delays:
                self.record(target, sent, ev.DatagramDropped(source, target, sent, kind, "dropped by hand"))
            for delay_ns in delays:
                self._after(delay_ns, lambda target=target: self._arrive(source, target, sent, kind, data))

    def _delays(self, source: int, target: int, data: bytes) -> list[int]:
        if self.hooks and source != target:
            message = decode(data)
            for hook in self.hooks:
                delays = hook(source, target, message)
                if delays is not None:
                    return delays
        return [self.delay_ns if source != target else 5_000]

    def _arrive(self, source: int, target: int, sent: int, kind: str, data: bytes) -> None:
        if target in self.rings:
            event = self.record(target, sent, ev.DatagramReceived(source, sent, kind))
            self.carry_out(target, self.rings[target].receive(self.now_ns, data), event)
