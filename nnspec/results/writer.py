"""Text generation with a trained character model: each character is sampled from the predicted distribution."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nnspec.checker.program import Experiment
from nnspec.engine._numpy import np
from nnspec.engine.random import Stream, stream

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnspec.engine.network import NumpyMLP

__all__ = ["USUAL_LENGTH", "Writer", "writer_of"]

USUAL_LENGTH = 400
"""The default number of characters to write."""


@dataclass(frozen=True)
class Writer:
    """A network that predicts the next character at each position of a window, and generates text with it."""

    network: NumpyMLP
    alphabet: str
    """The character of each id, in order."""
    entry: tuple[int, ...]
    """The network's input shape; a window has as many characters as this has elements."""

    def write(self, length: int = USUAL_LENGTH, prompt: str = "", *, temperature: float = 0.8, seed: int = 0) -> str:
        """Return `length` characters that follow `prompt`, or begin a line if it is empty.

        The network sees as many of the last characters as fit in its window. If there are fewer, they fill its
        beginning, and the outputs after them are ignored: in a causal network, later positions do not affect earlier
        ones. A character with logit z is sampled with probability proportional to exp(z / temperature); at temperature
        0 the most likely one is taken. Raises ValueError for a negative length or temperature, and for a character in
        the prompt that is not in the training data.
        """
        if length < 0 or not temperature >= 0:
            raise ValueError("`length` and `temperature` must be at least 0")
        unknown = sorted(set(prompt) - set(self.alphabet))
        if unknown:
            raise ValueError(f"these characters do not occur in the training data: {', '.join(map(repr, unknown))}")
        places = {character: place for place, character in enumerate(self.alphabet)}
        ids = [places[character] for character in prompt] or [places.get("\n", 0)]
        start, rng = len(ids), stream(seed, Stream.SAMPLE)
        for _ in range(length):
            ids.append(_draw(self._expected(ids), temperature, rng))
        return "".join(self.alphabet[i] for i in ids[start:])

    def _expected(self, ids: list[int]) -> NDArray[np.float64]:
        """Return the logits of the next character."""
        window = np.zeros((1, prod(self.entry)), self._dtype)
        seen = ids[-window.size :]
        window[0, : len(seen)] = seen
        outputs = self.network.forward(window.reshape(1, *self.entry))
        return outputs[0, len(seen) - 1, : len(self.alphabet)].astype(np.float64)

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


def writer_of(experiment: Experiment, network: NumpyMLP, alphabet: str | None) -> Writer | None:
    """Return a writer for a network; None if it was not trained to predict the next character at each position with a
    classification loss."""
    loss, entry = experiment.loss.part, experiment.layers[0].incoming
    learns = experiment.train.target == "labels" and loss.targets == "classes"
    tells = experiment.outputs[:-1] == experiment.target == (prod(entry),)
    return Writer(network, alphabet, entry) if alphabet and learns and tells else None
