"""Published results beside ours: what docs/reproduced.md shows, from the runs of the specs in benchmarks/reproduced.

python benchmarks/reproduced.py [--runs DIR]

DIR has the run folders that the page tells how to make: deepobs, deepobs_theirs, deepobs_anew, nielsen and adam. Their
figures are written to benchmarks/reproduced/measured.json, which the page and its test read; folders that are missing
leave theirs as they are. Then the pictures are drawn, and the tables of the page made anew.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from nnspec.view.palette import INK, PALETTE

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
STORE = ROOT / "benchmarks/reproduced/measured.json"
COLOURS = dict(zip(("SGD", "Momentum", "Adam"), PALETTE, strict=False))


def main() -> None:
    """Collect figures, draw the pictures, and write the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=Path, metavar="DIR", help="folder of the run folders")
    runs = options.parse_args().runs
    if runs is not None:
        collect(runs)
    sys.path.insert(0, str(ROOT / "tests"))
    import reproductions  # reads measured.json

    for draw in (draw_deepobs, draw_nielsen, draw_adam):
        draw(reproductions)
    reproductions.PAGE.write_text(reproductions.page(), encoding="utf-8")


# Figures


def collect(runs: Path) -> None:
    """Write the figures of the run folders that there are."""
    measured = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    if (runs / "deepobs/summary.json").exists():
        measured.setdefault("deepobs", {}).update(tuned(runs / "deepobs"))
    for name in ("theirs", "anew"):
        if (runs / f"deepobs_{name}/summary.json").exists():
            measured.setdefault("deepobs", {})[name] = {
                lane: {
                    "loss": [_rounded(run["loss"][-1]) for run in repeats(runs / f"deepobs_{name}", lane)],
                    "test_loss": [_rounded(run["test_loss"][-1]) for run in repeats(runs / f"deepobs_{name}", lane)],
                    "curve": _mean([run["test_loss"][:30] for run in repeats(runs / f"deepobs_{name}", lane)]),
                }
                for lane in COLOURS
            }
    if (runs / "nielsen/summary.json").exists():
        lanes = _read(runs / "nielsen/history.json")["lanes"]
        measured["nielsen"] = {
            lane: [[round(value, 4) for value in run["test_accuracy"]] for run in repeats(runs / "nielsen", lane)]
            for lane in lanes
        }
    if (runs / "adam/summary.json").exists():
        measured["adam"] = {
            lane: {
                "chosen": ", ".join(str(value) for value in chosen["settings"].values()),
                "loss": [[_rounded(value) for value in run["loss"]] for run in repeats(runs / "adam", lane)],
            }
            for lane, chosen in ((study["lane"], winner(study)) for study in studies(runs / "adam"))
        }
    lines = re.sub(r"\[[^\[\]{}]*\]", lambda row: re.sub(r"\s+", " ", row[0]), json.dumps(measured, indent=1))
    STORE.write_text(lines + "\n", encoding="utf-8")


def tuned(run: Path) -> dict[str, Any]:
    """Return what a tuned run of quadratic_deep chose, and the training loss of every trial, by rate."""
    chosen: dict[str, list[float]] = {}
    grid: dict[str, dict[str, list[float | None]]] = {}
    losses = _read(run / "trials/history.json")["lanes"]
    for study in studies(run):
        lane = study["lane"]
        chosen.setdefault(lane, []).append(_exponent(winner(study)))
        for trial in study["trials"]:
            loss = _rounded(losses[trial["name"]]["loss"][-1]) if trial["status"] == "done" else None
            grid.setdefault(lane, {}).setdefault(str(_exponent(trial)), []).append(loss)
    return {"chosen": chosen, "grid": grid}


def studies(run: Path) -> list[dict[str, Any]]:
    """Return the studies of a tuned run."""
    return _read(run / "summary.json")["tuned"]["studies"]


def winner(study: dict[str, Any]) -> dict[str, Any]:
    """Return the trial that a study chose."""
    return next(trial for trial in study["trials"] if trial["number"] == study["chosen"])


