"""Recurrent layers with gates, which control what is kept from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Annotated, Any

from nnspec.engine._numpy import np
from nnspec.engine.layers.contract import Geometry, Shape, ShapeError
from nnspec.engine.layers.recurrent import Recurrent, sigmoid, sigmoid_slope, tanh_slope
from nnspec.engine.part import Also, Range, kept
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["GRU", "LSTM"]


class LSTM(Recurrent):
    """c ← f c + i g and h ← o tanh(c), with x W_ih + b_ih + h W_hh + b_hh split into four parts: i, f and o are
    sigmoids of theirs, g is the hyperbolic tangent of its own.

    x `(B, T, in)`, y `(B, T, hidden)`: every h; with `return_sequences=false` the last, `(B, hidden)`. The columns of
    the weights are ordered i, f, g, o, as in PyTorch's `LSTM(batch_first=True)`. Hochreiter and Schmidhuber, Long
    Short-Term Memory, 1997, with the forget gate of Gers, Schmidhuber and Cummins, Learning to Forget, 2000. Keras has
    one bias, initialises that of f to 1, as `forget_bias=1` does (Jozefowicz et al. 2015), and returns only the last
    output by default. With `return_cell`, y holds h and
    then c, twice as many features, from which another LSTM can start: `state`.
    """

    spec_name = "LSTM"
    also = ("LongShortTermMemory",)
    gates = merged = 4
    states = ("hidden", "cells")
    flops_each = 29

    _: KW_ONLY
    return_cell: Annotated[bool, Also("return_state", "return_cells")] = False
    forget_bias: Annotated[float | None, Range(low=-1e9, high=1e9), Also("unit_forget_bias")] = None
    _kept: tuple[NDArray[Any], ...] = kept()

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        super().__post_init__(dtype, rng)
        if self.forget_bias is not None:
            if self.bias_ih is None or self.bias_hh is None:
                raise ValueError("LSTM: `forget_bias` needs biases, but `bias` is false")
            forget = slice(self.hidden_size, 2 * self.hidden_size)
            self.bias_ih.data[forget], self.bias_hh.data[forget] = self.forget_bias, 0

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """That of all recurrent layers. Raises ShapeError for a `forget_bias` without biases."""
        if arguments["forget_bias"] is not None and not arguments["bias"]:
            message = "`forget_bias` has no effect without biases"
            raise ShapeError(message, argument="forget_bias", help="remove it, or `bias=false`")
        return super().geometry(incoming, arguments)

    @classmethod
    def _returned(cls, arguments: Mapping[str, Any]) -> int:
        """Both h and c with `return_cell`."""
        return 1 + arguments["return_cell"]

    @classmethod
    def _state_from(cls, units: int, arguments: Mapping[str, Any]) -> str:
        """An LSTM that returns its cell."""
        return f"name a layer that returns h and c, such as `LSTM({units}, return_cell=true)`"

    @classmethod
    def _more_work(cls, places: int, hidden: int, arguments: Mapping[str, Any]) -> dict[str, Work]:
        return {
            **({"arriving_cells": Work((places, hidden))} if arguments["return_cell"] else {}),
            "gates": Work((places, 4 * hidden), saved=True),
            "cells": Work((places, hidden), saved=True),
            "tanh_cells": Work((places, hidden), saved=True),
            "slopes": Work((4 * hidden,)),
            "cell": Work((hidden,)),
            "term": Work((hidden,)),
        }

    def _run(self, products: NDArray[Any], hidden: NDArray[Any]) -> None:
        dtype = hidden.dtype
        gates, cells, tanh_cells = (
            self._gated("gates", dtype),
            self._array("cells", self.hidden_size, dtype),
            self._array("tanh_cells", self.hidden_size, dtype),
        )
        self._kept = gates, cells, tanh_cells
        np.copyto(gates, products)
        recurrent, weights, term = self._of_gates(dtype), self._weights(), self._of_step("term", dtype)
        before, cell = self._first
        for step, a in enumerate(gates):
            if before is not None:
                np.matmul(before, weights, out=recurrent)
                np.add(a, recurrent, out=a)
            sigmoid(a[:2])
            np.tanh(a[2], out=a[2])
            sigmoid(a[3])
            c = np.multiply(a[0], a[2], out=cells[step])
            if cell is not None:
                np.add(c, np.multiply(a[1], cell, out=term), out=c)
            np.tanh(c, out=tanh_cells[step])
            before, cell = np.multiply(a[3], tanh_cells[step], out=hidden[step]), c

    def _all_states(self) -> tuple[NDArray[Any], ...]:
        """Every h and every c."""
        return (*super()._all_states(), self._kept[1])

    def _run_back(
        self, arriving: Sequence[NDArray[Any]], hidden: NDArray[Any], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], ...]:
        dtype, (gates, cells, tanh_cells) = hidden.dtype, self._kept
        dh, dc, term = (self._of_step(name, dtype) for name in ("gradient", "cell", "term"))
        by_gates, slope, back = self._by_gates(rows), self._slopes(dtype), self.weight_hh.data.T
        arriving_h, *arriving_c = arriving
        np.copyto(dh, arriving_h[-1])
        np.copyto(dc, arriving_c[0][-1] if arriving_c else 0)
        for step in reversed(range(len(hidden))):
            i, _, g, o = gates[step]
            tanh_slope(tanh_cells[step], term)
            np.multiply(term, o, out=term)
            np.multiply(term, dh, out=term)
            np.add(dc, term, out=dc)
            sigmoid_slope(gates[step, :2], slope[:2])
            np.multiply(slope[0], g, out=slope[0])
            tanh_slope(g, slope[2])
            np.multiply(slope[2], i, out=slope[2])
            sigmoid_slope(o, slope[3])
            np.multiply(slope[3], tanh_cells[step], out=slope[3])
            np.multiply(slope[3], dh, out=slope[3])
            np.multiply(slope[0], dc, out=slope[0])
            np.multiply(slope[2], dc, out=slope[2])
            before = cells[step - 1] if step else self._first[1]
            if before is None:
                slope[1].fill(0)
            else:
                np.multiply(slope[1], before, out=slope[1])
                np.multiply(slope[1], dc, out=slope[1])
            np.copyto(by_gates[step], slope)
            if step or self.initial_state is not None:
                np.multiply(dc, gates[step, 1], out=dc)
                np.matmul(rows[step], back, out=dh)
            if step:
                np.add(dh, arriving_h[step - 1], out=dh)
                if arriving_c:
                    np.add(dc, arriving_c[0][step - 1], out=dc)
        return dh, dc


class GRU(Recurrent):
    """h ← (1 − z) n + z h, with r and z the sigmoids of x W_ih + b_ih + h W_hh + b_hh in their columns, and
    n = tanh(x W_in + b_in + r (h W_hn + b_hn)).

    x `(B, T, in)`, y `(B, T, hidden)`: every h; with `return_sequences=false` the last, `(B, hidden)`. The columns of
    the weights are ordered r, z, n, and r is applied after the product, as in PyTorch's `GRU(batch_first=True)`, and in
    Keras with `reset_after=True`. Cho et al., Learning Phrase Representations, 2014, apply it before the product and
    swap z and 1 − z, as does Keras, whose columns are ordered z, r, n.
    """

    spec_name = "GRU"
    also = ("GatedRecurrentUnit",)
    gates = 3
    merged = 2
    flops_each = 22

    _kept: tuple[NDArray[Any], ...] = kept()

    @classmethod
    def _more_work(cls, places: int, hidden: int, arguments: Mapping[str, Any]) -> dict[str, Work]:
        return {
            "gates": Work((places, 3 * hidden), saved=True),
            "lifts": Work((places, hidden), saved=True),
            "lifted": Work((places, hidden)),
            "slopes": Work((3 * hidden,)),
            "term": Work((hidden,)),
        }

    def _run(self, products: NDArray[Any], hidden: NDArray[Any]) -> None:
        dtype = hidden.dtype
        gates, lifts = self._gated("gates", dtype), self._array("lifts", self.hidden_size, dtype)
        self._kept = gates, lifts
        np.copyto(gates, products)
        np.copyto(lifts, 0 if self.bias_hh is None else self.bias_hh.data[2 * self.hidden_size :])
        recurrent, weights, term = self._of_gates(dtype), self._weights(), self._of_step("term", dtype)
        (before,) = self._first
        for step, (h, lift) in enumerate(zip(hidden, lifts, strict=True)):
            both, new = gates[step, :2], gates[step, 2]
            if before is not None:
                np.matmul(before, weights, out=recurrent)
                np.add(both, recurrent[:2], out=both)
                np.add(lift, recurrent[2], out=lift)
            sigmoid(both)
            np.add(new, np.multiply(both[0], lift, out=term), out=new)
            np.tanh(new, out=new)
            # n + z (h − n)
            np.subtract(before, new, out=h) if before is not None else np.negative(new, out=h)
            np.multiply(h, both[1], out=h)
            before = np.add(h, new, out=h)

    def _run_back(
        self, arriving: Sequence[NDArray[Any]], hidden: NDArray[Any], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], ...]:
        dtype, (gates, lifts) = hidden.dtype, self._kept
        self._lifted = lifted = self._array("lifted", self.hidden_size, dtype)  # dL/d(h W_hn + b_hn)
        dh, term = self._of_step("gradient", dtype), self._of_step("term", dtype)
        by_gates, slope, back = self._by_gates(rows), self._slopes(dtype), self.weight_hh.data.T
        to_state = self._of_gates(dtype).reshape(-1, 3 * self.hidden_size)  # as rows, with `lifted` in place of n
        (arriving_h,) = arriving
        np.copyto(dh, arriving_h[-1])
        for step in reversed(range(len(hidden))):
            r, z, new = gates[step]
            np.subtract(1, z, out=term)
            np.multiply(term, dh, out=term)
            tanh_slope(new, slope[2])
            np.multiply(slope[2], term, out=slope[2])
            np.multiply(slope[2], r, out=lifted[step])
            sigmoid_slope(gates[step, :2], slope[:2])
            np.multiply(slope[0], lifts[step], out=slope[0])
            np.multiply(slope[0], slope[2], out=slope[0])
            before = hidden[step - 1] if step else self._first[0]
            np.subtract(before, new, out=term) if before is not None else np.negative(new, out=term)
            np.multiply(slope[1], term, out=slope[1])
            np.multiply(slope[1], dh, out=slope[1])
            np.copyto(by_gates[step], slope)
            if not step and self.initial_state is None:
                break
            np.multiply(dh, z, out=dh)
            np.copyto(to_state, rows[step])
            np.copyto(to_state[:, 2 * self.hidden_size :], lifted[step])
            np.add(dh, np.matmul(to_state, back, out=term), out=dh)
            if step:
                np.add(dh, arriving_h[step - 1], out=dh)
        return (dh,)

    def _turn_to_state(self, slopes: NDArray[Any]) -> None:
        np.copyto(slopes[:, 2], self._lifted)
