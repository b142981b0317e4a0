"""`nnspec export`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--lane", metavar="NAME", help="Lane to export; by default the best one on validation data.")
@click.option("--seed", type=int, metavar="N", help="For a lane with repeats: which one; by default the first.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(run: Path, out: Path, lane: str | None, seed: int | None, force: bool) -> int:
    """Write the weights of a trained network in folder RUN to OUT, a .safetensors or .npz file."""
    from nnspec.runs import export_weights

    click.echo(export_weights(run, out, lane, seed, force=force))
    return 0
