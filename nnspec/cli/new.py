"""`nnspec new`."""

from __future__ import annotations

import shlex

import click

from nnspec.templates import TEMPLATES, write_template
from nnspec.templates.packages import KINDS

__all__ = ["command"]

_PATH = "experiment.nn"


@click.command("new")
@click.argument("path", required=False, type=click.Path(path_type=str))
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="Template to use; `race` by default.")
@click.option(
    "--part",
    type=click.Choice([kind.replace(" ", "-") for kind in KINDS]),
    help="Instead of a spec, write a package with a part of your own into a new folder PATH, my_PART by default.",
)
@click.option("--list", "as_list", is_flag=True, help="List the templates.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(path: str | None, template: str | None, part: str | None, as_list: bool, force: bool) -> int:
    """Write a commented starter spec to PATH, experiment.nn by default. It runs offline in seconds.

    Existing files are not overwritten, and no folders are created. With --part, PATH is the folder of a package with a
    layer, an optimizer or another part of your own, and with tests that pass.
    """
    if part is not None:
        if as_list or template is not None or force:
            raise click.UsageError("--part cannot be used with other options")
        return _new_part(path, part)
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


def _new_part(path: str | None, part: str) -> int:
    from nnspec.api import new_part

    files = new_part(f"my_{part.replace('-', '_')}" if path is None else path, part.replace("-", " "))
    for file in files:
        click.echo(file)
    folder = shlex.quote(str(files[0].parent))
    click.echo(f"next: cd {folder} && pip install --editable '.[test]' && pytest")
    return 0
