"""The recorded world: captures of a real cluster become the same timeline that a simulation writes.

Reading is in four steps. (1) Every UDP payload is decoded, as it is or out of an unencrypted knet packet; ports on
which totemsrp was found are the cluster's, whatever else is on the network is not counted. (2) Messages tell which
node owns which address; the node that is in every frame of a file made that file. (3) What the whole recording says
about the rings is collected. (4) In order of time, the n-1 copies of one multicast, seen in one file or several,
become one ``DatagramSent``, each arrival a ``DatagramReceived``, and ``NodeObserver`` adds what follows from them.

Seen: datagrams. Inferred, and marked so: everything a machine would have announced itself. Never invented: a number
the capture does not show is UNKNOWN, a reason it does not show is named as such. A datagram that is only seen where
it arrives gets an inferred ``DatagramSent`` at that moment. If no file has a maker (a mirror port, or two nodes only)
every arrival on the wire is taken for a reception, inferred too. Clocks of several files are taken as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import msgspec

from totemviz.totem import wire
from totemviz.totem.config import MS, TotemConfig, Transport
from totemviz.totem.effects import MembershipInstalled
from totemviz.trace import recorded_knet as knet
from totemviz.trace.capture import Capture, CaptureError, Datagram, Progress
from totemviz.trace.events import (
    UNKNOWN,
    WORLD,
    DatagramReceived,
    DatagramSent,
    NodeInfo,
    RunStarted,
)
from totemviz.trace.recorded_draft import Draft, Drafts
from totemviz.trace.recorded_node import NodeObserver
from totemviz.trace.recorded_rings import RingFacts
from totemviz.trace.shadow_links import LinkSigns
from totemviz.trace.timeline import Timeline

DEFAULT_PORT = 5405
COPIES_WITHIN_NS = 20 * MS
"""The copies of one multicast leave within this time; a join is repeated after 30 ms at the earliest."""
TRANSIT_WITHIN_NS = 500 * MS
"""An arrival belongs to the latest matching datagram sent within this time."""

SEQ_REORDERED, SEQ_WRAPPED = 64, 0x8000
"""knet's packet numbers may come in another order by so many; further back than half their range is a wrap."""

_OWNERS_PART = 0.9

_ENCRYPTED = (
    "encrypted: no totemsrp message can be read; capture with secauth off, or crypto_cipher and crypto_hash none"
)
_ONLY_LINKS = "nothing but knet's own pings: no link was up; capture longer, or on a node whose links are up"
_NO_CLUSTER = (
    f"no totemsrp message in it (UDP port {DEFAULT_PORT} by default); capture on a cluster link: tcpdump -s 0 -w"
)


class Membership(msgspec.Struct, frozen=True):
    """A ring as it became operational at ``node``; ``ring_id`` as corosync prints it."""

    time_ns: int
    node: int
    ring_id: str
    members: tuple[int, ...]


class Undecoded(msgspec.Struct, frozen=True):
    """A datagram of the cluster that is not understood, and why; ``frame`` counts from 1."""

    file: str
    frame: int
    reason: str


class Summary(msgspec.Struct, frozen=True):
    """Figures of a recording.

    ``frames``: UDP datagrams on the cluster's ports, of all files, after IP reassembly; ``decoded``: those understood;
    ``messages``: totemsrp messages by type, every unicast copy counted; ``knet``: knet's own packets by type;
    ``undecoded``: the others, and datagrams of which a fragment is missing (those are no ``frames``).
    """

    frames: int
    decoded: int
    messages: dict[str, int]
    memberships: list[Membership]
    undecoded: list[Undecoded]
    duration_seconds: float
    knet: dict[str, int]
    warnings: list[str]


class Recording(msgspec.Struct, frozen=True):
    """One recorded history of a cluster."""

    timeline: Timeline
    summary: Summary
    links: LinkSigns = msgspec.field(default_factory=LinkSigns)


