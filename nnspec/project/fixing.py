"""Applying fixes to a file, until none are left and only if they improve it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nnspec.diagnostics.diagnostic import Diagnostic, Fix
from nnspec.diagnostics.fixes import applicable, put_in
from nnspec.diagnostics.source import Source

__all__ = ["MOST_ROUNDS", "Fixed", "apply_fixes", "difference", "write"]

MOST_ROUNDS = 10
"""Maximum number of rounds: a fix may enable another, but two that undo each other would never finish."""

_MOST_CHECKED = 1_000_000
"""Maximum number of characters to check while trying fixes one by one: in a large file, not all fixes are tried."""

_OF_DATA = "NN502"
"""Errors in data files, which are only found once the settings of the source are correct; no fix can cause them."""

Check = Callable[[Source], Sequence[Diagnostic]]


class Fixed(NamedTuple):
    """A fixed text and its remaining findings."""

    source: Source
    applied: tuple[Fix, ...]
    diagnostics: Sequence[Diagnostic]


def apply_fixes(source: Source, found: Sequence[Diagnostic], check: Check, unsafe: bool = False) -> Fixed:
    """Apply fixes to a text and check it, repeatedly, until there is nothing left to fix.

    A fix is dropped if it causes a new error, other than one in a data file that can only now be read. The text is
    returned unchanged if fixing reduces neither errors nor warnings, or if it has too many findings to list (NN903).

    Args:
        source: the text.
        found: its findings.
        check: returns the findings of a text.
        unsafe: also apply fixes that may change the meaning of the spec.
    """
    state = Fixed(source, (), found)
    if any(d.code == "NN903" for d in found):
        return state
    dropped: set[tuple[object, ...]] = set()
    tries = max(_MOST_CHECKED // (len(source.text) + 1), 1)
    for _ in range(min(MOST_ROUNDS, max(tries, 2))):
        wanted = [d for d in state.diagnostics if d.fix is None or _key(d.fix) not in dropped]
        fixes = applicable(state.source, wanted, unsafe)
        if not fixes:
            break
        better = _try(state, fixes, check)
        if better is None:
            tried = fixes[:tries]
            tries = max(tries - len(tried), 1)
            good = [fix for fix in tried if len(fixes) > 1 and _try(state, [fix], check)]
            dropped |= {_key(fix) for fix in fixes if fix not in good}
            better = _try(state, good, check) or _try(state, good[:1], check)
        state = better or state
    return state if _weight(state.diagnostics) < _weight(found) else Fixed(source, (), found)


def _try(state: Fixed, fixes: list[Fix], check: Check) -> Fixed | None:
    """Return the text with fixes, or None if they cause an error."""
    old = state.source
    new = Source(old.name, put_in(old, fixes), old.folder, old.bom)
    found = check(new)
    before, after = _errors(state.diagnostics), _errors(found)
    return None if after - before else Fixed(new, (*state.applied, *fixes), found)


def _errors(found: Sequence[Diagnostic]) -> Counter[tuple[str, str]]:
    return Counter((d.code, d.message) for d in found if d.severity == "error" and d.code != _OF_DATA)


def _weight(found: Sequence[Diagnostic]) -> tuple[int, int]:
    return sum(_errors(found).values()), len(found)


def _key(fix: Fix) -> tuple[object, ...]:
    """Return a key that identifies a fix even after the text before it has changed."""
    return (fix.message, *((edit.span.text, edit.text) for edit in fix.edits))


def write(source: Source) -> None:
    """Write a text back to its file, keeping symbolic links and permissions.

    Raises OSError if it cannot be written; the file is then unchanged.
    """
    from nnspec.files import rewrite

    rewrite(Path(source.name), ("\ufeff" * source.bom + source.text).encode("utf-8"))


def difference(old: Source, new: Source) -> str:
    """Return the changes as a unified diff, or an empty string if there are none."""
    import difflib

    lines = difflib.unified_diff(_lines(old), _lines(new), old.name, new.name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(source: Source) -> list[str]:
    return list(_split(source.text))


def _split(text: str) -> Iterator[str]:
    """Yield lines with their ends. Unlike `splitlines`, split only at the line ends of a diff."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
