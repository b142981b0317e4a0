"""Text that a trained network writes: character after character, each drawn from what the network expects."""

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
"""Characters that are written where nobody says how many."""


@dataclass(frozen=True)
class Writer:
    """A network that tells of each character of a window which one follows, and writes by it."""

    network: NumpyMLP
    alphabet: str
    """The characters that ids stand for, in order."""
    entry: tuple[int, ...]
    """Shape in which a window enters the network; it has as many characters as there are numbers."""

    def write(self, length: int = USUAL_LENGTH, prompt: str = "", *, temperature: float = 0.8, seed: int = 0) -> str:
        """Write `length` characters that follow `prompt`, or where there is none, those that begin a line.

        The network sees the last characters that its window has room for. Where there are fewer, they stand at its
        beginning, and nothing is asked of the places behind them: what comes later may not count for a network that
        tells what follows. A character c with the logit z is drawn with the odds exp(z / temperature); of temperature
        0 the likeliest is taken. Raises ValueError for a negative length or temperature, and for a character of the
        prompt that is not in the training data.
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
        """Return the logits of the character that follows."""
        window = np.zeros((1, prod(self.entry)), self._dtype)
        seen = ids[-window.size :]
        window[0, : len(seen)] = seen
        outputs = self.network.forward(window.reshape(1, *self.entry))
        return outputs[0, len(seen) - 1, : len(self.alphabet)].astype(np.float64)

    @property
    def _dtype(self) -> np.dtype[np.floating]:
        return self.network.parameters()[0].data.dtype


def _draw(logits: NDArray[np.float64], temperature: float, rng: Generator) -> int:
    """Draw a place with the odds exp(logit / temperature); one number is drawn for each, whatever they are."""
    chance = rng.random()
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature makes differences infinite, and those odds are then 0
        odds = np.exp((logits - logits.max()) / temperature)
    sums = np.cumsum(odds)
    return min(int(np.searchsorted(sums, chance * sums[-1], side="right")), len(logits) - 1)


def writer_of(experiment: Experiment, network: NumpyMLP, alphabet: str | None) -> Writer | None:
    """Return what writes with a network; None where it did not learn which character follows each of a window, with a
    loss of odds."""
    loss, entry = experiment.loss.part, experiment.layers[0].incoming
    learns = experiment.train.target == "labels" and loss.targets == "classes"
    tells = experiment.outputs[:-1] == experiment.target == (prod(entry),)
    return Writer(network, alphabet, entry) if alphabet and learns and tells else None
