"""The tuned race compared with the plain race, and with a loop in PyTorch that runs the same trainings one by one.

    python benchmarks/tuned.py --rounds 3

In each round, all of them run in turn, in the process of the benchmark, without writing anything: the plain race, the
tuned one with NumPy calls, the tuned one with compiled steps (kernels cached), and in PyTorch, where it is installed,
every training of the tuned race: all trials, and the race over its seeds. After each epoch PyTorch's loop measures the
loss of the held-out samples, and in the race that of the test samples, as the trainings of nnspec do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import nnspec
from nnspec.results.run import RunResult

ROOT = Path(__file__).resolve().parents[1]
TORCH = {"PyTorch, as installed": 0, "PyTorch, one thread": 1}
"""Loops in PyTorch, and their threads: for matrices this small, one is faster than PyTorch's own choice."""
PLAIN, TUNED = ROOT / "specs" / "race.nn", ROOT / "specs" / "fair_race.nn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()

    def run(path: Path, **more: object) -> RunResult:
        return nnspec.run(path, data_dir=options.data_dir, **more)  # type: ignore[arg-type]

    found = run(TUNED, compiled="always")  # compiles and caches the kernels
    racers: dict[str, Callable[[], object]] = {
        "plain race, NumPy calls": lambda: run(PLAIN, compiled="never"),
        "plain race, compiled": lambda: run(PLAIN, compiled="always"),
        "tuned race, NumPy calls": lambda: run(TUNED, compiled="never"),
        "tuned race, compiled": lambda: run(TUNED, compiled="always"),
    }
    if find_spec("torch") is None:
        print("PyTorch is not installed")
    else:
        for name, threads in TORCH.items():
            racers[name] = _in_torch(found, options.data_dir, threads)
    seconds: dict[str, list[float]] = {name: [] for name in racers}
    for _ in range(options.rounds):
        for name, racer in racers.items():
            started = time.perf_counter()
            racer()
            seconds[name].append(time.perf_counter() - started)
    base = seconds["plain race, NumPy calls"]
    for name, times in seconds.items():
        ratios = [time / plain for time, plain in zip(times, base, strict=True)]
        print(f"{name:28} {statistics.median(times):7.2f} s   × {statistics.median(ratios):6.2f} of the plain race")
    for other in TORCH.keys() & seconds.keys():
        for name in ("tuned race, NumPy calls", "tuned race, compiled"):
            ratios = [t / own for t, own in zip(seconds[other], seconds[name], strict=True)]
            spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
            print(f"{other} takes {statistics.median(ratios):.2f} times as long as the {name} ({spread})")


def _in_torch(found: RunResult, data_dir: Path | None, threads: int) -> Callable[[], object]:
    """Return a function that does all trainings of the tuned race in PyTorch, one after another.

    It uses this many threads; 0 for PyTorch's own choice.
    """
    import torch
    from torch import nn

    assert found.tuned is not None
    makers = {"SGD": torch.optim.SGD, "Momentum": torch.optim.SGD, "Adam": torch.optim.Adam}
    defaults = {"SGD": {}, "Momentum": {"momentum": 0.9}, "Adam": {}}
    trainings = []
    for study in found.tuned.studies:
        settings = [trial.settings for trial in study.trials]
        assert study.chosen is not None
        runs = [(each, False) for each in settings] + [(study.chosen.settings, True)] * 5
        for each, tests in runs:
            trainings.append((study.lane, {k.removeprefix("optimizer."): v for k, v in each.items()}, tests))
    x, y, x_test, y_test = nnspec.data.load_mnist(train_size=2000, test_size=500, data_dir=data_dir)
    x, y, x_test, y_test = (torch.from_numpy(np.ascontiguousarray(a)) for a in (x, y, x_test, y_test))
    x, x_test, y, y_test = x.float(), x_test.float(), y.long(), y_test.long()

    usual = torch.get_num_threads()

    def train_all() -> None:
        torch.set_num_threads(threads or usual)
        for number, (lane, settings, tests) in enumerate(trainings):
            torch.manual_seed(number)
            order = torch.randperm(len(x))
            trained, held_out = order[400:], order[:400]
            model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
            loss_of = nn.CrossEntropyLoss()
            optimizer = makers[lane](model.parameters(), **{**defaults[lane], **settings})
            for _ in range(15):
                places = trained[torch.randperm(len(trained))]
                for start in range(0, len(places), 64):
                    rows = places[start : start + 64]
                    optimizer.zero_grad()
                    loss = loss_of(model(x[rows]), y[rows])
                    loss.backward()
                    optimizer.step()
                    loss.item()
                with torch.no_grad():
                    loss_of(model(x[held_out]), y[held_out]).item()
                    if tests:
                        loss_of(model(x_test), y_test).item()

    return train_all


if __name__ == "__main__":
    main()
