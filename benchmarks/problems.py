"""What is hard about each of specs/problems, in figures: the table of docs/problems.md.

python benchmarks/problems.py [PROBLEM …] [--data-dir DIR] [--rounds 3] [--controls | --times]

All but the time are measured at the weights that the best setting of benchmarks/targets.json has after a quarter of its
epochs, in float64, on the first 512 training samples:

- condition: the largest eigenvalue of the Hessian over the median of their magnitudes, and the share of negative ones.
  The Hessian is that of finite differences of gradients; only for up to 2,500 parameters.
- noise: tr Σ / ‖G‖², the batch size at which the gradient is as large as its noise (McCandlish et al. 2018), with Σ the
  covariance of the gradients of single samples, and ‖G‖² without the part that Σ adds to it.
- zeros: the share of the entries of a batch's gradient that are exactly zero, the mean over batches.
- tail: Hill's estimate of the tail index of the norm of the gradients of single samples, from the largest twentieth.
- layers: the largest over the smallest root mean square of the gradient of a weight tensor.

Time is that of a training with Adam over that of the lane Adam of specs/race.nn with Digits, the median of a few rounds
in which the two take turns.

With --times, it only prints the times, with their range over the rounds. With --controls, it prints instead what SGD,
Momentum and Adam reach at their best where what is hard was removed.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from targets import LANES, RECORD, SPECS, race, rerun

import nnspec
from nnspec.api import compile_spec
from nnspec.compiler.plan import build_network
from nnspec.data.source import Access
from nnspec.environment import one_blas_thread
from nnspec.runner.gradients import _samples

SAMPLES, BATCHES, MOST = 512, 16, 2500
STEP = 1e-5

CONTROLS: list[tuple[str, dict[str, Any]]] = [
    ("quadratic", {"data.rotate": False}),
    ("quadratic", {"data.condition": 10}),
    ("heavy_tails", {"data.df": None, "data.noise": 0.25}),
    ("sparse", {"data.zipf": 0}),
    ("imbalance", {"data.zipf": 0}),
]
"""Problems, and settings that remove what is hard."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Place:
    """A network at some weights, with samples, and its gradient as one vector."""

    network: Any
    loss: Any
    x: Array
    targets: Array

    def gradient(self, rows: Any = slice(None)) -> Array:
        """Return the gradient of the mean loss of some samples."""
        self.network.zero_grad()
        x = self.x[rows]
        self.loss.forward(self.network.forward(x), self.targets[rows])
        self.network.backward(self.loss.backward())
        return np.concatenate([parameter.grad.ravel() for parameter in self.network.parameters()])

    def hessian(self) -> Array:
        """Return the Hessian, by central differences of gradients."""
        columns = []
        for parameter in self.network.parameters():
            start = parameter.data
            for place in range(start.size):
                sides = []
                for step in (STEP, -STEP):
                    moved = start.copy()
                    moved.flat[place] += step
                    parameter.data = moved
                    sides.append(self.gradient())
                parameter.data = start
                columns.append((sides[0] - sides[1]) / (2 * STEP))
        matrix = np.array(columns)
        return (matrix + matrix.T) / 2


def place_of(name: str, winner: str, access: Access) -> Place:
    """Return a problem at the weights after a quarter of the training with its best setting."""
    spec = rerun(name, winner).with_(train__repeats=1)
    (experiment,) = compile_spec(spec).program.lanes
    data_dir = access.data_dir
    quarter = max(round(experiment.train.epochs / 4), 1)
    (lane,) = nnspec.run(spec.with_(train__epochs=quarter), data_dir=data_dir, jobs=1).values()
    network = build_network(experiment, "float64")
    network.load_state_dict({key: value.astype(np.float64) for key, value in lane.network.state_dict().items()})
    loss: Any = experiment.loss.make()
    dataset = experiment.data[0].source.load(access)
    x, targets, _ = _samples(experiment, dataset, loss, SAMPLES)
    return Place(network.eval(), loss, x, targets)


