"""`nnspec plot`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the plot here instead (.png, .svg, .pdf)."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(run: Path, out: Path | None, force: bool) -> int:
    """Plot the training curves of the run in folder RUN, by default to RUN/curves.png."""
    from nnspec.runs import plot

    click.echo(plot(run, out, force=force))
    return 0
