"""Search for trouble: random clusters to which random things happen, judged by all checkers.

``Trouble`` is a Hypothesis state machine. It begins with a cluster of 2 to 7 nodes, a transport, a host model and a
network; its rules are what can happen to it. It keeps just enough of a model (who runs, what is cut) to do what makes
sense, and writes down a scenario. At the end everything is mended and started, there is quiet time, so that liveness
can be judged too, and the scenario runs. So a case *is* a scenario file, and a failing one is printed as such.

    python -m tests.sim.search --examples 10000 --seed 1      a long tally, in chunks, with progress
    TOTEMVIZ_SEARCH=deep pytest tests/sim/test_search.py      thousands of cases, shrunk when they fail

Cases are cheap by their configuration: short timeouts (token 300 ms), since the protocol knows no absolute time, and
few idle rotations (``seqno_unchanged_const``) in most of them.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from totemviz.corosync.quirks import Quirks
from totemviz.sim import interventions as do
from totemviz.sim.scenario import ClusterSpec, NetworkSpec, Scenario, StartSpec, cluster_conf, dump_scenario
from totemviz.sim.threads import HostModel
from totemviz.sim.units import MS, SECOND, US, Duration, Offset
from totemviz.sim.world import World
from totemviz.totem.config import Transport
from totemviz.trace.checks import Violation, check, unexpected

TOKEN_MS = 300
CONSENSUS_MS = 360
MARGIN_NS = 300 * MS
NEVER_NS = 3600 * SECOND
BOOT_NS, READY_NS = 300 * MS, 1200 * MS
STEPS = 10
EVENTS_MAX = 60_000
CORRECTED = Quirks(
    token_copy_frees_messages=False,
    recovery_counters_survive=False,
    ring_id_not_synced=False,
    barrier_abort_keeps_joinlists=False,
    join_list_outlives_leave=False,
)
"""Without the faults that break invariants: in such a cluster nothing is excused."""

LIVENESS = 30
PATIENCE_NS = 30 * SECOND
"""What a membership that has not settled in time gets in addition before that counts."""

_QUIET = tuple(HealthCheck)
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": _QUIET,
    "stateful_step_count": STEPS,
    "print_blob": False,
}
PROFILES = {
    "ci": settings(max_examples=25, derandomize=True, **_COMMON),
    "deep": settings(max_examples=2000, phases=(Phase.generate, Phase.shrink), **_COMMON),
}
PROFILE = PROFILES[os.environ.get("TOTEMVIZ_SEARCH", "ci")]
GENERATE = settings(phases=(Phase.generate,), **_COMMON)

DEATHS = ("both", "corosync", "leave", "both", "leave", "power")
_WAIT = st.sampled_from([0, 100 * US, 1 * MS, 20 * MS, 100 * MS, 350 * MS, 800 * MS])


def _milliseconds(low: int, high: int) -> st.SearchStrategy[Duration]:
    return st.integers(low, high).map(lambda ms: Duration(ms * MS))


def _one_of(name: str) -> st.SearchStrategy[int]:
    """A member of the machine's set of that name."""
    runner: st.SearchStrategy[Any] = st.runner()
    return runner.flatmap(lambda machine: st.sampled_from(sorted(getattr(machine, name))))


_RUNNING, _DEAD, _ANY = _one_of("running"), _one_of("dead"), _one_of("nodes")


