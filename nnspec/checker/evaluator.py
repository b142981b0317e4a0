"""Evaluate expressions and parts with their arguments. Every name is known or reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Unpack

from nnspec.checker.binding import Given, assign, needed, take
from nnspec.checker.budget import Budget
from nnspec.checker.findings import UNKNOWN, Findings, Unknown
from nnspec.checker.functions import CONSTANTS, FUNCTIONS, MAX_ITEMS, OPERATORS, Unfit, reason, short
from nnspec.checker.program import Bound, Choice, Origin, PartValue
from nnspec.checker.recovery import Recovery
from nnspec.checker.suggestions import better_number, better_part, better_value, one_of
from nnspec.checker.usage import Usage
from nnspec.checker.vocabulary import (
    FIGURES_ELSEWHERE,
    LITERALS,
    NOT_NEEDED,
    Suggestion,
    figures,
    options,
    other_names,
    part_called,
    parts,
    respelt,
    respelt_part,
)
from nnspec.data.source import Facts
from nnspec.diagnostics import Note, Span
from nnspec.engine.part import (
    PARTS,
    Argument,
    ArgumentFault,
    BareWord,
    FilePath,
    LayerName,
    Part,
    PlainPart,
    Signature,
    TensorName,
    ValueName,
)
from nnspec.syntax import tree

__all__ = ["MAX_DEPTH", "Arriving", "Evaluator", "article", "called", "names_in", "operands"]

MAX_DEPTH = 150
_ITEMS_A_STEP = 4  # items in lists created by functions
_EXTENTS = ("features", "places", "channels", "rows", "columns")
_DATA_FACTS = ("features", "classes", "shape", "size")


@dataclass(frozen=True)
class Arriving:
    """What arrives at a layer of a model: the shape of one sample."""

    shape: tuple[int, ...]
    tokens: int = 0
    """How many different ids, if ids arrive."""

    def facts(self) -> dict[str, object]:
        """Return what a spec may say about it: `incoming.channels`."""
        names = {1: ("features",), 2: ("places", "features"), 3: ("channels", "rows", "columns")}
        axes = ("places",) if self.tokens and len(self.shape) == 1 else names.get(len(self.shape), ())
        return {**dict(zip(axes, self.shape, strict=True)), "shape": self.shape, "size": math.prod(self.shape)}


@dataclass
class Evaluator:
    """Evaluates the expressions of one lane. Errors go to `findings`, and the value is UNKNOWN."""

    findings: Findings
    recovery: Recovery
    usage: Usage
    budget: Budget
    lets: Mapping[str, Given]
    blocks: Mapping[str, tree.Block] = field(default_factory=dict)
    data: tuple[Choice, ...] | None = None
    """The data, once known; until then, `data.features` is an error."""
    data_failed: bool = False
    """Whether the data has an error, which has already been reported."""
    scope: Mapping[str, object] = field(default_factory=dict)
    """Inside a block, the values of its parameters."""
    sources: Mapping[str, tree.Expression] = field(default_factory=dict)
    """The expressions that gave the parameters their values, where wrong values are reported."""
    arriving: Callable[[str], Arriving | None] | None = None
    """Inside a model, returns what arrives at the current layer; None if that is unknown, which has been reported."""
    arrivals: int = 0
    """How often that was asked for."""
    outside: Evaluator | None = None
    """The evaluator without parameters: a `let` cannot use them."""
    output_figures: frozenset[str] = frozenset()
    """The figures of the outputs of all models in the spec."""
    _known: dict[str, object] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def inside(self, scope: Mapping[str, object], sources: Mapping[str, tree.Expression] | None = None) -> Evaluator:
        """Return an evaluator for the inside of a block whose parameters have these values."""
        outside = self.outside or self
        return replace(outside, scope=scope, sources=sources or {}, outside=outside)

    def value(
        self, expression: tree.Expression, *, kinds: tuple[str, ...] | None = None, via: str = "", depth: int = 0
    ) -> object:
        """Return the value of an expression, or UNKNOWN. `kinds` are the kinds of part that fit here, None all."""
        if depth > MAX_DEPTH and not isinstance(expression, tree.Constant):
            return self._too_deep(expression.span)
        if not self.budget.work(1, expression.span):
            return UNKNOWN
        match expression:
            case tree.Constant(value=value):
                if not self.recovery.readable(expression.span):
                    return UNKNOWN
                if isinstance(value, float) and not math.isfinite(value):
                    return self.findings.error("NN302", "this number is too large for a float", expression.span)
                return value
            case tree.Group(inner=inner):
                return self.value(inner, kinds=kinds, via=via, depth=depth + 1)
            case tree.Reference():
                return self._reference(expression, kinds, via, depth)
            case tree.Call():
                return self._call(expression, kinds, via, depth)
            case tree.ListOf(items=items):
                return self._all(items, kinds, via, depth)
            case tree.TupleOf(items=items):
                values = self._all(items, kinds, via, depth)
                return values if isinstance(values, Unknown) else tuple(values)
            case tree.Index(target=target, index=index):
                return self._item(target, index, kinds, via, depth)
            case tree.Unary(operator=operator, operand=operand):
                number = self._number(operand, operator.text, depth)
                return number if isinstance(number, Unknown) or operator.text == "+" else -number
            case tree.Binary(operator=operator, left=left, right=right):
                return self._binary(expression, operator, left, right, depth)
            case tree.Compare(operands=operands, operators=operators):
                return self._compare(expression, operands, operators, depth)
            case tree.Not(operand=operand):
                truth = self._truth(operand, "not", depth)
                return truth if isinstance(truth, Unknown) else not truth
            case tree.Logical(operator=operator, left=left, right=right):
                return self._logical(operator.text, (left, right), expression.span, depth)

    def constant(self, expression: tree.Expression, *, via: str = "", depth: int = 0) -> object:
        """Return the value of a `let` or of a block's parameter, or UNKNOWN. Unlike other values, it may be a word that
        some argument takes, such as `same`, or a list of such words."""
        match expression:
            case tree.Group(inner=inner):
                return self.constant(inner, via=via, depth=depth + 1)
            case tree.ListOf(items=items) | tree.TupleOf(items=items) if any(map(self._is_option, items)):
                values = [self.constant(item, via=via, depth=depth + 1) for item in items[:MAX_ITEMS]]
                return UNKNOWN if UNKNOWN in values or len(items) > MAX_ITEMS else values
            case tree.Reference() if self._is_option(expression):
                return BareWord(expression.path.text)
        return self.value(expression, via=via, depth=depth)

    def _is_option(self, expression: tree.Expression) -> bool:
        """Whether an expression is a word without any other meaning that an argument of some part takes."""
        if not isinstance(expression, tree.Reference) or len(expression.path.names) > 1:
            return False
        word = expression.path.text
        known = (self.scope, self.lets, CONSTANTS, FUNCTIONS, LITERALS)
        part = parts().get(word)  # `same` is also a layer, but not without arguments
        is_part = part is not None and not any(argument.required for argument in part.signature())
        return not is_part and not any(word in names for names in known) and word in options()

    def let(self, name: str) -> object:
        """Return the value of a `let`, or UNKNOWN."""
        return self._let(name, self.lets[name].name, 0)

    def _too_deep(self, span: Span) -> Unknown:
        message = f"this expression is nested more than {MAX_DEPTH} levels deep"
        if not self._open:
            return self.findings.error("NN106", message, span)
        if not self.recovery.deep_lets:  # in a long chain, every hundredth would be too deep
            self.recovery.deep_lets = True
            self.findings.error("NN106", message, span, help="the definition of each `let` counts too")
        return UNKNOWN

    def source(self, expression: tree.Expression) -> tree.Expression:
        """Return the expression to blame if the value of this one is wrong.

        This is what set a block's parameter, or a `let` that a lane, a sweep or a flag overrides. A `let` that nothing
        overrides may be right elsewhere, so its use is to blame.
        """
        word = _word(expression)
        if word in self.scope:
            return self.sources.get(word, expression)
        found = expression
        for _ in range(MAX_DEPTH):
            given = self.lets.get(word)
            if given is None:
                break
            found = given.value if given.via else found
            word = _word(given.value)
        return found

    def misfit(self, code: str, message: str, expression: tree.Expression, **more: Unpack[Suggestion]) -> Unknown:
        """Report a wrong value at the expression to blame, and return UNKNOWN."""
        source = self.source(expression)
        notes = () if source is expression else (Note(expression.span, "used here"),)
        return self.findings.error(code, message, source.span, notes=notes, **more)

    def part(
        self,
        expression: tree.Expression,
        kind: str,
        via: str = "",
        changes: Mapping[str, Given] | None = None,
    ) -> PartValue[Part] | Unknown:
        """Return the PartValue of an expression that must be a part of a kind, or UNKNOWN.

        `changes` are arguments that override the given ones.
        """
        while isinstance(expression, tree.Group):
            expression = expression.inner
        if isinstance(expression, tree.Index):
            return self._named_part(expression, kind, changes or {})
        name = _callee(expression)
        if isinstance(expression, tree.Constant) and not self.recovery.readable(expression.span):
            return UNKNOWN
        if name is None or len(name.names) > 1:
            more = better_part(expression, kind)
            if name is not None and "fix" in more:
                return self.findings.error("NN201", f"unknown {kind} `{name.text}`", name.span, **more)
            return self.findings.error("NN305", f"expected {article(kind)}", expression.span, **more)
        known, word = parts(kind), name.text
        if (word in self.scope or word in self.lets) and isinstance(expression, tree.Reference):
            return self._named_part(expression, kind, changes or {})
        arguments = expression.arguments if isinstance(expression, tree.Call) else ()
        if word not in known:
            same = other_names({name: part.also for name, part in known.items()}).get(word)
            if same and arguments:  # report mistakes in its arguments too
                self.bind(known[same], name.span, expression.span, arguments, via, {}, 0)
            return self._no_part(word, kind, name.span, _as_branches(arguments))
        return self.bind(known[word], name.span, expression.span, arguments, via, changes or {}, 0)

    def _named_part(
        self, name: tree.Reference | tree.Index, kind: str, changes: Mapping[str, Given]
    ) -> PartValue[Part] | Unknown:
        """Return the part that a `let`, a parameter or an item of a list is, with arguments changed."""
        value = self.value(name)
        if value is UNKNOWN:
            return UNKNOWN
        word = name.span.text
        if not isinstance(value, PartValue) or value.part.kind != kind:
            what = article(value.part.kind) if isinstance(value, PartValue) else _what(value)
            return self.misfit("NN305", f"expected {article(kind)}, but `{word}` is {what}", name)
        return self._changed(value, changes) if changes else value

    def _changed(self, value: PartValue[Part], changes: Mapping[str, Given]) -> PartValue[Part] | Unknown:
        given: dict[str, Given] = {}
        signature = value.part.signature()
        if not take(value.name, signature, given, changes, self.findings):
            return UNKNOWN
        bound = {word: self._bound(signature, word, entry, 0) for word, entry in given.items()}
        if any(each.value is UNKNOWN for each in bound.values()):
            return UNKNOWN
        return replace(value, arguments={**value.arguments, **bound})

    @property
    def facts(self) -> Facts | None:
        """Return a fact of the data, once it is known."""
        return self.data[0].facts if self.data else None

    # Names

    def _reference(self, expression: tree.Reference, kinds: tuple[str, ...] | None, via: str, depth: int) -> object:
        names = expression.path.names
        word, span = names[0].text, expression.span
        if len(names) == 1:
            if word in self.scope:
                return self.scope[word]
            if word in self.lets:
                self.usage.lets.add(word)
                return (self.outside or self)._let(word, span, depth)
            if word in CONSTANTS:
                return CONSTANTS[word]
            if part := part_called(word, kinds, 0):
                return self.bind(part, span, span, (), via, {}, 0)
            if word in FUNCTIONS:
                return self.findings.error("NN303", f"`{word}` is a function: write `{word}(…)`", span)
        elif word == "data" and len(names) == 2:
            return self._fact(names[1])
        elif word == "incoming" and len(names) == 2:
            return self._incoming(names[1])
        return self._unknown(expression.path, kinds)

    def _let(self, name: str, span: Span, depth: int) -> object:
        if name in self._known:
            return self._known[name]
        if name in self._open:
            circle = " → ".join([*self._open[self._open.index(name) :], name])
            self._known[name] = self.findings.error("NN207", f"`{name}` depends on itself: {circle}", span)
            return UNKNOWN
        self._open.append(name)
        given = self.lets[name]
        value = self.constant(given.value, via=given.via, depth=depth + 1)
        self._open.pop()
        return self._known.setdefault(name, value)

    def _fact(self, name: tree.Name) -> object:
        if self.facts is None:
            if self.data_failed:
                return UNKNOWN
            return self.findings.error("NN203", "the data cannot refer to itself", name.span)
        if name.text == "size":
            return self.facts.train - self.facts.validation
        if name.text == "classes" and self.facts.classes is None:
            return self.findings.error(
                "NN305", "this data has no classes: its targets are numbers", name.span, help="for example, `Linear(1)`"
            )
        if name.text in _DATA_FACTS:
            return getattr(self.facts, name.text)
        return self.findings.error(
            "NN201",
            f"`data` has no `{name.text}`",
            name.span,
            **self.findings.respell(name.span, _DATA_FACTS, otherwise=f"it has {', '.join(_DATA_FACTS)}"),
        )

    def _incoming(self, name: tree.Name) -> object:
        """Return an extent of what arrives at a layer."""
        if self.arriving is None:
            help = "it is what arrives at a layer: `Linear(incoming.features // 2)`"
            return self.findings.error("NN203", "`incoming` is only known in a model", name.span, help=help)
        self.arrivals += 1
        arriving = self.arriving(name.text)
        if arriving is None:
            return UNKNOWN
        facts = arriving.facts()
        if name.text in facts:
            return facts[name.text]
        shape = "×".join(map(str, arriving.shape)) or "one id"
        return self.findings.error(
            "NN201",
            f"`incoming` has no `{name.text}` here, where its shape is {shape}",
            name.span,
            **self.findings.respell(name.span, [*facts, *_EXTENTS], otherwise=f"it has {', '.join(facts)}"),
        )

    def _unknown(self, path: tree.Path, kinds: tuple[str, ...] | None) -> Unknown:
        word = path.names[0].text
        message = f"unknown name `{path.text}`"
        if path.names[-1].text in figures():
            help = "figures of a run can be used in `expect`, outside functions; a setting takes only the name of one, "
            help += "as in `tune.by = val_loss`"
            return self.findings.error("NN201", message, path.span, help=help)
        if word in self.blocks:
            return self.findings.error("NN305", f"`{word}` is a block, which belongs in a model", path.span)
        candidates = parts() if kinds is None else parts(*kinds) if kinds else {}
        names = chain(self.scope, self.lets, FUNCTIONS, CONSTANTS, candidates, LITERALS.values())
        # Of two parts with one name, such as `uniform`, `candidates` has the first.
        known = PARTS.values() if kinds is None else [candidates]
        others = {other: name for each in known for name, part in each.items() for other in part.also} | LITERALS
        found = self.findings.nearest(word, names, others)
        if self.recovery.excuses(word, found):
            return UNKNOWN
        otherwise = one_of(candidates) if kinds else ""
        if kinds and "schedule" in kinds:
            otherwise = f"a learning rate is a number or a schedule: {otherwise}"
        return self.findings.error("NN201", message, path.span, **respelt_part(path.span, found, others, otherwise))

    def _no_part(self, word: str, kind: str, span: Span, branches: str) -> Unknown:
        if word in parts():
            other = parts()[word].kind
            message = f"expected {article(kind)}, but `{word}` is {article(other)}"
            alike = next((name for name in parts(kind) if name.lower() == word.lower()), None)
            help = f"it is a section: `{word} {{ {branches} }}`" if other == "composition" and kind == "layer" else ""
            return self.findings.error("NN305", message, span, **respelt(span, alike, otherwise=help))
        if word in self.blocks:
            return self.findings.error("NN305", f"expected {article(kind)}, but `{word}` is a block", span)
        known = parts(kind)
        names = [*known, *(self.blocks if kind == "layer" else ())]
        others = other_names({name: part.also for name, part in known.items()})
        found = self.findings.nearest(word, names, others)
        if self.recovery.excuses(word, found):
            return UNKNOWN
        if kind == "layer" and found is None and (elsewhere := _elsewhere(word, branches)):
            return self.findings.error("NN201", f"unknown {kind} `{word}`", span, help=elsewhere)
        return self.findings.error(
            "NN201", f"unknown {kind} `{word}`", span, **respelt_part(span, found, others, one_of(names, kind, word))
        )

    # Calls

    def _call(self, call: tree.Call, kinds: tuple[str, ...] | None, via: str, depth: int) -> object:
        word = call.callee.text
        if word in FUNCTIONS and word not in self.scope:
            return self._function(call, depth)
        if part := part_called(word, kinds, sum(argument.name is None for argument in call.arguments)):
            # This takes two levels of Python calls, like two steps.
            return self.bind(part, call.callee.span, call.span, call.arguments, via, {}, depth + 1)
        if word in self.lets or word in self.scope:
            what = "parameter" if word in self.scope else "`let`"
            return self.findings.error("NN305", f"`{word}` is a {what}, which cannot be called", call.callee.span)
        return self._unknown(call.callee, kinds)

    def _function(self, call: tree.Call, depth: int) -> object:
        word = call.callee.text
        named = next((a for a in call.arguments if a.name is not None), None)
        if named is not None:
            return self.findings.error("NN202", f"`{word}` takes no named arguments", named.span)
        values = []
        for argument in call.arguments:
            values.append(self.value(argument.value, depth=depth + 1))
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        try:
            result = FUNCTIONS[word](*values)
        except TypeError:
            return self.findings.error("NN303", f"`{word}` cannot take these arguments", call.span)
        except (ValueError, ArithmeticError, Unfit) as error:
            return self.findings.error("NN304", f"cannot evaluate `{word}`: {reason(error)}", call.span)
        if isinstance(result, list) and not self.budget.work(len(result) // _ITEMS_A_STEP, call.span):
            return UNKNOWN
        return self._finite(result, call.span)

    def bind(
        self,
        part: type[Part],
        name: Span,
        span: Span,
        arguments: Iterable[tree.Argument],
        via: str = "",
        changes: Mapping[str, Given] | None = None,
        depth: int = 0,
    ) -> PartValue[Part] | Unknown:
        """Bind and evaluate arguments; report unknown, duplicate, missing and wrong ones."""
        signature, title = part.signature(), part.spec_name
        given, complete = assign(title, signature, list(arguments), via, self.findings)
        if not complete:
            for argument in arguments:  # report mistakes in values of unknown arguments too
                stray = argument.name is not None and signature.get(argument.name.text) is None
                if stray and not isinstance(argument.value, tree.Reference):
                    self.value(argument.value)
        for word in given.keys() & (changes or {}).keys():  # and in overridden values
            self._bound(signature, word, given[word], depth)
        good = take(title, signature, given, changes or {}, self.findings) and complete
        bound: dict[str, Bound] = {}
        for word, entry in given.items():
            bound[word] = self._bound(signature, word, entry, depth)
            good = good and bound[word].value is not UNKNOWN
        good = (not complete or needed(title, signature, given, name, self.findings)) and good
        return PartValue(part, bound, Origin(span, via)) if good else UNKNOWN

    def _bound(self, signature: Signature, word: str, given: Given, depth: int) -> Bound:
        argument = signature.get(word)
        assert argument is not None, "only known arguments are assigned"
        return Bound(self.argument(argument, given, depth), given.origin)

    def argument(self, argument: Argument, given: Given, depth: int = 0) -> object:
        """Return the value of an argument, or UNKNOWN if it is wrong; some arguments take bare words."""
        if argument.takes_tensors:
            return self._tensors(argument, given)
        word = given.value.path.text if isinstance(given.value, tree.Reference) else ""
        if word and argument.takes_value:
            return ValueName(word)
        if word and argument.takes_layer:
            return LayerName(word)
        if word and word not in self.lets and word not in self.scope:
            if word in argument.words:
                return BareWord(word)
            if argument.takes_figure:
                return self._figure(word, given.value)
            if argument.words and word not in CONSTANTS and word not in FUNCTIONS and word not in parts():
                message = f"`{argument.name}` must be {argument.expects}, not `{word}`"
                return self.findings.error("NN301", message, given.value.span, **self._word_meant(argument, given))
            if argument.takes_path and self._is_bare_path(word):
                help = f'write a path in quotes: `"{word}"`'
                return self.findings.error("NN201", f"unknown name `{word}`", given.value.span, help=help)
        if argument.listed_words and isinstance(given.value, (tree.ListOf, tree.TupleOf)):
            words = tuple(self._listed_word(argument, item) for item in given.value.items)
            return UNKNOWN if UNKNOWN in words else self.fitting(argument, words, given)
        if argument.takes_any:
            return self.fitting(argument, self.constant(given.value, via=given.via, depth=depth + 1), given)
        value = self.value(given.value, kinds=argument.kinds, via=given.via, depth=depth + 1)
        if argument.takes_figure and isinstance(value, str):
            return self._figure(value, given.value)
        if isinstance(value, str) and value in argument.words:
            return BareWord(value)
        return self.fitting(argument, value, given)

    def _is_bare_path(self, word: str) -> bool:
        """Whether a word means nothing here, and resembles no name of the spec: a path without quotes."""
        known = (*self.lets, *self.scope, *CONSTANTS, *FUNCTIONS, *parts(), *LITERALS, *self.blocks)
        if "." in word:
            return not word.startswith("data.")
        return word not in known and not self.findings.nearest(word, known)

    def _tensors(self, argument: Argument, given: Given) -> object:
        """Return the names of tensors in an argument as written; they are resolved in the model later."""
        value = given.value
        while isinstance(value, tree.Group):
            value = value.inner
        items = value.items if isinstance(value, (tree.ListOf, tree.TupleOf)) else (value,)
        names = [TensorName(item.path.text) for item in items if isinstance(item, tree.Reference)]
        if len(names) == len(items):
            return tuple(names)
        odd = next(item for item in items if not isinstance(item, tree.Reference))
        if isinstance(odd, tree.Constant) and not self.recovery.readable(odd.span):
            return UNKNOWN
        text = odd.value if isinstance(odd, tree.Constant) and isinstance(odd.value, str) else ""
        if odd is value and not text:
            return self.fitting(argument, self.value(value), replace(given, value=value))
        help = (
            f"write `{text}` without quotes" if text.replace(".", "").isidentifier() else "for example, `[h1, h2.bias]`"
        )
        message = f"`{argument.name}` lists names of layers and kinds of parameters"
        return self.findings.error("NN301", message, odd.span, help=help)

    def _listed_word(self, argument: Argument, item: tree.Expression) -> object:
        """Return a bare word in the list of an argument, or the value of any other item."""
        word = item.path.text if isinstance(item, tree.Reference) else ""
        if word in argument.listed_words:
            return BareWord(word)
        if not word or word in self.lets or word in self.scope:
            value = self.value(item)
            return BareWord(value) if isinstance(value, str) and value in argument.listed_words else value
        message = f"`{argument.name}` must be {argument.expects}, not `{word}`"
        return self.findings.error(
            "NN301", message, item.span, **self.findings.respell(item.span, argument.listed_words)
        )

    def _word_meant(self, argument: Argument, given: Given) -> Suggestion:
        return self.findings.respell(given.value.span, [*argument.words, *self.lets, *self.scope], LITERALS)

    def _figure(self, word: str, expression: tree.Expression) -> object:
        if word in figures() or word in self.output_figures:
            return word
        quoted = isinstance(expression, tree.Constant)
        span = expression.span
        inside = Span(span.source, span.start + 1, span.end - 1) if quoted else span
        known = [name for name, needs in figures().items() if needs == "outcome" and name != "epochs_to"]
        if not word.startswith("test"):  # a misspelling must not become a look at the test data
            known = [name for name in known if not name.startswith("test_")]
        more = self.findings.respell(inside, known, FIGURES_ELSEWHERE, f"the figures are {', '.join(known)}")
        return self.findings.error("NN201", f"unknown figure `{word}`", span, **more)

    def fitting(self, argument: Argument, value: object, given: Given) -> object:
        """Check a value against the declaration of its argument, and build parts. Return UNKNOWN if it is wrong."""
        if value is UNKNOWN:
            return UNKNOWN
        kinds = None if argument.takes_any else argument.kinds
        value = self.made(value, kinds)
        if kinds != () and isinstance(value, (list, tuple)):
            value = type(value)(self.made(item, kinds) for item in value)
            if UNKNOWN in value:
                return UNKNOWN
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(value, PartValue):
            kind = article(value.part.kind)
            message = f"`{argument.name}` must be {argument.expects}, but `{value.name}` is {kind}"
            alike = other_names({name: part.also for name, part in parts(*argument.kinds).items()}).get(value.name)
            help = f"did you mean `{alike}`?" if argument.kinds and alike else ""
            if value.part.kind == "space":
                help = "spaces belong in `tune`, for example `tune { optimizer.lr = loguniform(1e-4, 1) }`"
            return self.misfit("NN305", message, given.value, help=help)
        problem = argument.type_problem(value)
        if problem:
            better = better_value(argument, value, replace(given, value=self.source(given.value)))
            return self.misfit("NN301", problem, given.value, **better)
        try:
            problem = argument.range_problem(value)
        except OverflowError:
            problem = f"`{argument.name}` must be {argument.expects}, but this number is too large for a float"
        if problem:
            better = better_number(argument, value)
            space = given.value.span.text
            if given.via == "tune" and isinstance(given.value, tree.Constant) and "(" in space:
                better = {"help": f"it is a value of `{space}`: change the ends of this space"}
            return self.misfit("NN302", problem, given.value, **better)
        if isinstance(value, str) and argument.takes_path:
            return FilePath(value, self.source(given.value).span.source.folder)
        return value

    def made(self, item: object, kinds: tuple[str, ...] | None = None) -> object:
        """Build a part of these kinds, or of any that consists only of its arguments; return anything else unchanged,
        and UNKNOWN if its arguments do not fit together, which is reported.
        """
        if not isinstance(item, PartValue):
            return item
        if not (issubclass(item.part, PlainPart) if kinds is None else item.part.kind in kinds):
            return item
        try:
            return item.make()
        except ArgumentFault as error:
            span = item.arguments[error.argument].origin.span if error.argument in item.arguments else item.origin.span
            return self.findings.error("NN302", str(error), span, help=error.help)
        except ValueError as error:  # each argument is valid, but their combination is not
            return self.findings.error("NN302", str(error), item.origin.span)

    # Arithmetic

    def _all(
        self, items: tuple[tree.Expression, ...], kinds: tuple[str, ...] | None, via: str, depth: int
    ) -> list[object] | Unknown:
        if len(items) > MAX_ITEMS:
            return self.findings.error("NN304", f"a list has at most {MAX_ITEMS:,} items", items[MAX_ITEMS].span)
        values = []
        for item in items:  # a comprehension would add a call per level
            values.append(self.value(item, kinds=kinds, via=via, depth=depth + 1))
        return UNKNOWN if any(value is UNKNOWN for value in values) else values

    def _item(
        self,
        target: tree.Expression,
        index: tree.Expression,
        kinds: tuple[str, ...] | None,
        via: str,
        depth: int,
    ) -> object:
        """Return an item of a list: the first is 0, and -1 is the last."""
        items = self.value(target, kinds=kinds, via=via, depth=depth + 1)
        position = self.value(index, kinds=(), depth=depth + 1)
        if items is UNKNOWN or position is UNKNOWN:
            return UNKNOWN
        if not isinstance(items, (list, tuple)):
            return self.misfit("NN301", "only a list can be indexed with `[…]`", target)
        if isinstance(position, bool) or not isinstance(position, int):
            return self.misfit("NN301", "an index must be an integer", index)
        if not -len(items) <= position < len(items):
            span, last = self.source(index).span, len(items) - 1
            help = f"the first is 0 and the last {last}" if items else ""
            count = f"{len(items):,} item{'' if len(items) == 1 else 's'}"
            message = f"there is no item {short(position)}: this list has {count}"
            return self.findings.error("NN302", message, span, help=help)
        return items[position]

    def _number(self, expression: tree.Expression, operator: str, depth: int) -> float | Unknown:
        value = self.value(expression, kinds=(), depth=depth + 1)
        if value is UNKNOWN or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        if isinstance(value, PartValue) and value.part.kind == "layer" and operator == "*":
            return self.misfit("NN305", "only a layer or a block in a model can be repeated", expression)
        return self.misfit("NN301", f"`{operator}` takes numbers{_but(value)}", expression)

    def _truth(self, expression: tree.Expression, operator: str, depth: int) -> bool | Unknown:
        value = self.value(expression, kinds=(), depth=depth + 1)
        if value is UNKNOWN or isinstance(value, bool):
            return value
        return self.misfit("NN301", f"`{operator}` takes true or false{_but(value)}", expression)

    def _logical(self, operator: str, sides: tuple[tree.Expression, ...], span: Span, depth: int) -> bool | Unknown:
        if any(called(side) in parts("data source") for side in sides):
            return self.findings.error(
                "NN305",
                f"`{operator}` can only combine data sources in `data`",
                span,
                help="for example, `data = A or B`",
            )
        values = []
        for side in sides:
            values.append(self._truth(side, operator, depth))
        if UNKNOWN in values:
            return UNKNOWN
        return all(values) if operator == "and" else any(values)

    def _binary(
        self, whole: tree.Binary, operator: tree.Name, left: tree.Expression, right: tree.Expression, depth: int
    ) -> object:
        first = self._number(left, operator.text, depth)
        second = self._number(right, operator.text, depth)
        return self._operate(operator.text, [first, second], whole.span)

    def _compare(
        self,
        whole: tree.Compare,
        operands: tuple[tree.Expression, ...],
        operators: tuple[tree.Name, ...],
        depth: int,
    ) -> object:
        if len(operators) > 1:
            return self.findings.error(
                "NN101", "comparisons cannot be chained", whole.span, help="combine two with `and`"
            )
        return self._operate(
            operators[0].text, [self._number(side, operators[0].text, depth) for side in operands], whole.span
        )

    def _operate(self, operator: str, values: Sequence[float | Unknown], span: Span) -> object:
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        try:
            result = OPERATORS[operator](*values)
        except (ArithmeticError, Unfit) as error:
            return self.findings.error("NN304", f"cannot evaluate this: {reason(error)}", span)
        return self._finite(result, span)

    def _finite(self, result: object, span: Span) -> object:
        if isinstance(result, float) and not math.isfinite(result):
            return self.findings.error("NN304", "the result is not a finite number", span)
        return result


def _elsewhere(word: str, branches: str) -> str:
    """Say where something belongs that is a layer in other frameworks: `Concatenate`, `RandomCrop`."""
    for kind, text in (("composition", f"it is a section: `NAME {{ {branches} }}`"),
                       ("augmentation", "it is an augmentation: `train.augment = [NAME(…)]`")):  # fmt: skip
        name = other_names({name: part.also for name, part in parts(kind).items()}).get(word)
        if name is not None and word not in NOT_NEEDED:
            chain = getattr(parts(kind)[name], "own_chain", "")
            return text.replace("NAME", name).replace(branches, "…" if chain else branches)
    return ""


def _as_branches(arguments: Sequence[tree.Argument]) -> str:
    """Return branches that read the values named as arguments: `a { from(h1) } b { from(h2) }`."""
    names = [a.value.path.text for a in arguments if isinstance(a.value, tree.Reference) and a.name is None]
    letters = "abcd" if len(names) > 1 else "b"
    branches = [f"{letter} {{ from({name}) }}" for letter, name in zip(letters, names, strict=False)]
    return " ".join(branches if len(names) != 1 else ["a { }", *branches]) or "…"


def _word(expression: tree.Expression) -> str:
    while isinstance(expression, tree.Group):
        expression = expression.inner
    return expression.path.text if isinstance(expression, tree.Reference) else ""


def _what(value: object) -> str:
    return "a list" if isinstance(value, (list, tuple)) else "a value"


def _but(value: object) -> str:
    return f", but `{value.name}` is {article(value.part.kind)}" if isinstance(value, PartValue) else ""


def article(kind: str) -> str:
    """`an optimizer`, `a loss`."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def operands(expression: tree.Expression, operator: str) -> list[tree.Expression]:
    """Return the operands of a chain of one operator, in order and without parentheses; else the expression itself."""
    found: list[tree.Expression] = []
    waiting = [expression]
    while waiting:
        match waiting.pop():
            case tree.Group(inner=inner):
                waiting.append(inner)
            case (
                tree.Binary(operator=tree.Name(text=text), left=left, right=right)
                | tree.Logical(operator=tree.Name(text=text), left=left, right=right)
            ) if text == operator:
                waiting += [right, left]
            case other:
                found.append(other)
    return found


def names_in(part: object, without: Container[int] = ()) -> set[str]:
    """Return the first word of every name in a subtree; nodes with ids in `without` are skipped."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        match waiting.pop():
            case node if id(node) in without:
                pass
            case tree.Path(names=names):
                found.add(names[0].text)
            case tuple(parts):
                waiting += parts
            case tree.Name() | Span() | tree.Constant() | None:
                pass
            case node:
                waiting += [getattr(node, name) for name in getattr(node, "__slots__", ())]
    return found


def called(expression: tree.Expression) -> str:
    """Return the name of the part that an expression creates, ignoring parentheses; empty if it creates none."""
    while isinstance(expression, tree.Group):
        expression = expression.inner
    path = _callee(expression)
    return path.text if path is not None else ""


def _callee(expression: tree.Expression) -> tree.Path | None:
    match expression:
        case tree.Reference(path=path) | tree.Call(callee=path):
            return path
        case _:
            return None
