"""Build an experiment from the values of a lane, and resolve the names of layers in `train`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.model_items import some
from nnspec.checker.program import Bound, Experiment, LayerNode, TrainSettings
from nnspec.checker.shared import Shared
from nnspec.checker.tensor_names import Names
from nnspec.checker.vocabulary import respelt
from nnspec.diagnostics import Span
from nnspec.syntax import tree

__all__ = ["assemble"]


def assemble(draft: Draft, evaluator: Evaluator, shared: Shared, blocks: Collection[str]) -> Experiment | None:
    """Build an experiment; None if a value is missing or wrong."""
    data, layers, train, by_name = draft.data, draft.layers, draft.train, draft.by_name
    named = True
    if layers and train is not None and by_name is not None:
        named = _names_are_known(draft, layers, train, by_name, evaluator, shared, blocks)
    for let in draft.settings.lets:
        evaluator.let(let)  # unused ones too
    if not named or not layers or data is None or train is None or by_name is None:
        return None
    if draft.seed is None or draft.dtype is None or draft.loss is None or draft.optimizer is None:
        return None
    if draft.metrics is None:
        return None
    settings, section = draft.settings, draft.section
    return Experiment(
        draft.name,
        draft.seed,
        draft.dtype,
        data,
        layers,
        draft.loss,
        draft.optimizer,
        draft.metrics,
        train,
        by_name=by_name,
        model=section.name.text if section is not None and section.name is not None else "",
        origins={word: given.origin for word, given in settings.values.items()},
        lets={word: Bound(evaluator.let(word), given.origin) for word, given in settings.lets.items()},
    )


def _names_are_known(
    draft: Draft,
    layers: tuple[LayerNode, ...],
    train: TrainSettings,
    by_name: Mapping[str, float],
    evaluator: Evaluator,
    shared: Shared,
    blocks: Collection[str],
) -> bool:
    """Whether the model has the layers and parameters named in `train`, and not all of them are frozen."""
    if not by_name and not train.freeze:
        return True
    values = draft.settings.values
    names, good = shared.names(layers, blocks), True
    given = [values[setting] for setting in (*by_name, "train.freeze") if setting in values]
    if given and not evaluator.budget.work(len(names.places) // 2, given[0].name):
        return False
    for setting in by_name:
        text = setting.split(".", 2)[2]
        span = values[setting].name
        good = _is_known(text, Span(span.source, span.end - len(text), span.end), names, evaluator) and good
    frozen = values.get("train.freeze")
    if frozen is None or not train.freeze:
        return good
    places = _places(frozen.value)
    for name in train.freeze:
        good = _is_known(name, places[name], names, evaluator) and good
    if good and names.all_frozen(train.freeze):
        message, help = "all parameters are frozen, so there is nothing to train", "remove a layer from `freeze`"
        evaluator.findings.error("NN205", message, frozen.value.span, help=help)
        return False
    return good


def _is_known(text: str, span: Span, names: Names, evaluator: Evaluator) -> bool:
    """Whether a name refers to something in the model; if not, report it."""
    findings = evaluator.findings
    if names.find(text) is not None:
        return True
    before, _, last = text.rpartition(".")
    inside = names.find(before) if before else None
    below = names.below(before) if inside is not None else []
    if inside is not None and last not in below:
        kinds = names.kinds_of(inside)
        has = f"it has {' and '.join(f'`{kind}`' for kind in kinds)}" if kinds else "it has no parameters"
        layers = f"; its layers are {some(below)}" if below else ""
        findings.error("NN201", f"`{before}` has no `{last}`", span, help=has + layers)
        return False
    near = findings.nearest(text, names.known)
    known = f"there are {some(names.known[:20])}"
    findings.error("NN201", f"the model has no layer `{text}`", span, **respelt(span, near, otherwise=known))
    return False


def _places(expression: tree.Expression) -> dict[str, Span]:
    """Return the span of each name in a list of names."""
    while isinstance(expression, tree.Group):
        expression = expression.inner
    items = expression.items if isinstance(expression, (tree.ListOf, tree.TupleOf)) else (expression,)
    return {item.path.text: item.span for item in items if isinstance(item, tree.Reference)}
