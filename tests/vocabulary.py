"""The words of the language: the grammar's own, those of the checker's tables, and those of every part."""

from __future__ import annotations

import re

from nnspec.checker.functions import CONSTANTS, FUNCTIONS
from nnspec.checker.vocabulary import DTYPES, LITERALS, SECTIONS, SETTINGS, TRAIN, figures
from nnspec.engine.part import PARTS
from nnspec.syntax.grammar import load
from nnspec.syntax.habits import FOREIGN

__all__ = ["KEYWORDS", "NAMES", "SIGNS", "STRANGE", "VALUES", "vocabulary"]


def _terminals() -> list[str]:
    """Return what the grammar's plain terminals match: keywords and signs."""
    plain = [re.sub(r"\(\?!\\w\)$", "", pattern) for _, pattern in load()["terminals"]]
    unescaped = [re.sub(r"\\(\W)", r"\1", pattern) for pattern in plain if re.fullmatch(r"(?:\w|\\?\W)+", pattern)]
    return [text for text in unescaped if re.fullmatch(r"\w+|\W{1,2}", text)]


def _names() -> list[str]:
    import nnspec.data
    import nnspec.engine  # noqa: F401  (declares all parts)

    arguments = {a.name for kind in PARTS.values() for part in kind.values() for a in part.signature()}
    elsewhere = {name for kind in PARTS.values() for part in kind.values() for name in part.also}
    names = {name for kind in PARTS.values() for name in kind} | arguments | elsewhere
    names |= {*SETTINGS, *SECTIONS, *FUNCTIONS, *CONSTANTS, *figures(), *DTYPES, *FOREIGN, *LITERALS}
    names |= {other for row in SETTINGS.values() for other in row.also}
    names |= {word for argument in TRAIN for word in (argument.name, *argument.also)}
    names |= {"shortcut", "zip", "features", "classes", "shape", "size", "data.features", "data.classes", "x", "é"}
    return sorted(names)


KEYWORDS = [text for text in _terminals() if text.isalpha()]
SIGNS = [*(text for text in _terminals() if not text.isalpha()), "<", "<=", "==", "!=", ">"]
NAMES = _names()
VALUES = [
    *("0", "1", "2", "10", "60_000", "0.5", ".5", "1e-3", "1e400", "-1", "10**9", "10 ** 400", "2**63", "007", "1_"),
    *("'a'", '"a b"', '"x.nn"', '"\\q"', '"', "'", "[1, 2]", "(1,)", "[]", "()", "true", "none", "3x", "1.2.3"),
]
STRANGE = [
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\f",
    "\x0b",
    "\x85",
    "\u2028",
    "\ufeff",
    "\x1b",
    "\u202e",
    "“",
    "”",
    "−",
    "→",
    "$",
]
STRANGE += ["&&", "||", "!", "@", "^", "~", "`", "\\", "?", "🙂", "a\u0301", "# c", "# nn: ignore[NN701]", "//", "/*"]


def vocabulary() -> list[str]:
    """Return all of them."""
    return [*KEYWORDS, *SIGNS, *NAMES, *VALUES, *STRANGE]
