"""`nnspec predict`."""

from __future__ import annotations

from pathlib import Path

import click

from nnspec.cli.options import extensions_option

__all__ = ["command"]

_EPILOG = """\
Samples must have raw values as in the run's data source: bytes from 0 to 255 for
images, or the numbers and texts of the table or array. They are scaled, standardised
and encoded as in training. Values outside the range of the training data are
reported, and NaN is an error.

\b
FILE is one or more of:
  an image      .png, .jpg …: one sample, scaled to the size of the
                training images (needs Pillow: nnspec[images])
  a folder      all images in it and in its sub-folders
  a table       .csv, .tsv: one row per sample
  arrays        .npy, or .npz with `x`: one sample per index
"""


@click.command("predict", epilog=_EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, metavar="FILE…", type=click.Path(path_type=str))
@click.option("--lane", metavar="NAME", help="Lane to use; by default the best one on validation data.")
@click.option("--seed", type=int, metavar="N", help="For a lane with repeats: which one; by default the first.")
@click.option("--top", type=click.IntRange(1, 100), default=1, metavar="K", help="Show the K most likely classes.")
@click.option("--invert", is_flag=True, help="Invert the brightness of images.")
@click.option("--prompt", metavar="TEXT", help="For a network trained on text: the text to continue.")
@click.option("--length", type=click.IntRange(1, 100_000), default=400, help="Number of characters to generate.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write all predictions to a .csv or .json file."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@extensions_option
def command(
    run: Path,
    files: tuple[str, ...],
    lane: str | None,
    seed: int | None,
    top: int,
    invert: bool,
    prompt: str | None,
    length: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Predict samples in files with a trained network from folder RUN. Samples are preprocessed as in training."""
    from nnspec.records.folder import OutputError
    from nnspec.runs import load, predict, write_on
    from nnspec.view.terminal.predictions import prediction_rows, prediction_text, print_predictions
    from nnspec.view.terminal.screen import console

    if bool(files) == (prompt is not None):
        raise click.UsageError("pass one or more files, or --prompt TEXT")
    if prompt is not None and (out is not None or as_json):
        raise click.UsageError("--prompt cannot be used with --out or --json")
    if out is not None and out.suffix not in (".csv", ".json"):
        raise click.UsageError(f"--out must be a .csv or .json file, not {out}")
    if out is not None and out.exists() and not force:
        raise OutputError(f"{out} already exists; choose another file, or add --force to overwrite it")
    predictor = load(run, lane, seed)
    if prompt is not None:
        click.echo(prompt + write_on(predictor, prompt, length))
        return 0
    found = predict(predictor, files, invert=invert)
    if predictor.choice is not None and predictor.choice.remark:
        click.echo(f"note: {predictor.choice.remark}", err=True)
    for note in dict.fromkeys(note for one in found for note in one.notes):
        click.echo(f"note: {note}", err=True)
    rows = list(prediction_rows(predictor, found, top))
    if out is not None:
        from nnspec.files import output, utf8

        try:
            with output(out) as file:
                file.write(utf8(prediction_text(rows, out.suffix.removeprefix("."))))
        except OSError as error:
            raise OutputError(f"{out} cannot be written: {error.strerror or error}") from None
        click.echo(f"{out}: {len(rows):,} sample{'s' if len(rows) != 1 else ''}, by lane {predictor.label}")
    elif as_json:
        click.echo(prediction_text(rows, "json"), nl=False)
    else:
        screen = console()
        print_predictions(predictor, rows, screen)
        why = predictor.choice.text if predictor.choice is not None else ""
        screen.print(f"– by lane {predictor.label}{f' ({why})' if why else ''}", style="dim", soft_wrap=True)
    return 0
