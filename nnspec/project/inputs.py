"""Finding specs: by name, by folder, or by glob."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nnspec.errors import NnspecError
from nnspec.project.gitignore import Chain, Patterns, chain_above, chain_in, ignored, repository
from nnspec.project.globs import Glob, Reached

__all__ = ["SUFFIX", "InputError", "find_specs"]

SUFFIX = ".nn"
"""The suffix of specs; folders and globs find no other files."""

_RUN = {"run.json", "spec.nn"}
"""The files that mark the folder of a run. Its copy of the spec is a record, not a spec to work on."""
_MAGIC = re.compile(r"[*?\[]")


class InputError(NnspecError):
    """An argument that does not lead to a readable file. The message names it."""

    def __init__(self, message: str, argument: str = "", *, empty: bool = False) -> None:
        super().__init__(message)
        self.argument = argument
        self.empty = empty
        """Whether the folder exists but has no specs."""


def find_specs(
    arguments: Sequence[str],
    *,
    root: Path | None = None,
    exclude: Sequence[str] = (),
    force_exclude: bool = False,
    respect_gitignore: bool = True,
    complain: Callable[[InputError], None] | None = None,
) -> list[str]:
    """Return the files that the arguments refer to, as they should be shown: sorted, without duplicates, with `/`.

    A named file is always included, whatever its suffix. A folder means all `*.nn` files in and below it, a glob (`*`,
    `?`, `[a-z]`, `**` for any number of folders) all `*.nn` files that match. Both skip files that are hidden, ignored
    by git or excluded, folders of runs (with `run.json` and `spec.nn` in them), and symbolic links to folders. `-` is
    passed through.

    Args:
        arguments: files, folders, globs, or `-`.
        root: folder that `exclude` is relative to; by default the current folder.
        exclude: patterns as in a `.gitignore`.
        force_exclude: also skip named files that are excluded or ignored.
        respect_gitignore: skip files that git ignores.
        complain: called with each faulty argument; the others are still searched.

    Raises:
        InputError: a path does not exist or cannot be read, or an argument matches nothing, and there is no `complain`.
    """
    problems: list[InputError] = []
    finder = _Finder(os.path.abspath(root or os.curdir), exclude, force_exclude, respect_gitignore)
    finder.complain = complain or problems.append
    found: dict[str, str] = {}
    for argument in arguments:
        for path in finder.find(argument):
            found.setdefault(path if path == "-" else os.path.abspath(path), path)
    if problems:
        raise InputError("\n".join(str(problem) for problem in problems), problems[0].argument)
    return sorted(found.values())


class _Finder:
    complain: Callable[[InputError], None]

    def __init__(self, root: str, exclude: Sequence[str], force_exclude: bool, respect_gitignore: bool) -> None:
        self.root = root
        self.exclude = Patterns(root, exclude) if exclude else None
        self.force_exclude = force_exclude
        self.respect_gitignore = respect_gitignore

    def find(self, argument: str) -> Iterator[str]:
        """Yield the files that one argument refers to."""
        shown = _tidy(argument)
        if argument == "-":
            yield argument
        elif os.path.isdir(argument):
            yield from self._search(argument, shown, ["**", "*"], f"no {SUFFIX} files in {shown}")
        elif os.path.lexists(argument):
            if not (self.force_exclude and self._is_left_out(os.path.abspath(argument))):
                yield shown
        elif _MAGIC.search(argument):
            parts = [part for part in argument.replace(os.sep, "/").split("/") if part not in ("", ".")]
            first = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
            start = ("/" if os.path.isabs(argument) else "") + "/".join(parts[:first])
            yield from self._search(start, start, parts[first:], f"no {SUFFIX} file matches {argument}")
        else:
            self.complain(InputError(f"file not found: {shown}", shown))

    def _search(self, folder: str, shown: str, parts: list[str], otherwise: str) -> Iterator[str]:
        place = os.path.abspath(folder or os.curdir)
        none = True
        if not os.path.isdir(place):
            self.complain(InputError(f"folder not found: {shown}", shown))
            return
        chain, left_out = self._above(place)
        walk = _Walk(self, _glob(parts))
        for name in [] if left_out else walk.run(place, chain):
            none = False
            yield f"{shown.rstrip('/')}/{name}" if shown not in ("", ".") else name
        if none and not walk.failed:
            hint = " that is not ignored or excluded" if left_out or walk.left_out else ""
            hint += " outside run folders" if walk.runs else ""
            self.complain(InputError(otherwise + hint, shown, empty=True))

    def _above(self, folder: str) -> tuple[Chain, bool]:
        """Return the ignore files above a folder, and whether they or the configuration exclude all of it."""
        left_out = self._lies_in_excluded(folder)
        if not self.respect_gitignore:
            return (), left_out
        top = repository(folder)
        if top is None:
            top = self.root if folder.startswith(self.root.rstrip(os.sep) + os.sep) else folder
        chain, is_ignored = chain_above(folder, top)
        return chain, left_out or is_ignored

    def _is_left_out(self, path: str) -> bool:
        folder = os.path.dirname(path)
        chain, left_out = self._above(folder)
        if left_out:
            return True
        if self.respect_gitignore:
            names = [name for name in (".git", ".gitignore") if os.path.lexists(os.path.join(folder, name))]
            chain = chain_in(folder, chain, names)
        return self._is_excluded(path, False) or ignored(path, False, chain)

    def _is_excluded(self, path: str, is_folder: bool) -> bool:
        if self.exclude is None or not path.startswith(self.root.rstrip(os.sep) + os.sep):
            return False
        return bool(self.exclude.verdict(path, is_folder))

    def _lies_in_excluded(self, folder: str) -> bool:
        while folder.startswith(self.root) and folder != self.root:
            if self._is_excluded(folder, True):
                return True
            folder = os.path.dirname(folder)
        return False

    def leaves_out(self, path: str, is_folder: bool, chain: Chain) -> bool:
        """Return whether a path in a searched folder is skipped."""
        return self._is_excluded(path, is_folder) or ignored(path, is_folder, chain)


class _Walk:
    """A search through folders."""

    def __init__(self, finder: _Finder, glob: Glob) -> None:
        self.finder = finder
        self.glob = glob
        self.failed = False
        self.left_out = False
        self.runs = False
        """Whether folders of runs were skipped."""

    def run(self, top: str, chain: Chain) -> Iterator[str]:
        """Yield the files found, relative to `top`."""
        waiting: list[tuple[str, str, Chain, Reached]] = [(top, "", chain, self.glob.start())]
        while waiting:
            folder, shown, above, reached = waiting.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = list(listing)
            except OSError as error:
                self.failed = True
                name = shown.rstrip("/") or folder
                self.finder.complain(InputError(f"the folder {name} cannot be read: {error.strerror}", name))
                continue
            names = {entry.name for entry in entries}
            if names >= _RUN:
                self.runs = True
                continue
            inner = above
            if self.finder.respect_gitignore:
                inner = chain_in(folder, above, {n for n in names if n.startswith(".git")})
            for entry in entries:
                further, is_match = self.glob.step(entry.name, reached)
                if not further and not is_match:
                    continue
                path = f"{folder.rstrip(os.sep)}{os.sep}{entry.name}"
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and further and not self._leaves_out(path, True, inner):
                    waiting.append((path, f"{shown}{entry.name}/", inner, further))
                elif not is_folder and is_match and entry.name.endswith(SUFFIX):
                    is_link_to_folder = entry.is_symlink() and os.path.isdir(path)
                    if not is_link_to_folder and not self._leaves_out(path, False, inner):
                        yield shown + entry.name

    def _leaves_out(self, path: str, is_folder: bool, chain: Chain) -> bool:
        result = self.finder.leaves_out(path, is_folder, chain)
        self.left_out |= result
        return result


def _glob(parts: Sequence[str]) -> Glob:
    """Make a glob of its parts; only a part that starts with a dot matches hidden names."""
    parts = [*parts, "*"] if parts[-1] == "**" else parts
    visible = (("" if part.startswith(".") else r"(?!\.)") + fnmatch.translate(part) for part in parts)
    patterns = [None if part == "**" else re.compile(text) for part, text in zip(parts, visible, strict=True)]
    return Glob.of(patterns, hidden=False)


def _tidy(path: str) -> str:
    """Return a path as shown: with `/`, without `./`. `..` stays, since it may lead through a symbolic link."""
    parts = path.replace(os.sep, "/").split("/")
    kept = "/".join(part for part in parts if part not in ("", "."))
    return f"/{kept}" if path.startswith("/") else kept or "."
