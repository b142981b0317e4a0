"""Suggest what to write instead of a wrong value: help and fix, as `Findings.error` takes them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from nnspec.checker.binding import Given
from nnspec.checker.vocabulary import Suggestion, meant, other_names, parts
from nnspec.diagnostics import Edit, Fix, Span
from nnspec.engine.part import Argument, Part
from nnspec.syntax import tree

__all__ = ["better_number", "better_part", "better_value", "one_of"]

_FOLDS = 10
"""The maximum number taken for a number of folds where a fraction is expected."""
_MOST = 20
"""The maximum number of names listed."""
_SHORT = 2
"""The number of letters of words that say little about a part: `Re` of `ReLU`."""


def better_part(expression: tree.Expression, kind: str) -> Suggestion:
    """Suggest what to write instead of an expression if a part of a kind is expected."""
    known = parts(kind)
    match expression:
        case tree.Constant(value=str(word)):
            return _unquoted(word, expression.span, known) or {"help": one_of(known, kind, word)}
        case tree.ListOf(items=items) | tree.TupleOf(items=items) if kind == "layer" and items:
            return {"help": "write one layer per line, without brackets"}
        case tree.ListOf(items=items) | tree.TupleOf(items=items) if items:
            lanes = "; ".join(item.span.text for item in items)
            return {"help": f"to compare them, use a race: `race {{ {lanes} }}`"}
        case tree.Reference(path=path) | tree.Call(callee=path):
            word = path.names[-1].text
            found = word if word in known else other_names(_also(known)).get(word)
            if found is not None:
                fix = Fix(f"replace `{path.text}` with `{found}`", (Edit(path.span, found),), safe=True)
                return {"help": f"names have no prefix: write `{found}`", "fix": fix}
    return {"help": one_of(known, kind)}


def better_value(argument: Argument, value: object, given: Given) -> Suggestion:
    """Suggest what to write instead of a value of the wrong type."""
    span = given.value.span
    if isinstance(value, (list, tuple)):
        each_fits = value and all(argument.type_problem(item) is None for item in value)
        return {"help": _swept(given)} if each_fits and given.via != "sweep" else {}
    if argument.type_problem((value,)) is None:
        text = f"[{span.text}]"
        fix = Fix(f"write `{text}`", (Edit(span, text),), safe=True)
        return {"help": f"write a list: `{text}`", "fix": fix if isinstance(given.value, tree.Constant) else None}
    if isinstance(value, float) and value.is_integer() and argument.type_problem(int(value)) is None:
        return _whole(int(value), given.value)
    if isinstance(value, str) and isinstance(given.value, tree.Constant):
        number = _number(value)
        if number is not None and argument.type_problem(number) is None:
            fix = Fix("remove the quotes", (Edit(span, value),), safe=True)
            return {"help": f"write it without quotes: {value}", "fix": fix}
        word = meant(value, argument.words)
        if word is not None:
            return {"help": f"did you mean `{word}`?", "fix": Fix(f"write `{word}`", (Edit(span, word),), safe=False)}
        if argument.kinds:
            return _unquoted(value, span, parts(*argument.kinds)) or {"help": one_of(parts(*argument.kinds))}
    if type(value) is int and argument.words and given.name == given.value.span:
        return {"help": f"numbers for rows and columns are one list: `[{value}, {value}]`"}
    if type(value) is int and value in (0, 1) and argument.type_problem(True) is None:
        word = "true" if value else "false"
        fix = Fix(f"write `{word}`", (Edit(span, word),), safe=True)
        return {"help": f"write `{word}`", "fix": fix if isinstance(given.value, tree.Constant) else None}
    if argument.kinds and not any(argument.type_problem(other) is None for other in (1, 1.0)):
        return {"help": one_of(f"{name}(…)" if _needs(part) else name for name, part in parts(*argument.kinds).items())}
    return {}


def _swept(given: Given) -> str:
    """Suggest how to try several values of a setting."""
    span = given.value.span
    if span.source.name.startswith(("--set", "set=")):
        setting = span.source.text.partition("=")[0].strip()
        sweep = f"`sweep {{ {setting} = {span.text} }}`"
        return f"this setting takes a single value; to try several, write {sweep} in the spec"
    name = given.name.text
    setting = f"{name} = {span.text}" if "." in name and name.replace(".", "").isidentifier() else "…"
    return f"to try several values, put the list into a sweep: `sweep {{ {setting} }}`"


def better_number(argument: Argument, value: object) -> Suggestion:
    """Suggest what to write instead of a number out of range: for a percentage, the fraction."""
    share = argument.range is not None and argument.range.low == 0 and argument.range.high == 1
    if share and isinstance(value, (int, float)) and 1 < value < 100:
        folds = f", or `folds({value})` for cross-validation" if argument.name == "validation" else ""
        return {
            "help": f"write {value:g} % as {value / 100:g}{folds if type(value) is int and value <= _FOLDS else ''}"
        }
    return {}


def one_of(names: Iterable[str], kind: str = "", word: str = "") -> str:
    """Return "there are `A`, `B`"; for a long list of parts of a kind, those whose names have a syllable in common with
    a word, and where all of them are listed."""
    known = sorted(names)
    if len(known) <= _MOST or not kind:
        more = f" and {len(known) - _MOST:,} more" if len(known) > _MOST else ""
        return f"there {'is' if len(known) == 1 else 'are'} " + ", ".join(f"`{name}`" for name in known[:_MOST]) + more
    syllables = _syllables(word)
    similar = [name for name in known if _syllables(name) & syllables]
    command = f"run `nnspec explain {kind}` for a list"
    return f"similar names are {', '.join(f'`{name}`' for name in similar[:_MOST])}; {command}" if similar else command


@functools.lru_cache(maxsize=4096)
def _syllables(name: str) -> frozenset[str]:
    """Return the words that a name is made of, without numbers and short ones: `GlobalAvgPool` is global, avg, pool."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return frozenset(word.lower() for word in words if len(word) > _SHORT)


def _whole(number: int, expression: tree.Expression) -> Suggestion:
    match expression:
        case tree.Constant() if expression.span.text.endswith(")"):  # an item of a list created by a function
            return {"help": "`range(…)` returns integers, and so does the space `integers(…)`"}
        case tree.Constant():
            fix = Fix(f"write {number}", (Edit(expression.span, str(number)),), safe=True)
            return {"help": f"write {number}", "fix": fix}
        case tree.Binary(operator=operator) if operator.text == "/":
            fix = Fix("divide by `//`", (Edit(operator.span, "//"),), safe=True)
            start = expression.span.start
            text = expression.span.text
            at = operator.span.start - start
            return {"help": f"`//` gives integers: write `{text[:at]}//{text[at + 1 :]}`", "fix": fix}
    return {"help": f"write {number}"}


def _unquoted(word: str, span: Span, known: Mapping[str, type[Part]]) -> Suggestion:
    others = other_names(_also(known))
    similar = next((part for part in known.values() if word in part.resembles[0]), None)
    found = word if word in known else similar.spec_name if similar else meant(word, known, others)
    if not found:
        return {}
    sure = not similar and (word.lower() == found.lower() or word in others)
    fix = Fix(f"replace `{span.text}` with `{found}`", (Edit(span, found),), safe=sure)
    more = f"; {similar.resembles[1]}" if similar else ""
    return {"help": f"write `{found}`, without quotes{more}", "fix": fix}


def _also(known: Mapping[str, type[Part]]) -> dict[str, tuple[str, ...]]:
    return {name: part.also for name, part in known.items()}


def _needs(part: type[Part]) -> bool:
    return any(argument.required for argument in part.signature())


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
