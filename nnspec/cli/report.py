"""`nnspec report`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import data_options

__all__ = ["command"]


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it here, not to RUN/report.html.")
@click.option("--force", is_flag=True, help="Write over a file that is there and no report.")
@data_options
def command(runs: tuple[Path, ...], out: Path | None, force: bool, data_dir: Path | None, offline: bool) -> int:
    """Write one page of HTML about folders RUN that needs nothing beside it: curves, verdicts, the network, confusion,
    the hardest images, rates, gradients, the spec, and the record.
    """
    from nnspec.runs import report

    click.echo(report(runs, out, force=force, data_dir=data_dir, offline=offline))
    return 0
