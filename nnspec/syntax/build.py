"""Builds the nodes of the tree for the parser: structure and spans only, no interpretation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nnspec.diagnostics import Source, Span
from nnspec.syntax import tree
from nnspec.syntax.literals import number, unquoted
from nnspec.syntax.token import Token

__all__ = ["Builder"]

Children = Sequence[Any]


class Builder(threading.local):
    """One method for each rule of the grammar; the parser calls them with the children in order, punctuation too.

    Thread-local because the parser is made once and the source is another one for each text.
    """

    source: Source

    def _at(self, child: Any) -> Span:
        is_token = isinstance(child, str)  # one of Lark's as well, in tests of the tables
        return Span(self.source, child.start_pos, child.end_pos) if is_token else child.span

    def _over(self, children: Children) -> Span:
        first, last = children[0], children[-1]
        start = first.start_pos if isinstance(first, Token) else self._at(first).start
        return Span(self.source, start, last.end_pos if isinstance(last, Token) else self._at(last).end)

    def _name(self, token: Token) -> tree.Name:
        return tree.Name(str(token), self._at(token))

    # Items

    def file(self, children: Children) -> tree.File:
        return tree.File(children[0], Span(self.source, 0, len(self.source.text)))

    def items(self, children: Children) -> Children:
        return tuple(child for child in children if not _is_token(child))

    def setting(self, children: Children) -> tree.Setting:
        return tree.Setting(children[0], children[2], self._over(children))

    def section(self, children: Children) -> tree.Section:
        head, brace = list(children[: _brace(children)]), _brace(children)
        label = head.pop(0) if isinstance(head[0], tree.Name) else None
        keyword, *rest = head
        if isinstance(keyword, tree.Path):  # with arguments in parentheses
            arguments = next((child for child in rest if isinstance(child, tuple)), ())
            keyword, rest = tree.Name(keyword.text, keyword.span), []
        else:
            arguments, keyword = None, self._name(keyword)
        name = rest[0] if rest and rest[0].type == "NAME" else None
        title = rest[0] if rest and rest[0].type == "STRING" else None
        return tree.Section(
            label=label,
            keyword=keyword,
            name=self._name(name) if name else None,
            title=self.string([title]) if title else None,
            items=children[brace + 1],
            head=self._over(children[:brace]),
            span=self._over(children),
            arguments=arguments,
        )

    def repeated(self, children: Children) -> tree.Section:
        return replace(children[0], times=tuple(children[2::2]), span=self._over(children))

    def element(self, children: Children) -> tree.Element:
        label = children[0] if len(children) > 1 else None
        return tree.Element(label, children[-1], self._over(children))

    def let(self, children: Children) -> tree.Let:
        return tree.Let(self._name(children[1]), children[3], self._over(children))

    def block(self, children: Children) -> tree.Block:
        brace = _brace(children)
        parameters = next((child for child in children[:brace] if isinstance(child, tuple)), ())
        return tree.Block(
            name=self._name(children[1]),
            parameters=parameters,
            items=children[brace + 1],
            head=self._at(children[0]).to(self._at(children[brace - 1])),
            span=self._over(children),
        )

    def parameters(self, children: Children) -> Children:
        return self.items(children)

    def parameter(self, children: Children) -> tree.Parameter:
        default = children[2] if len(children) > 1 else None
        return tree.Parameter(self._name(children[0]), default, self._over(children))

    def import_(self, children: Children) -> tree.Import:
        return tree.Import(self.string(children[1:]), self._over(children))

    def label(self, children: Children) -> tree.Name:
        return self._name(children[0])

    def path(self, children: Children) -> tree.Path:
        names = tuple(self._name(token) for token in children if token.type == "NAME")
        return tree.Path(names, self._over(children))

    # Expressions

    def either(self, children: Children) -> tree.Logical:
        left, operator, right = children
        return tree.Logical(self._name(operator), left, right, self._over(children))

    both = either

    def negation(self, children: Children) -> tree.Not:
        return tree.Not(children[1], self._over(children))

    def comparison(self, children: Children) -> tree.Compare:
        return tree.Compare(tuple(children[::2]), tuple(self._name(t) for t in children[1::2]), self._over(children))

    def binary(self, children: Children) -> tree.Binary:
        left, operator, right = children
        return tree.Binary(self._name(operator), left, right, self._over(children))

    def unary(self, children: Children) -> tree.Unary:
        return tree.Unary(self._name(children[0]), children[1], self._over(children))

    def integer(self, children: Children) -> tree.Constant:
        return tree.Constant(number(children[0], int), self._over(children))

    def float(self, children: Children) -> tree.Constant:
        return tree.Constant(number(children[0], float), self._over(children))

    def string(self, children: Children) -> tree.Constant:
        return tree.Constant(unquoted(str(children[0])), self._over(children))

    def true(self, children: Children) -> tree.Constant:
        return tree.Constant(True, self._over(children))

    def false(self, children: Children) -> tree.Constant:
        return tree.Constant(False, self._over(children))

    def none(self, children: Children) -> tree.Constant:
        return tree.Constant(None, self._over(children))

    def reference(self, children: Children) -> tree.Reference:
        return tree.Reference(children[0])

    def call(self, children: Children) -> tree.Call:
        arguments = next((child for child in children[1:] if isinstance(child, tuple)), ())
        return tree.Call(children[0], arguments, self._over(children))

    def list(self, children: Children) -> tree.ListOf:
        return tree.ListOf(children[1] if isinstance(children[1], tuple) else (), self._over(children))

    def index(self, children: Children) -> tree.Index:
        return tree.Index(children[0], children[2], self._over(children))

    def group(self, children: Children) -> tree.Group:
        return tree.Group(children[1], self._over(children))

    def tuple(self, children: Children) -> tree.TupleOf:
        more = children[3] if isinstance(children[3], tuple) else ()
        return tree.TupleOf((children[1], *more), self._over(children))

    def values(self, children: Children) -> Children:
        return self.items(children)

    def arguments(self, children: Children) -> Children:
        return self.items(children)

    def keyword(self, children: Children) -> tree.Argument:
        return tree.Argument(self._name(children[0]), children[2], self._over(children))

    def positional(self, children: Children) -> tree.Argument:
        return tree.Argument(None, children[0], self._over(children))


setattr(Builder, "import", Builder.import_)  # the rule is called `import`, which Python keeps for itself


def _is_token(child: object) -> bool:
    return isinstance(child, str)


def _brace(children: Children) -> int:
    return next(i for i, child in enumerate(children) if getattr(child, "type", "") == "LBRACE")
