"""A wider network on all of MNIST, against PyTorch's fused Adam: time of a step, and memory of the whole process.

    python benchmarks/wide.py [--rounds 11] [--threads 1] [--data-dir DIR]

784-512-512-10, batch 128, Adam, 60,000 images, float32. Both train the same number of batches in turn, in one process;
the table shows the ratio of their times in each round. PyTorch has its data as a float tensor, shuffles every epoch and
reads the loss of every batch. The memory is the most that a process had resident which trained an epoch and did nothing
else, imports and the reading of the data included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Turn = Callable[[int], None]
"""Trains so many batches."""
BATCH, RATE = 128, 0.001
SPEC = """
data = MNIST(train=60000, test=10000)
model { Linear(512); ReLU; Linear(512); ReLU; Linear(10) }
loss = CrossEntropy
optimizer = Adam(lr=0.001)
train { epochs = 1; batch = 128 }
"""


def ours(folder: Path | None) -> tuple[Turn, int]:
    """The compiled plan."""
    import tempfile

    from nnspec.api import compile_spec
    from nnspec.compiler.loop import plan_alone
    from nnspec.data.source import Access
    from nnspec.runner.load_data import load_data

    with tempfile.TemporaryDirectory() as place:
        spec = Path(place) / "wide.nn"
        spec.write_text(SPEC, encoding="utf-8")
        compiled = compile_spec(str(spec))
    (lane,) = compiled.program.lanes
    data = load_data(compiled.program, Access(folder, offline=True))[lane.name][0]
    plan = plan_alone(lane, compiled.layouts[lane.name], data)

    def batches() -> object:
        epoch = 0
        while True:
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
                yield
            epoch += 1

    step = batches()

    def turn(count: int) -> None:
        for _ in range(count):
            next(step)  # type: ignore[call-overload]

    return turn, plan.batches


def torchs(folder: Path | None, threads: int) -> tuple[Turn, int]:
    """PyTorch with the optimizer that it offers for speed."""
    import numpy as np
    import torch
    from torch import nn

    from nnspec.data.mnist import MNIST
    from nnspec.data.source import Access

    torch.set_num_threads(threads)
    data = MNIST(train=60000, test=10000).load(Access(folder, offline=True))
    x = torch.from_numpy(data.train.x.reshape(len(data.train.x), -1)).float().div_(255)
    y = torch.from_numpy(data.train.y.astype(np.int64))
    del data
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    loss_function, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def batches() -> object:
        while True:
            order = torch.randperm(len(x))
            for start in range(0, len(x), BATCH):
                chosen = order[start : start + BATCH]
                optimizer.zero_grad()
                loss = loss_function(model(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
                loss.item()
                yield

    step = batches()

    def turn(count: int) -> None:
        for _ in range(count):
            next(step)  # type: ignore[call-overload]

    return turn, -(-len(x) // BATCH)


def peak(name: str, options: argparse.Namespace) -> float:
    """Train an epoch in a process of its own; return the most MiB that it had resident."""
    command = [sys.executable, __file__, "--alone", name, "--threads", str(options.threads)]
    if options.data_dir:
        command += ["--data-dir", str(options.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=60, help="batches of a contender's turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--alone", choices=("nnspec", "PyTorch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    makers = {"nnspec": lambda: ours(options.data_dir), "PyTorch": lambda: torchs(options.data_dir, options.threads)}
    if options.alone:
        turn, steps = makers[options.alone]()
        turn(steps)
        # Not getrusage: its peak is handed on from the parent process.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) / 1024)
        return
    contenders = {name: make()[0] for name, make in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in contenders.values():
        turn(options.steps)
    for number in range(options.rounds):
        for name, turn in contenders.items():
            started = time.perf_counter()
            turn(options.steps)
            times[name].append((time.perf_counter() - started) / options.steps)
        print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    ratios = sorted(a / b for a, b in zip(times["nnspec"], times["PyTorch"], strict=True))
    print(f"{options.threads} thread(s), {options.rounds} rounds of {options.steps} batches of {BATCH}")
    for name, own in times.items():
        print(f"{name:8} {statistics.median(own) * 1e3:7.2f} ms a step, {peak(name, options):6.0f} MiB at most")
    print(
        f"nnspec takes {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times as long as PyTorch"
    )


if __name__ == "__main__":
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        threads = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "1"
        os.environ[variable] = threads  # before the first import of a library that reads them
    main()
