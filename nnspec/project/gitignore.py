"""What git ignores: `.gitignore` in every folder from the repository's top down, and `.git/info/exclude`.

The rules are those of gitignore(5), applied to one path at a time: a pattern decides about a single path, an ignored
folder is not entered, and the contents of a re-included folder are matched on their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from nnspec.files import read_limited
from nnspec.project.globs import Glob

__all__ = ["Chain", "Patterns", "chain_above", "chain_in", "ignored", "repository"]

_LARGEST = 1024**2
_LONGEST = 4096  # characters in a line; no path is longer
_SIGN = re.compile(
    r"(?P<star>\*+)|(?P<any>\?)|\[(?P<negated>[!^]?)(?P<set>(?:\[:\w+:\]|\]|\\.|[^]\\])(?:\[:\w+:\]|\\.|[^]\\])*)\]"
    r"|(?P<plain>\\.|[^[\\])",
    re.DOTALL,
)
_IN_SET = re.compile(r"\[:(\w+):\]|(\\.|[^\\])-(\\.|[^\\])|(\\.|[^\\])", re.DOTALL)
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class _Rule(NamedTuple):
    """A line of an ignore file."""

    glob: Glob
    ignores: bool
    """Whether matching paths are ignored; a pattern with `!` re-includes them."""
    folders_only: bool


class Patterns:
    """The patterns of one ignore file, and the folder that they are relative to."""

    def __init__(self, folder: str, lines: Iterable[str]) -> None:
        self.folder = folder.rstrip(os.sep)
        self._rules = [rule for rule in map(_rule, lines) if rule][::-1]

    def __bool__(self) -> bool:
        """Whether there are any patterns."""
        return bool(self._rules)

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Return whether an absolute path is ignored (True), re-included (False) or not matched (None)."""
        names = _bytes(path[len(self.folder) + 1 :]).split(os.sep)
        for glob, ignores, folders_only in self._rules:
            if (is_folder or not folders_only) and glob.matches(names):
                return ignores
        return None


def _rule(line: str) -> _Rule | None:
    """Parse a line. Returns None for a comment and, as git does, for a line that cannot match."""
    line = _bytes(line)
    if line.startswith("#") or len(line) > _LONGEST:
        return None
    text = line.rstrip(" ")
    if text != line and (len(text) - len(text.rstrip("\\"))) % 2:  # the first trailing space is escaped
        text += " "
    pattern = text.removeprefix("!").removesuffix("/")
    parts: list[re.Pattern[str] | None] = [] if "/" in pattern else [None]
    for part in pattern.removeprefix("/").split("/"):
        name = _name(part)
        if name is None or not part:
            return None
        parts.append(None if re.fullmatch(r"\*\*+", part) and "/" in pattern else name)
    return _Rule(Glob.of(parts), not text.startswith("!"), text.endswith("/"))


def _bytes(text: str) -> str:
    """Return a text with one character for each byte of its UTF-8, since git's `?` matches one byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _name(pattern: str) -> re.Pattern[str] | None:
    """Translate a pattern for one name to a regular expression. Returns None if it is not valid."""
    chunks = [""]
    at = 0
    while at < len(pattern):
        sign = _SIGN.match(pattern, at)
        if sign is None:
            return None
        at = sign.end()
        if sign["star"]:
            chunks.append("")
        elif sign["any"]:
            chunks[-1] += "."
        elif sign["plain"]:
            chunks[-1] += re.escape(sign["plain"][-1])
        else:
            inside = _inside(sign["set"])
            if inside is None:
                return None
            chunks[-1] += f"[{'^' * bool(sign['negated'])}{inside}]"
    # Taking the first match of a chunk is enough, except for the last chunk, which must end the name.
    first, *others = chunks
    middle = "".join(f"(?>.*?{chunk})" for chunk in others[:-1])
    return re.compile(first + middle + (f".*{others[-1]}" if others else "") + r"\Z", re.DOTALL)


def _inside(content: str) -> str | None:
    """Translate the contents of brackets. Returns None for an unknown class."""
    found = ""
    for name, low, high, single in _IN_SET.findall(content):
        if name and name not in _CLASSES:
            return None
        found += _CLASSES.get(name, "") + re.escape(single[-1:] or low[-1:])
        if low and low[-1] <= high[-1]:  # of a reversed range, git only takes the start
            found += f"-{re.escape(high[-1])}"
    return found


Chain = tuple[Patterns, ...]
"""The ignore files that apply to a folder; later ones override earlier ones."""


def ignored(path: str, is_folder: bool, chain: Chain) -> bool:
    """Return whether a path is ignored, provided that its folder is not."""
    for patterns in reversed(chain):
        verdict = patterns.verdict(path, is_folder)
        if verdict is not None:
            return verdict
    return False


def repository(folder: str) -> str | None:
    """Return the nearest folder with a `.git`: this one or one above it."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def chain_in(folder: str, above: Chain, names: Iterable[str]) -> Chain:
    """Return the ignore files that apply in a folder with these names in it; a nested repository starts afresh."""
    chain = above
    if ".git" in names:
        chain = tuple(_read(folder, _exclude_file(folder)))
    if ".gitignore" in names:
        chain = (*chain, *_read(folder, os.path.join(folder, ".gitignore")))
    return chain


def chain_above(folder: str, top: str) -> tuple[Chain, bool]:
    """Return the ignore files of all folders from `top` down to a folder, and whether they ignore the folder itself."""
    inside = os.path.relpath(folder, top)
    if inside == os.curdir or inside.startswith(os.pardir):
        return (), False
    chain: Chain = ()
    here = top
    for part in inside.split(os.sep):
        names = [name for name in (".git", ".gitignore") if os.path.lexists(os.path.join(here, name))]
        chain = chain_in(here, chain, names)
        here = os.path.join(here, part)
        if ignored(here, True, chain):
            return chain, True
    return chain, False


def _read(folder: str, path: str) -> list[Patterns]:
    try:  # as in git, an ignore file that is a symbolic link is not followed
        data = read_limited(path, _LARGEST, follow_links=False)
    except (OSError, ValueError):
        return []
    lines = data.decode("utf-8-sig", "surrogateescape").split("\n")
    patterns = Patterns(folder, [line.removesuffix("\r") for line in lines])
    return [patterns] if patterns else []


def _exclude_file(folder: str) -> str:
    """Return the path of a repository's exclude file. In a worktree or submodule, `.git` is a file with a path."""
    git = os.path.join(folder, ".git")
    if os.path.isfile(git):
        git = os.path.join(folder, _line(git).removeprefix("gitdir:").strip())
        common = _line(os.path.join(git, "commondir"))
        git = os.path.join(git, common) if common else git
    return os.path.join(git, "info", "exclude")


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""
