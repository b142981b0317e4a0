"""Short tables of results, as text for a prompt and as HTML for a notebook."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.results.lane import LaneResult
from nnspec.results.search_summary import search_record
from nnspec.text import printable
from nnspec.view.html import render
from nnspec.view.terminal.screen import Column, plain_text, table
from nnspec.view.wording import numbers, phrases, tuning
from nnspec.view.wording.sweep import best_lines

__all__ = ["ShortTable", "summary_of"]

_ROWS, _LINES, _WIDTH = 10, 6, 100
_LANES, _VALUE_ROWS = 6, 200
_VALUES = ("setting", "argument", "layer")


@dataclass(frozen=True)
class ShortTable:
    """A title, a table, and sentences below it. Only the first rows and sentences are shown."""

    title: str
    columns: Sequence[Column] = ()
    lines: Sequence[str] = ()
    most: int = _ROWS
    """The number of rows that are shown."""

    @property
    def _more(self) -> list[str]:
        rows = max((len(column.cells) for column in self.columns), default=0)
        more = [f"and {rows - self.most:,} more rows"] if rows > self.most else []
        lines = [printable(line) for line in self.lines if line]
        return [*more, *lines[:_LINES], *([f"and {len(lines) - _LINES:,} more lines"] if len(lines) > _LINES else [])]

    def text(self) -> str:
        """Return it as text with at most 100 columns, unless names are longer."""
        columns = [Column(c.head, [printable(x) for x in c.cells[: self.most]], c.rank, c.right) for c in self.columns]
        printed = plain_text(lambda console: console.print(table(columns, _WIDTH)), _WIDTH) if columns else ""
        return "\n".join([printable(self.title), *(line.rstrip() for line in printed.splitlines()), *self._more])

    def html(self) -> str:
        """Return it as HTML that needs no style sheet."""
        columns = [column for column in self.columns if any(column.cells)]
        rows = min(max((len(column.cells) for column in columns), default=0), self.most)
        return render("notebook/table.html.j2", title=self.title, columns=columns, rows=rows, lines=self._more)


def summary_of(result: object) -> ShortTable:
    """Return the short table of a result. Raises LookupError if its type has none."""
    for kind in type(result).__mro__:
        if kind.__name__ in _TABLES:
            return _TABLES[kind.__name__](result)
    raise LookupError(f"a {type(result).__name__} has no short table")


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _figures(rows: Sequence[dict[str, float]]) -> list[Column]:
    """Return a column for each figure in any of the rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [
        Column(
            name.replace("_", " "),
            [numbers.figure(name, row[name]) if name in row else "–" for row in rows],
            rank,
            right=True,
        )
        for rank, name in enumerate(names, 1)
    ]


def _run(result: Any) -> ShortTable:
    lanes = result.ranked
    finals = [{name: lane.final(name) for name in lane.figures} for lane in lanes]
    data = ", ".join(phrases.data_in_words(use) for use in result.data)
    where = " · ".join(filter(None, (result.spec, data, phrases.seeds(result))))
    columns = [
        Column("lane", [lane.name for lane in lanes]),
        Column("status", [lane.status if any(x.status != "done" for x in lanes) else "" for lane in lanes], 2),
        Column(
            f"{phrases.unit(lanes)}s", [phrases.in_unit(lane, _progress(lane), lanes) for lane in lanes], 3, right=True
        ),
        *_figures(finals),
        Column("time", [numbers.seconds(lane.seconds) for lane in lanes], 4, right=True),
    ]
    standing = [f"{phrases.stand_in(use)}." for use in result.data if use.stands_in]
    verdicts = [phrases.verdict(verdict) for verdict in result.verdicts]
    folder = [f"{result.place.folder}: {', '.join(result.place.files)}"] if result.place else []
    unfinished = result.interrupted and result.tuned is not None and result.trials is None
    best = [line for line, _ in best_lines(result.summary)] if result.summary and not unfinished else []
    lines = [*standing, *_search(result), *best, *verdicts, *folder]
    return ShortTable(f"{result.title}: {_several(len(lanes), 'lane')} ({where})", columns, lines)


def _search(result: Any) -> list[str]:
    """Say what a search chose, or how far it came, or that nothing was trained yet."""
    if not result.lanes and result.interrupted:
        return ["interrupted before the first epoch"]
    if result.tuned is None:
        return []
    trials = result.tuned.trials
    ended = sum(trial.status != "interrupted" for trial in trials)
    if ended < len(trials):
        return [f"the search was interrupted: {ended} of {_several(len(trials), 'started trial')} ended"]
    return [tuning.title(result.tuned), *tuning.choices(result.tuned)]


