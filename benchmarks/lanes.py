"""How long the lanes of a race and of a sweep take together, as a ratio to one after another. One interleaved run.

    python benchmarks/lanes.py [--rounds 11] [--epochs 3] [--lanes 24] [--jobs 2] [--data-dir DIR]

The race is specs/race.nn; the sweep is its network with SGD (or --optimizer) at 24 learning rates. In each round every
contender trains all lanes once, in turn, and its time is divided by the time that the lanes took alone, one after
another, in that same round: the table shows the median, the least and the most of these ratios. Each trains the same
epochs, and measures loss and accuracy over training and test samples. All have one BLAS thread a process. Processes are
started before, and how long that takes is said below.

PyTorch (eager), where it is installed, trains the lanes one after another, as its tutorials write it; it measures no
accuracy while it trains, and its test samples are one batch.
"""

from __future__ import annotations

import argparse
import os

# Before the first import of a library that reads them.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import nnspec
from nnspec.api import compile_spec
from nnspec.compiler.proofs import Compiled
from nnspec.data.source import Access, Dataset
from nnspec.environment import one_blas_thread
from nnspec.executors.processes import Processes
from nnspec.results.lane import LaneResult
from nnspec.runner.load_data import load_data
from nnspec.training.groups import Training, group, train_together, trainings
from nnspec.training.observer import Silent

Contender = Callable[[], object]
RACE = Path(__file__).resolve().parents[1] / "specs/race.nn"
FORMS = {"SGD": {}, "Momentum": {"momentum": 0.9}, "Adam": None}


def sweep(lanes: int, optimizer: str, folder: Path) -> Path:
    """Write the race's network with an optimizer at so many rates."""
    head = RACE.read_text("utf-8").partition("\nrace ")[0]
    rates = ", ".join(f"{rate:.5g}" for rate in np.geomspace(1e-4, 0.03, lanes))
    path = folder / "sweep.nn"
    path.write_text(f"{head}\noptimizer = {optimizer}\nsweep {{ optimizer.lr = [{rates}] }}\n", "utf-8")
    return path


def ours(compiled: Compiled, data: Dataset, workers: Processes, jobs: int) -> dict[str, Contender]:
    """The lanes alone and in stacks, one after another and side by side."""
    everything = [replace(each, compiled="never") for each in trainings(compiled)]
    tapes = [replace(each, compiled="always") for each in everything]

    def here(groups: Sequence[tuple[Training, ...]]) -> Contender:
        return lambda: [lane for members in groups for lane in train_together(members, data, Silent())]

    def apart(groups: Sequence[tuple[Training, ...]]) -> Contender:
        def train() -> list[LaneResult]:
            found: list[LaneResult] = []
            workers.train([(members, data) for members in groups], Silent(), found.extend)
            return found

        return train

    return {
        "alone": here(group(everything, stacked=False)),
        "stacked": here(group(everything)),
        "compiled, in threads": here(group(tapes)),
        "compiled, alone": here(group(tapes, stacked=False)),
        f"alone, {jobs} processes": apart(group(everything, stacked=False)),
        f"stacked, {jobs} processes": apart(group(everything, jobs)),
    }


