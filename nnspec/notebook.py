"""The magic `%%nn`, which trains the spec in a notebook cell: `%load_ext nnspec`.

    %%nn result --set train.epochs=3
    data = Digits
    model { Linear(32); ReLU; Linear(10) }
    loss = CrossEntropy
    optimizer = Adam

IPython is not a dependency of nnspec; it is only used where it runs already.
"""

from __future__ import annotations

import argparse
import keyword
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from nnspec.api import Spec, check_text, passed, run_into
from nnspec.data.source import Access
from nnspec.errors import NnspecError

__all__ = ["load", "nn"]

_NAME = "cell"


class _Parser(argparse.ArgumentParser):
    """Parses the line after `%%nn`; mistakes are messages below the cell."""

    def error(self, message: str) -> NoReturn:
        """Raise IPython's UsageError, which is shown without a traceback."""
        raise _usage_error(f"%%nn: {message}")


def _parser() -> _Parser:
    parser = _Parser("%%nn", description="Check and train the spec in this cell.", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("name", nargs="?", default="", help="variable for the RunResult")
    add("--set", action="append", default=[], metavar="PATH=VALUE", help="override a setting; may be repeated")
    add("--data", metavar="EXPRESSION", help="data to train on, in Python: `df`, `(X, y)`")
    add("--target", action="append", metavar="COLUMN", help="the column of a DataFrame to predict; may be repeated")
    add("--out", metavar="FOLDER", help="folder for the record of the run")
    add("--force", action="store_true", help="write into the folder even if it is not empty")
    add("--data-dir", metavar="FOLDER", help="folder with the files of a data source")
    add("--jobs", type=int, metavar="N", help="number of parallel processes; the results are identical")
    add("--check", action="store_true", help="only check the spec; the variable is the CheckResult")
    add("--quiet", action="store_true", help="show only findings")
    return parser


def _usage_error(message: str) -> Exception:
    error: Exception = import_module("IPython.core.error").UsageError(message)
    return error


def nn(line: str, cell: str) -> None:
    """Check the spec in a cell, and train it."""
    shell = import_module("IPython").get_ipython()
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _usage_error(f"%%nn: {error}") from None
    options = _parser().parse_args(words)
    if options.name and (not options.name.isidentifier() or keyword.iskeyword(options.name)):
        raise _usage_error(f"%%nn: `{options.name}` cannot be the name of a variable")
    if options.jobs is not None and options.jobs < 1:
        raise _usage_error(f"%%nn: --jobs must be at least 1, not {options.jobs}")
    try:
        result = _check_or_run(options, cell, _data(options.data, shell))
    except NnspecError as error:
        raise _usage_error(str(error)) from None
    except OSError as error:
        raise _usage_error(f"{error.filename or 'the run'}: {error.strerror or error}") from None
    if options.name:
        shell.push({options.name: result})


nn.__doc__ = f"""{nn.__doc__}

{_parser().format_help()}"""


def _data(expression: str | None, shell: Any) -> Any:
    """Return the value of an expression in the notebook."""
    if expression is None:
        return None
    try:
        return shell.ev(expression)
    except (NameError, SyntaxError) as error:
        raise _usage_error(f"%%nn: --data {expression}: {type(error).__name__}: {error}") from None


def _check_or_run(options: argparse.Namespace, cell: str, data: Any) -> Any:
    """Return the result of checking or running a cell, which is shown too. Raises NnspecError."""
    from nnspec.records.folder import RunFolder
    from nnspec.runner.options import RunOptions
    from nnspec.view.notebook.curve import NotebookCurve
    from nnspec.view.notebook.findings import show_findings
    from nnspec.view.terminal.quiet import Warns

    display = import_module("IPython.display").display
    spec = Spec.parse(cell, name=options.name or _NAME)
    source, flags, known = passed(spec, options.set, data, _one_or_all(options.target))
    checked = check_text(source, flags, known)
    if checked.diagnostics:
        show_findings(str(checked))
    if not checked.ok:
        raise NnspecError("the spec has errors, so nothing was trained")
    if options.check:
        if not checked.diagnostics and not options.quiet:
            display(checked)
        return checked
    if checked.compiled is None:
        raise NnspecError("this is not a complete experiment, so there is nothing to train")
    curve = None if options.quiet else NotebookCurve()
    place = Path(options.data_dir) if options.data_dir else None
    folder = (lambda: RunFolder.make(source.name, options.out, options.force)) if options.out else None
    try:
        result = run_into(
            checked.compiled, Access(place, given=known.given), curve or Warns(), folder, RunOptions(options.jobs)
        )
    except BaseException:
        if curve is not None:
            curve.clear()
        raise
    if curve is not None:
        curve.finish(result)
        display(result)
    if result.place is not None and result.place.unwritten:
        raise NnspecError(result.place.unwritten)
    return result


def _one_or_all(names: Sequence[str] | None) -> str | Sequence[str] | None:
    return names[0] if names is not None and len(names) == 1 else names


def load(ipython: Any) -> None:
    """Define `%%nn` in a session of IPython."""
    ipython.register_magic_function(nn, "cell", "nn")
