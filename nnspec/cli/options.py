"""Options shared by several commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from nnspec.diagnostics import Diagnostic

__all__ = [
    "cluster_option",
    "colored",
    "data_options",
    "extensions_option",
    "jobs_option",
    "picture_options",
    "read_stdin",
    "seconds_of",
    "set_option",
    "spec_argument",
    "warn",
]

F = TypeVar("F", bound=Callable[..., Any])

spec_argument = click.argument("spec", type=click.Path(path_type=str))

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a setting, e.g. train.epochs=3, optimizer.lr=0.1 or Adam.optimizer.lr=0.1.",
)


def _load_extensions(context: click.Context, parameter: click.Parameter, isolated: bool) -> bool:
    from nnspec.project.config import load_config

    extensions = load_config(isolated=isolated).extensions
    if extensions:
        from nnspec.extensions import load_extensions

        load_extensions(extensions)
    return isolated


extensions_option = click.option(
    "--isolated",
    is_flag=True,
    expose_value=False,
    callback=_load_extensions,
    help="Load none of the extensions that [tool.nnspec] lists.",
)
"""Before the command runs, loads the packages with parts that the project lists."""


def colored(stream: TextIO | None) -> bool:
    """Whether to use colours: the stream is a terminal and NO_COLOR is not set."""
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")


def read_stdin(most: int) -> bytes:
    """Read at most a number of bytes from standard input. Raises SourceError if it is closed."""
    from nnspec.diagnostics import SourceError

    if sys.stdin is None:
        raise SourceError("standard input is closed")
    return sys.stdin.buffer.read(most)


def data_options(function: F) -> F:
    """Add `--data-dir` and `--offline`."""
    function = click.option("--offline", is_flag=True, help="Do not download anything.")(function)
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder with the MNIST or FashionMNIST files, searched before $NNSPEC_DATA_DIR and the cache.",
    )(function)


def jobs_option(what: str = "Train") -> Callable[[F], F]:
    """Return `--jobs`."""
    help = f"{what} in N parallel processes; by default, as many as pay off."
    return click.option("--jobs", "-j", type=click.IntRange(1, 256), metavar="N", help=help)


cluster_option = click.option("--cluster", metavar="dask://HOST:PORT", help="Train on the workers of a Dask cluster.")


def seconds_of(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return a time in seconds: `90s`, `10m`, `1h30m`."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d{1,3})?)s)?", text)
    hours, minutes, seconds = (float(each or 0) for each in found.groups()) if found else (0.0, 0.0, 0.0)
    if not (total := hours * 3600 + minutes * 60 + seconds):
        raise click.BadParameter(f"{text!r} is not a time such as 90s, 10m or 1h30m")
    return total


def picture_options(what: str) -> Callable[[F], F]:
    """Add the options of a command that trains lanes and draws a picture, called `SPEC-what.png` by default."""
    options = (
        click.option("--lane", "lanes", multiple=True, metavar="NAME", help="Use only this lane; can be repeated."),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Write the plot here instead of SPEC-{what}.png (.png, .svg, .pdf).",
        ),
        click.option("--force", is_flag=True, help="Overwrite an existing file."),
        data_options,
        click.option("--quiet", "-q", is_flag=True, help="Do not show progress."),
        click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON and nothing else on stdout."),
    )
    return lambda function: reduce(lambda inner, option: option(inner), reversed(options), function)


def warn(found: Sequence[Diagnostic]) -> None:
    """Print warnings on stderr."""
    from nnspec.diagnostics import render_all

    click.echo(render_all(found, color=colored(sys.stderr)), err=True)
