"""The kernels of a tape, compiled to machine code by Numba.

Every kernel has the same signature, `kernel(words)`: the address of a row of 64-bit words that describe its arrays
(see `tape.py` for what each kernel expects). One kernel therefore serves arrays of any shape, a tape is a list of
addresses, and machine code is compiled once per machine and kept (`library.py`).

Nothing is reordered, contracted or vectorised across a sum: a kernel does to each number what NumPy does, in NumPy's
order, and its results are bit-identical to NumPy's. Operations for which only NumPy's own loops give these bits (exp,
sums, products) are left to those loops: `loop` calls them.
"""

# Numba intrinsics take types and values as arguments, which Python's type system cannot express.
# mypy: ignore-errors
# ruff: noqa: ANN001, RUF005

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from nnspec.native.words import ARGS, BASE, COUNT, DIMS, GIVEN, NARGS, OUTER, OUTER_WORDS, RANK, STEPS

__all__ = ["KERNELS", "made", "moving"]

_BYTE = ir.IntType(8).as_pointer()


@intrinsic
def _pointer(typingctx: Any, address: Any) -> Any:
    """Convert an address to a pointer for `carray`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _BYTE)

    return types.voidptr(types.int64), code


@intrinsic
def _call_loop(typingctx: Any, loop: Any, args: Any, dims: Any, steps: Any, data: Any) -> Any:
    """Call one of NumPy's inner loops: void loop(char **args, intp *dims, intp *steps, void *data)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTE] * 4)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(each, _BYTE) for each in arguments[1:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), code


@intrinsic
def _call_kernel(typingctx: Any, kernel: Any, words: Any) -> Any:
    """Call another kernel with its words."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


def _drawing(ctype: ir.Type, result: Any) -> Any:
    @intrinsic
    def draw(typingctx: Any, function: Any, state: Any) -> Any:
        """Draw a number from a bit generator: function(state)."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ctype, [_BYTE])
            called = builder.inttoptr(arguments[0], kind.as_pointer())
            return builder.call(called, [builder.inttoptr(arguments[1], _BYTE)])

        return result(types.int64, types.int64), code

    return draw


_draw_double = _drawing(ir.DoubleType(), types.float64)
_draw_uint32 = _drawing(ir.IntType(32), types.uint32)


@njit(inline="always")
def _next(w, nargs) -> bool:
    """Advance the arguments to the next run of a multi-axis array; return whether there is one."""
    d = w[RANK] - 1
    while d >= 0:
        axis = OUTER + OUTER_WORDS * d
        w[axis + 1] += 1
        for k in range(nargs):
            w[ARGS + k] += w[axis + 2 + k]
        if w[axis + 1] < w[axis]:
            return True
        for k in range(nargs):
            w[ARGS + k] -= w[axis + 2 + k] * w[axis]
        w[axis + 1] = 0
        d -= 1
    return False


def _loop(words) -> None:
    """Call one of NumPy's inner loops run by run."""
    w = carray(_pointer(words), COUNT, np.int64)
    nargs = w[NARGS]
    given, dims, steps = words + 8 * GIVEN, words + 8 * DIMS, words + 8 * STEPS
    for k in range(nargs):
        w[ARGS + k] = w[GIVEN + k] = w[BASE + k]
    _call_loop(w[0], given, dims, steps, w[1])
    if w[RANK]:
        while _next(w, nargs):
            for k in range(nargs):
                w[GIVEN + k] = w[ARGS + k]
            _call_loop(w[0], given, dims, steps, w[1])


