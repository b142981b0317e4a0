"""Values in spec syntax and their origins, for all views."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from nnspec.checker.program import Bound, LayerNode, Origin, PartValue
from nnspec.engine.part import Argument, BareWord, FigureName, FilePath, Part, TensorName, comparable
from nnspec.text import printable, quoted

__all__ = [
    "Word",
    "arguments",
    "as_json",
    "as_written",
    "in_text",
    "is_file",
    "layer_arguments",
    "place",
    "short_names",
    "where",
    "written",
]

_LONGEST = 40  # characters of an expression shown next to its position


class Word(str):
    """Text written without quotes in a spec: a name, not a string."""


def written(value: object) -> str:
    """Return a value in spec syntax: `0.001`, `(0.9, 0.999)`, `cosine(0.001, to=1e-05, warmup=0)`."""
    match value:
        case PartValue() | LayerNode():
            return value.name if isinstance(value, PartValue) else value.value.name
        case Part():
            return _part(value)
        case Word() | FigureName() | BareWord() | TensorName():
            return str(value)
        case FilePath():
            return written(value.written)
        case str():
            return quoted(value)
        case None | bool():
            return str(value).lower()
        case list() | ((str() | Part()), *_):
            return f"[{', '.join(map(written, value))}]"
        case tuple():
            return f"({', '.join(map(written, value))}{',' * (len(value) == 1)})"
        case _:
            return repr(value)


def _part(part: Part) -> str:
    """Write a part with all its arguments, or without any if all have their defaults."""
    given = [(a, getattr(part, a.name)) for a in part.signature() if hasattr(part, a.name)]
    if all(not a.required and value == a.default for a, value in given):
        return part.spec_name
    given = [(a, Word(value) if isinstance(value, str) and value in a.words else value) for a, value in given]
    words = [f"{a.name}={written(value)}" if a.keyword_only else written(value) for a, value in given]
    return f"{part.spec_name}({', '.join(words)})" if words else part.spec_name


def as_json(value: object) -> Any:
    """Return a value as JSON values; a part in spec syntax."""
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return written(value)


def meaning(value: object) -> Hashable:
    """Return a key that is equal for values that mean the same, such as parts with equal arguments."""
    match value:
        case PartValue():
            return value.name, tuple((a.name, meaning(bound.value)) for a, bound in arguments(value))
        case list() | tuple():
            return tuple(meaning(item) for item in value)
        case _:
            return comparable(value)


def arguments(value: PartValue[Part], inferred: Mapping[str, Any] | None = None) -> Iterator[tuple[Argument, Bound]]:
    """Yield every argument of a part with its value and origin: given, inferred or default."""
    filled = inferred or {}
    for argument in value.part.signature():
        bound = value.arguments.get(argument.name)
        if bound is None and argument.name in filled:
            bound = Bound(filled[argument.name], Origin(value.origin.span, "inferred"))
        elif bound is None:
            bound = Bound(argument.default, Origin(value.origin.span, "default"))
        if isinstance(bound.value, str) and bound.value in argument.words:
            bound = Bound(Word(bound.value), bound.origin)
        yield argument, bound


def layer_arguments(node: LayerNode) -> Iterator[tuple[Argument, Bound]]:
    """Yield every argument of a layer, including inferred ones."""
    return arguments(node.value, node.geometry.inferred)


# Places

_NOWHERE = frozenset({"default", "inferred"})
_LITERAL = re.compile(r"""\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?|"[^"\n]*"|'[^'\n]*'""")
_OPERATION = re.compile(r"[+*/%]|\w\s*-|\)\s*-")
_NAME = re.compile(r"[^\W\d]\w*")


def in_text(origin: Origin) -> bool:
    """Return whether a value comes from a position in a text; defaults and inferred values do not."""
    return origin.via not in _NOWHERE


def is_file(origin: Origin) -> bool:
    """Return whether a value comes from a file, not from a flag."""
    return in_text(origin) and not origin.via.startswith(("--set", "set="))


def as_written(origin: Origin) -> str:
    """Return the text of an origin on one line, with control characters escaped."""
    return printable(" ".join(origin.span.text.split()))


def where(origin: Origin, value: object, names: Mapping[str, str]) -> str:
    """Return the origin of a value: "race.nn:9", "race.nn:20 lane `wide`", "--set", "race.nn:9 `width // 2`".

    The expression is included if it says more than its value.
    """
    text = as_written(origin) if in_text(origin) else ""
    if not text or not _tells_more(text, value):
        return place(origin, names)
    return f"{place(origin, names)} `{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"


def place(origin: Origin, names: Mapping[str, str]) -> str:
    """Return the position of an origin, and what set it."""
    if not in_text(origin):
        return origin.via
    if not is_file(origin):
        return "--set"
    name = origin.span.source.name
    return " ".join(word for word in (f"{names.get(name, name)}:{origin.span.line}", origin.via) if word)


def _tells_more(text: str, value: object) -> bool:
    words = written(value)
    if isinstance(value, (PartValue, Word)) and text.startswith(f"{words}("):
        return False  # its arguments are listed individually
    bare = _LITERAL.sub("0", text)
    known = set(_NAME.findall(words))
    return bool(_OPERATION.search(bare)) or not set(_NAME.findall(bare)) <= known


def short_names(origins: Iterable[Origin]) -> dict[str, str]:
    """Return a short name for each file: the last part of its path if no other file has the same."""
    files = {origin.span.source.name for origin in origins if is_file(origin)}
    last = [PurePosixPath(name).name for name in files]
    return {name: printable(short if last.count(short := PurePosixPath(name).name) == 1 else name) for name in files}
