"""Recurrent layers: process a sequence row by row, each step with the state of the previous one.

Kernels store everything with time first and gates separate, `(T, gates, B, hidden)`, so that each step works on
contiguous memory. All products that do not depend on the previous step are merged into one product over all T·B rows:
of inputs in the forward pass; of inputs, weights and biases in the backward pass.

The equations, the order of gates and both biases are PyTorch's; W is (in, gates·hidden) here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar
from math import sqrt
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from nnspec.engine._numpy import np
from nnspec.engine.initializers import BiasInit, Initializer, PyTorch
from nnspec.engine.layers.contract import (
    Geometry,
    Layer,
    Shape,
    ShapeError,
    check_given,
    rows_of_places,
    sample_in_words,
    saved,
    sequence,
)
from nnspec.engine.parameter import Parameter
from nnspec.engine.part import Also, Count, Inferred, ValueName, argument, kept
from nnspec.engine.random import default_generator
from nnspec.engine.work import Work

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["RNN"]

REVERSE = "_reverse"
"""What PyTorch appends to the names of the parameters that read the sequence from its end."""
ARRIVING = ("arriving", "arriving_cells")
"""The work arrays for the gradients of h and c."""


class Packing:
    """Sequences without their padding: real positions first, in order, then those that are padding.

    `real` `(B, T)` says which positions are real. The state after a position that is padding is that after the last
    real position before it, or the initial one.
    """

    def __init__(self, real: NDArray[Any]) -> None:
        self._order = np.argsort(~real, axis=1, kind="stable")  # (B, T): the position that comes c-th
        self._last = np.cumsum(real, axis=1).T - 1  # (T, B): which of these is the last real one up to each position
        self._started = (self._last >= 0)[..., None]
        self._samples = np.arange(len(real))

    def packed(self, x: NDArray[Any]) -> NDArray[Any]:
        """Reorder the positions of x: `(B, T, n) -> (B, T, n)`."""
        return np.take_along_axis(x, self._order[..., None], axis=1)

    def unpacked(self, states: NDArray[Any], first: NDArray[Any] | None) -> NDArray[Any]:
        """Return the state after each position, `(T, B, n) -> (T, B, n)`, from those of packed sequences."""
        return np.where(self._started, states[np.maximum(self._last, 0), self._samples], 0 if first is None else first)

    def packed_gradients(self, grad: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        """Add up dL/d(state after each position) `(T, B, n)` for the states of packed sequences; return the rest,
        which is that of the initial state, `(B, n)`.
        """
        out.fill(0)
        np.add.at(out, (np.maximum(self._last, 0), self._samples), np.where(self._started, grad, 0))
        return np.where(self._started, 0, grad).sum(axis=0)

    def unpacked_gradients(self, grad: NDArray[Any]) -> NDArray[Any]:
        """Return dL/dx of each position, `(T, B, n) -> (T, B, n)`, from those of packed sequences."""
        found = np.empty_like(grad)
        np.put_along_axis(found, self._order.T[..., None], grad, axis=0)
        return found


class Recurrent(Layer):
    """Base of the recurrent layers: x `(B, T, in)` -> y `(B, T, hidden)`, or, with `return_sequences=false`, only the
    last one, `(B, hidden)`. The initial state is zero; all parameters start uniformly in ±1/√hidden.
    With an `init`, the weights of each gate start as it says, and biases at zero; `recurrent_init` is for W_hh.

    With `bidirectional`, a second layer with its own parameters, `…_reverse`, reads the sequence from its end, and y is
    both side by side: `(B, T, 2·hidden)`, or `(B, 2·hidden)` with the final state of each, which the second reaches at
    the first position. Schuster and Paliwal, Bidirectional Recurrent Neural Networks, 1997.

    `state` names the value to start from instead of zero, with one number for each unit: `(B, n)`, or `(B, T, n)`, of
    which the row at the last position is used. It holds the states in the order of PyTorch's h_0 and c_0: h of each
    direction, then, of an LSTM, c of each direction.

    At positions that are padding, the state stays as it is, so that the last one is that after the last real position,
    as of PyTorch's `pack_padded_sequence`; y is then 0 at these positions there, and repeats the state here, as in
    Keras.
    """

    image_as = "sequence"
    samples_independent = True
    with_padding = "skips"
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
    initial_state: Annotated[ValueName | None, Also("initial_state", "init_state", "hx", "h0", "h_0")] = argument(
        default=None, alias="state"
    )
    dtype: InitVar[str] = "float64"
    rng: InitVar[Generator | None] = None
    _inputs: NDArray[Any] | None = kept()
    _hidden: NDArray[Any] | None = kept()
    _reverse: Recurrent | None = kept()
    """The layer that reads the sequence from its end."""
    _first: tuple[NDArray[Any] | None, ...] = kept()
    """The states before the first step, `(B, hidden)` each; None if they are zero."""
    _packing: Packing | None = kept()
    """How padding is skipped, if there is any."""
    _state_shape: Shape = kept()
    """The shape of one sample of the value to start from."""

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
        places, arriving = sequence(cls, incoming)
        hidden, width = arguments["hidden_size"], cls.gates * arguments["hidden_size"]
        check_given(cls, arguments, "in_features", arriving, without=f"{name}({hidden})")
        bias = arguments["bias"]
        directions, state = 1 + arguments["bidirectional"], arguments.get("state")
        cls._check_state(state, directions * hidden, arguments)
        parameters: dict[str, Shape] = {"weight_ih": (arriving, width), "weight_hh": (hidden, width)}
        parameters |= {"bias_ih": (width,), "bias_hh": (width,)} if bias else {}
        work = {
            "inputs": Work((places, arriving), saved=True),
            "hidden": Work((places, hidden), saved=True),
            "rows": Work((places, width)),
            "arriving": Work((places, hidden)),
            "passed": Work((places, arriving)),
            "gradient": Work((hidden,)),
            **({"recurrent": Work((width,))} if places > 1 or state is not None else {}),
            **({"first": Work((len(cls.states) * hidden,), saved=True)} if state is not None else {}),
            **({"ones": Work((places,))} if bias else {}),
            **cls._more_work(places, hidden, arguments),
        }
        features = cls._returned(arguments) * directions * hidden
        if arguments["bidirectional"]:
            parameters |= {name + REVERSE: shape for name, shape in parameters.items()}
            work |= {name + REVERSE: array for name, array in work.items() if array.saved}
        return Geometry(
            out=(places, features) if arguments["return_sequences"] else (features,),
            flops=directions * places * (2 * width * (arriving + hidden) + cls.flops_each * hidden),
            parameters=parameters,
            inferred={"in_features": arriving},
            work=work,
            carried={} if directions > 1 or state is not None else dict.fromkeys(cls.states, (hidden,)),
        )

    @classmethod
    def _returned(cls, arguments: Mapping[str, Any]) -> int:
        """Return how many of the states are outputs."""
        return 1

    @classmethod
    def _check_state(cls, state: Shape | None, units: int, arguments: Mapping[str, Any]) -> None:
        """Raise ShapeError for a value that cannot be the state to start from."""
        wanted = len(cls.states) * units
        if state is None or (len(state) in (1, 2) and state[-1] == wanted):
            return
        parts = " and ".join(f"{units} for {letter}" for letter in "hc") if len(cls.states) > 1 else ""
        raise ShapeError(
            f"the state of this {cls.spec_name} has {wanted} numbers{f', {parts}' if parts else ''}, "
            f"but this is {sample_in_words(state)}",
            argument="state",
            label=f"{wanted} expected",
            help=cls._state_from(units, arguments),
        )

    @classmethod
    def _state_from(cls, units: int, arguments: Mapping[str, Any]) -> str:
        """Return what to start from instead of a value that does not fit."""
        return f"name a layer with {units} features, such as `{cls.spec_name}({units})` or `Linear({units})`"

    @classmethod
    def looks_ahead(cls, incoming: Shape, arguments: Mapping[str, Any]) -> bool:
        """If it is bidirectional, begins with what others have read, or returns what it knows at the end."""
        sees_all = arguments.get("bidirectional", False) or not arguments.get("return_sequences", True)
        return bool(sees_all) or arguments.get("state") is not None

    def lend(self, work: Mapping[str, NDArray[Any]]) -> None:
        """Use these work arrays; the two directions share those that are not kept for the backward pass."""
        super().lend(work)
        if self._reverse is not None:
            own = {name.removesuffix(REVERSE): array for name, array in work.items() if name.endswith(REVERSE)}
            self._reverse.lend({**work, **own})

    @classmethod
    def _more_work(cls, places: int, hidden: int, arguments: Mapping[str, Any]) -> dict[str, Work]:
        return {}

    def forward(self, x: NDArray[Any], out: NDArray[Any] | None = None, *others: NDArray[Any]) -> NDArray[Any]:
        """Step through the sequence: `(B, T, in) -> (B, T, hidden)`, or `(B, hidden)`."""
        y = out
        if y is None:
            y = np.empty((len(x), *self.output_shape(x.shape[1:], *(each.shape[1:] for each in others))), x.dtype)
        real = self.real_places(others)
        start = self._start_of(others if real is None else others[:-1])
        self._packing = None if real is None else Packing(real)
        self._step_through(x, self._outputs(y, 0), self._parts(start, 0))
        if self._reverse is not None:
            self._reverse._packing = None if real is None else Packing(real[:, ::-1])
            self._reverse._step_through(x[:, ::-1], self._outputs(y, 1), self._parts(start, 1))
        return y

    def backward(
        self,
        grad: NDArray[Any],
        out: NDArray[Any] | None = None,
        *outs: NDArray[Any],
        input_grad: bool = True,
    ) -> Any:
        """Step back through the sequence: `(B, T, hidden)` or `(B, hidden) -> (B, T, in)`, writing all gradients. With
        `state`, its gradient is the second of two.
        """
        of_state, back = self._gradient_of_state(outs, grad), None
        start = self._start_of(() if of_state is None else (of_state,))
        passed = self._step_back(self._outputs(grad, 0), input_grad, self._parts(start, 0))
        if passed is not None:
            places, batch, features = passed.shape
            back = np.empty((batch, places, features), grad.dtype) if out is None else out
            np.copyto(back, passed.transpose(1, 0, 2))
        if self._reverse is not None:
            passed = self._reverse._step_back(self._outputs(grad, 1), input_grad, self._parts(start, 1))
            if passed is not None and back is not None:
                np.add(back, passed[::-1].transpose(1, 0, 2), out=back)
        return back if of_state is None else (back, of_state)

    def _parts(self, array: NDArray[Any] | None, direction: int) -> Iterator[NDArray[Any]]:
        """View the columns of each state of one direction: `(…, n) -> (…, hidden)`."""
        if array is not None:
            hidden, directions = self.hidden_size, 1 if self._reverse is None else 2
            for start in range(direction * hidden, array.shape[-1], directions * hidden):
                yield array[..., start : start + hidden]

    def _outputs(self, y: NDArray[Any], direction: int) -> Iterator[NDArray[Any]]:
        """View outputs, or their gradients, by state, in the order in which a direction runs through the positions."""
        for part in self._parts(y, direction):
            yield part[:, ::-1] if direction and self.return_sequences else part

    def _start_of(self, others: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
        """Return the row to start from, `(B, n)`, if there is one: of a sequence, that at the last position."""
        if not others:
            return None
        (value,) = others
        self._state_shape = value.shape[1:]
        return value[:, -1] if value.ndim > 2 else value

    def _gradient_of_state(self, outs: Sequence[NDArray[Any]], grad: NDArray[Any]) -> NDArray[Any] | None:
        """Return the array for dL/dstate, zero at all positions but the last; None if it starts at zero."""
        if self.initial_state is None:
            return None
        found = outs[0] if outs else np.empty((len(grad), *self._state_shape), grad.dtype)
        if found.ndim > 2:
            found[:, :-1].fill(0)
        return found

    def _step_through(self, x: NDArray[Any], ys: Iterable[NDArray[Any]], starts: Iterable[NDArray[Any]]) -> None:
        """Fill an array for each state that is an output, in one direction."""
        batch, places, features = x.shape
        self._places = (places, batch)
        self._inputs = inputs = self._array("inputs", features, x.dtype)
        packing = self._packing
        np.copyto(inputs, (x if packing is None else packing.packed(x)).transpose(1, 0, 2))
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
        if self.initial_state is not None:
            first = self.work_array("first", (batch, len(self.states) * self.hidden_size), x.dtype)
            parts = first.reshape(len(self.states), batch, self.hidden_size)
            for mine, start in zip(parts, starts, strict=True):
                np.copyto(mine, start)
            self._first = tuple(parts)
        self._run(self._by_gates(rows), hidden)
        states = self._all_states()
        if packing is not None:
            states = tuple(packing.unpacked(*pair) for pair in zip(states, self._first, strict=True))
        for (_, after), state in zip(carried, states, strict=False):
            np.copyto(after, state[-1])
        for y, state in zip(ys, states, strict=False):
            np.copyto(y, state.transpose(1, 0, 2) if self.return_sequences else state[-1])

    def _step_back(
        self, grads: Iterable[NDArray[Any]], input_grad: bool, starts: Iterable[NDArray[Any]]
    ) -> NDArray[Any] | None:
        """Write the gradients of the parameters of one direction, and of the states that it started from; return dL/dx
        `(T, B, in)` if it is wanted.
        """
        inputs, hidden = saved(self._inputs, self), saved(self._hidden, self)
        (places, _), width, dtype = self._places, self.gates * self.hidden_size, hidden.dtype
        arriving, of_first = [], []
        for name, grad in zip(ARRIVING, grads, strict=False):
            array = self._array(name, self.hidden_size, dtype)
            arriving.append(array)
            if self.return_sequences:
                np.copyto(array, grad.transpose(1, 0, 2))
            else:
                array[:-1].fill(0)
                np.copyto(array[-1], grad)
            if self._packing is not None:
                of_first.append(self._packing.packed_gradients(array.copy(), array))
        rows = self._array("rows", width, dtype)
        slopes = self._run_back(arriving, hidden, rows)
        for number, (start, slope) in enumerate(zip(starts, slopes, strict=False)):
            np.copyto(start, slope)
            if number < len(of_first):
                np.add(start, of_first[number], out=start)
        flat, passed = rows_of_places(rows), None
        np.matmul(rows_of_places(inputs).T, flat, out=self.weight_ih.grad)
        self._sum(flat, self.bias_ih)
        if input_grad:
            passed = self._array("passed", inputs.shape[-1], dtype)
            np.matmul(flat, self.weight_ih.data.T, out=rows_of_places(passed))
            passed = passed if self._packing is None else self._packing.unpacked_gradients(passed)
        self._turn_to_state(self._by_gates(rows))
        self._sum(flat, self.bias_hh)
        first = self._first[0]
        if first is not None:  # the states before each step, in memory that is no longer needed
            before = arriving[0]
            np.copyto(before[0], first)
            np.copyto(before[1:], hidden[:-1])
            np.matmul(rows_of_places(before).T, flat, out=self.weight_hh.grad)
        elif places > 1:
            np.matmul(rows_of_places(hidden[:-1]).T, rows_of_places(rows[1:]), out=self.weight_hh.grad)
        else:
            self.weight_hh.grad.fill(0)
        return passed

    def _run(self, products: NDArray[Any], hidden: NDArray[Any]) -> None:
        """Fill `hidden` step by step, from x W_ih + b_ih of all steps, including the merged part of b_hh."""
        raise NotImplementedError

    def _run_back(
        self, arriving: Sequence[NDArray[Any]], hidden: NDArray[Any], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], ...]:
        """Fill `rows` `(T, B, gates·hidden)` with dL/d(x W_ih + b_ih), from dL/dy of all steps: of h, and of c if it is
        an output. Return the gradient of each state before the first step, `(B, hidden)`, if there is a `state`.
        """
        raise NotImplementedError

    def _all_states(self) -> tuple[NDArray[Any], ...]:
        """Return the states after each step, `(T, B, hidden)`, in the order of `states`."""
        return (saved(self._hidden, self),)

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
        own = places > 1 or self.initial_state is not None
        array = self.work_array("recurrent", (batch, width), dtype) if own else self._array("rows", width, dtype)
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

    def _run_back(
        self, arriving: Sequence[NDArray[Any]], hidden: NDArray[Any], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], ...]:
        (arriving_h,) = arriving
        if self.activation == "tanh":
            tanh_slope(hidden, rows)
        else:
            np.sign(hidden, out=rows)
        dh, back = self._of_step("gradient", hidden.dtype), self.weight_hh.data.T
        np.copyto(dh, arriving_h[-1])
        for step in reversed(range(len(hidden))):
            np.multiply(rows[step], dh, out=rows[step])
            if step or self.initial_state is not None:
                np.matmul(rows[step], back, out=dh)
            if step:
                np.add(dh, arriving_h[step - 1], out=dh)
        return (dh,)

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
