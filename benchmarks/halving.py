"""Whether `halving` finds better settings than `halton` with the same budget, or the same ones with a smaller budget.

    python benchmarks/halving.py --studies 10

Every search is repeated as independent studies, and the chosen settings are then trained anew with another seed, so
that the luck of a trial does not count. The studies of all searches have the same points, so differences are paired;
the intervals are those of Student's t over the studies, each averaged over the lanes. Epochs and CPU seconds are those
of the trials, for each lane and study.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import nnspec
from nnspec.statistics.significance import paired

SPEC = Path(__file__).parents[1] / "specs" / "fair_race.nn"
SEARCHES = (("halton", 20), ("halton", 4), ("halving", 4), ("halton", 6), ("halving", 6))


@dataclass
class Outcome:
    """What a search found."""

    trials: int
    """Trials of each lane and study."""
    epochs: float
    """Epochs of each lane and study."""
    cpu: float
    """CPU seconds of each lane and study."""
    losses: dict[str, list[float]]
    """Lane -> test loss of the chosen settings, by study."""

    @property
    def by_study(self) -> list[float]:
        """The mean over lanes, by study."""
        return [fmean(row) for row in zip(*self.losses.values(), strict=True)]


def searched(spec: Path, search: str, budget: int, studies: int, data_dir: Path | None) -> Outcome:
    """Search and race."""
    settings = [f"tune.search={search}", f"tune.budget={budget}", f"tune.studies={studies}", "train.repeats=1"]
    before = time.process_time()
    found = nnspec.run(spec, set=[*settings, "tune.race=false"], data_dir=data_dir, jobs=1, compiled="never").tuned
    cpu = time.process_time() - before
    assert found is not None
    race = nnspec.run(spec, set=[*settings, *found.flags()], data_dir=data_dir, jobs=1, compiled="never")
    losses = {
        lane: [race[f"{lane},study={n}"].final("test_loss") for n in range(1, studies + 1)] for lane in found.lanes
    }
    count = len(found.studies)
    return Outcome(
        len(found.trials) // count, math.fsum(trial.epochs for trial in found.trials) / count, cpu / count, losses
    )


def main() -> None:
    """Print a row for each search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    print("search          trials   epochs   CPU s   mean test loss   minus halton, same budget   minus halton(20)")
    found: dict[tuple[str, int], Outcome] = {}
    for search, budget in SEARCHES:
        one = found[search, budget] = searched(options.spec, search, budget, options.studies, options.data_dir)
        cells = []
        for other in (("halton", budget), SEARCHES[0]):
            if other == (search, budget):
                cells.append("–")
                continue
            test = paired(dict(enumerate(one.by_study)), dict(enumerate(found[other].by_study)))
            cells.append(f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]")
        lanes = ", ".join(f"{lane} {fmean(losses):.3f}" for lane, losses in one.losses.items())
        print(
            f"{f'{search}, {budget}':14}  {one.trials:6}   {one.epochs:6.0f}   {one.cpu:5.2f}   "
            f"{fmean(one.by_study):14.3f}   {cells[0]:>25}   {cells[1]:>24}   {lanes}",
            flush=True,
        )


if __name__ == "__main__":
    main()
