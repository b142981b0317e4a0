"""From the tree to the program: names, arguments, values and shapes, and every mistake among them in one go."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from nnspec.checker.assemble import describe, evaluate
from nnspec.checker.binding import Given
from nnspec.checker.declare import MAX_NAME, Assignment, LaneOutline, Outline, outline
from nnspec.checker.evaluate import Evaluator
from nnspec.checker.expand_blocks import look_through
from nnspec.checker.expectations import AtPoints, Run, expectation
from nnspec.checker.expectations import calculate as calculate
from nnspec.checker.ignores import silence
from nnspec.checker.lint import for_import, lint, lint_names, lint_seed, lint_sweep
from nnspec.checker.load import load
from nnspec.checker.program import PartValue, Program
from nnspec.checker.recorded import NOTHING, Known, looks_at_files
from nnspec.checker.report import Report
from nnspec.checker.settle import settle
from nnspec.checker.shapes import Shared
from nnspec.checker.sweep import Point, points, run_name, split_lane, swept_twice
from nnspec.checker.vocabulary import KIND_OF_SETTING
from nnspec.data.source import DataSource, Facts
from nnspec.diagnostics import Diagnostic, Source, Span
from nnspec.syntax import parse, tree

__all__ = ["NOTHING", "Checked", "Known", "calculate", "check"]

MAX_TRAININGS = 10_000
"""The most trainings that a spec may ask for."""


_RUN, _SETTING = 100, 4  # steps that it takes to put a run together, and each of its settings


@dataclass(frozen=True)
class Checked:
    """What checking a spec gives: findings, and the program where none of them is an error."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    files: tuple[Source, ...] = ()
    """The spec and every file that it imports."""
    missing: tuple[str, ...] = ()
    """Files that were looked for and could not be read."""
    looked_at: tuple[str, ...] = ()
    """Data files that were looked at, or for."""


def check(source: Source, flags: Sequence[Source] = (), known: Known = NOTHING) -> Checked:
    """Check a spec. `flags` are texts such as `train.epochs=3` that take the place of what the spec says; what is
    `known` of files is not looked for on disk."""
    collects = gc.isenabled()
    gc.disable()  # nothing here goes in a circle, and looking for what does takes a third of the time
    try:
        return _check(source, flags, known)
    finally:
        if collects:
            gc.enable()


def _check(source: Source, flags: Sequence[Source], known: Known) -> Checked:
    report = Report()
    files = load(source, report, known)
    items = outline(files, report)
    overrides = [a for flag in flags for a in _flag(flag, report)]
    looked: list[tuple[PartValue, Facts]] = []
    lanes = _Lanes(items, overrides, report, _top(source), Shared(partial(_facts, known, report, looked)))
    runs = lanes.runs()
    by_point = AtPoints(runs)
    expectations = [expectation(e, runs, by_point, items.models, lanes.with_model, report) for e in items.expectations]
    experiments = [run.experiment for run in runs if run.experiment is not None]
    trainings = sum(experiment.train.trainings for experiment in experiments)
    if trainings > MAX_TRAININGS:
        message = f"this is {trainings:,} trainings, including repeats and folds; the limit is {MAX_TRAININGS:,}"
        origins = next((e.origins for e in experiments if e.train.trainings > 1), experiments[0].origins)
        given = next((origins[word] for word in ("train.repeats", "train.validation") if word in origins), None)
        where = given.span if given is not None else lanes.top
        report.error("NN603", message, where, help="use fewer repeats, folds, lanes or points")
    lint(experiments, report)
    if not report.failed and len(experiments) == len(runs):
        lint_names(items, report)
        lint_sweep(experiments, items, report)
        lint_seed(experiments, [e for e in expectations if e is not None], lanes.top, report)
    read = tuple(file for file, _ in files.order)
    diagnostics = tuple(sorted(silence(report.diagnostics, read, judge=not flags), key=lambda d: d.order))
    if report.failed or len(experiments) < len(runs) or None in expectations:
        return Checked(None, diagnostics, read, tuple(files.missing), tuple(report.looked_at))
    program = Program(
        path=source.name,
        title=_title(items, source),
        text=source.text,
        lanes=tuple(experiments),
        expectations=tuple(e for e in expectations if e is not None),
        overrides=tuple(flag.text for flag in flags),
        models=tuple(run.experiment for run in lanes.extra.values() if run.experiment is not None),
        files=read,
        import_names=files.names,
        looked=tuple(looked),
    )
    return Checked(program, diagnostics, read, tuple(files.missing), tuple(report.looked_at))


