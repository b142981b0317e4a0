"""Bind the values of a call to arguments, for parts and blocks alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnspec.checker.findings import Findings
from nnspec.checker.program import Origin
from nnspec.checker.vocabulary import other_names, parts
from nnspec.diagnostics import Span
from nnspec.engine.layers.wiring import From
from nnspec.engine.part import Signature
from nnspec.syntax import tree

__all__ = ["Given", "assign", "has_argument", "needed", "take"]


@dataclass(frozen=True)
class Given:
    """An expression that sets a value, and its source."""

    value: tree.Expression
    name: Span
    """The name of the argument or setting."""
    via: str = ""

    @property
    def origin(self) -> Origin:
        """The span of the value."""
        return Origin(self.value.span, self.via)


_BY_LAYER = {"lr": "lr_factor", "learning_rate": "lr_factor", "weight_decay": "weight_decay"}
"""Arguments of the optimizer that can be set per layer -> the setting of `train` for it."""


def assign(
    title: str, signature: Signature, arguments: Sequence[tree.Argument], via: str, findings: Findings
) -> tuple[dict[str, Given], bool]:
    """Bind each value to an argument; also return whether all of them could be bound."""
    given: dict[str, Given] = {}
    own = [a for a in arguments if title in parts("optimizer") and _is_parameters(a)]
    for argument in own:
        message = f"`{title}` does not take the parameters to train"
        findings.error("NN303", message, argument.span, help="remove it: an optimizer trains the whole model")
    good = not own
    arguments = [a for a in arguments if a not in own]
    keywords = {a.name.text: a for a in arguments if a.name is not None}
    positional = [a for a in arguments if a.name is None]
    # Positional values are assigned as in Python, except that an argument that steps back is skipped.
    named = keywords if any(a.inferred for a in signature) else {}
    slots = signature.names_of_positionals(len(positional), named)
    if slots is None:
        _too_many(title, signature, positional, named, findings)
        return {}, False
    for slot, argument in zip(slots, positional, strict=True):
        given[slot] = Given(argument.value, argument.span, via)
    for argument in arguments:
        if argument.name is None:
            continue
        word = argument.name.text
        if not has_argument(title, signature, word, argument.name.span, findings):
            good = False
        elif word in given:
            good = False
            findings.given_twice(word, argument.name.span, given[word].name)
        else:
            given[word] = Given(argument.value, argument.name.span, via)
    return given, good


def _is_parameters(argument: tree.Argument) -> bool:
    """Whether this is `model.parameters()`, which other frameworks pass to an optimizer."""
    value = argument.value
    path = value.callee if isinstance(value, tree.Call) else value.path if isinstance(value, tree.Reference) else None
    return path is not None and len(path.names) > 1 and path.names[-1].text == "parameters"


def take(
    title: str, signature: Signature, given: dict[str, Given], changes: Mapping[str, Given], findings: Findings
) -> bool:
    """Override given values with changes; return whether all of them are known arguments."""
    good = True
    for word, change in changes.items():
        if has_argument(title, signature, word, change.name, findings):
            given[word] = change
        else:
            good = False
    return good


def needed(title: str, signature: Signature, given: Mapping[str, Given], name: Span, findings: Findings) -> bool:
    """Report missing arguments; return whether there are none."""
    missing = [a.name for a in signature if a.required and a.name not in given]
    for word in missing:
        findings.error("NN205", f"`{title}` needs `{word}`", name, help=f"{title}({signature})")
    return not missing


def has_argument(title: str, signature: Signature, word: str, span: Span, findings: Findings) -> bool:
    """Whether an argument of this name exists; if not, report it."""
    if signature.get(word) is not None:
        return True
    others = other_names({a.name: a.also for a in signature})
    takes = f"it takes {signature}" if signature.arguments else "it takes no arguments"
    if word in _BY_LAYER and (title in parts("layer", "composition") or title not in parts()):
        layer = span.text.removeprefix("model.").removesuffix(word).rstrip(".") or "h1"
        takes = f"for a single layer, use `train.{_BY_LAYER[word]}.{layer} = …`"
    end = Span(span.source, span.end - len(word), span.end)  # of `optimizer.lrate`, the part that is at fault
    more = findings.respell(end if end.text == word else span, [a.name for a in signature], others, takes)
    findings.error("NN202", f"`{title}` has no argument `{word}`", span, **more)
    return False


def _too_many(
    title: str,
    signature: Signature,
    positional: Sequence[tree.Argument],
    keywords: Mapping[str, tree.Argument],
    findings: Findings,
) -> None:
    most = len([a for a in signature if not a.keyword_only and a.name not in keywords])
    numbers = [a.value.value for a in positional if isinstance(a.value, tree.Constant)]
    first = next((a for a in signature if a.name not in keywords), None)
    help = f"{_by_name(signature, positional[most:], keywords)}{title}({signature})"
    takes_lists = first is not None and Any not in first.options and first.type_problem(numbers) is None
    if takes_lists and len(numbers) == len(positional):
        help = f"write them as a list: `{title}([{', '.join(a.span.text for a in positional)}])`"
    elif title == From.spec_name:
        branches = " ".join(
            f"{letter} {{ from({a.span.text}) }}" for letter, a in zip("abcd", positional, strict=False)
        )
        help = f"to read several values, join them: `concat {{ {branches} }}`"
    findings.error(
        "NN303",
        f"`{title}` takes {most or 'no'} positional argument{'' if most == 1 else 's'}, "
        f"but {len(positional)} {'was' if len(positional) == 1 else 'were'} given",
        positional[most].span.to(positional[-1].span),
        help=help,
    )


def _by_name(signature: Signature, extra: Sequence[tree.Argument], keywords: Mapping[str, tree.Argument]) -> str:
    """Suggest passing an extra value by name, if it is a number and the next argument takes one."""
    open_ones = [a for a in signature if a.keyword_only and a.name not in keywords]
    if len(extra) != 1 or not open_ones or open_ones[0].type_problem(1) is not None:
        return ""
    return f"pass it by name, as in `{open_ones[0].name}={extra[0].span.text}`: "
