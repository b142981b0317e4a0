"""Every spec exported to every target: differences, sizes, and time beside nnspec's own predict.

    python benchmarks/export.py [--rounds 9] [--batch 256] [--only race lenet]

Each spec trains for an epoch on few samples: weights have no influence on speed. A target without its runtime (PyTorch,
onnxruntime, a C compiler) is left empty. Times are of one call for a batch, from samples as stored to outputs, on one
thread. In each round every contender runs once, in turn; the table shows the median of the ratios to nnspec within a
round, and the median time of nnspec. C is compiled with -O2 and -O3 -march=native, and runs sample after sample.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import nnspec
from nnspec import runs
from nnspec.data.predict_inputs import Inputs
from nnspec.environment import one_blas_thread
from nnspec.export.c_source import FLAGS
from nnspec.export.exporting import TARGETS, Exported
from nnspec.export.program import program_of
from nnspec.export.runtimes import Missing
from nnspec.export.verify import as_stored, random_samples

ROOT = Path(__file__).resolve().parents[1]
DIGITS = "data=Digits(train=200, test=256)"
LANES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "autoencoder": ("medium", (DIGITS,)),
    "fashion": (None, (DIGITS,)),
    "lenet": (None, (DIGITS,)),
    "names_rnn": (None, ("data.stride=20",)),
    "race": ("Adam", (DIGITS,)),
    "regression": (None, ()),
    "residual": ("residual", (DIGITS,)),
    "schedules_race": ("line", (DIGITS,)),
    "spirals": ("mlp", ()),
    "tiny_gpt": (None, ("data.stride=400", "train.sample=0")),
    "width_sweep": ("width=64", (DIGITS,)),
}
"""The lane that is exported, and settings that make training short."""
_BATCH = """
void NAME_batch(const INPUT *x, OUTPUT *y, REAL *p, NAME_work *work, int count)
{
    for (int i = 0; i < count; i++) NAME_run(x + (long)i * UPPER_INPUTS, y + (long)i * UPPER_OUTPUTS, p, work);
}
"""
_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t"}


def train(name: str, folder: Path) -> tuple[Path, str | None]:
    """Train a spec for an epoch, without its expectations: the proof of gradients would take longest."""
    lane, settings = LANES[name]
    if not (folder / "data").exists():
        (folder / "data").symlink_to(ROOT / "specs/data")
    text = (ROOT / f"specs/{name}.nn").read_text()
    (folder / f"{name}.nn").write_text(re.sub(r"\nexpect \{[^}]*\}", "", text))
    nnspec.run(folder / f"{name}.nn", ["train.epochs=1", *settings], folder / name)
    return folder / name, lane


def exports(run: Path, lane: str | None, folder: Path) -> Iterator[tuple[str, Exported]]:
    """Export to every target whose runtime is installed."""
    suffixes = {"numpy": "numpy.py", "torch": "torch.py"}
    for target in (*TARGETS, "safetensors", "npz"):
        try:
            name = f"{run.name}.{suffixes.get(target, target)}"
            yield target, runs.export(run, folder / name, target, lane=lane)
        except Missing as error:
            print(f"{target}: {error}")


def in_onnxruntime(path: Path, x: Any) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["outputs"], {"input": x})


def in_c(path: Path, program: Any, x: Any, flags: tuple[str, ...]) -> Callable[[], object]:
    name = re.findall(r"^int (\w+)_run\(", path.read_text(), re.MULTILINE)[0]
    words = {"NAME": name, "UPPER": name.upper(), "INPUT": _TYPES[program.input.dtype], "REAL": _TYPES[program.dtype]}
    words["OUTPUT"] = _TYPES[program.outputs.dtype]
    text = re.sub("|".join(rf"{word}(?!S)" for word in words), lambda match: words[match[0]], _BATCH)
    source = path.with_suffix(".batch.c")
    source.write_text(f'#include "{path.name}"\n{text}')
    library = source.with_suffix(f".{len(flags)}.so")
    subprocess.run(["cc", *FLAGS, *flags, "-shared", "-fPIC", source, "-o", library, "-lm"], check=True)
    call = getattr(ctypes.CDLL(str(library)), f"{name}_batch")
    y = np.empty((len(x), program.outputs.numbers), program.outputs.dtype)
    work, p = np.empty(1 << 24, np.uint8), np.empty(1 << 20, program.dtype)
    arrays = (x, y, p, work)  # which must live as long as they are pointed at
    return lambda: call(*(ctypes.c_void_p(array.ctypes.data) for array in arrays), len(x))


def timed(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median ratio to the first contender, and of that the median time in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    first, *_ = times
    base = times[first][1:]
    ratios = {n: statistics.median(b / t for b, t in zip(base, each[1:], strict=True)) for n, each in times.items()}
    return {**ratios, first: 1000 * statistics.median(base)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--only", nargs="*", default=list(LANES))
    options = parser.parse_args()
    differences, sizes, speeds = [], [], []
    with tempfile.TemporaryDirectory(prefix="nnspec-export-") as text:
        folder = Path(text)
        for name in options.only:
            run, lane = train(name, folder)
            done = dict(exports(run, lane, folder))
            worst = {t: max(v.difference for v in d.certificate.verified) for t, d in done.items() if t in TARGETS}
            cells = [f"{worst[t]:.1e}" if t in worst else "" for t in TARGETS]
            differences.append([name, *cells])
            kib = [f"{done[t].path.stat().st_size / 1024:,.0f}" if t in done else "" for t in (*TARGETS, "npz")]
            predictor = runs.load(run, lane)
            program = program_of(predictor)
            sizes.append([name, f"{program.parameters:,}", *kib])
            for batch in (1, options.batch):
                x = random_samples(program, predictor, batch, np.random.default_rng(0))
                stored = Inputs(as_stored(program, predictor, x), ())
                contenders: dict[str, Callable[[], object]] = {"nnspec": partial(predictor.outputs_of, stored)}
                if "onnx" in done:
                    contenders["onnxruntime"] = in_onnxruntime(done["onnx"].path, x)
                if "c" in done:
                    contenders["C -O2"] = in_c(done["c"].path, program, x, ())
                    contenders["C -O3 native"] = in_c(done["c"].path, program, x, ("-O3", "-march=native"))
                with one_blas_thread():
                    found = timed(contenders, options.rounds)
                milliseconds, *ratios = found.values()
                speeds.append([name, str(batch), f"{milliseconds:.3f} ms", *(f"{ratio:.1f}×" for ratio in ratios)])
    table(["spec", *TARGETS], differences)
    table(["spec", "parameters", *(f"{t}, KiB" for t in (*TARGETS, "npz"))], sizes)
    table(["spec", "batch", "nnspec", "onnxruntime", "C -O2", "C -O3 native"], speeds)


def table(head: list[str], rows: list[list[str]]) -> None:
    print()
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
