"""`nnspec run`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from nnspec.cli.options import data_options, set_option, spec_argument, warn
from nnspec.native import How
from nnspec.text import to_json

__all__ = ["command"]


@click.command("run")
@spec_argument
@set_option
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write the run here instead of runs/SPEC/N."
)
@click.option("--force", is_flag=True, help="Write into --out even if it is not empty.")
@click.option("--resume", is_flag=True, help="Resume the run in --out where it was interrupted, or start it.")
@click.option(
    "--checkpoint",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="SECONDS",
    help="Minimum time between two checkpoints of a lane, 10 by default; 0 writes one after every epoch.",
)
@data_options
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Train in N processes side by side; by default as many as pay off.",
)
@click.option("--on", metavar="dask://HOST:PORT", default="", help="Train on the workers of a Dask cluster.")
@click.option(
    "--compiled",
    "how",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Train by compiled steps, with the same numbers: when the kernels are ready, always, or never.",
)
@click.option("--alone", is_flag=True, help="Train every lane by itself, not stacked with similar lanes.")
@click.option(
    "--fail-fast/--keep-going",
    "fail_fast",
    default=False,
    help="Stop the run when a lane diverges or fails, or continue with the other lanes (the default).",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Show where the time of a training step goes; trains every lane by itself, in one process, by NumPy calls.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only the result, no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else on stdout.")
def command(
    spec: str,
    overrides: tuple[str, ...],
    out: Path | None,
    force: bool,
    resume: bool,
    checkpoint: float,
    data_dir: Path | None,
    offline: bool,
    jobs: int | None,
    on: str,
    how: How,
    alone: bool,
    fail_fast: bool,
    profile: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train every lane of SPEC, judge its expectations, and write curves, records and weights.

    Exits with 1 if an expectation is missed, or if a lane diverges or ends with a loss far above its start.
    """
    from nnspec.api import compile_spec, run_into
    from nnspec.data.source import Access
    from nnspec.view.pictures.drawing import drawing_for

    if force and out is None:
        raise click.UsageError("--force goes with --out DIR")
    if resume and out is None:
        raise click.UsageError("--resume goes with --out DIR, the folder of the run")
    if resume and force:
        raise click.UsageError("--resume goes on with what --force would write over: give one of them")
    if on and (jobs is not None or profile):
        raise click.UsageError(f"--on has its own processes: leave {'--jobs' if jobs is not None else '--profile'} out")
    if profile and how == "always":
        raise click.UsageError("--profile times NumPy calls one by one: remove --compiled always")
    compiled = compile_spec(spec, overrides, warn=warn)
    with drawing_for(compiled) as drawing:  # a process that starts while the rest is imported
        from nnspec.records.folder import OutputError, RunFolder
        from nnspec.records.write import history_record
        from nnspec.view.terminal.race import print_files, progress_for, show_result
        from nnspec.view.terminal.screen import console

        screen = console(stderr=as_json)
        progress = progress_for(screen, compiled, quiet=quiet or as_json)
        try:
            result = run_into(
                compiled,
                Access(data_dir, offline, progress.fetching),
                progress,
                lambda: RunFolder.make(spec, out, force, resume),
                jobs=jobs,
                alone=alone,
                on=on,
                how=how,
                resume=resume,
                checkpoint=checkpoint,
                fail_fast=fail_fast,
                profile=profile,
                drawing=drawing,
                show=partial(show_result, progress=progress) if not as_json else None,
            )
        finally:
            progress.close()
    if as_json:
        record = {**result.summary, "folder": result.folder, "history": history_record(result)["lanes"]}
        click.echo(to_json(record))
    else:
        print_files(result, screen)
    if result.undrawn:
        click.echo(result.undrawn, err=True)
    if result.unwritten:
        raise OutputError(result.unwritten)
    return result.exit_code