def load_recording(
    paths: Sequence[Path | str],
    progress: Progress | None = None,
    *,
    names: Mapping[int, str] | None = None,
    timeouts_ms: Mapping[str, int] | None = None,
) -> Recording:
    """Read captures of one cluster, made on one or several of its nodes, into one timeline.

    ``names``: node names by id; ``timeouts_ms``: effective timeouts by corosync's keys, otherwise the defaults for
    the number of nodes seen (RunStarted is then inferred). ``progress`` is told bytes done and total of each file.
    Raises CaptureError, with one line, if a file is no capture or nothing of a cluster is in it.
    """
    if not paths:
        raise CaptureError("no capture given; name one or more files written by tcpdump -w")
    traffic = _Traffic()
    for number, path in enumerate(paths):
        traffic.read(number, Capture(path, progress))
    sightings, summary = traffic.result([str(path) for path in paths])
    cluster = _Cluster(sightings, len(paths))
    config = TotemConfig.derive(len(cluster.nodes), transport=Transport.KNET if summary.knet else Transport.UDPU)
    effective = dict(timeouts_ms) if timeouts_ms else config.timeouts_ms
    epoch_ns = traffic.first_ns
    started = RunStarted(
        world="recorded",
        title=", ".join(Path(path).name for path in paths),
        nodes=tuple(NodeInfo(node, (names or {}).get(node, f"node {node}")) for node in cluster.nodes),
        timeouts_ms=effective,
        transport=str(config.transport),
        epoch_ns=epoch_ns,
    )
    drafts = Drafts()
    drafts.add(epoch_ns, WORLD, started, inferred=not timeouts_ms)
    _Replay(cluster, drafts, effective.get("hold", config.hold_ms) * MS).run(sightings)
    timeline = Timeline()
    drafts.write(timeline, epoch_ns)
    memberships = [
        Membership(event.time_ns, event.node, str(event.body.ring_id), event.body.members)
        for event in timeline
        if isinstance(event.body, MembershipInstalled)
    ]
    links = LinkSigns()
    for (source_ip, target_ip, link), times in traffic.pongs_ns.items():
        key = cluster.node_at(target_ip), cluster.node_at(source_ip), link
        links.pongs_ns.setdefault(key, []).extend(time_ns - epoch_ns for time_ns in times)
    for (source_ip, target_ip, link), times in traffic.pings_ns.items():
        key = cluster.node_at(source_ip), cluster.node_at(target_ip), link
        links.pings_ns.setdefault(key, []).extend(time_ns - epoch_ns for time_ns in times)
    for (source_ip, target_ip), times in traffic.data_ns.items():
        pair = cluster.node_at(source_ip), cluster.node_at(target_ip)
        links.data_ns.setdefault(pair, []).extend(time_ns - epoch_ns for time_ns in times)
    for known in (*links.pongs_ns.values(), *links.pings_ns.values(), *links.data_ns.values()):
        known.sort()
    return Recording(timeline, msgspec.structs.replace(summary, memberships=memberships), links)


# ------------------------------------------------------------------------------------------------ 1: messages


class _Sighting(msgspec.Struct, gc=False):
    """One copy of one message, seen in one file. ``key`` tells repetitions apart where knet numbers its packets."""

    time_ns: int
    source_ip: str
    target_ip: str
    key: tuple[int, bytes]
    message: wire.Message
    host: int
    file: int

    @property
    def kind(self) -> str:
        """The wire type's name."""
        return wire.TYPE_NAMES[self.key[1][3]]


class _Port(msgspec.Struct):
    """What was sent to one UDP port number."""

    frames: int = 0
    sightings: list[_Sighting] = msgspec.field(default_factory=list)
    undecoded: list[Undecoded] = msgspec.field(default_factory=list)
    knet: Counter[str] = msgspec.field(default_factory=Counter)
    first_ns: int = 0
    last_ns: int = 0


