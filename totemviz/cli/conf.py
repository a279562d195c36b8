"""``totemviz conf``: a corosync.conf explained to its admin."""

from __future__ import annotations

import click

from totemviz.cli.common import readable_errors


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def conf(file: str, as_json: bool) -> None:
    """Explain a corosync.conf: timeouts in effect, time until a dead node is out, votes, and what is risky."""
    with readable_errors():
        import msgspec

        from totemviz.corosync.conf import load
        from totemviz.corosync.report import render, report

        found = report(load(file))
        if as_json:
            click.echo(msgspec.json.encode(found))
            return
        for text in render(found):
            click.echo(text)
