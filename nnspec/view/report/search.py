"""The search before a race: the tuned hyperparameters, the trials, and the result of a smaller budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnspec.engine.metrics.contract import figure_and_target
from nnspec.engine.spaces import Space
from nnspec.results.tuning import TrialResult, Tuned
from nnspec.view.axes import Scale, is_drawable, round_numbers, tick_text
from nnspec.view.palette import GREY
from nnspec.view.report.blocks import Block, Details, Legend, SideBySide, Stack, Table, Text, svg_color
from nnspec.view.report.charts import Chart, Line, Series, Tick, chart
from nnspec.view.report.run import ReportRun
from nnspec.view.wording import numbers, tuning

__all__ = ["search"]

_MOST = 12
"""Settings whose trials are drawn."""
_WIDE = 5.0
"""Ratio of the figures of trials from which on they are drawn on a logarithmic axis."""


def search(run: ReportRun) -> Iterator[Block]:
    """Yield the search of a run; nothing if it was not tuned."""
    record = run.summary.get("tuned")
    if record is None:
        return
    tuned, summary = Tuned.of_record(record), record["summary"]
    rows = [
        (r.lane, r.setting, r.chosen, r.figure, r.tolerance, r.diverged, r.space) for r in tuning.rows(tuned, summary)
    ]
    figure = numbers.named(tuned.by)
    head = ["lane", "hyperparameter", "chosen", f"best {figure}", "tolerance", "diverged", "search space"]
    yield Table(head, [_row(row, run) for row in rows], f"{tuning.title(tuned).capitalize()}.", 2)
    for line, kind in tuning.sentences(tuned, summary):
        yield Text(f"{line[0].upper()}{line[1:]}.", "no" if kind == "doubt" else "")
    slots = {lane: _slot(run, lane) for lane in tuned.lanes}
    if (fewer := _fewer(tuned, summary, slots)) is not None:
        yield Legend.of([*slots.items()])
        yield SideBySide([Stack(f"Best {figure} by number of trials: median and 80 % band", [fewer])])
    drawn = [
        _trials(tuned, summary, lane, setting, slots[lane]) for lane in tuned.lanes for setting in tuned.spaces[lane]
    ]
    found = [each for each in drawn if each is not None][:_MOST]
    if found:
        lost = "diverged" if figure_and_target(tuned.by)[1] is None else "diverged or did not reach the target"
        caption = (
            f"Each mark is a trial: ● chosen, ◇ not chosen, □ (at the top) {lost}. In the shaded range, the gap to "
            "the ideal figure is at most twice that of the best trial."
        )
        yield Text(caption, "soft")
        yield SideBySide(found)
    yield Details(f"All {len(tuned.trials)} trials", [_all(tuned)])


def _row(row: Sequence[str], run: ReportRun) -> list[str | Text]:
    lane, *rest = row
    return [Text(lane, is_name=True, color=svg_color(_slot(run, lane))) if lane else "", *rest]


def _slot(run: ReportRun, lane: str) -> int | None:
    """Return the place of a lane in the palette; with several studies, that of its first."""
    slots = run.slots
    return next((slot for name, slot in slots.items() if name.split(",")[0] == lane), None)


def _fewer(tuned: Tuned, summary: Mapping[str, Any], slots: Mapping[str, int | None]) -> Chart | None:
    """Draw the best figure by number of trials."""
    lines = []
    for lane in summary["lanes"]:
        best = [each for each in lane["best_after"] if None not in (each["median"], each["low"], each["high"])]
        if best:
            low, middle, high = ([each[name] for each in best] for name in ("low", "median", "high"))
            places = [each["trials"] for each in best]
            lines.append(Series(lane["lane"], middle, slots[lane["lane"]], None, low, high, places, "trials"))
    values = [value for line in lines for value in (*line.low, *line.high)]
    log = bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
    return chart(f"best {tuned.by} by number of trials", lines, log=log, percent=numbers.is_percent(tuned.by))


def _trials(tuned: Tuned, summary: Mapping[str, Any], lane: str, setting: str, slot: int | None) -> Stack | None:
    """Draw the trials of a lane over the values of one setting; None if these are not numbers."""
    space, study = tuned.spaces[lane][setting], tuned.of(lane)[0]
    trials = [trial for trial in study.undropped if isinstance(trial.settings[setting], (int, float))]
    good = [trial.figure for trial in trials if trial.counts]
    if space.scale == "values" or not good:
        return None
    log, percent = min(good) > 0 and max(good) > _WIDE * min(good), numbers.is_percent(tuned.by)
    scale = Scale.around(good, log=log, percent=percent)
    across = _Across(space, [float(trial.settings[setting]) for trial in trials])
    found = next(each for each in summary["lanes"] if each["lane"] == lane)["ranges"].get(setting)

    def y(value: float) -> float:
        return round(Chart.bottom - (Chart.bottom - _TOP) * scale.share(value), 1)

    def line(trial: TrialResult) -> Line:
        x = across.x(float(trial.settings[setting]))
        if not trial.counts or not is_drawable(trial.figure, log):
            return Line(GREY, [(x, _TOP)], 1, "", "s")
        return Line(svg_color(slot), [(x, y(trial.figure))], 1, "", "o" if trial is study.chosen else "D")

    band = []
    if found is not None and found["low"] is not None:
        left, right = across.x(found["low"]), across.x(found["high"])
        band = [(svg_color(slot), [(left, _TOP), (right, _TOP), (right, Chart.bottom), (left, Chart.bottom)])]
    name = setting.removeprefix("optimizer.")
    drawing = Chart(
        f"{tuned.by} of the trials of {lane} by {setting}",
        name,
        [Tick(y(value), tick_text(value, percent=percent)) for value in scale.ticks(6)],
        [Tick(across.x(value), tick_text(value)) for value in across.ticks()],
        band,
        [line(trial) for trial in trials],
        [],
    )
    return Stack(f"{lane}: {numbers.named(tuned.by)} by {name}", [drawing])


_TOP = 16


class _Across:
    """The horizontal axis: the values of a setting, on the scale of its space."""

    def __init__(self, space: Space, values: Sequence[float]) -> None:
        self._log = space.scale == "log" and min(values) > 0
        ends = [float(space.at(u)) for u in (0.0, math.nextafter(1.0, 0.0))]
        self.low, self.high = min(*values, *ends), max(*values, *ends)

    def x(self, value: float) -> float:
        """Return the place of a value in the drawing."""
        low, high, at = (math.log(each) if self._log else each for each in (self.low, self.high, value))
        share = min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5
        return round(Chart.left + 8 + (Chart.right - Chart.left - 16) * share, 1)

    def ticks(self) -> list[float]:
        """Return round values."""
        return round_numbers(self.low, self.high, 6, log=self._log)


def _all(tuned: Tuned) -> Table:
    settings = list(dict.fromkeys(setting for own in tuned.spaces.values() for setting in own))
    several = len({study.number for study in tuned.studies}) > 1
    rows: list[list[str | Text]] = [
        [
            Text(trial.name, is_name=True),
            *[str(trial.study)] * several,
            *(tuning.value_in_words(trial.settings[s]) if s in trial.settings else "" for s in settings),
            numbers.figure(tuned.by, trial.figure) if math.isfinite(trial.figure) else "–",
            Text(trial.status, "" if trial.status == "done" else "no"),
            f"{trial.steps:,}",
            numbers.seconds(trial.seconds),
        ]
        for trial in tuned.trials
    ]
    head = [
        "trial",
        *["study"] * several,
        *(s.removeprefix("optimizer.") for s in settings),
        tuned.by,
        "status",
        "steps",
    ]
    return Table([*head, "time"], rows, "", 1)
