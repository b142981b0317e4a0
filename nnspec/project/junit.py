"""Test results as JUnit XML: a testsuite per spec, a testcase per check."""

from __future__ import annotations

import os
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from nnspec.errors import NnspecError
from nnspec.files import output
from nnspec.project.testing import Case, SpecReport, Status

__all__ = ["ReportError", "junit", "refuse_unwritable", "write_junit"]

_ELEMENTS: dict[Status, str] = {"failed": "failure", "error": "error", "skipped": "skipped"}
_COUNTS: dict[Status, str] = {"failed": "failures", "error": "errors", "skipped": "skipped"}
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, not even escaped."""
_COLORS = re.compile("\x1b\\[[0-9;]*m")


class ReportError(NnspecError):
    """A report that cannot be written."""


def junit(tested: Sequence[SpecReport], seconds: float) -> bytes:
    """Return the report."""
    root = ET.Element("testsuites", {"name": "nnspec", **_numbers([c for t in tested for c in t.cases], seconds)})
    for each in tested:
        name = _clean(each.path)
        suite = ET.SubElement(root, "testsuite", {"name": name, **_numbers(each.cases, each.seconds)})
        for case in each.cases:
            where = {"classname": name, "name": _clean(case.name), "time": f"{case.seconds:.3f}"}
            element = ET.SubElement(suite, "testcase", where)
            if case.status in _ELEMENTS:
                detail = _clean(case.detail)
                first = next(iter(detail.splitlines()), "")
                ET.SubElement(element, _ELEMENTS[case.status], {"message": first}).text = detail
        if each.notes:
            ET.SubElement(suite, "system-out").text = _clean("\n".join(each.notes))
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _numbers(cases: Sequence[Case], seconds: float) -> dict[str, str]:
    counts = {word: str(sum(case.status == status for case in cases)) for status, word in _COUNTS.items()}
    return {"tests": str(len(cases)), **counts, "time": f"{seconds:.3f}"}


def _clean(text: str) -> str:
    return _NO_XML.sub("", _COLORS.sub("", text))


def refuse_unwritable(path: Path) -> None:
    """Raise ReportError if a report cannot be written to a path; called before hours of training."""
    place = Path(os.path.realpath(path))
    why = ""
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not place.parent.is_dir():
            why = f"folder not found: {path.parent}"
        elif not os.access(place.parent, os.W_OK | os.X_OK):
            why = f"the folder {path.parent} is read-only"
    except OSError as error:
        why = error.strerror or str(error)
    else:
        if stat.S_ISDIR(mode):
            why = "it is a folder"
        elif not mode & 0o222 or not os.access(place, os.W_OK):
            why = "it is read-only"
    if why:
        raise ReportError(f"{path} cannot be written: {why}")


def write_junit(path: Path, tested: Sequence[SpecReport], seconds: float) -> None:
    """Write the report atomically. Raises ReportError if it cannot be written."""
    data = junit(tested, seconds)
    try:
        with output(path) as file:
            file.write(data)
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror or error}") from None
