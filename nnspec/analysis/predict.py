"""Predict with a trained network of a saved run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnspec.analysis.evaluate import check_scaling, experiment_of, put_weights, scaling_of
from nnspec.compiler.plan import build_network
from nnspec.compiler.proofs import Compiled
from nnspec.records.saved import SavedRun
from nnspec.reprs import TableRepr
from nnspec.results.predictor import Predictor, predictor_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Prediction", "load_predictor"]


@dataclass(frozen=True, repr=False)
class Prediction(TableRepr):
    """The outputs of a network for the samples of a file."""

    names: tuple[str, ...]
    """The name of each sample: `digit.png`, `table.csv:2`."""
    outputs: NDArray[Any]
    probabilities: NDArray[Any] | None
    notes: tuple[str, ...]
    """How the samples were converted, and what is suspicious about them."""


def load_predictor(saved: SavedRun, compiled: Compiled, lane: str | None = None, seed: int | None = None) -> Predictor:
    """Load the network of a lane (by default the best) with a seed (by default the first with saved weights).

    Raises RunError if there is none, or its weights do not match.
    """
    name, chosen, choice = saved.pick(lane, seed)
    experiment = experiment_of(compiled, saved, name)
    arrays = saved.weights(name, chosen)
    check_scaling(experiment, arrays, saved.weights_file(name, chosen))
    network = build_network(experiment)
    put_weights(network, arrays, saved.weights_file(name, chosen))
    network.eval()
    scalings = scaling_of(arrays), scaling_of(arrays, "target")
    return predictor_of(experiment, chosen, network, saved.data(name), *scalings, choice)
