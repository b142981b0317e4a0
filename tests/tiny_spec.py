"""Small specs as texts, their compiled programs, and the command line, in this process or a separate one."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import numpy as np

from nnspec.checker import check
from nnspec.cli import _code
from nnspec.compiler.proofs import Compiled, prove
from nnspec.data.source import Access, Dataset, Facts, Split
from nnspec.diagnostics import Source, render_all
from nnspec.results.run import RunResult
from nnspec.runner.options import RunOptions
from nnspec.runner.run import run_program
from nnspec.training.observer import Silent

ROOT = Path(__file__).resolve().parents[1]
RACE = ROOT / "specs" / "race.nn"
OFFLINE = Access(offline=True)
TOGETHER = RunOptions(jobs=1)
ALONE = RunOptions(jobs=1, stack=False)
"""One lane after another, each by itself."""


def spec(
    model: str = "Linear(6); ReLU; Linear(10)",
    *,
    loss: str = "CrossEntropy",
    optimizer: str = "SGD(lr=0.1)",
    train: str = "epochs = 2; batch = 16",
    data: str = "Digits(train=50, test=20)",
    race: str = "",
    expect: str = "",
    more: str = "",
) -> str:
    """Return a spec. `race` and `expect` are what stands in their braces; a race takes the place of the optimizer."""
    return "\n".join(
        [
            f"data = {data}",
            f"model {{ {model} }}",
            f"loss = {loss}",
            f"race {{ {race} }}" if race else f"optimizer = {optimizer}",
            f"train {{ {train} }}",
            f"expect {{ {expect} }}" if expect else "",
            more,
            "",
        ]
    )


def compiled(text: str, *overrides: str) -> Compiled:
    """Check and compile a spec that must be right."""
    checked = check(Source("tiny.nn", text), [Source("--set", flag) for flag in overrides])
    assert checked.program is not None, render_all(checked.diagnostics)
    return prove(checked.program)[0]


def run(
    text: str, *overrides: str, observer: Any = None, access: Access = OFFLINE, ways: RunOptions = TOGETHER
) -> RunResult:
    """Run a spec that must be right, writing nothing."""
    return run_program(compiled(text, *overrides), access, observer or Silent(), options=ways)


def noise(facts: Facts, seed: int = 0) -> Dataset:
    """Return random bytes with random labels: data of any size in no time."""
    rng = np.random.default_rng(seed)

    def split(count: int) -> Split:
        x = rng.integers(0, 256, (count, facts.features), dtype=np.uint8)
        return Split(x, rng.integers(0, facts.classes or 1, count, dtype=np.uint8))

    return Dataset("Digits", facts, split(facts.train), split(facts.test), 255.0, "", "random")


def environment(cache: Path, **more: str) -> dict[str, str]:
    """Return variables for a process: an empty cache, and nothing that changes how output looks."""
    out = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "TTY_COMPATIBLE", "NNSPEC_DATA_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in out}
    fonts = matplotlib.get_cachedir()  # or every process would look for all fonts again
    ours = {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": fonts, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    return kept | ours | more


def command(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in this process, which takes a tenth of the time, as `nnspec` does in one of its own."""
    folder = cwd or Path.cwd()
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    variables = patch.dict(os.environ, environment(folder / ".cache"), clear=True)
    with chdir(folder), variables, redirect_stdout(out), redirect_stderr(err):
        code = _code([*map(str, arguments)])
    texts = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, code, *texts)


def nnspec(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder; its output is pipes."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd / ".cache", **variables),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


COMMAND = (sys.executable, "-P", "-c", "from nnspec.cli import main; main()")


def reach_epoch(process: subprocess.Popen[str], epoch: int, lane: str = "") -> None:
    """Read what a run prints until it is in that epoch or a later one: a busy machine may show only some of them."""
    assert process.stdout is not None
    for line in process.stdout:
        at = re.search(rf"{lane}.*epoch (\d+)(/| of )", line)
        if at and int(at[1]) >= epoch:
            return
    raise AssertionError(f"the run ended before epoch {epoch}: {process.stderr and process.stderr.read()}")