class Trouble(RuleBasedStateMachine):
    """One cluster and what happens to it. Subclasses say what becomes of the scenario (``judge``)."""

    sizes: ClassVar[tuple[int, ...]] = (2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7)
    quirks: ClassVar[Quirks] = Quirks()

    def __init__(self) -> None:
        super().__init__()
        self.happening: list[do.AnyIntervention] = []
        self.nodes: set[int] = set()
        self.running: set[int] = set()
        self.cut_off = False
        self.pmxcfs = False
        self.now_ns = 0
        self.made: Scenario | None = None

    @property
    def dead(self) -> set[int]:
        """Nodes on which corosync does not run, as far as this model knows."""
        return self.nodes - self.running

    def judge(self, scenario: Scenario) -> None:
        """Run it and look."""
        violations = unexpected(trouble(scenario))
        assert not violations, report(scenario, violations)

    def teardown(self) -> None:
        if self.made is not None and self.happening:
            self.judge(mended(self.made, self.happening))

    def _do(self, action: do.AnyIntervention, wait_ns: int) -> None:
        self.now_ns += wait_ns
        self.happening.append(msgspec.structs.replace(action, at=Duration(self.now_ns)))

    @initialize(
        size=st.runner().flatmap(lambda machine: st.sampled_from(machine.sizes)),
        random_seed=st.integers(0, 10_000),
        transport=st.sampled_from([Transport.KNET, Transport.KNET, Transport.UDPU]),
        pmxcfs=st.sampled_from([False, False, True]),
        host_model=st.sampled_from([HostModel.MEASURED, HostModel.MEASURED, HostModel.ARTICLE]),
        delay=st.sampled_from([500 * US, 1 * MS, 2 * MS]),
        idle_rotations=st.sampled_from([3, 3, 3, 8, 30]),
        retransmits=st.sampled_from([2, 4]),
        ready=st.booleans(),
    )
    def begin(
        self,
        *,
        size: int,
        random_seed: int,
        transport: Transport,
        pmxcfs: bool,
        host_model: HostModel,
        delay: int,
        idle_rotations: int,
        retransmits: int,
        ready: bool,
    ) -> None:
        # on udpu the state of one pmxcfs is a hundred packets: with many nodes a case would cost too much
        self.pmxcfs = pmxcfs and (size <= 3 or transport is Transport.KNET)
        self.nodes = set(range(1, size + 1))
        self.running = set(self.nodes)
        self.now_ns = READY_NS if ready else BOOT_NS
        totem = {
            "token": TOKEN_MS,
            "token_coefficient": 0,
            "token_retransmits_before_loss_const": retransmits,
            "seqno_unchanged_const": idle_rotations,
        }
        self.made = Scenario(
            title=f"search: {size} nodes",
            seed=random_seed,
            host_model=host_model,
            cluster=ClusterSpec(nodes=size, transport=transport, totem=totem),
            start=StartSpec(stagger=Duration(4 * MS), pmxcfs_after=Duration(100 * MS if self.pmxcfs else NEVER_NS)),
            quirks=self.quirks,
            network=NetworkSpec(delay=Duration(delay)),
        )

    @rule(
        wait=_WAIT,
        node=_ANY,
        content=st.sampled_from(["x", "y" * 3000]),
        count=st.integers(1, 12),
        every_us=st.sampled_from([100, 1000, 20_000]),
    )
    def burst(self, wait: int, node: int, content: str, count: int, every_us: int) -> None:
        """Files below /etc/pve, or, where no pmxcfs runs, messages of a CPG program."""
        if self.pmxcfs:
            every = Duration(every_us * US)
            self._do(do.Write(node=node, path="burst-{n}.cfg", content=content, count=count, every=every), wait)
        else:
            rate = 1e6 / every_us
            flood = do.CpgFlood(node=node, program=f"p{node}", count=3 * count, size=len(content) + 8, rate=rate)
            self._do(flood, wait)

    @precondition(lambda self: self.running)
    @rule(
        wait=_WAIT,
        node=_RUNNING,
        how=st.sampled_from(DEATHS),
        torn=st.booleans(),
    )
    def death(self, wait: int, node: int, how: str, torn: bool) -> None:
        self.running.discard(node)
        actions: dict[str, do.AnyIntervention] = {
            "both": do.Kill(node=node),
            "corosync": do.Kill(node=node, process="corosync"),
            "power": do.PowerCut(node=node, torn=torn),
            "leave": do.Leave(node=node),
        }
        self._do(actions[how], wait)

    @precondition(lambda self: self.dead)
    @rule(wait=_WAIT, node=_DEAD)
    def restart(self, wait: int, node: int) -> None:
        self.running.add(node)
        self._do(do.Restart(node=node), wait)

    @precondition(lambda self: self.running)
    @rule(wait=_WAIT, node=_RUNNING, duration=_milliseconds(1, 900))
    def pause(self, wait: int, node: int, duration: Duration) -> None:
        self._do(do.Pause(node=node, duration=duration), wait)

    @rule(wait=_WAIT, node=_ANY, duration=_milliseconds(1, 900))
    def stall_disk(self, wait: int, node: int, duration: Duration) -> None:
        self._do(do.StallDisk(node=node, duration=duration), wait)

    @rule(wait=_WAIT, count=st.integers(1, 6))
    def drop_tokens(self, wait: int, count: int) -> None:
        self._do(do.DropToken(count=count), wait)

    @rule(wait=_WAIT, receiver=st.one_of(st.just(0), _ANY))
    def drop_message(self, wait: int, receiver: int) -> None:
        self._do(do.DropMessage(target=receiver), wait)

    @rule(wait=_WAIT, sides=st.sets(_ANY, min_size=1))
    def cut(self, wait: int, sides: set[int]) -> None:
        self.cut_off = True
        self._do(do.Cut(nodes=tuple(sorted(sides))), wait)

    @rule(wait=_WAIT, source=_ANY, destination=_ANY)
    def cut_one_way(self, wait: int, source: int, destination: int) -> None:
        self.cut_off = True
        self._do(do.CutOneWay(source=source, target=destination), wait)

    @precondition(lambda self: self.cut_off)
    @rule(wait=_WAIT)
    def heal(self, wait: int) -> None:
        self.cut_off = False
        self._do(do.Heal(), wait)

    @rule(wait=_WAIT, loss=st.sampled_from([0.0, 1.0, 5.0, 20.0, 50.0]), twice=st.sampled_from([0.0, 5.0, 50.0]))
    def unreliable(self, wait: int, loss: float, twice: float) -> None:
        self._do(do.Loss(percent=loss), wait)
        self._do(do.Duplicate(percent=twice), 0)

    @rule(
        wait=_WAIT,
        delay=st.sampled_from([Duration(200 * US), Duration(1 * MS), Duration(4 * MS)]),
        jitter=st.sampled_from([Duration(0), Duration(200 * US), Duration(8 * MS)]),
    )
    def slow(self, wait: int, delay: Duration, jitter: Duration) -> None:
        """With more jitter than delay datagrams overtake each other."""
        self._do(do.Delay(delay=delay, jitter=jitter), wait)

    @rule(
        wait=_WAIT,
        node=_ANY,
        ahead_s=st.sampled_from([-3600, -130, -1, 0, 1, 70, 130, 3600]),
        ppm=st.integers(-500, 500),
    )
    def skew_clock(self, wait: int, node: int, ahead_s: int, ppm: int) -> None:
        """Programs judge by it, the ring does not."""
        self._do(do.SkewClock(node=node, ahead=Offset(ahead_s * SECOND), drift_ppm=ppm), wait)

    @rule(wait=_WAIT, model=st.sampled_from(HostModel))
    def other_model(self, wait: int, model: HostModel) -> None:
        self._do(do.ChangeHostModel(model=model), wait)


