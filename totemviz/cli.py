"""The commands: parse, call, print. Heavy imports happen inside the command that needs them.

Whatever is wrong with what the user gave (a file, a key, a flag) becomes one line on standard error and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from totemviz import __version__

if TYPE_CHECKING:
    from totemviz.corosync.conf import CorosyncConf
    from totemviz.sim.scenario import Scenario
    from totemviz.sim.world import World
    from totemviz.trace.timeline import Timeline

VIOLATED = 1
BAD_INPUT = 2
INTERRUPTED = 130
PROGRESS_SLICES = 200
SHOWN_DIFFERENCES = 20


class BadInput(Exception):  # noqa: N818 - the user's, not the program's
    """One line that says what is wrong with the input and how to mend it."""


class _Duration(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from totemviz.sim.units import Duration

        try:
            return Duration.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="totemviz")
@click.pass_context
def cli(context: click.Context) -> None:
    """Step through a real Proxmox VE cluster, token by token.

    Without a command: the cockpit with a built-in cluster of three nodes. Press ? in it.
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


@cli.command()
@click.argument("scenario_file", metavar="[SCENARIO.toml]", required=False)
@click.option("--conf", metavar="FILE", help="Run the cluster of this corosync.conf.")
@click.option("--host-model", type=click.Choice(["article", "measured"]), help="How a node's processes share threads.")
@click.option("--seed", type=int, metavar="N", help="Seed of all random streams.")
@click.option("--headless", is_flag=True, help="Run without the cockpit, to the scenario's end or --for.")
@click.option("--for", "for_ns", type=_Duration(), metavar="30s", help="How much virtual time to run headless.")
@click.option("--out", metavar="FILE", help="Write the timeline as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the run's figures.")
@click.option("--transcript", is_flag=True, help="Print the run as text, one event a line.")
@click.option("--logs", metavar="DIR", help="Write every daemon's log file, as the daemons themselves write it.")
@click.option("--debug", is_flag=True, help="Logs: with corosync's debug lines.")
@click.option(
    "--export-db",
    "exports",
    type=(int, str),
    multiple=True,
    metavar="NODE FILE",
    help="Write a node's config.db as it is at the end (repeatable).",
)
@click.option("--check", is_flag=True, help="Check the protocol's invariants; exit code 1 if one is false.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Transcript: only this kind of event (repeatable)."
)
@click.option("--node", "nodes", type=int, multiple=True, metavar="ID", help="Transcript: only this node (repeatable).")
def run(  # noqa: PLR0913, PLR0917 - one parameter per option
    scenario_file: str | None = None,
    conf: str | None = None,
    host_model: str | None = None,
    seed: int | None = None,
    headless: bool = False,
    for_ns: int | None = None,
    out: str | None = None,
    as_json: bool = False,
    transcript: bool = False,
    logs: str | None = None,
    debug: bool = False,
    exports: tuple[tuple[int, str], ...] = (),
    check: bool = False,
    kinds: tuple[str, ...] = (),
    nodes: tuple[int, ...] = (),
) -> None:
    """Run a cluster: in the cockpit, or with --headless to its end."""
    with _readable_errors():
        scenario, cluster = _scenario(scenario_file, conf, host_model, seed)
        if not headless:
            given = {"for": for_ns, "out": out, "json": as_json, "transcript": transcript, "logs": logs, "check": check}
            if unused := next((name for name, value in (given | {"export-db": exports}).items() if value), ""):
                raise BadInput(f"--{unused} is for headless runs; add --headless")
            from totemviz.sim.session import Simulation
            from totemviz.tui import run_cockpit

            simulation = Simulation(scenario, cluster)
            simulation.warm_up()
            run_cockpit(simulation)
            return
        _check_filters(kinds, nodes, cluster)
        _check_exports(exports, cluster)
        if debug and logs is None:
            raise BadInput("--debug is for log files; add --logs DIR")
        files = (out, logs, debug, exports)
        _run_headless(scenario, cluster, for_ns, files, as_json, (transcript, kinds, nodes), check)


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with what was found.")
@click.option("--transcript", is_flag=True, help="Print the recording as text, one event a line.")
@click.option(
    "--export-db",
    "exports",
    type=(int, str),
    multiple=True,
    metavar="NODE FILE",
    help="Write the config.db the node's pmxcfs must have had at the end (repeatable).",
)
@click.option("--conf", metavar="FILE", help="With --export-db: the corosync.conf /etc/pve began with.")
def replay(
    files: tuple[str, ...], as_json: bool, transcript: bool, exports: tuple[tuple[int, str], ...], conf: str | None
) -> None:
    """Look at a recording of a real cluster (captures of its corosync traffic), or at a run saved with --out.

    With --export-db the recorded CPG messages go through totemviz' own pmxcfs instead.
    """
    with _readable_errors():
        timeline, summary = _load_recording([Path(file) for file in files])
        if exports:
            _export_recorded(timeline, summary if as_json else None, exports, _conf_texts(files, conf))
        elif as_json:
            click.echo(summary)
        elif transcript:
            _print_transcript(timeline, (), ())
        else:
            from totemviz.sim.session import Session
            from totemviz.tui import run_cockpit

            run_cockpit(Session(timeline))


