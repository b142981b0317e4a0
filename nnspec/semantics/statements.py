"""The expectations of a program in a normal form, in which statements that mean the same are equal."""

from __future__ import annotations

from collections.abc import Mapping

from nnspec.checker.program import Case, Figure, Node, Number, Operation, Program

__all__ = ["statements"]

_TURNED = {">": "<", ">=": "<="}


def statements(program: Program, names: Mapping[str, str]) -> dict[frozenset[str], str]:
    """Return the text of each statement, by its normal form in all its cases.

    `names` maps lanes to their names in the program to compare with. The form does not depend on the lanes and
    points of a sweep that the statement applies to.
    """
    lanes = {lane.name: names.get(lane.lane, lane.lane) for lane in program.lanes}
    found: dict[frozenset[str], str] = {}
    for expectation in program.expectations:
        key = frozenset(_normal(case.node, case, lanes) for case in expectation.cases)
        found.setdefault(key, expectation.text)
    return found


def _normal(node: Node, case: Case, lanes: Mapping[str, str]) -> str:
    match node:
        case Number(value=value):
            return f"{value:,}" if isinstance(value, int) else repr(value)
        case Figure(lane=lane):
            of = "" if lane == case.lane else f"{lanes.get(lane, lane)}."
            return f"{of}{node.text}"
        case Operation(operator=operator, operands=operands):
            words = [_normal(operand, case, lanes) for operand in operands]
            if operator in _TURNED:
                operator, words = _TURNED[operator], words[::-1]
            return f"({f' {operator} '.join(words)})" if len(words) > 1 else f"{operator} {words[0]}"
