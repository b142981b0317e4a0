"""Shadows: copies of layers, losses, metrics and their helpers whose arrays are traced.

A shadow works on the memory of its original. What its methods do to arrays can be recorded; Python state that they set
is kept on the shadow and does not affect the original.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nnspec.engine._numpy import np
from nnspec.engine.parameter import Parameter
from nnspec.engine.work import Borrower
from nnspec.native import recording as record
from nnspec.native.recording import Traced, Untraceable

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Shadows", "has_shadow", "scalars"]


class Shadows:
    """Copies of layers, losses, metrics and their helpers whose arrays are traced, over the memory of the originals."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._kept: list[Any] = []  # keeps objects alive, so that their ids are not reused

    def call(self, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Make a call with objects and arrays replaced by their shadows."""
        return self._call(call)(*(self.of(each) for each in arguments))

    def _call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(call, partial):
            return partial(self._call(call.func), *call.args, **{k: self.of(v) for k, v in call.keywords.items()})
        owner = getattr(call, "__self__", None)
        return getattr(self.of(owner), call.__name__) if has_shadow(owner) else call

    def of(self, value: Any) -> Any:
        """Return the shadow of a value, or the value itself if it has none."""
        if type(value) in (tuple, list):
            return type(value)(self.of(each) for each in value)
        if type(value) is dict:
            return {self.of(name): self.of(each) for name, each in value.items()}
        found = self._made.get(id(value))
        if found is not None:
            return found
        if isinstance(value, np.ndarray):
            found = value.view(Traced) if value.dtype != object else value
        elif isinstance(value, Parameter):
            found = Parameter.over(self.of(value.data), self.of(value.grad), value.segments)
        elif isinstance(value, np.random.Generator):
            found = _Drawing(value)
        elif has_shadow(value):
            found = object.__new__(type(value))
            self._made[id(value)] = found
            self._kept.append(value)
            found.__dict__.update({name: self.of(each) for name, each in vars(value).items()})
            return found
        else:
            return value
        self._made[id(value)] = found
        self._kept.append(value)
        return found


class _Drawing:
    """A random generator whose draws are recorded during a recording."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw numbers in [0, 1)."""
        now = record.current()
        if now is None:
            return self._rng.random(size, dtype=dtype, out=record.plain(out))
        return now.random(self._rng, out, dtype)

    def __getattr__(self, name: str) -> Any:
        if record.current() is not None:
            raise Untraceable(f"it draws numbers by {name}")
        return getattr(self._rng, name)


_SHADOWED = ("nnspec.engine.", "nnspec.compiler.batches", "nnspec.compiler.preparing", "nnspec.compiler.scaling")


def has_shadow(value: Any) -> bool:
    """Whether an object works on arrays of a plan."""
    return isinstance(value, Borrower) or (
        type(value).__module__.startswith(_SHADOWED)
        and hasattr(value, "__dict__")
        and not isinstance(value, type | str | int | float | tuple)
    )


def scalars(value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Return the plain values within a shadow, as data that can be compared."""
    if value is None or isinstance(value, int | float | str | bool):
        return repr(value)
    if id(value) in seen:
        return None
    seen |= {id(value)}
    if type(value) in (tuple, list):
        return [scalars(each, seen) for each in value]
    if type(value) is dict:
        return [scalars(each, seen) for each in value.values()]
    if has_shadow(value):
        return {name: scalars(each, seen) for name, each in vars(value).items()}
    return None
