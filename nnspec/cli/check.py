"""`nnspec check`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from nnspec._version import __version__
from nnspec.cli.options import colored, read_stdin, set_option
from nnspec.diagnostics import MAX_BYTES, SourceError, source_of
from nnspec.diagnostics.formats import FORMATS, Findings, Format, load
from nnspec.diagnostics.formats.base import plural
from nnspec.project.checking import CLEAN, FAULT, FINDINGS, UNUSABLE, Checker, Outcome, distinct, refused
from nnspec.project.config import Config, load_config
from nnspec.project.gitignore import repository
from nnspec.project.inputs import InputError, find_specs
from nnspec.text import printable

__all__ = ["command"]

_STDIN = "<stdin>"
_EPILOG = """\
\b
Exit codes: 0 clean; 1 findings at or above --fail-level;
2 usage, or a file that cannot be read; 3 a bug in nnspec.
"""


class _Options(NamedTuple):
    specs: tuple[str, ...]
    overrides: tuple[str, ...]
    format: str
    output: str | None
    fail_level: str | None
    fix: bool
    unsafe_fixes: bool
    diff: bool
    quiet: bool
    stdin_filename: str | None
    allow_empty: bool
    force_exclude: bool
    no_gitignore: bool
    config: str | None
    isolated: bool


@click.command("check", epilog=_EPILOG)
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=str, allow_dash=True))
@set_option
@click.option("--format", type=click.Choice([*FORMATS]), default="full", help="Output format.")
@click.option("-o", "--output", metavar="FILE", help="Write the output to a file.")
@click.option("--fail-level", type=click.Choice(["error", "warning"]), help="Lowest severity for exit code 1.")
@click.option("--fix", is_flag=True, help="Apply safe fixes to the files.")
@click.option(
    "--unsafe-fixes", is_flag=True, help="With --fix: also apply fixes that may change the meaning of a spec."
)
@click.option("--diff", is_flag=True, help="With --fix: show the changes without writing them.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing if there are no findings.")
@click.option("--stdin-filename", metavar="NAME", help="File name for `-` in messages and for relative imports.")
@click.option("--allow-empty", is_flag=True, help="Do not fail if no file matches.")
@click.option(
    "--force-exclude", is_flag=True, help="Skip excluded and ignored files even if they are given explicitly."
)
@click.option("--no-gitignore", is_flag=True, help="Also check files that git ignores.")
@click.option(
    "--config", metavar="FILE", help="Read [tool.nnspec] from this file instead of the nearest pyproject.toml."
)
@click.option("--isolated", is_flag=True, help="Ignore all configuration files, and load no extensions.")
def command(**values: Any) -> int:
    """Check SPECS for mistakes without training. Of the data, only your own files are read, such as tables.

    SPECS are files, folders (all *.nn below), globs (quoted), or `-` for standard input.
    """
    options = _Options(**values)
    _refuse_contradictions(options)
    config = load_config(options.config, isolated=options.isolated)
    if config.extensions:
        from nnspec.extensions import load_extensions

        load_extensions(config.extensions)
    return _Run(options, config).run()


def _refuse_contradictions(options: _Options) -> None:
    needs = [
        ("--unsafe-fixes", options.unsafe_fixes, "--fix", options.fix),
        ("--diff", options.diff, "--fix", options.fix),
        ("--stdin-filename", options.stdin_filename is not None, "`-`", "-" in options.specs),
    ]
    for word, given, other, there in needs:
        if given and not there:
            raise click.UsageError(f"{word} requires {other}")
    excludes = [
        ("--config", options.config is not None, "--isolated", options.isolated),
        ("--diff", options.diff, "--output", options.output is not None),
        ("--diff", options.diff, "--format", options.format != "full"),
        ("--fix", options.fix and not options.diff, "`-`: add --diff", "-" in options.specs),
    ]
    for word, given, other, there in excludes:
        if given and there:
            raise click.UsageError(f"{word} cannot be used with {other}")


class _Run:
    """One invocation of the command."""

    def __init__(self, options: _Options, config: Config) -> None:
        self.options, self.config = options, config
        self.format: Format = load(options.format)()
        self.root = repository(os.getcwd()) or config.folder
        self.checker = Checker(options.overrides, config.ignore, self._on_fault, config.extensions)
        self.code = CLEAN
        self.faults = 0
        self.fixed: list[int] = []
        """Number of fixes for each file that was changed."""

    def run(self) -> int:
        """Check the files, print the findings, and return the exit code."""
        outcomes = list(self._outcomes())
        if self.fixed and not self.options.diff:
            outcomes = self._afresh(outcomes)
        found = distinct(outcomes)
        level = self.options.fail_level or self.config.fail_level
        if any(d.severity == "error" or level == "warning" for d in found):
            self.code = max(self.code, FINDINGS)
        self.code = max([self.code, *(outcome.code for outcome in outcomes)])
        if not self.options.diff:
            self._show(outcomes)
        self._tell_fixes()
        return self.code

    def _outcomes(self) -> Iterator[Outcome]:
        options = self.options
        problems: list[InputError] = []
        names = find_specs(
            options.specs,
            root=Path(self.config.folder),
            exclude=self.config.exclude,
            force_exclude=options.force_exclude,
            respect_gitignore=self.config.respect_gitignore and not options.no_gitignore,
            complain=problems.append,
        )
        for problem in problems:
            if not problem.empty:
                yield self._told(refused(problem.argument, str(problem)))
            elif not options.allow_empty:
                _complain(str(problem))
                self.code = max(self.code, UNUSABLE)
        # Fixes are made one file after another, for one file may import another.
        checked = self.checker.files([name for name in names if name != "-"], 1 if options.fix else None)
        for name in names:
            outcome = self._stdin() if name == "-" else next(checked)
            if options.fix:
                outcome = self._fixed_or_reported(outcome)
            yield self._told(outcome)

    def _afresh(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Check the fixed files again: a file may import another that was fixed after it."""
        return [self.checker.file(outcome.name) if outcome.code == CLEAN else outcome for outcome in outcomes]

    def _stdin(self) -> Outcome:
        name = self.options.stdin_filename or _STDIN
        try:
            data = read_stdin(MAX_BYTES + 1)
            return self.checker.text(source_of(data, name, Path(name).parent))
        except SourceError as error:
            return refused(name, str(error))

    def _told(self, outcome: Outcome) -> Outcome:
        """Report unreadable files on stderr, unless the output format does."""
        if outcome.code == UNUSABLE and not self.format.for_machines:
            _complain(outcome.diagnostics[0].message)
        return outcome

    def _fixed_or_reported(self, outcome: Outcome) -> Outcome:
        try:
            return self._apply_fixes(outcome)
        except Exception as error:  # noqa: BLE001  (the other files are still fixed)
            self._on_fault(outcome.name, error)
            self.code = max(self.code, FAULT)
            return outcome

    def _apply_fixes(self, outcome: Outcome) -> Outcome:
        """Apply fixes to a file or print them, and return the outcome after that."""
        unsafe = self.options.unsafe_fixes
        source = outcome.fixable(unsafe)
        if source is None:
            return outcome
        from nnspec.project.fixing import apply_fixes, difference, write

        fixed = apply_fixes(source, outcome.diagnostics, lambda text: self.checker.text(text).diagnostics, unsafe)
        if not fixed.applied:
            return outcome
        self.fixed.append(len(fixed.applied))
        if self.options.diff:
            click.echo(difference(source, fixed.source), nl=False)
            return outcome
        try:
            write(fixed.source)
        except OSError as error:
            _complain(f"{outcome.name} cannot be written: {error.strerror}")
            self.fixed.pop()
            self.code = max(self.code, UNUSABLE)
        return outcome

    def _show(self, outcomes: list[Outcome]) -> None:
        read = [outcome for outcome in outcomes if outcome.code == CLEAN]
        shown = outcomes if self.format.for_machines else read
        findings = Findings(
            distinct(shown),
            files=len(read),
            clean=_clean(read[0]) if read else "",
            version=__version__,
            root=self.root,
            fixable="-" not in self.options.specs,
        )
        output = self.options.output
        if output is None or output == "-":
            if (
                not self.format.for_machines
                and not findings.diagnostics
                and (self.options.quiet or (not read and self.code))
            ):
                return
            text = self.format.render(findings, color=colored(sys.stdout))
            click.echo(text.encode("utf-8", "backslashreplace") if self.format.for_machines else text, nl=False)
            return
        _write(output, self.format.render(findings).encode("utf-8", "backslashreplace"))
        if not self.options.quiet:
            click.echo(f"{printable(output)}: {findings.summary()}", err=True)

    def _tell_fixes(self) -> None:
        if self.fixed:
            done = "would be applied" if self.options.diff else "applied"
            text = f"{plural(sum(self.fixed), 'fix', 'fixes')} {done} in {plural(len(self.fixed), 'file')}"
            click.echo(text, err=self.options.diff or self.format.for_machines)

    def _on_fault(self, name: str, error: Exception) -> None:
        """Write a report of the first failure only."""
        from nnspec.cli.faults import report_fault

        self.faults += 1
        if self.faults == 1:
            report_fault(error, printable(name))
        else:
            _complain(f"{name}: a bug in nnspec: {type(error).__name__}: {error}")


def _clean(outcome: Outcome) -> str:
    return f"{printable(outcome.name)}: no findings in {plural(outcome.lanes, 'lane')}"


def _complain(message: str) -> None:
    word = click.style("error", fg="red", bold=True) if colored(sys.stderr) else "error"
    click.echo(f"{word}: {printable(message)}", err=True)


def _write(path: str, data: bytes) -> None:
    from nnspec.files import output

    try:
        with output(Path(path)) as file:
            file.write(data)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
