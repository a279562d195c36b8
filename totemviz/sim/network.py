"""The wires: one link per ordered pair of nodes, each with delay, jitter, loss, duplication, and a cut.

A multicast is one copy per configured node, the sender's own copy included, which comes back through a local socket and
never meets the wire (sheet §3.9). Chance is drawn from one stream per link, and only where a link has some to give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec

from totemviz.totem.wire import ORF_TOKEN, TYPE_NAMES


class Link(msgspec.Struct):
    """State of the link from one node to another. ``changed_by`` is the event that last changed it, -1 for none."""

    delay_ns: int
    jitter_ns: int = 0
    loss_percent: float = 0.0
    duplicate_percent: float = 0.0
    cut: bool = False
    changed_by: int = -1


class Loss(msgspec.Struct, frozen=True):
    """A copy that will not arrive: why, and the event that is to blame (-1: the dice)."""

    why: str
    cause: int


Arrive = Callable[[int, int, int, bytes], None]
"""(source, target, id of the sent event, datagram): a copy reaches a host."""

Lose = Callable[[int, int, int, bytes, Loss], None]
"""As ``Arrive`` for a copy that is lost, with the reason."""


class Network:
    """All links of a cluster."""

    def __init__(
        self,
        nodeids: Iterable[int],
        link: Link,
        streams: Callable[[str], Random],
        schedule: Callable[..., None],
        loopback_ns: int,
    ) -> None:
        """``schedule(delay_ns, action, *args)``; ``streams(name)`` gives the random stream of that name."""
        self._nodeids = tuple(nodeids)
        self._schedule = schedule
        self._loopback_ns = loopback_ns
        self.links = {
            (source, target): msgspec.structs.replace(link)
            for source in self._nodeids
            for target in self._nodeids
            if source != target
        }
        self._named_stream = streams
        self._streams = {pair: streams(f"network/{pair[0]}→{pair[1]}") for pair in self.links}
        self._held: dict[tuple[int, int], list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self.drop_tokens = 0
        self.drop_tokens_cause = -1
        self.drop_messages_to: int | None = None
        self.drop_messages_cause = -1

    def add(self, nodeid: int, link: Link) -> None:
        """One node more, with such a link from and to every other."""
        for other in self._nodeids:
            for pair in ((nodeid, other), (other, nodeid)):
                self.links[pair] = msgspec.structs.replace(link)
                self._streams[pair] = self._named_stream(f"network/{pair[0]}→{pair[1]}")
        self._nodeids = (*self._nodeids, nodeid)

    def hold(self, source: int, target: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Keep a copy until the next one on this link has been sent; it then arrives just after that."""
        self._held.setdefault((source, target), []).append((action, args))

    def send(self, source: int, target: int, datagram: bytes, sent: int, arrive: Arrive, lose: Lose) -> None:
        """Put a datagram on its way to ``target``, or to everybody if 0."""
        if target == source:
            self._schedule(self._loopback_ns, arrive, source, source, sent, datagram)
            return
        by_hand = self._by_hand(datagram)
        if target:
            self._copy(source, target, datagram, sent, arrive, lose, by_hand)
            return
        self._schedule(self._loopback_ns, arrive, source, source, sent, datagram)
        for nodeid in self._nodeids:
            if nodeid != source:
                self._copy(source, nodeid, datagram, sent, arrive, lose, by_hand)

    def _by_hand(self, datagram: bytes) -> tuple[int, int] | None:
        """(target or 0, event) if somebody asked to drop this datagram."""
        kind = datagram[3]
        if self.drop_tokens and kind == ORF_TOKEN:
            self.drop_tokens -= 1
            return 0, self.drop_tokens_cause
        if self.drop_messages_to is not None and TYPE_NAMES[kind] == "mcast":
            target, self.drop_messages_to = self.drop_messages_to, None
            return target, self.drop_messages_cause
        return None

    def _copy(
        self,
        source: int,
        target: int,
        datagram: bytes,
        sent: int,
        arrive: Arrive,
        lose: Lose,
        by_hand: tuple[int, int] | None,
    ) -> None:
        link = self.links[source, target]
        if by_hand is not None and by_hand[0] in (0, target):
            lose(source, target, sent, datagram, Loss("dropped by hand", by_hand[1]))
            return
        if link.cut:
            lose(source, target, sent, datagram, Loss("link is cut", link.changed_by))
            return
        delay_ns = link.delay_ns
        if self._held:
            for action, args in self._held.pop((source, target), ()):
                self._schedule(delay_ns + link.jitter_ns + 1, action, *args)
        if link.jitter_ns or link.loss_percent or link.duplicate_percent:
            stream = self._streams[source, target]
            if link.loss_percent and stream.random() * 100 < link.loss_percent:
                lose(source, target, sent, datagram, Loss("lost on the wire", -1))
                return
            if link.jitter_ns:
                delay_ns += stream.randrange(link.jitter_ns)
            if link.duplicate_percent and stream.random() * 100 < link.duplicate_percent:
                self._schedule(delay_ns + link.delay_ns, arrive, source, target, sent, datagram)
        self._schedule(delay_ns, arrive, source, target, sent, datagram)
