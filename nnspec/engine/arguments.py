"""The arguments of parts: their types, ranges, defaults and alternative names, and the messages for wrong values."""

from __future__ import annotations

import functools
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

__all__ = [
    "NOT_IN_SPECS",
    "Also",
    "Argument",
    "ArgumentDescriptor",
    "ArgumentFault",
    "BareWord",
    "Count",
    "FigureName",
    "FilePath",
    "Inferred",
    "LayerName",
    "Nameable",
    "Positive",
    "Probability",
    "Range",
    "Rate",
    "Signature",
    "TensorName",
    "ValueName",
    "argument_of",
    "resolved",
    "written",
]


@dataclass(frozen=True)
class Range:
    """An interval of numbers; `open_low` and `open_high` exclude its ends."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the interval; NaN and infinities never do."""
        if not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'greater than' if self.open_low else 'at least'} {_in_words(self.low)}"
        if self.low == -math.inf:
            return f"{'less than' if self.open_high else 'at most'} {_in_words(self.high)}"
        low, high = _in_words(self.low), _in_words(self.high)
        return f"in {'(' if self.open_low else '['}{low}, {high}{')' if self.open_high else ']'}"


def _in_words(number: float) -> str:
    """Format a number as in a spec: `1e-8`, and `2**63 - 1` instead of all its digits."""
    if isinstance(number, int) and number > 10**15 and number & (number + 1) == 0:
        return f"2**{number.bit_length()} - 1"
    return f"{number:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


class Also(tuple[str, ...]):
    """The names of an argument in other frameworks, for the checker's suggestions."""

    def __new__(cls, *names: str) -> Also:
        """Keep `names` in the order given."""
        return super().__new__(cls, names)