def repeats(run: Path, lane: str) -> list[dict[str, list[float]]]:
    """Return the curves of a lane, of one training after another."""
    found = _read(run / "history.json")["lanes"][lane]
    return found.get("repeats", [found])


def _exponent(trial: dict[str, Any]) -> float:
    return round(math.log10(float(trial["settings"]["optimizer.lr"])), 1) + 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")


def _mean(curves: Sequence[Sequence[float]]) -> list[float]:
    return [round(float(value), 3) for value in np.mean(curves, axis=0)]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


# Pictures


def draw_deepobs(page: Any) -> None:
    """Draw the training loss over the rate, and test losses over epochs, with the published figures as circles."""
    theirs, ours = page.PUBLISHED["deepobs"], page.MEASURED["deepobs"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for lane, colour in COLOURS.items():
        points = sorted((float(e), v) for e, v in ours["grid"][lane].items() if None not in v)
        rates = [10**e for e, _ in points]
        left.plot(rates, [statistics.fmean(v) for _, v in points], color=colour, label=lane)
        left.fill_between(
            rates, [min(v) for _, v in points], [max(v) for _, v in points], color=colour, alpha=0.2, lw=0
        )
        published = [(10 ** float(e), v) for e, v in theirs["grid"][lane].items() if v is not None]
        left.plot(*zip(*published, strict=True), "o", color=colour, mfc="white", ms=6)
        curve = theirs["curve"][lane]["test_loss"]
        right.plot(range(1, 31), ours["theirs"][lane]["curve"], color=colour)
        right.plot(range(len(curve)), curve, "o", color=colour, mfc="white", ms=4.5)
    left.set(
        xscale="log", yscale="log", ylim=(80, 400), xlabel="learning rate", ylabel="training loss after 100 epochs"
    )
    left.set_yticks([80, 100, 150, 200, 300, 400], labels=["80", "100", "150", "200", "300", "400"])
    left.minorticks_off()
    right.set(ylim=(80, 290), xlim=(0.5, 30.5), xlabel="epoch", ylabel="test loss at the published rates")
    left.plot([], [], "o", color=INK, mfc="white", label="published")
    left.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.5, 1))
    _save(figure, "reproduced-deepobs")


def draw_nielsen(page: Any) -> None:
    """Draw the test accuracy over epochs, a line for each seed, with the published figures as circles."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(2, 1))
    for axis in axes:
        for colour, (lane, name) in zip(PALETTE, page.NIELSEN.items(), strict=False):
            for place, run in enumerate(page.MEASURED["nielsen"][lane]):
                shown = [100 * value for value in run]
                axis.plot(range(30), shown, color=colour, lw=1, alpha=0.8, label=name if not place else None)
            after = page.PUBLISHED["nielsen"]["lanes"][lane]["after"]
            axis.plot([*map(int, after)], [v / 100 for v in after.values()], "o", color=colour, mfc="white", ms=6)
        axis.set(xlabel="epoch")
    axes[0].plot([], [], "o", color=INK, mfc="white", label="published")
    axes[0].set(ylabel="test accuracy in %", ylim=(0, 100))
    axes[0].legend(frameon=False, loc="center right")
    axes[1].set(ylim=(90, 97.5), title="the same, from 90 %")
    _save(figure, "reproduced-nielsen")


def draw_adam(page: Any) -> None:
    """Draw the training loss over epochs, on the axis of the paper, and closer."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for colour, (lane, found) in zip(PALETTE, page.MEASURED["adam"].items(), strict=False):
        for axis in axes:
            curve = np.mean(found["loss"], axis=0)
            axis.plot(range(1, len(curve) + 1), curve, color=colour, label=f"{lane}: {page.setting(found['chosen'])}")
    for axis in axes:
        axis.set(xlabel="epoch", xlim=(0, 45))
    axes[0].set(ylim=page.PUBLISHED["adam"]["axis"], ylabel="training loss", title="on the axes of the paper")
    axes[1].set(ylim=(0.215, 0.3), title="closer")
    axes[0].legend(frameon=False)
    _save(figure, "reproduced-adam")


def _save(figure: Any, name: str) -> None:
    figure.savefig(PICTURES / f"{name}.png", dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
