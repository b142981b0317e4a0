"""The command line: one file a command, and no logic of its own.

Exit codes: 0 good; 1 an expectation missed, a lane diverged, findings, or differences; 2 usage, spec or data at fault;
3 a bug in nnspec; 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

import click

from nnspec._version import __version__
from nnspec.cli.options import colored

__all__ = ["main"]

# Command -> its module, in the order of the help page. A module is loaded when its command is used.
_COMMANDS = {
    "new": ("nnspec.cli.new", "Create a commented starter spec."),
    "run": ("nnspec.cli.run", "Train every lane of a spec and compare them."),
    "check": ("nnspec.cli.check", "Check specs for mistakes without training."),
    "verify": ("nnspec.cli.verify", "Repeat a run and verify that it is identical, bit for bit."),
    "test": ("nnspec.cli.test", "Run specs as tests of their expectations."),
    "bench": ("nnspec.cli.bench", "Tune and race contestants on several problems, and compare them."),
    "plot": ("nnspec.cli.plot", "Plot the training curves of a run as PNG, SVG or PDF."),
    "report": ("nnspec.cli.report", "Create a self-contained HTML report on runs."),
    "eval": ("nnspec.cli.eval", "Evaluate trained networks on test data."),
    "predict": ("nnspec.cli.predict", "Predict images, tables or arrays with a trained network."),
    "compare": (
        "nnspec.cli.compare",
        "Compare runs and test whether their differences are significant.",
    ),
    "export": ("nnspec.cli.export", "Export a network as ONNX, C, PyTorch or NumPy, verified, or its weights."),
    "fmt": ("nnspec.cli.fmt", "Format specs in place."),
    "explain": ("nnspec.cli.explain", "Explain an error or warning code, with an example."),
    "show": ("nnspec.cli.show", "Show layers, shapes, parameters, FLOPs and memory."),
    "diff": ("nnspec.cli.diff", "Show how two specs differ in meaning."),
    "landscape": ("nnspec.cli.landscape", "Plot the loss landscape with the path of each lane."),
    "lr-range": ("nnspec.cli.lr_range", "Find a learning rate by a range test."),
    "gradcheck": ("nnspec.cli.gradcheck", "Check a spec's gradients with finite differences."),
    "conform": ("nnspec.cli.conform", "Check layers, optimizers and other parts of your own."),
    "data": ("nnspec.cli.data", "Download and locate data sets."),
}

_EXAMPLES = """\
\b
Start here:
  nnspec new                                create a starter spec
  nnspec run specs/race.nn                  train, compare, plot
  nnspec run SPEC --set train.epochs=3      override a setting for one run
  nnspec check SPEC                         check a spec for mistakes
  nnspec test specs                         run specs as tests
  nnspec show SPEC                          layers, shapes and sizes
  nnspec show SPEC --resolved               every value and its origin
  nnspec diff A B                           how two specs differ
  nnspec gradcheck SPEC                     check its gradients
"""


# Errors from writing to standard output that are nobody's fault.
_MOST_ERRORS = 20
"""Number of errors of a spec that commands other than `check` show."""
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EIO)

# Name of a command in other tools -> name here.
_ELSEWHERE = {
    "train": "run",
    "fit": "run",
    "lint": "check",
    "validate": "check",
    "format": "fmt",
    "init": "new",
    "summary": "show",
    "fetch": "data fetch",
    "download": "data fetch",
}


class _Lazy(click.Group):
    """Loads the module of a command on demand, so that `nnspec --help` is fast."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[name][0]).command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in _COMMANDS and not word.startswith("-"):
            from nnspec.diagnostics import nearest

            found = _ELSEWHERE.get(word) or nearest(word, _COMMANDS)
            hint = f" Did you mean `{found}`?" if found else ""
            if word.endswith(".nn"):
                hint = f" Did you mean `nnspec run {word}`?"
            raise click.UsageError(f"unknown command `{word}`.{hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    epilog=_EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="nnspec", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Describe a neural network in a small text file, and check, train and compare it with NumPy alone."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # Matrix products run on one thread anyway. Starting the other OpenBLAS threads is half the cost of importing NumPy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Most objects live as long as the command. Collecting cycles at the default rate finds almost none
    # and takes a tenth of the time of a short run.
    gc.set_threshold(50_000, 20, 20)
    code = _code(arguments)
    for stream in (sys.stdout, sys.stderr):
        _drop_unwritten(stream)
    gc.freeze()  # skips the collection of cycles at exit
    sys.exit(code)


def _drop_unwritten(stream: TextIO | None) -> None:
    """Flush a stream, or discard its buffer: Python would try again at exit and change the exit code."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _code(arguments: Sequence[str] | None) -> int:
    _forgive_encoding()
    _terminate_as_interrupt()
    try:
        result = cli.main(arguments, prog_name="nnspec", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted", err=True)
        return 130
    except (BrokenPipeError, SystemExit):
        # The reader of our output is gone, which click turns into a bare SystemExit. There is nothing to say,
        # and Python must not flush again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (whatever it is, the user gets words and an exit code)
        try:
            return _explain(error)
        except OSError:  # standard error cannot be written to, so only the exit code remains
            return 2


def _explain(error: Exception) -> int:
    """Report an error: a user error with its message, a bug in nnspec with a request to report it."""
    from nnspec.api import SpecError
    from nnspec.cli.faults import report_fault
    from nnspec.diagnostics import render_all
    from nnspec.errors import NnspecError
    from nnspec.text import printable

    if isinstance(error, SpecError):
        click.echo(render_all(error.diagnostics, color=colored(sys.stderr), most=_MOST_ERRORS), err=True)
        return 2
    if isinstance(error, NnspecError):
        word = click.style("error", fg="red", bold=True) if colored(sys.stderr) else "error"
        # File names, cells and records in the message may contain terminal control sequences.
        lines = [printable(line) for line in str(error).split("\n")]
        click.echo(f"{word}: {chr(10).join(lines)}", err=True)
        return 2
    if isinstance(error, MemoryError):
        click.echo("error: not enough memory; `nnspec show SPEC` shows how much is needed", err=True)
        return 2
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        click.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        return 2
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.getfilesystemencoding() != "utf-8":
        click.echo(
            f"error: this system's encoding for file names, {error.encoding}, cannot represent "
            f"{error.object!a}; set PYTHONUTF8=1, or LC_ALL=C.UTF-8",
            err=True,
        )
        return 2
    if isinstance(error, FileNotFoundError) and not _is_somewhere():
        click.echo("error: the current folder no longer exists; change to another one", err=True)
        return 2
    return report_fault(error)


def _is_somewhere() -> bool:
    """Whether the current folder still exists."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _terminate_as_interrupt() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C, so that a run keeps its results when a scheduler ends it.

    A signal that is ignored, such as SIGHUP after `nohup`, stays ignored.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupt)


def _forgive_encoding() -> None:
    """Print `?` for characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
