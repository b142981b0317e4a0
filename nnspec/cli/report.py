"""`nnspec report`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import data_options, extensions_option

__all__ = ["command"]


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the report here instead of RUN/report.html."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file that is not a report.")
@data_options
@extensions_option
def command(runs: tuple[Path, ...], out: Path | None, force: bool, data_dir: Path | None, offline: bool) -> int:
    """Create a self-contained HTML page on the run folders RUN: curves, expectations, network, confusion matrix,
    hardest images, learning rates, gradients, spec and record.

    For the folder of a bench, write its page, tables and LaTeX files again from its bench.json.
    """
    from nnspec.benchmark.record import is_bench, open_bench, write_views
    from nnspec.runs import report

    if any(map(is_bench, runs)):
        if len(runs) > 1 or out is not None:
            raise click.UsageError("the report of a bench is about one bench, and is written into its folder")
        click.echo("\n".join(map(str, write_views(open_bench(runs[0]), runs[0]))))
        return 0
    click.echo(report(runs, out, force=force, data_dir=data_dir, offline=offline))
    return 0
