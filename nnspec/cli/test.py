"""`nnspec test`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from nnspec.cli.options import colored, data_options, extensions_option, set_option

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 all passed; 1 an expectation missed, a lane diverged, or an error in a spec;
2 usage, or no spec matches; 3 a bug in nnspec; 130 interrupted.
"""


@click.command("test", epilog=_EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=str))
@set_option
@data_options
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Train each spec in N parallel processes; by default, as many as are worthwhile.",
)
@click.option("--fail-fast", "-x", is_flag=True, help="Stop after the first failure.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write the results as JUnit XML.")
@click.option("--quiet", "-q", is_flag=True, help="Print only failures and the summary.")
@extensions_option
def command(
    paths: tuple[str, ...],
    overrides: tuple[str, ...],
    data_dir: Path | None,
    offline: bool,
    jobs: int | None,
    fail_fast: bool,
    junit: Path | None,
    quiet: bool,
) -> int:
    """Run specs as tests: check them, check their gradients, train them, and check their expectations. No run folders
    are written.

    PATHs are files, folders (all *.nn below) or globs (quoted).
    """
    from nnspec.cli.faults import report_fault
    from nnspec.data.source import Access
    from nnspec.project.config import load_config
    from nnspec.project.inputs import find_specs
    from nnspec.project.junit import refuse_unwritable, write_junit
    from nnspec.project.testing import SpecReport, SpecTester, exit_code, failures, outcome, summary
    from nnspec.text import printable
    from nnspec.view.terminal.ticker import Ticker

    if "-" in paths:
        raise click.UsageError("specs cannot be tested from standard input")
    config = load_config()
    names = find_specs(
        paths, root=Path(config.folder), exclude=config.exclude, respect_gitignore=config.respect_gitignore
    )
    if junit is not None:
        refuse_unwritable(junit)

    ticker = None if quiet or sys.stdout is None else Ticker(sys.stdout)

    def begins(path: str) -> None:
        if not quiet:
            click.echo(f"{printable(path)} ", nl=False)

    def on_fault(path: str, error: Exception) -> None:
        report_fault(error, printable(path))

    started = time.perf_counter()
    tester = SpecTester(overrides, Access(data_dir, offline), jobs=jobs, observer=ticker, on_fault=on_fault)
    tested: list[SpecReport] = []
    for each in tester.run(names, fail_fast=fail_fast, begins=begins):
        tested.append(each)
        if ticker is not None:
            ticker.clear()
            click.echo(outcome(each))
    seconds = time.perf_counter() - started
    for text in filter(None, (failures(each, color=colored(sys.stdout)) for each in tested)):
        click.echo(f"\n{text}")
    if not quiet:
        click.echo()
    click.echo(summary(tested, len(names), seconds))
    if junit is not None:
        write_junit(junit, tested, seconds)
    return exit_code(tested)
