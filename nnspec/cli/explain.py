"""`nnspec explain`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from nnspec.cli.options import colored

if TYPE_CHECKING:
    from nnspec.diagnostics import Diagnostic
    from nnspec.diagnostics.explanations import Example

__all__ = ["command", "found_in"]

_WIDEST = 100  # columns of text, however wide the terminal is


@click.command("explain")
@click.argument("word", required=False)
def command(word: str | None) -> int:
    """Explain WORD: an error or warning code, such as NN401, with an example; a part, such as Linear, with its
    arguments; or a kind of part, such as layer, with a list. Without WORD, list all codes.
    """
    from nnspec.diagnostics.explanations import code_of

    code = code_of(word) if word is not None else None
    if word is None:
        lines = _all_codes()
    elif code is not None:
        lines = _page(code)
    else:
        lines = _part_or_kind(word)
    click.echo("\n".join(lines))
    return 0


def _part_or_kind(word: str) -> Iterator[str]:
    from nnspec.api import known_parts
    from nnspec.view.terminal.parts import kind_page, part_page

    known = known_parts()
    yield from kind_page(word, known, _columns(), _bold) or part_page(word, known, _columns(), _bold) or _unknown(word)


def _unknown(word: str) -> NoReturn:
    from nnspec.api import part_meant
    from nnspec.diagnostics import CODES, nearest
    from nnspec.diagnostics.explanations import spelled

    found = nearest(spelled(word), CODES)
    if found is None and (part := part_meant(word)):
        raise click.UsageError(f"unknown part {word}; did you mean {part}?")
    help = f"did you mean {found}?" if found else "run `nnspec explain` for a list"
    raise click.UsageError(f"unknown code {word}; {help}")


def found_in(example: Example) -> tuple[Diagnostic, ...]:
    """Return the diagnostics of an example. Its files are written to a temporary folder."""
    from nnspec.api import check_text
    from nnspec.diagnostics import Source
    from nnspec.diagnostics.explanations import NAME

    with tempfile.TemporaryDirectory(prefix="nnspec-") as folder:
        for name, text in {**example.beside, NAME: example.spec}.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        found = check_text(Source(NAME, example.spec, Path(folder))).diagnostics
        # Messages must not mention the temporary folder.
        return tuple(replace(one, message=one.message.replace(f"{folder}{os.sep}", "")) for one in found)


def _all_codes() -> Iterator[str]:
    from nnspec.diagnostics import CODES
    from nnspec.diagnostics.explanations import groups

    for name, codes in groups():
        yield _bold(name)
        yield from (f"  {code}  {CODES[code]}" for code in codes)
        yield ""
    yield "Run `nnspec explain CODE` for an explanation with an example, `nnspec explain layers` for a list of"
    yield "all layers, and `nnspec explain Linear` for what one of them computes."


def _page(code: str) -> Iterator[str]:
    from nnspec.diagnostics import CODES, render
    from nnspec.diagnostics.explanations import explanation

    about = explanation(code)
    yield _bold(f"{code}: {CODES[code]}")
    for paragraph in [*about.paragraphs(), *([f"There is no example. {about.no_example}"] if about.no_example else [])]:
        yield ""
        yield from textwrap.wrap(paragraph, _columns(), break_long_words=False, break_on_hyphens=False)
    if about.bad is None or about.good is None:
        return
    found = found_in(about.bad)
    yield from ("", _bold("Incorrect" if found[0].severity == "error" else "Not recommended"), "")
    yield from _listing(about.bad)
    for diagnostic in found:
        yield from ("", render(diagnostic, color=colored(sys.stdout), fixes=True))
    yield from ("", _bold("Better"), "")
    yield from _listing(about.good)
    if about.can_be_ignored:
        yield from ("", f"If this is intended, add a comment at the end of the line: # nn: ignore[{code}]")


def _listing(example: Example) -> Iterator[str]:
    files = example.files()
    for name, text in files.items():
        if len(files) > 1:
            yield f"    # {name}"
        yield from textwrap.indent(text, "    ").splitlines()
        if name != [*files][-1]:
            yield ""


def _columns() -> int:
    return max(min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST), 40)


def _bold(text: str) -> str:
    return click.style(text, bold=True) if colored(sys.stdout) else text
