"""Checking files: many files in several processes. A file that fails does not stop the others."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.source import Source, SourceError, Span, read_source

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["CLEAN", "FAULT", "FINDINGS", "UNUSABLE", "Checker", "Outcome", "distinct", "refused"]

CLEAN, FINDINGS, UNUSABLE, FAULT = 0, 1, 2, 3
"""Exit codes. That of a command is the highest of all its files."""

FILES_PER_PROCESS = 40
"""Number of files per process below which it does not pay off: starting one takes as long as checking ten files."""

_PIECE = 8
"""Number of files that a process checks before it sends its results."""


class Outcome(NamedTuple):
    """The result of checking one file."""

    name: str
    diagnostics: tuple[Diagnostic, ...]
    lanes: int = 0
    """Number of lanes of its program; 0 if it has an error."""
    code: int = CLEAN
    """UNUSABLE if it could not be read, FAULT if nnspec failed on it, else CLEAN, with or without findings."""

    def fixable(self, unsafe: bool) -> Source | None:
        """Return its text if a finding has a fix for it, else None."""
        for diagnostic in self.diagnostics:
            if diagnostic.fix and (diagnostic.fix.safe or unsafe):
                for edit in diagnostic.fix.edits:
                    if edit.span.source.name == self.name:
                        return edit.span.source
        return None


class Checker:
    """Checks files with the same flags, without the lint that the project ignores."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        ignore: Iterable[str] = (),
        on_fault: Callable[[str, Exception], None] = lambda name, error: None,
        extensions: Sequence[str] = (),
    ) -> None:
        self.flags = list(flags)
        self.ignore = frozenset(ignore)
        self.on_fault = on_fault
        self.extensions = extensions
        """Packages with parts, which this process has loaded already."""

    def files(self, names: Sequence[str], processes: int | None = None) -> Iterator[Outcome]:
        """Check files, in order; by default in one process per core, if there are enough of them."""
        if processes is None:
            processes = min(_cores(), len(names) // FILES_PER_PROCESS)
        if processes < 2:
            yield from map(self.file, names)
            return
        pieces = [names[start : start + _PIECE] for start in range(0, len(names), _PIECE)]
        with _workers(self, pieces, processes) as outcomes:
            for number, piece in enumerate(pieces):
                # Only in this process can a fault be reported with its traceback.
                for outcome in outcomes(number) or map(self.file, piece):
                    yield self.file(outcome.name) if outcome.code == FAULT else outcome

    def file(self, name: str) -> Outcome:
        """Check a file."""
        return self._check(name, lambda: read_source(name))

    def text(self, source: Source) -> Outcome:
        """Check a text in memory."""
        return self._check(source.name, lambda: source)

    def _check(self, name: str, read: Callable[[], Source]) -> Outcome:
        from nnspec.api import check_text

        try:
            result = check_text(read(), self.flags)
        except SourceError as error:
            return refused(name, str(error))
        except MemoryError:
            return refused(name, f"not enough memory to check {name}")
        except Exception as error:  # noqa: BLE001  (the other files are still checked)
            self.on_fault(name, error)
            message = f"a bug in nnspec: {type(error).__name__}: {error}"
            return Outcome(name, (_about(name, "NN902", message),), code=FAULT)
        lanes = 0 if result.compiled is None else len(result.compiled.program.lanes)
        return Outcome(name, tuple(d for d in result.diagnostics if d.code not in self.ignore), lanes)


@contextmanager
def _workers(
    checker: Checker, pieces: Sequence[Sequence[str]], count: int
) -> Iterator[Callable[[int], list[Outcome] | None]]:
    """Check pieces in `count` processes; yields a function that waits for the outcomes of a piece.

    That function returns None for a piece that the calling process has to check, because its process was killed
    (perhaps for lack of memory) or could not be started. Processes only use pipes, since there are no semaphores where
    `/dev/shm` is missing or forbidden by a sandbox.
    """
    import multiprocessing
    from multiprocessing.connection import wait

    import nnspec.api  # noqa: F401  (imported once for all processes that are forked)

    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    answers: dict[Connection, Iterator[int]] = {}
    arrived: dict[int, list[Outcome]] = {}
    processes = []

    def outcomes(number: int) -> list[Outcome] | None:
        while number not in arrived and answers:
            for ready in wait([*answers]):
                answer = cast("Connection", ready)
                try:
                    arrived[next(answers[answer])] = answer.recv()
                except (EOFError, OSError, StopIteration):
                    del answers[answer]
        return arrived.pop(number, None)

    try:
        for first in range(count):
            answer, sender = context.Pipe(duplex=False)
            share = range(first, len(pieces), count)
            work = [pieces[number] for number in share]
            answers[answer] = iter(share)
            arguments = (sender, [*answers], checker.flags, checker.ignore, checker.extensions, work)
            process = context.Process(target=_work, args=arguments, daemon=True)
            with sender:
                try:
                    process.start()
                except OSError:
                    del answers[answer]
                    break
            processes.append(process)
        yield outcomes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(
    sender: Connection,
    readers: Sequence[Connection],
    flags: Sequence[str],
    ignore: frozenset[str],
    extensions: Sequence[str],
    pieces: Sequence[Sequence[str]],
) -> None:
    """Check pieces and send one answer for each.

    Garbage collection is off, since a check leaves no cycles. The waiting process handles signals.
    """
    import signal

    for reader in readers:  # so that sending fails if the waiting process has been killed
        reader.close()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    gc.disable()
    if extensions:  # where processes are spawned, they have to be loaded again
        from nnspec.extensions import load_extensions

        load_extensions(extensions)
    checker = Checker(flags, ignore)
    with suppress(OSError, MemoryError):  # the waiting process has ended, or checks the rest itself
        for piece in pieces:
            sender.send([checker.file(name) for name in piece])


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refused(name: str, message: str) -> Outcome:
    """Return the outcome of a file that cannot be read."""
    return Outcome(name, (_about(name, "NN901", message),), code=UNUSABLE)


def distinct(outcomes: Iterable[Outcome]) -> list[Diagnostic]:
    """Return the findings of all files without duplicates: an error in an import is found once per importing file."""
    found: dict[tuple[str, int, int, str, str], Diagnostic] = {}
    for outcome in outcomes:
        for d in outcome.diagnostics:
            found.setdefault((d.span.source.name, d.span.start, d.span.end, d.code, d.message), d)
    return list(found.values())


def _about(name: str, code: str, message: str) -> Diagnostic:
    return Diagnostic(code, message, Span(Source(name, "", Path()), 0, 0))
