"""`gradcheck`: a table of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnspec.engine.gradcheck import BOUND, MARGIN
from nnspec.runner.gradients import GradientProof
from nnspec.view.terminal.screen import Column, table

if TYPE_CHECKING:
    from rich.console import Console

    from nnspec.engine.gradcheck import GradientReport, TensorCheck

__all__ = ["print_proofs"]

_NAMED = 8


def print_proofs(proofs: Sequence[GradientProof], console: Console) -> None:
    """Print the table of each network that was checked, and the verdict."""
    for proof in proofs:
        report = proof.report
        console.print(", ".join(proof.lanes), style="bold", soft_wrap=True)
        console.print(
            f"{proof.data} · {report.samples} samples · float64 · central differences, ε = {report.epsilon:g}",
            style="dim",
            soft_wrap=True,
        )
        console.print()
        tensors = report.tensors
        good = [tensor.error < proof.bound for tensor in tensors]
        console.print(
            table(
                [
                    Column(
                        "", ["✓" if g else "✗" for g in good], 0, styles=["green" if g else "bold red" for g in good]
                    ),
                    Column("tensor", [tensor.name for tensor in tensors], 0),
                    Column("shape", ["×".join(map(str, tensor.shape)) for tensor in tensors], 4),
                    Column("error", [_error(tensor) for tensor in tensors], 1, right=True),
                    Column("checked", [_checked(tensor) for tensor in tensors], 3),
                    Column("kinks skipped", [_kinks(tensor) for tensor in tensors], 2, right=True),
                    Column("where", [_where(tensor, proof) for tensor in tensors], 5),
                ],
                console.width,
            )
        )
        console.print()
        for tensor in tensors:
            if tensor.left_out:
                console.print(_left_out(tensor), style="dim", soft_wrap=True)
        for note in _notes(report):
            console.print(note, style="dim", soft_wrap=True)
        mark, style = ("✓", "green") if proof.holds else ("✗", "bold red")
        if math.isnan(report.error):
            console.print("✗ a tensor could not be checked: every step crossed a kink", style="bold red")
        else:
            relation = "<" if proof.holds else "≥"
            console.print(f"{mark} gradient_error {report.error:.1e} {relation} {proof.bound:g}", style=style)


def _notes(report: GradientReport) -> Iterator[str]:
    """Yield notes on entries that were not checked, or not checked at the initial weights."""
    if report.moved:
        yield (
            "checked near their starting values, because every step from "
            f"these crosses a kink: {', '.join(report.moved)}"
        )
    if report.asked is not None or report.share < 1:
        fewer = [f"{report.samples} of {report.asked} samples"] if report.asked is not None else []
        fewer += [f"about {100 * report.share:.2g} % of the usual entries and directions"] if report.share < 1 else []
        yield (
            "a forward pass of this network is expensive, so only "
            f"{' and '.join(fewer)} were checked; use --full to check all"
        )
    for tensor in report.tensors:
        if MARGIN * tensor.resolution > BOUND:
            yield (
                f"rounding limits the differences for {tensor.name}: they resolve its gradient to about "
                f"{tensor.resolution:.0e} of its size"
            )


def _error(tensor: TensorCheck) -> str:
    return "not checked" if math.isnan(tensor.error) else f"{tensor.error:.1e}"


def _checked(tensor: TensorCheck) -> str:
    entries = f"{tensor.checked:,} of {math.prod(tensor.shape):,} entries"
    return f"{entries}, {tensor.directions} directions" if tensor.directions else entries


def _kinks(tensor: TensorCheck) -> str:
    return f"{tensor.kinks} ({100 * tensor.kink_share:.1f} %)" if tensor.kinks else ""


def _left_out(tensor: TensorCheck) -> str:
    """List the skipped entries, the first few by index."""
    names = [f"[{', '.join(map(str, index))}]" for index in tensor.left_out]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"skipped, because a step of ε crosses a kink: {tensor.name} {', '.join(names[:_NAMED])}{more}"


def _where(tensor: TensorCheck, proof: GradientProof) -> str:
    return proof.lines.get(tensor.name.rsplit(".", 1)[0], "")
