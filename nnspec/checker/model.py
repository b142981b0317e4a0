"""The chain of layers: each bound, named, and held against the shape that arrives."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from nnspec.checker.expressions import Evaluator, Given, called
from nnspec.checker.program import Choice, LayerNode, PartValue
from nnspec.checker.report import Report
from nnspec.checker.words import LATER, SETTINGS, TRAIN, did_you_mean
from nnspec.diagnostics import Note, Span
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, shape_in_words
from nnspec.syntax import tree

__all__ = ["MAX_PARAMETERS", "chain"]

MAX_PARAMETERS = 500_000_000
_SHOWN = 12  # links of a chain of shapes in a message


def chain(
    section: tree.Section,
    changes: Mapping[str, Mapping[str, Given]],
    evaluator: Evaluator,
    data: tuple[Choice, ...] | None,
    report: Report,
) -> tuple[LayerNode, ...] | None:
    """Return the layers of a model, or None where one is wrong."""
    bound = _bind(section, changes, evaluator, report)
    if report.has_gaps(section.span):
        return None
    if not section.items:
        report.error("NN205", "this model has no layers", section.head, help="such as `Linear(10)`")
    if data is None or bound is None or not bound:
        return None
    walk = _Walk(report, data[0])
    return walk.along(bound)


def _bind(
    section: tree.Section, changes: Mapping[str, Mapping[str, Given]], evaluator: Evaluator, report: Report
) -> list[tuple[str, PartValue]] | None:
    """Bind every layer to its arguments, under its label or its kind and number."""
    found: list[tuple[str, PartValue]] = []
    names: dict[str, Span] = {}
    counts: dict[str, int] = {}
    good = True
    for item in section.items:
        if not isinstance(item, tree.Element) or _is_repeat(item.value):
            good = False
            _not_a_layer(item, report)
            continue
        kind = called(item.value) or "layer"
        counts[kind] = counts.get(kind, 0) + 1
        name = item.label or tree.Name(f"{kind}{counts[kind]}", item.value.span)
        if name.text in names:
            good = False
            first = Note(names[name.text], "first here")
            report.error("NN204", f"two layers are called `{name.text}`", name.span, notes=(first,))
        names[name.text] = name.span
        value = evaluator.part(item.value, "layer", "`model`", changes=changes.get(name.text))
        if isinstance(value, PartValue):
            found.append((name.text, value))
        else:
            good = False
    for name_, given in changes.items():
        if name_ not in names:
            good = False
            for change in given.values():
                help = did_you_mean(name_, names) or f"its layers are {', '.join(names)}"
                report.error("NN201", f"the model has no layer `{name_}`", change.name, help=help)
    return found if good else None


def _is_repeat(expression: tree.Expression) -> bool:
    return isinstance(expression, tree.Binary) and expression.operator.text == "*"


def _not_a_layer(item: tree.Item, report: Report) -> None:
    match item:
        case tree.Element(value=value):
            report.error("NN208", "repeating a layer with `*` has no meaning yet", value.span)
        case tree.Section(keyword=keyword, head=head) if keyword.text in LATER["model"]:
            report.error("NN208", f"`{keyword.text}` is part of the language but has no meaning yet", head)
        case tree.Section(keyword=keyword, head=head):
            if keyword.text:
                report.error(
                    "NN201",
                    f"a model has no section `{keyword.text}`",
                    head,
                    help=did_you_mean(keyword.text, LATER["model"]),
                )
        case tree.Setting(path=path):
            word = path.names[0].text
            help = "a model holds layers, such as `Linear(64)`"
            if TRAIN.get(word) is not None:
                help = f"`{word}` belongs in `train`"
            elif word in SETTINGS:
                help = f"`{word}` belongs at the top of the file"
            report.error("NN203", f"`{path.text}` cannot be set in a model", item.span, help=help)
        case tree.Let():
            report.error("NN203", "`let` belongs at the top of the file", item.span)
        case tree.Block(head=head):
            report.error("NN208", "`block` is part of the language but has no meaning yet", head)
        case tree.Import():
            report.error("NN203", "`import` belongs at the top of the file", item.span)


class _Walk:
    """Goes along the chain and keeps what messages need: the shapes so far, and who made the last one."""

    def __init__(self, report: Report, data: Choice) -> None:
        self.report = report
        self.shape: Shape = (data.facts.features,)
        self.maker: tuple[Span, str] = (data.value.origin.span, "")
        self.links = [shape_in_words(self.shape)]
        self.parameters = 0

    def along(self, layers: list[tuple[str, PartValue]]) -> tuple[LayerNode, ...] | None:
        nodes: list[LayerNode] = []
        good = True
        for name, value in layers:
            geometry = self._geometry(value)
            if geometry is None:
                good = False
                geometry = self._forgiving(value)
                if geometry is None:
                    return None
            self._count(geometry, value)
            nodes.append(LayerNode(name, value, self.shape, geometry))
            self._advance(value, geometry)
        return tuple(nodes) if good and self.parameters <= MAX_PARAMETERS else None

    def _geometry(self, value: PartValue) -> Geometry | None:
        assert issubclass(value.part, Layer)
        try:
            return value.part.geometry(self.shape, value.values())
        except ShapeError as error:
            self._report(value, error)
            return None

    def _forgiving(self, value: PartValue) -> Geometry | None:
        """Go on as if the layer had not said what it expects, so that the next mistake is found too."""
        assert issubclass(value.part, Layer)
        try:
            return value.part.geometry(
                self.shape, value.values() | {a.name: None for a in value.part.signature() if a.inferred}
            )
        except ShapeError:
            return None

    def _report(self, value: PartValue, error: ShapeError) -> None:
        bound = value.arguments.get(error.argument or "")
        where = bound.origin.span if bound else value.origin.span
        span, what = self.maker
        what = what or f"these {shape_in_words(self.shape)} features arrive"
        self.report.error(
            "NN401",
            str(error),
            where,
            label=error.label,
            notes=(Note(span, what),),
            remarks=(f"shapes: {_shortened([*self.links, f'{value.name} ✗'])}",),
            help=error.help,
        )

    def _advance(self, value: PartValue, geometry: Geometry) -> None:
        if geometry.out != self.shape:
            # The argument that says how much leaves, where one value does.
            sizes = [b for b in value.arguments.values() if (b.value,) == geometry.out]
            self.maker = (sizes[-1].origin.span if sizes else value.origin.span, "")
        self.shape = geometry.out
        self.links.append(f"{value.name} {shape_in_words(self.shape)}")

    def _count(self, geometry: Geometry, value: PartValue) -> None:
        before = self.parameters
        for shape in geometry.parameters.values():
            self.parameters += prod(shape)
        if before <= MAX_PARAMETERS < self.parameters:
            self.report.error("NN603", f"the model has more than {MAX_PARAMETERS:,} parameters here", value.origin.span)


def _shortened(links: list[str]) -> str:
    if len(links) > _SHOWN:
        links = [*links[: _SHOWN // 2], "…", *links[-_SHOWN // 2 :]]
    return " → ".join(links)
