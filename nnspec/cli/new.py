"""`nnspec new`."""

from __future__ import annotations

import shlex

import click

from nnspec.templates import TEMPLATES, write_template

__all__ = ["command"]

_PATH = "experiment.nn"


@click.command("new")
@click.argument("path", required=False, type=click.Path(path_type=str))
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="Template to use; `race` by default.")
@click.option("--list", "as_list", is_flag=True, help="List the templates.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(path: str | None, template: str | None, as_list: bool, force: bool) -> int:
    """Write a commented starter spec to PATH, experiment.nn by default. It runs offline in seconds.

    Existing files are not overwritten, and no folders are created.
    """
    if as_list:
        if path is not None or template is not None or force:
            raise click.UsageError("--list cannot be used with other options")
        width = max(map(len, TEMPLATES))
        for name, what in TEMPLATES.items():
            click.echo(f"{name:<{width}}  {what}")
        return 0
    name = template or next(iter(TEMPLATES))
    written = write_template(_PATH if path is None else path, name, force=force)
    click.echo(f"{written}: {TEMPLATES[name]}")
    click.echo(f"next: nnspec run {shlex.quote(str(written))}")
    return 0
