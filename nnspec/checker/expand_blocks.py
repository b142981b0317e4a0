"""Expand a model into its layers: inline blocks, unroll repeats and split compositions into branches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Unpack

from nnspec.checker.binding import Given, assign, needed, take
from nnspec.checker.evaluator import Arriving, Evaluator, operands
from nnspec.checker.findings import UNKNOWN
from nnspec.checker.functions import short
from nnspec.checker.model_items import (
    Place,
    Placed,
    PlacedBranch,
    Read,
    branch_count,
    has_strangers,
    is_branch,
    is_unknown,
    kind_of,
    makes_layer,
    not_a_layer,
    signature_of,
    some,
    span_of,
)
from nnspec.checker.program import INPUT, Bound, Origin, PartValue, Use
from nnspec.checker.vocabulary import Suggestion, parts, respelt
from nnspec.diagnostics import Note, Span
from nnspec.engine.layers.composition import Composition
from nnspec.engine.layers.contract import Layer
from nnspec.engine.layers.tied import Same, Transposed
from nnspec.engine.layers.wiring import From
from nnspec.syntax import tree

__all__ = ["MAX_DEPTH", "MAX_LAYERS", "Expanded", "expand", "look_through"]

MAX_LAYERS = 20_000
"""The maximum number of layers of a model, and of uses of blocks in it."""

MAX_DEPTH = 50
"""The maximum nesting depth of blocks and compositions."""

_LAYER = 16  # steps for placing a layer
_SHORT = 40  # characters of an item that is repeated in a message


@dataclass(frozen=True)
class Expanded:
    """The layers of a model without their shapes."""

    section: tree.Section
    layers: Sequence[Placed | None]
    """In order; None for each with an error."""
    good: bool
    """Whether there are no errors."""
    gaps: bool
    """Whether an item of the model could not be parsed."""


def expand(
    section: tree.Section,
    changes: Mapping[str, Mapping[str, Given]],
    evaluator: Evaluator,
    arriving: Callable[[Sequence[Placed | None], str], Arriving | None],
) -> Expanded:
    """Inline the blocks of a model, unroll its repeats, and split its compositions into branches.

    `changes` are the settings of its layers, by layer and argument. `arriving` returns what arrives after some layers,
    given the extent that a spec asks for.
    """
    recovery = evaluator.recovery
    gaps = recovery.has_gaps(section.span)
    expansion = _Expansion(changes, evaluator, arriving)
    expansion.unplaced = gaps or recovery.doubts("model")
    layers = expansion.chain(section.items, Place(evaluator))
    expansion.report_unused()
    expansion.report_missing()
    if not gaps and (not section.items or (evaluator.data and not layers and expansion.good)):
        evaluator.findings.error("NN205", "this model has no layers", section.head, help="for example, `Linear(10)`")
    return Expanded(section, layers, expansion.good, gaps)


def look_through(block: tree.Block, evaluator: Evaluator) -> None:
    """Check a block that no model uses, so that everything in a file is checked."""
    expansion = _Expansion({}, evaluator, brief=True)
    scope: dict[str, object] = {}
    for parameter in block.parameters:
        if parameter.default is not None:
            evaluator.inside(scope).constant(parameter.default)
        scope[parameter.name.text] = UNKNOWN
    word = block.name.text
    expansion.chain(block.items, Place(evaluator.inside(scope), stack=(word,), what=word))


class _Expansion:
    def __init__(
        self,
        changes: Mapping[str, Mapping[str, Given]],
        evaluator: Evaluator,
        arriving: Callable[[Sequence[Placed | None], str], Arriving | None] = lambda layers, extent: None,
        brief: bool = False,
    ) -> None:
        self.changes, self.evaluator, self.arriving = changes, evaluator, arriving
        self.findings, self.recovery = evaluator.findings, evaluator.recovery
        self.usage, self.budget = evaluator.usage, evaluator.budget
        self.brief = brief
        """Whether it only looks for errors: then it expands one copy of each repeat, and each block once."""
        self.names: dict[str, Span] = {}
        self.values: dict[str, str] = {}
        """The layer whose output each finished layer, use of a block or composition has; "" after an error."""
        self.made: dict[str, tuple[Placed | None, ...]] = {}
        """The layers of each finished layer, use of a block or composition."""
        self.missing: list[_Missing] = []
        """The values read under names that no layer above has, with the prefix of the layer that reads each."""
        self.reached: set[str] = set()
        """The names in `changes` that belong to a layer or a block."""
        self.good = True
        self.unplaced = False
        """Whether some layers have unknown names, because of an error that has been reported."""
        self.count = 0
        self.full = False

    def _error(
        self, code: str, message: str, span: Span, notes: tuple[Note, ...] = (), **more: Unpack[Suggestion]
    ) -> None:
        self.good = False
        self.findings.error(code, message, span, notes, **more)

    # Chains of items

    def chain(self, items: Sequence[tree.Item], place: Place) -> list[Placed | None]:
        found: list[Placed | None] = []
        outside = place.evaluator.arriving
        place.evaluator.arriving = lambda extent: self._arriving((*place.before, found), extent)
        self._items(items, place, found)
        place.evaluator.arriving = outside
        return found

    def _arriving(self, before: Sequence[Sequence[Placed | None]], extent: str) -> Arriving | None:
        """Return what arrives after the layers so far."""
        layers = [layer for chain in before for layer in chain]
        return self.arriving(layers, extent)

    def _items(self, items: Sequence[tree.Item], place: Place, found: list[Placed | None]) -> None:
        counts: dict[str, int] = {}
        for item in items:
            if self.full or not self.budget.work(1, span_of(item)):
                self.good, self.unplaced = False, True
                break
            match item:
                case tree.Element():
                    self._element(item, place, counts, found)
                case tree.Section(keyword=keyword) if keyword.text in parts("composition"):
                    self._composition(item, place, counts, found)
                case tree.Section(keyword=keyword) if not keyword.text:
                    self.good, self.unplaced = False, True  # its head could not be parsed, which has been reported
                    found.append(None)
                case _:
                    self.good, self.unplaced = False, True
                    found.append(None)
                    not_a_layer(item, place, self.findings)

    def _element(self, item: tree.Element, place: Place, counts: dict[str, int], found: list[Placed | None]) -> None:
        core, count = self._repeat(item.value, place.evaluator)
        if not count:
            self._look_at(core, place)
        count = min(count, 1) if self.brief else count
        kind = kind_of(core, place.evaluator)
        words = self._words(item.label, kind, count, core.span, place, counts)
        shared: Any = None
        for word in words:
            if not self._room(core.span):
                return
            name = f"{place.prefix}{word}"
            general = f"{place.shared}{item.label.text if item.label else word}"
            changes = self._changes_of(name, item.label, general, place)
            if kind in place.evaluator.blocks:
                self._open(core, kind, (name, general), changes, place, found)
                continue
            if shared is None or changes:
                before = place.evaluator.arrivals
                value = place.evaluator.part(core, "layer", changes=changes)
                if not isinstance(value, PartValue):
                    self.good = False
                    self.unplaced = self.unplaced or kind not in parts("layer")
                    found.append(None)
                    return
                layer = value.of(Layer)
                shared = None if changes or place.evaluator.arrivals > before else layer
            else:
                layer = shared
            if layer.part is Same:
                self._again(layer, name, place, changes, found)
                continue
            reads, owners = self._reads(layer, place), self._owners(layer, place)
            if layer.part.owners() and not owners:  # its shape is unknown
                self.good, self.values[name], self.made[name] = False, "", (None,)
                found.append(None)
                continue
            found.append(Placed(name, layer, place.within, uses=place.uses, shared=general, reads=reads, owners=owners))
            self.values[name] = reads[0].value if layer.part is From and reads[0].is_layer else name
            self.made[name] = (found[-1],)

    def _again(
        self,
        layer: PartValue[Layer],
        name: str,
        place: Place,
        changes: Mapping[str, Given],
        found: list[Placed | None],
    ) -> None:
        """Place the layers of `same(NAME)`: those of NAME once more, with the same parameters."""
        owners = self._owners(layer, place)
        if changes:
            help = f"set those of `{owners[0]}`" if owners else "remove it"
            at = next(iter(changes.values())).name
            self._error("NN203", f"`{name}` has the settings of the layers that it repeats", at, help=help)
        originals = self.made.get(owners[0], ()) if owners else ()
        if not originals or None in originals:
            self.good = False
            found.append(None)
            return
        whole = owners[0]
        for original in originals:
            copy = self._copied(original, whole, name, layer.origin.span, place) if original is not None else None
            found.append(copy)
            if copy is None:
                return
        self.values[name] = self.values[found[-1].name] if found[-1] is not None else ""
        self.made[name] = tuple(found[-len(originals) :])

    def _copied(self, original: Placed, whole: str, name: str, span: Span, place: Place) -> Placed | None:
        """Return a layer once more under another name: with `whole` replaced by `name`."""
        if not self._room(span):
            return None

        def renamed(word: str) -> str:
            inside = word == whole or word.startswith(f"{whole}.")
            return f"{name}{word.removeprefix(whole)}" if inside else word

        branches = []
        for branch in original.branches:
            layers = tuple(
                None if inner is None else self._copied(inner, whole, name, span, place) for inner in branch.layers
            )
            branches.append(replace(branch, layers=layers))
        reads = tuple(replace(read, value=renamed(read.value)) if read.is_layer else read for read in original.reads)
        copy = replace(
            original,
            name=renamed(original.name),
            shared=renamed(original.name),
            within=(*original.within, span),
            uses=place.uses,
            branches=tuple(branches),
            reads=reads,
            owners=() if original.value.part is From or branches else _owners_of_copy(original),
        )
        self.values[copy.name] = reads[0].value if copy.value.part is From and reads[0].is_layer else copy.name
        self.made[copy.name] = (copy,)
        return copy

    def _owners(self, layer: PartValue[Layer], place: Place) -> tuple[str, ...]:
        """Resolve the names of layers whose parameters a layer uses, from the inside out."""
        found = []
        for argument in layer.part.owners():
            bound = layer.arguments.get(argument)
            if bound is None or not isinstance(bound.value, str):
                continue
            name = next((name for name in _scoped(place.prefix, bound.value) if name in self.made), None)
            if name is not None:
                (first, *more) = self.made[name] or (None,)
                copied = first is not None and not more and first.owners and layer.part is Transposed
                found.append(first.owners[0] if copied and first is not None else name)
            elif not self.brief:
                read = Read(argument, bound.value, bound.origin.span, is_layer=False)
                self.missing.append(self._not_above(place, read, of_layers=True))
        return tuple(found)

    def _reads(self, layer: PartValue[Layer], place: Place) -> tuple[Read, ...]:
        """Resolve the names of values in the arguments of a layer, from the inside out."""
        found = []
        for argument in layer.part.reads():
            bound = layer.arguments.get(argument)
            if bound is None or not isinstance(bound.value, str):
                continue
            name = next((name for name in _scoped(place.prefix, bound.value) if name in self.values), None)
            if name is None:
                found.append(Read(argument, bound.value, bound.origin.span, is_layer=False))
                self.missing.append(self._not_above(place, found[-1]))
            else:
                self.good = self.good and bool(self.values[name])
                found.append(Read(argument, self.values[name], bound.origin.span))
        return tuple(found)

    def _look_at(self, core: tree.Expression, place: Place) -> None:
        """Check an element that is repeated 0 times."""
        if not self.budget.work(_LAYER, core.span):
            return
        aside = _Expansion({}, self.evaluator, brief=True)
        aside._element(tree.Element(None, core, core.span), place, {}, [])
        self.good = self.good and aside.good

    def _room(self, span: Span) -> bool:
        self.count += 1
        if self.count > MAX_LAYERS and not self.full:
            self._too_many(span)
        if self.full or not self.budget.work(_LAYER, span):
            self.good, self.unplaced = False, True
            return False
        return True

    def _too_many(self, span: Span) -> None:
        self.full, self.unplaced = True, True
        self._error("NN603", f"the model has more than {MAX_LAYERS:,} layers here", span)

    def _too_deep(self, place: Place, span: Span) -> bool:
        if place.depth < MAX_DEPTH:
            return False
        self.unplaced = True
        if self.brief:  # a model reports the excessive depth itself
            return True
        self._error("NN106", f"blocks and compositions are nested more than {MAX_DEPTH} levels deep", span)
        return True

    # Repeats

    def _repeat(self, expression: tree.Expression, evaluator: Evaluator) -> tuple[tree.Expression, int]:
        """Split `Hidden(64) * 3` into the element and the number of copies."""
        found = operands(expression, "*")
        makers = [factor for factor in found if makes_layer(factor, evaluator)]
        named = [factor for factor in found if is_unknown(factor, evaluator)]
        core = (*makers, *named, found[0])[0]
        count = 1
        for factor in found:
            if factor is not core:
                count = min(count * self._times(factor, evaluator), MAX_LAYERS + 1)
        return core, count

    def _times(self, expression: tree.Expression, evaluator: Evaluator) -> int:
        value = evaluator.value(expression)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_LAYERS:
            return value
        self.good, self.unplaced = False, True
        if isinstance(value, int) and not isinstance(value, bool):
            message = f"a layer can be repeated 0 to {MAX_LAYERS:,} times, not {short(value)}"
            evaluator.misfit("NN302", message, expression)
        elif value is not UNKNOWN:
            evaluator.misfit("NN301", "a layer can only be repeated an integer number of times", expression)
        return 1

    # Names

    def _words(
        self, label: tree.Name | None, kind: str, count: int, span: Span, place: Place, counts: dict[str, int]
    ) -> list[str]:
        """Name each copy by the label, numbered if there are several copies, or by kind and number."""
        if count > MAX_LAYERS:
            self._too_many(span)
            return []
        start = counts.get(kind, 0)
        counts[kind] = start + count
        if label is not None:
            words = [label.text] if count == 1 else [f"{label.text}{i}" for i in range(1, count + 1)]
        else:
            words = [f"{kind}{i}" for i in range(start + 1, start + count + 1)]
        where = label.span if label else span
        names = [f"{place.prefix}{word}" for word in words]
        if label is not None and count != 1:
            names = [f"{place.prefix}{label.text}", *names]
        double = next((name for name in names if name in self.names), None)
        if double is not None:
            first = Note(self.names[double], "first given here")
            self._error("NN204", f"two layers are called `{double}`", where, notes=(first,))
        self.names |= dict.fromkeys(names, where)
        if not count and label is not None:
            self.reached |= {name for name in self.changes if f"{name}.".startswith(f"{place.prefix}{label.text}.")}
        return words

    def _changes_of(self, name: str, label: tree.Name | None, general: str, place: Place) -> Mapping[str, Given]:
        """Collect settings such as `model.hidden.p = 0.2` for all copies under a label, then those for this copy."""
        found: dict[str, Given] = {}
        here = f"{place.prefix}{label.text}" if label is not None else name
        word = name.removeprefix(place.prefix)
        for key in dict.fromkeys((general, f"{place.shared}{word}", here, name)) if self.changes else ():
            if key in self.changes:
                self.reached.add(key)
                found |= self.changes[key]
        return found

    def report_unused(self) -> None:
        """Report settings of unknown layers, unless they may refer to layers that could not be placed."""
        for name, given in self.changes.items() if not self.unplaced else ():
            if name in self.names or name in self.reached:
                continue
            self.good = False
            depth = name.count(".")
            known = [n for n in self.names if n.count(".") <= depth] if self.findings.compares else []
            for change in given.values():
                found = self.findings.nearest(name, known)
                help = f"did you mean `{found}`?" if found else f"its layers are {some(known)}" if known else ""
                self.findings.error("NN201", f"the model has no layer `{name}`", change.name, help=help)

    def _not_above(self, place: Place, read: Read, *, of_layers: bool = False) -> _Missing:
        return _Missing(place.prefix, read, of_layers, len(self.values), len(self.names))

    def report_missing(self) -> None:
        """Report values that are read by names which no layer above and no input has."""
        data = self.evaluator.data
        inputs = [INPUT] if not data or not data[0].facts.inputs else [field.name for field in data[0].facts.inputs]
        for absent in self.missing if data is not None and not self.unplaced else ():
            prefix, read = absent.prefix, absent.read
            if read.value in inputs and not absent.of_layers:
                continue
            self.good = False
            known = next((name for name in _scoped(prefix, read.value) if name in self.names), None)
            if known is None:
                self._report_unknown(absent, inputs)
            elif prefix.startswith(f"{known}."):
                message = f"`{known}` is not finished here, so its output cannot be read"
                self._error("NN203", message, read.span, notes=(Note(self.names[known], "begins here"),))
            elif f"{known}1" in self.names:
                help = f"for example, `{known}1`"
                self._error("NN203", f"`{known}` is repeated; name one of its copies", read.span, help=help)
            elif list(self.names).index(known) >= absent.names:
                message = f"`{known}` is further down, so it cannot be used here"
                self._error("NN203", message, read.span, notes=(Note(self.names[known], "named here"),))

    def _report_unknown(self, absent: _Missing, inputs: Sequence[str]) -> None:
        """Report a name that no layer and no input has, and suggest one of those above."""
        word, span = absent.read.value, absent.read.span
        above = [name for name in islice(self.values, absent.values) if not self._only_continues(name)]
        visible = above if absent.of_layers else [*inputs, *above]
        inner = next((name for name in above if name.endswith(f".{word}")), None)
        close = inner or (self.findings.nearest(word, visible) if self.findings.compares else None)
        known = some(sorted(visible, key=_is_numbered))
        verb = "use" if absent.of_layers else "read"
        more = respelt(span, close, otherwise=f"it can {verb} {known}" if visible else "")
        what = "layer above" if absent.of_layers else "layer or input"
        self._error("NN201", f"the model has no {what} called `{word}`", span, **more)

    def _only_continues(self, name: str) -> bool:
        """Whether a name is that of a `from`, which has no value of its own."""
        made = self.made.get(name, ())
        return len(made) == 1 and made[0] is not None and made[0].value.part is From

    # Blocks

    def _open(
        self,
        use: tree.Expression,
        word: str,
        names: tuple[str, str],
        changes: Mapping[str, Given],
        place: Place,
        found: list[Placed | None],
    ) -> None:
        """Replace the use of a block with its layers. `names` are those of this copy and of all copies."""
        block = place.evaluator.blocks[word]
        known = word in self.usage.blocks
        self.usage.blocks.add(word)
        if word in self.recovery.broken_blocks:
            self.good, self.unplaced = False, True
            return
        if word in place.stack:
            self.unplaced = True
            circle = " → ".join([*place.stack[place.stack.index(word) :], word])
            help = "recursion is not allowed; to repeat a block, multiply it: `Hidden(64) * 3`"
            self._error("NN207", f"block `{word}` uses itself: {circle}", use.span, help=help)
            return
        if self._too_deep(place, use.span):
            return
        if self.recovery.has_gaps(block.span):
            self.good, self.unplaced = False, True
        parameters: dict[str, Bound] = {}
        sources: dict[str, tree.Expression] = {}
        if not self.recovery.has_gaps(block.head):  # else its parameters could not be parsed
            parameters, sources = self._bind(block, use, changes, place.evaluator)
        if self.brief and known:
            return
        scope = {parameter: bound.value for parameter, bound in parameters.items()}
        inside = replace(
            place,
            evaluator=place.evaluator.inside(scope, sources),
            prefix=f"{names[0]}.",
            shared=f"{names[1]}.",
            within=(*place.within, use.span),
            uses=(*place.uses, Use(names[0], word, parameters, Origin(use.span))),
            stack=(*place.stack, word),
            depth=place.depth + 1,
            what=word,
            before=(*place.before, found),
        )
        with self.findings.inside(block.span, Note(use.span, f"in this `{word}`")):
            layers = self.chain(block.items, inside)
        found += layers
        last = layers[-1] if layers else None
        self.values[names[0]] = "" if last is None else self.values[last.name]
        self.made[names[0]] = tuple(layers)

    def _bind(
        self, block: tree.Block, use: tree.Expression, changes: Mapping[str, Given], evaluator: Evaluator
    ) -> tuple[dict[str, Bound], dict[str, tree.Expression]]:
        """Return the value of each parameter, UNKNOWN if it is wrong, and the expression that set it."""
        title, signature = block.name.text, signature_of(block)
        arguments = use.arguments if isinstance(use, tree.Call) else ()
        span = use.callee.span if isinstance(use, tree.Call) else use.span
        given, good = assign(title, signature, list(arguments), "", self.findings)
        for word in given.keys() & changes.keys():  # overridden values are checked too
            evaluator.value(given[word].value)
        good = take(title, signature, given, changes, self.findings) and good
        good = (not good or needed(title, signature, given, span, self.findings)) and good
        bound: dict[str, Bound] = {}
        sources: dict[str, tree.Expression] = {}
        for parameter in block.parameters:
            word = parameter.name.text
            entry = given.get(word)
            if entry is not None:
                # Settings of the file cannot use parameters; arguments can use those of the enclosing block.
                where = evaluator.outside or evaluator if word in changes else evaluator
                bound[word] = Bound(where.constant(entry.value), changes.get(word, entry).origin)
                sources[word] = where.source(entry.value)
            elif parameter.default is not None:
                where = evaluator.inside({other: each.value for other, each in bound.items()}, dict(sources))
                origin = Origin(parameter.default.span, f"default of `{title}`")
                bound[word] = Bound(where.constant(parameter.default), origin)
                sources[word] = where.source(parameter.default)
            else:
                bound[word] = Bound(UNKNOWN, Origin(span))
            good = good and bound[word].value is not UNKNOWN
        self.good = self.good and good
        return bound, sources

    # Compositions

    def _composition(
        self, item: tree.Section, place: Place, counts: dict[str, int], found: list[Placed | None]
    ) -> None:
        part = parts("composition")[item.keyword.text].as_kind(Composition)
        for extra in (item.name, item.title):
            if extra is not None:
                help = f"put the label before it: `{extra.span.text.strip(chr(34))}: {item.keyword.text} {{`"
                self._error("NN203", f"`{item.keyword.text}` takes no name", extra.span, help=help)
        if self._unread(item):
            self.good, self.unplaced = False, True
        count = 1
        for factor in item.times:
            count = min(count * self._times(factor, place.evaluator), MAX_LAYERS + 1)
        words = self._words(item.label, item.keyword.text, count, item.head, place, counts)
        if not count:
            aside = _Expansion({}, self.evaluator, brief=True)
            aside._composition(replace(item, times=()), place, {}, [])
            self.good = self.good and aside.good
        for word in words[:1] if self.brief else words:
            if not self._room(item.head):
                return
            self._copy(item, part, word, place, found)

    def _copy(
        self, item: tree.Section, part: type[Composition], word: str, place: Place, found: list[Placed | None]
    ) -> None:
        """Place a composition once."""
        keyword = item.keyword.text
        name, general = f"{place.prefix}{word}", f"{place.shared}{item.label.text if item.label else word}"
        changes = self._changes_of(name, item.label, general, place)
        value = place.evaluator.bind(part, item.keyword.span, item.head, item.arguments or (), changes=changes)
        self.good = self.good and isinstance(value, PartValue)
        if self._too_deep(place, item.head):
            found.append(None)
            return
        before = (*place.before, found)
        inside = replace(
            place, prefix=f"{name}.", shared=f"{general}.", depth=place.depth + 1, what=keyword, before=before
        )
        branches = tuple(self._branches(item, part, inside))
        if branch_count(item, part) < part.least and not self._unread(item) and not has_strangers(item, part):
            help = f"for example, `{keyword} {{ a {{ Linear(64) }}; b {{ }} }}`"
            self._error("NN205", f"`{item.keyword.text}` needs at least {part.least} branches", item.head, help=help)
        if len(branches) < part.least or (part.own_chain and not branches[0].layers):
            found.append(None)  # which has already been reported
            return
        if isinstance(value, PartValue):
            found.append(Placed(name, value.of(Layer), place.within, branches, place.uses, general))
            self.values[name], self.made[name] = name, (found[-1],)
        else:
            found.append(None)
            self.values[name] = ""

    def _unread(self, item: tree.Section) -> bool:
        """Whether something in a section could not be parsed, which has already been reported."""
        heads = (i for i in item.items if isinstance(i, tree.Section))
        return self.recovery.has_gaps(item.span) or any(not head.keyword.text for head in heads)

    def _branches(self, item: tree.Section, part: type[Composition], place: Place) -> list[PlacedBranch]:
        found: list[PlacedBranch] = []
        inner = [i for i in item.items if is_branch(i, part)]
        rest = [i for i in item.items if not is_branch(i, part)]
        if part.own_chain:
            if not rest and not self._unread(item):
                self._error("NN205", f"this `{item.keyword.text}` has no layers", item.head)
            for other in rest:
                label = other.label if isinstance(other, tree.Element) else None
                if label is not None and label.text in part.inner:
                    assert isinstance(other, tree.Element)
                    help = f"write `{label.text} {{ {other.value.span.text} }}`"
                    self._error("NN203", f"`{label.text}` is a section here, not a label", label.span, help=help)
            found.append(PlacedBranch(part.own_chain, item.head, tuple(self.chain(rest, place))))
        else:
            self.unplaced = self.unplaced or bool(rest)
            for other in rest:
                if isinstance(other, tree.Section) and not other.keyword.text:
                    self.good = False
                    continue
                body = other.value.span.text if isinstance(other, tree.Element) else "Linear(64)"
                help = f"write each branch as a section: `a {{ {body if len(body) <= _SHORT else '…'} }}`"
                self._error("NN203", f"`{item.keyword.text}` can only contain branches", span_of(other), help=help)
                break  # one report is enough for layers written in place of branches
        firsts: dict[str, Span] = {}
        for branch in inner:
            assert isinstance(branch, tree.Section)
            word = branch.keyword.text
            if word in firsts:
                first = Note(firsts[word], "first given here")
                self._error("NN204", f"duplicate `{word}`", branch.head, notes=(first,))
                continue
            if part.signature().get(word) is not None:
                message = f"`{word}` is an argument of `{item.keyword.text}`, not the name of a branch"
                self._error("NN206", message, branch.head, help="choose another name")
                continue
            firsts[word] = branch.head
            prefix, shared = f"{place.prefix}{word}.", f"{place.shared}{word}."
            layers = self.chain(branch.items, replace(place, prefix=prefix, shared=shared, what=word))
            found.append(PlacedBranch(word, branch.head, tuple(layers)))
        return found


def _owners_of_copy(original: Placed) -> tuple[str, ...]:
    """Return the owners of a layer that repeats another one: the first of those that share their parameters."""
    is_copy = len(original.owners) > (original.value.part is Transposed)
    return original.owners if is_copy else (original.name, *original.owners)


@dataclass(frozen=True)
class _Missing:
    """A name that no layer above has."""

    prefix: str
    """The place that reads it."""
    read: Read
    of_layers: bool
    """Whether it must be that of a layer, whose parameters are used again, and not that of an input."""
    values: int
    """The number of values computed above."""
    names: int
    """The number of names above, including those of layers that could not be placed."""


def _is_numbered(name: str) -> bool:
    """Whether a layer has no label of its own: `concat1.Linear2`."""
    last = name.rpartition(".")[2]
    return last[:1].isupper() and last[-1:].isdigit()


def _scoped(prefix: str, name: str) -> Iterator[str]:
    """Yield the full names that a name may refer to, from the inside out."""
    scope = prefix.split(".")[:-1]
    return (".".join([*scope[:depth], name]) for depth in range(len(scope), -1, -1))
