"""Resolve `tune`: the settings of the search, the search spaces of every lane, and the points of its trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnspec.checker.binding import Given
from nnspec.checker.declare import MAX_RUNS, Assignment, Tune
from nnspec.checker.evaluator import Evaluator, names_in
from nnspec.checker.findings import UNKNOWN, Findings, Unknown
from nnspec.checker.functions import CONSTANTS, FUNCTIONS
from nnspec.checker.measured import why_unmeasured, why_unreachable
from nnspec.checker.program import Bound, Experiment, Origin, Swept, Trial, TuneSettings, Tuning
from nnspec.checker.recovery import Recovery
from nnspec.checker.runs import Run
from nnspec.checker.settle import of_the_optimizer
from nnspec.checker.sweep import Point, all_used, applying_to, exact_text, items_of, split_lane, text_of, wholes
from nnspec.checker.vocabulary import SETTINGS, SPACE, TRAIN, TUNE, figures, other_names, respelt
from nnspec.diagnostics import Span
from nnspec.engine.metrics.contract import figure_and_target
from nnspec.engine.part import FigureName
from nnspec.engine.spaces import Choice, Space, UniformSpace
from nnspec.syntax import tree

__all__ = ["Search", "as_trial", "can_choose", "search_of", "split_flags"]

_FIXED = frozenset((*FUNCTIONS, *CONSTANTS))
"""Names that mean the same everywhere."""


@dataclass(frozen=True, eq=False)
class Dimension:
    """A setting with a search space."""

    setting: Assignment
    """The setting, without a lane's name."""
    lane: str
    """The lane, if the space is for one lane only; "" for all lanes."""
    space: Space
    items: Sequence[tuple[Any, tree.Expression]] = ()
    """The values of a list, with their expressions; empty for other spaces."""

    def at(self, place: float) -> Value:
        """Return the value at a place in [0, 1)."""
        if self.items:
            return self.item(min(int(place * len(self.items)), len(self.items) - 1))
        value = self.space.at(place)
        return Value(self, value, tree.Constant(value, self.setting.given.value.span))

    def item(self, number: int) -> Value:
        """Return a value of a list, counted from 0."""
        return Value(self, *self.items[number])


@dataclass(frozen=True, eq=False)
class Value:
    """A value of a setting that is searched for."""

    dimension: Dimension
    value: Any
    """As it is recorded."""
    expression: tree.Expression

    @property
    def assignment(self) -> Assignment:
        """The setting with this value."""
        setting = self.dimension.setting
        return Assignment(setting.path, Given(self.expression, setting.given.name, "tune"))

    @property
    def swept(self) -> Swept:
        """The same, as text."""
        text = text_of(self.expression)
        return Swept(self.dimension.setting.text, text, exact_text(self.expression, text), self.dimension.lane)


