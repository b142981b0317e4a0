"""`expect`: statements over figures, turned into something that can be judged once the figures are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnspec.checker.expressions import Evaluator
from nnspec.checker.functions import OPERATORS
from nnspec.checker.program import Case, Expectation, Experiment, Figure, Node, Number, Operation
from nnspec.checker.report import Report
from nnspec.checker.words import FIGURES, LATER, did_you_mean
from nnspec.diagnostics import Span
from nnspec.syntax import tree

__all__ = ["expectation"]

_ORDER = ("program", "calculus", "outcome")
_METRIC_FIGURES = {"accuracy": "accuracy", "test_accuracy": "accuracy"}


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
        report.error("NN602", "this speaks of no figure", element.span, help=f"figures are {', '.join(FIGURES)}")
        return None
    about = max((FIGURES[f.name] for case in cases for f in case.figures()), key=_ORDER.index)
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

    def node(self, expression: tree.Expression, depth: int) -> Node | None:
        if depth > 100:
            self.report.error("NN106", "a statement of more than 100 steps in depth", expression.span)
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
                return self._operation(operators[0].text, operands, depth)
            case tree.Binary(operator=operator, left=left, right=right):
                return self._operation(operator.text, (left, right), depth)
            case tree.Logical(operator=operator, left=left, right=right):
                return self._operation(operator.text, (left, right), depth)
            case tree.Not(operand=operand):
                return self._operation("not", (operand,), depth)
            case tree.Unary(operator=operator, operand=operand):
                node = self.node(operand, depth + 1)
                return node if node is None or operator.text == "+" else Operation("-", (Number(0.0), node))
            case tree.Reference(path=path):
                return self._name(path, expression)
            case tree.Call(callee=path) if path.names[-1].text in FIGURES:
                return self._call(expression)
            case _:
                return self._constant(expression)

    def _operation(self, operator: str, operands: tuple[tree.Expression, ...], depth: int) -> Node | None:
        nodes = [self.node(operand, depth + 1) for operand in operands]
        found = tuple(node for node in nodes if node is not None)
        return Operation(operator, found) if len(found) == len(nodes) else None

    def _name(self, path: tree.Path, expression: tree.Expression) -> Node | None:
        word = path.names[-1].text
        if len(path.names) == 1 and (word in self.evaluator.lets or word not in FIGURES):
            if word in self.evaluator.lets:
                return self._constant(expression)
            self._unknown(word, path.span)
            return None
        lane = self._lane(path)
        if lane is None:
            return None
        if word not in FIGURES:
            self._unknown(word, path.names[-1].span)
            return None
        if word == "epochs_to":
            self.report.error("NN602", "`epochs_to` needs a loss", path.span, help="write `epochs_to(loss=0.1)`")
            return None
        return self._figure(lane, word, path.span)

    def _call(self, call: tree.Call) -> Node | None:
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
        target = self.evaluator.value(arguments[0].value)
        if not isinstance(target, (int, float)) or isinstance(target, bool):
            if isinstance(target, (str, list, tuple, bool)) or target is None:
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
        if word not in self.report.lost:
            self.report.error("NN602", f"there is no lane `{word}`", span, help=help)
        return None

    def _figure(self, lane: str, word: str, span: Span) -> Node | None:
        experiment = self.lanes[lane][0]
        metric = _METRIC_FIGURES.get(word)
        if metric and experiment is not None and metric not in {m.name for m in experiment.metrics}:
            self.report.error("NN602", f"`{word}` is not measured", span, help=f"add `{metric}` to `metrics`")
            return None
        return Figure(lane, word)

    def _unknown(self, word: str, span: Span) -> None:
        if word in LATER["expect"]:
            self.report.error("NN208", f"`{word}` is part of the language but has no meaning yet", span)
        elif word not in self.report.lost:
            help = did_you_mean(word, [*FIGURES, *self.evaluator.lets]) or f"figures are {', '.join(FIGURES)}"
            self.report.error("NN602", f"there is no figure `{word}`", span, help=help)

    def _constant(self, expression: tree.Expression) -> Node | None:
        value: Any = self.evaluator.value(expression)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Number(value)
        if isinstance(value, (str, list, tuple, bool)) or value is None:
            self.report.error("NN301", "a statement compares numbers", expression.span)
        return None


def calculate(node: Node, look: Any) -> Any:
    """Return the value of a node, `look` giving the figures: a number, or true or false."""
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
            return OPERATORS[operator](*(calculate(operand, look) for operand in operands))
