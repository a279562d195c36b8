"""``totemviz replay``: a recording of a real cluster, or a saved run, on the screen or as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from totemviz.cli.common import (
    BadInput,
    for_node_option,
    load_recording,
    need_terminal,
    print_transcript,
    readable_errors,
)

if TYPE_CHECKING:
    from totemviz.trace.timeline import Timeline


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with what was found.")
@click.option("--transcript", is_flag=True, help="Print the recording as text, one event a line.")
@for_node_option(
    "--export-db",
    "exports",
    "NODE FILE",
    "Write the config.db the node's pmxcfs must have had at the end (repeatable).",
)
@click.option("--conf", metavar="FILE", help="With --export-db: the corosync.conf /etc/pve began with.")
def replay(
    files: tuple[str, ...], as_json: bool, transcript: bool, exports: tuple[tuple[int, str], ...], conf: str | None
) -> None:
    """Look at a recording of a real cluster (captures of its corosync traffic), or at a run saved with --out.

    With --export-db the recorded CPG messages go through totemviz' own pmxcfs instead.
    """
    with readable_errors():
        timeline, summary = load_recording([Path(file) for file in files])
        if exports:
            _export_recorded(timeline, summary if as_json else None, exports, _conf_texts(files, conf))
        elif as_json:
            click.echo(summary)
        elif transcript:
            print_transcript(timeline, (), ())
        else:
            from totemviz.sim.session import Session
            from totemviz.tui import run_cockpit

            need_terminal()
            run_cockpit(Session(timeline))


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
