"""A spec and the settings that override it, checked: a program with its layout, or the diagnostics that say why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.checker import NOTHING, Known
from nnspec.checker import check as check_source
from nnspec.compiler.proofs import Compiled, prove
from nnspec.data.source import DataError
from nnspec.diagnostics import Diagnostic, Source, first_of, render_all
from nnspec.errors import NnspecError
from nnspec.reprs import TableRepr
from nnspec.syntax.literals import bad_escape
from nnspec.text import quoted

__all__ = [
    "CheckResult",
    "Overrides",
    "PathLike",
    "SpecError",
    "check_text",
    "compiled_of",
    "experiment_of",
    "file_flag",
    "flags_of",
]

PathLike = str | os.PathLike[str]
Overrides = Mapping[str, Any] | Sequence[str] | Sequence[Source] | None


class SpecError(NnspecError):
    """A spec has errors. They are in `diagnostics`, and the message shows them all."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render_all(diagnostics))
        self.diagnostics = tuple(diagnostics)


@dataclass(frozen=True, repr=False)
class CheckResult(TableRepr):
    """The result of checking a spec."""

    path: str
    diagnostics: tuple[Diagnostic, ...]
    compiled: Compiled | None
    """The program with its layout; None if there are errors, or if the file can only be imported."""
    files: tuple[Source, ...] = ()
    """The files that were read: the imports and, last, the spec."""

    @property
    def ok(self) -> bool:
        """Whether there are no errors. Warnings are allowed."""
        return not any(d.severity == "error" for d in self.diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics) if self.diagnostics else f"{self.path}: no findings"


GIVEN = Source("data=…", "data = Given()")
"""The setting that stands for data that a caller passes."""


def check_text(source: Source, set: Overrides = None, known: Known = NOTHING) -> CheckResult:
    """Check a spec in memory. Imports and data files are read relative to `source.folder`, unless they are `known`.

    Data that is given replaces the data of the spec, unless a lane takes it already.
    """
    flags = flags_of(set)
    checked = check_source(source, flags, known)
    if known.given is not None and not checked.takes_given:
        checked = check_source(source, [GIVEN, *flags], known)
    if checked.program is None:
        return CheckResult(source.name, first_of(checked.diagnostics), None, checked.files)
    compiled, proofs = prove(checked.program)
    found = (*checked.diagnostics, *proofs)
    failed = any(d.severity == "error" for d in found)
    return CheckResult(source.name, first_of(found), None if failed else compiled, checked.files)


def compiled_of(result: CheckResult, warn: Callable[[Sequence[Diagnostic]], None] = lambda found: None) -> Compiled:
    """Return the program of a spec without errors; `warn` is given the warnings, if there are any.

    Raises SpecError for a spec with errors, and NnspecError for one that is no experiment.
    """
    if not result.ok:
        raise SpecError(result.diagnostics)
    compiled = experiment_of(result)
    if result.diagnostics:
        warn(result.diagnostics)
    return compiled


def experiment_of(result: CheckResult) -> Compiled:
    """Return the program of a file without errors. Raises NnspecError if the file can only be imported."""
    if result.compiled is None:
        raise NnspecError(
            f"{result.path} is not a complete experiment; import it, or give it to `nnspec bench` if it is a problem "
            "or a list of contestants"
        )
    return result.compiled


def flags_of(overrides: Overrides) -> list[Source]:
    """Turn overrides into sources for the checker, named after their origin."""
    if overrides is None:
        return []
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        return [Source(f"set={{{key!r}: …}}", f"{key} = {_as_text(value)}") for key, value in overrides.items()]
    return [text if isinstance(text, Source) else Source("--set", text) for text in overrides]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_as_text(item) for item in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"a setting must be a number, a string, true, false, none or a list of these, not {value!r}")


def file_flag(path: PathLike, target: str | Sequence[str] | None) -> Source:
    """Return the setting that reads a file. Raises DataError."""
    place = os.fspath(path)
    parts = [place, *((target,) if isinstance(target, str) else target or ())]
    odd = next((part for part in parts if bad_escape(quoted(part))), None)
    if odd is not None:
        raise DataError(f"{odd!a} has characters that a spec cannot hold; rename it, or read the data in Python")
    if place.lower().endswith(".npz") and target is None:
        return Source("data=…", f"data = NPZ({quoted(place)})")
    if place.lower().endswith((".csv", ".tsv", ".txt", ".data")):
        if target is None:
            raise DataError('a table needs the column to predict: `target="COLUMN"`')
        names = quoted(target) if isinstance(target, str) else f"[{', '.join(map(quoted, target))}]"
        more = ', delimiter="\\t"' if place.lower().endswith(".tsv") else ""
        return Source("data=…", f"data = CSV({quoted(place)}, target={names}{more})")
    raise DataError(
        f"`data` is the path {place}, which is neither an .npz file nor a table with a `target`; name its data source "
        "instead, such as `set={'data': 'Images(\"folder\")'}`"
    )
