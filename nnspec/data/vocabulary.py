"""Words and other units of text as ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from nnspec.engine.part import Also, Range

__all__ = [
    "END",
    "MOST_WORDS",
    "UNKNOWN",
    "USUAL_WORDS",
    "Alphabet",
    "Unit",
    "VocabularySize",
    "joined",
    "lines_of",
    "most_frequent",
    "words_of",
]

MOST_WORDS = 65_536
USUAL_WORDS = 10_000
"""How many ids there are at most, unless a spec says so."""
UNKNOWN = "<unknown>"
"""The unit that replaces all words outside the vocabulary. No word looks like it, since `<` is a word by itself."""
END = "\n"
"""The end of a line, which is also the id before its first unit."""

Unit = Annotated[Literal["character", "word"], Also("token", "tokens", "level", "by")]
VocabularySize = Annotated[
    int | None, Range(low=3, high=MOST_WORDS), Also("vocab_size", "max_tokens", "num_words", "words", "max_features")
]
Alphabet = str | tuple[str, ...]
"""The unit of each id, in order: of characters a string, of words a tuple."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_NO_SPACE_BEFORE, _NO_SPACE_AFTER = frozenset(".,;:!?)]}%…’”"), frozenset("([{“‘$£€#")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case: runs of letters, digits and underscores, with apostrophes inside, and
    every other character that is not white space by itself.

    As torchtext's `basic_english` separates punctuation; Keras's `TextVectorization` removes it.
    """
    return _WORD.findall(text.lower())


def joined(units: Sequence[str], alphabet: Alphabet) -> str:
    """Return units as text: words with spaces between them, except beside punctuation."""
    if isinstance(alphabet, str):
        return "".join(units)
    text, quoted, touches = "", False, True
    for unit in units:
        closes = unit == END or unit in _NO_SPACE_BEFORE or (unit == '"' and quoted)
        text += unit if touches or closes else f" {unit}"
        quoted = quoted != (unit == '"') and unit != END
        touches = unit == END or unit in _NO_SPACE_AFTER or (unit == '"' and quoted)
    return text


def most_frequent(words: Iterable[str], most: int) -> list[str]:
    """Return at most so many words, the most frequent first, and equally frequent ones in alphabetical order."""
    counts = Counter(words)
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """Join pieces of a text and yield its lines, without their ends."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
    yield rest
