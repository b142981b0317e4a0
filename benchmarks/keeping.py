"""What it costs to keep a run: checkpoints, the best epoch, digests of every tensor. One interleaved run.

    python benchmarks/keeping.py [--rounds 21] [--epochs 15] [--data-dir DIR]

The lanes of specs/race.nn are trained together, in turn: with nothing kept (but digests, which are always taken), with
a checkpoint at each training's end and every ten seconds on the way, as `nnspec run` does, and with one after every
epoch. The time is that of all training, tests, digests and files, without the data, the gradient check and the picture;
each is divided by the first one's of the same round. What digests take is measured by leaving them out.
"""

from __future__ import annotations

import argparse
import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nnspec.api import compile_spec
from nnspec.data.source import Access
from nnspec.environment import one_blas_thread
from nnspec.runner.load_data import load_data
from nnspec.runner.resuming import Checkpoints
from nnspec.training import train
from nnspec.training.groups import group, train_together, trainings
from nnspec.training.observer import Silent

RACE = Path(__file__).resolve().parents[1] / "specs/race.nn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    compiled = compile_spec(RACE, {"train.epochs": options.epochs})
    loaded = load_data(compiled.program, Access(options.data_dir))
    data = {name: use.sha256 for name, (_, use) in loaded.items()}
    dataset = next(iter(loaded.values()))[0]
    honest = train.tensor_digests

    def contender(seconds: float | None, digests: bool = True) -> Callable[[], None]:
        def run() -> None:
            train.tensor_digests = honest if digests else lambda plan: {}
            everything = trainings(compiled)
            with tempfile.TemporaryDirectory() as folder:
                if seconds is not None:
                    everything, _ = Checkpoints(Path(folder), "benchmark", seconds).enter(everything, data)
                started = time.perf_counter()
                for members in group(everything):
                    train_together(members, dataset, Silent())
                taken.append(time.perf_counter() - started)

        return run

    contenders = {
        "nothing kept": contender(None),
        "no digests either": contender(None, digests=False),
        "checkpoints, as usual": contender(10.0),
        "a checkpoint an epoch": contender(0.0),
    }
    taken: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    with one_blas_thread():
        for _ in range(options.rounds):
            times = {}
            for name, run in contenders.items():
                taken.clear()
                run()
                times[name] = taken[0]
            for name, seconds in times.items():
                ratios[name].append(seconds / times["nothing kept"])
    print(f"{options.epochs} epochs, {options.rounds} rounds; ratio to nothing kept: median (least – most)")
    for name, found in ratios.items():
        print(f"{name:24} {statistics.median(found):.2f} ({min(found):.2f} – {max(found):.2f})")


if __name__ == "__main__":
    main()