def _facts(
    known: Known, report: Report, looked: list[tuple[PartValue, Facts]], value: PartValue, source: DataSource
) -> Facts:
    """Return what a data source comes to, as it is known or as its files say. Raises what `DataSource.facts` raises."""
    facts = known.of(value, source)
    if facts is None:
        report.looked_at.update(dict.fromkeys(source.looks_at()))
        facts = source.facts()
    if looks_at_files(source):
        looked.append((value, facts))
    return facts


@dataclass
class _Lanes:
    """Evaluates every lane at every point of the sweep; a file without a race has one lane, called `run`."""

    items: Outline
    overrides: list[Assignment]
    report: Report
    top: Span
    shared: Shared
    extra: dict[str, Run] = field(default_factory=dict)
    """Models that no lane trains, evaluated with the settings of the base."""

    def runs(self) -> list[Run]:
        """Evaluate all of them."""
        items, report = self.items, self.report
        from_spec: set[Span] = set()
        from_flags: set[Span] = set()
        lanes: list[LaneOutline | None] = [*items.lanes] or [None]
        names = [lane.name.text if lane else "run" for lane in lanes]
        per_lane = _by_lane(self.overrides, names, items)
        found = self._points(per_lane)
        if items.race is not None:
            # The base by itself, for mistakes in what every lane happens to replace.
            self._evaluate("", None, [], Point(), set(), complete=False)
        result: list[Run] = []
        for lane, name in zip(lanes, names, strict=True):
            settle(
                items, lane, [], Report(suggests=False), from_spec, found[name][0].assignments
            )  # a flag may replace whatever it likes
            for point in found[name]:
                result.append(self._evaluate(name, lane, per_lane[name], point, from_flags))
        self._nothing_unread(result[0].evaluator)
        if _is_for_import(items, report):
            report.add(for_import(self.top))
        else:
            report.report_absent({lane.name.text: lane.name.span for lane in items.lanes}, self.top)
        if items.sweep is not None and not report.failed:
            swept_twice(items.sweep, items, items.lanes, per_lane, report)
        own = [*items.assignments, *(a for lane in items.lanes for a in lane.assignments)]
        _without_effect(own, from_spec, items, report)
        _without_effect(self.overrides, from_flags, items, report)
        return _named(result, several=items.race is not None)

    def _points(self, flags: Mapping[str, list[Assignment]]) -> dict[str, list[Point]]:
        """Return the points of each lane, whose lists know the lets and the data of the base."""
        if self.items.sweep is None:
            return {name: [Point()] for name in flags}
        shared = [flag for flag in next(iter(flags.values())) if flag.shared]
        base = settle(self.items, None, shared, Report(suggests=False), set())
        evaluator = Evaluator(self.report, base.lets, self.items.blocks)
        describe(self.items, base, evaluator, self.shared, self.top)
        return points(self.items.sweep, flags, evaluator, self.report)

    def _evaluate(
        self,
        name: str,
        lane: LaneOutline | None,
        flags: list[Assignment],
        point: Point,
        effective: set[Span],
        complete: bool = True,
    ) -> Run:
        items, report = self.items, self.report
        settings_here = sum(len(layer) for layer in items.layers) + len(items.lets) + len(point.assignments)
        settings_here += len(lane.assignments) if lane is not None else 0
        where = items.sweep.head if items.sweep else items.race.head if items.race else self.top
        if not report.work(_RUN + settings_here * _SETTING, where):
            return Run(name, name, point, None, Evaluator(report, {}))
        settings = settle(items, lane, flags, report, effective, point.assignments)
        experiment, evaluator = evaluate(name, items, settings, self.shared, report, self.top, complete)
        return Run(name, name, point, experiment, evaluator)

    def with_model(self, word: str) -> Run | None:
        """Return the base with a model that no lane trains; None where there is no model of that name."""
        if word not in self.items.models or not word:
            return None
        if word not in self.extra:
            name = tree.Name(word, self.items.models[word].head)
            value = tree.Reference(tree.Path((name,), name.span))
            flag = Assignment((tree.Name("model", name.span),), Given(value, name.span))
            lane = self.items.lanes[0] if self.items.lanes else None
            run = self._evaluate(f"model {word}", lane, [flag], Point(), set())
            self.extra[word] = run
        return self.extra[word]

    def _nothing_unread(self, evaluator: Evaluator) -> None:
        """Look for mistakes in models and blocks that no lane uses."""
        for name, section in self.items.models.items():
            if name not in self.report.chosen_models:
                self.shared.chain(section, {}, evaluator, self.report)
        for name, block in self.items.blocks.items():
            if name not in self.report.used_blocks:
                look_through(block, evaluator, self.report)


