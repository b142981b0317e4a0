"""The curves of a run: figures by epoch, learning rates and gradient norms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nnspec.statistics.significance import interval
from nnspec.view.palette import MEASURED_ON, NAMED, samples_of
from nnspec.view.pictures.panels import BANDS
from nnspec.view.report.blocks import Block, Legend, SideBySide, Stack, Tabs, Text
from nnspec.view.report.charts import Series, chart
from nnspec.view.report.run import ReportRun
from nnspec.view.wording import numbers

__all__ = ["curves", "gradients", "learning_rates"]

_MOST_NORMS = 8
"""Maximum number of tensors whose gradient norms are drawn."""
_NORMS_OF = 4
"""Maximum number of lanes whose gradient norms are drawn; the best ones are."""


def curves(run: ReportRun) -> Iterator[Block]:
    """Yield the charts of every figure: training solid, other samples dashed, linear and logarithmic."""
    lanes = [lane["name"] for lane in run.ranked[:NAMED]]
    figures = list(
        dict.fromkeys(name for lane in lanes for name, values in run.curves[lane].items() if _is_figure(name, values))
    )
    stacks = []
    for figure in figures:
        if samples_of(figure) is None:
            names = [figure, *(one.prefix + figure for one in MEASURED_ON if one.prefix + figure in figures)]
            drawn = _charts(figure, [one for name in names for one in series(run, lanes, name)])
            stacks += [Stack(figure.replace("_", " "), [drawn])] if drawn is not None else []
    if stacks:
        yield Text(_key(run, lanes, figures), "soft")
        yield Legend.of([(name, run.slots.get(name)) for name in lanes])
        yield SideBySide(stacks)


def _is_figure(name: str, values: object) -> bool:
    return isinstance(values, list) and name not in ("seconds", "repeats", "lr", "steps", "epochs")


def _charts(figure: str, lines: Sequence[Series]) -> Block | None:
    percent = numbers.is_percent(figure)
    linear = chart(f"{figure} of training (solid) and other samples (dashed)", lines, percent=percent)
    if linear is None or percent or all(len(one.values) <= 1 for one in lines):
        return linear
    logarithmic = chart(f"{figure}, logarithmic", lines, log=True)
    return Tabs([("linear", linear), ("logarithmic", logarithmic)]) if logarithmic is not None else linear


def _key(run: ReportRun, lanes: Sequence[str], figures: Sequence[str]) -> str:
    """Explain which samples the lines (or points, for a single epoch) and bands show."""
    single = all(len(run.curves[lane].get("loss", ())) <= 1 for lane in lanes)
    drawn = [one for one in MEASURED_ON if any(figure.startswith(one.prefix) for figure in figures)]
    words = [
        f"Training {'●' if single else 'solid'}",
        *(f"{one.name} {one.sign if single else one.line}" for one in drawn),
    ]
    text = f"{', '.join(words)}."
    repeated = sum("repeats" in run.curves[lane] for lane in lanes)
    if repeated:
        text += f" Lines are means over the seeds{', bands their 95 % intervals' if repeated <= BANDS else ''}."
    if len(lanes) < len(run.curves):
        text += f" The best {len(lanes)} of {len(run.curves)} lanes."
    return text


def series(run: ReportRun, lanes: Sequence[str], figure: str) -> Iterator[Series]:
    """Yield the line of each lane for a figure, with a band for training figures of a lane with repeats.

    Line and band are the mean and interval of the repeats that finished. If there are more than a few lanes, there are
    no bands, since they would cover each other.
    """
    banded = sum("repeats" in run.curves[lane] for lane in lanes) <= BANDS and samples_of(figure) is None
    for lane in lanes:
        recorded = run.curves[lane]
        done = {one["seed"] for one in run.saved.lane(lane).get("repeats", ()) if one["status"] == "done"}
        repeats = [_floats(one[figure]) for one in recorded.get("repeats", ()) if figure in one and one["seed"] in done]
        bands = []
        if banded and any(values != repeats[0] for values in repeats):
            bands = [
                interval(values) for values in zip(*repeats, strict=False)
            ]  # over the epochs that all of them have
        yield Series(
            lane,
            _floats(recorded.get(figure, ())),
            run.slots.get(lane),
            samples_of(figure),
            [band.low for band in bands],
            [band.high for band in bands],
            **_places(run, recorded),
        )


def _places(run: ReportRun, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the values of a lane were measured: in steps if all lanes of the run are, else in epochs."""
    unit = "step" if all("steps" in curves for curves in run.curves.values()) else "epoch"
    return {"places": recorded.get(f"{unit}s", ()), "unit": unit}


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def learning_rates(run: ReportRun) -> Iterator[Block]:
    """Yield the learning rate of each lane by epoch, if any has a schedule."""
    lines = list(series(run, [lane["name"] for lane in run.ranked[:NAMED]], "lr"))
    drawn = chart("learning rate at the end of each epoch", lines, log=True)
    if drawn is None:
        return
    if any(one.low for one in lines):
        yield Text("Lines are means over the seeds, bands their 95 % intervals.", "soft")
    yield Legend.of([(one.name, one.slot) for one in lines if one.values])
    yield SideBySide([Stack("", [drawn])])


def gradients(run: ReportRun) -> Iterator[Block]:
    """Yield the gradient norms of each lane by tensor; for a lane with repeats, those of the first."""
    stacks = []
    lanes = [lane["name"] for lane in run.ranked[:_NORMS_OF]]
    for lane in lanes:
        recorded = run.curves[lane]
        norms = (recorded.get("repeats") or [recorded])[0].get("gradient_norms", {})
        lines = [Series(name, _floats(norms[name]), i) for i, name in enumerate(first_and_last(norms))]
        lines = [replace(line, **_places(run, recorded)) for line in lines]
        drawn = chart(f"gradient norms of {lane}", lines, log=True)
        if drawn is not None:
            stacks.append(Stack(lane, [Legend.of([(one.name, one.slot) for one in lines]), drawn]))
    if not stacks:
        yield Text("No gradient norms were recorded.", "soft")
        return
    text = "L2 norm of the gradient of each tensor, for the last batch of every epoch, before clipping."
    if any("repeats" in run.curves[lane] for lane in lanes):
        text += " For a lane with several seeds, those of its first."
    yield Text(text, "soft")
    yield SideBySide(stacks)


def first_and_last(norms: Mapping[str, Any]) -> list[str]:
    """Return the tensors to draw: weights (of many, the first and last ones), then biases if there is room."""
    weights = [name for name in norms if not name.endswith("bias")]
    if len(weights) > _MOST_NORMS:
        return [*weights[: _MOST_NORMS // 2], *weights[-_MOST_NORMS // 2 :]]
    return [*weights, *(name for name in norms if name not in weights)][:_MOST_NORMS]