def figures(place: Place, batch: int) -> dict[str, float]:
    """Measure one problem."""
    count = len(place.x)
    singles = [place.gradient(slice(i, i + 1)) for i in range(count)]
    mean = sum(singles) / count
    spread = np.array([np.linalg.norm(one - mean) for one in singles])
    trace = (spread**2).sum() / (count - 1)
    signal = float(mean @ mean) - trace / count
    largest = np.sort([np.linalg.norm(one) for one in singles])[-count // 20 :]
    rng = np.random.default_rng(0)
    zeros = [(place.gradient(rng.permutation(count)[:batch]) == 0).mean() for _ in range(BATCHES)]
    sizes = _sizes(place, mean)
    found = {
        "parameters": mean.size,
        "noise": trace / signal if signal > trace / SAMPLES else np.inf,
        "zeros": float(np.mean(zeros)),
        "tail": 1 / np.mean(np.log(largest / largest[0])),
        "layers": max(sizes) / min(sizes),
    }
    if mean.size <= MOST:
        values = np.linalg.eigvalsh(place.hessian())
        found |= {
            "condition": values.max() / np.median(abs(values)),
            "negative": float((values < -1e-6 * values.max()).mean()),
        }
    return found


def _sizes(place: Place, gradient: Array) -> list[float]:
    """Return the root mean square of the gradient of each weight tensor."""
    place.gradient()
    grads = [parameter.grad for parameter in place.network.parameters()]
    weights = [grad for grad in grads if grad.ndim > 1]
    return [float(np.sqrt(np.mean(grad**2))) for grad in weights]


def times(name: str, data_dir: Path | None, rounds: int) -> list[float]:
    """Return the training time with Adam over that of a lane of the race, for each round."""
    one = rerun(name, "Adam").with_(train__repeats=1)
    other = nnspec.Spec.read(SPECS / "race.nn").with_({"data": "Digits(train=2000, test=500)", "train.repeats": 1})
    ratios = []
    for _ in range(rounds):
        (lane,) = nnspec.run(one, data_dir=data_dir, jobs=1).values()
        ratios.append(lane.seconds / nnspec.run(other, jobs=1, stack=False)["Adam"].seconds)
    return ratios


def shown(value: float) -> str:
    """Return a number with two significant digits."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}"


def controls() -> None:
    """Print the table of the controls."""
    print(f"| problem | setting | {' | '.join(LANES)} |\n|---|---|---|---|---|")
    for name, settings in CONTROLS:
        tuned = nnspec.run(race(name).with_(settings), jobs=1).tuned
        if tuned is not None:
            best = [f"{study.chosen.figure:.3g}" for study in tuned.studies if study.chosen is not None]
            text = ", ".join(f"`{key}={'none' if value is None else value}`" for key, value in settings.items())
            print(f"| {name} | {text.replace('False', 'false')} | {' | '.join(best)} |", flush=True)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("problems", nargs="*", metavar="PROBLEM")
    options.add_argument("--data-dir", type=Path, help="where MNIST is")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--controls", action="store_true")
    options.add_argument("--times", action="store_true")
    given = options.parse_args()
    with one_blas_thread():  # further threads only wait for each other at these sizes
        if given.controls:
            controls()
        else:
            differences(given.problems, given.data_dir, given.rounds, only_times=given.times)


def differences(problems: Sequence[str], mnist: Path | None, rounds: int, *, only_times: bool) -> None:
    """Print what is hard about each problem."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if not only_times:
        print("| problem | parameters | condition (negative) | noise | zeros | tail | layers | time |")
        print("|---|---|---|---|---|---|---|---|")
    for name in problems or sorted(record):
        data_dir = mnist if "MNIST(" in (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8") else None
        if only_times:
            ratios = times(name, data_dir, rounds)
            print(f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
            continue
        (experiment,) = compile_spec(rerun(name, "SGD").with_(train__repeats=1)).program.lanes
        found = figures(place_of(name, record[name]["winner"], Access(data_dir)), experiment.train.batch)
        condition = "–"
        if "condition" in found:
            condition = f"{shown(found['condition'])} ({100 * found['negative']:.0f} %)"
        cells = [
            f"[{name}](../specs/problems/{name}.nn)",
            f"{found['parameters']:,}",
            condition,
            shown(found["noise"]) if np.isfinite(found["noise"]) else f"> {SAMPLES}",
            f"{100 * found['zeros']:.0f} %",
            f"{found['tail']:.1f}",
            shown(found["layers"]),
            f"{statistics.median(times(name, data_dir, rounds)):.1f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