def torch_eager(compiled: Compiled, data: Dataset) -> dict[str, Contender]:
    """The same lanes in PyTorch, one after another."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    samples = [
        (torch.from_numpy((split.x / 255).astype(np.float32)), torch.from_numpy(split.y.astype(np.int64)))
        for split in (data.train, data.test)
    ]
    (x, y), (test_x, test_y) = samples
    lanes = [(lane.optimizer.name, lane.optimizer.values()["lr"], lane.train) for lane in compiled.program.lanes]

    def lane(name: str, rate: float, epochs: int, batch: int) -> None:
        model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        loss_function, form = nn.CrossEntropyLoss(), FORMS[name]
        parameters = model.parameters()
        optimizer = torch.optim.Adam(parameters, rate) if form is None else torch.optim.SGD(parameters, rate, **form)
        for _ in range(epochs):
            order, total = torch.randperm(len(x)), 0.0
            for start in range(0, len(x), batch):
                chosen = order[start : start + batch]
                optimizer.zero_grad()
                loss = loss_function(model(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(chosen)
            with torch.inference_mode():
                outputs = model(test_x)
                loss_function(outputs, test_y).item()
                (outputs.argmax(1) == test_y).float().mean().item()

    def train() -> None:
        for name, rate, settings in lanes:
            lane(name, rate, settings.epochs, settings.batch)

    return {f"PyTorch {torch.__version__.split('+')[0]} eager": train}


def jax_one_by_one(compiled: Compiled, data: Dataset) -> dict[str, Contender]:
    """The lanes of the race in JAX, one after another: training alone, nothing is measured."""
    from step import jax_scan

    epochs = {lane.name: lane.train.epochs for lane in compiled.program.lanes}
    scans = {name: epoch for name, epoch in jax_scan(data).items() if name.rpartition(" ")[2] in epochs}
    if len(scans) < len(epochs):
        return {}

    def train() -> None:
        for name, epoch in scans.items():
            for _ in range(epochs[name.rpartition(" ")[2]]):
                epoch()

    return {"JAX": train}


def same(one: list[LaneResult], other: list[LaneResult]) -> bool:
    """Whether all lanes have the same curves and weights, to the last bit."""

    def numbers(lanes: list[LaneResult]) -> list[object]:
        found = sorted((lane.name, lane) for lane in lanes)
        return [(n, lane.history, [p.data.tobytes() for p in lane.network.parameters()]) for n, lane in found]

    return numbers(one) == numbers(other)


def measure(contenders: dict[str, Contender], rounds: int, title: str) -> dict[str, list[float]]:
    """Let everyone train in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):  # the first is not counted
        for name, train in contenders.items():
            started = time.perf_counter()
            train()
            times[name].append(time.perf_counter() - started)
        print(f"\r{title}: round {number} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return {name: own[1:] for name, own in times.items()}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=11)
    options.add_argument("--epochs", type=int, default=3, help="epochs of a contender's turn")
    options.add_argument("--lanes", type=int, default=24, help="rates of the sweep")
    options.add_argument("--optimizer", default="SGD", choices=FORMS, help="of the sweep")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data-dir", type=Path)
    given = options.parse_args()
    print(
        f"nnspec {nnspec.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
        f"{given.rounds} rounds of {given.epochs} epochs"
    )
    with tempfile.TemporaryDirectory() as folder, one_blas_thread():
        started = time.perf_counter()
        with Processes(given.jobs) as workers:
            specs = {"the race": RACE, f"{given.lanes} rates": sweep(given.lanes, given.optimizer, Path(folder))}
            first = None
            for title, spec in specs.items():
                compiled = compile_spec(spec, {"train.epochs": given.epochs})
                data = next(iter(load_data(compiled.program, Access(given.data_dir, offline=True)).values()))[0]
                contenders = ours(compiled, data, workers, given.jobs)
                results = [train() for train in contenders.values()]
                first = first or time.perf_counter() - started
                assert all(same(results[0], other) for other in results[1:])  # type: ignore[arg-type]
                try:
                    contenders |= torch_eager(compiled, data) | jax_one_by_one(compiled, data)
                except ImportError as error:
                    print(f"left out: {error.name} is not installed")
                _print(title, measure(contenders, given.rounds, title))
            print(f"\nall lanes have the same bits in every way; to the first results of all ways {first:.1f} s")


def _print(title: str, times: dict[str, list[float]]) -> None:
    print(
        f"\n{title:28} {'times as long as alone':>26}\n{'':28} {'median':>8} {'least':>8} {'most':>8}    {'a run':>9}"
    )
    for name, own in times.items():
        ratios = sorted(t / p for t, p in zip(own, times["alone"], strict=True))
        median, middle = statistics.median(ratios), statistics.median(own)
        print(f"{name:28} {median:8.2f} {ratios[0]:8.2f} {ratios[-1]:8.2f}    {middle:7.3f} s")
    for torch in [name for name in times if name.startswith(("PyTorch", "JAX"))]:
        for name in [name for name in times if name != torch]:
            ratios = [t / own for t, own in zip(times[torch], times[name], strict=True)]
            print(f"{torch}: {statistics.median(ratios):.2f} times as long as nnspec, {name}")


if __name__ == "__main__":
    main()
