"""`nnspec test`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from nnspec.cli.options import colored, data_options, extensions_option, jobs_option, seconds_of, set_option

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 all passed; 1 an expectation missed, a lane diverged, a figure is worse than the baseline, or an error in
a spec; 2 usage, no spec matches, or the baseline cannot be used; 3 a bug in nnspec; 4 all that ran passed, but --budget
left specs untested; 130 interrupted.
"""
_OMITTED, _INTERRUPTED = 4, 130


def _shard(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Return the number of a shard, from 1, and the number of all: `2/4`."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    number, count = (int(each) for each in found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise click.BadParameter(f"{text!r} is not a shard such as 2/4, the second of four")
    return number, count


def _refuse_to_overwrite(files: Mapping[str, Path | None], specs: Sequence[str]) -> None:
    """Raise UsageError if an option's file is one of the specs, or that of another option. Devices may be shared."""
    taken = {os.path.realpath(spec): "is one of the specs" for spec in specs}
    for option, path in files.items():
        if path is None or (os.path.exists(path) and not os.path.isfile(path)):
            continue
        place = os.path.realpath(path)
        if place in taken:
            raise click.UsageError(f"{option} {path} {taken[place]}; choose another file")
        taken[place] = f"is also the file of {option}"


@click.command("test", epilog=_EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=str))
@set_option
@data_options
@jobs_option("Train each spec")
@click.option("--fail-fast", "-x", is_flag=True, help="Stop after the first failure.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare with the results in FILE; unchanged specs are not trained again.",
)
@click.option("--update", is_flag=True, help="Record the specs that pass in the baseline.")
@click.option("--update-failed", is_flag=True, help="Record specs that fail as well.")
@click.option("--retrain", is_flag=True, help="Train unchanged specs too; their results must be bit-identical.")
@click.option(
    "--budget",
    callback=seconds_of,
    metavar="TIME",
    help="Test the specs that fit into TIME, such as 10m; changed ones first.",
)
@click.option("--shard", callback=_shard, metavar="I/N", help="Test shard I of N; all shards take about equally long.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write the results as JUnit XML.")
@click.option(
    "--summary",
    "page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the results as Markdown; appended if FILE is $GITHUB_STEP_SUMMARY.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only failures and the summary.")
@extensions_option
def command(
    paths: tuple[str, ...],
    overrides: tuple[str, ...],
    data_dir: Path | None,
    offline: bool,
    jobs: int | None,
    fail_fast: bool,
    baseline: Path | None,
    update: bool,
    update_failed: bool,
    retrain: bool,
    budget: float | None,
    shard: tuple[int, int] | None,
    junit: Path | None,
    page: Path | None,
    quiet: bool,
) -> int:
    """Run specs as tests: check them, check their gradients, train them, and check their expectations. No run folders
    are written.

    PATHs are files, folders (all *.nn below) or globs (quoted).
    """
    from nnspec.cli.faults import report_fault
    from nnspec.data.source import Access
    from nnspec.interrupts import CtrlC
    from nnspec.project.against import Record
    from nnspec.project.config import load_config
    from nnspec.project.inputs import find_specs
    from nnspec.project.junit import refuse_unwritable, write_junit
    from nnspec.project.markdown import write_page
    from nnspec.project.planning import schedule
    from nnspec.project.testing import SpecReport, SpecTester, exit_code, failures, outcome, summary
    from nnspec.text import printable
    from nnspec.view.terminal.ticker import Ticker

    started = time.perf_counter()
    if "-" in paths:
        raise click.UsageError("specs cannot be tested from standard input")
    if baseline is None and (update or update_failed or retrain):
        raise click.UsageError(f"--{'retrain' if retrain else 'update'} needs --baseline FILE")
    config = load_config()
    names = find_specs(
        paths, root=Path(config.folder), exclude=config.exclude, respect_gitignore=config.respect_gitignore
    )
    for file in (junit, page, baseline if update or update_failed else None):
        if file is not None:
            refuse_unwritable(file)
    _refuse_to_overwrite({"--baseline": baseline, "--junit": junit, "--summary": page}, names)
    record = Record.read(baseline, names, update=update, update_failed=update_failed)
    planned = schedule(record, overrides, retrain=retrain, shard=shard, budget=budget, started=started)

    ticker = None if quiet or sys.stdout is None else Ticker(sys.stdout)

    def begins(path: str) -> None:
        if not quiet:
            click.echo(f"{printable(path)} ", nl=False)

    def on_fault(path: str, error: Exception) -> None:
        report_fault(error, printable(path))

    tester = SpecTester(
        overrides,
        Access(data_dir, offline),
        jobs=jobs,
        observer=ticker,
        on_fault=on_fault,
        recorded=record.entries,
        retrain=retrain,
    )
    tested: list[SpecReport] = []
    interrupted = False
    try:
        for each in tester.run(planned.paths, fail_fast=fail_fast, begins=begins, admits=planned.admits):
            tested.append(each)
            if ticker is not None:
                ticker.clear()
                click.echo(outcome(each))
    except KeyboardInterrupt:  # between two specs
        interrupted = True
    seconds = time.perf_counter() - started
    with CtrlC() as pressed, ExitStack() as reports:
        # Hours of training are reported and recorded whole, even if one of the files cannot be written.
        tested = record.settled(tested)
        last = summary(tested, len(planned.paths), seconds) + record.count(tested)
        remarks = [*record.remarks(tested)]
        if page is not None:
            reports.callback(write_page, page, tested, remarks, last)
        if junit is not None:
            reports.callback(write_junit, junit, tested, seconds)
        reports.callback(click.echo, last)
        try:
            remarks += record.write(tested)
        finally:
            remarks += planned.remarks()
            for text in filter(None, (failures(each, color=colored(sys.stdout)) for each in tested)):
                click.echo(f"\n{text}")
            if not quiet:
                click.echo("\n".join(["", *remarks, *([""] if remarks else [])]))
    if interrupted or pressed.pressed:
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    return exit_code(tested) or (_OMITTED if planned.omitted else 0)
