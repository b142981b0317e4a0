"""What can be proved about a program before it runs: its size, and expectations that depend only on that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nnspec.checker import calculate
from nnspec.checker.program import Expectation, Figure, Program
from nnspec.compiler.layout import Layout, lay_out
from nnspec.diagnostics import Diagnostic

__all__ = ["MAX_MEMORY", "Compiled", "prove"]

_THOUSANDS = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{3})(?![\w.])")

MAX_MEMORY = 16 * 1024**3
"""The maximum size of a lane's buffers, in bytes."""


@dataclass(frozen=True)
class Compiled:
    """A program with the layout of each lane, in the lanes' order."""

    program: Program
    layouts: dict[str, Layout]

    @property
    def seconds(self) -> float:
        """The estimated duration of all trainings, run in sequence."""
        return sum(lane.train.trainings * self.layouts[lane.name].seconds for lane in self.program.lanes)

    def figure(self, figure: Figure) -> float:
        """Return a figure of the program itself: `params`, `trained_params`, `flops` or `memory`."""
        return float(getattr(self.layouts[figure.lane], figure.name))


def prove(program: Program) -> tuple[Compiled, tuple[Diagnostic, ...]]:
    """Lay out every lane, and check the expectations that can already be decided."""
    compiled = Compiled(program, {lane.name: lay_out(lane) for lane in (*program.lanes, *program.models)})
    return compiled, (*_too_large(compiled), *_missed(compiled))


def _too_large(compiled: Compiled) -> Iterator[Diagnostic]:
    for lane in compiled.program.lanes:
        layout = compiled.layouts[lane.name]
        # Nearly every network is far from the limit: only the others are lowered here.
        memory = layout.memory if layout.memory_bound > MAX_MEMORY else 0
        if memory > MAX_MEMORY:
            widest = max(lane.layers, key=lambda node: (sum(node.geometry.out), sum(node.incoming)))
            yield Diagnostic(
                "NN603",
                f"lane `{lane.name}` needs {memory / 1024**3:,.1f} GiB of buffers, "
                f"more than the limit of {MAX_MEMORY // 1024**3} GiB",
                widest.span,
                label="its widest layer",
                help="use narrower layers or a smaller `train.batch`",
            )
            return


def _missed(compiled: Compiled) -> Iterator[Diagnostic]:
    for expectation in compiled.program.expectations:
        if expectation.about == "program":
            yield from _judge(expectation, compiled)


def _judge(expectation: Expectation, compiled: Compiled) -> Iterator[Diagnostic]:
    for case in expectation.cases:
        if not calculate(case.node, compiled.figure):
            alone = len(compiled.layouts) == 1
            values = ", ".join(
                f"{'' if alone else f'{f.lane}.'}{f.name} is {compiled.figure(f):,.0f}" for f in case.figures()
            )
            meant = _THOUSANDS.search(expectation.text)
            help = f"the point is for decimals: is `{meant[1]}_{meant[2]}` meant?" if meant else ""
            message = f"`{expectation.text}` does not hold"
            yield Diagnostic("NN601", message, expectation.span, label=values, help=help)
            return
