"""Checking one file after the other: from the cache where it is unchanged, and to the end whatever one of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nnspec.diagnostics.diagnostic import Diagnostic
from nnspec.diagnostics.source import Source, SourceError, Span, read_source
from nnspec.project.cache import Cache, Known, read_bytes

if TYPE_CHECKING:
    from nnspec.api import CheckResult

__all__ = ["CLEAN", "FAULT", "FINDINGS", "UNUSABLE", "Checker", "Outcome", "distinct", "refused"]

CLEAN, FINDINGS, UNUSABLE, FAULT = 0, 1, 2, 3
"""Exit codes: the worst of all files counts."""


class Outcome(NamedTuple):
    """What came of one file."""

    name: str
    diagnostics: tuple[Diagnostic, ...]
    lanes: int = 0
    """How many lanes its program has; 0 where it has an error."""
    code: int = CLEAN
    """UNUSABLE where it could not be read, FAULT where nnspec failed over it. Findings do not count here."""

    def fixable(self, unsafe: bool) -> Source | None:
        """Return its text where a finding has a fix for it; None where there is nothing to do."""
        for diagnostic in self.diagnostics:
            if diagnostic.fix and (diagnostic.fix.safe or unsafe):
                for edit in diagnostic.fix.edits:
                    if edit.span.source.name == self.name:
                        return edit.span.source
        return None


class Checker:
    """Checks files with the same flags, and leaves out the lint that the project does not want."""

    def __init__(
        self,
        cache: Cache,
        flags: Sequence[str] = (),
        ignore: Iterable[str] = (),
        on_fault: Callable[[str, Exception], None] = lambda name, error: None,
    ) -> None:
        self.cache = cache
        self.flags = list(flags)
        self.ignore = frozenset(ignore)
        self.on_fault = on_fault

    def file(self, name: str) -> Outcome:
        """Check a file."""
        data = read_bytes(name)
        known = None if data is None else self.cache.find(name, data)
        if known is None:
            return self._afresh(name, lambda: read_source(name), data)
        return self._outcome(name, known)

    def text(self, source: Source) -> Outcome:
        """Check a text that is in memory."""
        return self._afresh(source.name, lambda: source, None)

    def _afresh(self, name: str, read: Callable[[], Source], data: bytes | None) -> Outcome:
        try:
            source = read()
            result = self._check(source)
        except SourceError as error:
            return refused(name, str(error))
        except MemoryError:
            return refused(name, f"not enough memory to check {name}")
        except Exception as error:  # noqa: BLE001  (the other files are still checked)
            self.on_fault(name, error)
            message = f"a bug in nnspec: {type(error).__name__}: {error}"
            return Outcome(name, (_about(name, "NN902", message),), code=FAULT)
        lanes = 0 if result.compiled is None else len(result.compiled.program.lanes)
        known = Known(lanes, result.diagnostics)
        if data is not None:
            self.cache.store(name, data, known, result.files, result.missing, result.looked_at)
        return self._outcome(name, known)

    def _check(self, source: Source) -> CheckResult:
        from nnspec.api import check_text

        return check_text(source, self.flags)

    def _outcome(self, name: str, known: Known) -> Outcome:
        found = known.diagnostics
        return Outcome(name, tuple(d for d in found if d.code not in self.ignore) if found else (), known.lanes)


def refused(name: str, message: str) -> Outcome:
    """Return the outcome of a file that cannot be read."""
    return Outcome(name, (_about(name, "NN901", message),), code=UNUSABLE)


def distinct(outcomes: Iterable[Outcome]) -> list[Diagnostic]:
    """Return the findings of all files, each once: what is wrong in an import is found with each that imports it."""
    found: dict[tuple[str, int, int, str, str], Diagnostic] = {}
    for outcome in outcomes:
        for d in outcome.diagnostics:
            found.setdefault((d.span.source.name, d.span.start, d.span.end, d.code, d.message), d)
    return list(found.values())


def _about(name: str, code: str, message: str) -> Diagnostic:
    return Diagnostic(code, message, Span(Source(name, "", Path()), 0, 0))
