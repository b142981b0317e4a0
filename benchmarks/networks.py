"""LeNet, a wide network, a small GPT and an LSTM, by NumPy calls and by compiled steps, beside PyTorch, in one run.

    python benchmarks/networks.py [--rounds 9] [--only LSTM] [--data-dir DIR]

In each round every contender trains one epoch, in turn, on one thread; the ratio of its time to PyTorch's is taken in
that round. The table shows the median, and the least and most. PyTorch has its data as float tensors (ids as integers),
its fused Adam, and reads the loss of every batch. Compiled steps have the bits of the NumPy calls.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before NumPy is loaded
    for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_variable] = "1"

import gpt
import numpy as np
import torch
from lenet import theirs as torch_lenet
from torch import nn

from nnspec.api import compile_spec
from nnspec.compiler.loop import plan_alone
from nnspec.compiler.plan import Plan
from nnspec.compiler.replay import Replay
from nnspec.data.source import Access, Dataset
from nnspec.environment import one_blas_thread
from nnspec.native.library import make
from nnspec.runner.load_data import load_data

Epoch = Callable[[], object]
END = "loss = CrossEntropy\noptimizer = Adam(lr=0.001)\ntrain { epochs = 1; batch = 64; drop_last = true }\n"
SPECS = {
    "LeNet": "data = MNIST(train=1280, test=100)\nmodel { Conv2D(6, 5, padding=same); ReLU; MaxPool(2); Conv2D(16, 5);"
    " ReLU; MaxPool(2); Flatten; Linear(120); ReLU; Linear(84); ReLU; Linear(10) }\n" + END,
    "wide": "data = MNIST(train=6400, test=100)\nmodel { Linear(512); ReLU; Linear(512); ReLU; Linear(10) }\n" + END,
    "GPT": gpt.SPEC.format(norm="LayerNorm; ", activation="GELU(approximate=tanh)").replace("stride=4", "stride=64"),
    "LSTM": "data = MNIST(train=1280, test=100)\nmodel { LSTM(64, return_sequences=false); Linear(10) }\n" + END,
}


def plan_of(text: str, folder: Path | None) -> tuple[Plan, Dataset]:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "fables.txt").write_bytes(gpt.TEXT.read_bytes())
        spec = Path(place) / "network.nn"
        spec.write_text(text, encoding="utf-8")
        compiled = compile_spec(str(spec))
        (lane,) = compiled.program.lanes
        data = load_data(compiled.program, Access(folder, offline=True))[lane.name][0]
    return plan_alone(lane, compiled.layouts[lane.name], data), data


def by_calls(plan: Plan) -> Epoch:
    epochs = iter(range(10**9))

    def epoch() -> None:
        plan.begin(next(epochs))
        for number in range(plan.batches):
            plan.train_batch(number)

    return epoch


def by_tapes(plan: Plan) -> Epoch:
    replay, epochs = Replay(plan.loop.alone(plan)), iter(range(10**9))
    make(replay.kernels)
    replay.link()
    left = ", ".join(f"{name} ({why})" for name, why in replay.gaps.items())
    if left:
        print(f"in Python: {left}")
    return lambda: replay.train(next(epochs))


class _LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.out = nn.LSTM(28, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.out(self.cells(x.reshape(-1, 28, 28))[0][:, -1])


def by_torch(name: str, plan: Plan, data: Dataset) -> Epoch:
    if name == "LeNet":
        return torch_lenet(data)
    if name == "GPT":
        turn = gpt.torchs(argparse.Namespace(threads=1, bare=False))
        return lambda: turn(plan.batches)
    x = torch.from_numpy(data.train.x.reshape(len(data.train.x), -1)).float().div_(255)
    y = torch.from_numpy(data.train.y.astype(np.int64))
    wide = (nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    model = _LSTM() if name == "LSTM" else nn.Sequential(*wide)
    loss_function, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def epoch() -> None:
        order = torch.randperm(len(x))
        for start in range(0, len(x), 64):
            chosen = order[start : start + 64]
            optimizer.zero_grad()
            loss = loss_function(model(x[chosen]), y[chosen])
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--only", choices=SPECS)
    options.add_argument("--data-dir", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    print(f"{'over PyTorch':12}{'NumPy calls':>26}{'compiled steps':>26}{'ms a step, compiled':>22}")
    for name in [given.only] if given.only else SPECS:
        one, data = plan_of(SPECS[name], given.data_dir)
        other, _ = plan_of(SPECS[name], given.data_dir)
        turns = {"calls": by_calls(one), "tapes": by_tapes(other), "torch": by_torch(name, one, data)}
        times: dict[str, list[float]] = {each: [] for each in turns}
        for number in range(given.rounds + 1):  # the first to warm up
            for each, epoch in turns.items():
                started = time.perf_counter()
                epoch()
                if number:
                    times[each].append(time.perf_counter() - started)
            print(f"\r{name}: round {number} of {given.rounds}", end="", file=sys.stderr)
        print(file=sys.stderr)
        row = f"{name:12}"
        for each in ("calls", "tapes"):
            ratios = sorted(a / b for a, b in zip(times[each], times["torch"], strict=True))
            row += f"{f'{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})':>26}"
        print(f"{row}{statistics.median(times['tapes']) / one.batches * 1e3:22.2f}")


if __name__ == "__main__":
    with one_blas_thread():
        main()
