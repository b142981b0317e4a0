"""Models with several outputs: their losses, weights and metrics by name, composed into one loss of the row of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

from nnspec.checker.binding import Given
from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.program import Bound, LayerNode, Origin, PartValue
from nnspec.checker.vocabulary import parts
from nnspec.data.source import Facts, Field
from nnspec.diagnostics import Span
from nnspec.engine.layers.joining import Outputs
from nnspec.engine.losses.contract import Loss
from nnspec.engine.losses.outputs import Output, loss_of_outputs, metric_of_output
from nnspec.engine.metrics.contract import Metric
from nnspec.engine.part import Argument, Range
from nnspec.errors import some_of
from nnspec.syntax import tree

__all__ = ["output_figures", "output_names", "with_outputs"]

_WEIGHT = Argument("loss_weight", float, Range(low=0), (), False, False, False, 1.0)
_BY_OUTPUT = ("loss_weight", "metrics")


def output_names(section: tree.Section | None) -> tuple[str, ...]:
    """Return the names of the outputs that a model ends with; none if it has one without a name."""
    last = section.items[-1] if section is not None and section.items else None
    if not isinstance(last, tree.Section) or last.keyword.text != Outputs.spec_name:
        return ()
    return tuple(item.keyword.text for item in last.items if isinstance(item, tree.Section) and item.keyword.text)


def output_figures(names: tuple[str, ...]) -> Iterator[str]:
    """Yield every figure of outputs with these names."""
    for name in names:
        for what in ("loss", *(m.spec_name for m in parts("metric").values() if issubclass(m, Metric) and m.is_figure)):
            yield from (f"{prefix}{name}_{what}" for prefix in ("", "val_", "test_"))


def with_outputs(draft: Draft, evaluator: Evaluator, *, complete: bool) -> Draft:
    """Return a draft with the loss and the metrics of several outputs, if its model has several; otherwise unchanged,
    after reporting settings by output. The base of a race need not be `complete`.
    """
    work = _Outputs(draft, evaluator, complete)
    if not output_names(draft.section):
        if work.misplaced():
            return replace(draft, layers=None)
        work.report_settings_by_output()
        return draft
    if work.misplaced() or draft.layers is None or draft.data is None:
        return replace(draft, loss=None, metrics=None, layers=None)
    fields = work.fields(draft.layers[-1], draft.data[0].facts)
    if fields is None:
        return replace(draft, loss=None, metrics=None, layers=None)
    losses = work.losses(fields)
    return replace(draft, loss=losses, metrics=work.metrics(fields, losses) if losses is not None else None)


class _Outputs:
    def __init__(self, draft: Draft, evaluator: Evaluator, complete: bool) -> None:
        self.draft, self.evaluator, self.findings, self.complete = draft, evaluator, evaluator.findings, complete
        self.settings = draft.settings

    def by_output(self, setting: str) -> Mapping[str, Given]:
        """Return the values of a setting by output."""
        if setting == "loss":
            return self.settings.arguments.get("loss", {})
        found = {name: given for name, given in self.settings.values.items() if name.startswith(f"{setting}.")}
        return {name.partition(".")[2]: given for name, given in found.items()}

    def report_settings_by_output(self) -> None:
        """Report settings by output of a model without outputs."""
        if self.draft.section is None:
            return
        for setting in _BY_OUTPUT:
            for name, given in self.by_output(setting).items():
                message = (
                    f"`{setting}.{name}` is a setting of an output, but the model has a single one, without a name"
                )
                help = "end the model with `outputs { a { … } b { … } }`"
                self.findings.error("NN203", message, given.name, help=help)
        if (given_weight := self.settings.values.get("loss_weight")) is not None:
            self._refuse_plain("loss_weight", given_weight)

    def misplaced(self) -> bool:
        """Report outputs that are not at the end of the model."""
        layers = self.draft.layers or ()
        strays = [n for layer in layers for n in layer.walk() if n.value.part is Outputs and n is not layers[-1]]
        for node in strays:
            help = "move it to the end of the model, outside of other compositions"
            self.findings.error("NN203", "`outputs` is the last element of a model", node.span, help=help)
        return bool(strays)

    def fields(self, node: LayerNode, facts: Facts) -> tuple[Output, ...] | None:
        """Return the ranges of the outputs and of their targets; None if an output has no target."""
        targets = {field.name: field for field in _targets_of(facts)}
        found, start, good = [], 0, True
        for branch in node.branches:
            width = branch.layers[-1].geometry.out[0] if branch.layers else node.incoming[0]
            span = branch.layers[-1].span if branch.layers else node.span
            name, target = branch.name, targets.get(branch.name)
            if name in ("val", "test", "kl") or name.startswith(("val_", "test_")):
                message = f"an output cannot be called `{name}`, since the names of its figures are already taken"
                self.findings.error("NN206", message, span, help="use another name")
                good = False
            elif target is None:
                has = f"it has {some_of([f'`{name}`' for name in targets])}" if targets else "its target has no name"
                help = 'name arrays: `NPZ(…, targets=["digit", "parity"])`, or columns: `CSV(…, target=[…])`'
                self.findings.error("NN203", f"the data has no target `{name}`; {has}", span, help=help)
                good = False
            else:
                shape = _shape(width, target)
                place = target.start, target.stop, target.shape, target.classes, target.class_names
                found.append(Output(name, start, start + width, shape, *place))
            start += width
        return tuple(found) if good else None

    def losses(self, fields: tuple[Output, ...]) -> PartValue[Loss] | None:
        """Return the loss of all outputs."""
        names = [field.name for field in fields]
        if (plain := self.settings.values.get("loss")) is not None:
            help = f"write `loss {{ {'; '.join(f'{name} = …' for name in names)} }}`"
            self.findings.error("NN203", "the model has several outputs, each with a loss", plain.value.span, help=help)
            return None
        weights = self.by_output("loss_weight")
        if (given_weight := self.settings.values.get("loss_weight")) is not None:
            self._refuse_plain("loss_weight", given_weight)
            return None
        good = self._known(names, "loss") and self._known(names, "loss_weight")
        arguments: dict[str, Bound] = {}
        for name in names:
            given = self.by_output("loss").get(name)
            if given is None:
                if self.complete and good:
                    help = f"write `loss {{ {name} = … }}`, for example `CrossEntropy`"
                    span = self.draft.section.head if self.draft.section is not None else given
                    assert isinstance(span, Span)
                    self.findings.error("NN205", f"output `{name}` has no loss", span, help=help)
                good = False
                continue
            value = self.evaluator.part(given.value, "loss", given.via)
            if not isinstance(value, PartValue):
                good = False
                continue
            arguments[name] = Bound(value.make(), value.origin)
            if (weight := weights.get(name)) is not None:
                number = self.evaluator.argument(_WEIGHT, weight)
                good = good and isinstance(number, (int, float))
                arguments[f"{name}_weight"] = Bound(number, weight.origin)
        if not good:
            return None
        return PartValue(loss_of_outputs(fields), arguments, arguments[names[0]].origin)

    def metrics(self, fields: tuple[Output, ...], losses: PartValue[Loss]) -> tuple[PartValue[Metric], ...] | None:
        """Return the metrics of all outputs: by default, those that suit the targets."""
        names = [field.name for field in fields]
        plain = self.settings.values.get("metrics")
        if plain is not None:
            help = f"write `metrics {{ {names[0]} = [accuracy] }}`"
            self.findings.error(
                "NN203", "the model has several outputs, each with metrics", plain.value.span, help=help
            )
            return None
        if not self._known(names, "metrics"):
            return None
        found: list[PartValue[Metric]] = []
        good = True
        for field in fields:
            given = self.by_output("metrics").get(field.name)
            loss = losses.arguments[field.name].value
            if given is None:
                usual = [part for part in parts("metric").values() if issubclass(part, Metric) and part.default]
                suit = [m for m in usual if (field.classes is not None and loss.decides) or not m.needs_classes]
                origin = Origin(losses.origin.span, "default")
                found += [PartValue(metric_of_output(field, metric), {}, origin) for metric in suit]
                continue
            value = given.value
            items = value.items if isinstance(value, (tree.ListOf, tree.TupleOf)) else (value,)
            for item in items:
                metric = self.evaluator.part(item, "metric", given.via)
                if not isinstance(metric, PartValue) or not self._suits(metric.of(Metric), field):
                    good = False
                    continue
                part = metric_of_output(field, metric.of(Metric).part)
                if any(each.name == part.spec_name for each in found):
                    self.findings.error("NN204", f"`{metric.name}` is given twice", metric.origin.span)
                    good = False
                found.append(PartValue(part, metric.arguments, metric.origin))
        return tuple(found) if good else None

    def _suits(self, metric: PartValue[Metric], field: Output) -> bool:
        message = ""
        if field.classes is None and metric.part.needs_classes:
            message = f"`{metric.name}` needs classes, but the target `{field.name}` has none"
        elif field.classes is not None and metric.part.needs_numbers:
            message = f"`{metric.name}` compares numbers, but the target `{field.name}` has classes"
        if message:
            self.findings.error("NN305", message, metric.origin.span)
        return not message

    def _known(self, names: list[str], setting: str) -> bool:
        """Report values of a setting for outputs that do not exist."""
        strays = [(name, given) for name, given in self.by_output(setting).items() if name not in names]
        for name, given in strays:
            help = f"the outputs are {some_of([f'`{each}`' for each in names])}"
            self.findings.error("NN201", f"unknown output `{name}`", given.name, help=help)
        return not strays

    def _refuse_plain(self, setting: str, given: Given) -> None:
        help = f"write `{setting} {{ a = 0.3 }}` for an output `a` of `outputs {{ a {{ … }} b {{ … }} }}`"
        self.findings.error("NN203", f"`{setting}` belongs to an output", given.name, help=help)


def _targets_of(facts: Facts) -> tuple[Field, ...]:
    """Return the targets by name: those of the data, or the columns of a table."""
    if facts.targets:
        return facts.targets
    if len(facts.target_names) > 1 and facts.classes is None:
        return tuple(Field(name, i, i + 1, ()) for i, name in enumerate(facts.target_names))
    return ()


def _shape(width: int, target: Field) -> tuple[int, ...]:
    """Return the shape in which a loss takes a row of outputs: scores for each label, or the shape of the target."""
    places = prod(target.shape)
    if target.classes is not None and target.shape and width % places == 0:
        return (*target.shape, width // places)
    return target.shape if target.classes is None and target.shape and places == width else (width,)
