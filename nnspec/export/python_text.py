"""What the two targets in Python have in common: one readable file that holds its weights itself."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.export.certificate import Certificate
from nnspec.export.names import Identifiers, python_string
from nnspec.export.program import Op, Program, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Line", "Statement", "certificate_line", "header", "key_of", "lines_of", "state", "statements"]


@dataclass(frozen=True)
class Statement:
    """The lines that compute a value, the last of which assigns it to a variable."""

    value: Value
    variable: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """Where a value is complete: after a line of the file, counted from 1, in a variable."""

    value: str
    line: int
    variable: str


def key_of(op: Op, name: str) -> str:
    """Return the key of an array: `Linear1.weight`."""
    return f"{op.writes.name.removeprefix('the ')}.{name}"


def statements(program: Program, emit: Callable[[Op, str, Sequence[str]], Sequence[str]]) -> list[Statement]:
    """Return the body of the forward pass. `emit(op, y, reads)` returns lines that assign to the variable `y`.

    A chain of layers assigns to `x` again and again; a value that is still read later keeps its own variable.
    """
    names, last = Identifiers({"x", "np", "w", "torch", "nn", "f", "self"}), program.last_readers()
    variables = {program.input.name: "x"}
    found = []
    for i, op in enumerate(program.ops):
        reads = [variables[value.name] for value in op.reads]
        free = [name for value, name in zip(op.reads, reads, strict=True) if last[value.name] <= i]
        base = op.writes.name.removeprefix("the ")
        y = "x" if "x" in free else free[0] if free else names.new(base.rpartition(".")[0] or base)
        if op.writes == program.probabilities or op.writes.name == "the odds":
            y = names.new(base)
        variables[op.writes.name] = y
        found.append(Statement(op.writes, y, tuple(emit(op, y, reads))))
    return found


def lines_of(text: str, body: Sequence[Statement]) -> tuple[Line, ...]:
    """Find the lines of a file after which each value is complete."""
    lines = text.split("\n")
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("def forward("))
    found = []
    for each in body:
        at = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == each.lines[-1])
        found.append(Line(each.value.name, at + 1, each.variable))
    return tuple(found)


def header(certificate: Certificate, what: str, needs: str) -> str:
    """Return the docstring of the file, and its certificate as a constant."""
    lines = [f"{what}.", "", *certificate.sentences(), "", needs]
    text = "\n".join(part for line in lines for part in (wrap(line, 110) or [""]))
    safe = text.encode("ascii", "backslashreplace").decode().replace("\\", "/").replace('"', "'")
    return f'"""{safe}\n"""\n'


def certificate_line(certificate: Certificate) -> str:
    """Return the line of the file that holds the certificate."""
    return f"CERTIFICATE = json.loads({python_string(certificate.json())})"


def state(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return a table of names, dtypes and shapes, and all numbers in that order, little-endian, as base64."""
    rows = "".join(
        f"    ({python_string(name)}, {python_string(array.dtype.name)}, {array.shape!r}),\n"
        for name, array in arrays.items()
    )
    data = b"".join(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes() for array in arrays.values())
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[i : i + 120] for i in range(0, len(text), 120))
    return f'_ARRAYS = (\n{rows})\n\n_NUMBERS = """\n{lines}\n"""\n'
