"""`nnspec check`."""

from __future__ import annotations

import sys

import click

from nnspec.cli.options import colored, set_option

__all__ = ["command"]


@click.command("check")
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=str))
@set_option
def command(specs: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Find every mistake in SPECS without reading data or training.

    Exits with 0 where there is none, 1 where there are findings, 2 where a file cannot be read.
    """
    from nnspec.api import check
    from nnspec.diagnostics import SourceError, render_all

    color = colored(sys.stdout)
    code = 0
    for spec in specs:
        try:
            result = check(spec, overrides)
        except SourceError as error:
            click.echo(f"error: {error}", err=True)
            code = 2
            continue
        if result.diagnostics:
            click.echo(render_all(result.diagnostics, color=color))
        else:
            assert result.compiled is not None, "no findings means a program"
            lanes = len(result.compiled.program.lanes)
            click.echo(f"{result.path}: no findings in {lanes} lane{'s' if lanes > 1 else ''}")
        if not result.ok:
            code = max(code, 1)
    return code
