"""What git ignores: `.gitignore` in every folder from the repository's top down, and `.git/info/exclude`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence

__all__ = ["Chain", "Memory", "Patterns", "chain_above", "chain_in", "ignored", "repository"]

Memory = dict[str, dict[str, bool | None]]
"""What lists of patterns said of paths before: digest of the list -> path -> verdict. Patterns and paths decide it
alone, so it never grows stale; with it at hand, nothing has to be compiled."""

_Rule = tuple[re.Pattern[str], bool]


class Patterns:
    """The lines of one ignore file, and the folder that they are relative to."""

    def __init__(self, folder: str, lines: Sequence[str], memory: Memory | None = None) -> None:
        self.folder = folder.rstrip(os.sep)
        self.lines = lines
        digest = hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        self._known = {} if memory is None else memory.setdefault(digest, {})
        self._rules: list[_Rule] | None = None

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Whether the lines ignore an absolute path (True), take it back in (False), or do not speak of it (None)."""
        inside = path[len(self.folder) + 1 :].replace(os.sep, "/") + ("/" if is_folder else "")
        if inside not in self._known:
            if self._rules is None:
                self._rules = _compile(self.lines)
            self._known[inside] = _judge(self._rules, inside)
        return self._known[inside]


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


def chain_in(folder: str, above: Chain, names: Iterable[str], memory: Memory | None) -> Chain:
    """Return what holds in a folder with these names in it: another repository begins anew."""
    chain = above
    if ".git" in names:
        chain = tuple(_read(folder, _exclude_file(folder), memory))
    if ".gitignore" in names:
        chain = (*chain, *_read(folder, os.path.join(folder, ".gitignore"), memory))
    return chain


def chain_above(folder: str, top: str, memory: Memory | None) -> tuple[Chain, bool]:
    """Return what holds above a folder, from `top` down, and whether it is ignored there together with all in it."""
    inside = os.path.relpath(folder, top)
    if inside == os.curdir or inside.startswith(os.pardir):
        return (), False
    chain: Chain = ()
    here = top
    for part in inside.split(os.sep):
        names = [name for name in (".git", ".gitignore") if os.path.lexists(os.path.join(here, name))]
        chain = chain_in(here, chain, names, memory)
        here = os.path.join(here, part)
        if ignored(here, True, chain):
            return chain, True
    return chain, False


def _compile(lines: Sequence[str]) -> list[_Rule]:
    """Read patterns; the last comes first. As git does, pass over lines that mean nothing."""
    try:
        return _rules(lines)
    except (ValueError, re.error):
        return [rule for line in reversed(lines) for rule in _rules_or_none(line)]


def _rules_or_none(line: str) -> list[_Rule]:
    try:
        return _rules([line])
    except (ValueError, re.error):
        return []


def _rules(lines: Sequence[str]) -> list[_Rule]:
    from pathspec import GitIgnoreSpec

    rules: list[_Rule] = []
    # `a/**/` is every folder below `a`, and to pathspec `a` itself.
    lines = [f"{line}*/" if line.endswith("/**/") else line for line in lines]
    for pattern in GitIgnoreSpec.from_lines(lines).patterns:
        if pattern.include is not None and pattern.regex is not None:
            text = pattern.regex.pattern
            # What pathspec makes of `a` also matches all that lies in a folder `a`, and the folder's slash is a group
            # then. To git a pattern says something of `a` alone, and what lies in it is not even looked at.
            rules.append((re.compile(rf"(?:{text})\Z" if pattern.regex.groupindex else text), pattern.include))
    return rules[::-1]


def _judge(rules: list[_Rule], path: str) -> bool | None:
    for regex, ignores in rules:
        match = regex.search(path)
        if match is not None and (match.end() < len(path) or regex.pattern.endswith(r"\Z") or regex.pattern == "."):
            return ignores
    return None


def _read(folder: str, path: str, memory: Memory | None) -> list[Patterns]:
    # As git does, a link in the place of an ignore file is not followed.
    if os.path.islink(path) or not os.path.isfile(path):
        return []
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [line for line in file.read().splitlines() if line.strip() and not line.startswith("#")]
    except OSError:
        return []
    return [Patterns(folder, lines, memory)] if lines else []


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
