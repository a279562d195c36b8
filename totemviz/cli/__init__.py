"""The commands, one module each: parse, call, print. Heavy imports happen inside the command that needs them.

Whatever is wrong with what the user gave (a file, a key, a flag) becomes one line on standard error and exit code 2:
``common.readable_errors`` turns the errors of the rooms into ``BadInput``, ``main`` prints it.
"""

from __future__ import annotations

import sys

import click

from totemviz import __version__
from totemviz.cli.common import BAD_INPUT, INTERRUPTED, BadInput
from totemviz.cli.conf import conf
from totemviz.cli.config import config
from totemviz.cli.disk import disk
from totemviz.cli.lesson import lesson
from totemviz.cli.replay import replay
from totemviz.cli.run import run
from totemviz.cli.shadow import shadow


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="totemviz")
@click.option("--resume", is_flag=True, help="Go on where the cockpit was last left.")
@click.pass_context
def cli(context: click.Context, resume: bool) -> None:
    """Step through a real Proxmox VE cluster, token by token.

    Without a command: the cockpit with a built-in cluster of three nodes. Press ? in it.
    """
    if context.invoked_subcommand is None:
        context.invoke(run, resume=resume)
    elif resume:
        raise BadInput(f"--resume opens the cockpit; leave out {context.invoked_subcommand}")


for command in (run, conf, replay, shadow, disk, lesson, config):
    cli.add_command(command)


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
