"""Recorded NumPy calls, run again by kernels: the same bits as NumPy's, for any strides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="recorded calls are run by compiled kernels, which need Numba, an extra")

from nnspec.native.library import make
from nnspec.native.loops import NoLoop, inner_loop
from nnspec.native.recording import Recording, Traced, Untraceable
from nnspec.native.relocation import Relocation
from nnspec.native.tape import Tape

pytestmark = pytest.mark.usefixtures("kernels")
SHAPES = [(5,), (64, 64), (3, 7, 5), (2, 3, 4, 5), (1, 7), (7, 1), (64, 1, 5), (0, 4)]
LARGE = [(100, 300), (3, 20000), (20000, 3), (8, 16, 14, 14), (40000,)]
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def numbers(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * 3).astype(dtype)


def recorded(call: Callable[..., Any], *arrays: np.ndarray) -> Recording:
    recording = Recording()
    with recording:
        call(*(array.view(Traced) for array in arrays))
    return recording


def same(call: Callable[..., Any], out: np.ndarray, *inputs: np.ndarray) -> None:
    """Hold what a recording computes against the call itself, with other numbers than were recorded."""
    others = [np.ascontiguousarray(each[..., ::-1]).reshape(each.shape) for each in inputs]
    before = [each.copy() for each in inputs]
    for each, other in zip(inputs, others, strict=True):
        each[...] = other
    recording = recorded(call, *inputs, out)
    make({"run"}.union(*(instruction.kernels for instruction in recording.instructions)))
    for each, was in zip(inputs, before, strict=True):
        each[...] = was
    call(*inputs, out)
    wanted = out.tobytes()
    for each, was in zip(inputs, before, strict=True):
        each[...] = was
    out[...] = 1
    for made in recording.made:
        made[...] = 1
    Tape(recording.instructions, recording.arrays).run()
    assert out.tobytes() == wanted


@every_dtype
@every_shape
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "divide"])
def test_two_arrays(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    x, y, flipped = (
        numbers(*shape, dtype=dtype),
        numbers(*shape, dtype=dtype, seed=1),
        numbers(*shape[::-1], dtype=dtype),
    )
    ufunc, out = getattr(np, name), np.empty_like(x)
    same(lambda a, b, o: ufunc(a, b, out=o), out, x, y)
    same(lambda a, b, o: ufunc(a.T, b, out=o), out, flipped, y)
    same(lambda a, o: ufunc(a, 1 / 3, out=o), out, x)
    same(lambda a, b, o: ufunc(a, b, out=o), out, x, numbers(shape[-1], dtype=dtype))
    same(lambda a, b, o: ufunc(a[..., ::-1], b, out=o), out, x, y)
    same(lambda a, o: ufunc(a, a, out=o), out, x)


@every_dtype
@every_shape
@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt", "negative", "absolute", "expm1", "log"])
def test_functions(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    x, flipped = np.abs(numbers(*shape, dtype=dtype)), np.abs(numbers(*shape[::-1], dtype=dtype))
    ufunc, out = getattr(np, name), np.empty_like(x)
    same(lambda a, o: ufunc(a, out=o), out, x)
    same(lambda a, o: ufunc(a.T, out=o), out, flipped)


@every_dtype
@every_shape
def test_copies_casts_and_masks(shape: tuple[int, ...], dtype: Any) -> None:
    x, out = numbers(*shape, dtype=dtype), np.empty(shape, dtype)
    flipped = numbers(*shape[::-1], dtype=dtype)
    whole, flags = (x * 10).astype(np.uint8), np.empty(shape, bool)
    same(lambda a, o: np.copyto(o, a.T), out, flipped)
    same(lambda a, o: np.copyto(o, a), out, whole)
    same(lambda a, o: np.greater(a, 0, out=o), flags, x)
    same(lambda a, b, o: np.multiply(a, b, out=o), out, x, x > 0)
    same(lambda a, b, o: (o.fill(0), np.copyto(o, a, where=b)), out, x, x > 0)
    same(lambda a, o: np.rint(a, out=o, casting="unsafe"), np.empty(shape, np.intp), x)
    same(lambda a, o: o.__setitem__(..., a + 1), out, x)
    same(lambda a, o: np.concatenate([a, a], axis=-1, out=o), np.empty((*shape[:-1], 2 * shape[-1]), dtype), x)


@every_dtype
@pytest.mark.parametrize(
    "shape", [*SHAPES[:-1], (100, 300), (3, 20000), (20000, 3), (8, 16, 14, 14), (40000,)], ids=str
)
@pytest.mark.parametrize("name", ["add", "maximum"])
def test_sums_and_maxima(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    x, flipped, ufunc = numbers(*shape, dtype=dtype), numbers(*shape[::-1], dtype=dtype), getattr(np, name)
    every = tuple(range(len(shape)))
    for axis in [None, *every, every[:-1] or None, every[1:] or None, every[::2]]:
        out = np.empty(np.add.reduce(x, axis=axis).shape, dtype)
        same(lambda a, o, axis=axis: ufunc.reduce(a, axis=axis, out=o), out, x)
        alike = out if out.ndim < 2 else np.empty(out.shape[::-1], dtype).T
        same(lambda a, o, axis=axis: ufunc.reduce(a.T, axis=axis, out=o), alike, flipped)
    out = np.empty(np.add.reduce(x, axis=0, keepdims=True).shape, dtype)
    same(lambda a, o: ufunc.reduce(a, axis=0, keepdims=True, out=o), out, x)
    zeros = np.negative(np.zeros(shape, dtype))
    same(lambda a, o: ufunc.reduce(a, axis=0, out=o), np.empty(shape[1:], dtype), zeros)


@every_dtype
@pytest.mark.parametrize(("m", "k", "n"), list(product([1, 2, 64], [1, 3, 64], [1, 5, 32])))
def test_products(m: int, k: int, n: int, dtype: Any) -> None:
    a, b, out = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype, seed=1), np.empty((m, n), dtype)
    same(lambda a, b, o: np.matmul(a, b, out=o), out, a, b)
    same(lambda a, b, o: np.matmul(a.T, b, out=o), out, numbers(k, m, dtype=dtype), b)
    same(lambda a, b, o: np.matmul(a, b.T, out=o), out, a, numbers(n, k, dtype=dtype))
    same(lambda a, b, o: np.matmul(a, b, out=o), np.empty(n, dtype), numbers(k, dtype=dtype), b)
    same(lambda a, b, o: np.matmul(a, b, out=o), np.empty(m, dtype), a, numbers(k, dtype=dtype))
    same(lambda a, o: np.matmul(a.T, a, out=o), np.empty((k, k), dtype), a)
    many, others = numbers(4, m, 2, k, dtype=dtype), numbers(4, 2, k, n, dtype=dtype, seed=1)
    stack = np.empty((4, 2, m, n), dtype)
    same(lambda a, b, o: np.matmul(a.transpose(0, 2, 1, 3), b, out=o), stack, many, others)
    same(lambda a, b, o: np.matmul(a.transpose(0, 2, 1, 3), b, out=o), stack, many, b)
    same(lambda a, o: np.vecdot(a, a, out=o), np.empty(m, dtype), a)


def test_rows_that_are_taken_and_numbers_that_are_put() -> None:
    table, index, out = numbers(9, 4), np.array([3, 3, 0, 8, 12, -2]), np.empty((6, 4))
    same(lambda t, i, o: t.take(i, axis=0, out=o, mode="clip"), out, table, index)
    same(lambda t, i, o: np.copyto(o, t.take(i, axis=0, mode="clip")), out, table, index)
    small, places, values = np.empty(9), np.array([3, 1, 3]), numbers(3)
    same(lambda i, v, o: (o.fill(0), o.put(i, v, mode="clip")), small, places, values)
    same(lambda i, v, o: (o.fill(0), o.put(i, 2.5, mode="clip")), small, places, values)
    same(lambda i, v, o: (o.fill(0), np.add.at(o, i, v)), np.empty((9, 4)), places, numbers(3, 4))
    same(lambda x, o: x.argmax(axis=-1, out=o), np.empty(9, np.intp), table)
    worse = numbers(5, 4)
    worse[1, 2], worse[2, :], worse[3] = np.nan, 1, [0, -0.0, 0, -1]
    same(lambda x, o: x.argmax(axis=-1, out=o), np.empty(5, np.intp), worse)
    same(lambda x, o: np.add(0, np.count_nonzero(x), out=o), np.zeros((), np.int64), numbers(40) > 0)


def test_what_cannot_be_recorded_is_refused_and_says_why() -> None:
    x, row = numbers(4, 5), numbers(5)
    refusals: list[tuple[Callable[..., Any], str]] = [
        (lambda x: float(np.add.reduce(x, axis=None)), "decides by numbers"),
        (lambda x: 1 if x.min() > 0 else 2, "decides by numbers"),
        (lambda x: x[np.array([0, 1])], "picks numbers"),
        (lambda x: x[0, 1], "picks numbers"),
        (lambda x: np.sort(x), "calls sort"),
        (lambda x: np.add(x[1:], x[:-1], out=x[1:]), "writes over a part"),
        (lambda x: np.copyto(x[1:], x[:-1]), "over a part of itself"),
        (lambda x: x.T.reshape(-1), "copies an array into another shape"),
        (lambda x: np.add.reduce(x.reshape(5, 1, 2, 2).T, axis=(0, 2), out=np.empty((2, 5))), "another order"),
        (lambda x: np.add.accumulate(x), "in a way that is not recorded"),
        (lambda x: np.matmul(x, np.eye(5), out=x), "over one of its factors"),
        (lambda x: list(x[0]), "number by number"),
        (lambda x: x[x > 0], "picks numbers"),
    ]
    for call, why in refusals:
        with pytest.raises(Untraceable, match=why):
            recorded(call, x.copy())
    np.add(x.view(Traced), row, out=x)  # outside of a recording, a traced array is an array
    assert float(x.view(Traced).sum()) == float(x.sum())


def test_inner_loops_are_those_of_the_types() -> None:
    with pytest.raises(NoLoop, match="no loop"):
        inner_loop(np.exp, (np.dtype("int64"), np.dtype("float32")))
    address, _ = inner_loop(np.exp, (np.dtype("float32"), np.dtype("float32")))
    assert address != inner_loop(np.exp, (np.dtype("float64"), np.dtype("float64")))[0]


def test_a_tape_is_moved_while_it_runs() -> None:
    wide, y = np.zeros((20_000, 6)), np.arange(60_000.0).reshape(20_000, 3)
    x = wide[:, :3]
    with Recording() as recording:
        np.add(x.view(Traced), y, out=x)
    tape = Tape(recording.instructions, recording.arrays)
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            tape.run()

    running = threading.Thread(target=run)
    running.start()
    try:
        for _ in range(30):
            other = np.zeros_like(wide)
            tape.moved(Relocation([(wide, other)])).run()
            np.testing.assert_array_equal(other[:, :3], y)
    finally:
        done.set()
        running.join()