def _tuned(tuned: Any) -> ShortTable:
    rows = tuning.rows(tuned, search_record(tuned, (), {}))
    columns = [
        Column("lane", [row.lane for row in rows]),
        Column("hyperparameter", [row.setting for row in rows]),
        Column("search space", [row.space for row in rows], 3),
        Column("chosen", [row.chosen for row in rows], right=True),
        Column(f"best {tuned.by.replace('_', ' ')}", [row.figure for row in rows], 1, right=True),
        Column("diverged", [row.diverged for row in rows], 2, right=True),
    ]
    return ShortTable(tuning.title(tuned), columns)


def _progress(lane: LaneResult) -> str:
    return f"{lane.at(len(lane.records))}/{lane.at(lane.epochs)}"


def _lane(lane: Any) -> ShortTable:
    names = [name for name, values in lane.history.items() if values]
    several = f", the mean of {len(lane.repeats)} seeds" if lane.repeats else ""
    columns = [
        Column("figure", [name.replace("_", " ") for name in names]),
        Column(
            f"first {'epoch' if lane.length is None else 'record'}",
            [numbers.figure(name, lane.history[name][0]) for name in names],
            1,
            right=True,
        ),
        Column("last", [numbers.figure(name, lane.final(name)) for name in names], 1, right=True),
    ]
    title = f"{lane.label}: {lane.optimizer}, {_progress(lane)} {lane.unit}s{several}, {lane.status}"
    return ShortTable(title, columns, [lane.message, f"stopped {lane.stopped}" if lane.stopped else ""])


def _check(result: Any) -> ShortTable:
    found = result.diagnostics
    counts = [_several(n, kind) for kind in ("error", "warning") if (n := sum(d.severity == kind for d in found))]
    lanes = f"; {_several(len(result.compiled.program.lanes), 'lane')}" if result.compiled is not None else ""
    columns = [
        Column("line", [_place(d, result.path) for d in found], right=True),
        Column("", [d.severity for d in found], 1),
        Column("code", [d.code for d in found]),
        Column("message", [d.message for d in found], prose=True),
    ]
    return ShortTable(f"{result.path}: {', '.join(counts) or 'no findings'}{lanes}", columns if found else ())


def _place(finding: Any, path: str) -> str:
    """Return a line of the spec, or the name and line of another text, such as an import or an override."""
    name, line = finding.span.source.name, finding.span.line
    return str(line) if name == path else f"{printable(name)}:{line}"


def _proof(proof: Any) -> ShortTable:
    tensors = sorted(proof.report.tensors, key=lambda t: -t.error if math.isfinite(t.error) else -math.inf)
    columns = [
        Column("tensor", [tensor.name for tensor in tensors]),
        Column("shape", ["×".join(map(str, tensor.shape)) for tensor in tensors], 2),
        Column("relative error", [f"{tensor.error:.1e}" for tensor in tensors], 1, right=True),
    ]
    verdict = "the gradients are correct" if proof.holds else "the gradients are wrong"
    return ShortTable(
        f"{', '.join(proof.lanes)}: {verdict}, {proof.report.error:.1e} against a bound of {proof.bound:g}", columns
    )


def _landscape(found: Any) -> ShortTable:
    from nnspec.view.wording.landscape import number, what_is_shown

    lanes = sorted(found.lanes.values(), key=lambda lane: float(lane.losses[-1]))
    columns = [
        Column("lane", [lane.name for lane in lanes]),
        Column("start loss", [numbers.loss(float(lane.losses[0])) for lane in lanes], 2, right=True),
        Column("end loss", [numbers.loss(float(lane.losses[-1])) for lane in lanes], 1, right=True),
        Column("path length", [number(lane.length) for lane in lanes], 1, right=True),
    ]
    size = " × ".join(map(str, found.losses.shape))
    return ShortTable(f"{found.title}: loss landscape, {size} points", columns, what_is_shown(found))


def _lane_path(lane: Any) -> ShortTable:
    losses = f"loss {numbers.loss(float(lane.losses[0]))} to {numbers.loss(float(lane.losses[-1]))}"
    return ShortTable(f"{lane.name}: path of {_several(len(lane.steps), 'epoch')}, {losses}, length {lane.length:.3g}")


