"""Evaluate the settings of a lane."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from nnspec.checker.declare import Declarations
from nnspec.checker.describe import loss_by_name
from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator, called
from nnspec.checker.findings import Unknown
from nnspec.checker.missing import Missing
from nnspec.checker.outputs import output_names
from nnspec.checker.program import Bound, Choice, Origin, PartValue, TrainSettings
from nnspec.checker.settle import LaneSettings
from nnspec.checker.suggestions import one_of
from nnspec.checker.vocabulary import BY_NAME, DTYPES, INIT, INIT_FROM, SEED, TRAIN, parts, respelt
from nnspec.data.weights import Weights
from nnspec.diagnostics import Span
from nnspec.engine.losses.contract import Loss
from nnspec.engine.metrics import Metric
from nnspec.engine.optimizers.contract import Optimizer
from nnspec.engine.part import FilePath, Part
from nnspec.engine.validation import Given as GivenSamples
from nnspec.syntax import tree

__all__ = ["evaluate"]

Kind = TypeVar("Kind", bound=Part)


def evaluate(
    name: str,
    declared: Declarations,
    settings: LaneSettings,
    data: tuple[Choice, ...] | None,
    evaluator: Evaluator,
    missing: Missing,
    top: Span,
    *,
    complete: bool,
) -> Draft:
    """Evaluate the settings of a lane. The base of a race need not be `complete`: its lanes add the rest."""
    work = _Evaluation(name, declared, settings, data, evaluator, missing, top, complete)
    if "data" not in settings.values:
        work.lacks("data")
    train, target = work.train()
    section = work.model()
    several = bool(output_names(section))  # whose losses and metrics follow from their shapes
    return Draft(
        name=name,
        settings=settings,
        data=data,
        seed=work.seed(),
        dtype=work.dtype(),
        train=train if train is None or data is None else work.held_out(train, data),
        target=target,
        loss=None if several else work.part("loss", Loss),
        optimizer=work.part("optimizer", Optimizer),
        metrics=None if several else work.metrics(target),
        by_name=work.by_name(),
        init=work.init(),
        init_from=work.init_from(),
        section=section,
    )


class _Evaluation:
    def __init__(
        self,
        lane: str,
        declared: Declarations,
        settings: LaneSettings,
        data: tuple[Choice, ...] | None,
        evaluator: Evaluator,
        missing: Missing,
        top: Span,
        complete: bool,
    ) -> None:
        self.lane, self.declared, self.settings, self.data = lane, declared, settings, data
        self.evaluator, self.findings, self.recovery = evaluator, evaluator.findings, evaluator.recovery
        self.missing, self.top, self.complete = missing, top, complete

    def lacks(self, setting: str) -> None:
        if self.complete:
            self.missing.add(setting, self.lane)

    def seed(self) -> int | None:
        given = self.settings.values.get("seed")
        if given is None:
            return 0
        value = self.evaluator.fitting(SEED, self.evaluator.value(given.value), given)
        return value if isinstance(value, int) else None

    def dtype(self) -> str | None:
        given = self.settings.values.get("dtype")
        if given is None:
            return DTYPES[0]
        value = given.value
        if isinstance(value, tree.Constant) and not self.recovery.readable(value.span):
            return None
        word = value.path.text if isinstance(value, tree.Reference) else None
        if isinstance(value, tree.Constant) and isinstance(value.value, str):
            word = value.value
        if word in DTYPES:
            return word
        respelt = self.findings.respell(value.span, DTYPES)
        self.findings.error("NN301", f"`dtype` must be {' or '.join(DTYPES)}", value.span, **respelt)
        return None

    def train(self) -> tuple[TrainSettings | None, str | None]:
        """Return the settings of `train`, and its `target` even if another setting is wrong."""
        values: dict[str, object] = {}
        for argument in TRAIN:
            given = self.settings.values.get(f"train.{argument.name}")
            if given is not None:
                values[argument.name] = self.evaluator.argument(argument, given)
        target = values.get("target", TrainSettings.target)
        good = not any(isinstance(value, Unknown) for value in values.values())
        # TRAIN is derived from the constructor's declaration, and the arguments have been checked against it.
        train = TrainSettings(**values) if good else None  # type: ignore[arg-type]
        return train, None if isinstance(target, Unknown) else str(target)

    def held_out(self, train: TrainSettings, data: tuple[Choice, ...]) -> TrainSettings | None:
        """Check `validation` against the data, and use the validation samples of the data if there are any."""
        given, facts = self.settings.values.get("train.validation"), data[0].facts
        if given is None:
            return replace(train, validation=GivenSamples()) if facts.validation else train
        span, rule = given.value.span, train.validation
        if facts.validation and not isinstance(rule, GivenSamples):
            message = (
                f"the data has its own {facts.validation:,} validation samples, so `validation` cannot hold out more"
            )
            self.findings.error("NN517", message, span, help="remove `validation`")
            return None
        if isinstance(rule, GivenSamples) and not facts.validation:
            help = "add arrays `x_val` and `y_val` or a folder `val`, or hold out a fraction: `validation = 0.2`"
            self.findings.error("NN517", "the data has no validation samples", span, help=help)
            return None
        try:
            for choice in data:
                facts = choice.facts
                if train.trained_on_least(*facts.counts) < 1:
                    raise ValueError(
                        f"no training sample is left: {train.held_out(facts.train):,} of {facts.train:,} are held out, "
                        f"and {facts.overlap:,} before them share rows with those"
                    )
        except ValueError as error:
            self.findings.error("NN302", str(error), span)
            return None
        return train

    def by_name(self) -> dict[str, float] | None:
        """Return the settings per layer and kind of parameter: `train.lr_factor.h1` -> its value."""
        values: dict[str, float] = {}
        good = True
        for setting, given in self.settings.values.items():
            words = setting.split(".")
            argument = BY_NAME.get(words[1]) if len(words) > 2 else None
            if argument is not None:
                value = self.evaluator.argument(argument, given)
                if isinstance(value, (int, float)):
                    values[setting] = value
                good = good and not isinstance(value, Unknown)
        return values if good else None

    def init(self) -> Bound | None:
        """Return the start of layers that have none of their own."""
        given = self.settings.values.get("init")
        if given is None:
            return Bound(None, Origin(self.top, "default"))
        value = self.evaluator.argument(INIT, given)
        return None if isinstance(value, Unknown) else Bound(value, given.origin)

    def init_from(self) -> dict[str, Weights | None] | None:
        """Return `init_from` and its settings per layer: `init_from.h1` -> the weights, None for `none`."""
        values: dict[str, Weights | None] = {}
        good = True
        for setting, given in self.settings.values.items():
            if setting.partition(".")[0] == "init_from":
                value = self.evaluator.argument(INIT_FROM, given)
                good = good and not isinstance(value, Unknown)
                values[setting] = Weights(value) if isinstance(value, FilePath) else None
                if isinstance(value, Weights):
                    values[setting] = value
        return values if good else None

    def part(self, setting: str, kind: type[Kind]) -> PartValue[Kind] | None:
        """Return the loss or the optimizer."""
        given, changes = self.settings.values.get(setting), self.settings.arguments.get(setting, {})
        if given is None:
            for change in () if self.missing.excused(setting) else changes.values():
                outputs = setting == "loss" and called(change.value) in parts("loss")
                help = "losses by name are those of `outputs { … }`, which ends a model" if outputs else ""
                self.findings.error("NN203", f"this spec has no {setting} to change", change.name, help=help)
            self.lacks(setting)
            return None
        value = self.evaluator.part(given.value, setting, given.via, changes)
        return value.of(kind) if isinstance(value, PartValue) else None

    def metrics(self, target: str | None) -> tuple[PartValue[Metric], ...] | None:
        """Return the metrics; by default those that suit the targets."""
        given = self.settings.values.get("metrics")
        classes = self.data[0].facts.classes if self.data and target != "input" else None
        loss = loss_by_name(self.settings)
        decides = loss is None or loss.decides
        if given is None:
            usual = [part for part in parts("metric").values() if issubclass(part, Metric) and part.default]
            return tuple(
                PartValue(metric, {}, Origin(self.top, "default"))
                for metric in usual
                if (classes is not None and decides) or not metric.needs_classes
            )
        value = given.value
        items = value.items if isinstance(value, (tree.ListOf, tree.TupleOf)) else (value,)
        values = [self.evaluator.part(item, "metric", given.via) for item in items]
        metrics = tuple(value.of(Metric) for value in values if isinstance(value, PartValue))
        if len(metrics) < len(values):
            return None
        firsts: dict[str, Span] = {}
        for metric in metrics:
            if metric.name in firsts:
                self.findings.given_twice(metric.name, metric.origin.span, firsts[metric.name])
                return None
            firsts[metric.name] = metric.origin.span
            message = help = ""
            if self.data and classes is None and metric.part.needs_classes:
                message, help = self._without_classes(metric.part, target, self.data)
            elif self.data and classes is not None and metric.part.needs_numbers:
                message, help = f"`{metric.name}` compares numbers, but the data has classes", "for example, `accuracy`"
            elif loss is not None and not decides and metric.part.needs_classes and not metric.part.keeps_scores:
                message = (
                    f"`{metric.name}` needs scores of classes, but the outputs of `{loss.spec_name}` are distances"
                )
                help = "`auc` measures how well they separate the classes"
            if message:
                self.findings.error("NN305", message, metric.origin.span, help=help)
                return None
        return metrics

    def _without_classes(self, metric: type[Metric], target: str | None, data: tuple[Choice, ...]) -> tuple[str, str]:
        """Return why a metric of classes cannot be used, and what to do; ("", "") if it can."""
        name, loss = metric.spec_name, loss_by_name(self.settings)
        if target == "input":
            return f"`{name}` needs classes, but the targets have none", ""
        if not all(choice.facts.are_labels for choice in data):
            return f"`{name}` needs classes, but the data has none", ""
        if not metric.takes_labels:
            takes = "`accuracy`, `precision`, `recall`, `f1` and `auc` take several"
            return f"`{name}` needs one class per sample, but each has several labels", takes
        if loss is not None and not (loss.takes_logits and loss.targets == "values"):
            message = (
                f"`{name}` counts a label if its logit is above 0, but "
                f"`{loss.spec_name}` does not take logits of labels"
            )
            return message, "`loss = BCEWithLogits` takes several labels"
        return "", ""

    def model(self) -> tree.Section | None:
        """Return the model of the lane."""
        models, given = self.declared.models, self.settings.values.get("model")
        usage = self.evaluator.usage
        if given is None:
            if len(models) > 1 and "" not in models:
                if self.missing.excused("model") or not self.complete:
                    return None
                names = ", ".join(f"`{name}`" for name in models)
                message = f"the spec has several models: {names}"
                self.findings.error("NN205", message, self.top, help="write `model = NAME`")
                return None
            if not models:
                self.lacks("model")
            usage.models.update({"": None} if "" in models else models)
            return models.get("", next(iter(models.values()), None))
        value = given.value
        if isinstance(value, tree.Constant) and not self.recovery.readable(value.span):
            return None
        word = value.path.text if isinstance(value, tree.Reference) else ""
        if word not in models or not word:
            named = [name for name in models if name]
            otherwise = one_of(named) if named else "named models are written `model NAME { … }`"
            near = self.findings.nearest(value.span.text, named)
            if not self.recovery.excuses(word, near):
                more = respelt(value.span, near, otherwise=otherwise)
                self.findings.error("NN201", f"unknown model `{value.span.text}`", value.span, **more)
            return None
        usage.models.add(word)
        return models[word]