def _is_for_import(items: Outline, report: Report) -> bool:
    """Whether a file only declares things for others, and is no experiment that lacks something."""
    declares = items.lets or items.blocks or items.models
    runs = items.race or items.sweep or items.expectations
    return bool(declares) and not runs and report.absent_words >= {"data", "loss", "optimizer"}


def _named(runs: list[Run], several: bool) -> list[Run]:
    """Give every run a name of its own."""
    taken: set[str] = set()
    result = []
    for run in runs:
        name = run_name(run.lane, run.point, several)
        whole, copy = name, 1
        while name in taken:
            copy += 1
            name = f"{whole[: MAX_NAME - 6]}~{copy}"
        taken.add(name)
        experiment = run.experiment and replace(run.experiment, name=name, lane=run.lane, swept=run.point.swept)
        result.append(replace(run, name=name, experiment=experiment))
    return result


def _by_lane(overrides: list[Assignment], names: list[str], items: Outline) -> dict[str, list[Assignment]]:
    """Share the flags out: `Adam.optimizer.lr=0.1` goes to one lane, all others go to every lane."""
    result: dict[str, list[Assignment]] = {name: [] for name in names}
    for override in overrides:
        lane, assignment = split_lane(override, result, items.lets)
        for assigned in (result[lane],) if lane else result.values():
            assigned.append(assignment)
    return result


def _without_effect(assignments: list[Assignment], effective: set[Span], items: Outline, report: Report) -> None:
    """Report arguments that were set for a part which every lane, or the sweep, then replaces.

    Nothing is ignored in silence, but for what a file replaces that imports the one where it is set.
    """
    if report.failed:
        return
    lanes = {lane.name.text for lane in items.lanes} or {"run"}
    dimensions = items.sweep.dimensions if items.sweep else ()
    swept = {split_lane(dimension, lanes, items.lets)[1].text for dimension in dimensions}
    for assignment in assignments:
        whole, span = assignment.path[0].text, assignment.span
        if len(assignment.path) != 2 or whole not in KIND_OF_SETTING.values() or span in effective:
            continue
        replacing = [place for place in (items.race, items.sweep) if place is not None]
        if items.replaced(whole, span) or any(items.goes_before(place.head, span) for place in replacing):
            continue
        if assignment.text in swept:  # the value of a spec without its sweep
            continue
        who, where = ("the sweep", "sweep") if whole in swept else ("every lane", "lanes")
        message = f"`{assignment.text}` has no effect: {who} replaces `{whole}`"
        report.error("NN203", message, span, help=f"set it in the {where}")


def _flag(source: Source, report: Report) -> list[Assignment]:
    parsed = parse(source)
    report.take(source, parsed)
    items = parsed.file.items
    if len(items) == 1 and isinstance(items[0], tree.Setting):
        setting = items[0]
        return [Assignment(setting.path.names, Given(setting.value, setting.path.span, source.name))]
    if not parsed.diagnostics:
        report.error(
            "NN101",
            "this is not `path=value`",
            Span(source, 0, len(source.text)),
            help="for example, `train.epochs=3` or `optimizer.lr=0.1`",
        )
    return []


def _title(items: Outline, source: Source) -> str:
    if items.race is not None and items.race.title is not None:
        return str(items.race.title.value)
    name = source.name.rsplit("/", 1)[-1].removesuffix(".nn")
    return name.encode("utf-8", "backslashreplace").decode()  # bytes of a name that are not UTF-8 are no title


def _top(source: Source) -> Span:
    """The first word of a file: where it is said that something is missing in all of it."""
    for line in range(1, len(source.line_starts) + 1):
        content = source.line(line)
        if content.strip() and not content.lstrip().startswith("#"):
            start = source.line_starts[line - 1] + len(content) - len(content.lstrip())
            word = content.split()[0]
            return Span(source, start, start + len(word))
    return Span(source, 0, 0)
