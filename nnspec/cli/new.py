"""`nnspec new`."""

from __future__ import annotations

import shlex

import click

from nnspec.templates import TEMPLATES, write_template

__all__ = ["command"]

_PATH = "experiment.nn"


@click.command("new")
@click.argument("path", required=False, type=click.Path(path_type=str))
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="What to start from; without it, `race`.")
@click.option("--list", "as_list", is_flag=True, help="Say which templates there are, and write nothing.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
def command(path: str | None, template: str | None, as_list: bool, force: bool) -> int:
    """Write a commented spec to start from to PATH (experiment.nn), which runs offline in seconds.

    A file that is there already is left alone, and no folder is made.
    """
    if as_list:
        if path is not None or template is not None or force:
            raise click.UsageError("--list writes nothing, so it goes with nothing else")
        width = max(map(len, TEMPLATES))
        for name, what in TEMPLATES.items():
            click.echo(f"{name:<{width}}  {what}")
        return 0
    name = template or next(iter(TEMPLATES))
    written = write_template(_PATH if path is None else path, name, force=force)
    click.echo(f"{written}: {TEMPLATES[name]}")
    click.echo(f"next: nnspec run {shlex.quote(str(written))}")
    return 0
