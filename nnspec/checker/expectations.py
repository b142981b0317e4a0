"""`expect`: statements over figures, turned into something that can be judged once the figures are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnspec.checker.expressions import MAX_DEPTH, Evaluator
from nnspec.checker.functions import OPERATORS, Unfit
from nnspec.checker.program import Case, Expectation, Experiment, Figure, Node, Number, Operation
from nnspec.checker.report import UNKNOWN, Report
from nnspec.checker.words import did_you_mean, figure_is_for_later, figures, metric_figures
from nnspec.diagnostics import Span
from nnspec.syntax import tree

__all__ = ["expectation"]

_JOINS = frozenset({"and", "or", "not"})
_STATES = _JOINS | {"<", "<=", ">", ">=", "==", "!="}
_ORDER = ("program", "calculus", "outcome")


def expectation(
    element: tree.Element, lanes: Mapping[str, tuple[Experiment | None, Evaluator]], report: Report
) -> Expectation | None:
    """Resolve a statement, or None where it is wrong."""
    if not isinstance(_bare(element.value), (tree.Compare, tree.Logical, tree.Not)):
        report.error("NN602", "this states nothing", element.span, help="compare it, as in `test_accuracy > 0.9`")
        return None
    cases: list[Case] = []
    for name, (experiment, evaluator) in lanes.items():
        resolver = _Resolver(name, experiment, lanes, evaluator, report)
        node = resolver.node(element.value, 0)
        if node is None:
            return None
        if not resolver.implicit:
            cases = [Case(None, node)]
            break
        cases.append(Case(name, node))
    if not any(case.figures() for case in cases):
        report.error("NN602", "this speaks of no figure", element.span, help=f"figures are {', '.join(figures())}")
        return None
    about = max((figures()[f.name] for case in cases for f in case.figures()), key=_ORDER.index)
    return Expectation(" ".join(element.span.text.split()), element.span, tuple(cases), about)


def _bare(expression: tree.Expression) -> tree.Expression:
    while isinstance(expression, tree.Group):
        expression = expression.inner
    return expression


class _Resolver:
    """Resolves one statement for one lane. `implicit` tells whether a figure without a lane's name was met."""

    def __init__(
        self,
        lane: str,
        experiment: Experiment | None,
        lanes: Mapping[str, tuple[Experiment | None, Evaluator]],
        evaluator: Evaluator,
        report: Report,
    ) -> None:
        self.lane, self.experiment, self.lanes = lane, experiment, lanes
        self.evaluator, self.report = evaluator, report
        self.implicit = False
        self.too_deep = False

    def node(self, expression: tree.Expression, depth: int) -> Node | None:
        if depth > MAX_DEPTH:
            if not self.too_deep:
                self.too_deep = True
                message = f"a statement of more than {MAX_DEPTH} steps in depth"
                self.report.error("NN106", message, expression.span)
            return None
        match expression:
            case tree.Group(inner=inner):
                return self.node(inner, depth + 1)
            case tree.Compare(operands=operands, operators=operators):
                if len(operators) > 1:
                    self.report.error(
                        "NN101", "only one comparison at a time", expression.span, help="join two with `and`"
                    )
                    return None
                return self._operation(operators[0].text, operands, depth, expression.span)
            case tree.Binary(operator=operator, left=left, right=right):
                return self._operation(operator.text, (left, right), depth, expression.span)
            case tree.Logical(operator=operator, left=left, right=right):
                return self._operation(operator.text, (left, right), depth, expression.span)
            case tree.Not(operand=operand):
                return self._operation("not", (operand,), depth, expression.span)
            case tree.Unary(operator=operator, operand=operand):
                node = self._operand(operator.text, operand, depth)
                return node if node is None or operator.text == "+" else Operation("-", (Number(0.0), node))
            case tree.Reference(path=path):
                return self._name(path, expression, depth)
            case tree.Call(callee=path) if path.names[-1].text in figures():
                return self._call(expression, depth)
            case _:
                return self._constant(expression, depth)

    def _operation(self, operator: str, operands: tuple[tree.Expression, ...], depth: int, span: Span) -> Node | None:
        nodes = [self._operand(operator, operand, depth) for operand in operands]
        found = tuple(node for node in nodes if node is not None)
        if len(found) < len(nodes):
            return None
        numbers = [node.value for node in found if isinstance(node, Number)]
        if len(numbers) == len(found) and operator not in _STATES:
            try:
                result = OPERATORS[operator](*numbers)
            except (ArithmeticError, Unfit) as error:
                self.report.error("NN304", f"this cannot be computed: {error}", span)
                return None
            if abs(result) == math.inf:
                self.report.error("NN304", "the result is not a finite number", span)
                return None
            return Number(result)
        return Operation(operator, found)

    def _operand(self, operator: str, expression: tree.Expression, depth: int) -> Node | None:
        """Resolve what an operator stands before or after: statements for `and`, `or`, `not`, else numbers."""
        node = self.node(expression, depth + 1)
        if node is None:
            return None
        states = isinstance(node, Operation) and node.operator in _STATES
        if states != (operator in _JOINS):
            takes = "statements, such as `loss < 0.1`" if operator in _JOINS else "numbers"
            self.report.error("NN301", f"`{operator}` takes {takes}", expression.span)
            return None
        return node

    def _name(self, path: tree.Path, expression: tree.Expression, depth: int) -> Node | None:
        word = path.names[-1].text
        if len(path.names) == 1 and (word in self.evaluator.lets or word not in figures()):
            if word in self.evaluator.lets:
                return self._constant(expression, depth)
            self._unknown(word, path.span)
            return None
        lane = self._lane(path)
        if lane is None:
            return None
        if word not in figures():
            self._unknown(word, path.names[-1].span)
            return None
        if word == "epochs_to":
            self.report.error("NN602", "`epochs_to` needs a loss", path.span, help="write `epochs_to(loss=0.1)`")
            return None
        return self._figure(lane, word, path.span)

    def _call(self, call: tree.Call, depth: int) -> Node | None:
        word = call.callee.names[-1].text
        lane = self._lane(call.callee)
        if lane is None:
            return None
        arguments = call.arguments
        name = arguments[0].name if len(arguments) == 1 else None
        if word != "epochs_to" or name is None or name.text != "loss":
            help = "write `epochs_to(loss=0.1)`" if word == "epochs_to" else f"write `{word}`"
            self.report.error("NN602", f"`{word}` cannot be called like this", call.span, help=help)
            return None
        target = self.evaluator.value(arguments[0].value, depth=depth)
        if not isinstance(target, (int, float)) or isinstance(target, bool):
            if target is not UNKNOWN:
                self.report.error("NN301", "`loss` takes a number", arguments[0].value.span)
            return None
        return Figure(lane, word, float(target))

    def _lane(self, path: tree.Path) -> str | None:
        if len(path.names) == 1:
            self.implicit = True
            return self.lane
        word = ".".join(name.text for name in path.names[:-1])
        if word in self.lanes:
            return word
        span = path.names[0].span.to(path.names[-2].span)
        help = did_you_mean(word, self.lanes) or f"lanes are {', '.join(self.lanes)}"
        if not {word, "race"} & (self.report.lost | self.report.meant):
            self.report.error("NN602", f"there is no lane `{word}`", span, help=help)
        return None

    def _figure(self, lane: str, word: str, span: Span) -> Node | None:
        experiment = self.lanes[lane][0]
        metric = metric_figures().get(word)
        if metric and experiment is not None and metric not in {m.name for m in experiment.metrics}:
            self.report.error("NN602", f"`{word}` is not measured", span, help=f"add `{metric}` to `metrics`")
            return None
        return Figure(lane, word)

    def _unknown(self, word: str, span: Span) -> None:
        if figure_is_for_later(word):
            self.report.error("NN208", f"`{word}` is part of the language but has no meaning yet", span)
        elif word not in self.report.lost:
            help = did_you_mean(word, [*figures(), *self.evaluator.lets]) or f"figures are {', '.join(figures())}"
            self.report.error("NN602", f"there is no figure `{word}`", span, help=help)

    def _constant(self, expression: tree.Expression, depth: int) -> Node | None:
        value: Any = self.evaluator.value(expression, depth=depth)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Number(value)
        if value is not UNKNOWN:
            self.report.error("NN301", "a statement compares numbers", expression.span)
        return None


def calculate(node: Node, look: Any) -> Any:
    """Return the value of a node, `look` giving the figures: a number, or true or false.

    What cannot be computed, such as a division by a figure that is 0, is NaN, and no comparison with NaN holds.
    """
    match node:
        case Number(value=value):
            return value
        case Figure():
            return look(node)
        case Operation(operator="and", operands=(left, right)):
            return bool(calculate(left, look)) and bool(calculate(right, look))
        case Operation(operator="or", operands=(left, right)):
            return bool(calculate(left, look)) or bool(calculate(right, look))
        case Operation(operator="not", operands=(only,)):
            return not calculate(only, look)
        case Operation(operator=operator, operands=operands):
            values = [calculate(operand, look) for operand in operands]
            if any(value != value for value in values):
                return False if operator in _STATES else math.nan
            try:
                return OPERATORS[operator](*values)
            except (ArithmeticError, Unfit):
                return math.nan