def mended(scenario: Scenario, happening: list[do.AnyIntervention]) -> Scenario:
    """A scenario in which these things happen, and then everything is made good and left alone.

    The mended network is a little irregular. Where every datagram takes exactly as long as every other, two rings that
    have rejected each other can go on doing so for ever, in step.
    """
    size = scenario.cluster.nodes
    end_ns = max((int(action.at) for action in happening), default=2 * SECOND) + 300 * MS
    mending: list[do.AnyIntervention] = [
        do.Heal(),
        do.Loss(percent=0.0),
        do.Duplicate(percent=0.0),
        do.Delay(delay=Duration(int(scenario.network.delay)), jitter=Duration(200 * US)),
        *(do.Restart(node=nodeid) for nodeid in range(1, size + 1)),
    ]
    mending = [msgspec.structs.replace(action, at=Duration(end_ns)) for action in mending]
    settle_ns = (TOKEN_MS + CONSENSUS_MS) * MS * (size + 1) + SECOND
    return msgspec.structs.replace(
        scenario,
        stop_after=Duration(end_ns + settle_ns + MARGIN_NS),
        interventions=(*happening, *mending),
    )


def trouble(scenario: Scenario) -> list[Violation]:
    """Run a scenario to its end; what the checkers say.

    A one-way cut can make rings form and break as fast as the network allows, as it does in reality. Such a run is
    judged for what it was until there were enough events; nothing can be said then of what happens in the end.
    """
    return judged(scenario)[1]


def judged(scenario: Scenario) -> tuple[World, list[Violation]]:
    """Run a scenario; its world at the end, and what the checkers say.

    How long two rings go on rejecting each other in step is chance: each round of the consensus timeout they may meet
    in the same way again, if datagrams overtake each other. So what has not settled in time is given much more of it.
    """
    world = run_case(scenario)
    violations = check(world.timeline, end_ns=world.now_ns)
    if any(violation.invariant == LIVENESS for violation in violations):
        later = run_case(msgspec.structs.replace(scenario, stop_after=Duration(int(scenario.stop_after) + PATIENCE_NS)))
        if not any(violation.invariant == LIVENESS for violation in check(later.timeline, end_ns=later.now_ns)):
            violations = [violation for violation in violations if violation.invariant != LIVENESS]
    return world, violations


