"""The targets of specs/problems: what a well-tuned, well-known optimizer reaches in three quarters of the training.

python benchmarks/targets.py [PROBLEM …] [--data-dir DIR]

1. SGD, Momentum and Adam are tuned with 20 trials each, over the spaces of specs/contestants.nn, by the figure of the
   problem.
2. The best trial of all is trained again with 20 other seeds, 101 to 120.
3. The target is the median over these 20 of the best value in the first three quarters of the epochs, rounded to three
   digits. So the best setting reaches it with every second seed, or more, and there is time left for slower ones.

The target of each problem is written into its file, and what it comes from into benchmarks/targets.json. The identity
there is that of the problem with SGD: if it is another one now, the target is out of date.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import nnspec
from nnspec.api import compile_spec
from nnspec.semantics.meaning import identity, meaning

SPECS = Path(__file__).resolve().parents[1] / "specs"
RECORD = Path(__file__).with_suffix(".json")
LANES = ("SGD", "Momentum", "Adam")
BUDGET, RERUNS, FIRST_SEED = 20, 20, 101
SHARE = 0.75


def spaces() -> list[str]:
    """Return the spaces of the lanes as lines of a `tune` section, from specs/contestants.nn."""
    text = (SPECS / "contestants.nn").read_text(encoding="utf-8")
    return [
        line.strip() for line in text.splitlines() if line.strip().startswith(tuple(f"{lane}.opt" for lane in LANES))
    ]


def race(name: str) -> nnspec.Spec:
    """Return the tuned race of a problem."""
    tune = "\n".join([f"budget = {BUDGET}", "search = halton", *spaces()])
    text = f'import "problems/{name}.nn"\nrace {{ {"; ".join(LANES)} }}\ntune {{\n{tune}\n}}\n'
    return nnspec.Spec.parse(text, f"{name}.nn", SPECS)


def rerun(name: str, optimizer: str) -> nnspec.Spec:
    """Return a problem with an optimizer, trained with other seeds."""
    problem = (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8")
    text = re.sub(r"\ntune {.*?\n}\n", "", problem, flags=re.DOTALL)
    more = f"optimizer = {optimizer}\ntrain.repeats = {RERUNS}\n"
    return nnspec.Spec.parse(text + more, f"{name}.nn", SPECS / "problems").with_(seed=FIRST_SEED)


def derived(name: str, **options: Any) -> dict[str, Any]:
    """Tune, train again, and return the target with what it comes from."""
    searched = nnspec.run(race(name), **options)
    tuned = searched.tuned
    if tuned is None:
        raise SystemExit(f"{name} was not tuned")
    best = {study.lane: study.chosen for study in tuned.studies if study.chosen is not None}
    sign = 1 if tuned.lower_is_better else -1
    winner = min(best, key=lambda lane: sign * best[lane].figure)
    setting = ", ".join(f"{key.removeprefix('optimizer.')}={value!r}" for key, value in best[winner].settings.items())
    repeats = nnspec.run(rerun(name, f"{winner}({setting})"), **options)["run"].repeats
    reached = [best_in(one.history[tuned.by], sign) for one in repeats]
    return {
        "by": tuned.by,
        "identity": identity_of(name),
        "tuned": {lane: {**trial.settings, "figure": rounded(trial.figure, 6)} for lane, trial in best.items()},
        "winner": f"{winner}({setting})",
        "reached": [rounded(value, 6) for value in reached],
        "target": target_of(reached),
    }


def identity_of(name: str) -> str:
    """Return the identity of a problem with SGD."""
    return identity(meaning(compile_spec(rerun(name, "SGD")).program))


def best_in(curve: Any, sign: int) -> float:
    """Return the best value in the first epochs of a curve."""
    return sign * min(sign * value for value in curve[: math.floor(SHARE * len(curve))])


def target_of(reached: list[float]) -> float:
    """Return the median, rounded to three digits."""
    return rounded(statistics.median(reached), 3)


def rounded(value: float, digits: int) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")


def write(name: str, target: float) -> None:
    """Write the target into the file of a problem."""
    path = SPECS / "problems" / f"{name}.nn"
    text = path.read_text(encoding="utf-8")
    section = r"(\ntune \{\n    by = \w+)(\n    target = \S+)?"
    path.write_text(re.sub(section, rf"\1\n    target = {target:g}", text), encoding="utf-8")


def main() -> None:
    """Derive the targets of some problems, or of all."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("problems", nargs="*", metavar="PROBLEM")
    options.add_argument("--data-dir", type=Path, help="where MNIST is")
    given = options.parse_args()
    for name in given.problems or sorted(path.stem for path in (SPECS / "problems").glob("*.nn")):
        data_dir = given.data_dir if "MNIST(" in (SPECS / f"problems/{name}.nn").read_text(encoding="utf-8") else None
        found = derived(name, data_dir=data_dir, jobs=1)
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        text = json.dumps({**record, name: found}, indent=1, sort_keys=True)
        text = re.sub(r"\[[^\[\]{}]*\]", lambda row: " ".join(row[0].split()), text)
        RECORD.write_text(text + "\n", encoding="utf-8")
        write(name, found["target"])
        print(f"{name}: {found['by']} {found['target']:g}, by {found['winner']}", flush=True)


if __name__ == "__main__":
    main()
