"""Test results as a page of Markdown for a CI job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnspec.files import output, read_limited, utf8
from nnspec.project.junit import ReportError
from nnspec.project.remembering import Difference
from nnspec.project.testing import SpecReport
from nnspec.text import printable

__all__ = ["LARGEST", "page", "write_page"]

LARGEST = 1024**2 - 1024
"""Bytes of a page. GitHub shows no summary of more than 1 MiB."""
_MOST, _LEAST = 64 * 1024**2, 8 * 1024
"""Bytes of a summary to append to, and of a page."""
_LONGEST = 2000
"""Characters of a cell."""
_UNSAFE = re.compile(r"[!-$&'*:-<>-@\[-`{-~]|(?<=[wW]{3})\.")
"""Characters that Markdown, HTML or GitHub might interpret, as links among others; + and - do not begin a line here."""
_COLORS = re.compile("\x1b\\[[0-9;]*m")


def page(tested: Sequence[SpecReport], remarks: Sequence[str], last: str, room: int = LARGEST) -> str:
    """Return the page, of at most `room` bytes: what failed, what changed, remarks, and all specs. What does not fit is
    counted. `last` is the summary line of the terminal."""
    sections: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        ("Failures", ("spec", "test", "detail"), [*_failures(tested)]),
        ("Compared with the baseline", ("spec", "figure", "outcome", "old → new"), [*_changes(tested)]),
        ("Remarks", ("remark",), [(_text(remark),) for remark in remarks]),
        ("Specs", ("spec", "outcome", "lanes", "expectations", "time"), [*map(_spec, tested)]),
    ]
    parts = [f"## nnspec test\n\n{_text(last)}\n"]
    left = room - len(utf8(parts[0])) - 200 * len(sections)  # room for each title and count
    for title, head, rows in sections:
        if rows:
            lines = [f"\n### {title}\n", _row(head), _row(["---"] * len(head))]
            shown = 0
            for row in map(_row, rows):
                left -= len(utf8(row)) + 1
                if left < 0:
                    break
                lines.append(row)
                shown += 1
            more = f"\n… and {len(rows) - shown:,} more" if shown < len(rows) else ""
            parts.append("\n".join(lines) + f"\n{more}\n")
    return "".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return a text that reads the same in Markdown, in HTML and in a cell of a table: what might be interpreted is
    written as an entity, and lines are broken by tags."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    lines = (_UNSAFE.sub(lambda found: f"&#{ord(found[0])};", printable(line)) for line in cut.splitlines())
    return "<br>".join(lines)


def _failures(tested: Sequence[SpecReport]) -> Iterator[tuple[str, ...]]:
    for each in tested:
        for case in each.cases:
            if case.status in ("failed", "error"):
                yield _text(each.path), _text(case.name), _text(_COLORS.sub("", case.detail))


def _changes(tested: Sequence[SpecReport]) -> list[tuple[str, ...]]:
    """Return what is not the same as in the baseline, what matters most first."""
    found = [(each.path, difference) for each in tested for difference in each.memory.differences]
    order = ("not reproduced", "worse", "better", "unclear", "new", "gone")
    return [
        _change(path, difference) for outcome in order for path, difference in found if difference.outcome == outcome
    ]


def _change(path: str, found: Difference) -> tuple[str, ...]:
    detail = f"{found.text}; {found.lack}" if found.lack else found.text
    return _text(path), _text(found.name), found.outcome, _text(detail)


def _spec(tested: SpecReport) -> tuple[str, ...]:
    kinds = {kind: [case for case in tested.cases if case.kind == kind] for kind in ("lane", "expectation")}
    met = sum(case.status == "passed" for case in kinds["expectation"])
    word = "unchanged" if tested.memory.unchanged else tested.status
    return (
        _text(tested.path),
        word if tested.ok else f"**{word}**",
        _text(", ".join(case.name.removesuffix(" trains") for case in kinds["lane"])),
        f"{met} of {len(kinds['expectation'])}" if kinds["expectation"] else "none",
        f"{tested.seconds:.1f} s",
    )


def write_page(path: Path, tested: Sequence[SpecReport], remarks: Sequence[str], last: str) -> None:
    """Write the page atomically; append it if `path` is the summary of a GitHub step, which other commands may have
    begun. Raises ReportError if it cannot be written."""
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        before = b""
        if step and path.exists() and os.path.exists(step) and os.path.samefile(path, step):
            before = read_limited(path, _MOST)
        if len(before) > LARGEST - _LEAST:
            raise ReportError(f"{path} is full: GitHub shows no summary of more than 1 MiB")
        text = page(tested, remarks, last, LARGEST - len(before))
        with output(path) as file:
            file.write(before + utf8(text))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
