"""Recording: the NumPy calls of a kernel as instructions that can be replayed without Python.

During a recording, its arrays are `Traced`. Each call on such an array is executed as usual and recorded with the
addresses and strides that it used. The arrays of a plan never move, so the instructions later do the same to whatever
the arrays then contain. A call that cannot be recorded, or Python code that needs the numbers themselves (to branch on
them, say), raises `Untraceable`, and the kernel remains a Python call.

Recording follows NumPy's iterator: axes are ordered by stride, flipped if all strides are negative, and merged if
possible; the innermost axis is a run. Each inner loop is thus called with the same runs as by NumPy, and gives the
same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from nnspec.native.loops import NoLoop, inner_loop
from nnspec.native.words import (
    BASE,
    COUNT,
    DIMS,
    MOST_RANK,
    NARGS,
    OUTER,
    OUTER_WORDS,
    RANK,
    STEPS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Instruction", "Recording", "Traced", "Untraceable", "current", "plain"]

_here = threading.local()


class Untraceable(Exception):
    """A kernel does something that cannot be recorded. The message says what."""


@dataclass(frozen=True)
class Instruction:
    """A kernel and the words that it is called with."""

    kernel: str
    words: tuple[int, ...]
    parts: tuple[tuple[Instruction, ...], ...] = ()
    """The two alternatives of a `branch`: if its condition holds, and otherwise."""

    @property
    def kernels(self) -> set[str]:
        """The names of all kernels in it."""
        return {self.kernel}.union(*(each.kernels for part in self.parts for each in part))


@dataclass
class Recording:
    """A recording in progress: `with recording: kernel(...)`."""

    order: NDArray[Any] | None = None
    """The order of samples: an index into it is relative to the start of the current batch."""
    first: int = 0
    """The address of the start of the current batch."""
    instructions: list[Instruction] = field(default_factory=list)
    arrays: list[NDArray[Any]] = field(default_factory=list)
    """Arrays that instructions point to, kept alive so that they do not move."""
    made: list[NDArray[Any]] = field(default_factory=list)
    """The ones among them that were allocated by kernels."""

    def __enter__(self) -> Recording:
        if current() is not None:
            raise RuntimeError("something is being recorded already")
        _here.recording = self
        return self

    def __exit__(self, *_: object) -> None:
        _here.recording = None

    # Recording instructions

    def note(self, kernel: str, words: Sequence[int], *arrays: NDArray[Any]) -> None:
        """Add an instruction that works on these arrays."""
        self.arrays += [plain(array) for array in arrays]
        self.instructions.append(Instruction(kernel, tuple(words)))

    def runs(
        self,
        kernel: str,
        arrays: Sequence[NDArray[Any]],
        shape: tuple[int, ...],
        function: tuple[int, int] = (0, 0),
        core: Sequence[tuple[int, ...]] = (),
        dims: Sequence[int] = (),
    ) -> None:
        """Add an instruction that iterates over arrays of a shape, run by run. `core` are the strides of each array
        along the axes that the inner loop processes as a whole, with extents `dims`.
        """
        if 0 in shape:
            return
        extents, strides, addresses = _merged(
            shape, [_broadcast(array, shape) for array in arrays], [_address(array) for array in arrays]
        )
        if len(extents) - 1 > MOST_RANK:
            raise Untraceable("it has too many axes")
        words = [0] * COUNT
        words[0:2], words[NARGS], words[RANK] = function, len(arrays), len(extents) - 1
        words[DIMS : DIMS + 1 + len(dims)] = [extents[0], *dims]
        steps = [stride[0] for stride in strides] + [step for own in core for step in own]
        words[STEPS : STEPS + len(steps)] = steps
        words[BASE : BASE + len(arrays)] = addresses
        for place, axis in enumerate(range(len(extents) - 1, 0, -1)):
            start = OUTER + OUTER_WORDS * place
            words[start : start + 2 + len(arrays)] = [extents[axis], 0, *(stride[axis] for stride in strides)]
        self.note(kernel, words, *arrays)

    def copy(self, target: NDArray[Any], source: Any) -> None:
        """target[...] = source, broadcast and cast."""
        target, source = plain(target), _constant(source, target.dtype)
        if _same(target, source):
            return
        if source.shape and _overlap(target, source):
            raise Untraceable("it copies an array over a part of itself")
        self.runs(f"copy.{_code(source)}.{_code(target)}", (target, source), target.shape)

    def copy_where(self, target: NDArray[Any], source: Any, mask: NDArray[Any]) -> None:
        """target[mask] = source, broadcast."""
        target, mask = plain(target), plain(mask)
        source = self.cast(_constant(source, target.dtype), target.dtype)
        if mask.dtype != bool:
            raise Untraceable("a mask is no bool")
        self.runs(f"where.{_code(target)}", (target, source, mask), target.shape)

    def cast(self, array: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return an array in a dtype: the array itself, or a new one that an instruction casts it to."""
        array = plain(array)
        if array.dtype == dtype:
            return array
        with np.errstate(all="ignore"):
            found = self.new(array.shape, dtype)
            np.copyto(found, array, casting="unsafe")
        self.copy(found, array)
        return found

    def new(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Allocate an array for instructions to write to."""
        found = np.empty(shape, dtype)
        self.made.append(found)
        return found

    # Executing and recording calls

    def ufunc(self, ufunc: Any, method: str, inputs: Sequence[Any], out: Any, more: Mapping[str, Any]) -> Any:
        """Execute and record a call of a ufunc."""
        inputs = [plain(each) for each in inputs]
        out = plain(out[0]) if out is not None and out[0] is not None else None
        if method == "reduce":
            return self._reduce(ufunc, inputs, out, **more)
        if method == "at" and ufunc is np.add:
            return self._add_rows(*inputs)
        if method != "__call__" or ufunc.nout != 1 or more.keys() - {"casting"}:
            raise Untraceable(f"it calls {ufunc.__name__} in a way that is not recorded")
        types = tuple(each.dtype if isinstance(each, np.ndarray | np.generic) else type(each) for each in inputs)
        *needed, given = ufunc.resolve_dtypes(
            (*types, None if out is None else out.dtype), casting=more.get("casting", "same_kind")
        )
        operands = [self.cast(_constant(each, dtype), dtype) for each, dtype in zip(inputs, needed, strict=True)]
        result = out if out is not None else self._like(ufunc, operands, given)
        if out is not None:
            _same_or_apart(ufunc, result, operands)
        before = [np.array(each, copy=True) if _overlap(result, each) else each for each in operands]
        ufunc(*before, out=result, casting="unsafe")
        target = result if result.dtype == given else self.new(result.shape, given)
        function = _function(ufunc, (*needed, given))
        if ufunc is np.matmul:
            self._product(function, operands, target)
        elif ufunc is np.vecdot:
            views = [_without_core(each, 1) for each in operands]
            core = [_core(each, 1) for each in operands]
            self.runs("loop", (*views, target), target.shape, function, (*core, ()), (operands[0].shape[-1],))
        elif ufunc.signature is not None:
            raise Untraceable(f"{ufunc.__name__} is not recorded")
        else:
            self.runs("loop", (*operands, target), target.shape, function)
        if target is not result:
            self.copy(result, target)
        return result

    def _like(self, ufunc: Any, operands: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
        """Allocate the output of a ufunc."""
        found = np.asarray(ufunc(*operands))
        found = found if found.dtype == dtype and found.flags.writeable else found.astype(dtype)
        self.made.append(found)
        return found

    def _product(self, function: tuple[int, int], operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> None:
        """Record `np.matmul`. A vector is treated as a matrix whose missing axis has extent 1."""
        a, b = operands
        if _overlap(out, a) or _overlap(out, b):
            raise Untraceable("a product is written over one of its factors")
        left, right = a.ndim > 1, b.ndim > 1
        m, n = a.shape[-2] if left else 1, b.shape[-1] if right else 1
        core = [
            _core(a, 2) if left else (0, *_core(a, 1)),
            _core(b, 2) if right else (*_core(b, 1), 0),
            _core(out, 2)
            if left and right
            else (0, *_core(out, 1))
            if right
            else (*_core(out, 1), 0)
            if left
            else (0, 0),
        ]
        kept = out.ndim - (left + right)
        views = [_without_core(each, axes) for each, axes in ((a, 1 + left), (b, 1 + right), (out, left + right))]
        self.runs("loop", views, out.shape[:kept], function, core, (m, a.shape[-1], n))

    def _reduce(
        self,
        ufunc: Any,
        inputs: Sequence[Any],
        out: NDArray[Any] | None,
        axis: Any = 0,
        dtype: Any = None,
        keepdims: bool = False,
        **more: Any,
    ) -> NDArray[Any]:
        """Execute and record a reduction, which starts at the identity, or at the first numbers if there is none."""
        if {
            name for name, value in more.items() if value is not np._NoValue and not (name == "where" and value is True)
        }:
            raise Untraceable(f"it reduces by {ufunc.__name__} in a way that is not recorded")
        (x,) = inputs
        axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        axes = tuple(each % x.ndim for each in axes)
        found = np.asarray(ufunc.reduce(x, axis=axes, dtype=dtype, keepdims=keepdims))
        if out is not None and out.dtype != found.dtype:
            raise Untraceable(f"it reduces by {ufunc.__name__} into another dtype")
        if x.size == 0:
            raise Untraceable("it reduces nothing")
        source = self.cast(x, found.dtype)
        result = self.new(found.shape, found.dtype) if out is None else out
        if _overlap(result, x):
            raise Untraceable("a reduction is written over what it reads")
        result[...] = found
        whole = result if keepdims else np.expand_dims(result, axes)
        if ufunc.identity is not None and found.dtype != bool and ufunc is np.add:
            self.copy(whole, np.zeros((), found.dtype))
        else:
            start = tuple(slice(0, 1) if each in axes else slice(None) for each in range(x.ndim))
            self.copy(whole, source[start])
        kept = [axis for axis in range(x.ndim) if axis not in axes and x.shape[axis] > 1]
        orders = [sorted(kept, key=lambda axis, own=own: abs(own.strides[axis])) for own in (source, whole)]  # type: ignore[misc]
        if orders[0] != orders[1] and len(axes) > 1:
            raise Untraceable("it sums over several axes into an array of another order")  # sums would nest differently
        if len(axes) > 1 and not _is_dense(source):
            raise Untraceable("it sums over several axes of an array with gaps")  # NumPy adds up in blocks of its own
        function = _function(ufunc, (found.dtype,) * 3)
        self.runs("loop", (whole, source, whole), source.shape, function)
        return result

    def _add_rows(self, target: NDArray[Any], index: Any, rows: Any) -> None:
        """Execute and record `np.add.at` along the first axis."""
        ok = isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype == np.int64
        ok = ok and isinstance(rows, np.ndarray) and rows.shape == (len(index), *target.shape[1:])
        ok = ok and target.dtype == rows.dtype and target.dtype.kind == "f"
        if not ok or not (target.flags.c_contiguous and index.flags.c_contiguous and rows.flags.c_contiguous):
            raise Untraceable("it adds at places in a way that is not recorded")
        np.add.at(target, index, rows)
        width = prod(target.shape[1:])
        words = (_address(target), len(target), width, _address(index), len(index), _address(rows))
        self.note(f"add_rows.{_code(target)}", words, target, index, rows)

    def take(self, source: Any, index: Any, out: Any, mode: str, axis: int | None) -> NDArray[Any]:
        """Execute and record `source.take(index, axis=0, out=out, mode="clip")`."""
        source, index, out = plain(source), plain(index), plain(out)
        wanted = (*index.shape, *(source.shape[1:] if axis == 0 else ()))
        ok = mode == "clip" and (axis == 0 or (axis is None and source.ndim == 1)) and index.dtype == np.int64
        out = self.new(wanted, source.dtype) if out is None else out
        ok = ok and out.shape == wanted and out.dtype == source.dtype
        if not ok or not (source.flags.c_contiguous and index.flags.c_contiguous and out.flags.c_contiguous):
            raise Untraceable("it takes rows in a way that is not recorded")
        source.take(index, axis=axis, out=out, mode=mode)
        width = source.itemsize * prod(source.shape[1:])
        if self.order is not None and np.may_share_memory(index, self.order):
            base, first = _address(self.order), self.first
        else:
            zero = self._constant_word(0)
            base, first = _address(index), _address(zero)
        words = (_address(source), base, first, index.size, width, len(source), _address(out))
        self.note("take", words, source, index, out)
        return out

    def put(self, target: Any, index: Any, values: Any, mode: str) -> None:
        """Execute and record `target.put(index, values, mode="clip")`."""
        target, index = plain(target), plain(index)
        source = self.cast(_constant(values, target.dtype), target.dtype)
        ok = mode == "clip" and index.dtype == np.int64 and target.dtype.kind == "f" and source.size in (1, index.size)
        if not ok or not (target.flags.c_contiguous and index.flags.c_contiguous and source.flags.c_contiguous):
            raise Untraceable("it puts numbers in a way that is not recorded")
        target.put(index, source, mode=mode)
        step = source.itemsize if source.size > 1 else 0
        words = (_address(target), target.size, _address(index), index.size, _address(source), step)
        self.note(f"put.{_code(target)}", words, target, index, source)

    def argmax(self, x: Any, axis: Any, out: Any) -> NDArray[Any]:
        """Execute and record `x.argmax(axis=-1, out=out)`."""
        x, out = plain(x), plain(out)
        ok = out is not None and axis in (-1, x.ndim - 1) and x.dtype.kind == "f" and x.dtype.itemsize > 2
        if not ok or out.dtype != np.int64 or not (x.flags.c_contiguous and out.flags.c_contiguous):
            raise Untraceable("it looks for the largest number in a way that is not recorded")
        x.argmax(axis=axis, out=out)
        self.note(f"argmax.{_code(x)}", (_address(x), _address(out), out.size, x.shape[-1]), x, out)
        return out

    def count_nonzero(self, x: Any) -> NDArray[Any]:
        """Execute and record `np.count_nonzero(x)` for bools."""
        x = plain(x)
        if x.dtype != bool:
            raise Untraceable("it counts what are no bools")
        if not x.flags.c_contiguous:
            whole = self.new(x.shape, bool)
            whole[...] = x
            self.copy(whole, x)
            x = whole
        found = self.new((), np.int64)
        found[...] = np.count_nonzero(x)
        self.note("count", (_address(x), x.size, _address(found)), x, found)
        return found

    def branch(self, condition: Any, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """Record both branches; the condition selects one at each replay."""
        found, mine = [], self.instructions
        for way in (then, otherwise):
            self.instructions = []
            way()
            found.append(tuple(self.instructions))
        self.instructions = mine
        cell = plain(condition).reshape(1)
        if cell.dtype != bool:
            raise Untraceable("a condition is no bool")
        self.arrays.append(cell)
        self.instructions.append(Instruction("branch", (_address(cell), 0, 0, 0, 0), tuple(found)))

    def random(self, rng: np.random.Generator, out: Any, dtype: Any) -> NDArray[Any]:
        """Execute and record `rng.random(out=out, dtype=dtype)`."""
        out = plain(out)
        if out is None or out.dtype not in (np.float32, np.float64) or not out.flags.c_contiguous:
            raise Untraceable("it draws numbers in a way that is not recorded")
        interface = rng.bit_generator.ctypes
        function = interface.next_double if out.dtype == np.float64 else interface.next_uint32
        rng.random(out=out, dtype=out.dtype.type)
        words = (_function_address(function), interface.state_address, _address(out), out.size)
        self.note(f"random.{_code(out)}", words, out)
        return out

    def _constant_word(self, value: int) -> NDArray[Any]:
        found = np.array([value], np.int64)
        self.arrays.append(found)
        return found


def current() -> Recording | None:
    """Return the active recording of this thread, if any."""
    return getattr(_here, "recording", None)


class Traced(np.ndarray):
    """An array whose calls are recorded during a recording, and an ordinary array otherwise."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> Any:
        recording, out = current(), more.pop("out", None)
        if recording is None:
            out = {} if out is None else {"out": tuple(plain(each) for each in out)}
            return getattr(ufunc, method)(*(plain(each) for each in inputs), **out, **more)
        return _traced(recording.ufunc(ufunc, method, inputs, out, more))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        recording = current()
        if recording is None:
            return function(*_plain_all(args), **{name: _plain_all(each) for name, each in kwargs.items()})
        how = _FUNCTIONS.get(function)
        if how is None:
            raise Untraceable(f"it calls {function.__name__}")
        return how(recording, *args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if current() is not None and not _is_view(found, self):
            raise Untraceable("it picks numbers out of an array")
        return found

    def __iter__(self) -> Any:
        if current() is not None and self.ndim < 2:
            raise Untraceable("it goes through an array number by number")
        return super().__iter__()

    def __setitem__(self, key: Any, value: Any) -> None:
        recording = current()
        if recording is None:
            plain(self)[_plain_all(key)] = plain(value)
            return
        if isinstance(key, np.ndarray) and key.dtype == bool:
            mask = plain(key)
            recording.copy_where(self, value, mask.reshape(mask.shape + (1,) * (self.ndim - mask.ndim)))
            plain(self)[mask] = plain(value)
            return
        _copyto(recording, self[key], value, casting="unsafe")

    def reshape(self, *shape: Any, **more: Any) -> Any:
        return self._view(super().reshape(*shape, **more))

    def ravel(self, *more: Any) -> Any:
        return self._view(super().ravel(*more))

    def _view(self, found: Any) -> Any:
        if current() is not None and found.size and not _is_view(found, self):
            raise Untraceable("it copies an array into another shape")
        return found

    def copy(self, order: Any = "C") -> Any:
        recording = current()
        if recording is None:
            return plain(self).copy(order)
        found = plain(self).copy(order)
        recording.made.append(found)
        recording.copy(found, self)
        return _traced(found)

    def astype(self, dtype: Any, *args: Any, copy: Any = True, **more: Any) -> Any:
        recording = current()
        if recording is None:
            return plain(self).astype(dtype, *args, copy=copy, **more)
        if np.dtype(dtype) == self.dtype:
            return self.copy() if copy else self
        return _traced(recording.cast(self, np.dtype(dtype)))

    def decides(self, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """Call one of two functions, depending on this single bool."""
        recording = current()
        if recording is None:
            (then if plain(self).item() else otherwise)()
        else:
            recording.branch(self, then, otherwise)

    def fill(self, value: Any) -> None:
        self[...] = value

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
        recording = current()
        if recording is None:
            return plain(self).take(plain(indices), axis, plain(out), mode)
        return _traced(recording.take(self, indices, out, mode, axis))

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        recording = current()
        if recording is None:
            plain(self).put(plain(indices), plain(values), mode)
            return
        recording.put(self, indices, values, mode)

    def argmax(self, axis: Any = None, out: Any = None, **more: Any) -> Any:
        recording = current()
        if recording is None:
            return plain(self).argmax(axis, plain(out), **more)
        return _traced(recording.argmax(self, axis, out))


def _looks(name: str) -> Callable[..., Any]:
    """Make a method through which Python code would look at the numbers of an array."""

    def method(self: Traced, *args: Any, **more: Any) -> Any:
        if current() is not None:
            raise Untraceable("it decides by numbers of a batch")
        return getattr(plain(self), name)(*args, **more)

    return method


for _name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist", "tobytes", "nonzero"):
    setattr(Traced, _name, _looks(_name))
for _name in ("argmin", "argsort", "sort", "partition", "cumsum", "repeat", "searchsorted", "dot", "round", "clip"):
    setattr(Traced, _name, _looks(_name))


def plain(value: Any) -> Any:
    """Return a traced array as an ordinary one, and anything else unchanged."""
    return value.view(np.ndarray) if isinstance(value, Traced) else value


def _plain_all(value: Any) -> Any:
    return type(value)(map(_plain_all, value)) if type(value) in (tuple, list) else plain(value)


def _traced(value: Any) -> Any:
    return value.view(Traced) if isinstance(value, np.ndarray) else value


# NumPy functions that are not ufuncs


def _copyto(recording: Recording, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if where is True:
        recording.copy(dst, plain(src))
    else:
        recording.copy_where(dst, plain(src), where)
    np.copyto(plain(dst), plain(src), casting=casting, where=plain(where))  # type: ignore[arg-type]


def _concatenate(recording: Recording, arrays: Any, axis: int = 0, out: Any = None) -> Any:
    parts = [plain(each) for each in arrays]
    target = plain(out) if out is not None else recording.new(np.concatenate(parts, axis).shape, parts[0].dtype)
    end, axis = 0, axis % target.ndim
    for part in parts:
        start, end = end, end + part.shape[axis]
        _copyto(recording, target[(slice(None),) * axis + (slice(start, end),)], part)
    return _traced(target)


def _reducing(ufunc: Any) -> Callable[..., Any]:
    def call(recording: Recording, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, **more: Any) -> Any:
        given = (out,) if out is not None else None
        more = {"axis": axis} | ({"dtype": dtype} if dtype is not None else {}) | more
        return _traced(recording.ufunc(ufunc, "reduce", (a,), given, more))

    return call


def _largest(ufunc: Any) -> Callable[..., Any]:
    def call(recording: Recording, a: Any, axis: Any = None, out: Any = None, **more: Any) -> Any:
        return _traced(
            recording.ufunc(ufunc, "reduce", (a,), (out,) if out is not None else None, {"axis": axis} | more)
        )

    return call


def _viewing(function: Any) -> Callable[..., Any]:
    def call(recording: Recording, array: Any, *args: Any, **more: Any) -> Any:
        found = function(plain(array), *args, **more)
        if not _is_view(found, array):
            raise Untraceable(f"it copies an array by {function.__name__}")
        return _traced(found)

    return call


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.copyto: _copyto,
    np.concatenate: _concatenate,
    np.sum: _reducing(np.add),
    np.max: _largest(np.maximum),
    np.min: _largest(np.minimum),
    np.take: lambda recording, a, indices, axis=None, out=None, mode="raise": _traced(
        recording.take(a, indices, out, mode, axis)
    ),
    np.count_nonzero: lambda recording, a, **more: _traced(recording.count_nonzero(a)),
    np.empty_like: lambda recording, a, *args, **more: _traced(np.empty_like(plain(a), *args, **more)),
    np.shape: lambda recording, a: a.shape,
    np.ndim: lambda recording, a: a.ndim,
    np.may_share_memory: lambda recording, a, b, **more: np.may_share_memory(plain(a), plain(b), **more),
}
for _function_of_views in (
    np.moveaxis,
    np.reshape,
    np.ravel,
    np.transpose,
    np.swapaxes,
    np.broadcast_to,
    np.expand_dims,
    np.squeeze,
    np.diagonal,
    np.lib.stride_tricks.as_strided,
    np.lib.stride_tricks.sliding_window_view,
):
    _FUNCTIONS[_function_of_views] = _viewing(_function_of_views)


# Addresses and axes


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _function_address(function: Any) -> int:
    import ctypes

    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _code(array: NDArray[Any]) -> str:
    return f"{array.dtype.kind}{array.dtype.itemsize}"


def _constant(value: Any, dtype: Any) -> NDArray[Any]:
    """Return a number as an array of the dtype that a call casts it to; arrays are returned unchanged."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(plain(value))
    return np.array(value, dtype)


def _function(ufunc: Any, dtypes: tuple[Any, ...]) -> tuple[int, int]:
    try:
        return inner_loop(ufunc, tuple(dtypes))
    except NoLoop as error:
        raise Untraceable(str(error)) from None


def _is_view(found: Any, of: NDArray[Any]) -> bool:
    return isinstance(found, np.ndarray) and (found.size == 0 or np.may_share_memory(plain(found), plain(of)))


def _is_dense(array: NDArray[Any]) -> bool:
    """Whether the elements of an array fill their memory without gaps, in some order of its axes."""
    axes = sorted((axis for axis in range(array.ndim) if array.shape[axis] > 1), key=lambda axis: -array.strides[axis])
    ends = [array.strides[b] * array.shape[b] for b in axes[1:]] + [array.itemsize]
    return all(array.strides[axis] == end for axis, end in zip(axes, ends, strict=True))


def _overlap(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.may_share_memory(one, other)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are the same memory with the same layout."""
    alike = one.shape == other.shape and one.strides == other.strides and one.dtype == other.dtype
    return alike and _address(one) == _address(other)


def _same_or_apart(ufunc: Any, out: NDArray[Any], operands: Sequence[NDArray[Any]]) -> None:
    """Reject an output that partly overlaps an input: NumPy would copy that input first."""
    for each in operands:
        if not _same(out, each) and each.size and np.shares_memory(out, each):
            raise Untraceable(f"{ufunc.__name__} writes over a part of what it reads")


def _broadcast(array: NDArray[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array broadcast to a shape: 0 along the axes that it does not have."""
    own = [0 if extent == 1 else stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    return (*(0,) * (len(shape) - len(own)), *own)


def _core(array: NDArray[Any], axes: int) -> tuple[int, ...]:
    """Return the strides of the last axes."""
    return array.strides[array.ndim - axes :]


def _without_core(array: NDArray[Any], axes: int) -> NDArray[Any]:
    """View an array without its last axes."""
    key: Any = (..., *(0,) * axes)
    return array[key] if axes else array


def _merged(
    shape: Sequence[int], strides: Sequence[Sequence[int]], addresses: Sequence[int]
) -> tuple[list[int], list[list[int]], list[int]]:
    """Return extents, strides and start addresses in the order of NumPy's iterator, the fastest axis first."""
    axes = [axis for axis in range(len(shape) - 1, -1, -1) if shape[axis] != 1]
    ordered: list[int] = []
    for axis in axes:  # a stable insertion, as in `npyiter_find_best_axis_ordering`
        place = len(ordered)
        for before in range(len(ordered) - 1, -1, -1):
            verdict = _goes_before(axis, ordered[before], strides)
            if verdict is None:
                continue
            if not verdict:
                break
            place = before
        ordered.insert(place, axis)
    extents = [shape[axis] for axis in ordered]
    lined = [[own[axis] for axis in ordered] for own in strides]
    starts = list(addresses)
    for axis, extent in enumerate(extents):
        if all(own[axis] <= 0 for own in lined) and any(own[axis] < 0 for own in lined):
            for number, own in enumerate(lined):
                starts[number] += own[axis] * (extent - 1)
                own[axis] = -own[axis]
    merged_extents, merged = [1], [[0] for _ in strides]
    for axis, extent in enumerate(extents):
        whole = all(own[-1] * merged_extents[-1] == line[axis] for own, line in zip(merged, lined, strict=True))
        if merged_extents[-1] == 1:
            merged_extents[-1] = extent
            for own, line in zip(merged, lined, strict=True):
                own[-1] = line[axis]
        elif whole:
            merged_extents[-1] *= extent
        else:
            merged_extents.append(extent)
            for own, line in zip(merged, lined, strict=True):
                own.append(line[axis])
    return merged_extents, merged, starts


def _goes_before(axis: int, other: int, strides: Sequence[Sequence[int]]) -> bool | None:
    """Whether an axis is faster than one that precedes it in C order; None if the strides do not decide."""
    verdict = None
    for own in strides:
        if own[axis] and own[other]:
            if abs(own[other]) <= abs(own[axis]):
                verdict = False
            elif verdict is None:
                verdict = True
    return verdict
