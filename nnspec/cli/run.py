"""`nnspec run`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from nnspec.cli.options import (
    cluster_option,
    data_options,
    extensions_option,
    jobs_option,
    set_option,
    spec_argument,
    warn,
)
from nnspec.native import How
from nnspec.text import to_json

__all__ = ["command"]

_INTERRUPTED = 130


@click.command("run")
@spec_argument
@set_option
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the run; runs/SPEC/N by default."
)
@click.option("--force", is_flag=True, help="Write into --out even if it is not empty.")
@click.option("--resume", is_flag=True, help="Resume the interrupted run in --out, or start it.")
@click.option(
    "--checkpoint",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="SECONDS",
    help="Minimum time between two checkpoints of a lane; 10 by default, 0 for one after every epoch.",
)
@data_options
@jobs_option()
@cluster_option
@click.option(
    "--compiled",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Use compiled training steps, with identical results: once the kernels are compiled, always, or never.",
)
@click.option(
    "--stack/--no-stack",
    default=True,
    help="Train similar lanes as one stack (the default), or train every lane separately.",
)
@click.option(
    "--fail-fast/--keep-going",
    "fail_fast",
    default=False,
    help="When a lane diverges or fails, stop the run or continue with the other lanes (the default).",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Profile the training steps; trains every lane separately, in one process, with NumPy calls.",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else on stdout.")
@extensions_option
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
    cluster: str | None,
    compiled: How,
    stack: bool,
    fail_fast: bool,
    profile: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train every lane of SPEC, check its expectations, and save curves, records and weights.

    Exits with 1 if an expectation is missed, or if a lane diverges or its final loss is far above its initial loss.
    """
    from nnspec.api import compile_spec, run_into
    from nnspec.data.source import Access
    from nnspec.records.saved import check_resumable
    from nnspec.runner.options import RunOptions
    from nnspec.view.pictures.drawing import drawing_for

    if force and out is None:
        raise click.UsageError("--force requires --out DIR")
    if resume and out is None:
        raise click.UsageError(_which_to_resume(spec, overrides))
    if resume and force:
        raise click.UsageError("--resume and --force cannot be used together")
    if cluster is not None and (jobs is not None or profile):
        raise click.UsageError(f"--cluster cannot be used with {'--jobs' if jobs is not None else '--profile'}")
    if profile and compiled == "always":
        raise click.UsageError("--profile cannot be used with --compiled always")
    if resume and out is not None:
        check_resumable(out)
    options = RunOptions(jobs, stack, cluster, compiled, fail_fast, profile, resume, checkpoint)
    program = compile_spec(spec, overrides, warn=warn)
    with drawing_for(program) as drawing:  # the process starts while the other modules are imported
        from nnspec.records.folder import OutputError, RunFolder
        from nnspec.records.saved import resume_command
        from nnspec.records.write import history_record
        from nnspec.view.terminal.progress import progress_for
        from nnspec.view.terminal.race import print_files, show_result
        from nnspec.view.terminal.screen import console

        screen = console(stderr=as_json)
        progress = progress_for(screen, program, quiet=quiet or as_json)
        try:
            result = run_into(
                program,
                Access(data_dir, offline, progress.fetching),
                progress,
                lambda: RunFolder.make(spec, out, force, resume),
                options,
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
        if result.exit_code == _INTERRUPTED and result.folder is not None:
            resume_it = resume_command(spec, result.folder, overrides, data_dir or "")
            screen.print(f"– to resume it: {resume_it}", style="dim", soft_wrap=True, markup=False, highlight=False)
    if result.place is not None and result.place.undrawn:
        click.echo(result.place.undrawn, err=True)
    if result.place is not None and result.place.unwritten:
        raise OutputError(result.place.unwritten)
    return result.exit_code


def _which_to_resume(spec: str, overrides: Sequence[str]) -> str:
    """Return why `--resume` needs a folder, with the command for the last run of the spec."""
    from nnspec.records.folder import last_run
    from nnspec.records.saved import resume_command

    why = "--resume requires --out DIR, the folder of the run"
    last = last_run(spec)
    return why if last is None else f"{why}; for the last one: {resume_command(spec, last, overrides)}"
