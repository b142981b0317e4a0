"""A small GPT on a text, against PyTorch's fused attention, fused Adam and the same sizes: time of a training step.

    python benchmarks/gpt.py [--rounds 9] [--threads 1] [--bare]

4 layers of width 128 with 4 heads, context 64, batch 32, Adam, float32. Both train the same number of batches in turn,
in one process; the ratio of their times is taken in each round. `--bare` leaves normalisations out and takes ReLU, to
see what those cost. `--profile` shows where nnspec's own time goes, layer by layer, instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Turn = Callable[[int], None]
"""Trains so many batches."""
TEXT = Path(__file__).resolve().parents[1] / "specs" / "data" / "fables.txt"
SPEC = """
data = Text("fables.txt", context=64, stride=4)
block Layer {{
    residual {{ {norm}MultiHeadAttention(4, causal=true) }}
    residual {{ {norm}Linear(512); {activation}; Linear(128) }}
}}
model {{ Embedding(128); PositionalEmbedding; Layer * 4; {norm}Linear(data.classes) }}
loss = CrossEntropy
metrics = []
optimizer = Adam(lr=0.001)
train {{ epochs = 1; batch = 32; drop_last = true }}
"""


def plan_of(bare: bool) -> Any:
    """The compiled plan."""
    from nnspec.api import compile_spec
    from nnspec.compiler.loop import plan_alone
    from nnspec.data.source import Access
    from nnspec.runner.load_data import load_data

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "fables.txt").write_bytes(TEXT.read_bytes())
        spec = Path(place) / "gpt.nn"
        full = {"norm": "LayerNorm; ", "activation": "GELU(approximate=tanh)"}
        words = {"norm": "", "activation": "ReLU"} if bare else full
        spec.write_text(SPEC.format(**words), encoding="utf-8")
        compiled = compile_spec(str(spec))
        (lane,) = compiled.program.lanes
        data = load_data(compiled.program, Access(offline=True))[lane.name][0]
    return plan_alone(lane, compiled.layouts[lane.name], data)


def ours(options: argparse.Namespace) -> Turn:
    """The plan's own steps."""
    plan = plan_of(options.bare)

    def batches() -> Iterator[None]:
        epoch = 0
        while True:
            plan.begin(epoch)
            for number in range(plan.batches):
                plan.train_batch(number)
                yield
            epoch += 1

    return turns(batches())


def torchs(options: argparse.Namespace) -> Turn:
    """PyTorch with what it offers for speed."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(options.threads)
    norm = nn.Identity if options.bare else lambda: nn.LayerNorm(128)
    activation = nn.ReLU if options.bare else lambda: nn.GELU(approximate="tanh")

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(128, 384), nn.Linear(128, 128)

        def forward(self, x: Any) -> Any:
            parts = self.qkv(x).view(*x.shape[:2], 3, 4, 32).permute(2, 0, 3, 1, 4)
            heads = functional.scaled_dot_product_attention(*parts, is_causal=True)
            return self.out(heads.transpose(1, 2).reshape(x.shape))

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(norm(), Attention())
            self.second = nn.Sequential(norm(), nn.Linear(128, 512), activation(), nn.Linear(512, 128))

        def forward(self, x: Any) -> Any:
            x = x + self.first(x)
            return x + self.second(x)

    class GPT(nn.Module):
        def __init__(self, letters: int) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(letters, 128), nn.Parameter(torch.randn(64, 128) * 0.02)
            self.layers = nn.Sequential(*(Layer() for _ in range(4)), norm(), nn.Linear(128, letters))

        def forward(self, ids: Any) -> Any:
            return self.layers(self.tokens(ids) + self.places)

    text = TEXT.read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    ids = torch.tensor([alphabet.index(letter) for letter in text[: len(text) * 9 // 10]])
    windows = ids.unfold(0, 65, 4).contiguous()
    model = GPT(len(alphabet))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def batches() -> Iterator[None]:
        while True:
            order = torch.randperm(len(windows))
            for start in range(0, len(windows) - 31, 32):
                chosen = windows[order[start : start + 32]]
                optimizer.zero_grad()
                logits = model(chosen[:, :-1])
                loss = functional.cross_entropy(logits.reshape(-1, len(alphabet)), chosen[:, 1:].reshape(-1))
                loss.backward()
                optimizer.step()
                loss.item()
                yield

    return turns(batches())


def turns(step: Iterator[None]) -> Turn:
    """Take so many steps."""

    def turn(count: int) -> None:
        for _ in range(count):
            next(step)

    return turn


def profile(options: argparse.Namespace) -> None:
    """Time every layer's passes by wrapping them, and print their shares, those of layers within others included."""
    plan = plan_of(options.bare)
    spent: dict[str, float] = {}

    def timed(owner: Any, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def call(*arguments: Any, **more: Any) -> Any:
            started = time.perf_counter()
            result = inner(*arguments, **more)
            spent[label] = spent.get(label, 0.0) + time.perf_counter() - started
            return result

        setattr(owner, name, call)

    for top in plan.network.layers:
        for layer in top.walk():
            shape = "×".join(map(str, max((p.shape for p in layer.parameters().values()), key=len, default=())))
            for name in ("forward", "backward"):
                timed(layer, name, f"{type(layer).__name__} {shape} {name}")
    for owner, name in (
        (plan.loss, "forward"),
        (plan.loss, "backward"),
        (plan.optimizer, "step"),
        (plan.data, "train"),
    ):
        timed(owner, name, f"{type(owner).__name__} {name}")
    plan.begin(0)
    steps = 0
    for number in range(min(options.steps + 5, plan.batches)):
        if number == 5:
            spent.clear()
            started, steps = time.perf_counter(), 0
        plan.train_batch(number)
        steps += 1
    print(f"{(time.perf_counter() - started) / steps * 1e3:.2f} ms a step")
    for label, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{seconds / steps * 1e3:8.2f} ms  {label}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="batches of a contender's turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help="no normalisation, and ReLU")
    parser.add_argument("--profile", action="store_true", help="only where nnspec's own time goes")
    options = parser.parse_args()
    if options.profile:
        profile(options)
        return
    contenders = {"nnspec": ours(options), "PyTorch": torchs(options)}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in contenders.values():
        turn(options.steps)
    for _ in range(options.rounds):
        for name, turn in contenders.items():
            started = time.perf_counter()
            turn(options.steps)
            times[name].append((time.perf_counter() - started) / options.steps)
    ratios = sorted(a / b for a, b in zip(times["nnspec"], times["PyTorch"], strict=True))
    print(f"{options.threads} thread(s), {options.rounds} rounds of {options.steps} steps")
    for name, own in times.items():
        print(f"{name:8} {statistics.median(own) * 1e3:7.2f} ms a step, {min(own) * 1e3:7.2f} at best")
    print(
        f"nnspec takes {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) times as long as PyTorch"
    )


if __name__ == "__main__":
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        threads = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "1"
        os.environ[variable] = threads  # before the first import of a library that reads them
    main()
