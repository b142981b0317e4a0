"""How long a run takes before it trains: with compiled steps whose kernels are there, beside one by NumPy calls.

    python benchmarks/starting.py [--rounds 11] [--spec specs/race.nn] [--data-dir DIR]

Both are whole processes that train one epoch, draw nothing and write nothing; the table shows the medians of their
times and of the differences within a round, and what a process takes that imports NumPy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

CODE = """
import sys, nnspec
if __name__ == "__main__":
    nnspec.run(sys.argv[1], set={"train.epochs": 1}, offline=True, compiled=sys.argv[2])
"""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=11)
    options.add_argument("--spec", default="specs/race.nn")
    options.add_argument("--data-dir")
    given = options.parse_args()
    variables = {**os.environ} | ({"NNSPEC_DATA_DIR": given.data_dir} if given.data_dir else {})
    commands = {
        "import numpy": [sys.executable, "-c", "import numpy"],
        "NumPy calls": [sys.executable, "-c", CODE, given.spec, "never"],
        "compiled steps": [sys.executable, "-c", CODE, given.spec, "always"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(given.rounds + 1):  # the first to compile, and to warm up
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, env=variables)
            if number:
                times[name].append(time.perf_counter() - started)
    for name, own in times.items():
        print(f"{name:16}{statistics.median(own):8.3f} s ({min(own):.3f} to {max(own):.3f})")
    more = sorted(a - b for a, b in zip(times["compiled steps"], times["NumPy calls"], strict=True))
    print(f"compiled steps take {statistics.median(more):.3f} s more ({more[0]:.3f} to {more[-1]:.3f})")


if __name__ == "__main__":
    main()
