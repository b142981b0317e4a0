"""From a lane's settings to its experiment: values evaluated, parts bound, and held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nnspec.checker.binding import Given
from nnspec.checker.declare import Outline
from nnspec.checker.evaluate import Evaluator, called, operands
from nnspec.checker.model_items import some
from nnspec.checker.preparing import prepared
from nnspec.checker.program import (
    Bound,
    Choice,
    Experiment,
    LayerNode,
    Origin,
    PartValue,
    TrainSettings,
    input_as_target,
)
from nnspec.checker.report import UNKNOWN, Report
from nnspec.checker.settle import LaneSettings
from nnspec.checker.shapes import Shared
from nnspec.checker.suggestions import one_of
from nnspec.checker.tensor_names import Names
from nnspec.checker.vocabulary import (
    BY_NAME,
    DTYPES,
    SEED,
    SETTINGS,
    TRAIN,
    metric_figures,
    needs_validation,
    parts,
    respelt,
)
from nnspec.data.source import Facts, FileFault
from nnspec.diagnostics import Edit, Fix, Note, Span
from nnspec.engine.layers.contract import ShapeError, shape_in_words
from nnspec.engine.losses import Loss
from nnspec.engine.metrics import Metric
from nnspec.engine.part import Signature
from nnspec.engine.schedules import Schedule
from nnspec.engine.validation import Given as GivenSamples
from nnspec.syntax import tree
from nnspec.text import quoted

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
        fits = work.fit(layers, loss, data)
        if fits and metrics is not UNKNOWN:
            work.measures(layers, metrics, data)
    if isinstance(train, TrainSettings) and data:
        train = work.held_out(train, data)
    by_name = work.by_name()
    if layers and isinstance(train, TrainSettings) and by_name is not UNKNOWN:
        by_name = work.names(layers, train, by_name, shared)
    if isinstance(train, TrainSettings) and data:
        work.batches(train, data)
        prepared(train, settings, data[0].facts, loss, report)
        if metrics is not UNKNOWN:
            work.validation(train, metrics, data, optimizer)
    known = (seed, dtype, train, loss, optimizer, metrics, by_name)
    ready = layers and data and all(v is not UNKNOWN for v in known)
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
        by_name=by_name,
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
        self.target: Any = TrainSettings.target

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
            value = self.evaluator.argument(argument, given)
            good = good and value is not UNKNOWN
            values[argument.name] = value
        self.target = values.get("target", TrainSettings.target)
        return TrainSettings(**values) if good else UNKNOWN

    def by_name(self) -> Any:
        """Return what is said of layers and kinds of parameters: setting -> value."""
        found: dict[str, Any] = {}
        for setting, given in self.settings.values.items():
            words = setting.split(".")
            argument = BY_NAME.get(words[1]) if len(words) > 2 else None
            if argument is not None:
                found[setting] = self.evaluator.argument(argument, given)
        return UNKNOWN if UNKNOWN in found.values() else found

    def names(
        self, layers: tuple[LayerNode, ...], train: TrainSettings, by_name: dict[str, float], shared: Shared
    ) -> Any:
        """Hold the names of tensors against the model, and return what is said by name."""
        if not by_name and not train.freeze:
            return by_name
        names, good = shared.names(layers, self.outline.blocks), True
        given = [self.settings.values[each] for each in (*by_name, "train.freeze") if each in self.settings.values]
        if given and not self.report.work(len(names.places) // 2, given[0].name):
            return UNKNOWN
        for setting in by_name:
            text = setting.split(".", 2)[2]
            span = self.settings.values[setting].name
            good = self._named(text, Span(span.source, span.end - len(text), span.end), names) and good
        frozen = self.settings.values.get("train.freeze")
        places = _written(frozen.value) if frozen is not None else {}
        for name in (train.freeze or ()) if frozen is not None else ():
            good = self._named(name, places[name], names) and good
        if not good:
            return UNKNOWN
        if frozen is not None and train.freeze and names.all_frozen(train.freeze or ()):
            message, help = "everything is frozen: there is nothing to train", "leave a layer out of `freeze`"
            return self.report.error("NN205", message, frozen.value.span, help=help)
        return by_name

    def _named(self, text: str, span: Span, names: Names) -> bool:
        """Whether a name means something in the model; where not, that is reported."""
        if names.find(text) is not None:
            return True
        before, _, last = text.rpartition(".")
        inside = names.find(before) if before else None
        if inside is not None and last not in names.below(before):
            kinds = names.kinds_of(inside)
            has = f"it has {' and '.join(f'`{kind}`' for kind in kinds)}" if kinds else "it has no parameters"
            below = names.below(before)
            layers = f"; its layers are {some(below)}" if below else ""
            self.report.error("NN201", f"`{before}` has no `{last}`", span, help=has + layers)
            return False
        near = self.report.nearest(text, names.known)
        known = f"there are {some(names.known[:20])}"
        self.report.error("NN201", f"the model has no layer `{text}`", span, **respelt(span, near, otherwise=known))
        return False

    def data(self, shared: Shared) -> tuple[Choice, ...] | None:
        given = self.settings.values.get("data")
        if given is None:
            self._missing("data", "for example, `data = MNIST(train=2000, test=500) or Digits(train=2000, test=500)`")
            return None
        choices = shared.data(given, self._changes("data"), self.evaluator, lambda: self._choices(given, shared))
        return self._as_the_loss_takes_them(choices) if choices else None

    def _as_the_loss_takes_them(self, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        """Read targets that may be numbers and classes alike as classes, where the loss takes these."""
        loss = self._loss_by_name()
        if loss is None or not all(_takes_classes(loss, choice.facts) for choice in choices):
            return choices
        found = tuple(replace(each, facts=each.facts.as_classes(), as_classes=True) for each in choices)
        return found if len(set(map(_agreed, found))) == 1 else choices

    def _loss_by_name(self) -> type[Loss] | None:
        """Return which loss it is, as far as names say: its arguments may need the data."""
        given = self.settings.values.get("loss")
        expression = given.value if given is not None else None
        for _ in range(10):  # a `let` may name it, and another one that
            name = called(expression) if expression is not None else ""
            part = parts("loss").get(name)
            if part is not None:
                return part if issubclass(part, Loss) else None
            if name not in self.settings.lets:
                break
            expression = self.settings.lets[name].value
        return None

    def _choices(self, given: Given, shared: Shared) -> tuple[Choice, ...] | None:
        alternatives = operands(given.value, "or")
        known = parts("data source")
        signatures = [known[name].signature() for name in {called(e) for e in alternatives} if name in known]
        found = [
            self._choice(expression, given, signatures, n == 0, shared) for n, expression in enumerate(alternatives)
        ]
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

    def _choice(
        self, expression: tree.Expression, given: Given, all_of: list[Signature], first: bool, shared: Shared
    ) -> Choice | None:
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
        try:
            source = value.make()
            return Choice(value, source, shared.facts(value, source))
        except FileFault as fault:
            self._unfit_file(fault, value)
        except ValueError as error:
            self.report.error("NN302", str(error), value.origin.span)
        return None

    def _unfit_file(self, fault: FileFault, value: PartValue) -> None:
        """Report a file that the data cannot be had from, at the characters of the argument that is at fault."""
        bound = value.arguments.get(fault.argument)
        span = bound.origin.span if bound else value.origin.span
        if not fault.word:
            self.report.error("NN502", fault.message, span, help=fault.help)
            return
        at = span.text.find(f'"{fault.word}"')
        span = Span(span.source, span.start + at, span.start + at + len(fault.word) + 2) if at >= 0 else span
        near = self.report.nearest(fault.word, fault.known) if at >= 0 else None
        more: dict[str, Any] = {"help": fault.help}
        if near is not None:
            text = quoted(near)
            more = {"help": f"did you mean `{text}`?", "fix": Fix(f"write `{text}`", (Edit(span, text),))}
        self.report.error("NN201", fault.message, span, **more)

    def single(self, setting: str) -> Any:
        given = self.settings.values.get(setting)
        if given is None:
            for change in () if self._told(setting) else self._changes(setting).values():
                self.report.error("NN203", f"this spec has no {setting} to change", change.name)
            help = {
                "loss": "for example, `loss = CrossEntropy`",
                "optimizer": "for example, `optimizer = Adam(lr=0.001)`",
            }[setting]
            return self._missing(setting, help)
        return self.evaluator.part(given.value, setting, f"`{setting}`", given.via, self._changes(setting))

    def metrics(self, data: tuple[Choice, ...] | None) -> Any:
        given = self.settings.values.get("metrics")
        classes = data[0].facts.classes if data and self.target != "input" else None
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
                message, help = self._without_classes(metric.part, data)
                if message:
                    return self.report.error("NN305", message, metric.origin.span, help=help)
            if data and classes is not None and issubclass(metric.part, Metric) and metric.part.needs_numbers:
                message = f"`{metric.name}` compares numbers, and the data has classes"
                return self.report.error("NN305", message, metric.origin.span, help="for example, `accuracy`")
        return tuple(found)

    def _without_classes(self, metric: type[Metric], data: tuple[Choice, ...]) -> tuple[str, str]:
        """Say why a metric of classes cannot take targets without classes, and what to do; ("", "") where it can."""
        name, loss = metric.spec_name, self._loss_by_name()
        if self.target == "input":
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
        models, given = self.outline.models, self.settings.values.get("model")
        if given is None:
            if len(models) > 1 and "" not in models:
                if self._told("model") or not self.complete:
                    return None
                names = ", ".join(f"`{name}`" for name in models)
                self.report.error("NN205", f"which model? there are {names}", self.top, help="write `model = NAME`")
                return None
            if not models:
                self._missing("model", "for example, `model { Linear(64); ReLU; Linear(10) }`")
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
                self.report.error("NN201", f"unknown model `{value.span.text}`", value.span, **more)
            return None
        self.report.chosen_models.add(word)
        return models[word]

    def fit(self, layers: tuple[Any, ...], loss: PartValue, data: tuple[Choice, ...]) -> bool:
        """Hold the network's outputs against the loss; say whether they fit."""
        last, facts = layers[-1], data[0].facts
        assert issubclass(loss.part, Loss)
        if self.target is UNKNOWN:
            return False
        outputs, classes, target = last.geometry.out, facts.classes, facts.target
        if self.target == "input":
            classes, target = None, input_as_target(facts, outputs)
        try:
            loss.part.fit(outputs, classes, target, loss.values())
        except ShapeError as error:
            own = loss.arguments.get(error.argument or "")
            notes = [] if own else [Note(loss.origin.span, "the loss")]
            if self.target == "input":
                notes.append(Note(self.settings.values["train.target"].value.span, "what it compares with"))
            span = own.origin.span if own else last.span
            self.report.error("NN402", str(error), span, notes=tuple(notes), help=error.help)
            return False
        return True

    def measures(self, layers: tuple[Any, ...], metrics: tuple[PartValue, ...], data: tuple[Choice, ...]) -> None:
        """Hold the network's outputs against what is measured."""
        last, facts = layers[-1], data[0].facts
        outputs, classes, target = last.geometry.out, facts.classes, facts.target
        if self.target == "input":
            classes, target = None, input_as_target(facts, outputs)
        for metric in metrics:
            assert issubclass(metric.part, Metric)
            try:
                metric.part.fit(outputs, classes, target, metric.values())
            except ShapeError as error:
                own = metric.arguments.get(error.argument or "")
                notes = () if own else (Note(last.span, "the outputs"),)
                span = own.origin.span if own else metric.origin.span
                self.report.error("NN402", str(error), span, notes=notes, help=error.help)

    def batches(self, train: TrainSettings, data: tuple[Choice, ...]) -> None:
        facts = min((choice.facts for choice in data), key=lambda each: each.train)
        smallest = facts.train - train.held_out(facts.train, facts.validation)
        if train.drop_last and train.batch > smallest:
            given = self.settings.values.get("train.batch") or self.settings.values["train.drop_last"]
            self.report.error(
                "NN302",
                f"`drop_last` leaves nothing of {smallest} samples in batches of {train.batch}",
                given.value.span,
                help="use a smaller batch, or `drop_last = false`",
            )

    def held_out(self, train: TrainSettings, data: tuple[Choice, ...]) -> Any:
        """Hold what is held out against the data, and take what the data gives for validation."""
        given, facts = self.settings.values.get("train.validation"), data[0].facts
        if given is None:
            return replace(train, validation=GivenSamples()) if facts.validation else train
        span, rule = given.value.span, train.validation
        if facts.validation and not isinstance(rule, GivenSamples):
            message = f"the data gives {facts.validation:,} validation samples, but `validation` asks for others"
            return self.report.error("NN517", message, span, help="leave `validation` out")
        if isinstance(rule, GivenSamples) and not facts.validation:
            help = "such as arrays `x_val` and `y_val`, a folder `val`, or a share: `validation = 0.2`"
            return self.report.error("NN517", "the data has no validation samples", span, help=help)
        try:
            for choice in data:
                train.held_out(choice.facts.train, choice.facts.validation)
        except ValueError as error:
            return self.report.error("NN302", str(error), span)
        return train

    def validation(
        self, train: TrainSettings, metrics: tuple[PartValue, ...], data: tuple[Choice, ...], optimizer: Any
    ) -> None:
        """Hold what goes by a figure against what is measured."""
        stopping = self.settings.values.get("train.early_stop")
        if train.early_stop is not None and stopping is not None:
            self._measured(train.early_stop.of, self._figure_of(stopping), train, metrics)
        rate = optimizer.arguments.get("lr") if isinstance(optimizer, PartValue) else None
        if rate is not None and isinstance(rate.value, Schedule) and rate.value.of is not None:
            self._measured(rate.value.of, rate.origin.span, train, metrics)

    def _measured(self, figure: str, span: Span, train: TrainSettings, metrics: tuple[PartValue, ...]) -> None:
        """Report a figure that training goes by and that is not measured after every epoch."""
        metric = metric_figures().get(figure)
        if needs_validation(figure) and not train.validation and self.report.doubts("train", "validation"):
            return
        if needs_validation(figure) and not train.validation:
            help = "hold some out: `train.validation = 0.1`"
            self.report.error("NN602", f"`{figure}` is not measured: no samples are held out", span, help=help)
        elif metric and metric not in {m.name for m in metrics}:
            self.report.error("NN602", f"`{figure}` is not measured", span, help=f"add `{metric}` to `metrics`")
        elif not metric and figure not in ("loss", "val_loss", "test_loss"):
            help = "for example, `val_loss`"
            self.report.error("NN602", f"`{figure}` is not measured after each epoch", span, help=help)

    def _figure_of(self, stopping: Given) -> Span:
        """Where the figure stands by which training stops; the whole rule where it does not say one."""
        rule = self.evaluator.value(stopping.value)
        bound = rule.arguments.get("of") if isinstance(rule, PartValue) else None
        return bound.origin.span if bound else self.evaluator.source(stopping.value).span


def _written(expression: tree.Expression) -> dict[str, Span]:
    """Return where each name in a list of names stands."""
    while isinstance(expression, tree.Group):
        expression = expression.inner
    items = expression.items if isinstance(expression, (tree.ListOf, tree.TupleOf)) else (expression,)
    return {item.path.text: item.span for item in items if isinstance(item, tree.Reference)}


def _takes_classes(loss: type[Loss], facts: Facts) -> bool:
    """Whether a loss reads targets as classes that may be numbers too. A row of numbers is one to a loss of numbers."""
    row = facts.target not in ((), (1,))
    return bool(facts.levels) and loss.takes_classes(facts.levels) and not (row and loss.targets != "classes")


def _agreed(choice: Choice) -> tuple[object, ...]:
    """What all alternatives of the data must have in common."""
    facts = choice.facts
    return facts.shape, facts.axes, facts.classes, facts.target, bool(facts.validation)


def _facts_in_words(choice: Choice) -> str:
    facts = choice.facts
    shape = f"{shape_in_words(facts.shape)} ({' × '.join(facts.axes)})"
    shape += f" in {facts.classes} classes" if facts.classes else ""
    return f"{shape}, with validation samples" if facts.validation else shape
