"""Load a spec and its imports. Each file is read once, before the file that imports it.

An import is relative to the importing file, names a `.nn` file, and must be inside the project: the closest parent
folder with a `pyproject.toml` or `.git`, or else the spec's own folder. Symbolic links are resolved first. So messages
about an untrusted spec cannot show the contents of files outside the project.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from nnspec.checker.findings import Findings
from nnspec.checker.recorded import NOTHING, Known
from nnspec.checker.recovery import Recovery
from nnspec.checker.vocabulary import Suggestion
from nnspec.diagnostics import Edit, Fix, Note, Source, SourceError, Span, read_source
from nnspec.syntax import MAX_TOKENS, parse, tree

__all__ = ["Files", "load"]

MAX_FILES = 100
MAX_DEPTH = 32
MAX_PATH = 1000
_MARKS = ("pyproject.toml", ".git")


@dataclass
class Files:
    """A spec and all files that it imports."""

    order: list[tuple[Source, tree.File]] = field(default_factory=list)
    """In the order in which they apply, the spec itself last."""
    imports: dict[Source, set[Source]] = field(default_factory=dict)
    """What each file imports, directly or through others."""
    missing: int = 0
    """How many files could not be read."""
    names: dict[str, str] = field(default_factory=dict)
    """Each name of an import -> the name of its file; with links, a file can have several names."""

    def goes_before(self, file: Source, other: Source) -> bool:
        """Whether `file` overrides `other`, because it imports it."""
        return other in self.imports.get(file, ())


def load(spec: Source, findings: Findings, recovery: Recovery, known: Known = NOTHING) -> Files:
    """Read a spec and its imports. Failed imports are reported at the `import`.

    If the imports are `known`, no file is opened.
    """
    loading = _Loading(spec, findings, recovery, known)
    loading.visit(spec, ())
    return loading.files


class _Loading:
    def __init__(self, spec: Source, findings: Findings, recovery: Recovery, known: Known) -> None:
        self.findings, self.recovery = findings, recovery
        self.known, self.names = known.imports, known.names
        self.files = Files()
        first = os.path.realpath(spec.folder / os.path.basename(spec.name)) if self.known is None else spec.name
        self.by_place: dict[str, Source] = {first: spec}
        self.project = _project(os.path.realpath(spec.folder))
        self.tokens = 0
        self.full = False

    def visit(self, source: Source, chain: tuple[Source, ...]) -> None:
        """Read a file after everything that it imports. `chain` are the files that led here."""
        parsed = parse(source)
        self.recovery.take(source, parsed)
        self.findings.extend(parsed.diagnostics)
        self.tokens += parsed.tokens
        found: set[Source] = set()
        seen: dict[Source, Span] = {}
        for item in parsed.file.items:
            if isinstance(item, tree.Import) and self.recovery.readable(item.target.span):
                other = self._import(item, source, (*chain, source))
                if other is None:
                    continue
                if other in seen:
                    first = Note(seen[other], "first given here")
                    self.findings.error("NN204", "this is imported twice", item.target.span, notes=(first,))
                seen[other] = item.target.span
                found |= {other, *self.files.imports.get(other, ())}
        self.files.imports[source] = found
        self.files.order.append((source, parsed.file))

    def _import(self, item: tree.Import, source: Source, chain: tuple[Source, ...]) -> Source | None:
        target, span = str(item.target.value), item.target.span
        problem, help = self._unfit(target, source)
        if problem:
            self.findings.error("NN209", problem, span, help=help)
            self.recovery.incomplete = True
            return None
        name = os.path.normpath(os.path.join(os.path.dirname(source.name), target)).replace(os.sep, "/")
        place = (
            os.path.realpath(os.path.join(source.folder, target)) if self.known is None else self.names.get(name, name)
        )
        other = self.by_place.get(place)
        if other is not None:
            self.files.names[name] = other.name
        if other in chain:
            circle = " → ".join(s.name.rsplit("/", 1)[-1] for s in (*chain[chain.index(other) :], other))
            self.findings.error("NN210", f"circular import: {circle}", span)
            return None
        if other is not None:
            return other
        asked = len(self.by_place) + self.files.missing
        if self.full or asked >= MAX_FILES or len(chain) >= MAX_DEPTH or self.tokens > MAX_TOKENS:
            what = f"at most {MAX_FILES} files, {MAX_DEPTH} deep, with {MAX_TOKENS:,} tokens in all"
            if not self.full:
                self.findings.error("NN603", "too many imports", span, help=f"a spec is {what}")
            self.full = True
            return None
        try:
            other = self._read(source, target, name)
        except SourceError as error:
            self.files.missing += 1
            self.recovery.incomplete = True
            respelt = self._respelt(place, target, span) if self.known is None else {}
            self.findings.error("NN209", str(error), span, **respelt)
            return None
        self.by_place[place] = other
        self.files.names[name] = other.name
        self.visit(other, chain)
        return other

    def _read(self, source: Source, target: str, name: str) -> Source:
        """Read an import. Raises SourceError."""
        if self.known is None:
            return read_source(os.path.join(source.folder, target), name)
        if name not in self.known:
            raise SourceError(f"the run folder has no copy of {name}")
        folder = os.path.normpath(os.path.join(source.folder, os.path.dirname(target)))
        return Source(name, self.known[name], Path(folder))

    def _unfit(self, target: str, source: Source) -> tuple[str, str]:
        """Return what is wrong with a path and what to do, without opening it; two empty strings if it is valid."""
        if not target:
            return "missing file name in the import", 'for example, `import "common.nn"`'
        if "\\" in target:
            return "use `/` as the path separator", f'write `import "{target.replace(chr(92), "/")}"`'
        if os.path.isabs(target) or (len(target) > 1 and target[1] == ":"):
            return (
                "imports must be relative paths"
            ), "they are relative to the importing file, so that a folder of specs can be moved"
        if len(target) > MAX_PATH:
            return f"a path has at most {MAX_PATH:,} characters", ""
        if not target.endswith(".nn"):
            return "only `.nn` files can be imported", f'did you mean `"{target}.nn"`?' if "." not in target else ""
        if self.known is not None:
            return "", ""
        place = os.path.realpath(os.path.join(source.folder, target))
        if not (place + os.sep).startswith(self.project.rstrip(os.sep) + os.sep):
            return (
                "this file is outside the project",
                "the project is the closest parent folder with a pyproject.toml or .git, or else the spec's own folder",
            )
        return "", ""

    def _respelt(self, place: str, target: str, span: Span) -> Suggestion:
        """Suggest a file in the same folder as the missing one."""
        folder, name = os.path.split(place)
        try:
            beside = [entry for entry in os.listdir(folder) if entry.endswith(".nn")]
        except OSError:
            beside = []
        found = self.findings.nearest(name, beside)
        if found is None or found == name:
            return {}
        text = f'"{target[: len(target) - len(name)]}{found}"'
        return {"help": f"did you mean `{text}`?", "fix": Fix(f"import {text}", (Edit(span, text),))}


def _project(folder: str) -> str:
    """Return the folder that imports may not leave."""
    above = folder
    while True:
        if any(os.path.exists(os.path.join(above, mark)) for mark in _MARKS):
            return above
        parent = os.path.dirname(above)
        if parent == above:
            return folder
        above = parent