@dataclass(frozen=True, eq=False)
class Search:
    """`tune`, resolved."""

    settings: TuneSettings
    dimensions: Mapping[str, Sequence[Dimension]]
    """Those of every lane; a lane may have none."""
    places: Mapping[str, Sequence[tuple[int, int, tuple[float, ...]]]]
    """Of every lane, the study, the number and the place of each trial."""
    span: Span
    given: Mapping[str, Given]
    """Each setting of `tune` that is given."""
    has_spaces: bool = True
    """Whether `tune` has search spaces, even if flags fix their settings."""

    @property
    def has_trials(self) -> bool:
        """Whether any setting is left to tune; flags may have fixed all of them."""
        return any(self.places.values())

    def place_of(self, setting: str) -> Span:
        """Return where a setting of `tune` is given; where `tune` is written if it is not."""
        return self.given[setting].value.span if setting in self.given else self.span

    def bounds(self, lane: str) -> dict[str, Bound]:
        """Return the settings of the search and the spaces of a lane, each with its origin; {} if it has no spaces."""
        if not self.places[lane]:
            return {}
        default = Origin(self.span, "default")
        found = {
            f"tune.{argument.name}": Bound(
                getattr(self.settings, argument.name),
                self.given[argument.name].origin if argument.name in self.given else default,
            )
            for argument in TUNE
            if argument.name not in ("race", "chosen")
        }
        return found | {f"tune.{d.setting.text}": Bound(d.space, d.setting.given.origin) for d in self.dimensions[lane]}

    def points(self, lane: str) -> list[Point]:
        """Return where a lane races: at what each study chose or, as long as that is not known, in the middle of its
        spaces."""
        dimensions = self.dimensions[lane]
        if not self.settings.chosen or not dimensions:
            return [Point(tuple(each.at(0.5).assignment for each in dimensions))]
        found = []
        for study in range(len(dimensions[0].items)):
            values = [each.item(study) for each in dimensions]
            swept = tuple(replace(value.swept, lane=lane) for value in values)
            assignments = tuple(value.assignment for value in values)
            found.append(Point(assignments, swept, f"study={study + 1}", study + 1, {"study": study}))
        return found

    def trials(self, lane: str) -> Iterator[tuple[Point, Trial]]:
        """Yield the trials of a lane and the points that they are at."""
        dimensions = self.dimensions[lane]
        settings = [each.setting.text for each in dimensions]
        for study, number, places in self.places[lane]:
            values = [each.at(place) for each, place in zip(dimensions, places, strict=True)]
            label = f"study={study},trial={number}" if self.settings.studies > 1 else f"trial={number}"
            point = Point(
                tuple(value.assignment for value in values),
                tuple(value.swept for value in values),
                label,
                (study - 1) * len(self.places[lane]) + number,
            )
            recorded = [value.value for value in values]
            yield (
                point,
                Trial(
                    study, number, dict(zip(settings, recorded, strict=True)), dict(zip(settings, places, strict=True))
                ),
            )

    def tuning(self) -> Tuning:
        """Return it as part of a program."""
        return Tuning(
            self.settings,
            {lane: {d.setting.text: d.space for d in own} for lane, own in self.dimensions.items() if own},
            {lane: tuple(trial for _, trial in self.trials(lane)) for lane, own in self.dimensions.items() if own},
            self.span,
        )


def split_flags(flags: Sequence[Assignment]) -> tuple[list[Assignment], list[Assignment]]:
    """Divide flags into those of settings, and those of `tune`, without its name."""
    own = [flag for flag in flags if flag.path[0].text == "tune" and len(flag.path) > 1]
    return [flag for flag in flags if flag not in own], [Assignment(flag.path[1:], flag.given) for flag in own]


def search_of(
    tune: Tune,
    tune_flags: Sequence[Assignment],
    flags: Mapping[str, Sequence[Assignment]],
    seed: int,
    declared_before: Any,
    evaluator: Evaluator,
) -> Search | None:
    """Resolve `tune`; None if it is wrong, which is reported. `flags` are the settings fixed by `--set` for each lane,
    which are not tuned."""
    findings, recovery = evaluator.findings, evaluator.recovery
    before = findings.count
    given: dict[str, Assignment] = {}
    for assignment in tune.assignments:
        first = given.get(assignment.text)
        if first is not None and not declared_before(assignment.span, first.span):
            findings.given_twice(assignment.text, assignment.span, first.span)
        given[assignment.text] = assignment
    given.update({flag.text: flag for flag in tune_flags})
    own = {name: each for name, each in given.items() if len(each.path) == 1 and TUNE.get(name) is not None}
    settings = _settings(own, evaluator)
    dimensions: list[Dimension] = []
    for name, each in given.items():
        if name in own:
            continue
        lane, setting = split_lane(each, flags, evaluator.lets)
        if not lane and len(setting.path) == 1 and not _is_setting(setting, evaluator):
            _unknown(setting, evaluator.lets, findings, recovery)
            continue
        found = _dimension(setting, lane, settings is not None and settings.chosen, evaluator)
        if found is not None:
            dimensions.append(found)
    if findings.count > before or settings is None:
        return None
    mine = {
        lane: [each for each in applying_to(lane, dimensions, ()) if not _is_fixed(each.setting, fixed)]
        for lane, fixed in flags.items()
    }
    if settings.chosen:
        return _chosen(settings, dimensions, mine, tune, findings)
    if not all_used(dimensions, mine, flags, _is_fixed, "space", findings) or not _all_reached(mine, evaluator):
        return None
    values = {name: each.given for name, each in own.items()}
    trials = [settings.search.trials([each.space for each in own], settings.budget) for own in mine.values() if own]
    runs = sum(trials) * settings.studies
    if runs > MAX_RUNS:
        message = f"this is {runs:,} trials; the limit is {MAX_RUNS:,}"
        span, times = values["budget"].value.span if "budget" in values else tune.head, len(trials) * settings.studies
        studies = f" and {settings.studies} studies" if settings.studies > 1 else ""
        lanes = f"{len(trials)} lane{'s' * (len(trials) > 1)}{studies}"
        help = f"with {lanes}, the budget can be at most {MAX_RUNS // times}" if runs == settings.budget * times else ""
        findings.error("NN603", message, span, help=help)
        return None
    try:
        places = {lane: tuple(_places(own, settings, seed)) for lane, own in mine.items()}
    except ValueError as error:  # more settings than the search covers
        findings.error("NN302", str(error), values["search"].value.span if "search" in values else tune.head)
        return None
    return Search(settings, mine, places, tune.head, values, bool(dimensions) or tune.gaps)


