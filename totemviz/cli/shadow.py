"""``totemviz shadow``: our machine in the place of a recorded node."""

from __future__ import annotations

from pathlib import Path

import click

from totemviz.cli.common import load_recording, readable_errors

SHOWN_DIFFERENCES = 20


@click.command()
@click.argument("file", metavar="CAPTURE")
@click.option("--node", type=int, metavar="ID", help="The node to replace; the one that made the capture if not given.")
@click.option("--conf", metavar="FILE", help="The cluster's corosync.conf, if its timeouts are not the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def shadow(file: str, node: int | None, conf: str | None, as_json: bool) -> None:
    """Put totemviz' ring machine in the place of a recorded node and compare what both sent."""
    with readable_errors():
        import msgspec

        from totemviz.corosync.conf import load
        from totemviz.trace.shadow import owner, shadow

        timeline, _ = load_recording([Path(file)])
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