class _Traffic:
    """All UDP payloads of all files, sorted by port; decides which ports are the cluster's."""

    def __init__(self) -> None:
        self._ports: dict[int, _Port] = {}
        self._captures: list[Capture] = []
        self.pongs_ns: dict[tuple[str, str, int], list[int]] = {}
        self.pings_ns: dict[tuple[str, str, int], list[int]] = {}
        self.data_ns: dict[tuple[str, str], list[int]] = {}
        self.first_ns = 0

    def read(self, number: int, capture: Capture) -> None:
        """Take in one file."""
        self._captures.append(capture)
        slices: dict[int, knet.Slices] = {}
        for datagram in capture.datagrams():
            port = self._ports.get(datagram.target_port)
            if port is None:
                port = self._ports[datagram.target_port] = _Port(first_ns=datagram.time_ns)
            port.frames += 1
            port.first_ns = min(port.first_ns, datagram.time_ns)
            port.last_ns = max(port.last_ns, datagram.time_ns)
            try:
                self._decode(number, datagram, port, slices.setdefault(datagram.target_port, knet.Slices()))
            except (wire.WireError, knet.KnetError) as error:
                port.undecoded.append(Undecoded(capture.file, datagram.frame, str(error)))
        for port_number, unfinished in slices.items():
            reason = "incomplete: a knet fragment of it is not in the capture"
            self._ports[port_number].undecoded += [
                Undecoded(capture.file, frame, reason) for frame in unfinished.incomplete()
            ]

    def _decode(self, number: int, datagram: Datagram, port: _Port, slices: knet.Slices) -> None:
        data, seq, host = datagram.payload, 0, 0
        if knet.is_knet(data):
            packet = knet.unpack(data)
            if packet.link:
                port.knet[packet.link] += 1
                signs = {"pong": self.pongs_ns, "ping": self.pings_ns}.get(packet.link)
                if signs is not None:
                    key = datagram.source_ip, datagram.target_ip, packet.link_id
                    signs.setdefault(key, []).append(datagram.time_ns)
                return
            self.data_ns.setdefault((datagram.source_ip, datagram.target_ip), []).append(datagram.time_ns)
            whole = slices.add(datagram.source_ip, datagram.target_ip, packet, datagram.frame)
            if whole is None:
                return
            data, seq, host = whole, packet.seq, packet.host
        message = wire.decode(data, datagram.source_ip)
        source, target = datagram.source_ip, datagram.target_ip
        port.sightings.append(_Sighting(datagram.time_ns, source, target, (seq, data), message, host, number))

    def result(self, files: list[str]) -> tuple[list[_Sighting], Summary]:
        """The messages in order of time, and the figures without memberships. Raises CaptureError if there are none."""
        if not any(port.sightings for port in self._ports.values()):
            raise CaptureError(self._why_nothing(files))
        spare_links = {number for number, port in self._ports.items() if port.knet["ping"] and port.knet["pong"]}
        chosen = {number for number, port in self._ports.items() if port.sightings} | spare_links
        ports = [self._ports[number] for number in sorted(chosen)]
        sightings = [sighting for port in ports for sighting in port.sightings]
        sightings.sort(key=lambda sighting: sighting.time_ns)
        undecoded = [entry for port in ports for entry in port.undecoded]
        frames = sum(port.frames for port in ports)
        decoded = frames - len(undecoded)
        undecoded += self._broken(chosen, {sighting.source_ip for sighting in sightings})
        undecoded.sort(key=lambda entry: (files.index(entry.file), entry.frame))
        kinds = Counter(sighting.kind for sighting in sightings)
        link_packets: Counter[str] = Counter()
        for port in ports:
            link_packets.update(port.knet)
        self.first_ns = min(port.first_ns for port in ports)
        duration_ns = max(port.last_ns for port in ports) - self.first_ns
        warnings = [warning for capture in self._captures for warning in capture.warnings]
        return sightings, Summary(
            frames=frames,
            decoded=decoded,
            messages={name: kinds[name] for name in wire.TYPE_NAMES},
            memberships=[],
            undecoded=undecoded,
            duration_seconds=duration_ns / 1e9,
            knet=dict(sorted(link_packets.items())),
            warnings=warnings,
        )

    def _why_nothing(self, files: list[str]) -> str:
        """One line that names file, place if there is one, and mend."""
        for capture in self._captures:
            for broken in capture.broken:
                return f"{broken.file}: frame {broken.frame}: {broken.reason}"
        port = self._ports.get(DEFAULT_PORT)
        reason = _NO_CLUSTER if port is None else _ONLY_LINKS if port.knet else _ENCRYPTED
        return f"{', '.join(files)}: {reason}"

    def _broken(self, ports: set[int], members: set[str]) -> Iterable[Undecoded]:
        """Incomplete datagrams of the cluster; without the part that has the ports, the addresses must do."""
        for capture in self._captures:
            for broken in capture.broken:
                between = broken.source_ip in members and broken.target_ip in members
                if broken.target_port in ports or (broken.target_port == UNKNOWN and between):
                    yield Undecoded(broken.file, broken.frame, broken.reason)


