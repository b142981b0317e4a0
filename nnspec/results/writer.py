"""Text generation with a trained network: each character or word is sampled from the predicted distribution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nnspec.checker.program import Experiment
from nnspec.data.vocabulary import UNKNOWN, Alphabet, joined, words_of
from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnspec.engine.network import NumpyMLP

__all__ = ["USUAL_LENGTH", "Writer", "writer_of"]

USUAL_LENGTH = 400
"""The default number of characters to write."""
USUAL_WORDS = 100
"""The default number of words to write."""


@dataclass(frozen=True)
class Writer:
    """A network that predicts the next character or word at each position of a window, and generates text with it."""

    network: NumpyMLP
    alphabet: Alphabet
    """The character or word of each id, in order."""
    entry: tuple[int, ...]
    """The network's input shape; a window has as many units as this has elements."""
    lines: bool = False
    """Whether it was trained on lines, each of which begins and ends with id 0."""

    @property
    def usual_length(self) -> int:
        """The number of characters or words to write by default."""
        return USUAL_LENGTH if isinstance(self.alphabet, str) else USUAL_WORDS

    def write(self, length: int | None = None, prompt: str = "", *, temperature: float = 0.8, seed: int = 0) -> str:
        """Return `length` characters or words that follow `prompt`, or begin a line if it is empty; by default 400 or
        100. A network that was trained on lines writes whole ones, each by itself, up to at least this length.

        The network sees as many of the last units as fit in its window, of lines those of the line. If there are fewer,
        they fill its beginning, and the outputs after them are ignored: in a causal network, later positions do not
        affect earlier ones. A unit with logit z is sampled with probability proportional to exp(z / temperature); at
        temperature 0 the most likely one is taken. Unknown words are never written. Raises ValueError for a negative
        length or temperature, and for a character in the prompt that is not in the training data.
        """
        length = self.usual_length if length is None else length
        if length < 0 or not temperature >= 0:
            raise ValueError("`length` and `temperature` must be at least 0")
        ids = self._beginning(prompt)
        start, rng = len(ids), stream(seed, Stream.SAMPLE)
        line = 0  # where the line begins
        while len(ids) - start < length or (self.lines and length and ids[-1] != 0):
            full = self.lines and len(ids) - line > prod(self.entry)
            ids.append(0 if full else _draw(self._expected(ids[line:]), temperature, rng))
            if self.lines and ids[-1] == 0:
                line = len(ids) - 1
        return joined([self.alphabet[i] for i in ids[start:]], self.alphabet)

    def _beginning(self, prompt: str) -> list[int]:
        """Return the ids of a prompt. Raises ValueError for unknown characters."""
        places = {unit: place for place, unit in enumerate(self.alphabet)}
        if not isinstance(self.alphabet, str):
            ids = [places.get(word, places[UNKNOWN]) for word in words_of(prompt)]
            return [0, *ids] if self.lines else ids or [places.get(".", 0)]
        unknown = sorted(set(prompt) - set(self.alphabet))
        if unknown:
            raise ValueError(f"these characters do not occur in the training data: {', '.join(map(repr, unknown))}")
        ids = [places[character] for character in prompt]
        return [0, *ids] if self.lines else ids or [places.get("\n", 0)]

    def _expected(self, ids: list[int]) -> NDArray[np.float64]:
        """Return the logits of the next unit."""
        window = np.zeros((1, prod(self.entry)), self._dtype)
        seen = ids[-window.size :]
        window[0, : len(seen)] = seen
        outputs = self.network.forward(window.reshape(1, *self.entry))
        logits: NDArray[np.float64] = outputs[0, len(seen) - 1, : len(self.alphabet)].astype(np.float64)
        if not isinstance(self.alphabet, str):
            logits[self.alphabet.index(UNKNOWN)] = -np.inf
        return logits

    @property
    def _dtype(self) -> np.dtype[np.floating]:
        return self.network.parameters()[0].data.dtype


def _draw(logits: NDArray[np.float64], temperature: float, rng: Generator) -> int:
    """Sample an index with probability ∝ exp(logit / temperature); always consumes exactly one random number."""
    chance = rng.random()
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature makes differences −inf, whose odds are 0
        odds = np.exp((logits - logits.max()) / temperature)
    sums = np.cumsum(odds)
    return min(int(np.searchsorted(sums, chance * sums[-1], side="right")), len(logits) - 1)


def writer_of(experiment: Experiment, network: NumpyMLP, alphabet: Alphabet | None) -> Writer | None:
    """Return a writer for a network; None if it was not trained to predict the next unit at each position with a
    classification loss."""
    loss, entry = experiment.loss.part, experiment.layers[0].incoming
    learns = experiment.train.target == "labels" and loss.targets == "classes"
    tells = experiment.outputs[:-1] == experiment.target == (prod(entry),)
    return Writer(network, alphabet, entry, experiment.facts.lines) if alphabet and learns and tells else None