def _copying(source: Any, target: Any) -> Callable[..., None]:
    from_size, to_size = np.dtype(source).itemsize, np.dtype(target).itemsize

    @njit(inline="always")
    def run(w) -> None:
        n, to_step, from_step = w[DIMS], w[STEPS], w[STEPS + 1]
        to, of = w[ARGS], w[ARGS + 1]
        if to_step == to_size and from_step == from_size:
            written, read = carray(_pointer(to), n, target), carray(_pointer(of), n, source)
            for i in range(n):
                written[i] = target(read[i])
        elif from_step == 0:
            value = target(carray(_pointer(of), 1, source)[0])
            for i in range(n):
                carray(_pointer(to + i * to_step), 1, target)[0] = value
        else:
            for i in range(n):
                carray(_pointer(to + i * to_step), 1, target)[0] = target(
                    carray(_pointer(of + i * from_step), 1, source)[0]
                )

    def copy(words) -> None:
        """target[...] = source, run by run; numbers of another type are cast as in C."""
        w = carray(_pointer(words), COUNT, np.int64)
        w[ARGS], w[ARGS + 1] = w[BASE], w[BASE + 1]
        run(w)
        if w[RANK]:
            while _next(w, 2):
                run(w)

    return copy


def _choosing(kind: Any) -> Callable[..., None]:
    @njit(inline="always")
    def run(w) -> None:
        n, to_step, from_step, mask_step = w[DIMS], w[STEPS], w[STEPS + 1], w[STEPS + 2]
        to, of, mask = w[ARGS], w[ARGS + 1], w[ARGS + 2]
        for i in range(n):
            if carray(_pointer(mask + i * mask_step), 1, np.uint8)[0]:
                carray(_pointer(to + i * to_step), 1, kind)[0] = carray(_pointer(of + i * from_step), 1, kind)[0]

    def copy_where(words) -> None:
        """target[mask] = source[mask], run by run."""
        w = carray(_pointer(words), COUNT, np.int64)
        w[ARGS], w[ARGS + 1], w[ARGS + 2] = w[BASE], w[BASE + 1], w[BASE + 2]
        run(w)
        if w[RANK]:
            while _next(w, 3):
                run(w)

    return copy_where


def _take(words) -> None:
    """out[i] = source[min(max(index[from + i], 0), rows − 1)], rows of bytes."""
    w = carray(_pointer(words), 8, np.int64)
    source, index, start, count, width, rows, out = w[0], w[1], w[2], w[3], w[4], w[5], w[6]
    first = carray(_pointer(start), 1, np.int64)[0]
    chosen = carray(_pointer(index + 8 * first), count, np.int64)
    if width == 4:
        words_out, words_in = carray(_pointer(out), count, np.uint32), carray(_pointer(source), rows, np.uint32)
        for i in range(count):
            words_out[i] = words_in[min(max(chosen[i], 0), rows - 1)]
        return
    for i in range(count):
        row = min(max(chosen[i], 0), rows - 1)
        to = carray(_pointer(out + i * width), width, np.uint8)
        of = carray(_pointer(source + row * width), width, np.uint8)
        for j in range(width):
            to[j] = of[j]


def _gathering(kind: Any) -> Callable[..., None]:
    size = np.dtype(kind).itemsize

    def gather(words) -> None:
        """out[i] = source[min(max(index[from + i], 0), rows − 1)] · factor, rows of bytes as numbers."""
        w = carray(_pointer(words), 8, np.int64)
        source, index, start, count, width, rows, out = w[0], w[1], w[2], w[3], w[4], w[5], w[6]
        first, factor = carray(_pointer(start), 1, np.int64)[0], carray(_pointer(w[7]), 1, kind)[0]
        chosen = carray(_pointer(index + 8 * first), count, np.int64)
        for i in range(count):
            row = min(max(chosen[i], 0), rows - 1)
            to = carray(_pointer(out + i * width * size), width, kind)
            of = carray(_pointer(source + row * width), width, np.uint8)
            for j in range(width):
                to[j] = kind(of[j]) * factor

    return gather


