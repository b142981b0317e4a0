"""`nnspec landscape`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nnspec.cli.options import extensions_option, picture_options, set_option, spec_argument, warn
from nnspec.text import to_json

__all__ = ["command"]


@click.command("landscape")
@spec_argument
@set_option
@click.option(
    "--plane",
    type=click.Choice(["pca", "random"]),
    default="pca",
    show_default=True,
    help="Plane of the plot: the principal components of the paths, or two random directions.",
)
@click.option("--grid", type=click.IntRange(2, 301), default=41, show_default=True, help="Grid points per axis.")
@picture_options("landscape")
@extensions_option
def command(
    spec: str,
    overrides: tuple[str, ...],
    lanes: tuple[str, ...],
    plane: Any,
    grid: int,
    out: Path | None,
    force: bool,
    data_dir: Path | None,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train the lanes of SPEC, and plot the loss around the best solution with the path of each lane.

    Lanes must have the same layers, loss and data. Exits with 1 if a lane diverges.
    """
    from nnspec.api import compile_spec, landscape_of
    from nnspec.data.source import Access
    from nnspec.view.pictures.files import picture_path
    from nnspec.view.pictures.landscape import plot_landscape
    from nnspec.view.terminal.landscape import print_landscape
    from nnspec.view.terminal.progress import progress_for
    from nnspec.view.terminal.screen import ProgressBar, console
    from nnspec.view.wording.landscape import landscape_record

    path = picture_path(spec, out, "landscape", force=force)
    compiled = compile_spec(spec, overrides, warn=warn)
    screen = console(stderr=as_json)
    progress, bar = (
        progress_for(screen, compiled, quiet=quiet or as_json),
        ProgressBar(screen, "measuring the loss on the plane"),
    )

    def tick(done: int, total: int) -> None:
        progress.close()
        if not quiet:
            bar.tick(done, total)

    try:
        found = landscape_of(
            compiled,
            Access(data_dir, offline, progress.fetching),
            progress,
            lanes=lanes,
            plane=plane,
            grid=grid,
            tick=tick,
        )
    finally:
        bar.close()
        progress.close()
    plot_landscape(found, path)
    if as_json:
        click.echo(to_json({**landscape_record(found), "file": path.as_posix()}))
    else:
        print_landscape(found, screen)
        screen.print(path.as_posix(), style="dim", soft_wrap=True)
    return 1 if found.diverged else 0