def _chosen(
    settings: TuneSettings,
    dimensions: Sequence[Dimension],
    mine: Mapping[str, Sequence[Dimension]],
    tune: Tune,
    findings: Findings,
) -> Search | None:
    """Return what every study chose: lists of equal length."""
    lengths = {len(each.items) for own in mine.values() for each in own}
    if lengths != {settings.studies}:
        odd = next((each for each in dimensions if len(each.items) != settings.studies), None)
        message = f"with `tune.chosen`, each space is a list of one value for each of {settings.studies} studies"
        findings.error("NN303", message, odd.setting.given.value.span if odd is not None else tune.head)
        return None
    return Search(settings, mine, dict.fromkeys(mine, ()), tune.head, {})


def _places(
    dimensions: Sequence[Dimension], settings: TuneSettings, seed: int
) -> Iterator[tuple[int, int, tuple[float, ...]]]:
    if not dimensions:
        return
    spaces = [dimension.space for dimension in dimensions]
    for study in range(1, settings.studies + 1):
        for number, row in enumerate(settings.search.points(spaces, settings.budget, seed, study), 1):
            yield study, number, tuple(row)


def _settings(given: Mapping[str, Assignment], evaluator: Evaluator) -> TuneSettings | None:
    time = _time_to_target(given["by"].given, evaluator) if "by" in given else None
    values = {
        each.name: evaluator.argument(each, given[each.name].given)
        for each in TUNE
        if each.name in given and (each.name != "by" or time is None)
    }
    if time is not None:
        values["by"] = time
        if "target" in given:
            help = "remove `target`"
            message = "`by = epochs_to(…)` already has a target"
            evaluator.findings.error("NN203", message, given["target"].span, help=help)
    if any(isinstance(value, Unknown) for value in values.values()):
        return None
    target = values.get("target")
    if isinstance(target, (int, float)):
        _can_be_reached(str(values.get("by", TuneSettings.by)), target, given["target"].given.value.span, evaluator)
    # TUNE is derived from the constructor's declaration, and the arguments have been checked against it.
    return TuneSettings(**values)  # type: ignore[arg-type]


def _time_to_target(given: Given, evaluator: Evaluator) -> FigureName | Unknown | None:
    """Return `epochs_to(val_loss=0.5)`, the time to a target, as a name; None if `by` is something else."""
    call = given.value
    if not isinstance(call, tree.Call) or call.callee.text != "epochs_to":
        return None
    argument = call.arguments[0] if len(call.arguments) == 1 else None
    if argument is None or argument.name is None:
        help = "write `epochs_to(val_loss=0.5)`"
        return evaluator.findings.error("NN602", "`epochs_to` needs a figure and its target", call.span, help=help)
    name = tree.Reference(tree.Path((argument.name,), argument.name.span))
    by = TUNE.get("by")
    assert by is not None, "it is a setting of `tune`"
    figure = evaluator.argument(by, replace(given, value=name))
    target = evaluator.value(argument.value)
    if isinstance(figure, Unknown) or isinstance(target, Unknown):
        return UNKNOWN
    if not isinstance(target, (int, float)) or isinstance(target, bool):
        return evaluator.findings.error("NN301", f"`{figure}` takes a number", argument.value.span)
    _can_be_reached(str(figure), target, argument.value.span, evaluator)
    return FigureName(f"epochs_to({figure}={target!r})")


def _can_be_reached(figure: str, target: float, span: Span, evaluator: Evaluator) -> None:
    if why := why_unreachable(figure, target):
        evaluator.findings.error("NN604", why[0], span, help=why[1])


