"""``totemviz shadow``: our machine in the place of a recorded node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from totemviz.cli.common import load_recording, read_captures, readable_errors

if TYPE_CHECKING:
    from totemviz.corosync.conf import CorosyncConf
    from totemviz.trace.shadow import ShadowResult
    from totemviz.trace.shadow_links import LinkSigns
    from totemviz.trace.shadow_services import ServiceResult
    from totemviz.trace.timeline import Timeline

SHOWN_DIFFERENCES = 20


@click.command()
@click.argument("file", metavar="CAPTURE")
@click.option("--node", type=int, metavar="ID", help="The node to replace; the one that made the capture if not given.")
@click.option(
    "--conf", metavar="FILE", help="The cluster's corosync.conf; a corosync.conf beside the capture if not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def shadow(file: str, node: int | None, conf: str | None, as_json: bool) -> None:
    """Put our ring and our services in the place of a recorded node and compare what both sent."""
    with readable_errors():
        import msgspec

        from totemviz.trace.shadow import owner, shadow
        from totemviz.trace.shadow_services import shadow_services

        path = Path(file)
        timeline, links = _recording(path)
        chosen = node if node is not None else owner(timeline)
        cluster = _conf(path, conf, timeline)
        config = cluster.totem if cluster is not None else None
        with click.progressbar(length=1000, label="shadowing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            result = shadow(
                timeline, chosen, config, links, lambda now, last: bar.update(1000 * now // max(1, last) - bar.pos)
            )
        services = shadow_services(timeline, chosen, cluster)
        if as_json:
            click.echo(msgspec.json.encode(msgspec.to_builtins(result) | {"services": msgspec.to_builtins(services)}))
        else:
            _print(result)
            _print_services(services)


def _recording(path: Path) -> tuple[Timeline, LinkSigns | None]:
    """A capture, or a saved run."""
    with path.open("rb") as file:
        first = file.read(1)
    if first == b"{":
        return load_recording([path])[0], None
    recording = read_captures([path])
    return recording.timeline, recording.links


def _conf(path: Path, conf: str | None, timeline: Timeline) -> CorosyncConf | None:
    """The corosync.conf that is given, or one beside the capture if it fits."""
    from totemviz.corosync.conf import ConfError, load
    from totemviz.trace.events import RunStarted

    if conf is not None:
        return load(conf)
    beside = path.parent / "corosync.conf"
    started = timeline[0].body
    if not beside.is_file() or not isinstance(started, RunStarted):
        return None
    try:
        found = load(beside)
    except ConfError:
        return None
    known = {entry.nodeid for entry in found.nodes}
    fits = known >= {entry.nodeid for entry in started.nodes} and str(found.transport) == started.transport
    return found if fits else None


def _print(result: ShadowResult) -> None:
    click.echo(f"node {result.node}: {result.matched} of {result.outbound} datagrams as the real node sent them")
    if result.off_time:
        click.echo(f"  {result.off_time} of them more than 50 ms earlier or later")
    if result.extra:
        click.echo(f"  {result.extra} sent by ours only")
    if result.not_compared:
        click.echo(f"  {result.not_compared} not compared: sent before the capture shows enough")
    for kind, count in result.by_type.items():
        click.echo(f"  {kind:<18} {count.matched:>6} of {count.outbound:>6}")
    click.echo(f"  not determined by the protocol, not compared: {', '.join(result.excluded)}")
    for difference in result.mismatches[:SHOWN_DIFFERENCES]:
        what = f" {difference.field}" if difference.field else ""
        click.echo(
            f"{difference.time_ns / 1e9:12.6f} s  {difference.type}{what}: "
            f"expected {difference.expected}, got {difference.got}"
        )
    if (more := len(result.mismatches) - SHOWN_DIFFERENCES) > 0:
        click.echo(f"… and {more} differences more; --json has them all")


def _print_services(result: ServiceResult) -> None:
    click.echo(f"services: {result.matched} of {result.total} messages as the real node sent them")
    if result.not_compared:
        click.echo(f"  {result.not_compared} not compared: of a ring or of clients from before the capture")
    for kind, count in result.by_type.items():
        click.echo(f"  {kind:<18} {count.matched:>6} of {count.total:>6}")
    click.echo(f"  not determined, not compared: {', '.join(result.excluded)}")
    for difference in result.mismatches[:SHOWN_DIFFERENCES]:
        place = f"ring {difference.ring_id} seq {difference.seq:x}"
        click.echo(f"{place}  {difference.type}: expected {difference.expected}, got {difference.got}")
