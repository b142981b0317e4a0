"""`nnspec fmt`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnspec.cli.options import colored, read_stdin
from nnspec.diagnostics import MAX_BYTES, Source, render_all, source_of

if TYPE_CHECKING:
    from nnspec.errors import NnspecError
    from nnspec.formatting import FormatResult
    from nnspec.project.inputs import InputError

__all__ = ["command"]

_EPILOG = """\
\b
Exit codes: 0 success; 1 --check found files that would change;
2 usage, or a file that cannot be read, parsed or written; 3 a bug in nnspec.
"""

# What happened to a file, with and without writing -> singular, plural.
_TOLD = {
    (True, "changed"): ("{} file formatted", "{} files formatted"),
    (True, "unchanged"): ("{} file left unchanged", "{} files left unchanged"),
    (False, "changed"): ("{} file would be formatted", "{} files would be formatted"),
    (False, "unchanged"): ("{} file would be left unchanged", "{} files would be left unchanged"),
    (True, "failed"): ("{} file not formatted", "{} files not formatted"),
    (False, "failed"): ("{} file cannot be formatted", "{} files cannot be formatted"),
}


@click.command("fmt", epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--check", is_flag=True, help="Write nothing; list the files that would change, and exit with 1 if there are any."
)
@click.option("--diff", is_flag=True, help="Write nothing; print the changes.")
@click.option("--stdin-filename", metavar="NAME", help="File name for `-` in messages.")
@click.option(
    "--force-exclude", is_flag=True, help="Skip excluded and ignored files even if they are given explicitly."
)
def command(paths: tuple[str, ...], check: bool, diff: bool, stdin_filename: str | None, force_exclude: bool) -> int:
    """Format specs in place. There is a single style without options, and formatting never changes the meaning of a
    spec.

    PATH is a file, a folder (all *.nn below), a glob (quoted), or `-` to read standard input and write standard output.
    """
    if stdin_filename is not None and "-" not in paths:
        raise click.UsageError("--stdin-filename requires `-`")
    told: Counter[str] = Counter()
    codes = [0]

    def fail(error: NnspecError) -> None:
        codes.append(_explain(error))

    for path in _find(paths, force_exclude, fail):
        code, what = _one(path, stdin_filename or "<stdin>", check, diff)
        codes.append(code)
        told[what] += 1
    if paths != ("-",):
        _sum_up(told, writes=not (check or diff))
    return max(codes)


def _find(paths: tuple[str, ...], force_exclude: bool, complain: Callable[[InputError], None]) -> list[str]:
    from nnspec.project.config import load_config
    from nnspec.project.inputs import find_specs

    config = load_config()
    return find_specs(
        paths,
        root=Path(config.folder),
        exclude=config.exclude,
        force_exclude=force_exclude,
        respect_gitignore=config.respect_gitignore,
        complain=complain,
    )


def _one(path: str, stdin_filename: str, check: bool, diff: bool) -> tuple[int, str]:
    """Format a file, and return its exit code and what happened to it."""
    from nnspec.cli.faults import report_fault
    from nnspec.errors import NnspecError
    from nnspec.formatting import format_source, format_spec

    try:
        if path == "-":
            data = read_stdin(MAX_BYTES + 1)
            result = format_source(source_of(data, stdin_filename, Path()))
        else:
            result = format_spec(path, write=not (check or diff))
    except NnspecError as error:
        return _explain(error), "failed"
    except Exception as error:  # noqa: BLE001  (a file over which nnspec fails must not keep it from the others)
        return report_fault(error, path), "failed"
    if result.diagnostics:
        click.echo(render_all(result.diagnostics, color=colored(sys.stderr)), err=True)
        return 2, "failed"
    _show(result, check, diff, is_stream=path == "-")
    return int(check and result.changed), "changed" if result.changed else "unchanged"


def _show(result: FormatResult, check: bool, diff: bool, is_stream: bool) -> None:
    """Write the text or diff to stdout, and the names of changed files to stderr."""
    if diff:
        from nnspec.project.fixing import difference

        _write(difference(Source(result.path, result.before), Source(result.path, result.after)))
    elif is_stream and not check:
        _write(result.after)
    if result.changed and (check or not (diff or is_stream)):
        click.echo(f"{'would format' if check else 'formatted'} {result.path}", err=True)


def _write(text: str) -> None:
    """Write text without translating line breaks or encoding."""
    click.echo(text.encode("utf-8"), nl=False)


def _sum_up(told: Counter[str], writes: bool) -> None:
    parts = [_TOLD[writes, what][count > 1].format(count) for what, count in told.items()]
    if parts:
        click.echo(", ".join(parts), err=True)


def _explain(error: NnspecError) -> int:
    word = click.style("error", fg="red", bold=True) if colored(sys.stderr) else "error"
    click.echo(f"{word}: {error}", err=True)
    return 2