@cli.command()
@click.argument("file", metavar="CAPTURE")
@click.option("--node", type=int, metavar="ID", help="The node to replace; the one that made the capture if not given.")
@click.option("--conf", metavar="FILE", help="The cluster's corosync.conf, if its timeouts are not the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def shadow(file: str, node: int | None, conf: str | None, as_json: bool) -> None:
    """Put totemviz' ring machine in the place of a recorded node and compare what both sent."""
    with _readable_errors():
        import msgspec

        from totemviz.corosync.conf import load
        from totemviz.trace.shadow import owner, shadow

        timeline, _ = _load_recording([Path(file)])
        chosen = node if node is not None else owner(timeline)
        result = shadow(timeline, chosen, load(conf).totem if conf is not None else None)
        if as_json:
            click.echo(msgspec.json.encode(result))
            return
        click.echo(f"node {result.node}: {result.matched} of {result.outbound} datagrams as the real node sent them")
        if result.off_time:
            click.echo(f"  {result.off_time} of them more than 50 ms earlier or later")
        for kind, count in result.by_type.items():
            click.echo(f"  {kind:<18} {count.matched:>6} of {count.outbound:>6}")
        for difference in result.mismatches[:SHOWN_DIFFERENCES]:
            what = f" {difference.field}" if difference.field else ""
            click.echo(
                f"{difference.time_ns / 1e9:12.6f} s  {difference.type}{what}: "
                f"expected {difference.expected}, got {difference.got}"
            )
        if (more := len(result.mismatches) - SHOWN_DIFFERENCES) > 0:
            click.echo(f"… and {more} differences more; --json has them all")


@cli.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def conf(file: str, as_json: bool) -> None:
    """Explain a corosync.conf: timeouts in effect, time until a dead node is out, votes, and what is risky."""
    with _readable_errors():
        import msgspec

        from totemviz.corosync.conf import load
        from totemviz.corosync.report import render, report

        found = report(load(file))
        if as_json:
            click.echo(msgspec.json.encode(found))
            return
        for text in render(found):
            click.echo(text)


@cli.command()
@click.argument("name", required=False)
def lesson(name: str | None) -> None:
    """List the lessons, or start one."""
    with _readable_errors():
        from totemviz.lessons import all_lessons

        lessons = all_lessons()
        if name is None:
            for key, found in lessons.items():
                click.echo(f"{key:<12} {found.title} · {found.minutes} min")
                click.echo(f"{'':<12} {found.summary}")
            return
        if name not in lessons:
            raise BadInput(f"there is no lesson {name!r}; use one of {', '.join(lessons)}")
        from totemviz.tui import run_lesson

        run_lesson(lessons[name])


@cli.command()
@click.argument("path", required=False, default=".")
@click.option("--name", default="my-disk", show_default=True, help="Save the disk profile under this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def disk(path: str, name: str, as_json: bool) -> None:
    """Measure for three seconds how fast the disk under PATH syncs, and what that means for a cluster."""
    with _readable_errors():
        import msgspec

        from totemviz.sim import measure, saved_profiles

        saved_profiles.check_name(name)
        hidden = as_json or not sys.stderr.isatty()
        try:
            with click.progressbar(length=measure.DURATION_NS, label="syncing", file=sys.stderr, hidden=hidden) as bar:
                result = measure.measure(Path(path).resolve(), lambda done_ns: bar.update(done_ns - bar.pos))
        except KeyboardInterrupt:
            click.echo("interrupted: nothing is saved, the temporary file is removed", err=True)
            sys.exit(INTERRUPTED)
        profile = measure.profile_of(result, name)
        saved = saved_profiles.save(profile)
        if as_json:
            figures = {
                "folder": result.folder,
                "fsync_per_second": result.fsync_per_second,
                "syncs": len(result.latencies_ns),
                "median_ns": result.percentile_ns(50),
                "p99_ns": result.percentile_ns(99),
                "max_ns": result.latencies_ns[-1],
                "nearest": measure.nearest(result.fsync_per_second).name,
                "saved": str(saved),
                "profile": profile,
            }
            click.echo(msgspec.json.encode(figures))
            return
        import shutil

        from totemviz.sim.disk_report import report

        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        for line in report(result, shutil.get_terminal_size().columns, unicode=unicode):
            click.echo(line)
        click.echo(f'\nsaved as disk "{name}" for the [disks] of a scenario: {saved}')


# ------------------------------------------------------------------------------------------------------------- running


def _scenario(
    scenario_file: str | None, conf: str | None, host_model: str | None, seed: int | None
) -> tuple[Scenario, CorosyncConf]:
    import msgspec

    from totemviz.corosync.conf import load
    from totemviz.sim.scenario import Scenario, check, cluster_conf, load_scenario
    from totemviz.sim.threads import HostModel

    if scenario_file is not None:
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
    return msgspec.structs.replace(scenario, **changes), cluster


def _check_filters(kinds: tuple[str, ...], nodes: tuple[int, ...], cluster: CorosyncConf) -> None:
    from totemviz.trace.events import BODY_BY_KIND

    for kind in kinds:
        if kind not in BODY_BY_KIND:
            raise BadInput(f"--kind {kind}: there is no such event; use one of {', '.join(BODY_BY_KIND)}")
    known = [node.nodeid for node in cluster.nodes]
    for node in nodes:
        if node not in known:
            raise BadInput(f"--node {node}: there is no such node; the cluster has {', '.join(map(str, known))}")


def _check_exports(exports: tuple[tuple[int, str], ...], cluster: CorosyncConf) -> None:
    known = [node.nodeid for node in cluster.nodes]
    for node, _ in exports:
        if node not in known:
            raise BadInput(f"--export-db {node}: there is no such node; the cluster has {', '.join(map(str, known))}")


def _run_headless(
    scenario: Scenario,
    cluster: CorosyncConf,
    for_ns: int | None,
    files: tuple[str | None, str | None, bool, tuple[tuple[int, str], ...]],
    as_json: bool,
    transcript: tuple[bool, tuple[str, ...], tuple[int, ...]],
    check: bool,
) -> None:
    import time

    import msgspec

    from totemviz.sim.seed import CONFIG_DB
    from totemviz.sim.world import World
    from totemviz.trace.logs import write_logs
    from totemviz.trace.summary import summarise

    until_ns = int(scenario.stop_after) if for_ns is None else for_ns
    world = World(scenario, cluster)
    started = time.perf_counter()
    interrupted = _run_with_progress(world, until_ns)
    wall_seconds = time.perf_counter() - started
    out, logs, debug, exports = files
    if out is not None:
        world.timeline.save(Path(out))
    if logs is not None:
        write_logs(world.timeline, Path(logs), world.epoch_s, debug)
    for node, file in exports:
        Path(file).write_bytes(world.hosts[node].disk.export(CONFIG_DB))
    wanted, kinds, nodes = transcript
    if wanted:
        _print_transcript(world.timeline, kinds, nodes)
    violations = _violations(world.timeline) if check else None
    if as_json or not wanted:
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
    if violations:
        sys.exit(VIOLATED)


def _violations(timeline: Timeline) -> tuple[str, ...]:
    from totemviz.trace.checks import check

    return tuple(map(str, check(timeline)))


def _run_with_progress(world: World, until_ns: int) -> bool:
    """Run to the end; True if the user interrupted. The bar is drawn only for a person."""
    slices = [until_ns * (i + 1) // PROGRESS_SLICES for i in range(PROGRESS_SLICES)]
    hidden = not sys.stderr.isatty()
    try:
        with click.progressbar(slices, label="cluster time", file=sys.stderr, hidden=hidden) as bar:
            for time_ns in bar:
                if world.run_until(time_ns):
                    break
    except KeyboardInterrupt:
        click.echo(f"interrupted at {world.now_ns / 1e9:.3f} s of cluster time; what ran until then is kept", err=True)
        return True
    return False


def _print_transcript(timeline: Timeline, kinds: tuple[str, ...], nodes: tuple[int, ...]) -> None:
    from totemviz.trace.transcript import transcript

    for text in transcript(timeline, kinds or None, nodes or None):
        click.echo(text)


def _load_recording(paths: list[Path]) -> tuple[Timeline, bytes]:
    """The timeline of captures or of one saved run, and its summary as JSON."""
    import msgspec

    from totemviz.trace.timeline import Timeline

    with paths[0].open("rb") as file:
        first = file.read(1)
    if first == b"{":
        from totemviz.trace.summary import summarise

        if len(paths) > 1:
            raise BadInput(f"{paths[1]}: a saved run is looked at alone; give one .jsonl file")
        timeline = Timeline.load(paths[0])
        last_ns = timeline[-1].time_ns if len(timeline) else 0
        return timeline, msgspec.json.encode(summarise(timeline, last_ns, 0.0))

    from totemviz.trace.recorded import load_recording

    hidden = not sys.stderr.isatty()
    total = sum(path.stat().st_size for path in paths)
    with click.progressbar(length=total, label="reading", file=sys.stderr, hidden=hidden) as bar:
        recording = load_recording(paths, progress=lambda done, _total: bar.update(max(0, done - bar.pos)))
    for warning in recording.summary.warnings:
        click.echo(warning, err=True)
    return recording.timeline, msgspec.json.encode(recording.summary)


def _conf_texts(files: tuple[str, ...], conf: str | None) -> list[bytes]:
    """What may be the corosync.conf of a recording: the file named, or those that lie beside the captures."""
    if conf is not None:
        return [Path(conf).read_bytes()]
    beside = dict.fromkeys(Path(file).parent / "corosync.conf" for file in files)
    return [path.read_bytes() for path in beside if path.is_file()]


def _export_recorded(
    timeline: Timeline, summary: bytes | None, exports: tuple[tuple[int, str], ...], confs: list[bytes]
) -> None:
    """Write the databases, and say what proves them and what nobody can know; as JSON with ``summary``."""
    import msgspec

    from totemviz.trace.events import RunStarted
    from totemviz.trace.recorded_pmxcfs import export_database

    started = timeline[0].body
    if isinstance(started, RunStarted) and started.world != "recorded":
        raise BadInput("--export-db replays a capture; for a simulated run give it to: totemviz run … --headless")
    results = [export_database(timeline, node, Path(file), confs) for node, file in exports]
    if summary is not None:
        figures = msgspec.json.decode(summary)
        click.echo(msgspec.json.encode(figures | {"databases": results}))
        return
    for result, (_, file) in zip(results, exports, strict=True):
        click.echo(
            f"{file}: /etc/pve of node {result.node} at version {result.version}, {result.rows} rows; "
            f"{result.states} recorded states agree"
        )
        for line in (*result.notes, *result.undetermined):
            click.echo(f"  {line}")
        if any(row.path == "corosync.conf" for row in result.undetermined):
            click.echo(
                "  name the corosync.conf of that time with --conf; it is taken if its digest is the recorded one"
            )


# -------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Turn what a user can cause into ``BadInput`` with one line."""
    from totemviz.corosync.conf import ConfError
    from totemviz.sim.saved_profiles import ProfileError
    from totemviz.sim.scenario import ScenarioError
    from totemviz.trace.capture import CaptureError
    from totemviz.trace.recorded_services import NothingToExportError
    from totemviz.trace.shadow_record import NothingToShadow
    from totemviz.trace.timeline import TimelineError

    try:
        yield
    except (
        ScenarioError,
        ConfError,
        TimelineError,
        CaptureError,
        NothingToShadow,
        NothingToExportError,
        ProfileError,
    ) as error:
        raise BadInput(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        name = error.filename if error.filename is not None else "file"
        raise BadInput(f"{name}: {error.strerror or error}") from None


def main() -> None:
    """Entry point of the ``totemviz`` command."""
    try:
        result = cli.main(prog_name="totemviz", standalone_mode=False)
    except BadInput as error:
        click.echo(f"totemviz: {error}", err=True)
        sys.exit(BAD_INPUT)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "totemviz"
        click.echo(f"{command}: {error.format_message().rstrip('.')}; see {command} --help", err=True)
        sys.exit(BAD_INPUT)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
