"""The passes of the checker, in order. Start reading here.

    load           Source         -> Files           the spec and its imports, parsed
    declare        Files          -> Declarations    the declarations of each file
    points         Sweep          -> list[Point]     the values of the sweep, for each lane

    for each lane at each point of the sweep:
    settle         Declarations   -> LaneSettings    the expression of each setting here
    describe       LaneSettings   -> Choice, …       the data: shapes and classes, without samples
    evaluate       LaneSettings   -> Draft           the values of all settings
    expand         Section        -> Expanded        blocks inlined, repeats unrolled
    infer_shapes   Expanded       -> LayerNode, …    input and output shapes of each layer
    rules          Draft          -> diagnostics     constraints between values
    initial        Draft          -> Initial         the tensors whose initial values are read from files
    assemble       Draft          -> Experiment      a lane that can be compiled

    for the whole spec:
    rules          Settled        -> diagnostics     missing and overridden settings
    expectation    Element        -> Expectation     the statements of `expect`, with figures resolved
    lint           Result         -> diagnostics     what is legal but probably not intended
    silence        diagnostics    -> diagnostics     without those ignored by comments
    other_format   Source         -> diagnostic      instead of all others, if the file is CSV, Python, …

A pass reports errors to `Findings` and continues with what is valid, so that all errors of a file are reported at once.
`Recovery` suppresses follow-up errors, `Budget` limits the work for hostile specs, and `Usage` records which
declarations are used. The rules for errors and lint are in `rules/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from nnspec.checker.assemble import assemble
from nnspec.checker.binding import Given
from nnspec.checker.budget import Budget
from nnspec.checker.declare import Assignment, Declarations, DeclaredLane, declare, declare_flag
from nnspec.checker.describe import describe
from nnspec.checker.evaluate import evaluate
from nnspec.checker.evaluator import Evaluator, called, operands
from nnspec.checker.expand_blocks import expand, look_through
from nnspec.checker.expectations import expectation
from nnspec.checker.findings import Findings
from nnspec.checker.ignores import silence
from nnspec.checker.lint import lint
from nnspec.checker.load import load
from nnspec.checker.missing import Missing
from nnspec.checker.other_formats import other_format
from nnspec.checker.outputs import output_figures, output_names, with_outputs
from nnspec.checker.program import Expectation, LayerNode, PartValue, Program
from nnspec.checker.recorded import NOTHING, Known, looks_at_files
from nnspec.checker.recovery import Recovery
from nnspec.checker.rules import apply
from nnspec.checker.rules.subjects import Result, Settled
from nnspec.checker.rules.whole import is_half
from nnspec.checker.runs import AtPoints, Run, named
from nnspec.checker.settle import settle
from nnspec.checker.shapes import arriving, infer_shapes, trainable
from nnspec.checker.shared import Changes, Shared
from nnspec.checker.sweep import Point, by_lane, points
from nnspec.checker.tune import Search, as_trial, can_choose, search_of, split_flags
from nnspec.checker.usage import Usage
from nnspec.data.given import Given as FromPython
from nnspec.data.source import DataSource, Facts
from nnspec.diagnostics import Diagnostic, Note, Source, Span
from nnspec.syntax import tree
from nnspec.syntax.parser import no_collection

__all__ = ["Checked", "check"]

_RUN, _SETTING = 100, 4  # steps per run, and per setting of a run


@dataclass(frozen=True)
class Checked:
    """The result of checking a spec: the findings, and the program if there are no errors."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    files: tuple[Source, ...] = ()
    """The spec and its imports."""
    takes_given: bool = False
    """Whether a lane trains on data that the caller passes."""


def check(source: Source, flags: Sequence[Source] = (), known: Known = NOTHING) -> Checked:
    """Check a spec. `flags` such as `train.epochs=3` override settings of the spec. Files that are `known` are not read
    from disk."""
    with no_collection():
        checked = _Check(source, flags, known).run()
    if checked.program is None and any(d.severity == "error" for d in checked.diagnostics):
        instead = other_format(source, _first_word(source))
        return checked if instead is None else replace(checked, diagnostics=(instead,))
    return checked


