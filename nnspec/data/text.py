"""Text by characters or words: the network predicts the next one at every position of a window, or of a line."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from nnspec.data.files import changed, decoded, digest_of, open_file, remembered, shown
from nnspec.data.source import Access, Dataset, DataSource, Facts, FileFault, Split
from nnspec.data.splitting import Seed, Share, divided, shares
from nnspec.data.vocabulary import (
    END,
    UNKNOWN,
    USUAL_WORDS,
    Alphabet,
    Unit,
    VocabularySize,
    lines_of,
    most_frequent,
    words_of,
)
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Text"]

MOST_BYTES = 1 << 30
MOST_STORED = 1 << 30  # bytes of all windows
MOST_UNITS = 1 << 26  # bytes of a text that is read word by word or line by line
_LISTED = 8
_LONG = 1 << 19


class _Units(NamedTuple):
    """A text that is read word by word or line by line."""

    alphabet: Alphabet
    ids: array[int]
    """The id of every word, or of every unit of every line."""
    lengths: array[int]
    """The number of units of each line that is not empty."""
    order: Sequence[int]
    """Of lines, those for training and then those for testing; empty for windows."""
    train: int
    """How many lines or words are for training."""
    longest: int
    """The number of the longest line in the file."""


class Text(DataSource):
    """A text file as characters, in windows: sample i is the `context` characters from i · `stride` on, and its target
    is the same window shifted by one: targets[t] = text[i · stride + t + 1].

    The alphabet is every character in the file, sorted by code point; x and y hold indices into it, so `facts.classes`
    is its length and both have shape `(context,)`. The last fraction `test` of the text is the test set; no window
    crosses the border. `stride` is `context` by default: windows do not overlap, so each character is read once and
    predicted once per epoch. A smaller stride gives more windows of the same text.

    The file is UTF-8, at most 1 GiB; a byte order mark is ignored, and every line end becomes "\n". It is read in
    chunks and kept as one byte per character (two if there are more than 256 distinct ones); where `stride` is
    `context`, windows share this memory.

    With `unit = word`, everything counts words: runs of letters and digits in lower case, and punctuation marks. The
    alphabet is then the most frequent words of the training part, at most `vocabulary` with the first, which replaces
    all others. With `sample = line`, a sample is a line, from the id 0 before its first unit to the same id as the
    target of its last, as in Karpathy's makemore. Shorter lines are filled with 0 after their end, and the targets
    there do not count. Lines are shuffled by `seed` before they are split; none may have more than `context` - 1 units.
    Such files have at most 64 MiB.
    """

    spec_name = "Text"
    also = ("Characters", "CharDataset", "TextFile", "Shakespeare", "TinyShakespeare")

    path: Annotated[FilePath, Also("file", "filename", "text")]
    context: Annotated[int, Range(low=1, high=65_536), Also("block_size", "seq_len", "window", "length")] = 64
    _: KW_ONLY
    test: Share = 0.1
    stride: Annotated[Count | None, Also("step", "hop")] = None
    unit: Unit = "character"
    vocabulary: VocabularySize = None
    sample: Annotated[Literal["window", "line"], Also("samples", "row", "per")] = "window"
    shuffle: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Raise ValueError for arguments that exclude each other."""
        if self.vocabulary is not None and self.unit == "character":
            raise ValueError("`vocabulary` is for words: with `unit=character`, every character has an id")
        if self.sample == "line" and self.stride is not None:
            raise ValueError("`stride` is for windows: with `sample=line`, each line is one sample")
        if self.sample == "window" and (self.seed or not self.shuffle):
            raise ValueError(
                "`shuffle` and `seed` are for `sample=line`: windows always keep the order of the text; remove them"
            )

    def looks_at(self) -> tuple[str, ...]:
        """The text."""
        return (self.path,)

    def facts(self) -> Facts:
        """Count the windows in both parts of the text; each character of the alphabet is a class.

        Raises FileFault for a file that is not text, has fewer than two distinct characters, or is too short, and for a
        line that is too long.
        """
        if self.sample == "line":
            return self._facts_of_lines()
        alphabet, length = self._alphabet_and_length()
        train, test = shares(length, self.test)
        counts = self._windows(train), self._windows(test)
        if not counts[0] or (self.test and not counts[1]):
            part, held = ("training", train) if not counts[0] else ("test", test)
            raise FileFault(
                f"the {part} part of the text has {held:,} {self.unit}s, and a window takes {self.context + 1:,}: "
                f"`context` and the one that follows",
                argument="context",
                help="a smaller `context`, a longer text" + ("" if not counts[0] else ", or a larger `test`"),
            )
        size = (2 * sum(counts) * self.context if self._copies else length) * (1 if len(alphabet) <= 256 else 2)
        if size > MOST_STORED:
            what = "these windows would take" if self._copies else "this text would take"
            message = f"{what} {size / 2**30:.1f} GiB; the limit is 1 GiB"
            help = "use a larger `stride`" if self._copies else "use a shorter text"
            raise FileFault(message, argument="stride" if self.stride else "path", help=help)
        stored = "uint8" if len(alphabet) <= 256 else "uint16"
        return Facts(
            (self.context,),
            len(alphabet),
            *counts,
            stored=stored,
            target=(self.context,),
            tokens=len(alphabet),
            predicts_next=True,
            ordered=not self._copies,
        )

    def load(self, access: Access) -> Dataset:
        """Read the text. `access` is not used: the path says where it is.

        Raises DataError for whatever `facts` rejects, and where the file changes in the meantime.
        """
        facts = self.facts()
        alphabet: Alphabet
        if self.sample == "line":
            alphabet = self._units().alphabet
            first, second = self._lines(facts)
            train, test = (_shifted(rows, facts.stored) for rows in (first, second))
            parts = first[first > 0], second[second > 0]
        else:
            alphabet, length = self._alphabet_and_length()
            if isinstance(alphabet, str):
                ids = self._ids(alphabet, facts.stored, length)
            else:
                ids = np.array(self._units().ids, facts.stored)
            border = shares(length, self.test)[0]
            train, test = self._split(ids[:border]), self._split(ids[border:])
            parts = ids[:border], ids[border:]
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=1.0,
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=os.path.abspath(self.path),
            alphabet=alphabet,
            notes=_unseen(*parts, alphabet) if isinstance(alphabet, str) else _unknown(*parts, alphabet),
        )

    def _facts_of_lines(self) -> Facts:
        units = self._units()
        places, alphabet = max(units.lengths) + 1, len(units.alphabet)
        if places > self.context:
            message = (
                f"line {units.longest:,} has {places - 1:,} {self.unit}s, and `context` holds {self.context - 1:,} and "
                f"the end of the line"
            )
            raise FileFault(message, argument="context", help=f"`context={places}` holds every line")
        count, stored = len(units.lengths), "uint8" if alphabet <= 256 else "uint16"
        size = count * places * ((1 if stored == "uint8" else 2) + 4)
        if size > MOST_STORED:
            message = f"these lines would take {size / 2**30:.1f} GiB, each as long as the longest; the limit is 1 GiB"
            raise FileFault(message, help="use shorter lines")
        return Facts(
            (places,),
            alphabet,
            units.train,
            count - units.train,
            stored=stored,
            target=(places,),
            tokens=alphabet,
            predicts_next=True,
            shuffled=self.shuffle,
            lines=True,
            ignores=True,
        )

    def _lines(self, facts: Facts) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the lines for training and for testing: 0, the ids of the units, and 0; -1 after the end."""
        units = self._units()
        lengths, ids = np.array(units.lengths), np.array(units.ids)
        rows = np.full((len(lengths), facts.shape[0] + 1), -1, np.int32)
        places = np.arange(facts.shape[0] + 1)
        rows[:, 0] = 0
        rows[(places > 0) & (places <= lengths[:, None])] = ids
        rows[np.arange(len(rows)), lengths + 1] = 0
        order = np.array(units.order)
        return rows[order[: units.train]], rows[order[units.train :]]

    def _alphabet_and_length(self) -> tuple[Alphabet, int]:
        """Return the unit of each id, and how many units there are."""
        if self.unit == "character":
            return remembered(self._survey, self.path, MOST_BYTES)
        units = self._units()
        return units.alphabet, len(units.ids)

    def _units(self) -> _Units:
        """Return the text word by word or line by line."""
        key = self.unit, self.sample, self.vocabulary, self.test, self.shuffle, self.seed
        return remembered(self._read, self.path, MOST_UNITS, *key, entries=4)

    def _read(self, file: IO[bytes]) -> _Units:
        """Read the units of an open text, and choose those that have ids: all characters, or words of the training
        part.
        """
        numbers: dict[str, int] = {}
        found, lengths = array("i"), array("i")
        longest = (0, 0)
        for number, line in enumerate(lines_of(decoded(file, self.path, MOST_UNITS)), 1):
            units = line if self.unit == "character" else words_of(line)
            if units:
                found.extend(numbers.setdefault(unit, len(numbers)) for unit in units)
                lengths.append(len(units))
                longest = max(longest, (len(units), -number))
        self._refuse_too_few(len(numbers), len(lengths))
        lines = self.sample == "line"
        train, held = shares(len(lengths) if lines else len(found), self.test)
        order: Sequence[int] = ()
        learned: Sequence[int] = found[:train]
        if lines:
            first, second = divided(train + held, held, self.seed if self.shuffle else None)
            order = array("i", [*first.tolist(), *second.tolist()])
            learned = _of_lines(found, lengths, order[:train])
        names = list(numbers)
        alphabet: Alphabet
        if self.unit == "character":
            alphabet = END + "".join(sorted(names))
        else:
            most = (self.vocabulary or USUAL_WORDS) - (2 if lines else 1)
            words = most_frequent((names[number] for number in learned), most)
            alphabet = (*([END] if lines else []), UNKNOWN, *words)
        ids = {unit: i for i, unit in enumerate(alphabet)}
        table = [ids[name] if name in ids else ids[UNKNOWN] for name in names]
        return _Units(alphabet, array("i", [table[number] for number in found]), lengths, order, train, -longest[1])

    def _refuse_too_few(self, units: int, lines: int) -> None:
        """Raise FileFault for a text in which there is nothing to learn."""
        if units < 2:
            what = "is empty" if not units else f"holds a single {self.unit} over and over"
            raise FileFault(f"{shown(self.path)} {what}, so there is nothing to learn")
        if self.sample == "line" and lines < 2:
            raise FileFault(f"{shown(self.path)} has a single line, and at least two are needed")

    @property
    def _copies(self) -> bool:
        """Whether windows are copies, because they overlap or skip characters."""
        return self.stride is not None and self.stride != self.context

    def _windows(self, length: int) -> int:
        """How many windows fit into `length` characters."""
        return max(length - self.context - 1, -1) // (self.stride or self.context) + 1

    def _split(self, ids: NDArray[Any]) -> Split:
        """Return windows and their targets: views of `ids` where windows do not overlap, otherwise copies."""
        if not self._copies:
            count = self._windows(len(ids))
            x, y = (ids[start : start + count * self.context].reshape(count, self.context) for start in (0, 1))
            return Split(x, y)
        both = np.lib.stride_tricks.sliding_window_view(ids, self.context + 1)[:: self.stride]
        return Split(np.ascontiguousarray(both[:, :-1]), np.ascontiguousarray(both[:, 1:]))

    def _survey(self, file: IO[bytes]) -> tuple[str, int]:
        """Return the alphabet and the length of an open text."""
        seen: set[str] = set()
        length = 0
        for piece in decoded(file, self.path, MOST_BYTES):
            seen |= _characters(piece)
            length += len(piece)
        if len(seen) < 2:
            what = "is empty" if not seen else "holds a single character over and over"
            raise FileFault(f"{shown(self.path)} {what}, so there is nothing to learn")
        if len(seen) > 1 << 16:
            raise FileFault(
                f"{shown(self.path)} has {len(seen):,} different characters, but at most 65,536 are allowed"
            )
        return "".join(sorted(seen)), length

    def _ids(self, alphabet: str, stored: str, length: int) -> NDArray[Any]:
        """Return the alphabet index of every character. Raises DataError if the length has changed since."""
        places = np.zeros(0x110000, dtype=stored)
        places[[ord(character) for character in alphabet]] = np.arange(len(alphabet), dtype=stored)
        ids, at = np.empty(length, stored), 0
        with open_file(self.path, MOST_BYTES) as file:
            for piece in decoded(file, self.path, MOST_BYTES):
                if at + len(piece) > length:
                    break
                ids[at : at + len(piece)] = places[np.frombuffer(piece.encode("utf-32-le"), np.uint32)]
                at += len(piece)
            else:
                if at == length:
                    return ids
        raise changed(self.path)


def _of_lines(units: array[int], lengths: array[int], chosen: Sequence[int]) -> Sequence[int]:
    """Return the units of some lines, in the order of the text."""
    wanted, kept, start = set(chosen), array("i"), 0
    for line, length in enumerate(lengths):
        if line in wanted:
            kept.extend(units[start : start + length])
        start += length
    return kept


def _shifted(rows: NDArray[Any], stored: str) -> Split:
    """Return lines as samples and targets: rows `(n, T + 1)` without the last position, filled with 0, and without the
    first one.
    """
    return Split(np.maximum(rows[:, :-1], 0).astype(stored), np.ascontiguousarray(rows[:, 1:]))


def _unknown(train: NDArray[Any], test: NDArray[Any], alphabet: Alphabet) -> tuple[str, ...]:
    """Return a note on words outside the vocabulary."""
    unknown = alphabet.index(UNKNOWN)
    counts = {
        f"{int((part == unknown).sum()):,} of {part.size:,} {name} words ({(part == unknown).mean():.1%})": part
        for name, part in (("training", train), ("test", test))
        if (part == unknown).any()
    }
    which = f"are not among the {len(alphabet) - 1 - unknown:,} words with an id of their own"
    return (f"{' and '.join(counts)} {which}",) if counts else ()


def _characters(piece: str) -> set[str]:
    """Return the different characters of a piece of text: short ones without NumPy, to keep `check` light."""
    if len(piece) < _LONG:
        return set(piece)
    return set(map(chr, np.flatnonzero(np.bincount(np.frombuffer(piece.encode("utf-32-le"), np.uint32)))))


def _unseen(train: NDArray[Any], test: NDArray[Any], alphabet: str) -> tuple[str, ...]:
    """Return a note on characters of the test part that do not occur in training, which no network can have learned."""
    counts = (np.zeros(len(alphabet), np.int64), np.zeros(len(alphabet), np.int64))
    for part, count in zip((train, test), counts, strict=True):
        for start in range(0, len(part), 1 << 20):
            count += np.bincount(part[start : start + (1 << 20)], minlength=len(alphabet))
    unseen = np.flatnonzero((counts[0] == 0) & (counts[1] > 0))
    if not len(unseen):
        return ()
    listed = ", ".join(
        ascii(alphabet[i]) if not alphabet[i].isprintable() else repr(alphabet[i]) for i in unseen[:_LISTED]
    )
    more = f" and {len(unseen) - _LISTED:,} more" if len(unseen) > _LISTED else ""
    what = "characters" if len(unseen) > 1 else "character"
    times = int(counts[1][unseen].sum())
    occurs = "do not occur" if len(unseen) > 1 else "does not occur"
    return (f"{len(unseen):,} {what} of the test text, {times:,} in all, {occurs} in training: {listed}{more}",)