# ----------------------------------------------------------------------------------------------------- 2: nodes


class _Cluster:
    """Who is who: node ids of addresses, the maker of each file, and what is known of the rings."""

    def __init__(self, sightings: list[_Sighting], files: int) -> None:
        self._nodes_by_ip = _nodes_by_ip(sightings)
        self.nodes = sorted(set(self._nodes_by_ip.values()) | _mentioned(sightings))
        self.owners = [self._owner(sightings, number) for number in range(files)]
        self.last_sent_ns: dict[int, int] = {}
        self.facts = RingFacts()
        for sighting in sightings:
            source = self.node_at(sighting.source_ip)
            self.last_sent_ns[source] = sighting.time_ns
            self.facts.learn(sighting.message, source, self.node_at(sighting.target_ip))

    def node_at(self, address: str) -> int:
        """Node id of an address, UNKNOWN for groups and strangers."""
        return self._nodes_by_ip.get(address, UNKNOWN)

    def _owner(self, sightings: list[_Sighting], number: int) -> int | None:
        """The node with a part in nearly all the file shows: a switch floods a few frames that are none of its own."""
        pairs = Counter((s.source_ip, s.target_ip) for s in sightings if s.file == number)
        parts: Counter[int] = Counter()
        total = 0
        for (source, target), count in pairs.items():
            if not ip_address(target).is_multicast:
                total += count
                parts.update(dict.fromkeys({self.node_at(source), self.node_at(target)} - {UNKNOWN}, count))
        (first, most), (_, second) = (parts.most_common(2) + [(UNKNOWN, 0)] * 2)[:2]
        return first if most > second and most >= total * _OWNERS_PART else None


def _nodes_by_ip(sightings: list[_Sighting]) -> dict[str, int]:
    """Addresses of the nodes, by majority.

    An mcast says who made it, but any node may resend it, so it counts only for an address that sends nothing else.
    The target ids in the header do not count at all: they are not initialised on UDPU (sheet §3.1).
    """
    sure: dict[str, Counter[int]] = {}
    likely: dict[str, Counter[int]] = {}
    for sighting in sightings:
        votes = sure
        match sighting.message:
            case wire.Token(nodeid=nodeid) | wire.CommitToken(nodeid=nodeid) | wire.HoldCancel(nodeid=nodeid):
                pass
            case wire.Join(system_from=nodeid) | wire.MergeDetect(system_from=nodeid):
                pass
            case wire.Mcast(system_from=originator):
                nodeid = sighting.host or originator
                votes = sure if sighting.host else likely
        votes.setdefault(sighting.source_ip, Counter())[nodeid] += 1
    return {address: counter.most_common(1)[0][0] for address, counter in sorted({**likely, **sure}.items())}


def _mentioned(sightings: list[_Sighting]) -> set[int]:
    """Nodes that membership messages name, even if none of them says a word."""
    found: set[int] = set()
    for sighting in sightings:
        if isinstance(sighting.message, wire.Join):
            found.update(sighting.message.proc, sighting.message.failed)
        elif isinstance(sighting.message, wire.CommitToken):
            found.update(sighting.message.addr)
    return found


# ---------------------------------------------------------------------------------------------------- 3, 4: events


class _Sent(msgspec.Struct):
    """A message on its way: the event, the targets whose copy was seen leaving, the nodes it reached."""

    draft: Draft
    leaving: set[str]
    reached: set[int]


