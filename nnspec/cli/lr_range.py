"""`nnspec lr-range`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import extensions_option, picture_options, set_option, spec_argument, warn
from nnspec.text import to_json

__all__ = ["command"]

_RATE = click.FloatRange(min=0, min_open=True, max=1e6)


@click.command("lr-range")
@spec_argument
@set_option
@click.option("--from", "low", type=_RATE, default=1e-6, show_default=True, help="The first rate.")
@click.option("--to", "high", type=_RATE, default=10.0, show_default=True, help="The last rate.")
@click.option("--steps", type=click.IntRange(10, 5000), default=200, show_default=True, help="Steps of each lane.")
@picture_options("lr-range")
@extensions_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    lanes: tuple[str, ...],
    low: float,
    high: float,
    steps: int,
    out: Path | None,
    force: bool,
    data_dir: Path | None,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train the lanes of SPEC briefly with growing learning rates, plot the loss over the rate, and suggest one.

    The spec is not changed. Exits with 1 if there is no suggestion for a lane.
    """
    from nnspec.api import compile_spec, lr_range_of
    from nnspec.data.source import Access
    from nnspec.view.pictures.files import picture_path
    from nnspec.view.pictures.rate_range import plot_rates
    from nnspec.view.terminal.quiet import QuietProgress
    from nnspec.view.terminal.rate_range import print_rates, rates_record
    from nnspec.view.terminal.screen import ProgressBar, console

    if low >= high:
        raise click.UsageError(f"--from must be smaller than --to, but {low:g} is not smaller than {high:g}")
    path = picture_path(spec, out, "lr-range", force=force)
    compiled = compile_spec(spec, overrides, warn=warn)
    screen = console(stderr=as_json)
    progress, bar = QuietProgress(screen, compiled), ProgressBar(screen, "training with growing rates")
    try:
        found = lr_range_of(
            compiled,
            Access(data_dir, offline, progress.fetching),
            progress,
            lanes=lanes,
            low=low,
            high=high,
            steps=steps,
            tick=(lambda done, total: None) if quiet else bar.tick,
        )
    finally:
        bar.close()
    plot_rates(found, path)
    if as_json:
        click.echo(to_json({**rates_record(found), "file": path.as_posix()}))
    else:
        print_rates(found, screen)
        screen.print(path.as_posix(), style="dim", soft_wrap=True)
    return 0 if all(lane.suggestion is not None for lane in found.lanes.values()) else 1
