"""Build an experiment from the values of a lane, and resolve the names of layers in `train`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nnspec.checker.draft import Draft
from nnspec.checker.evaluator import Evaluator
from nnspec.checker.findings import Unknown
from nnspec.checker.initial import initial_weights
from nnspec.checker.program import Bound, Experiment, LayerNode, TrainSettings
from nnspec.checker.shared import Shared
from nnspec.checker.tensor_names import is_known
from nnspec.diagnostics import Span
from nnspec.syntax import tree

__all__ = ["assemble"]


def assemble(draft: Draft, evaluator: Evaluator, shared: Shared, blocks: Collection[str]) -> Experiment | None:
    """Build an experiment; None if a value is missing or wrong."""
    data, layers, train, by_name = draft.data, draft.layers, draft.train, draft.by_name
    named = True
    if layers and train is not None and by_name is not None:
        named = _names_are_known(draft, layers, train, by_name, evaluator, shared, blocks)
    initial = initial_weights(draft, evaluator, shared, blocks) if named else None
    for let in draft.settings.lets:
        evaluator.let(let)  # unused ones too
    if isinstance(initial, Unknown) or draft.init_from is None or draft.init is None:
        return None
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
        initial=initial,
        init=draft.init.value,
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
        good = is_known(text, Span(span.source, span.end - len(text), span.end), names, evaluator.findings) and good
    frozen = values.get("train.freeze")
    if frozen is None or not train.freeze:
        return good
    places = _places(frozen.value)
    for name in train.freeze:
        good = is_known(name, places[name], names, evaluator.findings) and good
    if good and names.all_frozen(train.freeze):
        message, help = "all parameters are frozen, so there is nothing to train", "remove a layer from `freeze`"
        evaluator.findings.error("NN205", message, frozen.value.span, help=help)
        return False
    return good


def _places(expression: tree.Expression) -> dict[str, Span]:
    """Return the span of each name in a list of names."""
    while isinstance(expression, tree.Group):
        expression = expression.inner
    items = expression.items if isinstance(expression, (tree.ListOf, tree.TupleOf)) else (expression,)
    return {item.path.text: item.span for item in items if isinstance(item, tree.Reference)}
