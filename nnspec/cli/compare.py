"""`nnspec compare`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.text import to_json

__all__ = ["command"]


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(runs: tuple[Path, ...], as_json: bool) -> int:
    """Compare runs on disk: the figures of their lanes, their settings, and whether the lanes differ by more than
    random seeds do.

    With several runs, lanes of the same name are compared; with one run, its lanes. `nnspec diff` compares two specs.
    """
    from nnspec.runs import compare_runs
    from nnspec.view.terminal.run_comparison import compared_record, print_compared
    from nnspec.view.terminal.screen import console

    found = compare_runs(runs)
    if as_json:
        click.echo(to_json(compared_record(found)))
    else:
        print_compared(found, console())
    return 0