class _Replay:
    """Turns sightings into drafts of events."""

    def __init__(self, cluster: _Cluster, drafts: Drafts, hold_ns: int) -> None:
        self._cluster = cluster
        self._drafts = drafts
        self._on_the_way: dict[tuple[int, tuple[int, bytes]], list[_Sent]] = {}
        self._observers: dict[int, NodeObserver] = {}
        self._numbers: dict[int, int] = {}
        for node in cluster.nodes:
            full = node in cluster.owners or None in cluster.owners
            observer = self._observers[node] = NodeObserver(node, drafts, cluster.facts, hold_ns, full)
            observer.last_sign_ns = cluster.last_sent_ns.get(node, -1)

    def run(self, sightings: list[_Sighting]) -> None:
        """All of them, in order of time."""
        for sighting in sightings:
            source = self._cluster.node_at(sighting.source_ip)
            if source == UNKNOWN:
                continue
            target = self._cluster.node_at(sighting.target_ip)
            owner = self._cluster.owners[sighting.file]
            if owner in (None, source):
                self._leaving(sighting, source, target)
            for node in self._reached(source, target, owner, sighting.target_ip):
                self._arriving(sighting, source, target, node, inferred=owner is None)

    def _reached(self, source: int, target: int, owner: int | None, address: str) -> Iterator[int]:
        """The nodes at which this sighting shows, or implies, an arrival."""
        if target != UNKNOWN:
            if owner in (None, target):
                yield target
        elif ip_address(address).is_multicast:
            yield from (node for node in ([owner] if owner else self._cluster.nodes) if node != source)

    def _leaving(self, sighting: _Sighting, source: int, target: int) -> _Sent:
        for sent in self._candidates(source, sighting):
            window_ns = COPIES_WITHIN_NS if sent.leaving else TRANSIT_WITHIN_NS
            if sighting.target_ip not in sent.leaving and sighting.time_ns - sent.draft.time_ns <= window_ns:
                sent.leaving.add(sighting.target_ip)
                sent.draft.inferred = False
                return sent
        return self._send(sighting, source, target, {sighting.target_ip}, inferred=False)

    def _arriving(self, sighting: _Sighting, source: int, target: int, node: int, inferred: bool) -> None:
        for sent in self._candidates(source, sighting):
            if node not in sent.reached:
                break
        else:
            sent = self._send(sighting, source, target, set(), inferred=True)
        sent.reached.add(node)
        body = DatagramReceived(source, UNKNOWN, sighting.kind)
        draft = self._drafts.add(sighting.time_ns, node, body, sent.draft, inferred)
        observer = self._observers[node]
        if observer.full:
            observer.received(sighting.message, draft)

    def _candidates(self, source: int, sighting: _Sighting) -> Iterator[_Sent]:
        """Sends this sighting may belong to, latest first."""
        known = self._on_the_way.get((source, sighting.key), [])
        while known and sighting.time_ns - known[0].draft.time_ns > TRANSIT_WITHIN_NS:
            known.pop(0)
        return reversed(known)

    def _counts_anew(self, source: int, number: int) -> bool:
        """Whether knet's packet numbers of a node begin again: another process sends now. They wrap at 16 bits."""
        last = self._numbers.get(source, 0)
        self._numbers[source] = number
        return number > 0 and SEQ_REORDERED < last - number < SEQ_WRAPPED

    def _send(self, sighting: _Sighting, source: int, target: int, leaving: set[str], inferred: bool) -> _Sent:
        unicast = isinstance(sighting.message, wire.Token | wire.CommitToken)
        body = DatagramSent(source, target if unicast else 0, sighting.kind, sighting.key[1])
        draft = self._drafts.add(sighting.time_ns, source, body, inferred=inferred)
        if self._counts_anew(source, sighting.key[0]):
            self._observers[source].began_anew()
        self._observers[source].sent(sighting.message, draft, target)
        sent = _Sent(draft, leaving, set())
        self._on_the_way.setdefault((source, sighting.key), []).append(sent)
        return sent