def _putting(kind: Any) -> Callable[..., None]:
    def put(words) -> None:
        """target[min(max(index[i], 0), size − 1)] = values[i], in the order of i."""
        w = carray(_pointer(words), 8, np.int64)
        size, count = w[1], w[3]
        target, index = carray(_pointer(w[0]), size, kind), carray(_pointer(w[2]), count, np.int64)
        values, step = w[4], w[5]
        for i in range(count):
            target[min(max(index[i], 0), size - 1)] = carray(_pointer(values + i * step), 1, kind)[0]

    return put


def _finding_largest(kind: Any) -> Callable[..., None]:
    def argmax(words) -> None:
        """out[i] = the index of the first maximum of row i; NaN compares greater than every number."""
        w = carray(_pointer(words), 8, np.int64)
        rows, columns = w[2], w[3]
        x, out = carray(_pointer(w[0]), (rows, columns), kind), carray(_pointer(w[1]), rows, np.int64)
        for i in range(rows):
            best, at = x[i, 0], 0
            if best == best:
                for j in range(1, columns):
                    if not (x[i, j] <= best):
                        best, at = x[i, j], j
                        if best != best:
                            break
            out[i] = at

    return argmax


def _adding_rows(kind: Any) -> Callable[..., None]:
    def add_rows(words) -> None:
        """target[index[i]] += rows[i], in the order of i: `np.add.at` along the first axis."""
        w = carray(_pointer(words), 8, np.int64)
        size, width, count = w[1], w[2], w[4]
        target, index = carray(_pointer(w[0]), (size, width), kind), carray(_pointer(w[3]), count, np.int64)
        rows = carray(_pointer(w[5]), (count, width), kind)
        for i in range(count):
            row = index[i]
            for j in range(width):
                target[row, j] += rows[i, j]

    return add_rows


def _count(words) -> None:
    """out = the number of non-zero bytes among n."""
    w = carray(_pointer(words), 4, np.int64)
    x = carray(_pointer(w[0]), w[1], np.uint8)
    found = 0
    for i in range(w[1]):
        found += x[i] != 0
    carray(_pointer(w[2]), 1, np.int64)[0] = found


def _random_double(words) -> None:
    """Fill with numbers in [0, 1), as `Generator.random` does."""
    w = carray(_pointer(words), 4, np.int64)
    out = carray(_pointer(w[2]), w[3], np.float64)
    for i in range(w[3]):
        out[i] = _draw_double(w[0], w[1])


def _random_float(words) -> None:
    """Fill with numbers in [0, 1) with 24 random bits, as `Generator.random` does in float32."""
    w = carray(_pointer(words), 4, np.int64)
    out = carray(_pointer(w[2]), w[3], np.float32)
    for i in range(w[3]):
        out[i] = np.float32(_draw_uint32(w[0], w[1]) >> np.uint32(8)) * np.float32(1.0 / 16777216.0)


def _run(words) -> None:
    """Run the kernels of a tape in order."""
    w = carray(_pointer(words), 2, np.int64)
    count = w[1]
    pairs = carray(_pointer(w[0]), 2 * count, np.int64)
    for i in range(count):
        _call_kernel(pairs[2 * i], pairs[2 * i + 1])


def _branch(words) -> None:
    """Run one of two tapes, depending on a byte."""
    w = carray(_pointer(words), 5, np.int64)
    way = 1 if carray(_pointer(w[0]), 1, np.uint8)[0] else 3
    count = w[way + 1]
    pairs = carray(_pointer(w[way]), 2 * count, np.int64)
    for i in range(count):
        _call_kernel(pairs[2 * i], pairs[2 * i + 1])


