"""`nnspec export`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import data_options, extensions_option

__all__ = ["command"]

_EPILOG = """\
\b
The target is that of FILE's suffix, or --to:
  onnx          .onnx         ONNX, with preparation (needs nnspec[onnx])
  c             .c            one file of C99, without malloc
  torch         .py           a PyTorch module with its weights
  numpy         .py           one file of NumPy, without nnspec
  safetensors   .safetensors  the weights alone
  npz           .npz          the weights alone

The file is run in its own runtime (onnxruntime, the C compiler $CC, PyTorch, Python)
on test data, random, zero and large samples, and every layer is compared with nnspec's.
A file that differs by more than 1e-5, relative to the largest number of the layer, is not
written. Origin and outcome are recorded in the file; --check FILE verifies it again.
"""

_TARGETS = ("onnx", "c", "torch", "numpy", "safetensors", "npz")


@click.command("export", epilog=_EPILOG)
@click.argument("paths", nargs=-1, metavar="RUN FILE", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(_TARGETS), metavar="TARGET", help="Target, if the suffix does not say.")
@click.option("--lane", metavar="NAME", help="Lane to export; by default the best one on validation data.")
@click.option("--seed", type=int, metavar="N", help="For a lane with repeats: which one; by default the first.")
@click.option("--opset", type=click.IntRange(17, 23), metavar="N", help="For ONNX: its opset, by default 17.")
@click.option("--check", "checked", is_flag=True, help="Verify FILE, which was exported before, again.")
@click.option("--run", type=click.Path(path_type=Path), help="With --check: the run, if it was moved.")
@click.option("--unverified", is_flag=True, help="Write FILE even if there is no runtime to verify it in.")
@data_options
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@extensions_option
def command(
    paths: tuple[Path, ...],
    to: str | None,
    lane: str | None,
    seed: int | None,
    opset: int | None,
    checked: bool,
    run: Path | None,
    unverified: bool,
    data_dir: Path | None,
    offline: bool,
    force: bool,
) -> int:
    """Export a trained network from folder RUN to FILE, verified layer by layer."""
    from nnspec.export.certificate import Differs
    from nnspec.runs import check_export, export
    from nnspec.text import printable

    if checked and len(paths) != 1:
        raise click.UsageError("--check takes one exported file: nnspec export --check FILE")
    if not checked and len(paths) != 2:
        raise click.UsageError("name a run and a file: nnspec export RUN FILE")
    if run is not None and not checked:
        raise click.UsageError("--run requires --check")
    unused = {
        "--to": to,
        "--lane": lane,
        "--seed": seed,
        "--opset": opset,
        "--unverified": unverified,
        "--force": force,
    }
    for option, value in unused.items():
        if checked and value is not None and value is not False:
            raise click.UsageError(f"{option} has no effect with --check; the file says which network it is")
    try:
        if checked:
            done = check_export(paths[0], run, data_dir=data_dir, offline=offline)
        else:
            done = export(
                paths[0],
                paths[1],
                to,
                lane=lane,
                seed=seed,
                opset=opset,
                unverified=unverified,
                force=force,
                data_dir=data_dir,
                offline=offline,
            )
    except Differs as error:
        click.echo(f"error: {printable(str(error))}", err=True)
        return 1
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(done.path)
    for line in done.sentences():
        click.echo(line, err=True)
    return 0
