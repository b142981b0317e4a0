"""The syntax tree of a `.nn` file: frozen nodes with spans, not yet interpreted.

A file is a list of items; so is the inside of every pair of braces. Nodes are compared by identity and have no `repr`:
making those two for two dozen classes takes longer than checking a spec.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnspec.diagnostics import Span

__all__ = [
    "Argument",
    "Binary",
    "Block",
    "Call",
    "Compare",
    "Constant",
    "Element",
    "Expression",
    "File",
    "Group",
    "Import",
    "Index",
    "Item",
    "Let",
    "ListOf",
    "Logical",
    "Name",
    "Not",
    "Parameter",
    "Path",
    "Reference",
    "Section",
    "Setting",
    "TupleOf",
    "Unary",
]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Name:
    """A word."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Path:
    """A dotted name: `optimizer.lr`."""

    names: tuple[Name, ...]
    span: Span

    @property
    def text(self) -> str:
        """The path as written, without whitespace."""
        return ".".join(name.text for name in self.names)


# Expressions


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Constant:
    """A number, a string, `true`, `false` or `none`."""

    value: int | float | str | bool | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reference:
    """A reference by name: `width`, `data.features`, `ReLU`."""

    path: Path

    @property
    def span(self) -> Span:
        """The span of the path."""
        return self.path.span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Argument:
    """One argument of a call; positional where `name` is None."""

    name: Name | None
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call:
    """`Linear(784, 64)`."""

    callee: Path
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ListOf:
    """`[1, 2]`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TupleOf:
    """`(1, 2)`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Index:
    """An item of a list: `widths[0]`."""

    target: Expression
    index: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Group:
    """An expression in parentheses."""

    inner: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary:
    """`-x` or `+x`."""

    operator: Name
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary:
    """Arithmetic: `+ - * / // % **`."""

    operator: Name
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Compare:
    """A comparison. Chained operators are parsed so that the checker can report them."""

    operands: tuple[Expression, ...]
    operators: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not:
    """`not x`."""

    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Logical:
    """`a or b`, `a and b`."""

    operator: Name
    left: Expression
    right: Expression
    span: Span


Expression = Constant | Reference | Call | ListOf | TupleOf | Index | Group | Unary | Binary | Compare | Not | Logical

# Items


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Setting:
    """`epochs = 15`, `optimizer.lr = 0.1`."""

    path: Path
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Section:
    """`model { … }`, `model wide { … }`, `race "title" { … }`, `h1: residual { … }`, `residual { … } * 2`."""

    label: Name | None
    keyword: Name
    name: Name | None
    title: Constant | None
    items: tuple[Item, ...]
    head: Span
    """Everything before the brace."""
    span: Span
    arguments: tuple[Argument, ...] | None = None
    """What is in parentheses before the brace; None without parentheses."""
    times: tuple[Expression, ...] = ()
    """The factors after it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Element:
    """An expression as an item: `Linear(64)`, `h1: ReLU`, `params < 60_000`."""

    label: Name | None
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Let:
    """`let width = 64`."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parameter:
    """A parameter of a block, with its default."""

    name: Name
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Block:
    """`block Hidden(units, drop=0.0) { … }`."""

    name: Name
    parameters: tuple[Parameter, ...]
    items: tuple[Item, ...]
    head: Span
    span: Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Import:
    """`import "common.nn"`."""

    target: Constant
    span: Span


Item = Setting | Section | Element | Let | Block | Import


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class File:
    """A whole file."""

    items: tuple[Item, ...]
    span: Span
