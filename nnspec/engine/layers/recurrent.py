"""Recurrent layers: process a sequence row by row, each step with the state of the previous one.

Kernels store everything with time first and gates separate, `(T, gates, B, hidden)`, so that each step works on
contiguous memory. All products that do not depend on the previous step are merged into one product over all T·B rows:
of inputs in the forward pass; of inputs, weights and biases in the backward pass.

The equations, the order of gates and both biases are PyTorch's; W is (in, gates·hidden) here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.initializers import BiasInit, Initializer, PyTorch
from nnspec.engine.layers.contract import Geometry, Layer, Shape, ShapeError, rows_of_places, saved, sequence
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["RNN"]

REVERSE = "_reverse"
"""What PyTorch appends to the names of the parameters that read the sequence from its end."""


class Recurrent(Layer):
    """Base of the recurrent layers: x `(B, T, in)` -> y `(B, T, hidden)`, or, with `return_sequences=false`, only the
    last one, `(B, hidden)`. The initial state is zero; all parameters start uniformly in ±1/√hidden.
    With an `init`, the weights of each gate start as it says, and biases at zero; `recurrent_init` is for W_hh.

    With `bidirectional`, a second layer with its own parameters, `…_reverse`, reads the sequence from its end, and y is
    both side by side: `(B, T, 2·hidden)`, or `(B, 2·hidden)` with the final state of each, which the second reaches at
    the first position. Schuster and Paliwal, Bidirectional Recurrent Neural Networks, 1997.
    """

    image_as = "sequence"
    samples_independent = True
    looks_ahead_unless = "bidirectional=false"
    gates: ClassVar[int]
    """The number of columns per hidden unit."""
    merged: ClassVar[int]
    """The number of gates, counted from the first, to which both biases are simply added."""
    states: ClassVar[tuple[str, ...]] = ("hidden",)
    """What is passed on from step to step."""
    flops_each: ClassVar[int]
    """FLOPs per hidden unit and step besides the products; an exponential or a hyperbolic tangent counts as one."""

    in_features: Inferred[Annotated[Count, Also("in", "input_size", "input_dim", "n_in", "inputs")]]
    hidden_size: Annotated[Count, Also("hidden", "units", "out_features", "hidden_features", "n_hidden")]
    _: KW_ONLY
    return_sequences: bool = True
    bias: Annotated[bool, Also("use_bias")] = True
    bidirectional: Annotated[bool, Also("bidirected", "both_directions")] = False
    init: Annotated[Initializer | None, Also("kernel_initializer", "weight_init")] = None
    recurrent_init: Annotated[Initializer | None, Also("recurrent_initializer")] = None
    bias_init: BiasInit = None
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _inputs: NDArray[Any] | None = kept()
    _hidden: NDArray[Any] | None = kept()
    _reverse: Recurrent | None = kept()
    """The layer that reads the sequence from its end."""
    _first: tuple[NDArray[Any] | None, ...] = kept()
    """The states before the first step, `(B, hidden)` each; None if they are zero."""

    def __post_init__(self, dtype: str, rng: Generator | None) -> None:
        draw, hidden, width = rng or default_generator(), self.hidden_size, self.gates * self.hidden_size
        recurrent_init = self.recurrent_init or self.init
        self.weight_ih = Parameter(self._start(self.init, draw, self.in_features), dtype)
        self.weight_hh = Parameter(self._start(recurrent_init, draw, hidden), dtype)
        self.bias_ih = self.bias_hh = None
        if self.bias:
            bias_ih, bias_hh = self.bias_init or self._biases(self.init), self.bias_init or self._biases(recurrent_init)
            self.bias_ih = Parameter(self._start(bias_ih, draw, self.in_features, rows=False), dtype, decays=False)
            self.bias_hh = Parameter(self._start(bias_hh, draw, hidden, rows=False), dtype, decays=False)
        self._bias = np.empty(width if self.bias else 0, dtype)
        self._places = (0, 0)
        if self.bidirectional:
            self._reverse = type(self)(**{**self.arguments(), "bidirectional": False}, dtype=dtype, rng=draw)
            for name, parameter in self._reverse.parameters().items():
                setattr(self, name + REVERSE, parameter)

    def _biases(self, init: Initializer | None) -> Initializer | None:
        return None if init is None else init.biases()

    def _start(self, init: Initializer | None, rng: Generator, fan_in: int, *, rows: bool = True) -> NDArray[Any]:
        """Draw a weight `(fan_in, gates·hidden)`, or a bias without `rows`, gate by gate: each has fans of its own."""
        shape, hidden = (fan_in,) if rows else (), self.hidden_size
        if init is None or isinstance(init, PyTorch):
            bound = 1 / sqrt(hidden)
            return rng.uniform(-bound, bound, (*shape, self.gates * hidden))
        gates = [init.draw((*shape, hidden), fan_in, hidden, rng) for _ in range(self.gates)]
        return np.concatenate(gates, axis=-1)

    @classmethod
    def geometry(cls, incoming: Shape, arguments: Mapping[str, Any]) -> Geometry:
        """`(T, in) -> (T, hidden)`, or `(hidden,)`; 2·gates·hidden·(in + hidden) FLOPs per step for the products."""
        name = cls.spec_name
        (places, arriving), given = sequence(cls, incoming), arguments.get("in_features")
        hidden, width = arguments["hidden_size"], cls.gates * arguments["hidden_size"]
        if given is not None and given != arriving:
            raise ShapeError(
                f"this {name} expects {given} features but got {arriving}",
                argument="in_features",
                label=f"expected {given} here",
                help=f"`{name}({hidden})` accepts any input size",
            )
        bias = arguments["bias"]
        parameters: dict[str, Shape] = {"weight_ih": (arriving, width), "weight_hh": (hidden, width)}
        parameters |= {"bias_ih": (width,), "bias_hh": (width,)} if bias else {}
        work = {
            "inputs": Work((places, arriving), saved=True),
            "hidden": Work((places, hidden), saved=True),
            "rows": Work((places, width)),
            "arriving": Work((places, hidden)),
            "passed": Work((places, arriving)),
            "gradient": Work((hidden,)),
            **({"recurrent": Work((width,))} if places > 1 else {}),
            **({"ones": Work((places,))} if bias else {}),
            **cls._more_work(places, hidden),
        }
        directions = 1
        if arguments["bidirectional"]:
            directions = 2
            parameters |= {name + REVERSE: shape for name, shape in parameters.items()}
            work |= {name + REVERSE: array for name, array in work.items() if array.saved}
        return Geometry(
            out=(places, directions * hidden) if arguments["return_sequences"] else (directions * hidden,),
            flops=directions * places * (2 * width * (arriving + hidden) + cls.flops_each * hidden),
            parameters=parameters,
            inferred={"in_features": arriving},
            work=work,
            carried={} if arguments["bidirectional"] else dict.fromkeys(cls.states, (hidden,)),
        )

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If it is bidirectional."""
        return bool(arguments.get("bidirectional", False))

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Use these work arrays; the two directions share those that are not kept for the backward pass."""
        super().lend(work)
        if self._reverse is not None:
            own = {name.removesuffix(REVERSE): array for name, array in work.items() if name.endswith(REVERSE)}
            self._reverse.lend({**work, **own})

    @classmethod
    def _more_work(cls, places: int, hidden: int) -> dict[str, Work]:
        return {}

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Step through the sequence: `(B, T, in) -> (B, T, hidden)`, or `(B, hidden)`."""
        batch, places, _ = x.shape
        hidden = self.hidden_size
        width = hidden if self._reverse is None else 2 * hidden
        y = (
            np.empty((batch, places, width) if self.return_sequences else (batch, width), x.dtype)
            if out is None
            else out
        )
        if self._reverse is None:
            return self._step_through(x, y)
        self._step_through(x, y[..., :hidden])
        self._reverse._step_through(x[:, ::-1], self._reversed(y))
        return y

    def backward(
        self, grad: NDArray[Any], out: NDArray[Any] | None = None, *, input_grad: bool = True
    ) -> NDArray[Any] | None:
        """Step back through the sequence: `(B, T, hidden)` or `(B, hidden) -> (B, T, in)`, writing all gradients."""
        reverse = self._reverse
        passed = self._step_back(grad if reverse is None else grad[..., : self.hidden_size], input_grad)
        if passed is not None:
            places, batch, features = passed.shape
            out = np.empty((batch, places, features), grad.dtype) if out is None else out
            np.copyto(out, passed.transpose(1, 0, 2))
        if reverse is not None:
            passed = reverse._step_back(self._reversed(grad), input_grad)
            if passed is not None and out is not None:
                np.add(out, passed[::-1].transpose(1, 0, 2), out=out)
        return out if input_grad else None

    def _reversed(self, y: NDArray[Any]) -> NDArray[Any]:
        """View the outputs of the second direction, or their gradients, in the order in which it computes them."""
        return y[:, ::-1, self.hidden_size :] if self.return_sequences else y[:, self.hidden_size :]

    def _step_through(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Fill y from x, in one direction."""
        batch, places, features = x.shape
        self._places = (places, batch)
        self._inputs = inputs = self._array("inputs", features, x.dtype)
        np.copyto(inputs, x.transpose(1, 0, 2))
        self._hidden = hidden = self._array("hidden", self.hidden_size, x.dtype)
        rows = self._array("rows", self.gates * self.hidden_size, x.dtype)
        np.matmul(rows_of_places(inputs), self.weight_ih.data, out=rows_of_places(rows))
        if self.bias_ih is not None and self.bias_hh is not None:
            merged = self.merged * self.hidden_size
            np.copyto(self._bias, self.bias_ih.data)
            np.add(self._bias[:merged], self.bias_hh.data[:merged], out=self._bias[:merged])
            np.add(rows, self._bias, out=rows)
        carried = [self._carried[name][:, :batch] for name in self.states if name in self._carried]
        for before, after in carried:
            np.copyto(before, after)
        self._first = tuple(before for before, _ in carried) or (None,) * len(self.states)
        self._run(self._by_gates(rows), hidden)
        for (_, after), state in zip(carried, self._last_states(), strict=False):
            np.copyto(after, state)
        np.copyto(y, hidden.transpose(1, 0, 2) if self.return_sequences else hidden[-1])
        return y

    def _step_back(self, grad: NDArray[Any], input_grad: bool) -> NDArray[Any] | None:
        """Write the gradients of the parameters of one direction; return dL/dx `(T, B, in)` if it is wanted."""
        inputs, hidden = saved(self._inputs, self), saved(self._hidden, self)
        (places, _), width, dtype = self._places, self.gates * self.hidden_size, grad.dtype
        arriving = self._array("arriving", self.hidden_size, dtype)
        if self.return_sequences:
            np.copyto(arriving, grad.transpose(1, 0, 2))
        else:
            arriving[:-1].fill(0)
            np.copyto(arriving[-1], grad)
        rows = self._array("rows", width, dtype)
        self._run_back(arriving, hidden, rows)
        flat, passed = rows_of_places(rows), None
        np.matmul(rows_of_places(inputs).T, flat, out=self.weight_ih.grad)
        self._sum(flat, self.bias_ih)
        if input_grad:
            passed = self._array("passed", inputs.shape[-1], dtype)
            np.matmul(flat, self.weight_ih.data.T, out=rows_of_places(passed))
        self._turn_to_state(self._by_gates(rows))
        self._sum(flat, self.bias_hh)
        first = self._first[0]
        if first is not None:  # the states before each step, in memory that is no longer needed
            np.copyto(arriving[0], first)
            np.copyto(arriving[1:], hidden[:-1])
            np.matmul(rows_of_places(arriving).T, flat, out=self.weight_hh.grad)
        elif places > 1:
            np.matmul(rows_of_places(hidden[:-1]).T, rows_of_places(rows[1:]), out=self.weight_hh.grad)
        else:
            self.weight_hh.grad.fill(0)
        return passed

    def _run(self, products: NDArray[Any], hidden: NDArray[Any]) -> None:
        """Fill `hidden` step by step, from x W_ih + b_ih of all steps, including the merged part of b_hh."""
        raise NotImplementedError

    def _run_back(self, arriving: NDArray[Any], hidden: NDArray[Any], rows: NDArray[Any]) -> None:
        """Fill `rows` `(T, B, gates·hidden)` with dL/d(x W_ih + b_ih), from dL/dy of all steps."""
        raise NotImplementedError

    def _last_states(self) -> tuple[NDArray[Any], ...]:
        """Return the states after the last step, in the order of `states`."""
        return (saved(self._hidden, self)[-1],)

    def _turn_to_state(self, slopes: NDArray[Any]) -> None:
        """Turn dL/d(x W_ih + b_ih) into dL/d(h W_hh + b_hh): they are equal if both are added."""

    # Work arrays and views

    def _array(self, name: str, width: int, dtype: Any) -> NDArray[Any]:
        """A work array `(T, B, width)`."""
        places, batch = self._places
        return self.work_array(name, (batch, places, width), dtype).reshape(places, batch, width)

    def _slopes(self, dtype: Any) -> NDArray[Any]:
        """The work array of one step's gradients, `(gates, B, hidden)`."""
        batch = self._places[1]
        return self.work_array("slopes", (batch, self.gates * self.hidden_size), dtype).reshape(self.gates, batch, -1)

    def _gated(self, name: str, dtype: Any) -> NDArray[Any]:
        """A work array `(T, gates, B, hidden)`."""
        places, batch = self._places
        return self._array(name, self.gates * self.hidden_size, dtype).reshape(
            places, self.gates, batch, self.hidden_size
        )

    def _of_step(self, name: str, dtype: Any) -> NDArray[Any]:
        """A work array of one step, `(B, hidden)`."""
        return self.work_array(name, (self._places[1], self.hidden_size), dtype)

    def _of_gates(self, dtype: Any) -> NDArray[Any]:
        """The work array of products with the state, `(gates, B, hidden)`. For a single step, it is that of the
        products with the input, which `_run` has copied by then.
        """
        (places, batch), width = self._places, self.gates * self.hidden_size
        array = self.work_array("recurrent", (batch, width), dtype) if places > 1 else self._array("rows", width, dtype)
        return array.reshape(self.gates, batch, -1)

    def _by_gates(self, rows: NDArray[Any]) -> NDArray[Any]:
        """A view of `(T, B, gates·hidden)` as `(T, gates, B, hidden)`."""
        places, batch = self._places
        return rows.reshape(places, batch, self.gates, self.hidden_size).transpose(0, 2, 1, 3)

    def _weights(self) -> NDArray[Any]:
        """A view of W_hh with separate gates: `(gates, hidden, hidden)`."""
        return self.weight_hh.data.reshape(self.hidden_size, self.gates, self.hidden_size).transpose(1, 0, 2)

    def _sum(self, rows: NDArray[Any], bias: Parameter | None) -> None:
        """Write the gradient of a bias: Σ over all steps as a product with ones, faster than a sum along that axis."""
        if bias is not None:
            ones = self.work_array("ones", self._places[::-1], rows.dtype).reshape(-1)
            ones.fill(1)
            np.matmul(ones, rows, out=bias.grad)


class RNN(Recurrent):
    """h ← f(x W_ih + b_ih + h W_hh + b_hh), with f tanh or, with `activation=relu`, max(·, 0), for each row x in turn.

    x `(B, T, in)`, y `(B, T, hidden)`: every h; with `return_sequences=false` the last, `(B, hidden)`. Elman, Finding
    Structure in Time, 1990. As PyTorch's `RNN(batch_first=True)`; Keras's `SimpleRNN` has one bias and returns only the
    last output by default.
    """

    spec_name = "RNN"
    also = ("SimpleRNN", "Elman", "Recurrent")
    gates = merged = 1
    flops_each = 4

    _: KW_ONLY
    activation: Annotated[Literal["tanh", "relu"], Also("nonlinearity")] = "tanh"

    def _run(self, products: NDArray[Any], hidden: NDArray[Any]) -> None:
        np.copyto(hidden, products[:, 0])
        recurrent, (before,) = self._of_gates(hidden.dtype)[0], self._first
        for h in hidden:
            if before is not None:
                np.matmul(before, self.weight_hh.data, out=recurrent)
                np.add(h, recurrent, out=h)
            if self.activation == "tanh":
                np.tanh(h, out=h)
            else:
                np.maximum(h, 0, out=h)
            before = h

    def _run_back(self, arriving: NDArray[Any], hidden: NDArray[Any], rows: NDArray[Any]) -> None:
        if self.activation == "tanh":
            tanh_slope(hidden, rows)
        else:
            np.sign(hidden, out=rows)
        dh, back = self._of_step("gradient", hidden.dtype), self.weight_hh.data.T
        np.copyto(dh, arriving[-1])
        for step in reversed(range(len(hidden))):
            np.multiply(rows[step], dh, out=rows[step])
            if step:
                np.matmul(rows[step], back, out=dh)
                np.add(dh, arriving[step - 1], out=dh)

    def sides(self) -> NDArray[Any] | None:
        """Whether each unit is active at each step, with `relu`."""
        if self.activation != "relu":
            return None
        both = [saved(each._hidden, each).swapaxes(0, 1) for each in (self, self._reverse) if each is not None]
        return np.concatenate(both, axis=1) > 0


def sigmoid(a: NDArray[Any]) -> None:
    """1 / (1 + e⁻ᵃ) in place, as ½ tanh(½ a) + ½, which cannot overflow."""
    np.multiply(a, 0.5, out=a)
    np.tanh(a, out=a)
    np.multiply(a, 0.5, out=a)
    np.add(a, 0.5, out=a)


def sigmoid_slope(y: NDArray[Any], out: NDArray[Any]) -> None:
    """y (1 − y)."""
    np.subtract(1, y, out=out)
    np.multiply(out, y, out=out)


def tanh_slope(y: NDArray[Any], out: NDArray[Any]) -> None:
    """1 − y²."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