def _of_test_data(figure: str, span: Span, findings: Findings) -> None:
    message = f"`tune` cannot choose settings by `{figure}`: its test results would be too optimistic"
    help = f"hold out samples, and choose by `val_{figure.removeprefix('test_')}`"
    findings.error("NN608", message, span, help=help)


def _is_setting(setting: Assignment, evaluator: Evaluator) -> bool:
    return setting.text in SETTINGS or setting.text in evaluator.lets


def _unknown(setting: Assignment, lets: Iterable[str], findings: Findings, recovery: Recovery) -> None:
    word = setting.text
    others = other_names({argument.name: argument.also for argument in TUNE})
    near = findings.nearest(word, [*(argument.name for argument in TUNE), *SETTINGS, *lets], others)
    if recovery.excuses(word, near):
        return
    own = ", ".join(f"`{argument.name}`" for argument in TUNE if argument.name != "chosen")
    help = f"it has {own}, and search spaces of settings, such as `optimizer.lr`"
    if TRAIN.get(word) is not None:
        help, near = f"`{word}` belongs in `train`: `train.{word} = …`", None
    elif word in _DIRECTIONS:
        help, near = "remove it: whether lower or higher is better follows from the figure in `by`", None
    elif belongs := of_the_optimizer(word):
        help, near = belongs, None
    findings.error(
        "NN201", f"`tune` has no setting `{word}`", setting.span, **respelt(setting.span, near, others, help)
    )


_DIRECTIONS = ("mode", "direction", "directions", "goal", "minimize", "maximize", "greater_is_better")
"""What other frameworks call whether the lowest or the highest figure is the best."""


def _dimension(setting: Assignment, lane: str, chosen: bool, evaluator: Evaluator) -> Dimension | None:
    """Return a setting with its space; None if it is wrong. What studies have `chosen` need not differ."""
    findings, expression = evaluator.findings, setting.given.value
    while isinstance(expression, tree.Group):
        expression = expression.inner
    match expression:
        case tree.Call(callee=callee, arguments=[values]) if callee.text == Choice.spec_name:
            expression = values.value
    if why := _not_searched(setting.text):
        help = "to train with several seeds, set `train.repeats`" if setting.text == "seed" else "set it outside `tune`"
        findings.error("NN203", f"`tune` cannot choose `{setting.text}`: {why}", setting.span, help=help)
        return None
    if lane and TUNE.get(setting.text) is not None:
        help = f"write `tune.{setting.text} = …`, without the lane"
        findings.error("NN203", f"`{setting.text}` is the same for every lane", setting.span, help=help)
        return None
    folder = setting.span.source.folder
    if setting.path[0].text == "init_from" and not chosen and folder.resolve() != Path.cwd():
        message = (
            "`tune` cannot choose among files of another folder: the race would look for them in the working folder"
        )
        findings.error("NN203", message, setting.span, help=f"change to the folder of the spec: `cd {folder}`")
        return None
    if isinstance(expression, tree.TupleOf) and not chosen:
        ends = [" ".join(item.span.text.split()) for item in expression.items]
        help = f"a choice is a list: `[{', '.join(ends)}]`"
        if len(ends) == 2:
            help = f"a range is `uniform({', '.join(ends)})` or `loguniform({', '.join(ends)})`; {help}"
        findings.error("NN305", "values in parentheses are not a search space", expression.span, help=help)
        return None
    listed = items_of(expression, evaluator)
    if isinstance(listed, Unknown):
        return None
    if listed is None:
        value = evaluator.argument(replace(SPACE, name=setting.text), setting.given)
        return Dimension(setting, lane, value) if isinstance(value, Space) else None
    items = [(_plain(item, evaluator), item) for item in listed]
    if chosen:
        return Dimension(setting, lane, UniformSpace(0, 1), items)
    firsts: dict[str, Span] = {}
    for value, item in items:
        if repr(value) in firsts:
            findings.given_twice(text_of(item), item.span, firsts[repr(value)])
            return None
        firsts[repr(value)] = item.span
    if len(items) < 2:
        help = "to fix a setting, write its value outside `tune`"
        findings.error("NN302", "a space needs at least two values", expression.span, help=help)
        return None
    return Dimension(setting, lane, Choice(tuple(value for value, _ in items)), items)