class _Check:
    """Runs the passes for one spec."""

    def __init__(self, source: Source, flags: Sequence[Source], known: Known) -> None:
        self.source, self.flags, self.top = source, flags, _first_word(source)
        self.findings, self.recovery, self.usage = Findings(), Recovery(), Usage()
        self.budget, self.missing = Budget(self.findings), Missing(self.recovery)
        self.data = _DataFacts(known)
        self.shared = Shared(self.data.facts, known.of_weights)

        self.files = load(source, self.findings, self.recovery, known)
        self.declared = declare(self.files, self.findings, self.recovery)
        given = [a for flag in flags for a in declare_flag(flag, self.findings, self.recovery)]
        self.overrides, self.tune_flags = split_flags(given)
        self.search: Search | None = None
        self.extra: dict[str, Run | None] = {}
        """The base with each model that only expectations use."""

    def run(self) -> Checked:
        """Run the passes of the whole spec."""
        settled, runs = self._lanes()
        apply("settings", {"settled": settled}, self.findings)
        runs = named(runs, several=self.declared.race is not None)
        searched = self._search_is_good(settled, runs)
        at_points = AtPoints(runs)
        statements = [] if self._trials_only else self.declared.expectations
        expectations = [self._expectation(element, runs, at_points) for element in statements]
        experiments = [run.experiment for run in runs if run.experiment is not None]
        resolved = [e for e in expectations if e is not None]
        complete = len(experiments) == len(runs)
        lint(Result(self.declared, experiments, resolved, complete, self.usage, self.top), self.findings)
        files = tuple(file for file, _ in self.files.order)
        diagnostics = silence(self.findings.diagnostics, files, judge=bool(experiments) and not self.flags)
        good = complete and searched and len(resolved) == len(expectations) and not self.findings.failed
        return Checked(
            self._program(runs, resolved, files) if good else None,
            tuple(sorted(diagnostics, key=lambda d: d.order)),
            files,
            self.data.takes_given,
        )

    def _lanes(self) -> tuple[Settled, list[Run]]:
        """Run the passes of every lane at every point; a file without a race has one lane, called `run`."""
        declared = self.declared
        lanes: list[DeclaredLane | None] = [*declared.lanes] or [None]
        names = [lane.name.text if lane else "run" for lane in lanes]
        flags = by_lane(self.overrides, names, declared.lets)
        settled = Settled(declared, self.overrides, flags, set(), set(), self.missing, self.top)
        found = self._points(flags)
        if declared.race is not None:
            # The base alone, for errors in settings that every lane overrides.
            self._run("", None, [], Point(), set(), complete=False)
        searched = self._trials_only and self.search is not None and self.search.has_trials
        runs = []
        for lane, name in zip(lanes, names, strict=True):
            effective = settled.effective_flags if flags[name] else settled.effective
            if flags[name]:  # what the file sets, even if flags override it
                settle(declared, lane, [], Findings(False), Recovery(), settled.effective, found[name][0].assignments)
            before = self.findings.count
            raced = [self._run(name, lane, flags[name], point, effective) for point in found[name]]
            trials = self._trials(name, lane, flags[name], effective) if self.findings.count == before else []
            good = self.findings.count == before
            runs += trials if searched and good else raced  # a lane without spaces is not searched: it has no trials
        self._check_unused(runs[0].evaluator)
        return settled, runs

    def _points(self, flags: Mapping[str, list[Assignment]]) -> dict[str, list[Point]]:
        """Return the points of each lane: those of the sweep, or the middle of what is searched. Lists and spaces can
        use the lets and the data of the base."""
        declared = self.declared
        if declared.sweep is None and declared.tune is None:
            for flag in self.tune_flags:
                self.findings.error("NN203", f"`tune.{flag.text}` has no effect: there is no `tune`", flag.span)
            return {name: [Point()] for name in flags}
        shared = [flag for flag in next(iter(flags.values())) if flag.shared]
        base = settle(declared, None, shared, Findings(False), Recovery(), set())
        evaluator = self._evaluator(base.lets)
        describe(base, evaluator, self.shared)
        if declared.tune is None:
            assert declared.sweep is not None
            return points(declared.sweep, flags, evaluator)
        if declared.sweep is not None:
            notes, help = (Note(declared.sweep.head, "the sweep"),), "remove one of them"
            self.findings.error(
                "NN607", "a spec cannot have both `sweep` and `tune`", declared.tune.head, notes, help=help
            )
            return {name: [Point()] for name in flags}
        seed = base.values.get("seed")
        number = evaluator.value(seed.value) if seed is not None else 0
        number = number if isinstance(number, int) else 0
        self.search = search_of(declared.tune, self.tune_flags, flags, number, declared.goes_before, evaluator)
        if self.search is None:
            return {name: [Point()] for name in flags}
        return {name: self.search.points(name) for name in flags}

    @property
    def _trials_only(self) -> bool:
        """Whether the lanes of the program are the trials of a search."""
        return self.search is not None and not self.search.settings.race

    def _trials(
        self, name: str, lane: DeclaredLane | None, flags: Sequence[Assignment], effective: set[Span]
    ) -> list[Run]:
        """Run the passes of every trial of a lane, up to the first with errors."""
        runs: list[Run] = []
        for point, trial in self.search.trials(name) if self.search is not None else ():
            before = self.findings.count
            run = self._run(name, lane, flags, point, effective)
            if self.findings.count > before:
                break
            experiment = run.experiment
            runs.append(run if experiment is None else replace(run, experiment=as_trial(experiment, trial)))
        return runs

    def _search_is_good(self, settled: Settled, runs: Sequence[Run]) -> bool:
        """Check what is searched for, and the figure by which it is chosen."""
        if self.declared.tune is None:
            return True
        half = is_half(settled)
        return self.search is not None and can_choose(self.search, runs, half, self.findings, self.recovery)

    def _run(
        self,
        name: str,
        lane: DeclaredLane | None,
        flags: Sequence[Assignment],
        point: Point,
        effective: set[Span],
        complete: bool = True,
    ) -> Run:
        """Run the passes of one lane at one point of the sweep."""
        declared, findings = self.declared, self.findings
        if not self._affordable(lane, point):
            return Run(name, name, point, None, self._evaluator({}))
        settings = settle(declared, lane, flags, findings, self.recovery, effective, point.assignments)
        self.usage.lets.update(settings.followed)
        evaluator = self._evaluator(settings.lets)
        if (named := settings.values.get("data")) is not None:
            sources = map(called, operands(named.value, "or"))
            self.data.takes_given |= FromPython.spec_name in sources
        data = describe(settings, evaluator, self.shared)
        draft = evaluate(name, declared, settings, data, evaluator, self.missing, self.top, complete=complete)
        layers = self._layers(draft.section, settings.layers, evaluator) if draft.section is not None else None
        if layers and draft.init is not None and draft.init.value is not None:
            layers = self.shared.started(layers, draft.init)
        draft = with_outputs(replace(draft, layers=trainable(layers, findings)), evaluator, complete=complete)
        apply("lane", draft.subjects() | {"evaluator": evaluator, "recovery": self.recovery}, findings)
        experiment = assemble(draft, evaluator, self.shared, declared.blocks)
        if experiment is not None and self.search is not None and name:
            experiment = replace(experiment, tune=self.search.bounds(name))
        return Run(name, name, point, experiment, evaluator)

    def _layers(self, section: tree.Section, changes: Changes, evaluator: Evaluator) -> tuple[LayerNode, ...] | None:
        """Return the layers of a model, shared by lanes with the same model."""
        return self.shared.layers(
            section,
            changes,
            evaluator,
            lambda: infer_shapes(
                expand(section, changes, evaluator, partial(arriving, data=evaluator.data)),
                evaluator.data,
                self.findings,
            ),
        )

    def _check_unused(self, evaluator: Evaluator) -> None:
        """Check models and blocks that no lane uses."""
        for name, section in self.declared.models.items():
            if name not in self.usage.models:
                self._layers(section, {}, evaluator)
        for name, block in self.declared.blocks.items():
            if name not in self.usage.blocks:
                look_through(block, evaluator)

    def _expectation(self, element: tree.Element, runs: Sequence[Run], at_points: AtPoints) -> Expectation | None:
        models = self.declared.models
        return expectation(element, runs, at_points, models, self._with_model, self.findings, self.budget)

    def _with_model(self, word: str) -> Run | None:
        """Return the base with a model that no lane trains; None if there is no such model."""
        if word not in self.declared.models or not word:
            return None
        if word not in self.extra:
            name = tree.Name(word, self.declared.models[word].head)
            value = tree.Reference(tree.Path((name,), name.span))
            flag = Assignment((tree.Name("model", name.span),), Given(value, name.span))
            lane = self.declared.lanes[0] if self.declared.lanes else None
            self.extra[word] = self._run(f"model {word}", lane, [flag], Point(), set())
        return self.extra[word]

    def _evaluator(self, lets: Mapping[str, Given]) -> Evaluator:
        evaluator = Evaluator(self.findings, self.recovery, self.usage, self.budget, lets, self.declared.blocks)
        models = self.declared.models.values()
        evaluator.output_figures = frozenset(name for each in models for name in output_figures(output_names(each)))
        return evaluator

    def _affordable(self, lane: DeclaredLane | None, point: Point) -> bool:
        """Use the budget for a run; return whether enough was left."""
        declared = self.declared
        settings = sum(map(len, declared.layers)) + len(declared.lets) + len(point.assignments)
        settings += len(lane.assignments) if lane is not None else 0
        where = declared.sweep.head if declared.sweep else declared.race.head if declared.race else self.top
        return self.budget.work(_RUN + settings * _SETTING, where)

    def _program(self, runs: Sequence[Run], expectations: list[Expectation], files: tuple[Source, ...]) -> Program:
        extra = [run.experiment for run in self.extra.values() if run is not None]
        return Program(
            path=self.source.name,
            title=_title(self.declared, self.source),
            text=self.source.text,
            lanes=tuple(run.experiment for run in runs if run.experiment is not None),
            expectations=tuple(expectations),
            overrides=tuple(flag.text for flag in self.flags),
            models=tuple(experiment for experiment in extra if experiment is not None),
            files=files,
            import_names=self.files.names,
            looked=tuple(self.data.looked),
            tuning=self.search.tuning() if self.search is not None and self.search.has_trials else None,
        )


