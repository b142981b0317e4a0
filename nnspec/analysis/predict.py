"""A trained network of a saved run, loaded to be asked about samples."""

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
    """What a network makes of the samples of a file."""

    names: tuple[str, ...]
    """What each sample is called: `digit.png`, `table.csv:2`."""
    outputs: NDArray[Any]
    probabilities: NDArray[Any] | None
    notes: tuple[str, ...]
    """What was done to the samples, and what looks odd about them."""


def load_predictor(saved: SavedRun, compiled: Compiled, lane: str | None = None, seed: int | None = None) -> Predictor:
    """Load the network of a lane, by default the best one, with the seed that is asked for, by default the first that
    left weights.

    Raises RunError where there is none, or its weights do not fit.
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
