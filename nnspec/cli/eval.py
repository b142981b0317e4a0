"""`nnspec eval`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import data_options, extensions_option
from nnspec.text import to_json

__all__ = ["command"]


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--lane", metavar="NAME", help="Evaluate only this lane.")
@click.option("--seed", type=int, metavar="N", help="Evaluate only the network that was trained with this seed.")
@click.option("--confusion", is_flag=True, help="Print the full confusion matrix.")
@click.option(
    "--data",
    "file",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="Evaluate on these samples: a table, an .npz with x and y, or a folder of images by class.",
)
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@extensions_option
def command(
    run: Path,
    lane: str | None,
    seed: int | None,
    confusion: bool,
    file: str | None,
    data_dir: Path | None,
    offline: bool,
    as_json: bool,
) -> int:
    """Evaluate the trained networks in folder RUN on the test data and compare the figures with the record. With
    --data, evaluate on other samples; this does not need the run's own data.

    Exits with 1 if a figure is not exactly the recorded one.
    """
    from nnspec.runs import access_of, compile_run, evaluate_networks, evaluate_over, open_run
    from nnspec.view.terminal.predictions import evaluation_record, print_evaluations
    from nnspec.view.terminal.screen import console

    saved = open_run(run)
    if file is not None:
        if data_dir is not None:
            raise click.UsageError("--data and --data-dir cannot be used together")
        found = evaluate_over(saved, compile_run(saved), file, lane, seed)
    else:
        compiled = compile_run(saved)
        found = evaluate_networks(saved, compiled, access_of(saved, compiled, data_dir, offline), lane, seed)
    if as_json:
        click.echo(to_json(evaluation_record(found)))
    else:
        print_evaluations(found, console(), whole=confusion)
    return 0 if all(one.same for one in found) else 1
