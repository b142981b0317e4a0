"""`nnspec verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nnspec.cli.options import data_options, extensions_option, jobs_option
from nnspec.text import to_json

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 identical; 1 they differ; 2 usage, or a run that
cannot be read or run again; 3 a bug in nnspec; 130 interrupted.
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
@data_options
@jobs_option()
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else on stdout.")
@extensions_option
def command(
    run: Path, other: Path | None, data_dir: Path | None, offline: bool, jobs: int | None, quiet: bool, as_json: bool
) -> int:
    """Repeat the experiment in folder RUN and report whether the result is identical, bit for bit, or in which epoch
    and tensor the two first differ.

    With OTHER, the folder of another run, compare the two without training. In both cases, check the weights in RUN
    against the recorded result of training. RUN is not changed.

    If RUN is the folder of a bench, repeat the run of each problem, and check that all results follow from the runs.
    """
    from nnspec.benchmark.record import is_bench
    from nnspec.runs import access_of, compile_run, open_run, verify_again, verify_with
    from nnspec.view.terminal.progress import PlainProgress
    from nnspec.view.terminal.quiet import QuietProgress
    from nnspec.view.terminal.screen import console
    from nnspec.view.terminal.verification import print_verification, verification_record

    if is_bench(run):
        if other is not None:
            raise click.UsageError("a bench is verified by itself; name the runs of a problem to compare them")
        return _bench(run, data_dir, offline, jobs, quiet=quiet, as_json=as_json)
    saved = open_run(run)
    if other is not None:
        found = verify_with(saved, open_run(other))
    else:
        compiled = compile_run(saved)
        screen = console(stderr=True)
        progress = (QuietProgress if quiet or as_json else PlainProgress)(screen, compiled)
        try:
            found = verify_again(
                saved, compiled, access_of(saved, compiled, data_dir, offline, progress.fetching), progress, jobs=jobs
            )
        finally:
            progress.close()
    if as_json:
        click.echo(to_json(verification_record(found)))
    else:
        print_verification(found, console())
    return 0 if found.same else 1


def _bench(run: Path, data_dir: Path | None, offline: bool, jobs: int | None, *, quiet: bool, as_json: bool) -> int:
    """Verify a bench."""
    from nnspec.benchmark.verifying import verify_bench
    from nnspec.text import printable
    from nnspec.training.observer import Silent
    from nnspec.view.terminal.bench import bench_verification_record, print_bench_verification
    from nnspec.view.terminal.screen import console
    from nnspec.view.terminal.ticker import Ticker

    ticker = None if quiet or as_json or sys.stderr is None else Ticker(sys.stderr)

    def begins(number: int, total: int, name: str) -> None:
        if ticker is not None:
            ticker.clear()
            click.echo(printable(f"problem {number} of {total}: {name}"), err=True)

    found = verify_bench(run, ticker or Silent(), data_dir=data_dir, offline=offline, jobs=jobs, begins=begins)
    if ticker is not None:
        ticker.clear()
    if as_json:
        click.echo(to_json(bench_verification_record(found)))
    else:
        print_bench_verification(found, console())
    return 0 if found.same else 1
