"""How long `nnspec run` takes, as a whole process, beside a process that draws an empty figure.

    python benchmarks/command.py [--rounds 15] [--data-dir DIR] [--against CHECKOUT] [--cores 2]

Every round runs each command once, in turn: an empty matplotlib figure, `nnspec run specs/race.nn` and a spec that
trains for an instant, both with their picture, and with --against the same two with the nnspec of another checkout. The
table has medians with the least and the most, in seconds, and over the empty figure of the same round. The picture is
drawn on a second core, so the figures mean something on a quiet machine only: on Linux the last line says how many
cores other processes took meanwhile.
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

ROOT = Path(__file__).resolve().parents[1]
EMPTY = "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; plt.figure().savefig('empty.png')"
TINY = """\
data = Digits(train=200, test=50)
model { Linear(16); ReLU; Linear(10) }
loss = CrossEntropy
optimizer = Adam(lr=0.01)
train { epochs = 3; batch = 32 }
"""


def nnspec(checkout: Path) -> tuple[str, ...]:
    path = f"import sys; sys.path.insert(0, {str(checkout)!r})"
    return (sys.executable, "-P", "-c", f"{path}; from nnspec.cli import main; main()", "run")


def busy() -> float:
    """Return the processor seconds that all of the machine has spent, 0 where that cannot be known."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def spent() -> float:
    """Return the processor seconds of this process and those that it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def run(command: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> float:
    """Run a command; return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--data-dir", type=Path, help="the folder with MNIST's files")
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--cores", type=int, help="use that many cores alone")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, range(options.cores))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if options.data_dir is not None:
        environment["NNSPEC_DATA_DIR"] = str(options.data_dir.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.nn").write_text(TINY, encoding="utf-8")
        commands = {"an empty figure": (sys.executable, "-c", EMPTY)}
        for label, checkout in (("", ROOT), (" (against)", options.against)):
            if checkout is not None:
                commands[f"run specs/race.nn{label}"] = (*nnspec(checkout), str(ROOT / "specs/race.nn"))
                commands[f"run a tiny spec{label}"] = (*nnspec(checkout), "tiny.nn")
        for command in commands.values():
            run(command, folder, environment)  # fills Python's cache and matplotlib's
        before, own, started = busy(), spent(), time.perf_counter()
        rounds = [
            {what: run(command, folder, environment) for what, command in commands.items()}
            for _ in range(options.rounds)
        ]
        others = (busy() - before - (spent() - own)) / (time.perf_counter() - started)
    print(f"| whole process, {len(rounds)} rounds | seconds | over an empty figure |")
    print("|---|---|---|")
    for what in commands:
        seconds = [taken[what] for taken in rounds]
        ratios = [taken[what] / taken["an empty figure"] for taken in rounds]
        print(f"| {what} | {spread(seconds)} | {spread(ratios)} |")
    if before:
        print(f"\nother processes took {others:.2f} cores")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
