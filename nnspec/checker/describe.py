"""Describe the data that a lane trains on, without reading samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nnspec.checker.binding import Given
from nnspec.checker.evaluator import Evaluator, called, operands
from nnspec.checker.findings import Findings
from nnspec.checker.program import Choice, PartValue
from nnspec.checker.settle import LaneSettings
from nnspec.checker.shared import Shared
from nnspec.checker.vocabulary import Suggestion, parts
from nnspec.data.source import DataSource, Facts, FileFault
from nnspec.diagnostics import Edit, Fix, Note, Span
from nnspec.engine.layers.contract import shape_in_words
from nnspec.engine.losses import Loss
from nnspec.engine.part import Part, Signature
from nnspec.syntax import tree
from nnspec.text import quoted

__all__ = ["describe", "loss_by_name"]


def describe(settings: LaneSettings, evaluator: Evaluator, shared: Shared) -> tuple[Choice, ...] | None:
    """Return the alternatives for the data; None if it is missing or wrong. Expressions can then use its facts."""
    given = settings.values.get("data")
    choices = None
    if given is not None:
        changes = settings.arguments.get("data", {})
        choices = shared.data(given, changes, evaluator, lambda: _choices(given, changes, evaluator, shared))
    evaluator.data = _as_the_loss_takes_them(choices, loss_by_name(settings)) if choices else None
    evaluator.data_failed = evaluator.data is None
    return evaluator.data


def loss_by_name(settings: LaneSettings) -> type[Loss] | None:
    """Return the class of the loss, before its arguments are evaluated: they may depend on the data."""
    given = settings.values.get("loss")
    expression = given.value if given is not None else None
    for _ in range(10):  # a `let` may refer to another `let`
        name = called(expression) if expression is not None else ""
        part = parts("loss").get(name)
        if part is not None:
            return part if issubclass(part, Loss) else None
        if name not in settings.lets:
            break
        expression = settings.lets[name].value
    return None


def _as_the_loss_takes_them(choices: tuple[Choice, ...], loss: type[Loss] | None) -> tuple[Choice, ...]:
    """Read targets that could be either numbers or classes as classes, if the loss takes classes."""
    if loss is None or not all(_takes_classes(loss, choice.facts) for choice in choices):
        return choices
    found = tuple(replace(each, facts=each.facts.as_classes(), as_classes=True) for each in choices)
    return found if len(set(map(_agreed, found))) == 1 else choices


def _choices(
    given: Given, changes: Mapping[str, Given], evaluator: Evaluator, shared: Shared
) -> tuple[Choice, ...] | None:
    alternatives = operands(given.value, "or")
    known = parts("data source")
    signatures = [known[name].signature() for name in {called(e) for e in alternatives} if name in known]
    found = [
        _choice(expression, given, _changes_for(expression, changes, signatures, n == 0), evaluator, shared)
        for n, expression in enumerate(alternatives)
    ]
    choices = tuple(choice for choice in found if choice is not None)
    if len(choices) < len(found):
        return None
    first = choices[0]
    for other in choices[1:]:
        if _agreed(other) != _agreed(first):
            evaluator.findings.error(
                "NN501",
                f"`{first.value.name}` is {_facts_in_words(first)}, `{other.value.name}` {_facts_in_words(other)}",
                other.value.origin.span,
                notes=(Note(first.value.origin.span, "the alternatives of `or` must have the same shape and classes"),),
            )
            return None
    return choices


def _changes_for(
    alternative: tree.Expression, changes: Mapping[str, Given], signatures: Sequence[Signature], first: bool
) -> dict[str, Given]:
    """Return the changed arguments that an alternative of `or` has. The first one reports those that none has."""
    known = parts("data source")
    own = known[name].signature() if (name := called(alternative)) in known else None
    return {
        word: change
        for word, change in changes.items()
        if own is None or own.get(word) or (first and not any(signature.get(word) for signature in signatures))
    }


def _choice(
    expression: tree.Expression, given: Given, changes: Mapping[str, Given], evaluator: Evaluator, shared: Shared
) -> Choice | None:
    value = evaluator.part(expression, "data source", given.via, changes)
    if not isinstance(value, PartValue):
        return None
    value = value.of(DataSource)
    try:
        source = value.make()
        return Choice(value, source, shared.facts(value, source))
    except FileFault as fault:
        _report_file(fault, value, evaluator.findings)
    except ValueError as error:
        evaluator.findings.error("NN302", str(error), value.origin.span)
    return None


def _report_file(fault: FileFault, value: PartValue[Part], findings: Findings) -> None:
    """Report a file that cannot be used, at the argument with its name or with the name that is missing in it."""
    bound = value.arguments.get(fault.argument)
    span = bound.origin.span if bound else value.origin.span
    if not fault.word:
        findings.error("NN502", fault.message, span, help=fault.help)
        return
    at = span.text.find(f'"{fault.word}"')
    span = Span(span.source, span.start + at, span.start + at + len(fault.word) + 2) if at >= 0 else span
    near = findings.nearest(fault.word, fault.known) if at >= 0 else None
    more: Suggestion = {"help": fault.help}
    if near is not None:
        text = quoted(near)
        more = {"help": f"did you mean `{text}`?", "fix": Fix(f"write `{text}`", (Edit(span, text),))}
    findings.error("NN201", fault.message, span, **more)


def _takes_classes(loss: type[Loss], facts: Facts) -> bool:
    """Whether a loss reads targets that could also be numbers as classes. A loss of numbers takes a row of numbers."""
    row = facts.target not in ((), (1,))
    return bool(facts.levels) and loss.takes_classes(facts.levels) and not (row and loss.targets != "classes")


def _agreed(choice: Choice) -> tuple[object, ...]:
    """Describe what all alternatives of the data must have in common."""
    facts = choice.facts
    return facts.shape, facts.axes, facts.classes, facts.target, bool(facts.validation), bool(facts.test)


def _facts_in_words(choice: Choice) -> str:
    facts = choice.facts
    shape = f"{shape_in_words(facts.shape)} ({' × '.join(facts.axes)})"
    shape += f" in {facts.classes} classes" if facts.classes else ""
    shape += ", with validation samples" if facts.validation else ""
    return shape if facts.test else f"{shape}, without test samples"
