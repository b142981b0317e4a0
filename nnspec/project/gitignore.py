"""What git ignores: `.gitignore` in every folder from the repository's top down, and `.git/info/exclude`.

The rules are those of gitignore(5), one path at a time: a pattern says something of a path alone, nothing in an ignored
folder is looked at, and what is in a folder that was taken back in is judged by itself.
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
_LONGEST = 4096  # characters of a line: no path is longer
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
    """Whether it ignores what matches; after a `!` it takes that back in."""
    folders_only: bool


class Patterns:
    """The lines of one ignore file, and the folder that they are relative to."""

    def __init__(self, folder: str, lines: Iterable[str]) -> None:
        self.folder = folder.rstrip(os.sep)
        self._rules = [rule for rule in map(_rule, lines) if rule][::-1]

    def __bool__(self) -> bool:
        """Whether any line means something."""
        return bool(self._rules)

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Whether the lines ignore an absolute path (True), take it back in (False), or do not mention it (None)."""
        names = _bytes(path[len(self.folder) + 1 :]).split(os.sep)
        for glob, ignores, folders_only in self._rules:
            if (is_folder or not folders_only) and glob.matches(names):
                return ignores
        return None


def _rule(line: str) -> _Rule | None:
    """Read a line. Returns None for a comment, and as git does for a line that cannot match."""
    line = _bytes(line)
    if line.startswith("#") or len(line) > _LONGEST:
        return None
    text = line.rstrip(" ")
    if text != line and (len(text) - len(text.rstrip("\\"))) % 2:  # the first of the spaces is escaped
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
    """Return a text with a character for each byte of its UTF-8: to git, `?` stands for one byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _name(pattern: str) -> re.Pattern[str] | None:
    """Translate a pattern for one name. Returns None for one that is not valid."""
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
    # The first place where a chunk matches is as good as any later one, except for the last chunk, which ends the name.
    first, *others = chunks
    middle = "".join(f"(?>.*?{chunk})" for chunk in others[:-1])
    return re.compile(first + middle + (f".*{others[-1]}" if others else "") + r"\Z", re.DOTALL)


def _inside(content: str) -> str | None:
    """Translate what is in brackets. Returns None for an unknown class."""
    found = ""
    for name, low, high, single in _IN_SET.findall(content):
        if name and name not in _CLASSES:
            return None
        found += _CLASSES.get(name, "") + re.escape(single[-1:] or low[-1:])
        if low and low[-1] <= high[-1]:  # of any other range, git takes the start alone
            found += f"-{re.escape(high[-1])}"
    return found


Chain = tuple[Patterns, ...]
"""Ignore files that hold in a folder, the one that has the last word at the end."""


def ignored(path: str, is_folder: bool, chain: Chain) -> bool:
    """Whether the ignore files say that a path, whose folder they do not ignore, is ignored."""
    for patterns in reversed(chain):
        verdict = patterns.verdict(path, is_folder)
        if verdict is not None:
            return verdict
    return False


def repository(folder: str) -> str | None:
    """Return the nearest folder upwards, this one included, that holds a `.git`."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def chain_in(folder: str, above: Chain, names: Iterable[str]) -> Chain:
    """Return what holds in a folder with these names in it: another repository begins anew."""
    chain = above
    if ".git" in names:
        chain = tuple(_read(folder, _exclude_file(folder)))
    if ".gitignore" in names:
        chain = (*chain, *_read(folder, os.path.join(folder, ".gitignore")))
    return chain


def chain_above(folder: str, top: str) -> tuple[Chain, bool]:
    """Return what holds above a folder, from `top` down, and whether it is ignored there together with all in it."""
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
    try:  # as in git, a link in the place of an ignore file is not followed
        data = read_limited(path, _LARGEST, follow_links=False)
    except (OSError, ValueError):
        return []
    lines = data.decode("utf-8-sig", "surrogateescape").split("\n")
    patterns = Patterns(folder, [line.removesuffix("\r") for line in lines])
    return [patterns] if patterns else []


def _exclude_file(folder: str) -> str:
    """Return where a repository's own exclusions lie; in a worktree or submodule, `.git` is a file that says where."""
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