@dataclass
class _DataFacts:
    """Describes data sources, from known facts or their files, and records the facts of those with files."""

    known: Known
    looked: list[tuple[PartValue[DataSource], Facts]] = field(default_factory=list)
    takes_given: bool = False

    def facts(self, value: PartValue[DataSource], source: DataSource) -> Facts:
        """Return the facts of a source. Raises the same errors as `DataSource.facts`."""
        self.takes_given |= isinstance(source, FromPython)
        facts = self.known.of(value, source)
        if facts is None:
            facts = source.facts()
        if looks_at_files(source):
            self.looked.append((value, facts))
        return facts


def _title(declared: Declarations, source: Source) -> str:
    if declared.race is not None and declared.race.title is not None:
        return str(declared.race.title.value)
    name = source.name.rsplit("/", 1)[-1].removesuffix(".nn")
    return name.encode("utf-8", "backslashreplace").decode()  # a name may have bytes that are not UTF-8


def _first_word(source: Source) -> Span:
    """The first token of a file, where settings missing in the whole file are reported."""
    for line in range(1, len(source.line_starts) + 1):
        content = source.line(line)
        if content.strip() and not content.lstrip().startswith("#"):
            start = source.line_starts[line - 1] + len(content) - len(content.lstrip())
            word = content.split()[0]
            return Span(source, start, start + len(word))
    return Span(source, 0, 0)
