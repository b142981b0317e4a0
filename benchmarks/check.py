"""How long `nnspec check` takes, as whole processes, beside the bare import of click and lark.

    python benchmarks/check.py [rounds]

Every round runs each command once, in turn, so that a noisy machine disturbs all alike; the figures are medians, with
what they are of the bare import in the same round beside them.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NNSPEC = (sys.executable, "-c", "from nnspec.cli import main; main()")
FILES = 1000

SPEC = """\
# Experiment {i}.
seed = {i}
data = MNIST(train={train}, test=500) or Digits(train={train}, test=500)
loss = CrossEntropy

let width = {width}
let drop = 0.{drop}

block Hidden(units, p=0.1) {{
    Linear(units)
    ReLU
    Dropout(p)
}}

model small {{
    Linear(width)
    ReLU
    Linear(10)
}}

model large {{
    Hidden(width)
    Hidden(width // 2, p=drop)
    residual {{
        Linear(width // 2)
        ReLU
        Linear(width // 2)
    }}
    ReLU
    Linear(10)
}}

model = small

train {{
    epochs = {epochs}
    batch = 64
    validation = 0.1
}}

race "number {i}" {{
    SGD(lr=0.0{rate})
    Momentum(lr=0.0{rate}, momentum=0.9)
    fast: Adam(lr=0.00{rate})
    wide {{
        model = large
        optimizer = Adam
        optimizer.lr = cosine(0.002, to=1e-5, warmup=1)
        train.batch = 32
    }}
}}

expect {{
    params < 2_000_000
    gradient_error < 1e-7
    fast.loss < SGD.loss
    test_accuracy > 0.1
}}
"""


def write(folder: Path) -> None:
    """Write the specs: sixty lines each, no two alike."""
    for i in range(FILES):
        values = {"train": 1000 + i, "width": 32 + i % 97, "drop": 1 + i % 4, "epochs": 3 + i % 7, "rate": 1 + i % 9}
        (folder / f"spec{i:04}.nn").write_text(SPEC.format(i=i, **values), encoding="utf-8")
    layers = "    Linear(8)\n    ReLU\n" * 5000
    rest = "loss = CrossEntropy\noptimizer = SGD\n"
    (folder / "deep.nn").write_text(f"data = Digits\nmodel {{\n{layers}    Linear(10)\n}}\n{rest}", encoding="utf-8")


def run(command: tuple[str, ...], cwd: Path) -> tuple[float, float]:
    """Run a command; return its wall and processor time in seconds."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "specs").mkdir()
        write(folder / "specs")
        (folder / "deep.nn").write_bytes((folder / "specs/deep.nn").read_bytes())
        (folder / "specs/deep.nn").unlink()
        check = (*NNSPEC, "check")
        commands = {
            "import click, lark": (sys.executable, "-c", "import click, lark"),
            "check, one file": (*check, "specs/spec0000.nn"),
            f"check, {FILES:,} files": (*check, "specs"),
            "check, 10,001 layers": (*check, "deep.nn"),
        }
        run(commands["check, one file"], folder)  # Python compiles its modules
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
        for _ in range(rounds):
            for what, command in commands.items():
                found[what].append(run(command, folder))
    bare = found["import click, lark"]
    print(f"| whole process, median of {rounds} rounds | wall | processor | wall over the bare import |")
    print("|---|---|---|---|")
    for what, times in found.items():
        ratio = statistics.median(t[0] / b[0] for t, b in zip(times, bare, strict=True))
        wall, cpu = (statistics.median(t[i] for t in times) for i in (0, 1))
        print(f"| {what} | {wall * 1000:,.0f} ms | {cpu * 1000:,.0f} ms | {ratio:.2f} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nlargest process: {peak:.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