def _plain(expression: tree.Expression, evaluator: Evaluator) -> Any:
    """Return an item of a list for the record: a number, true, false, none, or any other value as written. What depends
    on names has a value for each lane and trial, so it is as written too.
    """
    numbers = isinstance(expression, (tree.Constant, tree.Unary, tree.Binary, tree.Group))
    if numbers and names_in(expression) <= _FIXED - evaluator.lets.keys():
        value = evaluator.value(expression)
        if value is None or isinstance(value, (bool, int, float)):
            return value
    written = expression.span.text
    return written if "#" in written or '"' in written else text_of(expression)


def _is_fixed(setting: Assignment, flags: Sequence[Assignment]) -> bool:
    """Whether a flag sets a setting, or the part of which it is an argument."""
    return any(flag.text in wholes(setting.text) for flag in flags)


def _not_searched(setting: str) -> str:
    """Return why a setting cannot be searched for; "" if it can."""
    if setting == "seed":
        return "the best seed is only the luckiest one"
    if setting.split(".")[0] == "data" or setting in ("train.validation", "train.repeats", "train.stratify"):
        return "figures of different samples cannot be compared"
    return ""


def _all_reached(mine: Mapping[str, Sequence[Dimension]], evaluator: Evaluator) -> bool:
    """Whether what is chosen for each lane can be set in it alone, as by `--set`; report the first that cannot."""
    for lane, own in mine.items():
        if own and len(mine) > 1 and (lane == "tune" or lane in SETTINGS or lane in evaluator.lets):
            setting = own[0].setting
            message = (
                f"`{setting.text}` cannot be tuned for lane `{lane}` alone: that is also the name of a setting or `let`"
            )
            evaluator.findings.error("NN203", message, setting.span, help="rename the lane")
            return False
    return True


def as_trial(experiment: Experiment, trial: Trial) -> Experiment:
    """Return a lane as a trial: trained once, without a look at the test data, and with a seed that its lane does not
    race with, so that its settings are not judged by the luck that they were chosen for."""
    train = experiment.train
    of_trial = train.trainings // train.repeats  # one for each fold, each with the next seed
    seed = experiment.seed + train.trainings + (trial.study - 1) * of_trial
    data = tuple(replace(choice, facts=replace(choice.facts, test=0)) for choice in experiment.data)
    return replace(experiment, seed=seed, data=data, train=replace(train, repeats=1), trial=trial)


def can_choose(search: Search, runs: Sequence[Run], half: bool, findings: Findings, recovery: Recovery) -> bool:
    """Report a search for nothing, unless the spec is `half` of one, and a figure that cannot decide: one of the test
    data, or one that a lane does not measure. Return whether there is none."""
    if not search.has_spaces and not half:
        help = "for example, `optimizer.lr = loguniform(1e-4, 1)`"
        findings.error("NN205", "`tune` needs at least one search space", search.span, help=help)
        return False
    (figure, _), span = figure_and_target(search.settings.by), search.place_of("by")
    if figure.startswith("test_"):
        _of_test_data(figure, span, findings)
        return False
    if figures().get(figure, "outcome") != "outcome" or figure == "epochs_to":
        message = f"`{figure}` is not measured after each epoch"
        findings.error("NN602", message, span, help="for example, `val_loss`")
        return False
    for run in runs:
        experiment: Experiment | None = run.experiment
        why = experiment is not None and why_unmeasured(figure, experiment)
        if why:
            reason, help = why
            if not (reason and recovery.doubts("train", "validation")):
                other = ", or choose by the training loss: `tune.by = loss`" if reason else ""
                findings.error("NN602", f"`{figure}` is not measured{reason}", span, help=f"{help}{other}")
            return False
    return not any(run.experiment is not None and _too_short(search, run.experiment, findings) for run in runs)


def _too_short(search: Search, experiment: Experiment, findings: Findings) -> bool:
    """Report a training that ends before the first place at which trials pause; return whether it does."""
    settings, length = search.settings, experiment.length
    trials = len(search.places.get(experiment.lane, ())) // settings.studies
    first = next((d for d, _ in settings.search.kept(trials, settings.budget)), 1)
    if length.records >= first:
        return False
    unit = "records" if length.by_step else "epochs"
    message = f"`{settings.search}` drops trials after 1/{first} of a training, but {experiment.name} has "
    message += f"{length.records} {unit if length.records > 1 else unit[:-1]}"
    help = f"use at least {first} {unit}, or fewer rungs"
    findings.error("NN302", message, search.place_of("search"), help=help)
    return True
