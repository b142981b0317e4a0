"""Resolve the statements of `expect`, so that they can be evaluated once the figures are known."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Any

from nnspec.checker.budget import Budget
from nnspec.checker.evaluator import MAX_DEPTH, names_in
from nnspec.checker.findings import UNKNOWN, Findings
from nnspec.checker.functions import OPERATORS, Unfit
from nnspec.checker.measured import why_unmeasured, why_unreachable
from nnspec.checker.program import Case, Expectation, Figure, Node, Number, Operation
from nnspec.checker.runs import AtPoints, Lanes, Run
from nnspec.checker.vocabulary import FIGURES_ELSEWHERE, added_figures, figures, respelt
from nnspec.diagnostics import Span
from nnspec.syntax import tree

__all__ = ["calculate", "expectation"]

_JOINS = frozenset({"and", "or", "not"})
_STATES = _JOINS | {"<", "<=", ">", ">=", "==", "!="}
_COMPARISONS = {"<": False, "<=": True, ">": False, ">=": True, "==": True, "!=": False}
"""Whether a number compared with itself holds."""
_DIVISIONS = frozenset({"/", "//", "%"})
_RUNS_A_STEP = 8  # runs per step in the search for those of a statement
_CASE = 4  # steps for resolving a statement for one run
_LARGEST = sys.float_info.max
_MOST_LANES = 40  # listed in a message
_ORDER = ("program", "calculus", "outcome")


def expectation(
    element: tree.Element,
    runs: Sequence[Run],
    lanes: AtPoints,
    models: Collection[str],
    with_model: Callable[[str], Run | None],
    findings: Findings,
    budget: Budget,
) -> Expectation | None:
    """Resolve a statement; None if it is wrong. It must hold at every point of the sweep, or, if lanes have separate
    points, for every combination of their points.

    `lanes` finds the runs at a point, `models` are the names of all models, and `with_model` evaluates a model that no
    lane trains.
    """
    if not isinstance(_bare(element.value), (tree.Compare, tree.Logical, tree.Not)):
        findings.error(
            "NN602",
            "this is not a statement",
            element.span,
            help="compare it with something, as in `test_accuracy > 0.9`",
        )
        return None
    cases: dict[Case, None] = {}
    settled: set[frozenset[str]] = set()
    if not budget.work(len(runs) // _RUNS_A_STEP, element.span):
        return None
    named = names_in(element.value) & {*lanes.names}
    cost = _CASE + (len(lanes.names) // 2 if lanes.apart else 0)
    for run in runs:
        if settled and lanes.apart and run.lane not in named:
            continue  # it names every lane that it uses, so their combinations cover it
        for beside in lanes.around(run, named):
            if not budget.work(1 if beside.key in settled and not lanes.apart else cost, element.span):
                return None
            if beside.key in settled:
                continue
            resolver = _Resolver(run, beside, models, with_model)
            node = resolver.node(element.value, 0)
            if node is None:
                return None
            if resolver.implicit or resolver.trained:
                cases[Case(run.name, node)] = None
            elif not resolver.borrowed:
                cases[Case(None, node)] = None
                settled.add(beside.key)
    if not any(case.figures() for case in cases):
        findings.error(
            "NN602", "this statement contains no figure", element.span, help=f"the figures are {', '.join(figures())}"
        )
        return None
    about = max((figures().get(f.name, "outcome") for case in cases for f in case.figures()), key=_ORDER.index)
    return Expectation(" ".join(element.span.text.split()), element.span, tuple(cases), about)


def _bare(expression: tree.Expression) -> tree.Expression:
    while isinstance(expression, tree.Group):
        expression = expression.inner
    return expression


class _Resolver:
    """Resolves one statement for one run.

    `implicit` is whether it contains a figure without a lane's name, `trained` a figure of the model that this run
    trains, and `borrowed` a figure of a model that other runs train.
    """

    def __init__(
        self,
        run: Run,
        lanes: Lanes,
        models: Collection[str],
        with_model: Callable[[str], Run | None],
    ) -> None:
        self.run, self.evaluator, self.with_model = run, run.evaluator, with_model
        self.findings, self.recovery, self.budget = run.evaluator.findings, run.evaluator.recovery, run.evaluator.budget
        self.lanes, self.models = lanes, models
        self.implicit = self.trained = self.borrowed = False
        self.too_deep = False

    def node(self, expression: tree.Expression, depth: int) -> Node | None:
        if depth > MAX_DEPTH:
            if not self.too_deep:
                self.too_deep = True
                message = f"this statement is nested more than {MAX_DEPTH} levels deep"
                self.findings.error("NN106", message, expression.span)
            return None
        if not self.budget.work(1, expression.span):
            return None
        match expression:
            case tree.Group(inner=inner):
                return self.node(inner, depth + 1)
            case tree.Compare(operands=operands, operators=operators):
                if len(operators) > 1:
                    message, help = "comparisons cannot be chained", _joined(expression)
                    self.findings.error("NN101", message, expression.span, help=help)
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
                if node is None or operator.text == "+":
                    return node
                return Number(-node.value) if isinstance(node, Number) else Operation("-", (Number(0.0), node))
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
        if operator in _STATES and not self._reachable(found, operands):
            return None
        if not self._means_something(operator, found, depth, operands[-1].span, span):
            return None
        numbers = [node.value for node in found if isinstance(node, Number)]
        if len(numbers) == len(found) and operator not in _STATES:
            try:
                result = OPERATORS[operator](*numbers)
            except (ArithmeticError, Unfit) as error:
                self.findings.error("NN304", f"cannot evaluate this: {error}", span)
                return None
            if abs(result) == math.inf:
                self.findings.error("NN304", "the result is not a finite number", span)
                return None
            return Number(result)
        return Operation(operator, found)

    def _means_something(self, operator: str, nodes: tuple[Node, ...], depth: int, right: Span, whole: Span) -> bool:
        """Report figures divided by zero or compared with themselves; return whether there are none."""
        if operator in _DIVISIONS and not isinstance(nodes[0], Number) and nodes[1] == Number(0.0):
            message = "this divides by zero, so no comparison with it can be true"
            self.findings.error("NN605", message, right, label="this is 0")
            return False
        if operator not in _COMPARISONS or nodes[0] != nodes[1] or isinstance(nodes[0], Number):
            return True
        holds = _COMPARISONS[operator]
        if self.implicit and (holds or depth):  # true for this lane only, or part of a larger statement
            return True
        both = "the same figure of the same lane" if isinstance(nodes[0], Figure) else "the same"
        message = f"both sides are {both}, so this {'always' if holds else 'never'} holds"
        help = f"this applies to lane `{self.run.lane}`; name the other lanes: `LANE.loss`" if self.implicit else ""
        self.findings.error("NN606", message, whole, help=help)
        return False

    def _reachable(self, nodes: tuple[Node, ...], operands: tuple[tree.Expression, ...]) -> bool:
        """Report a fraction compared with a number outside [0, 1]; return whether there is none."""
        figures = [node.name for node in nodes if isinstance(node, Figure)]
        for node, operand in zip(nodes, operands, strict=True):
            whys = (why_unreachable(name, node.value) for name in figures) if isinstance(node, Number) else ()
            if why := next(filter(None, whys), None):
                self.findings.error("NN604", why[0], operand.span, help=why[1])
                return False
        return True

    def _operand(self, operator: str, expression: tree.Expression, depth: int) -> Node | None:
        """Resolve the operands of an operator: statements for `and`, `or` and `not`, else numbers."""
        node = self.node(expression, depth + 1)
        if node is None:
            return None
        states = isinstance(node, Operation) and node.operator in _STATES
        if states != (operator in _JOINS):
            takes = "statements, such as `loss < 0.1`" if operator in _JOINS else "numbers, not statements"
            self.findings.error("NN301", f"`{operator}` takes {takes}", expression.span)
            return None
        return node

    def _name(self, path: tree.Path, expression: tree.Expression, depth: int) -> Node | None:
        word = path.names[-1].text
        if path.names[0].text == "data" and "data" not in self.lanes.by_name:
            return self._constant(expression, depth)
        if len(path.names) == 1 and (word in self.evaluator.lets or not self._is_figure(word)):
            if word in self.evaluator.lets:
                return self._constant(expression, depth)
            self._unknown(word, path.span)
            return None
        lane = self._lane(path)
        if lane is None:
            return None
        if not self._is_figure(word):
            self._unknown(word, path.names[-1].span)
            return None
        if word == "epochs_to":
            self.findings.error("NN602", "`epochs_to` needs a loss", path.span, help="write `epochs_to(loss=0.1)`")
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
            self.findings.error("NN602", f"`{word}` cannot be called like this", call.span, help=help)
            return None
        target = self.evaluator.value(arguments[0].value, depth=depth)
        if not isinstance(target, (int, float)) or isinstance(target, bool):
            if target is not UNKNOWN:
                self.findings.error("NN301", "`loss` takes a number", arguments[0].value.span)
            return None
        if abs(target) > _LARGEST:
            self.findings.error("NN302", "this number is too large for a float", arguments[0].value.span)
            return None
        return Figure(lane.name, word, float(target))

    def _lane(self, path: tree.Path) -> Run | None:
        """Return the run of a figure: this one, or that of the lane or model before the dot."""
        if len(path.names) == 1:
            self.implicit = True
            return self.run
        word = ".".join(name.text for name in path.names[:-1])
        if word in self.lanes.by_name:
            return self.lanes.by_name[word]
        trains = self.lanes.by_model.get(word)
        if trains:
            own = self.run.experiment is not None and self.run.experiment.model == word
            self.trained, self.borrowed = self.trained or own, self.borrowed or not own
            return self.run if own else trains[0]
        found = self.with_model(word)
        if found is not None and figures().get(path.names[-1].text) in ("program", None):
            return found
        span = path.names[0].span.to(path.names[-2].span)
        if found is not None:
            self.findings.error("NN602", f"no lane trains the model `{word}`", span)
        elif not {word, "race"} & (self.recovery.lost | self.recovery.meant):
            models = [name for name in self.models if name]
            otherwise = self._lanes_in_words(word, path)
            near = self.findings.nearest(word, [*self.lanes.by_name, *models])
            what = "lane or model" if models else "lane"
            if not self.recovery.excuses(word, near):
                more = respelt(span, near, otherwise=otherwise)
                self.findings.error("NN602", f"unknown {what} `{word}`", span, **more)
        return None

    def _lanes_in_words(self, word: str, path: tree.Path) -> str:
        last = path.names[-1].text
        if word in figures() and last in self.lanes.by_name:
            return f"write the lane before the figure: `{last}.{word}`"
        if [*self.lanes.by_name] == ["run"]:
            return "this spec has no race, so its figures have no lane"
        lanes = [f"`{lane}`" for lane in islice(self.lanes.by_name, _MOST_LANES)]
        more = len(self.lanes.by_name) - len(lanes)
        return f"the lanes are {', '.join(lanes)}" + (f" and {more:,} more" if more else "")

    def _is_figure(self, word: str) -> bool:
        return word in figures() or word in self.evaluator.output_figures

    def _figure(self, run: Run, word: str, span: Span) -> Node | None:
        if run.experiment is not None and (why := why_unmeasured(word, run.experiment)):
            reason, help = why
            if not (reason and self.recovery.doubts("train", "validation")):
                self.findings.error("NN602", f"`{word}` is not measured{reason}", span, help=help)
            return None
        return Figure(run.name, word)

    def _unknown(self, word: str, span: Span) -> None:
        own = sorted(self.evaluator.output_figures)
        known = [*(figure for figure in figures() if not own or figure not in added_figures()), *own]
        others = FIGURES_ELSEWHERE | {f.removesuffix("uracy"): f for f in own if f.endswith("_accuracy")}
        found = self.findings.nearest(word, [*known, *self.evaluator.lets], others)
        found = found or next((figure for figure in figures() if figure == f"{word}_loss"), None)
        if not self.recovery.excuses(word, found):
            more = respelt(span, found, others, f"the figures are {', '.join(f'`{f}`' for f in figures())}")
            self.findings.error("NN602", f"unknown figure `{word}`", span, **more)

    def _constant(self, expression: tree.Expression, depth: int) -> Node | None:
        value: Any = self.evaluator.value(expression, depth=depth)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Number(value)
        if value is not UNKNOWN:
            self.findings.error("NN301", "a statement compares numbers", expression.span)
        return None


def _joined(chain: tree.Compare) -> str:
    """Suggest how to write a chain of two comparisons."""
    if len(chain.operators) > 2:
        return "join them with `and`"
    (a, b, c), (first, second) = (operand.span.text for operand in chain.operands), (o.text for o in chain.operators)
    return f"write `{a} {first} {b} and {b} {second} {c}`"


def calculate(node: Node, look: Any) -> Any:
    """Return the value of a node, a number or a boolean; `look` returns the values of figures.

    An undefined result, such as a division by a figure that is 0, is NaN, and no comparison with NaN holds.
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
