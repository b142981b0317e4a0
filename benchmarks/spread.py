"""The race over several seeds: how much of a figure is the optimizer's, and how much is chance.

python benchmarks/spread.py [--seeds 5] [--data-dir DIR]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import nnspec

FIGURES = ("loss", "test_loss", "test_accuracy")


def main() -> None:
    """Run the race once for each seed and print mean, least and most of each figure after the last epoch."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--spec", default="specs/race.nn")
    options.add_argument("--data-dir", type=Path)
    given = options.parse_args()
    seeds = [42 + i for i in range(given.seeds)]
    runs = [nnspec.run(given.spec, set={"seed": seed}, data_dir=given.data_dir) for seed in seeds]
    print(f"{runs[0].data[0].source}, seeds {seeds[0]} to {seeds[-1]}")
    print(f"\n{'':12}{'figure':16}{'mean':>8}{'least':>9}{'most':>9}")
    for lane in runs[0]:
        for figure in FIGURES:
            values = [run[lane].final(figure) for run in runs]
            print(f"{lane:12}{figure:16}{statistics.mean(values):8.4f}{min(values):9.4f}{max(values):9.4f}")


if __name__ == "__main__":
    main()
