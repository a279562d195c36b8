"""``totemviz config``: where the settings are, and what is in force."""

from __future__ import annotations

import click

from totemviz.cli.common import BadInput, readable_errors


@click.command()
@click.option("--init", is_flag=True, help="Write a file with every setting in it, commented out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def config(init: bool, as_json: bool) -> None:
    """Show the settings in force, where they are set, and the id of every key."""
    with readable_errors():
        import msgspec

        from totemviz.sim.folders import settings_file, state_folder, write_whole
        from totemviz.tui.settings import load_settings, remapped, template

        path = settings_file()
        if init:
            if path.exists():
                raise BadInput(f"{path}: exists already; edit it, or move it away")
            write_whole(path, template())
        settings = load_settings()
        if as_json:
            places = {"settings_file": str(path), "state_folder": str(state_folder())}
            click.echo(msgspec.json.encode({**places, **msgspec.to_builtins(settings)}))
            return
        click.echo(f"settings   {path}" + ("" if path.exists() else "  (absent; --init writes one)"))
        click.echo(f"state      {state_folder()}")
        click.echo(f"theme      {settings.theme}")
        click.echo(f"speed      {settings.speed:g}")
        click.echo(f"tour       {'true' if settings.tour else 'false'}")
        click.echo("\nkeys: id, keys, what they do")
        for key in remapped(settings.keys):
            mark = "*" if key.id in settings.keys else " "
            click.echo(f"{mark} {key.id:<18} {key.keys:<22} {key.help}")
