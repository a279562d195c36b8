"""``totemviz lesson``: list the lessons, or start one."""

from __future__ import annotations

import click

from totemviz.cli.common import BadInput, need_terminal, readable_errors


@click.command()
@click.argument("name", required=False)
def lesson(name: str | None) -> None:
    """List the lessons, or start one."""
    with readable_errors():
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

        need_terminal()
        run_lesson(lessons[name])
