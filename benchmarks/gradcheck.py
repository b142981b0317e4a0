"""How long `nnspec gradcheck` takes as a whole process, as a ratio to `python -c "import numpy"`.

    python benchmarks/gradcheck.py [--rounds 15] [--spec specs/race.nn] [--data-dir DIR]

In each round every command runs once, in turn, and its time is divided by that of the bare import in the same round;
the table shows the median, and the least and most, of these ratios. Absolute times are shown for orientation only:
they are the machine's, at that moment. `nnspec check` stands beside it because a gradient check does all that
it does: reading the spec, and importing the checker and the engine. Without the MNIST files in DIR, the time to draw
nnspec's own digits, which then stand in for MNIST, is part of the last command's.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
NNSPEC = (sys.executable, "-c", "from nnspec.cli import main; main()")


def run(command: tuple[str, ...], cache: str) -> tuple[float, float]:
    """Run a command; return its wall and processor time in seconds."""
    # Compiled modules are read from files, as they are once nnspec has run; nothing else is kept from run to run.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, **streams)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int, spec: str, folder: str | None) -> None:
    """Measure and print."""
    data = ("--data-dir", folder) if folder else ("--offline",)
    commands = {
        "import numpy": (sys.executable, "-c", "import numpy"),
        "nnspec check": (*NNSPEC, "check", spec),
        "nnspec gradcheck": (*NNSPEC, "gradcheck", spec, *data),
    }
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(rounds + 1):
            for what, command in commands.items():
                taken = run(command, cache)
                if number:  # the first round fills Python's own caches
                    found[what].append(taken)
    bare = found["import numpy"]
    print(f"| whole process, {rounds} rounds | wall | processor | wall over the bare import | processor over it |")
    print("|---|---|---|---|---|")
    for what, times in found.items():
        wall, cpu = (statistics.median(taken[i] for taken in times) for i in (0, 1))
        ratios = [_spread([taken[i] / base[i] for taken, base in zip(times, bare, strict=True)]) for i in (0, 1)]
        print(f"| {what} | {wall * 1000:,.0f} ms | {cpu * 1000:,.0f} ms | {' | '.join(ratios)} |")


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--spec", default="specs/race.nn")
    parser.add_argument("--data-dir", default=os.environ.get("NNSPEC_DATA_DIR"))
    options = parser.parse_args()
    main(options.rounds, options.spec, options.data_dir)
