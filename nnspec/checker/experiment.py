"""From a lane's settings to its experiment: values evaluated, parts bound, and held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnspec.checker.binding import Given
from nnspec.checker.expressions import Evaluator, called, operands
from nnspec.checker.mending import one_of
from nnspec.checker.model import Shared
from nnspec.checker.outline import Outline
from nnspec.checker.program import Bound, Choice, Experiment, Origin, PartValue, TrainSettings
from nnspec.checker.report import UNKNOWN, Report
from nnspec.checker.settings import LaneSettings
from nnspec.checker.words import DTYPES, SEED, SETTINGS, TRAIN, metric_figures, needs_validation, parts, respelt
from nnspec.diagnostics import Note, Span
from nnspec.engine.layers.contract import ShapeError, shape_in_words
from nnspec.engine.losses import Loss
from nnspec.engine.metrics import Metric
from nnspec.engine.part import Signature
from nnspec.syntax import tree

__all__ = ["evaluate"]


def evaluate(
    name: str,
    outline: Outline,
    settings: LaneSettings,
    shared: Shared,
    report: Report,
    top: Span,
    complete: bool = True,
) -> tuple[Experiment | None, Evaluator]:
    """Evaluate a lane; None where something is wrong. An incomplete one is only looked through for mistakes."""
    evaluator = Evaluator(report, settings.lets, outline.blocks)
    work = _Work(name, outline, settings, report, evaluator, top, complete)
    data = evaluator.data = work.data(shared)
    evaluator.data_failed = data is None
    seed, dtype, train = work.seed(), work.dtype(), work.train()
    loss, optimizer = work.single("loss"), work.single("optimizer")
    metrics = work.metrics(data)
    section = work.model()
    layers = None
    if section is not None:
        layers = shared.chain(section, settings.layers, evaluator, report)
    for let in settings.lets:
        evaluator.let(let)  # one that nothing uses is looked at too
    if layers and not any(node.geometry.parameters for node in layers):
        report.error(
            "NN205", "this model has nothing to train", layers[-1].span, help="add a layer such as `Linear(10)`"
        )
        layers = None
    if layers and data and isinstance(loss, PartValue):
        work.fit(layers, loss, data)
    if isinstance(train, TrainSettings) and data:
        work.batches(train, data)
        if metrics is not UNKNOWN:
            work.validation(train, metrics, data)
    ready = layers and data and all(v is not UNKNOWN for v in (seed, dtype, train, loss, optimizer, metrics))
    if not ready or layers is None or data is None:
        return None, evaluator
    experiment = Experiment(
        name,
        seed,
        dtype,
        data,
        layers,
        loss,
        optimizer,
        metrics,
        train,
        model=section.name.text if section is not None and section.name is not None else "",
        origins={word: given.origin for word, given in settings.values.items()},
        lets={word: Bound(evaluator.let(word), given.origin) for word, given in settings.lets.items()},
    )
    return experiment, evaluator


def describe(outline: Outline, settings: LaneSettings, evaluator: Evaluator, shared: Shared, top: Span) -> None:
    """Let expressions that stand for no lane know the data."""
    work = _Work("", outline, settings, evaluator.report, evaluator, top, complete=False)
    evaluator.data = work.data(shared)
    evaluator.data_failed = evaluator.data is None


class _Work:
    def __init__(
        self,
        lane: str,
        outline: Outline,
        settings: LaneSettings,
        report: Report,
        evaluator: Evaluator,
        top: Span,
        complete: bool,
    ) -> None:
        self.outline, self.settings, self.report, self.evaluator = outline, settings, report, evaluator
        self.lane, self.top, self.complete = lane, top, complete

    def _missing(self, word: str, help: str) -> Any:
        if self.complete and not self._told(word):
            self.report.absent(word, self.lane, help)
        return UNKNOWN

    def _told(self, setting: str) -> bool:
        """Whether something could not be read or was not known that may have given a setting its value."""
        if self.report.incomplete:
            return True
        words = self.report.lost | self.report.meant
        kind = SETTINGS[setting].part or ("metric" if setting == "metrics" else "")
        return bool(words & {setting, "race", *(parts(kind) if kind else ())})

    def _changes(self, setting: str) -> Mapping[str, Given]:
        return self.settings.arguments.get(setting, {})

    def seed(self) -> Any:
        given = self.settings.values.get("seed")
        if given is None:
            return 0
        return self.evaluator.fitting(SEED, self.evaluator.value(given.value), given)

    def dtype(self) -> Any:
        given = self.settings.values.get("dtype")
        if given is None:
            return DTYPES[0]
        value = given.value
        if isinstance(value, tree.Constant) and not self.report.readable(value.span):
            return UNKNOWN
        word = value.path.text if isinstance(value, tree.Reference) else None
        if isinstance(value, tree.Constant) and isinstance(value.value, str):
            word = value.value
        if word in DTYPES:
            return word
        return self.report.error(
            "NN301", f"`dtype` is {' or '.join(DTYPES)}", value.span, **self.report.respell(value.span, DTYPES)
        )

    def train(self) -> Any:
        values, good = {}, True
        for argument in TRAIN:
            given = self.settings.values.get(f"train.{argument.name}")
            if given is None:
                continue
            value = self.evaluator.value(given.value, kinds=argument.kinds)
            value = self.evaluator.fitting(argument, value, given)
            good = good and value is not UNKNOWN
            values[argument.name] = value
        return TrainSettings(**values) if good else UNKNOWN

    def data(self, shared: Shared) -> tuple[Choice, ...] | None:
        given = self.settings.values.get("data")
        if given is None:
            self._missing("data", "such as `data = MNIST(train=2000, test=500) or Digits(train=2000, test=500)`")
            return None
        return shared.data(given, self._changes("data"), self.evaluator, lambda: self._choices(given))

    def _choices(self, given: Given) -> tuple[Choice, ...] | None:
        alternatives = operands(given.value, "or")
        known = parts("data source")
        signatures = [known[name].signature() for name in {called(e) for e in alternatives} if name in known]
        found = [self._choice(expression, given, signatures, n == 0) for n, expression in enumerate(alternatives)]
        choices = tuple(choice for choice in found if choice is not None)
        if len(choices) < len(found):
            return None
        first = choices[0]
        for other in choices[1:]:
            if _agreed(other) != _agreed(first):
                self.report.error(
                    "NN501",
                    f"`{first.value.name}` is {_facts_in_words(first)}, `{other.value.name}` {_facts_in_words(other)}",
                    other.value.origin.span,
                    notes=(Note(first.value.origin.span, "the alternatives of `or` must agree"),),
                )
                return None
        return choices

    def _choice(self, expression: tree.Expression, given: Given, all_of: list[Signature], first: bool) -> Choice | None:
        # An argument may be one that only some of the alternatives have: it goes to those. Of one that none has, the
        # first of them says so.
        changes = self._changes("data")
        known = parts("data source")
        own = known[name].signature() if (name := called(expression)) in known else None
        changes = {
            word: change
            for word, change in changes.items()
            if own is None or own.get(word) or (first and not any(signature.get(word) for signature in all_of))
        }
        value = self.evaluator.part(expression, "data source", "`data`", given.via, changes)
        if not isinstance(value, PartValue):
            return None
        source = value.make()
        try:
            return Choice(value, source, source.facts())
        except ValueError as error:
            self.report.error("NN302", str(error), value.origin.span)
            return None

    def single(self, setting: str) -> Any:
        given = self.settings.values.get(setting)
        if given is None:
            for change in () if self._told(setting) else self._changes(setting).values():
                self.report.error("NN203", f"there is no {setting} here to change", change.name)
            help = {"loss": "such as `loss = CrossEntropy`", "optimizer": "such as `optimizer = Adam(lr=0.001)`"}[
                setting
            ]
            return self._missing(setting, help)
        return self.evaluator.part(given.value, setting, f"`{setting}`", given.via, self._changes(setting))

    def metrics(self, data: tuple[Choice, ...] | None) -> Any:
        given = self.settings.values.get("metrics")
        classes = data[0].facts.classes if data else None
        if given is None:
            span = self.top
            usual = [part for part in parts("metric").values() if issubclass(part, Metric) and part.default]
            return tuple(
                PartValue(metric, {}, Origin(span, "default"))
                for metric in usual
                if classes is not None or not metric.needs_classes
            )
        value = given.value
        items = value.items if isinstance(value, (tree.ListOf, tree.TupleOf)) else (value,)
        found = [self.evaluator.part(item, "metric", "`metrics`", given.via) for item in items]
        if UNKNOWN in found:
            return UNKNOWN
        firsts: dict[str, Span] = {}
        for metric in found:
            if metric.name in firsts:
                first = Note(firsts[metric.name], "first here")
                return self.report.error("NN204", f"`{metric.name}` is given twice", metric.origin.span, notes=(first,))
            firsts[metric.name] = metric.origin.span
            if data and classes is None and issubclass(metric.part, Metric) and metric.part.needs_classes:
                return self.report.error(
                    "NN305", f"`{metric.name}` needs classes, and the data has none", metric.origin.span
                )
        return tuple(found)

    def model(self) -> tree.Section | None:
        models, given = self.outline.models, self.settings.values.get("model")
        if given is None:
            if len(models) > 1 and "" not in models:
                if self._told("model") or not self.complete:
                    return None
                names = ", ".join(f"`{name}`" for name in models)
                self.report.error("NN205", f"which model? there are {names}", self.top, help="write `model = NAME`")
                return None
            if not models:
                self._missing("model", "such as `model { Linear(64); ReLU; Linear(10) }`")
            self.report.chosen_models.update({"": None} if "" in models else models)
            return models.get("", next(iter(models.values()), None))
        value = given.value
        if isinstance(value, tree.Constant) and not self.report.readable(value.span):
            return None
        word = value.path.text if isinstance(value, tree.Reference) else ""
        if word not in models or not word:
            named = [name for name in models if name]
            otherwise = one_of(named) if named else "a model with a name is written `model NAME { … }`"
            near = self.report.nearest(value.span.text, named)
            if not self.report.excuses(word, near):
                more = respelt(value.span, near, otherwise=otherwise)
                self.report.error("NN201", f"there is no model `{value.span.text}`", value.span, **more)
            return None
        self.report.chosen_models.add(word)
        return models[word]

    def fit(self, layers: tuple[Any, ...], loss: PartValue, data: tuple[Choice, ...]) -> None:
        last, facts = layers[-1], data[0].facts
        assert issubclass(loss.part, Loss)
        try:
            loss.part.fit(last.geometry.out, facts.classes, facts.target)
        except ShapeError as error:
            self.report.error(
                "NN402",
                str(error),
                last.span,
                notes=(Note(loss.origin.span, "the loss"),),
                help=error.help,
            )
            return

    def batches(self, train: TrainSettings, data: tuple[Choice, ...]) -> None:
        smallest = min(choice.facts.train for choice in data)
        if train.validation and smallest < 2:
            return  # there is nothing to hold out, which `validation` tells
        smallest -= train.held_out(smallest)
        if train.drop_last and train.batch > smallest:
            given = self.settings.values.get("train.batch") or self.settings.values["train.drop_last"]
            self.report.error(
                "NN302",
                f"`drop_last` leaves nothing of {smallest} samples in batches of {train.batch}",
                given.value.span,
                help="use a smaller batch, or `drop_last = false`",
            )

    def validation(self, train: TrainSettings, metrics: tuple[PartValue, ...], data: tuple[Choice, ...]) -> None:
        """Hold the validation split against the data, and early stopping against what is measured."""
        smallest = min(choice.facts.train for choice in data)
        given = self.settings.values.get("train.validation")
        if train.validation and given and smallest < 2:
            message = f"`validation` needs at least 2 training samples, and there is {smallest}"
            self.report.error("NN302", message, given.value.span)
        stopping = self.settings.values.get("train.early_stop")
        if train.early_stop is None or stopping is None:
            return
        figure, span = train.early_stop.of, self._figure_of(stopping)
        metric = metric_figures().get(figure)
        if needs_validation(figure) and not train.validation and self.report.doubts("train", "validation"):
            return
        if needs_validation(figure) and not train.validation:
            help = "hold some out: `train.validation = 0.1`"
            self.report.error("NN602", f"`{figure}` is not measured: no samples are held out", span, help=help)
        elif metric and metric not in {m.name for m in metrics}:
            self.report.error("NN602", f"`{figure}` is not measured", span, help=f"add `{metric}` to `metrics`")
        elif not metric and figure not in ("loss", "val_loss", "test_loss"):
            help = "such as `val_loss`"
            self.report.error("NN602", f"`{figure}` is not measured after each epoch", span, help=help)

    def _figure_of(self, stopping: Given) -> Span:
        """Where the figure stands by which training stops; the whole rule where it does not say one."""
        rule = self.evaluator.value(stopping.value)
        bound = rule.arguments.get("of") if isinstance(rule, PartValue) else None
        return bound.origin.span if bound else self.evaluator.source(stopping.value).span


def _agreed(choice: Choice) -> tuple[object, ...]:
    """What all alternatives of the data must have in common."""
    return choice.facts.shape, choice.facts.classes, choice.facts.target


def _facts_in_words(choice: Choice) -> str:
    facts = choice.facts
    return f"{shape_in_words(facts.shape)} in {facts.classes} classes" if facts.classes else shape_in_words(facts.shape)