def _compared(found: Any) -> ShortTable:
    entries = found.contest.entries
    columns = [
        Column("run", [entry.run for entry in entries] if len(found.contest.runs) > 1 else []),
        Column("lane", [entry.lane for entry in entries]),
        Column("seeds", [str(len(entry.seeds)) for entry in entries], 9, right=True),
        *_figures([{k: v for k, v in entry.final.items() if k == "loss" or "test_" in k} for entry in entries]),
    ]
    told = [found.contest.text(each) for each in found.contest.comparisons]
    kept = [column for column in columns if column.cells]
    return ShortTable(f"{_several(len(found.contest.runs), 'run')} compared", kept, [*found.contest.notes, *told])


def _verification(found: Any) -> ShortTable:
    rows = found.matches
    columns = [
        Column("lane", [row.lane for row in rows]),
        Column("seed", [str(row.seed) for row in rows], right=True),
        Column("", [row.text for row in rows], prose=True),
    ]
    verdict = "identical, bit for bit" if found.same else "not the same"
    lines = [*([] if found.data else ["They used different data."]), *found.spoilt]
    return ShortTable(f"{found.one} and {found.other}: {verdict}", columns, lines)


def _bench(found: Any) -> ShortTable:
    from nnspec.view.wording.bench import conclusions, head, remarks, scores

    names, rows = scores(found)
    columns = [Column(name, [row[i] for row in rows], right=i > 0) for i, name in enumerate(names)]
    return ShortTable(head(found), columns, [*conclusions(found), *remarks(found)])


def _bench_verification(found: Any) -> ShortTable:
    from nnspec.view.terminal.bench import verdict

    columns = [
        Column("problem", [each.name for each in found.problems]),
        Column("", [verdict(each) for each in found.problems], prose=True),
    ]
    same = "identical, bit for bit" if found.same else "not the same"
    return ShortTable(f"{found.folder}: {same}", columns, found.faults)


def _evaluation(one: Any) -> ShortTable:
    names = list(one.figures)
    columns = [
        Column("figure", [name.replace("_", " ") for name in names]),
        Column("value", [numbers.figure(name, one.figures[name]) for name in names], right=True),
        Column(
            "recorded", [numbers.figure(n, one.recorded[n]) if n in one.recorded else "–" for n in names], right=True
        ),
    ]
    same = "as recorded, bit for bit" if one.same else "not as recorded"
    return ShortTable(f"{one.lane}, seed {one.seed}: {_several(len(one.outputs), 'test sample')}, {same}", columns)


def _prediction(found: Any) -> ShortTable:
    names = found.names
    likely = found.probabilities if found.probabilities is not None else found.outputs
    flat = [[float(value) for value in row.reshape(-1)[:4]] for row in likely[:_ROWS]]
    cells = [", ".join(f"{value:.4g}" for value in row) + (", …" if likely[0].size > 4 else "") for row in flat]
    rest = [""] * (len(names) - len(cells))
    head = "outputs" if found.probabilities is None else "probabilities"
    columns = [Column("sample", names), Column(head, [*cells, *rest], prose=True)]
    return ShortTable(f"predictions for {_several(len(names), 'sample')}", columns, found.notes)


def _difference(found: Any) -> ShortTable:
    from nnspec.view.terminal.spec_diff import print_difference

    title, *lines = plain_text(lambda console: print_difference(found, console), _WIDTH).splitlines()
    return ShortTable(title, (), lines)


def _resolved(found: Any) -> ShortTable:
    """The values of all lanes side by side, of the first few lanes."""
    lanes = found["lanes"][:_LANES]
    values = [{row["name"]: row for row in lane["values"] if row["kind"] in _VALUES} for lane in lanes]
    names = list(dict.fromkeys(name for lane in values for name in lane))
    columns = [
        Column("", names),
        *(
            Column(lane["name"], [_value_in_words(own.get(name)) for name in names])
            for lane, own in zip(lanes, values, strict=True)
        ),
    ]
    more = len(found["lanes"]) - len(lanes)
    lines = [f"and {_several(more, 'more lane')}"] if more else []
    return ShortTable(f"{found['title']} ({found['spec']}): every value", columns, lines, most=_VALUE_ROWS)


def _value_in_words(row: Any) -> str:
    if row is None:
        return "–"
    value = row["value"]
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


_TABLES: dict[str, Callable[[Any], ShortTable]] = {
    "BenchResult": _bench,
    "BenchVerification": _bench_verification,
    "CheckResult": _check,
    "ComparedRuns": _compared,
    "Difference": _difference,
    "Evaluation": _evaluation,
    "GradientProof": _proof,
    "Landscape": _landscape,
    "LanePath": _lane_path,
    "LaneResult": _lane,
    "Prediction": _prediction,
    "ResolvedSpec": _resolved,
    "RunResult": _run,
    "Tuned": _tuned,
    "Verification": _verification,
}
