"""``totemviz run``: a cluster in the cockpit, or headless to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from totemviz.cli.common import (
    INTERRUPTED,
    VIOLATED,
    BadInput,
    DurationParameter,
    for_node_option,
    need_terminal,
    print_transcript,
    readable_errors,
)
from totemviz.cli.questions import Search, condition, print_why

if TYPE_CHECKING:
    from totemviz.corosync.conf import CorosyncConf
    from totemviz.sim.scenario import Scenario
    from totemviz.sim.world import World
    from totemviz.trace.conditions import Condition
    from totemviz.trace.timeline import Timeline

PROGRESS_SLICES = 200


@click.command()
@click.argument("scenario_file", metavar="[SCENARIO.toml | SHARE STRING]", required=False)
@click.option("--resume", is_flag=True, help="Go on where the cockpit was last left, with all branches.")
@click.option("--conf", metavar="FILE", help="Run the cluster of this corosync.conf.")
@click.option("--host-model", type=click.Choice(["article", "measured"]), help="How a node's processes share threads.")
@click.option("--seed", type=int, metavar="N", help="Seed of all random streams.")
@click.option("--headless", is_flag=True, help="Run without the cockpit, to the scenario's end or --for.")
@click.option("--for", "for_ns", type=DurationParameter(), metavar="30s", help="How much virtual time to run headless.")
@click.option("--out", metavar="FILE", help="Write the timeline as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the run's figures.")
@click.option("--transcript", is_flag=True, help="Print the run as text, one event a line.")
@click.option(
    "--until",
    metavar="CONDITION",
    help='Run headless until this is true, e.g. "node(2).state == GATHER"; exit code 1 if it never is.',
)
@click.option("--why", metavar="KIND", help="Tell the causes of the last event of this kind, from the first one on.")
@click.option("--logs", metavar="DIR", help="Write every daemon's log file, as the daemons themselves write it.")
@click.option("--debug", is_flag=True, help="Logs: with corosync's debug lines.")
@for_node_option("--export-db", "exports", "NODE FILE", "Write a node's config.db as it is at the end (repeatable).")
@for_node_option(
    "--show",
    "shown",
    "NODE PATH",
    "Print a file of a node's /etc/pve as it is at the end, or list a folder (repeatable).",
)
@click.option("--check", is_flag=True, help="Check the protocol's invariants; exit code 1 if one is false.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Transcript: only this kind of event (repeatable)."
)
@click.option(
    "--node", "nodes", type=int, multiple=True, metavar="ID", help="Transcript, why: only this node (repeatable)."
)
def run(  # noqa: PLR0913, PLR0917 - one parameter per option
    scenario_file: str | None = None,
    resume: bool = False,
    conf: str | None = None,
    host_model: str | None = None,
    seed: int | None = None,
    headless: bool = False,
    for_ns: int | None = None,
    out: str | None = None,
    as_json: bool = False,
    transcript: bool = False,
    until: str | None = None,
    why: str | None = None,
    logs: str | None = None,
    debug: bool = False,
    exports: tuple[tuple[int, str], ...] = (),
    shown: tuple[tuple[int, str], ...] = (),
    check: bool = False,
    kinds: tuple[str, ...] = (),
    nodes: tuple[int, ...] = (),
) -> None:
    """Run a cluster: in the cockpit, or with --headless to its end."""
    with readable_errors():
        if resume:
            scenario_file = _last_session(scenario_file)
        scenario, cluster = _scenario(scenario_file, conf, host_model, seed)
        if not headless:
            given: dict[str, Any] = {
                "for": for_ns,
                "out": out,
                "json": as_json,
                "transcript": transcript,
                "logs": logs,
                "check": check,
            }
            given |= {"export-db": exports, "show": shown, "until": until, "why": why}
            if unused := next((name for name, value in given.items() if value), ""):
                raise BadInput(f"--{unused} is for headless runs; add --headless")
            from totemviz.sim.sharing import restore
            from totemviz.tui import run_cockpit

            need_terminal()
            run_cockpit(restore(scenario, cluster, scenario_file or "session", warm_up=False))
            click.echo("What you did is kept: totemviz --resume goes on there.")
            return
        scenario = _shown_run(scenario)
        _check_filters(kinds, nodes, cluster, why)
        _check_nodes("export-db", exports, cluster)
        _check_nodes("show", shown, cluster)
        if debug and logs is None:
            raise BadInput("--debug is for log files; add --logs DIR")
        files = (out, logs, debug, exports, shown)
        questions = (condition(until, cluster), why)
        _run_headless(scenario, cluster, for_ns, files, as_json, (transcript, kinds, nodes), questions, check)


def _last_session(scenario_file: str | None) -> str:
    from totemviz.sim.folders import last_session_file

    if scenario_file is not None:
        raise BadInput(f"--resume opens the last session; leave out {scenario_file}, or leave out --resume")
    path = last_session_file()
    if not path.exists():
        raise BadInput(f"{path}: there is no last session yet; leaving the cockpit keeps one")
    return str(path)


def _scenario(
    scenario_file: str | None, conf: str | None, host_model: str | None, seed: int | None
) -> tuple[Scenario, CorosyncConf]:
    import msgspec

    from totemviz.corosync.conf import load
    from totemviz.sim.scenario import Scenario, check, cluster_conf, load_scenario
    from totemviz.sim.sharing import PREFIX, is_misspelt_share_string, is_share_string, load_share_string
    from totemviz.sim.threads import HostModel

    if scenario_file is not None and is_share_string(scenario_file):
        if conf is not None:
            raise BadInput("a share string brings its own corosync.conf; leave out --conf")
        scenario, cluster = load_share_string(scenario_file)
    elif scenario_file is not None:
        if is_misspelt_share_string(scenario_file) and not Path(scenario_file).exists():
            raise BadInput(f"{scenario_file[:40]}: no such file, and no share string: one begins with {PREFIX}")
        scenario, cluster = load_scenario(Path(scenario_file))
    else:
        scenario = Scenario()
        cluster = cluster_conf(scenario, "built-in scenario", Path())
    changes: dict[str, Any] = {}
    if conf is not None:
        cluster = load(conf)
        if scenario_file is not None:
            check(scenario, cluster, scenario_file, Path(scenario_file).read_text(encoding="utf-8"))
        else:
            changes["title"] = cluster.cluster_name or Path(conf).name
    if host_model is not None:
        changes["host_model"] = HostModel(host_model)
    if seed is not None:
        changes["seed"] = seed
    if host_model is not None or seed is not None:  # another run: what was done keeps its time, not its exact place
        changes["interventions"] = tuple(action.loosened() for action in scenario.interventions)
        changes["session"] = None
    return msgspec.structs.replace(scenario, **changes), cluster


def _shown_run(scenario: Scenario) -> Scenario:
    """Of a saved session, the run that was on screen."""
    from totemviz.sim.sharing import current_run

    return current_run(scenario)


def _check_filters(kinds: tuple[str, ...], nodes: tuple[int, ...], cluster: CorosyncConf, why: str | None) -> None:
    from totemviz.trace.events import BODY_BY_KIND

    if why is not None and why not in BODY_BY_KIND:
        raise BadInput(f"--why {why}: there is no such event; use one of {', '.join(BODY_BY_KIND)}")
    for kind in kinds:
        if kind not in BODY_BY_KIND:
            raise BadInput(f"--kind {kind}: there is no such event; use one of {', '.join(BODY_BY_KIND)}")
    known = [node.nodeid for node in cluster.nodes]
    for node in nodes:
        if node not in known:
            raise BadInput(f"--node {node}: there is no such node; the cluster has {', '.join(map(str, known))}")


def _check_nodes(option: str, given: tuple[tuple[int, str], ...], cluster: CorosyncConf) -> None:
    known = [node.nodeid for node in cluster.nodes]
    for node, _ in given:
        if node not in known:
            raise BadInput(f"--{option} {node}: there is no such node; the cluster has {', '.join(map(str, known))}")


def _run_headless(
    scenario: Scenario,
    cluster: CorosyncConf,
    for_ns: int | None,
    files: tuple[str | None, str | None, bool, tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]],
    as_json: bool,
    transcript: tuple[bool, tuple[str, ...], tuple[int, ...]],
    questions: tuple[Condition | None, str | None],
    check: bool,
) -> None:
    import time

    import msgspec

    from totemviz.pmxcfs.process import EPOCH_S
    from totemviz.sim.seed import CONFIG_DB
    from totemviz.sim.world import World
    from totemviz.trace.logs import write_logs
    from totemviz.trace.summary import summarise

    until_ns = int(scenario.stop_after) if for_ns is None else for_ns
    world = World(scenario, cluster)
    started = time.perf_counter()
    until, why = questions
    search = Search(world, until) if until is not None else None
    interrupted = _run_with_progress(world, until_ns, world.run_until if search is None else search.run_until)
    wall_seconds = time.perf_counter() - started
    out, logs, debug, exports, shown = files
    if out is not None:
        world.timeline.save(Path(out))
    if logs is not None:
        write_logs(world.timeline, Path(logs), EPOCH_S, debug)
    for node, file in exports:
        Path(file).write_bytes(world.hosts[node].disk.export(CONFIG_DB))
    wanted, kinds, nodes = transcript
    if wanted:
        print_transcript(world.timeline, kinds, nodes)
    if why is not None:
        print_why(world.timeline, why, nodes)
    for node, path in shown:
        _show(world, node, path)
    violations = _violations(world.timeline) if check else None
    if as_json or not (wanted or why or shown):
        summary = summarise(world.timeline, world.now_ns, wall_seconds)
        if as_json:
            click.echo(msgspec.json.encode(msgspec.structs.replace(summary, violations=violations)))
        else:
            click.echo(
                f"{summary.virtual_seconds:g} s of cluster time in {summary.wall_seconds:.2f} s: "
                f"{summary.events} events, {summary.token_hops} token hops, {summary.deliveries} deliveries, "
                f"{summary.fsyncs} fsyncs"
            )
            for membership in summary.memberships:
                members = ", ".join(map(str, membership.members))
                click.echo(
                    f"{membership.time_ns / 1e9:12.6f} s  node {membership.node}  ring {membership.ring_id}  {members}"
                )
    if violations is not None and not as_json:
        for violation in violations:
            click.echo(violation)
        click.echo(f"{len(violations)} of the invariants' sentences are false" if violations else "all invariants hold")
    if interrupted:
        sys.exit(INTERRUPTED)
    if search is not None:
        click.echo(search.told, err=True)
    if violations or (search is not None and search.halt is None):
        sys.exit(VIOLATED)


def _show(world: World, node: int, path: str) -> None:
    """Print a file of /etc/pve, or list a folder as ``ls -l`` does. Raises BadInput if there is none."""
    from totemviz.sim.listing import show

    pmxcfs = world.hosts[node].pmxcfs
    if pmxcfs is None:
        raise BadInput(f"--show {node}: pmxcfs does not run on node {node} at the end; name another node or --for less")
    try:
        click.echo(show(pmxcfs, path), nl=False)
    except FileNotFoundError:
        raise BadInput(f"--show {node} {path}: no such file in /etc/pve of node {node}; try --show {node} /") from None


def _violations(timeline: Timeline) -> tuple[str, ...]:
    from totemviz.trace.checks import check

    return tuple(map(str, check(timeline)))


def _run_with_progress(world: World, until_ns: int, run_until: Callable[[int], bool]) -> bool:
    """Run to the end; True if the user interrupted. The bar is drawn only for a person.

    Raises BadInput if the run ended in a storm of events.
    """
    slices = [until_ns * (i + 1) // PROGRESS_SLICES for i in range(PROGRESS_SLICES)]
    hidden = not sys.stderr.isatty()
    try:
        with click.progressbar(slices, label="cluster time", file=sys.stderr, hidden=hidden) as bar:
            for time_ns in bar:
                if run_until(time_ns):
                    break
        if world.storm:
            raise BadInput(world.storm)
    except KeyboardInterrupt:
        click.echo(f"interrupted at {world.now_ns / 1e9:.3f} s of cluster time; what ran until then is kept", err=True)
        return True
    return False
