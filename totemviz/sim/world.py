"""The simulated world: clock, network, hosts, disks and programs, from a scenario and a seed.

Same scenario, same interventions: the same timeline, byte for byte. Chance comes from named streams derived from the
seed (``network/1→3``, ``disk/2``), so touching one thing does not reshuffle another.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from totemviz.corosync.conf import CorosyncConf, dump
from totemviz.pmxcfs.corosync_conf import config_version
from totemviz.pmxcfs.process import EPOCH_S
from totemviz.sim import interventions as do
from totemviz.sim import saved_profiles
from totemviz.sim.clients import Clients
from totemviz.sim.conf_edits import where_possible, with_node
from totemviz.sim.device import Device
from totemviz.sim.disk import Disk
from totemviz.sim.doing import DO
from totemviz.sim.host import Host, ring_id_file
from totemviz.sim.network import Link, Loss, Network
from totemviz.sim.scenario import Scenario
from totemviz.sim.scheduler import Planned, Scheduler
from totemviz.sim.seed import CONFIG_DB, load_database, seed_database
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, US, Duration
from totemviz.totem.config import TotemConfig
from totemviz.totem.effects import RingId
from totemviz.totem.wire import ORF_TOKEN, TYPE_NAMES, Token, decode
from totemviz.trace import events as ev
from totemviz.trace.timeline import Timeline

LOOPBACK_NS = 5 * US

STORM_EVENTS = 1_000_000
"""So many events within one virtual millisecond are a storm; 64 nodes that boot at once need 300,000."""


class Done(msgspec.Struct, frozen=True):
    """An intervention that was carried out, with its exact position; ``scripted`` if the scenario asked for it."""

    intervention: do.AnyIntervention
    scripted: bool


class World:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, conf: CorosyncConf, timeline: Timeline | None = None) -> None:
        self.scenario = scenario
        self.conf = self.conf_at_start = conf
        self.conf_text = dump(conf).encode()
        self.forced: list[Callable[[CorosyncConf], CorosyncConf]] = []
        """What interventions have changed for every daemon, present and future, whatever its file says."""
        self.timeline = timeline if timeline is not None else Timeline()
        self.scheduler = Scheduler()
        self.events = 0
        self.token_hops = 0
        self.stopped = False
        self.storm = ""
        """Why the run ended early, one line, if events became a storm."""
        self._calm_ns = self._calm_events = 0
        self._stop_type = ev.BODY_BY_KIND.get(scenario.stop_on)
        self.script = tuple(sorted(scenario.interventions, key=_turn))
        self.script_done = 0
        self.done: list[Done] = []
        self.obstacles: dict[RingId, int] = {}
        self.lost_by_chance: list[tuple[int, tuple[int, int, int, bytes]]] = []
        """(time, (source, target, event that sent it, datagram)) of the copies that were lost last."""
        self.host_model = scenario.host_model
        self.clients: Clients = Clients(self)
        self.hosts: dict[int, Host] = {}
        spec = scenario.network
        self._link = Link(int(spec.delay), int(spec.jitter), spec.loss_percent, spec.duplicate_percent)
        self.network = Network(self._nodeids(), self._link, self.stream, self.scheduler.after, LOOPBACK_NS)
        infos = tuple(msgspec.structs.replace(info, disk=scenario.profile_of(info.nodeid)) for info in node_infos(conf))
        started = ev.RunStarted(
            "simulated",
            scenario.title,
            infos,
            conf.totem.timeouts_ms,
            scenario.host_model.value,
            scenario.seed,
            conf.transport.value,
            limits=conf.totem.limits,
        )
        self.record(ev.WORLD, ev.NO_CAUSE, started)
        given = scenario.start.database
        self._database = load_database(Path(given)) if given else seed_database(conf, EPOCH_S)
        for info in infos:
            self._set_up(info, {CONFIG_DB: self._database})
        self._schedule_start()

    def _set_up(self, info: ev.NodeInfo, files: dict[str, bytes]) -> Host:
        """A host that has never run, with these files on its disk."""
        if ring_seq := self.scenario.start.ring_seq:
            files[ring_id_file(info.nodeid)] = ring_seq.to_bytes(8, "little")
        profile = saved_profiles.find(info.disk)
        device = Device(profile, self.stream(f"disk-load/{info.nodeid}"))
        disk = Disk(profile, self.stream(f"disk/{info.nodeid}"), files, device)
        host = self.hosts[info.nodeid] = Host(self, info, self.host_model, disk)
        return host

    def _nodeids(self) -> Iterator[int]:
        return (node.nodeid for node in self.conf.nodes)

    def stream(self, name: str) -> Random:
        """The random stream of that name, derived from the seed."""
        key = f"{self.scenario.seed}/{name}".encode()
        return Random(int.from_bytes(hashlib.sha256(key).digest()[:8], "big"))

    def _schedule_start(self) -> None:
        start = self.scenario.start
        for index, host in enumerate(self.hosts.values()):
            at_ns = index * int(start.stagger)
            self.scheduler.at(at_ns, host.start_corosync, ev.NO_CAUSE)
            self.scheduler.at(at_ns + int(start.pmxcfs_after), host.start_pmxcfs, ev.NO_CAUSE)

    # ----------------------------------------------------------------------------------------------------------- time

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self.scheduler.now_ns

    def step(self) -> bool:
        """Let the next thing happen, a scheduled one or an intervention whose turn it is; False if nothing is left."""
        if self._is_storm():
            return False
        if self.script_done < len(self.script) and self._follow_script():
            return True
        return self.scheduler.step()

    def _follow_script(self) -> bool:
        """Carry out the scenario's next intervention if its turn has come."""
        scheduler, first = self.scheduler, self.script[self.script_done]
        next_ns = scheduler.next_ns
        if next_ns is not None:
            exact = first.after_step >= 0
            if scheduler.steps < first.after_step if exact else next_ns < first.at:
                return False
        self.script_done += 1
        scheduler.now_ns = max(scheduler.now_ns, int(first.at))
        self._do(first, scripted=True)
        return True

    def _is_storm(self) -> bool:
        """Whether nodes answer each other without end while hardly any virtual time passes; ends the run."""
        now_ns = self.scheduler.now_ns
        if now_ns - self._calm_ns >= MS:
            self._calm_ns, self._calm_events = now_ns, self.events
        elif self.events - self._calm_events > STORM_EVENTS:
            self.stopped = True
            self.storm = (
                f"{STORM_EVENTS} events within one millisecond, at {now_ns / 1e9:.6f} s: the nodes answer each "
                "other faster than time passes; give the network more delay, or start fewer nodes at once"
            )
        return bool(self.storm)

    def run_until(self, time_ns: int) -> bool:
        """Let everything up to ``time_ns`` happen; True if the scenario's ``stop_on`` ended the run before."""
        while not self.stopped and (next_ns := self.next_ns) is not None and next_ns <= time_ns:
            self.step()
        if not self.stopped:
            self.scheduler.now_ns = max(self.now_ns, time_ns)
        return self.stopped

    @property
    def next_ns(self) -> int | None:
        """Time of the next thing to happen."""
        scheduled_ns = self.scheduler.next_ns
        if self.script_done == len(self.script):
            return scheduled_ns
        scripted_ns = max(self.now_ns, int(self.script[self.script_done].at))
        return scripted_ns if scheduled_ns is None else min(scheduled_ns, scripted_ns)

    def record(self, node: int, cause: int, body: ev.Body) -> int:
        """Write an event at the present time; returns its id."""
        self.events += 1
        if type(body) is self._stop_type and self.script_done == len(self.script):
            self.stopped = True
        return self.timeline.append(self.scheduler.now_ns, node, cause, body)

    # -------------------------------------------------------------------------------------------------------- network

    def send(self, source: int, target: int, data: bytes, cause: int) -> None:
        """A host puts a datagram on the wire."""
        kind = data[3]
        if kind == ORF_TOKEN:
            self.token_hops += 1
        sent = self.record(source, cause, ev.DatagramSent(source, target, TYPE_NAMES[kind], data))
        self.network.send(source, target, data, sent, self.arrive, self._lose)

    def arrive(self, source: int, target: int, sent: int, data: bytes) -> None:
        """A copy of the datagram that the event ``sent`` sent reaches a host."""
        self.hosts[target].datagram(source, sent, data)

    def _lose(self, source: int, target: int, sent: int, data: bytes, loss: Loss) -> None:
        if loss.cause < 0:
            now_ns = self.now_ns
            self.lost_by_chance = [lost for lost in self.lost_by_chance if lost[0] == now_ns]
            self.lost_by_chance.append((now_ns, (source, target, sent, data)))
        self.lost(source, target, sent, data, loss.why, loss.cause)

    def lost(self, source: int, target: int, sent: int, data: bytes, why: str, cause: int) -> None:
        """A copy of a datagram does not arrive; ``cause`` is the event to blame, -1 if only chance is."""
        body = ev.DatagramDropped(source, target, sent, TYPE_NAMES[data[3]], why)
        event = self.record(target, cause if cause >= 0 else sent, body)
        if data[3] == ORF_TOKEN:
            self.hinder_token(data, event)

    def flights(self, sent: int, target: int) -> list[Planned]:
        """The copies on their way to another node of the datagram that an event sent; ``target`` 0: all of them."""
        arriving = [planned for planned in self.scheduler.planned() if planned.action == self.arrive]
        chosen = [p for p in arriving if p.args[2] == sent and p.args[1] != p.args[0] and target in (0, p.args[1])]
        return sorted(chosen, key=lambda planned: planned.number)

    # ----------------------------------------------------------------------------------- what keeps a token from moving

    def hinder(self, data: bytes, event: int) -> None:
        """If this datagram is a token, remember the event that keeps it from moving."""
        if data[3] == ORF_TOKEN:
            self.hinder_token(data, event)

    def hinder_token(self, data: bytes, event: int) -> None:
        """Remember the event that stopped this token; a token timer that expires will name it as its cause."""
        token = decode(data)
        assert isinstance(token, Token)
        self.obstacles.setdefault(token.ring_id, event)

    def token_moves(self, ring_id: RingId) -> None:
        """A node accepted the ring's token: nothing hinders it any more."""
        if self.obstacles:
            self.obstacles.pop(ring_id, None)

    def token_obstacle(self, ring_id: RingId, otherwise: int) -> int:
        """The event that keeps the ring's token from moving, ``otherwise`` if nothing is known to."""
        return self.obstacles.get(ring_id, otherwise)

    # -------------------------------------------------------------------------------------------------- interventions

    @property
    def nodeids(self) -> list[int]:
        """All nodes, by node id."""
        return list(self.hosts)

    def force(self, change: Callable[[CorosyncConf], CorosyncConf], cause: int) -> None:
        """Change the configuration of every daemon, and of those that are started later."""
        self.forced.append(change)
        self.conf = where_possible(change, self.conf)
        for host in self.hosts.values():
            host.force(change)
        self.tell_timeouts(list(self.hosts.values()), cause)

    def tell_timeouts(self, hosts: Sequence[Host], cause: int) -> None:
        """Record which timeouts are in force from now on: the cluster's if all hosts are meant, then who differs."""
        every = len(hosts) == len(self.hosts)
        if every:
            self._tell(ev.WORLD, self.conf.totem, cause)
            for host in hosts:
                host.told = self.conf.totem
        for host in hosts:
            if host.daemon is not None and not (every and host.daemon.conf.totem == host.told):
                host.told = host.daemon.conf.totem
                self._tell(host.nodeid, host.told, cause)

    def _tell(self, nodeid: int, totem: TotemConfig, cause: int) -> None:
        self.record(nodeid, cause, ev.TimeoutsChanged(totem.timeouts_ms, totem.limits))

    def change_host_model(self, model: HostModel, cause: int) -> None:
        """Every host takes another model, as soon as none of its daemons waits."""
        self.host_model = model
        for host in self.hosts.values():
            host.processes.change_model(model, cause)

    def add_node(self, disk: str, cause: int) -> None:
        """One node more: in every nodelist, on the wires, and started."""
        nodeid = max(self.hosts) + 1
        change = partial(with_node, nodeid=nodeid)
        info = msgspec.structs.replace(node_infos(change(self.conf))[-1], disk=disk)
        self.network.add(nodeid, self._link)
        added = self.record(nodeid, cause, ev.NodeAdded(info))
        self.force(change, added)
        newest = max((host.host_conf.content or b"" for host in self.hosts.values()), key=config_version)
        host = self._set_up(info, {})
        host.host_conf.content = newest
        host.boot(added)

    def scenario_until(self, position: int) -> Scenario:
        """The scenario with everything that was done up to an event, so that running it gives the same run."""
        before = [done for done in self.done if done.intervention.after_event < position]
        scripted = sum(done.scripted for done in before)
        interventions = (*(done.intervention for done in before), *self.script[scripted:])
        return msgspec.structs.replace(self.scenario, interventions=interventions)

    def intervene(self, intervention: do.AnyIntervention) -> None:
        """Do something now; it is remembered with its exact position, so that a replay does it at the same place."""
        self._do(intervention, scripted=False)

    def _do(self, intervention: do.AnyIntervention, *, scripted: bool) -> None:
        position = self.events - 1
        placed = msgspec.structs.replace(
            intervention, at=Duration(self.now_ns), after_event=position, after_step=self.scheduler.steps
        )
        self.done.append(Done(placed, scripted))
        nodeid = getattr(intervention, "node", ev.WORLD)
        action = intervention.__struct_config__.tag
        event = self.record(nodeid, ev.NO_CAUSE, ev.Intervened(str(action), intervention.text))
        DO[type(intervention)](self, intervention, event)


def _turn(intervention: do.AnyIntervention) -> tuple[int, float]:
    """Order in which interventions take place: by time; at one time those with an exact place come first."""
    exact = intervention.after_step >= 0
    return int(intervention.at), intervention.after_event if exact else math.inf


def node_infos(conf: CorosyncConf) -> tuple[ev.NodeInfo, ...]:
    """The nodes of a cluster with the letters they go by, in the order of the nodelist."""
    return tuple(
        ev.NodeInfo(node.nodeid, node.name, node.votes, letter=_letter(index)) for index, node in enumerate(conf.nodes)
    )


def _letter(index: int) -> str:
    """A, B, … Z, then a, b, …"""
    return chr(ord("A") + index) if index < 26 else chr(ord("a") + index - 26) if index < 52 else "?"