def run_case(scenario: Scenario) -> World:
    """Run a scenario to its end, or until there are ``EVENTS_MAX`` events."""
    world = World(scenario, cluster_conf(scenario, "search", Path()))
    end_ns = int(scenario.stop_after)
    while world.now_ns < end_ns and world.events < EVENTS_MAX and world.step():
        pass
    return world


def report(scenario: Scenario, violations: list[Violation]) -> str:
    """A failing case: what is wrong, then the scenario file."""
    comments = "".join(f"# {violation}\n" for violation in violations[:10])
    return f"\n{comments}{dump_scenario(scenario)}"


# ------------------------------------------------------------------------------------------------------- the long tally


class Tally:
    """What a long search has seen."""

    def __init__(self, keep: Path | None) -> None:
        self.examples = self.events = self.cut_short = self.failing = 0
        self.known: Counter[int] = Counter()
        self.actions: Counter[str] = Counter()
        self.began_s = time.monotonic()
        self._keep = keep

    def add(self, scenario: Scenario) -> None:
        """Run one case and count it; a failing one is printed and, with ``keep``, written to that folder."""
        self.examples += 1
        try:
            world, violations = judged(scenario)
        except Exception as error:
            self._found("crash", f"# {error!r}\n{dump_scenario(scenario)}", repr(error), scenario.seed)
            return
        if self.examples % 10 == 0:
            gc.collect()  # a world refers to itself, and a timeline is large
        self.events += world.events
        self.cut_short += world.now_ns < int(scenario.stop_after)
        self.actions.update(type(action).__name__ for action in scenario.interventions)
        self.known.update({violation.invariant for violation in violations})
        if bad := violations if scenario.quirks == CORRECTED else unexpected(violations):
            numbers = "-".join(str(number) for number in sorted({violation.invariant for violation in bad}))
            self._found(numbers, report(scenario, bad), str(bad[0]), scenario.seed)

    def _found(self, kind: str, text: str, first: str, random_seed: int) -> None:
        self.failing += 1
        print(text if self._keep is None else f"\n{first}", flush=True)
        if self._keep is not None:
            name = f"case-{kind}-{random_seed}-{self.examples}.toml"
            (self._keep / name).write_text(text, encoding="utf-8")

    def __str__(self) -> str:
        known = ", ".join(f"{number}: {count}" for number, count in sorted(self.known.items()))
        return (
            f"{self.examples} examples, {self.failing} failing; {self.events:,} events, {self.cut_short} cut short; "
            f"examples that broke an invariant, known failures included: {known or 'none'}; "
            f"{time.monotonic() - self.began_s:.0f} s"
        )


def tally(examples: int, first_seed: int, chunk: int, keep: Path | None, given: Quirks) -> Tally:
    """Run so many cases in chunks with seeds of their own; shows progress."""
    result = Tally(keep)

    class Counted(Trouble):
        quirks = given

        def judge(self, scenario: Scenario) -> None:
            result.add(scenario)

    for number in itertools.count(first_seed):
        if result.examples >= examples:  # a chunk may hold a few cases more than were asked for
            break
        machine: Callable[[], RuleBasedStateMachine] = seed(number)(type("Counted", (Counted,), {}))
        size = min(chunk, examples - result.examples)
        run_state_machine_as_test(machine, settings=settings(GENERATE, max_examples=size))
        print(f"seed {number}: {result}", flush=True)
    print(f"actions: {dict(sorted(result.actions.items()))}")
    return result


def main() -> int:
    """The command line; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.search", description="search for broken invariants")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first chunk; the next ones count up")
    parser.add_argument("--chunk", type=int, default=100, help="examples per chunk")
    parser.add_argument("--corrected", action="store_true", help="without the known faults: nothing is excused")
    parser.add_argument("--keep", type=Path, help="folder for failing scenarios")
    given = parser.parse_args()
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
    quirks = CORRECTED if given.corrected else Quirks()
    return 1 if tally(given.examples, given.seed, given.chunk, given.keep, quirks).failing else 0


if __name__ == "__main__":
    raise SystemExit(main())