class ArgumentFault(ValueError):
    """An argument that is valid by itself, but does not fit the others."""

    def __init__(self, argument: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.argument, self.help = argument, help


class BareWord(str):
    """A word that is written without quotes in a spec, such as `same` for a padding."""

    def __repr__(self) -> str:
        return str(self)


class FigureName(str):
    """The name of a figure of a run, written as a bare word in a spec: `val_loss`."""


class TensorName(str):
    """A name of tensors of a network, as a bare word: `h1`, `residual1.Linear2.bias`, `Embedding`."""


class LayerName(BareWord):
    """The name of a layer above whose parameters are used, as a bare word."""


class ValueName(BareWord):
    """The name of a value of a model, as a bare word: of a layer, a use of a block or a composition above, or of an
    input of the data.
    """


class FilePath(str):
    """The path of a file or a folder. In a spec it is written in quotes, relative to the folder of the spec."""

    written: str
    """The path as written in the spec, or by the caller."""

    def __new__(cls, path: str | os.PathLike[str], folder: str | os.PathLike[str] = "") -> FilePath:
        """Join a path to the folder that it is relative to."""
        if isinstance(path, FilePath):
            return path
        made = super().__new__(cls, os.fspath(Path(folder) / path))
        made.written = os.fspath(path)
        return made


class _Inferred:
    """Marks an argument that the checker infers from the input shape; if it is set, it is checked."""


T = TypeVar("T")
Inferred = Annotated[T, _Inferred()]

Count = Annotated[int, Range(low=1)]
Positive = Annotated[float, Range(low=0, open_low=True)]
Probability = Annotated[float, Range(low=0, high=1, open_high=True)]
Rate = Annotated[float, Range(low=0, open_low=True), Also("learning_rate", "rate", "eta", "step_size", "alpha")]


@dataclass(frozen=True)
class Argument:
    """An argument of a part, as used by the checker, the docs and the constructor's own checks."""

    name: str
    type: Any
    range: Range | None
    also: tuple[str, ...]
    inferred: bool
    required: bool
    keyword_only: bool
    default: Any

    @functools.cached_property
    def options(self) -> tuple[Any, ...]:
        """The types that it accepts."""
        return _options(self.type)

    @property
    def expects(self) -> str:
        """The allowed values in words: `an integer of at least 1`, `a number greater than 0 or a schedule`."""
        options = self.options
        words = [_type_in_words(option) for option in options]
        if self.range:
            last = max(i for i, option in enumerate(options) if _is_numeric(option))
            allowed = str(self.range)
            words[last] += f" {'of ' if allowed.startswith('at ') else ''}{allowed}"
        return " or ".join(words)

    def type_problem(self, value: object) -> str | None:
        """Describe what is wrong with the type of `value`, or return None."""
        if any(_is_of(value, option) for option in self.options):
            return None
        return f"`{self.name}` must be {self.expects}, not {_value_in_words(value)}"

    def range_problem(self, value: object) -> str | None:
        """Describe what is wrong with the size of `value`, whose type is right, or return None."""
        if self.range is not None:
            for number in value if isinstance(value, (tuple, list)) else (value,):
                if _is_of(number, float) and not self.range.holds(number):
                    return f"`{self.name}` must be {self.range}, got {number!r}"
        return None

    def converted(self, value: Any) -> Any:
        """Return `value` in Python's own types: a NumPy scalar as int or float, a list as a tuple, a path as a
        `FilePath`. Numbers are not converted if the argument accepts other types too."""
        return _converted(value, self.options)

    def problem(self, value: object) -> str | None:
        """Describe what is wrong with `value` as this argument, or return None."""
        return self.type_problem(value) or self.range_problem(value)

    def written(self, value: object) -> str:
        """Return a value of the argument as written in a spec: the words that it accepts without quotes."""
        if self.takes_any and isinstance(value, (tuple, list)):
            return f"[{', '.join(map(written, value))}]"
        return str(value) if isinstance(value, str) and value in self.words else written(value)

    @functools.cached_property
    def words(self) -> tuple[str, ...]:
        """The bare words that it accepts, such as `same` for a padding."""
        return tuple(
            choice
            for option in self.options
            if typing.get_origin(option) is Literal
            for choice in typing.get_args(option)
            if isinstance(choice, str)
        )

    @functools.cached_property
    def listed_words(self) -> tuple[str, ...]:
        """The bare words that it accepts in a list, such as `rows` for axes."""
        items = (_item(option) for option in self.options)
        return tuple(word for item in items if typing.get_origin(item) is Literal for word in typing.get_args(item))

    @functools.cached_property
    def takes_figure(self) -> bool:
        """Whether it accepts the name of a figure."""
        return FigureName in self.options

    @functools.cached_property
    def takes_tensors(self) -> bool:
        """Whether it accepts names of tensors, one or a list."""
        return TensorName in self.options

    @functools.cached_property
    def takes_value(self) -> bool:
        """Whether it accepts the name of a value of the model."""
        return ValueName in self.options

    @functools.cached_property
    def takes_layer(self) -> bool:
        """Whether it accepts the name of a layer whose parameters are used."""
        return LayerName in self.options

    @functools.cached_property
    def takes_path(self) -> bool:
        """Whether it accepts the path of a file."""
        return FilePath in self.options

    @functools.cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of part that it accepts; empty if none."""
        options = [_item(option) or option for option in self.options]
        kinds = [option.kind for option in options if isinstance(option, type) and issubclass(option, Nameable)]
        return tuple(dict.fromkeys(kinds))

    @functools.cached_property
    def takes_any(self) -> bool:
        """Whether it accepts a list of any values: numbers, words, parts that consist only of their arguments."""
        return any(_is_any(_item(option)) for option in self.options)


class Nameable:
    """Something that a spec can name: a part."""

    kind: ClassVar[str] = ""
    spec_name: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    """Its names in other frameworks, for the checker's suggestions."""
    resembles: ClassVar[tuple[tuple[str, ...], str]] = ((), "")
    """Names of similar parts in other frameworks, and what to change besides the name."""

    def in_spec(self) -> str:
        """Return it as written in a spec."""
        return self.spec_name


# Arguments set by Python callers and the compiler, never by a spec.
NOT_IN_SPECS = frozenset({"self", "params", "dtype", "rng"})


@dataclass(frozen=True)
class Signature:
    """The arguments of a part, in order."""

    arguments: tuple[Argument, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read a signature from a function's annotations, without the arguments that a spec cannot set."""
        function = inspect.unwrap(function)
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in NOT_IN_SPECS]
        # Only these annotations are resolved: the others name types of NumPy, which need not be loaded.
        return cls(tuple(argument_of(p, resolved(p.annotation, function.__globals__)) for p in parameters))

    def __iter__(self) -> Iterator[Argument]:
        return iter(self.arguments)

    def get(self, name: str) -> Argument | None:
        """Return the argument called `name`, or None."""
        return self._by_name.get(name)

    @functools.cached_property
    def _by_name(self) -> dict[str, Argument]:
        return {argument.name: argument for argument in self.arguments}

    def names_of_positionals(self, count: int, keywords: Mapping[str, object]) -> tuple[str, ...] | None:
        """Name the arguments that `count` positional values are assigned to, or return None if there are too many.

        As in `range(stop)`, an argument that can be inferred is skipped if there are not enough values for all:
        a single value for `Linear(in_features, out_features)` is `out_features`.
        """
        slots = [a for a in self.arguments if not a.keyword_only and a.name not in keywords]
        while len(slots) > count and any(a.inferred for a in slots):
            required = [a for a in slots if a.required or a.inferred]
            if len(required) <= count:
                break
            slots.remove(next(a for a in slots if a.inferred))
        return tuple(a.name for a in slots[:count]) if count <= len(slots) else None

    def __str__(self) -> str:
        return ", ".join(
            a.name if a.required else f"[{a.name}]" if a.inferred else f"{a.name}={written(a.default)}"
            for a in self.arguments
        )


class ArgumentDescriptor:
    """Base of descriptors that hold an argument. As the value of a class attribute, a descriptor holds its default."""

    argument_type: ClassVar[Any]
    """The type of the argument, if reading the attribute gives a different one."""

    def __init__(self, default: Any = inspect.Parameter.empty) -> None:
        self.default = default


def resolved(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Resolve an annotation in the namespace where it is written; for a descriptor, return the type of the argument."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    hint = typing.get_type_hints(holder, dict(namespace), include_extras=True)["it"]
    return hint.argument_type if isinstance(hint, type) and issubclass(hint, ArgumentDescriptor) else hint


def argument_of(parameter: inspect.Parameter, hint: Any) -> Argument:
    """Read an argument from a parameter and its type. Raises TypeError for a type that a spec cannot express."""
    bare, notes = _without_notes(hint)
    for option in _options(bare):
        if not _writable(option):
            raise TypeError(
                f"argument {parameter.name!r} is annotated with {getattr(option, '__name__', option)!r}, which a spec "
                "cannot write; it can write int, float, bool, str, None, Literal, tuples of these, and parts"
            )
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    if isinstance(default, str) and any(default in typing.get_args(o) for o in _options(bare)):
        default = BareWord(default)
    return Argument(
        name=parameter.name,
        type=bare,
        range=next((n for n in notes if isinstance(n, Range)), None),
        also=tuple(next((n for n in notes if isinstance(n, Also)), ())),
        inferred=any(isinstance(n, _Inferred) for n in notes),
        required=parameter.default is inspect.Parameter.empty and not any(isinstance(n, _Inferred) for n in notes),
        keyword_only=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
        default=default,
    )


def _without_notes(hint: Any) -> tuple[Any, list[Any]]:
    """Strip `Annotated` from a type, also inside a union or a tuple, and collect its metadata."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *notes = typing.get_args(hint)
        bare, more = _without_notes(inner)
        return bare, [*notes, *more]
    if origin in (typing.Union, types.UnionType):
        parts = [_without_notes(option) for option in typing.get_args(hint)]
        return functools.reduce(lambda a, b: a | b, (bare for bare, _ in parts)), [n for _, ns in parts for n in ns]
    if origin is tuple:
        parts = [_without_notes(item) for item in typing.get_args(hint)]
        return tuple[tuple(bare for bare, _ in parts)], [n for _, ns in parts for n in ns]  # type: ignore[misc]
    return hint, []


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _item(annotation: Any) -> Any:
    """Return the item type of a list of any length, such as `tuple[float, ...]`; None for another type."""
    items = typing.get_args(annotation)
    return items[0] if typing.get_origin(annotation) is tuple and items[1:] == (...,) else None


def _is_any(annotation: Any) -> bool:
    """Whether a type includes parts of all kinds."""
    return any(isinstance(o, type) and issubclass(o, Nameable) and not o.kind for o in _options(annotation))


def _writable(annotation: Any) -> bool:
    """Whether a spec can express values of a type."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return True
    if origin is tuple:
        return all(
            _writable(option) for item in typing.get_args(annotation) if item is not ... for option in _options(item)
        )
    return annotation in (
        int,
        float,
        bool,
        str,
        None,
        type(None),
        FigureName,
        FilePath,
        TensorName,
        ValueName,
        LayerName,
    ) or (isinstance(annotation, type) and issubclass(annotation, Nameable))


def _converted(value: Any, options: Iterable[Any]) -> Any:
    types = {option for option in options if option is not type(None)}
    if isinstance(value, (list, tuple)):
        lists = [option for option in types if typing.get_origin(option) is tuple]
        items = {item for option in lists for item in typing.get_args(option) if item is not ...}
        return tuple(_converted(each, items) for each in value)
    if FilePath in types and isinstance(value, (str, os.PathLike)):
        return FilePath(value)
    return types.pop()(value) if value is not None and types in ({float}, {int}) else value


def _is_numeric(annotation: Any) -> bool:
    return annotation in (int, float) or typing.get_origin(annotation) is tuple


def _is_of(value: object, annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return value in typing.get_args(annotation)
    if origin is tuple:
        items = typing.get_args(annotation)
        if (item := _item(annotation)) is not None:
            return isinstance(value, (tuple, list)) and all(_is_of(each, item) for each in value)
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(items)
            and all(_is_of(v, t) for v, t in zip(value, items, strict=True))
        )
    if annotation is None or annotation is type(None):
        return value is None
    if annotation in (FigureName, ValueName, LayerName):
        return isinstance(value, str)
    if annotation is FilePath:
        return isinstance(value, (str, os.PathLike))
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return hasattr(type(value), "__index__") and not isinstance(value, bool)
    if annotation is float:
        return hasattr(type(value), "__float__") and not isinstance(value, (bool, str))
    return isinstance(value, annotation)


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _type_in_words(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        choices = [f"`{choice}`" for choice in typing.get_args(annotation)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin is tuple:
        items = typing.get_args(annotation)
        if typing.get_origin(item := _item(annotation)) is Literal:
            return "a list of " + ", ".join(f"`{word}`" for word in typing.get_args(item))
        if item is TensorName:
            return "a list of these"
        if _is_any(item):
            return "a list of values"
        if item is not None:
            both = item not in (int, float) and str in typing.get_args(item)
            what = "names or numbers" if both else "strings" if item is str else "numbers"
            return f"a list of {_plural(item.kind) if hasattr(item, 'kind') else what}"
        return f"{len(items)} numbers" if set(items) <= {int, float} else f"{len(items)} values"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a string", type(None): "none"}
    if annotation is FigureName:
        return "a figure, such as `val_loss`"
    if annotation is FilePath:
        return "a path in quotes"
    if annotation is ValueName:
        return "the name of a layer above, or of an input"
    if annotation is LayerName:
        return "the name of a layer above"
    if annotation is TensorName:
        return "a layer (`h1`), a kind of layer (`Embedding`), a kind of parameter (`bias`)"
    if annotation in words:
        return words[annotation]
    kind = "sharpness-aware rule" if annotation.kind == "sharpness" else annotation.kind
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _value_in_words(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Nameable):
        return f"the {value.kind} `{value.spec_name}`"
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def written(value: object) -> str:
    """Return the value of an argument as written in a spec."""
    if isinstance(value, Nameable):
        return value.in_spec()
    if isinstance(value, FigureName):
        return str(value)
    if isinstance(value, FilePath):
        return f'"{value.written}"'
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)) and (not value or any(isinstance(each, str) for each in value)):
        return f"[{', '.join(map(written, value))}]"
    if type(value) is str:
        return f'"{value}"'
    return repr(value).replace("e-0", "e-") if isinstance(value, float) else repr(value)
