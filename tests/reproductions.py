"""Tables of docs/reproduced.md: published figures beside ours, and what a rule says of each pair.

Published figures and their sources are in benchmarks/reproduced/published.json. `benchmarks/reproduced.py` writes ours,
measured.json, from run folders.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnspec.statistics.significance import interval, t_quantile

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reproduced.md"
STORE = ROOT / "benchmarks/reproduced"
PUBLISHED: dict[str, Any] = json.loads((STORE / "published.json").read_text(encoding="utf-8"))
MEASURED: dict[str, Any] = json.loads((STORE / "measured.json").read_text(encoding="utf-8"))

Reach = tuple[float, float]
LANES = ("SGD", "Momentum", "Adam")


def prediction(values: Sequence[float]) -> Reach:
    """Return the 95 % prediction interval for one more training: mean ± t · s · √(1 + 1/n), for normal figures."""
    mean, n = statistics.fmean(values), len(values)
    reach = t_quantile(0.975, n - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach


def verdict(published: Iterable[float], reach: Reach) -> str:
    """Return whether published figures lie in an interval."""
    low, high = reach
    inside = [low <= value <= high for value in published]
    return "agrees" if all(inside) else "differs" if not any(inside) else f"{sum(inside)} of {len(inside)} agree"


def best_of_three(values: Sequence[float]) -> Reach:
    """Return the 95 % prediction interval for the best of three more trainings. The largest of three numbers from
    N(m, s²) has the mean m + 0.8463 s and the deviation 0.7480 s.
    """
    mean, deviation, n = statistics.fmean(values), statistics.stdev(values), len(values)
    reach = t_quantile(0.975, n - 1) * deviation * math.sqrt(0.7480**2 + 1 / n)
    return mean + 0.8463 * deviation - reach, mean + 0.8463 * deviation + reach


# DeepOBS


def deepobs_final() -> Iterator[list[str]]:
    """The last losses at the published rates."""
    yield ["lane", "rate", "figure", "published, one per seed", "ours: 95 % prediction interval", "verdict"]
    theirs, ours = PUBLISHED["deepobs"], MEASURED["deepobs"]["theirs"]
    for lane in LANES:
        for figure, values in (("test loss", theirs["test_loss"]), ("training loss", theirs["seeds"])):
            published = list(values[lane].values())
            reach = prediction(ours[lane]["test_loss" if figure == "test loss" else "loss"])
            rate, said = _rate(theirs["chosen"][lane]), verdict(published, reach)
            yield [lane, rate, figure, _listed(published, 2), _range(reach, 2), said]


def deepobs_choice() -> Iterator[list[str]]:
    """The rates that tuning chose."""
    yield ["lane", "published choice", "ours, of five studies", "verdict: at most one step of the grid apart"]
    for lane in LANES:
        theirs, ours = PUBLISHED["deepobs"]["chosen"][lane], MEASURED["deepobs"]["chosen"][lane]
        near = sum(abs(each - theirs) < 0.3 for each in ours)
        yield [
            lane,
            _rate(theirs),
            ", ".join(map(_rate, ours)),
            "agrees" if near == len(ours) else f"{near} of {len(ours)} agree",
        ]


def deepobs_grid() -> Iterator[list[str]]:
    """The training loss after 100 epochs at every rate of the grid whose published file is stored."""
    yield ["lane", "rates compared", "agree", "both diverge", "differ: published, ours"]
    for lane in LANES:
        rows = list(grid(lane))
        agree = sum(row[3] == "agrees" for row in rows)
        both = sum(row[3] == "both diverge" for row in rows)
        differ = [
            f"{_rate(e)}: {_number(p)}, {_range(i, 1) if i else 'diverges'}" for e, p, i, v in rows if v == "differs"
        ]
        yield [lane, str(len(rows)), str(agree), str(both), "; ".join(differ) or "none"]


def grid(lane: str) -> Iterator[tuple[float, float | None, Reach | None, str]]:
    """Yield the exponent of each rate, the published training loss, our interval, and the verdict; None: divergence."""
    ours = {float(e): values for e, values in MEASURED["deepobs"]["grid"][lane].items()}
    for exponent, published in PUBLISHED["deepobs"]["grid"][lane].items():
        values = ours[float(exponent)]
        reach = None if None in values else prediction(values)
        same = "both diverge" if published is None and reach is None else "differs"
        said = verdict([published], reach) if published is not None and reach is not None else same
        yield float(exponent), published, reach, said


def deepobs_order() -> Iterator[list[str]]:
    """What the order of the batches does to the test loss."""
    yield ["lane", "published, one per seed", "the same batches in every epoch", "drawn anew in every epoch"]
    for lane in LANES:
        both = (MEASURED["deepobs"][key][lane]["test_loss"] for key in ("theirs", "anew"))
        shown = (f"{found.mean:.2f} ± {found.mean - found.low:.2f}" for found in map(interval, both))
        yield [lane, _listed(PUBLISHED["deepobs"]["test_loss"][lane].values(), 2), *shown]


# Nielsen

NIELSEN = {
    "thirty_3": "30 hidden, η = 3",
    "hundred_3": "100 hidden, η = 3",
    "hundred_0_001": "100 hidden, η = 0.001",
    "thirty_100": "30 hidden, η = 100",
}


def nielsen() -> Iterator[list[str]]:
    """Test accuracies: the best epoch, the first and the last one."""
    yield ["network, rate", "figure", "published", "ours, one per seed", "rule", "verdict"]
    for lane, name in NIELSEN.items():
        published, runs = PUBLISHED["nielsen"]["lanes"][lane], MEASURED["nielsen"][lane]
        if lane.endswith("_3"):
            peaks = [100 * max(run) for run in runs]
            yield [name, "best epoch", *_nielsen_row(published["peak"], peaks, "best of three", best_of_three(peaks))]
        if lane == "thirty_100":
            same = "agrees" if all(max(run) < 0.12 for run in runs) else "differs"
            last = [100 * run[-1] for run in runs]
            yield [
                name,
                "epoch 29",
                f"{published['after']['29'] / 100:.2f} %",
                _listed(last, 2),
                "at most 12 % in every epoch",
                same,
            ]
        elif published["after"]:
            yield [name, *_nielsen_epochs(published["after"], runs)]


def _nielsen_epochs(published: Mapping[str, int], runs: Sequence[Sequence[float]]) -> list[str]:
    """Return a row for all epochs that the source prints."""
    reaches = [prediction([100 * run[int(epoch)] for run in runs]) for epoch in published]
    agree = sum(low <= each / 100 <= high for each, (low, high) in zip(published.values(), reaches, strict=True))
    means = [statistics.fmean(100 * run[int(epoch)] for run in runs) for epoch in published]
    theirs = _listed((each / 100 for each in published.values()), 2)
    said = "agrees" if agree == len(reaches) else f"{agree} of {len(reaches)} agree"
    return [f"epochs {', '.join(published)}", theirs, f"means: {_listed(means, 2)}", "95 % for each", said]


def _nielsen_row(published: int, ours: Sequence[float], rule: str, reach: Reach) -> list[str]:
    reach = max(reach[0], 0), min(reach[1], 100)
    return [
        f"{published / 100:.2f} %",
        _listed(ours, 2),
        f"{rule}: {_range(reach, 2)}",
        verdict([published / 100], reach),
    ]


# Adam


def adam() -> Iterator[list[str]]:
    """Training losses of logistic regression, as in Figure 1 of the paper."""
    yield ["lane", "chosen", *(f"loss, epoch {epoch}" for epoch in EPOCHS)]
    for lane, found in MEASURED["adam"].items():
        at = [statistics.fmean(run[epoch - 1] for run in found["loss"]) for epoch in EPOCHS]
        yield [lane, setting(found["chosen"]), *(f"{value:.4f}" for value in at)]


def setting(chosen: str) -> str:
    """Return what was chosen in the words of the paper: α = 0.3, or α = 1, momentum 0.99."""
    rate, *momentum = re.sub(r"inverse\(([\d.]+),[^)]*\)", r"\1", chosen).split(", ")
    return f"α = {rate}" + "".join(f", momentum {value}" for value in momentum)


EPOCHS = (1, 5, 10, 20, 45)


def adam_claims() -> Iterator[list[str]]:
    """Whether the order that the paper reports holds."""
    yield ["claim", *(f"epoch {epoch}" for epoch in EPOCHS)]
    for rival, words in (("AdaGrad", "AdaGrad with α / √t"), ("AdaGrad_constant", "AdaGrad with a constant α")):
        gaps = [_gaps(rival, epoch) for epoch in EPOCHS]
        said = [
            f"holds: {behind:.3f} > {apart:.3f}" if behind > apart else f"fails: {behind:.3f}, {apart:.3f}"
            for behind, apart in gaps
        ]
        yield [f"Adam and Nesterov are alike, and both are faster than {words}", *said]


def _gaps(rival: str, epoch: int) -> tuple[float, float]:
    loss = {lane: statistics.fmean(run[epoch - 1] for run in found["loss"]) for lane, found in MEASURED["adam"].items()}
    pair = loss["Adam"], loss["Nesterov"]
    return loss[rival] - max(pair), abs(pair[0] - pair[1])


# All


def summary() -> Iterator[list[str]]:
    """How many published figures of each kind agree."""
    yield ["source", "published", "agree with ours"]
    final = [[*row][-1] for row in deepobs_final()][1:]
    rows = [row for lane in LANES for row in grid(lane)]
    near = sum(row[3] != "differs" for row in rows)
    yield [
        "DeepOBS",
        "last losses of SGD, Momentum and Adam at their best rates",
        _of(final.count("agrees"), len(final)),
    ]
    yield ["DeepOBS", "training losses of rates from 1e-5 to 10, or divergence", _of(near, len(rows))]
    said = [row[-1] for row in nielsen()][1:]
    yield ["Nielsen", "test accuracies at rates 3, 0.001 and 100", _of(said.count("agrees"), len(said))]
    claim, _ = [*adam_claims()][1:]
    yield [
        "Kingma and Ba",
        "Adam is like Nesterov momentum, and faster than AdaGrad",
        _of(sum("holds" in cell for cell in claim), len(EPOCHS)) + " epochs",
    ]


def _of(count: int, all_of_them: int) -> str:
    return f"{count} of {all_of_them}"


# The page

TABLES = {
    "summary": summary,
    "deepobs-final": deepobs_final,
    "deepobs-grid": deepobs_grid,
    "deepobs-choice": deepobs_choice,
    "deepobs-order": deepobs_order,
    "nielsen": nielsen,
    "adam": adam,
    "adam-claims": adam_claims,
}
_MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def page() -> str:
    """Return the page with its tables made anew; its prose is written by hand."""
    return _MARKED.sub(lambda found: found[1] + _table(TABLES[found[2]]()), PAGE.read_text(encoding="utf-8"))


def _table(rows: Iterator[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rate(exponent: float) -> str:
    return f"{10**exponent:.2g}"


def _number(value: float | None) -> str:
    return "diverges" if value is None else f"{value:.2f}"


def _range(reach: Reach, digits: int) -> str:
    return f"{reach[0]:.{digits}f} to {reach[1]:.{digits}f}"


def _listed(values: Iterable[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)
