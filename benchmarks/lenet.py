"""How long a training step of a convolutional network takes, beside PyTorch's. One command, one interleaved run.

    python benchmarks/lenet.py [--rounds 9] [--epochs 1] [--spec specs/lenet.nn] [--data-dir DIR]

Both train LeNet-5 (28×28 → 6×28×28 → 6×14×14 → 16×10×10 → 16×5×5 → 120 → 84 → 10) with Adam on batches of 64 in
float32, loss and accuracy of every batch included; PyTorch gets the data as float tensors already and reads the loss
alone. In each round every contender runs once, in turn, with one thread and then with two. The table shows medians,
and the median, least and most of the ratios of times within a round. nnspec itself trains with one BLAS thread, so
that results do not hang on the number of cores; with two, only its matrix products are shared out.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import threadpoolctl

import nnspec
from nnspec.api import compile_spec
from nnspec.compiler.loop import plan_alone
from nnspec.data.source import Access, Dataset
from nnspec.runner.load_data import load_data

Epoch = Callable[[], object]
BATCH = 64
THREADS = (1, 2)


def ours(data: Dataset, spec: str) -> Epoch:
    """The compiled plan."""
    compiled = compile_spec(spec)
    lane = compiled.program.lanes[0]
    plan = plan_alone(lane, compiled.layouts[lane.name], data)
    epochs = iter(range(10**9))

    def epoch() -> None:
        plan.begin(next(epochs))
        for number in range(plan.batches):
            plan.train_batch(number)

    return epoch


def theirs(data: Dataset) -> Epoch:
    """PyTorch as its tutorials write it."""
    import torch
    from torch import nn

    x = torch.from_numpy((data.train.x / 255).astype(np.float32)).reshape(-1, 1, 28, 28)
    y = torch.from_numpy(data.train.y.astype(np.int64))
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    loss_function, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=0.002)

    def epoch() -> float:
        order, total = torch.randperm(len(x)), 0.0
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = loss_function(model(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        return total

    return epoch


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let NumPy's products and PyTorch use so many threads."""
    with threadpoolctl.threadpool_limits(threads):
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        yield


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--epochs", type=int, default=1, help="epochs of a contender's turn")
    options.add_argument("--spec", default="specs/lenet.nn")
    options.add_argument("--data-dir", type=Path)
    given = options.parse_args()
    program = compile_spec(given.spec).program
    data = next(iter(load_data(program, Access(given.data_dir, offline=True)).values()))[0]
    contenders = {"nnspec": ours(data, given.spec)}
    try:
        contenders["PyTorch"] = theirs(data)
    except ImportError as error:
        print(f"left out: {error.name} is not installed")
    times: dict[tuple[str, int], list[float]] = {(name, n): [] for n in THREADS for name in contenders}
    for number in range(given.rounds + 1):  # the first to warm up
        for (name, threads), own in times.items():
            with limited(threads):
                started = time.perf_counter()
                for _ in range(given.epochs):
                    contenders[name]()
                if number:
                    own.append((time.perf_counter() - started) / given.epochs)
        print(f"\rround {number} of {given.rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    _print(times, data, given.rounds)


def _print(times: dict[tuple[str, int], list[float]], data: Dataset, rounds: int) -> None:
    batches = -(-len(data.train.y) // BATCH)
    torch = f"PyTorch {sys.modules['torch'].__version__}, " if "torch" in sys.modules else ""
    print(
        f"nnspec {nnspec.__version__}, NumPy {np.__version__}, {torch}Python {platform.python_version()}; "
        f"{data.source}, {len(data.train.y)} samples, batch {BATCH}; {rounds} rounds\n"
    )
    for (name, threads), own in times.items():
        step = statistics.median(own) / batches * 1e3
        line = f"{name:8} {threads} thread{'s' if threads > 1 else ' '} {step:8.2f} ms a step"
        if name == "nnspec" and ("PyTorch", threads) in times:
            ratios = sorted(a / b for a, b in zip(own, times["PyTorch", threads], strict=True))
            line += f"    {statistics.median(ratios):.2f} of PyTorch's time, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(line)


if __name__ == "__main__":
    main()
