"""Text by characters: the network predicts the next character at every position of a window."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY
from typing import IO, TYPE_CHECKING, Annotated, Any

from nnspec.data.files import changed, decoded, digest_of, open_file, remembered, shown
from nnspec.data.source import Access, Dataset, DataSource, Facts, FileFault, Split
from nnspec.data.splitting import Share, shares
from nnspec.engine._numpy import np
from nnspec.engine.part import Also, Count, FilePath, Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Text"]

MOST_BYTES = 1 << 30
MOST_STORED = 1 << 30  # bytes of all windows
_LISTED = 8
_LONG = 1 << 19


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
    """

    spec_name = "Text"
    also = ("Characters", "CharDataset", "TextFile", "Shakespeare", "TinyShakespeare")

    path: Annotated[FilePath, Also("file", "filename", "text")]
    context: Annotated[int, Range(low=1, high=65_536), Also("block_size", "seq_len", "window", "length")] = 64
    _: KW_ONLY
    test: Share = 0.1
    stride: Annotated[Count | None, Also("step", "hop")] = None

    def looks_at(self) -> tuple[str, ...]:
        """The text."""
        return (self.path,)

    def facts(self) -> Facts:
        """Count the windows in both parts of the text; each character of the alphabet is a class.

        Raises FileFault for a file that is not text, has fewer than two distinct characters, or is too short.
        """
        alphabet, length = remembered(self._survey, self.path, MOST_BYTES)
        train, test = shares(length, self.test)
        counts = self._windows(train), self._windows(test)
        if not counts[0] or (self.test and not counts[1]):
            part, held = ("training", train) if not counts[0] else ("test", test)
            raise FileFault(
                f"the {part} part of the text has {held:,} characters, and a window takes {self.context + 1:,}: "
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
        alphabet, length = remembered(self._survey, self.path, MOST_BYTES)
        ids = self._ids(alphabet, facts.stored, length)
        border = shares(length, self.test)[0]
        train, test = self._split(ids[:border]), self._split(ids[border:])
        return Dataset(
            source=self.spec_name,
            facts=facts,
            train=train,
            test=test,
            divisor=1.0,
            sha256=digest_of((train.x, train.y, test.x, test.y)),
            origin=os.path.abspath(self.path),
            alphabet=alphabet,
            notes=_unseen(ids[:border], ids[border:], alphabet),
        )

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
    return (f"{len(unseen):,} {what} of the test text, {times:,} in all, do not occur in training: {listed}{more}",)
