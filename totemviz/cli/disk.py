"""``totemviz disk``: how fast this machine's disk syncs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from totemviz.cli.common import INTERRUPTED, BadInput, readable_errors


@click.command()
@click.argument("path", required=False, default=".")
@click.option("--name", default="my-disk", show_default=True, help="Save the disk profile under this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def disk(path: str, name: str, as_json: bool) -> None:
    """Measure for three seconds how fast the disk under PATH syncs, and what that means for a cluster."""
    with readable_errors():
        import msgspec

        from totemviz.sim import measure, saved_profiles

        saved_profiles.check_name(name)
        folder = Path(path).resolve()
        if not folder.is_dir():
            raise BadInput(f"{path}: no such folder; give a folder on the disk to measure, e.g. /var/lib/pve-cluster")
        hidden = as_json or not sys.stderr.isatty()
        try:
            with click.progressbar(length=measure.DURATION_NS, label="syncing", file=sys.stderr, hidden=hidden) as bar:
                result = measure.measure(folder, lambda done_ns: bar.update(done_ns - bar.pos))
        except OSError as error:
            raise BadInput(
                f"{path}: no file can be synced there ({error.strerror}); give a folder you may write to"
            ) from None
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
