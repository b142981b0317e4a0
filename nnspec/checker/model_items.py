"""Classify the items of a model, and report those that are not allowed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.checker.evaluator import Evaluator, called
from nnspec.checker.findings import Findings
from nnspec.checker.functions import CONSTANTS, FUNCTIONS
from nnspec.checker.program import PartValue, Use
from nnspec.checker.vocabulary import SETTINGS, TRAIN, Suggestion, other_names, parts
from nnspec.diagnostics import Edit, Fix, Span
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.part import Argument, Signature
from nnspec.errors import some_of
from nnspec.syntax import tree
from nnspec.syntax.habits import FOREIGN, foreign

__all__ = [
    "Place",
    "Placed",
    "PlacedBranch",
    "Read",
    "branch_count",
    "has_strangers",
    "is_branch",
    "is_unknown",
    "kind_of",
    "makes_layer",
    "not_a_layer",
    "signature_of",
    "some",
    "span_of",
]


@dataclass(frozen=True)
class Placed:
    """A layer with its arguments and full name, such as `Hidden2.Linear1`, but without shapes."""

    name: str
    value: PartValue[Layer]
    within: tuple[Span, ...] = ()
    """The uses of the blocks that contain it, outermost first."""
    branches: tuple[PlacedBranch, ...] = ()
    uses: tuple[Use, ...] = ()
    """The same, with the values of the blocks' parameters."""
    shared: str = ""
    """The name with the labels of repeated layers and blocks, without the number of the copy."""
    reads: tuple[Read, ...] = ()
    """The further values that it reads."""
    owners: tuple[str, ...] = ()
    """The layers above whose parameters it uses."""


@dataclass(frozen=True)
class Read:
    """A value that a layer reads by its name."""

    argument: str
    value: str
    """The full name of the layer whose output it is; for no layer, the name as written, which may be that of an
    input.
    """
    span: Span
    is_layer: bool = True


@dataclass(frozen=True)
class PlacedBranch:
    """A chain of layers in a composition."""

    name: str
    span: Span
    layers: tuple[Placed | None, ...]


@dataclass(frozen=True)
class Place:
    """The context of items: the scope of names, the prefix of layers' names, and the enclosing blocks."""

    evaluator: Evaluator
    prefix: str = ""
    shared: str = ""
    """The prefix with the labels of repeated blocks as written, without the number of the copy."""
    within: tuple[Span, ...] = ()
    uses: tuple[Use, ...] = ()
    stack: tuple[str, ...] = ()
    depth: int = 0
    """The number of enclosing compositions and blocks."""
    what: str = "a model"
    before: tuple[Sequence[Placed | None], ...] = ()
    """The layers so far of the chains that it is in, outermost first."""

    @property
    def title(self) -> str:
        """Its name in messages."""
        return self.what if " " in self.what else f"`{self.what}`"


class _Text:
    """The default of a block's parameter, for messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def branch_count(item: tree.Section, part: type[Composition]) -> int:
    """Count the branches of a composition's section, including its own chain."""
    return bool(part.own_chain) + sum(is_branch(inner, part) for inner in item.items)


def has_strangers(item: tree.Section, part: type[Composition]) -> bool:
    """Whether a composition contains something other than branches, which has already been reported."""
    return not part.own_chain and any(not is_branch(inner, part) for inner in item.items)


def is_branch(item: tree.Item, part: type[Composition]) -> bool:
    """Whether an item is a branch: a section, with one of the composition's branch names if it has any."""
    if not isinstance(item, tree.Section) or item.label is not None or item.name is not None or item.title is not None:
        return False
    word = item.keyword.text
    return bool(word) and (word in part.inner if part.own_chain else word not in parts("composition"))


def signature_of(block: tree.Block) -> Signature:
    """Return a block's parameters as the arguments of its uses."""
    return Signature(
        tuple(
            Argument(
                name=parameter.name.text,
                type=Any,
                range=None,
                also=(),
                inferred=False,
                required=parameter.default is None,
                keyword_only=False,
                default=None if parameter.default is None else _Text(parameter.default.span.text),
            )
            for parameter in block.parameters
        )
    )


def not_a_layer(item: tree.Item, place: Place, findings: Findings) -> None:
    """Report an item that is not allowed in a model, and suggest where it belongs."""
    match item:
        case tree.Section(keyword=keyword, head=head):
            word, known = keyword.text, [*parts("composition"), "shortcut"]
            more: Suggestion = {"help": f"it can contain layers and the sections {', '.join(parts('composition'))}"}
            if word == "shortcut":
                more = {"help": "a `shortcut` belongs in a `residual`"}
            elif word in FOREIGN:
                findings.add(foreign(word, keyword.span))
                return
            elif word in place.evaluator.blocks:
                more = {"help": f"use a block like a layer: `{word}(…)`"}
            elif word in parts("layer"):
                more = {"help": f"write its arguments in parentheses: `{word}(…)`"}
            else:
                others = {"skip": "residual", "sum": "add", "parallel": "concat"} | other_names(
                    {name: part.also for name, part in parts("composition").items()}
                )
                more = findings.respell(keyword.span, known, others, more["help"])
            findings.error("NN201", f"{place.title} has no section `{word}`", head, **more)
        case tree.Setting(path=path, value=value):
            word = path.names[0].text
            help = "a model contains layers, such as `Linear(64)`"
            fix = None
            if TRAIN.get(word) is not None:
                help = f"`{word}` belongs in `train`"
            elif word in SETTINGS:
                help = f"`{word}` belongs at top level"
            elif makes_layer(value, place.evaluator) and len(path.names) == 1:
                help = f"layers are named with `:`, as in `{word}: {' '.join(value.span.text.split())}`"
                fix = Fix(
                    "replace `=` with `:`", (Edit(Span(item.span.source, path.span.end, value.span.start), ": "),)
                )
            findings.error("NN203", f"`{path.text}` cannot be set in {place.title}", item.span, help=help, fix=fix)
        case tree.Let():
            findings.error("NN203", "`let` belongs at top level", item.span, help="move it out of the braces")
        case tree.Block(head=head):
            findings.error("NN203", "`block` belongs at top level", head)
        case tree.Import():
            findings.error("NN203", "`import` belongs at top level", item.span)


def some(names: Sequence[str], most: int = 12) -> str:
    """List names, of many only the first."""
    return some_of([f"`{name}`" for name in names], most)


def span_of(item: tree.Item) -> Span:
    """Return the span of an item: that of its head, if it has one."""
    return item.head if isinstance(item, (tree.Section, tree.Block)) else item.span


def is_unknown(expression: tree.Expression, evaluator: Evaluator) -> bool:
    """Whether an expression is an unknown name or a call of one, which may be a misspelt layer."""
    word = called(expression)
    return word.isidentifier() and not any(
        word in known for known in (evaluator.scope, evaluator.lets, FUNCTIONS, CONSTANTS)
    )


def makes_layer(expression: tree.Expression, evaluator: Evaluator) -> bool:
    """Whether an expression creates a layer or uses a block."""
    word = kind_of(expression, evaluator)
    return word in parts("layer") or word in evaluator.blocks


def kind_of(expression: tree.Expression, evaluator: Evaluator) -> str:
    """Return the name of the layer or block that an element creates; "layer" if it is unknown."""
    word = called(expression)
    if word in evaluator.scope or word in evaluator.lets or isinstance(expression, tree.Index):
        if not isinstance(expression, (tree.Reference, tree.Index)):
            return "layer"
        value = evaluator.value(expression)
        return value.name if isinstance(value, PartValue) else "layer"
    return word or "layer"