def _batches(words) -> None:
    """Run a sequence of batches: for each, a tape that computes the gradients and a tape that updates the weights.

    It stops before the update of the last batch, of a batch whose loss is not finite, and on request.
    """
    w = carray(_pointer(words), 16, np.int64)
    number, first = carray(_pointer(w[4]), 1, np.int64), carray(_pointer(w[5]), 1, np.int64)
    loss, losses = carray(_pointer(w[7]), 1, np.float64), carray(_pointer(w[8]), w[11], np.float64)
    stop = carray(_pointer(w[9]), 1, np.int64)
    before = carray(_pointer(w[0]), 2 * w[1], np.int64)
    after = carray(_pointer(w[2]), 2 * w[3], np.int64)
    i = w[10]
    while i < w[11]:
        number[0], first[0] = i, i * w[6]
        for k in range(w[1]):
            _call_kernel(before[2 * k], before[2 * k + 1])
        losses[i] = loss[0]
        if i == w[13] or stop[0] or not np.isfinite(loss[0]):
            break
        for k in range(w[3]):
            _call_kernel(after[2 * k], after[2 * k + 1])
        i += 1
    w[12] = i


def moving(rule: Any, states: int, factors: int, dtype: str) -> Callable[..., None]:
    """Make an optimizer's kernel from its elementwise rule, `rule(theta, grad, *state, *factors)`, with at most
    `MOST_STATES` arrays of state.
    """
    from numba.np.unsafe.ndarray import to_fixed_tuple

    kind = _KINDS[dtype]
    loop = njit(rule, error_model="numpy")

    def move(words) -> None:
        """Update a range of a vector with the factors of this batch."""
        w = carray(_pointer(words), 16, np.int64)
        n, row = w[2], carray(_pointer(w[4]), 1, np.int64)[0]
        theta, grad = carray(_pointer(w[0]), n, kind), carray(_pointer(w[1]), n, kind)
        given = to_fixed_tuple(carray(_pointer(w[3] + row * w[5]), factors, kind), factors) if factors else ()
        if states == 0:
            loop(theta, grad, *given)
        elif states == 1:
            loop(theta, grad, *((carray(_pointer(w[8]), n, kind),) + given))
        elif states == 2:
            loop(theta, grad, *((carray(_pointer(w[8]), n, kind), carray(_pointer(w[9]), n, kind)) + given))
        else:
            three = (
                carray(_pointer(w[8]), n, kind),
                carray(_pointer(w[9]), n, kind),
                carray(_pointer(w[10]), n, kind),
            )
            if states == 3:
                loop(theta, grad, *(three + given))
            else:
                loop(theta, grad, *(three + (carray(_pointer(w[11]), n, kind),) + given))

    return move


_KINDS = {
    "b1": np.uint8,
    "u1": np.uint8,
    "i1": np.int8,
    "u2": np.uint16,
    "i2": np.int16,
    "u4": np.uint32,
    "i4": np.int32,
    "u8": np.uint64,
    "i8": np.int64,
    "f4": np.float32,
    "f8": np.float64,
}

KERNELS: dict[str, Callable[[], Callable[..., None]]] = {
    "loop": lambda: _loop,
    "take": lambda: _take,
    "count": lambda: _count,
    "random.f8": lambda: _random_double,
    "random.f4": lambda: _random_float,
    "run": lambda: _run,
    "branch": lambda: _branch,
    "batches": lambda: _batches,
}
"""The function of each kernel, by name."""
for _name, _kind in _KINDS.items():
    KERNELS[f"where.{_name}"] = lambda kind=_kind: _choosing(kind)
    for _other, _target in _KINDS.items():
        KERNELS[f"copy.{_name}.{_other}"] = lambda kind=_kind, target=_target: _copying(kind, target)
for _name in ("f4", "f8"):
    KERNELS[f"gather.{_name}"] = lambda kind=_KINDS[_name]: _gathering(kind)
    KERNELS[f"put.{_name}"] = lambda kind=_KINDS[_name]: _putting(kind)
    KERNELS[f"argmax.{_name}"] = lambda kind=_KINDS[_name]: _finding_largest(kind)
    KERNELS[f"add_rows.{_name}"] = lambda kind=_KINDS[_name]: _adding_rows(kind)


def made(name: str) -> Callable[..., None]:
    """Return the function of a kernel; `move.OPTIMIZER.KIND` is that of an optimizer. Raises KeyError."""
    return KERNELS[name]()
