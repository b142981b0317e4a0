"""The results of a run: its lanes, the best point of a sweep, expectations, pairwise comparisons, and a diagnosis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnspec.engine.metrics.contract import higher_is_better
from nnspec.results.health import DEAD
from nnspec.view.report.blocks import Block, Details, Heading, Table, Text, svg_color
from nnspec.view.report.run import ReportRun
from nnspec.view.wording import numbers, phrases
from nnspec.view.wording.folds import fold_tables
from nnspec.view.wording.sweep import best_lines, grid_columns, grid_title, grids_of, ranked_records

__all__ = ["health", "results"]


def results(run: ReportRun) -> Iterator[Block]:
    """Yield the table of lanes, their expectations and comparisons."""
    yield _lanes(run)
    for folds in fold_tables(run.summary, [lane["name"] for lane in run.ranked]):
        yield Details(folds.title, [Table(list(folds.head), list(folds.rows), "", 2)])
    yield from _sweep(run.summary)
    for lane in run.ranked:
        for remark in filter(None, (lane["message"], lane["stopped"] and f"stopped {lane['stopped']}", _kept(lane))):
            yield Text(f"{lane['name']}: {remark}", "soft")
    if run.summary["expectations"]:
        yield Heading("Expectations")
        yield _expectations(run.summary["expectations"])
    if comparisons := run.summary.get("comparisons", ()):
        yield Heading("Pairwise comparisons")
        yield _comparisons(comparisons)


def _lanes(run: ReportRun) -> Table:
    target, lanes, slots = run.summary["common_loss"], run.ranked, run.slots
    figures = list(dict.fromkeys(name for lane in lanes for name in lane["final"]))
    has_status = any(lane["status"] != "done" for lane in lanes)
    head = ["lane", "optimizer", *["status"] * has_status, _unit(lanes), *(name.replace("_", " ") for name in figures)]
    head += ["weights", "time", *([f"to loss {target:g}"] if target is not None else [])]
    rows = []
    for lane in lanes:
        row = [Text(lane["name"], is_name=True, color=svg_color(slots.get(lane["name"]))), lane["optimizer"]]
        row += [Text(lane["status"], "" if lane["status"] == "done" else "no")] * has_status
        row += [_progress(lane, lanes), *(_figure(name, lane) for name in figures)]
        row += [f"{lane['params']:,}", numbers.seconds(lane["seconds"])]
        if target is not None:
            epoch = lane["epochs_to_common_loss"]
            row.append("–" if epoch is None else f"epoch {epoch:.3g}")
        rows.append(row)
    repeated = any("repeats" in lane for lane in lanes)
    caption = "Means over the seeds ± half of the 95 % interval. " if repeated else ""
    figure = ranked_records(run.summary)[1]
    if figure and len(lanes) > 1:
        caption += f"The {'highest' if higher_is_better(figure) else 'lowest'} {figure.replace('_', ' ')} first."
    return Table(head, rows, caption, 2 + has_status)


def _unit(lanes: Sequence[Mapping[str, Any]]) -> str:
    return "steps" if all("steps" in lane for lane in lanes) else "epochs"


def _progress(lane: Mapping[str, Any], lanes: Sequence[Mapping[str, Any]]) -> str:
    """Return the completed epochs or steps of a lane, of those asked for; those of repeats are in their own rows."""
    unit = _unit(lanes)
    return f"{lane[unit]:.6g}/{lane[f'{unit}_asked_for']:.6g}"


def _figure(name: str, lane: Mapping[str, Any]) -> str:
    interval = lane.get("intervals", {}).get(name)
    half = (interval["high"] - interval["low"]) / 2 if interval and interval["low"] is not None else math.nan
    return numbers.figure(name, lane["final"].get(name, math.nan), half)


def _kept(lane: Mapping[str, Any]) -> str:
    unit = "step" if "steps" in lane else "epoch"
    ends = {one["seed"]: one[f"kept_{unit}"] for one in lane.get("repeats", (lane,)) if "kept_epoch" in one}
    return f"weights and figures of {phrases.restored(ends, unit, several='repeats' in lane)}, the best" if ends else ""


def _sweep(summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the best point of a sweep, the command that runs it again, and its figure over pairs of settings."""
    for line, kind in best_lines(summary):
        yield Text("", code=line) if kind == "command" else Text(f"{line}.")
    for grid in grids_of(summary):
        columns = grid_columns(grid, summary)
        rows = [[column.cells[i].strip() for column in columns] for i in range(len(grid.rows[1]))]
        yield Table([column.head.strip() for column in columns], rows, grid_title(grid, summary), 1)


def _expectations(expectations: Sequence[Mapping[str, Any]]) -> Table:
    marks = {True: Text("✓ held", "yes"), False: Text("✗ missed", "no"), None: Text("– not judged", "soft")}
    rows = [(Text("", code=each["text"]), marks[each["held"]], each["detail"]) for each in expectations]
    return Table(["expectation", "verdict", "measured"], rows)


def _comparisons(comparisons: Sequence[Mapping[str, Any]]) -> Details:
    rows = []
    for each in comparisons:
        tested = each["p_adjusted"] is not None
        if each["shown"]:
            verdict = Text(f"{each['lanes'][0]} is better", "yes")
        elif tested:
            verdict = Text("no difference shown", "soft")
        else:
            verdict = Text("no spread to test against" if each["difference"] else "the same", "soft")
        rows.append(
            (
                Text(" – ".join(each["lanes"]), is_name=True),
                verdict,
                each["figure"],
                f"{each['difference']:.3g} [{each['low']:.3g}, {each['high']:.3g}]",
                f"{each['p_adjusted']:.2g}" if tested else "–",
                str(each["n"]),
            )
        )
    caption = (
        "Paired t-tests over the seeds. p is adjusted by Holm’s method over all pairs; each interval is that of its "
        "pair alone."
    )
    table = Table(["lanes", "verdict", "figure", "difference [95 %]", "p", "seeds"], rows, caption, 3)
    shown = sum(bool(each["shown"]) for each in comparisons)
    summary = f"{len(comparisons)} pair{'s' if len(comparisons) > 1 else ''}: "
    return Details(summary + (f"a difference is shown in {shown}" if shown else "no difference is shown"), [table])


def health(summary: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the problems found, or the list of checks if there are none; and dead units."""
    yield Heading("Diagnosis")
    rows = [
        (lane["name"], each["kind"], Text("", code=f"{each['file']}:{each['line']}"), each["text"], each["advice"])
        for lane in summary["lanes"]
        for each in lane.get("health", ())
    ]
    if rows:
        yield Table(["lane", "problem", "location", "measured", "suggestion"], rows)
    else:
        yield Text(
            "No problems found: no loss diverged or rose, no regression was worse than predicting the mean, no layer "
            f"had more than {100 * DEAD:.0f} % of its units dead at the end, no gradients vanished or exploded.",
            "soft",
        )
    for lane in summary["lanes"]:
        counts = lane.get("repeats", (lane,))[0].get("dead_units", {})
        dead = [f"{layer} {dead} of {units}" for layer, (dead, units, _) in counts.items() if dead]
        if dead:
            samples = max(samples for *_, samples in counts.values())
            text = f"{lane['name']}: {', '.join(dead)} units dead (on a flat end for all of {samples:,} samples)"
            yield Text(text, "soft")
