"""`nnspec bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote

import click

from nnspec.cli.options import (
    cluster_option,
    data_options,
    extensions_option,
    jobs_option,
    seconds_of,
    set_option,
    warn,
)
from nnspec.text import to_json

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 all problems finished; 1 a problem failed; 2 usage, or specs
that do not fit together; 3 a bug in nnspec; 130 interrupted.
"""


@click.command("bench", epilog=_EPILOG)
@click.argument("problems", metavar="PROBLEM...", nargs=-1, required=True, type=click.Path(path_type=str))
@click.argument("contestants", type=click.Path(path_type=str))
@set_option
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the bench; runs/bench/N by default."
)
@click.option("--resume", is_flag=True, help="Continue or extend the bench in --out, or start it.")
@click.option(
    "--budget",
    callback=seconds_of,
    metavar="TIME",
    help="Reduce the bench to fit into TIME, such as 10m: first fewer trials, then fewer problems.",
)
@data_options
@jobs_option("Train each problem")
@cluster_option
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON and nothing else on stdout.")
@extensions_option
def command(
    problems: tuple[str, ...],
    contestants: str,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    budget: float | None,
    data_dir: Path | None,
    offline: bool,
    jobs: int | None,
    cluster: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Tune and race CONTESTANTS on each PROBLEM, and compare them by performance profiles.

    PROBLEMs are files, folders (all *.nn below) or globs (quoted): specs without an optimizer, with `tune { by = …;
    target = … }`. CONTESTANTS is a file with a `race` and the search spaces of its lanes. DIR gets the run of each
    problem, bench.json, report.html, results.csv, profile.csv, table.tex and profile.tex.
    """
    from nnspec.benchmark.plan import Planned, plan_bench
    from nnspec.benchmark.running import bench_into
    from nnspec.data.source import Access
    from nnspec.project.config import load_config
    from nnspec.project.inputs import find_specs
    from nnspec.records.folder import RunFolder
    from nnspec.results.bench import Problem
    from nnspec.runner.options import RunOptions
    from nnspec.text import printable
    from nnspec.training.observer import Silent
    from nnspec.view.terminal.bench import outcome, print_bench
    from nnspec.view.terminal.screen import console
    from nnspec.view.terminal.ticker import Ticker

    if cluster is not None and jobs is not None:
        raise click.UsageError("--cluster cannot be used with --jobs")
    if resume and out is None:
        raise click.UsageError("--resume requires --out DIR, the folder of the bench")
    config = load_config()
    paths = find_specs(
        problems, root=Path(config.folder), exclude=config.exclude, respect_gitignore=config.respect_gitignore
    )
    plan = plan_bench(paths, contestants, overrides, warn)
    stream = sys.stderr if as_json else sys.stdout
    ticker = None if quiet or stream is None else Ticker(stream)

    def begins(number: int, total: int, planned: Planned) -> None:
        if ticker is not None:
            click.echo(printable(f"problem {number} of {total}: {planned.name} "), nl=False, err=as_json)

    def ends(problem: Problem, before: bool) -> None:
        if ticker is not None:
            ticker.clear()
            click.echo(outcome(problem, before), err=as_json)

    def tell(lines: list[str]) -> None:
        if ticker is not None:
            click.echo("\n".join(map(printable, lines)), err=as_json)

    result = bench_into(
        plan,
        out or RunFolder.make("bench", None).path,
        Access(data_dir, offline, ticker.fetching if ticker is not None else None),
        ticker or Silent(),
        RunOptions(jobs, cluster=cluster, resume=resume),
        budget=budget,
        planned=lambda fitted: tell(fitted.lines),
        begins=begins,
        ends=ends,
    )
    if as_json:
        click.echo(to_json(result.record()))
    else:
        if not quiet:
            click.echo()
        print_bench(result, console())
        click.echo(f"{result.folder}: bench.json, report.html, results.csv, profile.csv, table.tex, profile.tex")
        if result.interrupted:
            click.echo(f"– to resume it, add --resume --out {quote(result.folder)}")
    return result.exit_code
